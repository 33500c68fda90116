;; struct.new_default: every field zero or null.
(module
  (type $s (struct (field i32) (field (mut anyref)) (field f64)))
  (func (export "new") (result (ref $s)) (struct.new_default $s)))
