;; ref.null, ref.is_null, ref.eq, ref.as_non_null, branches on null, conversions.
(module
  (func (export "null") (result anyref) (ref.null any))
  (func (export "is_null") (param externref) (result i32) (ref.is_null (local.get 0)))
  (func (export "eq") (param eqref eqref) (result i32) (ref.eq (local.get 0) (local.get 1)))
  (func (export "as_non_null") (param anyref) (result (ref any)) (ref.as_non_null (local.get 0)))
  (func (export "on_null") (param anyref) (result i32)
    (block $null (drop (br_on_null $null (local.get 0))) (return (i32.const 0)))
    (i32.const 1))
  (func (export "on_non_null") (param anyref) (result i32)
    (drop (block $some (result (ref any)) (br_on_non_null $some (local.get 0)) (return (i32.const 0))))
    (i32.const 1))
  (func (export "externalize") (param anyref) (result externref) (extern.convert_any (local.get 0)))
  (func (export "internalize") (param externref) (result anyref) (any.convert_extern (local.get 0))))
