;; Tables and arrays of references: what they hold lives, and copies may overlap.

;; Collections during growth and filling of a table that holds the only reference.
(module
  (type $n (struct (field i32)))
  (table $t 0 (ref null $n))
  (func (export "f") (param $count i32) (result i32)
    (local $i i32) (local $sum i32)
    (loop $again
      (drop (table.grow $t (struct.new $n (local.get $i)) (i32.const 1)))
      (drop (struct.new $n (i32.const -1)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $i) (local.get $count))))
    (table.copy $t $t (i32.const 1) (i32.const 0) (i32.sub (local.get $count) (i32.const 1)))
    (table.fill $t (i32.const 2) (struct.new $n (i32.const 1000)) (i32.const 1))
    (loop $again
      (local.set $i (i32.sub (local.get $i) (i32.const 1)))
      (local.set $sum (i32.add (local.get $sum)
        (struct.get $n 0 (table.get $t (local.get $i)))))
      (drop (struct.new $n (i32.const -1)))
      (br_if $again (local.get $i)))
    (local.get $sum)))

;; 0, 0, 1000, 2, 3, …, 198
(assert_return (invoke "f" (i32.const 200)) (i32.const 20700))

;; Arrays from data.
(module
  (type $wide (array (mut i64)))
  (data $data "\01\00\00\00\00\00\00\00\02\00\00\00\00\00\00\00\03\00\00\00\00\00\00\00")
  (func (export "wide") (param i32 i32 i32) (result i64)
    (local $w (ref null $wide))
    (local.set $w (array.new_data $wide $data (i32.const 0) (i32.const 3)))
    (array.init_data $wide $data (local.get $w) (local.get 0) (local.get 1) (local.get 2))
    (i64.add (array.get $wide (local.get $w) (i32.const 0))
      (i64.add (i64.mul (i64.const 10) (array.get $wide (local.get $w) (i32.const 1)))
        (i64.mul (i64.const 100) (array.get $wide (local.get $w) (i32.const 2)))))))

(assert_return (invoke "wide" (i32.const 0) (i32.const 0) (i32.const 0)) (i64.const 321))
(assert_return (invoke "wide" (i32.const 0) (i32.const 8) (i32.const 2)) (i64.const 332))
(assert_return (invoke "wide" (i32.const 2) (i32.const 0) (i32.const 1)) (i64.const 121))
;; Bytes 1 to 8 of the segment are a 2 in the highest place.
(assert_return (invoke "wide" (i32.const 0) (i32.const 1) (i32.const 1)) (i64.const 0x0200000000000140))
(assert_trap (invoke "wide" (i32.const 1) (i32.const 0) (i32.const 3)) "out of bounds array access")
(assert_trap (invoke "wide" (i32.const 0) (i32.const 1) (i32.const 3)) "out of bounds memory access")
(assert_trap (invoke "wide" (i32.const 0) (i32.const -1) (i32.const 1)) "out of bounds memory access")

;; Arrays from a segment with constant operands. Its bytes are in the code, unless it may be dropped.
(module
  (type $a (array i16)) (memory 1)
  (data $d "12345678") (data $active (i32.const 0) "12345678") (data $dropped "1234")
  (func (export "beyond") (result (ref $a))
    (array.new_data $a $d (i32.const 1) (i32.const 4)))
  (func (export "far") (result (ref $a))
    (array.new_data $a $d (i32.const -1) (i32.const 1)))
  (func (export "many") (result (ref $a))
    (array.new_data $a $d (i32.const 0) (i32.const -1)))
  (func (export "none at the end") (result i32)
    (array.len (array.new_data $a $d (i32.const 8) (i32.const 0))))
  (func (export "none beyond") (result (ref $a))
    (array.new_data $a $d (i32.const 9) (i32.const 0)))
  (func (export "active") (result (ref $a))
    (array.new_data $a $active (i32.const 0) (i32.const 1)))
  (func (export "dropped") (result i32)
    (array.get_u $a (array.new_data $a $dropped (i32.const 2) (i32.const 1)) (i32.const 0)))
  (func (export "drop") (data.drop $dropped)))

(assert_trap (invoke "beyond") "out of bounds memory access")
(assert_trap (invoke "far") "out of bounds memory access")
(assert_trap (invoke "many") "out of bounds memory access")
(assert_trap (invoke "none beyond") "out of bounds memory access")
(assert_trap (invoke "active") "out of bounds memory access")
(assert_return (invoke "none at the end") (i32.const 0))
(assert_return (invoke "dropped") (i32.const 0x3433))
(invoke "drop")
(assert_trap (invoke "dropped") "out of bounds memory access")

;; Arrays without elements.
(module
  (type $bytes (array (mut i8))) (type $refs (array (mut anyref)))
  (data $data "") (elem $elem anyref)
  (global $last (mut (ref null $refs)) (ref.null $refs))
  (func (export "f") (result i32)
    (local $b (ref null $bytes)) (local $r (ref null $refs)) (local $n i32)
    (local.set $n (i32.const 3))
    (loop $again
      (local.set $b (array.new_default $bytes (i32.const 0)))
      (local.set $r (array.new_elem $refs $elem (i32.const 0) (i32.const 0)))
      (array.copy $bytes $bytes (local.get $b) (i32.const 0)
        (array.new_data $bytes $data (i32.const 0) (i32.const 0))
        (i32.const 0) (i32.const 0))
      (array.fill $refs (local.get $r) (i32.const 0) (ref.null any) (i32.const 0))
      (array.init_elem $refs $elem
        (local.get $r) (i32.const 0) (i32.const 0) (i32.const 0))
      (array.init_data $bytes $data
        (local.get $b) (i32.const 0) (i32.const 0) (i32.const 0))
      (global.set $last (local.get $r))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i32.add (array.len (array.new_fixed $bytes 0))
      (i32.add (array.len (local.get $b)) (array.len (global.get $last)))))
  (func (export "get") (drop (array.get $refs (global.get $last) (i32.const 0))))
  (func (export "set") (array.set $refs (global.get $last) (i32.const 0) (ref.null any)))
  (func (export "fill") (array.fill $refs (global.get $last)
    (i32.const 1) (ref.null any) (i32.const 0)))
  (func (export "same") (result i32)
    (ref.eq (array.new_fixed $bytes 0) (array.new_fixed $bytes 0))))

(assert_return (invoke "f") (i32.const 0))
(assert_return (invoke "same") (i32.const 0))
(assert_trap (invoke "get") "out of bounds array access")
(assert_trap (invoke "set") "out of bounds array access")
(assert_trap (invoke "fill") "out of bounds array access")
