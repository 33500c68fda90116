;; One of many programs that share the memory of a process: trees, some of which it replaces in each step.
;;
;; `start(trees, depth, seed)` makes that many trees. `step(n, garbage)` replaces `n` of them, and makes `garbage`
;; other trees for each, which die at once. It returns a sum that only depends on the arguments.
(module
  (type $node (struct (field $left (ref null $node)) (field $right (ref null $node)) (field $value i32)))
  (type $trees (array (mut (ref null $node))))
  (global $trees (mut (ref $trees)) (array.new_default $trees (i32.const 0)))
  (global $depth (mut i32) (i32.const 0))
  (global $seed (mut i32) (i32.const 1))

  ;; Marsaglia's xorshift.
  (func $random (param $below i32) (result i32)
    (global.set $seed (i32.xor (global.get $seed) (i32.shl (global.get $seed) (i32.const 13))))
    (global.set $seed (i32.xor (global.get $seed) (i32.shr_u (global.get $seed) (i32.const 17))))
    (global.set $seed (i32.xor (global.get $seed) (i32.shl (global.get $seed) (i32.const 5))))
    (i32.rem_u (global.get $seed) (local.get $below)))

  (func $tree (param $depth i32) (result (ref null $node))
    (if (result (ref null $node)) (i32.eqz (local.get $depth))
      (then (ref.null $node))
      (else
        (struct.new $node
          (call $tree (i32.sub (local.get $depth) (i32.const 1)))
          (call $tree (i32.sub (local.get $depth) (i32.const 1)))
          (local.get $depth)))))

  (func (export "start") (param $count i32) (param $depth i32) (param $seed i32)
    (local $i i32)
    (global.set $seed (i32.or (local.get $seed) (i32.const 1)))
    (global.set $depth (local.get $depth))
    (global.set $trees (array.new_default $trees (local.get $count)))
    (loop $next
      (if (i32.lt_u (local.get $i) (local.get $count))
        (then
          (array.set $trees (global.get $trees) (local.get $i) (call $tree (local.get $depth)))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $next)))))

  (func (export "step") (param $count i32) (param $garbage i32) (result i32)
    (local $i i32) (local $sum i32) (local $place i32)
    (loop $next
      (if (local.get $count)
        (then
          (local.set $i (local.get $garbage))
          (loop $more
            (if (local.get $i)
              (then
                (local.set $sum
                  (i32.add (local.get $sum)
                    (struct.get $node $value (ref.as_non_null (call $tree (global.get $depth))))))
                (local.set $i (i32.sub (local.get $i) (i32.const 1)))
                (br $more))))
          (local.set $place (call $random (array.len (global.get $trees))))
          (local.set $sum
            (i32.add (local.get $sum)
              (struct.get $node $value
                (ref.as_non_null (array.get $trees (global.get $trees) (local.get $place))))))
          (array.set $trees (global.get $trees) (local.get $place) (call $tree (global.get $depth)))
          (local.set $count (i32.sub (local.get $count) (i32.const 1)))
          (br $next))))
    (local.get $sum))
)
