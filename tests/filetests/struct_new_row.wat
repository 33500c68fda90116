(module
  (type $leaf (struct (field i32)))
  (type $bytes (array (mut i8)))
  (type $node (struct (field (ref $leaf)) (field (ref $bytes)) (field (ref null $node))))
  ;; Three objects in a row: one test of the limit.
  (func $row (param $n i32) (param $next (ref null $node)) (result (ref $node))
    (struct.new $node
      (struct.new $leaf (local.get $n))
      (array.new_fixed $bytes 2 (local.get $n) (i32.const 1))
      (local.get $next))))
