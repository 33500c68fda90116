;; array.new, array.new_default, array.new_fixed, array.new_data of a segment that is never dropped.
(module
  (type $bytes (array (mut i8)))
  (type $refs (array (mut anyref)))
  (func (export "filled") (param i32 i32) (result (ref $bytes)) (array.new $bytes (local.get 0) (local.get 1)))
  (func (export "default") (param i32) (result (ref $refs)) (array.new_default $refs (local.get 0)))
  (func (export "refs") (param anyref i32) (result (ref $refs)) (array.new $refs (local.get 0) (local.get 1)))
  (func (export "fixed") (param anyref) (result (ref $refs)) (array.new_fixed $refs 2 (local.get 0) (ref.null any)))
  (data $d "a data segment that is not dropped")
  (func (export "data") (result (ref $bytes)) (array.new_data $bytes $d (i32.const 2) (i32.const 21))))
