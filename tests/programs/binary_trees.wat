;; binary_trees: the allocation benchmark of the Computer Language Benchmarks Game (after Boehm and
;; Ellis' GCBench): many short-lived perfect trees, and one that lives throughout.
;;
;;   run(depth) -> a checksum over the sizes of all trees built
;;
;; Nodes are very small and die in whole trees. The long-lived tree is checked again at the end,
;; when everything around it has been freed many times.

(module $binary_trees
  (rec
    (type $node (struct (field $left (ref null $node)) (field $right (ref null $node)))))

  (func $build (param $depth i32) (result (ref $node))
    (if (i32.eqz (local.get $depth)) (then (return (struct.new_default $node))))
    (local.set $depth (i32.sub (local.get $depth) (i32.const 1)))
    (struct.new $node (call $build (local.get $depth)) (call $build (local.get $depth))))

  ;; The number of nodes: a leaf has no children, every other node has two.
  (func $count (param $node (ref $node)) (result i32)
    (block $leaf
      (return
        (i32.add
          (i32.add (i32.const 1)
            (call $count (br_on_null $leaf (struct.get $node $left (local.get $node)))))
          (call $count (ref.as_non_null (struct.get $node $right (local.get $node)))))))
    (i32.const 1))

  (func (export "run") (param $max i32) (result i32)
    (local $long_lived (ref $node))
    (local $depth i32)
    (local $trees i32)
    (local $nodes i32)
    (local $sum i32)
    (if (i32.gt_u (local.get $max) (i32.const 24)) (then (unreachable)))
    ;; A tree that is larger than all others and dies at once.
    (local.set $sum
      (call $count (call $build (i32.add (local.get $max) (i32.const 1)))))
    (local.set $long_lived (call $build (local.get $max)))
    (loop $deeper
      (local.set $trees (i32.shl (i32.const 1) (i32.sub (local.get $max) (local.get $depth))))
      (local.set $nodes (i32.const 0))
      (loop $more
        (local.set $nodes
          (i32.add (local.get $nodes) (call $count (call $build (local.get $depth)))))
        (local.set $trees (i32.sub (local.get $trees) (i32.const 1)))
        (br_if $more (local.get $trees)))
      (local.set $sum
        (i32.add (i32.mul (local.get $sum) (i32.const 31)) (local.get $nodes)))
      (local.set $depth (i32.add (local.get $depth) (i32.const 4)))
      (br_if $deeper (i32.le_u (local.get $depth) (local.get $max))))
    (i32.add (i32.mul (local.get $sum) (i32.const 31)) (call $count (local.get $long_lived)))))
