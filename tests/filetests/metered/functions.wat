;; Code that is metered. The fuel is checked at the entry and at the head of each loop, and is in the
;; store before calls and returns. A reference is spilled only where the host is called. A handler
;; reads the fuel again. A small fill adds its cost to the sum. The host consumes the fuel of a longer one.
(module
  (type $cell (struct (field (mut i32)) (field (mut (ref null $cell)))))
  (type $bytes (array (mut i8)))
  (memory 1)
  (tag $e)
  (func $nothing (export "nothing"))
  (func (export "sum") (param $n i32) (result i32)
    (local $sum i32)
    (loop $next
      (local.set $sum (i32.add (local.get $sum) (local.get $n)))
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (br_if $next (local.get $n)))
    (local.get $sum))
  (func (export "list") (param $n i32) (result (ref null $cell))
    (local $list (ref null $cell))
    (loop $next
      (local.set $list (struct.new $cell (local.get $n) (local.get $list)))
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (br_if $next (local.get $n)))
    (local.get $list))
  (func $fib (export "fib") (param $n i32) (result i32)
    (if (result i32) (i32.lt_u (local.get $n) (i32.const 2))
      (then (local.get $n))
      (else (i32.add
        (call $fib (i32.sub (local.get $n) (i32.const 1)))
        (call $fib (i32.sub (local.get $n) (i32.const 2)))))))
  (func (export "fill") (param $n i32)
    (memory.fill (i32.const 0) (i32.const 1) (i32.const 9))
    (memory.fill (i32.const 0) (i32.const 1) (local.get $n)))
  (func (export "arrays") (param $bytes (ref null $bytes)) (param $n i32) (result (ref $bytes))
    (array.fill $bytes (local.get $bytes) (i32.const 0) (i32.const 1) (local.get $n))
    (drop (array.new_default $bytes (local.get $n)))
    (array.new $bytes (i32.const 7) (local.get $n)))
  (func (export "catch")
    (block $caught
      (try_table (catch $e $caught) (call $nothing)))
    (return_call $nothing)))
