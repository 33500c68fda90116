;; externref_churn: host values that pass through tables, structs and arrays.
;;
;;   run(n) -> a checksum over n host values handed from place to place
;;
;; Like a browser program with nodes of a document, it makes wrappers around externrefs, queues
;; them, moves them through a table, converts them to internal and external references
;; (`any.convert_extern`, `extern.convert_any`), and drops them. At times the host makes a new value
;; or reads one. `host.value(i)` makes a value that `host.number` reads.
;;
;; A wrapper that has left the queue still refers to its successor. So one old dead wrapper keeps
;; all following ones alive in minor collections.

(module $externref_churn
  (import "host" "value" (func $value (param i32) (result externref)))
  (import "host" "number" (func $number (param externref) (result i32)))

  (rec
    ;; The wrapper of a value, in a queue.
    (type $wrapper (struct
      (field $value externref) (field $id i32) (field $any anyref)
      (field $next (mut (ref null $wrapper)))))
    (type $history (array (mut externref))))

  (table $table 64 externref)
  (global $seed (mut i32) (i32.const 0))
  (global $first (mut (ref null $wrapper)) (ref.null $wrapper))
  (global $last (mut (ref null $wrapper)) (ref.null $wrapper))

  ;; xorshift32 (Marsaglia 2003)
  (func $random (result i32)
    (local $x i32)
    (local.set $x (global.get $seed))
    (local.set $x (i32.xor (local.get $x) (i32.shl (local.get $x) (i32.const 13))))
    (local.set $x (i32.xor (local.get $x) (i32.shr_u (local.get $x) (i32.const 17))))
    (local.set $x (i32.xor (local.get $x) (i32.shl (local.get $x) (i32.const 5))))
    (global.set $seed (local.get $x))
    (local.get $x))

  (func $push (param $value externref) (param $id i32)
    (local $wrapper (ref $wrapper))
    (local.set $wrapper
      (struct.new $wrapper (local.get $value) (local.get $id)
        (any.convert_extern (local.get $value)) (ref.null $wrapper)))
    (if (ref.is_null (global.get $last))
      (then (global.set $first (local.get $wrapper)))
      (else (struct.set $wrapper $next (global.get $last) (local.get $wrapper))))
    (global.set $last (local.get $wrapper)))

  (func $pop (result (ref $wrapper))
    (local $wrapper (ref $wrapper))
    (local.set $wrapper (ref.as_non_null (global.get $first)))
    (global.set $first (struct.get $wrapper $next (local.get $wrapper)))
    (if (ref.is_null (global.get $first)) (then (global.set $last (ref.null $wrapper))))
    (local.get $wrapper))

  (func (export "run") (param $n i32) (result i32)
    (local $history (ref $history))
    (local $wrapper (ref $wrapper))
    (local $value externref)
    (local $i i32)
    (local $r i32)
    (local $at i32)
    (local $h i32)
    (global.set $seed (i32.const 2463534242))
    (global.set $first (ref.null $wrapper))
    (global.set $last (ref.null $wrapper))
    (table.fill $table (i32.const 0) (ref.null extern) (i32.const 64))
    (local.set $history (array.new_default $history (i32.const 256)))
    (block $done
      (loop $more
        (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
        (local.set $r (call $random))
        (local.set $at (i32.and (local.get $r) (i32.const 63)))
        ;; One value in eight is new; the others come from the table.
        (local.set $value (table.get $table (local.get $at)))
        (if (i32.or (ref.is_null (local.get $value))
              (i32.eqz (i32.and (local.get $r) (i32.const 0x700))))
          (then (local.set $value (call $value (local.get $i)))))
        (call $push (local.get $value) (local.get $i))
        (array.set $history (local.get $history)
          (i32.and (i32.shr_u (local.get $r) (i32.const 12)) (i32.const 255))
          (local.get $value))
        ;; When two hundred wait in the queue, the first one leaves it.
        (if (i32.ge_u (local.get $i) (i32.const 200))
          (then
            (local.set $wrapper (call $pop))
            (if (i32.ne (struct.get $wrapper $id (local.get $wrapper))
                        (i32.sub (local.get $i) (i32.const 200)))
              (then (unreachable)))
            ;; The value was stored as an external reference and is now an internal one.
            (local.set $value
              (extern.convert_any (struct.get $wrapper $any (local.get $wrapper))))
            (table.set $table
              (i32.and (i32.shr_u (local.get $r) (i32.const 20)) (i32.const 63))
              (local.get $value))
            (if (i32.eqz (i32.and (local.get $r) (i32.const 0x3000000)))
              (then
                (if (i32.ne (call $number (local.get $value))
                            (call $number
                              (struct.get $wrapper $value (local.get $wrapper))))
                  (then (unreachable)))
                (local.set $h
                  (i32.add (i32.rotl (local.get $h) (i32.const 3))
                    (call $number (local.get $value))))))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $more)))
    (local.set $i (i32.const 0))
    (loop $more
      (local.set $h
        (i32.add (i32.mul (local.get $h) (i32.const 31))
          (i32.xor
            (call $number (array.get $history (local.get $history) (local.get $i)))
            (call $number
              (table.get $table (i32.and (local.get $i) (i32.const 63)))))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (i32.const 256))))
    (local.get $h)))
