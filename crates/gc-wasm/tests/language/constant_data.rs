//! Arrays that are made of a data segment with constant operands. Their bytes are in the code, unless
//! the segment may be dropped. `tests/scripts/tables.wast` has those that trap.

use crate::common::everywhere;
use anyhow::Result;
use std::fmt::Write;

const LENGTH: usize = 80;

/// The byte `at` of the segment. Some runs of eight bytes are zero.
fn byte(at: usize) -> u8 {
    if (16..32).contains(&at) { 0 } else { (at * 37 + 129) as u8 }
}

fn segment() -> String {
    (0..LENGTH).fold(String::new(), |mut text, at| {
        write!(text, "\\{:02x}", byte(at)).expect("a string");
        text
    })
}

/// A module with a function for each start and length. It sums the elements, each multiplied by its
/// index plus one.
fn sums(storage: &str, shift: u32, ranges: &[(usize, usize)]) -> String {
    let element = "$a (local.get $a) (local.get $i)";
    let element = match storage {
        "i8" | "i16" => format!("(i64.extend_i32_u (array.get_u {element}))"),
        "i32" => format!("(i64.extend_i32_u (array.get {element}))"),
        _ => format!("(array.get {element})"),
    };
    let mut wat = format!(
        r#"(module
        (type $a (array (mut {storage})))
        (data $d "{}")
        (func $sum (param $a (ref $a)) (result i64) (local $i i32) (local $sum i64)
            (block $done
                (loop $more
                    (br_if $done (i32.ge_u (local.get $i) (array.len (local.get $a))))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (local.set $sum (i64.add (local.get $sum)
                        (i64.mul (i64.extend_i32_u (local.get $i)) {before})))
                    (br $more)))
            (local.get $sum))"#,
        segment(),
        before = element.replace("(local.get $i)", "(i32.sub (local.get $i) (i32.const 1))"),
    );
    for (start, length) in ranges {
        let length = length >> shift;
        write!(
            wat,
            r#"(func (export "{start} {length}") (result i64)
                (call $sum (array.new_data $a $d (i32.const {start}) (i32.const {length}))))"#
        )
        .expect("a string");
    }
    wat + ")"
}

fn expected(size: usize, start: usize, length: usize) -> i64 {
    let bytes: Vec<u8> = (start..start + length * size).map(byte).collect();
    bytes.chunks(size).zip(1..).fold(0i64, |sum, (element, index)| {
        let mut word = [0; 8];
        word[..size].copy_from_slice(element);
        sum.wrapping_add(i64::from_le_bytes(word).wrapping_mul(index))
    })
}

#[test]
fn elements_are_the_bytes_of_the_segment() -> Result<()> {
    for (storage, size) in [("i8", 1), ("i16", 2), ("i32", 4), ("i64", 8)] {
        let shift = (size as u32).trailing_zeros();
        let lengths = (0..20).chain([31, 32, 36, 56, 63, 64, 65, 72]);
        let mut ranges: Vec<(usize, usize)> = lengths
            .map(|length| (3, length))
            .chain([(0, 8), (14, 20), (16, 16), (8, 72)])
            .collect();
        ranges.dedup_by_key(|(start, length)| (*start, *length >> shift));
        let wat = sums(storage, shift, &ranges);
        everywhere(|setting| {
            let (mut store, instance) = setting.instantiate(&wat, &[])?;
            for (start, length) in &ranges {
                let length = length >> shift;
                let name = format!("{start} {length}");
                let sum = instance.get_typed_func::<(), i64>(&mut store, &name)?;
                assert_eq!(
                    sum.call(&mut store, ())?,
                    expected(size, *start, length),
                    "{storage}: {name}"
                );
            }
            Ok(())
        })?;
    }
    Ok(())
}
