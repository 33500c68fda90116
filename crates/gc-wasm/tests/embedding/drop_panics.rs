//! Host values whose drop panics. Wherever they die, the panic reaches the host exactly once and
//! does no damage.

use crate::common::{Setting, each_collector, everywhere, new_array, new_struct};
use anyhow::{Context, Result, ensure};
use gc_wasm::{
    ArrayRef, ArrayType, Caller, Engine, ExternRef, FieldType, Instance, Linker, Module,
    Mutability, Ref, RootScope, Rooted, Store, StructRef, StructType, Val, ValType,
};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// The numbers of the values that were dropped, in order.
#[derive(Clone, Default)]
struct Dropped(Arc<Mutex<Vec<u32>>>);

impl Dropped {
    /// A value that panics with its number when it is dropped.
    fn bomb(&self, number: u32) -> Bomb {
        Bomb { number, dropped: self.clone() }
    }

    /// All numbers so far, sorted.
    fn all(&self) -> Vec<u32> {
        let mut all = self.0.lock().unwrap().clone();
        all.sort_unstable();
        all
    }

    fn first(&self) -> Option<u32> {
        self.0.lock().unwrap().first().copied()
    }
}

struct Bomb {
    number: u32,
    dropped: Dropped,
}

impl Drop for Bomb {
    fn drop(&mut self) {
        self.dropped.0.lock().unwrap().push(self.number);
        // Without the panic hook, which would write to the terminal.
        resume_unwind(Box::new(self.number));
    }
}

/// The number that `action` panics with, if it does.
fn panic_of<T>(action: impl FnOnce() -> Result<T>) -> Result<Option<u32>> {
    match catch_unwind(AssertUnwindSafe(action)) {
        Ok(result) => result.map(|_| None),
        Err(payload) => match payload.downcast() {
            Ok(number) => Ok(Some(*number)),
            Err(other) => resume_unwind(other),
        },
    }
}

/// The number that dropping `value` panics with, if it does.
fn panic_of_drop<T>(value: T) -> Result<Option<u32>> {
    panic_of(|| {
        drop(value);
        Ok(())
    })
}

/// Functions that overwrite a reference in all possible ways, and then do more.
const WAT: &str = r#"(module
    (type $box (struct (field (mut externref))))
    (type $row (array (mut externref)))
    (import "" "host" (func $host))
    (table (export "table") 4 externref)
    (table $other 4 externref)
    (elem $nulls externref (ref.null extern) (ref.null extern))
    (global $global (export "global") (mut externref) (ref.null extern))
    (global $done (export "done") (mut i32) (i32.const 0))
    (func $more
        (local $i i32)
        (loop $again
            (drop (struct.new $box (ref.null extern)))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $i) (i32.const 16))))
        (global.set $done (i32.add (global.get $done) (i32.const 1))))
    (func (export "table.set") (param (ref null $box) (ref null $row))
        (table.set 0 (i32.const 0) (ref.null extern)) (call $more))
    (func (export "table.fill") (param (ref null $box) (ref null $row))
        (table.fill 0 (i32.const 0) (ref.null extern) (i32.const 2)) (call $more))
    (func (export "table.copy") (param (ref null $box) (ref null $row))
        (table.copy 0 $other (i32.const 0) (i32.const 0) (i32.const 2)) (call $more))
    (func (export "table.init") (param (ref null $box) (ref null $row))
        (table.init 0 $nulls (i32.const 0) (i32.const 0) (i32.const 2)) (call $more))
    (func (export "global.set") (param (ref null $box) (ref null $row))
        (global.set $global (ref.null extern)) (call $more))
    (func (export "struct.set") (param (ref null $box) (ref null $row))
        (struct.set $box 0 (local.get 0) (ref.null extern)) (call $more))
    (func (export "array.set") (param (ref null $box) (ref null $row))
        (array.set $row (local.get 1) (i32.const 0) (ref.null extern)) (call $more))
    (func (export "array.fill") (param (ref null $box) (ref null $row))
        (array.fill $row (local.get 1) (i32.const 0) (ref.null extern) (i32.const 2))
        (call $more))
    (func (export "trap")
        (table.set 0 (i32.const 0) (ref.null extern)) (call $more) (unreachable))
    (func (export "table.set, then host")
        (table.set 0 (i32.const 0) (ref.null extern)) (call $more) (call $host)
        (call $more)))"#;

