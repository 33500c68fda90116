;; hash_map: a map from strings to integers with open hashing (a chain of entries
;; for each bucket), which doubles its buckets as it fills, and can remove keys.
;;
;;   run(n) -> a checksum over n insertions, updates, look-ups and removals
;;
;; Keys are strings in i8 arrays. They are made again for every operation, so a key is found by its
;; bytes and never by its identity. The map has two function references that hash and compare keys.
;; Values are integers: an i31 if they fit, otherwise a box. The program tracks what must be in the
;; map, and traps if the map disagrees.

(module $hash_map
  (type $string (array (mut i8)))
  (type $hash (func (param (ref $string)) (result i32)))
  (type $equal (func (param (ref $string) (ref $string)) (result i32)))
  (rec
    (type $box (struct (field $n i32)))
    (type $entry (struct
      (field $hash i32)
      (field $key (ref $string))
      (field $value (mut (ref eq)))
      (field $next (mut (ref null $entry)))))
    (type $buckets (array (mut (ref null $entry))))
    (type $map (struct
      (field $buckets (mut (ref $buckets)))
      (field $len (mut i32))
      (field $hash (ref $hash))
      (field $equal (ref $equal)))))

  ;; The functions for a map of strings. Constant expressions may allocate.
  (global $empty (ref $string) (array.new_fixed $string 0))
  (global $key_prefix (ref $string)
    (array.new_fixed $string 4
      (i32.const 107) (i32.const 101) (i32.const 121) (i32.const 45))) ;; key-

  ;; ---- strings ------------------------------------------------------------

  ;; FNV-1a (Fowler, Noll, Vo)
  (func $fnv1a (type $hash) (param $s (ref $string)) (result i32)
    (local $h i32)
    (local $i i32)
    (local.set $h (i32.const 0x811c9dc5))
    (block $done
      (loop $more
        (br_if $done (i32.ge_u (local.get $i) (array.len (local.get $s))))
        (local.set $h
          (i32.mul
            (i32.xor (local.get $h) (array.get_u $string (local.get $s) (local.get $i)))
            (i32.const 16777619)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $more)))
    (local.get $h))

  (func $same_bytes (type $equal) (param $a (ref $string)) (param $b (ref $string)) (result i32)
    (local $i i32)
    (if (ref.eq (local.get $a) (local.get $b)) (then (return (i32.const 1))))
    (if (i32.ne (array.len (local.get $a)) (array.len (local.get $b)))
      (then (return (i32.const 0))))
    (block $done
      (loop $more
        (br_if $done (i32.ge_u (local.get $i) (array.len (local.get $a))))
        (if (i32.ne (array.get_s $string (local.get $a) (local.get $i))
                    (array.get_s $string (local.get $b) (local.get $i)))
          (then (return (i32.const 0))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $more)))
    (i32.const 1))

  ;; "key-" and the number in decimal; the empty string for zero.
  (func $key (param $n i32) (result (ref $string))
    (local $digits i32)
    (local $rest i32)
    (local $s (ref $string))
    (if (i32.eqz (local.get $n)) (then (return (global.get $empty))))
    (local.set $rest (local.get $n))
    (loop $more
      (local.set $digits (i32.add (local.get $digits) (i32.const 1)))
      (local.set $rest (i32.div_u (local.get $rest) (i32.const 10)))
      (br_if $more (local.get $rest)))
    (local.set $s
      (array.new $string (i32.const 63) (i32.add (i32.const 4) (local.get $digits)))) ;; ?
    (array.copy $string $string
      (local.get $s) (i32.const 0) (global.get $key_prefix) (i32.const 0) (i32.const 4))
    (loop $more
      (local.set $digits (i32.sub (local.get $digits) (i32.const 1)))
      (array.set $string (local.get $s)
        (i32.add (i32.const 4) (local.get $digits))
        (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))
      (local.set $n (i32.div_u (local.get $n) (i32.const 10)))
      (br_if $more (local.get $digits)))
    (local.get $s))

  ;; ---- values -------------------------------------------------------------

  (func $value (param $n i32) (result (ref eq))
    (if (result (ref eq))
      (i32.eq (local.get $n) (i31.get_s (ref.i31 (local.get $n))))
      (then (ref.i31 (local.get $n)))
      (else (struct.new $box (local.get $n)))))

  (func $number (param $value (ref eq)) (result i32)
    (block $small (result (ref i31))
      (return (struct.get $box $n (ref.cast (ref $box)
        (br_on_cast $small (ref eq) (ref i31) (local.get $value))))))
    (i31.get_s))

  ;; ---- the map ------------------------------------------------------------

  (func $map_new (param $hash (ref $hash)) (param $equal (ref $equal)) (result (ref $map))
    (struct.new $map
      (array.new_default $buckets (i32.const 4))
      (i32.const 0)
      (local.get $hash)
      (local.get $equal)))

  (func $index (param $map (ref $map)) (param $hash i32) (result i32)
    ;; The number of buckets is a power of two.
    (i32.and (local.get $hash)
      (i32.sub (array.len (struct.get $map $buckets (local.get $map))) (i32.const 1))))

  (func $hash_of (param $map (ref $map)) (param $key (ref $string)) (result i32)
    (call_ref $hash (local.get $key) (struct.get $map $hash (local.get $map))))

  ;; The entry of a key, or null.
  (func $find (param $map (ref $map)) (param $key (ref $string)) (param $hash i32)
    (result (ref null $entry))
    (local $entry (ref null $entry))
    (local.set $entry
      (array.get $buckets (struct.get $map $buckets (local.get $map))
        (call $index (local.get $map) (local.get $hash))))
    (block $none
      (loop $more
        (br_if $none (ref.is_null (local.get $entry)))
        (if (i32.eq (struct.get $entry $hash (local.get $entry)) (local.get $hash))
          (then
            (if (call_ref $equal
                  (local.get $key)
                  (struct.get $entry $key (local.get $entry))
                  (struct.get $map $equal (local.get $map)))
              (then (return (local.get $entry))))))
        (local.set $entry (struct.get $entry $next (local.get $entry)))
        (br $more)))
    (ref.null none))

  (func $get (param $map (ref $map)) (param $key (ref $string)) (result (ref null eq))
    (block $none
      (return (struct.get $entry $value
        (br_on_null $none
          (call $find (local.get $map) (local.get $key)
            (call $hash_of (local.get $map) (local.get $key)))))))
    (ref.null none))

  (func $put (param $map (ref $map)) (param $key (ref $string)) (param $value (ref eq))
    (local $hash i32)
    (local $i i32)
    (local $entry (ref null $entry))
    (local.set $hash (call $hash_of (local.get $map) (local.get $key)))
    (local.set $entry (call $find (local.get $map) (local.get $key) (local.get $hash)))
    (if (i32.eqz (ref.is_null (local.get $entry)))
      (then
        (struct.set $entry $value (local.get $entry) (local.get $value))
        (return)))
    ;; Three quarters full: double.
    (if (i32.ge_u (i32.shl (struct.get $map $len (local.get $map)) (i32.const 2))
                  (i32.mul (array.len (struct.get $map $buckets (local.get $map))) (i32.const 3)))
      (then (call $grow (local.get $map))))
    (local.set $i (call $index (local.get $map) (local.get $hash)))
    (array.set $buckets (struct.get $map $buckets (local.get $map)) (local.get $i)
      (struct.new $entry
        (local.get $hash) (local.get $key) (local.get $value)
        (array.get $buckets (struct.get $map $buckets (local.get $map)) (local.get $i))))
    (struct.set $map $len (local.get $map)
      (i32.add (struct.get $map $len (local.get $map)) (i32.const 1))))

  ;; Moves the entries themselves into twice as many buckets.
  (func $grow (param $map (ref $map))
    (local $old (ref $buckets))
    (local $i i32)
    (local $j i32)
    (local $entry (ref null $entry))
    (local $next (ref null $entry))
    (local.set $old (struct.get $map $buckets (local.get $map)))
    (struct.set $map $buckets (local.get $map)
      (array.new $buckets (ref.null none)
        (i32.shl (array.len (local.get $old)) (i32.const 1))))
    (loop $bucket
      (local.set $entry (array.get $buckets (local.get $old) (local.get $i)))
      (block $done
        (loop $more
          (br_if $done (ref.is_null (local.get $entry)))
          (local.set $next (struct.get $entry $next (local.get $entry)))
          (local.set $j
            (call $index (local.get $map) (struct.get $entry $hash (local.get $entry))))
          (struct.set $entry $next (local.get $entry)
            (array.get $buckets (struct.get $map $buckets (local.get $map)) (local.get $j)))
          (array.set $buckets (struct.get $map $buckets (local.get $map)) (local.get $j)
            (local.get $entry))
          (local.set $entry (local.get $next))
          (br $more)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $bucket (i32.lt_u (local.get $i) (array.len (local.get $old))))))

  ;; Whether the key was there.
  (func $remove (param $map (ref $map)) (param $key (ref $string)) (result i32)
    (local $hash i32)
    (local $i i32)
    (local $found (ref null $entry))
    (local $before (ref null $entry))
    (local.set $hash (call $hash_of (local.get $map) (local.get $key)))
    (local.set $found (call $find (local.get $map) (local.get $key) (local.get $hash)))
    (if (ref.is_null (local.get $found)) (then (return (i32.const 0))))
    (local.set $i (call $index (local.get $map) (local.get $hash)))
    (local.set $before
      (array.get $buckets (struct.get $map $buckets (local.get $map)) (local.get $i)))
    (if (ref.eq (local.get $before) (local.get $found))
      (then
        (array.set $buckets (struct.get $map $buckets (local.get $map)) (local.get $i)
          (struct.get $entry $next (local.get $found))))
      (else
        (block $at
          (loop $more
            (br_if $at
              (ref.eq (struct.get $entry $next (local.get $before)) (local.get $found)))
            (local.set $before (struct.get $entry $next (local.get $before)))
            (br $more)))
        (struct.set $entry $next (local.get $before)
          (struct.get $entry $next (local.get $found)))))
    (struct.set $map $len (local.get $map)
      (i32.sub (struct.get $map $len (local.get $map)) (i32.const 1)))
    (i32.const 1))

  (elem declare func $fnv1a $same_bytes)

  ;; A large, well-spread number that belongs to a small one.
  (func $spread (param $n i32) (result i32)
    (i32.mul (i32.add (local.get $n) (i32.const 1)) (i32.const 0x9e3779b1)))

  (func (export "run") (param $n i32) (result i32)
    (local $map (ref $map))
    (local $i i32)
    (local $removed i32)
    (local $sum i32)
    (local $v (ref null eq))
    (if (i32.eqz (local.get $n)) (then (return (i32.const 0))))
    (local.set $map (call $map_new (ref.func $fnv1a) (ref.func $same_bytes)))
    ;; every key once
    (loop $more
      (call $put (local.get $map)
        (call $key (local.get $i)) (call $value (call $spread (local.get $i))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (local.get $n))))
    ;; every second one again, with a small value: this must add none
    (local.set $i (i32.const 0))
    (loop $more
      (call $put (local.get $map) (call $key (local.get $i)) (call $value (local.get $i)))
      (local.set $i (i32.add (local.get $i) (i32.const 2)))
      (br_if $more (i32.lt_u (local.get $i) (local.get $n))))
    (if (i32.ne (struct.get $map $len (local.get $map)) (local.get $n)) (then (unreachable)))
    ;; every third one goes, once
    (local.set $i (i32.const 0))
    (loop $more
      (if (i32.eqz (call $remove (local.get $map) (call $key (local.get $i))))
        (then (unreachable)))
      (if (call $remove (local.get $map) (call $key (local.get $i))) (then (unreachable)))
      (local.set $removed (i32.add (local.get $removed) (i32.const 1)))
      (local.set $i (i32.add (local.get $i) (i32.const 3)))
      (br_if $more (i32.lt_u (local.get $i) (local.get $n))))
    (if (i32.ne (struct.get $map $len (local.get $map))
                (i32.sub (local.get $n) (local.get $removed)))
      (then (unreachable)))
    ;; look every key up
    (local.set $i (i32.const 0))
    (loop $more
      (local.set $v (call $get (local.get $map) (call $key (local.get $i))))
      (if (i32.ne (ref.is_null (local.get $v))
                  (i32.eqz (i32.rem_u (local.get $i) (i32.const 3))))
        (then (unreachable)))
      (block $gone
        (local.set $sum
          (i32.add
            (i32.mul (local.get $sum) (i32.const 31))
            (call $number (br_on_null $gone (local.get $v)))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $more (i32.lt_u (local.get $i) (local.get $n)))
        (return (local.get $sum)))
      (local.set $sum (i32.rotl (local.get $sum) (i32.const 1)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (local.get $n))))
    (local.get $sum)))
