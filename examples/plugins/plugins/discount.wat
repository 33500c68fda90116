;; Sums an order, asks the shop for the customer's discount, and notes large orders.
(module $discount
  (type $item (struct (field $cents i64) (field $count i32)))
  (type $order (array (mut (ref null $item))))
  (type $receipt (struct (field $total i64) (field $discount i64)))
  (type $text (array (mut i8)))
  (import "shop" "discount" (func $percent (param externref) (result i32)))
  (import "shop" "note" (func $note (param (ref array))))
  (data $large "a large order")

  (func $line (param $item (ref null $item)) (result i64)
    (i64.mul
      (struct.get $item $cents (local.get $item))
      (i64.extend_i32_u (struct.get $item $count (local.get $item)))))

  (func (export "price") (param $order (ref $order)) (param $customer externref)
    (result (ref $receipt))
    (local $i i32) (local $sum i64) (local $discount i64)
    (loop $next
      (if (i32.lt_u (local.get $i) (array.len (local.get $order)))
        (then
          (local.set $sum (i64.add (local.get $sum)
            (call $line (array.get $order (local.get $order) (local.get $i)))))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $next))))
    (if (i64.ge_u (local.get $sum) (i64.const 100000))
      (then (call $note (array.new_data $text $large (i32.const 0) (i32.const 13)))))
    (local.set $discount (i64.div_u
      (i64.mul (local.get $sum) (i64.extend_i32_u (call $percent (local.get $customer))))
      (i64.const 100)))
    (struct.new $receipt
      (i64.sub (local.get $sum) (local.get $discount)) (local.get $discount))))
