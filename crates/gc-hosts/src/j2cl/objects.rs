//! Errors and arrays of JavaScript, time, and the console.

use super::context::J2clCtx;
use crate::call::{Call, Functions};
use crate::own_type::{own_array, own_struct};
use crate::wait::failed;
use anyhow::Result;
use gc_wasm::{
    AnyRef, ArrayRef, ArrayRefPre, ArrayType, AsContextMut, Engine, ExnRef, ExnRefPre, ExnType,
    ExternRef, RootScope, Rooted, StructRef, StructRefPre, StructType, Tag, Trap, Val,
};
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

/// The largest length of an array, as in JavaScript, but no more than fits in the heap.
const LONGEST: i32 = 1 << 29;

/// The types of errors and arrays, and the tag of exceptions.
#[derive(Clone)]
pub(super) struct Objects {
    /// The message, the exception of Java, and the place of the name in [`NAMES`].
    error: StructType,
    array: ArrayType,
    tag: Tag,
    exn: ExnType,
}

const MESSAGE: usize = 0;
const JAVA: usize = 1;
const NAME: usize = 2;

/// The type of errors.
const ERROR: &str = "(struct (field externref) (field (mut (ref null any))) (field i32))";

/// The names of errors.
const NAMES: [&str; 3] = ["Error", "RangeError", "SyntaxError"];

/// The name of an error, and its message.
type NameAndMessage = (&'static str, Option<Rooted<ExternRef>>);

/// The name and the message of an error, if the value is one.
pub(crate) fn error(
    mut store: impl AsContextMut,
    value: Rooted<ExternRef>,
) -> Result<Option<NameAndMessage>> {
    let Some(value) = AnyRef::convert_extern(&store, value)?.as_struct(&store)? else {
        return Ok(None);
    };
    if value.ty(&store)? != own_struct(store.as_context().engine(), ERROR)? {
        return Ok(None);
    }
    let message = match value.field(&mut store, MESSAGE)? {
        Val::ExternRef(message) => message,
        _ => None,
    };
    Ok(Some((name(&value.field(&mut store, NAME)?), message)))
}

/// The name that an error has in its field.
fn name(field: &Val) -> &'static str {
    let index = field.i32().and_then(|index| usize::try_from(index).ok());
    index.and_then(|index| NAMES.get(index)).unwrap_or(&NAMES[0])
}

impl Objects {
    pub(super) fn new(engine: &Engine, tag: Tag) -> Result<Objects> {
        Ok(Objects {
            error: own_struct(engine, ERROR)?,
            array: own_array(engine, "(array (mut externref))")?,
            tag,
            exn: ExnType::new(engine, [gc_wasm::ValType::EXTERNREF])?,
        })
    }

