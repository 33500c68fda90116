;; Garbage that refers to itself is collected
;; 6 GB of pairs that refer to each other.
(module
  (type $data (array (mut i64)))
  (type $node (struct (field $other (mut (ref null $node))) (field $data (ref $data))))
  (func $pair (local $a (ref null $node)) (local $b (ref null $node))
    (local.set $a (struct.new $node
      (ref.null $node) (array.new_default $data (i32.const 1024))))
    (local.set $b (struct.new $node
      (local.get $a) (array.new_default $data (i32.const 1024))))
    (struct.set $node $other (local.get $a) (local.get $b)))
  (func (export "test") (result i32) (local $n i32)
    (loop $again
      (call $pair)
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $n) (i32.const 400000))))
    (i32.const 1)))
