//! [`ImageLinker`] links compiled functions and the trampolines that they need into one
//! position-independent image.

use super::compile::Compiler;
use super::frame::ObjectFrame;
use super::function::CompiledFunction;
use super::reloc::RelocTarget;
use super::{machine, trampoline};
use crate::inline::CodeLocation;
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use gc_types::{
    Abi, CallSignature, CodeImage, CodeImageBuilder, FunctionId, HandlerSite, HostCall,
    ImageFunction, InlinedCall, TypeWord,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Links compiled functions into a [`CodeImage`].
///
/// An image contains every trampoline that its code needs: one for each host call, an exit
/// trampoline for each signature of an indirect call (because the callee may be a host function),
/// and an entry trampoline for the signature of each function that the host may call. Nothing is
/// compiled at run time.
///
/// # Examples
/// Function 0 calls function 1, which is defined later:
///
/// ```
/// # use cranelift_codegen::cursor::{Cursor, FuncCursor};
/// # use cranelift_codegen::ir::{AbiParam, ArgumentPurpose, Function, InstBuilder, Signature, types};
/// # use cranelift_codegen::isa::CallConv;
/// use gc_compiler::collector::null::NullCompiler;
/// use gc_compiler::{
///     BuiltFunction, CompileOptions, Compiler, GcCompiler, ImageLinker, import_function,
/// };
/// use gc_types::{Abi, CallSignature};
///
/// # let mut signature = Signature::new(CallConv::Tail);
/// # signature.params.push(AbiParam::special(types::I64, ArgumentPurpose::VMContext));
/// # let with_entry = || {
/// #     let mut func = Function::with_name_signature(Default::default(), signature.clone());
/// #     let entry = func.dfg.make_block();
/// #     let vmctx = func.dfg.append_block_param(entry, types::I64);
/// #     func.layout.append_block(entry);
/// #     (func, entry, vmctx)
/// # };
/// let abi = Abi::new(NullCompiler.abi());
/// let compiler = Compiler::new(&NullCompiler, &abi, &CompileOptions::default())?;
/// # let (mut caller, entry, vmctx) = with_entry();
/// let callee = import_function(&mut caller, 1, signature.clone());
/// # let mut cursor = FuncCursor::new(&mut caller).at_bottom(entry);
/// # cursor.ins().call(callee, &[vmctx]);
/// # cursor.ins().return_(&[]);
/// # let (mut called, entry, _) = with_entry();
/// # FuncCursor::new(&mut called).at_bottom(entry).ins().return_(&[]);
///
/// let mut linker = ImageLinker::new();
/// for (index, name, func) in [(0, "main", caller), (1, "callee", called)] {
///     let function = BuiltFunction::new(func, Default::default());
///     linker.define(index, name.into(), compiler.compile_alone(function)?)?;
/// }
/// linker.export(0)?;
/// let image = linker.link(&compiler)?;
///
/// assert!(image.function_offset(0).is_some() && image.function_offset(1).is_some());
/// // The trampoline by which the host calls a function without parameters and results.
/// assert!(image.entry(&CallSignature::new([], [])).is_some());
/// # anyhow::Ok(())
/// ```
#[derive(Debug, Default)]
pub struct ImageLinker {
    functions: BTreeMap<FunctionId, (String, Arc<CompiledFunction>)>,
    host_calls: BTreeSet<HostCall>,
    entries: BTreeSet<CallSignature>,
    exits: BTreeSet<CallSignature>,
    made_for: Option<Arc<Abi>>,
}

/// The code of an object.
#[derive(Debug)]
pub struct ObjectCode {
    /// The code with its tables.
    pub image: CodeImage,
    /// The places in the code that a system linker fills in.
    pub relocs: Vec<ObjectReloc>,
    /// The frames of all functions and trampolines, ascending by offset.
    pub frames: Vec<ObjectFrame>,
}

impl ObjectCode {
    /// The code begins at a multiple of this number of bytes.
    pub const ALIGNMENT: u64 = 16;
}

/// A place in an object's code that a system linker fills in: 32 bits, the distance from the place to the target,
/// plus the addend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectReloc {
    /// The place, in bytes from the code's start.
    pub offset: u32,
    /// The target.
    pub target: ObjectTarget,
    /// What is added to the distance.
    pub addend: i64,
}

