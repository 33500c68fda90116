//! `reclaim explore`: shows the code that is emitted for a module's functions.

mod arch;
mod disassembly;
mod page;
mod sizes;

use crate::args;
use crate::call;
use crate::failure::misuse;
use crate::options::Settings;
use crate::printable::printable;
use crate::program::Program;
use crate::registry::Registry;
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use disassembly::Disassembly;
use gc_wasm::explore::{self, Checked, Listing, MachineCode, check, explore, machine_code, sides};
use gc_wasm::{Collector, Engine, Reclaims};
use sizes::{Size, Sizes};
use std::io::Write;
use std::path::PathBuf;

/// Arguments of `reclaim explore`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  reclaim explore lib.wat                                CLIF of all functions
  reclaim explore lib.wat --func push --collector null   CLIF of one, under `null`
  reclaim explore lib.wat --func push --emit asm         its machine code
  reclaim explore lib.wat --func push --emit asm --collector all
                                                         under every collector
  reclaim explore lib.wat --emit sizes --collector all   instructions and bytes of all functions
  reclaim explore lib.wat --func push --emit stack-maps  references at calls
  reclaim explore lib.wat --collector all --html lib.html
                                                         a page with all of this side by side
  reclaim explore lib.wat --check                        whether all keep the laws of emitted code")]
pub struct ExploreArgs {
    /// The module: binary (.wasm) or text (.wat).
    #[arg(value_name = "FILE", value_parser = args::path())]
    pub file: PathBuf,
    /// Only this function: its name, its export name, or its index.
    #[arg(long, value_name = "NAME", value_parser = args::text())]
    pub func: Option<String>,
    /// What to show.
    #[arg(long, value_enum, default_value_t = Emit::Clif, value_name = "WHAT")]
    pub emit: Emit,
    /// Write a page of HTML that shows the Wasm text, the CLIF, the machine code and the stack maps of
    /// each function side by side, with links between them, under each of the collectors. Barriers,
    /// allocations, safepoints and spills are marked. The page needs no other file.
    #[arg(long, value_name = "OUT", value_parser = args::path())]
    #[arg(conflicts_with_all = ["emit", "check"])]
    pub html: Option<PathBuf>,
    /// Check the laws of emitted code in each function: references are in stack maps where they must
    /// be (roots), stores of references have their barrier (barriers), and no access leaves the heap
    /// (sandbox).
    #[arg(long)]
    pub check: bool,
    /// Show code for this machine, as `reclaim compile --target` compiles it [default: this machine with all
    /// its extensions].
    #[arg(long, value_name = "TARGET")]
    pub target: Option<String>,
    /// Show code that consumes fuel, as `reclaim run --fuel` runs it.
    #[arg(long)]
    pub consume_fuel: bool,
    /// The collectors, separated by commas, or `all`. Functions whose code is the same under several
    /// are shown once.
    // The registry adds the possible values and the default.
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        help_heading = "Collector, heap and stack"
    )]
    pub collector: Vec<String>,
    /// The heap and the stack.
    #[command(flatten)]
    pub settings: Settings,
}

/// Bytes of a page that is large for a browser.
const LARGE: usize = 256 << 20;

/// The views of `reclaim explore`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    /// Cranelift's intermediate representation, before optimisation.
    Clif,
    /// The same after optimisation, with the polls of loops.
    Optimised,
    /// The machine code, with the offset of each instruction, and beside the instructions their
    /// traps, stack maps and exception handlers.
    Asm,
    /// The places of references on the stack at each call, and its exception handlers.
    StackMaps,
    /// The number of instructions and bytes of machine code, against those under `null`.
    Sizes,
}

