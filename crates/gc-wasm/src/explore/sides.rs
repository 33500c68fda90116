//! The three sides of a function, with the links between them: its operators, its CLIF and its machine
//! code.

use super::marks::{MAX_MODULE, Part, region_of};
use super::{Explored, MachineCode, Settings, each_with};
use crate::Engine;
use crate::compile::{Stages, stages};
use anyhow::{Result, ensure};
use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::ir::instructions::CallInfo;
use cranelift_codegen::ir::{self, Block, Inst, Value};
use cranelift_codegen::write::{FuncWriter, PlainWriter, decorate_function};
use gc_compiler::inline::InlinedCalls;
use gc_compiler::{imported_host_call, regions};
use gc_types::Abi;
use std::fmt;

/// One function, in all its forms.
#[derive(Clone, Debug)]
pub struct Sides {
    /// Its machine code. The index, name and signature of the function are there.
    pub machine: MachineCode,
    /// What the machine code is for: ranges `(first, end, part)`, ascending, as in
    /// [`MachineCode::locations`]. Where there is none, it is the operator.
    pub parts: Vec<(u32, u32, Part)>,
    /// The CLIF before optimisation.
    pub clif: Vec<ClifLine>,
    /// The CLIF after optimisation, with the polls of loops.
    pub optimised: Vec<ClifLine>,
    /// What the CLIF calls: `fn0` and so on, with the name of the function or host call.
    pub callees: Vec<(String, String)>,
    /// The indices of the functions that were inlined into it, ascending.
    pub inlined: Vec<u32>,
}

/// A line of CLIF.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClifLine {
    /// The text, with its indentation and without a source location.
    pub text: String,
    /// The offset in the module of the operator that the instruction comes from, if it is known. The
    /// operator may be in a function that was inlined.
    pub offset: Option<u32>,
    /// What the instruction is for.
    pub part: Part,
    /// What else is known of it.
    pub mark: Option<ClifMark>,
}

/// What is known of an instruction of CLIF.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClifMark {
    /// A call during which a collection may run. References that are live across it are in its stack
    /// map.
    Safepoint,
    /// Writes a reference to its slot on the stack before a safepoint, or reads it after that.
    Spill,
    /// The poll of a loop.
    Poll,
}

/// The functions that [`explore`](super::explore) shows, in all their forms.
///
/// # Errors
/// As [`explore`](super::explore), and if the module is larger than 256 MiB.
///
/// # Examples
/// ```
/// use gc_wasm::explore::{Part, sides};
/// use gc_wasm::{Collector, Config, Engine};
///
/// let wat = r#"(module (type $list (struct (field (mut (ref null $list)))))
///     (func $link (param (ref $list) (ref $list))
///         (struct.set $list 0 (local.get 0) (local.get 1))))"#;
/// let parts = |collector| -> anyhow::Result<Vec<Part>> {
///     let engine = Engine::new(Config::new().collector(collector))?;
///     let sides = sides(&engine, wat.as_bytes(), Some("link"))?;
///     Ok(sides[0].parts.iter().map(|(_, _, part)| *part).collect())
/// };
/// assert!(parts(Collector::generational())?.contains(&Part::WriteBarrier));
/// assert!(!parts(Collector::null())?.contains(&Part::WriteBarrier));
/// # anyhow::Ok(())
/// ```
pub fn sides(engine: &Engine, bytes: &[u8], filter: Option<&str>) -> Result<Vec<Sides>> {
    #[cfg(feature = "wat")]
    let bytes = &*crate::Module::text_to_binary(bytes)?;
    ensure!(bytes.len() < MAX_MODULE, "a module of {} bytes is too large to be shown", bytes.len());
    let settings = Settings { marks: true, ..Settings::default() };
    each_with(engine, bytes, filter, settings, |module, function| {
        let index = function.index();
        Sides::new(module, index, &stages(&module.cx, &module.candidates, function)?)
    })
}

