//! What each operation does to a model.

use super::model::{Locals, Model, Seen};
use super::ops::{Op, Topic};
use super::schema::{
    ARRAYS, COPIES, Cast, FIELDS, GLOBALS, LOCALS, LONG, MADE, PARAMS, SEGMENTS, STRUCTS, TABLES,
    TESTED, Ty, cast, index, is_behind, length, pick, references, source, target,
};
use crate::value::Referent;
use gc_wasm::Trap;

use Referent::Null;

impl Model {
    /// Does one operation of function `number`.
    pub(super) fn op(&mut self, number: usize, op: &Op, locals: &mut Locals) -> Result<(), Trap> {
        match op.topic() {
            Topic::New => self.make(op, locals),
            Topic::Global | Topic::Table => self.place(op, locals),
            Topic::Field | Topic::Element => self.member(op, locals),
            Topic::Part => self.array(op, locals),
            Topic::Look => self.look(op, locals),
            Topic::Local | Topic::Call => self.local_call(number, op, locals),
            Topic::Structure => Ok(()),
        }
    }

    /// A local as a value of this type.
    fn local(&mut self, locals: &Locals, from: u8, ty: Ty, how: Cast) -> Result<Referent, Trap> {
        let from = source(from, ty);
        self.cast(locals[from], LOCALS[from].1, ty, how)
    }

    /// Sets a local to a value of this type.
    fn set(
        &mut self,
        locals: &mut Locals,
        to: u8,
        ty: Ty,
        value: Referent,
        how: Cast,
    ) -> Result<(), Trap> {
        let to = target(to, ty);
        locals[to] = self.cast(value, ty, LOCALS[to].1, how)?;
        Ok(())
    }

