//! [`StoreInner`]: a store without the type of its data. Compiled code and host functions use it.
#![allow(unsafe_code)]

use super::cells::Cells;
use super::functions::{Functions, SlotId, Target};
use super::host::{Host, PlacedHost, call_host};
use super::piece::{Piece, PieceId, Vmctx};
use super::reference::Reference;
use crate::code::Word;
use crate::function::CallBacktrace;
use crate::registry::{Definition, EngineType};
use crate::types::describe;
use crate::{Code, Engine, RefKind, Rooted, Signature, StructRef};
use anyhow::{Context as _, Result, bail, ensure};
use gc_jit::{CallError, CodeMemory, EntryTrampoline, JitState, JitStore, ThrownException};
use gc_runtime::{GcLeft, GcStore, HeapError, TraceRoots};
use gc_types::{GcLayout, TypeIndex, VMGcKind, VMGcRef, ValRaw};
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A store without the type of its data.
pub struct StoreInner {
    /// Its number among all stores of the process.
    number: u64,
    engine: Engine,
    pub(super) jit: JitState<StoreInner>,
    pub(super) functions: Functions,
    pub(super) pieces: BTreeMap<PieceId, Piece>,
    /// The number of pieces that were loaded.
    loaded: u64,
    /// The pieces that no name stands for. They may be on the stack.
    pub(super) retired: Vec<PieceId>,
    /// The number of retired pieces at which it is time to look which are on the stack.
    pub(super) look_at: usize,
    /// The same for functions of the host.
    pub(super) retired_hosts: Vec<PlacedHost>,
    /// Code with exit trampolines that references to host functions have.
    pub(super) pinned: Vec<Arc<CodeMemory>>,
    /// The types of all code that was ever loaded, by name: there may be objects of them.
    pub(super) types: BTreeMap<Arc<str>, EngineType>,
    /// The names of these types, by index.
    type_names: BTreeMap<u32, Arc<str>>,
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
            pinned: Vec::new(),
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
            Target::Compiled { trampoline, .. } => Some(trampoline.clone()),
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
        let placed = self.place(host, &signature);
        match self.functions.find(name) {
            None => self.add(name, signature, Target::Host(placed)),
            Some(id) => {
                let slot = self.functions.slot(id);
                slot.expect(&signature)?;
                if !matches!(slot.target, Target::Missing(_)) {
                    bail!("the store already has a function `{name}`");
                }
                self.set(id, Target::Host(placed));
                Ok(())
            }
        }
    }

    /// Adds a name without a function.
    pub(super) fn declare(&mut self, name: &str, signature: Signature, host: Host) -> Result<()> {
        ensure!(self.functions.find(name).is_none(), "the store already has a function `{name}`");
        let placed = self.place(host, &signature);
        self.add(name, signature, Target::Missing(placed))
    }

    fn place(&self, host: Host, signature: &Signature) -> PlacedHost {
        PlacedHost::new(host, self.jit.vmctx_prefix_without_heap(0), signature)
    }

    fn add(&mut self, name: &str, signature: Signature, target: Target) -> Result<()> {
        let signature = Arc::new(signature);
        let ty = self.engine.types().register(&Definition::Function(signature.clone()))?;
        let reference = Reference::new(&mut self.jit, ty);
        self.functions.add(name, signature, target, reference);
        Ok(())
    }

    /// Makes a name stand for another function.
    fn set(&mut self, id: SlotId, target: Target) {
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

    /// Loads code. Its functions may replace others if `replaces`.
    pub(super) fn load(&mut self, code: &Code, replaces: bool) -> Result<()> {
        let parts = code.parts();
        self.jit.check_code(&parts.memory)?;
        ensure!(
            self.engine.same(&parts.engine),
            "the code was compiled for another engine, whose types have other indices: use \
             `Code::for_engine`"
        );
        self.check_types(code)?;
        self.check_words(code)?;
        let mut exports = Vec::with_capacity(parts.functions.len());
        for (name, (index, signature)) in &parts.functions {
            let id = self.functions.find(name);
            if let Some(id) = id {
                let slot = self.functions.slot(id);
                let is_free = replaces || matches!(slot.target, Target::Missing(_));
                ensure!(is_free, "the store already has a function `{name}`");
                slot.expect(signature)?;
            }
            let memory = &parts.memory;
            let trampoline = memory.entry_trampoline(&signature.call_signature());
            let address = memory.function_address(*index);
            let found = trampoline.zip(address);
            let found = found.with_context(|| format!("the image has no code for `{name}`"))?;
            exports.push((name, id, signature, found));
        }

        let function_references = self.function_references(code)?;

        let prefix = match parts.uses_heap {
            true => self.jit.vmctx_prefix(self.loaded as usize)?,
            false => self.jit.vmctx_prefix_without_heap(self.loaded as usize),
        };
        self.add_types(code)?;
        let mut words = self.words(code)?;
        self.jit.keep_alive(parts.memory.clone())?;
        self.pin_exits(&parts.memory);
        let piece = PieceId(self.loaded);
        self.loaded += 1;
        let mut references = Vec::new();
        for (word, address, ty) in function_references {
            let reference = Reference::new(&mut self.jit, ty);
            words[word] = reference.number() as usize;
            references.push((address, reference));
        }
        let vmctx = Vmctx::new(prefix, &words);
        let address_of_vmctx = vmctx.as_ptr();
        for (address, reference) in &references {
            reference.set(*address, address_of_vmctx);
        }
        let references = references.into_iter().map(|(_, reference)| reference).collect();
        let names = exports.len();
        let loaded = Piece { code: code.clone(), _vmctx: vmctx, references, names };
        self.pieces.insert(piece, loaded);
        for (name, id, signature, (trampoline, address)) in exports {
            let vmctx = address_of_vmctx;
            let target = Target::Compiled { piece, address, vmctx, trampoline };
            match id {
                Some(id) => self.set(id, target),
                None => self.add(name, (**signature).clone(), target)?,
            }
        }
        if names == 0 {
            self.retired.push(piece);
        }
        self.free_retired();
        Ok(())
    }

    /// Checks that types of the code and of the store with one name are the same.
    fn check_types(&self, code: &Code) -> Result<()> {
        for ty in &code.parts().types {
            let Some((name, layout)) = ty.object() else { continue };
            if let Some(known) = self.types.get(name)
                && !known.same(ty)
            {
                let (_, other) = known.object().expect("a named type is one of objects");
                bail!(
                    "the type `{name}` is {} in the code, but {} in the store",
                    describe(layout),
                    describe(other)
                );
            }
        }
        Ok(())
    }

    fn add_types(&mut self, code: &Code) -> Result<()> {
        code.parts().types.iter().try_for_each(|ty| self.add_type(ty))
    }

    fn add_type(&mut self, ty: &EngineType) -> Result<()> {
        if let Some((name, layout)) = ty.object() {
            self.jit.gc_mut().ensure_layout(ty.index(), layout)?;
            self.types.entry(name.clone()).or_insert_with(|| ty.clone());
            self.type_names.insert(ty.index().as_u32(), name.clone());
        }
        Ok(())
    }

    /// The index of the type with this name and this layout. The store has it from now on.
    pub(crate) fn index_of_type(
        &mut self,
        name: &Arc<str>,
        layout: &Arc<GcLayout>,
    ) -> Result<TypeIndex> {
        if let Some(known) = self.types.get(name) {
            let (_, other) = known.object().expect("a named type is one of objects");
            ensure!(
                other == layout,
                "the type `{name}` is {}, but it is {} in the store",
                describe(layout),
                describe(other)
            );
            return Ok(known.index());
        }
        let ty = Definition::Object(name.clone(), layout.clone());
        let ty = self.engine.types().register(&ty)?;
        self.add_type(&ty)?;
        Ok(ty.index())
    }

    /// The name and the layout of the type with this name.
    pub(super) fn named_type(&self, name: &str) -> Result<(&Arc<str>, &Arc<GcLayout>)> {
        let found = self.types.get(name).and_then(EngineType::object);
        found.with_context(|| format!("the code of the store has no type `{name}`"))
    }

    /// The reference of a handle whose object is of the type with this name and this layout.
    pub(crate) fn object_of_type<T: RefKind>(
        &mut self,
        object: &Rooted<T>,
        name: &Arc<str>,
        layout: &Arc<GcLayout>,
    ) -> Result<VMGcRef> {
        let index = self.index_of_type(name, layout)?;
        let gc_ref = object.raw(self)?.unchecked_copy();
        let found = self.gc().header(&gc_ref)?.ty();
        ensure!(
            found == index,
            "the object is a `{}`, not a `{name}`",
            self.type_name(&gc_ref).unwrap_or("(unknown type)")
        );
        Ok(gc_ref)
    }

    /// Takes the object that was thrown and not caught.
    pub(crate) fn take_exception(&mut self) -> Result<Option<Rooted<StructRef>>> {
        match self.jit.take_pending_exception() {
            Some(object) => Rooted::new(self, object).map(Some),
            None => Ok(None),
        }
    }

    /// Throws an object from a host function. Returns the error that the function must return.
    pub(crate) fn throw(&mut self, object: &Rooted<StructRef>) -> anyhow::Error {
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

    /// The name of the type of an object, if it is one of the types of the loaded code.
    pub(crate) fn type_name(&self, object: &VMGcRef) -> Option<&str> {
        let header = self.gc().header(object).ok()?;
        self.type_names.get(&header.ty().as_u32()).map(|name| &**name)
    }

    /// Checks that the store has the functions that code imports, and no other globals of the same names.
    fn check_words(&self, code: &Code) -> Result<()> {
        for word in &code.parts().words {
            match word {
                Word::Import(name, signature) => {
                    let id = self.functions.find(name).with_context(|| {
                        format!(
                            "the code imports a function `{name}{signature}`, which the store does not \
                             have"
                        )
                    })?;
                    self.functions.slot(id).expect(signature).context("an imported function")?;
                }
                Word::Global(name, ty) => self.cells.check_global(name, *ty)?,
                Word::Reference(..) | Word::Constant(..) => {}
            }
        }
        Ok(())
    }

    /// The words of a vmctx of the code, after [`check_words`](StoreInner::check_words). Those of references are
    /// zero. May collect.
    fn words(&mut self, code: &Code) -> Result<Vec<usize>> {
        let parts = code.parts();
        let mut words = Vec::with_capacity(parts.words.len());
        for word in &parts.words {
            words.push(match word {
                Word::Import(name, _) => {
                    let id = self.functions.find(name).context("the function was there")?;
                    self.functions.reference(id)
                }
                Word::Reference(..) => 0,
                Word::Global(name, ty) => self.cells.global(self.jit.gc_mut(), name, *ty),
                Word::Constant(ty, bytes) => {
                    let ty = parts.types.get(*ty as usize).and_then(EngineType::object);
                    let (name, layout) = ty.context("a constant is of no type of objects")?;
                    match self.constant(name, layout, bytes) {
                        Ok(address) => address,
                        Err(error) => {
                            self.forget_constants(code, words.len());
                            return Err(error.context("making a constant of the code"));
                        }
                    }
                }
            });
        }
        Ok(words)
    }

    /// A piece that had the constants among the first `count` words of the code is gone.
    pub(super) fn forget_constants(&mut self, code: &Code, count: usize) {
        let parts = code.parts();
        for word in &parts.words[..count] {
            let Word::Constant(ty, bytes) = word else { continue };
            if let Some((name, _)) = parts.types[*ty as usize].object() {
                self.forget_constant(name, bytes);
            }
        }
    }

    /// The functions of the code to which it makes references: the number of the word, the address, and the
    /// type.
    fn function_references(&self, code: &Code) -> Result<Vec<(usize, *const u8, EngineType)>> {
        let words = code.parts().words.iter().enumerate();
        let references = words.filter_map(|(number, word)| match word {
            Word::Reference(index, ty) => Some((number, *index, ty)),
            Word::Import(..) | Word::Global(..) | Word::Constant(..) => None,
        });
        let references = references.map(|(number, index, ty)| {
            let address = code.memory().function_address(index);
            let address = address.with_context(|| format!("the image has no function {index}"))?;
            let ty = self.engine.types().register(&Definition::Function(ty.clone()))?;
            Ok((number, address, ty))
        });
        references.collect()
    }

    /// Uses the exit trampolines of `memory` for host functions of signatures that had none.
    fn pin_exits(&mut self, memory: &Arc<CodeMemory>) {
        let mut is_pinned = false;
        for signature in memory.image().signatures() {
            if self.functions.has_exit(&signature) {
                continue;
            }
            if let Some(address) = memory.exit_trampoline(&signature) {
                self.functions.add_exit(signature, address);
                is_pinned = true;
            }
        }
        if is_pinned {
            self.pinned.push(memory.clone());
        }
    }

    /// Calls the function with this name, which has enough slots for its arguments and results.
    pub(super) fn call_by_name(&mut self, name: &str, slots: &mut [ValRaw]) -> Result<()> {
        let id = self.functions.find(name).context("the function is gone")?;
        // SAFETY: the caller has slots of the function's type.
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
            Target::Compiled { address, vmctx, trampoline: own, .. } => {
                let (address, vmctx) = (*address, *vmctx);
                match trampoline {
                    // SAFETY: the store keeps the code. It was compiled with a stack limit and for this
                    // vmctx. The trampoline is one of its signature.
                    Some(trampoline) => unsafe {
                        gc_jit::call(self, trampoline, address, vmctx, slots)
                    },
                    None => {
                        let own = own.clone();
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
        result.map_err(|error| self.failed(error))
    }

    /// The error of a call. The error of a host function gets the compiled functions that were on the
    /// stack.
    #[cold]
    fn failed(&mut self, error: CallError) -> anyhow::Error {
        match error {
            CallError::Host(error) => match self.jit.take_backtrace() {
                Some(backtrace) if !error.is::<CallBacktrace>() => {
                    error.context(CallBacktrace(backtrace))
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
