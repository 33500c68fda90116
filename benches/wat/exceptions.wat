;; Exceptions: thrown and caught across three frames, and calls with and without a handler that is
;; not used. The functions are too large to be inlined, or call each other through a table.
(module
  (tag $e (param i32))
  (type $f (func (param i32) (result i32)))
  (table funcref (elem $thrower $middle2 $middle1 $work))

  ;; Here the bench adds a function that moves the others.
  ;; PLACE

  ;; The frames between: $middle1 calls $middle2 calls $thrower.
  (func $thrower (param i32) (result i32)
    (throw $e (i32.add (local.get 0) (i32.const 1))))
  (func $middle2 (param i32) (result i32)
    (i32.add (call_indirect (type $f) (local.get 0) (i32.const 0)) (i32.const 100)))
  (func $middle1 (param i32) (result i32)
    (i32.add (call_indirect (type $f) (local.get 0) (i32.const 1)) (i32.const 100)))

  ;; Throws and catches N times.
  (func (export "throw") (param $n i32) (result i32) (local $sum i32)
    (loop $again
      (block $caught (result i32)
        (try_table (result i32) (catch $e $caught)
          (call_indirect (type $f) (local.get $sum) (i32.const 2))))
      (local.set $sum)
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))

  (func $work (param i32) (result i32)
    (i32.xor (i32.mul (local.get 0) (i32.const 0x01000193)) (i32.const 0x55)))

  ;; N calls.
  (func (export "call") (param $n i32) (result i32)
    (local $sum i32) (local $a i32) (local $b i32)
    (loop $again
      (local.set $a (call_indirect (type $f) (local.get $sum) (i32.const 3)))
      (local.set $b (i32.add (local.get $b) (local.get $n)))
      (local.set $sum (i32.add (local.get $a) (local.get $b)))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))

  ;; The same with a handler around each call.
  (func (export "try") (param $n i32) (result i32)
    (local $sum i32) (local $a i32) (local $b i32)
    (loop $again
      (block $next
        (local.set $sum (block $caught (result i32)
          (try_table (catch $e $caught)
            (local.set $a (call_indirect (type $f) (local.get $sum) (i32.const 3)))
            (local.set $b (i32.add (local.get $b) (local.get $n)))
            (local.set $sum (i32.add (local.get $a) (local.get $b))))
          (br $next))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum)))
