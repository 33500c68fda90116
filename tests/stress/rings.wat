;; rings: cycles, dropped as fast as they are made.
;;
;;   run(n) -> a checksum over n rings of three nodes, of which the last live
;;
;; Each ring replaces one at a random place of a window of 4,096. So a ring lives through some
;; collections and then dies as an unreferenced cycle. A collector that only counts references never
;; frees it.

(module $rings
  (rec
    (type $node (struct
      (field $next (mut (ref null $node))) (field $number i32) (field $ring (ref $name))))
    ;; The object to which all nodes of a ring refer. It shows whether rings were mixed up.
    (type $name (struct (field $id i32))))
  (type $window (array (mut (ref null $node))))

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

  (func $ring (param $id i32) (result (ref $node))
    (local $first (ref $node))
    (local $name (ref $name))
    (local.set $name (struct.new $name (local.get $id)))
    (local.set $first (struct.new $node (ref.null $node) (i32.const 3) (local.get $name)))
    (struct.set $node $next (local.get $first)
      (struct.new $node
        (struct.new $node (local.get $first) (i32.const 1) (local.get $name))
        (i32.const 2)
        (local.get $name)))
    (local.get $first))

  ;; The ring's id. Traps if it is not a ring of three.
  (func $check (param $first (ref $node)) (result i32)
    (local $node (ref $node))
    (local $i i32)
    (local.set $node (local.get $first))
    (local.set $i (i32.const 3))
    (loop $more
      (if (i32.ne (struct.get $node $number (local.get $node)) (local.get $i))
        (then (unreachable)))
      (if (i32.eqz (ref.eq (struct.get $node $ring (local.get $node))
                           (struct.get $node $ring (local.get $first))))
        (then (unreachable)))
      (local.set $node (ref.as_non_null (struct.get $node $next (local.get $node))))
      (br_if $more (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
    (if (i32.eqz (ref.eq (local.get $node) (local.get $first))) (then (unreachable)))
    (struct.get $name $id (struct.get $node $ring (local.get $first))))

  (func (export "run") (param $n i32) (result i32)
    (local $window (ref $window))
    (local $i i32)
    (local $at i32)
    (local $h i32)
    (local $old (ref null $node))
    (global.set $seed (i32.const 2463534242))
    (local.set $window (array.new_default $window (i32.const 4096)))
    (block $done
      (loop $more
        (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
        (local.set $at (i32.and (call $random) (i32.const 4095)))
        (local.set $old (array.get $window (local.get $window) (local.get $at)))
        (if (i32.eqz (ref.is_null (local.get $old)))
          (then
            (local.set $h
              (i32.add (i32.rotl (local.get $h) (i32.const 3))
                (call $check (ref.as_non_null (local.get $old)))))))
        (array.set $window (local.get $window) (local.get $at) (call $ring (local.get $i)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $more)))
    (local.set $i (i32.const 0))
    (loop $more
      (local.set $old (array.get $window (local.get $window) (local.get $i)))
      (if (i32.eqz (ref.is_null (local.get $old)))
        (then
          (local.set $h
            (i32.add (i32.rotl (local.get $h) (i32.const 3))
              (call $check (ref.as_non_null (local.get $old)))))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (i32.const 4096))))
    (local.get $h)))
