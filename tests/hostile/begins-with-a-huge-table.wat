;; line: 8
;; what: a table that no pool has room for
;; expect: refused 30000
(module (memory (export "memory") 1) (table 999999 funcref) (func (export "_start")))
