//! Random numbers: the functions of `__moonbit_rand_unstable`. A generator is an object in the heap
//! of the program. It is `SplitMix64`, so the numbers are not those of MoonBit's own runtime.

use super::values::HostRef;
use crate::own_type::own_struct;
use anyhow::{Context, Result, bail, ensure};
use gc_wasm::{
    AnyRef, Caller, Engine, ExternRef, Linker, StructRef, StructRefPre, StructType, Val,
};
use std::sync::{Arc, OnceLock};

const RAND: &str = "__moonbit_rand_unstable";

/// The type of generators, which is made when a program first needs it.
#[derive(Default)]
struct Generator(OnceLock<StructType>);

impl Generator {
    fn ty(&self, engine: &Engine) -> Result<&StructType> {
        if let Some(ty) = self.0.get() {
            return Ok(ty);
        }
        let ty = own_struct(engine, "(struct (field (mut i64)))")?;
        Ok(self.0.get_or_init(|| ty))
    }
}

/// The next state, and the number that it gives.
fn next(state: u64) -> (u64, u64) {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (state, mixed ^ (mixed >> 31))
}

/// Defines the functions.
pub(super) fn add_to_linker<T: 'static>(linker: &mut Linker<T>) -> Result<()> {
    let generator = Arc::new(Generator::default());
    let with = generator.clone();
    linker.func_wrap(
        RAND,
        "stdrng_seed_from_u64",
        move |mut caller: Caller<'_, T>, seed: i32| -> Result<HostRef> {
            let ty = with.ty(caller.engine())?;
            let allocator = StructRefPre::new(&mut caller, ty.clone());
            let made = StructRef::new(&mut caller, &allocator, &[Val::I64(seed.into())])?;
            ExternRef::convert_any(&caller, made.to_anyref()).map(Some)
        },
    )?;
    linker.func_wrap(
        RAND,
        "stdrng_gen_range",
        move |mut caller: Caller<'_, T>, value: HostRef, bound: i32| -> Result<i32> {
            ensure!(bound > 0, "there is no number below {bound}");
            let ty = generator.ty(caller.engine())?;
            let value = value.map(|value| AnyRef::convert_extern(&caller, value)).transpose()?;
            let found = value.map(|value| value.as_struct(&caller)).transpose()?.flatten();
            let Some(found) = found else {
                bail!("MoonBit's host got a value that is no generator")
            };
            ensure!(
                found.matches_ty(&caller, ty)?,
                "MoonBit's host got a value that is no generator"
            );
            let state = found.field(&mut caller, 0)?.i64().context("the state of a generator")?;
            let (state, number) = next(state as u64);
            found.set_field(&mut caller, 0, Val::I64(state as i64))?;
            Ok(((u128::from(number) * bound as u128) >> 64) as i32)
        },
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::next;

    /// The first numbers for a seed, as the literature has them.
    #[test]
    fn numbers_are_those_of_splitmix64() {
        let (state, first) = next(1_234_567);
        let (_, second) = next(state);
        assert_eq!(first, 6_457_827_717_110_365_317);
        assert_eq!(second, 3_203_168_211_198_807_973);
    }
}
