//! The machine code of a function as text: the emitted bytes, decoded.
//!
//! Cranelift's own text shows its instructions before they are laid out, with jumps that are not
//! emitted and without offsets. Here the bytes are decoded from the function's start along its
//! jumps, so that tables of jumps and constants between instructions are not taken for
//! instructions. What belongs to an instruction (traps, stack maps, exception handlers) is beside
//! it. The syntax is that of `objdump`.

use crate::printable::printable;
use gc_wasm::explore::{MachineCode, StackMap};
use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Formatter, GasFormatter, Instruction, OpKind,
    SymbolResolver, SymbolResult,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// A function whose instructions were found.
pub(super) struct Disassembly<'a> {
    code: &'a MachineCode,
    instructions: BTreeMap<u32, Instruction>,
    /// The targets of jumps, and the begin of each handler.
    targets: BTreeSet<u32>,
    /// The tables of jumps: the offset of each, and its targets.
    tables: BTreeMap<u32, Table>,
    /// The addresses that are computed relative to an instruction.
    addresses: BTreeSet<u32>,
}

/// A table of jumps.
struct Table {
    targets: Vec<u32>,
    /// It ends there or before.
    end: u32,
}

impl<'a> Disassembly<'a> {
    /// Decodes a function's code.
    pub(super) fn new(code: &'a MachineCode) -> Disassembly<'a> {
        let mut this = Disassembly {
            code,
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
                None => return this,
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
    fn decode(&mut self, at: u32, pending: &mut Vec<u32>) {
        let Some(bytes) = self.code.code.get(at as usize..) else { return };
        let decoder = Decoder::with_ip(64, bytes, u64::from(at), DecoderOptions::NONE);
        for instruction in decoder {
            let (at, next) = (instruction.ip() as u32, instruction.next_ip() as u32);
            if instruction.code() == Code::INVALID
                || self.instructions.insert(at, instruction).is_some()
            {
                return;
            }
            if instruction.is_ip_rel_memory_operand() && self.symbol(&instruction).is_none() {
                self.addresses.insert(instruction.ip_rel_memory_address() as u32);
            }
            match instruction.flow_control() {
                FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall => {}
                FlowControl::ConditionalBranch => pending.extend(self.jump(&instruction)),
                FlowControl::UnconditionalBranch => {
                    pending.extend(self.jump(&instruction));
                    return;
                }
                FlowControl::IndirectBranch => {
                    if self.addresses.contains(&next) {
                        let end = self.location(at).map_or(self.size() as u32, |(end, _)| end);
                        self.tables.insert(next, Table { targets: Vec::new(), end });
                    }
                    return;
                }
                _ => return,
            }
        }
    }

    /// The target of a jump inside the function.
    fn jump(&mut self, instruction: &Instruction) -> Option<u32> {
        let target = instruction.near_branch_target() as u32;
        let inside = self.symbol(instruction).is_none();
        inside.then(|| self.targets.insert(target))?;
        Some(target)
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

    /// The name of what an instruction refers to, if the linker fills it in.
    fn symbol(&self, instruction: &Instruction) -> Option<&'a str> {
        let range = instruction.ip() as u32..instruction.next_ip() as u32;
        self.code.symbols.range(range).next().map(|(_, name)| &**name)
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
        let mut formatter = formatter(self.code);
        let (mut text, mut shown, mut at) = (String::new(), None, 0);
        while at < self.size() as u32 {
            let Some(instruction) = self.instructions.get(&at) else {
                at = self.data(&mut text, at);
                continue;
            };
            let location = self.location(at).map(|(_, location)| location);
            let column = match location.filter(|_| location != shown) {
                Some(location) => format!("@{location:04x}"),
                None => String::new(),
            };
            shown = location;
            let mark = if self.targets.contains(&at) { '>' } else { ' ' };
            let mut instruction_text = String::new();
            formatter.format(instruction, &mut instruction_text);
            let trap = self.code.traps.get(&at).map(|trap| format!("; trap: {trap}"));
            let trap = trap.unwrap_or_default();
            let line = format!("{column:7}{mark} {at:04x}  {instruction_text:40} {trap}");
            let _ = writeln!(text, "{}", line.trim_end());
            at = instruction.next_ip() as u32;
            for note in self.notes(at) {
                let _ = writeln!(text, "{:15}; {note}", "");
            }
        }
        text
    }

    /// Shows the bytes from `at` up to the next instruction. Returns the offset of that.
    fn data(&self, text: &mut String, at: u32) -> u32 {
        let next = self.instructions.range(at..).next().map_or(self.size() as u32, |(at, _)| *at);
        let mut from = at;
        if let Some(table) = self.tables.get(&at) {
            for target in &table.targets {
                let _ = writeln!(text, "{:9}{from:04x}  .long {target:#06x} - {at:#06x}", "");
                from += 4;
            }
        }
        while from < next {
            // A constant begins a line.
            let end = self.addresses.range(from + 1..next).next().copied().unwrap_or(next);
            let end = end.min(from + 16);
            let bytes = self.code.code[from as usize..end as usize].iter();
            let bytes: Vec<String> = bytes.map(|byte| format!("{byte:#04x}")).collect();
            let _ = writeln!(text, "{:9}{from:04x}  .byte {}", "", bytes.join(", "));
            from = end;
        }
        next
    }

    /// What is known of a call that returns to `at`.
    fn notes(&self, at: u32) -> Vec<String> {
        let map = self.code.stack_maps.get(&at).map(stack_map);
        let handlers = self.code.handlers.get(&at).map(|handlers| handlers_of(handlers));
        map.into_iter().chain(handlers).collect()
    }

    /// The stack maps and handlers: a line for each.
    pub(super) fn stack_maps(&self) -> String {
        let mut text = String::new();
        let code = self.code;
        let places: BTreeSet<u32> =
            code.stack_maps.keys().chain(code.handlers.keys()).copied().collect();
        for at in places {
            let callee = self.instructions.range(..at).next_back();
            let callee = callee.and_then(|(_, call)| self.symbol(call)).map(printable);
            let callee = callee.map(|name| format!(" ({name})")).unwrap_or_default();
            for note in self.notes(at) {
                let _ = writeln!(text, "after {at:#06x}{callee}: {note}");
            }
        }
        if code.stack_maps.is_empty() {
            text.push_str("no reference is live across any call\n");
        }
        text
    }
}

/// A stack map as text.
fn stack_map(map: &StackMap) -> String {
    let slots: Vec<String> = map
        .slots
        .iter()
        .map(|slot| match slot {
            0 => "(%rsp)".to_owned(),
            slot => format!("{slot:#x}(%rsp)"),
        })
        .collect();
    format!("frame of {} bytes, references at {}", map.frame_size, slots.join(" "))
}

/// The handlers of a call as text.
fn handlers_of(handlers: &[(String, u32)]) -> String {
    let handlers = handlers.iter().map(|(tag, at)| format!("{} at {at:#06x}", printable(tag)));
    format!("handlers for {}", handlers.collect::<Vec<_>>().join(", "))
}

/// Resolves what instructions refer to: the names that the linker knows, by the offset of the field.
struct Symbols(BTreeMap<u32, String>);

impl SymbolResolver for Symbols {
    fn symbol(
        &mut self,
        instruction: &Instruction,
        _operand: u32,
        instruction_operand: Option<u32>,
        address: u64,
        _address_size: u32,
    ) -> Option<SymbolResult<'_>> {
        let operand = instruction.op_kind(instruction_operand?);
        let jumps = operand == OpKind::NearBranch64;
        let relative = operand == OpKind::Memory && instruction.is_ip_rel_memory_operand();
        if !jumps && !relative {
            return None;
        }
        let fields = instruction.ip() as u32..instruction.next_ip() as u32;
        Some(match self.0.range(fields).next() {
            Some((_, name)) => SymbolResult::with_str(address, name),
            None => SymbolResult::with_string(address, format!("{address:#06x}")),
        })
    }
}

/// A formatter in the syntax of `objdump`.
fn formatter(code: &MachineCode) -> GasFormatter {
    let symbols = code.symbols.iter().map(|(at, name)| (*at, printable(name).into_owned()));
    let symbols: Box<dyn SymbolResolver> = Box::new(Symbols(symbols.collect()));
    let mut formatter = GasFormatter::with_options(Some(symbols), None);
    let options = formatter.options_mut();
    options.set_uppercase_hex(false);
    options.set_small_hex_numbers_in_decimal(false);
    options.set_signed_immediate_operands(true);
    options.set_space_after_operand_separator(true);
    options.set_gas_show_mnemonic_size_suffix(true);
    options.set_gas_space_after_memory_operand_comma(true);
    formatter
}
