;; line: 7
;; what: bytes that one instruction moves are paid for like others
;; limits: fuel=50000000
;; expect: out_of_fuel
(module (memory (export "memory") 1024)
  (func (export "_start") (loop $a (memory.fill (i32.const 0) (i32.const 1) (i32.const 67108864)) (br $a))))
