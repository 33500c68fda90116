;; A table that nobody else has and nothing grows: its length is a constant. Its elements are few, so
;; every collection visits them, and no card is marked.
(module
  (table $t 4 anyref)
  (func (export "get") (param i32) (result anyref) (table.get $t (local.get 0)))
  (func (export "set") (param i32 anyref) (table.set $t (local.get 0) (local.get 1)))
  (func (export "size") (result i32) (table.size $t)))
