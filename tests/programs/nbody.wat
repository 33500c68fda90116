;; nbody: the planets' orbits of the Computer Language Benchmarks Game, with immutable vectors.
;;
;;   run(n) -> the energy after n steps of 0.01, in millionths of a thousandth
;;
;; Each operation on vectors makes a new vector, as in a functional language or in one that boxes
;; numbers. So there are many small objects without references that die at once, and five old
;; objects into which a young one is stored at each step.

(module $nbody
  (rec
    (type $vector (struct (field $x f64) (field $y f64) (field $z f64)))
    (type $body (struct
      (field $position (mut (ref $vector))) (field $velocity (mut (ref $vector)))
      (field $mass f64)))
    (type $bodies (array (ref $body))))

  (func $plus (param $a (ref $vector)) (param $b (ref $vector)) (result (ref $vector))
    (struct.new $vector
      (f64.add (struct.get $vector $x (local.get $a)) (struct.get $vector $x (local.get $b)))
      (f64.add (struct.get $vector $y (local.get $a)) (struct.get $vector $y (local.get $b)))
      (f64.add (struct.get $vector $z (local.get $a)) (struct.get $vector $z (local.get $b)))))

  (func $minus (param $a (ref $vector)) (param $b (ref $vector)) (result (ref $vector))
    (struct.new $vector
      (f64.sub (struct.get $vector $x (local.get $a)) (struct.get $vector $x (local.get $b)))
      (f64.sub (struct.get $vector $y (local.get $a)) (struct.get $vector $y (local.get $b)))
      (f64.sub (struct.get $vector $z (local.get $a)) (struct.get $vector $z (local.get $b)))))

  (func $times (param $a (ref $vector)) (param $f f64) (result (ref $vector))
    (struct.new $vector
      (f64.mul (struct.get $vector $x (local.get $a)) (local.get $f))
      (f64.mul (struct.get $vector $y (local.get $a)) (local.get $f))
      (f64.mul (struct.get $vector $z (local.get $a)) (local.get $f))))

  (func $dot (param $a (ref $vector)) (param $b (ref $vector)) (result f64)
    (f64.add
      (f64.add
        (f64.mul (struct.get $vector $x (local.get $a)) (struct.get $vector $x (local.get $b)))
        (f64.mul (struct.get $vector $y (local.get $a)) (struct.get $vector $y (local.get $b))))
      (f64.mul (struct.get $vector $z (local.get $a)) (struct.get $vector $z (local.get $b)))))

  ;; A body with values from tables. Converts days to years and solar masses to 4 pi squared.
  (func $body (param $x f64) (param $y f64) (param $z f64)
    (param $vx f64) (param $vy f64) (param $vz f64) (param $mass f64) (result (ref $body))
    (struct.new $body
      (struct.new $vector (local.get $x) (local.get $y) (local.get $z))
      (call $times (struct.new $vector (local.get $vx) (local.get $vy) (local.get $vz))
        (f64.const 365.24))
      (f64.mul (local.get $mass) (f64.const 39.47841760435743))))

  ;; The sun, Jupiter, Saturn, Uranus and Neptune.
  (func $bodies (result (ref $bodies))
    (array.new_fixed $bodies 5
      (call $body (f64.const 0) (f64.const 0) (f64.const 0)
        (f64.const 0) (f64.const 0) (f64.const 0) (f64.const 1))
      (call $body
        (f64.const 4.84143144246472090e+00) (f64.const -1.16032004402742839e+00)
        (f64.const -1.03622044471123109e-01) (f64.const 1.66007664274403694e-03)
        (f64.const 7.69901118419740425e-03) (f64.const -6.90460016972063023e-05)
        (f64.const 9.54791938424326609e-04))
      (call $body
        (f64.const 8.34336671824457987e+00) (f64.const 4.12479856412430479e+00)
        (f64.const -4.03523417114321381e-01) (f64.const -2.76742510726411899e-03)
        (f64.const 4.99852801234917238e-03) (f64.const 2.30417297573763929e-05)
        (f64.const 2.85885980666130812e-04))
      (call $body
        (f64.const 1.28943695621391310e+01) (f64.const -1.51111514016986312e+01)
        (f64.const -2.23307578892655734e-01) (f64.const 2.96460137564761618e-03)
        (f64.const 2.37847173959480950e-03) (f64.const -2.96589568540237556e-05)
        (f64.const 4.36624404335156298e-05))
      (call $body
        (f64.const 1.53796971148509165e+01) (f64.const -2.59193146099879641e+01)
        (f64.const 1.79258772950371181e-01) (f64.const 2.68067772490389322e-03)
        (f64.const 1.62824170038242295e-03) (f64.const -9.51592254519715870e-05)
        (f64.const 5.15138902046611451e-05))))

  ;; Sets the sun's velocity so that the total momentum is zero.
  (func $offset_momentum (param $bodies (ref $bodies))
    (local $sum (ref $vector))
    (local $body (ref $body))
    (local $i i32)
    (local.set $sum (struct.new_default $vector))
    (loop $more
      (local.set $body (array.get $bodies (local.get $bodies) (local.get $i)))
      (local.set $sum
        (call $plus (local.get $sum)
          (call $times (struct.get $body $velocity (local.get $body))
            (struct.get $body $mass (local.get $body)))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (array.len (local.get $bodies)))))
    (local.set $body (array.get $bodies (local.get $bodies) (i32.const 0)))
    (struct.set $body $velocity (local.get $body)
      (call $times (local.get $sum)
        (f64.div (f64.const -1) (struct.get $body $mass (local.get $body))))))

  (func $advance (param $bodies (ref $bodies)) (param $dt f64)
    (local $a (ref $body))
    (local $b (ref $body))
    (local $between (ref $vector))
    (local $square f64)
    (local $magnitude f64)
    (local $i i32)
    (local $j i32)
    (loop $more
      (local.set $a (array.get $bodies (local.get $bodies) (local.get $i)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (local.set $j (local.get $i))
      (block $done
        (loop $others
          (br_if $done (i32.ge_u (local.get $j) (array.len (local.get $bodies))))
          (local.set $b (array.get $bodies (local.get $bodies) (local.get $j)))
          (local.set $between
            (call $minus (struct.get $body $position (local.get $a))
              (struct.get $body $position (local.get $b))))
          (local.set $square (call $dot (local.get $between) (local.get $between)))
          (local.set $magnitude
            (f64.div (local.get $dt)
              (f64.mul (local.get $square) (f64.sqrt (local.get $square)))))
          (struct.set $body $velocity (local.get $a)
            (call $minus (struct.get $body $velocity (local.get $a))
              (call $times (local.get $between)
                (f64.mul (struct.get $body $mass (local.get $b)) (local.get $magnitude)))))
          (struct.set $body $velocity (local.get $b)
            (call $plus (struct.get $body $velocity (local.get $b))
              (call $times (local.get $between)
                (f64.mul (struct.get $body $mass (local.get $a)) (local.get $magnitude)))))
          (local.set $j (i32.add (local.get $j) (i32.const 1)))
          (br $others)))
      (br_if $more (i32.lt_u (local.get $i) (array.len (local.get $bodies)))))
    (local.set $i (i32.const 0))
    (loop $more
      (local.set $a (array.get $bodies (local.get $bodies) (local.get $i)))
      (struct.set $body $position (local.get $a)
        (call $plus (struct.get $body $position (local.get $a))
          (call $times (struct.get $body $velocity (local.get $a)) (local.get $dt))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (array.len (local.get $bodies))))))

  (func $energy (param $bodies (ref $bodies)) (result f64)
    (local $a (ref $body))
    (local $b (ref $body))
    (local $between (ref $vector))
    (local $e f64)
    (local $i i32)
    (local $j i32)
    (loop $more
      (local.set $a (array.get $bodies (local.get $bodies) (local.get $i)))
      (local.set $e
        (f64.add (local.get $e)
          (f64.mul
            (f64.mul (f64.const 0.5) (struct.get $body $mass (local.get $a)))
            (call $dot (struct.get $body $velocity (local.get $a))
              (struct.get $body $velocity (local.get $a))))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (local.set $j (local.get $i))
      (block $done
        (loop $others
          (br_if $done (i32.ge_u (local.get $j) (array.len (local.get $bodies))))
          (local.set $b (array.get $bodies (local.get $bodies) (local.get $j)))
          (local.set $between
            (call $minus (struct.get $body $position (local.get $a))
              (struct.get $body $position (local.get $b))))
          (local.set $e
            (f64.sub (local.get $e)
              (f64.div
                (f64.mul (struct.get $body $mass (local.get $a))
                         (struct.get $body $mass (local.get $b)))
                (f64.sqrt (call $dot (local.get $between) (local.get $between))))))
          (local.set $j (i32.add (local.get $j) (i32.const 1)))
          (br $others)))
      (br_if $more (i32.lt_u (local.get $i) (array.len (local.get $bodies)))))
    (local.get $e))

  (func (export "run") (param $n i32) (result i32)
    (local $bodies (ref $bodies))
    (local.set $bodies (call $bodies))
    (call $offset_momentum (local.get $bodies))
    (block $done
      (loop $more
        (br_if $done (i32.eqz (local.get $n)))
        (call $advance (local.get $bodies) (f64.const 0.01))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br $more)))
    (i32.trunc_sat_f64_s
      (f64.nearest (f64.mul (call $energy (local.get $bodies)) (f64.const 1e9))))))
