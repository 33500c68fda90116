//! A checker of roots: it finds references in CLIF that a collection would miss or make stale.
//!
//! It reads a finished function, after stack maps were placed and before Cranelift optimizes it. Like
//! regalloc2's checker, it derives the facts again and trusts neither the compiler nor the pass that placed
//! the maps. Its input is the CLIF and what the [`Language`] says of its types.
//!
//! It finds references that were not declared as such, calls without a stack map, entries of maps that
//! name a wrong slot, slots that are written or read wrongly, values that are used after a collection made
//! them stale, and wrong types. [`BrokenLaw::law`] says which. The checker works for the maps of
//! `cranelift-frontend` (`declare_value_needs_stack_map`) and for any others.
//!
//! A reference must be a value by itself. A compiler that keeps references in memory of its own, such as a
//! shadow stack, has nothing to check here.
//!
//! # Examples
//! A function keeps a reference across a call, and the reference was not declared:
//!
//! ```
//! use cranelift_codegen::ir::{AbiParam, Function, InstBuilder, Signature, types};
//! use cranelift_codegen::isa::CallConv;
//! use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
//! use stack_roots::check::{SignatureTypes, Types, ValueType, check_roots};
//!
//! // fn(reference) -> reference, which calls a function of this type.
//! let mut signature = Signature::new(CallConv::SystemV);
//! signature.params.push(AbiParam::new(types::I64));
//! signature.returns.push(AbiParam::new(types::I64));
//! let build = |declared: bool| {
//!     let mut func = Function::with_name_signature(Default::default(), signature.clone());
//!     let mut context = FunctionBuilderContext::new();
//!     let mut builder = FunctionBuilder::new(&mut func, &mut context);
//!     let entry = builder.create_block();
//!     builder.append_block_params_for_function_params(entry);
//!     builder.switch_to_block(entry);
//!     builder.seal_block(entry);
//!     let reference = builder.block_params(entry)[0];
//!     if declared {
//!         builder.declare_value_needs_stack_map(reference);
//!     }
//!     let callee = builder.import_signature(signature.clone());
//!     let address = builder.ins().iconst(types::I64, 0x1000);
//!     builder.ins().call_indirect(callee, address, &[reference]);
//!     builder.ins().return_(&[reference]);
//!     let isa = cranelift_native::builder().unwrap();
//!     let flags = cranelift_codegen::settings::builder();
//!     let isa = isa.finish(cranelift_codegen::settings::Flags::new(flags)).unwrap();
//!     builder.finalize(isa.frontend_config());
//!     (func, callee)
//! };
//!
//! let own = SignatureTypes::new([ValueType::Ref], [ValueType::Ref]);
//! for declared in [true, false] {
//!     let (func, callee) = build(declared);
//!     let mut types = Types::new(own.clone());
//!     types.declare_signature(callee, own.clone());
//!     assert_eq!(check_roots(&func, &types).is_ok(), declared);
//! }
//! ```
//!
//! # How
//! The laws are in `roots`. It uses two analyses: `epochs` tells between which points a collection may
//! happen, and `kinds` what each value may be.

mod epochs;
mod facts;
mod kinds;
mod roots;
mod types;

use cranelift_codegen::ir;
use std::fmt;

pub use epochs::Epochs;
pub use facts::{Facts, MemoryAccess, signature};
pub use kinds::ValueKinds;
pub use types::{Definition, Language, SignatureTypes, Types, Unboxed, ValueType};

/// A law that a function breaks, and the instruction that breaks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenLaw {
    /// The law.
    pub law: &'static str,
    /// The instruction.
    pub inst: ir::Inst,
}

/// Roots of a function that a collection would miss or make stale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckError {
    /// The law that is broken.
    pub law: &'static str,
    /// The name of the function, as in CLIF.
    pub function: String,
    /// The instruction, as CLIF.
    pub instruction: String,
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "function {}: {}: {}", self.function, self.law, self.instruction)?;
        match hint(self.law) {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// What is usually missing where a law is broken.
fn hint(law: &str) -> Option<&'static str> {
    Some(match law {
        roots::STALE => "is it declared to the frontend?",
        roots::STALE_ADDRESS => "compute it again after the call, or see `stack_roots::derived`",
        roots::NOT_PASSED => "is the type of the load or call that gives it declared?",
        roots::NOT_DECLARED => "declare them with `Types::declare_signature` or `declare_function`",
        _ => return None,
    })
}

impl std::error::Error for CheckError {}

/// Checks the roots of a function. The time is nearly proportional to its size. An error has the function's name in CLIF
/// (`Function::name`), to which a compiler may add its own.
///
/// # Errors
/// The first law that it breaks, and the instruction that breaks it.
pub fn check_roots(func: &ir::Function, language: &dyn Language) -> Result<(), CheckError> {
    check_facts(&Facts::new(func, language)).map_err(|BrokenLaw { law, inst }| CheckError {
        law,
        function: func.name.to_string(),
        instruction: func.dfg.display_inst(inst).to_string(),
    })
}

/// [`check_roots`] for a caller that needs the facts of the function too.
///
/// # Errors
/// As [`check_roots`].
pub fn check_facts(facts: &Facts<'_>) -> Result<(), BrokenLaw> {
    roots::check(facts)
}
