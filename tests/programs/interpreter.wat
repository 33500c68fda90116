;; interpreter: a small functional language, with a parser that builds a syntax tree and an
;; evaluator that walks it.
;;
;;   run(n) -> the value of the program below, in which N is n
;;
;;   expression = number | name | _                     _ is the empty list
;;              | (\ name body)                         a function of one parameter
;;              | (? condition then else)               0 and _ are false
;;              | (! name value body)                   name may occur in its own value
;;              | (+ a b) (- a b) (* a b) (< a b)       on 31-bit integers
;;              | (: head tail) (^ list) (~ list)       a pair, its head, its tail
;;              | (f a b ...)                           application, one argument a time
;;
;; Each kind of node is a subtype of $expression, and `eval` determines the kind with a ladder of
;; `br_on_cast`. Values are `eqref`: integers are i31, the empty list is null. A name that occurs in
;; its own value makes a cycle: the environment refers to the closure, and the closure to the
;; environment. Calls in tail position do not deepen the stack.

(module $interpreter
  (type $bytes (array (mut i8)))
  (rec
    (type $symbol (struct (field $name (ref $bytes)) (field $next (ref null $symbol))))

    (type $expression (sub (struct)))
    (type $number (sub final $expression (struct (field $value i31ref))))
    (type $variable (sub final $expression (struct (field $name (ref $symbol)))))
    (type $empty (sub final $expression (struct)))
    (type $lambda (sub final $expression (struct
      (field $parameter (ref $symbol)) (field $body (ref $expression)))))
    (type $if (sub final $expression (struct
      (field $condition (ref $expression))
      (field $then (ref $expression)) (field $else (ref $expression)))))
    (type $let (sub final $expression (struct
      (field $name (ref $symbol))
      (field $value (ref $expression)) (field $body (ref $expression)))))
    (type $operation (sub final $expression (struct
      (field $operator i8)
      (field $a (ref $expression)) (field $b (ref null $expression)))))
    (type $apply (sub final $expression (struct
      (field $function (ref $expression)) (field $argument (ref $expression)))))

    ;; Values that are not integers, and environments.
    (type $pair (struct (field $head eqref) (field $tail eqref)))
    (type $closure (struct (field $code (ref $lambda)) (field $scope (ref null $scope))))
    (type $scope (struct
      (field $name (ref $symbol))
      (field $value (mut eqref))
      (field $outer (ref null $scope)))))

  (data $program
    "(! fib   (\5c n (? (< n 2) n (+ (fib (- n 1)) (fib (- n 2)))))"
    "(! range (\5c a (\5c b (? (< a b) (: a (range (+ a 1) b)) _)))"
    "(! map   (\5c f (\5c l (? l (: (f (^ l)) (map f (~ l))) _)))"
    "(! fold  (\5c f (\5c z (\5c l (? l (fold f (f z (^ l)) (~ l)) z))))"
    "(! keep  (\5c p (\5c l (? l (? (p (^ l)) (: (^ l) (keep p (~ l))) (keep p (~ l))) _)))"
    "(! join  (\5c a (\5c b (? a (: (^ a) (join (~ a) b)) b)))"
    "(! sort  (\5c l (? l"
    "           (join (sort (keep (\5c x (< x (^ l))) (~ l)))"
    "                 (: (^ l) (sort (keep (\5c x (? (< x (^ l)) 0 1)) (~ l)))))"
    "           _))"
    "(! hash  (\5c h (\5c x (+ (* h 31) x)))"
    "(! loop  (\5c k (\5c x (? k (loop (- k 1) (- (* x 5) k)) x)))"
    "  (fold hash (loop (* N 100) 1)"
    "    (join (map fib (range 0 N))"
    "          (sort (map (\5c i (- (* (* i 7919) i) (* i 104729))) (range 0 (* N 5)))))))))))))))")

  ;; The text, the position of the reader, and the names found so far.
  (global $text (mut (ref $bytes)) (array.new_fixed $bytes 0))
  (global $at (mut i32) (i32.const 0))
  (global $symbols (mut (ref null $symbol)) (ref.null none))

  ;; ---- parse --------------------------------------------------------------

  (func $peek (result i32)
    (array.get_u $bytes (global.get $text) (global.get $at)))

  (func $advance (global.set $at (i32.add (global.get $at) (i32.const 1))))

  (func $skip_blanks
    (block $done
      (loop $more
        (br_if $done (i32.ne (call $peek) (i32.const 32)))
        (call $advance)
        (br $more))))

  (func $expect (param $byte i32)
    (call $skip_blanks)
    (if (i32.ne (call $peek) (local.get $byte)) (then (unreachable)))
    (call $advance))

  (func $is_letter (param $c i32) (result i32)
    (i32.lt_u
      (i32.sub (i32.or (local.get $c) (i32.const 32)) (i32.const 97))
      (i32.const 26)))

  ;; The unique symbol for the name at the reader's position.
  (func $parse_symbol (result (ref $symbol))
    (local $from i32)
    (local $len i32)
    (local $i i32)
    (local $name (ref $bytes))
    (local $symbol (ref null $symbol))
    (call $skip_blanks)
    (local.set $from (global.get $at))
    (block $end
      (loop $more
        (br_if $end (i32.eqz (call $is_letter (call $peek))))
        (call $advance)
        (br $more)))
    (local.set $len (i32.sub (global.get $at) (local.get $from)))
    (if (i32.eqz (local.get $len)) (then (unreachable)))
    (local.set $name (array.new_default $bytes (local.get $len)))
    (array.copy $bytes $bytes
      (local.get $name) (i32.const 0) (global.get $text) (local.get $from) (local.get $len))
    (local.set $symbol (global.get $symbols))
    (loop $search
      (if (ref.is_null (local.get $symbol))
        (then
          (local.set $symbol (struct.new $symbol (local.get $name) (global.get $symbols)))
          (global.set $symbols (local.get $symbol))
          (return (ref.as_non_null (local.get $symbol)))))
      (block $other
        (br_if $other
          (i32.ne (array.len (struct.get $symbol $name (local.get $symbol))) (local.get $len)))
        (local.set $i (i32.const 0))
        (loop $more
          (br_if $other
            (i32.ne (array.get_u $bytes (local.get $name) (local.get $i))
                    (array.get_u $bytes
                      (struct.get $symbol $name (local.get $symbol)) (local.get $i))))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $more (i32.lt_u (local.get $i) (local.get $len))))
        (return (ref.as_non_null (local.get $symbol))))
      (local.set $symbol (struct.get $symbol $next (local.get $symbol)))
      (br $search))
    (unreachable))

  (func $parse_number (result (ref $expression))
    (local $n i32)
    (local $digit i32)
    (block $end
      (loop $more
        (local.set $digit (i32.sub (call $peek) (i32.const 48)))
        (br_if $end (i32.gt_u (local.get $digit) (i32.const 9)))
        (local.set $n (i32.add (i32.mul (local.get $n) (i32.const 10)) (local.get $digit)))
        (call $advance)
        (br $more)))
    (struct.new $number (ref.i31 (local.get $n))))

  (func $parse (result (ref $expression))
    (local $c i32)
    (local $e (ref $expression))
    (call $skip_blanks)
    (local.set $c (call $peek))
    (if (i32.lt_u (i32.sub (local.get $c) (i32.const 48)) (i32.const 10))
      (then (return (call $parse_number))))
    (if (call $is_letter (local.get $c))
      (then (return (struct.new $variable (call $parse_symbol)))))
    (call $advance)
    (if (i32.eq (local.get $c) (i32.const 95)) (then (return (struct.new $empty)))) ;; _
    (if (i32.ne (local.get $c) (i32.const 40)) (then (unreachable))) ;; (
    (local.set $e (call $parse_form))
    (call $expect (i32.const 41)) ;; )
    (local.get $e))

  ;; Parses the contents of parentheses.
  (func $parse_form (result (ref $expression))
    (local $c i32)
    (local $e (ref $expression))
    (call $skip_blanks)
    (local.set $c (call $peek))
    (if (i32.or (call $is_letter (local.get $c)) (i32.eq (local.get $c) (i32.const 40)))
      (then
        (local.set $e (call $parse))
        (loop $more
          (local.set $e (struct.new $apply (local.get $e) (call $parse)))
          (call $skip_blanks)
          (br_if $more (i32.ne (call $peek) (i32.const 41))))
        (return (local.get $e))))
    (call $advance)
    (if (i32.eq (local.get $c) (i32.const 92)) ;; \
      (then (return (struct.new $lambda (call $parse_symbol) (call $parse)))))
    (if (i32.eq (local.get $c) (i32.const 63)) ;; ?
      (then (return (struct.new $if (call $parse) (call $parse) (call $parse)))))
    (if (i32.eq (local.get $c) (i32.const 33)) ;; !
      (then (return (struct.new $let (call $parse_symbol) (call $parse) (call $parse)))))
    (if (i32.or (i32.eq (local.get $c) (i32.const 94)) (i32.eq (local.get $c) (i32.const 126)))
      (then (return (struct.new $operation
        (local.get $c) (call $parse) (ref.null none))))) ;; ^ ~
    (struct.new $operation (local.get $c) (call $parse) (call $parse)))

  ;; ---- evaluate -----------------------------------------------------------

  (func $lookup (param $scope (ref null $scope)) (param $name (ref $symbol)) (result eqref)
    (loop $more
      (if (ref.eq (struct.get $scope $name (local.get $scope)) (local.get $name))
        (then (return (struct.get $scope $value (local.get $scope)))))
      (local.set $scope (struct.get $scope $outer (local.get $scope)))
      (br $more))
    (unreachable))

  (func $int (param $v eqref) (result i32) (i31.get_s (ref.cast (ref i31) (local.get $v))))

  (func $truth (param $v eqref) (result i32)
    (i32.eqz (i32.or (ref.is_null (local.get $v))
                     (ref.eq (local.get $v) (ref.i31 (i32.const 0))))))

  (func $operate (param $o (ref $operation)) (param $scope (ref null $scope)) (result eqref)
    (local $op i32)
    (local $a eqref)
    (local $b eqref)
    (local.set $op (struct.get_u $operation $operator (local.get $o)))
    (local.set $a (call $eval (struct.get $operation $a (local.get $o)) (local.get $scope)))
    (if (i32.eq (local.get $op) (i32.const 94))
      (then (return (struct.get $pair $head (ref.cast (ref $pair) (local.get $a))))))
    (if (i32.eq (local.get $op) (i32.const 126))
      (then (return (struct.get $pair $tail (ref.cast (ref $pair) (local.get $a))))))
    (local.set $b
      (call $eval
        (ref.as_non_null (struct.get $operation $b (local.get $o))) (local.get $scope)))
    (if (i32.eq (local.get $op) (i32.const 58))
      (then (return (struct.new $pair (local.get $a) (local.get $b)))))
    (if (i32.eq (local.get $op) (i32.const 43))
      (then (return (ref.i31 (i32.add (call $int (local.get $a)) (call $int (local.get $b)))))))
    (if (i32.eq (local.get $op) (i32.const 45))
      (then (return (ref.i31 (i32.sub (call $int (local.get $a)) (call $int (local.get $b)))))))
    (if (i32.eq (local.get $op) (i32.const 42))
      (then (return (ref.i31 (i32.mul (call $int (local.get $a)) (call $int (local.get $b)))))))
    (if (i32.ne (local.get $op) (i32.const 60)) (then (unreachable)))
    (ref.i31 (i32.lt_s (call $int (local.get $a)) (call $int (local.get $b)))))

  (func $eval (param $e (ref $expression)) (param $scope (ref null $scope)) (result eqref)
    (local $if (ref $if))
    (local $let (ref $let))
    (local $apply (ref $apply))
    (local $operation (ref $operation))
    (local $closure (ref $closure))
    (local $inner (ref $scope))
    ;; Tail positions repeat the loop with another expression and scope.
    (loop $tail (result eqref)
      (block $is_number (result (ref $number))
        (block $is_variable (result (ref $variable))
          (block $is_operation (result (ref $operation))
            (block $is_if (result (ref $if))
              (block $is_apply (result (ref $apply))
                (block $is_lambda (result (ref $lambda))
                  (block $is_let (result (ref $let))
                    (br_on_cast $is_variable (ref $expression) (ref $variable) (local.get $e))
                    (br_on_cast $is_number (ref $expression) (ref $number))
                    (br_on_cast $is_operation (ref $expression) (ref $operation))
                    (br_on_cast $is_if (ref $expression) (ref $if))
                    (br_on_cast $is_apply (ref $expression) (ref $apply))
                    (br_on_cast $is_lambda (ref $expression) (ref $lambda))
                    (br_on_cast $is_let (ref $expression) (ref $let))
                    (drop (ref.cast (ref $empty)))
                    (return (ref.null none)))
                  (local.set $let)
                  (local.set $inner
                    (struct.new $scope (struct.get $let $name (local.get $let))
                      (ref.null none) (local.get $scope)))
                  (struct.set $scope $value (local.get $inner)
                    (call $eval (struct.get $let $value (local.get $let)) (local.get $inner)))
                  (local.set $scope (local.get $inner))
                  (local.set $e (struct.get $let $body (local.get $let)))
                  (br $tail))
                (return (struct.new $closure (local.get $scope))))
              (local.set $apply)
              (local.set $closure
                (ref.cast (ref $closure)
                  (call $eval
                    (struct.get $apply $function (local.get $apply)) (local.get $scope))))
              (local.set $scope
                (struct.new $scope
                  (struct.get $lambda $parameter (struct.get $closure $code (local.get $closure)))
                  (call $eval
                    (struct.get $apply $argument (local.get $apply)) (local.get $scope))
                  (struct.get $closure $scope (local.get $closure))))
              (local.set $e
                (struct.get $lambda $body (struct.get $closure $code (local.get $closure))))
              (br $tail))
            (local.set $if)
            (local.set $e
              (if (result (ref $expression))
                (call $truth
                  (call $eval (struct.get $if $condition (local.get $if)) (local.get $scope)))
                (then (struct.get $if $then (local.get $if)))
                (else (struct.get $if $else (local.get $if)))))
            (br $tail))
          (local.set $operation)
          (return (call $operate (local.get $operation) (local.get $scope))))
        (return (call $lookup_swapped (local.get $scope))))
      (struct.get $number $value)))

  ;; For a variable that is already on the stack.
  (func $lookup_swapped (param $v (ref $variable)) (param $scope (ref null $scope)) (result eqref)
    (call $lookup (local.get $scope) (struct.get $variable $name (local.get $v))))

  ;; The symbol N.
  (func $symbol_n (result (ref $symbol))
    (global.set $text (array.new_fixed $bytes 2 (i32.const 78) (i32.const 32)))
    (global.set $at (i32.const 0))
    (call $parse_symbol))

  (func (export "run") (param $n i32) (result i32)
    (local $scope (ref $scope))
    (local $program (ref $expression))
    (local.set $scope
      (struct.new $scope (call $symbol_n) (ref.i31 (local.get $n)) (ref.null none)))
    (global.set $text (array.new_data $bytes $program (i32.const 0) (i32.const 774)))
    (global.set $at (i32.const 0))
    (local.set $program (call $parse))
    (call $int (call $eval (local.get $program) (local.get $scope)))))
