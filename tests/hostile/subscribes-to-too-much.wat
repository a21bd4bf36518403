;; line: 10
;; what: one host call that makes the host keep a handle for each of 20,000 entries
;; expect: trap host_call
(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 64)
  (func (export "_start")
    (drop (call $poll (i32.const 1024) (i32.const 2097152) (i32.const 20000) (i32.const 64)))))
