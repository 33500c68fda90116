//! [`MapError`]: why stack maps cannot be taken or written.

use cranelift_codegen::ir::Type;
use cranelift_module::FuncId;
use std::fmt;

/// Why stack maps cannot be taken or written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapError {
    /// Code is compiled without frame pointers.
    NoFramePointers,
    /// Code is for this processor.
    Machine(String),
    /// The context of this function has no compiled code.
    NotCompiled(FuncId),
    /// The function was added before.
    Twice(FuncId),
    /// The function with this name was defined in the module, and has no maps.
    Forgotten(String),
    /// The function was added, and is not defined in the object.
    NotDefined(FuncId),
    /// A value of this type is in a stack map.
    Type(Type),
    /// A slot is at this offset from the frame pointer, which is no place in a frame.
    Place(i32),
    /// Cranelift gave no layout of the frame.
    NoLayout,
    /// Two slots of a function belong to the same derived pointer. Inlining copies functions without new keys.
    DerivedTwice,
    /// A derived pointer has no slot for its base, or a base none for its pointer.
    NoBase,
    /// The object has this format and not ELF.
    Format(String),
    /// The function with this name is not in a section of its own.
    SharedSection(String),
    /// A function is so large that its record cannot be written.
    TooLarge,
    /// The object cannot be written.
    Object(String),
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MapError::NoFramePointers => {
                write!(f, "the walker needs frame pointers: set `preserve_frame_pointers` to true")
            }
            MapError::Machine(name) => write!(f, "no stack maps are written for {name}"),
            MapError::NotCompiled(id) => write!(
                f,
                "{id} has no compiled code: add its maps after it is defined, before its context is cleared"
            ),
            MapError::Twice(id) => write!(f, "the maps of {id} were added before"),
            MapError::Forgotten(name) => {
                write!(f, "the maps of the function {name} were neither added nor left out")
            }
            MapError::NotDefined(id) => {
                write!(f, "{id} has maps, but is not defined in the object")
            }
            MapError::Type(ty) => write!(f, "a value of the type {ty} is in a stack map"),
            MapError::Place(offset) => write!(
                f,
                "a slot of a stack map is at {offset} bytes from the frame pointer, which is no place in the frame"
            ),
            MapError::NoLayout => write!(f, "Cranelift gave no layout of the frame"),
            MapError::DerivedTwice => {
                write!(f, "two stack slots have the key of the same derived pointer")
            }
            MapError::NoBase => write!(f, "a derived pointer or its base has no stack slot"),
            MapError::Format(format) => {
                write!(f, "stack maps are written to ELF objects, not to {format}")
            }
            MapError::SharedSection(name) => write!(
                f,
                "the function {name} shares its section: use `ObjectBuilder::per_function_section`"
            ),
            MapError::TooLarge => write!(f, "a record of stack maps is larger than 4 GiB"),
            MapError::Object(error) => write!(f, "cannot write stack maps to the object: {error}"),
        }
    }
}

impl std::error::Error for MapError {}
