;; line: 15
;; what: leaves a mark in its memory, its global and its table, and traps if an earlier instance's is still there
;; expect: output null
(module (memory (export "memory") 4) (global $seen (mut i32) (i32.const 0)) (table $t 2 funcref) (elem declare func $f)
  (func $f)
  (func (export "_start")
    (if (i32.load (i32.const 200000)) (then unreachable))
    (if (global.get $seen) (then unreachable))
    (if (i32.eqz (ref.is_null (table.get $t (i32.const 1)))) (then unreachable))
    (i32.store (i32.const 200000) (i32.const 1))
    (global.set $seen (i32.const 1))
    (table.set $t (i32.const 1) (ref.func $f))))
