//! Code is loaded into a store: its functions get names, its imports are found, and its vmctx is made.
#![allow(unsafe_code)]

use super::StoreInner;
use super::functions::{Target, expect};
use super::piece::{Piece, PieceId, Vmctx};
use super::reference::Reference;
use crate::code::{Function, Word};
use crate::registry::EngineType;
use crate::types::describe;
use crate::{Code, Signature, Type};
use anyhow::{Context as _, Result, bail, ensure};
use gc_jit::CodeMemory;
use gc_types::CallSignature;
use rustc_hash::FxHashMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

impl StoreInner {
    /// Loads code. Its functions may replace others if `replaces`.
    pub(super) fn load(&mut self, code: &Code, replaces: bool) -> Result<()> {
        self.load_all(&[code], replaces)
    }

    /// Loads several pieces of code, which may import functions of each other.
    pub(super) fn load_all(&mut self, codes: &[&Code], replaces: bool) -> Result<()> {
        self.check_names(codes, replaces)?;
        let first = self.loaded;
        for code in codes {
            if let Err(error) = self.add_piece(code) {
                // No function of theirs has a name yet.
                for (_, piece) in self.pieces.split_off(&PieceId(first)) {
                    // SAFETY: its functions were never called.
                    unsafe { self.free(piece) };
                }
                return Err(error);
            }
        }
        self.functions.reserve(codes.iter().map(|code| code.parts().functions.len()).sum());
        (first..self.loaded).for_each(|id| self.name_functions(PieceId(id)));
        // All functions have their names.
        (first..self.loaded).for_each(|id| self.resolve(PieceId(id)));
        self.free_retired();
        Ok(())
    }

    /// Checks that functions, types and globals of the codes fit those of the store and of each other.
    fn check_names(&self, codes: &[&Code], replaces: bool) -> Result<()> {
        let mut functions: FxHashMap<&str, &Signature> = FxHashMap::default();
        functions.reserve(codes.len());
        let mut types: FxHashMap<&str, &EngineType> = FxHashMap::default();
        let mut globals: FxHashMap<&str, Type> = FxHashMap::default();
        for code in codes {
            let parts = code.parts();
            self.jit.check_code(&parts.memory)?;
            ensure!(
                self.engine.same(&parts.engine),
                "the code was compiled for another engine, whose types have other indices: use \
                 `Code::for_engine`"
            );
            for ty in &parts.types {
                let Some((name, layout)) = ty.object() else { continue };
                let known = match self.types.get(name) {
                    Some(known) => known,
                    None => *types.entry(name).or_insert(ty),
                };
                if !known.same(ty) {
                    let (_, other) = known.object().expect("a named type is one of objects");
                    bail!(
                        "the type `{name}` is {} in the code, but {} in {}",
                        describe(layout),
                        describe(other),
                        if self.types.contains_key(name) {
                            "the store"
                        } else {
                            "another piece of it"
                        }
                    );
                }
            }
            for (name, signature) in code.functions() {
                if let Some(id) = self.functions.find(name) {
                    let slot = self.functions.slot(id);
                    let is_free = replaces || matches!(slot.target, Target::Missing(_));
                    ensure!(is_free, "the store already has a function `{name}`");
                    slot.expect(signature)?;
                }
                let other = functions.insert(name, signature);
                ensure!(other.is_none(), "two of the pieces of code have a function `{name}`");
            }
            for word in &parts.words {
                let Word::Global(name, ty) = word else { continue };
                self.cells.check_global(name, *ty)?;
                let known = *globals.entry(name).or_insert(*ty);
                ensure!(known == *ty, "the global `{name}` is of type {known}, not {ty}");
            }
        }
        for word in codes.iter().flat_map(|code| &code.parts().words) {
            let Word::Import(name, signature) = word else { continue };
            let found = match functions.get(&**name) {
                Some(found) => found,
                None => self.signature_of(name).with_context(|| {
                    format!(
                        "the code imports a function `{name}{signature}`, which the store does not have"
                    )
                })?,
            };
            expect(name, found, signature).context("an imported function")?;
        }
        Ok(())
    }

    /// Adds a piece of code, after [`check_names`](StoreInner::check_names). Its functions have no names, and its vmctx
    /// has only constants and references. May collect.
    fn add_piece(&mut self, code: &Code) -> Result<()> {
        let parts = code.parts();
        let function_references = self.function_references(code)?;
        let number = self.loaded as usize;
        let prefix = match parts.uses_heap {
            true => self.jit.vmctx_prefix(number)?,
            false => self.jit.vmctx_prefix_without_heap(number),
        };
        parts.types.iter().try_for_each(|ty| self.add_type(ty))?;
        let mut vmctx = Vmctx::new(prefix, parts.words.len());
        self.constants(code, &mut vmctx)?;
        // Nothing fails from here on.
        self.use_code(&parts.memory);
        let references = function_references.into_iter().map(|(word, address, ty)| {
            let reference = Reference::new(&mut self.jit, ty);
            reference.set(address, vmctx.as_ptr());
            vmctx.set(word, reference.number() as usize);
            reference
        });
        let references = references.collect();
        let piece = Piece { code: code.clone(), vmctx, references, names: 0 };
        self.pieces.insert(PieceId(self.loaded), piece);
        self.loaded += 1;
        Ok(())
    }

