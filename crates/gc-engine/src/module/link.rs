//! Modules are compiled and linked.

use super::{Built, Function, FunctionBody, Module};
use crate::code::Word;
use crate::declarations::{Declarations, Exported};
use crate::registry::Definition;
use crate::{Code, Type};
use anyhow::{Context as _, Result, bail, ensure};
use cranelift_codegen::Context;
use gc_compiler::inline::{InlineLimits, Inlining};
use gc_compiler::{BuiltFunction, Compiler, ImageLinker, Symbol};
use gc_jit::CodeMemory;
use gc_types::Machine;
use std::collections::{BTreeMap, BTreeSet};

impl Module {
    /// Compiles and links all functions, and makes their code executable. Small functions are inlined into
    /// the others.
    ///
    /// # Errors
    /// If a function is declared but not defined, breaks a rule of emitted code or is refused by Cranelift.
    /// If the compilation takes longer than [its limit](crate::CodeOptions::time_limit), if
    /// the code is too large, or if the system refuses the memory.
    pub fn compile(self) -> Result<Code> {
        let engine = self.engine.clone();
        let (here, machine) = (Machine::host(), engine.abi().machine());
        ensure!(
            here.runs(machine),
            "the code is compiled for {machine}, but this machine is {here}"
        );
        let (declared, image) = self.link(ImageLinker::link)?;
        declared.into_code(&engine, |indices| CodeMemory::publish(image, engine.abi(), indices))
    }

    /// Compiles all functions, and links them with `link`.
    pub(crate) fn link<L>(
        self,
        link: impl FnOnce(ImageLinker, &Compiler) -> Result<L>,
    ) -> Result<(Declarations, L)> {
        let compiler = self.engine.compiler();
        let compilation = compiler.begin();
        let mut handles = Vec::new();
        let mut c_functions = Vec::new();
        let types = self.types.as_slice();
        // Whether it can get a reference to an object, or make one.
        let mut uses_heap = types.iter().any(|ty| match ty {
            Definition::Object(..) => true,
            Definition::Function(signature) => signature.has_refs(),
        }) || self.globals.values().any(|(_, ty)| *ty == Type::Ref);
        let words = used_words(self.words.as_slice(), &self.functions)?;
        let mut built_functions = BTreeMap::new();
        let functions = self.functions.into_iter().filter(|function| !function.forgotten);
        for Function { handle, exported, body, .. } in functions {
            let built = match body {
                FunctionBody::Built(Built { function, catches, .. }) => {
                    uses_heap |= catches;
                    *function
                }
                FunctionBody::C(symbol) => {
                    c_functions.push((handle, symbol));
                    continue;
                }
                FunctionBody::Imported(word) => {
                    let is_called = words[word as usize] != Word::Unused;
                    uses_heap |= is_called && handle.signature.has_refs();
                    continue;
                }
                FunctionBody::Declared => {
                    bail!("the function `{}` is declared, but not defined", handle.name())
                }
            };
            uses_heap |= handle.signature.has_refs();
            built_functions.insert(handle.index, built);
            handles.push((handle, exported));
        }
        let limits = InlineLimits::of_module(built_functions.values());
        let inlines = self.engine.inlines();
        let may_inline = |_: &u32, built: &mut BuiltFunction| inlines && limits.may_inline(built);
        let small: Vec<_> = built_functions.extract_if(.., may_inline).collect();
        let inlining = Inlining::new(small, limits)?;

        let mut linker = ImageLinker::new();
        let mut exports = Vec::new();
        // The numbers of functions that code calls or makes references to.
        let mut called: BTreeSet<u32> = words.iter().filter_map(Word::referenced).collect();
        let mut context = Context::new();
        for (handle, exported) in handles {
            let name = handle.name();
            let large = built_functions.remove(&handle.index);
            let compile = || {
                let built = large.or_else(|| inlining.function(handle.index));
                let built = built.context("it is neither large nor small")?;
                let finished = compiler.finish(built, &inlining, &compilation)?;
                compiler.compile(&mut context, finished, &compilation)
            };
            let compiled = compile().with_context(|| format!("function `{name}`"))?;
            called.extend(compiled.symbols().filter_map(|(_, symbol)| match symbol {
                Symbol::Function(index) => Some(index),
                Symbol::HostCall(_) | Symbol::TypeWord(_) => None,
            }));
            linker.define(handle.index, name.to_owned(), compiled)?;
            if exported {
                linker.export(handle.index)?;
                let (index, signature) = (handle.index, handle.signature.clone());
                exports.push(Exported { name: name.into(), index, signature });
            }
        }
        // The linker of the system need not find the others.
        for (handle, symbol) in c_functions.into_iter().filter(|it| called.contains(&it.0.index)) {
            // Debuggers find the function of C by its own name.
            let name = format!("{} of C", handle.name());
            let signature = handle.signature.call_signature();
            linker.define_c(compiler, handle.index, name, signature, symbol)?;
        }
        let linked = link(linker, compiler)?;
        let types = types.to_vec();
        exports.sort_by(|a, b| a.name.cmp(&b.name));
        Ok((Declarations { types, functions: exports, words, uses_heap }, linked))
    }
}

/// The words. Those that no code reads are [unused](Word::Unused): functions that are imported and not called, and what
/// only functions have asked for whose definition failed. Globals are there without code, because the host uses them.
///
/// # Errors
/// If a function has a reference to one whose definition failed.
fn used_words(words: &[Word], functions: &[Function]) -> Result<Vec<Word>> {
    let mut used: Vec<Word> = words
        .iter()
        .map(|word| match word {
            Word::Global(..) => word.clone(),
            Word::Import(..) | Word::Reference(..) | Word::Constant(..) | Word::Unused => {
                Word::Unused
            }
        })
        .collect();
    for Function { handle, body, forgotten, .. } in functions {
        let FunctionBody::Built(built) = body else { continue };
        if *forgotten {
            continue;
        }
        for number in &built.words {
            let word = &words[*number as usize];
            if let Word::Reference(index, _) = word {
                let to = &functions[*index as usize];
                ensure!(
                    !to.forgotten,
                    "the function `{}` has a reference to `{}`, whose definition failed",
                    handle.name(),
                    to.handle.name()
                );
            }
            used[*number as usize] = word.clone();
        }
    }
    Ok(used)
}
