;; Reads one item too many.
(module $broken
  (type $item (struct (field $cents i64) (field $count i32)))
  (type $order (array (mut (ref null $item))))
  (type $receipt (struct (field $total i64) (field $discount i64)))

  (func $last (param $order (ref $order)) (result (ref null $item))
    (array.get $order (local.get $order) (array.len (local.get $order))))

  (func (export "price") (param $order (ref $order)) (param $customer externref)
    (result (ref $receipt))
    (struct.new $receipt
      (struct.get $item $cents (call $last (local.get $order))) (i64.const 0))))
