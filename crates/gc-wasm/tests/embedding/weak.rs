//! Weak references of the host: handles, maps and finalizers, with objects of programs.

use crate::common::{Drops, Setting, each_collector, everywhere};
use anyhow::Result;
use gc_wasm::{
    AnyRef, Caller, ExternRef, Func, Instance, Module, RootScope, Rooted, Store, Val, WeakMap,
    WeakRooted,
};

/// A store with a module that makes pairs, and links them.
fn pairs(setting: &Setting) -> Result<(Store<()>, Instance)> {
    setting.instantiate(
        r#"(module
            (type $pair (struct (field $number i32) (field $next (mut anyref))))
            (global $kept (mut anyref) (ref.null any))
            (func (export "new") (param i32) (result anyref)
                (struct.new $pair (local.get 0) (ref.null any)))
            (func (export "link") (param anyref anyref)
                (struct.set $pair $next (ref.cast (ref $pair) (local.get 0)) (local.get 1)))
            (func (export "number") (param anyref) (result i32)
                (struct.get $pair $number (ref.cast (ref $pair) (local.get 0))))
            (func (export "keep") (param anyref) (global.set $kept (local.get 0)))
            (func (export "kept") (result anyref) (global.get $kept)))"#,
        &[],
    )
}

fn new(store: &mut RootScope<&mut Store<()>>, pairs: &Instance, n: i32) -> Result<Rooted<AnyRef>> {
    let new = pairs.get_typed_func::<i32, Option<Rooted<AnyRef>>>(&mut *store, "new")?;
    Ok(new.call(&mut *store, n)?.unwrap())
}

fn number(store: &mut Store<()>, pairs: &Instance, pair: Rooted<AnyRef>) -> Result<i32> {
    let number = pairs.get_typed_func::<Option<Rooted<AnyRef>>, i32>(&mut *store, "number")?;
    number.call(store, Some(pair))
}

#[test]
fn handles_do_not_keep_objects() -> Result<()> {
    everywhere(|setting| {
        let (mut store, pairs) = pairs(setting)?;
        let mut scope = RootScope::new(&mut store);
        let (kept, dead) = (new(&mut scope, &pairs, 1)?, new(&mut scope, &pairs, 2)?);
        let keep = pairs.get_typed_func::<Option<Rooted<AnyRef>>, ()>(&mut scope, "keep")?;
        keep.call(&mut scope, Some(kept))?;
        let (kept, dead) = (kept.downgrade(&mut scope)?, dead.downgrade(&mut scope)?);
        let owned = dead.upgrade(&mut scope)?.unwrap().to_owned_rooted(&mut scope)?;
        drop(scope);
        for _ in 0..3 {
            store.gc(None)?;
            assert!(dead.upgrade(&mut store)?.is_some(), "an owned handle keeps it");
            let object = kept.upgrade(&mut store)?.unwrap();
            assert_eq!(number(&mut store, &pairs, object)?, 1);
        }
        let (mut store, pairs) = self::pairs(setting)?;
        assert!(dead.upgrade(&mut store).is_err(), "another store");
        drop((owned, pairs));
        Ok(())
    })
}

#[test]
fn handles_of_dead_objects_refer_to_nothing() -> Result<()> {
    everywhere(|setting| {
        let (mut store, pairs) = pairs(setting)?;
        let mut handles: Vec<WeakRooted<AnyRef>> = Vec::new();
        for i in 0..50 {
            let mut scope = RootScope::new(&mut store);
            let pair = new(&mut scope, &pairs, i)?;
            handles.push(pair.downgrade(&mut scope)?);
        }
        store.gc(None)?;
        for handle in &handles {
            assert_eq!(handle.upgrade(&mut store)?.is_none(), setting.reclaims());
        }
        let number = AnyRef::from_i31(&mut store, gc_wasm::I31::wrapping_u32(7));
        let weak = number.downgrade(&mut store)?;
        store.gc(None)?;
        assert!(weak.upgrade(&mut store)?.is_some(), "an unboxed integer never dies");
        Ok(())
    })
}

