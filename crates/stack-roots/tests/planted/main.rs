//! Tests that the checker of roots finds faults. The programs are built with the frontend of Cranelift, which
//! places their stack maps. They are changed in one place at a time, at every place where a kind of change is
//! possible, and the checker must report one of the expected laws each time.
//!
//! Where a change has no bad effect, the kind of change excludes the place itself.

mod code;
mod correct;
mod hidden;
mod maps;
mod plant;
mod programs;
mod slots;
mod types_of;
mod values;

use code::isa;
use cranelift_codegen::{Context, verify_function};
use plant::Kind;
use programs::PROGRAMS;

#[test]
fn correct_programs_pass_and_compile() {
    let isa = isa();
    for program in &PROGRAMS {
        let case = program.build(None);
        let name = program.name;
        case.check().unwrap_or_else(|error| panic!("{name}: {error}\n{}", case.func));
        let mut context = Context::for_function(case.func);
        context
            .compile(&*isa, &mut Default::default())
            .unwrap_or_else(|error| panic!("{name}: {error:?}"));
    }
}

#[test]
fn planted_faults_are_found() {
    let isa = isa();
    let kinds: Vec<&Kind> =
        [maps::KINDS, slots::KINDS, values::KINDS, types_of::KINDS].into_iter().flatten().collect();
    let mut missed = Vec::new();
    for kind in &kinds {
        let (mut found, mut programs) = (0, 0);
        for program in &PROGRAMS {
            let case = program.build(None);
            let planted = (kind.plant)(program, &case);
            programs += usize::from(!planted.is_empty());
            for changed in planted {
                let at = || format!("{}, {}", kind.name, program.name);
                if kind.valid {
                    verify_function(&changed.func, &*isa)
                        .unwrap_or_else(|error| panic!("{}: {error}\n{}", at(), changed.func));
                }
                match changed.check() {
                    Ok(()) => missed.push(format!("{}: not found\n{}", at(), changed.func)),
                    Err(error) if !kind.laws.contains(&error.law) => {
                        missed.push(format!("{}: {error}\n{}", at(), changed.func));
                    }
                    Err(_) => found += 1,
                }
            }
        }
        println!("{found:5} in {programs:2} programs: {}", kind.name);
        if found == 0 {
            missed.push(format!("{}: nowhere", kind.name));
        }
    }
    println!("{} kinds", kinds.len());
    assert!(kinds.len() >= 20);
    assert!(missed.is_empty(), "{}: {}", missed.len(), missed.join("\n"));
}
