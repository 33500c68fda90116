;; lru: a cache that evicts the least recently used entry. It has a doubly linked list in order of
;; use, and a hash map from keys to the list's nodes.
;;
;;   run(n) -> a checksum over n requests to a cache of 100 nodes
;;
;; The list is a ring around a sentinel. Neighbours refer to each other, so every node in the cache
;; is part of a cycle. An evicted node is unlinked and refers to nothing, so a reference-counting
;; collector can free it. The ring that remains at the end is an unreferenced cycle, which only a
;; tracing collector (or a cycle collector) frees.
;;
;; The map is open addressing with linear probing over an array of nodes, with
;; removal by shifting back (Knuth, The Art of Computer Programming 3, 6.4, R).

(module $lru
  (rec
    (type $node (struct
      (field $key i64)
      (field $value (mut anyref))
      ;; Nullable, since a ring's first node has no neighbours before it exists.
      (field $newer (mut (ref null $node)))
      (field $older (mut (ref null $node)))))
    (type $slots (array (mut (ref null $node))))
    (type $cache (struct
      (field $capacity i32)
      (field $len (mut i32))
      (field $sentinel (ref $node))
      (field $slots (ref $slots))
      (field $hits (mut i32))
      (field $evictions (mut i32))))
    ;; A cached value, which is made from its key at some cost.
    (type $page (struct (field $number i64) (field $words (ref $words))))
    (type $words (array (mut i16))))

  (global $seed (mut i64) (i64.const 1))

  ;; xorshift64 (Marsaglia 2003)
  (func $random (result i64)
    (local $x i64)
    (local.set $x (global.get $seed))
    (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))
    (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))
    (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 17))))
    (global.set $seed (local.get $x))
    (local.get $x))

  ;; ---- the ring -----------------------------------------------------------

  (func $ring_new (result (ref $node))
    (local $s (ref $node))
    (local.set $s
      (struct.new $node (i64.const -1) (ref.null any) (ref.null $node) (ref.null $node)))
    (struct.set $node $newer (local.get $s) (local.get $s))
    (struct.set $node $older (local.get $s) (local.get $s))
    (local.get $s))

  (func $unlink (param $node (ref $node))
    (struct.set $node $older
      (struct.get $node $newer (local.get $node))
      (struct.get $node $older (local.get $node)))
    (struct.set $node $newer
      (struct.get $node $older (local.get $node))
      (struct.get $node $newer (local.get $node)))
    (struct.set $node $newer (local.get $node) (ref.null $node))
    (struct.set $node $older (local.get $node) (ref.null $node)))

  ;; Makes an unlinked node the newest one, which is the sentinel's `older`.
  (func $link_newest (param $cache (ref $cache)) (param $node (ref $node))
    (local $sentinel (ref $node))
    (local.set $sentinel (struct.get $cache $sentinel (local.get $cache)))
    (struct.set $node $newer (local.get $node) (local.get $sentinel))
    (struct.set $node $older (local.get $node)
      (struct.get $node $older (local.get $sentinel)))
    (struct.set $node $newer (struct.get $node $older (local.get $sentinel)) (local.get $node))
    (struct.set $node $older (local.get $sentinel) (local.get $node)))

  ;; ---- the map ------------------------------------------------------------

  ;; Where a key's search begins (Fibonacci hashing).
  (func $home (param $slots (ref $slots)) (param $key i64) (result i32)
    (i32.and
      (i32.wrap_i64
        (i64.shr_u (i64.mul (local.get $key) (i64.const 0x9e3779b97f4a7c15)) (i64.const 40)))
      (i32.sub (array.len (local.get $slots)) (i32.const 1))))

  (func $next (param $slots (ref $slots)) (param $i i32) (result i32)
    (i32.and (i32.add (local.get $i) (i32.const 1))
      (i32.sub (array.len (local.get $slots)) (i32.const 1))))

  ;; The slot of a key, or the empty one where it would go; and the node in it.
  (func $find (param $slots (ref $slots)) (param $key i64) (result i32 (ref null $node))
    (local $i i32)
    (local $node (ref null $node))
    (local.set $i (call $home (local.get $slots) (local.get $key)))
    (block $found
      (loop $more
        (local.set $node (array.get $slots (local.get $slots) (local.get $i)))
        (br_if $found (ref.is_null (local.get $node)))
        (br_if $found (i64.eq (struct.get $node $key (local.get $node)) (local.get $key)))
        (local.set $i (call $next (local.get $slots) (local.get $i)))
        (br $more)))
    (local.get $i)
    (local.get $node))

  ;; Empties slot `hole` and moves up the later nodes that could no longer be found.
  (func $remove_slot (param $slots (ref $slots)) (param $hole i32)
    (local $i i32)
    (local $mask i32)
    (local $node (ref null $node))
    (local.set $mask (i32.sub (array.len (local.get $slots)) (i32.const 1)))
    (local.set $i (local.get $hole))
    (array.set $slots (local.get $slots) (local.get $hole) (ref.null $node))
    (loop $more
      (local.set $i (call $next (local.get $slots) (local.get $i)))
      (local.set $node (array.get $slots (local.get $slots) (local.get $i)))
      (if (ref.is_null (local.get $node)) (then (return)))
      ;; It may stay if its home is cyclically in (hole, i].
      (br_if $more
        (i32.lt_u
          (i32.and
            (i32.sub (local.get $i)
              (call $home (local.get $slots) (struct.get $node $key (local.get $node))))
            (local.get $mask))
          (i32.and (i32.sub (local.get $i) (local.get $hole)) (local.get $mask))))
      (array.set $slots (local.get $slots) (local.get $hole) (local.get $node))
      (array.set $slots (local.get $slots) (local.get $i) (ref.null $node))
      (local.set $hole (local.get $i))
      (br $more)))

  ;; ---- the cache ----------------------------------------------------------

  (func $cache_new (param $capacity i32) (result (ref $cache))
    (struct.new $cache
      (local.get $capacity)
      (i32.const 0)
      (call $ring_new)
      (array.new_default $slots (i32.const 256))
      (i32.const 0)
      (i32.const 0)))

  ;; The cached value for a key: a $page, or an i31 for every fourth key.
  (func $compute (param $key i64) (result anyref)
    (local $words (ref $words))
    (local $i i32)
    (if (i64.eqz (i64.and (local.get $key) (i64.const 3)))
      (then (return (ref.i31 (i32.wrap_i64 (local.get $key))))))
    (local.set $words (array.new_default $words (i32.const 12)))
    (loop $more
      (array.set $words (local.get $words) (local.get $i)
        (i32.mul (i32.wrap_i64 (local.get $key)) (i32.add (local.get $i) (i32.const 7919))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (array.len (local.get $words)))))
    (struct.new $page (local.get $key) (local.get $words)))

  (func $evict (param $cache (ref $cache))
    (local $oldest (ref $node))
    (local $slot i32)
    (local $node (ref null $node))
    (local.set $oldest
      (ref.as_non_null
        (struct.get $node $newer (struct.get $cache $sentinel (local.get $cache)))))
    (call $find (struct.get $cache $slots (local.get $cache))
      (struct.get $node $key (local.get $oldest)))
    (local.set $node)
    (local.set $slot)
    (if (i32.eqz (ref.eq (local.get $node) (local.get $oldest))) (then (unreachable)))
    (call $unlink (local.get $oldest))
    (call $remove_slot (struct.get $cache $slots (local.get $cache)) (local.get $slot))
    (struct.set $cache $len (local.get $cache)
      (i32.sub (struct.get $cache $len (local.get $cache)) (i32.const 1)))
    (struct.set $cache $evictions (local.get $cache)
      (i32.add (struct.get $cache $evictions (local.get $cache)) (i32.const 1))))

  (func $request (param $cache (ref $cache)) (param $key i64) (result anyref)
    (local $slot i32)
    (local $node (ref null $node))
    (local $new (ref $node))
    (call $find (struct.get $cache $slots (local.get $cache)) (local.get $key))
    (local.set $node)
    (local.set $slot)
    (block $miss
      (br_if $miss (ref.is_null (local.get $node)))
      (call $unlink (ref.as_non_null (local.get $node)))
      (call $link_newest (local.get $cache) (ref.as_non_null (local.get $node)))
      (struct.set $cache $hits (local.get $cache)
        (i32.add (struct.get $cache $hits (local.get $cache)) (i32.const 1)))
      (return (struct.get $node $value (local.get $node))))
    (if (i32.eq (struct.get $cache $len (local.get $cache))
                (struct.get $cache $capacity (local.get $cache)))
      (then
        (call $evict (local.get $cache))
        ;; Slots may have shifted: search again.
        (call $find (struct.get $cache $slots (local.get $cache)) (local.get $key))
        (local.set $node)
        (local.set $slot)))
    (local.set $new
      (struct.new $node (local.get $key) (call $compute (local.get $key))
        (ref.null $node) (ref.null $node)))
    (array.set $slots (struct.get $cache $slots (local.get $cache))
      (local.get $slot) (local.get $new))
    (call $link_newest (local.get $cache) (local.get $new))
    (struct.set $cache $len (local.get $cache)
      (i32.add (struct.get $cache $len (local.get $cache)) (i32.const 1)))
    (struct.get $node $value (local.get $new)))

  ;; A number for the cached value. Traps if the value does not belong to the key.
  (func $weigh (param $key i64) (param $value anyref) (result i32)
    (local $page (ref $page))
    (block $small (result (ref i31))
      (local.set $page
        (ref.cast (ref $page) (br_on_cast $small anyref (ref i31) (local.get $value))))
      (if (i64.ne (struct.get $page $number (local.get $page)) (local.get $key))
        (then (unreachable)))
      (return (i32.xor
        (array.get_s $words (struct.get $page $words (local.get $page)) (i32.const 5))
        (array.get_u $words (struct.get $page $words (local.get $page)) (i32.const 11)))))
    (i31.get_u))

  ;; A checksum of the keys from newest to oldest. Their number must be that of the cache.
  (func $hash_ring (param $cache (ref $cache)) (result i32)
    (local $node (ref $node))
    (local $h i32)
    (local $count i32)
    (local.set $node (struct.get $cache $sentinel (local.get $cache)))
    (loop $more
      (local.set $node (ref.as_non_null (struct.get $node $older (local.get $node))))
      (if (i32.eqz (ref.eq (local.get $node)
                           (struct.get $node $older (struct.get $node $newer (local.get $node)))))
        (then (unreachable)))
      (if (i32.eqz (ref.eq (local.get $node) (struct.get $cache $sentinel (local.get $cache))))
        (then
          (local.set $h (i32.add (i32.mul (local.get $h) (i32.const 33))
            (i32.wrap_i64 (struct.get $node $key (local.get $node)))))
          (local.set $count (i32.add (local.get $count) (i32.const 1)))
          (br $more))))
    (if (i32.ne (local.get $count) (struct.get $cache $len (local.get $cache)))
      (then (unreachable)))
    (local.get $h))

  (func (export "run") (param $n i32) (result i32)
    (local $cache (ref $cache))
    (local $i i32)
    (local $sum i32)
    (local $key i64)
    (local.set $cache (call $cache_new (i32.const 100)))
    (global.set $seed (i64.add (i64.extend_i32_u (local.get $n)) (i64.const 88172645463325252)))
    (block $done
      (loop $more
        (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
        ;; Small keys are likelier than large ones: the smaller of two.
        (local.set $key
          (i64.rem_u (call $random)
            (i64.add (i64.const 1) (i64.rem_u (call $random) (i64.const 500)))))
        (local.set $sum
          (i32.add
            (i32.rotl (local.get $sum) (i32.const 5))
            (call $weigh (local.get $key) (call $request (local.get $cache) (local.get $key)))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $more)))
    (i32.add
      (i32.xor (local.get $sum) (call $hash_ring (local.get $cache)))
      (i32.add
        (i32.shl (struct.get $cache $hits (local.get $cache)) (i32.const 8))
        (struct.get $cache $evictions (local.get $cache))))))
