//! Limiters and call hooks that answer later, and allocations that yield while the heap is collected.

use crate::common::{Drops, each_collector, everywhere, message};
use crate::executor::{block_on, block_on_counted, block_on_threads, poll_times, wait};
use anyhow::{Result, bail};
use async_trait::async_trait;
use gc_wasm::{
    ArrayRef, ArrayRefPre, ArrayType, CallHook, CallHookHandler, Engine, ExnRef, ExnRefPre,
    ExnType, ExternRef, FieldType, Func, FuncType, HeapType, Instance, Linker, Memory, MemoryType,
    Module, Mutability, Ref, RefType, ResourceLimiterAsync, RootScope, StorageType, Store,
    StoreContextMut, StructRef, StructRefPre, StructType, Table, TableType, Tag, TagType, Val,
    ValType,
};

/// Is pending two times for each question, and then allows what it is told.
struct Limits {
    bytes: usize,
    elements: usize,
    asked: usize,
}

#[async_trait]
impl ResourceLimiterAsync for Limits {
    async fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        self.asked += 1;
        wait(2).await;
        if desired > 1 << 30 {
            bail!("much too large");
        }
        Ok(desired <= self.bytes)
    }

    async fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        self.asked += 1;
        wait(2).await;
        Ok(desired <= self.elements)
    }

    fn gc_heap_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        Ok(desired <= 4 << 20)
    }

    fn instances(&self) -> usize {
        2
    }
}

fn limited(engine: &Engine) -> Store<Limits> {
    let mut store = Store::new(engine, Limits { bytes: 4 << 16, elements: 10, asked: 0 });
    store.limiter_async(|limits| limits);
    store
}

#[test]
fn code_waits_for_the_limiter() -> Result<()> {
    let text = r#"(module
        (type $box (struct (field i32)))
        (memory 1)
        (table $t 2 anyref)
        (func (export "memory") (param i32) (result i32) (memory.grow (local.get 0)))
        (func (export "table") (param i32) (result i32) (local $n i32)
            (local.set $n (table.grow $t (struct.new $box (i32.const 7)) (local.get 0)))
            (if (i32.ge_s (local.get $n) (i32.const 0)) (then
                (local.set $n (i32.add (local.get $n) (struct.get $box 0
                    (ref.cast (ref $box) (table.get $t (i32.sub (table.size $t) (i32.const 1)))))))))
            (local.get $n)))"#;
    everywhere(|setting| {
        let engine = setting.engine()?;
        let module = Module::new(&engine, text)?;
        let mut store = limited(&engine);
        let (instance, pending) = block_on_counted(Instance::new_async(&mut store, &module, &[]));
        let instance = instance?;
        assert_eq!((pending, store.data().asked), (4, 2));
        let memory = instance.get_typed_func::<i32, i32>(&mut store, "memory")?;
        let table = instance.get_typed_func::<i32, i32>(&mut store, "table")?;
        assert_eq!(block_on_counted(memory.call_async(&mut store, 3)).0?, 1);
        let (result, pending) = block_on_counted(memory.call_async(&mut store, 1));
        assert_eq!((result?, pending), (-1, 2));
        let error = block_on(memory.call_async(&mut store, 50_000));
        assert_eq!(message(error), "much too large");
        // The new elements refer to an object that only the waiting code has.
        assert_eq!(block_on_threads(table.call_async(&mut store, 3))?, 2 + 7);
        assert_eq!(block_on(table.call_async(&mut store, 6))?, -1);
        // Nothing grows if the future is dropped.
        assert!(!poll_times(table.call_async(&mut store, 1), 2));
        assert_eq!(block_on(table.call_async(&mut store, 1))?, 5 + 7);

        // The host's own memories and tables.
        const REFUSED: &str =
            "when using an async resource limiter `*_async` functions must be used instead";
        let ty = MemoryType::new(1, None);
        assert_eq!(message(Memory::new(&mut store, ty.clone())), REFUSED);
        let memory = block_on(Memory::new_async(&mut store, ty))?;
        assert_eq!(message(memory.grow(&mut store, 1)), REFUSED);
        assert_eq!(block_on(memory.grow_async(&mut store, 1))?, 1);
        assert!(block_on(memory.grow_async(&mut store, 9)).is_err());
        let ty = TableType::new(RefType::ANYREF, 1, None);
        let null = Ref::null(&HeapType::Any);
        assert_eq!(message(Table::new(&mut store, ty.clone(), null)), REFUSED);
        let table = block_on(Table::new_async(&mut store, ty, null))?;
        assert_eq!(message(table.grow(&mut store, 1, null)), REFUSED);
        assert_eq!(block_on(table.grow_async(&mut store, 1, null))?, 1);
        assert!(block_on(table.grow_async(&mut store, 20, null)).is_err());

        block_on(Instance::new_async(&mut store, &module, &[]))?;
        let third = block_on(Instance::new_async(&mut store, &module, &[]));
        assert_eq!(message(third), "resource limit exceeded: instance count too high at 3");
        // The heap asks at once.
        let full = (0..1 << 20).find_map(|_| {
            let ty = ArrayType::new(&engine, FieldType::new(Mutability::Var, StorageType::I8));
            let pre = ArrayRefPre::new(&mut store, ty);
            ArrayRef::new(&mut store, &pre, &Val::I32(0), 1 << 16).err()
        });
        assert!(full.is_some() && store.gc_heap_capacity() <= 4 << 20);
        Ok(())
    })
}

