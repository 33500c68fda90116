//! The operations, and their encoding: any bytes are operations.
// The functions that `Mutate` derives take an argument for each field.
#![allow(clippy::too_many_arguments)]

use crate::list;
use mutatis::Mutate;
use serde::{Deserialize, Serialize};

/// An operation. Every field is a byte that may have any value. What is out of range is brought into
/// it by whoever uses the byte.
///
/// `to`, `from` and `object` are locals. A value of another type than the place to which it goes is
/// cast as `how` says.
#[derive(Clone, Copy, Debug, Mutate, Serialize, Deserialize)]
pub(super) enum Op {
    /// Copies a local.
    Copy {
        from: u8,
        to: u8,
        how: u8,
    },
    /// Clears a local.
    Null {
        to: u8,
    },
    /// Makes an unboxed integer.
    I31 {
        to: u8,
        value: u8,
    },
    /// Makes a struct. Its fields are those of `from` and the following locals.
    Struct {
        to: u8,
        kind: u8,
        from: u8,
        how: u8,
    },
    /// Makes an array of equal elements.
    Array {
        to: u8,
        kind: u8,
        len: u8,
        from: u8,
        how: u8,
    },
    /// Makes an array of several elements: `from` and the following locals.
    Fixed {
        to: u8,
        kind: u8,
        len: u8,
        from: u8,
        how: u8,
    },
    /// Makes an array of a segment's elements.
    NewElem {
        to: u8,
        segment: u8,
        start: u8,
        len: u8,
        how: u8,
    },
    GlobalGet {
        to: u8,
        global: u8,
        how: u8,
    },
    GlobalSet {
        from: u8,
        global: u8,
        how: u8,
    },
    TableGet {
        to: u8,
        table: u8,
        index: u8,
        how: u8,
    },
    TableSet {
        from: u8,
        table: u8,
        index: u8,
        how: u8,
    },
    TableGrow {
        from: u8,
        table: u8,
        delta: u8,
        how: u8,
    },
    TableFill {
        from: u8,
        table: u8,
        at: u8,
        len: u8,
        how: u8,
    },
    /// Copies elements of a table or to a table of a supertype.
    TableCopy {
        tables: u8,
        at: u8,
        start: u8,
        len: u8,
        how: u8,
    },
    TableInit {
        segment: u8,
        at: u8,
        start: u8,
        len: u8,
        how: u8,
    },
    ElemDrop {
        segment: u8,
    },
    FieldGet {
        object: u8,
        field: u8,
        to: u8,
        how: u8,
    },
    FieldSet {
        object: u8,
        field: u8,
        from: u8,
        how: u8,
    },
    ElementGet {
        object: u8,
        kind: u8,
        index: u8,
        to: u8,
        how: u8,
    },
    ElementSet {
        object: u8,
        kind: u8,
        index: u8,
        from: u8,
        how: u8,
    },
    ArrayCopy {
        object: u8,
        other: u8,
        kind: u8,
        at: u8,
        start: u8,
        len: u8,
        how: u8,
    },
    ArrayFill {
        object: u8,
        kind: u8,
        at: u8,
        len: u8,
        from: u8,
        how: u8,
    },
    ArrayInit {
        object: u8,
        segment: u8,
        at: u8,
        start: u8,
        len: u8,
        how: u8,
    },
    /// If `how` says so: reads or writes right behind the last element of an array or a table, which
    /// traps.
    Behind {
        object: u8,
        kind: u8,
        how: u8,
    },
    /// Tests whether a local is of each type. Null passes if `nullable` is odd.
    Test {
        from: u8,
        nullable: u8,
    },
    /// Compares two references.
    Same {
        a: u8,
        b: u8,
    },
    /// Looks at the length of a table and, if `object` is an array, of that.
    Lengths {
        table: u8,
        object: u8,
        kind: u8,
    },
    /// Makes garbage.
    Garbage {
        count: u8,
    },
    /// The host collects.
    Gc,
    /// The host makes three values. They go to the locals for external references.
    Make {
        order: u8,
    },
    /// The host looks at three locals.
    Take {
        from: u8,
    },
    /// The operations up to `End` are done several times.
    Loop {
        times: u8,
    },
    End,
    /// Calls a later function.
    Call {
        function: u8,
        from: u8,
        to: u8,
        how: u8,
    },
    /// The following operations are another function.
    Function,
}

