//! Functions of hosts that JavaScript implements elsewhere, and calls of them.
//!
//! JavaScript takes whatever a module passes, so compilers import the same function with one type
//! of reference or another: `externref` here, `(ref extern)` there. A function is therefore defined
//! with the type with which a module imports it, if that has the right numbers and hierarchies of
//! references. What a function returns is checked at each call.

use crate::strings::{LONGEST, Strings};
use anyhow::{Result, bail, ensure};
use gc_wasm::{
    AnyRef, AsContext, Caller, Engine, ExternRef, ExternType, FuncType, HeapType, InterruptHandle,
    Linker, Module, RefType, Rooted, Trap, Val, ValType,
};
use std::any::Any;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

/// Defines those of a host's functions that a module imports.
pub(crate) struct Functions<'a, T: 'static> {
    linker: &'a mut Linker<T>,
    module: &'a Module,
    /// The module that they are imported from.
    from: &'static str,
    /// The part of an import's name that is the name of a function.
    base: fn(&str) -> &str,
    strings: Arc<Strings>,
    /// Names may be imported twice.
    defined: HashSet<String>,
}

impl<'a, T: 'static> Functions<'a, T> {
    pub(crate) fn new(
        linker: &'a mut Linker<T>,
        module: &'a Module,
        from: &'static str,
        strings: &Arc<Strings>,
    ) -> Functions<'a, T> {
        let (strings, defined) = (strings.clone(), HashSet::new());
        Functions { linker, module, from, base: |name| name, strings, defined }
    }

    pub(crate) fn engine(&self) -> &Engine {
        self.linker.engine()
    }

    /// Sets which part of an import's name is the name of a function.
    pub(crate) fn base(mut self, base: fn(&str) -> &str) -> Self {
        self.base = base;
        self
    }

    /// Defines a function. `ty` has a letter for each parameter and, after `>`, for each result:
    /// `i` and `I` are integers of 32 and 64 bits, `f` and `d` such floats, `x` is an external
    /// reference, `a` an internal one, `c` a function.
    pub(crate) fn func(
        &mut self,
        name: &str,
        ty: &str,
        run: impl Fn(Call<'_, '_, T>) -> Result<()> + Send + Sync + 'static,
    ) -> Result<()> {
        // Of an import with another type, the linker tells the difference.
        self.define(name, ty, Some(general(self.linker.engine(), ty)), run)
    }

    /// As [`func`](Functions::func), if the function has other types too.
    pub(crate) fn func_of(
        &mut self,
        name: &str,
        ty: &str,
        run: impl Fn(Call<'_, '_, T>) -> Result<()> + Send + Sync + 'static,
    ) -> Result<()> {
        self.define(name, ty, None, run)
    }

    fn define(
        &mut self,
        name: &str,
        ty: &str,
        otherwise: Option<FuncType>,
        run: impl Fn(Call<'_, '_, T>) -> Result<()> + Send + Sync + 'static,
    ) -> Result<()> {
        let run = Arc::new(run);
        for import in self.module.imports() {
            if import.module() != self.from || (self.base)(import.name()) != name {
                continue;
            }
            let ExternType::Func(imported) = import.ty() else { continue };
            let ty = match (is_like(&imported, ty), &otherwise) {
                (true, _) => imported,
                (false, Some(ty)) => ty.clone(),
                (false, None) => continue,
            };
            if !self.defined.insert(import.name().to_owned()) {
                continue;
            }
            let (run, strings, result) = (run.clone(), self.strings.clone(), ty.clone());
            self.linker.func_new(
                self.from,
                import.name(),
                ty,
                move |mut caller, args, results| {
                    let (caller, strings, ty) = (&mut caller, &*strings, &result);
                    run(Call { caller, args, results, strings, ty })
                },
            )?;
        }
        Ok(())
    }
}

/// The letters of a type's parameters and of its results.
fn letters(ty: &str) -> (&str, &str) {
    ty.split_once('>').unwrap_or((ty, ""))
}

