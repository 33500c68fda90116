//! Builds the list of the numbers from 1 to N and sums it. Compiled code does both. The command
//! line names the collector.
//!
//! ```text
//! cargo run --release -p linked_list -- generational 1000
//! cargo run --release -p linked_list -- generational:nursery=64KiB 1000000
//! ```

// ANCHOR: head
use anyhow::{Context, Result, ensure};
use cranelift_codegen::ir::{InstBuilder, condcodes::IntCC};
use gc_engine::{Collector, Control, Engine, Module, Rooted, Store, Type};

fn main() -> Result<()> {
    let usage = "usage: linked_list COLLECTOR N";
    let mut args = std::env::args().skip(1);
    let collector: Collector = args.next().context(usage)?.parse()?;
    let n: i64 = args.next().context(usage)?.parse().context("N must be a number")?;
    ensure!(args.next().is_none(), "{usage}");
    let zeal = std::env::var("ZEAL").map_or(Ok(0), |zeal| zeal.parse()).context("ZEAL")?;
    // ANCHOR_END: head
    // ANCHOR: engine
    let engine = Engine::builder(collector).zeal(zeal).build()?;
    // ANCHOR_END: engine
    // ANCHOR: types
    let mut module = Module::new(&engine);
    let cell = module.struct_type("cell", [Type::I64, Type::Ref])?;
    // ANCHOR_END: types

    // ANCHOR: list
    // n, n - 1, ..., 1
    module.function("list", [Type::I64], [Type::Ref], |f| {
        let (n, one, nil) = (f.param(0), f.i64(1), f.null());
        let (i, list) = (f.variable(Type::I64), f.variable(Type::Ref));
        f.set(i, one);
        f.set(list, nil);
        f.while_loop(
            |f| {
                let i = f.get(i);
                f.ins().icmp(IntCC::SignedLessThanOrEqual, i, n)
            },
            |f| {
                let (head, tail) = (f.get(i), f.get(list));
                let longer = f.struct_new(&cell, &[head, tail]); // may collect
                f.set(list, longer);
                let next = f.add(head, one);
                f.set(i, next);
            },
        );
        let list = f.get(list);
        f.ret(&[list]);
    })?;
    // ANCHOR_END: list
    // ANCHOR: sum
    module.function("sum", [Type::Ref], [Type::I64], |f| {
        let (list, sum) = (f.variable(Type::Ref), f.variable(Type::I64));
        let (first, zero) = (f.param(0), f.i64(0));
        f.set(list, first);
        f.set(sum, zero);
        f.while_loop(
            |f| f.get(list),
            |f| {
                let (cell_ref, so_far) = (f.get(list), f.get(sum));
                let head = f.struct_get(&cell, cell_ref, 0);
                let tail = f.struct_get(&cell, cell_ref, 1);
                let more = f.add(so_far, head);
                f.set(sum, more);
                f.set(list, tail);
            },
        );
        let sum = f.get(sum);
        f.ret(&[sum]);
    })?;
    // ANCHOR_END: sum

    // ANCHOR: run
    let mut store = Store::new(&engine, ())?;
    store.load(&module.compile()?)?;
    let list = store.function::<i64, Option<Rooted>>("list")?.call(&mut store, n)?;
    let sum = store.function::<Option<Rooted>, i64>("sum")?.call(&mut store, list)?;
    println!("{sum}");
    // ANCHOR_END: run
    Ok(())
}
