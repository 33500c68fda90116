;; json_tree: builds a JSON-like tree, prints it into a byte array, parses the text, compares both
;; trees, and hashes the parsed one.
;;
;;   run(depth) -> hash of the parsed tree, mixed with the length of the text
;;
;; A JSON value is an `eqref`:
;;
;;   null      the null reference
;;   integer   an i31 if it fits, else a $long
;;   boolean   a $bool
;;   string    a $bytes (no structure of its own: the bytes are the string)
;;   list      a $list, a growable array
;;   object    an $object, a linked list of $members in order of insertion
;;
;; `br_on_cast` determines the kind of a value.

(module $json_tree
  (type $bytes (array (mut i8)))
  (type $values (array (mut eqref)))

  ;; One group, so that types with equal structure are different types.
  (rec
    (type $long (struct (field $n i64)))
    (type $bool (struct (field $on i32)))
    (type $list (struct (field $items (mut (ref $values))) (field $len (mut i32))))
    (type $member (struct
      (field $key (ref $bytes))
      (field $value eqref)
      (field $next (mut (ref null $member)))))
    (type $object (struct
      (field $first (mut (ref null $member)))
      (field $last (mut (ref null $member)))))
    ;; Text being written, and text being read.
    (type $writer (struct (field $text (mut (ref $bytes))) (field $len (mut i32))))
    (type $reader (struct (field $text (ref $bytes)) (field $len i32) (field $at (mut i32)))))

  ;; Sixteen words of five bytes; some need escapes when they are printed.
  (data $words
    "alpha" "bra\22o" "char\5c" "del\0at" "echo " "foxes" "g\22\5c\22f" "hotel"
    "india" "ju\0aet" "kilo!" "lima?" "mikes" "no\c3\bev" "oscar" "papa\0a")
  (data $true "true")
  (data $false "false")
  (data $null "null")

  (global $seed (mut i32) (i32.const 1))

  ;; xorshift32 (Marsaglia 2003)
  (func $random (result i32)
    (local $x i32)
    (local.set $x (global.get $seed))
    (local.set $x (i32.xor (local.get $x) (i32.shl (local.get $x) (i32.const 13))))
    (local.set $x (i32.xor (local.get $x) (i32.shr_u (local.get $x) (i32.const 17))))
    (local.set $x (i32.xor (local.get $x) (i32.shl (local.get $x) (i32.const 5))))
    (global.set $seed (local.get $x))
    (local.get $x))

  (func $fail (unreachable))

  ;; ---- values -------------------------------------------------------------

  ;; An integer in its one representation.
  (func $integer (param $n i64) (result eqref)
    (if (result eqref)
      (i64.eq (local.get $n)
              (i64.extend_i32_s (i31.get_s (ref.i31 (i32.wrap_i64 (local.get $n))))))
      (then (ref.i31 (i32.wrap_i64 (local.get $n))))
      (else (struct.new $long (local.get $n)))))

  (func $word (param $i i32) (result (ref $bytes))
    (array.new_data $bytes $words
      (i32.mul (i32.and (local.get $i) (i32.const 15)) (i32.const 5))
      (i32.const 5)))

  (func $list_push (param $list (ref $list)) (param $value eqref)
    (local $bigger (ref $values))
    (local $len i32)
    (local.set $len (struct.get $list $len (local.get $list)))
    (if (i32.eq (local.get $len) (array.len (struct.get $list $items (local.get $list))))
      (then
        (local.set $bigger
          (array.new_default $values
            (i32.add (i32.shl (local.get $len) (i32.const 1)) (i32.const 2))))
        (array.copy $values $values
          (local.get $bigger) (i32.const 0)
          (struct.get $list $items (local.get $list)) (i32.const 0)
          (local.get $len))
        (struct.set $list $items (local.get $list) (local.get $bigger))))
    (array.set $values
      (struct.get $list $items (local.get $list)) (local.get $len) (local.get $value))
    (struct.set $list $len (local.get $list) (i32.add (local.get $len) (i32.const 1))))

  (func $list_new (result (ref $list))
    (struct.new $list (array.new_default $values (i32.const 0)) (i32.const 0)))

  (func $object_add (param $object (ref $object)) (param $key (ref $bytes)) (param $value eqref)
    (local $member (ref $member))
    (local.set $member
      (struct.new $member (local.get $key) (local.get $value) (ref.null $member)))
    (if (ref.is_null (struct.get $object $first (local.get $object)))
      (then (struct.set $object $first (local.get $object) (local.get $member)))
      (else
        (struct.set $member $next
          (struct.get $object $last (local.get $object)) (local.get $member))))
    (struct.set $object $last (local.get $object) (local.get $member)))

  ;; ---- build --------------------------------------------------------------

  (func $build_leaf (result eqref)
    (local $r i32)
    (local.set $r (call $random))
    (block $integer (block $long (block $string (block $bool
      (br_table $integer $integer $long $string $string $bool $integer
        (i32.rem_u (local.get $r) (i32.const 7))))
      ;; bool; one in eight is null instead
      (if (i32.eqz (i32.and (i32.shr_u (local.get $r) (i32.const 8)) (i32.const 7)))
        (then (return (ref.null eq))))
      (return (struct.new $bool (i32.and (i32.shr_u (local.get $r) (i32.const 12)) (i32.const 1)))))
      ;; string
      (return (call $word (i32.shr_u (local.get $r) (i32.const 4)))))
      ;; long
      (return (call $integer
        (i64.mul (i64.extend_i32_s (local.get $r)) (i64.const 1000000007)))))
    ;; integer
    (call $integer (i64.extend_i32_s (i32.shr_s (local.get $r) (i32.const 16)))))

  (func $build (param $depth i32) (result eqref)
    (local $list (ref $list))
    (local $object (ref $object))
    (local $i i32)
    (if (i32.eqz (local.get $depth)) (then (return (call $build_leaf))))
    (if (i32.and (call $random) (i32.const 256))
      (then
        (local.set $list (call $list_new))
        (loop $more
          (call $list_push (local.get $list)
            (call $build (i32.sub (local.get $depth) (i32.const 1))))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $more (i32.lt_u (local.get $i) (i32.const 3))))
        (return (local.get $list))))
    (local.set $object (struct.new_default $object))
    (loop $more
      (call $object_add (local.get $object)
        (call $word (call $random))
        (call $build (i32.sub (local.get $depth) (i32.const 1))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (i32.const 2))))
    (local.get $object))

  ;; ---- print --------------------------------------------------------------

  (func $put (param $w (ref $writer)) (param $byte i32)
    (local $bigger (ref $bytes))
    (local $len i32)
    (local.set $len (struct.get $writer $len (local.get $w)))
    (if (i32.eq (local.get $len) (array.len (struct.get $writer $text (local.get $w))))
      (then
        (local.set $bigger
          (array.new_default $bytes (i32.shl (local.get $len) (i32.const 1))))
        (array.copy $bytes $bytes
          (local.get $bigger) (i32.const 0)
          (struct.get $writer $text (local.get $w)) (i32.const 0)
          (local.get $len))
        (struct.set $writer $text (local.get $w) (local.get $bigger))))
    (array.set $bytes (struct.get $writer $text (local.get $w)) (local.get $len) (local.get $byte))
    (struct.set $writer $len (local.get $w) (i32.add (local.get $len) (i32.const 1))))

  (func $put_all (param $w (ref $writer)) (param $s (ref $bytes))
    (local $i i32)
    (block $done
      (loop $more
        (br_if $done (i32.eq (local.get $i) (array.len (local.get $s))))
        (call $put (local.get $w) (array.get_u $bytes (local.get $s) (local.get $i)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $more))))

  (func $put_integer (param $w (ref $writer)) (param $n i64)
    ;; Works on negative numbers, because i64::MIN has no positive counterpart.
    (if (i64.lt_s (local.get $n) (i64.const 0))
      (then (call $put (local.get $w) (i32.const 45))) ;; -
      (else (local.set $n (i64.sub (i64.const 0) (local.get $n)))))
    (call $put_digits (local.get $w) (local.get $n)))

  (func $put_digits (param $w (ref $writer)) (param $negative i64)
    (if (i64.lt_s (local.get $negative) (i64.const -9))
      (then (call $put_digits (local.get $w) (i64.div_s (local.get $negative) (i64.const 10)))))
    (call $put (local.get $w)
      (i32.sub (i32.const 48)
               (i32.wrap_i64 (i64.rem_s (local.get $negative) (i64.const 10))))))

  (func $put_string (param $w (ref $writer)) (param $s (ref $bytes))
    (local $i i32)
    (local $c i32)
    (call $put (local.get $w) (i32.const 34)) ;; "
    (block $done
      (loop $more
        (br_if $done (i32.eq (local.get $i) (array.len (local.get $s))))
        (local.set $c (array.get_u $bytes (local.get $s) (local.get $i)))
        (if (i32.eq (local.get $c) (i32.const 10)) ;; a newline becomes \n
          (then
            (call $put (local.get $w) (i32.const 92))
            (local.set $c (i32.const 110)))
          (else
            (if (i32.or (i32.eq (local.get $c) (i32.const 34))
                        (i32.eq (local.get $c) (i32.const 92)))
              (then (call $put (local.get $w) (i32.const 92))))))
        (call $put (local.get $w) (local.get $c))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $more)))
    (call $put (local.get $w) (i32.const 34)))

  (func $print (param $w (ref $writer)) (param $v eqref)
    (local $member (ref null $member))
    (local $list (ref $list))
    (local $string (ref $bytes))
    (local $n i64)
    (local $i i32)
    (block $null
      (block $object (result (ref $object))
        (block $list (result (ref $list))
          (block $string (result (ref $bytes))
            (block $bool (result (ref $bool))
              (block $long (result (ref $long))
                (block $small (result (ref i31))
                  (br_on_null $null (local.get $v))
                  (br_on_cast $small (ref eq) (ref i31))
                  (br_on_cast $long (ref eq) (ref $long))
                  (br_on_cast $bool (ref eq) (ref $bool))
                  (br_on_cast $string (ref eq) (ref $bytes))
                  (br_on_cast $list (ref eq) (ref $list))
                  (br $object (ref.cast (ref $object))))
                ;; a small integer
                (local.set $n (i64.extend_i32_s (i31.get_s)))
                (call $put_integer (local.get $w) (local.get $n))
                (return))
              ;; a large one
              (local.set $n (struct.get $long $n))
              (call $put_integer (local.get $w) (local.get $n))
              (return))
            (if (struct.get $bool $on)
              (then (call $put_all (local.get $w)
                (array.new_data $bytes $true (i32.const 0) (i32.const 4))))
              (else (call $put_all (local.get $w)
                (array.new_data $bytes $false (i32.const 0) (i32.const 5)))))
            (return))
          (local.set $string)
          (call $put_string (local.get $w) (local.get $string))
          (return))
        ;; a list
        (local.set $list)
        (call $put (local.get $w) (i32.const 91)) ;; [
        (block $done
          (loop $more
            (br_if $done
              (i32.eq (local.get $i) (struct.get $list $len (local.get $list))))
            (if (local.get $i) (then (call $put (local.get $w) (i32.const 44)))) ;; ,
            (call $print (local.get $w)
              (array.get $values
                (struct.get $list $items (local.get $list)) (local.get $i)))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br $more)))
        (call $put (local.get $w) (i32.const 93)) ;; ]
        (return))
      ;; an object
      (local.set $member (struct.get $object $first))
      (call $put (local.get $w) (i32.const 123)) ;; {
      (block $done
        (loop $more
          (br_if $done (ref.is_null (local.get $member)))
          (if (local.get $i) (then (call $put (local.get $w) (i32.const 44))))
          (call $put_string (local.get $w) (struct.get $member $key (local.get $member)))
          (call $put (local.get $w) (i32.const 58)) ;; :
          (call $print (local.get $w) (struct.get $member $value (local.get $member)))
          (local.set $member (struct.get $member $next (local.get $member)))
          (local.set $i (i32.const 1))
          (br $more)))
      (call $put (local.get $w) (i32.const 125)) ;; }
      (return))
    (call $put_all (local.get $w) (array.new_data $bytes $null (i32.const 0) (i32.const 4))))

  ;; ---- parse --------------------------------------------------------------

  ;; The byte at the reader's position, -1 at the end.
  (func $peek (param $r (ref $reader)) (result i32)
    (if (result i32)
      (i32.lt_u (struct.get $reader $at (local.get $r)) (struct.get $reader $len (local.get $r)))
      (then (array.get_u $bytes
        (struct.get $reader $text (local.get $r)) (struct.get $reader $at (local.get $r))))
      (else (i32.const -1))))

  (func $skip (param $r (ref $reader)) (param $count i32)
    (struct.set $reader $at (local.get $r)
      (i32.add (struct.get $reader $at (local.get $r)) (local.get $count))))

  (func $take (param $r (ref $reader)) (result i32)
    (call $peek (local.get $r))
    (call $skip (local.get $r) (i32.const 1)))

  (func $expect (param $r (ref $reader)) (param $byte i32)
    (if (i32.ne (call $take (local.get $r)) (local.get $byte)) (then (call $fail))))

  (func $parse_string (param $r (ref $reader)) (result (ref $bytes))
    (local $w (ref $writer))
    (local $c i32)
    (local $exact (ref $bytes))
    (local.set $w (struct.new $writer (array.new_default $bytes (i32.const 4)) (i32.const 0)))
    (call $expect (local.get $r) (i32.const 34))
    (block $done
      (loop $more
        (local.set $c (call $take (local.get $r)))
        (br_if $done (i32.eq (local.get $c) (i32.const 34)))
        (if (i32.eq (local.get $c) (i32.const 92))
          (then
            (local.set $c (call $take (local.get $r)))
            (if (i32.eq (local.get $c) (i32.const 110))
              (then (local.set $c (i32.const 10))))))
        (call $put (local.get $w) (local.get $c))
        (br $more)))
    (local.set $exact (array.new_default $bytes (struct.get $writer $len (local.get $w))))
    (array.copy $bytes $bytes
      (local.get $exact) (i32.const 0)
      (struct.get $writer $text (local.get $w)) (i32.const 0)
      (struct.get $writer $len (local.get $w)))
    (local.get $exact))

  (func $parse_integer (param $r (ref $reader)) (result eqref)
    (local $n i64)
    (local $negative i32)
    (local $digit i32)
    (if (i32.eq (call $peek (local.get $r)) (i32.const 45))
      (then
        (local.set $negative (i32.const 1))
        (call $skip (local.get $r) (i32.const 1))))
    (block $done
      (loop $more
        (local.set $digit (i32.sub (call $peek (local.get $r)) (i32.const 48)))
        (br_if $done (i32.gt_u (local.get $digit) (i32.const 9)))
        (local.set $n
          (i64.sub (i64.mul (local.get $n) (i64.const 10))
                   (i64.extend_i32_u (local.get $digit))))
        (call $skip (local.get $r) (i32.const 1))
        (br $more)))
    (call $integer
      (select (local.get $n) (i64.sub (i64.const 0) (local.get $n)) (local.get $negative))))

  (func $parse_list (param $r (ref $reader)) (result eqref)
    (local $list (ref $list))
    (local.set $list (call $list_new))
    (call $expect (local.get $r) (i32.const 91))
    (loop $more
      (call $list_push (local.get $list) (call $parse (local.get $r)))
      (br_if $more (i32.eq (call $take (local.get $r)) (i32.const 44))))
    (local.get $list))

  (func $parse_object (param $r (ref $reader)) (result eqref)
    (local $object (ref $object))
    (local $key (ref $bytes))
    (local.set $object (struct.new_default $object))
    (call $expect (local.get $r) (i32.const 123))
    (loop $more
      (local.set $key (call $parse_string (local.get $r)))
      (call $expect (local.get $r) (i32.const 58))
      (call $object_add (local.get $object) (local.get $key) (call $parse (local.get $r)))
      (br_if $more (i32.eq (call $take (local.get $r)) (i32.const 44))))
    (local.get $object))

  (func $parse (param $r (ref $reader)) (result eqref)
    (local $c i32)
    (local.set $c (call $peek (local.get $r)))
    (if (i32.eq (local.get $c) (i32.const 91)) (then (return (call $parse_list (local.get $r)))))
    (if (i32.eq (local.get $c) (i32.const 123)) (then (return (call $parse_object (local.get $r)))))
    (if (i32.eq (local.get $c) (i32.const 34)) (then (return (call $parse_string (local.get $r)))))
    (if (i32.eq (local.get $c) (i32.const 116)) ;; true
      (then
        (call $skip (local.get $r) (i32.const 4))
        (return (struct.new $bool (i32.const 1)))))
    (if (i32.eq (local.get $c) (i32.const 102)) ;; false
      (then
        (call $skip (local.get $r) (i32.const 5))
        (return (struct.new $bool (i32.const 0)))))
    (if (i32.eq (local.get $c) (i32.const 110)) ;; null
      (then
        (call $skip (local.get $r) (i32.const 4))
        (return (ref.null eq))))
    (call $parse_integer (local.get $r)))

  ;; ---- walk ---------------------------------------------------------------

  (func $mix (param $h i32) (param $x i32) (result i32)
    (i32.mul (i32.xor (local.get $h) (local.get $x)) (i32.const 16777619)))

  (func $hash_bytes (param $h i32) (param $s (ref $bytes)) (result i32)
    (local $i i32)
    (block $done
      (loop $more
        (br_if $done (i32.eq (local.get $i) (array.len (local.get $s))))
        (local.set $h
          (call $mix (local.get $h) (array.get_s $bytes (local.get $s) (local.get $i))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $more)))
    (local.get $h))

  (func $hash (param $h i32) (param $v eqref) (result i32)
    (local $i i32)
    (local $list (ref $list))
    (local $member (ref null $member))
    (if (ref.is_null (local.get $v))
      (then (return (call $mix (local.get $h) (i32.const 17)))))
    (if (ref.test (ref i31) (local.get $v))
      (then (return (call $mix (local.get $h) (i31.get_s (ref.cast (ref i31) (local.get $v)))))))
    (if (ref.test (ref $long) (local.get $v))
      (then (return (call $mix (local.get $h)
        (i32.wrap_i64 (i64.rem_s
          (struct.get $long $n (ref.cast (ref $long) (local.get $v)))
          (i64.const 2147483647)))))))
    (if (ref.test (ref $bool) (local.get $v))
      (then (return (call $mix (local.get $h)
        (i32.add (i32.const 1000) (struct.get $bool $on (ref.cast (ref $bool) (local.get $v))))))))
    (if (ref.test (ref $bytes) (local.get $v))
      (then (return (call $hash_bytes (local.get $h) (ref.cast (ref $bytes) (local.get $v))))))
    (block $object (result (ref eq))
      (local.set $list (br_on_cast_fail $object (ref eq) (ref $list) (ref.as_non_null (local.get $v))))
      (loop $more
        (local.set $h (call $hash (local.get $h)
          (array.get $values (struct.get $list $items (local.get $list)) (local.get $i))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $more (i32.lt_u (local.get $i) (struct.get $list $len (local.get $list)))))
      (return (call $mix (local.get $h) (local.get $i))))
    (local.set $member (struct.get $object $first (ref.cast (ref $object))))
    (block $done
      (loop $more
        (br_if $done (ref.is_null (local.get $member)))
        (local.set $h (call $hash_bytes (local.get $h)
          (struct.get $member $key (local.get $member))))
        (local.set $h (call $hash (local.get $h)
          (struct.get $member $value (local.get $member))))
        (local.set $member (struct.get $member $next (local.get $member)))
        (br $more)))
    (call $mix (local.get $h) (i32.const 77)))

  (func $print_new (param $v eqref) (result (ref $writer))
    (local $w (ref $writer))
    (local.set $w (struct.new $writer (array.new_default $bytes (i32.const 16)) (i32.const 0)))
    (call $print (local.get $w) (local.get $v))
    (local.get $w))

  (func (export "run") (param $depth i32) (result i32)
    (local $built eqref)
    (local $parsed eqref)
    (local $text (ref $writer))
    (local $again (ref $writer))
    (local $i i32)
    (global.set $seed (i32.add (local.get $depth) (i32.const 20240501)))
    (local.set $built (call $build (local.get $depth)))
    (local.set $text (call $print_new (local.get $built)))
    (local.set $parsed
      (call $parse
        (struct.new $reader
          (struct.get $writer $text (local.get $text))
          (struct.get $writer $len (local.get $text))
          (i32.const 0))))
    ;; The parsed tree must have the hash of the original, and print the same bytes.
    (if (i32.ne (call $hash (i32.const 0x811c9dc5) (local.get $built))
                (call $hash (i32.const 0x811c9dc5) (local.get $parsed)))
      (then (call $fail)))
    (local.set $again (call $print_new (local.get $parsed)))
    (if (i32.ne (struct.get $writer $len (local.get $text))
                (struct.get $writer $len (local.get $again)))
      (then (call $fail)))
    (loop $more
      (if (i32.ne
            (array.get_u $bytes (struct.get $writer $text (local.get $text)) (local.get $i))
            (array.get_u $bytes (struct.get $writer $text (local.get $again)) (local.get $i)))
        (then (call $fail)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (struct.get $writer $len (local.get $text)))))
    (call $mix
      (call $hash (i32.const 0x811c9dc5) (local.get $parsed))
      (struct.get $writer $len (local.get $again)))))
