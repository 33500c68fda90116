//! Globals, tables and objects that get a value of another type, or are used outside of their ends. Each such
//! call fails with the error that names what is wrong, and changes nothing.

use super::mistakes::failed;
use super::wrong::{Attempt, MISMATCH};
use super::{Handled, reference_type, value};
use crate::api::host::TABLE_LIMIT;
use crate::api::world::pick;
use crate::refs::internal;
use crate::value::Referent;
use anyhow::{Context as _, Result, bail, ensure};
use gc_wasm::{
    ArrayRef, Global, GlobalType, HeapType, Mutability, Ref, RefType, StructRef, Table, TableType,
    Trap, Val, ValType,
};

/// The error of a write to a global that is not mutable.
const IMMUTABLE: &str = "immutable global cannot be set";
/// The error of an element of a table that is of another type.
const NO_ELEMENT_TYPE: &str = "value does not match table element type";

/// Checks that there is no such element of a table.
fn is_outside<T>(result: Result<T>) -> Result<()> {
    match result {
        Err(error) if error.downcast_ref() == Some(&Trap::TableOutOfBounds) => Ok(()),
        Err(error) => Err(error.context("another error")),
        Ok(_) => bail!("there is an element behind the last one"),
    }
}

impl Attempt<'_, '_> {
    /// Checks that what was read is still there.
    fn is_still(&mut self, read: Val, expected: Referent) -> Result<()> {
        let read = internal(&mut *self.cx, read)?;
        self.world.check(self.cx, read.as_ref(), expected)
    }

    /// Makes a global of a value of another type, or sets one to it, or sets one that is not mutable.
    pub(super) fn global(&mut self) -> Result<()> {
        let (number, external) = (self.index / 8, self.index.is_multiple_of(2));
        let ty = ValType::Ref(reference_type(external));
        match self.index / 2 % 4 {
            0 => {
                let ty = GlobalType::new(ty, Mutability::Const);
                let null = value(&mut *self.cx, None, external)?;
                let global = Global::new(&mut *self.cx, ty, null)?;
                let new = value(&mut *self.cx, self.handle, external)?;
                failed(global.set(&mut *self.cx, new), IMMUTABLE)?;
                let read = global.get(&mut *self.cx);
                ensure!(internal(&mut *self.cx, read)?.is_none(), "an immutable global changed");
            }
            1 => {
                let ty = GlobalType::new(ty, Mutability::Var);
                let new = self.another(number, external)?;
                let made = Global::new(&mut *self.cx, ty, new);
                failed(made, "initial value provided does not match the type of this global")?;
            }
            2 => {
                let (ty, number) = (ValType::I32, i32::from(self.index));
                let ty = GlobalType::new(ty, Mutability::Const);
                let global = Global::new(&mut *self.cx, ty, Val::I32(number))?;
                failed(global.set(&mut *self.cx, Val::I32(-1)), IMMUTABLE)?;
                let read = global.get(&mut *self.cx).i32();
                ensure!(read == Some(number), "an immutable global is {read:?}");
            }
            _ => {
                let Some(i) = pick(&self.world.globals, number) else { return Ok(()) };
                let known = &self.world.globals[i];
                let (global, external, expected) = (known.global, known.external, known.value);
                let new = self.another(number, external)?;
                let set = global.set(&mut *self.cx, new);
                failed(set, "attempt to set global to value of wrong type")?;
                let read = global.get(&mut *self.cx);
                self.is_still(read, expected)?;
            }
        }
        Ok(())
    }

