//! Runs emitted functions with a heap, the native structures around it, and a log of host calls.
//! The trampolines of host calls are compiled here. They obey the `PreserveAll` contract, log their
//! arguments and return the value that the test has set.

use super::{RawArgs, build, host_isa};
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData, UserFuncName, types};
use cranelift_codegen::{Context, FinalizedRelocTarget};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use gc_compiler::{GcCompiler, host_call_signature};
use gc_types::{Abi, HeapDataOffsets, HostCall, NULL_PAGE_SIZE, TypeIndex, VMGcKind, VMOffsets};

const O: VMOffsets = VMOffsets::HOST;
const HEAP_SIZE: usize = 1 << 20;

/// Words in the log for each call: its index and five arguments. The log begins with the number of
/// calls.
const CALL_WORDS: usize = 6;

/// A host call that was made, with its arguments.
pub(crate) type Call = (HostCall, Vec<u64>);

/// Everything compiled code reaches from its vmctx.
pub(crate) struct Machine {
    vmctx: Vec<u64>,
    store_context: Vec<u64>,
    heap_data: Vec<u64>,
    heap: Vec<u8>,
    displays: Vec<u32>,
    func_refs: Vec<u64>,
    log: Vec<u64>,
}

/// The index of the word of the vmctx that has the log's address.
const VMCTX_LOG: usize = 8;

impl Machine {
    /// The declared number of ids in the table of function references. The table has one more entry
    /// after these.
    pub(crate) const FUNC_REFS: usize = 16;

    pub(crate) fn new() -> Machine {
        let mut machine = Machine {
            vmctx: vec![0; 16],
            store_context: vec![0; 16],
            heap_data: vec![0; HeapDataOffsets::SIZE as usize / 8],
            heap: vec![0; HEAP_SIZE],
            displays: vec![0; VMOffsets::DISPLAY_TABLE_SIZE as usize / 4],
            func_refs: vec![0; Machine::FUNC_REFS + 1],
            log: vec![0; 1 + 64 * CALL_WORDS],
        };
        machine.vmctx[O.vmctx_heap_base() as usize / 8] = machine.heap.as_mut_ptr() as u64;
        machine.vmctx[O.vmctx_heap_data() as usize / 8] = machine.heap_data.as_mut_ptr() as u64;
        machine.vmctx[O.vmctx_store_context() as usize / 8] =
            machine.store_context.as_mut_ptr() as u64;
        machine.vmctx[VMCTX_LOG] = machine.log.as_mut_ptr() as u64;
        machine.store_context[O.store_type_displays() as usize / 8] =
            machine.displays.as_mut_ptr() as u64;
        machine.store_context[O.store_func_refs() as usize / 8] =
            machine.func_refs.as_mut_ptr() as u64;
        machine.store_context[O.store_func_refs_len() as usize / 8] = Machine::FUNC_REFS as u64;
        machine.set_data_u64(HeapDataOffsets::BOUND, HEAP_SIZE as u64);
        machine
    }

    /// What host calls return from now on.
    pub(crate) fn host_returns(&mut self, value: u64) {
        self.store_context[O.store_host_result() as usize / 8] = value;
    }

    pub(crate) fn data_u32(&self, offset: u32) -> u32 {
        let word = self.heap_data[offset as usize / 8];
        (word >> (8 * (offset % 8))) as u32
    }

    pub(crate) fn set_data_u32(&mut self, offset: u32, value: u32) {
        let word = &mut self.heap_data[offset as usize / 8];
        let shift = 8 * (offset % 8);
        *word = (*word & !(0xffff_ffff << shift)) | (u64::from(value) << shift);
    }

    pub(crate) fn set_data_u64(&mut self, offset: u32, value: u64) {
        self.heap_data[offset as usize / 8] = value;
    }

    pub(crate) fn u32(&self, at: u32) -> u32 {
        u32::from_le_bytes(self.bytes(at))
    }

    pub(crate) fn bytes<const N: usize>(&self, at: u32) -> [u8; N] {
        self.heap[at as usize..][..N].try_into().unwrap()
    }

    pub(crate) fn set_u32(&mut self, at: u32, value: u32) {
        self.set_bytes(at, &value.to_le_bytes());
    }

