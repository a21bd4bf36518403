;; line: 8
;; what: takes memory until it is refused, and goes on as if it were not
;; limits: memory=8388608
;; expect: memory_limit
(module (memory (export "memory") 1)
  (func (export "_start")
    (loop $a (i32.store (i32.mul (memory.grow (i32.const 16)) (i32.const 65536)) (i32.const 1)) (br $a))))