    /// Gives a table an element of another type.
    pub(super) fn table(&mut self) -> Result<()> {
        let (how, number) = (self.index % 8, self.index / 8);
        let Some(i) = pick(&self.world.tables, number).filter(|_| how < 5) else {
            return self.new_table(how, number);
        };
        let known = &self.world.tables[i];
        let (table, external, len) = (known.table, known.external, known.elements.len() as u64);
        let first = known.elements.first().copied();
        let new = self.another_element(number, external)?;
        let cx = &mut *self.cx;
        match how {
            0 => failed(table.set(&mut *cx, 0, new), NO_ELEMENT_TYPE)?,
            1 => failed(table.fill(&mut *cx, 0, new, len), NO_ELEMENT_TYPE)?,
            2 => failed(table.grow(&mut *cx, 1, new), NO_ELEMENT_TYPE)?,
            3 => {
                let far = u64::MAX - u64::from(number % 4);
                let null = Ref::null(if external { &HeapType::Extern } else { &HeapType::Any });
                is_outside(table.fill(&mut *cx, far, null, 2))?;
                is_outside(table.set(&mut *cx, len, null))?;
                failed(table.grow(&mut *cx, far, null), "failed to grow table by")?;
            }
            _ => {
                // Of functions.
                let ty = TableType::new(RefType::FUNCREF, 1, Some(TABLE_LIMIT as u32));
                let other = Table::new(&mut *cx, ty, Ref::Func(None))?;
                let why = "source table's element type does not match";
                failed(Table::copy(&mut *cx, &other, 0, &table, 0, 0), why)?;
                failed(Table::copy(&mut *cx, &table, 0, &other, 0, 1), why)?;
            }
        }
        ensure!(table.size(&*cx) == len, "a call that failed changed a table's size");
        if let Some(expected) = first {
            let read = table.get(&mut *cx, 0).context("it has an element")?;
            self.is_still(read.into(), expected)?;
        }
        Ok(())
    }

    /// Makes a table with an element of another type, or one of a type that no table can have.
    fn new_table(&mut self, how: u8, number: u8) -> Result<()> {
        if how == 7 {
            let ty = TableType::new(RefType::ANYREF, 5, Some(u32::from(number % 5)));
            let made = Table::new(&mut *self.cx, ty, Ref::null(&HeapType::Any));
            return failed(made, "exceeds table limits");
        }
        let external = how.is_multiple_of(2);
        let new = self.another_element(number, external)?;
        let ty = TableType::new(reference_type(external), 1, None);
        failed(Table::new(&mut *self.cx, ty, new), NO_ELEMENT_TYPE)
    }

    /// Writes to a field or an element that is not there or not mutable, or a value of another type.
    pub(super) fn object(&mut self) -> Result<()> {
        let (Some(handle), Referent::Object(n)) = (self.handle, self.value) else { return Ok(()) };
        let len = self.world.objects[n].refs.len();
        let (place, read) = match self.world.objects[n].is_array {
            true => (0, self.array(handle, len)?),
            false => {
                let field = usize::from(self.index / 4 % 2);
                (field, Some(self.structure(handle, field)?))
            }
        };
        if let Some(read) = read {
            self.is_still(read, self.world.objects[n].refs[place])?;
        }
        // The first field of a struct is the object's number.
        self.world.check(self.cx, Some(&handle), self.value)
    }

    /// Makes a mistake with an array. Returns its first element.
    fn array(&mut self, handle: Handled, len: usize) -> Result<Option<Val>> {
        let number = self.index / 4;
        let array = handle.unwrap_array(&*self.cx)?;
        let far = [len as u32, u32::MAX, u32::MAX - 1, 1 << 31][usize::from(number % 4)];
        match self.index % 4 {
            0 => failed(array.get(&mut *self.cx, far), "out of bounds array access")?,
            1 => {
                let set = array.set(&mut *self.cx, far, Val::AnyRef(Some(handle)));
                failed(set, "out of bounds array access")?;
            }
            2 => {
                let mut bytes = [0; 4];
                let read = array.read_bytes(&*self.cx, 0, &mut bytes);
                failed(read, "the elements of the array are references")?;
                let written = array.write_bytes(&mut *self.cx, 0, &bytes);
                failed(written, "the elements of the array are references")?;
            }
            _ => {
                let new = self.another(number, false)?;
                let set = array.set(&mut *self.cx, 0, new);
                failed(set, &format!("element 0: {MISMATCH}"))?;
            }
        }
        if len == 0 { Ok(None) } else { array.get(&mut *self.cx, 0).map(Some) }
    }

    /// Makes a mistake with a struct. Returns one of its references.
    fn structure(&mut self, handle: Handled, field: usize) -> Result<Val> {
        let number = self.index / 4;
        let object = handle.unwrap_struct(&*self.cx)?;
        let far = [3, usize::MAX, 1 << 32][usize::from(number % 3)];
        match self.index % 4 {
            0 => failed(object.field(&mut *self.cx, far), "there is no field ")?,
            1 => {
                let set = object.set_field(&mut *self.cx, far, Val::AnyRef(Some(handle)));
                failed(set, "there is no field ")?;
            }
            2 => {
                let set = object.set_field(&mut *self.cx, 0, Val::I32(-1));
                failed(set, "field 0 is not mutable")?;
            }
            _ => {
                let new = self.another(number, field == 0)?;
                let set = object.set_field(&mut *self.cx, field + 1, new);
                failed(set, &format!("field {}: {MISMATCH}", field + 1))?;
            }
        }
        object.field(&mut *self.cx, field + 1)
    }

