;; Legacy exceptions (`try`, `catch`)
(module
  (tag $e (param i32))
  (func $f (throw $e (i32.const 1)))
  (func (export "test") (result i32)
    try (result i32)
      call $f
      i32.const 0
    catch $e
    end))
