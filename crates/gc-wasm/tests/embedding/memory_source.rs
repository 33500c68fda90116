//! The source from which a store gets its memory: what is asked of it, and what it may refuse.

use crate::common::everywhere;
use anyhow::Result;
use gc_wasm::{
    Config, Engine, Growth, HeapError, Instance, Memory, MemoryPurpose, MemoryRequest,
    MemorySource, MemoryType, Module, OnDemand, Reservation, Store, Trap, UsedReservation,
};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// Has everything that comes from a source. The table is too large for the ordinary allocator.
const EVERYTHING: &str = r#"(module
    (type $s (struct (field i32)))
    (memory (export "memory") 1)
    (table $t (export "table") 20000 structref)
    (func (export "object") (param i32) (result i32)
        (struct.get $s 0 (struct.new $s (local.get 0))))
    (func (export "fill") (param i32)
        (memory.fill (i32.const 0) (local.get 0) (i32.const 65536))
        (table.fill $t (i32.const 0) (struct.new $s (local.get 0)) (i32.const 20000)))
    (func (export "used") (result i32)
        (local $i i32) (local $used i32)
        (loop $bytes
            (local.set $used
                (i32.or (local.get $used) (i32.load8_u (local.get $i))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $bytes (i32.lt_u (local.get $i) (i32.const 65536))))
        (local.set $i (i32.const 0))
        (loop $elements
            (local.set $used
                (i32.or (local.get $used)
                    (i32.eqz (ref.is_null (table.get $t (local.get $i))))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $elements (i32.lt_u (local.get $i) (i32.const 20000))))
        (local.get $used))
    (func (export "grow_memory") (result i32) (memory.grow (i32.const 1)))
    (func (export "grow_table") (result i32)
        (table.grow $t (ref.null $s) (i32.const 100000))))"#;

/// No table of this is large.
const SMALL: &str = r#"(module
    (table 10 funcref)
    (func (export "answer") (result i32) (i32.const 42)))"#;

/// Counts, and refuses one purpose.
#[derive(Debug, Default)]
struct Counting {
    inner: OnDemand,
    taken: Mutex<Vec<MemoryPurpose>>,
    /// Bytes that were admitted.
    admitted: Mutex<HashMap<MemoryPurpose, usize>>,
    refused: Mutex<Option<MemoryPurpose>>,
}

impl Counting {
    fn refuse(&self, purpose: Option<MemoryPurpose>) {
        *self.refused.lock().unwrap() = purpose;
    }

    fn take(&self, purpose: MemoryPurpose) -> Result<(), String> {
        if *self.refused.lock().unwrap() == Some(purpose) {
            return Err("the test refuses".to_owned());
        }
        self.taken.lock().unwrap().push(purpose);
        Ok(())
    }

    fn lose(&self, purpose: MemoryPurpose) {
        let mut taken = self.taken.lock().unwrap();
        let place = taken.iter().position(|other| *other == purpose).expect("it was taken");
        taken.swap_remove(place);
    }

    /// The number of times that memory is in use for this. What was admitted counts once.
    fn count(&self, purpose: MemoryPurpose) -> usize {
        let taken = self.taken.lock().unwrap().iter().filter(|other| **other == purpose).count();
        taken + usize::from(self.admitted.lock().unwrap().contains_key(&purpose))
    }

    /// What is in use.
    fn in_use(&self) -> (Vec<MemoryPurpose>, HashMap<MemoryPurpose, usize>) {
        (self.taken.lock().unwrap().clone(), self.admitted.lock().unwrap().clone())
    }
}

impl MemorySource for Counting {
    fn reserve(&self, request: &MemoryRequest) -> Result<Reservation, HeapError> {
        self.take(request.purpose).map_err(|why| request.refused(why))?;
        self.inner.reserve(request)
    }

    fn commit(&self, growth: Growth<'_>) -> Result<(), HeapError> {
        if *self.refused.lock().unwrap() == Some(growth.purpose()) {
            return Err(growth.refused("the test refuses growth"));
        }
        growth.commit()
    }

    fn give_back(&self, used: UsedReservation) {
        self.lose(used.request().purpose);
        self.inner.give_back(used);
    }

    fn admit(&self, purpose: MemoryPurpose, bytes: usize) -> Result<(), HeapError> {
        if *self.refused.lock().unwrap() == Some(purpose) {
            let why = "the test refuses".to_owned();
            return Err(HeapError::NoMemory { purpose, bytes: bytes as u64, why });
        }
        *self.admitted.lock().unwrap().entry(purpose).or_default() += bytes;
        Ok(())
    }

