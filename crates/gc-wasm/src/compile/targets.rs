//! [`Targets`]: which functions of the module a call through a reference is likely to call.
//!
//! A module names the functions to which it makes references: in element segments, and with
//! `ref.func` in initial values of globals. If few functions of a type are named, a call of that type
//! compares the reference with them first. A function that is found this way is called directly, and
//! may be inlined. Other functions, which may come from other instances, are called through the
//! reference as ever. This is the class hierarchy analysis of Dean, Grove and Chambers (ECOOP 1995)
//! for functions, with a guard because modules are open.
//!
//! Classes have tables of methods: structs that are initial values of globals. If the reference was
//! read from a field, only the functions count that are in this field of such structs.

use crate::module::info::ModuleInfo;
use gc_types::TypeIndex;
use std::collections::HashMap;
use wasmtime_types::{ConstExpr, ConstOp};

/// The maximum number of functions with which a reference is compared.
const MAX_TARGETS: usize = 4;

/// A field of a struct type.
pub(in crate::compile) type Field = (TypeIndex, u32);

/// The functions that references are likely to refer to.
#[derive(Default)]
pub(crate) struct Targets {
    /// The functions of a type or its subtypes, in the order of their indices.
    by_type: HashMap<TypeIndex, Vec<u32>>,
    /// The functions in a field of structs of a type or its subtypes.
    by_field: HashMap<Field, Vec<u32>>,
}

impl Targets {
    /// The targets of a module.
    pub(super) fn new(info: &ModuleInfo) -> Targets {
        let mut targets = Targets::default();
        let named = (0..).zip(&info.funcs).filter(|(_, func)| func.named);
        for (index, func) in named.filter(|(index, _)| info.defined_func(*index).is_some()) {
            for ancestor in ancestors(info, func.ty) {
                add(targets.by_type.entry(ancestor).or_default(), index);
            }
        }
        info.global_inits.iter().for_each(|init| targets.look_into(info, init));
        targets.by_type.retain(|_, found| found.len() <= MAX_TARGETS);
        targets.by_field.retain(|_, found| found.len() <= MAX_TARGETS);
        targets
    }

    /// Adds the functions in the fields of the structs that `init` makes.
    fn look_into(&mut self, info: &ModuleInfo, init: &ConstExpr) {
        let mut stack: Vec<Option<u32>> = Vec::new();
        for op in init.ops() {
            let (popped, pushed) = match op {
                ConstOp::RefFunc(index) => (0, Some(index.as_u32())),
                ConstOp::StructNew { struct_type_index } => {
                    let ty = info.types.get(struct_type_index.as_u32());
                    let fields = &info.types.registered(ty).sub_type.unwrap_struct().fields;
                    let count = fields.len().min(stack.len());
                    let values = &stack[stack.len() - count..];
                    for (field, index) in (0..).zip(values) {
                        let Some(index) = index.filter(|at| info.defined_func(*at).is_some())
                        else {
                            continue;
                        };
                        // A supertype that lacks the field is never asked for it.
                        for ancestor in ancestors(info, ty) {
                            add(self.by_field.entry((ancestor, field)).or_default(), index);
                        }
                    }
                    (count, None)
                }
                ConstOp::ArrayNewFixed { array_size, .. } => (*array_size as usize, None),
                ConstOp::I32Add
                | ConstOp::I32Sub
                | ConstOp::I32Mul
                | ConstOp::I64Add
                | ConstOp::I64Sub
                | ConstOp::I64Mul
                | ConstOp::ArrayNew { .. } => (2, None),
                ConstOp::RefI31
                | ConstOp::ArrayNewDefault { .. }
                | ConstOp::ExternConvertAny
                | ConstOp::AnyConvertExtern => (1, None),
                ConstOp::I32Const(_)
                | ConstOp::I64Const(_)
                | ConstOp::F32Const(_)
                | ConstOp::F64Const(_)
                | ConstOp::V128Const(_)
                | ConstOp::GlobalGet(_)
                | ConstOp::RefNull(_)
                | ConstOp::StructNewDefault { .. } => (0, None),
            };
            stack.truncate(stack.len().saturating_sub(popped));
            stack.push(pushed);
        }
    }

    /// The functions that a reference of type `ty` is likely to refer to, if it was read from `field`.
    /// There are none if there would be too many.
    pub(super) fn of(&self, ty: TypeIndex, field: Option<Field>) -> &[u32] {
        let in_field = field.and_then(|field| self.by_field.get(&field));
        in_field.or_else(|| self.by_type.get(&ty)).map_or(&[], Vec::as_slice)
    }
}

/// A type and its supertypes.
fn ancestors(info: &ModuleInfo, ty: TypeIndex) -> impl Iterator<Item = TypeIndex> + '_ {
    let chain = info.types.registered(ty).chain.iter();
    chain.map(|ancestor| TypeIndex::new(*ancestor).expect("a type"))
}

/// Adds a function that is not there yet. One more than is allowed shows that there are too many.
fn add(found: &mut Vec<u32>, index: u32) {
    if found.len() <= MAX_TARGETS && !found.contains(&index) {
        found.push(index);
    }
}
