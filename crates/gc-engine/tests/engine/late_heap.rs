//! A store of code without objects has no heap.

use crate::common::loaded;
use gc_engine::{Collector, Engine, Module, Type};

#[test]
fn code_that_declares_no_type_needs_no_heap() {
    for collector in Collector::all() {
        let engine = Engine::new(collector).unwrap();
        for has_type in [false, true] {
            let mut module = Module::new(&engine);
            if has_type {
                module.struct_type("cell", [Type::I32]).unwrap();
            }
            module
                .function("add", [Type::I64, Type::I64], [Type::I64], |f| {
                    let (a, b) = (f.param(0), f.param(1));
                    let sum = f.add(a, b);
                    f.ret(&[sum]);
                })
                .unwrap();
            let mut store = loaded(&engine, &module.compile().unwrap()).unwrap();
            let add = store.function::<(i64, i64), i64>("add").unwrap();
            assert_eq!(add.call(&mut store, (40, 2)).unwrap(), 42);
            assert!(store.collect().unwrap());
            assert_eq!(store.gc().has_heap(), has_type);
        }
    }
}