    fn freed(&self, purpose: MemoryPurpose, bytes: usize) {
        let mut admitted = self.admitted.lock().unwrap();
        let left = admitted[&purpose].checked_sub(bytes).expect("it was admitted");
        match left {
            0 => admitted.remove(&purpose),
            left => admitted.insert(purpose, left),
        };
    }
}

fn call(store: &mut Store<()>, instance: Instance, name: &str) -> Result<i32> {
    instance.get_typed_func::<(), i32>(&mut *store, name)?.call(store, ())
}

fn object(store: &mut Store<()>, instance: Instance) -> Result<i32> {
    instance.get_typed_func::<i32, i32>(&mut *store, "object")?.call(store, 7)
}

#[test]
fn everything_comes_from_the_source_and_goes_back() -> Result<()> {
    everywhere(|setting| {
        let source = Arc::new(Counting::default());
        let engine = Engine::new(setting.config().memory_source(source.clone()))?;
        let module = Module::new(&engine, EVERYTHING)?;
        let idle = source.in_use();
        let mut store = Store::new(&engine, ());
        assert_eq!(source.in_use(), idle, "a store takes nothing");
        let instance = Instance::new(&mut store, &module, &[])?;
        use MemoryPurpose::{GcHeap, LinearMemory, Table};
        for purpose in [GcHeap, LinearMemory, Table, MemoryPurpose::Instance] {
            assert_eq!(source.count(purpose), 1, "{purpose}");
        }
        assert_eq!(object(&mut store, instance)?, 7);
        let plain = Module::new(&engine, SMALL)?;
        let admitted = || {
            let admitted = source.in_use().1;
            [Table, MemoryPurpose::Instance].map(|purpose| admitted.get(&purpose).copied())
        };
        let before = admitted();
        Instance::new(&mut store, &plain, &[])?;
        assert!(admitted().iter().zip(&before).all(|(now, before)| now > before));
        drop(store);
        assert_eq!(source.in_use(), idle, "everything goes back");
        Ok(())
    })
}

#[test]
fn what_is_refused_is_named_and_the_store_stays_usable() -> Result<()> {
    everywhere(|setting| {
        let source = Arc::new(Counting::default());
        let engine = Engine::new(setting.config().memory_source(source.clone()))?;
        let module = Module::new(&engine, EVERYTHING)?;
        let plain = Module::new(&engine, SMALL)?;
        let mut store = Store::new(&engine, ());
        for (purpose, name) in [
            (MemoryPurpose::GcHeap, "a GC heap"),
            (MemoryPurpose::LinearMemory, "a linear memory"),
            (MemoryPurpose::Table, "a table"),
            (MemoryPurpose::Instance, "an instance"),
        ] {
            source.refuse(Some(purpose));
            let error = Instance::new(&mut store, &module, &[]).unwrap_err();
            let error = format!("{error:#}");
            assert!(error.contains(&format!("no memory for {name} (")), "{error}");
            assert!(error.ends_with("the test refuses"), "{error}");
            source.refuse(None);
            let instance = Instance::new(&mut store, &plain, &[])?;
            assert_eq!(call(&mut store, instance, "answer")?, 42);
        }
        let instance = Instance::new(&mut store, &module, &[])?;
        for (purpose, grow, old) in [
            (MemoryPurpose::LinearMemory, "grow_memory", 1),
            (MemoryPurpose::Table, "grow_table", 20_000),
        ] {
            source.refuse(Some(purpose));
            assert_eq!(call(&mut store, instance, grow)?, -1, "{grow}");
            source.refuse(None);
            assert_eq!(call(&mut store, instance, grow)?, old, "{grow}");
        }
        source.refuse(Some(MemoryPurpose::LinearMemory));
        let error = Memory::new(&mut store, MemoryType::new(1, None)).unwrap_err();
        assert!(error.to_string().contains("a linear memory"), "{error}");
        source.refuse(None);
        assert_eq!(object(&mut store, instance)?, 7);
        Ok(())
    })
}

#[test]
fn a_store_sees_nothing_of_an_earlier_one() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let module = Module::new(&engine, EVERYTHING)?;
        for round in 0..3 {
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module, &[])?;
            assert_eq!(call(&mut store, instance, "used")?, 0, "round {round}");
            let fill = instance.get_typed_func::<i32, ()>(&mut store, "fill")?;
            fill.call(&mut store, 0x5a)?;
            assert_ne!(call(&mut store, instance, "used")?, 0);
        }
        Ok(())
    })
}

