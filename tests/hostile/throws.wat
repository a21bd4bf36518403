;; line: 3
;; what: exceptions are off
;; expect: refused exceptions
(module (tag $e) (memory (export "memory") 1) (func (export "_start") (throw $e)))
