;; struct.get: numbers, packed fields by sign, references through the read barrier.
(module
  (type $s (struct (field i8) (field i64) (field anyref) (field (mut externref))))
  (func (export "number") (param (ref null $s)) (result i64) (struct.get $s 1 (local.get 0)))
  (func (export "signed") (param (ref $s)) (result i32) (struct.get_s $s 0 (local.get 0)))
  (func (export "unsigned") (param (ref $s)) (result i32) (struct.get_u $s 0 (local.get 0)))
  (func (export "reference") (param (ref null $s)) (result anyref) (struct.get $s 2 (local.get 0))))
