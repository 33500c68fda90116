;; Typed function references
(module
  (type $f (func (result i32)))
  (func $one (type $f) (i32.const 1))
  (elem declare func $one)
  (func (export "test") (result i32) (call_ref $f (ref.func $one))))
