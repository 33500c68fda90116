;; Casts of function references.
(module
  (type $open (sub (func (result anyref))))
  (type $final (func (param i32)))
  (func (export "open") (param funcref) (result i32) (ref.test (ref $open) (local.get 0)))
  (func (export "final") (param funcref) (result (ref null $final)) (ref.cast (ref null $final) (local.get 0))))
