;; string_build: builds a text from many small pieces, as a rope and in a buffer that doubles.
;;
;;   run(n) -> a checksum over a text of n lines, built in three ways that must agree
;;
;; A rope is a balanced tree of pieces (Boehm, Atkinson and Plass, "Ropes: an Alternative to
;; Strings", 1995). Leaves are small arrays of 8-bit characters. Concatenation only allocates a
;; node, and rebalancing uses a forest of Fibonacci lengths. Flattening a rope copies all leaves to
;; one array of 16-bit characters. The buffer is copied with `array.copy` each time it is full. So
;; arrays of all sizes without references die at once.

(module $string_build
  (rec
    (type $rope (sub (struct (field $len i32) (field $depth i32))))
    (type $leaf (sub final $rope (struct
      (field $len i32) (field $depth i32) (field $bytes (ref $bytes)))))
    (type $concat (sub final $rope (struct
      (field $len i32) (field $depth i32)
      (field $left (ref $rope)) (field $right (ref $rope)))))
    (type $bytes (array (mut i8)))
    (type $chars (array (mut i16)))
    (type $forest (array (mut (ref null $rope))))
    (type $buffer (struct (field $chars (mut (ref $chars))) (field $len (mut i32)))))

  (data $words "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu")

  (global $seed (mut i32) (i32.const 0))

  ;; xorshift32 (Marsaglia 2003)
  (func $random (result i32)
    (local $x i32)
    (local.set $x (global.get $seed))
    (local.set $x (i32.xor (local.get $x) (i32.shl (local.get $x) (i32.const 13))))
    (local.set $x (i32.xor (local.get $x) (i32.shr_u (local.get $x) (i32.const 17))))
    (local.set $x (i32.xor (local.get $x) (i32.shl (local.get $x) (i32.const 5))))
    (global.set $seed (local.get $x))
    (local.get $x))

  ;; ---- pieces -------------------------------------------------------------

  ;; One to sixteen characters from the words.
  (func $piece (result (ref $bytes))
    (local $r i32)
    (local.set $r (call $random))
    (array.new_data $bytes $words
      (i32.rem_u (i32.shr_u (local.get $r) (i32.const 8)) (i32.const 50))
      (i32.add (i32.const 1) (i32.and (local.get $r) (i32.const 15)))))

  ;; A number in decimal and the end of the line.
  (func $number (param $n i32) (result (ref $bytes))
    (local $digits i32)
    (local $rest i32)
    (local $bytes (ref $bytes))
    (local.set $rest (local.get $n))
    (loop $more
      (local.set $digits (i32.add (local.get $digits) (i32.const 1)))
      (br_if $more (local.tee $rest (i32.div_u (local.get $rest) (i32.const 10)))))
    (local.set $bytes
      (array.new $bytes (i32.const 10) (i32.add (local.get $digits) (i32.const 1))))
    (loop $more
      (local.set $digits (i32.sub (local.get $digits) (i32.const 1)))
      (array.set $bytes (local.get $bytes) (local.get $digits)
        (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))
      (local.set $n (i32.div_u (local.get $n) (i32.const 10)))
      (br_if $more (local.get $digits)))
    (local.get $bytes))

  ;; ---- ropes --------------------------------------------------------------

  (func $leaf (param $bytes (ref $bytes)) (result (ref $rope))
    (struct.new $leaf (array.len (local.get $bytes)) (i32.const 0) (local.get $bytes)))

  ;; Concatenates two ropes. Joins short leaves into one.
  (func $append (param $a (ref $rope)) (param $b (ref $rope)) (result (ref $rope))
    (local $x (ref $bytes))
    (local $y (ref $bytes))
    (local $z (ref $bytes))
    (local $depth i32)
    (if (i32.eqz (struct.get $rope $len (local.get $a))) (then (return (local.get $b))))
    (if (i32.eqz (struct.get $rope $len (local.get $b))) (then (return (local.get $a))))
    (block $long
      (br_if $long
        (i32.gt_u
          (i32.add (struct.get $rope $len (local.get $a)) (struct.get $rope $len (local.get $b)))
          (i32.const 16)))
      (br_if $long (i32.eqz (ref.test (ref $leaf) (local.get $a))))
      (br_if $long (i32.eqz (ref.test (ref $leaf) (local.get $b))))
      (local.set $x (struct.get $leaf $bytes (ref.cast (ref $leaf) (local.get $a))))
      (local.set $y (struct.get $leaf $bytes (ref.cast (ref $leaf) (local.get $b))))
      (local.set $z
        (array.new_default $bytes
          (i32.add (array.len (local.get $x)) (array.len (local.get $y)))))
      (array.copy $bytes $bytes (local.get $z) (i32.const 0)
        (local.get $x) (i32.const 0) (array.len (local.get $x)))
      (array.copy $bytes $bytes (local.get $z) (array.len (local.get $x))
        (local.get $y) (i32.const 0) (array.len (local.get $y)))
      (return (call $leaf (local.get $z))))
    (local.set $depth
      (select (struct.get $rope $depth (local.get $a)) (struct.get $rope $depth (local.get $b))
        (i32.gt_u (struct.get $rope $depth (local.get $a))
                  (struct.get $rope $depth (local.get $b)))))
    (struct.new $concat
      (i32.add (struct.get $rope $len (local.get $a)) (struct.get $rope $len (local.get $b)))
      (i32.add (local.get $depth) (i32.const 1))
      (local.get $a) (local.get $b)))

  ;; Whether a rope is long enough for its depth: at least F(depth + 2), where F(1) = F(2) = 1.
  (func $balanced (param $rope (ref $rope)) (result i32)
    (local $low i32)
    (local $high i32)
    (local $tmp i32)
    (local $depth i32)
    (local.set $low (i32.const 1))
    (local.set $high (i32.const 2))
    (local.set $depth (struct.get $rope $depth (local.get $rope)))
    (if (i32.gt_u (local.get $depth) (i32.const 44)) (then (return (i32.const 0))))
    (block $done
      (loop $more
        (br_if $done (i32.eqz (local.get $depth)))
        (local.set $tmp (i32.add (local.get $low) (local.get $high)))
        (local.set $low (local.get $high))
        (local.set $high (local.get $tmp))
        (local.set $depth (i32.sub (local.get $depth) (i32.const 1)))
        (br $more)))
    (i32.ge_u (struct.get $rope $len (local.get $rope)) (local.get $low)))

  ;; Adds a balanced rope to a forest in which slot i has one of at least F(i + 2)
  ;; characters and less than F(i + 3); those in higher slots come first in the text.
  (func $add_balanced (param $forest (ref $forest)) (param $piece (ref $rope))
    (local $i i32)
    (local $low i32)
    (local $high i32)
    (local $tmp i32)
    (local $sum (ref $rope))
    (local $slot (ref null $rope))
    (local.set $sum (call $leaf (array.new_default $bytes (i32.const 0))))
    (local.set $low (i32.const 1))
    (local.set $high (i32.const 2))
    ;; All shorter ropes come before it in the text, so they are joined first.
    (loop $shorter
      (local.set $slot (array.get $forest (local.get $forest) (local.get $i)))
      (if (i32.eqz (ref.is_null (local.get $slot)))
        (then
          (local.set $sum (call $append (ref.as_non_null (local.get $slot)) (local.get $sum)))
          (array.set $forest (local.get $forest) (local.get $i) (ref.null $rope))))
      (if (i32.ge_u (struct.get $rope $len (local.get $piece)) (local.get $high))
        (then
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (local.set $tmp (i32.add (local.get $low) (local.get $high)))
          (local.set $low (local.get $high))
          (local.set $high (local.get $tmp))
          (br $shorter))))
    (local.set $sum (call $append (local.get $sum) (local.get $piece)))
    ;; Then moves up until it fits into an empty slot.
    (loop $longer
      (local.set $slot (array.get $forest (local.get $forest) (local.get $i)))
      (if (i32.eqz (ref.is_null (local.get $slot)))
        (then
          (local.set $sum (call $append (ref.as_non_null (local.get $slot)) (local.get $sum)))
          (array.set $forest (local.get $forest) (local.get $i) (ref.null $rope))))
      (if (i32.ge_u (struct.get $rope $len (local.get $sum)) (local.get $high))
        (then
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (local.set $tmp (i32.add (local.get $low) (local.get $high)))
          (local.set $low (local.get $high))
          (local.set $high (local.get $tmp))
          (br $longer))))
    (array.set $forest (local.get $forest) (local.get $i) (local.get $sum)))

  ;; Adds the balanced parts of a rope, in pieces that are as large as possible.
  (func $add (param $forest (ref $forest)) (param $rope (ref $rope))
    (local $concat (ref $concat))
    (loop $more
      (block $whole
        (br_if $whole (call $balanced (local.get $rope)))
        (local.set $concat (ref.cast (ref $concat) (local.get $rope)))
        (call $add (local.get $forest) (struct.get $concat $left (local.get $concat)))
        (local.set $rope (struct.get $concat $right (local.get $concat)))
        (br $more)))
    (call $add_balanced (local.get $forest) (local.get $rope)))

  (func $balance (param $rope (ref $rope)) (result (ref $rope))
    (local $forest (ref $forest))
    (local $i i32)
    (local $slot (ref null $rope))
    (local $sum (ref $rope))
    (local.set $forest (array.new_default $forest (i32.const 46)))
    (call $add (local.get $forest) (local.get $rope))
    (local.set $sum (call $leaf (array.new_default $bytes (i32.const 0))))
    (loop $more
      (local.set $slot (array.get $forest (local.get $forest) (local.get $i)))
      (if (i32.eqz (ref.is_null (local.get $slot)))
        (then
          (local.set $sum (call $append (ref.as_non_null (local.get $slot)) (local.get $sum)))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (array.len (local.get $forest)))))
    (local.get $sum))

  ;; Copies a rope's characters to `chars` from `at` on. Returns the end.
  (func $flatten (param $rope (ref $rope)) (param $chars (ref $chars)) (param $at i32)
    (result i32)
    (local $concat (ref $concat))
    (local $bytes (ref $bytes))
    (local $i i32)
    (loop $more
      (block $leaf
        (br_if $leaf (i32.eqz (ref.test (ref $concat) (local.get $rope))))
        (local.set $concat (ref.cast (ref $concat) (local.get $rope)))
        (local.set $at
          (call $flatten (struct.get $concat $left (local.get $concat))
            (local.get $chars) (local.get $at)))
        (local.set $rope (struct.get $concat $right (local.get $concat)))
        (br $more)))
    (local.set $bytes (struct.get $leaf $bytes (ref.cast (ref $leaf) (local.get $rope))))
    (block $end
      (loop $more
        (br_if $end (i32.ge_u (local.get $i) (array.len (local.get $bytes))))
        (array.set $chars (local.get $chars) (local.get $at)
          (array.get_u $bytes (local.get $bytes) (local.get $i)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $more)))
    (local.get $at))

  ;; ---- the buffer ---------------------------------------------------------

  (func $push (param $buffer (ref $buffer)) (param $bytes (ref $bytes))
    (local $chars (ref $chars))
    (local $len i32)
    (local $i i32)
    (local.set $chars (struct.get $buffer $chars (local.get $buffer)))
    (local.set $len (struct.get $buffer $len (local.get $buffer)))
    (if (i32.gt_u (i32.add (local.get $len) (array.len (local.get $bytes)))
                  (array.len (local.get $chars)))
      (then
        (local.set $chars
          (array.new_default $chars (i32.shl (array.len (local.get $chars)) (i32.const 1))))
        (array.copy $chars $chars (local.get $chars) (i32.const 0)
          (struct.get $buffer $chars (local.get $buffer)) (i32.const 0) (local.get $len))
        (struct.set $buffer $chars (local.get $buffer) (local.get $chars))))
    (loop $more
      (array.set $chars (local.get $chars) (local.get $len)
        (array.get_u $bytes (local.get $bytes) (local.get $i)))
      (local.set $len (i32.add (local.get $len) (i32.const 1)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (array.len (local.get $bytes)))))
    (struct.set $buffer $len (local.get $buffer) (local.get $len)))

  (func $hash (param $chars (ref $chars)) (param $len i32) (result i32)
    (local $h i32)
    (local $i i32)
    (block $end
      (loop $more
        (br_if $end (i32.ge_u (local.get $i) (local.get $len)))
        (local.set $h
          (i32.add (i32.mul (local.get $h) (i32.const 31))
            (array.get_u $chars (local.get $chars) (local.get $i))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $more)))
    (local.get $h))

  ;; ---- the benchmark ------------------------------------------------------

  (func (export "run") (param $n i32) (result i32)
    (local $i i32)
    (local $words i32)
    (local $rope (ref $rope))
    (local $line (ref $rope))
    (local $front (ref $rope))
    (local $bytes (ref $bytes))
    (local $buffer (ref $buffer))
    (local $chars (ref $chars))
    (local $len i32)
    (local $h i32)
    (if (i32.eqz (local.get $n)) (then (return (i32.const 0))))
    (global.set $seed (i32.const 2463534242))
    (local.set $rope (call $leaf (array.new_default $bytes (i32.const 0))))
    (local.set $front (local.get $rope))
    (local.set $buffer
      (struct.new $buffer (array.new_default $chars (i32.const 8)) (i32.const 0)))
    (block $built
      (loop $lines
        (br_if $built (i32.ge_u (local.get $i) (local.get $n)))
        (local.set $line (call $leaf (array.new_default $bytes (i32.const 0))))
        (local.set $words (i32.const 6))
        (loop $more
          (local.set $bytes (call $piece))
          (call $push (local.get $buffer) (local.get $bytes))
          (local.set $line (call $append (local.get $line) (call $leaf (local.get $bytes))))
          (br_if $more (local.tee $words (i32.sub (local.get $words) (i32.const 1)))))
        (local.set $bytes (call $number (local.get $i)))
        (call $push (local.get $buffer) (local.get $bytes))
        (local.set $line (call $append (local.get $line) (call $leaf (local.get $bytes))))
        (local.set $rope (call $append (local.get $rope) (local.get $line)))
        ;; Another rope with the lines in the opposite order.
        (local.set $front (call $append (local.get $line) (local.get $front)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        ;; Repeated appending to one end makes the rope a list.
        (if (i32.gt_u (struct.get $rope $depth (local.get $rope)) (i32.const 64))
          (then (local.set $rope (call $balance (local.get $rope)))))
        (if (i32.gt_u (struct.get $rope $depth (local.get $front)) (i32.const 64))
          (then (local.set $front (call $balance (local.get $front)))))
        (br $lines)))
    (local.set $len (struct.get $rope $len (local.get $rope)))
    (if (i32.ne (local.get $len) (struct.get $buffer $len (local.get $buffer)))
      (then (unreachable)))
    (if (i32.ne (local.get $len) (struct.get $rope $len (local.get $front)))
      (then (unreachable)))
    (local.set $chars (array.new_default $chars (local.get $len)))
    (if (i32.ne (call $flatten (call $balance (local.get $rope)) (local.get $chars) (i32.const 0))
                (local.get $len))
      (then (unreachable)))
    (local.set $h (call $hash (local.get $chars) (local.get $len)))
    (if (i32.ne (local.get $h)
          (call $hash (struct.get $buffer $chars (local.get $buffer)) (local.get $len)))
      (then (unreachable)))
    (if (i32.ne
          (call $flatten (call $balance (local.get $front)) (local.get $chars) (i32.const 0))
          (local.get $len))
      (then (unreachable)))
    (i32.xor (i32.rotl (local.get $h) (i32.const 5))
      (call $hash (local.get $chars) (local.get $len)))))
