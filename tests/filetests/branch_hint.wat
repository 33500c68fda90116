;; The side of a branch that the module says is unlikely is in a cold block.
(module
  (func $if_unlikely (param i32) (result i32)
    local.get 0
    (@metadata.code.branch_hint "\00") if (result i32)
      i32.const 1
    else
      i32.const 2
    end)
  (func $br_if_likely (param i32) (result i32)
    block $out
      local.get 0
      (@metadata.code.branch_hint "\01") br_if $out
      i32.const 1
      return
    end
    i32.const 2)
  (func $br_if_unlikely (param i32) (result i32)
    block $out
      local.get 0
      (@metadata.code.branch_hint "\00") br_if $out
      i32.const 1
      return
    end
    i32.const 2))
