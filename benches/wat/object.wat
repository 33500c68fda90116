;; A module that allocates one object.
(module
  (type $pair (struct (field i32) (field (mut (ref null $pair)))))
  (func (export "object") (param $n i32) (result i32)
    (struct.get $pair 0 (struct.new $pair (local.get $n) (ref.null $pair)))))
