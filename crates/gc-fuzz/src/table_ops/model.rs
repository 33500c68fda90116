//! What a program must do: the same operations on ordinary Rust values.

use super::ops::{Node, Program, functions};
use super::schema::{
    ARRAYS, BUDGET, Cast, FAILED, GLOBALS, Item, LOCALS, NEW, NEW_LEN, PARAMS, RESULT, SEGMENTS,
    STRUCTS, TABLES, Ty, converts, references,
};
use crate::value::Referent;
use gc_wasm::Trap;

use Referent::Null;

#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) ty: Ty,
    /// The number of a struct.
    pub(super) n: u32,
    /// The elements, or the fields with references.
    pub(super) refs: Vec<Referent>,
}

/// What the host must see when the program calls it.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    /// A collection, with the host values that globals, tables and segments hold.
    Gc(Vec<u32>),
    /// These arguments.
    Take([Referent; 3]),
    /// Values were made, the first with this number.
    Make(u32),
}

/// What a program has.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) functions: Vec<Vec<Node>>,
    pub(super) objects: Vec<Object>,
    pub(super) globals: [Referent; GLOBALS.len()],
    pub(super) tables: [Vec<Referent>; TABLES.len()],
    pub(super) segments: [Vec<Referent>; SEGMENTS.len()],
    pub(super) acc: u32,
    pub(super) serial: u32,
    pub(super) budget: u32,
    /// The number of host values made. The first is that of the imported global.
    pub(super) made: u32,
    pub(super) seen: Vec<Seen>,
}

pub(super) type Locals = [Referent; LOCALS.len()];

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
                    Item::I31(n) => Referent::I31(n),
                    Item::Struct(ty, n) => {
                        let mut refs = vec![Null; references(ty)];
                        if ty == Ty::Leaf {
                            refs[3] = Referent::Host(0);
                        }
                        model.object(ty, n, refs)
                    }
                    Item::Array(n) => model.object(Ty::Anys, 0, vec![Referent::I31(n), Null]),
                    Item::Imported => Referent::Host(0),
                };
                model.segments[number].push(value);
            }
        }
        model
    }

    /// Calls the first function.
    pub(super) fn call(&mut self, arguments: [Referent; PARAMS]) -> Result<Referent, Trap> {
        self.budget = BUDGET;
        self.function(0, arguments)
    }

    /// The references of globals, tables and segments, and the imported value.
    pub(super) fn roots(&self) -> Vec<Referent> {
        let tables = self.tables.iter().chain(&self.segments).flatten();
        self.globals.iter().chain(tables).copied().chain([Referent::Host(0)]).collect()
    }

    /// The objects and host values that these and what they refer to are.
    pub(super) fn reachable(&self, roots: &[Referent]) -> (Vec<usize>, Vec<u32>) {
        let mut seen = vec![false; self.objects.len()];
        let mut hosts = vec![false; self.made as usize];
        let mut waiting = roots.to_vec();
        while let Some(value) = waiting.pop() {
            match value {
                Referent::Host(n) => hosts[n as usize] = true,
                Referent::Object(n) if !seen[n] => {
                    seen[n] = true;
                    waiting.extend_from_slice(&self.objects[n].refs);
                }
                _ => {}
            }
        }
        let all = |flags: Vec<bool>| (0..flags.len()).filter(|n| flags[*n]).collect::<Vec<_>>();
        (all(seen), all(hosts).into_iter().map(|n| n as u32).collect())
    }

    pub(super) fn object(&mut self, ty: Ty, n: u32, refs: Vec<Referent>) -> Referent {
        self.objects.push(Object { ty, n, refs });
        Referent::Object(self.objects.len() - 1)
    }

    pub(super) fn is(&self, value: Referent, ty: Ty) -> bool {
        match (value, ty) {
            (_, Ty::Ext | Ty::Any) | (Null, _) => true,
            (Referent::I31(_), _) => ty == Ty::Eq,
            (Referent::Host(_) | Referent::Thing(_), _) => false,
            (Referent::Object(n), _) => self.objects[n].ty.is_subtype(ty),
        }
    }

    pub(super) fn cast(
        &mut self,
        value: Referent,
        from: Ty,
        to: Ty,
        how: Cast,
    ) -> Result<Referent, Trap> {
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
    pub(super) fn is_of(&self, value: Referent, tested: &str, nullable: bool) -> bool {
        match (value, tested) {
            (Null, _) => nullable,
            (_, "any") => true,
            (_, "none") => false,
            (Referent::I31(_), name) => matches!(name, "i31" | "eq"),
            (Referent::Host(_) | Referent::Thing(_), _) => false,
            (Referent::Object(n), name) => match (self.objects[n].ty, name) {
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

    pub(super) fn accumulate(&mut self, value: u32) {
        self.acc = self.acc.wrapping_mul(31).wrapping_add(value);
    }

    /// Takes one from the budget if there is one.
    pub(super) fn spend(&mut self) -> bool {
        let left = self.budget > 0;
        self.budget -= u32::from(left);
        left
    }

    pub(super) fn function(
        &mut self,
        number: usize,
        arguments: [Referent; PARAMS],
    ) -> Result<Referent, Trap> {
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
}
