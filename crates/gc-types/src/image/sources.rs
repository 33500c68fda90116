//! The source locations of an image's code, through calls that were inlined.
//!
//! The code of an inlined function is part of its caller's code. A row for each range of code tells
//! where it comes from. A row for each inlined call tells which function was inlined and where its
//! caller calls it. So a backtrace names every function, as if nothing was inlined.

use super::{CodeImage, Section};
use crate::table::Words;
use std::ops::Range;

/// A call that the compiler replaced with the callee's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InlinedCall {
    /// The index of the callee.
    pub function: u32,
    /// The source location of the call in its function, if it has one.
    pub location: Option<u32>,
    /// The number of the inlined call whose callee makes this call. `None` if the function that
    /// contains the code makes it.
    pub caller: Option<u32>,
    /// Whether it is a tail call. The caller is then not a source of the callee's instructions,
    /// because its frame would be gone.
    pub tail: bool,
}

/// Where an instruction comes from, as [`CodeImage::sources_at`] finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstructionSource {
    /// The index of the inlined function, or `None` for the function that contains the code.
    pub function: Option<u32>,
    /// The source location of the instruction in this function, or of the call that was inlined
    /// there. `None` if it is not known.
    pub location: Option<u32>,
}

/// The source location of what has none.
pub(super) const NO_LOCATION: u32 = u32::MAX;

impl CodeImage {
    /// Where the instruction at `offset` comes from: the functions that were inlined there, innermost
    /// first, and at the end the function that contains the code. Functions that made a tail call are
    /// left out.
    ///
    /// # Examples
    /// ```
    /// # use gc_types::{Abi, CodeImage, CodeImageBuilder, CollectorAbi, FunctionId, ImageFunction};
    /// use gc_types::{InlinedCall, InstructionSource};
    ///
    /// # let mut builder = CodeImageBuilder::default();
    /// # builder.function(ImageFunction {
    /// #     id: FunctionId::Function(0),
    /// #     name: "f".into(),
    /// #     offset: 0,
    /// #     size: 4,
    /// #     vmctx_slot: None,
    /// #     saved: Default::default(),
    /// # });
    /// // Function 0 calls function 5 at its location 7. The call was inlined, and the instruction at
    /// // location 90 of function 5 is the code from 2 to 4.
    /// let call = InlinedCall { function: 5, location: Some(7), caller: None, tail: false };
    /// let call = builder.inlined_call(call);
    /// builder.location(0, 2, Some(7), None);
    /// builder.location(2, 4, Some(90), Some(call));
    /// # let abi = Abi::new(CollectorAbi::new("copying"));
    /// # let image = builder.finish(&[0xcc; CodeImage::PAGE_SIZE as usize], &abi)?;
    ///
    /// let source = |function, location| InstructionSource { function, location };
    /// let found: Vec<_> = image.sources_at(2).collect();
    /// assert_eq!(found, [source(Some(5), Some(90)), source(None, Some(7))]);
    /// assert_eq!(image.sources_at(0).collect::<Vec<_>>(), [source(None, Some(7))]);
    /// # Ok::<(), gc_types::ImageError>(())
    /// ```
    pub fn sources_at(&self, offset: u32) -> impl Iterator<Item = InstructionSource> + '_ {
        let locations = self.table::<4>(Section::Locations);
        let at = locations.partition_point(|row| row.word(0) <= offset).checked_sub(1);
        let row = at.map(|at| locations[at].words()).filter(|[_, end, ..]| offset < *end);
        let [_, _, location, call] = row.unwrap_or([0, 0, NO_LOCATION, 0]);
        let calls = self.table::<4>(Section::InlinedCalls);
        let mut next = Some((location, call));
        std::iter::from_fn(move || {
            let (location, call) = next?;
            let location = (location != NO_LOCATION).then_some(location);
            let Some(call) = call.checked_sub(1) else {
                next = None;
                return Some(InstructionSource { function: None, location });
            };
            let [function, mut at, mut caller, mut tail] = calls[call as usize].words();
            next = loop {
                if tail == 0 {
                    break Some((at, caller));
                }
                let Some(gone) = caller.checked_sub(1) else { break None };
                [_, at, caller, tail] = calls[gone as usize].words();
            };
            Some(InstructionSource { function: Some(function), location })
        })
    }

    /// The ranges of the code in `range` that come from one instruction of the source, ascending: first
    /// offset, end, and the source location, if it is known. The location is that of the innermost
    /// inlined function.
    pub fn locations_in(
        &self,
        range: Range<u32>,
    ) -> impl Iterator<Item = (u32, u32, Option<u32>)> + '_ {
        let locations = self.table::<4>(Section::Locations);
        let first = locations.partition_point(|row| row.word(0) < range.start);
        let rows = locations[first..].iter().map(|row| row.words());
        rows.take_while(move |[first, ..]| *first < range.end).map(|[first, end, location, _]| {
            (first, end, (location != NO_LOCATION).then_some(location))
        })
    }
}
