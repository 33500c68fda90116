;; ref.i31, i31.get_s, i31.get_u.
(module
  (func (export "make") (param i32) (result (ref i31)) (ref.i31 (local.get 0)))
  (func (export "signed") (param i31ref) (result i32) (i31.get_s (local.get 0)))
  (func (export "unsigned") (param (ref i31)) (result i32) (i31.get_u (local.get 0))))