/// Prints the listings, or writes the page.
///
/// # Errors
/// If the module cannot be read or compiled, is compiled already, or if it has no such function, if machine code for
/// the processor cannot be shown, or if the page cannot be written. Also, after the listings, if `--check` finds a function that breaks a law.
pub fn execute(args: &ExploreArgs, registry: &Registry) -> Result<()> {
    let collectors = registry.choose_all(&args.collector)?;
    let mut settings = args.settings.clone();
    settings.code.consume_fuel = args.consume_fuel;
    settings.code.target = args.target.clone();
    let engines = collectors.iter().map(|collector| settings.engine(collector));
    let engines = engines.collect::<Result<Vec<_>>>()?;
    let program = Program::read(&args.file)?;
    if program.is_compiled() {
        return Err(misuse(format!(
            "{} is already compiled: `explore` needs the module it was compiled from (`objdump -d`, or \
             `llvm-objdump -d` if it is for another processor, shows the code in a compiled module)",
            args.file.display()
        )));
    }
    let module = Module { program: &program, func: args.func.as_deref() };
    let with_target = |name: String| match &args.target {
        Some(target) => format!("{name}, {target}"),
        None => name,
    };
    let Some(engine) = engines.first() else { return Ok(()) };
    if module.functions(engine)?.is_empty() {
        writeln!(std::io::stderr(), "the module defines no functions")?;
        return Ok(());
    }
    if let Some(out) = &args.html {
        let compiled = collectors.iter().zip(&engines).map(|(collector, engine)| {
            let functions = module.placed(sides(engine, program.bytes(), module.func))?;
            Ok(page::Compiled { collector: title(&collectors, collector), functions })
        });
        let compiled = compiled.collect::<Result<Vec<_>>>()?;
        let page = page::page(&with_target(program.name()), program.bytes(), &compiled)?;
        std::fs::write(out, &page).with_context(|| format!("writing {}", out.display()))?;
        if page.len() > LARGE {
            let size = page.len() >> 20;
            let text = "browsers take long to read it; `--func` makes a page of one function";
            writeln!(std::io::stderr(), "{} has {size} MiB: {text}", out.display())?;
        }
        return Ok(());
    }
    let code = match args.emit {
        Emit::Clif | Emit::Optimised => Vec::new(),
        Emit::Asm | Emit::StackMaps | Emit::Sizes => {
            let code = engines.iter().map(|engine| module.machine_code(engine));
            code.collect::<Result<Vec<_>>>()?
        }
    };
    let mut views = Vec::new();
    for (n, engine) in engines.iter().enumerate() {
        let mut view = match args.emit {
            Emit::Clif => module.clif(engine, explore::Emit::Clif)?,
            Emit::Optimised => module.clif(engine, explore::Emit::Optimised)?,
            Emit::Asm => code[n].iter().map(View::asm).collect::<Result<_>>()?,
            Emit::StackMaps => code[n].iter().map(View::stack_maps).collect::<Result<_>>()?,
            Emit::Sizes => Vec::new(),
        };
        if args.check {
            let checked = module.placed(check(engine, program.bytes(), module.func))?;
            view = if view.is_empty() { checked.iter().map(View::empty).collect() } else { view };
            for (view, checked) in view.iter_mut().zip(checked) {
                view.check(checked);
            }
        }
        views.push((with_target(title(&collectors, &collectors[n])), view));
    }
    let mut out = std::io::stdout().lock();
    let shown = show(&views);
    write!(out, "{shown}")?;
    let sizes = args.emit == Emit::Sizes || (args.emit == Emit::Asm && engines.len() > 1);
    if sizes {
        let baseline = registry.all().iter().find(|one| one.reclaims() == Reclaims::Nothing);
        let table = module.sizes(&collectors, &code, baseline, &settings)?;
        writeln!(out, "{}{table}", if shown.is_empty() { "" } else { "\n" })?;
    }
    let broken = |view: &&View| view.broken;
    if let Some(broken) = views.iter().flat_map(|(_, views)| views).find(broken) {
        bail!(
            "`{}` breaks a law of emitted code: this is a bug of the compiler",
            printable(&broken.name)
        );
    }
    if args.check {
        let count: usize = views.iter().map(|(_, views)| views.len()).sum();
        let text = match count {
            1 => "the function keeps the laws of emitted code".to_owned(),
            _ => format!("all {count} functions that were checked keep the laws"),
        };
        writeln!(std::io::stderr(), "{text}")?;
    }
    Ok(())
}

/// The name of one of the collectors, with its options if another one has the same name.
fn title(all: &[Collector], one: &Collector) -> String {
    match all.iter().filter(|other| other.name() == one.name()).count() {
        1 => one.name().to_owned(),
        _ => one.to_string(),
    }
}

/// A module and the function to show, or all.
struct Module<'a> {
    program: &'a Program,
    func: Option<&'a str>,
}

