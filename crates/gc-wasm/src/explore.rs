//! Shows the code of a compiled module: CLIF, machine code, stack maps. Used by `reclaim explore`
//! and by golden tests.

use crate::compile::{CompileContext, TypeWords, check_body, disassemble, translate_function};
use crate::module::info::ModuleInfo;
use crate::module::parse::{Body, parse};
use crate::vm::layout::VMContextLayout;
use crate::{Engine, Module};
use anyhow::{Result, bail};
use std::fmt::Write;

/// The view of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    /// The code generator's input, before optimisation.
    Clif,
    /// Machine code, disassembled.
    Asm,
    /// The places of references at each call: return address, frame size, slots.
    StackMaps,
}

/// The listing of one function.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Its index in the module, imports included.
    pub index: u32,
    /// Its name: from the name section, an export, or its index.
    pub name: String,
    /// The requested view as text of several lines.
    pub text: String,
}

/// Shows the functions that a module defines (binary, or text with the feature `wat`). `filter`
/// selects one function by its name, the name of an export, or its index.
///
/// # Errors
/// If the module is malformed or invalid, or there is no such function.
pub fn explore(
    engine: &Engine,
    bytes: &[u8],
    what: Emit,
    filter: Option<&str>,
) -> Result<Vec<Listing>> {
    #[cfg(feature = "wat")]
    let bytes = &*Module::text_to_binary(bytes)?;
    let (info, bodies) = parse(engine.types(), bytes)?;
    let layout = VMContextLayout::new(engine.abi().offsets(), &info);
    let cx = CompileContext::new(engine, &info, &layout, TypeWords::Constants);
    let mut listings = Vec::new();
    for body in bodies.into_iter().filter(|body| is_wanted(&info, body, filter)) {
        let index = body.index;
        let text = match what {
            Emit::Clif => translate_function(&cx, body)?.0.display().to_string(),
            Emit::Asm => {
                let (_, disassembly) = disassemble(&cx, body)?;
                disassembly
            }
            Emit::StackMaps => {
                let (compiled, _) = disassemble(&cx, body)?;
                stack_maps(compiled.stack_maps())?
            }
        };
        listings.push(Listing { index, name: info.func_name(index), text });
    }
    if let (true, Some(filter)) = (listings.is_empty(), filter) {
        bail!("the module defines no function `{filter}`");
    }
    Ok(listings)
}

/// The result of the checkers for one function.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Its index in the module, imports included.
    pub index: u32,
    /// Its name, as in [`Listing`].
    pub name: String,
    /// The law of emitted code that it breaks, and the instruction that breaks it. `None` unless
    /// the compiler has a bug.
    pub broken: Option<String>,
}

/// Runs the [checkers](gc_compiler::check) over the functions that [`explore`] shows, even if
/// [`Config::verify`](crate::Config::verify) is off.
///
/// # Errors
/// As [`explore`].
pub fn check(engine: &Engine, bytes: &[u8], filter: Option<&str>) -> Result<Vec<Checked>> {
    #[cfg(feature = "wat")]
    let bytes = &*Module::text_to_binary(bytes)?;
    let (info, bodies) = parse(engine.types(), bytes)?;
    let layout = VMContextLayout::new(engine.abi().offsets(), &info);
    let cx = CompileContext {
        check: true,
        ..CompileContext::new(engine, &info, &layout, TypeWords::Constants)
    };
    let mut checked = Vec::new();
    for body in bodies.into_iter().filter(|body| is_wanted(&info, body, filter)) {
        let index = body.index;
        let broken = check_body(&cx, body)?.map(|error| error.to_string());
        checked.push(Checked { index, name: info.func_name(index), broken });
    }
    Ok(checked)
}

/// Whether `filter` names the function, as for [`explore`].
fn is_wanted(info: &ModuleInfo, body: &Body<'_>, filter: Option<&str>) -> bool {
    filter.is_none_or(|filter| {
        info.func_name(body.index) == filter
            || filter.parse() == Ok(body.index)
            || info.exports_by_name.get(filter).is_some_and(|at| {
                let entity = info.exports[*at].1;
                let index = wasmtime_types::FuncIndex::from_u32(body.index);
                entity == wasmtime_types::EntityIndex::Function(index)
            })
    })
}

fn stack_maps<'a>(maps: impl Iterator<Item = (u32, u32, &'a [u32])>) -> Result<String> {
    let mut text = String::new();
    for (return_address, frame_size, slots) in maps {
        let slots: Vec<String> = slots.iter().map(|slot| format!("[rsp+{slot:#x}]")).collect();
        writeln!(
            text,
            "after {return_address:#06x}: frame of {frame_size} bytes, references at {}",
            slots.join(" ")
        )?;
    }
    if text.is_empty() {
        text.push_str("no reference is live across any call\n");
    }
    Ok(text)
}
