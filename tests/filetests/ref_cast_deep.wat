;; A type deeper than a display row: the cold path asks the host.
(module
  (type $0 (sub (struct))) (type $1 (sub $0 (struct))) (type $2 (sub $1 (struct)))
  (type $3 (sub $2 (struct))) (type $4 (sub $3 (struct))) (type $5 (sub $4 (struct)))
  (type $6 (sub $5 (struct))) (type $7 (sub $6 (struct))) (type $8 (sub $7 (struct)))
  (type $9 (sub $8 (struct)))
  (func (export "deep") (param anyref) (result i32) (ref.test (ref $9) (local.get 0))))
