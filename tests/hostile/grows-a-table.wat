;; line: 8
;; what: takes table elements until it is refused
;; expect: memory_limit
(module (memory (export "memory") 1) (table $t 1 funcref)
  (func (export "_start")
    (loop $a
      (if (i32.eq (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1)) (then unreachable))
      (br $a))))
