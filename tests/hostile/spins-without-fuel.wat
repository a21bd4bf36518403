;; line: 7
;; what: a loop for ever, whose caller has left nothing but the deadline
;; limits: fuel=off deadline_ms=150
;; expect: deadline
(module (memory (export "memory") 1) (func (export "_start") (loop $a (br $a))))
