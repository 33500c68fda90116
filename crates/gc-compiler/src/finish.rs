//! What is done to a function between being built and being compiled.
//!
//! A [`BuiltFunction`] becomes a [`FinishedFunction`]: calls are [inlined](crate::inline), its code is
//! [simplified](crate::simplify), [safepoints](crate::safepoints) are placed, and the
//! [checkers](crate::check) read it. Only a finished function can be
//! [compiled](crate::Compiler::compile). So no language that compiles with this crate can leave out a step,
//! and all have the same ones.

use crate::annotations::Annotations;
use crate::check::{BarrierLaw, CheckContext, check_function};
use crate::driver::{declare_vmctx_slot, imported_host_call, set_stack_limit};
use crate::inline::Inlining;
use crate::safepoints::place_safepoints;
use crate::simplify::simplify;
use crate::{CompileOptions, GcCompiler, OptLevel, regions};
use anyhow::Result;
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData, types};
use gc_types::Abi;

/// A function whose CLIF is built. It has no safepoints yet.
#[derive(Clone, Debug)]
pub struct BuiltFunction {
    func: ir::Function,
    annotations: Annotations,
    /// Whether calls were inlined into it already.
    inlined: bool,
}

impl BuiltFunction {
    /// A function with the signature and the calling convention of compiled code. It must have been
    /// finalized (`FunctionBuilder::finalize`), and no value may have been declared to the frontend's own
    /// stack maps.
    pub fn new(func: ir::Function, annotations: Annotations) -> BuiltFunction {
        BuiltFunction { func, annotations, inlined: false }
    }

    /// A function into which calls were inlined.
    pub(crate) fn with_calls_inlined(
        func: ir::Function,
        annotations: Annotations,
    ) -> BuiltFunction {
        BuiltFunction { func, annotations, inlined: true }
    }

    /// Its CLIF.
    pub fn func(&self) -> &ir::Function {
        &self.func
    }

    /// Its CLIF, and what belongs to it.
    pub(crate) fn into_parts(self) -> (ir::Function, Annotations) {
        (self.func, self.annotations)
    }
}

/// A function that can be compiled: all steps were done, and the checkers found no error.
#[derive(Clone, Debug)]
pub struct FinishedFunction {
    pub(crate) func: ir::Function,
    pub(crate) annotations: Annotations,
}

impl FinishedFunction {
    /// Its CLIF before optimization.
    pub fn func(&self) -> &ir::Function {
        &self.func
    }

    /// What belongs to it besides its CLIF.
    pub fn annotations(&self) -> &Annotations {
        &self.annotations
    }
}

/// Finishes functions for one [`Abi`].
///
/// Embedders use [`Compiler::finish`](crate::Compiler::finish), which has a finisher. Alone it is for tools
/// that show or check CLIF and compile nothing.
///
/// # Examples
/// ```
/// # use cranelift_codegen::cursor::{Cursor, FuncCursor};
/// # use cranelift_codegen::ir::{AbiParam, ArgumentPurpose, Function, InstBuilder, Signature, types};
/// # use cranelift_codegen::isa::CallConv;
/// use gc_compiler::check::{FunctionTypes, SignatureTypes, ValueType};
/// use gc_compiler::inline::Inlining;
/// use gc_compiler::{
///     Annotations, BuiltFunction, CompileOptions, Finisher, GcCompiler,
///     collector::copying::CopyingCompiler, import_function,
/// };
/// use gc_types::Abi;
///
/// # // fn(vmctx, reference) -> reference
/// # let mut signature = Signature::new(CallConv::Tail);
/// # signature.params.push(AbiParam::special(types::I64, ArgumentPurpose::VMContext));
/// # signature.params.push(AbiParam::new(types::I64));
/// # signature.returns.push(AbiParam::new(types::I64));
/// # let mut func = Function::with_name_signature(Default::default(), signature.clone());
/// # let entry = func.dfg.make_block();
/// # let [vmctx, reference] = [0, 1].map(|_| func.dfg.append_block_param(entry, types::I64));
/// // A reference is used after a call.
/// let callee = import_function(&mut func, 1, signature);
/// # let mut cursor = FuncCursor::new(&mut func);
/// # cursor.insert_block(entry);
/// cursor.ins().call(callee, &[vmctx, reference]);
/// cursor.ins().return_(&[reference]);
///
/// let own = SignatureTypes::with_vmctx([ValueType::Ref], [ValueType::Ref]);
/// let mut types = FunctionTypes::new(own.clone());
/// types.declare_signature(func.dfg.ext_funcs[callee].signature, own);
/// let mut annotations = Annotations { types: Some(types), ..Annotations::default() };
///
/// let abi = Abi::new(CopyingCompiler.abi());
/// let finisher = Finisher::new(&CopyingCompiler, &abi, &CompileOptions::default());
/// let forgotten = BuiltFunction::new(func.clone(), annotations.clone());
/// let error = finisher.finish(forgotten, &Inlining::none()).unwrap_err();
/// assert!(error.to_string().starts_with("roots: "));
///
/// annotations.references.mark(reference);
/// let finished = finisher.finish(BuiltFunction::new(func, annotations), &Inlining::none())?;
/// assert!(finished.func().display().to_string().contains("stack_map"));
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct Finisher {
    abi: Abi,
    laws: &'static [BarrierLaw],
    simplifies: bool,
}

