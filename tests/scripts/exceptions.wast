;; Exceptions: payloads and live references across throws, tags of instances, and traps that are not caught.

;; An exception crosses three frames that keep references. The handler reads its references again, and those of
;; the payload, after collections.
(module
  (type $pair (struct (field $value (mut i32)) (field $next (mut (ref null $pair)))))
  (import "reclaim" "gc" (func $gc))
  ;; Collects, and then overwrites what is free.
  (func $churn
    (local $i i32)
    (call $gc)
    (local.set $i (i32.const 40))
    (loop $again
      (drop (struct.new $pair (i32.const -1) (ref.null $pair)))
      (br_if $again (local.tee $i (i32.sub (local.get $i) (i32.const 1))))))
  (func $new (param i32) (result (ref $pair))
    (struct.new $pair (local.get 0) (ref.null $pair)))
  (func $get (param (ref null $pair)) (result i32) (struct.get $pair 0 (local.get 0)))

  (tag $e (param (ref $pair) i64 (ref null $pair)))
  (tag $other (param i32))
  (func $thrower (param $n i32) (param $p (ref $pair))
    (if (i32.eqz (local.get $n)) (then
      (throw $e (local.get $p) (i64.const 5) (call $new (i32.const 6)))))
    (if (i32.eq (local.get $n) (i32.const 1)) (then (throw $other (i32.const 7))))
    (call $churn))
  (func $between (param $n i32) (param $p (ref $pair)) (result i32)
    (local $own (ref null $pair))
    (local.set $own (call $new (i32.const 100)))
    (call $churn)
    (block $h (result i32)
      (try_table (catch $other $h)
        (call $thrower (local.get $n) (call $new (call $get (local.get $p)))))
      (call $churn)
      (return (call $get (local.get $own))))
    (i32.add (call $get (local.get $own))))
  (func (export "run") (param $n i32) (result i32)
    (local $kept (ref null $pair)) (local $sum i32)
    (local.set $kept (call $new (i32.const 1000)))
    (block $h (result (ref $pair) i64 (ref null $pair))
      (local.set $sum
        (try_table (result i32) (catch $e $h)
          (call $between (local.get $n) (call $new (i32.const 20)))))
      (call $churn)
      (return (i32.add (local.get $sum) (call $get (local.get $kept)))))
    (call $churn)
    (local.set $sum (call $get))
    (local.set $sum (i32.add (i32.wrap_i64) (local.get $sum)))
    (local.set $sum (i32.add (call $get) (local.get $sum)))
    (i32.add (local.get $sum) (call $get (local.get $kept)))))

(assert_return (invoke "run" (i32.const 0)) (i32.const 1031)) ;; caught outside
(assert_return (invoke "run" (i32.const 1)) (i32.const 1107)) ;; caught between
(assert_return (invoke "run" (i32.const 2)) (i32.const 1100)) ;; not thrown
(invoke "run" (i32.const 0))
(invoke "run" (i32.const 1))
(assert_return (invoke "run" (i32.const 0)) (i32.const 1031))