/// The target of an [`ObjectReloc`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectTarget {
    /// The word with this number among the image's [words of types](CodeImage::type_words).
    TypeWord(u32),
    /// The trampoline of a host call.
    HostCall(HostCall),
    /// The symbol of a C function, by the number that [`ImageLinker::define_c`] was given.
    Symbol(u32),
}

impl ImageLinker {
    /// Creates a linker without functions.
    pub fn new() -> ImageLinker {
        ImageLinker::default()
    }

    /// Adds the function with number `index`. The order does not matter.
    ///
    /// # Errors
    /// If there already is a function with this number.
    pub fn define(&mut self, index: u32, name: String, function: CompiledFunction) -> Result<()> {
        let id = FunctionId::Function(index);
        if let Some((first, _)) = self.functions.get(&id) {
            bail!("function {index} is defined twice: as {first} and as {name}");
        }
        self.exits.extend(function.calls_by_reference.iter().cloned());
        self.functions.insert(id, (name, Arc::new(function)));
        Ok(())
    }

    /// Adds a function with number `index` that is a function of C in the same program: the symbol with the number
    /// `symbol`. It can only be [in an object](ImageLinker::link_object).
    ///
    /// # Errors
    /// If there already is a function with this number, or if it has more than one result.
    pub fn define_c(
        &mut self,
        compiler: &Compiler,
        index: u32,
        name: String,
        signature: &CallSignature,
        symbol: u32,
    ) -> Result<()> {
        ensure!(signature.results().len() <= 1, "a function of C has at most one result");
        let function = trampoline::c_call(compiler, signature, symbol)?;
        let id = FunctionId::Function(index);
        ensure!(!self.functions.contains_key(&id), "function {index} is defined twice");
        self.functions.insert(id, (name, function));
        Ok(())
    }

    /// Allows the host to call function `index`, which must be defined.
    ///
    /// # Errors
    /// If it is not defined, or if the host cannot call a function of its signature; see
    /// [`call_signature`](crate::call_signature).
    pub fn export(&mut self, index: u32) -> Result<()> {
        let Some((name, function)) = self.functions.get(&FunctionId::Function(index)) else {
            bail!("function {index} is exported, but not defined");
        };
        let signature = crate::call_signature(&function.signature)
            .with_context(|| format!("the host cannot call {name}"))?;
        self.entries.insert(signature);
        Ok(())
    }

    /// Adds the entry trampoline for `signature`, even if no function with this signature is
    /// exported.
    pub fn entry(&mut self, signature: CallSignature) {
        self.entries.insert(signature);
    }

    /// Adds the exit trampoline for `signature`, even if the image makes no such call.
    pub fn exit(&mut self, signature: CallSignature) {
        self.exits.insert(signature);
    }

    /// Adds the trampoline of a host call, even if the code does not make it.
    pub fn host_call(&mut self, call: HostCall) {
        self.host_calls.insert(call);
    }

    /// Says that functions contain type indices of the engine with this very ABI. The image can then
    /// not be saved, and other engines refuse it.
    pub fn made_for(&mut self, abi: &Arc<Abi>) {
        self.made_for = Some(abi.clone());
    }

    /// Adds the trampolines and links everything, for the [`Abi`](gc_types::Abi) of `compiler`.
    ///
    /// # Errors
    /// If a called function is not defined, if the [`Abi`](gc_types::Abi) does not have a host
    /// call, or if the code is too large for direct calls.
    pub fn link(mut self, compiler: &Compiler) -> Result<CodeImage> {
        let calls = self.functions.values().flat_map(|(_, function)| &function.relocs);
        let calls = calls.filter_map(|reloc| match reloc.target {
            RelocTarget::HostCall(index) => Some(HostCall::from_index(index)),
            _ => None,
        });
        self.host_calls.extend(calls.collect::<Vec<_>>());
        self.link_parts(compiler, None)
    }