impl Finisher {
    /// A finisher of functions with the code of `collector` for this ABI. Without optimization
    /// ([`OptLevel::None`]), functions are not simplified.
    pub fn new(collector: &dyn GcCompiler, abi: &Abi, options: &CompileOptions) -> Finisher {
        Finisher {
            abi: abi.clone(),
            laws: collector.barrier_laws(),
            simplifies: options.opt_level != OptLevel::None,
        }
    }

    /// The ABI of the code.
    pub fn abi(&self) -> &Abi {
        &self.abi
    }

    /// Inlines calls into a function, simplifies it, places its safepoints, and checks it if its types are
    /// given.
    ///
    /// # Errors
    /// If the function becomes too large, if there are too many references live at too many calls, or if a
    /// checker finds an error ([`CheckError`](crate::check::CheckError)), which is a mistake of the emitter.
    pub fn finish(&self, function: BuiltFunction, inlining: &Inlining) -> Result<FinishedFunction> {
        self.finish_while(function, inlining, &|| Ok(()))
    }

    /// [`finish`](Finisher::finish), which asks before each step whether to go on.
    pub(crate) fn finish_while(
        &self,
        function: BuiltFunction,
        inlining: &Inlining,
        goes_on: &dyn Fn() -> Result<()>,
    ) -> Result<FinishedFunction> {
        let BuiltFunction { mut func, mut annotations, inlined } = function;
        if !inlined {
            inlining.inline_into(&mut func, &mut annotations)?;
        }
        goes_on()?;
        if self.simplifies {
            simplify(&mut func, &mut annotations);
        }
        if annotations.leaves_instance {
            store_vmctx(&mut func);
        }
        set_stack_limit(&mut func, &self.abi.offsets())?;
        goes_on()?;
        place_safepoints(&mut func, &annotations.references, &|func, callee| {
            imported_host_call(func, callee).is_none_or(|call| self.abi.may_collect(call))
        })?;
        if let Some(types) = &annotations.types {
            check_function(&func, &CheckContext { abi: &self.abi, laws: self.laws, types })?;
        }
        Ok(FinishedFunction { func, annotations })
    }
}

/// Stores the vmctx in its slot, where the function begins.
fn store_vmctx(func: &mut ir::Function) {
    let Some(entry) = func.layout.entry_block() else { return };
    let vmctx = func.dfg.block_params(entry)[0];
    let slot = declare_vmctx_slot(func);
    let region = regions::intern(func, regions::VMCTX_SLOT);
    let flags = MemFlagsData::trusted().with_alias_region(Some(region));
    let mut cursor = FuncCursor::new(func).at_first_insertion_point(entry);
    let address = cursor.ins().stack_addr(types::I64, slot, 0);
    cursor.ins().store(flags, vmctx, address, 0);
}
