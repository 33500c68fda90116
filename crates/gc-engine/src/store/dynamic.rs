//! Calls of functions whose types are not known when the host is compiled.
#![allow(unsafe_code)]

use super::StoreInner;
use crate::{Handle as _, Type, Val, Value as _};
use anyhow::{Context as _, Result, bail, ensure};
use gc_types::{StorageType, ValRaw};

impl StoreInner {
    /// Calls the function with this name.
    pub(super) fn call_with(&mut self, name: &str, args: &[Val]) -> Result<Vec<Val>> {
        let signature = self.signature_of(name);
        let signature =
            signature.with_context(|| format!("there is no function `{name}`"))?.clone();
        let (params, results) = (signature.params(), signature.results());
        ensure!(
            params.len() == args.len(),
            "the function `{name}` takes {} values, but is called with {}",
            params.len(),
            args.len()
        );
        self.drop_dead_handles();
        // All handles are checked before the first is used.
        for (number, (value, ty)) in args.iter().zip(params).enumerate() {
            let checked = value.check(self, StorageType::from(*ty));
            checked.with_context(|| format!("argument {number} of the function `{name}`"))?;
        }
        let mut slots = vec![ValRaw::ZERO; params.len().max(results.len())];
        for (slot, value) in slots.iter_mut().zip(args) {
            *slot = match value {
                Val::I32(value) => ValRaw::i32(*value),
                Val::I64(value) => ValRaw::i64(*value),
                Val::F32(value) => ValRaw::f32(value.to_bits()),
                Val::F64(value) => ValRaw::f64(value.to_bits()),
                Val::Ref(None) => ValRaw::ZERO,
                Val::Ref(Some(value)) => ValRaw::u64(value.raw(self)?.as_raw_u32().into()),
            };
        }
        // SAFETY: the slots hold arguments of the function's type, which were checked, and are enough for its results.
        unsafe { self.call_by_name(name, &mut slots)? };
        let values = slots.into_iter().zip(results).map(|(slot, ty)| match ty {
            Type::I32 => Ok(Val::I32(slot.get_i32())),
            Type::I64 => Ok(Val::I64(slot.get_i64())),
            Type::F32 => Ok(Val::F32(f32::from_bits(slot.get_f32()))),
            Type::F64 => Ok(Val::F64(f64::from_bits(slot.get_f64()))),
            Type::Ref => Ok(Val::Ref(Option::from_raw(self, slot)?)),
            Type::Func => bail!("the function `{name}` returns a reference to a function"),
        });
        values.collect()
    }
}
