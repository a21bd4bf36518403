;; line: 3
;; what: threads are off
;; expect: refused threads
(module (memory (export "memory") 1 1 shared) (func (export "_start")))