    pub(crate) fn set_bytes(&mut self, at: u32, bytes: &[u8]) {
        self.heap[at as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    /// The address of heap index `at`.
    pub(crate) fn native_address(&mut self, at: u32) -> u64 {
        self.heap[at as usize..].as_mut_ptr() as u64
    }

    /// Puts an object's header at heap index `at`.
    pub(crate) fn object(&mut self, at: u32, kind: VMGcKind, ty: TypeIndex, collector: u32) {
        assert!(at >= NULL_PAGE_SIZE);
        self.set_u32(at, ty.header_word(kind));
        self.set_u32(at + 4, collector);
    }

    /// Fills the display row of type `ty` with these ancestors, the root first and the type itself
    /// last.
    pub(crate) fn display(&mut self, ty: u32, ancestors: &[u32]) {
        let row = (ty * VMOffsets::DISPLAY_ROW) as usize;
        for (depth, ancestor) in ancestors.iter().take(VMOffsets::DISPLAY_ROW as usize).enumerate()
        {
            self.displays[row + depth] = ancestor + 1;
        }
    }

    /// Enters a function reference's address into the table.
    pub(crate) fn func_ref(&mut self, id: usize, address: u64) {
        self.func_refs[id] = address;
    }

    /// The host calls made since the last call of this method.
    pub(crate) fn calls(&mut self) -> Vec<Call> {
        let count = std::mem::take(&mut self.log[0]) as usize;
        self.log[1..]
            .chunks(CALL_WORDS)
            .take(count)
            .map(|words| {
                let call = HostCall::from_index(words[0] as u32);
                let params = call.gc_signature().unwrap().params.len();
                (call, words[1..=params].to_vec())
            })
            .collect()
    }

    /// Runs `code`.
    pub(crate) fn run(&mut self, code: &Code, args: &mut RawArgs) -> u64 {
        // SAFETY: the code is a function of this type. It accesses memory only through `args` and
        // the vmctx, whose pointers refer to vectors that `self` keeps.
        unsafe {
            let entry: extern "C" fn(*mut u64, *mut RawArgs) -> u64 =
                std::mem::transmute(code.memory.as_ptr::<u8>());
            entry(self.vmctx.as_mut_ptr(), args)
        }
    }

    /// Runs `code` in a child process. Returns the signal that ended it, if there was one.
    pub(crate) fn signal(&mut self, code: &Code, args: &mut RawArgs) -> Option<i32> {
        // SAFETY: the child only runs emitted code and then ends. That code calls nothing that
        // could depend on other threads.
        unsafe {
            let child = libc::fork();
            assert!(child >= 0);
            if child == 0 {
                self.run(code, args);
                libc::_exit(0);
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &mut status, 0), child);
            libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status))
        }
    }
}

/// A compiled function, linked with the trampolines.
pub(crate) struct Code {
    memory: region::Allocation,
}

impl Code {
    pub(crate) fn new(compiler: &dyn GcCompiler, options: &Abi, op: super::Op<'_>) -> Code {
        let isa = host_isa();
        let compile = |func| {
            let mut context = Context::for_function(func);
            let compiled = context.compile(&*isa, &mut Default::default()).unwrap();
            let code = compiled.code_buffer().to_vec();
            let relocs: Vec<_> = compiled.buffer.relocs().to_vec();
            (code, relocs, context.func)
        };
        let control = &mut Default::default();
        let (code, relocs, func) = compile(build(&isa, compiler, options, op));
        let mut text = isa.text_section_builder(1 + relocs.len());
        text.append(true, &code, 16, control);
        for (label, reloc) in (1..).zip(relocs) {
            let FinalizedRelocTarget::ExternalName(ir::ExternalName::User(name)) = reloc.target
            else {
                panic!("only host calls are linked")
            };
            let call = HostCall::from_index(func.params.user_named_funcs()[name].index);
            let is_call = text.resolve_reloc(reloc.offset.into(), reloc.kind, reloc.addend, label);
            assert!(is_call, "{:?}", reloc.kind);
            let (code, relocs, _) = compile(trampoline(call));
            assert!(relocs.is_empty());
            text.append(true, &code, 16, control);
        }
        let image = text.finish(control);
        let mut memory =
            region::alloc(image.len(), region::Protection::READ_WRITE_EXECUTE).unwrap();
        // SAFETY: the allocation is at least as long as the image.
        unsafe { memory.as_mut_ptr::<u8>().copy_from(image.as_ptr(), image.len()) };
        #[cfg(target_arch = "aarch64")]
        {
            unsafe extern "C" {
                /// Makes new instructions visible, in the compiler's library.
                fn __clear_cache(start: *const u8, end: *const u8);
            }
            let range = memory.as_ptr_range::<u8>();
            // SAFETY: the range is mapped.
            unsafe { __clear_cache(range.start, range.end) };
        }
        Code { memory }
    }
}

fn trampoline(call: HostCall) -> ir::Function {
    let signature = host_call_signature(call.gc_signature().unwrap());
    let mut func =
        ir::Function::with_name_signature(UserFuncName::user(1, call.index()), signature);
    let mut context = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut func, &mut context);
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    builder.seal_block(entry);
    let params = builder.block_params(entry).to_vec();
    let flags = MemFlagsData::trusted();
    let log = builder.ins().load(types::I64, flags, params[0], (VMCTX_LOG * 8) as i32);
    let count = builder.ins().load(types::I64, flags, log, 0);
    let next = builder.ins().iadd_imm_u(count, 1);
    builder.ins().store(flags, next, log, 0);
    let at = builder.ins().imul_imm_u(count, (CALL_WORDS * 8) as i64);
    let at = builder.ins().iadd(log, at);
    let index = builder.ins().iconst(types::I64, i64::from(call.index()));
    builder.ins().store(flags, index, at, 8);
    for (i, &param) in params[1..].iter().enumerate() {
        let wide = match builder.func.dfg.value_type(param) {
            types::I64 => param,
            _ => builder.ins().uextend(types::I64, param),
        };
        builder.ins().store(flags, wide, at, 16 + 8 * i as i32);
    }
    builder.ins().return_(&[]);
    builder.finalize(host_isa().frontend_config());
    func
}