impl Module<'_> {
    /// Adds to errors what is compiled, and where in its text.
    fn placed<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| self.program.placed(error)).with_context(|| self.program.compiling())
    }

    /// The functions to show.
    ///
    /// # Errors
    /// Misuse: if there is no such function.
    fn functions(&self, engine: &Engine) -> Result<Vec<(u32, String)>> {
        let bytes = self.program.bytes();
        let functions = self.placed(explore::functions(engine, bytes, self.func))?;
        let Some(func) = self.func.filter(|_| functions.is_empty()) else { return Ok(functions) };
        let all = self.placed(explore::functions(engine, bytes, None))?;
        let hint = match call::near(func, all.iter().map(|(_, name)| &**name)) {
            Some(name) => format!("; did you mean `{}`?", printable(name)),
            None => call::list("; it defines", all.iter().map(|(_, name)| printable(name))),
        };
        Err(misuse(format!("the module defines no function `{func}`{hint}")))
    }

    fn clif(&self, engine: &Engine, what: explore::Emit) -> Result<Vec<View>> {
        let listings = self.placed(explore(engine, self.program.bytes(), what, self.func))?;
        Ok(listings.into_iter().map(View::clif).collect())
    }

    fn machine_code(&self, engine: &Engine) -> Result<Vec<MachineCode>> {
        self.placed(machine_code(engine, self.program.bytes(), self.func))
    }

    /// The table of the functions' sizes.
    fn sizes(
        &self,
        collectors: &[Collector],
        code: &[Vec<MachineCode>],
        baseline: Option<&Collector>,
        settings: &Settings,
    ) -> Result<String> {
        let all = collectors.iter().zip(code);
        let all = all.map(|(one, code)| Sizes::new(title(collectors, one), code));
        let all = all.collect::<Result<Vec<_>>>()?;
        let names: Vec<_> = code[0].iter().map(|code| code.name.clone()).collect();
        let Some(baseline) = baseline else { return Ok(sizes::table(&names, &all, None)) };
        let baseline = match all.iter().find(|sizes| sizes.collector == baseline.name()) {
            Some(_) if all.len() == 1 => return Ok(sizes::table(&names, &all, None)),
            Some(sizes) => sizes,
            None => {
                let code = self.machine_code(&settings.engine(baseline)?)?;
                &Sizes::new(baseline.name().to_owned(), &code)?
            }
        };
        Ok(sizes::table(&names, &all, Some(baseline)))
    }
}

/// A function under one collector, as text.
struct View {
    name: String,
    /// Lines for the head: its type and more.
    head: Vec<String>,
    text: String,
    /// Whether it breaks a law.
    broken: bool,
}

impl View {
    fn clif(listing: Listing) -> View {
        let callees = listing.callees.iter();
        let callees = callees.map(|(id, name)| format!("{id}: {}", printable(name)));
        let head = [listing.signature].into_iter().chain(callees).collect();
        View { name: listing.name, head, text: listing.text, broken: false }
    }

    fn asm(code: &MachineCode) -> Result<View> {
        let disassembly = Disassembly::new(code)?;
        let Size { instructions, bytes } = Size::of(&disassembly);
        let size = format!("{instructions} instructions, {bytes} bytes");
        Ok(View {
            name: code.name.clone(),
            head: vec![code.signature.clone(), size],
            text: disassembly.text(),
            broken: false,
        })
    }

    fn stack_maps(code: &MachineCode) -> Result<View> {
        Ok(View {
            name: code.name.clone(),
            head: vec![code.signature.clone()],
            text: Disassembly::new(code)?.stack_maps(),
            broken: false,
        })
    }

    fn empty(checked: &Checked) -> View {
        let name = checked.name.clone();
        View { name, head: Vec::new(), text: String::new(), broken: false }
    }

    /// Adds what the checkers say.
    fn check(&mut self, checked: Checked) {
        self.broken = checked.broken.is_some();
        let text = self.text.trim_end();
        let text = if text.is_empty() { String::new() } else { format!("{text}\n") };
        self.text = match checked.broken {
            None => format!("{text}checked: roots, barriers, sandbox"),
            Some(law) => format!("{text}broken: {law}"),
        };
    }
}

/// The functions one after another, each under one collector after another. Collectors with the same
/// code share it.
fn show(views: &[(String, Vec<View>)]) -> String {
    let mut texts: Vec<String> = Vec::new();
    let functions = views.first().map_or(0, |(_, views)| views.len());
    for function in 0..functions {
        let mut groups: Vec<(&View, Vec<&str>)> = Vec::new();
        for (collector, views) in views {
            let view = &views[function];
            let same = |other: &View| (&other.head, &other.text) == (&view.head, &view.text);
            match groups.iter_mut().find(|(other, _)| same(other)) {
                Some((_, collectors)) => collectors.push(collector),
                None => groups.push((view, vec![collector])),
            }
        }
        for (view, collectors) in groups {
            let mut text = format!("; {} ({})\n", printable(&view.name), collectors.join(", "));
            for line in view.head.iter().filter(|line| !line.is_empty()) {
                text.push_str(&format!("; {}\n", printable(line)));
            }
            text.push_str(view.text.trim_end());
            text.push('\n');
            texts.push(text);
        }
    }
    texts.join("\n")
}
