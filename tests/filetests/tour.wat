;; One allocation and one write barrier: what docs/src/tour.md walks through.
(module
  (type $node (struct (field $value i32) (field $next (mut (ref null $node)))))
  (func $cons (export "cons") (param $v i32) (param $next (ref null $node)) (result (ref $node))
    (struct.new $node (local.get $v) (local.get $next)))
  (func $link (export "link") (param $a (ref $node)) (param $b (ref null $node))
    (struct.set $node $next (local.get $a) (local.get $b))))
