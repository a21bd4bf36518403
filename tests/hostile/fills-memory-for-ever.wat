;; line: 7
;; what: each turn of the loop is one instruction of much work: fuel by the instruction would not notice
;; limits: fuel=off deadline_ms=150
;; expect: deadline
(module (memory (export "memory") 1024)
  (func (export "_start") (loop $a (memory.fill (i32.const 0) (i32.const 1) (i32.const 67108864)) (br $a))))
