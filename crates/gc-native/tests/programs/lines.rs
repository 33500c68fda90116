//! The line tables of objects, as the tools of the system read them.

use crate::common::{Folder, lists, program};
use anyhow::{Context as _, Result, ensure};
use gc_engine::native::Start;
use gc_engine::{Collector, Engine, Module, Type};
use object::{Object as _, ObjectSymbol as _};
use std::process::Command;

#[test]
fn programs_have_lines() -> Result<()> {
    let folder = Folder::new("lines")?;
    let engine = Engine::new(Collector::copying())?;
    let mut module = Module::new(&engine);
    for wrong in ["", "a\0b"] {
        ensure!(module.source_file(wrong).is_err(), "{wrong:?}");
    }
    module.source_file("seven.lang")?;
    let list = module.import("list", [Type::I64], [Type::Ref])?;
    module.function("start", [], [Type::I32], |f| {
        f.at(70_000);
        let count = f.i64(3);
        f.call(&list, &[count]);
        f.at(12);
        let result = f.i32(42);
        f.call(&list, &[count]);
        f.ret(&[result]);
    })?;
    let start = Start::main("start");
    // The object of `list` has no lines.
    let objects = [
        folder.write("start.o", &engine.emit_start(&start)?)?,
        folder.write("lists.o", &lists(&engine)?)?,
        folder.write("main.o", &module.emit_object()?)?,
    ];
    for arguments in [&["-no-pie"][..], &["-Wl,--gc-sections"]] {
        let program = program(&folder, &objects, arguments)?;
        let bytes = std::fs::read(&program)?;
        let file = object::File::parse(&*bytes)?;
        let function = |name: &str| {
            let symbol = file.symbols().find(|symbol| symbol.name() == Ok(name));
            symbol.with_context(|| format!("the symbol {name}"))
        };
        let lines = |name: &str| -> Result<Vec<String>> {
            let symbol = function(name)?;
            ensure!(symbol.size() > 0, "{name} has no size");
            let addresses = symbol.address()..symbol.address() + symbol.size();
            let mut command = Command::new("addr2line");
            command.arg("-e").arg(&program).args(addresses.map(|address| format!("{address:#x}")));
            let output = command.output().context("the command `addr2line`")?;
            let text = String::from_utf8(output.stdout)?;
            let mut lines: Vec<_> = text
                .lines()
                .map(|line| line.rsplit('/').next().unwrap_or_default().to_owned())
                .collect();
            lines.dedup();
            Ok(lines)
        };
        let own = lines("start")?;
        let of = |line: &str| own.iter().position(|own| own == line);
        let first = of("seven.lang:70000").with_context(|| format!("{own:?}"))?;
        let second = of("seven.lang:12").with_context(|| format!("{own:?}"))?;
        ensure!(first < second, "{own:?}");
        let others = lines("list")?;
        ensure!(!others.iter().any(|line| line.contains("seven.lang")), "{others:?}");
    }
    Ok(())
}
