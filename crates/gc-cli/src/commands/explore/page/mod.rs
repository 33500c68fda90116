//! One page of HTML that shows functions: the text of the module, the CLIF and the machine code side by
//! side, under one or several collectors.
//!
//! The page needs nothing besides itself: its style and its script are in it. Each line has the offset
//! of its operator in the module (`data-o`), and the script lights up all lines with the same offset.
//! With scripts the page shows one function, and without them all, one below the other.
//!
//! `maud` checks templates when they are compiled, and escapes what it inserts: names of functions can have
//! any characters. `askama` would need a file and a struct for each part of a page that is mostly loops.

mod wasm;

use super::disassembly::{Disassembly, LineKind};
use super::sizes::Size;
use crate::printable::printable;
use anyhow::{Result, ensure};
use gc_wasm::explore::{ClifLine, ClifMark, Part, Sides};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use std::borrow::Cow;
use std::collections::BTreeMap;
use wasm::WasmLine;

/// A collector with the functions that were compiled for it.
pub(super) struct Compiled {
    /// The title of the collector.
    pub(super) collector: String,
    pub(super) functions: Vec<Sides>,
}

/// The page of a module in the binary format, from a file with this name. All collectors have the same
/// functions.
///
/// # Errors
/// If the module is malformed, or machine code for the processor cannot be shown.
pub(super) fn page(file: &str, binary: &[u8], compiled: &[Compiled]) -> Result<String> {
    let text = wasm::functions(binary)?;
    let count = compiled.first().map_or(0, |first| first.functions.len());
    ensure!(
        compiled.iter().all(|one| one.functions.len() == count),
        "the collectors have different functions"
    );
    let functions: Vec<Vec<&Sides>> =
        (0..count).map(|n| compiled.iter().map(|one| &one.functions[n]).collect()).collect();
    let title = printable(file);
    let collectors: Vec<&str> = compiled.iter().map(|one| &*one.collector).collect();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " – reclaim explore" }
                style { (PreEscaped(include_str!("page.css"))) }
            }
            body {
                header {
                    h1 { (title) }
                    (switches("Collectors", "collector", &collectors, 2))
                    (switches("Show", "view", &VIEWS.map(|view| view.title()), 0))
                    button type="button" id="theme" title="Dark or light" { "◐" }
                }
                nav {
                    input type="search" id="filter" placeholder="Find a function"
                        aria-label="Find a function";
                    ul {
                        @for sides in &functions {
                            @let code = &sides[0].machine;
                            li { a href={ "#f" (code.index) } {
                                span { (printable(&code.name)) }
                                small { (code.code.len()) " B" }
                            } }
                        }
                    }
                    (legend())
                }
                main {
                    @for sides in &functions { (function(&text, &collectors, sides)?) }
                }
                script { (PreEscaped(include_str!("page.js"))) }
            }
        }
    };
    Ok(page.into_string())
}

/// The columns of a function.
#[derive(Clone, Copy, PartialEq, Eq)]
enum View {
    Wasm,
    Clif,
    Optimised,
    Machine,
    StackMaps,
}

const VIEWS: [View; 5] = [View::Wasm, View::Clif, View::Optimised, View::Machine, View::StackMaps];

impl View {
    fn title(self) -> &'static str {
        match self {
            View::Wasm => "Wasm",
            View::Clif => "CLIF",
            View::Optimised => "Optimised CLIF",
            View::Machine => "Machine code",
            View::StackMaps => "Stack maps",
        }
    }

    /// Whether it is shown at first.
    fn is_usual(self) -> bool {
        matches!(self, View::Wasm | View::Clif | View::Machine)
    }
}

/// Buttons that switch on and off. `usual` of them are on at first, or if it is 0, the usual views.
fn switches(label: &str, kind: &str, names: &[&str], usual: usize) -> Markup {
    html! {
        fieldset {
            legend { (label) }
            @for (n, name) in names.iter().enumerate() {
                @let on = if usual == 0 { VIEWS[n].is_usual() } else { n < usual };
                button type="button" class="switch" data-kind=(kind) data-n=(n)
                    aria-pressed=(on) { (name) }
            }
        }
    }
}

