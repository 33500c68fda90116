//! The native structures that compiled code reads, as Rust types. The assertions at the end check
//! that their offsets are those of [`VMOffsets`].

use crate::Activation;
use crate::fiber::RunningFiber;
use crate::interrupt::Interrupt;
use crate::meter::VMMeter;
use crate::traced::TracedPcs;
use gc_heap::HeapMapping;
use gc_types::{CALLEE_SAVED, NULL_PAGE_SIZE, Trap, VMOffsets, ValRaw};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// A word that compiled code reads or writes while the host has only shared references to it. Only
/// one thread uses it at a time, except the limit of the stack, which a thread that interrupts the code writes too.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(crate) struct Word(AtomicUsize);

impl Word {
    #[inline(always)]
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(crate) fn set(&self, value: usize) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// Like [`Word`], but an address.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Pointer<T>(AtomicPtr<T>);

impl<T> Pointer<T> {
    pub(crate) const fn new(pointer: *mut T) -> Pointer<T> {
        Pointer(AtomicPtr::new(pointer))
    }

    #[inline(always)]
    pub(crate) fn get(&self) -> *mut T {
        self.0.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(crate) fn set(&self, pointer: *mut T) {
        self.0.store(pointer, Ordering::Relaxed);
    }

    /// Sets it and returns what it was. Nobody else uses it at the same time.
    #[inline(always)]
    pub(crate) fn replace(&self, pointer: *mut T) -> *mut T {
        let was = self.get();
        self.set(pointer);
        was
    }
}

impl<T> Default for Pointer<T> {
    fn default() -> Pointer<T> {
        Pointer::new(null_mut())
    }
}

/// The state of one store's compiled code on one native stack, while it runs there.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct VMStack {
    /// The lowest stack pointer that compiled code may have.
    pub(crate) limit: Word,
    /// The frame pointer of the trampoline by which the innermost activation last called the host.
    /// Zero before the first such call.
    pub(crate) last_exit_fp: Word,
    /// The innermost activation. Null if no compiled code is on the stack.
    pub(crate) activation: Pointer<Activation>,
}

/// What the context holds of one stack while that stack runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StackWords {
    pub(crate) limit: usize,
    pub(crate) last_exit_fp: usize,
    pub(crate) activation: *mut Activation,
    pub(crate) native: usize,
    pub(crate) fiber: *mut RunningFiber,
}

/// A stack of a store that waits until another stack of the store has ended or is suspended.
#[derive(Debug)]
pub(crate) struct SuspendedStack {
    pub(crate) words: StackWords,
    /// The stack that was suspended before this one. Null if there is none.
    pub(crate) next: *const SuspendedStack,
}

/// The place where execution continues when a host function has failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResumePoint {
    /// The address of the handler. Never zero.
    pub(crate) pc: usize,
    pub(crate) fp: usize,
    pub(crate) sp: usize,
    /// The word that the handler gets.
    pub(crate) payload: u64,
    /// The callee-saved registers of the frame.
    pub(crate) registers: SavedRegisters,
}

/// The values of callee-saved registers that were found in frames. No function in between has changed
/// the others.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SavedRegisters {
    /// A bit for each of `values` that was found.
    found: usize,
    /// In the order of [`CALLEE_SAVED`].
    values: [usize; CALLEE_SAVED],
}

impl SavedRegisters {
    /// Sets the register with this number.
    #[inline]
    pub(crate) fn set(&mut self, number: usize, value: usize) {
        self.found |= 1 << number;
        self.values[number] = value;
    }
}

/// An optional [`ResumePoint`], as [`arch::resume`](crate::arch) reads it.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct NextPlace {
    /// Zero if there is no place.
    pub(crate) pc: Word,
    pub(crate) fp: Word,
    pub(crate) sp: Word,
    pub(crate) payload: Word,
    /// A bit for each of the registers that have a value.
    pub(crate) found: Word,
    pub(crate) registers: [Word; CALLEE_SAVED],
}

impl NextPlace {
    pub(crate) fn set(&self, place: &ResumePoint) {
        self.pc.set(place.pc);
        self.fp.set(place.fp);
        self.sp.set(place.sp);
        self.payload.set(place.payload as usize);
        self.found.set(place.registers.found);
        let values = self.registers.iter().zip(place.registers.values);
        values.for_each(|(word, value)| word.set(value));
    }

