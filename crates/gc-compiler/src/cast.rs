//! Reference tests and casts.
//!
//! A test for a concrete type first compares the whole header word. For a final type that decides;
//! for other types it usually does. Otherwise a cold block does a display lookup (Cohen,
//! "Type-Extension Type Tests Can Be Performed In Constant Time", 1991): it reads the row of the
//! object's type at the depth of the expected type. The type index comes from the heap and is
//! untrusted, so it is masked. The table has a row for every masked index.
//! [`TypeIndex::NONE`](gc_types::TypeIndex::NONE), the index of objects without a type, is masked
//! to the last row. So an engine must leave that row zero and may have [`VMOffsets::DISPLAY_TYPES`]
//! `- 1` types. A row has the indices of ancestors, and each index has one kind, so a display hit
//! needs no test of the kind.

use crate::{GcEmitter, regions, trap_code};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, types};
use gc_types::{HostCall, I31, Trap, TypeIndex, VMGcKind, VMOffsets};

/// The type for which a reference is tested.
#[derive(Clone, Copy, Debug)]
pub enum TestTarget {
    /// Any internal reference: everything but null.
    Any,
    /// References that can be compared for equality: `i31`s, structs, arrays.
    Eq,
    /// An `i31`.
    I31,
    /// Any struct.
    Struct,
    /// Any array.
    Array,
    /// Any external reference: everything but null.
    Extern,
    /// Any exception.
    Exn,
    /// The bottom of a hierarchy: no reference except null, if the test is nullable.
    None,
    /// A struct or array type of the engine.
    Concrete {
        /// Its index (`I32`).
        type_index: ir::Value,
        /// Word 0 of the headers of its own instances (`I32`).
        header_word: ir::Value,
        /// Its depth: 0 is the root of its hierarchy.
        depth: u32,
        /// Whether it has no subtypes.
        is_final: bool,
    },
}

/// A test of a reference, and what is known about the reference before.
///
/// # Examples
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/emit.rs.in"));
/// # use cranelift_codegen::ir::types;
/// # use gc_compiler::collector::copying::CopyingCompiler;
/// use gc_compiler::{RefTest, TestTarget};
/// use gc_types::Trap;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let function = emit(&CopyingCompiler, &[types::I64], |e, params| {
/// // `e` is a `GcEmitter`, and the parameter is a reference that may be null.
/// let reference = params[0];
/// let test = RefTest::new(false, TestTarget::Struct);
/// let is_struct = e.ref_test(reference, &test);
/// // A nullable test lets null pass.
/// e.ref_cast(reference, &RefTest { nullable: true, ..test });
/// # })?;
/// assert!(function.traps().iter().any(|(_, trap)| *trap == Trap::CastFailure));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RefTest {
    /// Whether null passes.
    pub nullable: bool,
    /// The type that passes.
    pub target: TestTarget,
    /// The reference is known not to be null.
    pub known_non_null: bool,
    /// The reference is known not to be an `i31`.
    pub known_not_i31: bool,
}

impl RefTest {
    /// A test of a reference about which nothing is known.
    pub fn new(nullable: bool, target: TestTarget) -> RefTest {
        RefTest { nullable, target, known_non_null: false, known_not_i31: false }
    }

    /// The same test with knowledge about the reference.
    pub fn knowing(self, known_non_null: bool, known_not_i31: bool) -> RefTest {
        RefTest { known_non_null, known_not_i31, ..self }
    }
}

/// The use of a test's outcome. Each step of a test ends the current block; [`Sink::branch_if`]
/// continues in another.
#[derive(Clone, Copy)]
pub(crate) enum Sink {
    /// The outcome is the argument (`I8`) of this block.
    Merge(ir::Block),
    /// The outcome decides between two blocks.
    Branch { yes: ir::Block, no: ir::Block },
    /// A negative outcome traps; a positive one continues in `done`.
    Trap { trap: Trap, done: ir::Block },
}

impl Sink {
    /// If `condition` is true, the outcome is `outcome`. Otherwise the test continues in another
    /// block, which is marked as cold if `cold`.
    pub(crate) fn branch_if(
        self,
        e: &mut GcEmitter<'_, '_>,
        condition: ir::Value,
        outcome: bool,
        cold: bool,
    ) {
        if let (Sink::Trap { trap, .. }, false) = (self, outcome) {
            e.builder.ins().trapnz(condition, trap_code(trap));
            return;
        }
        let next = if cold { e.create_cold_block() } else { e.builder.create_block() };
        match self {
            Sink::Merge(block) => {
                let outcome = e.builder.ins().iconst(types::I8, i64::from(outcome));
                e.builder.ins().brif(condition, block, &[outcome.into()], next, &[]);
            }
            Sink::Branch { yes, no } => {
                let block = if outcome { yes } else { no };
                e.builder.ins().brif(condition, block, &[], next, &[]);
            }
            Sink::Trap { done, .. } => {
                e.builder.ins().brif(condition, done, &[], next, &[]);
            }
        }
        e.continue_in(next);
    }