/// Whether `ty` has the numbers and hierarchies of references that the letters say.
fn is_like(ty: &FuncType, wanted: &str) -> bool {
    let letter = |ty: ValType| match ty {
        ValType::I32 => 'i',
        ValType::I64 => 'I',
        ValType::F32 => 'f',
        ValType::F64 => 'd',
        ValType::V128 => 'v',
        ValType::Ref(ty) => match ty.heap_type().top() {
            HeapType::Extern => 'x',
            HeapType::Func => 'c',
            HeapType::Any => 'a',
            _ => '?',
        },
    };
    let (params, results) = letters(wanted);
    ty.params().map(letter).eq(params.chars()) && ty.results().map(letter).eq(results.chars())
}

/// The most general type that the letters say.
fn general(engine: &Engine, ty: &str) -> FuncType {
    let of = |letters: &str| -> Vec<ValType> {
        let ty = |letter| match letter {
            'i' => ValType::I32,
            'I' => ValType::I64,
            'f' => ValType::F32,
            'd' => ValType::F64,
            'c' => ValType::Ref(RefType::new(true, HeapType::Func)),
            'a' => ValType::Ref(RefType::new(true, HeapType::Any)),
            _ => ValType::EXTERNREF,
        };
        letters.chars().map(ty).collect()
    };
    let (params, results) = letters(ty);
    FuncType::new(engine, of(params), of(results))
}

/// A call of a function: its arguments, and a place for its results. The arguments' types were
/// checked when the module was linked.
pub(crate) struct Call<'a, 'c, T: 'static> {
    pub(crate) caller: &'a mut Caller<'c, T>,
    args: &'a [Val],
    results: &'a mut [Val],
    strings: &'a Strings,
    ty: &'a FuncType,
}

impl<'a, T: 'static> Call<'a, '_, T> {
    pub(crate) fn i32(&self, n: usize) -> Result<i32> {
        match self.args[n] {
            Val::I32(value) => Ok(value),
            _ => bail!("argument {n} is no `i32`"),
        }
    }

    pub(crate) fn i64(&self, n: usize) -> Result<i64> {
        match self.args[n] {
            Val::I64(value) => Ok(value),
            _ => bail!("argument {n} is no `i64`"),
        }
    }

    pub(crate) fn f64(&self, n: usize) -> Result<f64> {
        match self.args[n] {
            Val::F64(bits) => Ok(f64::from_bits(bits)),
            Val::F32(bits) => Ok(f32::from_bits(bits).into()),
            _ => bail!("argument {n} is no float"),
        }
    }

    /// The external reference, or `None` for null.
    pub(crate) fn external(&self, n: usize) -> Result<Option<Rooted<ExternRef>>> {
        match self.args[n] {
            Val::ExternRef(value) => Ok(value),
            _ => bail!("argument {n} is no external reference"),
        }
    }

    /// The internal reference, which must not be null.
    pub(crate) fn internal(&self, n: usize) -> Result<Rooted<AnyRef>> {
        match self.args[n] {
            Val::AnyRef(Some(value)) => Ok(value),
            Val::AnyRef(None) => Err(Trap::NullReference.into()),
            _ => bail!("argument {n} is no internal reference"),
        }
    }

    /// The internal reference, or `None` for null.
    pub(crate) fn internal_or_null(&self, n: usize) -> Result<Option<Rooted<AnyRef>>> {
        match self.args[n] {
            Val::AnyRef(value) => Ok(value),
            _ => bail!("argument {n} is no internal reference"),
        }
    }

    /// The external reference as an internal one, which must not be null.
    pub(crate) fn object(&self, n: usize) -> Result<Rooted<AnyRef>> {
        let value = self.external(n)?.ok_or(Trap::NullReference)?;
        AnyRef::convert_extern(&*self.caller, value)
    }

    /// The code units of a string.
    pub(crate) fn units(&self, n: usize) -> Result<Vec<u16>> {
        self.strings.units(self.caller, self.external(n)?)
    }

