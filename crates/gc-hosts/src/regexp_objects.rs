//! Regular expressions and matches as programs have them: objects of the heap.
//!
//! A match refers to its text instead of copying it. The crate `regress` keeps an expression outside
//! of the heap. Its object has an array of about as many bytes, so the heap's limit counts it, and
//! programs that make many expressions collect those that are dead.
//!
//! The crate searches by backtracking, so a search can take time that is exponential in the length of
//! the text. The search itself has no limit. If it may take long, an interrupt of the program
//! abandons it.

use crate::call::Call;
use crate::own_type::{own_array, own_struct};
use crate::regexp::{Match, RegExp};
use crate::work;
use anyhow::{Context, Result, anyhow, bail};
use gc_wasm::{
    AnyRef, ArrayRef, ArrayRefPre, ArrayType, Engine, ExternRef, Rooted, StructRef, StructRefPre,
    StructType, Trap, Val,
};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// Bytes that the stack of a search may have, whatever the size of the heap is.
const SMALL_STACK: u64 = 64 << 20;

/// The first field of both objects: the expression, and the text.
const VALUE: usize = 0;

/// The field of a match that has the places.
const PLACES: usize = 1;

/// The types of the objects, which are made when a program first needs one.
#[derive(Clone, Default)]
pub(crate) struct RegExps(Arc<OnceLock<Types>>);

struct Types {
    /// The expression, and its weight.
    regexp: StructType,
    weight: ArrayType,
    /// The text, and the places of the groups.
    found: StructType,
    /// The begin and the end of each group, or twice -1.
    places: ArrayType,
}

/// A match that a program has.
pub(crate) struct RegExpMatch {
    /// The text in which it was found.
    pub(crate) input: Rooted<ExternRef>,
    /// The places of the whole match and of the groups.
    pub(crate) groups: Vec<Option<Range<usize>>>,
}

impl RegExpMatch {
    /// Where the whole match is.
    pub(crate) fn range(&self) -> Range<usize> {
        self.groups.first().cloned().flatten().unwrap_or_default()
    }

    /// Returns the text of a group, or null if there is none.
    pub(crate) fn give_group<T: 'static>(
        &self,
        call: Call<'_, '_, T>,
        index: Option<usize>,
    ) -> Result<()> {
        match index.and_then(|index| self.groups.get(index)?.clone()) {
            Some(place) => {
                let units = call.part(self.input, place)?;
                call.give_units(&units)
            }
            None => call.give(Val::ExternRef(None)),
        }
    }
}

impl RegExps {
    fn types(&self, engine: &Engine) -> Result<&Types> {
        if let Some(types) = self.0.get() {
            return Ok(types);
        }
        let types = Types {
            regexp: own_struct(engine, "(struct (field externref) (field (ref any)) (field i32))")?,
            weight: own_array(engine, "(array i8)")?,
            found: own_struct(engine, "(struct (field externref) (field (ref any)) (field i64))")?,
            places: own_array(engine, "(array i32)")?,
        };
        Ok(self.0.get_or_init(|| types))
    }

