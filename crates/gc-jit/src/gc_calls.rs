//! The heap's host calls ([`HostCall::GC`]) over the [`GcStore`](gc_heap::GcStore) of any
//! store.
//!
//! Their arguments come from emitted code and may come from the heap, so they are as untrusted as
//! the heap's bytes. An allocation collects and grows the heap as the store's policy says, with all
//! roots of the store. The new reference is exposed to compiled code (`expose_gc_ref_to_wasm`) when
//! it is returned.

use crate::{HostCallShim, JitStore, Work, exceptions, with_handles};
use anyhow::{Result, bail, ensure};
use gc_heap::{GcStore, Handle};
use gc_types::host_calls::{ExposedRef, Ref, Thrown};
use gc_types::{
    Abi, HostCall, HostSignature, StorageType, Trap, TypeIndex, VMGcHeader, VMGcKind, VMGcRef,
};
use std::fmt;
use std::iter;
use std::marker::PhantomData;
use std::sync::Arc;

gc_types::gc_host_calls! {
    [crate::host_calls] @trait [
        /// The heap's host calls. They are told the address of the heap that the calling code uses.
        pub(crate) trait GcHostCalls, named "gc_", vmctx => *mut u8: vmctx.heap_base
    ]
}

/// The host functions of compiled code over stores of type `S`: the heap's, and the embedder's
/// behind them. All stores of an engine can share one table. Clones are the same table.
///
/// # Examples
/// Compiled code passes a number to the host:
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/store.rs.in"));
/// # use cranelift_codegen::ir::InstBuilder;
/// # use gc_jit::{CodeMemory, JitState, call};
/// # use gc_runtime::{GcStore, HeapOptions, collector::CopyingCollector};
/// # use gc_types::{CallSignature, ValRaw, ValueType};
/// # use std::sync::Arc;
/// use gc_compiler::import_host_call;
/// use gc_jit::{HostCallTable, JitStore};
/// use gc_types::HostCall;
///
/// gc_jit::host_calls! {
///     /// The host calls of the language.
///     pub trait Runtime;
///     /// The host calls with their numbers and signatures.
///     pub const CALLS from HostCall::FIRST_EMBEDDER, named "toy_";
///
///     /// Adds to the sum.
///     ADD: fn add(number: u64);
/// }
///
/// struct MyStore {
///     jit: JitState<MyStore>,
///     sum: u64,
/// }
///
/// impl Runtime for MyStore {
///     fn add(&mut self, _caller: usize, number: u64) {
///         self.sum += number;
///     }
/// }
/// # impl JitStore for MyStore {
/// #     fn jit(&self) -> &JitState<MyStore> {
/// #         &self.jit
/// #     }
/// #
/// #     fn jit_mut(&mut self) -> &mut JitState<MyStore> {
/// #         &mut self.jit
/// #     }
/// # }
///
/// # fn main() -> anyhow::Result<()> {
/// # let options = HeapOptions::default();
/// let abi = options.abi(&CopyingCollector).with_host_calls(CALLS.iter().copied());
/// # let abi = Arc::new(abi);
/// # let signature = CallSignature::new([ValueType::I64], []);
/// # let image = compile(&abi, &signature, |builder, params| {
/// let callee = import_host_call(builder.func, ADD, abi.host_call(ADD).unwrap());
/// builder.ins().call(callee, &[params[0], params[1]]); // The first one is the vmctx.
/// #     builder.ins().return_(&[]);
/// # })?;
/// # let code = CodeMemory::publish(image, &abi, &[])?;
///
/// # let gc = GcStore::new(&CopyingCollector, &options)?;
/// let host_calls = HostCallTable::new(&abi, &MyStore::host_calls())?;
/// let jit = JitState::new(gc, &host_calls, 1 << 20)?;
/// let mut store = MyStore { jit, sum: 0 };
/// # store.jit_mut().keep_alive(code.clone())?;
/// # let trampoline = code.entry_trampoline(&signature).unwrap();
/// # let function = code.function_address(0).unwrap();
/// # let mut vmctx = Box::new(store.jit_mut().vmctx_prefix(0)?);
/// # let vmctx = (&raw mut *vmctx).cast();
/// # let mut values = [ValRaw::i64(42)];
/// # // SAFETY: the function takes a number. The store has its code and the vmctx.
/// # unsafe { call(&mut store, &trampoline, function, vmctx, &mut values)? };
/// // When the compiled function was called with 42:
/// assert_eq!(store.sum, 42);
/// # Ok(())
/// # }
/// ```
pub struct HostCallTable<S> {
    /// The ABI of the code that calls them.
    abi: Arc<Abi>,
    /// Addresses, by [`HostCall`] index.
    addresses: Arc<[usize]>,
    _store: PhantomData<fn(&mut S)>,
}

