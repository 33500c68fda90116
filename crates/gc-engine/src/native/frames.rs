//! Writes `.eh_frame`: where unwinders find the caller's registers (DWARF 5, section 6.4; Linux Standard Base, "Exception
//! Frames"). All distances in it are relative, so nothing is relocated when a program is loaded.

use super::arch::{Arch, Unwind};
use super::dwarf::Part;
use anyhow::{Context as _, Result};
use gc_compiler::{FrameStep, ObjectFrame};
use gimli::constants::{DW_EH_PE_pcrel, DW_EH_PE_sdata4, DW_OP_and, DW_OP_plus, DwEhPe};
use gimli::write::{
    Address, CallFrameInstruction, CommonInformationEntry, EhFrame, Expression,
    FrameDescriptionEntry, FrameTable,
};
use gimli::{Encoding, Format, Register};
use object::write::{Object, Relocation, SectionId};
use object::{RelocationFlags, SectionFlags, SectionKind, elf};

/// Adds the frames of the functions in the section `text`.
pub(super) fn write(
    object: &mut Object<'_>,
    arch: &Arch,
    text: SectionId,
    frames: &[ObjectFrame],
) -> Result<()> {
    let encoding = Encoding { format: Format::Dwarf32, version: 1, address_size: 8 };
    let Unwind { stack_pointer, frame_pointer, return_address, pushed, signed_address } =
        arch.unwind;
    let mut common = CommonInformationEntry::new(encoding, 1, -8, return_address);
    common.fde_address_encoding = DwEhPe(DW_EH_PE_pcrel.0 | DW_EH_PE_sdata4.0);
    common.add_instruction(CallFrameInstruction::Cfa(stack_pointer, pushed));
    if pushed > 0 {
        common.add_instruction(CallFrameInstruction::Offset(return_address, -pushed));
    }
    let mut table = FrameTable::default();
    let common = table.add_cie(common);
    for frame in frames {
        let start = Address::Symbol { symbol: 0, addend: frame.offset.into() };
        let mut entry = FrameDescriptionEntry::new(start, frame.size);
        // The distance from the frame pointer up to the caller's stack pointer.
        let mut up = 0;
        // The bits of the return address that are those of the address, if it is signed.
        let mut signed = None;
        for (at, step) in &frame.steps {
            match *step {
                FrameStep::Signed => {
                    let bits = signed_address.context("this processor signs no return address")?;
                    signed = Some(bits);
                    let mut place = Expression::new();
                    place.op_breg(return_address, 0);
                    let rule =
                        CallFrameInstruction::ValExpression(return_address, masked(place, bits));
                    entry.add_instruction(*at, rule);
                }
                FrameStep::Pushed(distance) => {
                    up = i32::try_from(distance)?;
                    entry.add_instruction(*at, CallFrameInstruction::CfaOffset(up));
                    entry.add_instruction(*at, CallFrameInstruction::Offset(frame_pointer, -up));
                    let place = 8 - up;
                    if let Some(bits) = signed {
                        // The expression begins with the caller's stack pointer.
                        let mut word = Expression::new();
                        word.op_consts(place.into());
                        word.op(DW_OP_plus);
                        word.op_deref();
                        let rule =
                            CallFrameInstruction::ValExpression(return_address, masked(word, bits));
                        entry.add_instruction(*at, rule);
                    } else if pushed == 0 {
                        entry.add_instruction(
                            *at,
                            CallFrameInstruction::Offset(return_address, place),
                        );
                    }
                }
                FrameStep::FramePointer => {
                    entry.add_instruction(*at, CallFrameInstruction::CfaRegister(frame_pointer));
                }
                FrameStep::Saved { register, below } => {
                    let distance = -up - i32::try_from(below)?;
                    let register = Register(register);
                    entry.add_instruction(*at, CallFrameInstruction::Offset(register, distance));
                }
            }
        }
        table.add_fde(common, entry);
    }
    let mut section = EhFrame::from(Part::new());
    table.write_eh_frame(&mut section)?;
    let Part { bytes, relocations } = section.0;
    let place = object.add_section(Vec::new(), b".eh_frame".to_vec(), SectionKind::ReadOnlyData);
    object.section_mut(place).flags = SectionFlags::Elf { sh_flags: elf::SHF_ALLOC.into() };
    object.set_section_data(place, bytes.slice().to_vec(), 8);
    let symbol = object.section_symbol(text);
    for relocation in relocations {
        // The only ones are the starts of functions.
        let flags = RelocationFlags::Elf { r_type: arch.distance_32 };
        let (offset, addend) = (relocation.offset as u64, relocation.addend);
        object.add_relocation(place, Relocation { offset, symbol, addend, flags })?;
    }
    Ok(())
}

/// An expression for a signed return address, without the signature. DWARF has a register rule for signed addresses, but
/// unwinders that know it check the signature with the caller's stack pointer, which is not the modifier of every function.
fn masked(mut signed: Expression, bits: u64) -> Expression {
    signed.op_constu(bits);
    signed.op(DW_OP_and);
    signed
}

#[cfg(test)]
mod tests {
    use super::*;
    use gimli::{CfaRule, LittleEndian, RegisterRule, UnwindContext, UnwindSection as _};
    use object::{BinaryFormat, Endianness, Object as _, ObjectSection as _};

