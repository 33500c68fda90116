(module
  (rec
    (type $base (;0;) (sub (struct (field (mut i32)) (field (mut externref)) (field (mut anyref)))))
    (type $mid (;1;) (sub $base (struct (field (mut i32)) (field (mut externref)) (field (mut anyref)) (field (mut (ref null $base))))))
    (type $leaf (;2;) (sub final $mid (struct (field (mut i32)) (field (mut externref)) (field (mut anyref)) (field (mut (ref null $base))) (field externref))))
  )
  (type $anys (;3;) (array (mut anyref)))
  (type $exts (;4;) (array (mut externref)))
  (type $structs (;5;) (array (mut (ref null $base))))
  (type (;6;) (func))
  (type (;7;) (func (result externref externref externref)))
  (type (;8;) (func (param externref anyref structref)))
  (type (;9;) (func (param externref anyref (ref null $base)) (result anyref)))
  (import "" "gc" (func $gc (;0;) (type 6)))
  (import "" "make" (func $make (;1;) (type 7)))
  (import "" "take" (func $take (;2;) (type 8)))
  (import "" "value" (global $value (;0;) externref))
  (table $te (;0;) 6 40 externref)
  (table $ta (;1;) 8 300 anyref)
  (table $ts (;2;) 4 24 (ref null $base))
  (global $acc (;1;) (mut i32) i32.const 0)
  (global $serial (;2;) (mut i32) i32.const 0)
  (global $budget (;3;) (mut i32) i32.const 24)
  (global $ge0 (;4;) (mut externref) ref.null extern)
  (global $ge1 (;5;) (mut externref) ref.null extern)
  (global $ga0 (;6;) (mut anyref) ref.null any)
  (global $ga1 (;7;) (mut anyref) ref.null any)
  (global $gs0 (;8;) (mut (ref null $base)) ref.null $base)
  (global $gs1 (;9;) (mut (ref null $base)) ref.null $base)
  (global $len0 (;10;) (mut i32) i32.const 5)
  (global $len1 (;11;) (mut i32) i32.const 4)
  (global $len2 (;12;) (mut i32) i32.const 3)
  (export "acc" (global $acc))
  (export "budget" (global $budget))
  (export "ge0" (global $ge0))
  (export "ge1" (global $ge1))
  (export "ga0" (global $ga0))
  (export "ga1" (global $ga1))
  (export "gs0" (global $gs0))
  (export "gs1" (global $gs1))
  (export "te" (table $te))
  (export "ta" (table $ta))
  (export "ts" (table $ts))
  (export "f0" (func $f0))
  (export "f1" (func $f1))
  (elem $seg0 (;0;) anyref (item i32.const 7 ref.i31) (item i32.const 1000000 ref.null extern ref.null any struct.new $base) (item i32.const 5 ref.i31 ref.null any array.new_fixed $anys 2) (ref.null any) (item i32.const 1000001 ref.null extern ref.null any ref.null $base global.get $value struct.new $leaf))
  (elem $seg1 (;1;) (ref null $base) (item i32.const 1000002 ref.null extern ref.null any struct.new $base) (ref.null $base) (item i32.const 1000003 ref.null extern ref.null any ref.null $base struct.new $mid) (item i32.const 1000004 ref.null extern ref.null any ref.null $base global.get $value struct.new $leaf))
  (elem $seg2 (;2;) externref (ref.null extern) (global.get $value) (item i32.const 1000005 ref.null extern ref.null any ref.null $base struct.new $mid extern.convert_any))
  (func $f0 (;3;) (type 9) (param $e0 externref) (param $a0 anyref) (param $s0 (ref null $base)) (result anyref)
    (local $tmp anyref) (local $g i32) (local $e1 externref) (local $a1 anyref) (local $s1 (ref null $base)) (local $e2 externref) (local $a2 anyref) (local $s2 (ref null $base)) (local $m0 (ref null $mid)) (local $l0 (ref null $leaf)) (local $ra0 (ref null $anys)) (local $ra1 (ref null $anys)) (local $rx0 (ref null $exts)) (local $rs0 (ref null $structs)) (local $rs1 (ref null $structs)) (local $o_base (ref null $base)) (local $o_base2 (ref null $base)) (local $o_mid (ref null $mid)) (local $o_mid2 (ref null $mid)) (local $o_leaf (ref null $leaf)) (local $o_leaf2 (ref null $leaf)) (local $o_anys (ref null $anys)) (local $o_anys2 (ref null $anys)) (local $o_exts (ref null $exts)) (local $o_exts2 (ref null $exts)) (local $o_structs (ref null $structs)) (local $o_structs2 (ref null $structs)) (local $i0 i32) (local $i1 i32)
    struct.new_default $mid
    local.set $m0
    i32.const 5
    array.new_default $anys
    local.set $ra0
    i32.const 5
    array.new_default $exts
    local.set $rx0
    i32.const 5
    array.new_default $structs
    local.set $rs0
    i32.const 184
    table.size $ts
    i32.le_u
    if ;; label = @1
      i32.const 182
      local.get $s2
      i32.const 2
      table.fill $ts
    end
    global.get $budget
    i32.const 0
    i32.gt_s
    if ;; label = @1
      global.get $budget
      i32.const 1
      i32.sub
      global.set $budget
      i32.const 62
      local.set $g
      loop $g1
        i32.const 60
        array.new_default $anys
        drop
        local.get $g
        i32.const 1
        i32.sub
        local.tee $g
        br_if $g1
      end
    end
    global.get $budget
    i32.const 0
    i32.gt_s
    if ;; label = @1
      global.get $budget
      i32.const 1
      i32.sub
      global.set $budget
      local.get $e0
      local.get $s2
      local.get $s0
      call $f1
      local.set $a0
    end
    i32.const 6
    global.get $len1
    i32.le_u
    if ;; label = @1
      i32.const 4
      i32.const 2
      array.new_elem $structs $seg1
      local.set $rs0
    end
    elem.drop $seg1
    i32.const 0
    global.set $len1
    local.get $rx0
    local.get $l0
    ref.eq
    global.get $acc
    i32.const 31
    i32.mul
    i32.add
    global.set $acc
    table.size $ts
    global.get $acc
    i32.const 31
    i32.mul
    i32.add
    global.set $acc
    local.get $rs0
    local.set $o_structs
    local.get $o_structs
    ref.is_null
    i32.eqz
    if (result i32) ;; label = @1
      local.get $o_structs
      array.len
    else
      i32.const 77
    end
    global.get $acc
    i32.const 31
    i32.mul
    i32.add
    global.set $acc
    global.get $budget
    i32.const 0
    i32.gt_s
    if ;; label = @1
      global.get $budget
      i32.const 1
      i32.sub
      global.set $budget
      i32.const 9
      local.set $g
      loop $g2
        i32.const 60
        array.new_default $anys
        drop
        local.get $g
        i32.const 1
        i32.sub
        local.tee $g
        br_if $g2
      end
    end
    local.get $s0
    local.set $a1
    i32.const 7
    array.new_default $exts
    local.set $a0
    global.get $serial
    i32.const 1
    i32.add
    global.set $serial
    global.get $serial
    local.get $ra1
    extern.convert_any
    local.get $rx0
    block $c3 (result (ref null $base))
      block $f3 (result anyref)
        local.get $rs0
        br_on_cast_fail $f3 anyref (ref null $base)
        br $c3
      end
      drop
      i32.const 5
      global.get $acc
      i32.const 31
      i32.mul
      i32.add
      global.set $acc
      ref.null $base
    end
    local.get $rs1
    extern.convert_any
    struct.new $leaf
    local.set $a0
    local.get $rs1
    local.set $o_structs
    local.get $rs1
    local.set $o_structs2
    local.get $o_structs
    ref.is_null
    if (result i32) ;; label = @1
      i32.const 0
    else
      i32.const 10
      local.get $o_structs
      array.len
      i32.le_u
    end
    local.get $o_structs2
    ref.is_null
    if (result i32) ;; label = @1
      i32.const 0
    else
      i32.const 9
      local.get $o_structs2
      array.len
      i32.le_u
    end
    i32.and
    if ;; label = @1
      local.get $o_structs
      i32.const 3
      local.get $o_structs2
      i32.const 2
      i32.const 7
      array.copy $structs $structs
    end
    local.get $rs1
    local.set $rs0
    local.get $rs0
    local.set $o_structs
    local.get $o_structs
    ref.is_null
    if (result i32) ;; label = @1
      i32.const 0
    else
      i32.const 4
      local.get $o_structs
      array.len
      i32.le_u
    end
    if ;; label = @1
      local.get $o_structs
      i32.const 3
      local.get $s2
      array.set $structs
    end
    global.get $budget
    i32.const 0
    i32.gt_s
    if ;; label = @1
      global.get $budget
      i32.const 1
      i32.sub
      global.set $budget
      i32.const 38
      local.set $g
      loop $g4
        i32.const 60
        array.new_default $anys
        drop
        local.get $g
        i32.const 1
        i32.sub
        local.tee $g
        br_if $g4
      end
    end
    i32.const 7
    table.size $te
    i32.le_u
    if ;; label = @1
      i32.const 6
      local.get $e2
      table.set $te
    end
    call $make
    local.set $e0
    local.set $e2
    local.set $e1
    local.get $ra0
    local.get $l0
    ref.eq
    global.get $acc
    i32.const 31
    i32.mul
    i32.add
    global.set $acc
    i32.const 4
    local.set $i0
    loop $l0
      local.get $s2
      i32.const 2
      table.grow $ts
      global.get $acc
      i32.const 31
      i32.mul
      i32.add
      global.set $acc
      local.get $rs1
      i32.const 5
      table.grow $ta
      global.get $acc
      i32.const 31
      i32.mul
      i32.add
      global.set $acc
      i32.const 12
      table.size $ts
      i32.le_u
      i32.const 8
      global.get $len1
      i32.le_u
      i32.and
      if ;; label = @2
        i32.const 5
        i32.const 1
        i32.const 7
        table.init $ts $seg1
      end
      i32.const 5
      global.get $len0
      i32.le_u
      if ;; label = @2
        i32.const 2
        i32.const 3
        array.new_elem $anys $seg0
        local.set $ra1
      end
      local.get $ra1
      local.set $o_anys
      local.get $o_anys
      ref.is_null
      if (result i32) ;; label = @2
        i32.const 0
      else
        i32.const 237
        local.get $o_anys
        array.len
        i32.le_u
      end
      if ;; label = @2
        local.get $o_anys
        i32.const 231
        local.get $s1
        i32.const 6
        array.fill $anys
      end
      elem.drop $seg1
      i32.const 0
      global.set $len1
      i32.const 231
      table.size $ta
      i32.le_u
      i32.const 238
      global.get $len0
      i32.le_u
      i32.and
      if ;; label = @2
        i32.const 0
        i32.const 7
        i32.const 231
        table.init $ta $seg0
      end
      global.get $serial
      i32.const 1
      i32.add
      global.set $serial
      struct.new_default $base
      local.set $o_base
      local.get $o_base
      global.get $serial
      struct.set $base 0
      local.get $o_base
      i32.const 519
      array.new $structs
      local.set $rs1
      local.get $i0
      i32.const 1
      i32.sub
      local.set $i0
      local.get $i0
      i32.const 0
      i32.gt_s
      global.get $budget
      i32.const 0
      i32.gt_s
      i32.and
      if ;; label = @2
        global.get $budget
        i32.const 1
        i32.sub
        global.set $budget
        br $l0
      end
    end
    local.get $s2
    local.get $s1
    ref.eq
    global.get $acc
    i32.const 31
    i32.mul
    i32.add
    global.set $acc
    local.get $rs0
    local.set $o_structs
    local.get $o_structs
    ref.is_null
    if (result i32) ;; label = @1
      i32.const 0
    else
      i32.const 120
      local.get $o_structs
      array.len
      i32.le_u
    end
    if ;; label = @1
      local.get $o_structs
      i32.const 119
      array.get $structs
      local.set $s0
    end
    global.get $budget
    i32.const 0
    i32.gt_s
    if ;; label = @1
      global.get $budget
      i32.const 1
      i32.sub
      global.set $budget
      i32.const 35
      local.set $g
      loop $g5
        i32.const 60
        array.new_default $anys
        drop
        local.get $g
        i32.const 1
        i32.sub
        local.tee $g
        br_if $g5
      end
    end
    i32.const 1
    local.set $i1
    loop $l1
      block (result (ref null $mid)) ;; label = @2
        local.get $e0
        any.convert_extern
        local.set $tmp
        local.get $tmp
        ref.test (ref null $mid)
        if (result (ref null $mid)) ;; label = @3
          local.get $tmp
          ref.cast (ref null $mid)
        else
          ref.null $mid
        end
      end
      local.set $o_mid
      local.get $o_mid
      ref.is_null
      i32.eqz
      if ;; label = @2
        local.get $o_mid
        local.get $m0
        struct.set $mid 3
      end
      ref.null any
      local.set $a0
      i32.const 192
      ref.i31
      local.set $a2
      local.get $rs0
      local.set $o_structs
      local.get $o_structs
      ref.is_null
      if (result i32) ;; label = @2
        i32.const 0
      else
        i32.const 6
        local.get $o_structs
        array.len
        i32.le_u
      end
      if ;; label = @2
        local.get $o_structs
        i32.const 4
        local.get $s2
        i32.const 2
        array.fill $structs
      end
      global.get $serial
      i32.const 1
      i32.add
      global.set $serial
      global.get $serial
      local.get $a1
      extern.convert_any
      local.get $s1
      block $c6 (result (ref null $base))
        block $f6 (result anyref)
          local.get $e2
          any.convert_extern
          br_on_cast_fail $f6 anyref (ref $base)
          br $c6
        end
        drop
        i32.const 5
        global.get $acc
        i32.const 31
        i32.mul
        i32.add
        global.set $acc
        ref.null $base
      end
      struct.new $mid
      local.set $a1
      call $make
      local.set $e0
      local.set $e2
      local.set $e1
      i32.const 5
      table.size $ta
      i32.le_u
      if ;; label = @2
        i32.const 4
        local.get $e2
        any.convert_extern
        table.set $ta
      end
      global.get $serial
      i32.const 1
      i32.add
      global.set $serial
      global.get $serial
      local.get $e2
      local.get $rs1
      local.get $s2
      struct.new $mid
      local.set $a2
      global.get $serial
      i32.const 1
      i32.add
      global.set $serial
      global.get $serial
      local.get $e1
      local.get $rx0
      local.get $m0
      local.get $e1
      struct.new $leaf
      local.set $a0
      ref.null extern
      local.set $e1
      local.get $ra1
      local.set $o_anys
      local.get $o_anys
      i32.const 224
      i32.const 0
      i32.const 7
      array.init_elem $anys $seg0
      ref.null $leaf
      local.set $l0
      local.get $m0
      i32.const 5
      array.new $structs
      local.set $rs0
      local.get $e2
      i32.const 1
      table.grow $te
      global.get $acc
      i32.const 31
      i32.mul
      i32.add
      global.set $acc
      i32.const 119
      global.get $len2
      i32.le_u
      if ;; label = @2
        i32.const 112
        i32.const 7
        array.new_elem $exts $seg2
        local.set $a2
      end
      elem.drop $seg1
      i32.const 0
      global.set $len1
      local.get $i1
      i32.const 1
      i32.sub
      local.set $i1
      local.get $i1
      i32.const 0
      i32.gt_s
      global.get $budget
      i32.const 0
      i32.gt_s
      i32.and
      if ;; label = @2
        global.get $budget
        i32.const 1
        i32.sub
        global.set $budget
        br $l1
      end
    end
    global.get $budget
    i32.const 0
    i32.gt_s
    if ;; label = @1
      global.get $budget
      i32.const 1
      i32.sub
      global.set $budget
      local.get $e0
      local.get $a0
      local.get $l0
      call $f1
      local.set $a0
    end
    i32.const 2
    table.size $ts
    i32.le_u
    if ;; label = @1
      i32.const 1
      table.get $ts
      local.set $a2
    end
    block $c7 (result (ref null $base))
      block $f7 (result anyref)
        local.get $ra0
        br_on_cast_fail $f7 anyref (ref null $base)
        br $c7
      end
      drop
      i32.const 5
      global.get $acc
      i32.const 31
      i32.mul
      i32.add
      global.set $acc
      ref.null $base
    end
    local.set $o_base
    local.get $o_base
    ref.is_null
    i32.eqz
    if ;; label = @1
      local.get $o_base
      struct.get $base 1
      local.set $e2
    end
    local.get $e1
    local.get $a0
    local.get $s0
    call $take
    block (result (ref null $anys)) ;; label = @1
      local.get $m0
      local.set $tmp
      local.get $tmp
      ref.test (ref null $anys)
      if (result (ref null $anys)) ;; label = @2
        local.get $tmp
        ref.cast (ref null $anys)
      else
        ref.null $anys
      end
    end
    local.set $o_anys
    local.get $o_anys
    ref.is_null
    if (result i32) ;; label = @1
      i32.const 0
    else
      i32.const 4
      local.get $o_anys
      array.len
      i32.le_u
    end
    if ;; label = @1
      local.get $o_anys
      i32.const 3
      array.get $anys
      local.set $a2
    end
    global.get $budget
    i32.const 0
    i32.gt_s
    if ;; label = @1
      global.get $budget
      i32.const 1
      i32.sub
      global.set $budget
      local.get $e1
      local.get $l0
      local.get $s2
      call $f1
      extern.convert_any
      local.set $e1
    end
    local.get $m0
    local.set $o_mid
    local.get $o_mid
    ref.is_null
    i32.eqz
    if ;; label = @1
      local.get $o_mid
      struct.get $mid 3
      local.set $a0
    end
    global.get $budget
    i32.const 0
    i32.gt_s
    if ;; label = @1
      global.get $budget
      i32.const 1
      i32.sub
      global.set $budget
      i32.const 41
      local.set $g
      loop $g8
        i32.const 60
        array.new_default $anys
        drop
        local.get $g
        i32.const 1
        i32.sub
        local.tee $g
        br_if $g8
      end
    end
    global.get $budget
    i32.const 0
    i32.gt_s
    if ;; label = @1
      global.get $budget
      i32.const 1
      i32.sub
      global.set $budget
      local.get $e1
      local.get $m0
      local.get $s2
      call $f1
      local.set $a1
    end
    table.size $ts
    global.get $acc
    i32.const 31
    i32.mul
    i32.add
    global.set $acc
    block $c9 (result (ref null $exts))
      local.get $s1
      br_on_cast $c9 anyref (ref null $exts)
      drop
      i32.const 5
      global.get $acc
      i32.const 31
      i32.mul
      i32.add
      global.set $acc
      ref.null $exts
    end
    local.set $o_exts
    local.get $o_exts
    ref.is_null
    i32.eqz
    if (result i32) ;; label = @1
      local.get $o_exts
      array.len
    else
      i32.const 77
    end
    global.get $acc
    i32.const 31
    i32.mul
    i32.add
    global.set $acc
    local.get $s1
    local.set $a1
    elem.drop $seg2
    i32.const 0
    global.set $len2
    i32.const 168
    global.get $len2
    i32.le_u
    if ;; label = @1
      i32.const 161
      i32.const 7
      array.new_elem $exts $seg2
      local.set $a1
    end
    i32.const 1
    table.size $ts
    i32.le_u
    if ;; label = @1
      i32.const 0
      table.get $ts
      local.set $s2
    end
    table.size $ta
    global.get $acc
    i32.const 31
    i32.mul
    i32.add
    global.set $acc
    local.get $rs1
    local.set $o_structs
    local.get $o_structs
    ref.is_null
    i32.eqz
    if (result i32) ;; label = @1
      local.get $o_structs
      array.len
    else
      i32.const 77
    end
    global.get $acc
    i32.const 31
    i32.mul
    i32.add
    global.set $acc
    local.get $l0
    local.get $s0
    array.new_fixed $structs 2
    local.set $a1
    local.get $a2
    local.set $a1
    i32.const 469
    table.size $ta
    i32.le_u
    i32.const 333
    table.size $ts
    i32.le_u
    i32.and
    if ;; label = @1
      i32.const 140
      i32.const 4
      i32.const 329
      table.copy $ta $ts
    end
    call $gc
    i32.const 5
    table.size $ts
    i32.le_u
    i32.const 7
    table.size $ts
    i32.le_u
    i32.and
    if ;; label = @1
      i32.const 1
      i32.const 3
      i32.const 4
      table.copy $ts $ts
    end
    block $c10 (result (ref null $leaf))
      local.get $s0
      br_on_cast $c10 anyref (ref $leaf)
      drop
      i32.const 5
      global.get $acc
      i32.const 31
      i32.mul
      i32.add
      global.set $acc
      ref.null $leaf
    end
    local.set $o_leaf
    local.get $o_leaf
    ref.is_null
    i32.eqz
    if ;; label = @1
      local.get $o_leaf
      struct.get $leaf 4
      local.set $e2
    end
    call $make
    local.set $e0
    local.set $e2
    local.set $e1
    global.get $serial
    i32.const 1
    i32.add
    global.set $serial
    global.get $serial
    local.get $e1
    local.get $a1
    local.get $s1
    struct.new $mid
    local.set $m0
    local.get $a0
  )
  (func $f1 (;4;) (type 9) (param $e0 externref) (param $a0 anyref) (param $s0 (ref null $base)) (result anyref)
    (local $tmp anyref) (local $g i32) (local $e1 externref) (local $a1 anyref) (local $s1 (ref null $base)) (local $e2 externref) (local $a2 anyref) (local $s2 (ref null $base)) (local $m0 (ref null $mid)) (local $l0 (ref null $leaf)) (local $ra0 (ref null $anys)) (local $ra1 (ref null $anys)) (local $rx0 (ref null $exts)) (local $rs0 (ref null $structs)) (local $rs1 (ref null $structs)) (local $o_base (ref null $base)) (local $o_base2 (ref null $base)) (local $o_mid (ref null $mid)) (local $o_mid2 (ref null $mid)) (local $o_leaf (ref null $leaf)) (local $o_leaf2 (ref null $leaf)) (local $o_anys (ref null $anys)) (local $o_anys2 (ref null $anys)) (local $o_exts (ref null $exts)) (local $o_exts2 (ref null $exts)) (local $o_structs (ref null $structs)) (local $o_structs2 (ref null $structs))
    struct.new_default $mid
    local.set $m0
    i32.const 5
    array.new_default $anys
    local.set $ra0
    i32.const 5
    array.new_default $exts
    local.set $rx0
    i32.const 5
    array.new_default $structs
    local.set $rs0
    local.get $rs0
    local.set $o_structs
    local.get $o_structs
    ref.is_null
    if (result i32) ;; label = @1
      i32.const 0
    else
      i32.const 12
      local.get $o_structs
      array.len
      i32.le_u
    end
    i32.const 89
    global.get $len1
    i32.le_u
    i32.and
    if ;; label = @1
      local.get $o_structs
      i32.const 7
      i32.const 84
      i32.const 5
      array.init_elem $structs $seg1
    end
    table.size $te
    global.get $acc
    i32.const 31
    i32.mul
    i32.add
    global.set $acc
    local.get $rs1
    local.set $o_structs
    local.get $o_structs
    ref.is_null
    i32.eqz
    if (result i32) ;; label = @1
      local.get $o_structs
      array.len
    else
      i32.const 77
    end
    global.get $acc
    i32.const 31
    i32.mul
    i32.add
    global.set $acc
    local.get $e2
    local.get $a2
    local.get $s0
    call $take
    i32.const 315
    table.size $ta
    i32.le_u
    i32.const 317
    global.get $len0
    i32.le_u
    i32.and
    if ;; label = @1
      i32.const 0
      i32.const 2
      i32.const 315
      table.init $ta $seg0
    end
    local.get $e2
    local.get $rx0
    local.get $s0
    call $take
    local.get $a2
    local.get $s2
    array.new_fixed $anys 2
    local.set $a1
    array.new_fixed $anys 0
    local.set $ra1
    ref.null $structs
    local.set $rs1
    local.get $ra1
    local.set $o_anys
    local.get $o_anys
    ref.is_null
    if (result i32) ;; label = @1
      i32.const 0
    else
      i32.const 3
      local.get $o_anys
      array.len
      i32.le_u
    end
    if ;; label = @1
      local.get $o_anys
      i32.const 1
      local.get $m0
      i32.const 2
      array.fill $anys
    end
    local.get $s1
    ref.test (ref $leaf)
    global.get $acc
    i32.const 31
    i32.mul
    i32.add
    global.set $acc
    local.get $ra0
    local.set $o_anys
    local.get $o_anys
    ref.is_null
    if (result i32) ;; label = @1
      i32.const 0
    else
      i32.const 5
      local.get $o_anys
      array.len
      i32.le_u
    end
    i32.const 5
    global.get $len0
    i32.le_u
    i32.and
    if ;; label = @1
      local.get $o_anys
      i32.const 2
      i32.const 2
      i32.const 3
      array.init_elem $anys $seg0
    end
    local.get $rx0
    local.set $o_exts
    local.get $o_exts
    ref.is_null
    if (result i32) ;; label = @1
      i32.const 0
    else
      i32.const 10
      local.get $o_exts
      array.len
      i32.le_u
    end
    i32.const 24
    global.get $len2
    i32.le_u
    i32.and
    if ;; label = @1
      local.get $o_exts
      i32.const 7
      i32.const 21
      i32.const 3
      array.init_elem $exts $seg2
    end
    local.get $s0
    local.set $a2
    local.get $rs0
    local.set $o_structs
    local.get $o_structs
    ref.is_null
    if (result i32) ;; label = @1
      i32.const 0
    else
      i32.const 12
      local.get $o_structs
      array.len
      i32.le_u
    end
    i32.const 8
    global.get $len1
    i32.le_u
    i32.and
    if ;; label = @1
      local.get $o_structs
      i32.const 5
      i32.const 1
      i32.const 7
      array.init_elem $structs $seg1
    end
    i32.const 3
    table.size $ta
    i32.le_u
    if ;; label = @1
      i32.const 2
      table.get $ta
      local.set $a0
    end
    local.get $a0
  )
)
