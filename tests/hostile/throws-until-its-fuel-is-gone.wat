;; line: 7
;; what: the same with little fuel and much memory
;; limits: fuel=100000
;; expect: out_of_fuel
(module (tag $e) (memory (export "memory") 1)
  (func $throw (throw $e))
  (func (export "_start")
    (loop $again (block $caught (try_table (catch_all $caught) (call $throw))) (br $again))))
