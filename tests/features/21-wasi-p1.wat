;; WASI preview 1
(module
  (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
  (memory (export "memory") 1)
  (func (export "test") (result i32) (i32.eqz (call $yield))))
