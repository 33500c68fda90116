//! Errors of tables and of walks.

use std::fmt;

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadRecord {
    /// It does not begin with the magic words.
    Magic,
    /// It has this version, which this crate cannot read.
    Version(u16),
    /// It is for code of this processor, by its number in ELF files.
    Machine(u16),
    /// It is longer than what there is.
    Short,
    /// The numbers of functions, rows and words do not fit together.
    Counts,
    /// Its checksum is wrong.
    Checksum,
    /// Return addresses are not in order, or are outside their function.
    Rows,
    /// A map is not in the record, or names what is no slot.
    Map,
}

impl fmt::Display for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadRecord::Magic => write!(f, "it does not begin as a record"),
            BadRecord::Version(version) => write!(
                f,
                "it has version {version}, and this program reads version {}",
                crate::format::VERSION
            ),
            BadRecord::Machine(machine) => {
                write!(f, "it is for the processor with the ELF number {machine}")
            }
            BadRecord::Short => write!(f, "it is cut off"),
            BadRecord::Counts => write!(f, "its sizes do not fit together"),
            BadRecord::Checksum => write!(f, "its checksum is wrong"),
            BadRecord::Rows => write!(f, "its return addresses are not in order"),
            BadRecord::Map => write!(f, "it has an invalid map"),
        }
    }
}

/// Why a table cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TableError {
    /// A record is wrong.
    Record {
        /// Where it begins in the section, in bytes.
        offset: usize,
        /// What is wrong.
        what: BadRecord,
    },
    /// Two functions have code at the same address.
    Overlap {
        /// The address.
        address: usize,
    },
}

impl From<BadRecord> for TableError {
    fn from(what: BadRecord) -> TableError {
        TableError::Record { offset: 0, what }
    }
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TableError::Record { offset, what } => {
                write!(f, "bad record of stack maps at {offset:#x} of its section: {what}")
            }
            TableError::Overlap { address } => {
                write!(f, "two functions with stack maps have code at {address:#x}")
            }
        }
    }
}

impl std::error::Error for TableError {}

/// Why a walk did not reach the entry. No root was visited then, and the collection must not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WalkError {
    /// Compiled code called the runtime, and not through a function of [`exit!`](crate::exit). So nobody knows where
    /// its frames begin.
    NoExit,
    /// Compiled code was called, and not by a function of [`entry!`](crate::entry). So nobody knows where its frames end.
    NoEntry,
    /// There is no stack map for a return address. The call was marked as one that cannot collect, or the
    /// function's maps were not added to the tables.
    NoStackMap {
        /// The return address.
        return_address: usize,
        /// The beginning of the function to which it belongs, if the tables have it.
        function: Option<usize>,
        /// How many frames were walked before.
        frame: usize,
    },
    /// A frame pointer does not lead to the caller's frame. Some code does not preserve frame pointers.
    BrokenChain {
        /// The frame pointer.
        frame_pointer: usize,
        /// What it points to, which should be the caller's.
        caller: usize,
        /// How many frames were walked before.
        frame: usize,
    },
}

impl fmt::Display for WalkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WalkError::NoExit => write!(
                f,
                "cannot walk the stack: compiled code called the runtime without an exit function"
            ),
            WalkError::NoEntry => write!(
                f,
                "cannot walk the stack: compiled code was called without an entry function"
            ),
            WalkError::NoStackMap { return_address, function, frame } => {
                write!(
                    f,
                    "cannot walk the stack: no stack map for the return address {return_address:#x}"
                )?;
                match function {
                    Some(start) => write!(
                        f,
                        " ({:#x} in the function at {start:#x}): the call was marked as one that cannot collect",
                        return_address - start
                    )?,
                    None => write!(f, ", which is in no known function: its maps were not added")?,
                }
                write!(f, " (after {frame} frames)")
            }
            WalkError::BrokenChain { frame_pointer, caller, frame } => write!(
                f,
                "cannot walk the stack: the frame pointer {frame_pointer:#x} leads to {caller:#x}, which is no \
                 caller's frame, after {frame} frames"
            ),
        }
    }
}

impl std::error::Error for WalkError {}
