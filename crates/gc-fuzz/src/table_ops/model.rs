//! What a program must do: the same operations on ordinary Rust values.

use super::ops::{Node, Op, Program, functions};
use super::schema::{
    ARRAYS, BUDGET, COPIES, Cast, FAILED, FIELDS, GLOBALS, Item, LOCALS, LONG, MADE, NEW, NEW_LEN,
    PARAMS, RESULT, SEGMENTS, STRUCTS, TABLES, TESTED, Ty, cast, converts, index, is_behind,
    length, pick, references, source, target,
};
use gc_wasm::Trap;

/// A reference. External references and the internal ones that are made of them are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    I31(u32),
    /// The host's value with this number.
    Host(u32),
    /// An object by its number.
    Object(usize),
}

use Value::Null;

#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) ty: Ty,
    /// The number of a struct.
    pub(super) n: u32,
    /// The elements, or the fields with references.
    pub(super) refs: Vec<Value>,
}

/// What the host must see when the program calls it.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    /// A collection, with the host values that globals, tables and segments hold.
    Gc(Vec<u32>),
    /// These arguments.
    Take([Value; 3]),
    /// Values were made, the first with this number.
    Make(u32),
}

/// What a program has.
#[derive(Debug)]
pub(super) struct Model {
    functions: Vec<Vec<Node>>,
    pub(super) objects: Vec<Object>,
    pub(super) globals: [Value; GLOBALS.len()],
    pub(super) tables: [Vec<Value>; TABLES.len()],
    segments: [Vec<Value>; SEGMENTS.len()],
    pub(super) acc: u32,
    serial: u32,
    budget: u32,
    /// The number of host values made. The first is that of the imported global.
    pub(super) made: u32,
    pub(super) seen: Vec<Seen>,
}

type Locals = [Value; LOCALS.len()];

impl Model {
    /// The state after the instantiation.
    pub(super) fn new(program: &Program) -> Model {
        let mut model = Model {
            functions: functions(&program.ops),
            objects: Vec::new(),
            globals: [Null; GLOBALS.len()],
            tables: [0, 1, 2].map(|table| vec![Null; TABLES[table].len as usize]),
            segments: Default::default(),
            acc: 0,
            serial: 0,
            budget: BUDGET,
            made: 1,
            seen: Vec::new(),
        };
        for (number, segment) in SEGMENTS.iter().enumerate() {
            for item in segment.items {
                let value = match *item {
                    Item::Null => Null,
                    Item::I31(n) => Value::I31(n),
                    Item::Struct(ty, n) => {
                        let mut refs = vec![Null; references(ty)];
                        if ty == Ty::Leaf {
                            refs[3] = Value::Host(0);
                        }
                        model.object(ty, n, refs)
                    }
                    Item::Array(n) => model.object(Ty::Anys, 0, vec![Value::I31(n), Null]),
                    Item::Imported => Value::Host(0),
                };
                model.segments[number].push(value);
            }
        }
        model
    }

    /// Calls the first function.
    pub(super) fn call(&mut self, arguments: [Value; PARAMS]) -> Result<Value, Trap> {
        self.budget = BUDGET;
        self.function(0, arguments)
    }

    /// The references of globals, tables and segments, and the imported value.
    pub(super) fn roots(&self) -> Vec<Value> {
        let tables = self.tables.iter().chain(&self.segments).flatten();
        self.globals.iter().chain(tables).copied().chain([Value::Host(0)]).collect()
    }

    /// The objects and host values that these and what they refer to are.
    pub(super) fn reachable(&self, roots: &[Value]) -> (Vec<usize>, Vec<u32>) {
        let mut seen = vec![false; self.objects.len()];
        let mut hosts = vec![false; self.made as usize];
        let mut waiting = roots.to_vec();
        while let Some(value) = waiting.pop() {
            match value {
                Value::Host(n) => hosts[n as usize] = true,
                Value::Object(n) if !seen[n] => {
                    seen[n] = true;
                    waiting.extend_from_slice(&self.objects[n].refs);
                }
                _ => {}
            }
        }
        let all = |flags: Vec<bool>| (0..flags.len()).filter(|n| flags[*n]).collect::<Vec<_>>();
        (all(seen), all(hosts).into_iter().map(|n| n as u32).collect())
    }

    fn object(&mut self, ty: Ty, n: u32, refs: Vec<Value>) -> Value {
        self.objects.push(Object { ty, n, refs });
        Value::Object(self.objects.len() - 1)
    }

    fn is(&self, value: Value, ty: Ty) -> bool {
        match (value, ty) {
            (_, Ty::Ext | Ty::Any) | (Null, _) => true,
            (Value::I31(_), _) => ty == Ty::Eq,
            (Value::Host(_), _) => false,
            (Value::Object(n), _) => self.objects[n].ty.is_subtype(ty),
        }
    }

