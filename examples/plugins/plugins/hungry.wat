;; Makes an ever longer list.
(module $hungry
  (type $item (struct (field $cents i64) (field $count i32)))
  (type $order (array (mut (ref null $item))))
  (type $receipt (struct (field $total i64) (field $discount i64)))
  (type $list (struct (field i64) (field (ref null $list))))

  (func (export "price") (param $order (ref $order)) (param $customer externref)
    (result (ref $receipt))
    (local $list (ref null $list))
    (loop $longer (result (ref $receipt))
      (local.set $list (struct.new $list (i64.const 1) (local.get $list)))
      (br $longer))))
