//! Types of an engine are freed with the last module, store or handle that has them. Their indices
//! are then used for other types, so these tests would find a type that is freed too early: another
//! one would take its place.

use gc_wasm::{
    ArrayRef, ArrayRefPre, ArrayType, Collector, Config, Engine, ExnRef, ExnRefPre, ExnType,
    ExternType, FieldType, Finality, Func, FuncType, Global, GlobalType, HeapType, Instance,
    Linker, Module, Mutability, Ref, RefType, Store, StructRef, StructRefPre, StructType, Table,
    TableType, Tag, TagType, Val, ValType,
};

/// An engine in which half of the allocations collect, and verify the heap before and after.
fn engine(collector: &Collector) -> Engine {
    Engine::new(Config::new().collector(collector.clone()).gc_zeal(2)).unwrap()
}

/// A struct type that is another one for each `number`.
fn numbered(engine: &Engine, number: u32) -> StructType {
    let field = |i: u32| match number >> i & 1 {
        0 => FieldType::new(Mutability::Var, ValType::I32.into()),
        _ => FieldType::new(Mutability::Const, ValType::I32.into()),
    };
    StructType::new(engine, (0..20).map(field)).unwrap()
}

/// Makes and drops types, so that every index that is free is used for another type for a moment.
fn use_free_indices(engine: &Engine) {
    let types: Vec<_> = (0..200).map(|n| numbered(engine, n)).collect();
    let subtypes: Vec<_> = (0..200).map(|n| module(engine, n)).collect();
    drop((types, subtypes));
}

/// A module with types that no other one has.
fn module(engine: &Engine, number: u32) -> Module {
    let fields = "(field i64) ".repeat(number as usize % 17);
    let text = format!(
        r#"(module
            (rec (type $a (sub (struct (field (ref null $b)) (field i32))))
                 (type $b (sub $a (struct (field (ref null $b)) (field i32) {fields} (field f64)))))
            (type $list (array (mut (ref null $a))))
            (type $f (func (param (ref null $a)) (result i32)))
            (tag $t (param (ref null $b) i32))
            (table $table 1 (ref null $f))
            (global $kept (export "kept") (mut (ref null $a)) (ref.null $a))
            (elem declare func $get $is_b)
            (func $get (export "get") (type $f) (struct.get $a 1 (local.get 0)))
            (func $is_b (export "is_b") (type $f) (ref.test (ref $b) (local.get 0)))
            (func (export "a") (param i32) (result (ref $a))
                (struct.new $a (ref.null $b) (local.get 0)))
            (func (export "b") (param i32) (result (ref $a))
                (struct.set_kept (local.get 0)))
            (func (export "caught") (param i32) (result i32)
                (block $h (result (ref null $b) i32)
                    (try_table (catch $t $h) (throw $t (ref.null $b) (local.get 0)))
                    unreachable)
                (return)))"#
    );
    let new_b = format!(
        "(struct.new $b (ref.null $b) (local.get 0) {} (f64.const {number}))",
        "(i64.const 1) ".repeat(number as usize % 17)
    );
    let text = text
        .replace("(struct.set_kept (local.get 0))", &new_b)
        .replace("(return)))", "(local.set 0) (drop) (local.get 0)))");
    Module::new(engine, text).unwrap()
}

/// More modules than an engine has indices, each with types of its own. Without the code that frees
/// them this would end with an error.
#[test]
fn an_engine_has_no_limit_of_types_over_time() {
    let engine = Engine::default();
    // Each module has 2^16 types, so 18 modules have more than the 2^20 types of an engine.
    for round in 0..18 {
        let field = |bit| if round >> bit & 1 == 0 { "i32" } else { "i64" };
        let own: String = (0..6).map(|bit| format!("(field {})", field(bit))).collect();
        let ty = |n: u32| format!("(type (struct {own} (field (ref null {n}))))");
        let types: String = (0..1 << 16).map(ty).collect();
        let module = Module::new(&engine, format!("(module (rec {types}))")).unwrap();
        let mut store = Store::new(&engine, ());
        Instance::new(&mut store, &module, &[]).unwrap();
        // It never gets beyond the number of types that one module has.
        FuncType::new(&engine, [const { ValType::I32 }; 9], []);
    }
}

#[test]
fn a_host_functions_type_is_freed_with_its_store() {
    let engine = Engine::default();
    for round in 0..3000u32 {
        let mut store = Store::new(&engine, ());
        let params =
            (0..12).map(|bit| if round >> bit & 1 == 0 { ValType::I32 } else { ValType::I64 });
        let ty = FuncType::new(&engine, params, []);
        let func = Func::new(&mut store, ty, |_, _, _| Ok(()));
        use_free(&engine, round);
        assert_eq!(func.ty(&store).params().len(), 12);
        assert_eq!(func.ty(&store).param(11).unwrap().is_i64(), round >> 11 & 1 == 1);
    }
}

