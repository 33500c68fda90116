;; Accesses of a memory with 64-bit addresses compare the address with the memory's size. The guard
;; covers the offset, unless it is larger.
(module
  (memory i64 1)
  (func $sum (param $from i64) (param $to i64) (result i64)
    (local $sum i64)
    (loop $next
      (local.set $sum (i64.add (local.get $sum) (i64.load offset=8 (local.get $from))))
      (local.set $from (i64.add (local.get $from) (i64.const 8)))
      (br_if $next (i64.lt_u (local.get $from) (local.get $to))))
    (local.get $sum))
  (func $grow (param i64) (result i64) (memory.grow (local.get 0)))
  (func $far (param i64) (result i32) (i32.load8_u offset=0x80000000 (local.get 0))))
