//! JavaScript's strings: the functions of `wasm:js-string`, and constants that a module imports as
//! globals (<https://github.com/WebAssembly/js-string-builtins>).
//!
//! A string is an array of UTF-16 code units in the heap, of a type that a program cannot make by
//! mistake: an array of its own is no string.

use crate::host::Host;
use crate::strings::{Strings, units};
use anyhow::{Context, Result, bail};
use gc_wasm::{
    ArrayRef, Caller, ExternRef, ExternType, FuncType, Global, GlobalType, HeapType, Linker,
    Module, Mutability, RefType, Rooted, Store, Trap, Val, ValType,
};
use std::cmp::Ordering;
use std::sync::Arc;

/// The module of the functions.
pub const MODULE: &str = "wasm:js-string";

/// The modules of constants: the one of the proposal, and the one of MoonBit.
pub const CONSTANTS: [&str; 2] = ["'", "_"];

/// JavaScript's strings as a host.
pub(crate) const HOST: Host = Host {
    name: "js-string",
    summary: "JavaScript's strings: `wasm:js-string` and imported string constants",
    claims: |import| match import.ty() {
        ExternType::Func(_) => import.module() == MODULE,
        ExternType::Global(ty) => CONSTANTS.contains(&import.module()) && is_constant(&ty),
        _ => false,
    },
    define: |linker, store, module| {
        add_to_linker(linker)?;
        add_constants_to_linker(linker, store, module, &CONSTANTS)
    },
    reads_args: false,
};

/// Whether a global of this type can be a string constant.
fn is_constant(ty: &GlobalType) -> bool {
    let content = ty.content().as_ref();
    ty.mutability() == Mutability::Const
        && content.is_some_and(|ty| *ty.heap_type() == HeapType::Extern)
}

type StringRef = Option<Rooted<ExternRef>>;

/// Defines the functions of `wasm:js-string`.
///
/// # Errors
/// If a name is taken, or the engine has too many types.
pub fn add_to_linker<T: 'static>(linker: &mut Linker<T>) -> Result<()> {
    let types = Arc::new(Strings::new(linker.engine())?);
    tests_and_reads(linker, &types)?;
    makers(linker, &types)?;
    arrays(linker, &types)
}

/// A function that returns a string, which is never null.
fn maker<T: 'static>(
    linker: &mut Linker<T>,
    name: &str,
    params: &[ValType],
    make: impl Fn(&mut Caller<'_, T>, &[Val]) -> Result<Rooted<ExternRef>> + Send + Sync + 'static,
) -> Result<()> {
    let string = ValType::Ref(RefType::new(false, HeapType::Extern));
    let ty = FuncType::new(linker.engine(), params.iter().cloned(), [string]);
    linker.func_new(MODULE, name, ty, move |mut caller, args, results| {
        results[0] = Val::ExternRef(Some(make(&mut caller, args)?));
        Ok(())
    })?;
    Ok(())
}

fn i32_of(value: &Val) -> Result<u32> {
    value.i32().map(|value| value as u32).context("a number")
}

fn string_of(value: &Val) -> StringRef {
    match value {
        Val::ExternRef(value) => *value,
        _ => None,
    }
}

fn tests_and_reads<T: 'static>(linker: &mut Linker<T>, types: &Arc<Strings>) -> Result<()> {
    let with = types.clone();
    linker.func_wrap(
        MODULE,
        "test",
        move |caller: Caller<'_, T>, value: StringRef| -> Result<i32> {
            let found = value.map(|value| with.find(&caller, value)).transpose()?;
            Ok(i32::from(found.flatten().is_some()))
        },
    )?;
    let with = types.clone();
    linker.func_wrap(
        MODULE,
        "length",
        move |caller: Caller<'_, T>, value: StringRef| -> Result<u32> {
            with.string(&caller, value)?.len(&caller)
        },
    )?;
    let with = types.clone();
    linker.func_wrap(
        MODULE,
        "charCodeAt",
        move |caller: Caller<'_, T>, value: StringRef, index: u32| -> Result<u32> {
            let string = with.string(&caller, value)?;
            if index >= string.len(&caller)? {
                return Err(Trap::ArrayOutOfBounds.into());
            }
            Ok(units(&caller, &string, index, 1)?[0].into())
        },
    )?;
    let with = types.clone();
    linker.func_wrap(
        MODULE,
        "codePointAt",
        move |caller: Caller<'_, T>, value: StringRef, index: u32| -> Result<u32> {
            let string = with.string(&caller, value)?;
            let len = string.len(&caller)?;
            if index >= len {
                return Err(Trap::ArrayOutOfBounds.into());
            }
            let units = units(&caller, &string, index, (len - index).min(2))?;
            let first = char::decode_utf16(units.iter().copied()).next();
            Ok(match first {
                Some(Ok(c)) => c.into(),
                _ => units[0].into(),
            })
        },
    )?;
    let with = types.clone();
    linker.func_wrap(
        MODULE,
        "equals",
        move |caller: Caller<'_, T>, a: StringRef, b: StringRef| -> Result<i32> {
            let (a, b) = (with.units_or_null(&caller, a)?, with.units_or_null(&caller, b)?);
            Ok(i32::from(a == b))
        },
    )?;
    let with = types.clone();
    linker.func_wrap(
        MODULE,
        "compare",
        move |caller: Caller<'_, T>, a: StringRef, b: StringRef| -> Result<i32> {
            let (a, b) = (with.units(&caller, a)?, with.units(&caller, b)?);
            Ok(match a.cmp(&b) {
                Ordering::Less => -1,
                Ordering::Equal => 0,
                Ordering::Greater => 1,
            })
        },
    )?;
    Ok(())
}

