;; nqueens: counts the ways to put n queens on an n by n board, with closures.
;;
;;   run(n) -> number of solutions (run(8) = 92)
;;
;; A closure is a struct whose first field is its code; subtypes append the captured values. The
;; code gets the closure and casts it to its own type. A board is a persistent list of columns,
;; newest row first, shared by all boards that extend it. The program is a search in
;; continuation-passing style:
;;
;;   place(board, row, k)     = if row = n then k(board)
;;                              else each_safe(n, board, board' -> place(board', row + 1, k))
;;
;; so that the depth of live closures is the depth of the search.

(module $nqueens
  (rec
    ;; A function of a board, and the closure around it.
    (type $visitor_code (func (param (ref $visitor)) (param (ref null $board))))
    (type $visitor (sub (struct (field $code (ref $visitor_code)))))

    ;; A function of an integer to a truth value, and the closure around it.
    (type $predicate_code (func (param (ref $predicate)) (param i32) (result i32)))
    (type $predicate (sub (struct (field $code (ref $predicate_code)))))

    ;; The board: the column of the newest queen, and the rows before.
    (type $board (struct (field $column i32) (field $rest (ref null $board))))

    ;; What the closures capture.
    (type $place (sub final $visitor (struct
      (field $code (ref $visitor_code))
      (field $n i32)
      (field $row i32)
      (field $k (ref $visitor)))))
    (type $count (sub final $visitor (struct
      (field $code (ref $visitor_code))
      (field $solutions (ref $cell)))))
    (type $is_safe (sub final $predicate (struct
      (field $code (ref $predicate_code))
      (field $board (ref null $board)))))
    (type $both (sub final $predicate (struct
      (field $code (ref $predicate_code))
      (field $first (ref $predicate))
      (field $second (ref $predicate)))))
    (type $on_board (sub final $predicate (struct
      (field $code (ref $predicate_code))
      (field $n i31ref))))

    ;; A mutable variable that is captured by reference.
    (type $cell (struct (field $value (mut i32)))))

  ;; Code that is used as a value must be declared.
  (elem declare func $place_code $count_code $is_safe_code $both_code $on_board_code)

  (func $visit (param $f (ref $visitor)) (param $board (ref null $board))
    (call_ref $visitor_code
      (local.get $f) (local.get $board)
      (struct.get $visitor $code (local.get $f))))

  (func $ask (param $f (ref $predicate)) (param $x i32) (result i32)
    (call_ref $predicate_code
      (local.get $f) (local.get $x)
      (struct.get $predicate $code (local.get $f))))

  ;; column -> no queen of the captured board attacks it from a row before
  (func $is_safe_code (type $predicate_code)
    (param $self (ref $predicate)) (param $column i32) (result i32)
    (local $queen (ref null $board))
    (local $distance i32)
    (local $difference i32)
    (local.set $queen
      (struct.get $is_safe $board (ref.cast (ref $is_safe) (local.get $self))))
    (local.set $distance (i32.const 1))
    (loop $more
      (if (ref.is_null (local.get $queen)) (then (return (i32.const 1))))
      (local.set $difference
        (i32.sub (struct.get $board $column (local.get $queen)) (local.get $column)))
      (if (i32.eqz (local.get $difference)) (then (return (i32.const 0))))
      (if (i32.eq (local.get $difference) (local.get $distance)) (then (return (i32.const 0))))
      (if (i32.eqz (i32.add (local.get $difference) (local.get $distance)))
        (then (return (i32.const 0))))
      (local.set $queen (struct.get $board $rest (local.get $queen)))
      (local.set $distance (i32.add (local.get $distance) (i32.const 1)))
      (br $more))
    (unreachable))

  ;; column -> it is on a board of the captured size
  (func $on_board_code (type $predicate_code)
    (param $self (ref $predicate)) (param $column i32) (result i32)
    (i32.lt_u (local.get $column)
      (i31.get_u (struct.get $on_board $n (ref.cast (ref $on_board) (local.get $self))))))

  ;; x -> first(x) and second(x)
  (func $both_code (type $predicate_code)
    (param $self (ref $predicate)) (param $x i32) (result i32)
    (local $both (ref $both))
    (local.set $both (ref.cast (ref $both) (local.get $self)))
    (if (result i32) (call $ask (struct.get $both $first (local.get $both)) (local.get $x))
      (then (call $ask (struct.get $both $second (local.get $both)) (local.get $x)))
      (else (i32.const 0))))

  ;; Calls `f` with every board that extends `board` by one safe queen.
  (func $each_safe (param $n i32) (param $board (ref null $board)) (param $f (ref $visitor))
    (local $column i32)
    (local $may (ref $predicate))
    (local.set $may
      (struct.new $both (ref.func $both_code)
        (struct.new $on_board (ref.func $on_board_code) (ref.i31 (local.get $n)))
        (struct.new $is_safe (ref.func $is_safe_code) (local.get $board))))
    (loop $more
      (if (call $ask (local.get $may) (local.get $column))
        (then
          (call $visit (local.get $f)
            (struct.new $board (local.get $column) (local.get $board)))))
      (local.set $column (i32.add (local.get $column) (i32.const 1)))
      ;; One column too many, which the predicate must reject.
      (br_if $more (i32.le_u (local.get $column) (local.get $n)))))

  ;; board -> place the captured row's queen, then the rest, then call k
  (func $place_code (type $visitor_code)
    (param $self (ref $visitor)) (param $board (ref null $board))
    (local $place (ref $place))
    (local.set $place (ref.cast (ref $place) (local.get $self)))
    (if (i32.eq (struct.get $place $row (local.get $place))
                (struct.get $place $n (local.get $place)))
      (then
        (call $visit (struct.get $place $k (local.get $place)) (local.get $board))
        (return)))
    (call $each_safe (struct.get $place $n (local.get $place)) (local.get $board)
      (struct.new $place (ref.func $place_code)
        (struct.get $place $n (local.get $place))
        (i32.add (struct.get $place $row (local.get $place)) (i32.const 1))
        (struct.get $place $k (local.get $place)))))

  ;; board -> count it, once checked: n queens, all columns taken once
  (func $count_code (type $visitor_code)
    (param $self (ref $visitor)) (param $board (ref null $board))
    (local $cell (ref $cell))
    (local $columns i32)
    (local $queens i32)
    (loop $more
      (local.set $columns
        (i32.xor (local.get $columns)
          (i32.shl (i32.const 1) (struct.get $board $column (local.get $board)))))
      (local.set $queens (i32.add (local.get $queens) (i32.const 1)))
      (local.set $board (struct.get $board $rest (local.get $board)))
      (br_if $more (i32.eqz (ref.is_null (local.get $board)))))
    (if (i32.ne (i32.popcnt (local.get $columns)) (local.get $queens)) (then (unreachable)))
    (local.set $cell
      (struct.get $count $solutions (ref.cast (ref $count) (local.get $self))))
    (struct.set $cell $value (local.get $cell)
      (i32.add (struct.get $cell $value (local.get $cell)) (i32.const 1))))

  (func (export "run") (param $n i32) (result i32)
    (local $solutions (ref $cell))
    (if (i32.gt_u (local.get $n) (i32.const 31)) (then (unreachable)))
    (if (i32.eqz (local.get $n)) (then (return (i32.const 1))))
    (local.set $solutions (struct.new $cell (i32.const 0)))
    (call $visit
      (struct.new $place (ref.func $place_code)
        (local.get $n)
        (i32.const 0)
        (struct.new $count (ref.func $count_code) (local.get $solutions)))
      (ref.null $board))
    (struct.get $cell $value (local.get $solutions))))
