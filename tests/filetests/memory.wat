;; Accesses of a memory. It is the only one and has 32-bit addresses, so only the last function,
;; whose offset is larger than the guard, compares the address with the memory's size.
(module
  (memory 1)
  (func $sum (param $from i32) (param $to i32) (result i64)
    (local $sum i64)
    (loop $next
      (local.set $sum (i64.add (local.get $sum) (i64.load offset=8 (local.get $from))))
      (local.set $from (i32.add (local.get $from) (i32.const 8)))
      (br_if $next (i32.lt_u (local.get $from) (local.get $to))))
    (local.get $sum))
  (func $grow (param i32) (result i32) (memory.grow (local.get 0)))
  (func $far (param i32) (result i32) (i32.load8_u offset=0x80000000 (local.get 0))))
