//! Code is loaded into a store: its functions get names, its imports are found, and its vmctx is made.
#![allow(unsafe_code)]

use super::StoreInner;
use super::functions::{SlotId, Target};
use super::piece::{Piece, PieceId, Vmctx};
use super::reference::Reference;
use crate::Code;
use crate::code::Word;
use crate::registry::EngineType;
use crate::types::describe;
use anyhow::{Context as _, Result, bail, ensure};
use gc_jit::CodeMemory;
use std::sync::Arc;

/// The place of a function among those of the store.
enum Place {
    Known(SlotId),
    /// A new one, for functions of this type.
    New(EngineType),
}

impl StoreInner {
    /// Loads code. Its functions may replace others if `replaces`.
    pub(super) fn load(&mut self, code: &Code, replaces: bool) -> Result<()> {
        let parts = code.parts();
        self.jit.check_code(&parts.memory)?;
        ensure!(
            self.engine.same(&parts.engine),
            "the code was compiled for another engine, whose types have other indices: use \
             `Code::for_engine`"
        );
        self.check_types(code)?;
        self.check_words(code)?;
        let mut exports = Vec::with_capacity(parts.functions.len());
        for (name, (index, signature)) in &parts.functions {
            let place = match self.functions.find(name) {
                Some(id) => {
                    let slot = self.functions.slot(id);
                    let is_free = replaces || matches!(slot.target, Target::Missing(_));
                    ensure!(is_free, "the store already has a function `{name}`");
                    slot.expect(signature)?;
                    Place::Known(id)
                }
                None => Place::New(self.function_type(signature)?),
            };
            let memory = &parts.memory;
            let trampoline = memory.entry_trampoline(&signature.call_signature());
            let address = memory.function_address(*index);
            let found = trampoline.zip(address);
            let found = found.with_context(|| format!("the image has no code for `{name}`"))?;
            exports.push((name, place, signature, found));
        }

        let function_references = self.function_references(code)?;

        let prefix = match parts.uses_heap {
            true => self.jit.vmctx_prefix(self.loaded as usize)?,
            false => self.jit.vmctx_prefix_without_heap(self.loaded as usize),
        };
        parts.types.iter().try_for_each(|ty| self.add_type(ty))?;
        let mut words = self.words(code)?;
        // Nothing fails from here on.
        self.use_code(&parts.memory)?;
        self.use_exits(&parts.memory)?;
        let piece = PieceId(self.loaded);
        self.loaded += 1;
        let mut references = Vec::new();
        for (word, address, ty) in function_references {
            let reference = Reference::new(&mut self.jit, ty);
            words[word] = reference.number() as usize;
            references.push((address, reference));
        }
        let vmctx = Vmctx::new(prefix, &words);
        let address_of_vmctx = vmctx.as_ptr();
        for (address, reference) in &references {
            reference.set(*address, address_of_vmctx);
        }
        let references = references.into_iter().map(|(_, reference)| reference).collect();
        let names = exports.len();
        let loaded = Piece { code: code.clone(), _vmctx: vmctx, references, names };
        self.pieces.insert(piece, loaded);
        for (name, place, signature, (trampoline, address)) in exports {
            let vmctx = address_of_vmctx;
            let target = Target::Compiled { piece, address, vmctx, trampoline };
            match place {
                Place::Known(id) => self.set(id, target),
                Place::New(ty) => self.add_name(name, signature.clone(), ty, target),
            }
        }
        if names == 0 {
            self.retired.push(piece);
        }
        self.free_retired();
        Ok(())
    }

    /// Checks that types of the code and of the store with one name are the same.
    fn check_types(&self, code: &Code) -> Result<()> {
        for ty in &code.parts().types {
            let Some((name, layout)) = ty.object() else { continue };
            if let Some(known) = self.types.get(name)
                && !known.same(ty)
            {
                let (_, other) = known.object().expect("a named type is one of objects");
                bail!(
                    "the type `{name}` is {} in the code, but {} in the store",
                    describe(layout),
                    describe(other)
                );
            }
        }
        Ok(())
    }

