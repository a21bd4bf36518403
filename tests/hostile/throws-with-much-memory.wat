;; line: 7
;; what: throws without end, which the host does for it: it gives way to its deadline all the same
;; limits: fuel=off deadline_ms=200
;; expect: deadline
(module (tag $e) (memory (export "memory") 1)
  (func $throw (throw $e))
  (func (export "_start")
    (loop $again (block $caught (try_table (catch_all $caught) (call $throw))) (br $again))))
