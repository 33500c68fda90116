;; Stack switching
(module
  (type $f (func))
  (type $k (cont $f))
  (tag $yield)
  (func $run (suspend $yield))
  (elem declare func $run)
  (func (export "test") (result i32)
    (block $on (result (ref $k))
      (resume $k (on $yield $on) (cont.new $k (ref.func $run)))
      (return (i32.const 0)))
    drop
    (i32.const 1)))