/// The action of the imported function.
#[derive(Clone, Copy, Default)]
enum Host {
    #[default]
    Returns,
    Collects,
    Panics,
}

/// An instance of [`WAT`] in a store, with objects of its types.
struct Test {
    store: Store<Host>,
    instance: Instance,
    dropped: Dropped,
    a_box: Rooted<StructRef>,
    row: Rooted<ArrayRef>,
}

const NULL: Val = Val::ExternRef(None);

impl Test {
    fn new(setting: &Setting) -> Result<Test> {
        let engine = setting.engine()?;
        let mut linker: Linker<Host> = Linker::new(&engine);
        linker.func_wrap("", "host", |mut caller: Caller<'_, Host>| match *caller.data() {
            Host::Returns => Ok(()),
            Host::Collects => caller.gc(None),
            Host::Panics => resume_unwind(Box::new(1000_u32)),
        })?;
        let mut store = Store::new(&engine, Host::default());
        let instance = linker.instantiate(&mut store, &Module::new(&engine, WAT)?)?;
        let field = || FieldType::new(Mutability::Var, ValType::EXTERNREF.into());
        let ty = StructType::new(&engine, [field()])?;
        let a_box = new_struct(&mut store, &ty, &[NULL])?;
        let ty = ArrayType::new(&engine, field());
        let row = new_array(&mut store, &ty, &NULL, 2)?;
        Ok(Test { store, instance, dropped: Dropped::default(), a_box, row })
    }

    /// Stores the only reference to a new value at `place` (the name of a function that overwrites
    /// it). Compiled code never had the reference.
    fn put(&mut self, place: &str, number: u32) -> Result<()> {
        self.put_at(place, 0, number)
    }

    fn put_at(&mut self, place: &str, index: u32, number: u32) -> Result<()> {
        let Test { instance, a_box, row, .. } = *self;
        let mut scope = RootScope::new(&mut self.store);
        let value = Val::from(ExternRef::new(&mut scope, self.dropped.bomb(number))?);
        match place.split('.').next() {
            Some("table") => {
                let table = instance.get_table(&mut scope, "table").context("an export")?;
                table.set(&mut scope, index.into(), value.ref_().context("a reference")?)
            }
            Some("global") => {
                let global = instance.get_global(&mut scope, "global").context("an export")?;
                global.set(&mut scope, value)
            }
            Some("struct") => a_box.set_field(&mut scope, 0, value),
            _ => row.set(&mut scope, index, value),
        }
    }

    fn call(&mut self, name: &str) -> Result<()> {
        let func = self.instance.get_func(&mut self.store, name).context("an export")?;
        let all = [self.a_box.to_anyref(), self.row.to_anyref()].map(|any| Val::AnyRef(Some(any)));
        let params = func.ty(&self.store).params().len();
        func.call(&mut self.store, &all[..params], &mut [])
    }

    /// How often compiled code ran to its end.
    fn done(&mut self) -> Result<Option<i32>> {
        let global = self.instance.get_global(&mut self.store, "done").context("an export")?;
        Ok(global.get(&mut self.store).i32())
    }
}

#[test]
fn a_value_that_compiled_code_overwrites_panics_when_the_call_returns() -> Result<()> {
    everywhere(|setting| {
        let mut test = Test::new(setting)?;
        let mut overwritten = Vec::new();
        for (i, name) in ["table.set", "global.set", "struct.set", "array.set"]
            .into_iter()
            .chain(["table.fill", "table.copy", "table.init", "array.fill"])
            .enumerate()
        {
            let number = 10 * i as u32;
            test.put_at(name, 0, number)?;
            overwritten.push(number);
            if i >= 4 {
                test.put_at(name, 1, number + 1)?;
                overwritten.push(number + 1);
            }
            let by_call = panic_of(|| test.call(name))?;
            let by_collection = panic_of(|| test.store.gc(None))?;
            // With zeal, later allocations of compiled code collect everything, or the nursery. While `drc` searches for
            // cycles, nothing dies. One of 16 collections ends the search.
            let in_call = setting.zeal && ["drc", "copying"].contains(&setting.collector.name());
            ensure!(by_call.is_some() || !in_call, "{name}: it does not panic in the call");
            // One of two values may be found dead before the other.
            let once = by_call.is_none() || by_collection.is_none();
            ensure!(once || i >= 4 && by_call != by_collection, "{name}: it panics twice");
            let panicked = by_call.or(by_collection);
            ensure!(panicked.is_some() == setting.reclaims(), "{name}: {panicked:?}");
            if setting.reclaims() {
                let mut dropped = test.dropped.all();
                dropped.sort_unstable();
                ensure!(dropped == overwritten, "{name}: {dropped:?}");
            }
            ensure!(test.done()? == Some(i as i32 + 1), "{name}: compiled code was cut short");
            // The store is consistent.
            test.store.gc(None)?;
        }
        assert!(panic_of_drop(test.store)?.is_some() != setting.reclaims());
        let mut dropped = test.dropped.all();
        dropped.sort_unstable();
        assert_eq!(dropped, overwritten);
        Ok(())
    })
}

