;; line: 4
;; what: relaxed SIMD, whose results depend on the machine, is off
;; expect: refused relaxed
(module (memory (export "memory") 1)
  (func (export "_start")
    (drop (f32x4.relaxed_min (v128.const i32x4 0 0 0 0) (v128.const i32x4 0 0 0 0)))))
