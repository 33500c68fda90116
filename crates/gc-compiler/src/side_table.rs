//! Places in the native tables beside the heap ([`SideTable`]): each is computed in the form that the
//! collector's ABI has for the table, so no place is outside the table.
//! [`check`](crate::check) finds code that computes another one.

use crate::{GcEmitter, regions};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, types};
use gc_types::{SideForm, SideTable};

impl GcEmitter<'_, '_> {
    /// The address of the byte for the heap index `index` (`I64`) in an [indexed](SideForm::Indexed) table. The
    /// code must have accessed the heap there before.
    ///
    /// # Panics
    /// If the table is not indexed.
    pub fn table_byte(&mut self, table: SideTable, index: ir::Value) -> ir::Value {
        let byte = self.builder.ins().ushr_imm_u(index, i64::from(table.shift()));
        let address = self.table_address(table);
        self.builder.ins().iadd(address, byte)
    }

    /// The address of the entry for `number` (`I64`) in a [masked](SideForm::Masked) table. If the table has a
    /// switch, the code must have tested it.
    ///
    /// # Panics
    /// If the table is not masked.
    pub fn table_entry(&mut self, table: SideTable, number: ir::Value) -> ir::Value {
        let SideForm::Masked { entry, len, .. } = table.form() else {
            panic!("the table `{}` is not masked", table.name())
        };
        let number = self.builder.ins().band_imm_u(number, i64::from(len - 1));
        let at = match entry {
            0 => number,
            _ => self.builder.ins().ishl_imm_u(number, i64::from(entry)),
        };
        let address = self.table_address(table);
        self.builder.ins().iadd(address, at)
    }

    /// The number of entries of a [list](SideForm::Appended) (`I32`), and whether there is room for one more.
    ///
    /// # Panics
    /// If the table is not a list.
    pub fn list_room(&mut self, table: SideTable) -> (ir::Value, ir::Value) {
        let (len, capacity) = list(table);
        let data = self.heap_data();
        let number = self.load_native(types::I32, regions::HEAP_CURSOR, data, len);
        let capacity = self.load_native(types::I32, regions::HEAP_DATA, data, capacity);
        (number, self.builder.ins().icmp(IntCC::UnsignedLessThan, number, capacity))
    }

    /// Appends the reference `value` to a list that has [room](GcEmitter::list_room) and `number` (`I32`) entries.
    /// There must be no call between the comparison and this.
    ///
    /// # Panics
    /// If the table is not a list.
    pub fn append_to_list(&mut self, table: SideTable, number: ir::Value, value: ir::Value) {
        let (len, _) = list(table);
        let data = self.heap_data();
        let address = self.load_native(types::I64, regions::HEAP_DATA, data, table.address());
        let at = self.builder.ins().uextend(types::I64, number);
        let at = self.builder.ins().ishl_imm_u(at, 2);
        let place = self.builder.ins().iadd(address, at);
        let flags = self.native_flags(regions::SIDE_TABLE);
        self.builder.ins().istore32(flags, value, place, 0);
        let more = self.builder.ins().iadd_imm_u(number, 1);
        let flags = self.native_flags(regions::HEAP_CURSOR);
        self.builder.ins().store(flags, more, data, len.cast_signed());
    }

    fn table_address(&mut self, table: SideTable) -> ir::Value {
        let data = self.heap_data();
        self.load_native(types::I64, regions::HEAP_DATA, data, table.address())
    }
}

/// The words of the length and the capacity.
fn list(table: SideTable) -> (u32, u32) {
    let SideForm::Appended { len, capacity } = table.form() else {
        panic!("the table `{}` is not a list", table.name())
    };
    (len, capacity)
}
