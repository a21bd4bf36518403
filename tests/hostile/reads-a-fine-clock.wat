;; line: 12
;; what: reads both clocks ten thousand times: it traps if one is finer than a millisecond
;; expect: output null
(module
  (import "wasi_snapshot_preview1" "clock_time_get" (func $now (param i32 i64 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start") (local $n i32)
    (loop $a
      (drop (call $now (i32.and (local.get $n) (i32.const 1)) (i64.const 1) (i32.const 0)))
      (if (i64.ne (i64.rem_u (i64.load (i32.const 0)) (i64.const 1000000)) (i64.const 0)) (then unreachable))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $a (i32.lt_u (local.get $n) (i32.const 10000))))))
