;; Function references are kept in objects as checked ids.
(module
  (type $f (func (result i32)))
  (type $s (struct (field (mut (ref null $f)))))
  (func (export "get") (param (ref $s)) (result (ref null $f)) (struct.get $s 0 (local.get 0)))
  (func (export "set") (param (ref $s) (ref null $f)) (struct.set $s 0 (local.get 0) (local.get 1))))
