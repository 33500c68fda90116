;; Strings of the host (`wasm:js-string`)
(module
  (type $chars (array (mut i16)))
  (import "wasm:js-string" "fromCharCodeArray"
    (func $from (param (ref null $chars) i32 i32) (result (ref extern))))
  (import "wasm:js-string" "length" (func $length (param externref) (result i32)))
  (func (export "test") (result i32)
    (call $length
      (call $from (array.new $chars (i32.const 65) (i32.const 3)) (i32.const 0) (i32.const 1)))))
