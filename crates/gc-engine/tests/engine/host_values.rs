//! Objects that the host makes, reads, writes and holds.

use crate::common::{engines, lists, loaded};
use gc_engine::{
    ArrayRef, Caller, Collector, Engine, Field, Module, Rooted, Scoped, StorageType, Store,
    StructRef, StructType, Type, Val,
};

/// A type with a field of each type that the host knows.
fn all(engine: &Engine) -> StructType {
    let mut module = Module::new(engine);
    let fields = [
        StorageType::I8,
        StorageType::I16,
        StorageType::I32,
        StorageType::I64,
        StorageType::F32,
        StorageType::F64,
        StorageType::Ref,
    ];
    module.struct_type("all", fields).unwrap()
}

#[test]
fn fields_of_all_types_are_written_and_read() {
    for engine in engines() {
        let all = all(&engine);
        let mut store = Store::new(&engine, ()).unwrap();
        let small = Rooted::from_i31(&mut store, 5).unwrap();
        let values = [
            Val::I32(-1),
            Val::I32(-1),
            Val::I32(-1),
            Val::I64(-1),
            Val::F32(1.5),
            Val::F64(2.5),
            Val::Ref(Some(small)),
        ];
        let object = all.new_object(&mut store, &values).unwrap();
        store.collect().unwrap();
        let [i8, i16, i32]: [Field<i32>; 3] = [0, 1, 2].map(|n| all.field(n).unwrap());
        let read = [&i8, &i16, &i32].map(|field| field.get(&mut store, &object).unwrap());
        assert_eq!(read, [0xff, 0xffff, -1]);
        assert_eq!(all.field::<i64>(3).unwrap().get(&mut store, &object).unwrap(), -1);
        assert_eq!(all.field::<f32>(4).unwrap().get(&mut store, &object).unwrap(), 1.5);
        assert_eq!(all.field::<f64>(5).unwrap().get(&mut store, &object).unwrap(), 2.5);
        let reference = all.field::<Option<Rooted>>(6).unwrap();
        let five = reference.get(&mut store, &object).unwrap().unwrap();
        assert_eq!(five.i31(&store).unwrap(), Some(5));
        // An object that refers to itself.
        reference.set(&mut store, &object, Some(object.any())).unwrap();
        store.collect().unwrap();
        let itself = reference.get(&mut store, &object).unwrap().unwrap();
        assert!(itself.same(&object, &store).unwrap());
        reference.set(&mut store, &object, None).unwrap();
        assert!(reference.get(&mut store, &object).unwrap().is_none());
        i8.set(&mut store, &object, 0x1ff).unwrap();
        assert_eq!(i8.get(&mut store, &object).unwrap(), 0xff);
        assert_eq!(i16.get(&mut store, &object).unwrap(), 0xffff, "its neighbour is as before");
    }
}

/// A list of the host's, longer than a nursery has room for, which code sums.
#[test]
fn code_reads_what_the_host_has_made() {
    for engine in engines() {
        let mut store = loaded(&engine, &lists(&engine).0.compile().unwrap()).unwrap();
        let cell = store.struct_type("cell").unwrap();
        let mut list: Option<Rooted> = None;
        for n in 1..=2000 {
            let fields = [Val::I64(n), Val::Ref(list)];
            list = Some(cell.new_object(&mut store, &fields).unwrap().any());
        }
        let sum = store.function::<Option<Rooted>, i64>("sum").unwrap();
        assert_eq!(sum.call(&mut store, list).unwrap(), 2001 * 1000);
    }
}

#[test]
fn host_functions_take_and_make_objects() {
    for engine in engines() {
        let mut store = loaded(&engine, &lists(&engine).0.compile().unwrap()).unwrap();
        let string = Module::new(&engine).array_type("string", StorageType::I8).unwrap();
        let head: Field<i64> = store.struct_type("cell").unwrap().field(0).unwrap();
        let show = {
            let string = string.clone();
            move |mut caller: Caller<'_, ()>, cell: Rooted<StructRef>, n: i64| {
                let head = head.get(&mut caller, &cell)?;
                caller.collect()?;
                string.new_bytes(&mut caller, format!("{head} {n}").as_bytes())
            }
        };
        store.func_wrap("show", show).unwrap();
        let mut module = Module::new(&engine);
        let show = module.import("show", [Type::Ref, Type::I64], [Type::Ref]).unwrap();
        let run = module.function("run", [Type::Ref, Type::I64], [Type::Ref], |f| {
            let args = [f.param(0), f.param(1)];
            let shown = f.call(&show, &args);
            f.ret(&shown);
        });
        run.unwrap();
        store.load(&module.compile().unwrap()).unwrap();
        let list = store.function::<i64, Rooted>("list").unwrap().call(&mut store, 3).unwrap();
        let run = store.function::<(Option<Rooted>, i64), Rooted<ArrayRef>>("run").unwrap();
        let shown = run.call(&mut store, (Some(list), 7)).unwrap();
        assert_eq!(string.bytes(&mut store, &shown).unwrap(), b"1 7");

        // What is no struct does not reach the closure.
        let small = Rooted::from_i31(&mut store, 1).unwrap();
        for (wrong, expected) in [
            (Some(small), "the reference is not to a struct"),
            (Some(shown.any()), "the reference is not to a struct"),
            (None, "the reference is null: an `Option<Rooted>` may be null"),
        ] {
            let error = run.call(&mut store, (wrong, 1)).unwrap_err();
            assert_eq!(error.root_cause().to_string(), expected);
        }
    }
}

