;; externrefs: many host values alive at once, replaced at random.
;;
;;   run(n) -> a checksum over n externrefs, half in a table and half in an array,
;;             after five times as many were made and dropped
;;
;; `host.value(i)` makes a host value that `host.number` reads. So the checksum shows a value that
;; was dropped too early or confused with another one.

(module $externrefs
  (import "host" "value" (func $value (param i32) (result externref)))
  (import "host" "number" (func $number (param externref) (result i32)))

  (type $values (array (mut externref)))
  (table $table 0 externref)

  (global $seed (mut i32) (i32.const 0))
  (global $made (mut i32) (i32.const 0))

  ;; xorshift32 (Marsaglia 2003)
  (func $random (result i32)
    (local $x i32)
    (local.set $x (global.get $seed))
    (local.set $x (i32.xor (local.get $x) (i32.shl (local.get $x) (i32.const 13))))
    (local.set $x (i32.xor (local.get $x) (i32.shr_u (local.get $x) (i32.const 17))))
    (local.set $x (i32.xor (local.get $x) (i32.shl (local.get $x) (i32.const 5))))
    (global.set $seed (local.get $x))
    (local.get $x))

  (func $new (result externref)
    (global.set $made (i32.add (global.get $made) (i32.const 1)))
    (call $value (global.get $made)))

  (func (export "run") (param $n i32) (result i32)
    (local $values (ref $values))
    (local $half i32)
    (local $i i32)
    (local $at i32)
    (local $h i32)
    (local.set $half (i32.add (i32.shr_u (local.get $n) (i32.const 1)) (i32.const 1)))
    (global.set $seed (i32.const 2463534242))
    (global.set $made (i32.const 0))
    (local.set $values (array.new_default $values (local.get $half)))
    (if (i32.lt_u (table.size $table) (local.get $half))
      (then
        (drop
          (table.grow $table (ref.null extern)
            (i32.sub (local.get $half) (table.size $table))))))
    (loop $more
      (array.set $values (local.get $values) (local.get $i) (call $new))
      (table.set $table (local.get $i) (call $new))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (local.get $half))))
    (local.set $i (i32.mul (local.get $half) (i32.const 5)))
    (loop $more
      (array.set $values (local.get $values)
        (i32.rem_u (call $random) (local.get $half)) (call $new))
      (local.set $at (i32.rem_u (call $random) (local.get $half)))
      (local.set $h
        (i32.add (i32.rotl (local.get $h) (i32.const 3))
          (call $number (table.get $table (local.get $at)))))
      (table.set $table (local.get $at) (call $new))
      (br_if $more (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
    (loop $more
      (local.set $h
        (i32.add (i32.mul (local.get $h) (i32.const 31))
          (i32.xor
            (call $number (array.get $values (local.get $values) (local.get $i)))
            (call $number (table.get $table (local.get $i))))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (local.get $half))))
    (local.get $h)))
