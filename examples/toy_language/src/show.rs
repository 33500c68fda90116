//! Values as texts, by typed fields and handles of the host.

use crate::types::Types;
use anyhow::Result;
use gc_engine::{AsStoreMut, Field, Rooted, Val};

/// The maximum depth and the maximum number of bytes that are shown. A value may share its parts
/// and be exponentially longer as text, or contain itself.
const MAX_SHOWN: (u32, usize) = (50, 1 << 16);

/// The text of a value. A string is its own text; inside of other values, it is quoted.
pub(crate) fn show(
    types: &Types,
    store: &mut impl AsStoreMut,
    value: Option<Rooted>,
) -> Result<String> {
    if let Some(array) = value.as_ref().and_then(|value| value.cast(store).ok())
        && let Ok(bytes) = types.string.bytes(store, &array)
    {
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    let mut text = String::new();
    append(types, store, value, 0, &mut text)?;
    Ok(text)
}

fn append(
    types: &Types,
    store: &mut impl AsStoreMut,
    value: Option<Rooted>,
    depth: u32,
    out: &mut String,
) -> Result<()> {
    let Some(value) = value else {
        *out += "()";
        return Ok(());
    };
    if let Some(integer) = value.i31(store)? {
        *out += &integer.to_string();
        return Ok(());
    }
    if depth == MAX_SHOWN.0 || out.len() > MAX_SHOWN.1 {
        *out += "...";
        return Ok(());
    }
    match value.type_name(store)?.unwrap_or_default() {
        "pair" => {
            let head: Field<Option<Rooted>> = types.pair.field(0)?;
            let tail: Field<Option<Rooted>> = types.pair.field(1)?;
            let (mut rest, mut separator) = (Some(value), '(');
            while let Some(pair) = rest {
                out.push(std::mem::replace(&mut separator, ' '));
                if out.len() > MAX_SHOWN.1 {
                    *out += "...";
                    break;
                }
                let pair = pair.cast(store)?;
                let first = head.get(store, &pair)?;
                append(types, store, first, depth + 1, out)?;
                rest = tail.get(store, &pair)?;
            }
            out.push(')');
        }
        "vector" => {
            let vector = value.cast(store)?;
            out.push('[');
            for index in 0..types.vector.len(store, &vector)? {
                if index > 0 {
                    out.push(' ');
                }
                if out.len() > MAX_SHOWN.1 {
                    *out += "...";
                    break;
                }
                if let Val::Ref(element) = types.vector.get(store, &vector, index)? {
                    append(types, store, element, depth + 1, out)?;
                }
            }
            out.push(']');
        }
        "string" => {
            let bytes = types.string.bytes(store, &value.cast(store)?)?;
            *out += &format!("{:?}", String::from_utf8_lossy(&bytes));
        }
        "symbol" => {
            let name: Option<Rooted> = types.symbol.field(0)?.get(store, &value.cast(store)?)?;
            *out += &show(types, store, name)?;
        }
        _ => *out += "a function",
    }
    Ok(())
}
