//! Checks an image's tables, so that their readers need not: sizes, order, and that every offset
//! and number is in range.

use super::{Catches, CodeImage, FunctionId, ImageError, Section, TypeWord};
use crate::machine::{CALLEE_SAVED, Machine};
use crate::table::{Row, Words};
use crate::{Trap, ValueType};

/// Fails unless `condition` holds.
pub(super) fn ensure(condition: bool, why: impl Fn() -> String) -> Result<(), ImageError> {
    if condition { Ok(()) } else { Err(ImageError { why: why() }) }
}

/// The size in bytes of a section's rows.
fn row_size(section: Section) -> usize {
    match section {
        Section::Functions => 28,
        Section::Signatures => 20,
        Section::HandlerSites | Section::Locations | Section::InlinedCalls => 16,
        Section::StackMapFrames => 12,
        Section::Handlers => 8,
        Section::TrapOffsets
        | Section::StackMaps
        | Section::StackMapSlots
        | Section::TypeWords
        | Section::SavedRegisters => 4,
        Section::Text
        | Section::Names
        | Section::SignatureTypes
        | Section::TrapCodes
        | Section::Abi => 1,
    }
}

/// The number of registers that code for the machine of an ABI's text preserves. Code whose ABI is not in the image is for
/// this program's processor.
pub(super) fn callee_saved(abi: &str) -> Result<usize, ImageError> {
    let Some(machine) = Machine::of_abi(abi) else { return Ok(CALLEE_SAVED) };
    let why = || ImageError { why: format!("code for the unknown processor {}", machine.arch()) };
    Ok(machine.processor().ok_or_else(why)?.callee_saved())
}

/// The largest frame of a function in bytes: Cranelift's limit.
const MAX_FRAME: u32 = 128 << 20;

/// Whether there can be a slot so many bytes below a frame pointer. Zero means that there is none.
fn in_frame(distance: u32) -> bool {
    distance.is_multiple_of(8) && distance <= MAX_FRAME
}

/// Whether the range of `length` items from `start` lies within `all` items.
fn inside(start: u32, length: u32, all: usize) -> bool {
    start.checked_add(length).is_some_and(|end| end as usize <= all)
}

fn ascending<T: PartialOrd>(mut items: impl Iterator<Item = T>) -> bool {
    let Some(mut last) = items.next() else { return true };
    items.all(|item| {
        let ascends = last < item;
        last = item;
        ascends
    })
}

/// Checks all of `image`.
pub(super) fn check(image: &CodeImage) -> Result<(), ImageError> {
    for section in Section::ALL {
        let range = image.range(section);
        ensure(image.bytes(section).get(range.clone()).is_some(), || {
            format!("section {section:?} is outside the bytes")
        })?;
        ensure(range.len().is_multiple_of(row_size(section)), || {
            format!("section {section:?} has an invalid size")
        })?;
    }
    ensure(image.code().len() <= i32::MAX as usize, || "the code is larger than 2 GiB".into())?;
    ensure(std::str::from_utf8(image.section(Section::Abi)).is_ok(), || {
        "the ABI's text is not UTF-8".into()
    })?;
    let words = image.table::<1>(Section::TypeWords);
    ensure(words.iter().all(|row| TypeWord::from_code(row.word(0)).is_some()), || {
        "an unknown type word".into()
    })?;
    functions(image)?;
    signatures(image)?;
    let code = image.code().len() as u32;
    traps(image, code)?;
    stack_maps(image, code)?;
    handlers(image, code)?;
    locations(image, code)
}

fn locations(image: &CodeImage, code: u32) -> Result<(), ImageError> {
    let locations = image.table::<4>(Section::Locations);
    let calls = image.table::<4>(Section::InlinedCalls);
    ensure(ascending(locations.iter().map(|row| row.word(0))), || {
        "source locations are not sorted".into()
    })?;
    ensure(locations.iter().all(|row| row.word(0) < row.word(1) && row.word(1) <= code), || {
        "a source location is outside the code".into()
    })?;
    ensure(locations.iter().all(|row| row.word(3) as usize <= calls.len()), || {
        "a source location has an unknown inlined call".into()
    })?;
    // So the callers of an inlined call come to an end.
    ensure(calls.iter().enumerate().all(|(i, row)| row.word(2) as usize <= i), || {
        "an inlined call has a caller that does not come before it".into()
    })
}

