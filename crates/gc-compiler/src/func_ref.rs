//! Function references: native pointers in SSA values, checked 32-bit ids in the
//! heap.
//!
//! A native pointer is never stored in the heap, and never read from it. The heap has an id into
//! the store's table. When an id is read, it is compared with the table's length, and the
//! function's type is compared with the type for which the program was validated. So even with a
//! corrupt heap a call never reaches a function of another type.

use crate::cast::Sink;
use crate::{GcEmitter, regions};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, types};
use gc_types::Trap;

/// A function type of the engine.
#[derive(Clone, Copy, Debug)]
pub struct FuncRefType {
    /// Its index (`I32`).
    pub type_index: ir::Value,
    /// Its depth: 0 is the root of its hierarchy.
    pub depth: u32,
    /// Whether it has no subtypes.
    pub is_final: bool,
}

/// A test of a function reference, and what is known about it before.
///
/// # Examples
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/emit.rs.in"));
/// # use gc_compiler::collector::copying::CopyingCompiler;
/// use cranelift_codegen::ir::{InstBuilder, types};
/// use gc_compiler::{FuncRefTest, FuncRefType};
/// use gc_types::Trap;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let function = emit(&CopyingCompiler, &[types::I32], |e, params| {
/// // `e` is a `GcEmitter`. An id from the heap becomes a function reference, which may be null.
/// let func_ref = e.func_ref_from_id(params[0], true, None);
/// // It is cast to the function type with index 3, which has no subtypes.
/// let type_index = e.builder.ins().iconst(types::I32, 3);
/// let target = FuncRefType { type_index, depth: 0, is_final: true };
/// let test = FuncRefTest { nullable: false, known_non_null: false, target: Some(target) };
/// e.func_ref_cast(func_ref, &test, Trap::BadSignature);
/// # })?;
/// let traps: Vec<Trap> = function.traps().iter().map(|(_, trap)| *trap).collect();
/// assert!(traps.contains(&Trap::BadFuncRef) && traps.contains(&Trap::BadSignature));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct FuncRefTest {
    /// Whether null passes.
    pub nullable: bool,
    /// Whether the reference is known not to be null.
    pub known_non_null: bool,
    /// The function type that passes; `None` if every function passes.
    pub target: Option<FuncRefType>,
}

impl GcEmitter<'_, '_> {
    /// Whether `func_ref` (a native pointer or null) passes `test` (`I8`, 0 or 1).
    pub fn func_ref_test(&mut self, func_ref: ir::Value, test: &FuncRefTest) -> ir::Value {
        self.test_to_value(|e, sink| e.emit_func_ref_test(func_ref, test, sink))
    }

    /// Ends the current block with a branch to `yes` if `func_ref` passes `test`, otherwise to
    /// `no`. Neither block may have parameters. The caller seals both blocks.
    pub fn func_ref_test_branch(
        &mut self,
        func_ref: ir::Value,
        test: &FuncRefTest,
        yes: ir::Block,
        no: ir::Block,
    ) {
        self.emit_func_ref_test(func_ref, test, Sink::Branch { yes, no });
    }

    /// Traps with `trap` unless `func_ref` passes `test`.
    pub fn func_ref_cast(&mut self, func_ref: ir::Value, test: &FuncRefTest, trap: Trap) {
        self.test_or_trap(trap, |e, sink| e.emit_func_ref_test(func_ref, test, sink));
    }

    /// The id (`I32`) under which `func_ref` (a native pointer or null) is stored in
    /// the heap; 0 for null. Unless it is `nullable`, it must not be null.
    pub fn func_ref_to_id(&mut self, func_ref: ir::Value, nullable: bool) -> ir::Value {
        let offset = self.offsets().func_ref_id();
        if !nullable {
            return self.load_native(types::I32, regions::TYPES, func_ref, offset);
        }
        let not_null = self.builder.create_block();
        let merge = self.builder.create_block();
        let id = self.builder.append_block_param(merge, types::I32);
        let zero = self.builder.ins().iconst(types::I32, 0);
        self.builder.ins().brif(func_ref, not_null, &[], merge, &[zero.into()]);
        self.continue_in(not_null);
        let loaded = self.load_native(types::I32, regions::TYPES, func_ref, offset);
        self.builder.ins().jump(merge, &[loaded.into()]);
        self.continue_in(merge);
        id
    }

    /// The native pointer (null for 0) of the function whose `id` (`I32`) was read
    /// from the heap. Traps with [`Trap::BadFuncRef`] if there is no such function,
    /// if it is not of the type `expected`, or if it is null and not `nullable`.
    pub fn func_ref_from_id(
        &mut self,
        id: ir::Value,
        nullable: bool,
        expected: Option<&FuncRefType>,
    ) -> ir::Value {
        if !nullable {
            // The entry of id 0 is null.
            return self.func_ref_of_table(id, expected);
        }
        let not_null = self.builder.create_block();
        let merge = self.builder.create_block();
        let func_ref = self.builder.append_block_param(merge, types::I64);
        let null = self.builder.ins().iconst(types::I64, 0);
        self.builder.ins().brif(id, not_null, &[], merge, &[null.into()]);
        self.continue_in(not_null);
        let loaded = self.func_ref_of_table(id, expected);
        self.builder.ins().jump(merge, &[loaded.into()]);
        self.continue_in(merge);
        func_ref
    }

    /// The entry of an id in the store's table. Traps if there is none, if it is null, or if it is of
    /// another type.
    fn func_ref_of_table(&mut self, id: ir::Value, expected: Option<&FuncRefType>) -> ir::Value {
        let offsets = self.offsets();
        let context = self.store_context();
        let length = self.load_native(
            types::I64,
            regions::STORE_CONTEXT,
            context,
            offsets.store_func_refs_len(),
        );
        let table = self.load_native(
            types::I64,
            regions::STORE_CONTEXT,
            context,
            offsets.store_func_refs(),
        );
        let index = self.builder.ins().uextend(types::I64, id);
        let outside = self.builder.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, index, length);
        self.builder.ins().trapnz(outside, crate::trap_code(Trap::BadFuncRef));
        let slot = self.builder.ins().ishl_imm_u(index, 3);
        let slot = self.builder.ins().iadd(table, slot);
        let loaded = self.load_native(types::I64, regions::TYPES, slot, 0);
        let test =
            FuncRefTest { nullable: false, known_non_null: false, target: expected.copied() };
        self.func_ref_cast(loaded, &test, Trap::BadFuncRef);
        loaded
    }

    fn emit_func_ref_test(&mut self, func_ref: ir::Value, test: &FuncRefTest, sink: Sink) {
        let FuncRefTest { nullable, known_non_null, target } = *test;
        let Some(FuncRefType { type_index, depth, is_final }) = target else {
            if nullable || known_non_null {
                return sink.always(self, true);
            }
            let not_null = self.builder.ins().icmp_imm_u(IntCC::NotEqual, func_ref, 0);
            return sink.finish(self, not_null);
        };
        if !known_non_null {
            let is_null = self.ref_is_null(func_ref);
            sink.branch_if(self, is_null, nullable, false);
        }
        let offset = self.offsets().func_ref_type();
        let actual = self.load_native(types::I32, regions::TYPES, func_ref, offset);
        let same = self.builder.ins().icmp(IntCC::Equal, actual, type_index);
        if is_final {
            return sink.finish(self, same);
        }
        sink.branch_if(self, same, true, true);
        self.emit_subtype_test(actual, type_index, depth, sink);
    }
}
