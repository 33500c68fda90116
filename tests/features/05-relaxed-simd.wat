;; Relaxed SIMD
(module
  (func (export "test") (result i32)
    (i32x4.all_true (i32x4.relaxed_trunc_f32x4_s (f32x4.splat (f32.const 7))))))
