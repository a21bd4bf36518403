;; line: 3
;; what: 64-bit memories are off
;; expect: refused memory64
(module (memory (export "memory") i64 1) (func (export "_start")))