/// What colours and words mean.
fn legend() -> Markup {
    html! {
        dl class="legend" {
            @for (class, word, what) in [
                ("write", "write barrier", "what the collector does beside a store of a reference"),
                ("read", "read barrier", "what it does beside a load of a reference"),
                ("alloc", "allocation", "an object is made"),
                ("safe", "safepoint", "a call during which a collection may run"),
                ("map", "stack map", "the slots with references at that call"),
                ("spill", "spill", "a reference moves to or from its slot"),
                ("poll", "poll", "a loop can be interrupted here"),
                ("trap", "trap", "an instruction that may end the program"),
            ] {
                dt class={ "m-" (class) } { (word) }
                dd { (what) }
            }
        }
    }
}

/// A function under all collectors. Collectors with the same code share it.
///
/// # Errors
/// If machine code for the processor cannot be shown.
fn function(
    text: &BTreeMap<u32, Vec<WasmLine>>,
    collectors: &[&str],
    sides: &[&Sides],
) -> Result<Markup> {
    let machine = &sides[0].machine;
    let mut groups: Vec<(&Sides, Vec<usize>)> = Vec::new();
    for (n, one) in sides.iter().enumerate() {
        match groups.iter_mut().find(|(other, _)| is_same(other, one)) {
            Some((_, collectors)) => collectors.push(n),
            None => groups.push((one, vec![n])),
        }
    }
    Ok(html! {
        section id={ "f" (machine.index) } {
            h2 { (printable(&machine.name)) " " code { (printable(&machine.signature)) } }
            // With scripts this is text until the function is shown.
            noscript {
            div class="columns" {
                (column(View::Wasm, None, "", wasm_lines(text, sides)))
                @for (one, users) in &groups {
                    @let names: Vec<&str> = users.iter().map(|n| collectors[*n]).collect();
                    @let group = (&*names.join(", "), &**users);
                    @let disassembly = Disassembly::new(&one.machine)?;
                    @let size = Size::of(&disassembly);
                    @let size = format!("{} instructions, {} bytes", size.instructions, size.bytes);
                    @let maps = match one.machine.stack_maps.len() {
                        1 => "1 call".to_owned(),
                        count => format!("{count} calls"),
                    };
                    (column(View::Clif, Some(group), "", clif_lines(one, &one.clif)))
                    (column(View::Optimised, Some(group), "", clif_lines(one, &one.optimised)))
                    (column(View::Machine, Some(group), &size, machine_lines(one, &disassembly)))
                    (column(View::StackMaps, Some(group), &maps, stack_maps(one, &disassembly)))
                }
            }
            }
        }
    })
}

/// Whether two collectors have the same code of a function, also before optimisation.
fn is_same(a: &Sides, b: &Sides) -> bool {
    (&a.clif, &a.optimised, &a.parts) == (&b.clif, &b.optimised, &b.parts)
        && a.machine.code == b.machine.code
        && a.machine.symbols == b.machine.symbols
        && a.machine.stack_maps == b.machine.stack_maps
}

/// A column, of some collectors (their names and numbers) or of all.
fn column(
    view: View,
    collectors: Option<(&str, &[usize])>,
    about: &str,
    content: Markup,
) -> Markup {
    let number = VIEWS.iter().position(|other| *other == view);
    let users = collectors.map(|(_, users)| {
        let users: Vec<String> = users.iter().map(ToString::to_string).collect();
        users.join(" ")
    });
    html! {
        div class="column" data-view=[number] data-collectors=[users] {
            h3 {
                (view.title())
                @if let Some((names, _)) = collectors { " " b { (names) } }
                @if !about.is_empty() { " " small { (about) } }
            }
            div class="code" { (content) }
        }
    }
}

