;; line: 9
;; what: calls a function by a pointer of another type
;; expect: trap bad_signature
(module (memory (export "memory") 1) (table 1 funcref) (elem (i32.const 0) $f)
  (type $other (func (param i64)))
  (func $f)
  (func (export "_start") (call_indirect (type $other) (i64.const 1) (i32.const 0))))