    /// The outcome is `condition` (any integer type).
    pub(crate) fn finish(self, e: &mut GcEmitter<'_, '_>, condition: ir::Value) {
        match self {
            Sink::Merge(block) => {
                let outcome = if e.builder.func.dfg.value_type(condition) == types::I8 {
                    condition
                } else {
                    e.builder.ins().icmp_imm_u(IntCC::NotEqual, condition, 0)
                };
                e.builder.ins().jump(block, &[outcome.into()]);
            }
            Sink::Branch { yes, no } => {
                e.builder.ins().brif(condition, yes, &[], no, &[]);
            }
            Sink::Trap { trap, done } => {
                e.builder.ins().trapz(condition, trap_code(trap));
                e.builder.ins().jump(done, &[]);
            }
        }
    }

    /// The outcome is known. It is still emitted as a condition, so that the blocks of both
    /// outcomes keep a predecessor.
    pub(crate) fn always(self, e: &mut GcEmitter<'_, '_>, outcome: bool) {
        let outcome = e.builder.ins().iconst(types::I8, i64::from(outcome));
        self.finish(e, outcome);
    }
}

impl GcEmitter<'_, '_> {
    /// Whether `reference` is null (`I8`).
    pub fn ref_is_null(&mut self, reference: ir::Value) -> ir::Value {
        self.builder.ins().icmp_imm_u(IntCC::Equal, reference, 0)
    }

    /// Whether two references are the same one (`I8`).
    pub fn ref_eq(&mut self, a: ir::Value, b: ir::Value) -> ir::Value {
        self.builder.ins().icmp(IntCC::Equal, a, b)
    }

    /// Traps with [`Trap::NullReference`] if `reference` (or a function reference) is
    /// null.
    pub fn trap_if_null(&mut self, reference: ir::Value) {
        self.builder.ins().trapz(reference, trap_code(Trap::NullReference));
    }

    /// Whether `reference` passes `test` (`I8`, 0 or 1).
    pub fn ref_test(&mut self, reference: ir::Value, test: &RefTest) -> ir::Value {
        self.test_to_value(|e, sink| e.emit_ref_test(reference, test, sink))
    }

    /// Ends the current block with a branch to `yes` if `reference` passes `test`, otherwise to
    /// `no`. Neither block may have parameters. The caller seals both blocks.
    pub fn ref_test_branch(
        &mut self,
        reference: ir::Value,
        test: &RefTest,
        yes: ir::Block,
        no: ir::Block,
    ) {
        self.emit_ref_test(reference, test, Sink::Branch { yes, no });
    }

    /// Traps with [`Trap::CastFailure`] unless `reference` passes `test`.
    pub fn ref_cast(&mut self, reference: ir::Value, test: &RefTest) {
        self.test_or_trap(Trap::CastFailure, |e, sink| e.emit_ref_test(reference, test, sink));
    }

    /// Whether `reference` is neither null nor an `i31` (`I8`). A rotation moves the tag to the
    /// sign bit, so one signed comparison excludes both.
    pub fn is_heap_ref(&mut self, reference: ir::Value) -> ir::Value {
        let rotated = self.rotate_tag(reference);
        self.builder.ins().icmp_imm_s(IntCC::SignedGreaterThan, rotated, 0)
    }

    fn rotate_tag(&mut self, reference: ir::Value) -> ir::Value {
        let word = self.builder.ins().ireduce(types::I32, reference);
        self.builder.ins().rotr_imm_u(word, 1)
    }

    /// Runs `emit` with a sink that gathers the outcome in an `I8`.
    pub(crate) fn test_to_value(&mut self, emit: impl FnOnce(&mut Self, Sink)) -> ir::Value {
        let merge = self.builder.create_block();
        let outcome = self.builder.append_block_param(merge, types::I8);
        emit(self, Sink::Merge(merge));
        self.continue_in(merge);
        outcome
    }

    /// Runs `emit` with a sink that traps unless the outcome is yes.
    pub(crate) fn test_or_trap(&mut self, trap: Trap, emit: impl FnOnce(&mut Self, Sink)) {
        let done = self.builder.create_block();
        emit(self, Sink::Trap { trap, done });
        self.continue_in(done);
    }