fn functions(image: &CodeImage) -> Result<(), ImageError> {
    let functions = image.table::<7>(Section::Functions);
    let names = image.section(Section::Names);
    let saved = image.table::<1>(Section::SavedRegisters);
    let registers = callee_saved(image.abi())?;
    ensure(Some(saved.len()) == functions.len().checked_mul(registers), || {
        "the numbers of functions and of their saved registers differ".into()
    })?;
    ensure(saved.iter().all(|row| in_frame(row.word(0))), || {
        "the slot of a saved register is outside the frame".into()
    })?;
    let mut end = 0;
    for (i, row) in functions.iter().enumerate() {
        let [kind, index, offset, size, vmctx_slot, start, length] = row.words();
        ensure(in_frame(vmctx_slot), || {
            format!("the slot for the vmctx of function {i} is outside the frame")
        })?;
        ensure(FunctionId::from_words([kind, index]).is_some(), || {
            format!("function {i} has an unknown kind")
        })?;
        ensure(offset >= end && inside(offset, size, image.code().len()), || {
            format!("function {i} is outside the code or overlaps another")
        })?;
        end = offset + size;
        let name = inside(start, length, names.len())
            .then(|| &names[start as usize..(start + length) as usize]);
        ensure(name.is_some_and(|name| std::str::from_utf8(name).is_ok()), || {
            format!("the name of function {i} is invalid")
        })?;
    }
    let ids = functions.iter().map(|row| [row.word(0), row.word(1)]);
    ensure(ascending(ids), || "functions are not sorted".into())
}

fn signatures(image: &CodeImage) -> Result<(), ImageError> {
    let functions = image.table::<7>(Section::Functions);
    let types = image.section(Section::SignatureTypes);
    ensure(types.iter().all(|code| ValueType::from_code(*code).is_some()), || {
        "a signature has an unknown type".into()
    })?;
    let signatures = image.table::<5>(Section::Signatures);
    for (i, row) in (0..).zip(signatures) {
        let [start, params, results, entry, exit] = row.words();
        let count = params.checked_add(results);
        ensure(count.is_some_and(|count| inside(start, count, types.len())), || {
            format!("the types of signature {i} are out of range")
        })?;
        let is = |number: u32, id: FunctionId| {
            let Some(at) = number.checked_sub(1) else { return true };
            let row = functions.get(at as usize);
            row.is_some_and(|row| [row.word(0), row.word(1)] == id.to_words())
        };
        ensure(is(entry, FunctionId::Entry(i)) && is(exit, FunctionId::Exit(i)), || {
            format!("the trampolines of signature {i} are invalid")
        })?;
    }
    ensure(ascending(signatures.iter().map(|row| image.signature_codes(row))), || {
        "signatures are not sorted".into()
    })
}

fn traps(image: &CodeImage, code: u32) -> Result<(), ImageError> {
    let offsets = image.table::<1>(Section::TrapOffsets);
    let codes = image.section(Section::TrapCodes);
    ensure(offsets.len() == codes.len(), || "the numbers of traps and trap offsets differ".into())?;
    let offsets = || offsets.iter().map(|row| row.word(0));
    ensure(ascending(offsets()) && offsets().all(|at| at < code), || {
        "trap offsets are not sorted or outside the code".into()
    })?;
    ensure(codes.iter().all(|code| Trap::from_code(*code).is_some()), || {
        "a trap code is unknown".into()
    })
}

fn stack_maps(image: &CodeImage, code: u32) -> Result<(), ImageError> {
    let offsets = image.table::<1>(Section::StackMaps);
    let frames = image.table::<3>(Section::StackMapFrames);
    let slots = image.table::<1>(Section::StackMapSlots);
    ensure(offsets.len() == frames.len(), || "the numbers of stack maps and frames differ".into())?;
    let offsets = || offsets.iter().map(|row| row.word(0));
    ensure(ascending(offsets()) && offsets().all(|at| at <= code), || {
        "stack maps are not sorted or outside the code".into()
    })?;
    let frame = |row: &Row<3>| {
        let [size, first, count] = row.words();
        in_frame(size)
            && inside(first, count, slots.len())
            && slots[first as usize..(first + count) as usize].iter().all(|slot| {
                let slot = slot.word(0);
                slot.is_multiple_of(8) && slot.checked_add(8).is_some_and(|end| end <= size)
            })
    };
    ensure(frames.iter().all(frame), || "a stack map has an invalid slot".into())
}

