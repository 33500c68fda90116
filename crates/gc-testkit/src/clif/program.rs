//! Random programs, before they are emitted as CLIF.

use super::operations::{ENDS, OPS, Operations};
use arbitrary::{Result, Unstructured};

/// The number of variables of each kind.
pub(super) const REFS: usize = 5;
pub(super) const INTS: usize = 3;
pub(super) const WIDES: usize = 2;
pub(super) const FUNCS: usize = 2;

/// A random function: blocks of operations on variables.
#[derive(Clone, Debug)]
pub struct Program {
    pub(super) blocks: Vec<(Vec<Op>, End)>,
    /// The source location of its first instruction.
    pub(super) location: u32,
}

/// Where the source of a program begins, unless [`Program::at`] says something else.
const FIRST_LOCATION: u32 = 0x40;

/// A variable's number among the variables of its kind.
pub(super) type Var = usize;

/// One operation. The names of variables show their kinds: `r` is a reference, `i` an `I32`, `w` an
/// `I64`, and `f` a function reference. The variable that is written comes first.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    Null {
        r: Var,
    },
    I31 {
        r: Var,
        i: Var,
    },
    I31Get {
        i: Var,
        r: Var,
        signed: bool,
    },
    Move {
        r: Var,
        from: Var,
    },
    Select {
        r: Var,
        i: Var,
        a: Var,
        b: Var,
    },
    Const {
        i: Var,
        value: u8,
    },
    Arith {
        i: Var,
        arith: Arith,
        a: Var,
        b: Var,
    },
    ArithWide {
        w: Var,
        arith: Arith,
        a: Var,
        b: Var,
    },
    Icmp {
        i: Var,
        a: Var,
        b: Var,
        condition: u8,
    },
    IcmpWide {
        i: Var,
        a: Var,
        b: Var,
        condition: u8,
    },
    SelectInt {
        i: Var,
        a: Var,
        b: Var,
    },
    Narrow {
        i: Var,
        w: Var,
    },
    Widen {
        w: Var,
        i: Var,
        signed: bool,
    },
    StructNew {
        r: Var,
        a: Var,
        b: Var,
        w: Var,
    },
    StructNewDefault {
        r: Var,
        base: bool,
    },
    StructGet {
        r: Var,
        of: Var,
        second: bool,
    },
    StructGetWide {
        w: Var,
        of: Var,
    },
    StructGetFunc {
        f: Var,
        of: Var,
    },
    StructSet {
        of: Var,
        r: Var,
        second: bool,
    },
    StructSetWide {
        of: Var,
        w: Var,
    },
    StructSetFunc {
        of: Var,
        f: Var,
    },
    ArrayNewDefault {
        r: Var,
        i: Var,
    },
    ArrayNewFill {
        r: Var,
        i: Var,
        a: Var,
    },
    ArrayNewElements {
        r: Var,
        a: Var,
        b: Var,
    },
    BytesNew {
        r: Var,
        i: Var,
        value: Var,
    },
    ArrayLen {
        i: Var,
        of: Var,
    },
    ArrayGet {
        r: Var,
        of: Var,
        i: Var,
    },
    ArraySet {
        of: Var,
        i: Var,
        r: Var,
    },
    ArrayGetConst {
        r: Var,
        of: Var,
        index: u8,
    },
    ArraySetConst {
        of: Var,
        index: u8,
        r: Var,
    },
    BytesGet {
        i: Var,
        of: Var,
        at: Var,
    },
    BytesSet {
        of: Var,
        at: Var,
        i: Var,
    },
    ArrayFill {
        of: Var,
        r: Var,
        i: Var,
    },
    ArrayCopy {
        of: Var,
        from: Var,
        i: Var,
    },
    TableGet {
        r: Var,
        i: Var,
    },
    TableSet {
        i: Var,
        r: Var,
    },
    /// Reads the field of an object, writes it in an object that may be the same, and reads it
    /// again.
    RereadWide {
        w: Var,
        of: Var,
        alias: Var,
        value: Var,
    },
    /// The same for an element of bytes.
    RereadByte {
        i: Var,
        of: Var,
        alias: Var,
        at: Var,
        value: Var,
    },
    /// One of two references, from two branches that test them and meet, and a test of its type
    /// there.
    Join {
        r: Var,
        i: Var,
        a: Var,
        b: Var,
        target: u8,
    },
    /// Writes every reference into the table.
    TableSetAll,
    GlobalGet {
        r: Var,
    },
    GlobalSet {
        r: Var,
    },
    FuncGet {
        f: Var,
    },
    IsNull {
        i: Var,
        r: Var,
    },
    Same {
        i: Var,
        a: Var,
        b: Var,
    },
    Test {
        i: Var,
        r: Var,
        target: u8,
    },
    Cast {
        r: Var,
        target: u8,
    },
    FuncTest {
        i: Var,
        f: Var,
    },
    Call {
        r: Var,
        a: Var,
        w: Var,
    },
    CallIndirect {
        r: Var,
        f: Var,
        a: Var,
    },
    HostNew {
        r: Var,
        i: Var,
    },
    HostQuiet {
        i: Var,
        r: Var,
    },
}

