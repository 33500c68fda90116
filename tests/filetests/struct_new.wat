;; struct.new: allocation with initialised fields of every storage type.
(module
  (type $s (struct (field i8) (field i16) (field i32) (field i64) (field f32) (field f64) (field anyref)))
  (func (export "new") (param i32 i64 f32 f64 anyref) (result (ref $s))
    (struct.new $s (local.get 0) (local.get 0) (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4))))
