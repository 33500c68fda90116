//! What depends on the processor in a listing of machine code: how the bytes of an instruction are decoded, and how
//! instructions and slots of the stack are written. Each processor has one file. Another one is a file, and a line in
//! [`decoder_of`].

mod aarch64;
mod x86_64;

use anyhow::{Result, bail};
use gc_wasm::explore::MachineCode;

/// Decodes the instructions of one function.
pub(super) trait Decoder {
    /// The instruction at this offset. `None` if there is none: the function ends there, or no instruction begins with
    /// these bytes.
    fn decode(&mut self, at: u32) -> Option<Instruction>;

    /// How instructions refer to a slot of a stack map, which is so many bytes up from the stack pointer.
    fn slot(&self, slot: u32) -> String;
}

/// An instruction.
pub(super) struct Instruction {
    /// Its size in bytes.
    pub(super) len: u32,
    /// Its text, with the name of what the linker fills in. Offsets in the function are hexadecimal numbers.
    pub(super) text: String,
    pub(super) flow: Flow,
    /// The offset in the function of a table or a constant whose address it computes, or from which it loads.
    pub(super) address: Option<u32>,
    /// The slot on the stack that it moves a value to or from, in bytes from the stack pointer.
    pub(super) slot: Option<u32>,
}

/// What is executed after an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// The next one. For a call, that is after it returns.
    Next,
    /// The one at `target`, or if it is conditional, that or the next one.
    Branch {
        /// `None` if it is in another function.
        target: Option<u32>,
        conditional: bool,
    },
    /// One whose address is computed.
    Indirect,
    /// None: it returns, or it is a trap.
    Stop,
}

/// A decoder for a function.
///
/// # Errors
/// If there is none for its processor.
pub(super) fn decoder(code: &MachineCode) -> Result<Box<dyn Decoder + '_>> {
    decoder_of(code.processor.name(), code)
}

/// The decoder of the processor with this name.
fn decoder_of<'a>(processor: &str, code: &'a MachineCode) -> Result<Box<dyn Decoder + 'a>> {
    Ok(match processor {
        "x86_64" => Box::new(x86_64::X86_64::new(code)),
        "aarch64" => Box::new(aarch64::Aarch64::new(code)),
        other => bail!("machine code for {other} cannot be shown: there is no decoder for it"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gc_types::Processor;
    use std::collections::BTreeMap;

    /// A function with this code, which refers to `symbols`.
    pub(super) fn function(processor: &str, code: Vec<u8>, symbols: &[(u32, &str)]) -> MachineCode {
        MachineCode {
            index: 0,
            name: "f".into(),
            signature: String::new(),
            processor: Processor::named(processor).unwrap(),
            code,
            symbols: symbols.iter().map(|(at, name)| (*at, (*name).into())).collect(),
            traps: BTreeMap::new(),
            locations: Vec::new(),
            stack_maps: BTreeMap::new(),
            handlers: BTreeMap::new(),
        }
    }

    #[test]
    fn every_processor_has_a_decoder() {
        for processor in Processor::ALL {
            assert!(decoder(&function(processor.name(), Vec::new(), &[])).is_ok());
        }
        let error = decoder_of("pdp11", &function("x86_64", Vec::new(), &[])).err().unwrap();
        let text = "machine code for pdp11 cannot be shown: there is no decoder for it";
        assert_eq!(error.to_string(), text);
    }
}