    /// Links everything but the trampolines of host calls and the words of types, which are elsewhere: a system
    /// linker knows their addresses. Only the host calls that were [added](ImageLinker::host_call) are in the
    /// image. Each call that may collect has a stack map, also one without references.
    ///
    /// The code does not end at a page boundary. It runs where the system linker puts it.
    ///
    /// # Errors
    /// As for [`link`](ImageLinker::link).
    pub fn link_object(self, compiler: &Compiler) -> Result<ObjectCode> {
        let (mut relocs, mut frames) = (Vec::new(), Vec::new());
        let image = self.link_parts(compiler, Some((&mut relocs, &mut frames)))?;
        Ok(ObjectCode { image, relocs, frames })
    }

    /// Links. With `outside`, what is elsewhere is listed there, and the frames of functions.
    fn link_parts(
        mut self,
        compiler: &Compiler,
        mut outside: Option<(&mut Vec<ObjectReloc>, &mut Vec<ObjectFrame>)>,
    ) -> Result<CodeImage> {
        self.add_host_calls(compiler)?;
        let signatures: BTreeSet<_> = self.entries.union(&self.exits).cloned().collect();
        for (number, signature) in (0..).zip(&signatures) {
            if self.entries.contains(signature) {
                let function = trampoline::entry(compiler, signature)?;
                let name = format!("entry {signature}");
                self.functions.insert(FunctionId::Entry(number), (name, function));
            }
            if self.exits.contains(signature) {
                let function = trampoline::exit(compiler, signature)?;
                let name = format!("exit {signature}");
                self.functions.insert(FunctionId::Exit(number), (name, function));
            }
        }

        let mut image = CodeImageBuilder::new(signatures);
        if let Some(abi) = &self.made_for {
            image.made_for(abi);
        }
        let mut code = Vec::new();
        let mut starts = BTreeMap::new();
        for (id, (name, function)) in &self.functions {
            ensure!(
                outside.is_none() || u64::from(function.alignment) <= ObjectCode::ALIGNMENT,
                "function {name} must be aligned to {} bytes",
                function.alignment
            );
            let start = code.len().next_multiple_of(function.alignment as usize);
            ensure!(
                start + function.code.len() <= i32::MAX as usize,
                "the code exceeds 2 GiB at function {name}"
            );
            code.resize(start, machine::PADDING);
            code.extend_from_slice(&function.code);
            let start = start as u32;
            starts.insert(*id, start);
            image.function(ImageFunction {
                id: *id,
                name: name.clone(),
                offset: start,
                size: function.size(),
                vmctx_slot: function.vmctx_slot,
                saved: function.saved,
            });
            if let Some((_, frames)) = &mut outside {
                let (size, steps) = (function.size(), function.frame.clone());
                frames.push(ObjectFrame { offset: start, size, steps });
            }
            for (at, trap) in &function.traps {
                image.trap(start + at, *trap);
            }
            let mut first_call = None;
            for call in &function.inlined_calls {
                let caller = call.caller.zip(first_call).map(|(caller, first)| first + caller);
                let number = image.inlined_call(InlinedCall { caller, ..*call });
                first_call.get_or_insert(number);
            }
            for CodeLocation { first, end, location, call } in &function.locations {
                let call = call.zip(first_call).map(|(call, first)| first + call);
                image.location(start + first, start + end, *location, call);
            }
            for site in &function.handlers {
                let moved = site.handlers.iter();
                let moved = moved.map(|(catches, at)| (catches.moved(start), start + at));
                image.handler(HandlerSite {
                    ret_addr: start + site.ret_addr,
                    frame_offset: site.frame_offset,
                    handlers: moved.collect(),
                });
            }
            let mut maps: BTreeMap<u32, (u32, &[u32])> = BTreeMap::new();
            if outside.is_some() {
                maps.extend(function.calls.iter().map(|ret_addr| (*ret_addr, (0, &[][..]))));
            }
            let with_slots = function.stack_maps.iter();
            maps.extend(with_slots.map(|(ret_addr, size, slots)| (*ret_addr, (*size, &**slots))));
            for (ret_addr, (frame_size, slots)) in maps {
                image.stack_map(start + ret_addr, frame_size, slots.iter().copied());
            }
        }
        // The return address of a call at the end is inside the image too.
        let end = match outside {
            Some(_) => 16,
            None => CodeImage::PAGE_SIZE as usize,
        };
        code.resize((code.len() + 1).next_multiple_of(end), machine::PADDING);

        let words: BTreeSet<u32> = self
            .functions
            .values()
            .flat_map(|(_, function)| &function.relocs)
            .filter_map(|reloc| match reloc.target {
                RelocTarget::TypeWord(code) => Some(code),
                _ => None,
            })
            .collect();
        let mut words_at = BTreeMap::new();
        for (number, word) in (0..).zip(words) {
            let known = TypeWord::from_code(word).context("an unknown type word")?;
            image.type_word(known);
            words_at.insert(word, number);
        }
        let code_end = code.len() as u32;

        for (id, (name, function)) in &self.functions {
            let start = starts[id];
            for reloc in &function.relocs {
                let elsewhere = match reloc.target {
                    RelocTarget::TypeWord(code) => {
                        words_at.get(&code).map(|n| ObjectTarget::TypeWord(*n))
                    }
                    RelocTarget::HostCall(index) => {
                        let call = HostCall::from_index(index);
                        let is_here = starts.contains_key(&FunctionId::HostCall(call));
                        (!is_here).then_some(ObjectTarget::HostCall(call))
                    }
                    RelocTarget::Symbol(symbol) => Some(ObjectTarget::Symbol(symbol)),
                    RelocTarget::Function(_) | RelocTarget::Itself(_) => None,
                };
                if let (Some((relocs, _)), Some(target)) = (&mut outside, elsewhere) {
                    let is_word = matches!(target, ObjectTarget::TypeWord(_));
                    ensure!(
                        machine::is_load_of_address(reloc.kind) == is_word,
                        "{name} has a relocation of the kind {:?}, which no object has",
                        reloc.kind
                    );
                    let (offset, addend) = (start + reloc.offset, reloc.addend);
                    relocs.push(ObjectReloc { offset, target, addend });
                    continue;
                }
                let target = match reloc.target {
                    RelocTarget::Itself(offset) => Some(start + offset),
                    RelocTarget::Symbol(_) => {
                        bail!("only code of an object can call {name}")
                    }
                    RelocTarget::TypeWord(code) => {
                        words_at.get(&code).map(|number| code_end + 8 * number)
                    }
                    RelocTarget::Function(index) => {
                        starts.get(&FunctionId::Function(index)).copied()
                    }
                    RelocTarget::HostCall(index) => {
                        starts.get(&FunctionId::HostCall(HostCall::from_index(index))).copied()
                    }
                };
                // There is a table of type words, and none of functions.
                let is_word = matches!(reloc.target, RelocTarget::TypeWord(_));
                ensure!(
                    is_word || !machine::is_load_of_address(reloc.kind),
                    "{name} takes the address of {:?}, which compiled code can only call",
                    reloc.target
                );
                let target = target.ok_or_else(|| {
                    anyhow!("{name} calls {:?}, which is not defined", reloc.target)
                })?;
                machine::apply_reloc(
                    &mut code,
                    start + reloc.offset,
                    reloc.kind,
                    i64::from(target) + reloc.addend,
                )
                .with_context(|| format!("cannot link {name}"))?;
            }
        }
        Ok(image.finish(&code, compiler.abi())?)
    }

    fn add_host_calls(&mut self, compiler: &Compiler) -> Result<()> {
        for call in std::mem::take(&mut self.host_calls) {
            let signature = compiler
                .abi()
                .host_call(call)
                .ok_or_else(|| anyhow!("host call {} has no signature", call.index()))?;
            let function = trampoline::host_call(compiler, call, signature)?;
            let name = format!("host call {}", signature.name);
            self.functions.insert(FunctionId::HostCall(call), (name, function));
        }
        Ok(())
    }
}
