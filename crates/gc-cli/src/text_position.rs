//! Where in a text an error of its binary form is.
//!
//! The validator says at which offset of the binary form a module is invalid. A user who wrote text
//! has never seen that. So the text is parsed again, this time with the place of each instruction,
//! and the offset is searched in the binary form: the n-th operator of the n-th function is the n-th
//! instruction of the n-th function in the text.

use anyhow::Error;
use gc_wasm::TypeMismatch;
use std::path::Path;
use wasmparser::{BinaryReaderError, FromReader, Parser, Payload, SectionLimited};
use wast::core::{FuncKind, ModuleField, ModuleKind};
use wast::parser::{ParseBuffer, parse};
use wast::token::Span;
use wast::{Wat, core::Expression};

/// The same error with the line and column in `text`, the file `path`, instead of the offset in the
/// binary form. If the place is not found, the error as it was.
pub fn in_text(error: Error, path: &Path, text: &str) -> Error {
    let invalid = error.downcast_ref::<BinaryReaderError>();
    let invalid = invalid.map(|invalid| (invalid.offset() as u64, invalid.message()));
    let mismatch = error.downcast_ref::<TypeMismatch>();
    let mismatch = mismatch.map(|mismatch| (mismatch.offset, &*mismatch.message));
    let Some((offset, message)) = invalid.or(mismatch) else { return error };
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    let Some(span) = span_of(text, offset) else { return error };
    let mut placed = wast::Error::new(span, message.to_owned());
    placed.set_path(path);
    placed.set_text(text);
    // What was done when it was found comes first, as before.
    let contexts = error
        .chain()
        .take_while(|cause| !cause.is::<BinaryReaderError>() && !cause.is::<TypeMismatch>());
    let contexts: Vec<String> = contexts.map(ToString::to_string).collect();
    contexts.into_iter().rev().fold(Error::new(placed), Error::context)
}

