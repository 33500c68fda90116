;; ref.test of abstract types, a final type and a type with subtypes.
(module
  (type $open (sub (struct (field i32))))
  (type $final (struct (field i64)))
  (func (export "i31") (param anyref) (result i32) (ref.test (ref i31) (local.get 0)))
  (func (export "eq") (param anyref) (result i32) (ref.test (ref null eq) (local.get 0)))
  (func (export "struct") (param anyref) (result i32) (ref.test (ref struct) (local.get 0)))
  (func (export "array") (param anyref) (result i32) (ref.test (ref array) (local.get 0)))
  (func (export "none") (param anyref) (result i32) (ref.test nullref (local.get 0)))
  (func (export "final") (param anyref) (result i32) (ref.test (ref $final) (local.get 0)))
  (func (export "open") (param structref) (result i32) (ref.test (ref null $open) (local.get 0))))
