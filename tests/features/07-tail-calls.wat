;; Tail calls
(module
  (func $count (param $n i32) (result i32)
    (if (result i32) (i32.eqz (local.get $n))
      (then (i32.const 1))
      (else (return_call $count (i32.sub (local.get $n) (i32.const 1))))))
  (func (export "test") (result i32) (call $count (i32.const 1000000))))
