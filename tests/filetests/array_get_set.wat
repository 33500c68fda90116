;; array.len, array.get, array.set: bounds, packed elements, barriers.
(module
  (type $shorts (array (mut i16)))
  (type $longs (array (mut i64)))
  (type $refs (array (mut anyref)))
  (func (export "len") (param arrayref) (result i32) (array.len (local.get 0)))
  (func (export "signed") (param (ref null $shorts) i32) (result i32) (array.get_s $shorts (local.get 0) (local.get 1)))
  (func (export "long") (param (ref $longs) i32) (result i64) (array.get $longs (local.get 0) (local.get 1)))
  (func (export "get") (param (ref $refs) i32) (result anyref) (array.get $refs (local.get 0) (local.get 1)))
  (func (export "set") (param (ref $refs) i32 anyref) (array.set $refs (local.get 0) (local.get 1) (local.get 2)))
  (func (export "store") (param (ref null $shorts) i32 i32) (array.set $shorts (local.get 0) (local.get 1) (local.get 2))))
