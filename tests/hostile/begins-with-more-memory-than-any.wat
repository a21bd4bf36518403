;; line: 8
;; what: two gigabytes at the start, where the pool has one for each instance
;; expect: refused 2147483648
(module (memory (export "memory") 32768) (func (export "_start")))