fn makers<T: 'static>(linker: &mut Linker<T>, types: &Arc<Strings>) -> Result<()> {
    let (string, number) = (ValType::EXTERNREF, ValType::I32);
    let with = types.clone();
    maker(linker, "cast", std::slice::from_ref(&string), move |caller, args| {
        let value = string_of(&args[0]).ok_or(Trap::NullReference)?;
        with.find(caller, value)?.ok_or(Trap::CastFailure)?;
        Ok(value)
    })?;
    let with = types.clone();
    maker(linker, "fromCharCode", std::slice::from_ref(&number), move |caller, args| {
        let unit = i32_of(&args[0])? as u16;
        with.make(caller, &[unit])
    })?;
    let with = types.clone();
    maker(linker, "fromCodePoint", std::slice::from_ref(&number), move |caller, args| {
        let code = i32_of(&args[0])?;
        let mut units = [code as u16, 0];
        let len = match char::from_u32(code) {
            Some(c) => c.encode_utf16(&mut units).len(),
            // Half of a pair.
            None if code < 0x1_0000 => 1,
            None => bail!("`fromCodePoint`: {code:#x} is no code point"),
        };
        with.make(caller, &units[..len])
    })?;
    let with = types.clone();
    maker(linker, "concat", &[string.clone(), string.clone()], move |caller, args| {
        let a = with.string(caller, string_of(&args[0]))?;
        let b = with.string(caller, string_of(&args[1]))?;
        let (begin, end) = (a.len(&*caller)?, b.len(&*caller)?);
        with.check_length(&*caller, begin as usize + end as usize)?;
        let mut bytes = vec![0; 2 * (begin as usize + end as usize)];
        let (first, second) = bytes.split_at_mut(2 * begin as usize);
        a.read_bytes(&*caller, 0, first)?;
        b.read_bytes(&*caller, 0, second)?;
        with.make_of_bytes(caller, &bytes)
    })?;
    let with = types.clone();
    maker(linker, "substring", &[string, number.clone(), number], move |caller, args| {
        let string = with.string(caller, string_of(&args[0]))?;
        let len = string.len(&*caller)?;
        let (start, end) = (i32_of(&args[1])?, i32_of(&args[2])?.min(len));
        let units = match start < end {
            true => units(caller, &string, start, end - start)?,
            false => Vec::new(),
        };
        with.make(caller, &units)
    })
}

/// The functions that copy between strings and arrays.
fn arrays<T: 'static>(linker: &mut Linker<T>, types: &Arc<Strings>) -> Result<()> {
    let number = ValType::I32;
    let chars = ValType::Ref(RefType::new(true, HeapType::ConcreteArray(types.chars.clone())));
    let with = types.clone();
    let params = [chars.clone(), number.clone(), number.clone()];
    maker(linker, "fromCharCodeArray", &params, move |caller, args| {
        let array = array_of(caller, &args[0])?;
        let (start, end) = (i32_of(&args[1])?, i32_of(&args[2])?);
        if start > end || end > array.len(&*caller)? {
            return Err(Trap::ArrayOutOfBounds.into());
        }
        let units = units(caller, &array, start, end - start)?;
        with.make(caller, &units)
    })?;
    let with = types.clone();
    let params = [ValType::EXTERNREF, chars, number.clone()];
    let ty = FuncType::new(linker.engine(), params, [number]);
    linker.func_new(MODULE, "intoCharCodeArray", ty, move |mut caller, args, results| {
        let string = with.string(&caller, string_of(&args[0]))?;
        let array = array_of(&caller, &args[1])?;
        let (start, len) = (i32_of(&args[2])?, string.len(&caller)?);
        let room = array.len(&caller)?;
        if start.checked_add(len).is_none_or(|end| end > room) {
            return Err(Trap::ArrayOutOfBounds.into());
        }
        let mut bytes = vec![0; 2 * len as usize];
        string.read_bytes(&caller, 0, &mut bytes)?;
        array.write_bytes(&mut caller, start, &bytes)?;
        results[0] = Val::I32(len as i32);
        Ok(())
    })?;
    Ok(())
}

/// The array that an argument refers to.
fn array_of<T: 'static>(caller: &Caller<'_, T>, value: &Val) -> Result<Rooted<ArrayRef>> {
    let Val::AnyRef(Some(value)) = value else { return Err(Trap::NullReference.into()) };
    Ok(value.as_array(caller)?.ok_or(Trap::CastFailure)?)
}

/// Defines the string constants that `module` imports from the modules `from`: a global whose name
/// is the text.
///
/// # Errors
/// If a name is taken, or the heap is full.
pub fn add_constants_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    store: &mut Store<T>,
    module: &Module,
    from: &[&str],
) -> Result<()> {
    let mut types = None;
    for import in module.imports() {
        let ExternType::Global(ty) = import.ty() else { continue };
        if !from.contains(&import.module()) || !is_constant(&ty) {
            continue;
        }
        let types = match &types {
            Some(types) => types,
            None => types.insert(Strings::new(linker.engine())?),
        };
        let units: Vec<u16> = import.name().encode_utf16().collect();
        let mut scope = gc_wasm::RootScope::new(&mut *store);
        let string = types.make(&mut scope, &units)?;
        let global = Global::new(&mut scope, ty, Val::ExternRef(Some(string)))?;
        drop(scope);
        linker.define(&*store, import.module(), import.name(), global)?;
    }
    Ok(())
}
