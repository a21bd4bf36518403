;; line: 3
;; what: an import outside of every contract, named
;; expect: refused env.secret
(module (import "env" "secret" (func)) (memory (export "memory") 1) (func (export "_start")))
