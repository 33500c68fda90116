;; Reads and writes of fields and elements in loops. `n` is the number of rounds. The start function
;; keeps objects in globals: what the host collects before a loop is old in the loop.
(module
  (type $cell (sub final (struct (field $next (mut (ref null $cell))) (field $n (mut i32)))))
  (type $cells (array (mut (ref null $cell))))
  (type $numbers (array (mut i32)))
  (global $all (mut (ref null $cells)) (ref.null $cells))
  (global $numbers (mut (ref null $numbers)) (ref.null $numbers))

  ;; A ring of 1024 cells, which are also the elements of an array.
  (func $start
    (local $i i32) (local $cell (ref null $cell)) (local $all (ref $cells))
    (local.set $all (array.new_default $cells (i32.const 1024)))
    (loop $fill
      (local.set $cell (struct.new $cell (local.get $cell) (local.get $i)))
      (array.set $cells (local.get $all) (local.get $i) (local.get $cell))
      (br_if $fill
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1024))))
    (struct.set $cell $next (array.get $cells (local.get $all) (i32.const 0)) (local.get $cell))
    (global.set $all (local.get $all))
    (global.set $numbers (array.new $numbers (i32.const 3) (i32.const 1024))))
  (start $start)

  ;; Follows references from cell to cell.
  (func (export "chain") (param $n i32) (result i32)
    (local $cell (ref null $cell)) (local $sum i32)
    (local.set $cell (array.get $cells (global.get $all) (i32.const 0)))
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (struct.get $cell $n (local.get $cell))))
      (local.set $cell (struct.get $cell $next (local.get $cell)))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))

  ;; Reads and writes a number.
  (func (export "numbers") (param $n i32) (result i32)
    (local $numbers (ref $numbers)) (local $at i32)
    (local.set $numbers (ref.as_non_null (global.get $numbers)))
    (loop $again
      (local.set $at (i32.and (local.get $n) (i32.const 1023)))
      (array.set $numbers (local.get $numbers) (local.get $at)
        (i32.add (local.get $n) (array.get $numbers (local.get $numbers) (local.get $at))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (array.get $numbers (local.get $numbers) (i32.const 1)))

  ;; Writes a new object into one that is as new.
  (func (export "write_young") (param $n i32) (result i32)
    (local $a (ref $cell)) (local $b (ref $cell))
    (local.set $a (struct.new $cell (ref.null $cell) (i32.const 1)))
    (local.set $b (struct.new $cell (ref.null $cell) (i32.const 2)))
    (loop $again
      (struct.set $cell $next (local.get $a) (local.get $b))
      (struct.set $cell $n (local.get $b)
        (i32.add (local.get $n) (struct.get $cell $n (struct.get $cell $next (local.get $a)))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (struct.get $cell $n (local.get $b)))

  ;; Writes a new object into each of the first `n` cells.
  (func (export "write_old") (param $n i32) (result i32)
    (local $all (ref $cells)) (local $new (ref $cell))
    (local.set $all (ref.as_non_null (global.get $all)))
    (local.set $new (struct.new $cell (ref.null $cell) (i32.const 1)))
    (loop $again
      (struct.set $cell $next
        (array.get $cells (local.get $all)
          (i32.and (i32.sub (local.get $n) (i32.const 1)) (i32.const 1023)))
        (local.get $new))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (struct.get $cell $n
      (struct.get $cell $next (array.get $cells (local.get $all) (i32.const 0)))))

  ;; Writes new objects into the elements of an array.
  (func (export "write_elements") (param $n i32) (result i32)
    (local $all (ref $cells)) (local $new (ref $cell))
    (local.set $all (ref.as_non_null (global.get $all)))
    (local.set $new (struct.new $cell (ref.null $cell) (i32.const 1)))
    (loop $again
      (array.set $cells (local.get $all)
        (i32.and (local.get $n) (i32.const 1023)) (local.get $new))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (struct.get $cell $n (array.get $cells (local.get $all) (i32.const 1)))))
