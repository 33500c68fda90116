//! Linear memory.
//!
//! A memory has a reservation of address space and a guard after it. If the reservation covers every
//! 32-bit address, an access of a 32-bit memory with a constant offset smaller than the guard needs
//! no check: outside the memory it faults. Other accesses with such an offset compare the address
//! with the memory's length, and the guard covers the offset. For larger offsets the end of the
//! access is compared. See [`MemorySettings`](crate::vm::memory::MemorySettings).
//!
//! An access that traps changes nothing (WebAssembly 3.0, "Execution", "Memory Instructions"). Some processors may have
//! written a part of a store when the rest faults. There a load of the same bytes is before each store of more than one
//! byte, and the load traps. What the code has loaded or stored just before it does not load again: Cranelift's alias
//! analysis removes such a load.

use crate::compile::env;
use crate::compile::translate::Translator;
use crate::host_calls;
use crate::vm::layout::DefinitionPlace;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, Endianness, InstBuilder, MemFlagsData, Opcode, types};
use gc_types::Trap;
use wasmparser::{MemArg, Operator};
use wasmtime_types::IndexType;

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
                let pages = self.reduce(pages, self.memory_index(*mem));
                self.stack.push(pages);
            }
            MemoryGrow { mem } => {
                let delta = self.stack.pop();
                let delta = self.extend(delta);
                let memory = self.index(*mem);
                self.call_metered(host_calls::MEMORY_GROW, &[memory, delta]);
                let former = self.former_size(self.memory_index(*mem));
                self.stack.push(former);
            }
            MemoryFill { mem } => {
                let (at, byte, length) = self.stack.pop3();
                let (at, length) = (self.extend(at), self.extend(length));
                let memory = self.index(*mem);
                let args = [memory, at, byte, length];
                self.call_metered(host_calls::MEMORY_FILL, &args);
            }
            MemoryInit { data_index, mem } => {
                let (at, from, length) = self.stack.pop3();
                let at = self.extend(at);
                let (memory, data) = (self.index(*mem), self.index(*data_index));
                let args = [memory, data, at, from, length];
                self.call_metered(host_calls::MEMORY_INIT, &args);
            }
            MemoryCopy { dst_mem, src_mem } => {
                let (to, from, length) = self.stack.pop3();
                let [to, from, length] = [to, from, length].map(|operand| self.extend(operand));
                let (to_memory, from_memory) = (self.index(*dst_mem), self.index(*src_mem));
                let args = [to_memory, to, from_memory, from, length];
                self.call_metered(host_calls::MEMORY_COPY, &args);
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

    /// An address, an index or a length as 64 bits.
    pub(super) fn extend(&mut self, operand: ir::Value) -> ir::Value {
        match self.builder.func.dfg.value_type(operand) {
            types::I32 => self.builder.ins().uextend(types::I64, operand),
            _ => operand,
        }
    }

    /// A size (`I64`) as an operand of memories or tables with such indices.
    pub(super) fn reduce(&mut self, size: ir::Value, index: IndexType) -> ir::Value {
        match index {
            IndexType::I32 => self.builder.ins().ireduce(types::I32, size),
            IndexType::I64 => size,
        }
    }

    /// The result of the host call that has grown a memory or table: its old size or -1.
    pub(super) fn former_size(&mut self, index: IndexType) -> ir::Value {
        let former = self.emitter().host_result_i32();
        match index {
            IndexType::I32 => former,
            IndexType::I64 => self.builder.ins().sextend(types::I64, former),
        }
    }

    /// The type of addresses of a memory.
    fn memory_index(&self, memory: u32) -> IndexType {
        self.env.cx.info.memories[memory as usize].idx_type
    }

    /// The place of the definition of memory `index`: an address and an offset.
    fn memory_place(&mut self, index: u32) -> (ir::Value, u32) {
        let vmctx = self.env.vmctx;
        match self.env.cx.layout.memory(index) {
            DefinitionPlace::Inline(offset) => (vmctx, offset),
            DefinitionPlace::Indirect(offset) => {
                (self.load(types::I64, env::IMPORTS, vmctx, offset), 0)
            }
        }
    }

    /// The length of memory `index` in bytes (`I64`).
    fn memory_len(&mut self, index: u32) -> ir::Value {
        let (place, offset) = self.memory_place(index);
        let offset = offset + self.env.cx.layout.definition_len();
        self.load(types::I64, env::MEMORY_DEFINITION, place, offset)
    }

    /// Whether an access of `size` bytes with this constant offset traps at every address.
    fn is_always_outside(&self, memory: u32, offset: u64, size: u64) -> bool {
        let ty = &self.env.cx.info.memories[memory as usize];
        let pages = ty.limits.max.unwrap_or(u64::MAX);
        offset.saturating_add(size) > pages.saturating_mul(1 << ty.page_size_log2)
    }

    /// The flags, address and constant offset of an access of `size` bytes at the
    /// operand `index`.
    pub(super) fn mem_address(
        &mut self,
        memarg: &MemArg,
        index: ir::Value,
        size: u64,
    ) -> (MemFlagsData, ir::Value, i32) {
        let region = env::intern(self.builder.func, env::MEMORY);
        let out_of_bounds = gc_compiler::trap_code(Trap::MemoryOutOfBounds);
        let flags = MemFlagsData::new()
            .with_endianness(Endianness::Little)
            .with_trap_code(Some(out_of_bounds))
            .with_alias_region(Some(region));
        let (settings, memory) = (self.env.cx.memory, memarg.memory);
        let is_32 = self.memory_index(memory) == IndexType::I32;
        let is_guarded = memarg.offset < settings.guarded_offsets();
        let covers_all = is_32 && settings.covers_32_bits();
        if self.is_always_outside(memory, memarg.offset, size) {
            self.meter_leave();
        }
        let (place, at) = self.memory_place(memory);
        let at = at + self.env.cx.layout.definition_base();
        let base = self.load(types::I64, env::MEMORY_DEFINITION, place, at);
        let index = self.extend(index);
        if is_guarded {
            if !covers_all {
                // Between the length and the guard nothing is accessible.
                let length = self.memory_len(memory);
                let outside = self.builder.ins().icmp(IntCC::UnsignedGreaterThan, index, length);
                self.trap_if(outside, Trap::MemoryOutOfBounds);
            }
            let address = self.builder.ins().iadd(base, index);
            return (flags, address, memarg.offset as i32);
        }
        let offset = self.builder.ins().iconst(types::I64, memarg.offset.cast_signed());
        let (start, end) = if is_32 {
            // Offsets of 32-bit memories have 32 bits, so the sums do not wrap.
            let start = self.builder.ins().iadd(index, offset);
            (start, self.builder.ins().iadd_imm_u(start, size.cast_signed()))
        } else {
            let size = self.builder.ins().iconst(types::I64, size.cast_signed());
            let start = self.builder.ins().uadd_overflow_trap(index, offset, out_of_bounds);
            (start, self.builder.ins().uadd_overflow_trap(start, size, out_of_bounds))
        };
        let length = self.memory_len(memory);
        let outside = self.builder.ins().icmp(IntCC::UnsignedGreaterThan, end, length);
        self.trap_if(outside, Trap::MemoryOutOfBounds);
        let address = self.builder.ins().iadd(base, start);
        (flags, address, 0)
    }

    pub(super) fn mem_load(&mut self, memarg: &MemArg, opcode: Opcode, ty: ir::Type, size: u64) {
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

    pub(super) fn mem_store(&mut self, memarg: &MemArg, opcode: Opcode, size: u64) {
        let (index, value) = self.stack.pop2();
        let (flags, address, offset) = self.mem_address(memarg, index, size);
        if self.env.cx.loads_before_stores && size > 1 {
            let ty = self.builder.func.dfg.value_type(value);
            let ins = self.builder.ins();
            match opcode {
                Opcode::Istore16 => ins.uload16(ty, flags, address, offset),
                Opcode::Istore32 => ins.uload32(flags, address, offset),
                _ => ins.load(ty, flags, address, offset),
            };
        }
        let ins = self.builder.ins();
        match opcode {
            Opcode::Istore8 => ins.istore8(flags, value, address, offset),
            Opcode::Istore16 => ins.istore16(flags, value, address, offset),
            Opcode::Istore32 => ins.istore32(flags, value, address, offset),
            _ => ins.store(flags, value, address, offset),
        };
    }
}
