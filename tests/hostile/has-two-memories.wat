;; line: 3
;; what: several memories are off
;; expect: refused multiple memories
(module (memory (export "memory") 1) (memory 1) (func (export "_start")))