fn handlers(image: &CodeImage, code: u32) -> Result<(), ImageError> {
    let sites = image.table::<4>(Section::HandlerSites);
    let handlers = image.table::<2>(Section::Handlers);
    let offsets = || sites.iter().map(|row| row.word(0));
    ensure(ascending(offsets()) && offsets().all(|at| at <= code), || {
        "calls with handlers are not sorted or outside the code".into()
    })?;
    ensure(sites.iter().all(|row| in_frame(row.word(1))), || {
        "the stack pointer of a handler is outside the frame".into()
    })?;
    ensure(sites.iter().all(|row| inside(row.word(2), row.word(3), handlers.len())), || {
        "the handlers of a call are out of range".into()
    })?;
    ensure(handlers.iter().all(|row| row.word(1) < code), || {
        "a handler is outside the code".into()
    })?;
    let is_known = |row: &Row<2>| match Catches::from_word(row.word(0)) {
        Catches::LikeCall(ret_addr) => image.handler_site_of(ret_addr).is_some(),
        Catches::All | Catches::Tag(_) => true,
    };
    ensure(handlers.iter().all(is_known), || {
        "a handler stands for those of a call that has none".into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Abi, CodeImageBuilder, CollectorAbi, HandlerSite, ImageFunction, Processor};

    /// Whether an image is accepted whose function has these distances from the frame pointer.
    fn is_accepted(saved: u32, vmctx_slot: u32, frame_offset: u32) -> bool {
        has_handler(saved, vmctx_slot, frame_offset, Catches::All)
    }

    /// The same with a handler of the call at 8.
    fn has_handler(saved: u32, vmctx_slot: u32, frame_offset: u32, catches: Catches) -> bool {
        let mut builder = CodeImageBuilder::default();
        builder.function(ImageFunction {
            id: FunctionId::Function(0),
            name: "f".into(),
            offset: 0,
            size: 16,
            vmctx_slot: Some(vmctx_slot),
            saved: (0..CALLEE_SAVED).map(|n| [0, saved, 0, 0, 8][n % 5]).collect(),
        });
        builder.handler(HandlerSite { ret_addr: 8, frame_offset, handlers: vec![(catches, 12)] });
        let code = [0xcc; CodeImage::PAGE_SIZE as usize];
        builder.finish(&code, &Abi::new(CollectorAbi::new("copying"))).is_ok()
    }

    #[test]
    fn handlers_stand_for_those_of_calls_that_have_some() {
        assert!(has_handler(16, 24, 32, Catches::LikeCall(8)));
        assert!(!has_handler(16, 24, 32, Catches::LikeCall(9)));
    }

    /// Tables have a word for each register of the processor that the ABI's text names.
    #[test]
    fn images_of_all_processors_have_their_own_number_of_words() {
        for processor in Processor::ALL {
            let image = |saved| {
                let mut builder = CodeImageBuilder::default();
                let (id, name) = (FunctionId::Function(0), "f".into());
                builder.function(ImageFunction {
                    id,
                    name,
                    offset: 0,
                    size: 16,
                    vmctx_slot: None,
                    saved,
                });
                let machine = Machine::new(processor.name(), "linux");
                let abi = Abi::new(CollectorAbi::new("copying")).with_machine(machine);
                builder.finish(&vec![0xcc; processor.page_size() as usize], &abi)
            };
            let saved = vec![8; processor.callee_saved()];
            let made = image(saved.clone()).unwrap();
            assert!(made.saved_registers_at(0).unwrap().eq(saved.iter().copied()));
            assert_eq!(made.processor().map(Processor::name), Some(processor.name()));
            let made = image(Vec::new()).unwrap();
            assert!(made.saved_registers_at(0).unwrap().eq(vec![0; saved.len()]));
            let error = image(saved[1..].to_vec()).unwrap_err().to_string();
            assert!(error.contains("f has "), "{error}");
        }
        let nowhere =
            Abi::new(CollectorAbi::new("copying")).with_machine(Machine::new("pdp11", "unix"));
        let error = CodeImageBuilder::default().finish(&[], &nowhere).unwrap_err().to_string();
        assert_eq!(error, "damaged code image: code for the unknown processor pdp11");
    }

    #[test]
    fn slots_are_in_frames() {
        assert!(is_accepted(16, 24, 32) && is_accepted(MAX_FRAME, MAX_FRAME, MAX_FRAME));
        for wrong in [4, MAX_FRAME + 8, -8_i32 as u32] {
            assert!(!is_accepted(wrong, 24, 32), "{wrong}");
            assert!(!is_accepted(16, wrong, 32), "{wrong}");
            assert!(!is_accepted(16, 24, wrong), "{wrong}");
        }
    }
}
