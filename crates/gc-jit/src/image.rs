//! [`CodeImage`]: functions linked into one position-independent piece of code,
//! with the tables that traps, stack walks and backtraces need. Nothing in it is an
//! absolute address: it can be published anywhere, more than once, and on another
//! day.

use crate::compile::{CompiledFunction, HandlerSite, JitCompiler, RelocTarget};
use crate::{arch, trampoline};
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use gc_types::{HostCall, HostSignature, StackMapTable, StackMapTableBuilder, Trap};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Which function of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FunctionId {
    /// One the embedder defined.
    Function(u32),
    /// The trampoline of a host call.
    HostCall(HostCall),
}

/// A function of an image.
#[derive(Clone, Debug)]
pub struct FunctionInfo {
    /// Which.
    pub id: FunctionId,
    /// Its name, for backtraces and disassembly.
    pub name: String,
    /// Bytes from the image's start.
    pub offset: u32,
    /// Its code's size in bytes.
    pub size: u32,
    /// Bytes from its vmctx slot up to the frame pointer, if it has that slot.
    pub(crate) vmctx_slot: Option<u32>,
}

/// Linked code and its tables.
#[derive(Clone, Debug)]
pub struct CodeImage {
    pub(crate) code: Vec<u8>,
    /// Ascending by offset.
    pub(crate) functions: Vec<FunctionInfo>,
    /// Offset of each function of the embedder's, by index.
    pub(crate) offsets: BTreeMap<u32, u32>,
    /// `(code offset, trap)`, ascending.
    pub(crate) traps: Vec<(u32, Trap)>,
    pub(crate) stack_maps: StackMapTable,
    /// `(first, end, source location)`, ascending.
    pub(crate) srclocs: Vec<(u32, u32, u32)>,
    /// Ascending by return address.
    pub(crate) handlers: Vec<HandlerSite>,
}

impl CodeImage {
    /// The code.
    pub fn code(&self) -> &[u8] {
        &self.code
    }

    /// The functions, ascending by offset.
    pub fn functions(&self) -> &[FunctionInfo] {
        &self.functions
    }

    /// Where the embedder's function `index` begins, in bytes from the image's start.
    pub fn function_offset(&self, index: u32) -> Option<u32> {
        self.offsets.get(&index).copied()
    }

    /// All stack maps, by return-address offset.
    pub fn stack_maps(&self) -> &StackMapTable {
        &self.stack_maps
    }

    /// The function that the byte at `offset` belongs to.
    pub fn function_at(&self, offset: u32) -> Option<&FunctionInfo> {
        let i = self.functions.partition_point(|f| f.offset <= offset).checked_sub(1)?;
        let function = &self.functions[i];
        (offset < function.offset + function.size).then_some(function)
    }

    /// The trap that the instruction at `offset` raises.
    pub fn trap_at(&self, offset: u32) -> Option<Trap> {
        let i = self.traps.binary_search_by_key(&offset, |(at, _)| *at).ok()?;
        Some(self.traps[i].1)
    }

    /// The source location of the instruction at `offset`.
    pub fn srcloc_at(&self, offset: u32) -> Option<u32> {
        let i = self.srclocs.partition_point(|(first, ..)| *first <= offset).checked_sub(1)?;
        let (_, end, srcloc) = self.srclocs[i];
        (offset < end).then_some(srcloc)
    }
}

/// Links compiled functions into an image.
#[derive(Debug, Default)]
pub struct CodeImageBuilder {
    functions: BTreeMap<FunctionId, (String, Arc<CompiledFunction>)>,
}

impl CodeImageBuilder {
    /// An empty image.
    pub fn new() -> CodeImageBuilder {
        CodeImageBuilder::default()
    }

    /// Adds the function that calls name by `index`. The order does not matter.
    ///
    /// # Errors
    /// If there is one of that index.
    pub fn define(&mut self, index: u32, name: String, function: CompiledFunction) -> Result<()> {
        let id = FunctionId::Function(index);
        if let Some((first, _)) = self.functions.get(&id) {
            bail!("function {index} is defined twice: as {first} and as {name}");
        }
        self.functions.insert(id, (name, Arc::new(function)));
        Ok(())
    }

