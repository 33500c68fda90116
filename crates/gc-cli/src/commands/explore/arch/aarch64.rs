//! aarch64, decoded with `yaxpeax-arm`.
//!
//! An instruction is a word of four bytes. The linker fills in some of its bits, so the offset of a symbol is that of its
//! instruction. What is loaded from a table of addresses has two instructions and two symbols: `adrp x1, name` and
//! `ldr x1, [x1, :lo12:name]`, as an assembler reads them. A slot is `[sp, #8]`.

use super::{Decoder, Flow, Instruction};
use crate::printable::printable;
use gc_wasm::explore::MachineCode;
use yaxpeax_arch::{Decoder as _, U8Reader};
use yaxpeax_arm::armv8::a64::{self, InstDecoder, Opcode, Operand, SizeCode};

/// The size of every instruction in bytes.
const LEN: u32 = 4;

/// The number of the stack pointer where a register holds an address.
const SP: u16 = 31;

/// The decoder of a function.
pub(super) struct Aarch64<'a> {
    code: &'a MachineCode,
}

impl<'a> Aarch64<'a> {
    pub(super) fn new(code: &'a MachineCode) -> Aarch64<'a> {
        Aarch64 { code }
    }
}

impl Decoder for Aarch64<'_> {
    fn decode(&mut self, at: u32) -> Option<Instruction> {
        let bytes = self.code.code.get(at as usize..)?.first_chunk::<{ LEN as usize }>()?;
        if !at.is_multiple_of(LEN) {
            return None;
        }
        let Ok(decoded) = InstDecoder::default().decode(&mut U8Reader::new(bytes)) else {
            // The next instruction is known even if this one is not.
            let text = format!(".inst {:#010x}", u32::from_le_bytes(*bytes));
            return Some(Instruction {
                len: LEN,
                text,
                flow: Flow::Next,
                address: None,
                slot: None,
            });
        };
        let symbol = self.code.symbols.get(&at).map(|name| printable(name));
        let target = match symbol {
            Some(_) => None,
            None => target_of(&decoded, at),
        };
        let flow = match decoded.opcode {
            Opcode::B => Flow::Branch { target, conditional: false },
            Opcode::Bcc(_) | Opcode::CBZ | Opcode::CBNZ | Opcode::TBZ | Opcode::TBNZ => {
                Flow::Branch { target, conditional: true }
            }
            Opcode::BR => Flow::Indirect,
            Opcode::RET | Opcode::RETAA | Opcode::RETAB | Opcode::UDF => Flow::Stop,
            _ => Flow::Next,
        };
        let has_address = matches!(decoded.opcode, Opcode::ADR | Opcode::LDR | Opcode::LDRSW);
        Some(Instruction {
            len: LEN,
            text: text(&decoded, symbol.as_deref(), target),
            flow,
            address: target.filter(|_| has_address),
            slot: slot_of(&decoded),
        })
    }

    fn slot(&self, slot: u32) -> String {
        memory(SP, slot.into())
    }
}

/// The offset in the function that an instruction at `at` refers to by its distance.
fn target_of(instruction: &a64::Instruction, at: u32) -> Option<u32> {
    // The distance of `adrp` is between pages, and where pages begin is not known here.
    if instruction.opcode == Opcode::ADRP {
        return None;
    }
    instruction.operands.iter().find_map(|operand| match operand {
        Operand::PCOffset(distance) => u32::try_from(i64::from(at) + distance).ok(),
        _ => None,
    })
}

/// The slot on the stack that an instruction moves a value to or from, in bytes from the stack pointer.
fn slot_of(instruction: &a64::Instruction) -> Option<u32> {
    let [register, address, ..] = instruction.operands;
    match (instruction.opcode, register, address) {
        (
            Opcode::LDR | Opcode::STR | Opcode::LDUR | Opcode::STUR,
            Operand::Register(..),
            Operand::RegPreIndex(SP, slot, false),
        ) => u32::try_from(slot).ok(),
        _ => None,
    }
}

