;; Exceptions (`try_table`)
(module
  (tag $e (param i32))
  (func $f (throw $e (i32.const 1)))
  (func (export "test") (result i32)
    (block $caught (result i32)
      (try_table (catch $e $caught) (call $f))
      (i32.const 0))))
