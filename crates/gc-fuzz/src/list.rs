//! Lists of operations as bytes: any bytes are a list, and a mutation changes whole operations.
//!
//! Operations are an `enum` whose fields are bytes that may have any value. So only the number of an
//! operation's kind must be brought into its range.

use mutatis::{DefaultMutate, Session};
use serde::{Serialize, de::DeserializeOwned};

/// The most bytes of an operation.
const LONGEST: usize = 8;

/// The first `H` bytes, and the operations in the others. There are `kinds` kinds of operations. At
/// most `most` are read.
pub(super) fn decode<const H: usize, Op: DeserializeOwned>(
    bytes: &[u8],
    kinds: u8,
    most: usize,
) -> ([u8; H], Vec<Op>) {
    let mut header = [0; H];
    let (first, mut rest) = bytes.split_at(bytes.len().min(H));
    header[..first.len()].copy_from_slice(first);
    let mut ops = Vec::new();
    while !rest.is_empty() && ops.len() < most {
        let mut longest = [0; LONGEST];
        let count = rest.len().min(LONGEST);
        longest[..count].copy_from_slice(&rest[..count]);
        longest[0] %= kinds;
        let (op, after) = postcard::take_from_bytes(&longest).expect("every kind is one");
        ops.push(op);
        rest = &rest[(LONGEST - after.len()).min(rest.len())..];
    }
    (header, ops)
}

/// The bytes from which [`decode`] makes the same again.
pub(super) fn encode<Op: Serialize>(header: &[u8], ops: &[Op]) -> Vec<u8> {
    let mut bytes = header.to_vec();
    for op in ops {
        let mut buffer = [0; LONGEST];
        bytes.extend_from_slice(postcard::to_slice(op, &mut buffer).expect("it has room"));
    }
    bytes
}

/// Changes some operations, and sometimes the first bytes. The result has at most `most` bytes.
pub(super) fn mutate<const H: usize, Op: Serialize>(
    (mut header, mut ops): ([u8; H], Vec<Op>),
    most: usize,
    seed: u32,
) -> Option<Vec<u8>>
where
    Vec<Op>: DefaultMutate,
    [u8; H]: DefaultMutate,
{
    let mut session = Session::new().seed(u64::from(seed));
    if seed.is_multiple_of(5) {
        session.mutate(&mut header).ok()?;
    } else {
        for _ in 0..=seed / 5 % 4 {
            session.mutate(&mut ops).ok()?;
        }
    }
    let mut bytes = encode(&header, &ops);
    bytes.truncate(most);
    Some(bytes)
}

/// Checks that there are `kinds` kinds of operations, and that each is encoded as it is decoded.
#[cfg(test)]
pub(super) fn check_encoding<Op: Serialize + DeserializeOwned + std::fmt::Debug>(kinds: u8) {
    for kind in 0..kinds {
        let bytes = [9, kind, 200, 2, 130, 4, 5, 6, 7];
        let (header, ops) = decode::<1, Op>(&bytes, kinds, 1);
        assert!(bytes.starts_with(&encode(&header, &ops)), "{ops:?}");
    }
    assert!(postcard::from_bytes::<Op>(&[kinds, 0, 0, 0, 0, 0, 0, 0]).is_err());
}
