//! Operations on many bytes or elements are done in parts: an interrupt, the deadline of an epoch or
//! used up fuel ends them, under every collector at the same place, and callbacks between the parts
//! may collect.

mod ops;

use crate::common::{Setting, call, each_collector, frame_names, trap};
use crate::executor::block_on_counted;
use crate::metering::{PLENTY, with_fuel};
use anyhow::Result;
use gc_wasm::{Config, Engine, Func, Instance, Module, Store, Trap, UpdateDeadline};
use ops::{Op, ops, text};
use std::sync::Arc;

/// A module with all operations in a store.
struct World {
    store: Store<u32>,
    instance: Instance,
    module: Module,
}

impl World {
    fn new(config: &Config) -> Result<World> {
        let engine = Engine::new(config)?;
        let module = Module::new(&engine, text())?;
        let store = Store::new(&engine, 0);
        let mut world = World { store, instance: World::instance(&module)?, module };
        world.again()?;
        Ok(world)
    }

    /// A placeholder, in another store.
    fn instance(module: &Module) -> Result<Instance> {
        let mut store = Store::new(module.engine(), 0);
        World::prepare(&mut store)?;
        let nothing = Func::wrap(&mut store, || ());
        Instance::new(&mut store, module, &[nothing.into()])
    }

    fn prepare(store: &mut Store<u32>) -> Result<()> {
        store.set_epoch_deadline(u64::MAX / 2);
        store.epoch_deadline_trap();
        if store.get_fuel().is_ok() {
            store.set_fuel(u64::MAX)?;
        }
        Ok(())
    }

    /// A new store, in which nothing was overwritten yet.
    fn again(&mut self) -> Result<()> {
        self.store = Store::new(self.module.engine(), 0);
        World::prepare(&mut self.store)?;
        let before = Func::wrap(&mut self.store, |caller: gc_wasm::Caller<'_, u32>| {
            if let Ok(handle) = gc_wasm::AsContext::as_context(&caller).interrupt_handle() {
                handle.interrupt();
            }
        });
        self.instance = Instance::new(&mut self.store, &self.module, &[before.into()])?;
        self.run("fill")
    }

    fn run(&mut self, name: &str) -> Result<()> {
        let func = self.instance.get_typed_func::<(), ()>(&mut self.store, name)?;
        func.call(&mut self.store, ())
    }

    /// What the operation did, as if it had done so many parts.
    fn check(&mut self, op: &Op, parts: u64) -> Result<()> {
        World::prepare(&mut self.store)?;
        if op.name.starts_with("table.grow") {
            let table = self.instance.get_table(&mut self.store, op.digest).unwrap();
            let grown = if parts == op.parts() { op.count } else { 1 };
            assert_eq!(table.size(&self.store), grown, "{}", op.name);
            if grown == 1 {
                return Ok(());
            }
        }
        let name = format!("digest_{}", op.digest);
        let digest = self.instance.get_typed_func::<i32, i32>(&mut self.store, &name)?;
        let digest = digest.call(&mut self.store, op.count as i32)?;
        assert_eq!(digest, op.expected(parts), "{} after {parts} parts", op.name);
        Ok(())
    }
}

fn config(setting: &Setting) -> Config {
    setting.config().gc_heap_maximum(256 << 20).clone()
}

#[test]
fn an_interrupt_ends_each_operation() -> Result<()> {
    each_collector(|setting| {
        let mut world = World::new(config(setting).interruptible(true))?;
        for op in ops() {
            // Compiled code does these itself. Its loop is polled.
            let is_loop = op.name.starts_with("array.new.") || op.name == "array.fill.wide";
            let error = world.run(&format!("after_{}", op.name)).expect_err(op.name);
            assert_eq!(error.downcast_ref(), Some(&Trap::Interrupt), "{}", op.name);
            if cfg!(feature = "backtrace") {
                assert_eq!(frame_names(&error), [format!("after_{}", op.name)]);
            }
            world.store.clear_interrupt()?;
            if !is_loop {
                world.check(&op, 0)?;
            }
            world.run(op.name)?;
            world.check(&op, op.parts())?;
            world.again()?;
        }
        Ok(())
    })
}