/// A line: the offset of its operator, its class, what stands in the margin, the text, and a word at the
/// end.
struct Line<'a> {
    offset: Option<u32>,
    class: &'a str,
    margin: &'a str,
    text: &'a str,
    word: Option<&'a str>,
}

/// A line of code.
fn line(line: &Line<'_>) -> Markup {
    let Line { offset, class, margin, text, word } = line;
    html! {
        div class={ "l" @if !class.is_empty() { " " (class) } }
            data-o=[offset.map(|offset| format!("{offset:x}"))] {
            i { (margin) }
            (printable(text))
            @if let Some(word) = word { em { (word) } }
        }
    }
}

/// The text of a function, and below it that of the functions that were inlined.
fn wasm_lines(text: &BTreeMap<u32, Vec<WasmLine>>, sides: &[&Sides]) -> Markup {
    let own = sides[0].machine.index;
    let mut inlined: Vec<u32> = sides.iter().flat_map(|one| &one.inlined).copied().collect();
    inlined.sort_unstable();
    inlined.dedup();
    inlined.retain(|index| *index != own);
    html! {
        @for (n, index) in [own].into_iter().chain(inlined).enumerate() {
            @if n > 0 { div class="about" { "inlined:" } }
            @for WasmLine { offset, text } in text.get(&index).into_iter().flatten() {
                @let margin = offset.map(|offset| format!("{offset:04x}")).unwrap_or_default();
                (line(&Line { offset: *offset, class: "", margin: &margin, text, word: None }))
            }
        }
    }
}

/// The class and the word of lines that a collector has emitted.
fn part(part: Part) -> (&'static str, Option<&'static str>) {
    match part {
        Part::Operator => ("", None),
        Part::Allocation => ("m-alloc", Some("allocation")),
        Part::ReadBarrier => ("m-read", Some("read barrier")),
        Part::WriteBarrier => ("m-write", Some("write barrier")),
    }
}

/// Leaves out a word that the line before has.
#[derive(Default)]
struct Words(Option<&'static str>);

impl Words {
    fn next(&mut self, word: Option<&'static str>) -> Option<&'static str> {
        let before = std::mem::replace(&mut self.0, word);
        word.filter(|_| before != word)
    }
}

/// The CLIF. Declarations, which come first, are folded.
fn clif_lines(sides: &Sides, lines: &[ClifLine]) -> Markup {
    let first = lines.iter().position(|line| line.text.starts_with("block")).unwrap_or(0);
    let (declarations, body) = lines.split_at(first);
    let declarations = declarations.iter().filter(|line| !line.text.is_empty());
    let mut words = Words::default();
    html! {
        details {
            summary { "declarations" }
            @for ClifLine { text, .. } in declarations {
                (line(&Line { offset: None, class: "", margin: "", text, word: None }))
            }
        }
        @for ClifLine { text, offset, part: of, mark } in body {
            @let (class, word) = match mark {
                Some(ClifMark::Safepoint) => ("m-safe", Some("safepoint")),
                Some(ClifMark::Spill) => ("m-spill", Some("spill")),
                Some(ClifMark::Poll) => ("m-poll", Some("poll")),
                None => part(*of),
            };
            @let word = words.next(word);
            @let margin = offset.map(|offset| format!("{offset:04x}")).unwrap_or_default();
            @let text = match callee(sides, text) {
                Some(name) => Cow::Owned(format!("{text}  ; {name}")),
                None => Cow::Borrowed(&**text),
            };
            (line(&Line { offset: *offset, class, margin: &margin, text: &text, word }))
        }
    }
}

/// The name of the function that an instruction of CLIF calls.
fn callee<'a>(sides: &'a Sides, text: &str) -> Option<&'a str> {
    let (before, _) = text.split_once('(')?;
    let (instruction, id) = before.rsplit_once(' ')?;
    let calls = instruction.ends_with("call");
    let callee = sides.callees.iter().find(|(callee, _)| calls && callee == id)?;
    Some(&callee.1)
}

