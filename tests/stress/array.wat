;; array: one array of references of the requested size, mutated at random.
;;
;;   run(n) -> a checksum over an array of n references after 2 n stores
;;
;; The array is one old object that is expensive to scan as a whole. Half of the stores put a new
;; box in it. The others copy a reference from another place in it, so that boxes are shared and
;; some die.

(module $array
  (type $box (struct (field $value i32)))
  (type $boxes (array (mut (ref null $box))))

  (global $seed (mut i32) (i32.const 0))

  ;; xorshift32 (Marsaglia 2003)
  (func $random (result i32)
    (local $x i32)
    (local.set $x (global.get $seed))
    (local.set $x (i32.xor (local.get $x) (i32.shl (local.get $x) (i32.const 13))))
    (local.set $x (i32.xor (local.get $x) (i32.shr_u (local.get $x) (i32.const 17))))
    (local.set $x (i32.xor (local.get $x) (i32.shl (local.get $x) (i32.const 5))))
    (global.set $seed (local.get $x))
    (local.get $x))

  (func $hash (param $boxes (ref $boxes)) (result i32)
    (local $i i32)
    (local $h i32)
    (block $done
      (loop $more
        (br_if $done (i32.ge_u (local.get $i) (array.len (local.get $boxes))))
        (local.set $h
          (i32.add (i32.mul (local.get $h) (i32.const 31))
            (struct.get $box $value (array.get $boxes (local.get $boxes) (local.get $i)))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $more)))
    (local.get $h))

  (func (export "run") (param $n i32) (result i32)
    (local $boxes (ref $boxes))
    (local $i i32)
    (local $at i32)
    (if (i32.eqz (local.get $n)) (then (return (i32.const 0))))
    (global.set $seed (i32.const 2463534242))
    (local.set $boxes (array.new_default $boxes (local.get $n)))
    (loop $more
      (array.set $boxes (local.get $boxes) (local.get $i) (struct.new $box (local.get $i)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (local.get $n))))
    (local.set $i (i32.const 0))
    (loop $more
      (array.set $boxes (local.get $boxes)
        (i32.rem_u (call $random) (local.get $n))
        (struct.new $box (local.get $i)))
      (local.set $at (i32.rem_u (call $random) (local.get $n)))
      (array.set $boxes (local.get $boxes) (local.get $at)
        (array.get $boxes (local.get $boxes) (i32.rem_u (call $random) (local.get $n))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (local.get $n))))
    (call $hash (local.get $boxes))))
