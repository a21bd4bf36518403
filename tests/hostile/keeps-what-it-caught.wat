;; line: 8
;; what: exceptions that hold exceptions, in a chain without end
;; limits: fuel=off memory=524288 deadline_ms=10000
;; expect: memory_limit
(module (tag $e (param exnref)) (memory (export "memory") 1)
  (func (export "_start") (local $held exnref)
    (loop $again
      (block $caught (result exnref exnref)
        (try_table (catch_ref $e $caught) (throw $e (local.get $held)))
        unreachable)
      (local.set $held) (drop) (br $again))))