    pub(crate) fn is_set(&self) -> bool {
        self.pc.get() != 0
    }
}

/// The data that all vmctxs of one store share. Compiled code reads and writes the fields that have
/// offsets in [`VMOffsets`]. The signal handler uses the rest.
///
/// The [`JitState`](crate::JitState) owns it, and it never moves. All fields can be changed through
/// a shared reference, because compiled code always holds its address.
#[derive(Debug)]
#[repr(C)]
pub struct VMStoreContext {
    /// The stack that compiled code runs on.
    pub(crate) stack: VMStack,
    /// Host functions by [`HostCall`](gc_types::HostCall) index.
    host_calls: Pointer<*const u8>,
    /// The place where host-call trampolines store their result.
    host_result: AtomicU64,
    /// The type display table.
    pub(crate) type_displays: Pointer<u32>,
    /// Function references by id.
    pub(crate) func_refs: Pointer<*mut VMFuncRef>,
    /// The number of ids in that table.
    pub(crate) func_refs_len: Word,
    /// The fuel, the deadline and the counter of epochs.
    pub(crate) meter: VMMeter,
    /// The native stack on which compiled code runs.
    pub(crate) native_stack: Word,
    /// The fiber whose stack that is. Null if it is a thread's stack.
    pub(crate) fiber: Pointer<RunningFiber>,
    /// The stack that was suspended last. Null if there is none.
    pub(crate) suspended: Pointer<SuspendedStack>,
    /// The store of the innermost activation. Its type is the one that the store's host calls
    /// expect. Host functions get their reference to the store from here.
    pub(crate) store: Pointer<()>,
    /// The handler of the exception that the failing host function throws. If it is not set,
    /// execution continues at the handler of the innermost activation.
    pub(crate) next_place: NextPlace,
    /// What interrupts the code. `None` if loops are not polled.
    pub(crate) interrupt: Option<Arc<Interrupt>>,
    /// The addresses of the heap with which the store began, which has no memory if the store began
    /// without one.
    first_heap: Arc<HeapMapping>,
    /// The addresses of the heap that code gets that uses a heap, once there is such code.
    made_heap: OnceLock<Arc<HeapMapping>>,
    /// The place where a signal handler records the stack.
    pub(crate) traced: TracedPcs,
}

impl VMStoreContext {
    /// Creates the context of a store with `heap`. `host_calls` must live as long as the context.
    #[inline(always)]
    pub(crate) fn new(
        heap: Arc<HeapMapping>,
        host_calls: *const *const u8,
        interrupt: Option<Arc<Interrupt>>,
    ) -> VMStoreContext {
        VMStoreContext {
            stack: VMStack::default(),
            host_calls: Pointer::new(host_calls.cast_mut()),
            host_result: AtomicU64::new(0),
            type_displays: Pointer::default(),
            func_refs: Pointer::default(),
            func_refs_len: Word::default(),
            meter: VMMeter::default(),
            native_stack: Word::default(),
            fiber: Pointer::default(),
            suspended: Pointer::default(),
            store: Pointer::default(),
            next_place: NextPlace::default(),
            interrupt,
            first_heap: heap,
            made_heap: OnceLock::new(),
            traced: TracedPcs::new(),
        }
    }

    /// Sets the lowest stack pointer that compiled code may have. If the code is interrupted, no
    /// stack pointer is allowed.
    #[inline(always)]
    pub(crate) fn set_stack_limit(&self, limit: usize) {
        self.stack.limit.set(limit);
        if let Some(interrupt) = &self.interrupt {
            interrupt.hold(&self.stack.limit);
        }
    }

    /// The page that loops read. Null if they do not.
    pub(crate) fn poll_page(&self) -> *const u8 {
        self.interrupt.as_ref().map_or(null(), |interrupt| interrupt.page())
    }

