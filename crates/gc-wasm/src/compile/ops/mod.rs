//! The translation of each operator, by family.
//!
//! Every function here is called for a validated operator in reachable code. It pops its operands
//! from the translator's stack and pushes its results.

mod arrays;
mod call;
mod casts;
mod control;
mod exceptions;
mod global;
mod legacy;
mod memory;
mod numeric;
mod refs;
mod simd;
mod structs;
mod table;

pub(super) use refs::FunctionId;

use super::translate::Translator;
use anyhow::{Result, bail};
use gc_compiler::Extend;
use wasmparser::Operator;

/// The use of a call's results.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CallKind {
    /// The results are operands.
    Call,
    /// The results are the results of the caller. The caller's frame is removed before the callee
    /// runs.
    Tail,
}

/// Emits a reachable operator.
///
/// # Errors
/// If it is not supported.
pub(super) fn operator(t: &mut Translator<'_, '_>, op: &Operator<'_>) -> Result<()> {
    use Operator::*;
    match op {
        Nop => {}
        Unreachable => t.unreachable(),
        Block { blockty } => t.block(*blockty)?,
        Loop { blockty } => t.loop_(*blockty)?,
        If { blockty } => t.if_(*blockty)?,
        Else => t.else_()?,
        End => t.end()?,
        Br { relative_depth } => t.br(*relative_depth)?,
        BrIf { relative_depth } => t.br_if(*relative_depth)?,
        BrTable { targets } => t.br_table(targets)?,
        Return => t.return_(),
        BrOnNull { relative_depth } => t.br_on_null(*relative_depth)?,
        BrOnNonNull { relative_depth } => t.br_on_non_null(*relative_depth)?,
        BrOnCast { relative_depth, to_ref_type, .. } => {
            t.br_on_cast(*relative_depth, *to_ref_type, true)?;
        }
        BrOnCastFail { relative_depth, to_ref_type, .. } => {
            t.br_on_cast(*relative_depth, *to_ref_type, false)?;
        }

        Call { function_index } => t.call(*function_index, CallKind::Call)?,
        CallIndirect { type_index, table_index } => {
            t.call_indirect(*type_index, *table_index, CallKind::Call)?;
        }
        CallRef { type_index } => t.call_ref(*type_index, CallKind::Call)?,
        ReturnCall { function_index } => t.call(*function_index, CallKind::Tail)?,
        ReturnCallIndirect { type_index, table_index } => {
            t.call_indirect(*type_index, *table_index, CallKind::Tail)?;
        }
        ReturnCallRef { type_index } => t.call_ref(*type_index, CallKind::Tail)?,

        TryTable { try_table } => t.try_table(try_table)?,
        Throw { tag_index } => t.throw(*tag_index)?,
        ThrowRef => t.throw_ref()?,
        Try { blockty } => t.legacy_try(*blockty)?,
        Catch { .. } | CatchAll => t.legacy_catch()?,
        Delegate { .. } => t.end()?,
        Rethrow { relative_depth } => t.rethrow(*relative_depth)?,

        Drop => {
            t.stack.pop();
        }
        Select => t.select(None),
        TypedSelect { ty } => {
            let ty = t.val_type(*ty)?;
            t.select(Some(&ty));
        }
        LocalGet { local_index } => t.local_get(*local_index)?,
        LocalSet { local_index } => {
            let value = t.stack.pop();
            t.set_local(*local_index, value)?;
        }
        LocalTee { local_index } => {
            let value = t.stack.peek_n(1)[0];
            t.set_local(*local_index, value)?;
        }
        GlobalGet { global_index } => t.global_get(*global_index)?,
        GlobalSet { global_index } => t.global_set(*global_index)?,

        TableGet { table } => t.table_get(*table),
        TableSet { table } => t.table_set(*table),
        TableSize { table } => t.table_size(*table),
        TableGrow { table } => t.table_grow(*table),
        TableFill { table } => t.table_fill(*table),
        TableCopy { dst_table, src_table } => t.table_copy(*dst_table, *src_table),
        TableInit { elem_index, table } => t.table_init(*elem_index, *table),
        ElemDrop { elem_index } => t.elem_drop(*elem_index),

        RefNull { .. } => t.ref_null(),
        RefIsNull => t.ref_is_null(),
        RefFunc { function_index } => t.ref_func(*function_index)?,
        RefAsNonNull => t.ref_as_non_null(),
        RefEq => t.ref_eq(),
        RefI31 => t.ref_i31(),
        I31GetS => t.i31_get(Extend::Signed),
        I31GetU => t.i31_get(Extend::Unsigned),
        // Both hierarchies have the same representation, so there is nothing to do.
        AnyConvertExtern | ExternConvertAny => {}
        RefTestNonNull { hty } => t.ref_test(false, *hty)?,
        RefTestNullable { hty } => t.ref_test(true, *hty)?,
        RefCastNonNull { hty } => t.ref_cast(false, *hty)?,
        RefCastNullable { hty } => t.ref_cast(true, *hty)?,

        StructNew { struct_type_index } => t.struct_new(*struct_type_index)?,
        StructNewDefault { struct_type_index } => t.struct_new_default(*struct_type_index)?,
        StructGet { struct_type_index, field_index } => {
            t.struct_get(*struct_type_index, *field_index, None)?;
        }
        StructGetS { struct_type_index, field_index } => {
            t.struct_get(*struct_type_index, *field_index, Some(Extend::Signed))?;
        }
        StructGetU { struct_type_index, field_index } => {
            t.struct_get(*struct_type_index, *field_index, Some(Extend::Unsigned))?;
        }
        StructSet { struct_type_index, field_index } => {
            t.struct_set(*struct_type_index, *field_index)?;
        }

        ArrayNew { array_type_index } => t.array_new(*array_type_index)?,
        ArrayNewDefault { array_type_index } => t.array_new_default(*array_type_index)?,
        ArrayNewFixed { array_type_index, array_size } => {
            t.array_new_fixed(*array_type_index, *array_size)?;
        }
        ArrayNewData { array_type_index, array_data_index } => {
            t.array_new_data(*array_type_index, *array_data_index)?;
        }
        ArrayNewElem { array_type_index, array_elem_index } => {
            t.array_new_elem(*array_type_index, *array_elem_index);
        }
        ArrayGet { array_type_index } => t.array_get(*array_type_index, None)?,
        ArrayGetS { array_type_index } => t.array_get(*array_type_index, Some(Extend::Signed))?,
        ArrayGetU { array_type_index } => t.array_get(*array_type_index, Some(Extend::Unsigned))?,
        ArraySet { array_type_index } => t.array_set(*array_type_index)?,
        ArrayLen => t.array_len(),
        ArrayFill { array_type_index } => t.array_fill(*array_type_index)?,
        ArrayCopy { array_type_index_dst: ty, .. } => t.array_copy(*ty)?,
        ArrayInitData { array_data_index, .. } => t.array_init_data(*array_data_index),
        ArrayInitElem { array_elem_index, .. } => t.array_init_elem(*array_elem_index),

        _ => {
            if !t.memory(op) && !t.numeric(op) && !t.simd(op) {
                bail!("unsupported operator: {op:?}");
            }
        }
    }
    Ok(())
}

/// Tracks the nesting of an unreachable operator.
///
/// # Errors
/// If there are too many locals in too many blocks, or too many operands.
pub(super) fn unreachable_operator(t: &mut Translator<'_, '_>, op: &Operator<'_>) -> Result<()> {
    match op {
        Operator::Block { .. }
        | Operator::Loop { .. }
        | Operator::If { .. }
        | Operator::TryTable { .. }
        | Operator::Try { .. } => t.stack.enter_unreachable(),
        Operator::Else if !t.stack.in_unreachable_construct() => t.else_()?,
        Operator::Catch { .. } | Operator::CatchAll if !t.stack.in_unreachable_construct() => {
            t.legacy_catch()?;
        }
        Operator::End | Operator::Delegate { .. } if t.stack.in_unreachable_construct() => {
            t.stack.leave_unreachable();
        }
        Operator::End | Operator::Delegate { .. } => t.end()?,
        _ => {}
    }
    Ok(())
}