/// The text of an instruction. The decoder's text has distances instead of offsets and names, and has hexadecimal
/// distances from a register, which `objdump` shows as decimal ones.
fn text(instruction: &a64::Instruction, symbol: Option<&str>, target: Option<u32>) -> String {
    let mut text = instruction.to_string();
    for operand in instruction.operands {
        let shown = match (operand, symbol, target) {
            (Operand::PCOffset(_), Some(name), _) => name.to_owned(),
            (Operand::PCOffset(_), None, Some(target)) => format!("{target:#06x}"),
            (Operand::RegPreIndex(base, 0, false), Some(name), _) => {
                format!("[{}, :lo12:{name}]", register(base))
            }
            (Operand::RegPreIndex(base, distance, false), ..) => memory(base, distance.into()),
            (Operand::RegPreIndex(base, distance, true), ..) => {
                format!("[{}, #{distance}]!", register(base))
            }
            (Operand::RegPostIndex(base, distance), ..) => {
                format!("[{}], #{distance}", register(base))
            }
            _ => continue,
        };
        text = text.replacen(&operand.to_string(), &shown, 1);
    }
    text
}

/// What is so many bytes up from a register, as an operand.
fn memory(base: u16, distance: i64) -> String {
    match distance {
        0 => format!("[{}]", register(base)),
        _ => format!("[{}, #{distance}]", register(base)),
    }
}

/// A register that holds an address.
fn register(number: u16) -> Operand {
    Operand::RegisterOrSP(SizeCode::X, number)
}

#[cfg(test)]
mod tests {
    use super::super::tests::function;
    use super::*;
    use crate::commands::explore::disassembly::Disassembly;
    use gc_wasm::explore::StackMap;

    /// A function of these words.
    fn words(words: &[u32], symbols: &[(u32, &str)]) -> MachineCode {
        let code = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        function("aarch64", code, symbols)
    }

    /// The instruction `word` at the offset 16.
    fn decoded(word: u32, symbol: Option<&str>) -> Instruction {
        let symbols: Vec<_> = symbol.map(|name| (16, name)).into_iter().collect();
        let code = words(&[0, 0, 0, 0, word], &symbols);
        let instruction = Aarch64::new(&code).decode(16).unwrap();
        assert_eq!(instruction.len, 4);
        instruction
    }

    /// The text of an instruction at the offset 16, without a symbol, and what follows it.
    fn shown(word: u32) -> (String, Flow) {
        let instruction = decoded(word, None);
        (instruction.text, instruction.flow)
    }

    // The words are as `llvm-mc` encodes the texts.

    #[test]
    fn symbols_have_their_names() {
        let call = decoded(0x9400_0000, Some("g"));
        assert_eq!((&*call.text, call.flow, call.address), ("bl g", Flow::Next, None));
        let jump = decoded(0x1400_0000, Some("g\n"));
        let flow = Flow::Branch { target: None, conditional: false };
        assert_eq!((&*jump.text, jump.flow), (r"b g\n", flow));
        let word = Some("word of type 3");
        let page = decoded(0x9000_0001, word);
        assert_eq!((&*page.text, page.address), ("adrp x1, word of type 3", None));
        let load = decoded(0xf940_0021, word);
        assert_eq!((&*load.text, load.flow), ("ldr x1, [x1, :lo12:word of type 3]", Flow::Next));
    }

    #[test]
    fn branches_have_targets() {
        let to = |target, conditional| Flow::Branch { target: Some(target), conditional };
        for (word, text, flow) in [
            (0xb400_0040, "cbz x0, 0x0018", to(0x18, true)),
            (0x3500_0043, "cbnz w3, 0x0018", to(0x18, true)),
            (0x3618_0043, "tbz w3, #0x3, 0x0018", to(0x18, true)),
            (0xb747_ffc3, "tbnz x3, #0x28, 0x0008", to(8, true)),
            (0x54ff_ffc1, "b.ne 0x0008", to(8, true)),
            (0x1400_0003, "b 0x001c", to(0x1c, false)),
            (0xd61f_0200, "br x16", Flow::Indirect),
            (0xd63f_0060, "blr x3", Flow::Next),
            (0xd65f_03c0, "ret", Flow::Stop),
            (0x0000_c11f, "udf #0xc11f", Flow::Stop),
        ] {
            assert_eq!(shown(word), (text.to_owned(), flow));
        }
        // A target before the function.
        let before = decoded(0x17ff_ff00, None);
        assert_eq!(before.flow, Flow::Branch { target: None, conditional: false });
    }

