//! The machine code of a function as text: the emitted bytes, decoded.
//!
//! Cranelift's own text shows its instructions before they are laid out, with jumps that are not
//! emitted and without offsets. Here the bytes are decoded from the function's start along its
//! jumps, so that tables of jumps and constants between instructions are not taken for
//! instructions. What belongs to an instruction (traps, stack maps, exception handlers) is beside
//! it. The syntax is that of `objdump`.

use super::arch::{self, Decoder, Flow, Instruction};
use crate::printable::printable;
use anyhow::Result;
use gc_types::Trap;
use gc_wasm::explore::{MachineCode, StackMap};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// A function whose instructions were found.
pub(super) struct Disassembly<'a> {
    code: &'a MachineCode,
    decoder: Box<dyn Decoder + 'a>,
    instructions: BTreeMap<u32, Instruction>,
    /// The targets of jumps, and the begin of each handler.
    targets: BTreeSet<u32>,
    /// The tables of jumps: the offset of each, and its targets.
    tables: BTreeMap<u32, Table>,
    /// The addresses that are computed relative to an instruction.
    addresses: BTreeSet<u32>,
}

/// A line of a listing.
pub(super) struct Line {
    /// The offset of what is shown. Of a note, the return address of its call.
    pub(super) at: u32,
    pub(super) text: String,
    pub(super) kind: LineKind,
}

/// What a line shows.
pub(super) enum LineKind {
    /// An instruction.
    Instruction {
        /// The offset of its operator in the module.
        location: Option<u32>,
        /// Whether a jump leads to it.
        is_target: bool,
        trap: Option<Trap>,
        /// The offset that it jumps to.
        jumps_to: Option<u32>,
        /// Whether it moves a value to or from a slot of a stack map.
        is_spill: bool,
    },
    /// A table of jumps or a constant.
    Data,
    /// The stack map of the call before it.
    StackMap,
    /// The exception handlers of the call before it.
    Handlers,
}

/// A table of jumps.
struct Table {
    targets: Vec<u32>,
    /// It ends there or before.
    end: u32,
}

