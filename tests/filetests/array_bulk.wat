;; array.fill, array.copy, and arrays made and filled from segments.
(module
  (type $bytes (array (mut i8)))
  (type $refs (array (mut anyref)))
  (type $funcs (array (mut funcref)))
  (data $d "some bytes")
  (elem $e funcref (ref.null func))
  (func (export "fill") (param (ref $refs) i32 anyref i32) (array.fill $refs (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
  (func (export "copy") (param (ref $bytes) i32 (ref null $bytes) i32 i32) (array.copy $bytes $bytes (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4)))
  (func (export "new_data") (param i32 i32) (result (ref $bytes)) (array.new_data $bytes $d (local.get 0) (local.get 1)))
  (func (export "new_elem") (param i32 i32) (result (ref $funcs)) (array.new_elem $funcs $e (local.get 0) (local.get 1)))
  (func (export "init_data") (param (ref null $bytes) i32 i32 i32) (array.init_data $bytes $d (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
  (func (export "init_elem") (param (ref null $funcs) i32 i32 i32) (array.init_elem $funcs $e (local.get 0) (local.get 1) (local.get 2) (local.get 3))))
