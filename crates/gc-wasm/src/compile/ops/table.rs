//! Tables. Elements are 32-bit references into the heap, which are read and written through the
//! collector, or addresses of function references.

use crate::compile::env;
use crate::compile::translate::Translator;
use crate::host_calls;
use crate::vm::layout::DefinitionPlace;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, types};
use gc_compiler::RefPlace;
use gc_types::{RootKind, Trap};
use wasmtime_types::IndexType;

impl Translator<'_, '_> {
    /// Whether table `index` holds references into the heap, not functions.
    fn holds_gc_refs(&self, index: u32) -> bool {
        self.env.cx.info.tables[index as usize].ref_type.is_vmgcref_type()
    }

    /// The type of indices of a table.
    fn table_index(&self, table: u32) -> IndexType {
        self.env.cx.info.tables[table as usize].idx_type
    }

    /// The place of the definition of table `index`: an address and an offset.
    fn table_place(&mut self, index: u32) -> (ir::Value, u32) {
        let vmctx = self.env.vmctx;
        match self.env.cx.layout.table(index) {
            DefinitionPlace::Inline(offset) => (vmctx, offset),
            DefinitionPlace::Indirect(offset) => {
                (self.load(types::I64, env::IMPORTS, vmctx, offset), 0)
            }
        }
    }

    /// The length of table `index` in elements, if it never changes.
    fn fixed_len(&self, index: u32) -> Option<u64> {
        let info = self.env.cx.info;
        let limits = info.tables[index as usize].limits;
        let is_fixed =
            limits.max == Some(limits.min) || info.table_growth[index as usize].is_never();
        is_fixed.then_some(limits.min)
    }

    /// Whether the integer `value` is below `limit`, unsigned, whatever the program does: some of its
    /// bits are masked or shifted out.
    fn is_below(&self, value: ir::Value, limit: u64) -> bool {
        let dfg = &self.builder.func.dfg;
        let data = |value| Some(dfg.insts[dfg.value_def(value).inst()?]);
        let constant = |value| match data(value)? {
            ir::InstructionData::UnaryImm { opcode: ir::Opcode::Iconst, imm } => {
                Some(imm.bits().cast_unsigned())
            }
            _ => None,
        };
        let Some(ir::InstructionData::Binary { opcode, args: [a, b] }) = data(value) else {
            return false;
        };
        let bits = u64::from(dfg.value_type(value).bits());
        let most = match opcode {
            ir::Opcode::Band => constant(a).or_else(|| constant(b)),
            ir::Opcode::Ushr => {
                constant(b).map(|by| (u64::MAX >> (64 - bits)) >> (by & (bits - 1)))
            }
            _ => None,
        };
        most.is_some_and(|most| most < limit)
    }

    /// The length of table `index` in elements (`I64`).
    fn table_len(&mut self, index: u32) -> ir::Value {
        if let Some(length) = self.fixed_len(index) {
            return self.builder.ins().iconst(types::I64, length.cast_signed());
        }
        let (place, offset) = self.table_place(index);
        let offset = offset + self.env.cx.layout.definition_len();
        self.load(types::I64, env::TABLE_DEFINITION, place, offset)
    }

