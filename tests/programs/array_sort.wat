;; array_sort: arrays of references sorted by what they refer to.
;;
;;   run(n) -> a checksum over n boxed numbers, sorted in three ways
;;
;; Elements are i31s and boxes of 64-bit integers. Each comparison distinguishes them and is a call
;; through a function reference. Merge sort copies between two arrays; heap sort and quicksort
;; exchange in place. So the program stores references to old objects into an old array and
;; allocates very little. Each round replaces a part of the boxes by new ones.

(module $array_sort
  (rec
    (type $box (struct (field $value i64)))
    (type $array (array (mut eqref)))
    (type $compare (func (param eqref eqref) (result i32))))

  (global $seed (mut i32) (i32.const 0))
  (elem declare func $ascending $descending)

  ;; xorshift32 (Marsaglia 2003)
  (func $random (result i32)
    (local $x i32)
    (local.set $x (global.get $seed))
    (local.set $x (i32.xor (local.get $x) (i32.shl (local.get $x) (i32.const 13))))
    (local.set $x (i32.xor (local.get $x) (i32.shr_u (local.get $x) (i32.const 17))))
    (local.set $x (i32.xor (local.get $x) (i32.shl (local.get $x) (i32.const 5))))
    (global.set $seed (local.get $x))
    (local.get $x))

  ;; A quarter of the numbers are small and need no box.
  (func $number (result eqref)
    (local $r i32)
    (local.set $r (call $random))
    (if (result eqref) (i32.and (local.get $r) (i32.const 3))
      (then
        (struct.new $box
          (i64.sub (i64.extend_i32_u (local.get $r)) (i64.const 2147483648))))
      (else (ref.i31 (i32.shr_s (local.get $r) (i32.const 8))))))

  (func $value (param $x eqref) (result i64)
    (block $small (result (ref i31))
      (return
        (struct.get $box $value
          (ref.cast (ref $box) (br_on_cast $small eqref (ref i31) (local.get $x))))))
    (i64.extend_i32_s (i31.get_s)))

  ;; Whether the first comes before the second.
  (func $ascending (type $compare)
    (i64.lt_s (call $value (local.get 0)) (call $value (local.get 1))))
  (func $descending (type $compare)
    (i64.gt_s (call $value (local.get 0)) (call $value (local.get 1))))

  ;; ---- merge sort, from the bottom up -------------------------------------

  (func $merge (param $from (ref $array)) (param $to (ref $array))
    (param $low i32) (param $mid i32) (param $high i32) (param $before (ref $compare))
    (local $i i32)
    (local $j i32)
    (local $k i32)
    (local.set $i (local.get $low))
    (local.set $j (local.get $mid))
    (local.set $k (local.get $low))
    (block $done
      (loop $more
        (br_if $done (i32.ge_u (local.get $k) (local.get $high)))
        (block $right
          (block $left
            (br_if $right (i32.ge_u (local.get $i) (local.get $mid)))
            (br_if $left (i32.ge_u (local.get $j) (local.get $high)))
            (br_if $right
              (call_ref $compare
                (array.get $array (local.get $from) (local.get $j))
                (array.get $array (local.get $from) (local.get $i))
                (local.get $before))))
          (array.set $array (local.get $to) (local.get $k)
            (array.get $array (local.get $from) (local.get $i)))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (local.set $k (i32.add (local.get $k) (i32.const 1)))
          (br $more))
        (array.set $array (local.get $to) (local.get $k)
          (array.get $array (local.get $from) (local.get $j)))
        (local.set $j (i32.add (local.get $j) (i32.const 1)))
        (local.set $k (i32.add (local.get $k) (i32.const 1)))
        (br $more))))

  (func $min (param $a i32) (param $b i32) (result i32)
    (select (local.get $a) (local.get $b) (i32.lt_u (local.get $a) (local.get $b))))

  (func $merge_sort (param $array (ref $array)) (param $before (ref $compare))
    (local $from (ref $array))
    (local $to (ref $array))
    (local $tmp (ref $array))
    (local $len i32)
    (local $width i32)
    (local $low i32)
    (local.set $len (array.len (local.get $array)))
    (local.set $from (local.get $array))
    (local.set $to (array.new_default $array (local.get $len)))
    (local.set $width (i32.const 1))
    (block $sorted
      (loop $wider
        (br_if $sorted (i32.ge_u (local.get $width) (local.get $len)))
        (local.set $low (i32.const 0))
        (loop $more
          (call $merge (local.get $from) (local.get $to)
            (local.get $low)
            (call $min (i32.add (local.get $low) (local.get $width)) (local.get $len))
            (call $min
              (i32.add (local.get $low) (i32.shl (local.get $width) (i32.const 1)))
              (local.get $len))
            (local.get $before))
          (local.set $low
            (i32.add (local.get $low) (i32.shl (local.get $width) (i32.const 1))))
          (br_if $more (i32.lt_u (local.get $low) (local.get $len))))
        (local.set $tmp (local.get $from))
        (local.set $from (local.get $to))
        (local.set $to (local.get $tmp))
        (local.set $width (i32.shl (local.get $width) (i32.const 1)))
        (br $wider)))
    (if (i32.eqz (ref.eq (local.get $from) (local.get $array)))
      (then
        (array.copy $array $array (local.get $array) (i32.const 0)
          (local.get $from) (i32.const 0) (local.get $len)))))

  ;; ---- heap sort ----------------------------------------------------------

  (func $swap (param $array (ref $array)) (param $i i32) (param $j i32)
    (local $tmp eqref)
    (local.set $tmp (array.get $array (local.get $array) (local.get $i)))
    (array.set $array (local.get $array) (local.get $i)
      (array.get $array (local.get $array) (local.get $j)))
    (array.set $array (local.get $array) (local.get $j) (local.get $tmp)))

  (func $sift_down (param $array (ref $array)) (param $i i32) (param $len i32)
    (param $before (ref $compare))
    (local $child i32)
    (block $done
      (loop $more
        (local.set $child (i32.add (i32.shl (local.get $i) (i32.const 1)) (i32.const 1)))
        (br_if $done (i32.ge_u (local.get $child) (local.get $len)))
        (if (i32.lt_u (i32.add (local.get $child) (i32.const 1)) (local.get $len))
          (then
            (local.set $child
              (i32.add (local.get $child)
                (call_ref $compare
                  (array.get $array (local.get $array) (local.get $child))
                  (array.get $array (local.get $array)
                    (i32.add (local.get $child) (i32.const 1)))
                  (local.get $before))))))
        (br_if $done
          (i32.eqz
            (call_ref $compare
              (array.get $array (local.get $array) (local.get $i))
              (array.get $array (local.get $array) (local.get $child))
              (local.get $before))))
        (call $swap (local.get $array) (local.get $i) (local.get $child))
        (local.set $i (local.get $child))
        (br $more))))

  (func $heap_sort (param $array (ref $array)) (param $before (ref $compare))
    (local $i i32)
    (local.set $i (i32.shr_u (array.len (local.get $array)) (i32.const 1)))
    (block $heap
      (loop $more
        (br_if $heap (i32.eqz (local.get $i)))
        (local.set $i (i32.sub (local.get $i) (i32.const 1)))
        (call $sift_down (local.get $array) (local.get $i) (array.len (local.get $array))
          (local.get $before))
        (br $more)))
    (local.set $i (array.len (local.get $array)))
    (block $sorted
      (loop $more
        (br_if $sorted (i32.le_u (local.get $i) (i32.const 1)))
        (local.set $i (i32.sub (local.get $i) (i32.const 1)))
        (call $swap (local.get $array) (i32.const 0) (local.get $i))
        (call $sift_down (local.get $array) (i32.const 0) (local.get $i)
          (local.get $before))
        (br $more))))

  ;; ---- quicksort (Hoare's partition around the middle) --------------------

  (func $quick_sort (param $array (ref $array)) (param $low i32) (param $high i32)
    (param $before (ref $compare))
    (local $pivot eqref)
    (local $i i32)
    (local $j i32)
    (loop $part
      (if (i32.ge_s (local.get $low) (local.get $high)) (then (return)))
      (local.set $pivot
        (array.get $array (local.get $array)
          (i32.shr_u (i32.add (local.get $low) (local.get $high)) (i32.const 1))))
      (local.set $i (local.get $low))
      (local.set $j (local.get $high))
      (block $parted
        (loop $more
          (loop $up
            (if (call_ref $compare (array.get $array (local.get $array) (local.get $i))
                  (local.get $pivot) (local.get $before))
              (then
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br $up))))
          (loop $down
            (if (call_ref $compare (local.get $pivot)
                  (array.get $array (local.get $array) (local.get $j))
                  (local.get $before))
              (then
                (local.set $j (i32.sub (local.get $j) (i32.const 1)))
                (br $down))))
          (br_if $parted (i32.gt_s (local.get $i) (local.get $j)))
          (call $swap (local.get $array) (local.get $i) (local.get $j))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (local.set $j (i32.sub (local.get $j) (i32.const 1)))
          (br_if $more (i32.le_s (local.get $i) (local.get $j)))))
      (call $quick_sort (local.get $array) (local.get $low) (local.get $j)
        (local.get $before))
      (local.set $low (local.get $i))
      (br $part)))

  ;; ---- the benchmark ------------------------------------------------------

  ;; Puts new numbers in every fourth place.
  (func $refresh (param $array (ref $array))
    (local $i i32)
    (block $done
      (loop $more
        (br_if $done (i32.ge_u (local.get $i) (array.len (local.get $array))))
        (array.set $array (local.get $array) (local.get $i) (call $number))
        (local.set $i (i32.add (local.get $i) (i32.const 4)))
        (br $more))))

  ;; A hash of the numbers. Traps if they are not in order.
  (func $check (param $array (ref $array)) (param $before (ref $compare)) (result i32)
    (local $i i32)
    (local $h i32)
    (block $done
      (loop $more
        (br_if $done (i32.ge_u (local.get $i) (array.len (local.get $array))))
        (if (local.get $i)
          (then
            (if (call_ref $compare
                  (array.get $array (local.get $array) (local.get $i))
                  (array.get $array (local.get $array)
                    (i32.sub (local.get $i) (i32.const 1)))
                  (local.get $before))
              (then (unreachable)))))
        (local.set $h
          (i32.add (i32.mul (local.get $h) (i32.const 31))
            (i32.wrap_i64
              (call $value (array.get $array (local.get $array) (local.get $i))))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $more)))
    (local.get $h))

  (func (export "run") (param $n i32) (result i32)
    (local $array (ref $array))
    (local $i i32)
    (local $h i32)
    (if (i32.eqz (local.get $n)) (then (return (i32.const 0))))
    (global.set $seed (i32.const 2463534242))
    (local.set $array (array.new_default $array (local.get $n)))
    (loop $more
      (array.set $array (local.get $array) (local.get $i) (call $number))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (local.get $n))))
    (call $merge_sort (local.get $array) (ref.func $ascending))
    (local.set $h (call $check (local.get $array) (ref.func $ascending)))
    (call $refresh (local.get $array))
    (call $heap_sort (local.get $array) (ref.func $descending))
    (local.set $h
      (i32.xor (i32.rotl (local.get $h) (i32.const 5))
        (call $check (local.get $array) (ref.func $descending))))
    (call $refresh (local.get $array))
    (call $quick_sort (local.get $array) (i32.const 0)
      (i32.sub (local.get $n) (i32.const 1)) (ref.func $ascending))
    (i32.xor (i32.rotl (local.get $h) (i32.const 5))
      (call $check (local.get $array) (ref.func $ascending)))))