impl<S: JitStore> HostCallTable<S> {
    /// The table for code with the ABI `abi`, of an embedder that has these host calls, as
    /// [`host_calls!`](crate::host_calls!) makes them: entry `n` belongs to
    /// [`HostCall::embedder(n)`](gc_types::HostCall::embedder). It may have more than `abi`.
    ///
    /// # Errors
    /// If `abi` has a host call that is not among these, or that has another signature, or that may
    /// collect here and not there. The error names both.
    pub fn new(abi: &Arc<Abi>, embedder: &[HostCallShim<S>]) -> Result<HostCallTable<S>> {
        let heap = <S as GcHostCalls>::host_calls();
        for (call, code) in abi.host_calls() {
            let index = call.index();
            let shim = match index.checked_sub(HostCall::FIRST_EMBEDDER) {
                Some(n) => embedder.get(n as usize),
                None => heap.get(index as usize),
            };
            let Some(shim) = shim else {
                bail!("the code calls `{code}`, host call {index}, which the store does not have");
            };
            let store = shim.signature();
            // Code may have safepoints where the store never collects.
            let may_collect = store.may_collect || code.may_collect;
            ensure!(
                HostSignature { may_collect, ..*store } == *code,
                "host call {index} is `{store}` in the store, but `{code}` in the code"
            );
        }
        let missing = (missing as *const u8).expose_provenance();
        let mut table = vec![missing; HostCall::FIRST_EMBEDDER as usize];
        for (entry, shim) in table.iter_mut().zip(&heap) {
            *entry = shim.address();
        }
        let unwind = (exceptions::unwind as *const u8).expose_provenance();
        table[HostCall::UNWIND.index() as usize] = unwind;
        table.extend(embedder.iter().map(HostCallShim::address));
        Ok(HostCallTable { abi: abi.clone(), addresses: table.into(), _store: PhantomData })
    }
}

impl<S> HostCallTable<S> {
    /// The ABI of the code that calls them.
    pub fn abi(&self) -> &Arc<Abi> {
        &self.abi
    }

    /// The address of the first entry, for compiled code.
    pub(crate) fn as_ptr(&self) -> *const *const u8 {
        self.addresses.as_ptr().cast()
    }
}

impl<S> Clone for HostCallTable<S> {
    fn clone(&self) -> Self {
        let HostCallTable { abi, addresses, _store } = self;
        HostCallTable { abi: abi.clone(), addresses: addresses.clone(), _store: PhantomData }
    }
}

impl<S> fmt::Debug for HostCallTable<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostCallTable({})", self.addresses.len())
    }
}

/// The function in the table's unused entries. No signature names them, so it is never called.
extern "C" fn missing() -> u64 {
    std::process::abort()
}

/// Refuses an allocation by code whose vmctx does not have the address of the store's heap: the
/// store has no heap, or made it for other code.
fn check_heap<S: JitStore>(store: &S, heap_base: *mut u8) -> Result<()> {
    let gc = store.jit().gc();
    ensure!(
        gc.heap().is_some_and(|heap| heap.core().memory.base() == heap_base),
        "compiled code allocates, but it was given a vmctx without the store's heap"
    );
    Ok(())
}

/// Whether an operation on `length` elements of an array, whatever their size, is done at once.
#[inline]
fn is_simple<S: JitStore>(store: &S, length: u32) -> bool {
    const WIDEST: u32 = StorageType::V128.size();
    Work::new(HostCall::ARRAY_COPY, length.into(), WIDEST).is_simple(store)
}

#[inline(never)]
fn copy_in_parts<S: JitStore>(
    store: &mut S,
    (dst, dst_index): (&VMGcRef, u32),
    (src, src_index): (&VMGcRef, u32),
    length: u32,
) -> Result<()> {
    let (_, element) = store.jit().gc().array_element(dst, dst_index, length)?;
    store.jit().gc().array_element(src, src_index, length)?;
    let is_same = dst.as_raw_u32() == src.as_raw_u32();
    let work = Work::new(HostCall::ARRAY_COPY, length.into(), element.size());
    let work = work.backward(is_same && dst_index > src_index);
    let ok = |_: &mut S| Ok(());
    if work.is_small() {
        return work.run(store, ok, |store, _| {
            Ok(store.jit_mut().gc_mut().array_copy(dst, dst_index, src, src_index, length)?)
        });
    }
    with_handles(store, &[dst, src], |store, handles| {
        work.run(store, ok, |store, part| {
            let gc = store.jit_mut().gc_mut();
            let (dst, src) = (current(gc, &handles[0])?, current(gc, &handles[1])?);
            let (at, len) = (part.start as u32, (part.end - part.start) as u32);
            Ok(gc.array_copy(&dst, dst_index + at, &src, src_index + at, len)?)
        })
    })
}