    /// Adds the trampolines of all host calls that occur and links. `embedder_calls`
    /// tells the signatures of the embedder's own host calls.
    ///
    /// # Errors
    /// If a call names a function that is not defined or a host call without a
    /// signature, or the code is too large for direct calls.
    pub fn finish(
        mut self,
        compiler: &JitCompiler,
        embedder_calls: &dyn Fn(HostCall) -> Option<HostSignature>,
    ) -> Result<CodeImage> {
        self.add_host_trampolines(compiler, embedder_calls)?;

        let mut image = CodeImage {
            code: Vec::new(),
            functions: Vec::with_capacity(self.functions.len()),
            offsets: BTreeMap::new(),
            traps: Vec::new(),
            stack_maps: StackMapTable::default(),
            srclocs: Vec::new(),
            handlers: Vec::new(),
        };
        let mut stack_maps = StackMapTableBuilder::default();
        let mut starts = BTreeMap::new();
        for (id, (name, function)) in &self.functions {
            let start = image.code.len().next_multiple_of(function.alignment as usize);
            ensure!(
                start + function.code.len() <= i32::MAX as usize,
                "the code passes 2 GiB at function {name}"
            );
            image.code.resize(start, arch::PADDING);
            image.code.extend_from_slice(&function.code);
            let start = start as u32;
            starts.insert(*id, start);
            if let FunctionId::Function(index) = id {
                image.offsets.insert(*index, start);
            }
            image.functions.push(FunctionInfo {
                id: *id,
                name: name.clone(),
                offset: start,
                size: function.size(),
                vmctx_slot: function.vmctx_slot,
            });
            image.traps.extend(function.traps.iter().map(|(at, trap)| (start + at, *trap)));
            image
                .srclocs
                .extend(function.srclocs.iter().map(|(a, b, loc)| (start + a, start + b, *loc)));
            image.handlers.extend(function.handlers.iter().map(|site| HandlerSite {
                ret_addr: start + site.ret_addr,
                frame_offset: site.frame_offset,
                handlers: site.handlers.iter().map(|(tag, at)| (*tag, start + at)).collect(),
            }));
            for (ret_addr, frame_size, slots) in &function.stack_maps {
                stack_maps.add(start + ret_addr, *frame_size, slots.iter().copied());
            }
        }
        // The return address of a call at the very end is then inside the image too.
        image.code.resize((image.code.len() + 1).next_multiple_of(16), arch::PADDING);
        image.stack_maps = stack_maps.finish();

        for (id, (name, function)) in &self.functions {
            let start = starts[id];
            for reloc in &function.relocs {
                let target = match reloc.target {
                    RelocTarget::Itself(offset) => Some(start + offset),
                    RelocTarget::Function(index) => {
                        starts.get(&FunctionId::Function(index)).copied()
                    }
                    RelocTarget::HostCall(index) => {
                        starts.get(&FunctionId::HostCall(HostCall::from_index(index))).copied()
                    }
                };
                let target = target.ok_or_else(|| {
                    anyhow!("{name} calls {:?}, which is not defined", reloc.target)
                })?;
                arch::apply_reloc(
                    &mut image.code,
                    start + reloc.offset,
                    reloc.kind,
                    i64::from(target) + reloc.addend,
                )
                .with_context(|| format!("cannot link {name}"))?;
            }
        }
        Ok(image)
    }

    fn add_host_trampolines(
        &mut self,
        compiler: &JitCompiler,
        embedder_calls: &dyn Fn(HostCall) -> Option<HostSignature>,
    ) -> Result<()> {
        let calls: BTreeSet<HostCall> = self
            .functions
            .values()
            .flat_map(|(_, function)| &function.relocs)
            .filter_map(|reloc| match reloc.target {
                RelocTarget::HostCall(index) => Some(HostCall::from_index(index)),
                _ => None,
            })
            .collect();
        for call in calls {
            let signature = call
                .gc_signature()
                .copied()
                .or_else(|| embedder_calls(call))
                .ok_or_else(|| anyhow!("host call {} has no signature", call.index()))?;
            let function = trampoline::host_call(compiler, call, &signature)?;
            self.functions.insert(
                FunctionId::HostCall(call),
                (format!("host call {}", signature.name), function),
            );
        }
        Ok(())
    }
}
