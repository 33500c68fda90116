//! [`ImageLinker`] links compiled functions and the trampolines that they need into one
//! position-independent image.

use super::compile::Compiler;
use super::frame::ObjectFrame;
use super::function::CompiledFunction;
use super::reloc::{Reloc, RelocTarget};
use super::trampoline;
use crate::inline::CodeLocation;
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use cranelift_codegen::control::ControlPlane;
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
    force_veneers: bool,
}

/// The function or trampoline that a relocation refers to.
fn callee(target: RelocTarget) -> Option<FunctionId> {
    match target {
        RelocTarget::Function(index) => Some(FunctionId::Function(index)),
        RelocTarget::HostCall(index) => Some(FunctionId::HostCall(HostCall::from_index(index))),
        RelocTarget::TypeWord(_) | RelocTarget::Symbol(_) | RelocTarget::Itself(_) => None,
    }
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

/// A place in an object's code that a system linker fills in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectReloc {
    /// The place, in bytes from the code's start.
    pub offset: u32,
    /// The type of the relocation in ELF for the processor. The instruction loads a word of a type, or calls the target.
    pub elf_type: u32,
    /// The target.
    pub target: ObjectTarget,
    /// What is added to the target's address.
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

    /// Lets calls go to jumps between functions, as if their callees were too far away for direct calls, where the processor
    /// has such jumps. This is for tests: real code of that size takes minutes to compile.
    pub fn force_veneers(&mut self) {
        self.force_veneers = true;
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
        let arch = compiler.arch();
        let (mut code, starts) = self.place(compiler)?;
        for (id, (name, function)) in &self.functions {
            ensure!(
                outside.is_none() || u64::from(function.alignment) <= ObjectCode::ALIGNMENT,
                "function {name} must be aligned to {} bytes",
                function.alignment
            );
            let start = starts[id];
            image.function(ImageFunction {
                id: *id,
                name: name.clone(),
                offset: start,
                size: function.size(),
                vmctx_slot: function.vmctx_slot,
                saved: function.saved.clone(),
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
            None => arch.processor().page_size() as usize,
        };
        code.resize((code.len() + 1).next_multiple_of(end), arch.padding().unwrap_or(0));

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
            for Reloc { offset, kind, target, addend } in &function.relocs {
                let offset = start + offset;
                let (outer, inner) = match *target {
                    // The others are in place.
                    target if callee(target).is_some_and(|id| starts.contains_key(&id)) => continue,
                    RelocTarget::Itself(at) => (None, Some(start + at)),
                    RelocTarget::TypeWord(word) => {
                        let number = words_at[&word];
                        (Some(ObjectTarget::TypeWord(number)), Some(code_end + 8 * number))
                    }
                    RelocTarget::HostCall(index) => {
                        (Some(ObjectTarget::HostCall(HostCall::from_index(index))), None)
                    }
                    RelocTarget::Symbol(symbol) => (Some(ObjectTarget::Symbol(symbol)), None),
                    RelocTarget::Function(_) => (None, None),
                };
                // There is a table of type words, and none of functions.
                ensure!(
                    arch.is_load(*kind) == matches!(target, RelocTarget::TypeWord(_)),
                    "{name} takes the address of {target:?}, which compiled code can only call"
                );
                if let (Some((relocs, _)), Some(target)) = (&mut outside, outer) {
                    let elf_type = arch.elf_type(*kind);
                    let elf_type = elf_type.with_context(|| {
                        format!("{name} has a relocation of the kind {kind:?}, which no object has")
                    })?;
                    relocs.push(ObjectReloc { offset, elf_type, target, addend: *addend });
                    continue;
                }
                let inner = match (target, inner) {
                    (_, Some(inner)) => inner,
                    (RelocTarget::Symbol(_), _) => bail!("only code of an object can call {name}"),
                    _ => bail!("{name} calls {target:?}, which is not defined"),
                };
                arch.apply(&mut code, offset, *kind, i64::from(inner) + addend)
                    .with_context(|| format!("cannot link {name}"))?;
            }
        }
        Ok(image.finish(&code, compiler.abi())?)
    }

    /// Places the functions one after the other, and makes their calls of each other. If one is too far away for a direct
    /// call, the call goes to a jump between two functions (a veneer). Returns the code, and where each function begins.
    fn place(&self, compiler: &Compiler) -> Result<(Vec<u8>, BTreeMap<FunctionId, u32>)> {
        let labels: BTreeMap<_, _> = self.functions.keys().copied().zip(0..).collect();
        let mut text = compiler.isa().text_section_builder(labels.len());
        if self.force_veneers {
            text.force_veneers();
        }
        let control = &mut ControlPlane::default();
        let (mut starts, mut gaps, mut end) = (BTreeMap::new(), Vec::new(), 0);
        for (id, (name, function)) in &self.functions {
            let most = end as usize + function.alignment as usize + function.code.len();
            ensure!(most <= i32::MAX as usize, "the code exceeds 2 GiB at function {name}");
            let start = text.append(true, &function.code, function.alignment, control) as u32;
            starts.insert(*id, start);
            gaps.push(end as usize..start as usize);
            end = start + function.size();
            for reloc in &function.relocs {
                let label = callee(reloc.target).and_then(|id| labels.get(&id));
                let Some(label) = label else { continue };
                let at = (start + reloc.offset).into();
                ensure!(
                    text.resolve_reloc(at, reloc.kind, reloc.addend, *label),
                    "{name} takes the address of {:?}, which compiled code can only call",
                    reloc.target
                );
            }
        }
        let mut code = text.finish(control);
        if let Some(padding) = compiler.arch().padding() {
            // There are no jumps between functions on this processor.
            gaps.into_iter().for_each(|gap| code[gap].fill(padding));
        }
        Ok((code, starts))
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
