;; Prints its arguments and a variable, one per line, as MoonBit's core library does: the host makes
;; readers of lists and strings, and the program takes one item at a time.
(module
  (import "spectest" "print_char" (func $print_char (param i32)))
  (import "__moonbit_fs_unstable" "args_get" (func $args_get (result externref)))
  (import "__moonbit_fs_unstable" "env_get_var"
    (func $env_get_var (param externref) (result externref)))
  (import "__moonbit_fs_unstable" "array_len" (func $array_len (param externref) (result i32)))
  (import "__moonbit_fs_unstable" "begin_read_string_array"
    (func $begin_read_string_array (param externref) (result externref)))
  (import "__moonbit_fs_unstable" "string_array_read_string"
    (func $string_array_read_string (param externref) (result externref)))
  (import "__moonbit_fs_unstable" "finish_read_string_array"
    (func $finish_read_string_array (param externref)))
  (import "__moonbit_fs_unstable" "begin_read_string"
    (func $begin_read_string (param externref) (result externref)))
  (import "__moonbit_fs_unstable" "string_read_char"
    (func $string_read_char (param externref) (result i32)))
  (import "__moonbit_fs_unstable" "finish_read_string" (func $finish_read_string (param externref)))
  (import "__moonbit_fs_unstable" "begin_create_string"
    (func $begin_create_string (result externref)))
  (import "__moonbit_fs_unstable" "string_append_char"
    (func $string_append_char (param externref i32)))
  (import "__moonbit_fs_unstable" "finish_create_string"
    (func $finish_create_string (param externref) (result externref)))

  (type $string (array (mut i16)))
  (data $name "N\00A\00M\00E\00")

  ;; Copies a string of the host into the heap.
  (func $from_host (param $text externref) (result (ref $string))
    (local $reader externref) (local $units (ref $string)) (local $len i32) (local $unit i32)
    (local.set $reader (call $begin_read_string (local.get $text)))
    (local.set $units (array.new_default $string (i32.const 64)))
    (loop $more
      (local.set $unit (call $string_read_char (local.get $reader)))
      (if (i32.ge_s (local.get $unit) (i32.const 0))
        (then
          (array.set $string (local.get $units) (local.get $len) (local.get $unit))
          (local.set $len (i32.add (local.get $len) (i32.const 1)))
          (br $more))))
    (call $finish_read_string (local.get $reader))
    (local.get $units))

  ;; Prints a string that ends with a zero, and a new line.
  (func $print (param $text (ref $string))
    (local $at i32) (local $unit i32)
    (loop $more
      (local.set $unit (array.get_u $string (local.get $text) (local.get $at)))
      (if (local.get $unit)
        (then
          (call $print_char (local.get $unit))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br $more))))
    (call $print_char (i32.const 10)))

  (func (export "_start")
    (local $args externref) (local $reader externref) (local $left i32)
    (local $name (ref $string)) (local $writer externref) (local $at i32)
    (local.set $args (call $args_get))
    (local.set $left (call $array_len (local.get $args)))
    (local.set $reader (call $begin_read_string_array (local.get $args)))
    (loop $more
      (call $print (call $from_host (call $string_array_read_string (local.get $reader))))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $more (local.get $left)))
    (call $finish_read_string_array (local.get $reader))
    ;; The variable NAME.
    (local.set $name (array.new_data $string $name (i32.const 0) (i32.const 4)))
    (local.set $writer (call $begin_create_string))
    (loop $more
      (call $string_append_char (local.get $writer)
        (array.get_u $string (local.get $name) (local.get $at)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $at) (array.len (local.get $name)))))
    (call $print
      (call $from_host
        (call $env_get_var (call $finish_create_string (local.get $writer)))))))