/// At each check the deadline's callback runs, collects and goes on, or ends the operation.
#[test]
fn the_deadline_is_checked_before_each_part() -> Result<()> {
    each_collector(|setting| {
        for fuel in [false, true] {
            // Zeal checks the heap, in which a part has just been written.
            let setting = Setting { zeal: fuel, ..setting.clone() };
            let config = config(&setting).epoch_interruption(true).consume_fuel(fuel).clone();
            let mut world = World::new(&config)?;
            for op in ops() {
                let ends = if fuel { vec![u32::MAX] } else { vec![u32::MAX, 2, 1] };
                for end in ends {
                    *world.store.data_mut() = 0;
                    world.store.set_epoch_deadline(0);
                    world.store.epoch_deadline_callback(move |mut store| {
                        *store.data_mut() += 1;
                        store.gc(None)?;
                        // The first check is that of the function.
                        Ok(match *store.data() > end {
                            true => UpdateDeadline::Interrupt,
                            false => UpdateDeadline::Continue(0),
                        })
                    });
                    let result = world.run(op.name);
                    let checks = u64::from(*world.store.data());
                    if end == u32::MAX {
                        result.map_err(|error| error.context(op.name))?;
                        assert_eq!(checks, 1 + op.parts(), "{}", op.name);
                        world.check(&op, op.parts())?;
                    } else {
                        assert_eq!(trap(result), Trap::Interrupt, "{}", op.name);
                        world.check(&op, u64::from(end) - 1)?;
                    }
                    world.again()?;
                }
            }
        }
        Ok(())
    })
}

/// An operation costs what it does. If there is too little fuel for all of it, it does nothing.
#[test]
fn fuel_is_for_all_of_an_operation() -> Result<()> {
    each_collector(|setting| {
        let mut world = World::new(config(setting).consume_fuel(true))?;
        for op in ops() {
            // Fuel that is used up exactly is used up.
            let after = op.body.matches("(global.set").count() as u64;
            for fuel in [op.cost() / 2, op.cost() - after] {
                world.store.set_fuel(fuel)?;
                let result = world.run(op.name);
                assert_eq!(trap(result), Trap::OutOfFuel, "{}", op.name);
                assert_eq!(world.store.get_fuel()?, 0);
                world.check(&op, 0)?;
            }
            world.store.set_fuel(op.cost() + 9)?;
            world.run(op.name).map_err(|error| error.context(op.name))?;
            assert_eq!(world.store.get_fuel()?, 9, "{}", op.name);
            world.check(&op, op.parts())?;
            world.again()?;
        }
        Ok(())
    })
}

/// With an interval the operation yields between its parts.
#[test]
fn operations_yield_between_their_parts() -> Result<()> {
    each_collector(|setting| {
        let mut world = World::new(config(setting).consume_fuel(true))?;
        for op in ops() {
            world.store.set_fuel(op.cost() + 1000)?;
            // The function itself does not use it up.
            world.store.fuel_async_yield_interval(Some(500))?;
            let func = world.instance.get_typed_func::<(), ()>(&mut world.store, op.name)?;
            let (result, yields) = block_on_counted(func.call_async(&mut world.store, ()));
            result.map_err(|error| error.context(op.name))?;
            assert_eq!(yields as u64, op.parts(), "{}", op.name);
            assert_eq!(world.store.get_fuel()?, 1000, "{}", op.name);
            let name = format!("digest_{}", op.digest);
            let digest = world.instance.get_typed_func::<i32, i32>(&mut world.store, &name)?;
            world.store.fuel_async_yield_interval(None)?;
            world.store.set_fuel(u64::MAX)?;
            let call = digest.call_async(&mut world.store, op.count as i32);
            assert_eq!(block_on_counted(call).0?, op.expected(op.parts()), "{}", op.name);
            world.store = Store::new(world.module.engine(), 0);
            world.again()?;
        }
        Ok(())
    })
}

