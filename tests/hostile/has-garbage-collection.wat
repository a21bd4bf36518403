;; line: 3
;; what: garbage collection is off
;; expect: refused gc
(module (type $s (struct (field i32))) (memory (export "memory") 1) (func (export "_start")))
