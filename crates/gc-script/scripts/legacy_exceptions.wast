;; Exceptions of the first version of the proposal: `try`, `catch`, `catch_all`, `delegate` and
;; `rethrow`. The results are those of V8 (Node.js 20). It ran the module with numbers in the place
;; of structs, and without the function `both`, because it has neither GC nor `try_table`.

(module
  (type $box (struct (field (mut i32))))
  (tag $e)
  (tag $i (param i32))
  (tag $two (param i32 i64))
  (tag $ref (param (ref $box)))
  (global $trace (mut i32) (i32.const 0))

  (func $note (param i32)
    (global.set $trace (i32.add (i32.mul (global.get $trace) (i32.const 10)) (local.get 0))))
  (func (export "trace") (result i32)
    (global.get $trace) (global.set $trace (i32.const 0)))

  ;; Throws by number; 0 throws nothing.
  (func $throw (param $n i32)
    (if (i32.eq (local.get $n) (i32.const 1)) (then (throw $e)))
    (if (i32.eq (local.get $n) (i32.const 2)) (then (throw $i (i32.const 22))))
    (if (i32.eq (local.get $n) (i32.const 3)) (then (throw $two (i32.const 3) (i64.const 33))))
    (if (i32.eq (local.get $n) (i32.const 4)) (then (throw $ref (struct.new $box (i32.const 44))))))

  (func (export "clauses") (param $n i32) (result i32)
    try (result i32)
      (call $throw (local.get $n)) (i32.const -1)
      catch $e (i32.const 11)
      catch $i
      catch $two (drop)
      catch_all (i32.const 99) end)

  ;; The same without calls: the throw and its clause are in one function.
  (func (export "direct") (param $n i32) (result i32)
    try (result i32)
      (if (i32.eq (local.get $n) (i32.const 1)) (then (throw $e)))
        (if (i32.eq (local.get $n) (i32.const 2)) (then (throw $i (i32.const 22))))
        (if (i32.eq (local.get $n) (i32.const 4))
          (then (throw $ref (struct.new $box (i32.const 44)))))
        (i32.const -1)
      catch $i (i32.add (i32.const 1))
      catch $ref (struct.get $box 0)
      catch $e (i32.const 11) end)

  (func (export "uncaught") (param $n i32) (result i32)
    try (result i32)
      (call $throw (local.get $n)) (i32.const 0)
      catch $i end)

  ;; A clause is not part of the body: what it throws goes outwards.
  (func (export "from-clause") (param $n i32) (result i32)
    try (result i32)
      try (result i32)
          (call $throw (local.get $n)) (i32.const 0)
          catch $e (call $throw (i32.const 2)) (i32.const 1)
          catch $i (drop) (i32.const 2) end
      catch $i (i32.add (i32.const 1000)) end)

  ;; Without clauses it is a block.
  (func (export "no-clause") (param $n i32) (result i32)
    try (result i32) (call $throw (local.get $n)) (i32.const 5) end)

  (func (export "params") (param $n i32) (result i32)
    (local.get $n) (i32.const 7)
    try (param i32 i32) (result i32)
      (drop) (call $throw) (i32.const 1)
      catch $i (i32.sub (i32.const 2)) end)

  (func (export "branches") (param $n i32) (result i32)
    (block $out (result i32)
      try $t (result i32)
        (br_if $t (i32.const 1) (i32.eqz (local.get $n)))
          (drop)
          (call $throw (local.get $n))
          (br $out (i32.const 2))
        catch $i (br $out)
        catch_all (br $t (i32.const 3)) end
      (i32.add (i32.const 100))))

  (func (export "rethrow") (param $n i32) (result i32)
    try (result i32)
      try (result i32)
          (call $throw (local.get $n)) (i32.const 0)
          catch $i (call $note) (rethrow 0)
          catch_all (call $note (i32.const 5)) (rethrow 0) end
      catch $i (i32.add (i32.const 1))
      catch $ref (struct.get $box 0) end)

  ;; The outer of two caught exceptions is thrown again.
  (func (export "rethrow-outer") (param $n i32) (result i32)
    try (result i32)
      try (result i32)
          (call $throw (local.get $n)) (i32.const 0)
          catch_all
            try (result i32)
              (call $throw (i32.const 2)) (i32.const 1)
              catch $i (block (rethrow 2)) end end
      catch $e (i32.const 111)
      catch $two (drop) (i32.add (i32.const 300))
      catch $i (i32.add (i32.const 200)) end)

  (func (export "delegate") (param $n i32) (result i32)
    try $outer (result i32)
      try $inner (result i32)
          try (result i32)
              (call $throw (local.get $n)) (i32.const 0)
              delegate $outer
          catch_all (i32.const 1) end
      catch $e (i32.const 2)
      catch $i end)

  (func (export "delegate-inner") (param $n i32) (result i32)
    try $outer (result i32)
      try $inner (result i32)
          (block (result i32)
              try (result i32)
                (call $throw (local.get $n)) (i32.const 0)
                delegate $inner)
          catch_all (i32.const 1) end
      catch $e (i32.const 2) end)

  ;; To a block in a `try`: the `try` catches.
  (func (export "delegate-block") (param $n i32) (result i32)
    try (result i32)
      (block $b (result i32)
          try (result i32)
            try (result i32)
                (call $throw (local.get $n)) (i32.const 0)
                delegate $b
            catch_all (i32.const 1) end)
      catch_all (i32.const 2) end)

  ;; To a `try` in whose clause it stands: the clauses of that `try` do not catch.
  (func (export "delegate-clause") (param $n i32) (result i32)
    try (result i32)
      try $t (result i32)
          (throw $e)
          catch $e
            try (result i32)
              (call $throw (local.get $n)) (i32.const 0)
              delegate $t
          catch_all (i32.const 1) end
      catch_all (i32.const 2) end)

  (func (export "delegate-caller") (param $n i32) (result i32)
    try (result i32)
      try (result i32)
          (call $throw (local.get $n)) (i32.const 0)
          delegate 1
      catch_all (i32.const 1) end)

  (func (export "caught-from-delegate") (param $n i32) (result i32)
    try (result i32)
      try (result i32)
          try (result i32)
              (call $throw (local.get $n)) (i32.const 0)
              delegate 0
          catch $i (i32.add (i32.const 1)) end
      catch_all (i32.const 7) end)

  ;; Locals keep what they had when the exception was thrown.
  (func (export "locals") (param $n i32) (result i32)
    (local $b (ref null $box)) (local $c i32)
    (local.set $b (struct.new $box (i32.const 1)))
    (loop $again
      try
        (local.set $c (i32.add (local.get $c) (i32.const 1)))
          (local.set $b (struct.new $box
            (i32.add (struct.get $box 0 (local.get $b)) (local.get $c))))
          (call $throw (i32.const 4))
          (local.set $c (i32.const 1000))
        catch $ref
          (local.set $b (struct.new $box (i32.sub
            (i32.add (struct.get $box 0) (struct.get $box 0 (local.get $b)))
            (i32.const 44))))
          (br_if $again (i32.lt_s (local.get $c) (local.get $n))) end)
    (struct.get $box 0 (local.get $b)))

  (func (export "trap") (param $n i32) (result i32)
    try (result i32)
      (i32.div_s (i32.const 1) (local.get $n))
      catch_all (i32.const 1) end)

  ;; Code that is never reached.
  (func (export "unreached") (result i32)
    (block $b (result i32)
      (br $b (i32.const 3))
      try (result i32)
        try (throw $e) delegate 0 (i32.const 1)
        catch $i try  catch_all (rethrow 0) end
        catch_all (rethrow 0) end))
  (func (export "unreached-clauses") (param $n i32) (result i32)
    try (result i32)
      (i32.add (local.get $n) (i32.const 1))
      catch $e try (call $throw (i32.const 1)) catch_all (rethrow 0) end (i32.const 1)
      catch_all (rethrow 0) end)

  ;; Both versions in one function.
  (func (export "both") (param $n i32) (result i32)
    (block $h (result i32)
      (try_table (catch $i $h)
        try
          (block $h
              (try_table (catch $e $h) (call $throw (local.get $n)))
              (call $note (i32.const 1)))
            (call $note (i32.const 2))
          catch $two (drop) (drop) (call $throw (i32.const 2)) end)
      (i32.const 6))))

