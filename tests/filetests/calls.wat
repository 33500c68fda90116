;; References live across calls: direct, of an import, through a reference, indirect.
(module
  (type $f (func (param anyref) (result anyref)))
  (import "m" "f" (func $import (type $f)))
  (table $t 4 funcref)
  (func $direct (type $f) (local.get 0))
  (func (export "direct") (param anyref) (result i32)
    (ref.eq (ref.cast eqref (call $direct (local.get 0))) (ref.cast eqref (local.get 0))))
  (func (export "import") (param anyref) (result anyref) (drop (call $import (local.get 0))) (local.get 0))
  (func (export "ref") (param anyref (ref null $f)) (result anyref) (drop (call_ref $f (local.get 0) (local.get 1))) (local.get 0))
  (func (export "indirect") (param anyref i32) (result anyref) (drop (call_indirect $t (type $f) (local.get 0) (local.get 1))) (local.get 0)))
