//! The operations, and their encoding: any bytes are operations.

use mutatis::{Mutate, Session};
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
    /// Tests a local's type.
    Test {
        from: u8,
        ty: u8,
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

/// The number of kinds of operations.
const KINDS: u8 = 34;
/// The most bytes of an operation.
const LONGEST: usize = 8;
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
        let mut header = [0; HEADER];
        let (first, mut rest) = bytes.split_at(bytes.len().min(HEADER));
        header[..first.len()].copy_from_slice(first);
        let mut ops = Vec::new();
        while !rest.is_empty() && ops.len() < MOST {
            let mut longest = [0; LONGEST];
            let count = rest.len().min(LONGEST);
            longest[..count].copy_from_slice(&rest[..count]);
            longest[0] %= KINDS;
            let (op, after) = postcard::take_from_bytes(&longest).expect("every kind is one");
            ops.push(op);
            rest = &rest[(LONGEST - after.len()).min(rest.len())..];
        }
        Program { header, ops }
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = self.header.to_vec();
        for op in &self.ops {
            let mut buffer = [0; LONGEST];
            bytes.extend_from_slice(postcard::to_slice(op, &mut buffer).expect("it has room"));
        }
        bytes
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
    let Program { mut header, mut ops } = Program::decode(input);
    let mut session = Session::new().seed(u64::from(seed)).shrink(most < input.len());
    if seed.is_multiple_of(13) {
        session.mutate(&mut header).ok()?;
    } else {
        for _ in 0..=seed / 13 % 4 {
            session.mutate(&mut ops).ok()?;
        }
    }
    let mut bytes = Program { header, ops }.encode();
    bytes.truncate(most);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_encoded_as_it_is_decoded() {
        for kind in 0..KINDS {
            let mut bytes = vec![0; HEADER];
            bytes.extend([kind, 200, 2, 130, 4, 5, 6, 7]);
            let program = Program::decode(&bytes);
            assert_eq!(program.encode()[..bytes.len()], bytes, "{program:?}");
        }
        assert!(postcard::from_bytes::<Op>(&[KINDS, 0, 0, 0, 0, 0, 0, 0]).is_err());
    }

    #[test]
    fn mutations_are_short_enough() {
        let input = gc_testkit::random::bytes(1, 300);
        for seed in 0..100 {
            let mutated = mutate(&input, 200, seed).unwrap();
            assert!(mutated.len() <= 200);
        }
    }
}
