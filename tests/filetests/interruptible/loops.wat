;; Loops that poll: an inner loop keeps its own poll, a loop that is left at its head polls on the way
;; back, a function without a loop has none.
(module
  (type $cell (struct (field (mut i32))))
  (func (export "nested") (param $n i32) (result i32)
    (local $i i32) (local $j i32) (local $sum i32)
    (loop $outer
      (local.set $j (i32.const 0))
      (loop $inner
        (local.set $sum (i32.add (local.get $sum) (local.get $j)))
        (local.set $j (i32.add (local.get $j) (i32.const 1)))
        (br_if $inner (i32.lt_u (local.get $j) (local.get $n))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $outer (i32.lt_u (local.get $i) (local.get $n))))
    (local.get $sum))
  (func (export "store") (param $cell (ref $cell)) (param $n i32)
    (loop $next
      (struct.set $cell 0 (local.get $cell) (local.get $n))
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (br_if $next (local.get $n))))
  (func (export "while") (param $n i32)
    (loop $next
      (if (local.get $n)
        (then
          (local.set $n (i32.sub (local.get $n) (i32.const 1)))
          (br $next)))))
  (func (export "endless") (loop (br 0)))
  (func (export "twice") (param i32) (result i32) (i32.add (local.get 0) (local.get 0))))
