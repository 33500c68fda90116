//! x86-64, decoded with `iced-x86`.
//!
//! The linker fills in a field inside an instruction, so the offset of a symbol is after that of its instruction. A slot
//! is `0x8(%rsp)`.

use super::{Decoder, Flow, Instruction};
use crate::printable::printable;
use gc_wasm::explore::MachineCode;
use iced_x86::{
    Code, DecoderOptions, FlowControl, Formatter, GasFormatter, Mnemonic, OpKind, Register,
    SymbolResolver, SymbolResult,
};
use std::collections::BTreeMap;

/// The decoder of a function.
pub(super) struct X86_64<'a> {
    code: &'a MachineCode,
    decoder: iced_x86::Decoder<'a>,
    formatter: GasFormatter,
}

impl<'a> X86_64<'a> {
    pub(super) fn new(code: &'a MachineCode) -> X86_64<'a> {
        let decoder = iced_x86::Decoder::new(64, &code.code, DecoderOptions::NONE);
        X86_64 { code, decoder, formatter: formatter(code) }
    }
}

impl Decoder for X86_64<'_> {
    fn decode(&mut self, at: u32) -> Option<Instruction> {
        self.decoder.set_position(at as usize).ok()?;
        self.decoder.set_ip(u64::from(at));
        let decoded = self.decoder.decode();
        if decoded.code() == Code::INVALID {
            return None;
        }
        let fields = at..decoded.next_ip() as u32;
        let is_inside = self.code.symbols.range(fields).next().is_none();
        let branch = |conditional| {
            let target = is_inside.then(|| decoded.near_branch_target() as u32);
            Flow::Branch { target, conditional }
        };
        let flow = match decoded.flow_control() {
            FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall => Flow::Next,
            FlowControl::ConditionalBranch => branch(true),
            FlowControl::UnconditionalBranch => branch(false),
            FlowControl::IndirectBranch => Flow::Indirect,
            _ => Flow::Stop,
        };
        let mut text = String::new();
        self.formatter.format(&decoded, &mut text);
        let has_address = is_inside && decoded.is_ip_rel_memory_operand();
        Some(Instruction {
            len: decoded.len() as u32,
            text,
            flow,
            address: has_address.then(|| decoded.ip_rel_memory_address() as u32),
            slot: slot_of(&decoded),
        })
    }

    fn slot(&self, slot: u32) -> String {
        match slot {
            0 => "(%rsp)".to_owned(),
            slot => format!("{slot:#x}(%rsp)"),
        }
    }
}

/// The slot on the stack that an instruction moves a value to or from, in bytes from the stack pointer.
fn slot_of(instruction: &iced_x86::Instruction) -> Option<u32> {
    let moves = instruction.mnemonic() == Mnemonic::Mov
        && instruction.memory_base() == Register::RSP
        && instruction.memory_index() == Register::None;
    moves.then(|| u32::try_from(instruction.memory_displacement64()).ok()).flatten()
}

/// Resolves what instructions refer to: the names that the linker knows, by the offset of the field.
struct Symbols(BTreeMap<u32, String>);

impl SymbolResolver for Symbols {
    fn symbol(
        &mut self,
        instruction: &iced_x86::Instruction,
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
