//! Types of a host's own objects. Such a type stands in a recursion group of its own, which no
//! compiler emits, so a program cannot make an object of it by mistake.

use anyhow::{Result, bail};
use gc_wasm::{ArrayType, Engine, ExternType, HeapType, Module, StructType};

/// The type that `text` defines, which is a type of the text format and names itself `$t`.
fn own_type(engine: &Engine, text: &str) -> Result<Option<HeapType>> {
    // The second type makes the group one that no compiler emits.
    let module = Module::new(
        engine,
        format!(
            "(module
                (rec (type $t {text}) (type (struct (field (ref $t) i8 i16 f64))))
                (global (export \"t\") (ref null $t) (ref.null $t)))"
        ),
    )?;
    Ok(match module.get_export("t") {
        Some(ExternType::Global(ty)) => ty.content().as_ref().map(|ty| ty.heap_type().clone()),
        _ => None,
    })
}

/// The array type that `text` defines.
pub(crate) fn own_array(engine: &Engine, text: &str) -> Result<ArrayType> {
    match own_type(engine, text)? {
        Some(HeapType::ConcreteArray(ty)) => Ok(ty),
        _ => bail!("{text} is no array type"),
    }
}

/// The struct type that `text` defines.
pub(crate) fn own_struct(engine: &Engine, text: &str) -> Result<StructType> {
    match own_type(engine, text)? {
        Some(HeapType::ConcreteStruct(ty)) => Ok(ty),
        _ => bail!("{text} is no struct type"),
    }
}
