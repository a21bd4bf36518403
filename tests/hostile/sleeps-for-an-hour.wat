;; line: 7
;; what: a host call that does not come back
;; limits: deadline_ms=150
;; expect: deadline
(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 1040) "\01")
  (data (i32.const 1048) "\00\a0\b8\30\46\03\00\00")
  (func (export "_start") (drop (call $poll (i32.const 1024) (i32.const 2048) (i32.const 1) (i32.const 4096)))))