    fn cast(&mut self, value: Value, from: Ty, to: Ty, how: Cast) -> Result<Value, Trap> {
        if converts(from, to) {
            return Ok(value);
        }
        let is = self.is(value, to);
        let (passes, counted) = match how {
            Cast::Branch { nullable } | Cast::BranchFail { nullable } => {
                (is && (nullable || value != Null), true)
            }
            Cast::Trap if !is => return Err(Trap::CastFailure),
            Cast::Test | Cast::Trap => (is, false),
        };
        if !passes && counted {
            self.accumulate(FAILED);
        }
        Ok(if passes { value } else { Null })
    }

    /// What a test of `value` for one of the types finds.
    fn is_of(&self, value: Value, tested: &str, nullable: bool) -> bool {
        match (value, tested) {
            (Null, _) => nullable,
            (_, "any") => true,
            (_, "none") => false,
            (Value::I31(_), name) => matches!(name, "i31" | "eq"),
            (Value::Host(_), _) => false,
            (Value::Object(n), name) => match (self.objects[n].ty, name) {
                (_, "eq") => true,
                (ty, "array") => ARRAYS.iter().any(|(array, _)| *array == ty),
                (ty, "struct") => STRUCTS.contains(&ty),
                (ty, "$base") => STRUCTS.contains(&ty),
                (ty, "$mid") => matches!(ty, Ty::Mid | Ty::Leaf),
                (ty, "$deep") => ty == Ty::Leaf,
                (ty, name) => ty.heap() == name,
            },
        }
    }

    fn accumulate(&mut self, value: u32) {
        self.acc = self.acc.wrapping_mul(31).wrapping_add(value);
    }

    /// Takes one from the budget if there is one.
    fn spend(&mut self) -> bool {
        let left = self.budget > 0;
        self.budget -= u32::from(left);
        left
    }

    fn function(&mut self, number: usize, arguments: [Value; PARAMS]) -> Result<Value, Trap> {
        let mut locals = [Null; LOCALS.len()];
        locals[..PARAMS].copy_from_slice(&arguments);
        for local in NEW {
            let ty = LOCALS[local].1;
            let len = if ty == Ty::Mid { references(ty) } else { NEW_LEN as usize };
            locals[local] = self.object(ty, 0, vec![Null; len]);
        }
        let body = std::mem::take(&mut self.functions[number]);
        let result = self.nodes(number, &body, &mut locals);
        self.functions[number] = body;
        result.map(|()| locals[RESULT])
    }

