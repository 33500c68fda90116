;; Single operations of Wasm GC in loops. `n` is the number of rounds of each loop. What a loop returns
;; depends on all its rounds, so that no compiler may drop them.
(module
  (type $bytes (array (mut i8)))
  (type $refs (array (mut anyref)))
  (type $shape (sub (struct (field $n (mut i32)))))
  (type $round (sub $shape (struct (field (mut i32)) (field i32))))
  (type $circle (sub final $round (struct (field (mut i32)) (field i32) (field i32))))
  (type $square (sub final $shape (struct (field (mut i32)) (field i64))))
  (rec
    (type $code (func (param (ref $closure)) (param i32) (result i32)))
    (type $closure (sub (struct (field (ref $code)) (field i32)))))
  (type $body (sub (struct (field $x (mut i32)) (field $y (mut i32)) (field $z (mut i32))
    (field $next (mut (ref null $body))) (field $left (mut (ref null $body)))
    (field $right (mut (ref null $body))))))
  (elem declare func $add $xor)
  (table $table 64 anyref)
  (global $number (mut i32) (i32.const 0))
  (global $object (mut anyref) (ref.null any))

  ;; Copies of `len` elements between two arrays, one place further in each round.
  (func $copy_bytes (param $n i32) (param $len i32) (result i32)
    (local $a (ref $bytes)) (local $b (ref $bytes)) (local $at i32) (local $sum i32)
    (local.set $a (array.new $bytes (i32.const 3) (i32.add (local.get $len) (i32.const 8))))
    (local.set $b (array.new_default $bytes (i32.add (local.get $len) (i32.const 8))))
    (loop $again
      (local.set $at (i32.and (local.get $n) (i32.const 7)))
      (array.copy $bytes $bytes (local.get $b) (local.get $at) (local.get $a)
        (i32.const 1) (local.get $len))
      (local.set $sum
        (i32.add (local.get $sum) (array.get_u $bytes (local.get $b) (local.get $at))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))
  (func $copy_refs (param $n i32) (param $len i32) (result i32)
    (local $a (ref $refs)) (local $b (ref $refs)) (local $at i32) (local $sum i32)
    (local.set $a (array.new $refs (struct.new $shape (i32.const 3))
      (i32.add (local.get $len) (i32.const 8))))
    (local.set $b (array.new_default $refs (i32.add (local.get $len) (i32.const 8))))
    (loop $again
      (local.set $at (i32.and (local.get $n) (i32.const 7)))
      (array.copy $refs $refs (local.get $b) (local.get $at) (local.get $a)
        (i32.const 1) (local.get $len))
      (local.set $sum (i32.add (local.get $sum)
        (ref.test (ref $shape) (array.get $refs (local.get $b) (local.get $at)))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))
  (func $fill_bytes (param $n i32) (param $len i32) (result i32)
    (local $b (ref $bytes)) (local $at i32) (local $sum i32)
    (local.set $b (array.new_default $bytes (i32.add (local.get $len) (i32.const 8))))
    (loop $again
      (local.set $at (i32.and (local.get $n) (i32.const 7)))
      (array.fill $bytes (local.get $b) (local.get $at) (local.get $n) (local.get $len))
      (local.set $sum
        (i32.add (local.get $sum) (array.get_u $bytes (local.get $b) (local.get $at))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))

  (func (export "copy_bytes_4") (param i32) (result i32)
    (call $copy_bytes (local.get 0) (i32.const 4)))
  (func (export "copy_bytes_16") (param i32) (result i32)
    (call $copy_bytes (local.get 0) (i32.const 16)))
  (func (export "copy_bytes_256") (param i32) (result i32)
    (call $copy_bytes (local.get 0) (i32.const 256)))
  (func (export "copy_bytes_65536") (param i32) (result i32)
    (call $copy_bytes (local.get 0) (i32.const 65536)))
  (func (export "copy_refs_4") (param i32) (result i32)
    (call $copy_refs (local.get 0) (i32.const 4)))
  (func (export "copy_refs_16") (param i32) (result i32)
    (call $copy_refs (local.get 0) (i32.const 16)))
  (func (export "copy_refs_256") (param i32) (result i32)
    (call $copy_refs (local.get 0) (i32.const 256)))
  (func (export "copy_refs_65536") (param i32) (result i32)
    (call $copy_refs (local.get 0) (i32.const 65536)))
  (func (export "fill_bytes_4") (param i32) (result i32)
    (call $fill_bytes (local.get 0) (i32.const 4)))
  (func (export "fill_bytes_16") (param i32) (result i32)
    (call $fill_bytes (local.get 0) (i32.const 16)))
  (func (export "fill_bytes_256") (param i32) (result i32)
    (call $fill_bytes (local.get 0) (i32.const 256)))
  (func (export "fill_bytes_65536") (param i32) (result i32)
    (call $fill_bytes (local.get 0) (i32.const 65536)))

  ;; A test and a cast for each of 64 objects of four classes.
  (func (export "casts") (param $n i32) (result i32)
    (local $all (ref $refs)) (local $i i32) (local $sum i32) (local $it anyref)
    (local.set $all (array.new_default $refs (i32.const 64)))
    (loop $fill
      (if (i32.eqz (i32.rem_u (local.get $i) (i32.const 3)))
        (then (array.set $refs (local.get $all) (local.get $i)
          (struct.new $circle (local.get $i) (i32.const 2) (i32.const 3))))
        (else (if (i32.eq (i32.rem_u (local.get $i) (i32.const 3)) (i32.const 1))
          (then (array.set $refs (local.get $all) (local.get $i)
            (struct.new $square (local.get $i) (i64.const 2))))
          (else (array.set $refs (local.get $all) (local.get $i)
            (struct.new $round (local.get $i) (i32.const 2)))))))
      (br_if $fill (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 64))))
    (loop $again
      (local.set $it
        (array.get $refs (local.get $all) (i32.and (local.get $n) (i32.const 63))))
      (local.set $sum (i32.add (local.get $sum) (if (result i32)
        (ref.test (ref $round) (local.get $it))
        (then (struct.get $round 1 (ref.cast (ref $round) (local.get $it))))
        (else (struct.get $shape $n (ref.cast (ref $shape) (local.get $it)))))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))

  ;; Numbers in an array of references: two are read, added, and written.
  (func (export "i31") (param $n i32) (result i32)
    (local $all (ref $refs)) (local $at i32)
    (local.set $all (array.new $refs (ref.i31 (i32.const 1)) (i32.const 65)))
    (loop $again
      (local.set $at (i32.and (local.get $n) (i32.const 63)))
      (array.set $refs (local.get $all) (local.get $at) (ref.i31 (i32.add
        (i31.get_s (ref.cast (ref i31) (array.get $refs (local.get $all) (local.get $at))))
        (i31.get_s (ref.cast (ref i31) (array.get $refs (local.get $all)
          (i32.add (local.get $at) (i32.const 1))))))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i31.get_s (ref.cast (ref i31) (array.get $refs (local.get $all) (i32.const 0)))))

  ;; Calls of one of two closures, in turn.
  (func $add (type $code) (param $self (ref $closure)) (param $n i32) (result i32)
    (i32.add (local.get $n) (struct.get $closure 1 (local.get $self))))
  (func $xor (type $code) (param $self (ref $closure)) (param $n i32) (result i32)
    (i32.xor (local.get $n) (struct.get $closure 1 (local.get $self))))
  (func (export "closures") (param $n i32) (result i32)
    (local $a (ref $closure)) (local $b (ref $closure)) (local $c (ref $closure)) (local $sum i32)
    (local.set $a (struct.new $closure (ref.func $add) (i32.const 7)))
    (local.set $b (struct.new $closure (ref.func $xor) (i32.const 11)))
    (loop $again
      (local.set $c (local.get $a))
      (local.set $a (local.get $b))
      (local.set $b (local.get $c))
      (local.set $sum (call_ref $code (local.get $c) (local.get $sum)
        (struct.get $closure 0 (local.get $c))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))

  ;; Calls of 64 closures of two functions, from an array.
  (func (export "closures_64") (param $n i32) (result i32)
    (local $all (ref $refs)) (local $i i32) (local $c (ref $closure)) (local $sum i32)
    (local.set $all (array.new_default $refs (i32.const 64)))
    (loop $fill
      (array.set $refs (local.get $all) (local.get $i)
        (struct.new $closure
          (select (result (ref $code)) (ref.func $add) (ref.func $xor)
            (i32.rem_u (local.get $i) (i32.const 3)))
          (local.get $i)))
      (br_if $fill (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 64))))
    (loop $again
      (local.set $c (ref.cast (ref $closure)
        (array.get $refs (local.get $all) (i32.and (local.get $n) (i32.const 63)))))
      (local.set $sum (call_ref $code (local.get $c) (local.get $sum)
        (struct.get $closure 0 (local.get $c))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))

  ;; An element of a table is moved to the next place.
  (func (export "table") (param $n i32) (result i32)
    (table.set $table (i32.and (local.get $n) (i32.const 63)) (struct.new $shape (i32.const 5)))
    (loop $again
      (table.set $table
        (i32.and (i32.sub (local.get $n) (i32.const 1)) (i32.const 63))
        (table.get $table (i32.and (local.get $n) (i32.const 63))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (ref.test (ref $shape) (table.get $table (i32.const 0))))

  ;; A number and a reference are read and written.
  (func (export "global") (param $n i32) (result i32)
    (local $other anyref)
    (global.set $number (i32.const 0))
    (global.set $object (struct.new $shape (i32.const 5)))
    (local.set $other (struct.new $shape (i32.const 6)))
    (loop $again
      (global.set $number (i32.xor (global.get $number) (local.get $n)))
      (global.set $object (global.get $object))
      (local.set $other (global.get $object))
      (global.set $object (local.get $other))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i32.add (global.get $number) (ref.test (ref $shape) (local.get $other))))

  ;; Fields of the objects of a ring are read and written: a loop that waits for the next object.
  (func (export "fields") (param $n i32) (result i32)
    (local $it (ref null $body)) (local $first (ref null $body)) (local $i i32) (local $sum i32)
    (local.set $first (struct.new $body (i32.const 1) (i32.const 2) (i32.const 3) (ref.null $body)
      (ref.null $body) (ref.null $body)))
    (local.set $it (local.get $first))
    (loop $more
      (local.set $it (struct.new $body (local.get $i) (i32.const 2) (i32.const 3) (local.get $it)
        (ref.null $body) (ref.null $body)))
      (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 63))))
    (struct.set $body $next (local.get $first) (local.get $it))
    (loop $again
      (struct.set $body $x (local.get $it)
        (i32.add (struct.get $body $x (local.get $it)) (struct.get $body $y (local.get $it))))
      (struct.set $body $y (local.get $it)
        (i32.xor (struct.get $body $y (local.get $it)) (struct.get $body $z (local.get $it))))
      (local.set $sum (i32.add (local.get $sum) (struct.get $body $x (local.get $it))))
      (local.set $it (struct.get $body $next (local.get $it)))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))

  ;; Three references are stored into each object of a ring.
  (func (export "links") (param $n i32) (result i32)
    (local $it (ref null $body)) (local $first (ref null $body)) (local $next (ref null $body))
    (local $i i32) (local $sum i32)
    (local.set $first (struct.new $body (i32.const 1) (i32.const 2) (i32.const 3) (ref.null $body)
      (ref.null $body) (ref.null $body)))
    (local.set $it (local.get $first))
    (loop $more
      (local.set $it (struct.new $body (local.get $i) (i32.const 2) (i32.const 3) (local.get $it)
        (ref.null $body) (ref.null $body)))
      (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 63))))
    (struct.set $body $next (local.get $first) (local.get $it))
    (loop $again
      (local.set $next (struct.get $body $next (local.get $it)))
      (struct.set $body $next (local.get $it) (local.get $next))
      (struct.set $body $left (local.get $it) (local.get $first))
      (struct.set $body $right (local.get $it) (local.get $next))
      (local.set $sum (i32.add (local.get $sum) (struct.get $body $x (local.get $it))))
      (local.set $it (local.get $next))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum)))
