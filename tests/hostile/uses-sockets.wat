;; line: 13
;; what: accepts a connection on every small descriptor: it traps if one is there
;; expect: output null
(module
  (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start") (local $fd i32)
    (loop $a
      (if (i32.eqz (call $accept (local.get $fd) (i32.const 0) (i32.const 64))) (then unreachable))
      (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
      (br_if $a (i32.lt_u (local.get $fd) (i32.const 100))))))
