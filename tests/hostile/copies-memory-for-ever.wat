;; line: 7
;; what: the same with copies
;; limits: fuel=off deadline_ms=150
;; expect: deadline
(module (memory (export "memory") 1024)
  (func (export "_start")
    (loop $a (memory.copy (i32.const 0) (i32.const 33554432) (i32.const 33554432)) (br $a))))
