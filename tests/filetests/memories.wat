;; Two memories of which one is imported. The bases of both are loaded once.
(module
  (import "host" "memory" (memory $theirs 1))
  (memory $own 1)
  (func $copy (param $from i32) (param $to i32) (param $end i32)
    (loop $next
      (i32.store8 $own (local.get $to) (i32.load8_u $theirs (local.get $from)))
      (local.set $from (i32.add (local.get $from) (i32.const 1)))
      (local.set $to (i32.add (local.get $to) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $from) (local.get $end)))))
  (func $bulk (param i32 i32 i32)
    (memory.copy $own $theirs (local.get 0) (local.get 1) (local.get 2))))