#[test]
fn a_value_that_the_host_overwrites_panics_in_the_host() -> Result<()> {
    each_collector(|setting| {
        let mut test = Test::new(setting)?;
        let table = test.instance.get_table(&mut test.store, "table").context("an export")?;
        let global = test.instance.get_global(&mut test.store, "global").context("an export")?;
        let (a_box, row) = (test.a_box, test.row);
        type Overwrite<'a> = &'a dyn Fn(&mut Store<Host>) -> Result<()>;
        let ways: [(&str, Overwrite<'_>); 4] = [
            ("table", &|store| table.set(store, 0, Ref::Extern(None))),
            ("global", &|store| global.set(store, NULL)),
            ("struct", &|store| a_box.set_field(store, 0, NULL)),
            ("array", &|store| row.set(store, 0, NULL)),
        ];
        for (number, (place, overwrite)) in (0..).zip(ways) {
            test.put(place, number)?;
            let by_write = panic_of(|| overwrite(&mut test.store))?;
            let by_collection = panic_of(|| test.store.gc(None))?;
            // No built-in collector drops values in barriers.
            assert_eq!(by_write, None, "{place}");
            assert_eq!(by_collection, setting.reclaims().then_some(number), "{place}");
        }
        // By the end of a scope, and of an owned handle.
        let bomb = test.dropped.bomb(4);
        let by_scope = panic_of(|| {
            let mut scope = RootScope::new(&mut test.store);
            ExternRef::new(&mut scope, bomb)?;
            Ok(())
        })?;
        let by_collection = panic_of(|| test.store.gc(None))?;
        assert_eq!(by_scope, None);
        assert_eq!(by_collection, setting.reclaims().then_some(4));
        {
            let mut scope = RootScope::new(&mut test.store);
            let bomb = ExternRef::new(&mut scope, test.dropped.bomb(5))?;
            drop(bomb.to_owned_rooted(&mut scope)?);
        }
        let another = panic_of(|| a_box.to_owned_rooted(&mut test.store))?;
        let by_collection = panic_of(|| test.store.gc(None))?;
        assert_eq!(another, None);
        assert_eq!(by_collection, setting.reclaims().then_some(5));
        assert_eq!(panic_of_drop(test.store)?.is_some(), !setting.reclaims());
        assert_eq!(test.dropped.all(), [0, 1, 2, 3, 4, 5]);
        Ok(())
    })
}

#[test]
fn a_call_that_ends_otherwise_lets_the_panic_go_on() -> Result<()> {
    everywhere(|setting| {
        // With zeal, allocations of compiled code collect.
        if !setting.zeal || !setting.reclaims() {
            return Ok(());
        }
        let mut test = Test::new(setting)?;
        // By a trap.
        test.put("table", 1)?;
        assert_eq!(panic_of(|| test.call("trap"))?, Some(1));
        assert!(test.call("trap").is_err());
        // Through a host function that collects, and the compiled code above it.
        test.put("table", 2)?;
        *test.store.data_mut() = Host::Collects;
        assert_eq!(panic_of(|| test.call("table.set, then host"))?, Some(2));
        assert_eq!(test.done()?, Some(3), "the host function did not return");
        // A panic of the host function itself comes first.
        test.put("table", 3)?;
        *test.store.data_mut() = Host::Panics;
        assert_eq!(panic_of(|| test.call("table.set, then host"))?, Some(1000));
        assert_eq!(test.dropped.all(), [1, 2, 3]);
        *test.store.data_mut() = Host::Returns;
        assert_eq!(panic_of(|| test.call("table.set, then host"))?, Some(3));
        assert_eq!(panic_of(|| test.call("table.set, then host"))?, None);
        test.store.gc(None)
    })
}

/// A module that releases its global's value, then allocates until the value was collected.
const ALLOCATES: &str = r#"(module
    (type $pair (struct (field i64 i64)))
    (global $global (export "global") (mut externref) (ref.null extern))
    (global $i (export "i") (mut i32) (i32.const 0))
    (func (export "go")
        ;; read onto the stack.
        (drop (ref.is_null (global.get $global)))
        (global.set $global (ref.null extern))
        (loop $again
            (drop (struct.new_default $pair))
            (global.set $i (i32.add (global.get $i) (i32.const 1)))
            (br_if $again (i32.lt_u (global.get $i) (i32.const 500000))))))"#;

