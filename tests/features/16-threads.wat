;; Threads: shared memories, atomic operations
(module
  (memory 1 1 shared)
  (func (export "test") (result i32)
    (i32.atomic.store (i32.const 0) (i32.const 1))
    (i32.atomic.load (i32.const 0))))
