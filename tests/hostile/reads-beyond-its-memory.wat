;; line: 16
;; what: reads every page behind its memory until one answers
;; expect: trap memory_out_of_bounds
(module (memory (export "memory") 1)
  (func (export "_start") (drop (i32.load offset=65533 (i32.const 0)))))
