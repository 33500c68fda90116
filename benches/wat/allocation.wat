;; Allocation of small structs: garbage at once, as a list, as a tree.
(module
  (type $pair (struct (field i32) (field i32)))
  (type $cell (struct (field $head i32) (field $tail (ref null $cell))))
  (type $tree (struct (field $left (ref null $tree)) (field $right (ref null $tree))))

  ;; n pairs, each dead before the next is made. Answers the sum of 0 ... n - 1.
  (func (export "garbage") (param $n i32) (result i32)
    (local $sum i32) (local $i i32)
    (loop $next
      (local.set $sum (i32.add (local.get $sum)
        (struct.get $pair 1 (struct.new $pair (local.get $n) (local.get $i)))))
      (br_if $next (i32.lt_u
        (local.tee $i (i32.add (local.get $i) (i32.const 1)))
        (local.get $n))))
    (local.get $sum))

  ;; A list of n cells, walked once and dropped. Answers the sum of 0 ... n - 1.
  (func (export "list") (param $n i32) (result i32)
    (local $list (ref null $cell)) (local $i i32) (local $sum i32)
    (loop $next
      (local.set $list (struct.new $cell (local.get $i) (local.get $list)))
      (br_if $next (i32.lt_u
        (local.tee $i (i32.add (local.get $i) (i32.const 1)))
        (local.get $n))))
    (loop $next
      (local.set $sum (i32.add (local.get $sum) (struct.get $cell $head (local.get $list))))
      (br_if $next (i32.eqz (ref.is_null
        (local.tee $list (struct.get $cell $tail (local.get $list)))))))
    (local.get $sum))

  (func $make (param $depth i32) (result (ref null $tree))
    (if (i32.eqz (local.get $depth))
      (then (return (struct.new_default $tree))))
    (struct.new $tree
      (call $make (i32.sub (local.get $depth) (i32.const 1)))
      (call $make (i32.sub (local.get $depth) (i32.const 1)))))

  (func $count (param $tree (ref null $tree)) (result i32)
    (if (ref.is_null (local.get $tree)) (then (return (i32.const 0))))
    (i32.add (i32.const 1) (i32.add
      (call $count (struct.get $tree $left (local.get $tree)))
      (call $count (struct.get $tree $right (local.get $tree))))))

  ;; A tree of this depth, built from its leaves up. Answers its nodes.
  (func (export "tree") (param $depth i32) (result i32)
    (call $count (call $make (local.get $depth)))))
