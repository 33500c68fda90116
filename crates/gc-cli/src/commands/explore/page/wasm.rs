//! The functions of a module as text, a line for each operator, with the operators' offsets.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use wasmparser::{Parser, Payload, TypeRef};

/// A line of a function's text.
#[derive(Clone, Debug)]
pub(super) struct WasmLine {
    /// The offset of its operator in the module. The first lines have the offset of the function's
    /// body, or of its locals.
    pub(super) offset: Option<u32>,
    pub(super) text: String,
}

/// The lines of the functions that the module in the binary format defines, by index.
///
/// # Errors
/// If the module is malformed.
pub(super) fn functions(binary: &[u8]) -> Result<BTreeMap<u32, Vec<WasmLine>>> {
    let mut storage = String::new();
    let mut printer = wasmprinter::Config::new();
    let lines = printer.indent_text("  ").offsets_and_lines(binary, &mut storage);
    let lines = lines.context("printing the module")?.map(|(offset, text)| {
        (offset.and_then(|offset| u32::try_from(offset).ok()), text.trim_end())
    });
    let bodies = bodies(binary)?;
    let mut functions: BTreeMap<u32, Vec<WasmLine>> = BTreeMap::new();
    let mut current = None;
    for (offset, text) in lines {
        if let Some(at) = offset {
            let body = bodies.partition_point(|(start, _, _)| *start <= at).checked_sub(1);
            let body = body.map(|body| bodies[body]);
            current = body.filter(|(_, end, _)| at < *end).map(|(_, _, index)| index);
        }
        let Some(index) = current else { continue };
        // Functions are one level deep.
        let text = text.strip_prefix("  ").unwrap_or(text).to_owned();
        functions.entry(index).or_default().push(WasmLine { offset, text });
    }
    Ok(functions)
}

/// The bodies of functions: where each begins and ends in the module, ascending, and the function's
/// index.
fn bodies(binary: &[u8]) -> Result<Vec<(u32, u32, u32)>> {
    let mut bodies = Vec::new();
    let mut index = 0;
    for payload in Parser::new(0).parse_all(binary) {
        match payload? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let ty = import?.ty;
                    index += u32::from(matches!(ty, TypeRef::Func(_) | TypeRef::FuncExact(_)));
                }
            }
            Payload::CodeSectionEntry(body) => {
                let range = body.range();
                bodies.push((u32::try_from(range.start)?, u32::try_from(range.end)?, index));
                index += 1;
            }
            _ => {}
        }
    }
    Ok(bodies)
}
