;; What MicroPython is linked with: its command line, its environment, and the two functions that its package expects of a host.
;;
;; The module is called with a task and a script. It begins with options that run a program of ours, the runner; the task is the
;; last argument. The script becomes a variable of the environment, SCRIPT, since MicroPython takes no argument of more than 255 bytes.
;;
;; The build puts the bytes of the runner, with a NUL, in place of RUNNER, and their number in place of LENGTH.
(module
  (import "python" "memory" (memory 0))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))

  ;; The heap has a fixed size, of which only what is used is touched.
  (data $options "micropython\00-X\00heapsize=32M\00-c\00")
  (data $runner "RUNNER")
  (data $variable "SCRIPT=")

  ;; What the module is called with; the libc that asks for sizes asks before it asks for what has them.
  (global $count (mut i32) (i32.const 0))
  (global $bytes (mut i32) (i32.const 0))
  (global $variables (mut i32) (i32.const 0))
  (global $variables_bytes (mut i32) (i32.const 0))

  (func $has_script (result i32) (i32.eq (global.get $count) (i32.const 3)))

  ;; Reads the sizes of what the module is called with, by way of memory that is the caller's.
  (func $look (param $at i32) (param $also_at i32) (result i32)
    (local $error i32)
    (local.set $error (call $args_sizes (local.get $at) (local.get $also_at)))
    (global.set $count (i32.load (local.get $at)))
    (global.set $bytes (i32.load (local.get $also_at)))
    (local.get $error))

  ;; Four more than there are: the name of the program counts already. A script is none of them.
  (func (export "args_sizes_get") (param $count_at i32) (param $bytes_at i32) (result i32)
    (local $error i32)
    (local.set $error (call $look (local.get $count_at) (local.get $bytes_at)))
    (i32.store (local.get $count_at) (i32.sub (i32.add (global.get $count) (i32.const 4)) (call $has_script)))
    (i32.store (local.get $bytes_at) (i32.add (global.get $bytes) (i32.add (i32.const 31) (i32.const LENGTH))))
    (local.get $error))

  (func (export "args_get") (param $words i32) (param $text i32) (result i32)
    (local $error i32)
    (local.set $error
      (call $args
        (i32.add (local.get $words) (i32.const 16))
        (i32.add (local.get $text) (i32.add (i32.const 31) (i32.const LENGTH)))))
    (memory.init $options (local.get $text) (i32.const 0) (i32.const 31))
    (memory.init $runner (i32.add (local.get $text) (i32.const 31)) (i32.const 0) (i32.const LENGTH))
    (i32.store offset=0 (local.get $words) (local.get $text))
    (i32.store offset=4 (local.get $words) (i32.add (local.get $text) (i32.const 12)))
    (i32.store offset=8 (local.get $words) (i32.add (local.get $text) (i32.const 15)))
    (i32.store offset=12 (local.get $words) (i32.add (local.get $text) (i32.const 28)))
    (i32.store offset=16 (local.get $words) (i32.add (local.get $text) (i32.const 31)))
    (if (call $has_script) (then (i32.store offset=24 (local.get $words) (i32.const 0))))
    (local.get $error))

  ;; Room for three words and the arguments, after that of the variables that there are, and for the name before the script.
  (func (export "environ_sizes_get") (param $count_at i32) (param $bytes_at i32) (result i32)
    (local $error i32)
    (local.set $error (call $look (local.get $count_at) (local.get $bytes_at)))
    (if (i32.eqz (local.get $error))
      (then (local.set $error (call $environ_sizes (local.get $count_at) (local.get $bytes_at)))))
    (global.set $variables (i32.load (local.get $count_at)))
    (global.set $variables_bytes (i32.load (local.get $bytes_at)))
    (if (call $has_script)
      (then
        (i32.store (local.get $count_at) (i32.add (global.get $variables) (i32.const 1)))
        (i32.store (local.get $bytes_at)
          (i32.add (global.get $variables_bytes) (i32.add (global.get $bytes) (i32.const 24))))))
    (local.get $error))

  ;; The name is put over what is before the script: the name of the program, the task, and seven bytes more.
  (func (export "environ_get") (param $words i32) (param $text i32) (result i32)
    (local $error i32)
    (local.set $error (call $environ (local.get $words) (local.get $text)))
    (if (i32.or (local.get $error) (i32.eqz (call $has_script))) (then (return (local.get $error))))
    ;; To a place for words, which is a multiple of four.
    (local.set $text
      (i32.and (i32.add (i32.add (local.get $text) (global.get $variables_bytes)) (i32.const 3)) (i32.const -4)))
    (local.set $error (call $args (local.get $text) (i32.add (local.get $text) (i32.const 20))))
    (local.set $text (i32.sub (i32.load offset=8 (local.get $text)) (i32.const 7)))
    (memory.init $variable (local.get $text) (i32.const 0) (i32.const 7))
    (i32.store (i32.add (local.get $words) (i32.shl (global.get $variables) (i32.const 2))) (local.get $text))
    (local.get $error))

  ;; There is no host to call: an answer never has room, and no call succeeds.
  (func (export "host_result_cap") (result i32) (i32.const 0))
  (func (export "host_call") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const -1)))
