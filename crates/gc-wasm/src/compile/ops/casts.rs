//! Reference tests and casts, without the parts that static types make unnecessary.

use crate::compile::translate::Translator;
use crate::types::matching::type_index;
use anyhow::{Result, anyhow, bail};
use cranelift_codegen::ir::{self, InstBuilder, types};
use gc_compiler::{FuncRefTest, FuncRefType, RefTest, TestTarget};
use gc_types::{Trap, TypeIndex};
use wasmparser::{AbstractHeapType, HeapType, RefType, ValType, WasmModuleResources as _};
use wasmtime_types::{TypeConvert, WasmHeapType};

/// A test. The variants are the representations of references in its hierarchy.
enum Test {
    /// References into the heap.
    Gc(RefTest),
    /// Function references.
    Func(FuncRefTest),
    /// A test of function references that only null passes.
    OnlyNullFunc,
}

impl Translator<'_, '_> {
    /// Makes a test of the uppermost operand for `heap_type`.
    fn test(&mut self, nullable: bool, heap_type: HeapType) -> Result<Test> {
        let target =
            self.env.cx.info.types.convert_heap_type(heap_type).map_err(|e| anyhow!("{e}"))?;
        let known_non_null = self.top_is_non_null();
        let matches = self.top_matches(heap_type)?;
        if !target.is_vmgcref_type() {
            let target = match target {
                _ if matches => None,
                WasmHeapType::Func => None,
                WasmHeapType::ConcreteFunc(edge) => Some(self.func_ref_type(type_index(edge))),
                WasmHeapType::NoFunc => return Ok(Test::OnlyNullFunc),
                other => bail!("unsupported: a cast to {other}"),
            };
            return Ok(Test::Func(FuncRefTest { nullable, known_non_null, target }));
        }
        let target = match target {
            // Only a null test remains.
            _ if matches => TestTarget::Any,
            WasmHeapType::Any => TestTarget::Any,
            WasmHeapType::Eq => TestTarget::Eq,
            WasmHeapType::I31 => TestTarget::I31,
            WasmHeapType::Struct => TestTarget::Struct,
            WasmHeapType::Array => TestTarget::Array,
            WasmHeapType::Extern => TestTarget::Extern,
            WasmHeapType::Exn => TestTarget::Exn,
            WasmHeapType::None | WasmHeapType::NoExtern | WasmHeapType::NoExn => TestTarget::None,
            WasmHeapType::ConcreteStruct(edge) | WasmHeapType::ConcreteArray(edge) => {
                let ty = self.env.registered(type_index(edge));
                TestTarget::Concrete {
                    type_index: self.type_index(ty),
                    header_word: self.header_word(ty),
                    depth: ty.depth(),
                    is_final: ty.sub_type.is_final,
                }
            }
            other => bail!("unsupported: a cast to {other}"),
        };
        let known_not_i31 = self.top_is_no_i31();
        Ok(Test::Gc(RefTest::new(nullable, target).knowing(known_non_null, known_not_i31)))
    }

    /// The function type `index` in the form that tests need.
    pub(super) fn func_ref_type(&mut self, index: TypeIndex) -> FuncRefType {
        let ty = self.env.registered(index);
        FuncRefType {
            type_index: self.type_index(ty),
            depth: ty.depth(),
            is_final: ty.sub_type.is_final,
        }
    }

    /// Whether the uppermost operand is, by its static type, null or a `heap_type`.
    fn top_matches(&self, mut heap_type: HeapType) -> Result<bool> {
        let Some(ValType::Ref(operand)) = self.top else { return Ok(false) };
        let resources = self.validator.resources();
        resources.check_heap_type(&mut heap_type, 0)?;
        let non_null = |heap_type| RefType::new(false, heap_type).map(ValType::Ref);
        Ok(match (non_null(operand.heap_type()), non_null(heap_type)) {
            (Some(operand), Some(target)) => resources.is_subtype(operand, target),
            _ => false,
        })
    }

    /// Whether the uppermost operand cannot be an `i31` because of its static type. The operand
    /// must not be a function reference.
    fn top_is_no_i31(&self) -> bool {
        let Some(ValType::Ref(operand)) = self.top else { return false };
        match operand.heap_type() {
            HeapType::Abstract { ty, .. } => {
                matches!(ty, AbstractHeapType::Struct | AbstractHeapType::Array)
            }
            HeapType::Concrete(_) | HeapType::Exact(_) => true,
        }
    }

    pub(super) fn ref_test(&mut self, nullable: bool, heap_type: HeapType) -> Result<()> {
        let test = self.test(nullable, heap_type)?;
        let reference = self.stack.pop();
        let mut e = self.emitter();
        let passes = match &test {
            Test::Gc(test) => e.ref_test(reference, test),
            Test::Func(test) => e.func_ref_test(reference, test),
            Test::OnlyNullFunc if nullable => e.ref_is_null(reference),
            Test::OnlyNullFunc => e.builder.ins().iconst(types::I8, 0),
        };
        let passes = self.builder.ins().uextend(types::I32, passes);
        self.stack.push(passes);
        Ok(())
    }

    pub(super) fn ref_cast(&mut self, nullable: bool, heap_type: HeapType) -> Result<()> {
        let test = self.test(nullable, heap_type)?;
        let reference = self.stack.peek_n(1)[0];
        let mut e = self.emitter();
        match &test {
            Test::Gc(test) => e.ref_cast(reference, test),
            Test::Func(test) => e.func_ref_cast(reference, test, Trap::CastFailure),
            Test::OnlyNullFunc => {
                let fails = match nullable {
                    true => reference,
                    false => e.builder.ins().iconst(types::I8, 1),
                };
                self.trap_if(fails, Trap::CastFailure);
            }
        }
        Ok(())
    }

    /// Ends the block with a branch to `yes` if `reference`, the uppermost operand, is of type
    /// `to`, otherwise to `no`.
    pub(super) fn branch_on_test(
        &mut self,
        reference: ir::Value,
        to: RefType,
        yes: ir::Block,
        no: ir::Block,
    ) -> Result<()> {
        let nullable = to.is_nullable();
        let test = self.test(nullable, to.heap_type())?;
        let mut e = self.emitter();
        match &test {
            Test::Gc(test) => e.ref_test_branch(reference, test, yes, no),
            Test::Func(test) => e.func_ref_test_branch(reference, test, yes, no),
            Test::OnlyNullFunc => {
                let passes = match nullable {
                    true => e.ref_is_null(reference),
                    false => e.builder.ins().iconst(types::I8, 0),
                };
                e.builder.ins().brif(passes, yes, &[], no, &[]);
            }
        }
        Ok(())
    }
}
