;; live_set: much live data, and ten times as much garbage.
;;
;;   run(n) -> a checksum over n trees of 511 nodes of 24 bytes each
;;
;; 17,000 trees are 200 MB. Garbage is made in small trees. After every 32 of them a subtree of a
;; random live tree is replaced, so that old objects refer to young ones and some old objects die.
;; The number of live bytes stays the same during the garbage phase, so the lengths of pauses depend
;; only on the collector.
;;
;; Lines that begin with the mark `@watch` become code when a bench watches the program. Then it
;; calls `tick` after every piece of work, about 500 nodes.

(module $live_set
  ;; @watch (import "host" "tick" (func $tick))
  (type $node (struct
    (field $left (mut (ref null $node))) (field $right (mut (ref null $node)))
    (field $value i64)))
  (type $forest (array (mut (ref null $node))))

  (global $seed (mut i32) (i32.const 0))
  (global $made (mut i64) (i64.const 0))

  ;; xorshift32 (Marsaglia 2003)
  (func $random (result i32)
    (local $x i32)
    (local.set $x (global.get $seed))
    (local.set $x (i32.xor (local.get $x) (i32.shl (local.get $x) (i32.const 13))))
    (local.set $x (i32.xor (local.get $x) (i32.shr_u (local.get $x) (i32.const 17))))
    (local.set $x (i32.xor (local.get $x) (i32.shl (local.get $x) (i32.const 5))))
    (global.set $seed (local.get $x))
    (local.get $x))

  ;; A perfect tree. Its nodes are numbered in the order in which they are made, leaves first.
  (func $tree (param $depth i32) (result (ref $node))
    (local $left (ref null $node))
    (local $right (ref null $node))
    (if (local.get $depth)
      (then
        (local.set $left (call $tree (i32.sub (local.get $depth) (i32.const 1))))
        (local.set $right (call $tree (i32.sub (local.get $depth) (i32.const 1))))))
    (global.set $made (i64.add (global.get $made) (i64.const 1)))
    (struct.new $node (local.get $left) (local.get $right) (global.get $made)))

  ;; Replaces a subtree of depth `depth`. The bits of `path` lead to it from a root that is `above`
  ;; levels higher.
  (func $replace (param $node (ref $node)) (param $above i32) (param $depth i32)
    (param $path i32)
    (block $here
      (loop $down
        (br_if $here (i32.le_u (local.get $above) (i32.const 1)))
        (local.set $node
          (ref.as_non_null
            (if (result (ref null $node)) (i32.and (local.get $path) (i32.const 1))
              (then (struct.get $node $left (local.get $node)))
              (else (struct.get $node $right (local.get $node))))))
        (local.set $path (i32.shr_u (local.get $path) (i32.const 1)))
        (local.set $above (i32.sub (local.get $above) (i32.const 1)))
        (br $down)))
    (if (i32.and (local.get $path) (i32.const 1))
      (then (struct.set $node $left (local.get $node) (call $tree (local.get $depth))))
      (else (struct.set $node $right (local.get $node) (call $tree (local.get $depth))))))

  (func $hash (param $node (ref null $node)) (result i32)
    (if (ref.is_null (local.get $node)) (then (return (i32.const 1))))
    (i32.add
      (i32.wrap_i64 (struct.get $node $value (local.get $node)))
      (i32.mul (i32.const 31)
        (i32.xor
          (call $hash (struct.get $node $left (local.get $node)))
          (i32.rotl (call $hash (struct.get $node $right (local.get $node))) (i32.const 7))))))

  (func (export "run") (param $n i32) (result i32)
    (local $forest (ref $forest))
    (local $i i32)
    (local $h i32)
    (local $garbage i32)
    (if (i32.eqz (local.get $n)) (then (return (i32.const 0))))
    (global.set $seed (i32.const 2463534242))
    (global.set $made (i64.const 0))
    (local.set $forest (array.new_default $forest (local.get $n)))
    (loop $more
      (array.set $forest (local.get $forest) (local.get $i) (call $tree (i32.const 8)))
      ;; @watch (call $tick)
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (local.get $n))))
    ;; 160 times 31 nodes for each 511 that live.
    (local.set $garbage (i32.mul (local.get $n) (i32.const 160)))
    (loop $more
      (local.set $h
        (i32.add (local.get $h)
          (i32.wrap_i64 (struct.get $node $value (call $tree (i32.const 4))))))
      (local.set $garbage (i32.sub (local.get $garbage) (i32.const 1)))
      (if (i32.eqz (i32.and (local.get $garbage) (i32.const 31)))
        (then
          (call $replace
            (ref.as_non_null
              (array.get $forest (local.get $forest)
                (i32.rem_u (call $random) (local.get $n))))
            (i32.const 5) (i32.const 3)
            (call $random))))
      ;; @watch (if (i32.eqz (i32.and (local.get $garbage) (i32.const 15))) (then (call $tick)))
      (br_if $more (local.get $garbage)))
    (local.set $i (i32.const 0))
    (loop $more
      (local.set $h
        (i32.add (i32.mul (local.get $h) (i32.const 33))
          (call $hash (array.get $forest (local.get $forest) (local.get $i)))))
      ;; @watch (call $tick)
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (local.get $n))))
    (local.get $h)))
