//! [`StoreInner`]: a store without the type of its data. Compiled code and host functions use it.
#![allow(unsafe_code)]

use super::cells::Cells;
use super::functions::{Functions, SlotId, Target};
use super::host::{Host, PlacedHost, call_host};
use super::piece::{Piece, PieceId};
use super::reference::Reference;
use crate::function::CallBacktrace;
use crate::registry::{Definition, EngineType};
use crate::{Engine, Handle, Rooted, Signature, StructRef, Type};
use anyhow::{Context as _, Result, ensure};
use gc_jit::{CallError, EntryTrampoline, JitState, JitStore, ThrownException};
use gc_runtime::{GcLeft, GcStore, HeapError, TraceRoots};
use gc_types::{VMGcKind, VMGcRef, ValRaw};
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A store without the type of its data.
pub struct StoreInner {
    /// Its number among all stores of the process.
    number: u64,
    pub(super) engine: Engine,
    pub(super) jit: JitState<StoreInner>,
    pub(super) functions: Functions,
    pub(super) pieces: BTreeMap<PieceId, Piece>,
    /// The number of pieces that were loaded.
    pub(super) loaded: u64,
    /// The pieces for whose functions no name stands. They may be on the stack, or objects may refer to their
    /// functions.
    pub(super) retired: Vec<PieceId>,
    /// The number of retired pieces at which it is time to find out which are needed.
    pub(super) look_at: usize,
    /// The functions of the host for which no name stands. They may run.
    pub(super) retired_hosts: Vec<PlacedHost>,
    /// The number of uses of each code that has more than one, by its address: by pieces, and by references to host
    /// functions, which have exit trampolines of some code. Code that is used once is not in it.
    pub(super) uses: BTreeMap<usize, usize>,
    /// The types of all code that was ever loaded, by name: there may be objects of them.
    pub(super) types: BTreeMap<Arc<str>, EngineType>,
    /// The names of these types, by index.
    pub(super) type_names: BTreeMap<u32, Arc<str>>,
    pub(super) cells: Cells,
    data: Box<dyn Any + Send + Sync>,
}

/// The number of stores that were made.
static STORES: AtomicU64 = AtomicU64::new(0);

impl StoreInner {
    /// A store without functions.
    pub(super) fn new(engine: &Engine, data: Box<dyn Any + Send + Sync>) -> Result<StoreInner> {
        Ok(StoreInner {
            number: STORES.fetch_add(1, Ordering::Relaxed),
            engine: engine.clone(),
            jit: JitState::new(engine.new_heap(), engine.host_calls()?, engine.max_stack())?,
            functions: Functions::default(),
            pieces: BTreeMap::new(),
            loaded: 0,
            retired: Vec::new(),
            look_at: 0,
            retired_hosts: Vec::new(),
            uses: BTreeMap::new(),
            types: BTreeMap::new(),
            type_names: BTreeMap::new(),
            cells: Cells::default(),
            data,
        })
    }

