;; list: a singly linked list of the requested length, with all cells alive at the same time.
;;
;;   run(n) -> a checksum over a list of n cells, built, reversed in place, halved
;;
;; This is the deepest possible graph. A collector that marks by recursion overflows its stack. One
;; that copies breadth-first has a queue of length one. One that counts references frees n cells one
;; after the other when the list's head is dropped. Reversal stores into every old cell. Halving
;; drops cells between live cells.

(module $list
  (type $cell (struct (field $head i32) (field $tail (mut (ref null $cell)))))

  ;; The list n, n - 1, ... 1, with a cell of garbage for each cell.
  (func $build (param $n i32) (result (ref null $cell))
    (local $list (ref null $cell))
    (local $garbage (ref null $cell))
    (local $i i32)
    (block $done
      (loop $more
        (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (local.set $garbage (struct.new $cell (local.get $i) (local.get $list)))
        (local.set $list
          (struct.new $cell (struct.get $cell $head (local.get $garbage)) (local.get $list)))
        (br $more)))
    (local.get $list))

  (func $reverse (param $list (ref null $cell)) (result (ref null $cell))
    (local $done (ref null $cell))
    (local $next (ref null $cell))
    (block $end
      (loop $more
        (br_if $end (ref.is_null (local.get $list)))
        (local.set $next (struct.get $cell $tail (local.get $list)))
        (struct.set $cell $tail (local.get $list) (local.get $done))
        (local.set $done (local.get $list))
        (local.set $list (local.get $next))
        (br $more)))
    (local.get $done))

  ;; Drops every second cell.
  (func $halve (param $list (ref null $cell))
    (local $next (ref null $cell))
    (block $end
      (loop $more
        (br_if $end (ref.is_null (local.get $list)))
        (local.set $next (struct.get $cell $tail (local.get $list)))
        (br_if $end (ref.is_null (local.get $next)))
        (local.set $next (struct.get $cell $tail (local.get $next)))
        (struct.set $cell $tail (local.get $list) (local.get $next))
        (local.set $list (local.get $next))
        (br $more))))

  (func $hash (param $list (ref null $cell)) (result i32)
    (local $h i32)
    (block $end
      (loop $more
        (br_if $end (ref.is_null (local.get $list)))
        (local.set $h
          (i32.add (i32.mul (local.get $h) (i32.const 31))
            (struct.get $cell $head (local.get $list))))
        (local.set $list (struct.get $cell $tail (local.get $list)))
        (br $more)))
    (local.get $h))

  (func (export "run") (param $n i32) (result i32)
    (local $list (ref null $cell))
    (local $h i32)
    (local.set $list (call $build (local.get $n)))
    (local.set $h (call $hash (local.get $list)))
    (local.set $list (call $reverse (local.get $list)))
    (local.set $h (i32.xor (i32.rotl (local.get $h) (i32.const 5)) (call $hash (local.get $list))))
    ;; Another list that dies while the first one lives.
    (local.set $h
      (i32.xor (i32.rotl (local.get $h) (i32.const 5)) (call $hash (call $build (local.get $n)))))
    (call $halve (local.get $list))
    (i32.xor (i32.rotl (local.get $h) (i32.const 5)) (call $hash (local.get $list)))))
