;; line: 10
;; what: spends all its time in host calls, which fuel does not measure
;; limits: fuel=off deadline_ms=150
;; expect: deadline
(module
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "_start") (loop $a (drop (call $random_get (i32.const 0) (i32.const 65536))) (br $a))))
