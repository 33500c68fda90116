//! [`InlinedCalls`]: where instructions come from that were inlined.
//!
//! CLIF has one number for the source location of an instruction. For an instruction of an inlined
//! function it is the number of a row in a table: the location in that function, and the call that
//! was inlined. [`Compiler::compile`](crate::Compiler::compile) replaces the number
//! with the row.

use cranelift_codegen::ir::{self, SourceLoc};
use gc_types::InlinedCall;

/// Source locations are below this number.
const LOCATIONS: u32 = 1 << 30;

/// Rows are counted from the base plus [`LOCATIONS`] up to this number. Above it are the locations
/// before the base.
const LAST: u32 = 3 * LOCATIONS;

/// A range of code and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeLocation {
    /// The offset in bytes of its first instruction.
    pub first: u32,
    /// The offset in bytes of its end.
    pub end: u32,
    /// The source location, if it is known.
    pub location: Option<u32>,
    /// The inlined call whose callee has this location: an index into
    /// [`CompiledFunction::inlined_calls`](crate::CompiledFunction::inlined_calls). `None` for the
    /// function's own body.
    pub call: Option<u32>,
}

/// The calls that were inlined into a function, and where the instructions of their callees come
/// from. [`Compiler::finish`](crate::Compiler::finish) makes it.
#[derive(Clone, Debug, Default)]
pub struct InlinedCalls {
    calls: Vec<InlinedCall>,
    /// The source location and the number of the call.
    rows: Vec<(Option<u32>, u32)>,
}

/// The source location of an instruction of CLIF.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Location {
    None,
    /// A location in the function's own body.
    Own(u32),
    /// A row.
    Inlined(u32),
}

/// Reads a source location of a function with this base. A row is counted from the base, as Cranelift
/// counts locations: so functions that are equal but for their place in the source have equal code,
/// and one entry in a cache.
fn read(base: u32, location: SourceLoc) -> Location {
    if location.is_default() {
        return Location::None;
    }
    match location.bits().wrapping_sub(base) {
        row @ LOCATIONS..LAST => Location::Inlined(row - LOCATIONS),
        _ => Location::Own(location.bits()),
    }
}

fn base(func: &ir::Function) -> u32 {
    func.params.base_srcloc().bits()
}

impl InlinedCalls {
    /// The calls. A call that an inlined function makes comes after the call of this function.
    pub fn calls(&self) -> &[InlinedCall] {
        &self.calls
    }

    /// The source location of `inst` of `func`, which these calls were inlined into. It may be one of
    /// an inlined function. `None` if it is not known.
    pub fn location_of(&self, func: &ir::Function, inst: ir::Inst) -> Option<u32> {
        self.place_of(func, inst).0
    }

    /// The source location of `inst` of `func`, and the number of the inlined call whose callee it is
    /// in. Both are `None` if they are not known, and the second in the function's own body.
    pub(super) fn place_of(
        &self,
        func: &ir::Function,
        inst: ir::Inst,
    ) -> (Option<u32>, Option<u32>) {
        match read(base(func), func.srcloc(inst)) {
            Location::None => (None, None),
            Location::Own(location) => (Some(location), None),
            Location::Inlined(row) => match self.rows.get(row as usize) {
                Some(&(location, call)) => (location, Some(call)),
                None => (None, None),
            },
        }
    }

    /// Adds a call and all that was inlined into its callee.
    pub(super) fn add<'a>(
        &mut self,
        call: InlinedCall,
        callee: &'a ir::Function,
        inlined: &'a InlinedCalls,
    ) -> AddedCall<'a> {
        let number = self.calls.len() as u32;
        self.calls.push(call);
        self.calls.extend(inlined.calls.iter().map(|inner| InlinedCall {
            caller: Some(inner.caller.map_or(number, |caller| number + 1 + caller)),
            ..*inner
        }));
        AddedCall { number, callee, inlined, rows: Default::default() }
    }

    /// The ranges of the code of `func`, whose locations are as in its CLIF. `None` if one is a row
    /// that is not here.
    pub(crate) fn locations(
        &self,
        func: &ir::Function,
        ranges: &[(u32, u32, u32)],
    ) -> Option<Vec<CodeLocation>> {
        let base = base(func);
        let location = |&(first, end, location): &(u32, u32, u32)| {
            let (location, call) = match read(base, SourceLoc::new(location)) {
                Location::None => (None, None),
                Location::Own(location) => (Some(location), None),
                Location::Inlined(row) => {
                    let (location, call) = *self.rows.get(row as usize)?;
                    (location, Some(call))
                }
            };
            Some(CodeLocation { first, end, location, call })
        };
        ranges.iter().map(location).collect()
    }
}

/// A call that was added, for the locations of its callee's instructions.
pub(super) struct AddedCall<'a> {
    number: u32,
    callee: &'a ir::Function,
    inlined: &'a InlinedCalls,
    /// The rows that exist already.
    rows: std::collections::HashMap<Location, u32>,
}

impl AddedCall<'_> {
    /// Gives `copy`, an instruction of `caller`, the location of `inst`, which it is a copy of.
    pub(super) fn copy_location(
        &mut self,
        calls: &mut InlinedCalls,
        caller: &mut ir::Function,
        copy: ir::Inst,
        inst: ir::Inst,
    ) {
        let location = read(base(self.callee), self.callee.srcloc(inst));
        let row = *self.rows.entry(location).or_insert_with(|| {
            calls.rows.push(match location {
                Location::None => (None, self.number),
                Location::Own(location) => (Some(location), self.number),
                Location::Inlined(row) => {
                    let (location, call) = self.inlined.rows[row as usize];
                    (location, self.number + 1 + call)
                }
            });
            calls.rows.len() as u32 - 1
        });
        if caller.params.base_srcloc().is_default() {
            caller.params.ensure_base_srcloc(SourceLoc::new(0));
        }
        let location = base(caller).wrapping_add(LOCATIONS).wrapping_add(row);
        caller.set_srcloc(copy, SourceLoc::new(location));
    }
}
