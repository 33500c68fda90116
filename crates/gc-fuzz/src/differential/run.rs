//! What a run of a module showed, in words that belong to no engine, and the comparison of two runs.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// A number. Floats are bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Number {
    /// An `i32`.
    I32(i32),
    /// An `i64`.
    I64(i64),
    /// An `f32`.
    F32(u32),
    /// An `f64`.
    F64(u64),
    /// A `v128`.
    V128(u128),
}

/// A value. References are described by what can be seen through them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ObservedValue {
    /// A number.
    Number(Number),
    /// Any null.
    Null,
    /// An unboxed integer.
    I31(i32),
    /// A struct with its fields.
    Struct(Vec<ObservedValue>),
    /// An array: its length and its first elements.
    Array(u32, Vec<ObservedValue>),
    /// An external reference with this value of the host.
    Extern(u32),
    /// An external reference to an internal one.
    Externalized(Box<ObservedValue>),
    /// An internal reference to an external one with this value of the host.
    Internalized(u32),
    /// A function with these numbers of parameters and results, and which of the functions in the
    /// description it is.
    Func(usize, usize, usize),
    /// An exception with its payload.
    Exn(Vec<ObservedValue>),
    /// The object of this number in the order in which objects are described, once more.
    Again(usize),
    /// A value after the [budget](ObservedValue::BUDGET) is used.
    Deep,
    /// A memory: its length in bytes and a hash of them.
    Memory(usize, u64),
    /// A table with its elements.
    Table(Vec<ObservedValue>),
}

impl ObservedValue {
    /// How many values of a result or an export are described at most. JavaScript does not know whether
    /// it saw an object before, so for it only this ends the description of a graph.
    pub const BUDGET: usize = 200;
    /// How many elements of an array of references are described.
    pub const ELEMENTS: u32 = 40;
    /// How many elements of an array of numbers are described.
    pub const NUMBERS: u32 = 400;
}

impl From<Number> for ObservedValue {
    fn from(number: Number) -> ObservedValue {
        ObservedValue::Number(number)
    }
}

/// The argument of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Argument {
    /// A number.
    Number(Number),
    /// The null of the parameter's type.
    Null,
    /// An unboxed integer.
    I31(u32),
    /// An external reference with this value of the host.
    Extern(u32),
    /// The reference that was seen at this place: in an exported global or as a result.
    Seen(usize),
}

impl From<Number> for Argument {
    fn from(number: Number) -> Argument {
        Argument::Number(number)
    }
}

/// How an instantiation or a call ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It returned these values.
    Returned(Vec<ObservedValue>),
    /// It trapped for this reason.
    Trapped(Cow<'static, str>),
    /// An exception with this payload left it.
    Threw(Vec<ObservedValue>),
    /// Something was used up: the stack, the heap, or a limit of the engine. What this does to a
    /// module is not part of the comparison.
    Exhausted(String),
    /// The engine failed in another way.
    Failed(String),
}

/// A call of an exported function, its end, and the fuel that was left.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    /// The export.
    pub export: String,
    /// The arguments.
    pub arguments: Vec<Argument>,
    /// How it ended.
    pub outcome: Outcome,
    /// The fuel that was left.
    pub fuel: ObservedValue,
}

/// All that is seen of a module in one engine.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Run {
    /// Why the module could not be instantiated.
    pub refused: Option<Outcome>,
    /// The calls, in order.
    pub calls: Vec<Call>,
    /// The exported functions that could not be called, because no argument is known.
    pub uncalled: usize,
    /// The exported globals, memories and tables after the calls.
    pub state: Vec<(String, ObservedValue)>,
    /// Whether calls got only what JavaScript can see.
    pub for_javascript: bool,
}

impl Run {
    /// The final value of the exported `i32` global `name`, or 0.
    pub fn count(&self, name: &str) -> i32 {
        match self.state.iter().find(|(export, _)| export == name) {
            Some((_, ObservedValue::Number(Number::I32(count)))) => *count,
            _ => 0,
        }
    }