/// What an operation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    /// It makes an object.
    New,
    Local,
    Global,
    /// A table or a segment.
    Table,
    Field,
    Element,
    /// A part of an array, or what is behind its end.
    Part,
    /// It looks at references.
    Look,
    /// It calls the host or a function, or makes garbage.
    Call,
    /// It is part of the structure of functions and loops, and does nothing itself.
    Structure,
}

impl Op {
    pub(super) fn topic(&self) -> Topic {
        match self {
            Op::Struct { .. } | Op::Array { .. } | Op::Fixed { .. } | Op::NewElem { .. } => {
                Topic::New
            }
            Op::Copy { .. } | Op::Null { .. } | Op::I31 { .. } => Topic::Local,
            Op::GlobalGet { .. } | Op::GlobalSet { .. } => Topic::Global,
            Op::TableGet { .. }
            | Op::TableSet { .. }
            | Op::TableGrow { .. }
            | Op::TableFill { .. }
            | Op::TableCopy { .. }
            | Op::TableInit { .. }
            | Op::ElemDrop { .. } => Topic::Table,
            Op::FieldGet { .. } | Op::FieldSet { .. } => Topic::Field,
            Op::ElementGet { .. } | Op::ElementSet { .. } => Topic::Element,
            Op::ArrayCopy { .. }
            | Op::ArrayFill { .. }
            | Op::ArrayInit { .. }
            | Op::Behind { .. } => Topic::Part,
            Op::Test { .. } | Op::Same { .. } | Op::Lengths { .. } => Topic::Look,
            Op::Garbage { .. } | Op::Gc | Op::Make { .. } | Op::Take { .. } | Op::Call { .. } => {
                Topic::Call
            }
            Op::Loop { .. } | Op::End | Op::Function => Topic::Structure,
        }
    }
}

/// The number of kinds of operations.
const KINDS: u8 = 35;
/// The number of bytes before the operations.
const HEADER: usize = 5;
/// The most operations.
const MOST: usize = 160;

/// The most loops inside each other.
const NESTED: usize = 3;
/// The most functions.
const FUNCTIONS: usize = 4;

/// What to run, and how.
#[derive(Clone, Debug)]
pub(super) struct Program {
    /// The configuration, and how the host calls the program.
    pub(super) header: [u8; HEADER],
    pub(super) ops: Vec<Op>,
}

impl Program {
    /// The program that these bytes encode.
    pub(super) fn decode(bytes: &[u8]) -> Program {
        let (header, ops) = list::decode(bytes, KINDS, MOST);
        Program { header, ops }
    }
}

/// An operation, or a loop of some.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Op(Op),
    Loop(u32, Vec<Node>),
}

/// The bodies of the functions.
pub(super) fn functions(ops: &[Op]) -> Vec<Vec<Node>> {
    let mut functions = Vec::new();
    let mut open: Vec<(u32, Vec<Node>)> = vec![(0, Vec::new())];
    let close = |open: &mut Vec<(u32, Vec<Node>)>| {
        let (times, body) = open.pop().expect("one is open");
        open.last_mut().expect("one is around it").1.push(Node::Loop(times, body));
    };
    for op in ops {
        match op {
            Op::Loop { times } if open.len() <= NESTED => {
                open.push((u32::from(times % 4) + 1, Vec::new()));
            }
            Op::End if open.len() > 1 => close(&mut open),
            Op::Loop { .. } | Op::End => {}
            Op::Function if functions.len() + 1 < FUNCTIONS => {
                while open.len() > 1 {
                    close(&mut open);
                }
                functions.push(std::mem::take(&mut open[0].1));
            }
            op => open.last_mut().expect("one is open").1.push(Node::Op(*op)),
        }
    }
    while open.len() > 1 {
        close(&mut open);
    }
    functions.push(open.remove(0).1);
    functions
}

/// Changes some operations of an input.
pub(super) fn mutate(input: &[u8], most: usize, seed: u32) -> Option<Vec<u8>> {
    let Program { header, ops } = Program::decode(input);
    list::mutate((header, ops), most, seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_encoded_as_they_are_decoded() {
        list::check_encoding::<Op>(KINDS);
    }
}