    /// Gives the functions of a new piece their names.
    fn name_functions(&mut self, id: PieceId) {
        let piece = self.pieces.get_mut(&id).expect("it is new");
        let (code, vmctx) = (piece.code.clone(), piece.vmctx.as_ptr());
        let parts = code.parts();
        piece.names = parts.functions.len();
        self.use_exits(&parts.memory);
        for (number, function) in parts.functions.iter().enumerate() {
            let Function { name, ty, offset, .. } = function;
            let address = parts.memory.base().wrapping_add(*offset as usize);
            let target = Target::Compiled { piece: id, address, vmctx, function: number as u32 };
            match self.functions.find(name) {
                Some(known) => self.set(known, target),
                None => self.add_name(name.clone(), ty.clone(), target),
            }
        }
        if parts.functions.is_empty() {
            self.retired.push(id);
        }
    }

    /// Writes the addresses of the functions that a piece imports, and of its globals, to its vmctx.
    fn resolve(&mut self, id: PieceId) {
        let StoreInner { pieces, functions, cells, jit, .. } = self;
        let piece = pieces.get_mut(&id).expect("it is new");
        for (number, word) in piece.code.parts().words.iter().enumerate() {
            let address = match word {
                Word::Import(name, _) => {
                    let id = functions.find(name).expect("the function was there");
                    functions.reference(id)
                }
                Word::Global(name, ty) => cells.global(jit.gc_mut(), name, *ty),
                Word::Constant(..) | Word::Reference(..) | Word::Unused => continue,
            };
            piece.vmctx.set(number, address);
        }
    }

    /// Writes the addresses of the code's constants to its vmctx. May collect.
    fn constants(&mut self, code: &Code, vmctx: &mut Vmctx) -> Result<()> {
        let parts = code.parts();
        for (number, word) in parts.words.iter().enumerate() {
            if let Word::Constant(ty, bytes) = word {
                let ty = parts.types.get(*ty as usize).and_then(EngineType::object);
                let ty = ty.context("it is of no type of objects");
                let made = ty.and_then(|(name, layout)| self.constant(name, layout, bytes));
                let address = made.map_err(|error| {
                    self.forget_first_constants(code, number);
                    error.context("making a constant of the code")
                })?;
                vmctx.set(number, address);
            }
        }
        Ok(())
    }

    /// A piece that had the constants of the code is gone.
    fn forget_constants(&mut self, code: &Code) {
        self.forget_first_constants(code, code.parts().words.len());
    }

    /// The same for those among the first `count` words.
    fn forget_first_constants(&mut self, code: &Code, count: usize) {
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
    fn use_exits(&mut self, memory: &Arc<CodeMemory>) {
        let exits = self
            .functions
            .without_exit()
            .filter_map(|signature| Some((signature.clone(), memory.exit_trampoline(signature)?)));
        let exits: Vec<_> = exits.collect();
        for (signature, address) in exits {
            self.use_code(memory);
            self.functions.add_exit(signature, address);
        }
    }

    /// Finds an exit trampoline for host functions of this signature.
    pub(super) fn find_exit(&mut self, signature: &CallSignature) {
        if !self.functions.needs_exit(signature) {
            return;
        }
        // The newest is not replaced yet.
        let memories = self.pieces.values().rev().map(|piece| piece.code.memory());
        let found =
            memories.filter_map(|it| Some((it.clone(), it.exit_trampoline(signature)?))).next();
        match found {
            Some((memory, address)) => {
                self.use_code(&memory);
                self.functions.add_exit(signature.clone(), address);
            }
            None => self.functions.has_no_exit(signature),
        }
    }

    /// Keeps code, which was checked, alive until the use ends ([`end_use`](StoreInner::end_use)).
    fn use_code(&mut self, memory: &Arc<CodeMemory>) {
        let is_new =
            self.jit.keep_alive(memory.clone()).expect("the code is for this kind of store");
        if !is_new {
            *self.uses.entry(memory.base().addr()).or_insert(1) += 1;
        }
    }

    /// Ends a use of code.
    ///
    /// # Safety
    /// Nothing of this use can run or be called any more: none of the code is on the stack, and nothing else has
    /// an address in it that belongs to this use.
    unsafe fn end_use(&mut self, memory: &CodeMemory) {
        match self.uses.entry(memory.base().addr()) {
            Entry::Occupied(mut uses) => {
                *uses.get_mut() -= 1;
                if *uses.get() == 1 {
                    uses.remove();
                }
            }
            // SAFETY: as the caller promises, and this was the last use.
            Entry::Vacant(_) => unsafe { self.jit.release(memory) },
        }
    }

    /// Frees a piece that is removed from the store.
    ///
    /// # Safety
    /// None of it is on the stack. No name stands for a function of the piece, and no object refers to one.
    pub(super) unsafe fn free(&mut self, piece: Piece) {
        self.forget_constants(&piece.code);
        let jit = &mut self.jit;
        piece.references.into_iter().for_each(|reference| reference.forget(jit));
        // SAFETY: as the caller promises.
        unsafe { self.end_use(piece.code.memory()) };
    }
}