    fn nodes(&mut self, number: usize, nodes: &[Node], locals: &mut Locals) -> Result<(), Trap> {
        for node in nodes {
            match node {
                Node::Op(op) => self.op(number, op, locals)?,
                Node::Loop(times, body) => {
                    let mut left = *times;
                    loop {
                        self.nodes(number, body, locals)?;
                        left -= 1;
                        if left == 0 || !self.spend() {
                            break;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn op(&mut self, number: usize, op: &Op, locals: &mut Locals) -> Result<(), Trap> {
        macro_rules! local {
            ($from:expr, $ty:expr, $how:expr) => {{
                let from = source($from, $ty);
                self.cast(locals[from], LOCALS[from].1, $ty, $how)?
            }};
        }
        macro_rules! set {
            ($to:expr, $ty:expr, $value:expr, $how:expr) => {{
                let to = target($to, $ty);
                locals[to] = self.cast($value, $ty, LOCALS[to].1, $how)?;
            }};
        }
        match *op {
            Op::Copy { from, to, how } => {
                let from = pick(from, LOCALS.len());
                set!(to, LOCALS[from].1, locals[from], cast(how));
            }
            Op::Null { to } => locals[pick(to, LOCALS.len())] = Null,
            Op::I31 { to, value } => set!(to, Ty::Any, Value::I31(value.into()), Cast::Test),
            Op::Struct { to, kind, from, how } => {
                self.serial += 1;
                let ty = STRUCTS[pick(kind / 4, 3)];
                let mut refs = vec![Null; references(ty)];
                if kind % 4 != 3 {
                    for (i, value) in (0..).zip(&mut refs) {
                        let ty = FIELDS[usize::from(i)].ty;
                        *value = local!(from.wrapping_add(i), ty, cast(how));
                    }
                }
                let object = self.object(ty, self.serial, refs);
                // The module knows no more of a struct with default values.
                let ty = if kind % 4 == 3 { Ty::Base } else { ty };
                set!(to, ty, object, cast(how));
            }
            Op::Array { to, kind, len, from, how } => {
                let (array, element) = ARRAYS[pick(kind, 3)];
                let value = match kind / 3 % 3 {
                    2 => Null,
                    _ if length(len) >= LONG && element != Ty::Ext => {
                        self.serial += 1;
                        self.object(Ty::Base, self.serial, vec![Null; references(Ty::Base)])
                    }
                    _ => local!(from, element, cast(how)),
                };
                let object = self.object(array, 0, vec![value; length(len) as usize]);
                set!(to, array, object, cast(how));
            }
            Op::Fixed { to, kind, len, from, how } => {
                let (array, element) = ARRAYS[pick(kind, 3)];
                let mut values = Vec::new();
                for i in 0..len % 8 {
                    values.push(local!(from.wrapping_add(i), element, cast(how)));
                }
                let object = self.object(array, 0, values);
                set!(to, array, object, cast(how));
            }
            Op::NewElem { to, segment, start, len, how } => {
                let number = pick(segment, SEGMENTS.len());
                match part(&self.segments[number], start, len, Trap::TableOutOfBounds) {
                    Ok(values) => {
                        let values = values.to_vec();
                        let object = self.object(SEGMENTS[number].array, 0, values);
                        set!(to, SEGMENTS[number].array, object, cast(how));
                    }
                    Err(trap) => guarded(trap, how)?,
                }
            }
            Op::GlobalGet { to, global, how } => {
                let global = pick(global, GLOBALS.len());
                set!(to, GLOBALS[global].1, self.globals[global], cast(how));
            }
            Op::GlobalSet { from, global, how } => {
                let global = pick(global, GLOBALS.len());
                self.globals[global] = local!(from, GLOBALS[global].1, cast(how));
            }
            Op::TableGet { to, table, index: at, how } => {
                let table = pick(table, 3);
                match self.tables[table].get(index(at) as usize) {
                    Some(value) => set!(to, TABLES[table].ty, *value, cast(how)),
                    None => guarded(Trap::TableOutOfBounds, how)?,
                }
            }
            Op::TableSet { from, table, index: at, how } => {
                let table = pick(table, 3);
                if is_checked(self.tables[table].get(index(at) as usize).is_none(), how) {
                    return Ok(());
                }
                let value = local!(from, TABLES[table].ty, cast(how));
                match self.tables[table].get_mut(index(at) as usize) {
                    Some(place) => *place = value,
                    None => guarded(Trap::TableOutOfBounds, how)?,
                }
            }
            Op::TableGrow { from, table, delta, how } => {
                let number = pick(table, 3);
                let value = local!(from, TABLES[number].ty, cast(how));
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
                let value = local!(from, TABLES[table].ty, cast(how));
                match part_mut(&mut self.tables[table], at, len, Trap::TableOutOfBounds) {
                    Ok(places) => places.fill(value),
                    Err(trap) => guarded(trap, how)?,
                }
            }
            Op::TableCopy { tables, at, start, len, how } => {
                let (to, from) = COPIES[pick(tables, COPIES.len())];
                let values = part(&self.tables[from], start, len, Trap::TableOutOfBounds);
                let values = values.map(<[Value]>::to_vec);
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
            Op::FieldGet { object, field, to, how } => {
                let number = pick(field, FIELDS.len());
                match local!(object, FIELDS[number].owner, cast(how)) {
                    Value::Object(n) => {
                        set!(to, FIELDS[number].ty, self.objects[n].refs[number], cast(how));
                    }
                    _ => guarded(Trap::NullReference, how)?,
                }
            }
            Op::FieldSet { object, field, from, how } => {
                let number = pick(field, FIELDS.len());
                if FIELDS[number].mutable {
                    let object = local!(object, FIELDS[number].owner, cast(how));
                    if is_checked(object == Null, how) {
                        return Ok(());
                    }
                    let value = local!(from, FIELDS[number].ty, cast(how));
                    match object {
                        Value::Object(n) => self.objects[n].refs[number] = value,
                        _ => guarded(Trap::NullReference, how)?,
                    }
                }
            }
            Op::ElementGet { object, kind, index: at, to, how } => {
                let (array, element) = ARRAYS[pick(kind, 3)];
                let array = local!(object, array, cast(how));
                match self.elements(array, at, 1).map(|values| values[0]) {
                    Ok(value) => set!(to, element, value, cast(how)),
                    Err(trap) => guarded(trap, how)?,
                }
            }
            Op::ElementSet { object, kind, index: at, from, how } => {
                let (array, element) = ARRAYS[pick(kind, 3)];
                let array = local!(object, array, cast(how));
                if is_checked(self.elements(array, at, 1).is_err(), how) {
                    return Ok(());
                }
                let value = local!(from, element, cast(how));
                match self.elements(array, at, 1) {
                    Ok(places) => places[0] = value,
                    Err(trap) => guarded(trap, how)?,
                }
            }
            Op::ArrayCopy { object, other, kind, at, start, len, how } => {
                let (to, from) = match kind % 4 {
                    3 => (Ty::Anys, Ty::Structs),
                    kind => (ARRAYS[usize::from(kind)].0, ARRAYS[usize::from(kind)].0),
                };
                let to = local!(object, to, cast(how));
                let from = local!(other, from, cast(how));
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
                let array = local!(object, array, cast(how));
                if is_checked(self.elements(array, at, index(len)).is_err(), how) {
                    return Ok(());
                }
                let value = local!(from, element, cast(how));
                match self.elements(array, at, index(len)) {
                    Ok(places) => places.fill(value),
                    Err(trap) => guarded(trap, how)?,
                }
            }
            Op::ArrayInit { object, segment, at, start, len, how } => {
                let number = pick(segment, SEGMENTS.len());
                let array = local!(object, SEGMENTS[number].array, cast(how));
                let values = part(&self.segments[number], start, len, Trap::TableOutOfBounds);
                let values = values.map(<[Value]>::to_vec);
                match (self.elements(array, at, index(len)), values) {
                    (Ok(places), Ok(values)) => places.copy_from_slice(&values),
                    (Err(trap), _) | (_, Err(trap)) => guarded(trap, how)?,
                }
            }
            Op::Behind { object, kind, how } if is_behind(how) => match ARRAYS.get(pick(kind, 4)) {
                None => return Err(Trap::TableOutOfBounds),
                Some((array, _)) => {
                    if let Value::Object(_) = local!(object, *array, Cast::Test) {
                        return Err(Trap::ArrayOutOfBounds);
                    }
                }
            },
            Op::Behind { .. } => {}
            Op::Test { from, nullable } => {
                let value = locals[pick(from, LOCALS.len())];
                for tested in TESTED {
                    let is = self.is_of(value, tested, nullable % 2 == 1);
                    self.accumulate(is.into());
                }
            }
            Op::Same { a, b } => {
                let a = local!(a, Ty::Eq, Cast::Branch { nullable: true });
                let b = local!(b, Ty::Eq, Cast::BranchFail { nullable: false });
                self.accumulate((a == b).into());
            }
            Op::Lengths { table, object, kind } => {
                self.accumulate(self.tables[pick(table, 3)].len() as u32);
                match local!(object, ARRAYS[pick(kind, 3)].0, Cast::Branch { nullable: true }) {
                    Value::Object(n) => self.accumulate(self.objects[n].refs.len() as u32),
                    _ => self.accumulate(77),
                }
            }
            Op::Garbage { .. } => drop(self.spend()),
            Op::Gc => {
                let (_, alive) = self.reachable(&self.roots());
                self.seen.push(Seen::Gc(alive));
            }
            Op::Make { order } => {
                for i in 0..3 {
                    let local = MADE[(i + usize::from(order)) % 3];
                    locals[local] = Value::Host(self.made + i as u32);
                }
                self.seen.push(Seen::Make(self.made));
                self.made += 3;
            }
            Op::Take { from } => {
                let e = local!(from, Ty::Ext, Cast::Test);
                let a = local!(from.wrapping_add(1), Ty::Any, Cast::Test);
                let s = local!(from.wrapping_add(2), Ty::Base, Cast::Test);
                self.seen.push(Seen::Take([e, a, s]));
            }
            Op::Call { function, from, to, how } => {
                if number + 1 < self.functions.len() && self.spend() {
                    let callee = number + 1 + pick(function, self.functions.len() - number - 1);
                    let mut arguments = [Null; PARAMS];
                    for (i, argument) in (0..).zip(&mut arguments) {
                        let ty = LOCALS[usize::from(i)].1;
                        *argument = local!(from.wrapping_add(i), ty, cast(how));
                    }
                    let result = self.function(callee, arguments)?;
                    set!(to, Ty::Any, result, cast(how));
                }
            }
            Op::Loop { .. } | Op::End | Op::Function => {}
        }
        Ok(())
    }

    /// Elements of an array.
    fn elements(&mut self, array: Value, at: u8, len: u32) -> Result<&mut [Value], Trap> {
        let Value::Object(n) = array else { return Err(Trap::NullReference) };
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

fn part(values: &[Value], start: u8, len: u8, trap: Trap) -> Result<&[Value], Trap> {
    let start = index(start) as usize;
    values.get(start..start + index(len) as usize).ok_or(trap)
}

fn part_mut(values: &mut [Value], start: u8, len: u8, trap: Trap) -> Result<&mut [Value], Trap> {
    let start = index(start) as usize;
    values.get_mut(start..start + index(len) as usize).ok_or(trap)
}