/// The place of a field, if it is of the kind that is searched.
type PlaceOf = fn(&ModuleField<'_>) -> Option<Span>;

/// The place in the text of what is at `offset` in its binary form.
fn span_of(text: &str, offset: usize) -> Option<Span> {
    let mut buffer = ParseBuffer::new(text).ok()?;
    buffer.track_instr_spans(true);
    let mut wat = parse::<Wat<'_>>(&buffer).ok()?;
    // This also gives inline imports, exports and segments fields of their own, as in the binary
    // form.
    let binary = wat.encode().ok()?;
    let Wat::Module(module) = wat else { return None };
    let ModuleKind::Text(fields) = module.kind else { return None };
    let mut functions = fields.iter().filter_map(|field| match field {
        ModuleField::Func(func) => match &func.kind {
            FuncKind::Inline { expression, .. } => Some((func.span, expression)),
            FuncKind::Import(..) => None,
        },
        _ => None,
    });
    for payload in Parser::new(0).parse_all(&binary) {
        let (item, place): (Option<usize>, PlaceOf) = match payload.ok()? {
            Payload::TypeSection(section) => (item_at(section, offset), |field| match field {
                ModuleField::Type(ty) => Some(ty.span),
                ModuleField::Rec(rec) => Some(rec.span),
                _ => None,
            }),
            Payload::ImportSection(section) => (item_at(section, offset), |field| match field {
                ModuleField::Import(import) => Some(import.span),
                _ => None,
            }),
            Payload::FunctionSection(section) => (item_at(section, offset), |field| match field {
                ModuleField::Func(func) => Some(func.span),
                _ => None,
            }),
            Payload::TableSection(section) => (item_at(section, offset), |field| match field {
                ModuleField::Table(table) => Some(table.span),
                _ => None,
            }),
            Payload::MemorySection(section) => (item_at(section, offset), |field| match field {
                ModuleField::Memory(memory) => Some(memory.span),
                _ => None,
            }),
            Payload::TagSection(section) => (item_at(section, offset), |field| match field {
                ModuleField::Tag(tag) => Some(tag.span),
                _ => None,
            }),
            Payload::GlobalSection(section) => (item_at(section, offset), |field| match field {
                ModuleField::Global(global) => Some(global.span),
                _ => None,
            }),
            Payload::ExportSection(section) => (item_at(section, offset), |field| match field {
                ModuleField::Export(export) => Some(export.span),
                _ => None,
            }),
            Payload::ElementSection(section) => (item_at(section, offset), |field| match field {
                ModuleField::Elem(elem) => Some(elem.span),
                _ => None,
            }),
            Payload::DataSection(section) => (item_at(section, offset), |field| match field {
                ModuleField::Data(data) => Some(data.span),
                _ => None,
            }),
            Payload::StartSection { range, .. } => {
                (range.contains(&offset).then_some(0), |field| match field {
                    ModuleField::Start(index) => Some(index.span()),
                    _ => None,
                })
            }
            Payload::CodeSectionEntry(body) => {
                let (span, expression) = functions.next()?;
                // An error may be at the end of a function.
                if body.range().start <= offset && offset <= body.range().end {
                    return Some(instruction_at(&body, expression, offset).unwrap_or(span));
                }
                continue;
            }
            _ => continue,
        };
        if let Some(item) = item {
            return fields.iter().filter_map(place).nth(item);
        }
    }
    None
}

/// The number of the item of a section that contains `offset`.
fn item_at<'a, T: FromReader<'a>>(section: SectionLimited<'a, T>, offset: usize) -> Option<usize> {
    if !section.range().contains(&offset) {
        return None;
    }
    let begins = section.into_iter_with_offsets().filter_map(|item| Some(item.ok()?.0));
    begins.take_while(|begin| *begin <= offset).count().checked_sub(1)
}

/// The instruction of a function at `offset`. `None` if it is the end of the function.
fn instruction_at(
    body: &wasmparser::FunctionBody<'_>,
    expression: &Expression<'_>,
    offset: usize,
) -> Option<Span> {
    let operators = body.get_operators_reader().ok()?.into_iter_with_offsets();
    let begins = operators.filter_map(|operator| Some(operator.ok()?.1));
    let number = begins.take_while(|begin| *begin <= offset).count().checked_sub(1)?;
    expression.instr_spans.as_ref()?.get(number).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    /// The message for an invalid text, in which `^` marks the place that it must name.
    fn check(marked: &str, message: &str) {
        let mark = marked.find('^').unwrap();
        let text = marked.replacen('^', "", 1);
        let before = &text[..mark];
        let (line, column) = (
            before.matches('\n').count() + 1,
            mark - before.rfind('\n').map_or(0, |at| at + 1) + 1,
        );
        let binary = wat::parse_str(&text).unwrap();
        let invalid = wasmparser::validate(&binary).map(drop).unwrap_err();
        let error = Err::<(), _>(invalid).context("compiling a.wat").unwrap_err();
        let error = in_text(error, Path::new("a.wat"), &text);
        let texts: Vec<String> = error.chain().map(ToString::to_string).collect();
        assert_eq!(texts[0], "compiling a.wat");
        assert!(texts[1].starts_with(message), "{}", texts[1]);
        assert!(
            texts[1].contains(&format!("a.wat:{line}:{column}")),
            "{line}:{column} {}",
            texts[1]
        );
    }

    #[test]
    fn errors_are_placed() {
        for (text, message) in [
            (
                "(module\n  (func (result i32)\n    (^i32.add\n      (i32.const 1)\n      (i64.const 2))))",
                "type mismatch",
            ),
            ("(module (func)\n  (^func (result i32)))", "type mismatch"),
            (
                "(module (func (export \"f\") (param i32)\n  local.get 0 drop\n  ^local.get 1 drop))",
                "unknown local",
            ),
            ("(module (import \"a\" \"b\" (func)) (func)\n (^func (type 9)))", "unknown type"),
            ("(module (global i32 (i32.const 1))\n  (^global i32 (i64.const 1)))", "type mismatch"),
            ("(module (type (func))\n  (^type (struct (field (ref 7)))))", "unknown type"),
            (
                "(module (export \"a\" (func 0)) (func)\n (^export \"b\" (func 3)))",
                "unknown function",
            ),
            ("(module (memory 1)\n  (^data (i64.const 0)))", "type mismatch"),
            ("(module\n  (func (param i32))\n  (start ^0))", "invalid start function type"),
        ] {
            check(text, message);
        }
    }

    #[test]
    fn what_is_no_error_of_a_place_stays() {
        let error = anyhow::anyhow!("no memory").context("compiling");
        assert_eq!(
            format!("{:#}", in_text(error, Path::new("a.wat"), "(module)")),
            "compiling: no memory"
        );
    }
}