    #[test]
    fn what_moves_to_or_from_a_slot_is_known() {
        for (word, text, slot) in [
            (0xf940_07e0, "ldr x0, [sp, #8]", Some(8)),
            (0xf900_03e0, "str x0, [sp]", Some(0)),
            (0xf81f_83e0, "stur x0, [sp, #-8]", None),
            (0xf940_0021, "ldr x1, [x1]", None),
            (0xa9bf_7bfd, "stp x29, x30, [sp, #-16]!", None),
            (0xa8c1_7bfd, "ldp x29, x30, [sp], #16", None),
            (0xd100_83ff, "sub sp, sp, #0x20", None),
            (0xb8b1_5a11, "ldrsw x17, [x16, w17, uxtw #2]", None),
        ] {
            let instruction = decoded(word, None);
            assert_eq!((&*instruction.text, instruction.slot), (text, slot));
        }
        let code = words(&[], &[]);
        let decoder = Aarch64::new(&code);
        assert_eq!([0, 8].map(|slot| decoder.slot(slot)), ["[sp]", "[sp, #8]"]);
    }

    #[test]
    fn what_is_no_instruction_is_shown_as_a_word() {
        // An instruction of SVE, which the decoder does not know.
        assert_eq!(shown(0x04a0_0000), (".inst 0x04a00000".to_owned(), Flow::Next));
        let code = words(&[0xd65f_03c0, 0xd65f_03c0], &[]);
        assert!([1, 2, 3, 5, 8, 12].iter().all(|at| Aarch64::new(&code).decode(*at).is_none()));
    }

    #[test]
    fn tables_and_constants_are_no_instructions() {
        let mut code = words(
            &[
                0x5c00_0040, // ldr d0, .+8
                0x1400_0003, // b .+12
                0x9abc_def0,
                0x1234_5678,
                0x1000_0090, // adr x16, .+16
                0xb8b1_5a11, // ldrsw x17, [x16, w17, uxtw #2]
                0x8b11_0210, // add x16, x16, x17
                0xd61f_0200, // br x16
                8,
                16,
                0xf940_07e0, // ldr x0, [sp, #8]
                0x9400_0000, // bl
                0xd65f_03c0, // ret
            ],
            &[(0x2c, "g")],
        );
        code.stack_maps.insert(0x30, StackMap { frame_size: 16, slots: vec![0, 8] });
        let disassembly = Disassembly::new(&code).unwrap();
        assert_eq!(disassembly.count(), 9);
        let lines: Vec<String> = disassembly.text().lines().map(|line| line[7..].into()).collect();
        assert_eq!(
            lines,
            [
                "  0000  ldr d0, 0x0008",
                "  0004  b 0x0010",
                "  0008  .byte 0xf0, 0xde, 0xbc, 0x9a, 0x78, 0x56, 0x34, 0x12",
                "> 0010  adr x16, 0x0020",
                "  0014  ldrsw x17, [x16, w17, uxtw #2]",
                "  0018  add x16, x16, x17",
                "  001c  br x16",
                "  0020  .long 0x0028 - 0x0020",
                "  0024  .long 0x0030 - 0x0020",
                "> 0028  ldr x0, [sp, #8]",
                "  002c  bl g",
                "        ; frame of 16 bytes, references at [sp] [sp, #8]",
                "> 0030  ret",
            ]
        );
        assert_eq!(disassembly.callee_before(0x30).unwrap(), "g");
    }
}
