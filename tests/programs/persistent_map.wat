;; persistent_map: a hash array mapped trie whose versions share what they have in
;; common (Bagwell, "Ideal Hash Trees", 2001; as in Clojure).
;;
;;   run(n) -> a checksum over the versions of a map with up to n keys
;;
;; A change copies the nodes on the path from the root, up to seven arrays of up to 33 references.
;; The other nodes are shared with the previous version. Every sixteenth version is kept for a
;; while. So the program constantly makes arrays of references of all sizes, fills each once with
;; mostly old references (`array.copy`), and never writes it again.

(module $persistent_map
  (rec
    (type $entry (struct (field $key i32) (field $value (ref $value))))
    (type $value (struct (field $number i64)))
    ;; The bitmap says which of 32 children exist. Children are entries or nodes.
    (type $node (struct (field $bitmap i32) (field $children (ref $children))))
    (type $children (array (mut eqref)))
    (type $map (struct (field $size i32) (field $root (ref $node))))
    (type $versions (array (mut (ref null $map)))))

  (global $seed (mut i32) (i32.const 0))
  ;; Whether the last change added or removed a key.
  (global $changed (mut i32) (i32.const 0))

  ;; xorshift32 (Marsaglia 2003)
  (func $random (result i32)
    (local $x i32)
    (local.set $x (global.get $seed))
    (local.set $x (i32.xor (local.get $x) (i32.shl (local.get $x) (i32.const 13))))
    (local.set $x (i32.xor (local.get $x) (i32.shr_u (local.get $x) (i32.const 17))))
    (local.set $x (i32.xor (local.get $x) (i32.shl (local.get $x) (i32.const 5))))
    (global.set $seed (local.get $x))
    (local.get $x))

  ;; The last step of MurmurHash3 (Appleby). Different keys have different hashes.
  (func $hash (param $key i32) (result i32)
    (local.set $key
      (i32.mul (i32.xor (local.get $key) (i32.shr_u (local.get $key) (i32.const 16)))
        (i32.const 0x85ebca6b)))
    (local.set $key
      (i32.mul (i32.xor (local.get $key) (i32.shr_u (local.get $key) (i32.const 13)))
        (i32.const 0xc2b2ae35)))
    (i32.xor (local.get $key) (i32.shr_u (local.get $key) (i32.const 16))))

  ;; The bit of a hash in the bitmap of a node `shift` bits down.
  (func $bit (param $hash i32) (param $shift i32) (result i32)
    (i32.shl (i32.const 1)
      (i32.and (i32.shr_u (local.get $hash) (local.get $shift)) (i32.const 31))))

  ;; The index of the child for a bit.
  (func $index (param $bitmap i32) (param $bit i32) (result i32)
    (i32.popcnt
      (i32.and (local.get $bitmap) (i32.sub (local.get $bit) (i32.const 1)))))

  ;; ---- nodes --------------------------------------------------------------

  (func $with (param $node (ref $node)) (param $i i32) (param $child eqref)
    (result (ref $node))
    (local $old (ref $children))
    (local $new (ref $children))
    (local.set $old (struct.get $node $children (local.get $node)))
    (local.set $new (array.new_default $children (array.len (local.get $old))))
    (array.copy $children $children (local.get $new) (i32.const 0)
      (local.get $old) (i32.const 0) (array.len (local.get $old)))
    (array.set $children (local.get $new) (local.get $i) (local.get $child))
    (struct.new $node (struct.get $node $bitmap (local.get $node)) (local.get $new)))

  (func $with_more (param $node (ref $node)) (param $bit i32) (param $child eqref)
    (result (ref $node))
    (local $old (ref $children))
    (local $new (ref $children))
    (local $i i32)
    (local.set $old (struct.get $node $children (local.get $node)))
    (local.set $new
      (array.new_default $children (i32.add (array.len (local.get $old)) (i32.const 1))))
    (local.set $i
      (call $index (struct.get $node $bitmap (local.get $node)) (local.get $bit)))
    (array.copy $children $children (local.get $new) (i32.const 0)
      (local.get $old) (i32.const 0) (local.get $i))
    (array.set $children (local.get $new) (local.get $i) (local.get $child))
    (array.copy $children $children
      (local.get $new) (i32.add (local.get $i) (i32.const 1))
      (local.get $old) (local.get $i)
      (i32.sub (array.len (local.get $old)) (local.get $i)))
    (struct.new $node
      (i32.or (struct.get $node $bitmap (local.get $node)) (local.get $bit))
      (local.get $new)))

  (func $with_less (param $node (ref $node)) (param $bit i32) (result (ref $node))
    (local $old (ref $children))
    (local $new (ref $children))
    (local $i i32)
    (local.set $old (struct.get $node $children (local.get $node)))
    (local.set $new
      (array.new_default $children (i32.sub (array.len (local.get $old)) (i32.const 1))))
    (local.set $i
      (call $index (struct.get $node $bitmap (local.get $node)) (local.get $bit)))
    (array.copy $children $children (local.get $new) (i32.const 0)
      (local.get $old) (i32.const 0) (local.get $i))
    (array.copy $children $children (local.get $new) (local.get $i)
      (local.get $old) (i32.add (local.get $i) (i32.const 1))
      (i32.sub (array.len (local.get $new)) (local.get $i)))
    (struct.new $node
      (i32.xor (struct.get $node $bitmap (local.get $node)) (local.get $bit))
      (local.get $new)))

  ;; A node of two entries with different keys.
  (func $two (param $a (ref $entry)) (param $b (ref $entry)) (param $shift i32)
    (result (ref $node))
    (local $bit_a i32)
    (local $bit_b i32)
    (local.set $bit_a
      (call $bit (call $hash (struct.get $entry $key (local.get $a))) (local.get $shift)))
    (local.set $bit_b
      (call $bit (call $hash (struct.get $entry $key (local.get $b))) (local.get $shift)))
    (if (i32.eq (local.get $bit_a) (local.get $bit_b))
      (then
        (return
          (struct.new $node (local.get $bit_a)
            (array.new_fixed $children 1
              (call $two (local.get $a) (local.get $b)
                (i32.add (local.get $shift) (i32.const 5))))))))
    (struct.new $node (i32.or (local.get $bit_a) (local.get $bit_b))
      (if (result (ref $children)) (i32.lt_u (local.get $bit_a) (local.get $bit_b))
        (then (array.new_fixed $children 2 (local.get $a) (local.get $b)))
        (else (array.new_fixed $children 2 (local.get $b) (local.get $a))))))

  ;; ---- look up, insert, remove --------------------------------------------

  (func $get (param $map (ref $map)) (param $key i32) (result (ref null $value))
    (local $node (ref $node))
    (local $entry (ref $entry))
    (local $hash i32)
    (local $bit i32)
    (local.set $node (struct.get $map $root (local.get $map)))
    (local.set $hash (call $hash (local.get $key)))
    (loop $deeper
      (local.set $bit (call $bit (local.get $hash) (i32.const 0)))
      (local.set $hash (i32.shr_u (local.get $hash) (i32.const 5)))
      (if (i32.eqz
            (i32.and (struct.get $node $bitmap (local.get $node)) (local.get $bit)))
        (then (return (ref.null $value))))
      (block $is_entry (result (ref $entry))
        (local.set $node
          (ref.cast (ref $node)
            (br_on_cast $is_entry eqref (ref $entry)
              (array.get $children (struct.get $node $children (local.get $node))
                (call $index (struct.get $node $bitmap (local.get $node)) (local.get $bit))))))
        (br $deeper))
      (local.set $entry)
      (if (i32.eq (struct.get $entry $key (local.get $entry)) (local.get $key))
        (then (return (struct.get $entry $value (local.get $entry))))))
    (ref.null $value))

  (func $insert_at (param $node (ref $node)) (param $shift i32) (param $new (ref $entry))
    (result (ref $node))
    (local $bit i32)
    (local $i i32)
    (local $old (ref $entry))
    (local.set $bit
      (call $bit (call $hash (struct.get $entry $key (local.get $new))) (local.get $shift)))
    (if (i32.eqz (i32.and (struct.get $node $bitmap (local.get $node)) (local.get $bit)))
      (then
        (global.set $changed (i32.const 1))
        (return (call $with_more (local.get $node) (local.get $bit) (local.get $new)))))
    (local.set $i
      (call $index (struct.get $node $bitmap (local.get $node)) (local.get $bit)))
    (block $is_entry (result (ref $entry))
      (return
        (call $with (local.get $node) (local.get $i)
          (call $insert_at
            (ref.cast (ref $node)
              (br_on_cast $is_entry eqref (ref $entry)
                (array.get $children (struct.get $node $children (local.get $node))
                  (local.get $i))))
            (i32.add (local.get $shift) (i32.const 5))
            (local.get $new)))))
    (local.set $old)
    (if (i32.eq (struct.get $entry $key (local.get $old)) (struct.get $entry $key (local.get $new)))
      (then (return (call $with (local.get $node) (local.get $i) (local.get $new)))))
    (global.set $changed (i32.const 1))
    (call $with (local.get $node) (local.get $i)
      (call $two (local.get $old) (local.get $new)
        (i32.add (local.get $shift) (i32.const 5)))))

  (func $insert (param $map (ref $map)) (param $key i32) (param $number i64)
    (result (ref $map))
    (local $root (ref $node))
    (global.set $changed (i32.const 0))
    (local.set $root
      (call $insert_at (struct.get $map $root (local.get $map)) (i32.const 0)
        (struct.new $entry (local.get $key) (struct.new $value (local.get $number)))))
    (struct.new $map
      (i32.add (struct.get $map $size (local.get $map)) (global.get $changed))
      (local.get $root)))

  ;; The node without the key, or the same node if it did not have the key.
  (func $remove_at (param $node (ref $node)) (param $shift i32) (param $key i32)
    (result (ref $node))
    (local $bit i32)
    (local $i i32)
    (local $child (ref $node))
    (local $new (ref $node))
    (local.set $bit (call $bit (call $hash (local.get $key)) (local.get $shift)))
    (if (i32.eqz (i32.and (struct.get $node $bitmap (local.get $node)) (local.get $bit)))
      (then (return (local.get $node))))
    (local.set $i
      (call $index (struct.get $node $bitmap (local.get $node)) (local.get $bit)))
    (block $is_entry (result (ref $entry))
      (local.set $child
        (ref.cast (ref $node)
          (br_on_cast $is_entry eqref (ref $entry)
            (array.get $children (struct.get $node $children (local.get $node))
              (local.get $i)))))
      (local.set $new
        (call $remove_at (local.get $child) (i32.add (local.get $shift) (i32.const 5))
          (local.get $key)))
      (if (ref.eq (local.get $child) (local.get $new)) (then (return (local.get $node))))
      ;; An empty node is removed; a node of one entry is replaced by the entry.
      (if (i32.eqz (struct.get $node $bitmap (local.get $new)))
        (then (return (call $with_less (local.get $node) (local.get $bit)))))
      (if (i32.eq (array.len (struct.get $node $children (local.get $new))) (i32.const 1))
        (then
          (if (ref.test (ref $entry)
                (array.get $children (struct.get $node $children (local.get $new))
                  (i32.const 0)))
            (then
              (return
                (call $with (local.get $node) (local.get $i)
                  (array.get $children (struct.get $node $children (local.get $new))
                    (i32.const 0))))))))
      (return (call $with (local.get $node) (local.get $i) (local.get $new))))
    (if (i32.ne (struct.get $entry $key) (local.get $key)) (then (return (local.get $node))))
    (global.set $changed (i32.const 1))
    (call $with_less (local.get $node) (local.get $bit)))

  (func $remove (param $map (ref $map)) (param $key i32) (result (ref $map))
    (local $root (ref $node))
    (global.set $changed (i32.const 0))
    (local.set $root
      (call $remove_at (struct.get $map $root (local.get $map)) (i32.const 0)
        (local.get $key)))
    (if (i32.eqz (global.get $changed)) (then (return (local.get $map))))
    (struct.new $map
      (i32.sub (struct.get $map $size (local.get $map)) (i32.const 1))
      (local.get $root)))

  ;; ---- the benchmark ------------------------------------------------------

  (global $count (mut i32) (i32.const 0))

  ;; A sum over the entries that does not depend on their order. Traps if an entry is not in the
  ;; place of its hash.
  (func $weigh (param $node (ref $node)) (param $shift i32) (param $prefix i32) (result i32)
    (local $i i32)
    (local $rest i32)
    (local $bit i32)
    (local $sum i32)
    (local $entry (ref $entry))
    (local $here i32)
    (local.set $rest (struct.get $node $bitmap (local.get $node)))
    (block $done
      (loop $more
        (br_if $done (i32.eqz (local.get $rest)))
        (local.set $bit (i32.ctz (local.get $rest)))
        (local.set $rest
          (i32.and (local.get $rest) (i32.sub (local.get $rest) (i32.const 1))))
        (local.set $here
          (i32.or (local.get $prefix) (i32.shl (local.get $bit) (local.get $shift))))
        (block $next
          (block $is_entry (result (ref $entry))
            (local.set $sum
              (i32.add (local.get $sum)
                (call $weigh
                  (ref.cast (ref $node)
                    (br_on_cast $is_entry eqref (ref $entry)
                      (array.get $children (struct.get $node $children (local.get $node))
                        (local.get $i))))
                  (i32.add (local.get $shift) (i32.const 5))
                  (local.get $here))))
            (br $next))
          (local.set $entry)
          (global.set $count (i32.add (global.get $count) (i32.const 1)))
          (if (i32.and
                (i32.xor (call $hash (struct.get $entry $key (local.get $entry)))
                  (local.get $here))
                (select
                  (i32.const -1)
                  (i32.sub
                    (i32.shl (i32.const 1) (i32.add (local.get $shift) (i32.const 5)))
                    (i32.const 1))
                  (i32.ge_u (local.get $shift) (i32.const 27))))
            (then (unreachable)))
          (local.set $sum
            (i32.add (local.get $sum)
              (i32.mul (i32.add (struct.get $entry $key (local.get $entry)) (i32.const 7))
                (i32.wrap_i64
                  (struct.get $value $number
                    (struct.get $entry $value (local.get $entry))))))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $more)))
    (local.get $sum))

  (func $check (param $map (ref $map)) (result i32)
    (local $sum i32)
    (global.set $count (i32.const 0))
    (local.set $sum
      (call $weigh (struct.get $map $root (local.get $map)) (i32.const 0) (i32.const 0)))
    (if (i32.ne (global.get $count) (struct.get $map $size (local.get $map)))
      (then (unreachable)))
    (i32.add (local.get $sum) (global.get $count)))

  (func (export "run") (param $n i32) (result i32)
    (local $map (ref $map))
    (local $versions (ref $versions))
    (local $i i32)
    (local $key i32)
    (local $range i32)
    (local $value (ref null $value))
    (local $sum i32)
    (global.set $seed (i32.const 2463534242))
    (local.set $map
      (struct.new $map (i32.const 0)
        (struct.new $node (i32.const 0) (array.new_default $children (i32.const 0)))))
    (local.set $versions (array.new_default $versions (i32.const 16)))
    (local.set $range (i32.add (local.get $n) (i32.const 1)))
    (block $done
      (loop $more
        (br_if $done (i32.ge_u (local.get $i) (i32.mul (local.get $n) (i32.const 4))))
        (local.set $key (i32.rem_u (call $random) (local.get $range)))
        (local.set $value (call $get (local.get $map) (local.get $key)))
        (if (i32.eqz (ref.is_null (local.get $value)))
          (then
            (local.set $sum
              (i32.add (i32.rotl (local.get $sum) (i32.const 3))
                (i32.wrap_i64 (struct.get $value $number (local.get $value)))))))
        ;; Three insertions for each removal of another key.
        (if (i32.eq (i32.and (local.get $i) (i32.const 3)) (i32.const 3))
          (then
            (local.set $map
              (call $remove (local.get $map)
                (i32.rem_u (call $random) (local.get $range)))))
          (else
            (local.set $map
              (call $insert (local.get $map) (local.get $key)
                (i64.extend_i32_u (local.get $i))))))
        (if (i32.eqz (i32.and (local.get $i) (i32.const 15)))
          (then
            (array.set $versions (local.get $versions)
              (i32.and (i32.shr_u (local.get $i) (i32.const 4)) (i32.const 15))
              (local.get $map))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $more)))
    (local.set $sum (i32.xor (local.get $sum) (call $check (local.get $map))))
    ;; The kept versions are unchanged.
    (local.set $i (i32.const 0))
    (loop $more
      (if (i32.eqz
            (ref.is_null (array.get $versions (local.get $versions) (local.get $i))))
        (then
          (local.set $sum
            (i32.add (i32.rotl (local.get $sum) (i32.const 5))
              (call $check
                (ref.as_non_null
                  (array.get $versions (local.get $versions) (local.get $i))))))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (i32.const 16))))
    (local.get $sum)))
