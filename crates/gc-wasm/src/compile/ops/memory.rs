//! Linear memory.
//!
//! Memories are guarded. Each reserves the 4 GiB that an address can reach and 2 GiB after them.
//! The part after the memory is unmapped. So an access with a constant offset smaller than the
//! guard needs no check: outside the memory it faults. For larger offsets the address is compared
//! with the length.

use crate::compile::env;
use crate::compile::translate::Translator;
use crate::host_calls;
use crate::vm::layout::Place;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, Endianness, InstBuilder, MemFlagsData, Opcode, types};
use gc_types::{HostCall, Trap};
use wasmparser::{MemArg, Operator};

/// Constant offsets below this need no check, because the guard has room for the offset and the
/// widest access.
const UNCHECKED_OFFSETS: u64 = (2 << 30) - 16;

impl Translator<'_, '_> {
    /// Emits `op` if it is an operator on memories. Returns whether it is.
    pub(super) fn memory(&mut self, op: &Operator<'_>) -> bool {
        use Operator::*;
        use types::{F32, F64, I32, I64};
        match op {
            I32Load { memarg } => self.mem_load(memarg, Opcode::Load, I32, 4),
            I64Load { memarg } => self.mem_load(memarg, Opcode::Load, I64, 8),
            F32Load { memarg } => self.mem_load(memarg, Opcode::Load, F32, 4),
            F64Load { memarg } => self.mem_load(memarg, Opcode::Load, F64, 8),
            I32Load8S { memarg } => self.mem_load(memarg, Opcode::Sload8, I32, 1),
            I32Load8U { memarg } => self.mem_load(memarg, Opcode::Uload8, I32, 1),
            I32Load16S { memarg } => self.mem_load(memarg, Opcode::Sload16, I32, 2),
            I32Load16U { memarg } => self.mem_load(memarg, Opcode::Uload16, I32, 2),
            I64Load8S { memarg } => self.mem_load(memarg, Opcode::Sload8, I64, 1),
            I64Load8U { memarg } => self.mem_load(memarg, Opcode::Uload8, I64, 1),
            I64Load16S { memarg } => self.mem_load(memarg, Opcode::Sload16, I64, 2),
            I64Load16U { memarg } => self.mem_load(memarg, Opcode::Uload16, I64, 2),
            I64Load32S { memarg } => self.mem_load(memarg, Opcode::Sload32, I64, 4),
            I64Load32U { memarg } => self.mem_load(memarg, Opcode::Uload32, I64, 4),
            I32Store { memarg } | F32Store { memarg } => self.mem_store(memarg, Opcode::Store, 4),
            I64Store { memarg } | F64Store { memarg } => self.mem_store(memarg, Opcode::Store, 8),
            I32Store8 { memarg } | I64Store8 { memarg } => {
                self.mem_store(memarg, Opcode::Istore8, 1);
            }
            I32Store16 { memarg } | I64Store16 { memarg } => {
                self.mem_store(memarg, Opcode::Istore16, 2);
            }
            I64Store32 { memarg } => self.mem_store(memarg, Opcode::Istore32, 4),

            MemorySize { mem } => {
                let bytes = self.memory_len(*mem);
                let page = i64::from(self.env.cx.info.memories[*mem as usize].page_size_log2);
                let pages = self.builder.ins().ushr_imm_u(bytes, page);
                let pages = self.builder.ins().ireduce(I32, pages);
                self.stack.push(pages);
            }
            MemoryGrow { mem } => {
                let delta = self.stack.pop();
                let memory = self.index(*mem);
                let mut e = self.emitter();
                e.call_host(host_calls::MEMORY_GROW, &[memory, delta]);
                let former = e.host_result_i32();
                self.stack.push(former);
            }
            MemoryFill { mem } => {
                let memory = self.index(*mem);
                self.bulk(host_calls::MEMORY_FILL, &[memory]);
            }
            MemoryInit { data_index, mem } => {
                let (memory, data) = (self.index(*mem), self.index(*data_index));
                self.bulk(host_calls::MEMORY_INIT, &[memory, data]);
            }
            MemoryCopy { dst_mem, src_mem } => {
                let (to, from, length) = self.stack.pop3();
                let (to_memory, from_memory) = (self.index(*dst_mem), self.index(*src_mem));
                let args = [to_memory, to, from_memory, from, length];
                self.emitter().call_host(host_calls::MEMORY_COPY, &args);
            }
            DataDrop { data_index } => {
                let data = self.index(*data_index);
                self.emitter().call_host(host_calls::DATA_DROP, &[data]);
            }
            _ => return false,
        }
        true
    }