/// Like [`use_free_indices`], and faster.
fn use_free(engine: &Engine, number: u32) {
    let types: Vec<_> = (0..4).map(|n| numbered(engine, number + n)).collect();
    drop(types);
}

#[test]
fn objects_keep_their_types() {
    for collector in Collector::all() {
        let engine = engine(&collector);
        let mut store = Store::new(&engine, ());
        let base = StructType::with_finality_and_supertype(
            &engine,
            Finality::NonFinal,
            None,
            [FieldType::new(Mutability::Var, ValType::I64.into())],
        )
        .unwrap();
        let sub = StructType::with_finality_and_supertype(
            &engine,
            Finality::Final,
            Some(&base),
            [ValType::I64, ValType::F32].map(|ty| FieldType::new(Mutability::Var, ty.into())),
        )
        .unwrap();
        let bytes =
            ArrayType::new(&engine, FieldType::new(Mutability::Var, gc_wasm::StorageType::I8));
        let pre = StructRefPre::new(&mut store, sub);
        let object = StructRef::new(&mut store, &pre, &[Val::I64(7), Val::F32(8)]).unwrap();
        let array_pre = ArrayRefPre::new(&mut store, bytes);
        let array = ArrayRef::new(&mut store, &array_pre, &Val::I32(9), 3).unwrap();
        // Only the objects have the subtype and the array type now.
        drop((pre, array_pre));
        use_free_indices(&engine);
        store.gc(None).unwrap();
        let ty = object.ty(&store).unwrap();
        assert!(ty.matches(&base), "{collector:?}");
        assert_eq!(ty.supertype(), Some(base.clone()));
        assert_eq!(ty.fields().len(), 2);
        assert!(object.matches_ty(&store, &base).unwrap());
        assert!(!object.matches_ty(&store, &numbered(&engine, 3)).unwrap());
        assert_eq!(object.field(&mut store, 0).unwrap().unwrap_i64(), 7);
        assert_eq!(array.len(&store).unwrap(), 3);
        assert_eq!(array.ty(&store).unwrap().element_type(), gc_wasm::StorageType::I8);
        use_free_indices(&engine);
        store.gc(None).unwrap();
        assert_eq!(array.get(&mut store, 2).unwrap().unwrap_i32(), 9);
    }
}

#[test]
fn items_of_a_store_keep_their_types() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let nullable = |ty: StructType| RefType::new(true, HeapType::ConcreteStruct(ty));
    let global = {
        let ty = GlobalType::new(nullable(numbered(&engine, 1001)).into(), Mutability::Var);
        Global::new(&mut store, ty, Val::AnyRef(None)).unwrap()
    };
    let table = {
        let ty = TableType::new(nullable(numbered(&engine, 1002)), 1, None);
        Table::new(&mut store, ty, Ref::Any(None)).unwrap()
    };
    let tag = {
        let func = FuncType::new(&engine, [nullable(numbered(&engine, 1003)).into()], []);
        Tag::new(&mut store, &TagType::new(func)).unwrap()
    };
    let func = {
        let ty = FuncType::new(&engine, [nullable(numbered(&engine, 1004)).into()], []);
        Func::new(&mut store, ty, |_, _, _| Ok(()))
    };
    let exception = {
        let ty = ExnType::from_tag_type(&tag.ty(&store)).unwrap();
        let pre = ExnRefPre::new(&mut store, ty);
        ExnRef::new(&mut store, &pre, &tag, &[Val::AnyRef(None)]).unwrap()
    };
    use_free_indices(&engine);
    let struct_of = |ty: &ValType| ty.unwrap_ref().heap_type().unwrap_concrete_struct().clone();
    assert_eq!(struct_of(global.ty(&store).content()), numbered(&engine, 1001));
    let element = table.ty(&store).element().clone();
    assert_eq!(struct_of(&element.into()), numbered(&engine, 1002));
    assert_eq!(struct_of(&tag.ty(&store).ty().param(0).unwrap()), numbered(&engine, 1003));
    assert_eq!(struct_of(&func.ty(&store).param(0).unwrap()), numbered(&engine, 1004));
    let field = exception.ty(&store).unwrap().field(0).unwrap();
    assert_eq!(struct_of(field.element_type().unpack()), numbered(&engine, 1003));

    let other = numbered(&engine, 1002);
    let pre = StructRefPre::new(&mut store, other);
    let object = StructRef::new(&mut store, &pre, &[Val::I32(1); 20]).unwrap().to_anyref();
    assert!(global.set(&mut store, object.into()).is_err());
    table.set(&mut store, 0, object.into()).unwrap();
    assert!(func.call(&mut store, &[object.into()], &mut []).is_err());
}