    /// What was used up, if anything was.
    pub fn exhausted(&self) -> Option<&str> {
        let outcomes = self.refused.iter().chain(self.calls.iter().map(|call| &call.outcome));
        outcomes.into_iter().find_map(|outcome| match outcome {
            Outcome::Exhausted(what) => Some(&**what),
            _ => None,
        })
    }
}

/// The result of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything that can be seen is the same.
    Same,
    /// It is the same until one of the engines had used something up.
    SameUntilExhausted,
    /// This is different.
    Different(String),
}

/// Compares two runs with the same calls.
pub fn compare(expected: &Run, actual: &Run) -> Verdict {
    let exhausted = |outcome: &Outcome| matches!(outcome, Outcome::Exhausted(_));
    // Two settings of one engine may fail in the same wrong way.
    let outcomes = actual.refused.iter().chain(actual.calls.iter().map(|call| &call.outcome));
    let failed = outcomes.into_iter().find_map(|outcome| match outcome {
        Outcome::Failed(why) if !why.contains(super::NO_IMPORT) => Some(why),
        _ => None,
    });
    if let Some(why) = failed {
        return different("an outcome", "none that is a fault", why);
    }
    match (&expected.refused, &actual.refused) {
        (None, None) => {}
        (Some(outcome), _) | (_, Some(outcome)) if exhausted(outcome) => {
            return Verdict::SameUntilExhausted;
        }
        (Some(expected), Some(actual)) if expected == actual => return Verdict::Same,
        (expected, actual) => return different("instantiation", expected, actual),
    }
    for (index, (expected, actual)) in expected.calls.iter().zip(&actual.calls).enumerate() {
        if exhausted(&expected.outcome) || exhausted(&actual.outcome) {
            return Verdict::SameUntilExhausted;
        }
        let what =
            || format!("call {index} of {:?} with {:?}", expected.export, expected.arguments);
        if expected.outcome != actual.outcome {
            return different(&what(), &expected.outcome, &actual.outcome);
        }
        if expected.fuel != actual.fuel {
            return different(&format!("fuel after {}", what()), &expected.fuel, &actual.fuel);
        }
    }
    if expected.calls.len() != actual.calls.len() {
        return different("number of calls", expected.calls.len(), actual.calls.len());
    }
    for (expected, actual) in expected.state.iter().zip(&actual.state) {
        if expected != actual {
            return different("final state", expected, actual);
        }
    }
    if expected.state.len() != actual.state.len() {
        return different("number of exports", expected.state.len(), actual.state.len());
    }
    Verdict::Same
}

fn different(what: &str, expected: impl fmt::Debug, actual: impl fmt::Debug) -> Verdict {
    Verdict::Different(format!("{what}:\n  expected: {expected:?}\n  Reclaim:  {actual:?}"))
}

/// A hash of a memory's bytes: FNV-1a over words of 32 bits. A change of one word changes it.
pub fn hash(bytes: &[u8]) -> u64 {
    let mut hash = 0x811c_9dc5_u32;
    for word in bytes.chunks_exact(4) {
        let word = u32::from_le_bytes(word.try_into().expect("four bytes"));
        hash = (hash ^ word).wrapping_mul(0x0100_0193);
    }
    hash.into()
}

/// A float whose NaNs are canonical: a small number as such, another one as bits.
#[cfg(feature = "peers")]
pub(crate) fn f32_bits(number: u64) -> u32 {
    let float = if number < 64 { number as f32 } else { f32::from_bits(number as u32) };
    if float.is_nan() { 0x7fc0_0000 } else { float.to_bits() }
}

/// The same for an `f64`.
#[cfg(feature = "peers")]
pub(crate) fn f64_bits(number: u64) -> u64 {
    let float = if number < 64 { number as f64 } else { f64::from_bits(number) };
    if float.is_nan() { 0x7ff8_0000_0000_0000 } else { float.to_bits() }
}