    /// Returns a new expression.
    pub(crate) fn give<T: 'static>(&self, call: Call<'_, '_, T>, regexp: RegExp) -> Result<()> {
        let types = self.types(call.caller.engine())?;
        let size = u32::try_from(regexp.size()).map_err(|_| Trap::AllocationTooLarge)?;
        let allocator = ArrayRefPre::new(&mut *call.caller, types.weight.clone());
        let weight = ArrayRef::new(&mut *call.caller, &allocator, &Val::I32(0), size)?;
        let value = ExternRef::new(&mut *call.caller, Arc::new(regexp))?;
        let fields =
            [Val::ExternRef(Some(value)), Val::AnyRef(Some(weight.to_anyref())), Val::I32(0)];
        let allocator = StructRefPre::new(&mut *call.caller, types.regexp.clone());
        let object = StructRef::new(&mut *call.caller, &allocator, &fields)?;
        call.give_object(object.to_anyref())
    }

    /// The object in an argument, if it has this type.
    fn object<T: 'static>(
        &self,
        call: &Call<'_, '_, T>,
        n: usize,
        ty: &StructType,
    ) -> Result<Option<Rooted<StructRef>>> {
        let Some(value) = call.external(n)? else { return Ok(None) };
        let object = AnyRef::convert_extern(&*call.caller, value)?.as_struct(&*call.caller)?;
        let Some(object) = object else { return Ok(None) };
        Ok(object.matches_ty(&*call.caller, ty)?.then_some(object))
    }

    /// The expression in argument `n`.
    pub(crate) fn regexp<T: 'static>(
        &self,
        call: &mut Call<'_, '_, T>,
        n: usize,
    ) -> Result<Arc<RegExp>> {
        let types = self.types(call.caller.engine())?;
        let object = self.object(call, n, &types.regexp)?;
        let value = match object.map(|object| object.field(&mut *call.caller, VALUE)).transpose()? {
            Some(Val::ExternRef(Some(value))) => value.data(&*call.caller)?,
            _ => None,
        };
        let regexp = value.and_then(|value| value.downcast_ref::<Arc<RegExp>>());
        regexp.cloned().context("the host got a value that is no regular expression")
    }

    /// Searches `text` with the expression in argument `n`.
    ///
    /// # Errors
    /// [`Trap::AllocationTooLarge`] if the search may need more memory than the heap has, and
    /// [`Trap::Interrupt`] if the program is interrupted. Also if the argument is no expression.
    pub(crate) fn search<T: 'static, R: Send + 'static>(
        &self,
        call: &mut Call<'_, '_, T>,
        n: usize,
        text: Vec<u16>,
        f: impl FnOnce(&RegExp, &[u16]) -> R + Send + 'static,
    ) -> Result<R> {
        let regexp = self.regexp(call, n)?;
        let shape = regexp.shape();
        let most = call.caller.engine().gc_heap_maximum().max(SMALL_STACK);
        if shape.stack(text.len()) > most {
            let error = anyhow!(Trap::AllocationTooLarge);
            return Err(error.context(
                "a text is too long for a regular expression with groups that are repeated",
            ));
        }
        let steps = shape.steps(text.len());
        work::run(|| call.interrupt(), steps, move || f(&regexp, &text))
    }

    /// Searches the text in argument `text` with the expression in argument `regexp`. Returns a
    /// match, or null.
    pub(crate) fn exec<T: 'static>(
        &self,
        mut call: Call<'_, '_, T>,
        regexp: usize,
        text: usize,
    ) -> Result<()> {
        let (input, units) = (call.external(text)?, call.units(text)?);
        match self.search(&mut call, regexp, units, RegExp::exec)? {
            Some(found) => self.give_match(call, Val::ExternRef(input), &found),
            None => call.give(Val::ExternRef(None)),
        }
    }

    fn give_match<T: 'static>(
        &self,
        call: Call<'_, '_, T>,
        input: Val,
        found: &Match,
    ) -> Result<()> {
        let types = self.types(call.caller.engine())?;
        let places = found.groups().iter().flat_map(|place| match place {
            Some(place) => [place.start as i32, place.end as i32],
            None => [-1, -1],
        });
        let places: Vec<u8> = places.flat_map(i32::to_le_bytes).collect();
        let allocator = ArrayRefPre::new(&mut *call.caller, types.places.clone());
        let places = ArrayRef::from_bytes(&mut *call.caller, &allocator, &places)?;
        let fields = [input, Val::AnyRef(Some(places.to_anyref())), Val::I64(0)];
        let allocator = StructRefPre::new(&mut *call.caller, types.found.clone());
        let object = StructRef::new(&mut *call.caller, &allocator, &fields)?;
        call.give_object(object.to_anyref())
    }

    /// The match in argument `n`.
    pub(crate) fn found<T: 'static>(
        &self,
        call: &mut Call<'_, '_, T>,
        n: usize,
    ) -> Result<RegExpMatch> {
        let types = self.types(call.caller.engine())?;
        let object = self.object(call, n, &types.found)?;
        let object =
            object.context("the host got a value that is no match of a regular expression")?;
        let fields =
            (object.field(&mut *call.caller, VALUE)?, object.field(&mut *call.caller, PLACES)?);
        let (Val::ExternRef(Some(input)), Val::AnyRef(Some(places))) = fields else {
            bail!("a match of a regular expression has no text");
        };
        let places = places.as_array(&*call.caller)?.context("the places of a match")?;
        let mut bytes = vec![0; 4 * places.len(&*call.caller)? as usize];
        places.read_bytes(&*call.caller, 0, &mut bytes)?;
        let place = |bytes: &[u8]| {
            let number = bytes.iter().rev().fold(0, |number, byte| number << 8 | i32::from(*byte));
            usize::try_from(number).ok()
        };
        let group = |bytes: &[u8]| Some(place(&bytes[..4])?..place(&bytes[4..])?);
        Ok(RegExpMatch { input, groups: bytes.chunks_exact(8).map(group).collect() })
    }
}
