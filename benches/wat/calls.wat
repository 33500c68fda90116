;; Calls over the border: what the host calls, and loops that call the host.
(module
  (import "host" "value" (func $value (param i32) (result externref)))
  (import "host" "nop" (func $nop))
  (import "host" "add" (func $add (param i32 i32) (result i32)))
  (import "host" "same" (func $same (param externref) (result externref)))

  (func (export "nop"))
  (func (export "add") (param i32 i32) (result i32)
    (i32.add (local.get 0) (local.get 1)))
  (func (export "same") (param externref) (result externref) (local.get 0))

  ;; Each calls the host n times.
  (func (export "host nop") (param $n i32) (result i32)
    (loop $next
      (call $nop)
      (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $n))

  (func (export "host add") (param $n i32) (result i32)
    (local $sum i32)
    (loop $next
      (local.set $sum (call $add (local.get $sum) (local.get $n)))
      (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))

  (func (export "host same") (param $n i32) (result i32)
    (local $x externref)
    (local.set $x (call $value (i32.const 7)))
    (loop $next
      (local.set $x (call $same (local.get $x)))
      (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (ref.is_null (local.get $x))))