/// What is refused costs what was done before, and ends with its own trap.
#[test]
fn what_is_refused_costs_nothing() -> Result<()> {
    let items = r#"
        (memory $m i64 1) (memory $n 1) (type $a (array (mut i32))) (type $b (array (mut funcref)))
        (type $v (array (mut v128))) (type $r (array (mut anyref)))
        (table $t i64 4 funcref) (table $u 4 100 anyref)
        (data $d "abc") (elem $e func $f) (func $f)
        (global $many (mut i32) (i32.const -1))"#;
    let (memory, table, array) =
        (Trap::MemoryOutOfBounds, Trap::TableOutOfBounds, Trap::ArrayOutOfBounds);
    let new = "(array.new_default $a (i32.const 4))";
    let refs = "(array.new_default $r (i32.const 4))";
    let cases = [
        ("(memory.fill $m (i64.const 0) (i32.const 0) (i64.const -1))".to_owned(), memory, 5),
        ("(memory.fill $n (i32.const 1) (i32.const 0) (global.get $many))".to_owned(), memory, 5),
        ("(memory.copy $m $m (i64.const 0) (i64.const 0) (i64.const -1))".to_owned(), memory, 5),
        ("(memory.copy $m $n (i64.const 0) (i32.const 0) (i32.const -1))".to_owned(), memory, 5),
        ("(memory.init $n $d (i32.const 0) (i32.const 0) (i32.const -1))".to_owned(), memory, 5),
        (format!("(array.fill $a {new} (i32.const 0) (i32.const 0) (i32.const -1))"), array, 11),
        (format!("(array.fill $a {new} (i32.const 0) (i32.const 0) (i32.const 5))"), array, 11),
        (
            format!("(array.fill $r {refs} (i32.const 0) (ref.null any) (global.get $many))"),
            array,
            11,
        ),
        (
            format!("(array.copy $a $a {new} (i32.const 0) {new} (i32.const 0) (i32.const -1))"),
            array,
            17,
        ),
        (
            format!("(array.copy $r $r {refs} (i32.const 0) {refs} (i32.const 1) (i32.const 4))"),
            array,
            17,
        ),
        (
            format!("(array.init_data $a $d {new} (i32.const 0) (i32.const 0) (i32.const -1))"),
            array,
            11,
        ),
        (
            "(array.init_elem $b $e (array.new_default $b (i32.const 4)) (i32.const 0)
                (i32.const 0) (i32.const 2))"
                .to_owned(),
            table,
            11,
        ),
        ("(table.fill $t (i64.const 0) (ref.null func) (i64.const -1))".to_owned(), table, 5),
        ("(table.fill $u (i32.const 1) (ref.null any) (i32.const -1))".to_owned(), table, 5),
        ("(table.copy $t $t (i64.const 0) (i64.const 0) (i64.const -1))".to_owned(), table, 5),
        ("(table.init $t $e (i64.const 0) (i32.const 0) (i32.const -1))".to_owned(), table, 5),
        ("(drop (array.new_data $a $d (i32.const 0) (i32.const -1)))".to_owned(), memory, 4),
        ("(drop (array.new_elem $b $e (i32.const 0) (i32.const -1)))".to_owned(), table, 4),
    ];
    // Compiled code that traps does not write the fuel.
    let allocations = [
        "(drop (array.new_default $a (i32.const -1)))",
        "(drop (array.new $a (i32.const 1) (global.get $many)))",
        "(drop (array.new $r (ref.i31 (i32.const 1)) (i32.const -1)))",
        "(drop (array.new $v (v128.const i64x2 1 1) (i32.const -1)))",
    ];
    let failures = [
        "(drop (table.grow $t (ref.null func) (i64.const -1)))",
        "(drop (table.grow $t (ref.func $f) (i64.const 20000000)))",
        "(drop (table.grow $u (ref.i31 (i32.const 1)) (i32.const 97)))",
        "(drop (memory.grow $m (i64.const -1)))",
        "(drop (memory.grow $n (i32.const 65536)))",
    ];
    let mut text = format!("(module {items} (elem declare func $f)");
    for (i, (body, ..)) in cases.iter().enumerate() {
        text.push_str(&format!("(func (export \"case {i}\") {body})\n"));
    }
    for (i, body) in allocations.iter().chain(&failures).enumerate() {
        text.push_str(&format!("(func (export \"{i}\") {body})\n"));
    }
    text.push(')');
    crate::common::everywhere(|setting| {
        let (mut store, instance) = with_fuel(setting, PLENTY, &text)?;
        let instance = instance?;
        for (i, (body, expected, cost)) in cases.iter().enumerate() {
            store.set_fuel(1_000_000)?;
            let func = instance.get_func(&mut store, &format!("case {i}")).unwrap();
            assert_eq!(trap(call(&mut store, &func)), *expected, "{body}");
            assert_eq!(1_000_000 - store.get_fuel()?, *cost, "{body}");
        }
        for (i, body) in allocations.iter().enumerate() {
            store.set_fuel(1_000_000)?;
            let func = instance.get_func(&mut store, &i.to_string()).unwrap();
            assert_eq!(trap(call(&mut store, &func)), Trap::AllocationTooLarge, "{body}");
            assert_eq!(store.get_fuel()?, 1_000_000, "{body}");
        }
        for (i, body) in failures.iter().enumerate() {
            store.set_fuel(1_000_000)?;
            let func = instance.get_func(&mut store, &(i + allocations.len()).to_string()).unwrap();
            call(&mut store, &func).map_err(|error| error.context(*body))?;
            let operators = body.matches('(').count() as u64 - 1;
            assert_eq!(1_000_000 - store.get_fuel()?, 1 + operators, "{body}");
        }
        Ok(())
    })
}