#[test]
fn a_collection_under_compiled_code_lets_it_go_on() -> Result<()> {
    each_collector(|setting| {
        let engine = Engine::new(setting.config().gc_heap_initial_size(1 << 20))?;
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &Module::new(&engine, ALLOCATES)?, &[])?;
        let global = instance.get_global(&mut store, "global").context("an export")?;
        let dropped = Dropped::default();
        {
            let mut scope = RootScope::new(&mut store);
            let value = ExternRef::new(&mut scope, dropped.bomb(1))?;
            global.set(&mut scope, value.into())?;
        }
        let go = instance.get_typed_func::<(), ()>(&mut store, "go")?;
        let panicked = panic_of(|| go.call(&mut store, ()))?;
        assert_eq!(panicked, setting.reclaims().then_some(1));
        let i = instance.get_global(&mut store, "i").context("an export")?;
        assert_eq!(i.get(&mut store).i32(), Some(500_000), "it was cut short");
        assert_eq!(panic_of_drop(store)?.is_some(), !setting.reclaims());
        assert_eq!(dropped.all(), [1]);
        Ok(())
    })
}

/// Records whether it was dropped, and whether during a panic.
struct Observer(Arc<AtomicU32>);

impl Drop for Observer {
    fn drop(&mut self) {
        self.0.store(if std::thread::panicking() { 2 } else { 1 }, Relaxed);
    }
}

#[test]
fn a_store_drops_everything_before_a_panic_goes_on() -> Result<()> {
    everywhere(|setting| {
        for into_data in [false, true] {
            let dropped = Dropped::default();
            let observed = Arc::new(AtomicU32::new(0));
            let mut store = Store::new(&setting.engine()?, Observer(observed.clone()));
            for number in 0..5 {
                ExternRef::new(&mut store, dropped.bomb(number))?;
            }
            assert_eq!(panic_of(|| store.gc(None))?, None);
            let panicked =
                if into_data { panic_of(|| Ok(store.into_data()))? } else { panic_of_drop(store)? };
            assert_eq!(dropped.all(), [0, 1, 2, 3, 4]);
            assert_eq!(panicked, dropped.first());
            // A value that was moved out is dropped by the panic.
            assert!(into_data || observed.load(Relaxed) == 1);
        }
        Ok(())
    })
}

#[test]
fn no_second_panic_is_added_while_one_unwinds_the_stack() -> Result<()> {
    everywhere(|setting| {
        let mut test = Test::new(setting)?;
        let dropped = test.dropped.clone();
        // Several values die when a panic ends a scope.
        let unwound = panic_of(|| {
            let mut scope = RootScope::new(&mut test.store);
            for number in 0..3 {
                ExternRef::new(&mut scope, dropped.bomb(number))?;
            }
            let _scope = scope;
            resume_unwind(Box::new(100_u32));
            #[expect(unreachable_code)]
            Ok(())
        })?;
        assert_eq!(unwound, Some(100));
        let waited = panic_of(|| test.store.gc(None))?;
        assert_eq!(waited, dropped.first());
        assert_eq!(waited.is_some(), setting.reclaims());
        assert_eq!(panic_of(|| test.store.gc(None))?, None);
        // The same for a store.
        test.put("table", 3)?;
        let Test { store, .. } = test;
        let unwound = panic_of(move || {
            let _store = store;
            resume_unwind(Box::new(101_u32));
            #[expect(unreachable_code)]
            Ok(())
        })?;
        assert_eq!(unwound, Some(101));
        assert_eq!(dropped.all(), [0, 1, 2, 3]);
        Ok(())
    })
}
