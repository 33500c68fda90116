;; table.get and table.set of externrefs in loops that do nothing else. Every export
;; takes the number of iterations.
(module
  (import "host" "value" (func $value (param i32) (result externref)))
  (table $table 1024 externref)

  (func $fill
    (local $i i32)
    (loop $next
      (table.set $table (local.get $i) (call $value (local.get $i)))
      (br_if $next (i32.lt_u
        (local.tee $i (i32.add (local.get $i) (i32.const 1)))
        (i32.const 1024)))))
  (start $fill)

  ;; Answers how many of the elements read were null: none.
  (func (export "get") (param $n i32) (result i32)
    (local $nulls i32)
    (loop $next
      (local.set $nulls (i32.add (local.get $nulls)
        (ref.is_null (table.get $table (i32.and (local.get $n) (i32.const 1023))))))
      (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $nulls))

  ;; Writes two references in turn, so that every write replaces one that was there.
  (func (export "set") (param $n i32) (result i32)
    (local $a externref) (local $b externref) (local $swap externref)
    (local.set $a (table.get $table (i32.const 0)))
    (local.set $b (table.get $table (i32.const 1)))
    (loop $next
      (table.set $table (i32.and (local.get $n) (i32.const 1023)) (local.get $a))
      (local.set $swap (local.get $a))
      (local.set $a (local.get $b))
      (local.set $b (local.get $swap))
      (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i32.const 0))

  ;; Exchanges two elements: two reads, two writes.
  (func (export "swap") (param $n i32) (result i32)
    (local $i i32) (local $j i32) (local $x externref)
    (loop $next
      (local.set $i (i32.and (local.get $n) (i32.const 1023)))
      (local.set $j (i32.and
        (i32.mul (local.get $n) (i32.const 397)) (i32.const 1023)))
      (local.set $x (table.get $table (local.get $i)))
      (table.set $table (local.get $i) (table.get $table (local.get $j)))
      (table.set $table (local.get $j) (local.get $x))
      (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i32.const 0)))