    fn emit_ref_test(&mut self, reference: ir::Value, test: &RefTest, sink: Sink) {
        let RefTest { nullable, target, known_non_null, known_not_i31 } = *test;
        let passes_null = nullable && !known_non_null;
        match target {
            TestTarget::Any | TestTarget::Extern => {
                if nullable || known_non_null {
                    return sink.always(self, true);
                }
                let not_null = self.builder.ins().icmp_imm_u(IntCC::NotEqual, reference, 0);
                return sink.finish(self, not_null);
            }
            TestTarget::None => {
                if !passes_null {
                    return sink.always(self, false);
                }
                let is_null = self.ref_is_null(reference);
                return sink.finish(self, is_null);
            }
            TestTarget::I31 => {
                if passes_null {
                    let is_null = self.ref_is_null(reference);
                    sink.branch_if(self, is_null, true, false);
                }
                if known_not_i31 {
                    return sink.always(self, false);
                }
                let tag = self.builder.ins().band_imm_u(reference, i64::from(I31::TAG));
                return sink.finish(self, tag);
            }
            _ => {}
        }

        let passes_i31 = matches!(target, TestTarget::Eq);
        match (known_non_null, known_not_i31) {
            (true, true) => {}
            (false, false) if nullable == passes_i31 => {
                let rotated = self.rotate_tag(reference);
                let no_object =
                    self.builder.ins().icmp_imm_s(IntCC::SignedLessThanOrEqual, rotated, 0);
                sink.branch_if(self, no_object, nullable, false);
            }
            _ => {
                if !known_non_null {
                    let is_null = self.ref_is_null(reference);
                    sink.branch_if(self, is_null, nullable, false);
                }
                if !known_not_i31 {
                    let tag = self.builder.ins().band_imm_u(reference, i64::from(I31::TAG));
                    sink.branch_if(self, tag, passes_i31, false);
                }
            }
        }

        let word = self.load_header_word(reference);
        let kind = match target {
            TestTarget::Concrete { type_index, header_word, depth, is_final } => {
                let same = self.builder.ins().icmp(IntCC::Equal, word, header_word);
                if is_final {
                    return sink.finish(self, same);
                }
                sink.branch_if(self, same, true, true);
                return self.emit_subtype_test(word, type_index, depth, sink);
            }
            TestTarget::Struct => VMGcKind::StructRef,
            TestTarget::Array => VMGcKind::ArrayRef,
            TestTarget::Exn => VMGcKind::ExnRef,
            _ => VMGcKind::EqRef,
        };
        let mask = i64::from(kind.bits()) << VMGcKind::SHIFT;
        let bits = self.builder.ins().band_imm_u(word, mask);
        let matches = self.builder.ins().icmp_imm_u(IntCC::Equal, bits, mask);
        sink.finish(self, matches);
    }

    /// Whether the type whose index is in the low bits of `word` (`I32`, untrusted) is `type_index`
    /// (`I32`) or a subtype of it.
    pub(crate) fn emit_subtype_test(
        &mut self,
        word: ir::Value,
        type_index: ir::Value,
        depth: u32,
        sink: Sink,
    ) {
        if depth >= VMOffsets::DISPLAY_ROW {
            let actual = self.builder.ins().band_imm_u(word, i64::from(TypeIndex::MAX));
            self.call_host(HostCall::IS_SUBTYPE, &[actual, type_index]);
            let outcome = self.host_result_i32();
            return sink.finish(self, outcome);
        }
        const ROW_SHIFT: i64 = (VMOffsets::DISPLAY_ROW * 4).trailing_zeros() as i64;
        const _: () = assert!(VMOffsets::DISPLAY_ROW.is_power_of_two());
        const _: () = assert!(VMOffsets::DISPLAY_TYPES.is_power_of_two());
        let context = self.store_context();
        let offset = self.offsets().store_type_displays();
        let displays = self.load_native(types::I64, regions::STORE_CONTEXT, context, offset);
        let row = self.builder.ins().band_imm_u(word, i64::from(VMOffsets::DISPLAY_TYPES - 1));
        let row = self.builder.ins().uextend(types::I64, row);
        let row = self.builder.ins().ishl_imm_u(row, ROW_SHIFT);
        let row = self.builder.ins().iadd(displays, row);
        let ancestor = self.load_native(types::I32, regions::TYPES, row, depth * 4);
        let expected = self.builder.ins().iadd_imm_u(type_index, 1);
        let same = self.builder.ins().icmp(IntCC::Equal, ancestor, expected);
        sink.finish(self, same);
    }
}