#[test]
fn a_key_and_a_value_that_refer_to_each_other_die() -> Result<()> {
    everywhere(|setting| {
        let (mut store, pairs) = pairs(setting)?;
        let map: WeakMap<AnyRef, AnyRef> = WeakMap::new(&mut store)?;
        let keep = pairs.get_typed_func::<Option<Rooted<AnyRef>>, ()>(&mut store, "keep")?;
        for i in 0..10 {
            let mut scope = RootScope::new(&mut store);
            let (key, value) = (new(&mut scope, &pairs, i)?, new(&mut scope, &pairs, 100 + i)?);
            let link: Func = pairs.get_func(&mut scope, "link").unwrap();
            let args = [Val::AnyRef(Some(value)), Val::AnyRef(Some(key))];
            link.call(&mut scope, &args, &mut [])?;
            map.insert(&mut scope, &key, &value)?;
            assert!(map.get(&mut scope, &key)?.is_some());
            if i == 4 {
                keep.call(&mut scope, Some(key))?;
            }
        }
        store.gc(None)?;
        assert_eq!(map.len(&store)?, if setting.reclaims() { 1 } else { 10 });
        // The value of the key that lives is alive only by the map.
        let kept = pairs.get_typed_func::<(), Option<Rooted<AnyRef>>>(&mut store, "kept")?;
        let key = kept.call(&mut store, ())?.unwrap();
        let value = map.get(&mut store, &key)?.unwrap();
        assert_eq!(number(&mut store, &pairs, value)?, 104);
        Ok(())
    })
}

#[test]
fn maps_get_replace_and_remove() -> Result<()> {
    everywhere(|setting| {
        let (mut store, _) = pairs(setting)?;
        let map: WeakMap<ExternRef, ExternRef> = WeakMap::new(&mut store)?;
        let drops = Drops::default();
        let key = ExternRef::new(&mut store, "key")?;
        for _ in 0..3 {
            let mut scope = RootScope::new(&mut store);
            let value = ExternRef::new(&mut scope, drops.value())?;
            map.insert(&mut scope, &key, &value)?;
        }
        store.gc(None)?;
        assert_eq!(map.len(&store)?, 1);
        assert_eq!(drops.count(), if setting.reclaims() { 2 } else { 0 });
        {
            let mut scope = RootScope::new(&mut store);
            let value = map.get(&mut scope, &key)?.unwrap();
            let value = value.data(&scope)?.unwrap();
            assert_eq!(value.downcast_ref::<crate::common::Counted>().unwrap().number, 2);
        }
        assert!(map.remove(&mut store, &key)? && !map.remove(&mut store, &key)?);
        assert!(map.get(&mut store, &key)?.is_none() && map.is_empty(&store)?);
        store.gc(None)?;
        assert_eq!(drops.count(), if setting.reclaims() { 3 } else { 0 });
        Ok(())
    })
}

#[test]
fn finalizers_wait_for_the_host() -> Result<()> {
    everywhere(|setting| {
        let (mut store, pairs) = pairs(setting)?;
        let mut weak = Vec::new();
        for i in 0..3 {
            let mut scope = RootScope::new(&mut store);
            let (a, b) = (new(&mut scope, &pairs, i)?, new(&mut scope, &pairs, 10 + i)?);
            // Each is the last thing that refers to another.
            let link: Func = pairs.get_func(&mut scope, "link").unwrap();
            link.call(&mut scope, &[Val::AnyRef(Some(a)), Val::AnyRef(Some(b))], &mut [])?;
            a.add_finalizer(&mut scope, i)?;
            weak.push(a.downgrade(&mut scope)?);
        }
        assert!(setting.zeal || store.next_finalizable().is_none());
        store.gc(None)?;
        let mut found = Vec::new();
        while let Some((object, value)) = store.next_finalizable() {
            let i = *value.downcast_ref::<i32>().unwrap();
            assert_eq!(number(&mut store, &pairs, object)?, i);
            found.push(i);
        }
        if setting.zeal {
            // Collections before this one have found some of them dead.
            found.sort_unstable();
        }
        assert_eq!(found, if setting.reclaims() { vec![0, 1, 2] } else { vec![] });
        for weak in &weak {
            assert_eq!(weak.upgrade(&mut store)?.is_none(), setting.reclaims());
        }
        Ok(())
    })
}