/// Records what it is told, and collects.
struct Hook;

#[async_trait]
impl CallHookHandler<Vec<CallHook>> for Hook {
    async fn handle_call_event(
        &self,
        mut store: StoreContextMut<'_, Vec<CallHook>>,
        change: CallHook,
    ) -> Result<()> {
        wait(1).await;
        store.gc_async(None).await?;
        store.data_mut().push(change);
        if store.data().len() == 100 {
            bail!("enough");
        }
        Ok(())
    }
}

#[test]
fn calls_wait_for_the_hook() -> Result<()> {
    use CallHook::{CallingHost, CallingWasm, ReturningFromHost, ReturningFromWasm};
    let text = r#"(module
        (type $box (struct (field i32)))
        (import "" "f" (func $f (param anyref) (result i32)))
        (func (export "run") (param anyref) (result i32) (local (ref $box))
            (local.set 1 (struct.new $box (i32.const 3)))
            (i32.add (call $f (local.get 0)) (struct.get $box 0 (local.get 1)))))"#;
    everywhere(|setting| {
        let engine = setting.engine()?;
        let module = Module::new(&engine, text)?;
        let mut store = Store::new(&engine, Vec::new());
        store.call_hook_async(Hook);
        let ty = FuncType::new(&engine, [ValType::ANYREF], [ValType::I32]);
        let field = Func::new(&mut store, ty, |mut caller, params, results| {
            let object = params[0].unwrap_anyref().unwrap().unwrap_struct(&caller)?;
            results[0] = object.field(&mut caller, 0)?;
            Ok(())
        });
        let instance = block_on(Instance::new_async(&mut store, &module, &[field.into()]))?;
        let run = instance.get_func(&mut store, "run").unwrap();
        let ty = StructType::new(&engine, [FieldType::new(Mutability::Var, ValType::I32.into())])?;
        let pre = StructRefPre::new(&mut store, ty);
        let argument = StructRef::new(&mut store, &pre, &[Val::I32(4)])?;
        let mut results = [Val::I32(0)];
        block_on_threads(run.call_async(&mut store, &[argument.into()], &mut results))?;
        assert_eq!(results[0].unwrap_i32(), 7);
        let expected = [CallingWasm, CallingHost, ReturningFromHost, ReturningFromWasm];
        assert_eq!(*store.data(), expected);
        store.data_mut().resize(99, CallingWasm);
        let error = block_on(run.call_async(&mut store, &[argument.into()], &mut results));
        assert_eq!(message(error), "enough");
        Ok(())
    })
}

