;; Never ends.
(module $endless
  (type $item (struct (field $cents i64) (field $count i32)))
  (type $order (array (mut (ref null $item))))
  (type $receipt (struct (field $total i64) (field $discount i64)))

  (func (export "price") (param $order (ref $order)) (param $customer externref)
    (result (ref $receipt))
    (loop $forever (result (ref $receipt)) (br $forever))))
