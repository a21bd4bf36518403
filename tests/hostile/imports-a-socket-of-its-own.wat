;; line: 3
;; what: a name that looks like one of WASI's
;; expect: refused wasi_snapshot_preview1.sock_connect
(module (import "wasi_snapshot_preview1" "sock_connect" (func)) (memory (export "memory") 1) (func (export "_start")))
