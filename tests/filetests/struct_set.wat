;; struct.set: numbers, and references through the write barrier.
(module
  (type $s (struct (field (mut i8)) (field (mut f64)) (field (mut anyref))))
  (func (export "packed") (param (ref null $s) i32) (struct.set $s 0 (local.get 0) (local.get 1)))
  (func (export "number") (param (ref null $s) f64) (struct.set $s 1 (local.get 0) (local.get 1)))
  (func (export "reference") (param (ref null $s) anyref) (struct.set $s 2 (local.get 0) (local.get 1))))
