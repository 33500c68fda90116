;; rbtree: a persistent map from integers to integers as a red-black tree, with
;; insertion (Okasaki, "Red-Black Trees in a Functional Setting", 1999) and deletion
;; (Kahrs, "Red-Black Trees with Types", 2001).
;;
;;   run(n) -> a checksum over the versions of a map with up to n keys (n is at least 8)
;;
;; Colours are types: $red and $black are subtypes of $tree with equal structure, which `ref.test`
;; and `br_on_cast` distinguish. The empty tree is null. Nodes never change, so an old version of
;; the map stays valid and shares most of its nodes with the new one. The program keeps some old
;; versions and checks them at the end, with all invariants of a red-black tree.

(module $rbtree
  (rec
    (type $tree (sub (struct
      (field $left (ref null $tree)) (field $key i32)
      (field $value i64) (field $right (ref null $tree)))))
    (type $red (sub final $tree (struct
      (field $left (ref null $tree)) (field $key i32)
      (field $value i64) (field $right (ref null $tree)))))
    (type $black (sub final $tree (struct
      (field $left (ref null $tree)) (field $key i32)
      (field $value i64) (field $right (ref null $tree)))))
    (type $versions (array (mut (ref null $tree)))))

  ;; ---- the smallest words -------------------------------------------------

  (func $R (param $l (ref null $tree)) (param $at (ref $tree)) (param $r (ref null $tree))
    (result (ref $tree))
    (struct.new $red (local.get $l)
      (struct.get $tree $key (local.get $at)) (struct.get $tree $value (local.get $at))
      (local.get $r)))

  (func $B (param $l (ref null $tree)) (param $at (ref $tree)) (param $r (ref null $tree))
    (result (ref $tree))
    (struct.new $black (local.get $l)
      (struct.get $tree $key (local.get $at)) (struct.get $tree $value (local.get $at))
      (local.get $r)))

  (func $left (param $t (ref $tree)) (result (ref null $tree))
    (struct.get $tree $left (local.get $t)))
  (func $right (param $t (ref $tree)) (result (ref null $tree))
    (struct.get $tree $right (local.get $t)))

  (func $blacken (param $t (ref null $tree)) (result (ref null $tree))
    (block $done (result (ref null $tree))
      (call $black_of (br_on_cast_fail $done (ref null $tree) (ref $red) (local.get $t)))))

  (func $black_of (param $t (ref $red)) (result (ref $tree))
    (call $B (call $left (local.get $t)) (local.get $t) (call $right (local.get $t))))

  ;; A black tree made red; its black height goes down by one.
  (func $redden (param $t (ref null $tree)) (result (ref $tree))
    (local $b (ref $black))
    (local.set $b (ref.cast (ref $black) (local.get $t)))
    (call $R (call $left (local.get $b)) (local.get $b) (call $right (local.get $b))))

  ;; A black node of `l`, the key and value of `at`, and `r`, where one of `l` and `r`
  ;; may be red with a red child.
  (func $balance (param $l (ref null $tree)) (param $at (ref $tree)) (param $r (ref null $tree))
    (result (ref $tree))
    (local $a (ref $red))
    (local $b (ref $red))
    (local $c (ref $red))
    (block $left_done (result (ref null $tree))
      (local.set $a (br_on_cast_fail $left_done (ref null $tree) (ref $red) (local.get $l)))
      (block $right_black (result (ref null $tree))
        (local.set $b (br_on_cast_fail $right_black (ref null $tree) (ref $red) (local.get $r)))
        (return (call $R (call $black_of (local.get $a)) (local.get $at)
                         (call $black_of (local.get $b)))))
      (drop)
      (block $outer_black (result (ref null $tree))
        (local.set $c
          (br_on_cast_fail $outer_black (ref null $tree) (ref $red) (call $left (local.get $a))))
        (return (call $R (call $black_of (local.get $c)) (local.get $a)
                         (call $B (call $right (local.get $a)) (local.get $at) (local.get $r)))))
      (drop)
      (block $inner_black (result (ref null $tree))
        (local.set $c
          (br_on_cast_fail $inner_black (ref null $tree) (ref $red) (call $right (local.get $a))))
        (return (call $R
          (call $B (call $left (local.get $a)) (local.get $a) (call $left (local.get $c)))
          (local.get $c)
          (call $B (call $right (local.get $c)) (local.get $at) (local.get $r))))))
    (drop)
    (block $right_done (result (ref null $tree))
      (local.set $b (br_on_cast_fail $right_done (ref null $tree) (ref $red) (local.get $r)))
      (block $outer_black (result (ref null $tree))
        (local.set $c
          (br_on_cast_fail $outer_black (ref null $tree) (ref $red) (call $right (local.get $b))))
        (return (call $R
          (call $B (local.get $l) (local.get $at) (call $left (local.get $b)))
          (local.get $b)
          (call $black_of (local.get $c)))))
      (drop)
      (block $inner_black (result (ref null $tree))
        (local.set $c
          (br_on_cast_fail $inner_black (ref null $tree) (ref $red) (call $left (local.get $b))))
        (return (call $R
          (call $B (local.get $l) (local.get $at) (call $left (local.get $c)))
          (local.get $c)
          (call $B (call $right (local.get $c)) (local.get $b) (call $right (local.get $b)))))))
    (drop)
    (call $B (local.get $l) (local.get $at) (local.get $r)))

  ;; ---- look up, insert ----------------------------------------------------

  ;; The value of a key, -1 without one.
  (func $get (param $t (ref null $tree)) (param $key i32) (result i64)
    (local $node (ref $tree))
    (block $none
      (loop $more
        (local.set $node (br_on_null $none (local.get $t)))
        (if (i32.eq (local.get $key) (struct.get $tree $key (local.get $node)))
          (then (return (struct.get $tree $value (local.get $node)))))
        (local.set $t
          (select (result (ref null $tree))
            (call $left (local.get $node)) (call $right (local.get $node))
            (i32.lt_s (local.get $key) (struct.get $tree $key (local.get $node)))))
        (br $more)))
    (i64.const -1))

  (func $insert (param $t (ref null $tree)) (param $key i32) (param $value i64)
    (result (ref null $tree))
    (call $blacken (call $insert_in (local.get $t) (local.get $key) (local.get $value))))

  (func $insert_in (param $t (ref null $tree)) (param $key i32) (param $value i64)
    (result (ref $tree))
    (local $node (ref $tree))
    (local $l (ref null $tree))
    (local $r (ref null $tree))
    (if (ref.is_null (local.get $t))
      (then (return (struct.new $red
        (ref.null none) (local.get $key) (local.get $value) (ref.null none)))))
    (local.set $node (ref.as_non_null (local.get $t)))
    (local.set $l (call $left (local.get $node)))
    (local.set $r (call $right (local.get $node)))
    (if (i32.eq (local.get $key) (struct.get $tree $key (local.get $node)))
      (then
        (if (ref.test (ref $red) (local.get $node))
          (then (return (struct.new $red
            (local.get $l) (local.get $key) (local.get $value) (local.get $r)))))
        (return (struct.new $black
          (local.get $l) (local.get $key) (local.get $value) (local.get $r)))))
    (if (i32.lt_s (local.get $key) (struct.get $tree $key (local.get $node)))
      (then (local.set $l
        (call $insert_in (local.get $l) (local.get $key) (local.get $value))))
      (else (local.set $r
        (call $insert_in (local.get $r) (local.get $key) (local.get $value)))))
    (if (result (ref $tree)) (ref.test (ref $red) (local.get $node))
      (then (call $R (local.get $l) (local.get $node) (local.get $r)))
      (else (call $balance (local.get $l) (local.get $node) (local.get $r)))))

  ;; ---- delete -------------------------------------------------------------

  (func $delete (param $t (ref null $tree)) (param $key i32) (result (ref null $tree))
    (call $blacken (call $delete_in (local.get $t) (local.get $key))))

  ;; If `t` is black its black height goes down by one.
  (func $delete_in (param $t (ref null $tree)) (param $key i32) (result (ref null $tree))
    (local $node (ref $tree))
    (local $l (ref null $tree))
    (local $r (ref null $tree))
    (if (ref.is_null (local.get $t)) (then (return (ref.null none))))
    (local.set $node (ref.as_non_null (local.get $t)))
    (local.set $l (call $left (local.get $node)))
    (local.set $r (call $right (local.get $node)))
    (if (i32.eq (local.get $key) (struct.get $tree $key (local.get $node)))
      (then (return (call $append (local.get $l) (local.get $r)))))
    (if (i32.lt_s (local.get $key) (struct.get $tree $key (local.get $node)))
      (then
        (if (ref.test (ref $black) (local.get $l))
          (then (return (call $balance_left
            (call $delete_in (local.get $l) (local.get $key)) (local.get $node) (local.get $r)))))
        (return (call $R
          (call $delete_in (local.get $l) (local.get $key)) (local.get $node) (local.get $r)))))
    (if (ref.test (ref $black) (local.get $r))
      (then (return (call $balance_right
        (local.get $l) (local.get $node) (call $delete_in (local.get $r) (local.get $key))))))
    (call $R
      (local.get $l) (local.get $node) (call $delete_in (local.get $r) (local.get $key))))

  ;; Like $balance, for a tree in which `l` is one too low.
  (func $balance_left (param $l (ref null $tree)) (param $at (ref $tree)) (param $r (ref null $tree))
    (result (ref $tree))
    (local $sibling (ref $tree))
    (local $inner (ref $black))
    (if (ref.test (ref $red) (local.get $l))
      (then (return (call $R (call $blacken (local.get $l)) (local.get $at) (local.get $r)))))
    (local.set $sibling (ref.as_non_null (local.get $r)))
    (if (ref.test (ref $black) (local.get $sibling))
      (then (return (call $balance
        (local.get $l) (local.get $at) (call $redden (local.get $sibling))))))
    (local.set $inner (ref.cast (ref $black) (call $left (local.get $sibling))))
    (call $R
      (call $B (local.get $l) (local.get $at) (call $left (local.get $inner)))
      (local.get $inner)
      (call $balance
        (call $right (local.get $inner)) (local.get $sibling)
        (call $redden (call $right (local.get $sibling))))))

  ;; Like $balance, for a tree in which `r` is one too low.
  (func $balance_right (param $l (ref null $tree)) (param $at (ref $tree)) (param $r (ref null $tree))
    (result (ref $tree))
    (local $sibling (ref $tree))
    (local $inner (ref $black))
    (if (ref.test (ref $red) (local.get $r))
      (then (return (call $R (local.get $l) (local.get $at) (call $blacken (local.get $r))))))
    (local.set $sibling (ref.as_non_null (local.get $l)))
    (if (ref.test (ref $black) (local.get $sibling))
      (then (return (call $balance
        (call $redden (local.get $sibling)) (local.get $at) (local.get $r)))))
    (local.set $inner (ref.cast (ref $black) (call $right (local.get $sibling))))
    (call $R
      (call $balance
        (call $redden (call $left (local.get $sibling))) (local.get $sibling)
        (call $left (local.get $inner)))
      (local.get $inner)
      (call $B (call $right (local.get $inner)) (local.get $at) (local.get $r))))

  ;; Joins two trees. All keys of `a` are before those of `b`.
  (func $append (param $a (ref null $tree)) (param $b (ref null $tree)) (result (ref null $tree))
    (local $l (ref $tree))
    (local $r (ref $tree))
    (local $middle (ref null $tree))
    (local $m (ref $red))
    (local $l_red i32)
    (if (ref.is_null (local.get $a)) (then (return (local.get $b))))
    (if (ref.is_null (local.get $b)) (then (return (local.get $a))))
    (local.set $l (ref.as_non_null (local.get $a)))
    (local.set $r (ref.as_non_null (local.get $b)))
    (local.set $l_red (ref.test (ref $red) (local.get $l)))
    (if (i32.ne (local.get $l_red) (ref.test (ref $red) (local.get $r)))
      (then
        (if (local.get $l_red)
          (then (return (call $R (call $left (local.get $l)) (local.get $l)
            (call $append (call $right (local.get $l)) (local.get $b))))))
        (return (call $R
          (call $append (local.get $a) (call $left (local.get $r))) (local.get $r)
          (call $right (local.get $r))))))
    (local.set $middle
      (call $append (call $right (local.get $l)) (call $left (local.get $r))))
    (block $middle_black (result (ref null $tree))
      (local.set $m (br_on_cast_fail $middle_black (ref null $tree) (ref $red) (local.get $middle)))
      (if (local.get $l_red)
        (then (return (call $R
          (call $R (call $left (local.get $l)) (local.get $l) (call $left (local.get $m)))
          (local.get $m)
          (call $R (call $right (local.get $m)) (local.get $r) (call $right (local.get $r)))))))
      (return (call $R
        (call $B (call $left (local.get $l)) (local.get $l) (call $left (local.get $m)))
        (local.get $m)
        (call $B (call $right (local.get $m)) (local.get $r) (call $right (local.get $r))))))
    (drop)
    (if (local.get $l_red)
      (then (return (call $R (call $left (local.get $l)) (local.get $l)
        (call $R (local.get $middle) (local.get $r) (call $right (local.get $r)))))))
    (call $balance_left (call $left (local.get $l)) (local.get $l)
      (call $B (local.get $middle) (local.get $r) (call $right (local.get $r)))))

  ;; ---- check --------------------------------------------------------------

  ;; The black height and the number of keys; traps unless every path has as many
  ;; black nodes, no red node has a red child, and keys ascend within (low, high).
  (func $check (param $t (ref null $tree)) (param $low i64) (param $high i64) (result i32 i32)
    (local $node (ref $tree))
    (local $key i64)
    (local $height i32)
    (local $count i32)
    (if (ref.is_null (local.get $t)) (then (return (i32.const 0) (i32.const 0))))
    (local.set $node (ref.as_non_null (local.get $t)))
    (local.set $key (i64.extend_i32_s (struct.get $tree $key (local.get $node))))
    (if (i64.le_s (local.get $key) (local.get $low)) (then (unreachable)))
    (if (i64.ge_s (local.get $key) (local.get $high)) (then (unreachable)))
    (if (ref.test (ref $red) (local.get $node))
      (then
        (if (ref.test (ref $red) (call $left (local.get $node))) (then (unreachable)))
        (if (ref.test (ref $red) (call $right (local.get $node))) (then (unreachable)))))
    (call $check (call $left (local.get $node)) (local.get $low) (local.get $key))
    (local.set $count)
    (local.set $height)
    (call $check (call $right (local.get $node)) (local.get $key) (local.get $high))
    (local.set $count (i32.add (local.get $count)))
    (if (i32.ne (local.get $height)) (then (unreachable)))
    (i32.add (local.get $height) (ref.test (ref $black) (local.get $node)))
    (i32.add (local.get $count) (i32.const 1)))

  (func $count_checked (param $t (ref null $tree)) (result i32)
    (local $count i32)
    (if (ref.test (ref $red) (local.get $t)) (then (unreachable)))
    (call $check (local.get $t) (i64.const -4294967296) (i64.const 4294967296))
    (local.set $count)
    (drop)
    (local.get $count))

  (func $hash (param $t (ref null $tree)) (param $h i64) (result i64)
    (local $node (ref $tree))
    (block $none
      (local.set $node (br_on_null $none (local.get $t)))
      (local.set $h (call $hash (call $left (local.get $node)) (local.get $h)))
      (local.set $h
        (i64.mul
          (i64.xor (local.get $h)
            (i64.add (struct.get $tree $value (local.get $node))
                     (i64.extend_i32_s (struct.get $tree $key (local.get $node)))))
          (i64.const 1099511628211)))
      (return (call $hash (call $right (local.get $node)) (local.get $h))))
    (local.get $h))

  ;; The i-th key: each of [0, n) comes once, unless 7919 divides n.
  (func $key (param $i i32) (param $n i32) (result i32)
    (i32.wrap_i64
      (i64.rem_u
        (i64.mul (i64.extend_i32_u (local.get $i)) (i64.const 7919))
        (i64.extend_i32_u (local.get $n)))))

  (func (export "run") (param $n i32) (result i32)
    (local $t (ref null $tree))
    (local $versions (ref $versions))
    (local $i i32)
    (local $h i64)
    (if (i32.lt_u (local.get $n) (i32.const 8)) (then (unreachable)))
    ;; Eight versions while it grows, eight while it shrinks.
    (local.set $versions (array.new_default $versions (i32.const 16)))
    (loop $more
      (if (i32.eqz (i32.rem_u (local.get $i) (i32.div_u (local.get $n) (i32.const 8))))
        (then
          (array.set $versions (local.get $versions)
            (i32.and (i32.div_u (local.get $i) (i32.div_u (local.get $n) (i32.const 8)))
                     (i32.const 7))
            (local.get $t))))
      (local.set $t
        (call $insert (local.get $t) (call $key (local.get $i) (local.get $n))
          (i64.mul (i64.extend_i32_u (local.get $i)) (i64.const 0x100000001))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (local.get $n))))
    (if (i32.ne (call $count_checked (local.get $t)) (local.get $n)) (then (unreachable)))
    ;; Replace values; no key is added.
    (local.set $i (i32.const 0))
    (loop $more
      (local.set $t
        (call $insert (local.get $t) (local.get $i)
          (i64.add (i64.const 5) (call $get (local.get $t) (local.get $i)))))
      (local.set $i (i32.add (local.get $i) (i32.const 5)))
      (br_if $more (i32.lt_u (local.get $i) (local.get $n))))
    (if (i32.ne (call $count_checked (local.get $t)) (local.get $n)) (then (unreachable)))
    (local.set $h (call $hash (local.get $t) (i64.const 0xcbf29ce484222325)))
    ;; Delete every key in another order.
    (local.set $i (i32.const 0))
    (loop $more
      (if (i32.eqz (i32.rem_u (local.get $i) (i32.div_u (local.get $n) (i32.const 8))))
        (then
          (array.set $versions (local.get $versions)
            (i32.or (i32.const 8)
              (i32.and (i32.div_u (local.get $i) (i32.div_u (local.get $n) (i32.const 8)))
                       (i32.const 7)))
            (local.get $t))))
      (local.set $t
        (call $delete (local.get $t)
          (i32.sub (i32.sub (local.get $n) (i32.const 1))
                   (call $key (local.get $i) (local.get $n)))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (if (i32.eqz (i32.and (local.get $i) (i32.const 1023)))
        (then
          (if (i32.ne (call $count_checked (local.get $t))
                      (i32.sub (local.get $n) (local.get $i)))
            (then (unreachable)))))
      (br_if $more (i32.lt_u (local.get $i) (local.get $n))))
    (if (i32.eqz (ref.is_null (local.get $t))) (then (unreachable)))
    ;; The kept versions are unchanged.
    (local.set $i (i32.const 0))
    (loop $more
      (local.set $t (array.get $versions (local.get $versions) (local.get $i)))
      (local.set $h
        (call $hash (local.get $t)
          (i64.xor (local.get $h) (i64.extend_i32_u (call $count_checked (local.get $t))))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (i32.const 16))))
    (i32.xor
      (i32.wrap_i64 (local.get $h))
      (i32.wrap_i64 (i64.shr_u (local.get $h) (i64.const 32))))))
