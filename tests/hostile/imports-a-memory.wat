;; line: 3
;; what: an import that is no function
;; expect: refused env.memory
(module (import "env" "memory" (memory 1)) (func (export "_start")))
