;; Garbage collection: structs, arrays, casts
(module
  (type $point (sub (struct (field $x i32))))
  (type $point3 (sub $point (struct (field $x i32) (field $z (mut i32)))))
  (type $numbers (array (mut i64)))
  (func (export "test") (result i32)
    (drop (array.new $numbers (i64.const 1) (i32.const 10)))
    (struct.get $point $x
      (ref.cast (ref $point3)
        (struct.new $point3 (i32.const 1) (i32.const 2))))))