/// A finalizer that stores its object again, and a cycle.
#[test]
fn a_finalized_object_can_live_on() -> Result<()> {
    each_collector(|setting| {
        let (mut store, pairs) = pairs(setting)?;
        let drops = Drops::default();
        {
            let mut scope = RootScope::new(&mut store);
            let pair = new(&mut scope, &pairs, 5)?;
            let link: Func = pairs.get_func(&mut scope, "link").unwrap();
            link.call(&mut scope, &[Val::AnyRef(Some(pair)), Val::AnyRef(Some(pair))], &mut [])?;
            pair.add_finalizer(&mut scope, drops.value())?;
        }
        store.gc(None)?;
        let Some((object, value)) = store.next_finalizable() else {
            assert!(!setting.reclaims());
            drop(store);
            assert_eq!(drops.count(), 1, "the value is dropped with the store");
            return Ok(());
        };
        assert!(setting.reclaims());
        drop(value);
        let keep = pairs.get_typed_func::<Option<Rooted<AnyRef>>, ()>(&mut store, "keep")?;
        keep.call(&mut store, Some(object))?;
        store.gc(None)?;
        assert!(store.next_finalizable().is_none());
        assert_eq!(number(&mut store, &pairs, object)?, 5);
        Ok(())
    })
}

/// A host function asks for dead objects while the program runs.
#[test]
fn a_host_function_finalizes() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let module = Module::new(
            &engine,
            r#"(module
                (type $pair (struct (field i32)))
                (import "" "watch" (func $watch (param anyref)))
                (import "" "next" (func $next (result anyref)))
                (func (export "run") (result i32) (local $i i32) (local $sum i32)
                    (loop $more
                        (call $watch (struct.new $pair (local.get $i)))
                        (local.set $i (i32.add (local.get $i) (i32.const 1)))
                        (br_if $more (i32.lt_s (local.get $i) (i32.const 20))))
                    (loop $more
                        (block $none
                            (br_on_null $none (call $next))
                            (struct.get $pair 0 (ref.cast (ref $pair)))
                            (local.set $sum (i32.add (local.get $sum)))
                            (br $more)))
                    (local.get $sum)))"#,
        )?;
        let mut linker = gc_wasm::Linker::<u32>::new(&engine);
        linker.func_wrap(
            "",
            "watch",
            |mut caller: Caller<'_, u32>, object: Option<Rooted<AnyRef>>| -> Result<()> {
                object.unwrap().add_finalizer(&mut caller, "watched")
            },
        )?;
        linker.func_wrap(
            "",
            "next",
            |mut caller: Caller<'_, u32>| -> Result<Option<Rooted<AnyRef>>> {
                caller.gc(None)?;
                Ok(caller.next_finalizable().map(|(object, _)| object))
            },
        )?;
        let mut store = Store::new(&engine, 0);
        let instance = linker.instantiate(&mut store, &module)?;
        let sum = instance.get_typed_func::<(), i32>(&mut store, "run")?.call(&mut store, ())?;
        // The last object may still be in a register or a dead slot.
        let all = (0..20).sum::<i32>();
        assert!(if setting.reclaims() { sum == all || sum == all - 19 } else { sum == 0 }, "{sum}");
        Ok(())
    })
}