#[test]
fn handles_to_types_keep_them() {
    let engine = Engine::default();
    let exports: Vec<ExternType> = module(&engine, 5).exports().map(|export| export.ty()).collect();
    use_free_indices(&engine);
    let get = exports[1].unwrap_func();
    let a = get.param(0).unwrap();
    let a = a.unwrap_ref().heap_type().unwrap_concrete_struct();
    let b = a.field(0).unwrap().element_type().unpack().unwrap_ref().heap_type().clone();
    assert!(b.unwrap_concrete_struct().matches(a));
    // The same module again has the same types.
    let again = module(&engine, 5);
    assert_eq!(again.get_export("get").unwrap().unwrap_func(), get);
    assert_ne!(module(&engine, 6).get_export("get").unwrap().unwrap_func(), get);
}

#[test]
fn instances_keep_their_types() {
    for collector in Collector::all() {
        let engine = engine(&collector);
        let mut store = Store::new(&engine, ());
        let instances: Vec<Instance> =
            (0..8).map(|n| Instance::new(&mut store, &module(&engine, n), &[]).unwrap()).collect();
        use_free_indices(&engine);
        for (n, instance) in instances.iter().enumerate() {
            let mut made = [Val::null_any_ref()];
            let make = |store: &mut Store<()>, name, out: &mut [Val]| {
                let make = instance.get_func(&mut *store, name).unwrap();
                make.call(store, &[Val::I32(n as i32)], out).unwrap();
            };
            for (name, is_b) in [("a", 0), ("b", 1)] {
                make(&mut store, name, &mut made);
                for (name, expected) in [("get", n as i32), ("is_b", is_b)] {
                    let func = instance.get_func(&mut store, name).unwrap();
                    let mut result = [Val::I32(-1)];
                    func.call(&mut store, &made, &mut result).unwrap();
                    assert_eq!(result[0].unwrap_i32(), expected, "{collector:?}: {name} of {n}");
                    // Objects of other instances are of other types.
                    let other = instances[(n + 1) % 8].get_func(&mut store, name).unwrap();
                    assert!(other.call(&mut store, &made, &mut result).is_err());
                }
            }
            let caught = instance.get_typed_func::<i32, i32>(&mut store, "caught").unwrap();
            assert_eq!(caught.call(&mut store, 7).unwrap(), 7);
            store.gc(None).unwrap();
        }
    }
}

#[test]
fn a_linkers_definitions_keep_their_types() {
    let engine = Engine::default();
    let importing = |number| {
        let fields = "(field i64) ".repeat(number);
        Module::new(&engine, format!(
            r#"(module (type $t (struct {fields} (field (ref null 0)))) (import "" "g" (global (ref null $t))))"#
        )).unwrap()
    };
    let mut linker = Linker::<()>::new(&engine);
    {
        let mut store = Store::new(&engine, ());
        let wanted = importing(3);
        let ty = wanted.imports().next().unwrap().ty();
        let global =
            Global::new(&mut store, ty.unwrap_global().clone(), Val::AnyRef(None)).unwrap();
        linker.define(&store, "", "g", global).unwrap();
    }
    // The store and the module are gone. Another type must not be taken for theirs.
    use_free_indices(&engine);
    for number in 0..10 {
        let fits = linker.instantiate_pre(&importing(number)).is_ok();
        assert_eq!(fits, number == 3, "{number}");
    }
}

#[test]
fn threads_make_and_drop_modules_while_others_run() {
    for collector in Collector::all() {
        let engine = &engine(&collector);
        let run = |module: &Module, n: u32| {
            let mut store = Store::new(engine, ());
            let instance = Instance::new(&mut store, module, &[]).unwrap();
            for (name, is_b) in [("a", 0), ("b", 1)] {
                let make = instance.get_func(&mut store, name).unwrap();
                let mut made = [Val::null_any_ref()];
                make.call(&mut store, &[Val::I32(n as i32)], &mut made).unwrap();
                store.gc(None).unwrap();
                for (name, expected) in [("get", n as i32), ("is_b", is_b)] {
                    let func = instance.get_func(&mut store, name).unwrap();
                    let mut result = [Val::I32(-1)];
                    func.call(&mut store, &made, &mut result).unwrap();
                    assert_eq!(result[0].unwrap_i32(), expected, "{collector:?}: {name} of {n}");
                }
            }
        };
        let shared = &module(engine, 3);
        std::thread::scope(|scope| {
            for thread in 0..2 {
                scope.spawn(move || (0..300).for_each(|n| run(shared, n + thread)));
                // Neighbours often have the same types, so that these are freed and made at once.
                scope.spawn(move || (0..30).for_each(|n| run(&module(engine, n + thread), n)));
            }
        });
    }
}