    /// Its number among all stores of the process.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn gc(&self) -> &GcStore {
        self.jit.gc()
    }

    pub(crate) fn gc_mut(&mut self) -> &mut GcStore {
        self.jit.gc_mut()
    }

    pub(super) fn functions(&self) -> &Functions {
        &self.functions
    }

    /// The number of loaded pieces that are kept.
    pub(super) fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// The host's data, which must be a `T`.
    pub(super) fn data<T: 'static>(&self) -> &T {
        self.data.downcast_ref().expect("the store was made with data of this type")
    }

    /// The host's data, which must be a `T`.
    pub(super) fn data_mut<T: 'static>(&mut self) -> &mut T {
        self.data.downcast_mut().expect("the store was made with data of this type")
    }

    /// Drops the references of handles that the host has dropped.
    pub(crate) fn drop_dead_handles(&mut self) {
        self.jit.gc_mut().drop_dead_handles();
    }

    /// Collects, with all roots of the store.
    pub(super) fn collect(&mut self) -> Result<bool> {
        let (gc, mut roots) = self.jit.gc_and_stack();
        Ok(gc.gc(&mut roots)?)
    }

    /// The same for a limited time.
    pub(super) fn collect_for(&mut self, time: Duration) -> Result<GcLeft> {
        self.drop_dead_handles();
        let (gc, mut roots) = self.jit.gc_and_stack();
        Ok(gc.gc_for(&mut roots, time)?)
    }

    /// The slot and the entry trampoline of a function with this name and these types.
    pub(crate) fn find_function(
        &self,
        name: &str,
        asked: &Signature,
    ) -> Result<(SlotId, Option<EntryTrampoline>)> {
        let id = self.functions.find(name).with_context(|| {
            let names: Vec<_> =
                self.functions.iter().map(|(name, _)| format!("`{name}`")).collect();
            match names.as_slice() {
                [] => format!("no function `{name}`: the store has no functions"),
                names => format!("no function `{name}`; available: {}", names.join(", ")),
            }
        })?;
        let slot = self.functions.slot(id);
        slot.expect(asked)?;
        let trampoline = match &slot.target {
            Target::Compiled { piece, function, .. } => Some(self.trampoline(*piece, *function)),
            Target::Host(_) | Target::Missing(_) => None,
        };
        Ok((id, trampoline))
    }

    /// Adds a function of the host.
    pub(super) fn define_host(
        &mut self,
        name: &str,
        signature: Signature,
        host: Host,
    ) -> Result<()> {
        let known = self.functions.find(name);
        if let Some(id) = known {
            let slot = self.functions.slot(id);
            slot.expect(&signature)?;
            let is_missing = matches!(slot.target, Target::Missing(_));
            ensure!(is_missing, "the store already has a function `{name}`");
        }
        self.find_exit(signature.call_signature());
        let placed = self.place(name, host, &signature);
        match known {
            None => self.add(name, signature, Target::Host(placed)),
            Some(id) => {
                self.set(id, Target::Host(placed));
                Ok(())
            }
        }
    }

    /// The names and types of the globals.
    pub(super) fn globals(&self) -> impl Iterator<Item = (&str, Type)> {
        self.cells.globals()
    }

    /// The type of the function with this name.
    pub(super) fn signature_of(&self, name: &str) -> Option<&Signature> {
        let id = self.functions.find(name)?;
        Some(self.functions.slot(id).signature())
    }

    /// Adds a name without a function.
    pub(super) fn declare(&mut self, name: &str, signature: Signature) -> Result<()> {
        ensure!(self.functions.find(name).is_none(), "the store already has a function `{name}`");
        self.find_exit(signature.call_signature());
        let placed = self.place(name, Host::missing(), &signature);
        self.add(name, signature, Target::Missing(placed))
    }

    fn place(&self, name: &str, host: Host, signature: &Signature) -> PlacedHost {
        PlacedHost::new(name, host, self.jit.vmctx_prefix_without_heap(0), signature)
    }

    fn add(&mut self, name: &str, signature: Signature, target: Target) -> Result<()> {
        let ty = self.function_type(&Arc::new(signature))?;
        self.add_name(name.into(), ty, target);
        Ok(())
    }

    /// The entry trampoline of a function of a piece, by its number among those of the code.
    fn trampoline(&self, piece: PieceId, function: u32) -> EntryTrampoline {
        let piece = self.pieces.get(&piece).expect("it has a name");
        piece.code.parts().functions[function as usize].trampoline.clone()
    }

    /// The type of functions with this signature.
    pub(super) fn function_type(&self, signature: &Arc<Signature>) -> Result<EngineType> {
        self.engine.types().register(&Definition::Function(signature.clone()))
    }

    /// Adds a name of a function of this type.
    pub(super) fn add_name(&mut self, name: Arc<str>, ty: EngineType, target: Target) {
        let reference = Reference::new(&mut self.jit, ty);
        self.functions.add(name, target, reference);
    }

    /// Makes a name stand for another function.
    pub(super) fn set(&mut self, id: SlotId, target: Target) {
        match self.functions.set(id, target) {
            Target::Compiled { piece, .. } => {
                let loaded = self.pieces.get_mut(&piece).expect("it has a name");
                loaded.names -= 1;
                if loaded.names == 0 {
                    self.retired.push(piece);
                }
            }
            // It may run.
            Target::Host(host) | Target::Missing(host) => self.retired_hosts.push(host),
        }
    }

    /// Takes the object that was thrown and not caught.
    pub(crate) fn take_exception(&mut self) -> Result<Option<Rooted<StructRef>>> {
        match self.jit.take_pending_exception() {
            Some(object) => Rooted::new(self, object).map(Some),
            None => Ok(None),
        }
    }

    /// Throws an object from a host function. Returns the error that the function must return.
    pub(crate) fn throw(&mut self, object: &impl Handle<StructRef>) -> anyhow::Error {
        let thrown = object.raw(self).map(VMGcRef::unchecked_copy).and_then(|gc_ref| {
            let owned = self.gc_mut().clone_gc_ref(&gc_ref);
            self.jit.set_pending_exception(owned)
        });
        thrown.map_or_else(|error| error, |()| ThrownException.into())
    }

    /// Allocates an object, with all roots of the store.
    pub(crate) fn alloc(
        &mut self,
        alloc: impl FnOnce(&mut GcStore, &mut dyn TraceRoots) -> Result<VMGcRef, HeapError>,
    ) -> Result<VMGcRef> {
        self.drop_dead_handles();
        let (gc, mut roots) = self.jit.gc_and_stack();
        Ok(alloc(gc, &mut roots)?)
    }

    /// Calls the function with this name, as [`call`](StoreInner::call) does.
    ///
    /// # Safety
    /// As for [`call`](StoreInner::call).
    pub(super) unsafe fn call_by_name(&mut self, name: &str, slots: &mut [ValRaw]) -> Result<()> {
        let id = self.functions.find(name).context("the function is gone")?;
        // SAFETY: passed on.
        unsafe { self.call(id, None, slots) }
    }

    /// Calls a function. Takes the arguments from `slots` and leaves the results there. `trampoline` is one
    /// for functions of its type.
    ///
    /// # Safety
    /// The slots hold arguments of the function's type, and are enough for its results.
    pub(crate) unsafe fn call(
        &mut self,
        id: SlotId,
        trampoline: Option<&EntryTrampoline>,
        slots: &mut [ValRaw],
    ) -> Result<()> {
        let result = match &self.functions.slot(id).target {
            Target::Compiled { piece, address, vmctx, function } => {
                let (piece, function) = (*piece, *function);
                let (address, vmctx) = (*address, *vmctx);
                match trampoline {
                    // SAFETY: the store keeps the code. It was compiled with a stack limit and for this
                    // vmctx. The trampoline is one of its signature.
                    Some(trampoline) => unsafe {
                        gc_jit::call(self, trampoline, address, vmctx, slots)
                    },
                    None => {
                        let own = self.trampoline(piece, function);
                        // SAFETY: as above.
                        unsafe { gc_jit::call(self, &own, address, vmctx, slots) }
                    }
                }
            }
            Target::Host(host) | Target::Missing(host) => {
                let context = host.vmctx();
                // SAFETY: it is the context of a function of this store.
                unsafe { gc_jit::call_host(self, call_host, context, slots) }
            }
        };
        let result = result.map_err(|error| self.failed(error));
        // An object that an earlier call threw is not one of this call.
        if !self.jit.is_active()
            && !result.as_ref().is_err_and(|error| error.is::<ThrownException>())
        {
            self.jit.forget_pending_exception();
        }
        result
    }

    /// The error of a call. The error of a host function gets the compiled functions that were on the
    /// stack.
    #[cold]
    fn failed(&mut self, error: CallError) -> anyhow::Error {
        match error {
            CallError::Host(error) => match self.jit.take_backtrace() {
                Some(backtrace) if !error.is::<CallBacktrace>() => {
                    let backtrace = CallBacktrace::new(backtrace, &error);
                    error.context(backtrace)
                }
                _ => error,
            },
            other => other.into_anyhow(),
        }
    }
}

impl JitStore for StoreInner {
    fn jit(&self) -> &JitState<StoreInner> {
        &self.jit
    }

    fn jit_mut(&mut self) -> &mut JitState<StoreInner> {
        &mut self.jit
    }

    fn can_throw(&self, object: &VMGcRef) -> bool {
        self.gc().is_kind(object, VMGcKind::StructRef)
    }

    /// The number of a vmctx is that of its piece, and a tag is the number of a type in the piece's image.
    fn catches(&self, vmctx: usize, tag: u32, exception: &VMGcRef) -> bool {
        let piece = self.pieces.get(&PieceId(vmctx as u64));
        let caught = piece.and_then(|piece| piece.code.parts().types.get(tag as usize));
        let header = self.gc().header(exception);
        caught.zip(header.ok()).is_some_and(|(ty, header)| ty.index() == header.ty())
    }

    fn has_backtrace(&self, error: &anyhow::Error) -> bool {
        error.is::<CallBacktrace>()
    }
}
