;; Strings of JavaScript.
(module
  (import "wasm:js-string" "fromCharCode" (func $char (param i32) (result (ref extern))))
  (import "wasm:js-string" "concat"
    (func $concat (param externref externref) (result (ref extern))))
  (tag $problem (param externref))
  (func $word (result externref)
    (call $concat (call $char (i32.const 0x48)) (call $char (i32.const 0xe9))))
  (func (export "word") (result externref) (call $word))
  (func (export "throw") (throw $problem (call $word)))
  (func (export "grow") (param i32) (local $s externref)
    (local.set $s (call $word))
    (loop $again
      (local.set $s (call $concat (local.get $s) (local.get $s)))
      (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))