    /// Whether the code is interrupted.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupt.as_ref().is_some_and(|interrupt| interrupt.is_requested())
    }

    /// The addresses of the heap with which the store began.
    pub(crate) fn first_heap(&self) -> &HeapMapping {
        &self.first_heap
    }

    /// The addresses of the heap for code that uses one: the same from the first call on, which
    /// takes it from `mapping`.
    pub(crate) fn made_heap(&self, mapping: impl FnOnce() -> Arc<HeapMapping>) -> &HeapMapping {
        self.made_heap.get_or_init(mapping)
    }

    /// The trap for a fault in the heap at `address`. It is for the signal handler: `OnceLock::get`
    /// is one atomic load.
    fn heap_fault(&self, address: usize) -> Option<Trap> {
        let heaps = [Some(&self.first_heap), self.made_heap.get()];
        heaps.into_iter().flatten().find_map(|heap| {
            match address.checked_sub(heap.base().addr())? {
                offset if offset < NULL_PAGE_SIZE as usize => Some(Trap::NullReference),
                offset if offset < heap.reserved() => Some(Trap::CorruptHeap),
                _ => None,
            }
        })
    }

    /// The trap for a fault at `address` of an instruction that may fault with `trap`. `None` if
    /// compiled code cannot fault there. It is for the signal handler.
    pub(crate) fn classify_fault(&self, trap: Trap, address: usize) -> Option<Trap> {
        match trap {
            Trap::NullReference | Trap::CorruptHeap => {}
            Trap::Interrupt => return self.interrupt.as_ref()?.is_poll(address).then_some(trap),
            _ => return Some(trap),
        }
        // A null function reference is an address, not an index into the heap.
        let func_ref_size = VMOffsets::HOST.func_ref_size() as usize;
        if trap == Trap::NullReference && address < func_ref_size {
            return Some(Trap::NullReference);
        }
        self.heap_fault(address)
    }
}

/// A function: its code, the vmctx to pass, and its type.
///
/// # Examples
/// Compiled code calls a function by its address:
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/store.rs.in"));
/// # use cranelift_codegen::ir::InstBuilder;
/// # use gc_types::CallSignature;
/// use gc_jit::{JitStore, VMFuncRef};
///
/// # fn main() -> anyhow::Result<()> {
/// # let prepared = prepare(&CallSignature::new([], []), |b, _| {
/// #     b.ins().return_(&[]);
/// # })?;
/// # let Prepared { mut store, function, mut vmctx, .. } = prepared;
/// # let vmctx = (&raw mut *vmctx).cast();
/// let mut func_ref = Box::new(VMFuncRef { code: function, vmctx, ty: 3, id: 0 });
/// // The heap has only its id.
/// let address = (&raw mut *func_ref).expose_provenance();
/// func_ref.id = store.jit_mut().gc_mut().func_refs_mut().add(address);
/// store.jit_mut().refresh_func_refs();
/// assert_eq!(store.jit().gc().func_refs().get(func_ref.id), Some(address));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct VMFuncRef {
    /// The code's address (`CallConv::Tail`).
    pub code: *const u8,
    /// The vmctx to pass.
    pub vmctx: *mut u8,
    /// Its type's index in the engine.
    pub ty: u32,
    /// The function's id in the store's table. Never zero.
    pub id: u32,
}

