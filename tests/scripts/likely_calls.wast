;; A call through a reference compares the reference with the few functions that it is likely to be, and calls
;; these directly. Nobody sees this but by the speed.

;; The same function of another instance has its own context.
(module definition $code
  (type $code (func (result i32)))
  (type $object (struct (field (ref null $code))))
  (global $mine (mut i32) (i32.const 0))
  (elem declare func $get)
  (func $get (type $code) (global.get $mine))
  (func (export "set") (param i32) (global.set $mine (local.get 0)))
  (func (export "object") (result (ref $object)) (struct.new $object (ref.func $get)))
  (func (export "call") (param (ref null $object)) (result i32)
    (call_ref $code (struct.get $object 0 (local.get 0)))))
(module instance $one $code)
(invoke $one "set" (i32.const 1))
(register "one" $one)
(module instance $two $code)
(invoke $two "set" (i32.const 2))
(register "two" $two)
(module
  (type $code (func (result i32)))
  (type $object (struct (field (ref null $code))))
  (import "one" "object" (func $object1 (result (ref $object))))
  (import "two" "object" (func $object2 (result (ref $object))))
  (import "one" "call" (func $call1 (param (ref null $object)) (result i32)))
  (import "two" "call" (func $call2 (param (ref null $object)) (result i32)))
  (func (export "run") (result i32 i32 i32 i32)
    (call $call1 (call $object1))
    (call $call1 (call $object2))
    (call $call2 (call $object1))
    (call $call2 (call $object2))))

(assert_return (invoke "run") (i32.const 1) (i32.const 2) (i32.const 1) (i32.const 2))
