;; gcbench: the artificial benchmark of garbage collection by John Ellis and Pete Kovac,
;; modified by Hans Boehm (GCBench, 1997).
;;
;;   run(depth) -> a checksum over all trees, the longest-lived of which has this depth
;;
;; A tree that stretches the heap dies first. Then trees of many depths are made and dropped, with
;; the same amount of allocation for each depth. Half of them are built from the top down (so that
;; older nodes refer to younger ones) and half from the bottom up. A large tree and a large array of
;; numbers live from beginning to end.

(module $gcbench
  (type $node (struct
    (field $left (mut (ref null $node))) (field $right (mut (ref null $node)))
    (field $i i32) (field $j i32)))
  (type $numbers (array (mut f64)))

  (func $leaf (result (ref $node)) (struct.new_default $node))

  ;; From the top down: children are assigned to an existing node.
  (func $populate (param $depth i32) (param $node (ref $node))
    (if (i32.le_s (local.get $depth) (i32.const 0)) (then (return)))
    (local.set $depth (i32.sub (local.get $depth) (i32.const 1)))
    (struct.set $node $left (local.get $node) (call $leaf))
    (struct.set $node $right (local.get $node) (call $leaf))
    (call $populate (local.get $depth)
      (ref.as_non_null (struct.get $node $left (local.get $node))))
    (call $populate (local.get $depth)
      (ref.as_non_null (struct.get $node $right (local.get $node)))))

  (func $top_down (param $depth i32) (result (ref $node))
    (local $node (ref $node))
    (local.set $node (call $leaf))
    (call $populate (local.get $depth) (local.get $node))
    (local.get $node))

  ;; From the bottom up: children exist before their parent.
  (func $bottom_up (param $depth i32) (result (ref $node))
    (if (i32.le_s (local.get $depth) (i32.const 0)) (then (return (call $leaf))))
    (local.set $depth (i32.sub (local.get $depth) (i32.const 1)))
    (struct.new $node
      (call $bottom_up (local.get $depth))
      (call $bottom_up (local.get $depth))
      (local.get $depth)
      (i32.const 0)))

  ;; Nodes of a perfect tree.
  (func $size (param $depth i32) (result i32)
    (i32.sub (i32.shl (i32.const 2) (local.get $depth)) (i32.const 1)))

  ;; A sum over the nodes of a tree and the depths stored in them.
  (func $weigh (param $node (ref null $node)) (result i32)
    (if (ref.is_null (local.get $node)) (then (return (i32.const 0))))
    (i32.add
      (i32.add (i32.const 1) (struct.get $node $i (local.get $node)))
      (i32.add
        (call $weigh (struct.get $node $left (local.get $node)))
        (call $weigh (struct.get $node $right (local.get $node))))))

  ;; Trees of one depth, built in both ways. The last of each is summed up.
  (func $construct (param $depth i32) (param $stretch i32) (result i32)
    (local $times i32)
    (local $i i32)
    (local $tree (ref null $node))
    (local $sum i32)
    ;; As many trees as needed to allocate twice as much as the stretching tree.
    (local.set $times
      (i32.div_u (i32.shl (call $size (local.get $stretch)) (i32.const 1))
        (call $size (local.get $depth))))
    (local.set $i (local.get $times))
    (loop $more
      (local.set $tree (call $top_down (local.get $depth)))
      (br_if $more (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
    (local.set $sum (call $weigh (local.get $tree)))
    (local.set $i (local.get $times))
    (loop $more
      (local.set $tree (call $bottom_up (local.get $depth)))
      (br_if $more (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
    (i32.add (i32.mul (local.get $times) (i32.const 31))
      (i32.add (i32.mul (local.get $sum) (i32.const 7)) (call $weigh (local.get $tree)))))

  (func (export "run") (param $long i32) (result i32)
    (local $stretch i32)
    (local $tree (ref null $node))
    (local $numbers (ref $numbers))
    (local $len i32)
    (local $i i32)
    (local $depth i32)
    (local $sum i32)
    (if (i32.gt_u (local.get $long) (i32.const 22)) (then (unreachable)))
    (local.set $stretch (i32.add (local.get $long) (i32.const 2)))
    (local.set $sum (call $weigh (call $bottom_up (local.get $stretch))))
    (local.set $tree (call $top_down (local.get $long)))
    ;; Eight numbers for each leaf: half a million for a tree of depth 16.
    (local.set $len (i32.shl (i32.const 8) (local.get $long)))
    (local.set $numbers (array.new_default $numbers (local.get $len)))
    (local.set $i (i32.const 1))
    (loop $more
      (array.set $numbers (local.get $numbers) (local.get $i)
        (f64.div (f64.const 1) (f64.convert_i32_u (local.get $i))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (i32.shr_u (local.get $len) (i32.const 1)))))
    (local.set $depth (i32.const 4))
    (block $done
      (loop $deeper
        (br_if $done (i32.gt_u (local.get $depth) (local.get $long)))
        (local.set $sum
          (i32.add (i32.rotl (local.get $sum) (i32.const 3))
            (call $construct (local.get $depth) (local.get $stretch))))
        (local.set $depth (i32.add (local.get $depth) (i32.const 2)))
        (br $deeper)))
    ;; The long-lived objects are unchanged.
    (if (i32.ne (call $weigh (local.get $tree)) (call $size (local.get $long)))
      (then (unreachable)))
    (local.set $i (i32.const 1))
    (loop $more
      (if (f64.ne (array.get $numbers (local.get $numbers) (local.get $i))
                  (f64.div (f64.const 1) (f64.convert_i32_u (local.get $i))))
        (then (unreachable)))
      (local.set $i (i32.shl (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (i32.shr_u (local.get $len) (i32.const 1)))))
    (local.get $sum)))
