;; The smallest programs.

(module (func $fib (export "fib") (param i32) (result i32)
  (if (result i32) (i32.lt_s (local.get 0) (i32.const 2))
    (then (local.get 0))
    (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1)))
           (call $fib (i32.sub (local.get 0) (i32.const 2))))))))

(assert_return (invoke "fib" (i32.const 20)) (i32.const 6765))

(module
  (type $list (struct (field i32) (field (ref null $list))))
  (func (export "sum") (param i32) (result i32)
    (local $l (ref null $list)) (local $s i32)
    (loop $again
      (local.set $l (struct.new $list (local.get 0) (local.get $l)))
      (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (loop $again
      (local.set $s (i32.add (local.get $s) (struct.get $list 0 (local.get $l))))
      (br_if $again (i32.eqz (ref.is_null (local.tee $l (struct.get $list 1 (local.get $l)))))))
    (local.get $s)))

(assert_return (invoke "sum" (i32.const 1000)) (i32.const 500500))
