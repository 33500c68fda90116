;; richards: Martin Richards' simulation of an operating system's task scheduler (for
;; BCPL, 1980), as object-oriented languages have run it since.
;;
;;   run(count) -> packets queued * 10000 + tasks held
;;
;; `count` is how often the idle task runs: 1000 gives 2322 and 928 in every
;; implementation, 10000 gives 23246 and 9297. Tasks are objects: $task is the
;; superclass, with a table of virtual functions that are called with `call_ref`; each
;; class casts the receiver it gets to itself. Task control blocks, packets and the
;; scheduler refer to each other in cycles.

(module $richards
  (rec
    (type $run (func (param (ref $task)) (param (ref null $packet)) (result (ref null $tcb))))
    (type $vtable (struct (field $run (ref $run))))

    (type $packet (struct
      (field $link (mut (ref null $packet)))
      (field $id (mut i32))
      (field $kind i32)
      (field $datum (mut i32))
      (field $data (ref $bytes))))
    (type $bytes (array (mut i8)))

    (type $tcb (struct
      (field $link (ref null $tcb))
      (field $id i32)
      (field $priority i32)
      (field $queue (mut (ref null $packet)))
      (field $state (mut i8))
      (field $task (ref $task))))
    (type $tcbs (array (mut (ref null $tcb))))

    (type $scheduler (struct
      (field $queued (mut i32))
      (field $held (mut i32))
      (field $blocks (ref $tcbs))
      (field $list (mut (ref null $tcb)))
      (field $current (mut (ref null $tcb)))))

    (type $task (sub (struct (field $vtable (ref $vtable)) (field $scheduler (ref $scheduler)))))
    (type $idle (sub final $task (struct
      (field $vtable (ref $vtable)) (field $scheduler (ref $scheduler))
      (field $bits (mut i32)) (field $count (mut i32)))))
    (type $worker (sub final $task (struct
      (field $vtable (ref $vtable)) (field $scheduler (ref $scheduler))
      (field $handler (mut i32)) (field $letter (mut i32)))))
    (type $handler (sub final $task (struct
      (field $vtable (ref $vtable)) (field $scheduler (ref $scheduler))
      (field $work (mut (ref null $packet))) (field $devices (mut (ref null $packet))))))
    (type $device (sub final $task (struct
      (field $vtable (ref $vtable)) (field $scheduler (ref $scheduler))
      (field $pending (mut (ref null $packet)))))))

  ;; Task ids: 0 idle, 1 worker, 2 and 3 handlers, 4 and 5 devices.
  ;; Packet kinds: 0 device, 1 work.
  ;; States: bit 0 runnable, bit 1 suspended, bit 2 held.

  (global $idle_vtable (ref $vtable) (struct.new $vtable (ref.func $idle_run)))
  (global $worker_vtable (ref $vtable) (struct.new $vtable (ref.func $worker_run)))
  (global $handler_vtable (ref $vtable) (struct.new $vtable (ref.func $handler_run)))
  (global $device_vtable (ref $vtable) (struct.new $vtable (ref.func $device_run)))

  ;; ---- packets ------------------------------------------------------------

  (func $packet_new (param $link (ref null $packet)) (param $id i32) (param $kind i32)
    (result (ref $packet))
    (struct.new $packet (local.get $link) (local.get $id) (local.get $kind)
      (i32.const 0) (array.new_default $bytes (i32.const 4))))

  ;; Puts a packet at a queue's end. Returns the queue's head.
  (func $append (param $packet (ref $packet)) (param $queue (ref null $packet))
    (result (ref $packet))
    (local $last (ref $packet))
    (struct.set $packet $link (local.get $packet) (ref.null none))
    (block $empty
      (local.set $last (br_on_null $empty (local.get $queue)))
      (block $end
        (loop $more
          (local.set $last (br_on_null $end (struct.get $packet $link (local.get $last))))
          (br $more)))
      (struct.set $packet $link (local.get $last) (local.get $packet))
      (return (ref.as_non_null (local.get $queue))))
    (local.get $packet))

  ;; ---- the scheduler ------------------------------------------------------

  (func $current (param $s (ref $scheduler)) (result (ref $tcb))
    (ref.as_non_null (struct.get $scheduler $current (local.get $s))))

  (func $set_state (param $t (ref $tcb)) (param $clear i32) (param $set i32)
    (struct.set $tcb $state (local.get $t)
      (i32.or (local.get $set)
        (i32.and (struct.get_u $tcb $state (local.get $t))
                 (i32.xor (local.get $clear) (i32.const -1))))))

  (func $add (param $s (ref $scheduler)) (param $id i32) (param $priority i32)
    (param $queue (ref null $packet)) (param $task (ref $task))
    (local $t (ref $tcb))
    (local.set $t
      (struct.new $tcb
        (struct.get $scheduler $list (local.get $s))
        (local.get $id) (local.get $priority) (local.get $queue)
        (select (i32.const 2) (i32.const 3) (ref.is_null (local.get $queue)))
        (local.get $task)))
    (struct.set $scheduler $list (local.get $s) (local.get $t))
    (array.set $tcbs (struct.get $scheduler $blocks (local.get $s)) (local.get $id) (local.get $t)))

  (func $schedule (param $s (ref $scheduler))
    (local $t (ref $tcb))
    (struct.set $scheduler $current (local.get $s) (struct.get $scheduler $list (local.get $s)))
    (block $done
      (loop $more
        (local.set $t (br_on_null $done (struct.get $scheduler $current (local.get $s))))
        (struct.set $scheduler $current (local.get $s)
          (if (result (ref null $tcb))
            (i32.or (i32.and (struct.get_u $tcb $state (local.get $t)) (i32.const 4))
                    (i32.eq (struct.get_u $tcb $state (local.get $t)) (i32.const 2)))
            (then (struct.get $tcb $link (local.get $t)))
            (else (call $tcb_run (local.get $t)))))
        (br $more))))

  ;; Runs a task with the next packet of its queue, if it waited for one.
  (func $tcb_run (param $t (ref $tcb)) (result (ref null $tcb))
    (local $packet (ref null $packet))
    (if (i32.eq (struct.get_s $tcb $state (local.get $t)) (i32.const 3))
      (then
        (local.set $packet (struct.get $tcb $queue (local.get $t)))
        (struct.set $tcb $queue (local.get $t) (struct.get $packet $link (local.get $packet)))
        (struct.set $tcb $state (local.get $t)
          (i32.eqz (ref.is_null (struct.get $tcb $queue (local.get $t)))))))
    (call_ref $run
      (struct.get $tcb $task (local.get $t))
      (local.get $packet)
      (struct.get $vtable $run
        (struct.get $task $vtable (struct.get $tcb $task (local.get $t))))))

  (func $hold_current (param $s (ref $scheduler)) (result (ref null $tcb))
    (struct.set $scheduler $held (local.get $s)
      (i32.add (struct.get $scheduler $held (local.get $s)) (i32.const 1)))
    (call $set_state (call $current (local.get $s)) (i32.const 0) (i32.const 4))
    (struct.get $tcb $link (call $current (local.get $s))))

  (func $suspend_current (param $s (ref $scheduler)) (result (ref null $tcb))
    (call $set_state (call $current (local.get $s)) (i32.const 0) (i32.const 2))
    (call $current (local.get $s)))

  ;; Releases a held task. Returns the task of higher priority: it or the current one.
  (func $release (param $s (ref $scheduler)) (param $id i32) (result (ref null $tcb))
    (local $t (ref $tcb))
    (block $none
      (local.set $t
        (br_on_null $none
          (array.get $tcbs (struct.get $scheduler $blocks (local.get $s)) (local.get $id))))
      (call $set_state (local.get $t) (i32.const 4) (i32.const 0))
      (return
        (select (result (ref null $tcb))
          (local.get $t) (call $current (local.get $s))
          (i32.gt_s (struct.get $tcb $priority (local.get $t))
                    (struct.get $tcb $priority (call $current (local.get $s)))))))
    (ref.null none))

  ;; Sends a packet to its task. Returns the task of higher priority: that one or the current one.
  (func $queue (param $s (ref $scheduler)) (param $packet (ref $packet)) (result (ref null $tcb))
    (local $t (ref $tcb))
    (block $none
      (local.set $t
        (br_on_null $none
          (array.get $tcbs
            (struct.get $scheduler $blocks (local.get $s))
            (struct.get $packet $id (local.get $packet)))))
      (struct.set $scheduler $queued (local.get $s)
        (i32.add (struct.get $scheduler $queued (local.get $s)) (i32.const 1)))
      (struct.set $packet $link (local.get $packet) (ref.null none))
      (struct.set $packet $id (local.get $packet)
        (struct.get $tcb $id (call $current (local.get $s))))
      (if (ref.is_null (struct.get $tcb $queue (local.get $t)))
        (then
          (struct.set $tcb $queue (local.get $t) (local.get $packet))
          (call $set_state (local.get $t) (i32.const 0) (i32.const 1))
          (if (i32.gt_s (struct.get $tcb $priority (local.get $t))
                        (struct.get $tcb $priority (call $current (local.get $s))))
            (then (return (local.get $t)))))
        (else
          (struct.set $tcb $queue (local.get $t)
            (call $append (local.get $packet) (struct.get $tcb $queue (local.get $t))))))
      (return (call $current (local.get $s))))
    (ref.null none))

  ;; ---- the tasks ----------------------------------------------------------

  ;; Releases devices, in an order that a shift register decides.
  (func $idle_run (type $run)
    (param $self (ref $task)) (param $packet (ref null $packet)) (result (ref null $tcb))
    (local $idle (ref $idle))
    (local $bits i32)
    (local.set $idle (ref.cast (ref $idle) (local.get $self)))
    (struct.set $idle $count (local.get $idle)
      (i32.sub (struct.get $idle $count (local.get $idle)) (i32.const 1)))
    (if (i32.eqz (struct.get $idle $count (local.get $idle)))
      (then (return (call $hold_current (struct.get $task $scheduler (local.get $self))))))
    (local.set $bits (struct.get $idle $bits (local.get $idle)))
    (struct.set $idle $bits (local.get $idle)
      (i32.xor
        (i32.shr_u (local.get $bits) (i32.const 1))
        (select (i32.const 0xd008) (i32.const 0) (i32.and (local.get $bits) (i32.const 1)))))
    (call $release (struct.get $task $scheduler (local.get $self))
      (i32.add (i32.const 4) (i32.and (local.get $bits) (i32.const 1)))))

  ;; Fills the packets it gets with letters, for either handler in turn.
  (func $worker_run (type $run)
    (param $self (ref $task)) (param $packet (ref null $packet)) (result (ref null $tcb))
    (local $worker (ref $worker))
    (local $p (ref $packet))
    (local $i i32)
    (local $letter i32)
    (block $none
      (local.set $p (br_on_null $none (local.get $packet)))
      (local.set $worker (ref.cast (ref $worker) (local.get $self)))
      (struct.set $worker $handler (local.get $worker)
        (i32.xor (struct.get $worker $handler (local.get $worker)) (i32.const 1))) ;; 2 or 3
      (struct.set $packet $id (local.get $p) (struct.get $worker $handler (local.get $worker)))
      (struct.set $packet $datum (local.get $p) (i32.const 0))
      (loop $more
        (local.set $letter
          (i32.add (i32.const 1)
            (i32.rem_u (struct.get $worker $letter (local.get $worker)) (i32.const 26))))
        (struct.set $worker $letter (local.get $worker) (local.get $letter))
        (array.set $bytes (struct.get $packet $data (local.get $p)) (local.get $i)
          (local.get $letter))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $more (i32.lt_u (local.get $i) (i32.const 4))))
      (return (call $queue (struct.get $task $scheduler (local.get $self)) (local.get $p))))
    (call $suspend_current (struct.get $task $scheduler (local.get $self))))

  ;; Sends each letter of a work packet to a device, and the packet back when empty.
  (func $handler_run (type $run)
    (param $self (ref $task)) (param $packet (ref null $packet)) (result (ref null $tcb))
    (local $h (ref $handler))
    (local $p (ref $packet))
    (local $work (ref $packet))
    (local $device (ref $packet))
    (local $datum i32)
    (local.set $h (ref.cast (ref $handler) (local.get $self)))
    (block $none
      (local.set $p (br_on_null $none (local.get $packet)))
      (if (struct.get $packet $kind (local.get $p))
        (then (struct.set $handler $work (local.get $h)
          (call $append (local.get $p) (struct.get $handler $work (local.get $h)))))
        (else (struct.set $handler $devices (local.get $h)
          (call $append (local.get $p) (struct.get $handler $devices (local.get $h)))))))
    (block $wait
      (local.set $work (br_on_null $wait (struct.get $handler $work (local.get $h))))
      (local.set $datum (struct.get $packet $datum (local.get $work)))
      (if (i32.ge_s (local.get $datum) (i32.const 4))
        (then
          (struct.set $handler $work (local.get $h) (struct.get $packet $link (local.get $work)))
          (return (call $queue
            (struct.get $task $scheduler (local.get $self)) (local.get $work)))))
      (local.set $device (br_on_null $wait (struct.get $handler $devices (local.get $h))))
      (struct.set $handler $devices (local.get $h) (struct.get $packet $link (local.get $device)))
      (struct.set $packet $datum (local.get $device)
        (array.get_u $bytes (struct.get $packet $data (local.get $work)) (local.get $datum)))
      (struct.set $packet $datum (local.get $work)
        (i32.add (local.get $datum) (i32.const 1)))
      (return (call $queue (struct.get $task $scheduler (local.get $self)) (local.get $device))))
    (call $suspend_current (struct.get $task $scheduler (local.get $self))))

  ;; Keeps a packet until it is released, then sends it back.
  (func $device_run (type $run)
    (param $self (ref $task)) (param $packet (ref null $packet)) (result (ref null $tcb))
    (local $device (ref $device))
    (local $p (ref $packet))
    (local.set $device (ref.cast (ref $device) (local.get $self)))
    (block $none
      (struct.set $device $pending (local.get $device) (br_on_null $none (local.get $packet)))
      (return (call $hold_current (struct.get $task $scheduler (local.get $self)))))
    (block $none
      (local.set $p (br_on_null $none (struct.get $device $pending (local.get $device))))
      (struct.set $device $pending (local.get $device) (ref.null none))
      (return (call $queue (struct.get $task $scheduler (local.get $self)) (local.get $p))))
    (call $suspend_current (struct.get $task $scheduler (local.get $self))))

  ;; ---- the program --------------------------------------------------------

  (func $packets (param $count i32) (param $id i32) (param $kind i32) (result (ref null $packet))
    (local $queue (ref null $packet))
    (loop $more
      (local.set $queue
        (call $packet_new (local.get $queue) (local.get $id) (local.get $kind)))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (br_if $more (local.get $count)))
    (local.get $queue))

  (func (export "run") (param $count i32) (result i32)
    (local $s (ref $scheduler))
    (local.set $s
      (struct.new $scheduler (i32.const 0) (i32.const 0)
        (array.new_default $tcbs (i32.const 6)) (ref.null none) (ref.null none)))
    (call $add (local.get $s) (i32.const 0) (i32.const 0) (ref.null none)
      (struct.new $idle (global.get $idle_vtable) (local.get $s)
        (i32.const 1) (local.get $count)))
    (struct.set $tcb $state (struct.get $scheduler $list (local.get $s)) (i32.const 0))
    (call $add (local.get $s) (i32.const 1) (i32.const 1000)
      (call $packets (i32.const 2) (i32.const 1) (i32.const 1))
      (struct.new $worker (global.get $worker_vtable) (local.get $s)
        (i32.const 2) (i32.const 0)))
    (call $add (local.get $s) (i32.const 2) (i32.const 2000)
      (call $packets (i32.const 3) (i32.const 4) (i32.const 0))
      (struct.new $handler (global.get $handler_vtable) (local.get $s)
        (ref.null none) (ref.null none)))
    (call $add (local.get $s) (i32.const 3) (i32.const 3000)
      (call $packets (i32.const 3) (i32.const 5) (i32.const 0))
      (struct.new $handler (global.get $handler_vtable) (local.get $s)
        (ref.null none) (ref.null none)))
    (call $add (local.get $s) (i32.const 4) (i32.const 4000) (ref.null none)
      (struct.new $device (global.get $device_vtable) (local.get $s) (ref.null none)))
    (call $add (local.get $s) (i32.const 5) (i32.const 5000) (ref.null none)
      (struct.new $device (global.get $device_vtable) (local.get $s) (ref.null none)))
    (call $schedule (local.get $s))
    (i32.add
      (i32.mul (struct.get $scheduler $queued (local.get $s)) (i32.const 10000))
      (struct.get $scheduler $held (local.get $s)))))