    /// Makes an object of too few or too many values, or of one of another type.
    pub(super) fn new_object(&mut self) -> Result<()> {
        let handle = self.handle;
        let external = value(&mut *self.cx, handle, true)?;
        let mut fields = vec![Val::I32(-1), external, Val::AnyRef(handle)];
        let number = self.index / 4;
        let place = usize::from(number % 3);
        let why = match self.index % 4 {
            0 => {
                fields.truncate(place);
                format!("expected 3 fields, got {place}")
            }
            1 => {
                fields.push(Val::I32(0));
                "expected 3 fields, got 4".to_string()
            }
            2 => {
                fields[place] = match place {
                    0 => self.another(number / 3 % 7 + 1, false)?,
                    _ => self.another(number / 3, place == 1)?,
                };
                format!("field {place}: {MISMATCH}")
            }
            _ => {
                let element = self.another(number, false)?;
                let ty = &self.world.own.array_pre;
                let made = ArrayRef::new(&mut *self.cx, ty, &element, u32::MAX);
                failed(made, &format!("element 0: {MISMATCH}"))?;
                let made = ArrayRef::new_fixed(&mut *self.cx, ty, &[Val::AnyRef(handle), element]);
                return failed(made, &format!("element 1: {MISMATCH}"));
            }
        };
        failed(StructRef::new(&mut *self.cx, &self.world.own.struct_pre, &fields), &why)
    }

    /// The type of a place that may be more precise than `anyref`, and whether the handle can be there.
    fn precise_type(&self) -> (RefType, bool) {
        let (value, own) = (self.value, &self.world.own);
        let is = |array: bool| match value {
            Referent::Object(n) => self.world.objects[n].is_array == array,
            _ => false,
        };
        let (ty, fits) = match self.index % 8 {
            0 => (HeapType::Any, true),
            1 => (HeapType::Eq, !matches!(value, Referent::Host(_))),
            2 => (HeapType::I31, matches!(value, Referent::I31(_))),
            3 => (HeapType::Struct, is(false)),
            4 => (HeapType::Array, is(true)),
            5 => (HeapType::None, false),
            6 => (HeapType::ConcreteStruct(own.struct_type.clone()), is(false)),
            _ => (HeapType::ConcreteArray(own.array_type.clone()), is(true)),
        };
        let nullable = self.index & 8 == 0;
        let fits = if value == Referent::Null { nullable } else { fits };
        (RefType::new(nullable, ty), fits)
    }

    /// Gives a global or a table of a more precise type a value that may be of that type.
    pub(super) fn typed_place(&mut self) -> Result<()> {
        let (handle, value) = (self.handle, self.value);
        let (ty, fits) = self.precise_type();
        let cx = &mut *self.cx;
        let matches = Val::AnyRef(handle).matches_ty(&*cx, &ValType::Ref(ty.clone()))?;
        ensure!(matches == fits, "{value:?} is of the type {ty}: {matches}");
        if let Some(handle) = handle {
            let matches = handle.matches_ty(&*cx, ty.heap_type())?;
            ensure!(matches == fits, "{value:?} is of the type {}: {matches}", ty.heap_type());
        }
        if fits && !ty.is_nullable() {
            // It would be reachable from now on.
            return Ok(());
        }
        let null = Val::null_any_ref();
        if self.index & 16 == 0 {
            let ty = GlobalType::new(ValType::Ref(ty), Mutability::Var);
            match Global::new(&mut *cx, ty, Val::AnyRef(handle)) {
                Ok(global) if fits => global.set(&mut *cx, null),
                made => failed(made, "does not match the type of this global"),
            }
        } else {
            let null = null.ref_().context("a reference")?;
            match Table::new(&mut *cx, TableType::new(ty, 2, Some(3)), Ref::Any(handle)) {
                Ok(table) if fits => table.fill(&mut *cx, 0, null, 2),
                made => failed(made, NO_ELEMENT_TYPE),
            }
        }
    }
}
