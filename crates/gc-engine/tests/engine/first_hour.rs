//! Tests of programs under every collector, of handles and of calls.

use crate::common::loaded;
use crate::common::{engines, lists};
use gc_engine::{Collector, Engine, Module, Rooted, StorageType, Store, Type};

#[test]
fn lists_live_through_collections_under_every_collector() {
    for engine in engines() {
        let (module, _) = lists(&engine);
        let mut store = loaded(&engine, &module.compile().unwrap()).unwrap();
        let list = store.function::<i64, Rooted>("list").unwrap();
        let sum = store.function::<Option<Rooted>, i64>("sum").unwrap();
        let kept = list.call(&mut store, 100).unwrap();
        for _ in 0..3 {
            // An object without a handle is garbage.
            list.call(&mut store, 50).unwrap();
            store.collect().unwrap();
            let total = sum.call(&mut store, Some(kept.clone())).unwrap();
            assert_eq!(total, 5050, "{engine:?}");
        }
        assert_eq!(sum.call(&mut store, None).unwrap(), 0);
    }
}

#[test]
fn a_handle_that_is_dropped_keeps_nothing_alive() {
    for name in ["drc", "copying", "generational"] {
        let engine = Engine::builder(Collector::by_name(name).unwrap()).heap_maximum(4 << 20);
        let engine = engine.build().unwrap();
        let (module, _) = lists(&engine);
        let mut store = loaded(&engine, &module.compile().unwrap()).unwrap();
        let list = store.function::<i64, Rooted>("list").unwrap();
        // Each is a quarter of the heap.
        for _ in 0..20 {
            drop(list.call(&mut store, 40_000).unwrap());
        }
        let mut kept = Vec::new();
        let error = loop {
            match list.call(&mut store, 40_000) {
                Ok(list) => kept.push(list),
                Err(error) => break error,
            }
        };
        assert!((1..5).contains(&kept.len()), "{name}: {}", kept.len());
        assert!(error.to_string().contains("GC heap out of memory"), "{name}: {error}");
        assert!(error.to_string().contains("list"), "{name}: {error}");
        // The store can still be used.
        drop(kept);
        list.call(&mut store, 40_000).unwrap();
    }
}

#[test]
fn values_of_every_type_go_in_and_come_out() {
    for engine in engines() {
        let mut module = Module::new(&engine);
        let types = [Type::I32, Type::I64, Type::F32, Type::F64, Type::Ref];
        let all = module.struct_type("all", types).unwrap();
        module
            .function("pack", types, [Type::Ref], |f| {
                let fields: Vec<_> = (0..5).map(|n| f.param(n)).collect();
                let object = f.struct_new(&all, &fields);
                f.ret(&[object]);
            })
            .unwrap();
        module
            .function("unpack", [Type::Ref], types, |f| {
                let object = f.param(0);
                let fields: Vec<_> = (0..5).map(|n| f.struct_get(&all, object, n)).collect();
                f.ret(&fields);
            })
            .unwrap();
        let code = module.compile().unwrap();
        let mut store = loaded(&engine, &code).unwrap();
        type All = (i32, i64, f32, f64, Option<Rooted>);
        let pack = store.function::<All, Rooted>("pack").unwrap();
        let unpack = store.function::<Rooted, All>("unpack").unwrap();
        let inner = pack.call(&mut store, (-1, 2, 0.5, -0.25, None)).unwrap();
        let outer = pack.call(&mut store, (i32::MIN, -7, 1.5, 2.5, Some(inner))).unwrap();
        store.collect().unwrap();
        let (a, b, c, d, inner) = unpack.call(&mut store, outer).unwrap();
        assert_eq!((a, b, c, d), (i32::MIN, -7, 1.5, 2.5));
        let (a, b, c, d, none) = unpack.call(&mut store, inner.unwrap()).unwrap();
        assert_eq!((a, b, c, d), (-1, 2, 0.5, -0.25));
        assert!(none.is_none());
    }
}

#[test]
fn arrays_and_packed_fields() {
    for engine in engines() {
        let mut module = Module::new(&engine);
        let bytes = module.array_type("bytes", StorageType::I8).unwrap();
        let refs = module.array_type("refs", Type::Ref).unwrap();
        let small = module.struct_type("small", [StorageType::I8, StorageType::I16]).unwrap();
        module
            .function("last", [Type::I32], [Type::I32], |f| {
                let (length, one, value) = (f.param(0), f.i32(1), f.i32(0x1ff));
                let array = f.array_new(&bytes, value, length);
                let index = f.sub(length, one);
                let many = f.array_new_default(&refs, length);
                f.array_set(&refs, many, index, array);
                let again = f.array_get(&refs, many, index);
                let last = f.array_get(&bytes, again, index);
                let len = f.array_len(again);
                let pair = f.struct_new(&small, &[last, len]);
                f.struct_set(&small, pair, 0, one);
                let (a, b) = (f.struct_get(&small, pair, 0), f.struct_get(&small, pair, 1));
                let sum = f.add(a, b);
                let sum = f.add(sum, last);
                f.ret(&[sum]);
            })
            .unwrap();
        let mut store = loaded(&engine, &module.compile().unwrap()).unwrap();
        let last = store.function::<i32, i32>("last").unwrap();
        // Elements and fields are truncated to their size: 1, the length 9, and 0xff.
        assert_eq!(last.call(&mut store, 9).unwrap(), 1 + 9 + 0xff, "{engine:?}");
        let error = last.call(&mut store, 0).unwrap_err().to_string();
        assert!(error.contains("out of bounds array access"), "{error}");
    }
}

#[test]
fn stores_of_one_code_are_independent() {
    let engine = Engine::new(Collector::default()).unwrap();
    let (module, _) = lists(&engine);
    let code = module.compile().unwrap();
    let mut stores = [(); 2].map(|()| loaded(&engine, &code).unwrap());
    let mut made = Vec::new();
    for (n, store) in (1..).zip(&mut stores) {
        made.push(store.function::<i64, Rooted>("list").unwrap().call(store, n).unwrap());
    }
    let sum = |store: &Store<()>| store.function::<Rooted, i64>("sum").unwrap();
    for ((expected, store), made) in [1, 3].into_iter().zip(&mut stores).zip(&made) {
        assert_eq!(sum(store).call(store, made.clone()).unwrap(), expected);
    }
    let store = &mut stores[1];
    let error = sum(store).call(store, made.remove(0)).unwrap_err().to_string();
    assert!(error.contains("was used with the wrong store"), "{error}");
}