fn machine_lines(sides: &Sides, disassembly: &Disassembly<'_>) -> Markup {
    let part_at = |at: u32| {
        let next = sides.parts.partition_point(|(first, _, _)| *first <= at);
        let found = sides.parts[..next].last().filter(|(_, end, _)| at < *end);
        found.map(|(_, _, part)| *part).unwrap_or_default()
    };
    let lines = disassembly.lines();
    let mut words = Words::default();
    // A note belongs to the operator of its call.
    let offsets: Vec<Option<u32>> = lines
        .iter()
        .scan(None, |last, line| {
            if let LineKind::Instruction { location, .. } = &line.kind {
                *last = *location;
            }
            Some(*last)
        })
        .collect();
    html! {
        @for (n, shown) in lines.iter().enumerate() {
            @let follows = lines.get(n + 1).is_some_and(|next| matches!(next.kind, LineKind::StackMap));
            @let margin = format!("{:04x}", shown.at);
            @match &shown.kind {
                LineKind::Instruction { location, is_target, trap, jumps_to, is_spill } => {
                    @let (class, word) = match (trap, part(part_at(shown.at))) {
                        _ if follows => ("m-safe", Some("safepoint")),
                        (Some(gc_types::Trap::Interrupt), _) => ("m-poll", Some("poll")),
                        _ if *is_spill => ("m-spill", Some("spill")),
                        (_, part) => part,
                    };
                    @let word = words.next(word);
                    @let trap = trap.filter(|trap| *trap != gc_types::Trap::Interrupt);
                    div class={
                        "l"
                        @if !class.is_empty() { " " (class) }
                        @if *is_target { " target" }
                    } data-o=[location.map(|offset| format!("{offset:x}"))]
                        data-a=[is_target.then(|| format!("{:x}", shown.at))]
                        data-to=[jumps_to.map(|to| format!("{to:x}"))] {
                        i { (margin) }
                        (printable(&shown.text))
                        @if let Some(trap) = trap {
                            em class="m-trap" { "trap: " (trap.reason()) }
                        }
                        @if let Some(word) = word { em { (word) } }
                    }
                }
                LineKind::Data => {
                    (line(&Line {
                        offset: None,
                        class: "data",
                        margin: &margin,
                        text: &shown.text,
                        word: words.next(None),
                    }))
                }
                LineKind::StackMap => {
                    (line(&Line {
                        offset: offsets[n],
                        class: "note m-map",
                        margin: "",
                        text: &shown.text,
                        word: None,
                    }))
                }
                LineKind::Handlers => {
                    (line(&Line {
                        offset: offsets[n],
                        class: "note",
                        margin: "",
                        text: &shown.text,
                        word: None,
                    }))
                }
            }
        }
    }
}

/// The stack maps as a table.
fn stack_maps(sides: &Sides, disassembly: &Disassembly<'_>) -> Markup {
    let maps = &sides.machine.stack_maps;
    html! {
        @if maps.is_empty() {
            p { "No reference is live across any call." }
        } @else {
            table {
                thead { tr {
                    th { "return address" } th { "callee" } th { "frame" } th { "references at" }
                } }
                tbody {
                    @for (at, map) in maps {
                        // The call is before its return address.
                        @let offset = sides.machine.locations.iter()
                            .find(|(first, end, _)| (*first..*end).contains(&(at - 1)))
                            .map(|(_, _, offset)| format!("{offset:x}"));
                        tr class="l" data-o=[offset] {
                            td { (format!("{at:04x}")) }
                            td { (disassembly.callee_before(*at).unwrap_or("a reference".into())) }
                            td { (map.frame_size) " bytes" }
                            td { (disassembly.slots(map)) }
                        }
                    }
                }
            }
        }
    }
}
