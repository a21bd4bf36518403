;; line: 12
;; what: looks for a descriptor that it was not given: it traps if it finds one
;; expect: output null
(module
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $fdstat (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start") (local $fd i32)
    (local.set $fd (i32.const 3))
    (loop $a
      (if (i32.eqz (call $prestat (local.get $fd) (i32.const 0))) (then unreachable))
      (if (i32.eqz (call $fdstat (local.get $fd) (i32.const 0))) (then unreachable))
      (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
      (br_if $a (i32.lt_u (local.get $fd) (i32.const 1000))))))