    /// The address of element `index` of `size` bytes. Traps with `outside` if there is no
    /// such element.
    pub(super) fn table_element(
        &mut self,
        table: u32,
        index: ir::Value,
        size: i64,
        outside: Trap,
    ) -> ir::Value {
        let is_inside = self.fixed_len(table).is_some_and(|length| self.is_below(index, length));
        let index = self.extend(index);
        if !is_inside {
            let length = self.table_len(table);
            let beyond = self.builder.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, index, length);
            self.trap_if(beyond, outside);
        }
        let (place, offset) = self.table_place(table);
        let offset = offset + self.env.cx.layout.definition_base();
        let base = self.load(types::I64, env::TABLE_DEFINITION, place, offset);
        let offset = self.builder.ins().ishl_imm_u(index, i64::from(size.trailing_zeros()));
        self.builder.ins().iadd(base, offset)
    }

    pub(super) fn table_get(&mut self, table: u32) {
        let index = self.stack.pop();
        let value = if self.holds_gc_refs(table) {
            let place = self.gc_element(table, index);
            self.emitter().read_ref(place)
        } else {
            let address = self.table_element(table, index, 8, Trap::TableOutOfBounds);
            self.load(types::I64, env::TABLE_FUNCS, address, 0)
        };
        self.stack.push(value);
    }

    pub(super) fn table_set(&mut self, table: u32) {
        let (index, value) = self.stack.pop2();
        if self.holds_gc_refs(table) {
            let place = self.gc_element(table, index);
            self.emitter().write_ref(place, value);
        } else {
            let address = self.table_element(table, index, 8, Trap::TableOutOfBounds);
            let flags = self.flags(env::TABLE_FUNCS);
            self.builder.ins().store(flags, value, address, 0);
        }
    }

    fn gc_element(&mut self, table: u32, index: ir::Value) -> RefPlace {
        let address = self.table_element(table, index, 4, Trap::TableOutOfBounds);
        let kind = self.env.cx.info.table_growth[table as usize].root_kind();
        let region = match kind {
            RootKind::FixedTable => env::FIXED_TABLE_REFS,
            _ => env::TABLE_REFS,
        };
        env::intern(self.builder.func, region);
        RefPlace::Native { address, offset: 0, region, kind }
    }

    pub(super) fn table_size(&mut self, table: u32) {
        let length = match self.table_index(table) {
            IndexType::I32 => {
                let length = self.table_len(table);
                self.builder.ins().ireduce(types::I32, length)
            }
            // An integer, not a word of the host. A table has fewer than 2^32 elements.
            IndexType::I64 => {
                let (place, offset) = self.table_place(table);
                let offset = offset + self.env.cx.layout.definition_len();
                let flags = self.flags(env::TABLE_DEFINITION);
                self.builder.ins().uload32(flags, place, offset.cast_signed())
            }
        };
        self.stack.push(length);
    }

    pub(super) fn table_grow(&mut self, table: u32) {
        let call = match self.holds_gc_refs(table) {
            true => host_calls::TABLE_GROW_REF,
            false => host_calls::TABLE_GROW_FUNC,
        };
        let (value, delta) = self.stack.pop2();
        let delta = self.extend(delta);
        let number = self.index(table);
        self.call_metered(call, &[number, value, delta]);
        let former = self.former_size(self.table_index(table));
        self.stack.push(former);
    }

    pub(super) fn table_fill(&mut self, table: u32) {
        let call = match self.holds_gc_refs(table) {
            true => host_calls::TABLE_FILL_REF,
            false => host_calls::TABLE_FILL_FUNC,
        };
        let (at, value, length) = self.stack.pop3();
        let (at, length) = (self.extend(at), self.extend(length));
        let table = self.index(table);
        self.call_metered(call, &[table, at, value, length]);
    }

    pub(super) fn table_copy(&mut self, to: u32, from: u32) {
        let (at, start, length) = self.stack.pop3();
        let [at, start, length] = [at, start, length].map(|operand| self.extend(operand));
        let (to, from) = (self.index(to), self.index(from));
        self.call_metered(host_calls::TABLE_COPY, &[to, from, at, start, length]);
    }

    pub(super) fn table_init(&mut self, element: u32, table: u32) {
        let (at, from, length) = self.stack.pop3();
        let at = self.extend(at);
        let (table, element) = (self.index(table), self.index(element));
        self.call_metered(host_calls::TABLE_INIT, &[table, element, at, from, length]);
    }

    pub(super) fn elem_drop(&mut self, element: u32) {
        let element = self.index(element);
        self.emitter().call_host(host_calls::ELEM_DROP, &[element]);
    }
}