    fn new_error<T: 'static>(
        &self,
        call: &mut Call<'_, '_, T>,
        name: &str,
        message: Val,
    ) -> Result<Rooted<StructRef>> {
        let name = NAMES.iter().position(|other| *other == name).unwrap_or(0);
        let fields = [message, Val::AnyRef(None), Val::I32(name as i32)];
        let allocator = StructRefPre::new(&mut *call.caller, self.error.clone());
        StructRef::new(&mut *call.caller, &allocator, &fields)
    }

    /// An error as text: its name and its message.
    fn error_text<T: 'static>(
        &self,
        call: &mut Call<'_, '_, T>,
        error: &Rooted<StructRef>,
    ) -> Result<Vec<u16>> {
        let name = name(&error.field(&mut *call.caller, NAME)?);
        let mut text: Vec<u16> = name.encode_utf16().collect();
        if let Val::ExternRef(Some(message)) = error.field(&mut *call.caller, MESSAGE)? {
            let message = call.part(message, 0..usize::MAX)?;
            if !message.is_empty() {
                text.extend(": ".encode_utf16().chain(message));
            }
        }
        Ok(text)
    }

    /// The error in an argument, if it is one.
    fn error<T>(&self, call: &Call<'_, '_, T>, n: usize) -> Result<Option<Rooted<StructRef>>> {
        let Some(value) = call.external(n)? else { return Ok(None) };
        let Some(value) = AnyRef::convert_extern(&*call.caller, value)?.as_struct(&*call.caller)?
        else {
            return Ok(None);
        };
        Ok(value.matches_ty(&*call.caller, &self.error)?.then_some(value))
    }

    fn array<T>(&self, call: &Call<'_, '_, T>) -> Result<Rooted<ArrayRef>> {
        let array = call.object(0)?.as_array(&*call.caller)?.ok_or(Trap::CastFailure)?;
        match array.matches_ty(&*call.caller, &self.array)? {
            true => Ok(array),
            false => Err(Trap::CastFailure.into()),
        }
    }

    /// Throws a value, as JavaScript does.
    fn throw_value<T: 'static>(&self, call: Call<'_, '_, T>, value: Val) -> Result<()> {
        let allocator = ExnRefPre::new(&mut *call.caller, self.exn.clone());
        let exception = ExnRef::new(&mut *call.caller, &allocator, &self.tag, &[value])?;
        call.caller.as_context_mut().throw(exception)
    }

    /// Throws an error with this name, which is one of [`NAMES`], and this message.
    pub(super) fn throw<T: 'static>(
        &self,
        mut call: Call<'_, '_, T>,
        name: &str,
        message: &str,
    ) -> Result<()> {
        let message = call.new_string(&message.encode_utf16().collect::<Vec<_>>())?;
        let error = self.new_error(&mut call, name, Val::ExternRef(Some(message)))?;
        let error = ExternRef::convert_any(&*call.caller, error.to_anyref())?;
        self.throw_value(call, Val::ExternRef(Some(error)))
    }

    /// Returns an array of strings, which are parts of a text.
    pub(super) fn give_parts<T: 'static>(
        &self,
        call: Call<'_, '_, T>,
        text: &[u16],
        parts: &[Option<Range<usize>>],
    ) -> Result<()> {
        let count = u32::try_from(parts.len()).map_err(|_| Trap::AllocationTooLarge)?;
        let (null, strings) = (Val::ExternRef(None), call.strings());
        let allocator = ArrayRefPre::new(&mut *call.caller, self.array.clone());
        let array = ArrayRef::new(&mut *call.caller, &allocator, &null, count)?;
        for (index, part) in (0..).zip(parts) {
            let Some(part) = part.as_ref().and_then(|part| text.get(part.clone())) else {
                continue;
            };
            let mut scope = RootScope::new(&mut *call.caller);
            let string = strings.make(&mut scope, part)?;
            array.set(&mut scope, index, Val::ExternRef(Some(string)))?;
        }
        call.give_object(array.to_anyref())
    }
}

/// Defines the functions. `get` returns the context from the data of the store.
pub(super) fn define<T: 'static>(
    of: &mut Functions<'_, T>,
    objects: &Objects,
    get: impl Fn(&mut T) -> &mut J2clCtx + Copy + Send + Sync + 'static,
) -> Result<()> {
    errors(of, objects)?;
    arrays(of, objects)?;
    of.func("performance.now", ">d", move |call| {
        let elapsed = get(call.caller.data_mut()).elapsed();
        call.give_f64(elapsed.as_secs_f64() * 1e3)
    })?;
    of.func("Date.now", ">d", |call| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        call.give_f64(now.map_or(0.0, |now| now.as_millis() as f64))
    })?;
    of.func("j2wasm.StringUtils.generateClassName", ">x", move |call| {
        let name = get(call.caller.data_mut()).class_name();
        call.give_text(&name)
    })?;
    of.func("j2wasm.ConsoleUtils.log", "xx", move |call| {
        let (level, message) = (call.text(0)?, call.text(1)?);
        let stdio = get(call.caller.data_mut()).stdio();
        let stream = match &*level {
            "error" | "warn" | "trace" => &stdio.stderr,
            _ => &stdio.stdout,
        };
        stream.write_all(format!("{message}\n").as_bytes()).map_err(failed("printing"))
    })?;
    of.func("j2wasm.EqualityUtils.isSame", "xx>i", |call| {
        let same = match (call.external(0)?, call.external(1)?) {
            (None, None) => true,
            (Some(a), Some(b)) if call.is_string(0)? && call.is_string(1)? => {
                Rooted::ref_eq(&*call.caller, &a, &b)? || call.units(0)? == call.units(1)?
            }
            (Some(a), Some(b)) => Rooted::ref_eq(&*call.caller, &a, &b)?,
            _ => false,
        };
        call.give_bool(same)
    })
}