/// An operation on two integers. Divisions may trap.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arith {
    Iadd,
    Isub,
    Imul,
    Band,
    Bor,
    Bxor,
    Ishl,
    Ushr,
    Sshr,
    Rotl,
    Sdiv,
    Udiv,
    Urem,
    Smin,
    Umax,
}

/// The end of a block.
#[derive(Clone, Debug)]
pub(super) enum End {
    Jump(usize),
    Branch { i: Var, yes: usize, no: usize },
    TestBranch { r: Var, target: u8, yes: usize, no: usize },
    Table { i: Var, to: Vec<usize> },
    Return { r: Var },
    TailCall { a: Var, w: Var },
    Trap,
}

impl Program {
    /// Makes a program from these bytes.
    pub fn from_bytes(bytes: &[u8]) -> Program {
        Program::of(&Operations::all(), &mut Unstructured::new(bytes))
    }

    /// Makes a program of these operations.
    pub fn of(operations: &Operations, u: &mut Unstructured<'_>) -> Program {
        // After the last byte, zeros follow. Only a choice from an empty set fails.
        Program::choose(operations, u).unwrap_or_else(|_| Program::empty())
    }

    fn empty() -> Program {
        Program { blocks: vec![(Vec::new(), End::Return { r: 0 })], location: FIRST_LOCATION }
    }

    /// The same program, whose source begins at another location.
    pub fn at(self, location: u32) -> Program {
        Program { location, ..self }
    }

    fn choose(operations: &Operations, u: &mut Unstructured<'_>) -> Result<Program> {
        let blocks = u.int_in_range(1..=8)?;
        let mut program = Vec::new();
        for block in 0..blocks {
            let mut ops = if block == 0 { operations.prelude() } else { Vec::new() };
            for _ in 0..u.int_in_range(0..=8)? {
                if !operations.ops.is_empty() {
                    ops.push(op(*u.choose(&operations.ops)?, u)?);
                }
            }
            program.push((ops, end(*u.choose(&operations.ends)?, u, blocks)?));
        }
        program.push((Vec::new(), End::Return { r: 3 }));
        // So that more can be seen when it has returned.
        let returns = program.iter_mut().filter(|(_, end)| matches!(end, End::Return { .. }));
        let publishes = operations.have("table_set");
        returns.filter(|_| publishes).for_each(|(ops, _)| ops.push(Op::TableSetAll));
        Ok(Program { blocks: program, location: FIRST_LOCATION })
    }
}

