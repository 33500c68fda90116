;; Tail calls: constant stack, arguments on the stack, traps, and other instances.

;; Three functions that call each other in the three ways, and count down. The script's stack has no room for
;; so many frames.
(module
  (type $f (func (param i64 i64) (result i64)))
  (table 1 funcref)
  (elem (i32.const 0) $direct)
  (elem declare func $indirect)
  (func $direct (export "run") (type $f)
    (if (i64.eqz (local.get 0)) (then (return (local.get 1))))
    (return_call_ref $f (i64.sub (local.get 0) (i64.const 1))
      (i64.add (local.get 1) (i64.const 1)) (ref.func $indirect)))
  (func $indirect (type $f)
    (if (i64.eqz (local.get 0)) (then (return (local.get 1))))
    (return_call $third (i64.sub (local.get 0) (i64.const 1))
      (i64.add (local.get 1) (i64.const 1))))
  (func $third (type $f)
    (if (i64.eqz (local.get 0)) (then (return (local.get 1))))
    (return_call_indirect (type $f) (i64.sub (local.get 0) (i64.const 1))
      (i64.add (local.get 1) (i64.const 1)) (i32.const 0))))

(assert_return (invoke "run" (i64.const 1000000) (i64.const 0)) (i64.const 1000000))

;; A function with few parameters calls one with many, and that one calls one with few. References are among the
;; arguments on the stack, and each step allocates.
(module
  (type $pair (struct (field $value (mut i32)) (field $next (mut (ref null $pair)))))
  (import "reclaim" "gc" (func $gc))
  ;; Collects, and then overwrites what is free.
  (func $churn
    (local $i i32)
    (call $gc)
    (local.set $i (i32.const 40))
    (loop $again
      (drop (struct.new $pair (i32.const -1) (ref.null $pair)))
      (br_if $again (local.tee $i (i32.sub (local.get $i) (i32.const 1))))))
  (func $new (param i32) (result (ref $pair))
    (struct.new $pair (local.get 0) (ref.null $pair)))
  (func $get (param (ref null $pair)) (result i32) (struct.get $pair 0 (local.get 0)))

  (func $few (export "few") (param $n i32) (param $p (ref $pair)) (result i32)
    (call $churn)
    (if (i32.eqz (local.get $n)) (then (return (call $get (local.get $p)))))
    (return_call $many (local.get $n) (call $new (local.get $n)) (i64.const 1)
      (f64.const 2) (local.get $p) (i32.const 3) (i32.const 4) (i32.const 5)
      (call $new (i32.const 6)) (i64.const 7) (i64.const 8) (call $new (i32.const 9))
      (i32.const 10) (call $new (i32.const 11))))
  (func $many (param i32 (ref $pair) i64 f64 (ref $pair) i32 i32 i32 (ref $pair) i64 i64 (ref $pair)
      i32 (ref $pair)) (result i32)
    (call $churn)
    (if (i32.ne (call $get (local.get 1)) (local.get 0)) (then (unreachable)))
    (if (i32.ne (call $get (local.get 8)) (i32.const 6)) (then (unreachable)))
    (if (i32.ne (call $get (local.get 11)) (i32.const 9)) (then (unreachable)))
    (if (i32.ne (call $get (local.get 13)) (i32.const 11)) (then (unreachable)))
    (return_call $few (i32.sub (local.get 0) (i32.const 1))
      (call $new (i32.add (call $get (local.get 4)) (local.get 0)))))
  (func (export "run") (param i32) (result i32)
    (local $kept (ref null $pair)) (local $sum i32)
    (local.set $kept (call $new (i32.const 1000)))
    (local.set $sum (call $few (local.get 0) (call $new (i32.const 0))))
    (i32.add (local.get $sum) (call $get (local.get $kept)))))

(assert_return (invoke "run" (i32.const 20)) (i32.const 1210))

(module
  (type $f (func (param i32) (result i32)))
  (type $g (func (param i32 i32) (result i32)))
  (table 2 funcref)
  (elem (i32.const 0) $wrong)
  (func $wrong (type $g) (i32.const 1))
  (func $outer (export "outer") (param i32) (result i32)
    (i32.add (call $replaced (local.get 0)) (i32.const 1)))
  (func $replaced (param i32) (result i32) (return_call $inner (local.get 0) (i32.const 0)))
  (func $inner (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
  (func (export "null") (result i32)
    (return_call_ref $f (i32.const 1) (ref.null $f)))
  (func (export "hole") (result i32)
    (return_call_indirect (type $f) (i32.const 1) (i32.const 1)))
  (func (export "outside") (result i32)
    (return_call_indirect (type $f) (i32.const 1) (i32.const 2)))
  (func (export "wrong") (result i32)
    (return_call_indirect (type $f) (i32.const 1) (i32.const 0))))

(assert_trap (invoke "outer" (i32.const 1)) "integer divide by zero")
(assert_trap (invoke "null") "null reference")
(assert_trap (invoke "hole") "uninitialized element")
(assert_trap (invoke "outside") "undefined element")
(assert_trap (invoke "wrong") "indirect call type mismatch")

;; Instances call each other in tail calls.
(module
  (func (export "step") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 10))))
(register "next")
(module definition $step
  (type $f (func (param i32) (result i32)))
  (import "next" "step" (func $next (param i32) (result i32)))
  (global $own (export "own") (mut i32) (i32.const 0))
  (func (export "step") (param i32) (result i32)
    (global.set $own (i32.add (global.get $own) (local.get 0)))
    (return_call $next (i32.sub (local.get 0) (i32.const 1)))))
(module instance $a $step)
(register "next" $a)
(module instance $b $step)
(register "next" $b)
(module instance $c $step)
(assert_return (invoke $c "step" (i32.const 9)) (i32.const 60))
(assert_return (get $a "own") (i32.const 7))
(assert_return (get $b "own") (i32.const 8))
(assert_return (get $c "own") (i32.const 9))

;; Functions that call themselves and each other, with tail calls among them, of which some are inlined.
(module
  (func $fib (export "fib") (param i32) (result i32)
    (if (result i32) (i32.lt_s (local.get 0) (i32.const 2))
      (then (local.get 0))
      (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1)))
             (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
  (func $even (export "even") (param i32) (result i32)
    (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 1))
      (else (call $odd (i32.sub (local.get 0) (i32.const 1))))))
  (func $odd (param i32) (result i32)
    (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 0))
      (else (call $even (i32.sub (local.get 0) (i32.const 1))))))
  (func $down (export "down") (param i32) (result i32)
    (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 7))
      (else (return_call $down2 (i32.sub (local.get 0) (i32.const 1))))))
  (func $down2 (param i32) (result i32)
    (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 8))
      (else (return_call $down (i32.sub (local.get 0) (i32.const 1))))))
  (func (export "both") (param i32) (result i32)
    (i32.add (call $down (local.get 0)) (call $down2 (local.get 0)))))

(assert_return (invoke "fib" (i32.const 20)) (i32.const 6765))
(assert_return (invoke "even" (i32.const 1001)) (i32.const 0))
(assert_return (invoke "even" (i32.const 1000)) (i32.const 1))
;; These need the stack of one frame.
(assert_return (invoke "down" (i32.const 1000000)) (i32.const 7))
(assert_return (invoke "both" (i32.const 999999)) (i32.const 15))
