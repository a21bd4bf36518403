;; line: 6
;; what: a start function that never ends: limits are set before it runs
;; limits: fuel=2000000
;; expect: out_of_fuel
(module (memory (export "memory") 1) (func $spin (loop $a (br $a))) (start $spin) (func (export "_start")))