    /// What a signed return address is in an expression for it.
    fn evaluated(
        expression: gimli::Expression<gimli::EndianSlice<'_, LittleEndian>>,
        signed: u64,
    ) -> u64 {
        let encoding = Encoding { format: Format::Dwarf32, version: 5, address_size: 8 };
        let mut evaluation = expression.evaluation(encoding);
        // The caller's stack pointer, if it is in the expression.
        evaluation.set_initial_value(0x9000);
        let mut result = evaluation.evaluate().unwrap();
        loop {
            result = match result {
                gimli::EvaluationResult::RequiresRegister { .. } => {
                    evaluation.resume_with_register(gimli::Value::Generic(signed)).unwrap()
                }
                gimli::EvaluationResult::RequiresMemory { address, .. } => {
                    assert_eq!(address, 0x9000 - 8);
                    evaluation.resume_with_memory(gimli::Value::Generic(signed)).unwrap()
                }
                gimli::EvaluationResult::Complete => break,
                other => panic!("{other:?}"),
            };
        }
        let gimli::Value::Generic(value) = evaluation.value_result().unwrap() else { panic!() };
        value
    }

    /// The rules of one function with these steps and the `saved` register: after so many bytes of code, the register and
    /// the offset of the caller's stack pointer, and where the return address, the frame pointer and the saved register are.
    /// For a return address with a signature there is 1.
    fn rules(
        arch: &Arch,
        steps: Vec<(u32, FrameStep)>,
        saved: Register,
    ) -> Vec<(u64, Register, i64, [i64; 3])> {
        let Unwind { frame_pointer, return_address, .. } = arch.unwind;
        let mut object = Object::new(BinaryFormat::Elf, arch.architecture, Endianness::Little);
        let text = object.add_section(Vec::new(), b".text".to_vec(), SectionKind::Text);
        object.set_section_data(text, vec![0xcc; 96], 16);
        write(&mut object, arch, text, &[ObjectFrame { offset: 32, size: 50, steps }]).unwrap();
        let bytes = object.write().unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        let section = file.section_by_name(".eh_frame").unwrap();
        let (at, relocation) = section.relocations().next().unwrap();
        assert_eq!(section.relocations().count(), 1);
        assert_eq!(relocation.addend(), 32);
        // As a linker does, with the section of the code at 0x1000 and this one at 0.
        let mut data = section.data().unwrap().to_vec();
        let distance = 0x1020 - i32::try_from(at).unwrap();
        data[at as usize..][..4].copy_from_slice(&distance.to_le_bytes());

        let frames = gimli::EhFrame::new(&data, LittleEndian);
        let bases = gimli::BaseAddresses::default().set_eh_frame(0);
        let entry =
            frames.fde_for_address(&bases, 0x1020, gimli::EhFrame::cie_from_offset).unwrap();
        assert_eq!((entry.initial_address(), entry.len()), (0x1020, 50));
        let mut context = UnwindContext::new();
        let mut rows = entry.rows(&frames, &bases, &mut context).unwrap();
        let mut found = Vec::new();
        while let Some(row) = rows.next_row().unwrap() {
            let CfaRule::RegisterAndOffset { register, offset } = *row.cfa() else {
                panic!("{row:?}")
            };
            let rule = |register| match row.register(register) {
                Some(RegisterRule::Offset(offset)) => offset,
                Some(RegisterRule::ValExpression(expression)) => {
                    let expression = expression.get(&frames).unwrap();
                    assert_eq!(evaluated(expression, 0x7fe8_1234_5678_9abc), 0x1234_5678_9abc);
                    1
                }
                _ => 0,
            };
            let rules = [return_address, frame_pointer, saved].map(rule);
            found.push((row.start_address() - 0x1020, register, offset, rules));
        }
        found
    }

    #[test]
    fn registers_are_where_the_steps_say() {
        for arch in crate::native::arch::ALL {
            let saved = Register(12);
            let step = FrameStep::Saved { register: saved.0, below: 40 };
            let steps = [(4, FrameStep::Pushed(16)), (8, FrameStep::FramePointer), (12, step)];
            let Unwind { stack_pointer, frame_pointer, pushed, signed_address, .. } = arch.unwind;
            let up = i64::from(pushed);
            // The frame pointer is 16 bytes below the caller's stack pointer, and the slot 40 bytes below that.
            let mut expected = vec![
                (0, stack_pointer, up, [-up, 0, 0]),
                (4, stack_pointer, 16, [-8, -16, 0]),
                (8, frame_pointer, 16, [-8, -16, 0]),
                (12, frame_pointer, 16, [-8, -16, -56]),
            ];
            assert_eq!(rules(arch, steps.to_vec(), saved), expected, "{:?}", arch.architecture);

            // The same function after an instruction that signs its return address.
            let signed = (2, FrameStep::Signed);
            let steps: Vec<_> = [signed].into_iter().chain(steps).collect();
            if signed_address.is_some() {
                expected.iter_mut().skip(1).for_each(|row| row.3[0] = 1);
                expected.insert(1, (2, stack_pointer, up, [1, 0, 0]));
                assert_eq!(rules(arch, steps, saved), expected, "{:?}", arch.architecture);
            }
        }
    }
}
