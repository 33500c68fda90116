;; Asks for the discount of nobody.
(module $rude
  (type $item (struct (field $cents i64) (field $count i32)))
  (type $order (array (mut (ref null $item))))
  (type $receipt (struct (field $total i64) (field $discount i64)))
  (import "shop" "discount" (func $percent (param externref) (result i32)))

  (func (export "price") (param $order (ref $order)) (param $customer externref)
    (result (ref $receipt))
    (struct.new $receipt
      (i64.extend_i32_u (call $percent (ref.null extern))) (i64.const 0))))
