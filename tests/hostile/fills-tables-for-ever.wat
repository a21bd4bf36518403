;; line: 7
;; what: the same with tables
;; limits: fuel=off deadline_ms=150
;; expect: deadline
(module (memory (export "memory") 1) (table $t 10000 funcref)
  (func (export "_start") (loop $a (table.fill $t (i32.const 0) (ref.null func) (i32.const 10000)) (br $a))))
