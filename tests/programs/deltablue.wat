;; deltablue: the incremental constraint solver (Freeman-Benson, Maloney and Borning, "An
;; Incremental Constraint Solver", 1990), with the tests of Maloney's benchmark.
;;
;;   run(n) -> a checksum over n rounds of a chain and a projection of 100 constraints
;;
;; Constraints are a hierarchy of four classes whose methods are called through vtables. A method
;; casts its receiver to its class. Variables have growing lists of constraints, which refer back to
;; the variables. So each round is a graph with many cycles that is rewritten at every step and dies
;; as a whole.

(module $deltablue
  (rec
    (type $variable (struct
      (field $value (mut i32))
      (field $constraints (ref $list))
      (field $determined_by (mut (ref null $constraint)))
      (field $mark (mut i32))
      (field $walk_strength (mut i32))
      (field $stay (mut i32))))
    (type $constraint (sub (struct (field $class (ref $class)) (field $strength i32))))
    ;; A constraint that determines its only variable: a stay or an edit.
    (type $unary (sub final $constraint (struct
      (field $class (ref $class)) (field $strength i32)
      (field $out (ref $variable)) (field $satisfied (mut i32)))))
    ;; A constraint that determines one of two variables: equality.
    (type $binary (sub $constraint (struct
      (field $class (ref $class)) (field $strength i32)
      (field $v1 (ref $variable)) (field $v2 (ref $variable))
      (field $direction (mut i32)))))
    ;; v2 = v1 * scale + offset
    (type $scale (sub final $binary (struct
      (field $class (ref $class)) (field $strength i32)
      (field $v1 (ref $variable)) (field $v2 (ref $variable))
      (field $direction (mut i32))
      (field $factor (ref $variable)) (field $offset (ref $variable)))))
    (type $class (struct
      (field $is_input i32)
      (field $add_to_graph (ref $method))
      (field $remove_from_graph (ref $method))
      (field $choose_method (ref $marking))
      (field $is_satisfied (ref $question))
      (field $mark_inputs (ref $marking))
      (field $inputs_known (ref $marked))
      (field $output (ref $getter))
      (field $execute (ref $method))
      (field $mark_unsatisfied (ref $method))
      (field $recalculate (ref $method))))
    (type $method (func (param (ref $constraint))))
    (type $marking (func (param (ref $constraint) i32)))
    (type $question (func (param (ref $constraint)) (result i32)))
    (type $marked (func (param (ref $constraint) i32) (result i32)))
    (type $getter (func (param (ref $constraint)) (result (ref $variable))))
    (type $items (array (mut eqref)))
    (type $list (struct (field $items (mut (ref $items))) (field $len (mut i32)))))

  ;; Strengths: 0 required, 1 strong preferred, 2 preferred, 3 strong default, 4 normal,
  ;; 5 weak default, 6 weakest. Directions: 0 none, 1 forward, 2 backward.

  (global $current_mark (mut i32) (i32.const 0))

  ;; ---- lists --------------------------------------------------------------

  (func $list (result (ref $list))
    (struct.new $list (array.new_default $items (i32.const 4)) (i32.const 0)))

  (func $add (param $list (ref $list)) (param $item eqref)
    (local $items (ref $items))
    (local $more (ref $items))
    (local $len i32)
    (local.set $items (struct.get $list $items (local.get $list)))
    (local.set $len (struct.get $list $len (local.get $list)))
    (if (i32.eq (local.get $len) (array.len (local.get $items)))
      (then
        (local.set $more
          (array.new_default $items (i32.shl (local.get $len) (i32.const 1))))
        (array.copy $items $items (local.get $more) (i32.const 0)
          (local.get $items) (i32.const 0) (local.get $len))
        (local.set $items (local.get $more))
        (struct.set $list $items (local.get $list) (local.get $items))))
    (array.set $items (local.get $items) (local.get $len) (local.get $item))
    (struct.set $list $len (local.get $list) (i32.add (local.get $len) (i32.const 1))))

  (func $get (param $list (ref $list)) (param $i i32) (result eqref)
    (array.get $items (struct.get $list $items (local.get $list)) (local.get $i)))

  (func $constraint_at (param $list (ref $list)) (param $i i32) (result (ref $constraint))
    (ref.cast (ref $constraint) (call $get (local.get $list) (local.get $i))))

  ;; Removes the last one.
  (func $pop (param $list (ref $list)) (result eqref)
    (local $len i32)
    (local $item eqref)
    (local.set $len (i32.sub (struct.get $list $len (local.get $list)) (i32.const 1)))
    (local.set $item (call $get (local.get $list) (local.get $len)))
    (array.set $items (struct.get $list $items (local.get $list)) (local.get $len)
      (ref.null eq))
    (struct.set $list $len (local.get $list) (local.get $len))
    (local.get $item))

  ;; Removes an item wherever it is, and keeps the order of the others.
  (func $remove (param $list (ref $list)) (param $item eqref)
    (local $items (ref $items))
    (local $i i32)
    (local $to i32)
    (local $here eqref)
    (local.set $items (struct.get $list $items (local.get $list)))
    (block $done
      (loop $more
        (br_if $done (i32.ge_u (local.get $i) (struct.get $list $len (local.get $list))))
        (local.set $here (array.get $items (local.get $items) (local.get $i)))
        (if (i32.eqz (ref.eq (local.get $here) (local.get $item)))
          (then
            (array.set $items (local.get $items) (local.get $to) (local.get $here))
            (local.set $to (i32.add (local.get $to) (i32.const 1)))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $more)))
    (struct.set $list $len (local.get $list) (local.get $to))
    (block $cleared
      (loop $more
        (br_if $cleared (i32.ge_u (local.get $to) (local.get $i)))
        (array.set $items (local.get $items) (local.get $to) (ref.null eq))
        (local.set $to (i32.add (local.get $to) (i32.const 1)))
        (br $more))))

  ;; ---- variables ----------------------------------------------------------

  (func $variable (param $value i32) (result (ref $variable))
    (struct.new $variable
      (local.get $value) (call $list) (ref.null $constraint)
      (i32.const 0) (i32.const 6) (i32.const 1)))

  (func $add_constraint (param $v (ref $variable)) (param $c (ref $constraint))
    (call $add (struct.get $variable $constraints (local.get $v)) (local.get $c)))

  (func $remove_constraint (param $v (ref $variable)) (param $c (ref $constraint))
    (call $remove (struct.get $variable $constraints (local.get $v)) (local.get $c))
    (if (ref.eq (struct.get $variable $determined_by (local.get $v)) (local.get $c))
      (then (struct.set $variable $determined_by (local.get $v) (ref.null $constraint)))))

  (func $max (param $a i32) (param $b i32) (result i32)
    (select (local.get $a) (local.get $b) (i32.gt_s (local.get $a) (local.get $b))))

  ;; ---- calls through a constraint's class ---------------------------------

  (func $is_satisfied (param $c (ref $constraint)) (result i32)
    (call_ref $question (local.get $c)
      (struct.get $class $is_satisfied (struct.get $constraint $class (local.get $c)))))
  (func $output (param $c (ref $constraint)) (result (ref $variable))
    (call_ref $getter (local.get $c)
      (struct.get $class $output (struct.get $constraint $class (local.get $c)))))
  (func $execute (param $c (ref $constraint))
    (call_ref $method (local.get $c)
      (struct.get $class $execute (struct.get $constraint $class (local.get $c)))))
  (func $recalculate (param $c (ref $constraint))
    (call_ref $method (local.get $c)
      (struct.get $class $recalculate (struct.get $constraint $class (local.get $c)))))
  (func $mark_unsatisfied (param $c (ref $constraint))
    (call_ref $method (local.get $c)
      (struct.get $class $mark_unsatisfied (struct.get $constraint $class (local.get $c)))))
  (func $remove_from_graph (param $c (ref $constraint))
    (call_ref $method (local.get $c)
      (struct.get $class $remove_from_graph (struct.get $constraint $class (local.get $c)))))

  ;; ---- unary constraints --------------------------------------------------

  (func $as_unary (param $c (ref $constraint)) (result (ref $unary))
    (ref.cast (ref $unary) (local.get $c)))

  (func $unary_add_to_graph (type $method)
    (call $add_constraint (struct.get $unary $out (call $as_unary (local.get 0))) (local.get 0))
    (struct.set $unary $satisfied (call $as_unary (local.get 0)) (i32.const 0)))
  (func $unary_remove_from_graph (type $method)
    (call $remove_constraint (struct.get $unary $out (call $as_unary (local.get 0)))
      (local.get 0))
    (struct.set $unary $satisfied (call $as_unary (local.get 0)) (i32.const 0)))
  (func $unary_choose_method (type $marking)
    (local $this (ref $unary))
    (local $out (ref $variable))
    (local.set $this (call $as_unary (local.get 0)))
    (local.set $out (struct.get $unary $out (local.get $this)))
    (struct.set $unary $satisfied (local.get $this)
      (i32.and
        (i32.ne (struct.get $variable $mark (local.get $out)) (local.get 1))
        (i32.lt_s (struct.get $unary $strength (local.get $this))
                  (struct.get $variable $walk_strength (local.get $out))))))
  (func $unary_is_satisfied (type $question)
    (struct.get $unary $satisfied (call $as_unary (local.get 0))))
  (func $unary_mark_inputs (type $marking))
  (func $unary_inputs_known (type $marked) (i32.const 1))
  (func $unary_output (type $getter)
    (struct.get $unary $out (call $as_unary (local.get 0))))
  (func $unary_execute (type $method))
  (func $unary_mark_unsatisfied (type $method)
    (struct.set $unary $satisfied (call $as_unary (local.get 0)) (i32.const 0)))
  (func $unary_recalculate (type $method)
    (local $this (ref $unary))
    (local $out (ref $variable))
    (local.set $this (call $as_unary (local.get 0)))
    (local.set $out (struct.get $unary $out (local.get $this)))
    (struct.set $variable $walk_strength (local.get $out)
      (struct.get $unary $strength (local.get $this)))
    (struct.set $variable $stay (local.get $out)
      (i32.eqz (struct.get $class $is_input (struct.get $unary $class (local.get $this)))))
    (if (struct.get $variable $stay (local.get $out))
      (then (call $execute (local.get $this)))))

  ;; ---- binary constraints -------------------------------------------------

  (func $as_binary (param $c (ref $constraint)) (result (ref $binary))
    (ref.cast (ref $binary) (local.get $c)))

  (func $binary_input (param $this (ref $binary)) (result (ref $variable))
    (if (result (ref $variable))
        (i32.eq (struct.get $binary $direction (local.get $this)) (i32.const 1))
      (then (struct.get $binary $v1 (local.get $this)))
      (else (struct.get $binary $v2 (local.get $this)))))
  (func $binary_output (type $getter)
    (local $this (ref $binary))
    (local.set $this (call $as_binary (local.get 0)))
    (if (result (ref $variable))
        (i32.eq (struct.get $binary $direction (local.get $this)) (i32.const 1))
      (then (struct.get $binary $v2 (local.get $this)))
      (else (struct.get $binary $v1 (local.get $this)))))

  (func $binary_add_to_graph (type $method)
    (local $this (ref $binary))
    (local.set $this (call $as_binary (local.get 0)))
    (call $add_constraint (struct.get $binary $v1 (local.get $this)) (local.get 0))
    (call $add_constraint (struct.get $binary $v2 (local.get $this)) (local.get 0))
    (struct.set $binary $direction (local.get $this) (i32.const 0)))
  (func $binary_remove_from_graph (type $method)
    (local $this (ref $binary))
    (local.set $this (call $as_binary (local.get 0)))
    (call $remove_constraint (struct.get $binary $v1 (local.get $this)) (local.get 0))
    (call $remove_constraint (struct.get $binary $v2 (local.get $this)) (local.get 0))
    (struct.set $binary $direction (local.get $this) (i32.const 0)))
  (func $binary_choose_method (type $marking)
    (local $this (ref $binary))
    (local $v1 (ref $variable))
    (local $v2 (ref $variable))
    (local $strength i32)
    (local $forward i32)
    (local $backward i32)
    (local $direction i32)
    (local.set $this (call $as_binary (local.get 0)))
    (local.set $v1 (struct.get $binary $v1 (local.get $this)))
    (local.set $v2 (struct.get $binary $v2 (local.get $this)))
    (local.set $strength (struct.get $binary $strength (local.get $this)))
    ;; The direction each way, if the variable at its end may be determined.
    (local.set $forward
      (i32.lt_s (local.get $strength)
        (struct.get $variable $walk_strength (local.get $v2))))
    (local.set $backward
      (i32.shl
        (i32.lt_s (local.get $strength)
          (struct.get $variable $walk_strength (local.get $v1)))
        (i32.const 1)))
    (local.set $direction
      (if (result i32) (i32.eq (struct.get $variable $mark (local.get $v1)) (local.get 1))
        (then
          (select (local.get $forward) (i32.const 0)
            (i32.ne (struct.get $variable $mark (local.get $v2)) (local.get 1))))
        (else
          (if (result i32) (i32.eq (struct.get $variable $mark (local.get $v2)) (local.get 1))
            (then (local.get $backward))
            (else
              (select (local.get $backward) (local.get $forward)
                (i32.gt_s (struct.get $variable $walk_strength (local.get $v1))
                          (struct.get $variable $walk_strength (local.get $v2)))))))))
    (struct.set $binary $direction (local.get $this) (local.get $direction)))
  (func $binary_is_satisfied (type $question)
    (i32.ne (struct.get $binary $direction (call $as_binary (local.get 0))) (i32.const 0)))
  (func $binary_mark_inputs (type $marking)
    (struct.set $variable $mark (call $binary_input (call $as_binary (local.get 0)))
      (local.get 1)))
  (func $binary_inputs_known (type $marked)
    (local $in (ref $variable))
    (local.set $in (call $binary_input (call $as_binary (local.get 0))))
    (i32.or
      (i32.or
        (i32.eq (struct.get $variable $mark (local.get $in)) (local.get 1))
        (struct.get $variable $stay (local.get $in)))
      (ref.is_null (struct.get $variable $determined_by (local.get $in)))))
  (func $binary_mark_unsatisfied (type $method)
    (struct.set $binary $direction (call $as_binary (local.get 0)) (i32.const 0)))

  (func $equality_execute (type $method)
    (struct.set $variable $value (call $binary_output (local.get 0))
      (struct.get $variable $value
        (call $binary_input (call $as_binary (local.get 0))))))
  (func $equality_recalculate (type $method)
    (local $in (ref $variable))
    (local $out (ref $variable))
    (local.set $in (call $binary_input (call $as_binary (local.get 0))))
    (local.set $out (call $binary_output (local.get 0)))
    (struct.set $variable $walk_strength (local.get $out)
      (call $max (struct.get $constraint $strength (local.get 0))
        (struct.get $variable $walk_strength (local.get $in))))
    (struct.set $variable $stay (local.get $out) (struct.get $variable $stay (local.get $in)))
    (if (struct.get $variable $stay (local.get $out))
      (then (call $execute (local.get 0)))))

  ;; ---- scaling ------------------------------------------------------------

  (func $as_scale (param $c (ref $constraint)) (result (ref $scale))
    (ref.cast (ref $scale) (local.get $c)))

  (func $scale_add_to_graph (type $method)
    (call $binary_add_to_graph (local.get 0))
    (call $add_constraint (struct.get $scale $factor (call $as_scale (local.get 0)))
      (local.get 0))
    (call $add_constraint (struct.get $scale $offset (call $as_scale (local.get 0)))
      (local.get 0)))
  (func $scale_remove_from_graph (type $method)
    (call $binary_remove_from_graph (local.get 0))
    (call $remove_constraint (struct.get $scale $factor (call $as_scale (local.get 0)))
      (local.get 0))
    (call $remove_constraint (struct.get $scale $offset (call $as_scale (local.get 0)))
      (local.get 0)))
  (func $scale_mark_inputs (type $marking)
    (call $binary_mark_inputs (local.get 0) (local.get 1))
    (struct.set $variable $mark (struct.get $scale $factor (call $as_scale (local.get 0)))
      (local.get 1))
    (struct.set $variable $mark (struct.get $scale $offset (call $as_scale (local.get 0)))
      (local.get 1)))
  (func $scale_execute (type $method)
    (local $this (ref $scale))
    (local $factor i32)
    (local $offset i32)
    (local.set $this (call $as_scale (local.get 0)))
    (local.set $factor
      (struct.get $variable $value (struct.get $scale $factor (local.get $this))))
    (local.set $offset
      (struct.get $variable $value (struct.get $scale $offset (local.get $this))))
    (if (i32.eq (struct.get $scale $direction (local.get $this)) (i32.const 1))
      (then
        (struct.set $variable $value (struct.get $scale $v2 (local.get $this))
          (i32.add (local.get $offset)
            (i32.mul (local.get $factor)
              (struct.get $variable $value (struct.get $scale $v1 (local.get $this)))))))
      (else
        (struct.set $variable $value (struct.get $scale $v1 (local.get $this))
          (i32.div_s
            (i32.sub
              (struct.get $variable $value (struct.get $scale $v2 (local.get $this)))
              (local.get $offset))
            (local.get $factor))))))
  (func $scale_recalculate (type $method)
    (local $this (ref $scale))
    (local $in (ref $variable))
    (local $out (ref $variable))
    (local.set $this (call $as_scale (local.get 0)))
    (local.set $in (call $binary_input (local.get $this)))
    (local.set $out (call $binary_output (local.get $this)))
    (struct.set $variable $walk_strength (local.get $out)
      (call $max (struct.get $scale $strength (local.get $this))
        (struct.get $variable $walk_strength (local.get $in))))
    (struct.set $variable $stay (local.get $out)
      (i32.and (struct.get $variable $stay (local.get $in))
        (i32.and
          (struct.get $variable $stay (struct.get $scale $factor (local.get $this)))
          (struct.get $variable $stay (struct.get $scale $offset (local.get $this))))))
    (if (struct.get $variable $stay (local.get $out))
      (then (call $execute (local.get $this)))))

  ;; ---- classes ------------------------------------------------------------

  (elem declare func
    $unary_add_to_graph $unary_remove_from_graph $unary_choose_method $unary_is_satisfied
    $unary_mark_inputs $unary_inputs_known $unary_output $unary_execute
    $unary_mark_unsatisfied $unary_recalculate
    $binary_add_to_graph $binary_remove_from_graph $binary_choose_method
    $binary_is_satisfied $binary_mark_inputs $binary_inputs_known $binary_output
    $equality_execute $binary_mark_unsatisfied $equality_recalculate
    $scale_add_to_graph $scale_remove_from_graph $scale_mark_inputs $scale_execute
    $scale_recalculate)

  (global $stay (ref $class)
    (struct.new $class (i32.const 0)
      (ref.func $unary_add_to_graph) (ref.func $unary_remove_from_graph)
      (ref.func $unary_choose_method) (ref.func $unary_is_satisfied)
      (ref.func $unary_mark_inputs) (ref.func $unary_inputs_known)
      (ref.func $unary_output) (ref.func $unary_execute)
      (ref.func $unary_mark_unsatisfied) (ref.func $unary_recalculate)))
  (global $edit (ref $class)
    (struct.new $class (i32.const 1)
      (ref.func $unary_add_to_graph) (ref.func $unary_remove_from_graph)
      (ref.func $unary_choose_method) (ref.func $unary_is_satisfied)
      (ref.func $unary_mark_inputs) (ref.func $unary_inputs_known)
      (ref.func $unary_output) (ref.func $unary_execute)
      (ref.func $unary_mark_unsatisfied) (ref.func $unary_recalculate)))
  (global $equality (ref $class)
    (struct.new $class (i32.const 0)
      (ref.func $binary_add_to_graph) (ref.func $binary_remove_from_graph)
      (ref.func $binary_choose_method) (ref.func $binary_is_satisfied)
      (ref.func $binary_mark_inputs) (ref.func $binary_inputs_known)
      (ref.func $binary_output) (ref.func $equality_execute)
      (ref.func $binary_mark_unsatisfied) (ref.func $equality_recalculate)))
  (global $scaling (ref $class)
    (struct.new $class (i32.const 0)
      (ref.func $scale_add_to_graph) (ref.func $scale_remove_from_graph)
      (ref.func $binary_choose_method) (ref.func $binary_is_satisfied)
      (ref.func $scale_mark_inputs) (ref.func $binary_inputs_known)
      (ref.func $binary_output) (ref.func $scale_execute)
      (ref.func $binary_mark_unsatisfied) (ref.func $scale_recalculate)))

  (func $new_unary (param $class (ref $class)) (param $v (ref $variable)) (param $strength i32)
    (result (ref $constraint))
    (local $c (ref $constraint))
    (local.set $c
      (struct.new $unary (local.get $class) (local.get $strength) (local.get $v)
        (i32.const 0)))
    (call $add_to_planner (local.get $c))
    (local.get $c))

  (func $new_equality (param $v1 (ref $variable)) (param $v2 (ref $variable))
    (param $strength i32)
    (call $add_to_planner
      (struct.new $binary (global.get $equality) (local.get $strength)
        (local.get $v1) (local.get $v2) (i32.const 0))))

  (func $new_scale (param $v1 (ref $variable)) (param $factor (ref $variable))
    (param $offset (ref $variable)) (param $v2 (ref $variable)) (param $strength i32)
    (call $add_to_planner
      (struct.new $scale (global.get $scaling) (local.get $strength)
        (local.get $v1) (local.get $v2) (i32.const 0)
        (local.get $factor) (local.get $offset))))

  ;; ---- the planner --------------------------------------------------------

  (func $new_mark (result i32)
    (global.set $current_mark (i32.add (global.get $current_mark) (i32.const 1)))
    (global.get $current_mark))

  (func $add_to_planner (param $c (ref $constraint))
    (call_ref $method (local.get $c)
      (struct.get $class $add_to_graph (struct.get $constraint $class (local.get $c))))
    (call $incremental_add (local.get $c)))

  (func $destroy (param $c (ref $constraint))
    (if (call $is_satisfied (local.get $c))
      (then (call $incremental_remove (local.get $c)))
      (else (call $remove_from_graph (local.get $c)))))

  ;; Tries to satisfy a constraint. Returns the one that it replaced.
  (func $satisfy (param $c (ref $constraint)) (param $mark i32)
    (result (ref null $constraint))
    (local $class (ref $class))
    (local $out (ref $variable))
    (local $overridden (ref null $constraint))
    (local.set $class (struct.get $constraint $class (local.get $c)))
    (call_ref $marking (local.get $c) (local.get $mark)
      (struct.get $class $choose_method (local.get $class)))
    (if (i32.eqz (call $is_satisfied (local.get $c)))
      (then
        (if (i32.eqz (struct.get $constraint $strength (local.get $c)))
          (then (unreachable)))
        (return (ref.null $constraint))))
    (call_ref $marking (local.get $c) (local.get $mark)
      (struct.get $class $mark_inputs (local.get $class)))
    (local.set $out (call $output (local.get $c)))
    (local.set $overridden (struct.get $variable $determined_by (local.get $out)))
    (if (i32.eqz (ref.is_null (local.get $overridden)))
      (then (call $mark_unsatisfied (ref.as_non_null (local.get $overridden)))))
    (struct.set $variable $determined_by (local.get $out) (local.get $c))
    ;; A cycle of constraints is an error.
    (if (i32.eqz (call $add_propagate (local.get $c) (local.get $mark)))
      (then (unreachable)))
    (struct.set $variable $mark (local.get $out) (local.get $mark))
    (local.get $overridden))

  (func $incremental_add (param $c (ref $constraint))
    (local $mark i32)
    (local $overridden (ref null $constraint))
    (local.set $mark (call $new_mark))
    (local.set $overridden (local.get $c))
    (block $done
      (loop $more
        (local.set $overridden
          (call $satisfy (br_on_null $done (local.get $overridden)) (local.get $mark)))
        (br $more))))

  (func $incremental_remove (param $c (ref $constraint))
    (local $out (ref $variable))
    (local $unsatisfied (ref $list))
    (local $strength i32)
    (local $i i32)
    (local $u (ref $constraint))
    (local.set $out (call $output (local.get $c)))
    (call $mark_unsatisfied (local.get $c))
    (call $remove_from_graph (local.get $c))
    (local.set $unsatisfied (call $remove_propagate_from (local.get $out)))
    ;; The strongest constraint comes first.
    (loop $weaker
      (local.set $i (i32.const 0))
      (block $done
        (loop $more
          (br_if $done
            (i32.ge_u (local.get $i) (struct.get $list $len (local.get $unsatisfied))))
          (local.set $u (call $constraint_at (local.get $unsatisfied) (local.get $i)))
          (if (i32.eq (struct.get $constraint $strength (local.get $u)) (local.get $strength))
            (then (call $incremental_add (local.get $u))))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $more)))
      (local.set $strength (i32.add (local.get $strength) (i32.const 1)))
      (br_if $weaker (i32.lt_s (local.get $strength) (i32.const 6)))))

  (func $add_consuming (param $v (ref $variable)) (param $to (ref $list))
    (local $list (ref $list))
    (local $c (ref $constraint))
    (local $i i32)
    (local.set $list (struct.get $variable $constraints (local.get $v)))
    (block $done
      (loop $more
        (br_if $done (i32.ge_u (local.get $i) (struct.get $list $len (local.get $list))))
        (local.set $c (call $constraint_at (local.get $list) (local.get $i)))
        (if (i32.eqz
              (ref.eq (local.get $c)
                (struct.get $variable $determined_by (local.get $v))))
          (then
            (if (call $is_satisfied (local.get $c))
              (then (call $add (local.get $to) (local.get $c))))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $more))))

  ;; Recomputes everything that depends on a new constraint. Returns 0 if that leads back to it.
  (func $add_propagate (param $c (ref $constraint)) (param $mark i32) (result i32)
    (local $todo (ref $list))
    (local $d (ref $constraint))
    (local.set $todo (call $list))
    (call $add (local.get $todo) (local.get $c))
    (loop $more
      (local.set $d (ref.cast (ref $constraint) (call $pop (local.get $todo))))
      (if (i32.eq (struct.get $variable $mark (call $output (local.get $d)))
                  (local.get $mark))
        (then
          (call $incremental_remove (local.get $c))
          (return (i32.const 0))))
      (call $recalculate (local.get $d))
      (call $add_consuming (call $output (local.get $d)) (local.get $todo))
      (br_if $more (struct.get $list $len (local.get $todo))))
    (i32.const 1))

  ;; Recomputes everything that depended on a removed constraint of a variable. Returns the
  ;; unsatisfied constraints found on the way.
  (func $remove_propagate_from (param $out (ref $variable)) (result (ref $list))
    (local $unsatisfied (ref $list))
    (local $todo (ref $list))
    (local $v (ref $variable))
    (local $list (ref $list))
    (local $c (ref $constraint))
    (local $i i32)
    (struct.set $variable $determined_by (local.get $out) (ref.null $constraint))
    (struct.set $variable $walk_strength (local.get $out) (i32.const 6))
    (struct.set $variable $stay (local.get $out) (i32.const 1))
    (local.set $unsatisfied (call $list))
    (local.set $todo (call $list))
    (call $add (local.get $todo) (local.get $out))
    (loop $more
      (local.set $v (ref.cast (ref $variable) (call $pop (local.get $todo))))
      (local.set $list (struct.get $variable $constraints (local.get $v)))
      (local.set $i (i32.const 0))
      (block $done
        (loop $next
          (br_if $done (i32.ge_u (local.get $i) (struct.get $list $len (local.get $list))))
          (local.set $c (call $constraint_at (local.get $list) (local.get $i)))
          (if (call $is_satisfied (local.get $c))
            (then
              (if (i32.eqz
                    (ref.eq (local.get $c)
                      (struct.get $variable $determined_by (local.get $v))))
                (then
                  (call $recalculate (local.get $c))
                  (call $add (local.get $todo) (call $output (local.get $c))))))
            (else (call $add (local.get $unsatisfied) (local.get $c))))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $next)))
      (br_if $more (struct.get $list $len (local.get $todo))))
    (local.get $unsatisfied))

  ;; The constraints to execute, in order, when an edited variable changes.
  (func $extract_plan (param $edit (ref $constraint)) (result (ref $list))
    (local $plan (ref $list))
    (local $todo (ref $list))
    (local $c (ref $constraint))
    (local $out (ref $variable))
    (local $mark i32)
    (local.set $plan (call $list))
    (local.set $todo (call $list))
    (if (i32.eqz (call $is_satisfied (local.get $edit))) (then (return (local.get $plan))))
    (call $add (local.get $todo) (local.get $edit))
    (local.set $mark (call $new_mark))
    (loop $more
      (local.set $c (ref.cast (ref $constraint) (call $pop (local.get $todo))))
      (local.set $out (call $output (local.get $c)))
      (block $known
        (br_if $known
          (i32.eq (struct.get $variable $mark (local.get $out)) (local.get $mark)))
        (br_if $known
          (i32.eqz
            (call_ref $marked (local.get $c) (local.get $mark)
              (struct.get $class $inputs_known
                (struct.get $constraint $class (local.get $c))))))
        (call $add (local.get $plan) (local.get $c))
        (struct.set $variable $mark (local.get $out) (local.get $mark))
        (call $add_consuming (local.get $out) (local.get $todo)))
      (br_if $more (struct.get $list $len (local.get $todo))))
    (local.get $plan))

  (func $execute_plan (param $plan (ref $list))
    (local $i i32)
    (block $done
      (loop $more
        (br_if $done (i32.ge_u (local.get $i) (struct.get $list $len (local.get $plan))))
        (call $execute (call $constraint_at (local.get $plan) (local.get $i)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $more))))

  ;; Sets a variable ten times, by a plan made once.
  (func $change (param $v (ref $variable)) (param $value i32)
    (local $edit (ref $constraint))
    (local $plan (ref $list))
    (local $i i32)
    (local.set $edit (call $new_unary (global.get $edit) (local.get $v) (i32.const 2)))
    (local.set $plan (call $extract_plan (local.get $edit)))
    (local.set $i (i32.const 10))
    (loop $more
      (struct.set $variable $value (local.get $v) (local.get $value))
      (call $execute_plan (local.get $plan))
      (br_if $more (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
    (call $destroy (local.get $edit)))

  ;; ---- the tests ----------------------------------------------------------

  ;; A chain of equalities: a value set at one end arrives at the other.
  (func $chain_test (param $n i32) (result i32)
    (local $first (ref null $variable))
    (local $last (ref null $variable))
    (local $v (ref $variable))
    (local $edit (ref $constraint))
    (local $plan (ref $list))
    (local $i i32)
    (loop $more
      (local.set $v (call $variable (i32.const 0)))
      (if (ref.is_null (local.get $last))
        (then (local.set $first (local.get $v)))
        (else
          (call $new_equality (ref.as_non_null (local.get $last)) (local.get $v)
            (i32.const 0))))
      (local.set $last (local.get $v))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.le_u (local.get $i) (local.get $n))))
    (drop
      (call $new_unary (global.get $stay) (ref.as_non_null (local.get $last))
        (i32.const 3)))
    (local.set $edit
      (call $new_unary (global.get $edit) (ref.as_non_null (local.get $first))
        (i32.const 2)))
    (local.set $plan (call $extract_plan (local.get $edit)))
    (local.set $i (i32.const 0))
    (loop $more
      (struct.set $variable $value (local.get $first) (local.get $i))
      (call $execute_plan (local.get $plan))
      (if (i32.ne (struct.get $variable $value (local.get $last)) (local.get $i))
        (then (unreachable)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (i32.const 100))))
    (call $destroy (local.get $edit))
    (struct.get $list $len (local.get $plan)))

  ;; Points projected by a scale and an offset; changes go both ways.
  (func $projection_test (param $n i32) (result i32)
    (local $scale (ref $variable))
    (local $offset (ref $variable))
    (local $src (ref null $variable))
    (local $dst (ref null $variable))
    (local $dests (ref $list))
    (local $i i32)
    (local $sum i32)
    (local.set $scale (call $variable (i32.const 10)))
    (local.set $offset (call $variable (i32.const 1000)))
    (local.set $dests (call $list))
    (loop $more
      (local.set $src (call $variable (local.get $i)))
      (local.set $dst (call $variable (local.get $i)))
      (call $add (local.get $dests) (local.get $dst))
      (drop
        (call $new_unary (global.get $stay) (ref.as_non_null (local.get $src))
          (i32.const 4)))
      (call $new_scale (ref.as_non_null (local.get $src)) (local.get $scale)
        (local.get $offset) (ref.as_non_null (local.get $dst)) (i32.const 0))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (local.get $n))))
    (call $change (ref.as_non_null (local.get $src)) (i32.const 17))
    (if (i32.ne (struct.get $variable $value (local.get $dst)) (i32.const 1170))
      (then (unreachable)))
    (call $change (ref.as_non_null (local.get $dst)) (i32.const 1050))
    (if (i32.ne (struct.get $variable $value (local.get $src)) (i32.const 5))
      (then (unreachable)))
    (call $change (local.get $scale) (i32.const 5))
    (call $check_projection (local.get $dests) (i32.const 1000))
    (call $change (local.get $offset) (i32.const 2000))
    (call $check_projection (local.get $dests) (i32.const 2000))
    (local.set $i (i32.const 0))
    (loop $more
      (local.set $sum
        (i32.add (i32.mul (local.get $sum) (i32.const 31))
          (struct.get $variable $value
            (ref.cast (ref $variable) (call $get (local.get $dests) (local.get $i))))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (local.get $n))))
    (local.get $sum))

  ;; All but the last, which was moved.
  (func $check_projection (param $dests (ref $list)) (param $offset i32)
    (local $i i32)
    (block $done
      (loop $more
        (br_if $done
          (i32.ge_u (local.get $i)
            (i32.sub (struct.get $list $len (local.get $dests)) (i32.const 1))))
        (if (i32.ne
              (struct.get $variable $value
                (ref.cast (ref $variable) (call $get (local.get $dests) (local.get $i))))
              (i32.add (local.get $offset) (i32.mul (local.get $i) (i32.const 5))))
          (then (unreachable)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $more))))

  (func (export "run") (param $n i32) (result i32)
    (local $sum i32)
    (global.set $current_mark (i32.const 1))
    (block $done
      (loop $more
        (br_if $done (i32.eqz (local.get $n)))
        (local.set $sum
          (i32.add (i32.rotl (local.get $sum) (i32.const 3))
            (i32.add (call $chain_test (i32.const 100))
              (call $projection_test (i32.const 100)))))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br $more)))
    ;; The marks show how often the planner began.
    (i32.xor (local.get $sum) (global.get $current_mark))))