    /// An index into one of the module's index spaces, as an argument.
    pub(super) fn index(&mut self, index: u32) -> ir::Value {
        self.builder.ins().iconst(types::I32, i64::from(index))
    }

    /// Pops three operands and calls the host with `first` and the operands.
    pub(super) fn bulk(&mut self, call: HostCall, first: &[ir::Value]) {
        let operands = self.stack.pop_n(3);
        self.emitter().call_host(call, &[first, &operands].concat());
    }

    /// The place of the definition of memory `index`: an address and an offset.
    fn memory_place(&mut self, index: u32) -> (ir::Value, u32) {
        let vmctx = self.env.vmctx;
        match self.env.cx.layout.memory(index) {
            Place::Inline(offset) => (vmctx, offset),
            Place::Indirect(offset) => (self.load(types::I64, env::IMPORTS, vmctx, offset), 0),
        }
    }

    /// The length of memory `index` in bytes (`I64`).
    fn memory_len(&mut self, index: u32) -> ir::Value {
        let (place, offset) = self.memory_place(index);
        let offset = offset + self.env.cx.layout.definition_len();
        self.load(types::I64, env::MEMORY_DEFINITION, place, offset)
    }

    /// The flags, address and constant offset of an access of `size` bytes at the
    /// operand `index`.
    fn mem_address(
        &mut self,
        memarg: &MemArg,
        index: ir::Value,
        size: u64,
    ) -> (MemFlagsData, ir::Value, i32) {
        let region = env::intern(self.builder.func, env::MEMORY);
        let flags = MemFlagsData::new()
            .with_endianness(Endianness::Little)
            .with_trap_code(Some(gc_compiler::trap_code(Trap::MemoryOutOfBounds)))
            .with_alias_region(Some(region));
        self.env.uses_memory |= memarg.memory == 0;
        let (place, at) = self.memory_place(memarg.memory);
        let at = at + self.env.cx.layout.definition_base();
        let base = self.load(types::I64, env::MEMORY_DEFINITION, place, at);
        let index = self.builder.ins().uextend(types::I64, index);
        if memarg.offset < UNCHECKED_OFFSETS {
            let address = self.builder.ins().iadd(base, index);
            return (flags, address, memarg.offset as i32);
        }
        // Offsets of 32-bit memories have 32 bits, so the sums do not wrap.
        let offset = self.builder.ins().iconst(types::I64, memarg.offset.cast_signed());
        let start = self.builder.ins().iadd(index, offset);
        let end = self.builder.ins().iadd_imm_u(start, size.cast_signed());
        let length = self.memory_len(memarg.memory);
        let outside = self.builder.ins().icmp(IntCC::UnsignedGreaterThan, end, length);
        self.trap_if(outside, Trap::MemoryOutOfBounds);
        let address = self.builder.ins().iadd(base, start);
        (flags, address, 0)
    }

    fn mem_load(&mut self, memarg: &MemArg, opcode: Opcode, ty: ir::Type, size: u64) {
        let index = self.stack.pop();
        let (flags, address, offset) = self.mem_address(memarg, index, size);
        let ins = self.builder.ins();
        let value = match opcode {
            Opcode::Uload8 => ins.uload8(ty, flags, address, offset),
            Opcode::Sload8 => ins.sload8(ty, flags, address, offset),
            Opcode::Uload16 => ins.uload16(ty, flags, address, offset),
            Opcode::Sload16 => ins.sload16(ty, flags, address, offset),
            Opcode::Uload32 => ins.uload32(flags, address, offset),
            Opcode::Sload32 => ins.sload32(flags, address, offset),
            _ => ins.load(ty, flags, address, offset),
        };
        self.stack.push(value);
    }

    fn mem_store(&mut self, memarg: &MemArg, opcode: Opcode, size: u64) {
        let (index, value) = self.stack.pop2();
        let (flags, address, offset) = self.mem_address(memarg, index, size);
        let ins = self.builder.ins();
        match opcode {
            Opcode::Istore8 => ins.istore8(flags, value, address, offset),
            Opcode::Istore16 => ins.istore16(flags, value, address, offset),
            Opcode::Istore32 => ins.istore32(flags, value, address, offset),
            _ => ins.store(flags, value, address, offset),
        };
    }
}
