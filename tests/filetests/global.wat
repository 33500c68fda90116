;; global.get and global.set of references, defined and imported.
(module
  (import "m" "g" (global $imported (mut anyref)))
  (global $defined (mut externref) (ref.null extern))
  (func (export "get") (result externref) (global.get $defined))
  (func (export "set") (param externref) (global.set $defined (local.get 0)))
  (func (export "get_imported") (result anyref) (global.get $imported))
  (func (export "set_imported") (param anyref) (global.set $imported (local.get 0))))
