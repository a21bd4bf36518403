;; line: 3
;; what: an exception of Wasm that leaves the guest ends it, and no one else
;; expect: trap uncaught_exception
(module (tag $e) (memory (export "memory") 1) (func (export "_start") (throw $e)))
