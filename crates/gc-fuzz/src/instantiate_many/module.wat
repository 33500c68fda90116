;; Types that only modules of the same shape have. OWN stands for the fields that differ.
(module
  (type $leaf (sub (struct OWN (field (mut i64)))))
  (type $top (sub (struct (field $number (mut i32)))))
  (rec
    (type $a (sub $top
      (struct (field $number (mut i32)) (field $next (mut (ref null $a))) OWN
        (field $leaf (mut (ref null $leaf))))))
    (type $b (sub $a
      (struct (field $number (mut i32)) (field $next (mut (ref null $a))) OWN
        (field $leaf (mut (ref null $leaf))) (field $list (mut (ref null $list))))))
    (type $list (array (mut (ref null $b)))))
  (tag $found (param (ref null $b) i32))
  (memory 1 2)
  (table $table 4 8 (ref null $a))
  (global $kept (export "kept") (mut (ref null $a)) (ref.null $a))
  (global $host (mut externref) (ref.null extern))

  ;; Takes a value of the host and returns the one before.
  (func (export "keep") (param externref) (result externref)
    (global.get $host)
    (global.set $host (local.get 0)))

  ;; Makes a list of N objects, and returns the sum of their numbers, and 65536 times the number of
  ;; calls so far. Traps if the memory or the table was not as new before the first call.
  (func (export "run") (param $n i32) (result i32)
    (local $i i32) (local $sum i32) (local $at (ref null $a)) (local $last (ref null $b))
    (if (i32.and (i32.eqz (i32.load (i32.const 0)))
          (i32.or (i64.ne (i64.load (i32.const 65528)) (i64.const 0))
            (i32.eqz (ref.is_null (table.get $table (i32.const 3))))))
      (then (unreachable)))
    (i64.store (i32.const 65528) (i64.const -1))
    (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
    (global.set $kept (ref.null $a))
    (loop $more
      (if (i32.lt_u (local.get $i) (local.get $n)) (then
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (local.set $last (struct.new_default $b))
        (struct.set $b $next (local.get $last) (global.get $kept))
        (struct.set $b $list (local.get $last)
          (array.new $list (local.get $last) (i32.rem_u (local.get $i) (i32.const 5))))
        (struct.set $b $number (local.get $last) (local.get $i))
        (global.set $kept (local.get $last))
        (table.set $table (i32.and (local.get $i) (i32.const 3)) (local.get $last))
        (br $more))))
    (local.set $at (global.get $kept))
    (loop $more
      (if (i32.eqz (ref.is_null (local.get $at))) (then
        (block $caught (result (ref null $b) i32)
          (try_table (catch $found $caught)
            (throw $found (ref.cast (ref $b) (local.get $at))
              (struct.get $a $number (local.get $at))))
          (unreachable))
        (local.set $sum (i32.add (local.get $sum)))
        (local.set $at (struct.get $b $next))
        (br $more))))
    (if (local.get $n) (then
      (if (i32.ne (local.get $n)
            (struct.get $a $number (table.get $table (i32.and (local.get $n) (i32.const 3)))))
        (then (unreachable)))))
    (i32.add (local.get $sum) (i32.mul (i32.load (i32.const 0)) (i32.const 65536)))))
