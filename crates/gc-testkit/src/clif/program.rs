//! Random programs, before they are emitted as CLIF.

use arbitrary::{Arbitrary, Result, Unstructured};

/// The number of variables of each kind.
pub(super) const REFS: usize = 5;
pub(super) const INTS: usize = 3;
pub(super) const WIDES: usize = 2;
pub(super) const FUNCS: usize = 2;

/// A random function: blocks of operations on variables.
#[derive(Clone, Debug)]
pub struct Program(pub(super) Vec<(Vec<Op>, End)>);

/// A variable's number among the variables of its kind.
pub(super) type Var = usize;

/// One operation. The names of variables show their kinds: `r` is a reference, `i` an `I32`, `w` an
/// `I64`, and `f` a function reference. The variable that is written comes first.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    Null { r: Var },
    I31 { r: Var, i: Var },
    I31Get { i: Var, r: Var, signed: bool },
    Move { r: Var, from: Var },
    Select { r: Var, i: Var, a: Var, b: Var },
    Const { i: Var, value: u8 },
    Add { i: Var, a: Var, b: Var },
    Widen { w: Var, i: Var },
    Multiply { w: Var, a: Var, b: Var },
    StructNew { r: Var, a: Var, b: Var, w: Var },
    StructNewDefault { r: Var },
    StructGet { r: Var, of: Var, second: bool },
    StructGetWide { w: Var, of: Var },
    StructGetFunc { f: Var, of: Var },
    StructSet { of: Var, r: Var, second: bool },
    StructSetWide { of: Var, w: Var },
    StructSetFunc { of: Var, f: Var },
    ArrayNewDefault { r: Var, i: Var },
    ArrayNewFill { r: Var, i: Var, a: Var },
    ArrayNewElements { r: Var, a: Var, b: Var },
    BytesNew { r: Var, i: Var, value: Var },
    ArrayLen { i: Var, of: Var },
    ArrayGet { r: Var, of: Var, i: Var },
    ArraySet { of: Var, i: Var, r: Var },
    ArrayGetConst { r: Var, of: Var, index: u8 },
    ArraySetConst { of: Var, index: u8, r: Var },
    BytesGet { i: Var, of: Var, at: Var },
    BytesSet { of: Var, at: Var, i: Var },
    ArrayFill { of: Var, r: Var, i: Var },
    ArrayCopy { of: Var, from: Var, i: Var },
    TableGet { r: Var, i: Var },
    TableSet { i: Var, r: Var },
    GlobalGet { r: Var },
    GlobalSet { r: Var },
    FuncGet { f: Var },
    IsNull { i: Var, r: Var },
    Same { i: Var, a: Var, b: Var },
    Test { i: Var, r: Var, target: u8 },
    Cast { r: Var, target: u8 },
    FuncTest { i: Var, f: Var },
    Call { r: Var, a: Var, w: Var },
    CallIndirect { r: Var, f: Var, a: Var },
    HostNew { r: Var, i: Var },
    HostQuiet { i: Var, r: Var },
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
        // After the last byte, zeros follow. Only a choice from an empty set fails.
        Unstructured::new(bytes).arbitrary().unwrap_or_else(|_| Program::empty())
    }

    fn empty() -> Program {
        Program(vec![(Vec::new(), End::Return { r: 0 })])
    }
}

impl<'a> Arbitrary<'a> for Program {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Program> {
        let blocks = u.int_in_range(1..=8)?;
        let mut program = Vec::new();
        for _ in 0..blocks {
            let mut ops = Vec::new();
            for _ in 0..u.int_in_range(0..=6)? {
                ops.push(op(u)?);
            }
            program.push((ops, end(u, blocks)?));
        }
        program.push((Vec::new(), End::Return { r: 0 }));
        Ok(Program(program))
    }
}

fn op(u: &mut Unstructured<'_>) -> Result<Op> {
    let mut r = || u.choose_index(REFS);
    let (r, a, b) = (r()?, r()?, r()?);
    let mut i = || u.choose_index(INTS);
    let (i, j, k) = (i()?, i()?, i()?);
    let (w, x) = (u.choose_index(WIDES)?, u.choose_index(WIDES)?);
    let f = u.choose_index(FUNCS)?;
    let (byte, flag): (u8, bool) = (u.arbitrary()?, u.arbitrary()?);
    Ok(match u.int_in_range(0..=47)? {
        0 => Op::Null { r },
        1 => Op::I31 { r, i },
        2 => Op::I31Get { i, r, signed: flag },
        3 => Op::Move { r, from: a },
        4 => Op::Select { r, i, a, b },
        5 => Op::Const { i, value: byte },
        6 => Op::Add { i, a: j, b: k },
        7 => Op::Widen { w, i },
        8 => Op::Multiply { w, a: w, b: x },
        9..=11 => Op::StructNew { r, a, b, w },
        12 => Op::StructNewDefault { r },
        13 => Op::StructGet { r, of: a, second: flag },
        14 => Op::StructGetWide { w, of: r },
        15 => Op::StructGetFunc { f, of: r },
        16 | 17 => Op::StructSet { of: a, r, second: flag },
        18 => Op::StructSetWide { of: r, w },
        19 => Op::StructSetFunc { of: r, f },
        20 => Op::ArrayNewDefault { r, i },
        21 => Op::ArrayNewFill { r, i, a },
        22 => Op::ArrayNewElements { r, a, b },
        23 => Op::BytesNew { r, i, value: j },
        24 => Op::ArrayLen { i, of: r },
        25 => Op::ArrayGet { r, of: a, i },
        26 => Op::ArraySet { of: a, i, r },
        27 => Op::ArrayGetConst { r, of: a, index: byte },
        28 => Op::ArraySetConst { of: a, index: byte, r },
        29 => Op::BytesGet { i, of: r, at: j },
        30 => Op::BytesSet { of: r, at: j, i },
        31 => Op::ArrayFill { of: a, r, i },
        32 => Op::ArrayCopy { of: a, from: b, i },
        33 => Op::TableGet { r, i },
        34 => Op::TableSet { i, r },
        35 => Op::GlobalGet { r },
        36 => Op::GlobalSet { r },
        37 => Op::FuncGet { f },
        38 => Op::IsNull { i, r },
        39 => Op::Same { i, a, b },
        40 => Op::Test { i, r, target: byte },
        41 => Op::Cast { r, target: byte },
        42 => Op::FuncTest { i, f },
        43 | 44 => Op::Call { r, a, w },
        45 => Op::CallIndirect { r, f, a },
        46 => Op::HostNew { r, i },
        _ => Op::HostQuiet { i, r },
    })
}

fn end(u: &mut Unstructured<'_>, blocks: usize) -> Result<End> {
    // The first block is the entry. Nothing jumps to it.
    let mut target = || u.int_in_range(1..=blocks);
    let (yes, no, other) = (target()?, target()?, target()?);
    let r = u.choose_index(REFS)?;
    let i = u.choose_index(INTS)?;
    Ok(match u.int_in_range(0..=11)? {
        0 => End::Return { r },
        1..=3 => End::Jump(yes),
        4 => End::Table { i, to: vec![yes, no, yes, other] },
        5 | 6 => End::TestBranch { r, target: u.arbitrary()?, yes, no },
        7 => End::TailCall { a: r, w: 0 },
        8 => End::Trap,
        _ => End::Branch { i, yes, no },
    })
}