impl Sides {
    fn new(module: &Explored<'_>, index: u32, stages: &Stages) -> Result<Sides> {
        let mut machine = module.machine_code(index, &stages.compiled)?;
        let mut parts = Vec::new();
        for (first, end, location) in &mut machine.locations {
            let (offset, part) = Part::read(*location);
            *location = offset;
            parts.push((*first, *end, part));
        }
        let (finished, abi) = (&stages.finished, module.cx.abi);
        let calls = finished.annotations().inlined.calls().iter();
        let mut inlined: Vec<u32> = calls.map(|call| call.function).collect();
        inlined.sort_unstable();
        inlined.dedup();
        Ok(Sides {
            machine,
            parts,
            clif: lines(abi, finished.func(), &finished.annotations().inlined)?,
            optimised: lines(abi, &stages.optimized, &finished.annotations().inlined)?,
            callees: module.callees(finished.func()),
            inlined,
        })
    }
}

/// The text of a function.
fn lines(abi: &Abi, func: &ir::Function, inlined: &InlinedCalls) -> Result<Vec<ClifLine>> {
    let mut writer = Lines { abi, inlined, instructions: Vec::new() };
    let mut text = String::new();
    decorate_function(&mut writer, &mut text, func)?;
    let mut instructions = writer.instructions.into_iter().peekable();
    let lines = text.lines().map(|line| match line.strip_prefix(MARK) {
        None => ClifLine { text: line.to_owned(), ..ClifLine::default() },
        Some(text) => {
            let line = instructions.next().unwrap_or_default();
            ClifLine { text: text.to_owned(), ..line }
        }
    });
    Ok(lines.collect())
}

/// Begins the line of an instruction. The text of CLIF has no control characters.
const MARK: char = '\u{1}';

/// Writes CLIF without source locations, and keeps what is known of each instruction.
struct Lines<'a> {
    abi: &'a Abi,
    inlined: &'a InlinedCalls,
    /// All but the text, in the order of the lines.
    instructions: Vec<ClifLine>,
}

impl FuncWriter for Lines<'_> {
    fn write_block_header(
        &mut self,
        w: &mut dyn fmt::Write,
        func: &ir::Function,
        block: Block,
        _indent: usize,
    ) -> fmt::Result {
        PlainWriter.write_block_header(w, func, block, INDENT)
    }

    fn write_instruction(
        &mut self,
        w: &mut dyn fmt::Write,
        func: &ir::Function,
        aliases: &SecondaryMap<Value, Vec<Value>>,
        inst: Inst,
        _indent: usize,
    ) -> fmt::Result {
        let mut text = String::new();
        PlainWriter.write_instruction(&mut text, func, aliases, inst, INDENT)?;
        let location = self.inlined.location_of(func, inst).map(Part::read);
        self.instructions.push(ClifLine {
            text: String::new(),
            offset: location.map(|(offset, _)| offset),
            part: location.map(|(_, part)| part).unwrap_or_default(),
            mark: mark(self.abi, func, inst),
        });
        let own = match func.srcloc(inst) {
            location if location.is_default() => &*text,
            // The location is the first word.
            _ => text.split_once(' ').map_or(&*text, |(_, text)| text),
        };
        let own = own.trim_start_matches(' ');
        write!(w, "{MARK}{:INDENT$}{own}", "")
    }
}

/// Spaces in front of an instruction.
const INDENT: usize = 4;

fn mark(abi: &Abi, func: &ir::Function, inst: Inst) -> Option<ClifMark> {
    let (dfg, data) = (&func.dfg, func.dfg.insts[inst]);
    // The frame is gone during a tail call.
    if data.opcode().is_call() && !data.opcode().is_return() {
        let callee = match data.analyze_call(&dfg.value_lists, &dfg.exception_tables) {
            CallInfo::Direct(callee, _) | CallInfo::DirectWithSig(callee, ..) => {
                imported_host_call(func, callee)
            }
            _ => None,
        };
        return callee.is_none_or(|call| abi.may_collect(call)).then_some(ClifMark::Safepoint);
    }
    match region_of(func, inst)? {
        regions::STACK_MAP_SPILL.. => Some(ClifMark::Spill),
        regions::POLL_PAGE => Some(ClifMark::Poll),
        _ => None,
    }
}