    /// Makes an object.
    fn make(&mut self, op: &Op, locals: &mut Locals) -> Result<(), Trap> {
        match *op {
            Op::Struct { to, kind, from, how } => {
                self.serial += 1;
                let ty = STRUCTS[pick(kind / 4, 3)];
                let mut refs = vec![Null; references(ty)];
                if kind % 4 != 3 {
                    for (i, value) in (0..).zip(&mut refs) {
                        let ty = FIELDS[usize::from(i)].ty;
                        *value = self.local(locals, from.wrapping_add(i), ty, cast(how))?;
                    }
                }
                let object = self.object(ty, self.serial, refs);
                // The module knows no more of a struct with default values.
                let ty = if kind % 4 == 3 { Ty::Base } else { ty };
                self.set(locals, to, ty, object, cast(how))?;
            }
            Op::Array { to, kind, len, from, how } => {
                let (array, element) = ARRAYS[pick(kind, 3)];
                let value = match kind / 3 % 3 {
                    2 => Null,
                    _ if length(len) >= LONG && element != Ty::Ext => {
                        self.serial += 1;
                        self.object(Ty::Base, self.serial, vec![Null; references(Ty::Base)])
                    }
                    _ => self.local(locals, from, element, cast(how))?,
                };
                let object = self.object(array, 0, vec![value; length(len) as usize]);
                self.set(locals, to, array, object, cast(how))?;
            }
            Op::Fixed { to, kind, len, from, how } => {
                let (array, element) = ARRAYS[pick(kind, 3)];
                let mut values = Vec::new();
                for i in 0..len % 8 {
                    values.push(self.local(locals, from.wrapping_add(i), element, cast(how))?);
                }
                let object = self.object(array, 0, values);
                self.set(locals, to, array, object, cast(how))?;
            }
            Op::NewElem { to, segment, start, len, how } => {
                let number = pick(segment, SEGMENTS.len());
                match part(&self.segments[number], start, len, Trap::TableOutOfBounds) {
                    Ok(values) => {
                        let values = values.to_vec();
                        let object = self.object(SEGMENTS[number].array, 0, values);
                        self.set(locals, to, SEGMENTS[number].array, object, cast(how))?;
                    }
                    Err(trap) => guarded(trap, how)?,
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Reads or changes globals, tables and segments.
    fn place(&mut self, op: &Op, locals: &mut Locals) -> Result<(), Trap> {
        match *op {
            Op::GlobalGet { to, global, how } => {
                let global = pick(global, GLOBALS.len());
                self.set(locals, to, GLOBALS[global].1, self.globals[global], cast(how))?;
            }
            Op::GlobalSet { from, global, how } => {
                let global = pick(global, GLOBALS.len());
                self.globals[global] = self.local(locals, from, GLOBALS[global].1, cast(how))?;
            }
            Op::TableGet { to, table, index: at, how } => {
                let table = pick(table, 3);
                match self.tables[table].get(index(at) as usize) {
                    Some(value) => self.set(locals, to, TABLES[table].ty, *value, cast(how))?,
                    None => guarded(Trap::TableOutOfBounds, how)?,
                }
            }
            Op::TableSet { from, table, index: at, how } => {
                let table = pick(table, 3);
                if is_checked(self.tables[table].get(index(at) as usize).is_none(), how) {
                    return Ok(());
                }
                let value = self.local(locals, from, TABLES[table].ty, cast(how))?;
                match self.tables[table].get_mut(index(at) as usize) {
                    Some(place) => *place = value,
                    None => guarded(Trap::TableOutOfBounds, how)?,
                }
            }
            Op::TableGrow { from, table, delta, how } => {
                let number = pick(table, 3);
                let value = self.local(locals, from, TABLES[number].ty, cast(how))?;
                let old = self.tables[number].len() as u32;
                let new = old + index(delta);
                if new <= TABLES[number].maximum {
                    self.tables[number].resize(new as usize, value);
                    self.accumulate(old);
                } else {
                    self.accumulate(u32::MAX);
                }
            }
            Op::TableFill { from, table, at, len, how } => {
                let table = pick(table, 3);
                let trap = Trap::TableOutOfBounds;
                if is_checked(part(&self.tables[table], at, len, trap).is_err(), how) {
                    return Ok(());
                }
                let value = self.local(locals, from, TABLES[table].ty, cast(how))?;
                match part_mut(&mut self.tables[table], at, len, Trap::TableOutOfBounds) {
                    Ok(places) => places.fill(value),
                    Err(trap) => guarded(trap, how)?,
                }
            }
            Op::TableCopy { tables, at, start, len, how } => {
                let (to, from) = COPIES[pick(tables, COPIES.len())];
                let values = part(&self.tables[from], start, len, Trap::TableOutOfBounds);
                let values = values.map(<[Referent]>::to_vec);
                let places = part_mut(&mut self.tables[to], at, len, Trap::TableOutOfBounds);
                match (places, values) {
                    (Ok(places), Ok(values)) => places.copy_from_slice(&values),
                    (Err(trap), _) | (_, Err(trap)) => guarded(trap, how)?,
                }
            }
            Op::TableInit { segment, at, start, len, how } => {
                let number = pick(segment, SEGMENTS.len());
                let table = &mut self.tables[SEGMENTS[number].table];
                let places = part_mut(table, at, len, Trap::TableOutOfBounds);
                let values = part(&self.segments[number], start, len, Trap::TableOutOfBounds);
                match (places, values) {
                    (Ok(places), Ok(values)) => places.copy_from_slice(values),
                    (Err(trap), _) | (_, Err(trap)) => guarded(trap, how)?,
                }
            }
            Op::ElemDrop { segment } => self.segments[pick(segment, SEGMENTS.len())].clear(),
            _ => {}
        }
        Ok(())
    }

    /// Reads or changes a field or an element.
    fn member(&mut self, op: &Op, locals: &mut Locals) -> Result<(), Trap> {
        match *op {
            Op::FieldGet { object, field, to, how } => {
                let number = pick(field, FIELDS.len());
                match self.local(locals, object, FIELDS[number].owner, cast(how))? {
                    Referent::Object(n) => {
                        self.set(
                            locals,
                            to,
                            FIELDS[number].ty,
                            self.objects[n].refs[number],
                            cast(how),
                        )?;
                    }
                    _ => guarded(Trap::NullReference, how)?,
                }
            }
            Op::FieldSet { object, field, from, how } => {
                let number = pick(field, FIELDS.len());
                if FIELDS[number].mutable {
                    let object = self.local(locals, object, FIELDS[number].owner, cast(how))?;
                    if is_checked(object == Null, how) {
                        return Ok(());
                    }
                    let value = self.local(locals, from, FIELDS[number].ty, cast(how))?;
                    match object {
                        Referent::Object(n) => self.objects[n].refs[number] = value,
                        _ => guarded(Trap::NullReference, how)?,
                    }
                }
            }
            Op::ElementGet { object, kind, index: at, to, how } => {
                let (array, element) = ARRAYS[pick(kind, 3)];
                let array = self.local(locals, object, array, cast(how))?;
                match self.elements(array, at, 1).map(|values| values[0]) {
                    Ok(value) => self.set(locals, to, element, value, cast(how))?,
                    Err(trap) => guarded(trap, how)?,
                }
            }
            Op::ElementSet { object, kind, index: at, from, how } => {
                let (array, element) = ARRAYS[pick(kind, 3)];
                let array = self.local(locals, object, array, cast(how))?;
                if is_checked(self.elements(array, at, 1).is_err(), how) {
                    return Ok(());
                }
                let value = self.local(locals, from, element, cast(how))?;
                match self.elements(array, at, 1) {
                    Ok(places) => places[0] = value,
                    Err(trap) => guarded(trap, how)?,
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Changes a part of an array.
    fn array(&mut self, op: &Op, locals: &mut Locals) -> Result<(), Trap> {
        match *op {
            Op::ArrayCopy { object, other, kind, at, start, len, how } => {
                let (to, from) = match kind % 4 {
                    3 => (Ty::Anys, Ty::Structs),
                    kind => (ARRAYS[usize::from(kind)].0, ARRAYS[usize::from(kind)].0),
                };
                let to = self.local(locals, object, to, cast(how))?;
                let from = self.local(locals, other, from, cast(how))?;
                let len = index(len);
                let values = self.elements(from, start, len).map(|values| values.to_vec());
                match (self.elements(to, at, len), values) {
                    (Ok(places), Ok(values)) => places.copy_from_slice(&values),
                    // Null is found before a length.
                    (Err(Trap::NullReference), _) => guarded(Trap::NullReference, how)?,
                    (_, Err(trap)) | (Err(trap), _) => guarded(trap, how)?,
                }
            }
            Op::ArrayFill { object, kind, at, len, from, how } => {
                let (array, element) = ARRAYS[pick(kind, 3)];
                let array = self.local(locals, object, array, cast(how))?;
                if is_checked(self.elements(array, at, index(len)).is_err(), how) {
                    return Ok(());
                }
                let value = self.local(locals, from, element, cast(how))?;
                match self.elements(array, at, index(len)) {
                    Ok(places) => places.fill(value),
                    Err(trap) => guarded(trap, how)?,
                }
            }
            Op::ArrayInit { object, segment, at, start, len, how } => {
                let number = pick(segment, SEGMENTS.len());
                let array = self.local(locals, object, SEGMENTS[number].array, cast(how))?;
                let values = part(&self.segments[number], start, len, Trap::TableOutOfBounds);
                let values = values.map(<[Referent]>::to_vec);
                match (self.elements(array, at, index(len)), values) {
                    (Ok(places), Ok(values)) => places.copy_from_slice(&values),
                    (Err(trap), _) | (_, Err(trap)) => guarded(trap, how)?,
                }
            }
            Op::Behind { object, kind, how } if is_behind(how) => match ARRAYS.get(pick(kind, 4)) {
                None => return Err(Trap::TableOutOfBounds),
                Some((array, _)) => {
                    if let Referent::Object(_) = self.local(locals, object, *array, Cast::Test)? {
                        return Err(Trap::ArrayOutOfBounds);
                    }
                }
            },
            Op::Behind { .. } => {}
            _ => {}
        }
        Ok(())
    }

    /// Looks at references.
    fn look(&mut self, op: &Op, locals: &mut Locals) -> Result<(), Trap> {
        match *op {
            Op::Test { from, nullable } => {
                let value = locals[pick(from, LOCALS.len())];
                for tested in TESTED {
                    let is = self.is_of(value, tested, nullable % 2 == 1);
                    self.accumulate(is.into());
                }
            }
            Op::Same { a, b } => {
                let a = self.local(locals, a, Ty::Eq, Cast::Branch { nullable: true })?;
                let b = self.local(locals, b, Ty::Eq, Cast::BranchFail { nullable: false })?;
                self.accumulate((a == b).into());
            }
            Op::Lengths { table, object, kind } => {
                self.accumulate(self.tables[pick(table, 3)].len() as u32);
                match self.local(
                    locals,
                    object,
                    ARRAYS[pick(kind, 3)].0,
                    Cast::Branch { nullable: true },
                )? {
                    Referent::Object(n) => self.accumulate(self.objects[n].refs.len() as u32),
                    _ => self.accumulate(77),
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Changes locals, calls the host or a function.
    fn local_call(&mut self, number: usize, op: &Op, locals: &mut Locals) -> Result<(), Trap> {
        match *op {
            Op::Copy { from, to, how } => {
                let from = pick(from, LOCALS.len());
                self.set(locals, to, LOCALS[from].1, locals[from], cast(how))?;
            }
            Op::Null { to } => locals[pick(to, LOCALS.len())] = Null,
            Op::I31 { to, value } => {
                self.set(locals, to, Ty::Any, Referent::I31(value.into()), Cast::Test)?
            }
            Op::Garbage { .. } => drop(self.spend()),
            Op::Gc => {
                let (_, alive) = self.reachable(&self.roots());
                self.seen.push(Seen::Gc(alive));
            }
            Op::Make { order } => {
                for i in 0..3 {
                    let local = MADE[(i + usize::from(order)) % 3];
                    locals[local] = Referent::Host(self.made + i as u32);
                }
                self.seen.push(Seen::Make(self.made));
                self.made += 3;
            }
            Op::Take { from } => {
                let e = self.local(locals, from, Ty::Ext, Cast::Test)?;
                let a = self.local(locals, from.wrapping_add(1), Ty::Any, Cast::Test)?;
                let s = self.local(locals, from.wrapping_add(2), Ty::Base, Cast::Test)?;
                self.seen.push(Seen::Take([e, a, s]));
            }
            Op::Call { function, from, to, how }
                if number + 1 < self.functions.len() && self.spend() =>
            {
                let callee = number + 1 + pick(function, self.functions.len() - number - 1);
                let mut arguments = [Null; PARAMS];
                for (i, argument) in (0..).zip(&mut arguments) {
                    let ty = LOCALS[usize::from(i)].1;
                    *argument = self.local(locals, from.wrapping_add(i), ty, cast(how))?;
                }
                let result = self.function(callee, arguments)?;
                self.set(locals, to, Ty::Any, result, cast(how))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Elements of an array.
    fn elements(&mut self, array: Referent, at: u8, len: u32) -> Result<&mut [Referent], Trap> {
        let Referent::Object(n) = array else { return Err(Trap::NullReference) };
        let at = index(at) as usize;
        let range = at..at + len as usize;
        self.objects[n].refs.get_mut(range).ok_or(Trap::ArrayOutOfBounds)
    }
}

/// What happens where an operation would trap.
fn guarded(trap: Trap, how: u8) -> Result<(), Trap> {
    if cast(how) == Cast::Trap { Err(trap) } else { Ok(()) }
}

/// Whether the module finds out beforehand that an operation would trap, and does not begin it.
fn is_checked(would_trap: bool, how: u8) -> bool {
    would_trap && cast(how) != Cast::Trap
}

fn part(values: &[Referent], start: u8, len: u8, trap: Trap) -> Result<&[Referent], Trap> {
    let start = index(start) as usize;
    values.get(start..start + index(len) as usize).ok_or(trap)
}

fn part_mut(
    values: &mut [Referent],
    start: u8,
    len: u8,
    trap: Trap,
) -> Result<&mut [Referent], Trap> {
    let start = index(start) as usize;
    values.get_mut(start..start + index(len) as usize).ok_or(trap)
}
