(module
  (type $a (;0;) (array (mut anyref)))
  (type (;1;) (func (param (ref $a) i32 anyref)))
  (export "f" (func 0))
  (func (;0;) (type 1) (param (ref $a) i32 anyref)
    local.get 0
    local.get 1
    local.get 2
    array.set $a
  )
  (@custom "x" (after code) "\00\00\00\00\00")
)
