;; Memories with pages of one byte
(module
  (memory 1 (pagesize 1))
  (func (export "test") (result i32) (memory.size)))