    /// Checks that the store has the functions that code imports, and no other globals of the same names.
    fn check_words(&self, code: &Code) -> Result<()> {
        for word in &code.parts().words {
            match word {
                Word::Import(name, signature) => {
                    let id = self.functions.find(name).with_context(|| {
                        format!(
                            "the code imports a function `{name}{signature}`, which the store does not \
                             have"
                        )
                    })?;
                    self.functions.slot(id).expect(signature).context("an imported function")?;
                }
                Word::Global(name, ty) => self.cells.check_global(name, *ty)?,
                Word::Reference(..) | Word::Constant(..) | Word::Unused => {}
            }
        }
        Ok(())
    }

    /// The words of a vmctx of the code, after [`check_words`](StoreInner::check_words). Those of references are
    /// zero. May collect.
    fn words(&mut self, code: &Code) -> Result<Vec<usize>> {
        let parts = code.parts();
        let mut words = vec![0; parts.words.len()];
        // These can fail.
        for (number, word) in parts.words.iter().enumerate() {
            if let Word::Constant(ty, bytes) = word {
                let ty = parts.types.get(*ty as usize).and_then(EngineType::object);
                let ty = ty.context("it is of no type of objects");
                let made = ty.and_then(|(name, layout)| self.constant(name, layout, bytes));
                words[number] = made.map_err(|error| {
                    self.forget_constants(code, number);
                    error.context("making a constant of the code")
                })?;
            }
        }
        for (number, word) in parts.words.iter().enumerate() {
            match word {
                Word::Import(name, _) => {
                    let id = self.functions.find(name).expect("the function was there");
                    words[number] = self.functions.reference(id);
                }
                Word::Global(name, ty) => {
                    words[number] = self.cells.global(self.jit.gc_mut(), name, *ty);
                }
                Word::Constant(..) | Word::Reference(..) | Word::Unused => {}
            }
        }
        Ok(words)
    }

    /// A piece that had the constants among the first `count` words of the code is gone.
    pub(super) fn forget_constants(&mut self, code: &Code, count: usize) {
        let parts = code.parts();
        for word in &parts.words[..count] {
            let Word::Constant(ty, bytes) = word else { continue };
            if let Some((name, _)) = parts.types[*ty as usize].object() {
                self.forget_constant(name, bytes);
            }
        }
    }

    /// The functions of the code to which it makes references: the number of the word, the address, and the
    /// type.
    fn function_references(&self, code: &Code) -> Result<Vec<(usize, *const u8, EngineType)>> {
        let words = code.parts().words.iter().enumerate();
        let references = words.filter_map(|(number, word)| match word {
            Word::Reference(index, ty) => Some((number, *index, ty)),
            _ => None,
        });
        let references = references.map(|(number, index, ty)| {
            let address = code.memory().function_address(index);
            let address = address.with_context(|| format!("the image has no function {index}"))?;
            Ok((number, address, self.function_type(ty)?))
        });
        references.collect()
    }

    /// Uses the exit trampolines of `memory` for host functions of signatures that had none.
    fn use_exits(&mut self, memory: &Arc<CodeMemory>) -> Result<()> {
        for signature in memory.image().signatures() {
            if self.functions.has_exit(&signature) {
                continue;
            }
            if let Some(address) = memory.exit_trampoline(&signature) {
                self.use_code(memory)?;
                self.functions.add_exit(signature, address);
            }
        }
        Ok(())
    }

    /// Keeps code alive until the use ends ([`end_use`](StoreInner::end_use)).
    ///
    /// # Errors
    /// If it is for another kind of store.
    fn use_code(&mut self, memory: &Arc<CodeMemory>) -> Result<()> {
        self.jit.keep_alive(memory.clone())?;
        *self.uses.entry(memory.base().addr()).or_default() += 1;
        Ok(())
    }

    /// Ends a use of code.
    ///
    /// # Safety
    /// Nothing of this use can run or be called any more: none of the code is on the stack, and nothing else has
    /// an address in it that belongs to this use.
    pub(super) unsafe fn end_use(&mut self, memory: &CodeMemory) {
        let uses = self.uses.entry(memory.base().addr()).or_default();
        *uses = uses.saturating_sub(1);
        if *uses == 0 {
            self.uses.remove(&memory.base().addr());
            // SAFETY: as the caller promises, and this was the last use.
            unsafe { self.jit.release(memory) };
        }
    }
}