#[test]
fn wrong_values_and_types_are_errors() {
    let engine = Engine::new(Collector::default()).unwrap();
    let mut module = Module::new(&engine);
    let pair = module.struct_type("pair", [Type::I64, Type::Ref]).unwrap();
    let other = module.struct_type("other", [Type::I64, Type::Ref]).unwrap();
    let longs = module.array_type("longs", Type::I64).unwrap();
    let mut store = Store::new(&engine, ()).unwrap();
    let error = |result: anyhow::Result<()>, expected: &str| {
        assert_eq!(format!("{:#}", result.unwrap_err()), expected);
    };
    let new = |store: &mut Store<()>, values: &[Val]| pair.new_object(store, values);
    error(new(&mut store, &[]).map(drop), "a `pair` has 2 fields, but is given 0");
    error(
        new(&mut store, &[Val::I32(1), Val::Ref(None)]).map(drop),
        "field 0 of a `pair`: it is of type i64, but the value is of type i32",
    );
    error(pair.field::<i32>(0).map(drop), "field 0 of the type `pair` is of type i64, not i32");
    error(pair.field::<i32>(2).map(drop), "there is no field 2: the number of fields is 2");
    error(
        longs.new_bytes(&mut store, b"a").map(drop),
        "the elements of a `longs` are of type i64, not i8",
    );
    error(
        longs.new_array(&mut store, &[Val::I64(1), Val::F64(1.0)]).map(drop),
        "element 1 of a `longs`: it is of type i64, but the value is of type f64",
    );

    let object = new(&mut store, &[Val::I64(1), Val::Ref(None)]).unwrap();
    let field: Field<i64> = other.field(0).unwrap();
    error(field.get(&mut store, &object).map(drop), "the object is a `pair`, not a `other`");
    error(field.set(&mut store, &object, 1), "the object is a `pair`, not a `other`");
    error(object.cast::<ArrayRef>(&store).map(drop), "the reference is not to an array");
    let array = longs.new_array(&mut store, &[]).unwrap();
    assert_eq!(longs.len(&mut store, &array).unwrap(), 0);
    assert!(longs.get(&mut store, &array, 0).is_err());

    // Another store, in which the type has another layout.
    let mut second = Store::new(&engine, ()).unwrap();
    let strange = Module::new(&engine).struct_type("pair", [Type::I32]).unwrap();
    strange.new_object(&mut second, &[Val::I32(1)]).unwrap();
    error(
        new(&mut second, &[Val::I64(1), Val::Ref(None)]).map(drop),
        "the type `pair` is a struct (i64, ref), but it is a struct (i32) in the store",
    );
    let values = [Val::I64(1), Val::Ref(Some(object.any()))];
    let foreign = other.new_object(&mut second, &values).unwrap_err();
    assert!(format!("{foreign:#}").contains("wrong store"), "{foreign:#}");
    error(second.array_type("pair").map(drop), "the type `pair` is a struct (i32)");
    error(second.struct_type("none").map(drop), "the code of the store has no type `none`");
}

#[test]
fn weak_handles_keep_nothing_alive() {
    for engine in engines() {
        let cell = Module::new(&engine).struct_type("cell", [Type::I64, Type::Ref]).unwrap();
        let mut store = Store::new(&engine, ()).unwrap();
        let object = cell.new_object(&mut store, &[Val::I64(7), Val::Ref(None)]).unwrap();
        let weak = object.downgrade(&mut store).unwrap();
        store.collect().unwrap();
        assert!(weak.upgrade(&mut store).unwrap().unwrap().same(&object, &store).unwrap());
        drop(object);
        store.collect().unwrap();
        let frees = engine.collector().name() != "null";
        assert_eq!(weak.upgrade(&mut store).unwrap().is_none(), frees);
    }
}

#[test]
fn a_full_heap_is_an_error() {
    let engine = Engine::builder(Collector::copying()).heap_maximum(1 << 20).build().unwrap();
    let longs = Module::new(&engine).array_type("longs", Type::I64).unwrap();
    let mut store = Store::new(&engine, ()).unwrap();
    let values = vec![Val::I64(0); 1 << 18];
    let error = longs.new_array(&mut store, &values).unwrap_err();
    assert!(error.to_string().contains("memory"), "{error}");
    longs.new_array(&mut store, &values[..1000]).unwrap();
}

