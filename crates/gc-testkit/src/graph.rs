//! The graph that a mutator can reach, in a form that does not depend on the places of objects.
//! Objects are numbered in the order of a breadth-first walk from the roots. Two heaps with the
//! same contents have equal graphs and equal hashes, even if their collectors moved objects.

use crate::mutator::Mutator;
use crate::place::RootSlot;
use crate::schema;
use anyhow::{Context, Result};
use gc_types::{ExnLayout, GcLayout, StorageType, TypeIndex, VMGcRef};
use rustc_hash::{FxHashMap, FxHasher};
use std::fmt::Write;
use std::hash::{Hash, Hasher};

/// A root, a field or an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Word {
    /// Null.
    Null,
    /// An unboxed integer.
    I31(u32),
    /// A reference to the object of this number.
    Object(u32),
    /// Bits of a value that is not a reference.
    Bits(u128),
}

/// The kind and type of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// A struct.
    Struct(TypeIndex),
    /// An exception and its tag.
    Exn(TypeIndex, u32, u32),
    /// An array and its length.
    Array(TypeIndex, u32),
    /// An externref with the token of this number.
    ExternRef(u32),
}

/// An object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// The kind and type.
    pub shape: Shape,
    /// Its fields or elements.
    pub body: Vec<Word>,
    /// The object and the number of its field where the walk first found this object; `None` for a
    /// root.
    from: Option<(u32, u32)>,
}

/// Everything that can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    /// The contents of each place that is not empty, in the order of [`RootSlot::all`].
    pub roots: Vec<(RootSlot, Word)>,
    /// The objects, by number.
    pub objects: Vec<Object>,
}

impl Graph {
    /// The graph that `mutator` can reach.
    ///
    /// # Errors
    /// If the heap cannot be read.
    pub fn of(mutator: &Mutator) -> Result<Graph> {
        let mut walk = Walk { mutator, numbers: FxHashMap::default(), found: Vec::new() };
        let mut graph = Graph::default();
        for place in RootSlot::all() {
            if let Some(gc_ref) = mutator.get(place) {
                graph.roots.push((place, walk.word(gc_ref, None)));
            }
        }
        while let Some((gc_ref, from)) = walk.found.get(graph.objects.len()) {
            let (gc_ref, from) = (gc_ref.unchecked_copy(), *from);
            let number = graph.objects.len() as u32;
            let (shape, body) = walk
                .object(&gc_ref, number)
                .with_context(|| format!("the object at {gc_ref:?}"))?;
            graph.objects.push(Object { shape, body, from });
        }
        Ok(graph)
    }

    /// A hash of the graph, the same for all collectors.
    pub fn hash(&self) -> u64 {
        let mut hasher = FxHasher::default();
        self.roots.hash(&mut hasher);
        for object in &self.objects {
            (object.shape, &object.body).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// The numbers of the tokens of all externrefs in the graph, ascending.
    pub fn tokens(&self) -> Vec<u32> {
        let mut tokens: Vec<u32> = self
            .objects
            .iter()
            .filter_map(|object| match object.shape {
                Shape::ExternRef(token) => Some(token),
                _ => None,
            })
            .collect();
        tokens.sort_unstable();
        tokens
    }

    /// A description of the first difference between the graphs. `None` if they are equal.
    pub fn first_difference(&self, other: &Graph) -> Option<String> {
        for place in RootSlot::all() {
            let at = |graph: &Graph| {
                let found = graph.roots.iter().find(|(known, _)| *known == place);
                found.map_or(Word::Null, |(_, word)| *word)
            };
            if at(self) != at(other) {
                return Some(format!("{place:?}: {:?} and {:?}", at(self), at(other)));
            }
        }
        for (number, (one, two)) in (0..).zip(self.objects.iter().zip(&other.objects)) {
            if one.shape != two.shape {
                return Some(format!("{}: {:?} and {:?}", self.way(number), one.shape, two.shape));
            }
            let fields = one.body.iter().zip(&two.body);
            if let Some((field, (one, two))) = fields.enumerate().find(|(_, (a, b))| a != b) {
                let way = self.way(number);
                return Some(format!("{way}, field {field}: {one:?} and {two:?}"));
            }
        }
        // An object that only one graph has is in a field that differs.
        None
    }

    /// The path to the object with this number.
    fn way(&self, number: u32) -> String {
        let mut numbers = vec![number];
        let mut fields = Vec::new();
        while let Some((from, field)) = self.objects[numbers[numbers.len() - 1] as usize].from {
            numbers.push(from);
            fields.push(field);
        }
        let first = Word::Object(numbers[numbers.len() - 1]);
        let root = self.roots.iter().find(|(_, word)| *word == first);
        let mut way = root.map_or_else(String::new, |(place, _)| format!("{place:?}"));
        let _ = write!(way, " → object {}", numbers[numbers.len() - 1]);
        for (field, number) in fields.iter().rev().zip(numbers.iter().rev().skip(1)) {
            let _ = write!(way, ", field {field} → object {number}");
        }
        way
    }
}

struct Walk<'a> {
    mutator: &'a Mutator,
    numbers: FxHashMap<u32, u32>,
    /// The objects by number, and where they were found.
    found: Vec<(VMGcRef, Option<(u32, u32)>)>,
}

impl Walk<'_> {
    fn word(&mut self, gc_ref: VMGcRef, from: Option<(u32, u32)>) -> Word {
        if let Some(i31) = gc_ref.as_i31() {
            return Word::I31(i31.get_u32());
        }
        let next = self.found.len() as u32;
        let number = *self.numbers.entry(gc_ref.as_raw_u32()).or_insert(next);
        if number == next {
            self.found.push((gc_ref, from));
        }
        Word::Object(number)
    }

    fn object(&mut self, gc_ref: &VMGcRef, number: u32) -> Result<(Shape, Vec<Word>)> {
        let store = self.mutator.store();
        let Some((layout, length)) = self.mutator.shape(gc_ref)? else {
            return Ok((Shape::ExternRef(self.mutator.token(gc_ref)?), Vec::new()));
        };
        let ty = store.header(gc_ref)?.ty();
        let tag = |offset| store.read_field(gc_ref, offset, StorageType::I32);
        let shape = match &*layout {
            GcLayout::Struct(_) => Shape::Struct(ty),
            GcLayout::Array(_) => Shape::Array(ty, length),
            GcLayout::Exn(_) => Shape::Exn(
                ty,
                tag(ExnLayout::TAG_INSTANCE_OFFSET)? as u32,
                tag(ExnLayout::TAG_INDEX_OFFSET)? as u32,
            ),
        };
        let mut body = Vec::new();
        for slot in 0..schema::slot_count(&layout, length) {
            let field = schema::slot(&layout, slot);
            let bits = store.read_field(gc_ref, field.offset, field.ty)?;
            body.push(match VMGcRef::from_raw_u32(bits as u32) {
                _ if !field.ty.is_ref() => Word::Bits(bits),
                None => Word::Null,
                Some(gc_ref) => self.word(gc_ref, Some((number, slot))),
            });
        }
        Ok((shape, body))
    }
}
