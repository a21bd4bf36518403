;; line: 7
;; what: each exception passes two thousand frames before it is caught
;; limits: fuel=off deadline_ms=300
;; expect: deadline
(module (tag $e) (memory (export "memory") 1)
  (func $deep (param i32)
    (if (i32.eqz (local.get 0)) (then (throw $e)))
    (call $deep (i32.sub (local.get 0) (i32.const 1))))
  (func (export "_start")
    (loop $again (block $caught (try_table (catch_all $caught) (call $deep (i32.const 2000)))) (br $again))))