/// Scoped handles keep their objects through collections, until the host function that got them returns.
#[test]
fn scoped_handles_end_with_their_scope() {
    type Kept = Vec<Scoped>;
    for engine in engines() {
        let mut module = lists(&engine).0;
        let cell = module.struct_type("cell", [Type::I64, Type::Ref]).unwrap();
        let (head, tail) =
            (cell.field::<i64>(0).unwrap(), cell.field::<Option<Scoped>>(1).unwrap());
        let last = module.import("last", [Type::Ref, Type::I64], [Type::Ref]).unwrap();
        let run = module.function("run", [Type::I64], [Type::I64], |f| {
            let n = f.param(0);
            let list = f.call("list", &[n])[0];
            let object = f.call(&last, &[list, n])[0];
            let value = f.call("head", &[object]);
            f.ret(&value);
        });
        run.unwrap();
        let mut store = Store::new(&engine, Kept::new()).unwrap();
        let walk = move |mut caller: Caller<'_, Kept>, list: Scoped<StructRef>, n: i64| {
            assert_eq!(head.get(&mut caller, &list)?, 1);
            let mut last = list;
            while let Some(next) = tail.get(&mut caller, &last)? {
                last = next.cast(&caller)?;
                // An inner scope ends; the handles of this one stay.
                let inner = caller.scope(|caller| last.rooted(caller)?.scoped(caller))?;
                assert!(inner.header(&caller).is_err());
                caller.collect()?;
            }
            assert_eq!(head.get(&mut caller, &last)?, n);
            assert!(last.i31(&caller)?.is_none() && last.same(&last.any(), &caller)?);
            assert_eq!(last.type_name(&caller)?, Some("cell"));
            tail.set(&mut caller, &last, Some(list.any()))?;
            caller.data_mut().push(last.any());
            assert_ne!(n, 13, "thirteen");
            anyhow::Ok(last)
        };
        store.func_wrap("last", walk).unwrap();
        store.load(&module.compile().unwrap()).unwrap();
        let run = store.function::<i64, i64>("run").unwrap();
        assert_eq!(run.call(&mut store, 5).unwrap(), 5);
        let panic = std::panic::AssertUnwindSafe(|| run.call(&mut store, 13));
        assert!(std::panic::catch_unwind(panic).is_err());
        assert_eq!(store.gc().scoped_handles(), 0);
        for handle in std::mem::take(store.data_mut()) {
            let error = handle.gc_ref(&store).unwrap_err().to_string();
            assert_eq!(error, "a rooted reference was used after its scope ended");
        }
        // Without a host function, a scope of the host.
        let list = store.function::<i64, Scoped>("list").unwrap();
        let sum = store.function::<Option<Scoped>, i64>("sum").unwrap();
        let kept = store.scope(|store| {
            let list = list.call(store, 4)?;
            store.collect()?;
            assert_eq!(sum.call(store, Some(list))?, 10);
            list.rooted(store)
        });
        assert_eq!(store.gc().scoped_handles(), 0);
        store.collect().unwrap();
        let sum = store.function::<Rooted, i64>("sum").unwrap();
        assert_eq!(sum.call(&mut store, kept.unwrap()).unwrap(), 10);
    }
}

#[test]
fn arguments_that_do_not_fit_are_named() {
    let engine = Engine::new(Collector::copying()).unwrap();
    let mut store = Store::new(&engine, ()).unwrap();
    let take = |_: Caller<'_, ()>, _: i64, _: Rooted<ArrayRef>| ();
    store.func_wrap("take", take).unwrap();
    let take = store.function::<(i64, Option<Rooted>), ()>("take").unwrap();
    let error = take.call(&mut store, (1, None)).unwrap_err();
    assert_eq!(
        format!("{error:#}"),
        "argument 1 of the host's function `take`: the reference is null: an `Option<Rooted>` may be null"
    );
    assert!(Rooted::from_i31(&mut store, 1 << 30).is_err());
    let least = Rooted::from_i31(&mut store, -(1 << 30)).unwrap();
    assert_eq!(least.i31(&store).unwrap(), Some(-(1 << 30)));
}

/// A scope ends in the store in which it began, whatever the host does.
#[test]
fn a_scope_of_another_store_changes_nothing() {
    let engine = Engine::new(Collector::copying()).unwrap();
    let mut stores = [(); 2].map(|()| Store::new(&engine, ()).unwrap());
    let object = all(&engine);
    let [first, second] = &mut stores;
    let array = Module::new(&engine).array_type("bytes", StorageType::I8).unwrap();
    let other = array.new_bytes(second, b"text").unwrap();
    second.scope(|second| {
        let other = other.scoped(second).unwrap();
        first.scope(|first| std::mem::swap(first, second));
        // This is the store in which it was made.
        assert_eq!(array.bytes(first, &other).unwrap(), b"text");
        drop(object);
    });
}