fn errors<T: 'static>(of: &mut Functions<'_, T>, objects: &Objects) -> Result<()> {
    for name in ["Error", "Error.constructor"] {
        let with = objects.clone();
        of.func_of(name, "x>x", move |mut call| {
            let message = Val::ExternRef(call.external(0)?);
            let error = with.new_error(&mut call, NAMES[0], message)?;
            call.give_object(error.to_anyref())
        })?;
        let with = objects.clone();
        of.func_of(name, ">x", move |mut call| {
            let error = with.new_error(&mut call, NAMES[0], Val::ExternRef(None))?;
            call.give_object(error.to_anyref())
        })?;
    }
    let with = objects.clone();
    of.func("j2wasm.ExceptionUtils.throwException", "x", move |call| {
        let value = Val::ExternRef(call.external(0)?);
        with.throw_value(call, value)
    })?;
    let with = objects.clone();
    of.func("j2wasm.ExceptionUtils.isError", "x>i", move |call| {
        let error = with.error(&call, 0)?;
        call.give_bool(error.is_some())
    })?;
    let with = objects.clone();
    of.func("j2wasm.ExceptionUtils.setJavaThrowable", "xa", move |call| {
        match with.error(&call, 0)? {
            Some(error) => {
                let java = Val::AnyRef(call.internal_or_null(1)?);
                error.set_field(&mut *call.caller, JAVA, java)
            }
            None => Ok(()),
        }
    })?;
    let with = objects.clone();
    of.func("j2wasm.ExceptionUtils.getJavaThrowable", "x>a", move |call| {
        let java = match with.error(&call, 0)? {
            Some(error) => error.field(&mut *call.caller, JAVA)?,
            None => Val::AnyRef(None),
        };
        call.give(java)
    })?;
    // Errors have no stack traces.
    of.func("get Error.captureStackTrace", ">i", |call| call.give_bool(true))?;
    of.func("Error.captureStackTrace", "x", |_| Ok(()))?;
    of.func("set Error.stack", "xx", |_| Ok(()))?;
    for name in ["get Error.stack", "Error.toString", "?.toString"] {
        let with = objects.clone();
        of.func(name, "x>x", move |mut call| {
            if call.is_string(0)? {
                let value = Val::ExternRef(call.external(0)?);
                return call.give(value);
            }
            match with.error(&call, 0)? {
                Some(error) => {
                    let text = with.error_text(&mut call, &error)?;
                    call.give_units(&text)
                }
                None => call.give_text("[object Object]"),
            }
        })?;
    }
    Ok(())
}

fn arrays<T: 'static>(of: &mut Functions<'_, T>, objects: &Objects) -> Result<()> {
    let with = objects.clone();
    of.func("Array", "i>x", move |call| {
        let length = call.i32(0)?;
        if !(0..=LONGEST).contains(&length) {
            return with.throw(call, "RangeError", "Invalid array length");
        }
        let null = Val::ExternRef(None);
        let allocator = ArrayRefPre::new(&mut *call.caller, with.array.clone());
        let array = ArrayRef::new(&mut *call.caller, &allocator, &null, length as u32)?;
        call.give_object(array.to_anyref())
    })?;
    for name in ["j2wasm.ArrayUtils.getArrayLength", "get Array.length"] {
        let with = objects.clone();
        of.func(name, "x>i", move |call| {
            let length = with.array(&call)?.len(&*call.caller)?;
            call.give_i32(length as i32)
        })?;
    }
    for name in ["j2wasm.ArrayUtils.getArrayAt", "Array.at"] {
        let with = objects.clone();
        of.func(name, "xi>x", move |call| {
            let array = with.array(&call)?;
            let (index, length) = (call.i32(1)? as u32, array.len(&*call.caller)?);
            match index < length {
                true => {
                    let element = array.get(&mut *call.caller, index)?;
                    call.give(element)
                }
                false => call.give(Val::ExternRef(None)),
            }
        })?;
    }
    let with = objects.clone();
    of.func("j2wasm.ArrayUtils.setArrayAt", "xix", move |call| {
        let value = Val::ExternRef(call.external(2)?);
        let array = with.array(&call)?;
        if call.i32(1)? as u32 >= array.len(&*call.caller)? {
            return Err(Trap::ArrayOutOfBounds.into());
        }
        let index = call.i32(1)? as u32;
        array.set(&mut *call.caller, index, value)
    })
}
