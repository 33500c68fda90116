;; ref.i31, i31.get_s, i31.get_u.
(module
  (func (export "make") (param i32) (result (ref i31)) (ref.i31 (local.get 0)))
  (func (export "signed") (param i31ref) (result i32) (i31.get_s (local.get 0)))
  (func (export "unsigned") (param (ref i31)) (result i32) (i31.get_u (local.get 0)))

  ;; The sum is computed with its tag, and its store needs no barrier for what it may refer to.
  (type $box (struct (field $value (mut anyref))))
  (func (export "store_sum") (param $box (ref $box)) (param $a i31ref) (param $b i31ref)
    (struct.set $box $value (local.get $box)
      (ref.i31 (i32.add (i31.get_s (local.get $a)) (i31.get_s (local.get $b)))))))
