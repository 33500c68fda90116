//! Compiles a program to objects. A linker makes an executable of them and the library of `toy_runtime`.

use crate::compiler::{Compiled, Named, Names, compile, full_name};
use crate::reader::read;
use crate::session::HOST_FUNCTIONS;
use crate::types::params;
use anyhow::{Result, anyhow, ensure};
use gc_engine::native::Start;
use gc_engine::{Engine, Module, Type};

/// The symbol of the runtime to which `main` jumps.
const RUNTIME: &str = "toy_main";

/// The objects of a program: one for each form, one that runs the forms in their order, and the start object.
pub struct Executable {
    objects: Vec<(String, Vec<u8>)>,
}

impl Executable {
    /// Compiles a program. `file` is the path of its source, for debuggers.
    ///
    /// # Errors
    /// If there is a mistake in the program.
    pub fn new(engine: &Engine, source: &str, file: &str) -> Result<Executable> {
        // The outer errors name functions of the compiler.
        compile_all(engine, source, file).map_err(|error| anyhow!("{}", error.root_cause()))
    }

    /// The names of files, and their contents.
    pub fn objects(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.objects.iter().map(|(name, object)| (name.as_str(), &**object))
    }
}

fn compile_all(engine: &Engine, source: &str, file: &str) -> Result<Executable> {
    let mut names: Names = HOST_FUNCTIONS
        .iter()
        .map(|(name, count)| ((*name).into(), Named::Function(*count)))
        .collect();
    let (mut objects, mut titles) = (Vec::new(), Vec::new());
    for (number, form) in read(source)?.iter().enumerate() {
        let title = format!("form {number}");
        let Compiled { mut module, defines } = compile(engine, &names, form, &title)?;
        module.source_file(file)?;
        match &defines {
            Some((name, named @ Named::Function(_))) => ensure!(
                !names.get(name).is_some_and(|known| known == named),
                "line {}: `{name}` is defined twice: an executable has one definition",
                form.line()
            ),
            _ => titles.push(title),
        }
        names.extend(defines);
        objects.push((format!("form{number}.o"), module.emit_object()?));
    }
    let mut module = Module::new(engine);
    let forms = titles.iter().map(|title| module.import(title, params(0), [Type::Ref]));
    let forms = forms.collect::<Result<Vec<_>>>()?;
    module.function("main", [], [], |f| {
        for form in &forms {
            let none = f.null();
            f.call(form, &[none]);
        }
    })?;
    objects.push(("main.o".into(), module.emit_object()?));
    let host_functions = HOST_FUNCTIONS.iter().map(|(name, count)| full_name(name, *count));
    let host_functions = host_functions.collect();
    let start = Start { host_functions, runtime: RUNTIME.into(), ..Start::main("main") };
    objects.push(("start.o".into(), engine.emit_start(&start)?));
    Ok(Executable { objects })
}
