;; line: 8
;; what: asks for its memory before its first instruction
;; limits: memory=8388608
;; expect: memory_limit
(module (memory (export "memory") 1000) (func (export "_start")))
