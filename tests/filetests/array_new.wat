;; array.new, array.new_default, array.new_fixed.
(module
  (type $bytes (array (mut i8)))
  (type $refs (array (mut anyref)))
  (func (export "filled") (param i32 i32) (result (ref $bytes)) (array.new $bytes (local.get 0) (local.get 1)))
  (func (export "default") (param i32) (result (ref $refs)) (array.new_default $refs (local.get 0)))
  (func (export "refs") (param anyref i32) (result (ref $refs)) (array.new $refs (local.get 0) (local.get 1)))
  (func (export "fixed") (param anyref) (result (ref $refs)) (array.new_fixed $refs 2 (local.get 0) (ref.null any))))
