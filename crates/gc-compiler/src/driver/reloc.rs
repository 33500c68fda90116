//! The places in compiled code that the linker fills in.

use super::names;
use cranelift_codegen::binemit::Reloc as RelocKind;
use cranelift_codegen::ir::UserExternalName;

/// The target of a relocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RelocTarget {
    /// A function of the same image.
    Function(u32),
    /// A host call's trampoline.
    HostCall(u32),
    /// The word of a type, by the word's code.
    TypeWord(u32),
    /// A symbol outside of the image, by its number.
    Symbol(u32),
    /// An offset in bytes into the function itself.
    Itself(u32),
}

/// A place in the code that holds the address of another place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reloc {
    pub(crate) offset: u32,
    pub(crate) kind: RelocKind,
    pub(crate) target: RelocTarget,
    pub(crate) addend: i64,
}

impl RelocTarget {
    /// The name by which CLIF refers to it. `None` for the function itself.
    pub(crate) fn name(self) -> Option<UserExternalName> {
        let (namespace, index) = match self {
            RelocTarget::Function(index) => (names::FUNCTION_NAMESPACE, index),
            RelocTarget::HostCall(index) => (names::HOST_CALL_NAMESPACE, index),
            RelocTarget::TypeWord(index) => (names::TYPE_WORD_NAMESPACE, index),
            RelocTarget::Symbol(index) => (names::SYMBOL_NAMESPACE, index),
            RelocTarget::Itself(_) => return None,
        };
        Some(UserExternalName { namespace, index })
    }
}

/// What a name in CLIF refers to. `None` if its namespace is unknown.
pub(crate) fn target_of(name: &UserExternalName) -> Option<RelocTarget> {
    Some(match name.namespace {
        names::FUNCTION_NAMESPACE => RelocTarget::Function(name.index),
        names::HOST_CALL_NAMESPACE => RelocTarget::HostCall(name.index),
        names::TYPE_WORD_NAMESPACE => RelocTarget::TypeWord(name.index),
        names::SYMBOL_NAMESPACE => RelocTarget::Symbol(name.index),
        _ => return None,
    })
}
