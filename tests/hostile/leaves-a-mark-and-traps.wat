;; line: 15
;; what: the same, ending by a trap: nothing of it may be there for the next one
;; expect: trap unreachable
(module (memory (export "memory") 4)
  (func (export "_start")
    (if (i32.load (i32.const 200000)) (then (loop $a (br $a))))
    (memory.fill (i32.const 131072) (i32.const 255) (i32.const 131072))
    unreachable))