(assert_return (invoke "clauses" (i32.const 0)) (i32.const -1))
(assert_return (invoke "clauses" (i32.const 1)) (i32.const 11))
(assert_return (invoke "clauses" (i32.const 2)) (i32.const 22))
(assert_return (invoke "clauses" (i32.const 3)) (i32.const 3))
(assert_return (invoke "clauses" (i32.const 4)) (i32.const 99))
(assert_return (invoke "direct" (i32.const 0)) (i32.const -1))
(assert_return (invoke "direct" (i32.const 1)) (i32.const 11))
(assert_return (invoke "direct" (i32.const 2)) (i32.const 23))
(assert_return (invoke "direct" (i32.const 4)) (i32.const 44))
(assert_return (invoke "uncaught" (i32.const 0)) (i32.const 0))
(assert_exception (invoke "uncaught" (i32.const 1)))
(assert_return (invoke "uncaught" (i32.const 2)) (i32.const 22))
(assert_exception (invoke "uncaught" (i32.const 4)))
(assert_return (invoke "from-clause" (i32.const 1)) (i32.const 1022))
(assert_return (invoke "from-clause" (i32.const 2)) (i32.const 2))
(assert_exception (invoke "from-clause" (i32.const 3)))
(assert_return (invoke "no-clause" (i32.const 0)) (i32.const 5))
(assert_exception (invoke "no-clause" (i32.const 1)))
(assert_return (invoke "params" (i32.const 0)) (i32.const 1))
(assert_return (invoke "params" (i32.const 2)) (i32.const 20))
(assert_return (invoke "branches" (i32.const 0)) (i32.const 101))
(assert_return (invoke "branches" (i32.const 5)) (i32.const 2))
(assert_return (invoke "branches" (i32.const 2)) (i32.const 22))
(assert_return (invoke "branches" (i32.const 1)) (i32.const 103))
(assert_return (invoke "rethrow" (i32.const 0)) (i32.const 0))
(assert_return (invoke "rethrow" (i32.const 2)) (i32.const 23))
(assert_return (invoke "trace") (i32.const 22))
(assert_return (invoke "rethrow" (i32.const 4)) (i32.const 44))
(assert_return (invoke "trace") (i32.const 5))
(assert_exception (invoke "rethrow" (i32.const 1)))
(assert_return (invoke "trace") (i32.const 5))
(assert_return (invoke "rethrow-outer" (i32.const 0)) (i32.const 0))
(assert_return (invoke "rethrow-outer" (i32.const 1)) (i32.const 111))
(assert_return (invoke "rethrow-outer" (i32.const 2)) (i32.const 222))
(assert_return (invoke "rethrow-outer" (i32.const 3)) (i32.const 303))
(assert_exception (invoke "rethrow-outer" (i32.const 4)))
(assert_return (invoke "delegate" (i32.const 0)) (i32.const 0))
(assert_return (invoke "delegate" (i32.const 1)) (i32.const 2))
(assert_return (invoke "delegate" (i32.const 2)) (i32.const 22))
(assert_exception (invoke "delegate" (i32.const 3)))
(assert_return (invoke "delegate-inner" (i32.const 1)) (i32.const 1))
(assert_return (invoke "delegate-block" (i32.const 0)) (i32.const 0))
(assert_return (invoke "delegate-block" (i32.const 1)) (i32.const 2))
(assert_return (invoke "delegate-clause" (i32.const 0)) (i32.const 0))
(assert_return (invoke "delegate-clause" (i32.const 2)) (i32.const 2))
(assert_return (invoke "delegate-caller" (i32.const 0)) (i32.const 0))
(assert_exception (invoke "delegate-caller" (i32.const 1)))
(assert_return (invoke "caught-from-delegate" (i32.const 2)) (i32.const 23))
(assert_return (invoke "caught-from-delegate" (i32.const 1)) (i32.const 7))
(assert_return (invoke "locals" (i32.const 1)) (i32.const 2))
(assert_return (invoke "locals" (i32.const 10)) (i32.const 56))
(assert_return (invoke "trap" (i32.const 1)) (i32.const 1))
(assert_trap (invoke "trap" (i32.const 0)) "integer divide by zero")
(assert_return (invoke "unreached") (i32.const 3))
(assert_return (invoke "unreached-clauses" (i32.const 4)) (i32.const 5))
(assert_return (invoke "both" (i32.const 0)) (i32.const 6))
(assert_return (invoke "trace") (i32.const 12))
(assert_return (invoke "both" (i32.const 1)) (i32.const 6))
(assert_return (invoke "trace") (i32.const 2))
(assert_return (invoke "both" (i32.const 2)) (i32.const 22))
(assert_return (invoke "both" (i32.const 3)) (i32.const 22))
(assert_exception (invoke "both" (i32.const 4)))

(assert_invalid
  (module (func try (rethrow 0) catch_all end))
  "invalid rethrow label")
(assert_invalid
  (module (tag $i (param i32)) (func try  catch $i end))
  "type mismatch")
