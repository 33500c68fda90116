//! [`EntryTrampoline`]: the code by which the host calls compiled functions of one signature.
#![allow(unsafe_code)]

use crate::{Activation, CodeMemory};
use gc_types::{CallSignature, EntryPoint, ValRaw};
use std::sync::Arc;

/// The machine-level type of an entry trampoline: `(activation, callee's code, callee's vmctx,
/// values)`. The trampoline takes the arguments from `values` and leaves the results there.
pub(crate) type EntryFn =
    unsafe extern "C" fn(*mut Activation, *const u8, *mut u8, *mut ValRaw) -> u64;

/// Code of an image by which the host calls compiled functions of one signature. The functions can
/// belong to other images. Cheap to clone.
///
/// # Examples
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/store.rs.in"));
/// # use cranelift_codegen::ir::InstBuilder;
/// use gc_jit::{CodeMemory, EntryTrampoline};
/// use gc_types::{CallSignature, ValueType};
///
/// # fn main() -> anyhow::Result<()> {
/// # let abi = abi();
/// let signature = CallSignature::new([ValueType::I32], [ValueType::I64, ValueType::I64]);
/// # let image = compile(&abi, &signature, |b, _| {
/// #     let zero = b.ins().iconst(cranelift_codegen::ir::types::I64, 0);
/// #     b.ins().return_(&[zero, zero]);
/// # })?;
/// // The host may call a function of this signature in the image.
/// let code = CodeMemory::publish(image, &abi, &[])?;
/// let trampoline: EntryTrampoline = code.entry_trampoline(&signature).unwrap();
/// assert_eq!(trampoline.slots(), 2);
///
/// let other = CallSignature::new([], []);
/// assert!(code.entry_trampoline(&other).is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct EntryTrampoline {
    memory: Arc<CodeMemory>,
    point: EntryPoint,
    function: EntryFn,
    /// The address of the handler block.
    handler_pc: usize,
}

impl CodeMemory {
    /// The entry trampoline for functions of `signature`, if the image has one.
    pub fn entry_trampoline(
        self: &Arc<CodeMemory>,
        signature: &CallSignature,
    ) -> Option<EntryTrampoline> {
        let point = self.image().entry(signature)?;
        let code = self.base().wrapping_add(point.offset as usize);
        // SAFETY: the image says that an entry trampoline begins there. It is compiled with exactly
        // this signature and calling convention.
        let function = unsafe { std::mem::transmute::<*const u8, EntryFn>(code) };
        let handler_pc = self.base().addr() + point.handler as usize;
        Some(EntryTrampoline { memory: self.clone(), point, function, handler_pc })
    }

    /// The exit trampoline for host functions of `signature`, if the image has one. It is the
    /// [code](crate::VMFuncRef::code) in a reference to a host function.
    pub fn exit_trampoline(&self, signature: &CallSignature) -> Option<*const u8> {
        Some(self.base().wrapping_add(self.image().exit(signature)? as usize))
    }
}

impl EntryTrampoline {
    /// The number of [`ValRaw`]s that a call needs: the number of parameters (without the vmctx) or
    /// the number of results, whichever is larger.
    pub fn slots(&self) -> usize {
        self.point.slots as usize
    }

    /// The published code that contains the trampoline.
    pub fn memory(&self) -> &Arc<CodeMemory> {
        &self.memory
    }

    /// The address of the handler block.
    pub(crate) fn handler_pc(&self) -> usize {
        self.handler_pc
    }

    /// Bytes from the handler's stack pointer up to the trampoline's frame pointer.
    pub(crate) fn frame_offset(&self) -> usize {
        self.point.frame_offset as usize
    }

    /// The trampoline as a function. Its code stays mapped as long as the trampoline exists.
    pub(crate) fn function(&self) -> EntryFn {
        self.function
    }
}
