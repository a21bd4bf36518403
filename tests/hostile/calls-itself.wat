;; line: 9
;; what: recursion without end
;; expect: trap stack_overflow
(module (memory (export "memory") 1) (func $deep (call $deep) (call $deep)) (func (export "_start") (call $deep)))
