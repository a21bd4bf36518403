;; line: 16
;; what: the furthest address that an instruction can name: 8 GiB behind the beginning
;; expect: trap memory_out_of_bounds
(module (memory (export "memory") 1)
  (func (export "_start") (drop (i64.load offset=4294967295 (i32.const -1)))))