/// A memory that must be moved to grow is copied. That ends too, and the memory is as before.
#[test]
fn a_memory_that_moves_can_be_interrupted() -> Result<()> {
    let text = r#"(module
        (import "host" "before" (func $before))
        (memory (export "m") 40)
        (func (export "grow") (result i32) (memory.grow (i32.const 40)))
        (func (export "interrupted") (result i32) (call $before) (memory.grow (i32.const 40))))"#;
    let mut config = Config::new();
    config.memory_reservation(40 << 16).memory_reservation_for_growth(0).interruptible(true);
    let engine = Engine::new(&config)?;
    let module = Module::new(&engine, text)?;
    let mut store = Store::new(&engine, ());
    let handle = Arc::new(store.interrupt_handle()?);
    let interrupt = handle.clone();
    let before = Func::wrap(&mut store, move || interrupt.interrupt());
    let instance = Instance::new(&mut store, &module, &[before.into()])?;
    let memory = instance.get_memory(&mut store, "m").unwrap();
    memory.data_mut(&mut store)[1_000_000] = 9;
    let interrupted = instance.get_typed_func::<(), i32>(&mut store, "interrupted")?;
    assert_eq!(trap(interrupted.call(&mut store, ())), Trap::Interrupt);
    assert_eq!((memory.size(&store), memory.data(&store)[1_000_000]), (40, 9));
    store.clear_interrupt()?;
    let grow = instance.get_typed_func::<(), i32>(&mut store, "grow")?;
    assert_eq!(grow.call(&mut store, ())?, 40);
    assert_eq!((memory.size(&store), memory.data(&store)[1_000_000]), (80, 9));
    Ok(())
}

/// While a table grows, a callback sees its old size, and cannot grow it.
#[test]
fn a_growing_table_is_seen_when_it_has_grown() -> Result<()> {
    each_collector(|setting| {
        let engine = Engine::new(config(setting).epoch_interruption(true))?;
        let module = Module::new(
            &engine,
            r#"(module (table (export "t") 1 2000000 (ref any) (ref.i31 (i32.const 1)))
                (func (export "grow") (param i32) (result i32)
                    (table.grow (ref.i31 (i32.const 7)) (local.get 0))))"#,
        )?;
        let mut store = Store::new(&engine, 0);
        store.set_epoch_deadline(1_000_000);
        let instance = Instance::new(&mut store, &module, &[])?;
        let table = instance.get_table(&mut store, "t").unwrap();
        let grow = instance.get_typed_func::<i32, i32>(&mut store, "grow")?;
        store.epoch_deadline_callback(move |mut store| {
            *store.data_mut() += 1;
            store.gc(None)?;
            assert_eq!(table.size(&store), 1);
            assert!(table.get(&mut store, 1).is_none());
            let first = table.get(&mut store, 0).unwrap();
            if *store.data() > 1 {
                let error = table.grow(&mut store, 1, first).unwrap_err();
                assert!(format!("{error:#}").contains("growing already"), "{error:#}");
            }
            Ok(UpdateDeadline::Continue(0))
        });
        store.set_epoch_deadline(0);
        assert_eq!(grow.call(&mut store, 500_000)?, 1);
        assert_eq!((*store.data(), table.size(&store)), (1 + 2, 500_001));
        Ok(())
    })
}
