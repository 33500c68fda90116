;; splay: V8's benchmark of a splay tree (Octane; Sleator and Tarjan, "Self-Adjusting
;; Binary Search Trees", 1985) whose nodes carry payloads.
;;
;;   run(n) -> a checksum over a tree of n nodes after 5 n replacements
;;
;; Each node has its own payload: a tree of depth 5 whose leaves have an array of ten numbers and a
;; string. A step inserts a node with a new random key and removes the node before it in order. So
;; objects die after they have lived for a while. Every look-up rotates, so references to old nodes
;; are constantly stored into old nodes.

(module $splay
  (rec
    (type $node (struct
      (field $key f64) (field $value (ref eq))
      (field $left (mut (ref null $node))) (field $right (mut (ref null $node)))))
    (type $payload (struct (field $left (ref eq)) (field $right (ref eq))))
    (type $leaf (struct (field $array (ref $numbers)) (field $string (ref $string))))
    (type $numbers (array (mut i32)))
    (type $string (array (mut i8))))

  (global $seed (mut i32) (i32.const 0))
  (global $root (mut (ref null $node)) (ref.null $node))

  (data $text "String for key 00000000 in leaf node")

  ;; xorshift32 (Marsaglia 2003)
  (func $random (result i32)
    (local $x i32)
    (local.set $x (global.get $seed))
    (local.set $x (i32.xor (local.get $x) (i32.shl (local.get $x) (i32.const 13))))
    (local.set $x (i32.xor (local.get $x) (i32.shr_u (local.get $x) (i32.const 17))))
    (local.set $x (i32.xor (local.get $x) (i32.shl (local.get $x) (i32.const 5))))
    (global.set $seed (local.get $x))
    (local.get $x))

  ;; ---- payloads -----------------------------------------------------------

  (func $string (param $tag i32) (result (ref $string))
    (local $string (ref $string))
    (local $i i32)
    (local.set $string (array.new_data $string $text (i32.const 0) (i32.const 36)))
    (local.set $i (i32.const 23))
    (loop $more
      (local.set $i (i32.sub (local.get $i) (i32.const 1)))
      (array.set $string (local.get $string) (local.get $i)
        (i32.add (i32.const 97) (i32.and (local.get $tag) (i32.const 15))))
      (local.set $tag (i32.shr_u (local.get $tag) (i32.const 4)))
      (br_if $more (i32.gt_u (local.get $i) (i32.const 15))))
    (local.get $string))

  (func $payload (param $depth i32) (param $tag i32) (result (ref eq))
    (if (result (ref eq)) (local.get $depth)
      (then
        (local.set $depth (i32.sub (local.get $depth) (i32.const 1)))
        (struct.new $payload
          (call $payload (local.get $depth) (local.get $tag))
          (call $payload (local.get $depth) (local.get $tag))))
      (else
        (struct.new $leaf
          (array.new_fixed $numbers 10
            (i32.const 0) (i32.const 1) (i32.const 2) (i32.const 3) (i32.const 4)
            (i32.const 5) (i32.const 6) (i32.const 7) (i32.const 8) (i32.const 9))
          (call $string (local.get $tag))))))

  (func $weigh (param $value (ref eq)) (result i32)
    (local $payload (ref $payload))
    (local $leaf (ref $leaf))
    (block $is_leaf (result (ref $leaf))
      (local.set $payload
        (ref.cast (ref $payload) (br_on_cast $is_leaf (ref eq) (ref $leaf) (local.get $value))))
      (return
        (i32.add
          (i32.mul (i32.const 3) (call $weigh (struct.get $payload $left (local.get $payload))))
          (call $weigh (struct.get $payload $right (local.get $payload))))))
    (local.set $leaf)
    (i32.add
      (i32.mul (i32.const 256)
        (array.get $numbers (struct.get $leaf $array (local.get $leaf)) (i32.const 7)))
      (i32.add
        (array.get_u $string (struct.get $leaf $string (local.get $leaf)) (i32.const 22))
        (array.get_u $string (struct.get $leaf $string (local.get $leaf)) (i32.const 35)))))

  ;; ---- the tree -----------------------------------------------------------

  (func $left (param $node (ref null $node)) (result (ref null $node))
    (struct.get $node $left (local.get $node)))
  (func $right (param $node (ref null $node)) (result (ref null $node))
    (struct.get $node $right (local.get $node)))
  (func $key (param $node (ref null $node)) (result f64)
    (struct.get $node $key (local.get $node)))

  ;; Top-down splaying: the node of the key becomes the root, or the last node on the path to its
  ;; place.
  (func $splay (param $key f64)
    (local $dummy (ref $node))
    (local $l (ref null $node))
    (local $r (ref null $node))
    (local $current (ref null $node))
    (local $tmp (ref null $node))
    (local.set $dummy
      (struct.new $node (f64.const 0) (ref.i31 (i32.const 0)) (ref.null $node) (ref.null $node)))
    (local.set $l (local.get $dummy))
    (local.set $r (local.get $dummy))
    (local.set $current (global.get $root))
    (block $done
      (loop $more
        (if (f64.lt (local.get $key) (call $key (local.get $current)))
          (then
            (br_if $done (ref.is_null (call $left (local.get $current))))
            (if (f64.lt (local.get $key) (call $key (call $left (local.get $current))))
              (then ;; rotate right
                (local.set $tmp (call $left (local.get $current)))
                (struct.set $node $left (local.get $current) (call $right (local.get $tmp)))
                (struct.set $node $right (local.get $tmp) (local.get $current))
                (local.set $current (local.get $tmp))
                (br_if $done (ref.is_null (call $left (local.get $current))))))
            (struct.set $node $left (local.get $r) (local.get $current))
            (local.set $r (local.get $current))
            (local.set $current (call $left (local.get $current)))
            (br $more)))
        (br_if $done (i32.eqz (f64.gt (local.get $key) (call $key (local.get $current)))))
        (br_if $done (ref.is_null (call $right (local.get $current))))
        (if (f64.gt (local.get $key) (call $key (call $right (local.get $current))))
          (then ;; rotate left
            (local.set $tmp (call $right (local.get $current)))
            (struct.set $node $right (local.get $current) (call $left (local.get $tmp)))
            (struct.set $node $left (local.get $tmp) (local.get $current))
            (local.set $current (local.get $tmp))
            (br_if $done (ref.is_null (call $right (local.get $current))))))
        (struct.set $node $right (local.get $l) (local.get $current))
        (local.set $l (local.get $current))
        (local.set $current (call $right (local.get $current)))
        (br $more)))
    (struct.set $node $right (local.get $l) (call $left (local.get $current)))
    (struct.set $node $left (local.get $r) (call $right (local.get $current)))
    (struct.set $node $left (local.get $current) (call $right (local.get $dummy)))
    (struct.set $node $right (local.get $current) (call $left (local.get $dummy)))
    (global.set $root (local.get $current)))

  ;; Whether there is a node with this key. It becomes the root.
  (func $find (param $key f64) (result i32)
    (if (ref.is_null (global.get $root)) (then (return (i32.const 0))))
    (call $splay (local.get $key))
    (f64.eq (call $key (global.get $root)) (local.get $key)))

  (func $insert (param $key f64) (param $value (ref eq))
    (local $node (ref $node))
    (local.set $node
      (struct.new $node (local.get $key) (local.get $value) (ref.null $node) (ref.null $node)))
    (block $linked
      (br_if $linked (ref.is_null (global.get $root)))
      (call $splay (local.get $key))
      (if (f64.gt (local.get $key) (call $key (global.get $root)))
        (then
          (struct.set $node $left (local.get $node) (global.get $root))
          (struct.set $node $right (local.get $node) (call $right (global.get $root)))
          (struct.set $node $right (global.get $root) (ref.null $node)))
        (else
          (struct.set $node $right (local.get $node) (global.get $root))
          (struct.set $node $left (local.get $node) (call $left (global.get $root)))
          (struct.set $node $left (global.get $root) (ref.null $node)))))
    (global.set $root (local.get $node)))

  (func $remove (param $key f64)
    (local $right (ref null $node))
    (call $splay (local.get $key))
    (if (f64.ne (call $key (global.get $root)) (local.get $key)) (then (unreachable)))
    (if (ref.is_null (call $left (global.get $root)))
      (then (global.set $root (call $right (global.get $root))))
      (else
        (local.set $right (call $right (global.get $root)))
        (global.set $root (call $left (global.get $root)))
        (call $splay (local.get $key))
        (struct.set $node $right (global.get $root) (local.get $right)))))

  ;; The node with the greatest key below this one.
  (func $greatest_below (param $key f64) (result (ref null $node))
    (local $node (ref null $node))
    (if (ref.is_null (global.get $root)) (then (return (ref.null $node))))
    (call $splay (local.get $key))
    (if (f64.lt (call $key (global.get $root)) (local.get $key))
      (then (return (global.get $root))))
    (local.set $node (call $left (global.get $root)))
    (block $end
      (br_if $end (ref.is_null (local.get $node)))
      (loop $more
        (br_if $end (ref.is_null (call $right (local.get $node))))
        (local.set $node (call $right (local.get $node)))
        (br $more)))
    (local.get $node))

  ;; ---- the benchmark ------------------------------------------------------

  ;; Inserts a node with a new key. Returns the key.
  (func $insert_new (result f64)
    (local $tag i32)
    (local $key f64)
    (loop $again
      (local.set $tag (call $random))
      (local.set $key (f64.div (f64.convert_i32_u (local.get $tag)) (f64.const 4294967296)))
      (br_if $again (call $find (local.get $key))))
    (call $insert (local.get $key) (call $payload (i32.const 5) (local.get $tag)))
    (local.get $key))

  (global $count (mut i32) (i32.const 0))
  (global $last (mut f64) (f64.const 0))

  ;; In order: the keys must ascend.
  (func $hash (param $node (ref null $node)) (param $h i32) (result i32)
    (if (ref.is_null (local.get $node)) (then (return (local.get $h))))
    (local.set $h (call $hash (call $left (local.get $node)) (local.get $h)))
    (if (f64.le (call $key (local.get $node)) (global.get $last)) (then (unreachable)))
    (global.set $last (call $key (local.get $node)))
    (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (local.set $h
      (i32.add (i32.mul (local.get $h) (i32.const 31))
        (i32.xor
          (call $weigh (struct.get $node $value (local.get $node)))
          (i32.trunc_sat_f64_u
            (f64.mul (call $key (local.get $node)) (f64.const 4294967296))))))
    (call $hash (call $right (local.get $node)) (local.get $h)))

  (func (export "run") (param $n i32) (result i32)
    (local $i i32)
    (local $key f64)
    (local $below (ref null $node))
    (local $h i32)
    (if (i32.eqz (local.get $n)) (then (return (i32.const 0))))
    (global.set $seed (i32.const 2463534242))
    (global.set $root (ref.null $node))
    (global.set $count (i32.const 0))
    (global.set $last (f64.const -1))
    (local.set $i (local.get $n))
    (loop $more
      (drop (call $insert_new))
      (br_if $more (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
    (local.set $i (i32.mul (local.get $n) (i32.const 5)))
    (loop $more
      (local.set $key (call $insert_new))
      (local.set $below (call $greatest_below (local.get $key)))
      (if (ref.is_null (local.get $below))
        (then (call $remove (local.get $key)))
        (else (call $remove (call $key (local.get $below)))))
      (br_if $more (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
    (local.set $h (call $hash (global.get $root) (i32.const 0)))
    (if (i32.ne (global.get $count) (local.get $n)) (then (unreachable)))
    (global.set $root (ref.null $node))
    (local.get $h)))