    /// A string as text, whose lone halves of characters are replaced.
    pub(crate) fn text(&self, n: usize) -> Result<String> {
        Ok(String::from_utf16_lossy(&self.units(n)?))
    }

    /// Whether the argument is a string.
    pub(crate) fn is_string(&self, n: usize) -> Result<bool> {
        let found = self.external(n)?.map(|value| self.strings.find(self.caller, value));
        Ok(found.transpose()?.flatten().is_some())
    }

    /// Code units of a string. There are none where the string has ended.
    pub(crate) fn part(&self, value: Rooted<ExternRef>, part: Range<usize>) -> Result<Vec<u16>> {
        self.strings.part(self.caller, value, part)
    }

    /// What interrupts the program, if anything can.
    pub(crate) fn interrupt(&self) -> Option<InterruptHandle> {
        self.caller.as_context().interrupt_handle().ok()
    }

    /// The host value in the argument, which must be a `V`.
    pub(crate) fn host<V: 'static>(&self, n: usize, what: &str) -> Result<&V> {
        let value: Option<&(dyn Any + Send + Sync)> = match &self.args[n] {
            Val::ExternRef(Some(value)) => value.data(&*self.caller)?,
            _ => None,
        };
        match value.and_then(|value| value.downcast_ref()) {
            Some(value) => Ok(value),
            None => bail!("the host got a value that is no {what}"),
        }
    }

    /// The type of result `n`.
    pub(crate) fn result_ty(&self, n: usize) -> Option<ValType> {
        self.ty.results().nth(n)
    }

    /// Returns this value.
    pub(crate) fn give(self, value: Val) -> Result<()> {
        ensure!(self.results.len() == 1, "the function has {} results", self.results.len());
        self.results[0] = value;
        Ok(())
    }

    /// Returns these values.
    pub(crate) fn give_all(self, values: &[Val]) -> Result<()> {
        ensure!(self.results.len() == values.len(), "the function has other results");
        self.results.copy_from_slice(values);
        Ok(())
    }

    pub(crate) fn give_i32(self, value: i32) -> Result<()> {
        self.give(Val::I32(value))
    }

    pub(crate) fn give_bool(self, value: bool) -> Result<()> {
        self.give_i32(value.into())
    }

    pub(crate) fn give_f64(self, value: f64) -> Result<()> {
        self.give(Val::F64(value.to_bits()))
    }

    /// Returns an internal reference as an external one.
    pub(crate) fn give_object(self, value: Rooted<AnyRef>) -> Result<()> {
        let value = ExternRef::convert_any(&*self.caller, value)?;
        self.give(Val::ExternRef(Some(value)))
    }

    /// Returns a new string.
    pub(crate) fn give_units(mut self, units: &[u16]) -> Result<()> {
        let string = self.new_string(units)?;
        self.give(Val::ExternRef(Some(string)))
    }

    /// Returns a new string.
    pub(crate) fn give_text(self, text: &str) -> Result<()> {
        self.give_units(&text.encode_utf16().collect::<Vec<_>>())
    }

    /// The types of strings.
    pub(crate) fn strings(&self) -> &'a Strings {
        self.strings
    }

    /// Makes a string.
    pub(crate) fn new_string(&mut self, units: &[u16]) -> Result<Rooted<ExternRef>> {
        self.strings.make(&mut *self.caller, units)
    }

    /// Fails if a string of this length is too long.
    pub(crate) fn check_length(&self, length: usize) -> Result<()> {
        self.strings.check_length(&*self.caller, length)
    }

    /// The number of code units of the longest string that fits in the heap.
    pub(crate) fn longest(&self) -> usize {
        LONGEST.min(usize::try_from(self.caller.engine().gc_heap_maximum() / 2).unwrap_or(LONGEST))
    }

    /// Returns a new host value.
    pub(crate) fn give_host<V: Send + Sync + 'static>(self, value: V) -> Result<()> {
        let value = ExternRef::new(&mut *self.caller, value)?;
        self.give(Val::ExternRef(Some(value)))
    }
}
