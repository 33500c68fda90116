//! What can be seen of a run, in a form that does not depend on the places of objects.

use gc_testkit::clif::world::{TABLE_LENGTH, layouts};
use gc_types::{ArrayLayout, FieldLayout, GcLayout, StorageType, Trap, VMGcHeader, VMGcRef};
use std::collections::HashMap;
use std::fmt::{self, Write};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Returned,
    Trapped(Trap),
}

/// What is left after a run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) end: End,
    /// The blocks that might still begin.
    pub(super) fuel: u32,
    /// The word into which the program mixes its integers.
    pub(super) observed: u64,
    pub(super) graph: Graph,
}

/// The references that a run leaves.
pub(super) struct Roots {
    /// The result, or 0.
    pub(super) result: u32,
    pub(super) global: u32,
    pub(super) table: [u32; TABLE_LENGTH as usize],
}

impl Outcome {
    /// The first difference from another outcome.
    pub(super) fn difference(&self, other: &Outcome) -> String {
        let mut text = String::new();
        let [one, two] = [self, other].map(|outcome| format!("{outcome:#?}"));
        for (one, two) in one.lines().zip(two.lines()).filter(|(one, two)| one != two).take(4) {
            let _ = write!(text, "\n  {} and {}", one.trim(), two.trim());
        }
        let _ = write!(
            text,
            "\n{:?}, {:?} and {:?}, {:?}",
            self.end, self.graph, other.end, other.graph
        );
        text
    }
}

/// The objects that can be reached, numbered in the order of a breadth-first walk.
#[derive(PartialEq, Eq)]
pub(super) struct Graph(Vec<Node>);

/// The roots, or an object.
#[derive(PartialEq, Eq)]
struct Node {
    /// The type's index, or 0.
    ty: u32,
    words: Vec<Word>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Null,
    I31(u32),
    Object(usize),
    Bits(u64),
    /// Nothing can be read there.
    Wild,
}

impl Graph {
    /// The graph behind `roots`, in a heap from which `read` reads a number of bytes at an index.
    pub(super) fn of(roots: &Roots, read: impl Fn(u32, u32) -> Option<u64>) -> Graph {
        let mut walk = Walk { numbers: HashMap::new(), found: Vec::new() };
        let roots = [roots.result, roots.global].into_iter().chain(roots.table);
        let words = roots.map(|root| walk.word(root)).collect();
        let mut nodes = vec![Node { ty: 0, words }];
        let layouts = layouts();
        while let Some(&object) = walk.found.get(nodes.len() - 1) {
            let header = read(object, 4).unwrap_or(0) as u32;
            let ty = VMGcHeader::from_words(header, 0).ty();
            let layout = layouts.iter().find(|(known, _)| *known == ty).map(|(_, layout)| layout);
            let fields = match layout {
                Some(GcLayout::Array(array)) => {
                    let length = read(object + ArrayLayout::LENGTH_OFFSET, 4).unwrap_or(0) as u32;
                    let field = |n| FieldLayout {
                        offset: array.element_offset(n) as u32,
                        ty: array.element,
                    };
                    (0..length.min(1000)).map(field).collect()
                }
                Some(layout) => layout.fields().unwrap_or_default().to_vec(),
                None => Vec::new(),
            };
            let word = |walk: &mut Walk, field: &FieldLayout| match read(
                object.wrapping_add(field.offset),
                field.ty.size(),
            ) {
                None => Word::Wild,
                Some(bits) if field.ty == StorageType::Ref => walk.word(bits as u32),
                Some(bits) => Word::Bits(bits),
            };
            let words = fields.iter().map(|field| word(&mut walk, field)).collect();
            nodes.push(Node { ty: if layout.is_some() { ty.as_u32() } else { u32::MAX }, words });
        }
        Graph(nodes)
    }
}

struct Walk {
    numbers: HashMap<u32, usize>,
    /// The objects, by number.
    found: Vec<u32>,
}

impl Walk {
    fn word(&mut self, word: u32) -> Word {
        match VMGcRef::from_raw_u32(word) {
            None => Word::Null,
            Some(i31) if i31.is_i31() => Word::I31(word),
            Some(_) => {
                let next = self.found.len() + 1;
                let number = *self.numbers.entry(word).or_insert(next);
                if number == next {
                    self.found.push(word);
                }
                Word::Object(number)
            }
        }
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Word::Null => f.write_str("-"),
            Word::I31(word) => write!(f, "i31 {}", *word as i32 >> 1),
            Word::Object(number) => write!(f, "→{number}"),
            Word::Bits(bits) => write!(f, "{bits:#x}"),
            Word::Wild => f.write_str("nothing"),
        }
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, node) in self.0.iter().enumerate() {
            writeln!(f, "{number}: type {} {:?}", node.ty, node.words)?;
        }
        Ok(())
    }
}