// ANCHOR: limited
/// The usual source, with a limit for the number of linear memories.
#[derive(Debug)]
struct Limited {
    usual: OnDemand,
    left: AtomicUsize,
}

impl MemorySource for Limited {
    fn reserve(&self, request: &MemoryRequest) -> Result<Reservation, HeapError> {
        if request.purpose == MemoryPurpose::LinearMemory {
            let taken = self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
            taken.map_err(|_left| request.refused("there are enough"))?;
        }
        self.usual.reserve(request)
    }

    fn give_back(&self, used: UsedReservation) {
        if used.request().purpose == MemoryPurpose::LinearMemory {
            self.left.fetch_add(1, Relaxed);
        }
        self.usual.give_back(used);
    }
}
// ANCHOR_END: limited

#[test]
fn a_source_can_limit_memories() -> Result<()> {
    let source = Limited { usual: OnDemand::default(), left: AtomicUsize::new(2) };
    let engine = Engine::new(Config::new().memory_source(Arc::new(source)))?;
    for _ in 0..3 {
        let mut store = Store::new(&engine, ());
        Memory::new(&mut store, MemoryType::new(1, None))?;
        Memory::new(&mut store, MemoryType::new(1, None))?;
        let error = Memory::new(&mut store, MemoryType::new(1, None)).unwrap_err().to_string();
        let expected = "no memory for a linear memory (6442450944 bytes): there are enough";
        assert_eq!(error, expected);
    }
    Ok(())
}

/// Refuses the growth of memories, when it has made the bytes accessible, as often as `left` says.
#[derive(Debug)]
struct Late {
    usual: OnDemand,
    left: AtomicUsize,
}

impl MemorySource for Late {
    fn reserve(&self, request: &MemoryRequest) -> Result<Reservation, HeapError> {
        self.usual.reserve(request)
    }

    fn commit(&self, growth: Growth<'_>) -> Result<(), HeapError> {
        self.usual.commit(growth)?;
        if growth.purpose() == MemoryPurpose::LinearMemory && growth.from() > 0 {
            let taken = self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
            return taken.map_or(Ok(()), |_left| Err(growth.refused("too late")));
        }
        Ok(())
    }

    fn give_back(&self, used: UsedReservation) {
        self.usual.give_back(used);
    }
}

#[test]
fn a_source_that_refuses_late_gives_no_access() -> Result<()> {
    everywhere(|setting| {
        let source = Arc::new(Late { usual: OnDemand::default(), left: AtomicUsize::new(1) });
        let engine = Engine::new(setting.config().memory_source(source))?;
        let module = Module::new(
            &engine,
            r#"(module
                (memory 1)
                (func (export "grow") (result i32) (memory.grow (i32.const 1)))
                (func (export "store") (result i32)
                    (i32.store (i32.const 70000) (i32.const 7)) (i32.const 0))
                (func (export "load") (result i32) (i32.load (i32.const 70000))))"#,
        )?;
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[])?;
        assert_eq!(call(&mut store, instance, "grow")?, -1);
        let error = call(&mut store, instance, "store").unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::MemoryOutOfBounds), "{error:?}");
        assert_eq!(error.root_cause().to_string(), "wasm trap: out of bounds memory access");
        assert_eq!(call(&mut store, instance, "grow")?, 1);
        assert_eq!(call(&mut store, instance, "load")?, 0);
        Ok(())
    })
}

#[test]
fn engines_share_a_source() -> Result<()> {
    let source = Arc::new(OnDemand::keeping(4, 64 << 10));
    let mut config = Config::new();
    config.memory_source(source.clone());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let engine = Engine::new(&config).unwrap();
                let module = Module::new(&engine, EVERYTHING).unwrap();
                for _ in 0..20 {
                    let mut store = Store::new(&engine, ());
                    let instance = Instance::new(&mut store, &module, &[]).unwrap();
                    assert_eq!(call(&mut store, instance, "used").unwrap(), 0);
                    let fill = instance.get_typed_func::<i32, ()>(&mut store, "fill").unwrap();
                    fill.call(&mut store, -1).unwrap();
                }
            });
        }
    });
    assert_eq!(source.kept_now(), 4);
    Ok(())
}
