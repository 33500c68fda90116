//! Engines and a module for these tests.

use gc_engine::{
    Code, Collector, Control, Engine, HeapBounds, HeapOptions, Module, Store, StructType, Type,
};

/// An engine of each collector, in both bounds modes, with and without zeal.
pub(crate) fn engines() -> Vec<Engine> {
    let mut engines = Vec::new();
    for collector in Collector::all() {
        for bounds in [HeapBounds::Guarded, HeapBounds::Checked] {
            for zeal in [0, 1] {
                let heap = HeapOptions { maximum: 8 << 20, bounds, zeal, ..Default::default() };
                engines.push(Engine::builder(collector.clone()).heap(heap).build().unwrap());
            }
        }
    }
    engines
}

/// A module with functions on lists of integers: `list`, `sum`, `head`.
pub(crate) fn lists(engine: &Engine) -> (Module, StructType) {
    let mut module = Module::new(engine);
    let cell = module.struct_type("cell", [Type::I64, Type::Ref]).unwrap();
    module
        .function("list", [Type::I64], [Type::Ref], |f| {
            let (count, one, nil) = (f.param(0), f.i64(1), f.null());
            let (left, list) = (f.variable(Type::I64), f.variable(Type::Ref));
            f.set(left, count);
            f.set(list, nil);
            f.while_loop(
                |f| f.get(left),
                |f| {
                    let (head, tail) = (f.get(left), f.get(list));
                    let longer = f.struct_new(&cell, &[head, tail]);
                    f.set(list, longer);
                    let less = f.sub(head, one);
                    f.set(left, less);
                },
            );
            let list = f.get(list);
            f.ret(&[list]);
        })
        .unwrap();
    module
        .function("sum", [Type::Ref], [Type::I64], |f| {
            let (first, zero) = (f.param(0), f.i64(0));
            let is_null = f.is_null(first);
            f.if_then(is_null, |f| f.ret(&[zero]));
            let head = f.struct_get(&cell, first, 0);
            let tail = f.struct_get(&cell, first, 1);
            let rest = f.call("sum", &[tail])[0];
            let sum = f.add(head, rest);
            f.ret(&[sum]);
        })
        .unwrap();
    module
        .function("head", [Type::Ref], [Type::I64], |f| {
            let list = f.param(0);
            let head = f.struct_get(&cell, list, 0);
            f.ret(&[head]);
        })
        .unwrap();
    (module, cell)
}

/// A store without data, with this code.
pub(crate) fn loaded(engine: &Engine, code: &Code) -> anyhow::Result<Store<()>> {
    let mut store = Store::new(engine, ())?;
    store.load(code)?;
    Ok(store)
}