fn op(number: usize, u: &mut Unstructured<'_>) -> Result<Op> {
    // As few bytes as possible, and always as many, so that mutations keep the other operations.
    let (mut word, byte): (u16, u8) = (u.arbitrary()?, u.arbitrary()?);
    let mut choose = |count: usize| {
        let choice = usize::from(word) % count;
        word /= count as u16;
        choice
    };
    let [r, a, b] = [REFS; 3].map(&mut choose);
    let [i, j, k] = [INTS; 3].map(&mut choose);
    let [w, x, f] = [WIDES, WIDES, FUNCS].map(&mut choose);
    let flag = choose(2) == 1;
    let arith = |arith| match flag {
        true => Op::ArithWide { w, arith, a: w, b: x },
        false => Op::Arith { i, arith, a: j, b: k },
    };
    Ok(match OPS[number] {
        "null" => Op::Null { r },
        "i31" => Op::I31 { r, i },
        "i31_get" => Op::I31Get { i, r, signed: flag },
        "move" => Op::Move { r, from: a },
        "select" if byte % 3 == 0 => Op::SelectInt { i, a: j, b: k },
        "select" if byte % 3 == 1 => Op::Join { r, i, a, b, target: byte / 3 },
        "select" => Op::Select { r, i, a, b },
        "iconst" => Op::Const { i, value: byte },
        "uextend" => Op::Widen { w, i, signed: false },
        "sextend" => Op::Widen { w, i, signed: true },
        "ireduce" => Op::Narrow { i, w },
        "struct_new" => Op::StructNew { r, a, b, w },
        "struct_new_default" => Op::StructNewDefault { r, base: flag },
        "struct_get" => Op::StructGet { r, of: a, second: flag },
        "struct_get_wide" => Op::StructGetWide { w, of: r },
        "struct_get_func" => Op::StructGetFunc { f, of: r },
        "struct_set" => Op::StructSet { of: a, r, second: flag },
        "struct_set_wide" if byte % 2 == 1 => {
            let alias = if byte % 4 == 1 { r } else { a };
            Op::RereadWide { w, of: r, alias, value: x }
        }
        "struct_set_wide" => Op::StructSetWide { of: r, w },
        "struct_set_func" => Op::StructSetFunc { of: r, f },
        "array_new_default" => Op::ArrayNewDefault { r, i },
        "array_new_fill" => Op::ArrayNewFill { r, i, a },
        "array_new_elements" => Op::ArrayNewElements { r, a, b },
        "bytes_new" => Op::BytesNew { r, i, value: j },
        "array_len" => Op::ArrayLen { i, of: r },
        "array_get" => Op::ArrayGet { r, of: a, i },
        "array_set" => Op::ArraySet { of: a, i, r },
        "array_get_const" => Op::ArrayGetConst { r, of: a, index: byte },
        "array_set_const" => Op::ArraySetConst { of: a, index: byte, r },
        "bytes_get" => Op::BytesGet { i, of: r, at: j },
        "bytes_set" if byte % 2 == 1 => {
            let alias = if byte % 4 == 1 { r } else { a };
            Op::RereadByte { i, of: r, alias, at: j, value: k }
        }
        "bytes_set" => Op::BytesSet { of: r, at: j, i },
        "array_fill" => Op::ArrayFill { of: a, r, i },
        "array_copy" => Op::ArrayCopy { of: a, from: b, i },
        "table_get" => Op::TableGet { r, i },
        "table_set" => Op::TableSet { i, r },
        "global_get" => Op::GlobalGet { r },
        "global_set" => Op::GlobalSet { r },
        "func_get" => Op::FuncGet { f },
        "is_null" => Op::IsNull { i, r },
        "ref_eq" => Op::Same { i, a, b },
        "ref_test" => Op::Test { i, r, target: byte },
        "ref_cast" => Op::Cast { r, target: byte },
        "func_test" => Op::FuncTest { i, f },
        "call" => Op::Call { r, a, w },
        "call_indirect" => Op::CallIndirect { r, f, a },
        "host_new" => Op::HostNew { r, i },
        "host_quiet" => Op::HostQuiet { i, r },
        "icmp" if flag => Op::IcmpWide { i, a: w, b: x, condition: byte },
        "icmp" => Op::Icmp { i, a: j, b: k, condition: byte },
        "iadd" => arith(Arith::Iadd),
        "isub" => arith(Arith::Isub),
        "imul" => arith(Arith::Imul),
        "band" => arith(Arith::Band),
        "bor" => arith(Arith::Bor),
        "bxor" => arith(Arith::Bxor),
        "ishl" => arith(Arith::Ishl),
        "ushr" => arith(Arith::Ushr),
        "sshr" => arith(Arith::Sshr),
        "rotl" => arith(Arith::Rotl),
        "sdiv" => arith(Arith::Sdiv),
        "udiv" => arith(Arith::Udiv),
        "urem" => arith(Arith::Urem),
        "smin" => arith(Arith::Smin),
        "umax" => arith(Arith::Umax),
        name => unreachable!("no operation is called {name}"),
    })
}

fn end(number: usize, u: &mut Unstructured<'_>, blocks: usize) -> Result<End> {
    // The first block is the entry. Nothing jumps to it.
    let mut target = || u.int_in_range(1..=blocks);
    let (yes, no, other) = (target()?, target()?, target()?);
    let r = u.choose_index(REFS)?;
    let i = u.choose_index(INTS)?;
    Ok(match ENDS[number] {
        "return" => End::Return { r },
        "jump" => End::Jump(yes),
        "br_table" => End::Table { i, to: vec![yes, no, yes, other] },
        "ref_test_branch" => End::TestBranch { r, target: u.arbitrary()?, yes, no },
        "return_call" => End::TailCall { a: r, w: 0 },
        "trap" => End::Trap,
        "brif" => End::Branch { i, yes, no },
        name => unreachable!("no end of a block is called {name}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_makes_an_operation() {
        let bytes = crate::random::bytes(3, 4000);
        let mut u = Unstructured::new(&bytes);
        for number in 0..OPS.len() {
            op(number, &mut u).unwrap();
        }
        for number in 0..ENDS.len() {
            end(number, &mut u, 4).unwrap();
        }
    }

    #[test]
    fn programs_have_only_the_operations_that_are_allowed() {
        let few = Operations::named("iadd,return").unwrap();
        for seed in 0..50 {
            let bytes = crate::random::bytes(seed, 300);
            for (ops, end) in Program::of(&few, &mut Unstructured::new(&bytes)).blocks {
                assert!(ops.iter().all(|op| matches!(
                    op,
                    Op::Arith { arith: Arith::Iadd, .. } | Op::ArithWide { arith: Arith::Iadd, .. }
                )));
                assert!(matches!(end, End::Return { .. } | End::Jump(_)), "{end:?}");
            }
        }
        assert!(Operations::named("goto").is_err());
    }
}
