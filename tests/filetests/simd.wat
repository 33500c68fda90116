;; v128: a loop over a memory, whose lanes are cast only where control joins; fields and elements,
;; which are aligned to eight bytes; a relaxed instruction.
(module
  (type $s (struct (field i32) (field (mut v128))))
  (type $a (array (mut v128)))
  (memory 1)
  (func (export "scale") (param $at i32) (param $count i32) (param $factor f32)
    (local $factors v128)
    (local.set $factors (f32x4.splat (local.get $factor)))
    (loop $next
      (v128.store (local.get $at)
        (f32x4.add (f32x4.mul (v128.load (local.get $at)) (local.get $factors))
          (v128.const f32x4 1 2 3 4)))
      (local.set $at (i32.add (local.get $at) (i32.const 16)))
      (br_if $next
        (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))
  (func (export "add") (param (ref $s)) (param v128)
    (struct.set $s 1 (local.get 0) (i32x4.add (struct.get $s 1 (local.get 0)) (local.get 1))))
  (func (export "new") (param v128) (result (ref $s)) (struct.new $s (i32.const 1) (local.get 0)))
  (func (export "element") (param (ref $a) i32) (result v128)
    (array.get $a (local.get 0) (local.get 1)))
  (func (export "fused") (param v128 v128 v128) (result v128)
    (f64x2.relaxed_madd (local.get 0) (local.get 1) (local.get 2))))