/// The words with which every vmctx begins.
///
/// # Examples
/// A vmctx with a word of the embedder, which compiled code reads:
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/store.rs.in"));
/// # use gc_jit::{CodeMemory, JitStore, call};
/// # use gc_types::{CallSignature, ValRaw, ValueType};
/// use cranelift_codegen::ir::{InstBuilder, MemFlagsData, types};
/// use gc_jit::VMContextPrefix;
/// use std::mem::offset_of;
///
/// #[repr(C)]
/// struct Vmctx {
///     prefix: VMContextPrefix,
///     answer: u64,
/// }
///
/// # fn main() -> anyhow::Result<()> {
/// # let (abi, mut store) = (abi(), new_store()?);
/// # let signature = CallSignature::new([], [ValueType::I64]);
/// # let image = compile(&abi, &signature, |builder, params| {
/// let offset = offset_of!(Vmctx, answer) as i32;
/// assert_eq!(offset, abi.offsets().vmctx_prefix_size() as i32);
/// let answer = builder.ins().load(types::I64, MemFlagsData::trusted(), params[0], offset);
/// #     builder.ins().return_(&[answer]);
/// # })?;
/// # let code = CodeMemory::publish(image, &abi, &[])?;
/// # store.jit_mut().keep_alive(code.clone())?;
/// # let trampoline = code.entry_trampoline(&signature).unwrap();
/// # let function = code.function_address(0).unwrap();
///
/// let prefix = store.jit_mut().vmctx_prefix(0)?;
/// let mut vmctx = Box::new(Vmctx { prefix, answer: 42 });
/// # let mut values = [ValRaw::ZERO];
/// # let vmctx = (&raw mut *vmctx).cast();
/// # // SAFETY: the function returns a number. The store has its code and the vmctx.
/// # unsafe { call(&mut store, &trampoline, function, vmctx, &mut values)? };
/// // When the compiled function was called with this vmctx:
/// assert_eq!(values[0].get_i64(), 42);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub struct VMContextPrefix {
    /// The heap's base address.
    pub heap_base: *mut u8,
    /// The collector's [heap data](gc_types::HeapDataOffsets).
    pub heap_data: *mut u8,
    /// The store context.
    pub store_context: *const VMStoreContext,
    /// The embedder's number for this vmctx.
    pub number: usize,
    /// The page that loops read. Null if they do not.
    pub poll_page: *const u8,
}

/// A host function as an exit trampoline calls it. It gets its [`VMHostFuncContext`] and an array,
/// which holds the arguments and receives the results. It returns
/// [`HostCall::FAILED`](gc_types::HostCall::FAILED) if it failed (use
/// [`host_call_guard`](crate::host_call_guard)), and any other value if not.
pub type HostFunction = extern "C" fn(context: *mut u8, values: *mut ValRaw) -> u64;

/// The vmctx of a host function that compiled code calls like a compiled function. The embedder's
/// own data follows it.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub struct VMHostFuncContext {
    /// The words with which every vmctx begins.
    pub prefix: VMContextPrefix,
    /// The function that the exit trampoline calls.
    pub function: HostFunction,
}

const _: () = {
    use std::mem::offset_of;
    const O: VMOffsets = VMOffsets::HOST;
    macro_rules! pin {
        ($($ty:ident.$field:ident = $offset:ident;)*) => {
            $(assert!(offset_of!($ty, $field) == O.$offset() as usize);)*
        };
    }
    pin! {
        VMStack.limit = store_stack_limit;
        VMStack.last_exit_fp = store_last_exit_fp;
        VMStack.activation = store_activation;
        VMStoreContext.host_calls = store_host_calls;
        VMStoreContext.host_result = store_host_result;
        VMStoreContext.type_displays = store_type_displays;
        VMStoreContext.func_refs = store_func_refs;
        VMStoreContext.func_refs_len = store_func_refs_len;
        VMStoreContext.meter = store_fuel;
        VMFuncRef.code = func_ref_code;
        VMFuncRef.vmctx = func_ref_vmctx;
        VMFuncRef.ty = func_ref_type;
        VMFuncRef.id = func_ref_id;
        VMContextPrefix.heap_base = vmctx_heap_base;
        VMContextPrefix.heap_data = vmctx_heap_data;
        VMContextPrefix.store_context = vmctx_store_context;
        VMContextPrefix.number = vmctx_number;
        VMContextPrefix.poll_page = vmctx_poll_page;
        VMHostFuncContext.function = vmctx_prefix_size;
        Activation.previous = activation_previous;
        Activation.entry_fp = activation_entry_fp;
    }
    assert!(offset_of!(VMStoreContext, stack) == 0);
    const METER: usize = offset_of!(VMStoreContext, meter);
    assert!(METER + offset_of!(VMMeter, fuel) == O.store_fuel() as usize);
    assert!(METER + offset_of!(VMMeter, deadline) == O.store_epoch_deadline() as usize);
    assert!(METER + offset_of!(VMMeter, counter) == O.store_epoch_counter() as usize);
    assert!(size_of::<VMFuncRef>() == O.func_ref_size() as usize);
    assert!(size_of::<VMContextPrefix>() == O.vmctx_prefix_size() as usize);
};
