;; line: 12
;; what: opens a path below every small descriptor: it traps if one is opened
;; expect: output null
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "../../etc/passwd")
  (func (export "_start") (local $fd i32)
    (loop $a
      (if (i32.eqz (call $path_open (local.get $fd) (i32.const 1) (i32.const 64) (i32.const 16) (i32.const 0)
            (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 128)))
        (then unreachable))
      (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
      (br_if $a (i32.lt_u (local.get $fd) (i32.const 20))))))
