;; Types across modules, casts, functions in objects.

;; Two modules that declare the same recursion group, in a different order among other types, have the same
;; types. A module with a group that only looks similar does not.
(module
  (rec
    (type $tree (sub (struct (field $value i32) (field $kids (ref null $forest)))))
    (type $forest (array (mut (ref null $tree)))))
  (func (export "leaf") (param i32) (result (ref $tree))
    (struct.new $tree (local.get 0) (ref.null $forest)))
  (func (export "tree") (param i32 (ref null $tree) (ref null $tree)) (result (ref $tree))
    (struct.new $tree (local.get 0)
      (array.new_fixed $forest 2 (local.get 1) (local.get 2))))
  (func (export "any") (param i32) (result anyref)
    (struct.new $tree (local.get 0) (ref.null $forest))))
(register "maker")

(module
  (type $unrelated (struct (field f32)))
  (type $unused (func (param (ref $unrelated))))
  (rec
    (type $tree (sub (struct (field $value i32) (field $kids (ref null $forest)))))
    (type $forest (array (mut (ref null $tree)))))
  (import "maker" "leaf" (func $leaf (param i32) (result (ref $tree))))
  (import "maker" "any" (func $any (param i32) (result anyref)))
  (import "maker" "tree"
    (func $tree (param i32 (ref null $tree) (ref null $tree)) (result (ref $tree))))
  (func $sum (param $t (ref null $tree)) (result i32)
    (local $i i32) (local $sum i32) (local $kids (ref null $forest))
    (if (ref.is_null (local.get $t)) (then (return (i32.const 0))))
    (local.set $sum (struct.get $tree $value (local.get $t)))
    (local.set $kids (struct.get $tree $kids (local.get $t)))
    (if (ref.is_null (local.get $kids)) (then (return (local.get $sum))))
    (block $end (loop $again
      (br_if $end (i32.ge_u (local.get $i) (array.len (local.get $kids))))
      (local.set $sum (i32.add (local.get $sum)
        (call $sum (array.get $forest (local.get $kids) (local.get $i)))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $again)))
    (local.get $sum))
  (func (export "f") (result i32)
    (call $sum (call $tree (i32.const 1)
      (call $tree (i32.const 20) (call $leaf (i32.const 300)) (ref.null $tree))
      (struct.new $tree (i32.const 4000) (ref.null $forest)))))
  (func (export "is") (result i32)
    (ref.test (ref $tree) (call $any (i32.const 1)))))

(assert_return (invoke "f") (i32.const 4321))
(assert_return (invoke "is") (i32.const 1))

;; A mutable field.
(module
  (rec
    (type $tree (sub (struct (field $value (mut i32)) (field $kids (ref null $forest)))))
    (type $forest (array (mut (ref null $tree)))))
  (import "maker" "any" (func $any (param i32) (result anyref)))
  (func (export "is") (result i32) (ref.test (ref $tree) (call $any (i32.const 1))))
  (func (export "cast") (result i32)
    (struct.get $tree $value (ref.cast (ref $tree) (call $any (i32.const 1))))))
(assert_return (invoke "is") (i32.const 0))
(assert_trap (invoke "cast") "cast failure")
;; A function of one type is not a function of the other.
(assert_unlinkable
  (module
    (rec
      (type $tree (sub (struct (field $value (mut i32)) (field $kids (ref null $forest)))))
      (type $forest (array (mut (ref null $tree)))))
    (import "maker" "leaf" (func (param i32) (result (ref $tree)))))
  "incompatible import type for `maker::leaf`")

;; A final type.
(module
  (rec
    (type $tree (struct (field $value i32) (field $kids (ref null $forest))))
    (type $forest (array (mut (ref null $tree)))))
  (import "maker" "any" (func $any (param i32) (result anyref)))
  (func (export "is") (result i32) (ref.test (ref $tree) (call $any (i32.const 1))))
  (func (export "cast") (result i32)
    (struct.get $tree $value (ref.cast (ref $tree) (call $any (i32.const 1))))))
(assert_return (invoke "is") (i32.const 0))
(assert_trap (invoke "cast") "cast failure")
;; A function of one type is not a function of the other.
(assert_unlinkable
  (module
    (rec
      (type $tree (struct (field $value i32) (field $kids (ref null $forest))))
      (type $forest (array (mut (ref null $tree)))))
    (import "maker" "leaf" (func (param i32) (result (ref $tree)))))
  "incompatible import type for `maker::leaf`")

;; One more type in the group.
(module
  (rec
    (type $tree (sub (struct (field $value i32) (field $kids (ref null $forest)))))
    (type $forest (array (mut (ref null $tree)))) (type (func)))
  (import "maker" "any" (func $any (param i32) (result anyref)))
  (func (export "is") (result i32) (ref.test (ref $tree) (call $any (i32.const 1))))
  (func (export "cast") (result i32)
    (struct.get $tree $value (ref.cast (ref $tree) (call $any (i32.const 1))))))
(assert_return (invoke "is") (i32.const 0))
(assert_trap (invoke "cast") "cast failure")
;; A function of one type is not a function of the other.
(assert_unlinkable
  (module
    (rec
      (type $tree (sub (struct (field $value i32) (field $kids (ref null $forest)))))
      (type $forest (array (mut (ref null $tree)))) (type (func)))
    (import "maker" "leaf" (func (param i32) (result (ref $tree)))))
  "incompatible import type for `maker::leaf`")

;; A field without null.
(module
  (rec
    (type $tree (sub (struct (field $value i32) (field $kids (ref $forest)))))
    (type $forest (array (mut (ref null $tree)))))
  (import "maker" "any" (func $any (param i32) (result anyref)))
  (func (export "is") (result i32) (ref.test (ref $tree) (call $any (i32.const 1))))
  (func (export "cast") (result i32)
    (struct.get $tree $value (ref.cast (ref $tree) (call $any (i32.const 1))))))
(assert_return (invoke "is") (i32.const 0))
(assert_trap (invoke "cast") "cast failure")
;; A function of one type is not a function of the other.
(assert_unlinkable
  (module
    (rec
      (type $tree (sub (struct (field $value i32) (field $kids (ref $forest)))))
      (type $forest (array (mut (ref null $tree)))))
    (import "maker" "leaf" (func (param i32) (result (ref $tree)))))
  "incompatible import type for `maker::leaf`")

;; Swapped places.
(module
  (rec
    (type $forest (array (mut (ref null $tree))))
    (type $tree (sub (struct (field $value i32) (field $kids (ref null $forest))))))
  (import "maker" "any" (func $any (param i32) (result anyref)))
  (func (export "is") (result i32) (ref.test (ref $tree) (call $any (i32.const 1))))
  (func (export "cast") (result i32)
    (struct.get $tree $value (ref.cast (ref $tree) (call $any (i32.const 1))))))
(assert_return (invoke "is") (i32.const 0))
(assert_trap (invoke "cast") "cast failure")
;; A function of one type is not a function of the other.
(assert_unlinkable
  (module
    (rec
      (type $forest (array (mut (ref null $tree))))
      (type $tree (sub (struct (field $value i32) (field $kids (ref null $forest))))))
    (import "maker" "leaf" (func (param i32) (result (ref $tree)))))
  "incompatible import type for `maker::leaf`")

;; Every abstract type, tested with an object of every kind: a struct, an array, an `i31`, a host's value, and null.
(module
  (type $s (struct)) (type $a (array i8)) (type $f (func))
  (func $get (param $n i32) (param $x externref) (result anyref)
    (if (i32.eq (local.get $n) (i32.const 0)) (then (return (struct.new $s))))
    (if (i32.eq (local.get $n) (i32.const 1)) (then (return (array.new_fixed $a 0))))
    (if (i32.eq (local.get $n) (i32.const 2)) (then (return (ref.i31 (i32.const 0)))))
    (if (i32.eq (local.get $n) (i32.const 3))
      (then (return (any.convert_extern (local.get $x)))))
    (ref.null none))
  (func $test (param anyref) (result i32 i32 i32 i32 i32 i32)
    (ref.test (ref any) (local.get 0)) (ref.test (ref eq) (local.get 0))
    (ref.test (ref struct) (local.get 0)) (ref.test (ref array) (local.get 0))
    (ref.test (ref i31) (local.get 0)) (ref.test (ref none) (local.get 0)))
  (func $null (param anyref) (result i32 i32 i32 i32 i32 i32)
    (ref.test anyref (local.get 0)) (ref.test eqref (local.get 0))
    (ref.test structref (local.get 0)) (ref.test arrayref (local.get 0))
    (ref.test i31ref (local.get 0)) (ref.test nullref (local.get 0)))
  (func (export "test") (param i32 externref) (result i32 i32 i32 i32 i32 i32)
    (call $test (call $get (local.get 0) (local.get 1))))
  (func (export "test null") (param i32 externref) (result i32 i32 i32 i32 i32 i32)
    (call $null (call $get (local.get 0) (local.get 1))))
  (func (export "cast eq") (param i32 externref)
    (drop (ref.cast (ref eq) (call $get (local.get 0) (local.get 1)))))
  (func (export "cast none") (param i32 externref)
    (drop (ref.cast nullref (call $get (local.get 0) (local.get 1))))))

(assert_return (invoke "test" (i32.const 0) (ref.extern 1))
  (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0))
(assert_return (invoke "test null" (i32.const 0) (ref.extern 1))
  (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0))
(assert_return (invoke "cast eq" (i32.const 0) (ref.extern 1)))
(assert_trap (invoke "cast none" (i32.const 0) (ref.extern 1)) "cast failure")
(assert_return (invoke "test" (i32.const 1) (ref.extern 1))
  (i32.const 1) (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 0))
(assert_return (invoke "test null" (i32.const 1) (ref.extern 1))
  (i32.const 1) (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 0))
(assert_return (invoke "cast eq" (i32.const 1) (ref.extern 1)))
(assert_trap (invoke "cast none" (i32.const 1) (ref.extern 1)) "cast failure")
(assert_return (invoke "test" (i32.const 2) (ref.extern 1))
  (i32.const 1) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
(assert_return (invoke "test null" (i32.const 2) (ref.extern 1))
  (i32.const 1) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
(assert_return (invoke "cast eq" (i32.const 2) (ref.extern 1)))
(assert_trap (invoke "cast none" (i32.const 2) (ref.extern 1)) "cast failure")
(assert_return (invoke "test" (i32.const 3) (ref.extern 1))
  (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
(assert_return (invoke "test null" (i32.const 3) (ref.extern 1))
  (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
(assert_trap (invoke "cast eq" (i32.const 3) (ref.extern 1)) "cast failure")
(assert_trap (invoke "cast none" (i32.const 3) (ref.extern 1)) "cast failure")
(assert_return (invoke "test" (i32.const 4) (ref.null extern))
  (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
(assert_return (invoke "test null" (i32.const 4) (ref.null extern))
  (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 1) (i32.const 1))
(assert_return (invoke "cast none" (i32.const 4) (ref.null extern)))

;; Functions in structs and arrays. One is of another instance, and collects.
(module
  (import "reclaim" "gc" (func $gc))
  (func (export "f") (param i32) (result i32)
    (call $gc)
    (i32.add (local.get 0) (i32.const 1000))))
(register "other")
(module
  (type $f (func (param i32) (result i32)))
  (type $object (struct (field (mut (ref null $f))) (field (mut funcref))))
  (type $vtable (array (mut (ref null $f))))
  (elem $methods (ref null $f) (ref.func $double) (ref.null $f) (ref.func $square))
  (import "other" "f" (func $host (type $f)))
  (elem declare func $host $other)
  (global $kept (mut (ref null $object)) (ref.null $object))
  (func $double (export "double") (type $f) (i32.mul (local.get 0) (i32.const 2)))
  (func $square (export "square") (type $f) (i32.mul (local.get 0) (local.get 0)))
  (func $other (export "other") (param i64))
  (func (export "in_struct") (param i32) (result i32)
    (local $o (ref null $object))
    (local.set $o (struct.new $object (ref.func $double) (ref.func $host)))
    (global.set $kept (local.get $o))
    (i32.add
      (call_ref $f (local.get 0) (struct.get $object 0 (local.get $o)))
      (call_ref $f (local.get 0)
        (ref.cast (ref $f) (struct.get $object 1 (local.get $o))))))
  (func $pick (param i32) (result funcref)
    (if (i32.eq (local.get 0) (i32.const 0)) (then (return (ref.func $double))))
    (if (i32.eq (local.get 0) (i32.const 1)) (then (return (ref.func $square))))
    (if (i32.eq (local.get 0) (i32.const 2)) (then (return (ref.func $host))))
    (if (i32.eq (local.get 0) (i32.const 3)) (then (return (ref.func $other))))
    (ref.null func))
  (func (export "changed") (param i32 i32) (result i32)
    (struct.set $object 1 (global.get $kept) (call $pick (local.get 1)))
    (call_ref $f (local.get 0)
      (ref.cast (ref null $f) (struct.get $object 1 (global.get $kept)))))
  (func (export "same") (param i32) (result i32)
    (struct.set $object 1 (global.get $kept) (call $pick (local.get 0)))
    (i32.or (i32.shl (ref.is_null (struct.get $object 1 (global.get $kept))) (i32.const 1))
      (ref.test (ref $f) (struct.get $object 1 (global.get $kept)))))
  (func (export "in_array") (param $x i32) (param $n i32) (result i32)
    (local $v (ref null $vtable))
    (local.set $v (array.new_elem $vtable $methods (i32.const 0) (i32.const 3)))
    (array.set $vtable (local.get $v) (i32.const 1) (ref.func $host))
    (array.copy $vtable $vtable (local.get $v) (i32.const 0) (local.get $v) (i32.const 1)
      (i32.const 2))
    (array.fill $vtable (local.get $v) (i32.const 2) (ref.null $f) (i32.const 1))
    (array.init_elem $vtable $methods
      (local.get $v) (i32.const 2) (i32.const 0) (i32.const 1))
    (call_ref $f (local.get $x) (array.get $vtable (local.get $v) (local.get $n)))))

(assert_return (invoke "in_struct" (i32.const 7)) (i32.const 1021))
(assert_return (invoke "changed" (i32.const 9) (i32.const 1)) (i32.const 81))
(assert_return (invoke "changed" (i32.const 9) (i32.const 0)) (i32.const 18))
(assert_return (invoke "changed" (i32.const 9) (i32.const 2)) (i32.const 1009))
(assert_trap (invoke "changed" (i32.const 9) (i32.const 3)) "cast failure")
(assert_trap (invoke "changed" (i32.const 9) (i32.const 4)) "null reference")
(assert_return (invoke "same" (i32.const 0)) (i32.const 1))
(assert_return (invoke "same" (i32.const 3)) (i32.const 0))
(assert_return (invoke "same" (i32.const 4)) (i32.const 2))
;; [double, null, square] -> [double, host, square] -> [host, square, square] -> [host, square, null]
;; -> [host, square, double]
(assert_return (invoke "in_array" (i32.const 5) (i32.const 0)) (i32.const 1005))
(assert_return (invoke "in_array" (i32.const 5) (i32.const 1)) (i32.const 25))
(assert_return (invoke "in_array" (i32.const 5) (i32.const 2)) (i32.const 10))
(assert_trap (invoke "in_array" (i32.const 5) (i32.const 3)) "out of bounds array access")

;; Function types with supertypes: imports, `call_indirect`, casts.
(module $maker
  (type $base (sub (func (param i32) (result anyref))))
  (type $derived (sub $base (func (param i32) (result (ref i31)))))
  (type $twin (sub (func (param i32) (result anyref))))
  (func (export "derived") (type $derived) (ref.i31 (local.get 0)))
  (func (export "base") (type $base) (ref.null any)))
(register "maker")

(module
  (type $base (sub (func (param i32) (result anyref))))
  (type $derived (sub $base (func (param i32) (result (ref i31)))))
  (type $twin (sub (func (param i32) (result anyref))))
  (import "maker" "derived" (func $f (type $base)))
  (table $t 1 1 funcref (ref.func $f))
  ;; -1 for null.
  (func $number (param anyref) (result i32)
    (if (result i32) (ref.is_null (local.get 0))
      (then (i32.const -1))
      (else (i31.get_s (ref.cast (ref i31) (local.get 0))))))
  (func (export "indirect base") (param i32) (result i32)
    (call $number (call_indirect $t (type $base) (local.get 0) (i32.const 0))))
  (func (export "indirect twin") (param i32) (result i32)
    (call $number (call_indirect $t (type $twin) (local.get 0) (i32.const 0))))
  (func (export "indirect derived") (param i32) (result i32)
    (call $number (call_indirect $t (type $derived) (local.get 0) (i32.const 0))))
  (func (export "cast") (param i32) (result i32)
    (call $number (call_ref $derived (local.get 0)
      (ref.cast (ref $derived) (table.get $t (i32.const 0)))))))
(assert_return (invoke "indirect base" (i32.const 5)) (i32.const 5))
(assert_return (invoke "indirect twin" (i32.const 5)) (i32.const 5))
(assert_return (invoke "indirect derived" (i32.const 5)) (i32.const 5))
(assert_return (invoke "cast" (i32.const 5)) (i32.const 5))

(module
  (type $base (sub (func (param i32) (result anyref))))
  (type $derived (sub $base (func (param i32) (result (ref i31)))))
  (type $twin (sub (func (param i32) (result anyref))))
  (import "maker" "base" (func $f (type $base)))
  (table $t 1 1 funcref (ref.func $f))
  ;; -1 for null.
  (func $number (param anyref) (result i32)
    (if (result i32) (ref.is_null (local.get 0))
      (then (i32.const -1))
      (else (i31.get_s (ref.cast (ref i31) (local.get 0))))))
  (func (export "indirect base") (param i32) (result i32)
    (call $number (call_indirect $t (type $base) (local.get 0) (i32.const 0))))
  (func (export "indirect twin") (param i32) (result i32)
    (call $number (call_indirect $t (type $twin) (local.get 0) (i32.const 0))))
  (func (export "indirect derived") (param i32) (result i32)
    (call $number (call_indirect $t (type $derived) (local.get 0) (i32.const 0))))
  (func (export "cast") (param i32) (result i32)
    (call $number (call_ref $derived (local.get 0)
      (ref.cast (ref $derived) (table.get $t (i32.const 0)))))))
(assert_return (invoke "indirect base" (i32.const 5)) (i32.const -1))
(assert_return (invoke "indirect twin" (i32.const 5)) (i32.const -1))
(assert_trap (invoke "indirect derived" (i32.const 5)) "indirect call type mismatch")
(assert_trap (invoke "cast" (i32.const 5)) "cast failure")

;; An import of the subtype does not accept the supertype.
(module
  (type $base (sub (func (param i32) (result anyref))))
  (type $derived (sub $base (func (param i32) (result (ref i31)))))
  (type $twin (sub (func (param i32) (result anyref))))
  (import "maker" "derived" (func (type $derived))))
(assert_unlinkable
  (module
    (type $base (sub (func (param i32) (result anyref))))
    (type $derived (sub $base (func (param i32) (result (ref i31)))))
    (type $twin (sub (func (param i32) (result anyref))))
    (import "maker" "base" (func (type $derived))))
  "expected (func (param i32) (result (ref i31))), found (func (param i32) (result anyref))")