#[inline(never)]
fn fill_in_parts<S: JitStore>(
    store: &mut S,
    call: HostCall,
    array: &VMGcRef,
    index: u32,
    bits: u128,
    length: u32,
) -> Result<()> {
    let (_, element) = store.jit().gc().array_element(array, index, length)?;
    let work = Work::new(call, length.into(), element.size());
    let ok = |_: &mut S| Ok(());
    if work.is_small() {
        return work.run(store, ok, |store, _| {
            Ok(store.jit_mut().gc_mut().array_fill(array, index, bits, length)?)
        });
    }
    let value = if element.is_ref() { VMGcRef::from_raw_u32(bits as u32) } else { None };
    let refs: Vec<&VMGcRef> = iter::once(array).chain(&value).collect();
    with_handles(store, &refs, |store, handles| {
        work.run(store, ok, |store, part| {
            let gc = store.jit_mut().gc_mut();
            let array = current(gc, &handles[0])?;
            let bits = match handles.get(1) {
                Some(value) => current(gc, value)?.as_raw_u32().into(),
                None => bits,
            };
            let (at, len) = (part.start as u32, (part.end - part.start) as u32);
            Ok(gc.array_fill(&array, index + at, bits, len)?)
        })
    })
}

/// The reference of a handle, which owns it.
fn current(gc: &GcStore, handle: &Handle) -> Result<VMGcRef> {
    Ok(gc.rooted(handle)?.unchecked_copy())
}

fn header(word: u32) -> Result<(VMGcKind, TypeIndex)> {
    let header = VMGcHeader::from_words(word, 0);
    Ok((header.kind().ok_or(Trap::CorruptHeap)?, header.ty()))
}

impl<S: JitStore> GcHostCalls for S {
    fn alloc_struct(&mut self, heap_base: *mut u8, header_word: u32) -> Result<ExposedRef> {
        let (VMGcKind::StructRef | VMGcKind::ExnRef, ty) = header(header_word)? else {
            return Err(Trap::CorruptHeap.into());
        };
        check_heap(self, heap_base)?;
        let (gc, mut roots) = self.jit_mut().gc_and_stack();
        let object = gc.alloc_struct(&mut roots, ty)?;
        Ok(ExposedRef(gc.expose_gc_ref_to_wasm(object)))
    }

    fn alloc_array(
        &mut self,
        heap_base: *mut u8,
        header_word: u32,
        length: u32,
    ) -> Result<ExposedRef> {
        let (VMGcKind::ArrayRef, ty) = header(header_word)? else {
            return Err(Trap::CorruptHeap.into());
        };
        check_heap(self, heap_base)?;
        let (gc, mut roots) = self.jit_mut().gc_and_stack();
        let array = gc.alloc_array(&mut roots, ty, length)?;
        Ok(ExposedRef(gc.expose_gc_ref_to_wasm(array)))
    }

    fn collector(&mut self, _: *mut u8, operation: u32, reference: Ref, operand: u64) -> u64 {
        self.jit_mut().gc_mut().collector_slow_path(operation, reference, operand)
    }

    fn is_subtype(&mut self, _: *mut u8, actual: u32, expected: u32) -> u32 {
        JitStore::is_subtype(self, actual, expected).into()
    }

    fn array_copy(
        &mut self,
        _: *mut u8,
        dst: Ref,
        dst_index: u32,
        src: Ref,
        src_index: u32,
        length: u32,
    ) -> Result<()> {
        let dst = dst.ok_or(Trap::NullReference)?;
        let src = src.ok_or(Trap::NullReference)?;
        if is_simple(self, length) {
            return Ok(self
                .jit_mut()
                .gc_mut()
                .array_copy(&dst, dst_index, &src, src_index, length)?);
        }
        copy_in_parts(self, (&dst, dst_index), (&src, src_index), length)
    }

    fn array_fill(
        &mut self,
        _: *mut u8,
        array: Ref,
        index: u32,
        bits: u64,
        length: u32,
    ) -> Result<()> {
        let array = array.ok_or(Trap::NullReference)?;
        if is_simple(self, length) {
            return Ok(self.jit_mut().gc_mut().array_fill(&array, index, bits.into(), length)?);
        }
        fill_in_parts(self, HostCall::ARRAY_FILL, &array, index, bits.into(), length)
    }

    fn throw(&mut self, _: *mut u8, exception: Ref) -> Thrown {
        exceptions::throw(self, exception)
    }

    fn array_fill_wide(
        &mut self,
        _: *mut u8,
        array: Ref,
        index: u32,
        low: u64,
        high: u64,
        length: u32,
        is_new: u32,
    ) -> Result<()> {
        let array = array.ok_or(Trap::NullReference)?;
        let bits = u128::from(high) << 64 | u128::from(low);
        let call = if is_new != 0 { HostCall::ALLOC_ARRAY } else { HostCall::ARRAY_FILL };
        fill_in_parts(self, call, &array, index, bits, length)
    }
}