impl<'a> Disassembly<'a> {
    /// Decodes a function's code.
    ///
    /// # Errors
    /// If there is no decoder for its processor.
    pub(super) fn new(code: &'a MachineCode) -> Result<Disassembly<'a>> {
        let mut this = Disassembly {
            code,
            decoder: arch::decoder(code)?,
            instructions: BTreeMap::new(),
            targets: code.handlers.values().flatten().map(|(_, at)| *at).collect(),
            tables: BTreeMap::new(),
            addresses: BTreeSet::new(),
        };
        let mut pending = vec![0];
        pending.extend(&this.targets);
        loop {
            // What plain jumps lead to is decoded first: a table ends where code begins.
            while let Some(at) = pending.pop() {
                this.decode(at, &mut pending);
            }
            match this.next_entry() {
                Some(target) => pending.push(target),
                None => return Ok(this),
            }
        }
    }

    /// The number of instructions.
    pub(super) fn count(&self) -> usize {
        self.instructions.len()
    }

    /// The size in bytes, with tables and constants.
    pub(super) fn size(&self) -> usize {
        self.code.code.len()
    }

    /// Decodes from `at` until the control flow leaves, or what follows is decoded already.
    fn decode(&mut self, mut at: u32, pending: &mut Vec<u32>) {
        while !self.instructions.contains_key(&at) {
            let Some(instruction) = self.decoder.decode(at) else { return };
            let (flow, next) = (instruction.flow, at + instruction.len);
            self.addresses.extend(instruction.address);
            self.instructions.insert(at, instruction);
            match flow {
                Flow::Next => {}
                Flow::Branch { target, conditional } => {
                    self.targets.extend(target);
                    pending.extend(target);
                    if !conditional {
                        return;
                    }
                }
                Flow::Indirect => {
                    if self.addresses.contains(&next) {
                        let end = self.location(at).map_or(self.size() as u32, |(end, _)| end);
                        self.tables.insert(next, Table { targets: Vec::new(), end });
                    }
                    return;
                }
                Flow::Stop => return,
            }
            at = next;
        }
    }

    /// Reads one more entry of a table: a distance from the table's start. The number of entries
    /// is not in the code; a table ends where code begins.
    fn next_entry(&mut self) -> Option<u32> {
        for (start, table) in &mut self.tables {
            let at = start + 4 * table.targets.len() as u32;
            let next = self.instructions.range(start..).next().map_or(table.end, |(at, _)| *at);
            let bytes = self.code.code.get(at as usize..at as usize + 4);
            let (Some(&[a, b, c, d]), true) = (bytes, at + 4 <= next.min(table.end)) else {
                continue;
            };
            let target = i64::from(*start) + i64::from(i32::from_le_bytes([a, b, c, d]));
            let target = u32::try_from(target).ok().filter(|at| *at < self.code.code.len() as u32);
            let Some(target) = target else {
                table.end = at;
                continue;
            };
            table.targets.push(target);
            self.targets.insert(target);
            return Some(target);
        }
        None
    }

    /// The end of the range of code at `at` that comes from one operator, and the operator's
    /// offset.
    fn location(&self, at: u32) -> Option<(u32, u32)> {
        let locations = &self.code.locations;
        let next = locations.partition_point(|(first, _, _)| *first <= at);
        let (_, end, location) = locations[..next].last()?;
        (at < *end).then_some((*end, *location))
    }

    /// The listing: for each instruction the offset of its operator in the module if it is another
    /// one than before, `>` if a jump leads to it, its offset, and its text.
    pub(super) fn text(&self) -> String {
        let (mut text, mut shown) = (String::new(), None);
        for line in self.lines() {
            let at = line.at;
            let line = match line.kind {
                LineKind::Instruction { location, is_target, trap, .. } => {
                    let column = match location.filter(|_| location != shown) {
                        Some(location) => format!("@{location:04x}"),
                        None => String::new(),
                    };
                    shown = location;
                    let mark = if is_target { '>' } else { ' ' };
                    let trap =
                        trap.map(|trap| format!("; trap: {}", trap.reason())).unwrap_or_default();
                    format!("{column:7}{mark} {at:04x}  {:40} {trap}", line.text)
                }
                LineKind::Data => format!("{:9}{at:04x}  {}", "", line.text),
                LineKind::StackMap | LineKind::Handlers => format!("{:15}; {}", "", line.text),
            };
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text
    }

    /// The lines of the listing.
    pub(super) fn lines(&self) -> Vec<Line> {
        let slots: BTreeSet<u32> =
            self.code.stack_maps.values().flat_map(|map| &map.slots).copied().collect();
        let (mut lines, mut at) = (Vec::new(), 0);
        while at < self.size() as u32 {
            let Some(instruction) = self.instructions.get(&at) else {
                at = self.data(&mut lines, at);
                continue;
            };
            let kind = LineKind::Instruction {
                location: self.location(at).map(|(_, location)| location),
                is_target: self.targets.contains(&at),
                trap: self.code.traps.get(&at).copied(),
                jumps_to: match instruction.flow {
                    Flow::Branch { target, .. } => target,
                    _ => None,
                },
                is_spill: instruction.slot.is_some_and(|slot| slots.contains(&slot)),
            };
            lines.push(Line { at, text: instruction.text.clone(), kind });
            at += instruction.len;
            lines.extend(self.notes(at));
        }
        lines
    }

    /// Shows the bytes from `at` up to the next instruction. Returns the offset of that.
    fn data(&self, lines: &mut Vec<Line>, at: u32) -> u32 {
        let next = self.instructions.range(at..).next().map_or(self.size() as u32, |(at, _)| *at);
        let mut from = at;
        let mut push = |at, text| lines.push(Line { at, text, kind: LineKind::Data });
        if let Some(table) = self.tables.get(&at) {
            for target in &table.targets {
                push(from, format!(".long {target:#06x} - {at:#06x}"));
                from += 4;
            }
        }
        while from < next {
            // A constant begins a line.
            let end = self.addresses.range(from + 1..next).next().copied().unwrap_or(next);
            let end = end.min(from + 16);
            let bytes = self.code.code[from as usize..end as usize].iter();
            let bytes: Vec<String> = bytes.map(|byte| format!("{byte:#04x}")).collect();
            push(from, format!(".byte {}", bytes.join(", ")));
            from = end;
        }
        next
    }

    /// What the instruction before `at` calls, if it has a name.
    pub(super) fn callee_before(&self, at: u32) -> Option<Cow<'a, str>> {
        let (first, call) = self.instructions.range(..at).next_back()?;
        let mut symbols = self.code.symbols.range(first..&(first + call.len));
        symbols.next().map(|(_, name)| printable(name))
    }

    /// What is known of a call that returns to `at`.
    fn notes(&self, at: u32) -> impl Iterator<Item = Line> + use<> {
        let map = self.code.stack_maps.get(&at).map(|map| self.stack_map(map));
        let map = map.map(|text| Line { at, text, kind: LineKind::StackMap });
        let handlers = self.code.handlers.get(&at).map(|handlers| handlers_of(handlers));
        let handlers = handlers.map(|text| Line { at, text, kind: LineKind::Handlers });
        map.into_iter().chain(handlers)
    }

    /// The stack maps and handlers: a line for each.
    pub(super) fn stack_maps(&self) -> String {
        let mut text = String::new();
        let code = self.code;
        let places: BTreeSet<u32> =
            code.stack_maps.keys().chain(code.handlers.keys()).copied().collect();
        for at in places {
            let callee = self.callee_before(at);
            let callee = callee.map(|name| format!(" ({name})")).unwrap_or_default();
            for note in self.notes(at) {
                let _ = writeln!(text, "after {at:#06x}{callee}: {}", note.text);
            }
        }
        if code.stack_maps.is_empty() {
            text.push_str("no reference is live across any call\n");
        }
        text
    }

    /// The slots of a stack map as operands.
    pub(super) fn slots(&self, map: &StackMap) -> String {
        let slots = map.slots.iter().map(|slot| self.decoder.slot(*slot));
        slots.collect::<Vec<_>>().join(" ")
    }

    /// A stack map as text.
    fn stack_map(&self, map: &StackMap) -> String {
        let slots = self.slots(map);
        format!("frame of {} bytes, references at {slots}", map.frame_size)
    }
}

/// The handlers of a call as text.
fn handlers_of(handlers: &[(String, u32)]) -> String {
    let handlers = handlers.iter().map(|(tag, at)| format!("{} at {at:#06x}", printable(tag)));
    format!("handlers for {}", handlers.collect::<Vec<_>>().join(", "))
}
