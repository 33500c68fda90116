;; SIMD
(module
  (func (export "test") (result i32)
    (i32x4.all_true (i32x4.splat (i32.const 7)))))
