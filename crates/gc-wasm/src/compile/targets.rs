//! [`Targets`]: which functions of the module a call through a reference is likely to call.
//!
//! A module names the functions to which it makes references: in element segments, and with
//! `ref.func` in initial values of globals. If few functions of a type are named, a call of that type
//! compares the reference with the small ones among them first. A function that is found this way is
//! called directly, and may be inlined. Other functions, which may come from other instances, are
//! called through the reference as ever. This is the class hierarchy analysis of Dean, Grove and
//! Chambers (ECOOP 1995) for functions, with a guard because modules are open.

use crate::module::info::ModuleInfo;
use gc_types::TypeIndex;
use std::collections::{HashMap, HashSet};

/// The maximum number of functions with which a reference is compared.
const MAX_TARGETS: usize = 4;

/// The functions that references are likely to refer to, by the type of the reference.
#[derive(Default)]
pub(crate) struct Targets {
    /// The functions of a type or its subtypes, in the order of their indices.
    by_type: HashMap<TypeIndex, Vec<u32>>,
}

impl Targets {
    /// The targets of a module. The bodies of the functions in `small` can be inlined.
    pub(super) fn new(info: &ModuleInfo, small: &HashSet<u32>) -> Targets {
        let mut by_type: HashMap<TypeIndex, Vec<u32>> = HashMap::new();
        for (index, func) in (0..).zip(&info.funcs).filter(|(_, func)| func.named) {
            for ancestor in &info.types.registered(func.ty).chain {
                let targets =
                    by_type.entry(TypeIndex::new(*ancestor).expect("a type")).or_default();
                // One more than is allowed shows that there are too many.
                if targets.len() <= MAX_TARGETS {
                    targets.push(index);
                }
            }
        }
        by_type.retain(|_, targets| targets.len() <= MAX_TARGETS);
        by_type.values_mut().for_each(|targets| targets.retain(|index| small.contains(index)));
        Targets { by_type }
    }

    /// The functions that a reference of type `ty` is likely to refer to. They are functions of the
    /// module that can be inlined. There are none if too many functions of this type are named.
    pub(super) fn of(&self, ty: TypeIndex) -> &[u32] {
        self.by_type.get(&ty).map_or(&[], Vec::as_slice)
    }
}
