//! How many elements all tables of a store may have.

mod common;

use anyhow::Result;
use common::{Setting, each_collector, message};
use gc_wasm::{Engine, HeapType, Instance, Module, RefType, Store, Table, TableType, Val};

#[test]
fn the_tables_of_a_store_share_a_limit() -> Result<()> {
    each_collector(tables_share_a_limit)
}

fn tables_share_a_limit(setting: &Setting) -> Result<()> {
    let engine = Engine::new(setting.config().table_elements_maximum(100))?;
    let mut store = Store::new(&engine, ())?;
    let module = Module::new(
        &engine,
        r#"(module
            (table $funcs 40 funcref) (table $refs 10 externref)
            (elem i31ref (ref.i31 (i32.const 1)) (ref.i31 (i32.const 2)))
            (elem (table $more) (i32.const 0) i31ref (ref.i31 (i32.const 1)))
            (table $more 8 i31ref)
            (func (export "funcs") (param i32) (result i32)
                (table.grow $funcs (ref.null func) (local.get 0)))
            (func (export "refs") (param i32) (result i32)
                (table.grow $refs (ref.null extern) (local.get 0)))
            (func (export "drop") (elem.drop 0)))"#,
    )?;
    let instance = Instance::new(&mut store, &module, &[])?;
    let funcs = instance.get_typed_func::<i32, i32>(&mut store, "funcs")?;
    let refs = instance.get_typed_func::<i32, i32>(&mut store, "refs")?;
    // 58 in tables, two in the segment that was not dropped.
    assert_eq!(refs.call(&mut store, 41)?, -1);
    assert_eq!(refs.call(&mut store, 20)?, 10);
    assert_eq!(funcs.call(&mut store, 20)?, 40);
    assert_eq!(funcs.call(&mut store, 1)?, -1);
    instance.get_typed_func::<(), ()>(&mut store, "drop")?.call(&mut store, ())?;
    assert_eq!(refs.call(&mut store, 3)?, -1);
    assert_eq!(refs.call(&mut store, 2)?, 30);
    // What fails says why, and takes nothing.
    let why = ": those of a store may have 100 in all (`table_elements_maximum`), and 0 are left";
    let again = message(Instance::new(&mut store, &module, &[]));
    assert_eq!(again, format!("table 0 cannot have 40 elements{why}"));
    let ty = |min| TableType::new(RefType::new(true, HeapType::Extern), min, None);
    let table = Table::new(&mut store, ty(0), Val::ExternRef(None))?;
    let grown = message(table.grow(&mut store, 1, Val::ExternRef(None)));
    assert_eq!(grown, format!("a table of 0 elements cannot grow by 1{why}"));
    let made = message(Table::new(&mut store, ty(5), Val::ExternRef(None)));
    assert_eq!(made, format!("a table cannot have 5 elements{why}"));
    // Each store has its own.
    Instance::new(Store::new(&engine, ())?, &module, &[])?;
    Ok(())
}
