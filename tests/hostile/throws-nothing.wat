;; line: 3
;; what: throws a reference to no exception
;; expect: trap null_reference
(module (memory (export "memory") 1) (func (export "_start") (throw_ref (ref.null exn))))