;; All kinds of clauses and of values; exceptions in locals, globals and tables; thrown again.
(module
  (type $pair (struct (field $value (mut i32)) (field $next (mut (ref null $pair)))))
  (import "reclaim" "gc" (func $gc))
  ;; Collects, and then overwrites what is free.
  (func $churn
    (local $i i32)
    (call $gc)
    (local.set $i (i32.const 40))
    (loop $again
      (drop (struct.new $pair (i32.const -1) (ref.null $pair)))
      (br_if $again (local.tee $i (i32.sub (local.get $i) (i32.const 1))))))
  (func $new (param i32) (result (ref $pair))
    (struct.new $pair (local.get 0) (ref.null $pair)))
  (func $get (param (ref null $pair)) (result i32) (struct.get $pair 0 (local.get 0)))

  (type $f (func (result i32)))
  (tag $all (param i32 i64 f32 f64 (ref null $f) externref i31ref (ref $pair)))
  (tag $none)
  (global $kept (mut exnref) (ref.null exn))
  (table $exns 2 exnref)
  (elem declare func $seven)
  (func $seven (type $f) (i32.const 7))
  (func $throw (param externref)
    (throw $all (i32.const 1) (i64.const 2) (f32.const 3) (f64.const 4) (ref.func $seven)
      (local.get 0) (ref.i31 (i32.const 5)) (call $new (i32.const 6))))
  (func (export "payload") (param externref) (result i32 i64 f32 f64 i32 externref i32 i32)
    (local $p (ref null $pair)) (local $i i31ref) (local $e externref)
    (local $f (ref null $f))
    (block $h (result i32 i64 f32 f64 (ref null $f) externref i31ref (ref $pair) exnref)
      (try_table (catch_ref $all $h) (call $throw (local.get 0)))
      (unreachable))
    (global.set $kept)
    (call $churn)
    (local.set $p) (local.set $i) (local.set $e) (local.set $f)
    (call_ref $f (local.get $f))
    (local.get $e)
    (i31.get_s (local.get $i))
    (call $get (local.get $p)))
  (func (export "again") (result i32)
    (table.set $exns (i32.const 1) (global.get $kept))
    (global.set $kept (ref.null exn))
    (call $churn)
    (block $h (result exnref)
      (try_table (catch_all_ref $h)
        (block $inner
          (try_table (catch $none $inner)
            (throw_ref (table.get $exns (i32.const 1))))
          (unreachable)))
      (unreachable))
    (global.set $kept)
    (table.set $exns (i32.const 0) (global.get $kept))
    (call $churn)
    (block $h
      (try_table (catch_all $h) (throw_ref (table.get $exns (i32.const 0))))
      (unreachable))
    (ref.is_null (table.get $exns (i32.const 0))))
  (func (export "null") (throw_ref (ref.null exn)))
  (func (export "first") (result i32)
    (block $b
      (block $a
        (try_table (catch $none $a) (catch $none $b) (catch_all $b) (throw $none))
        (unreachable))
      (return (i32.const 1)))
    (i32.const 2))
  (func (export "loop") (param $n i32) (result i32)
    (local $i i32) (local $p (ref null $pair))
    (local.set $p (call $new (i32.const 0)))
    (loop $again
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (local.set $p (call $new (i32.add (call $get (local.get $p)) (local.get $i))))
      (if (i32.lt_s (local.get $i) (local.get $n)) (then
        (try_table (catch_all $again) (call $throw (ref.null extern))))))
    (call $get (local.get $p))))

(assert_return (invoke "payload" (ref.extern 9))
  (i32.const 1) (i64.const 2) (f32.const 3) (f64.const 4) (i32.const 7) (ref.extern 9) (i32.const 5)
  (i32.const 6))
(assert_return (invoke "again") (i32.const 0))
(assert_return (invoke "first") (i32.const 1))
(assert_trap (invoke "null") "null exception reference")
(assert_return (invoke "loop" (i32.const 20)) (i32.const 210))

;; A module whose instances throw their own tag, the imported one, and catch both.
(module
  (tag (export "tag") (param i32))
  (func (export "call")))
(register "before")
(module definition $tagged
  (import "before" "tag" (tag $imported (param i32)))
  (import "before" "tag" (tag $alias (param i32)))
  (import "before" "call" (func $f))
  (tag $own (export "tag") (param i32))
  (func (export "own") (throw $own (i32.const 1)))
  (func (export "imported") (throw $imported (i32.const 2)))
  (func (export "aliased") (result i32)
    (block $b (result i32)
      (block $a (result i32)
        (try_table (catch $own $b) (catch $alias $a) (throw $imported (i32.const 3)))
        (unreachable))
      (return))
    (i32.const 100) (i32.add))
  (func (export "catch") (result i32)
    (block $b (result i32)
      (block $a (result i32)
        (try_table (catch $own $a) (catch $alias $b) (call $f))
        (return (i32.const 0)))
      (return (i32.add (i32.const 10))))
    (i32.add (i32.const 20))))
(module instance $a $tagged)
(assert_return (invoke $a "aliased") (i32.const 3))

;; The next instances import the tag of `$a`. Their own tag is another one, though the module is the same.
(register "a" $a)
(module $throws_own
  (import "a" "tag" (tag $tag (param i32)))
  (import "a" "own" (func $own))
  (export "tag" (tag $tag))
  (export "call" (func $own)))
(register "before" $throws_own)
(module instance $b $tagged)
(assert_return (invoke $b "catch") (i32.const 21))
(module $throws_imported
  (import "a" "tag" (tag $tag (param i32)))
  (import "a" "imported" (func $imported))
  (export "tag" (tag $tag))
  (export "call" (func $imported)))
(register "before" $throws_imported)
(module instance $c $tagged)
(assert_exception (invoke $c "catch"))
(module $other (tag (export "tag") (param i64)))
(register "other" $other)
(assert_unlinkable (module (import "other" "tag" (tag (param i32))))
  "expected (tag (func (param i32))), found (tag (func (param i64)))")

;; Traps are not caught.
(module
  (func $recurse (export "recurse") (call $recurse) (call $recurse))
  (func (export "unreachable")
    (block $h (try_table (catch_all $h) (unreachable))))
  (func (export "overflow") (block $h (try_table (catch_all $h) (call $recurse)))))

(assert_trap (invoke "unreachable") "unreachable")
(assert_exhaustion (invoke "overflow") "call stack exhausted")