#[test]
fn allocations_yield_while_the_heap_is_collected() -> Result<()> {
    each_collector(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let drops = Drops::default();
        // What survives makes the collections long.
        let ty = ArrayType::new(&engine, FieldType::new(Mutability::Var, ValType::ANYREF.into()));
        let arrays = ArrayRefPre::new(&mut store, ty);
        let field = FieldType::new(Mutability::Var, ValType::I32.into());
        let boxes = StructRefPre::new(&mut store, StructType::new(&engine, [field])?);
        let kept = ArrayRef::new(&mut store, &arrays, &Val::null_any_ref(), 50_000)?;
        for n in 0..50_000 {
            let mut scope = RootScope::new(&mut store);
            let object = StructRef::new(&mut scope, &boxes, &[Val::I32(n)])?;
            kept.set(&mut scope, n.cast_unsigned(), object.into())?;
        }
        let mut pending = 0;
        for n in 0..30_000 {
            let mut scope = RootScope::new(&mut store);
            let (object, yields) =
                block_on_counted(ExternRef::new_async(&mut scope, drops.value()));
            object?;
            pending += yields;
            if n % 10 == 0 {
                let elements = [Val::null_any_ref(); 400];
                // A future that is dropped leaves the heap as it must be.
                poll_times(ArrayRef::new_fixed_async(&mut scope, &arrays, &elements), n % 3);
                pending += block_on_counted(ArrayRef::new_async(
                    &mut scope,
                    &arrays,
                    &Val::null_any_ref(),
                    400,
                ))
                .1;
            }
        }
        for n in 0..50_000 {
            let mut scope = RootScope::new(&mut store);
            let object = kept.get(&mut scope, n)?.unwrap_anyref().unwrap().unwrap_struct(&scope)?;
            assert_eq!(object.field(&mut scope, 0)?.unwrap_i32(), n.cast_signed());
        }
        // Its collections of such a heap have many increments.
        let expected = setting.collector.name() == "copying";
        assert!(pending > 0 || !expected, "it never yields");
        drop(store);
        assert_eq!(drops.count(), drops.made());
        Ok(())
    })
}

#[test]
fn objects_of_all_kinds_are_allocated() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let bytes = FieldType::new(Mutability::Var, StorageType::I8);
        let bytes = ArrayRefPre::new(&mut store, ArrayType::new(&engine, bytes));
        let array = block_on(ArrayRef::new_from_i8_slice_async(&mut store, &bytes, b"abc"))?;
        assert_eq!(array.len(&store)?, 3);
        let fixed =
            block_on(ArrayRef::new_fixed_async(&mut store, &bytes, &[Val::I32(1), Val::I32(2)]))?;
        assert_eq!(fixed.len(&store)?, 2);
        let field = FieldType::new(Mutability::Var, ValType::I32.into());
        let boxes = StructRefPre::new(&mut store, StructType::new(&engine, [field])?);
        let object = block_on(StructRef::new_async(&mut store, &boxes, &[Val::I32(5)]))?;
        assert_eq!(object.field(&mut store, 0)?.unwrap_i32(), 5);
        let wrong = block_on(StructRef::new_async(&mut store, &boxes, &[]));
        assert_eq!(message(wrong), "expected 1 fields, got 0");
        let ty = FuncType::new(&engine, [ValType::I32], []);
        let tag = Tag::new(&mut store, &TagType::new(ty.clone()))?;
        let exceptions = ExnRefPre::new(&mut store, ExnType::new(&engine, [ValType::I32])?);
        let exception = block_on(ExnRef::new_async(&mut store, &exceptions, &tag, &[Val::I32(6)]))?;
        assert_eq!(exception.field(&mut store, 0)?.unwrap_i32(), 6);
        Ok(())
    })
}

/// A linker's host functions of both kinds in a store with a limiter that answers later.
#[test]
fn a_linker_with_a_limiter() -> Result<()> {
    let engine = Engine::default();
    let mut linker = Linker::<Limits>::new(&engine);
    linker.func_wrap_async("", "wait", |_, (): ()| Box::new(wait(1)))?;
    let text = r#"(module
        (import "" "wait" (func $wait)) (memory 1)
        (func $start (call $wait) (drop (memory.grow (i32.const 1)))) (start $start))"#;
    let module = Module::new(&engine, text)?;
    let mut store = limited(&engine);
    let (instance, pending) = block_on_counted(linker.instantiate_async(&mut store, &module));
    instance?;
    assert_eq!(pending, 2 + 1 + 2);
    Ok(())
}

/// It answers at once or after a while.
struct Slow(bool);

#[async_trait]
impl ResourceLimiterAsync for Slow {
    async fn memory_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
        if self.0 {
            wait(1).await;
        }
        Ok(true)
    }

    async fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
        Ok(true)
    }
}

/// A limiter that knows nothing of heaps decides about them, if it need not wait.
#[test]
fn a_limiter_that_waits_lets_no_heap_grow() -> Result<()> {
    for slow in [false, true] {
        let mut store = Store::new(&Engine::default(), Slow(slow));
        store.limiter_async(|limiter| limiter);
        let made = block_on(ExternRef::new_async(&mut store, 1));
        assert_eq!(made.is_err(), slow, "{:?}", made.err());
    }
    Ok(())
}
