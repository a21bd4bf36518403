;; line: 7
;; what: throws and catches for ever: nothing collects exceptions, so that they fill its memory
;; limits: fuel=off memory=524288 deadline_ms=10000
;; expect: memory_limit
(module (tag $e) (memory (export "memory") 1)
  (func $throw (throw $e))
  (func (export "_start")
    (loop $again (block $caught (try_table (catch_all $caught) (call $throw))) (br $again))))
