//! What a program has: types, locals, globals, tables, segments. The module and the model are both
//! made from this.

/// The type of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ty {
    Ext,
    Any,
    Eq,
    Base,
    Mid,
    Leaf,
    Anys,
    Exts,
    Structs,
}

use Ty::{Any, Anys, Base, Ext, Exts, Leaf, Mid, Structs};

impl Ty {
    /// Its name as a heap type.
    pub(super) fn heap(self) -> &'static str {
        match self {
            Ext => "extern",
            Any => "any",
            Ty::Eq => "eq",
            Base => "$base",
            Mid => "$mid",
            Leaf => "$leaf",
            Anys => "$anys",
            Exts => "$exts",
            Structs => "$structs",
        }
    }

    /// Whether all values of this type are of the other. Not for [`Ext`].
    pub(super) fn is_subtype(self, other: Ty) -> bool {
        self == other
            || match other {
                Any => true,
                Ty::Eq => self != Any,
                Base => matches!(self, Mid | Leaf),
                Mid => self == Leaf,
                _ => false,
            }
    }
}

const TYPES: &str = "
    (rec
        (type $base (sub (struct
            (field $n (mut i32)) (field $e (mut externref)) (field $a (mut anyref)))))
        (type $mid (sub $base (struct
            (field $n (mut i32)) (field $e (mut externref)) (field $a (mut anyref))
            (field $s (mut (ref null $base))))))
        BETWEEN
        (type $leaf (sub final $deep (struct
            (field $n (mut i32)) (field $e (mut externref)) (field $a (mut anyref))
            (field $s (mut (ref null $base))) (field $x externref)))))
    (type $anys (array (mut anyref)))
    (type $exts (array (mut externref)))
    (type $structs (array (mut (ref null $base))))";

/// The number of types between `$mid` and `$leaf`. More ancestors than a row of the table of types has
/// room for are looked for by the host.
const BETWEEN: usize = 9;

/// The types between `$mid` and `$leaf`, which have no objects. The last one is `$deep`.
fn between() -> String {
    let name = |n| match n {
        0 => "$mid".to_string(),
        BETWEEN => "$deep".to_string(),
        n => format!("$between{n}"),
    };
    let define = |n| {
        format!(
            "(type {} (sub {} (struct
                (field $n (mut i32)) (field $e (mut externref)) (field $a (mut anyref))
                (field $s (mut (ref null $base))))))",
            name(n),
            name(n - 1)
        )
    };
    (1..=BETWEEN).map(define).collect()
}

/// The definitions of all types.
pub(super) fn types() -> String {
    TYPES.replace("BETWEEN", &between())
}

/// The types of structs, a hierarchy.
pub(super) const STRUCTS: [Ty; 3] = [Base, Mid, Leaf];

/// The types of arrays, with those of their elements.
pub(super) const ARRAYS: [(Ty, Ty); 3] = [(Anys, Any), (Exts, Ext), (Structs, Base)];

/// The locals. The parameters of a function are the first of each type of [`PARAMS`].
pub(super) const LOCALS: [(&str, Ty); 16] = [
    ("$e0", Ext),
    ("$a0", Any),
    ("$s0", Base),
    ("$e1", Ext),
    ("$a1", Any),
    ("$s1", Base),
    ("$e2", Ext),
    ("$a2", Any),
    ("$s2", Base),
    ("$m0", Mid),
    ("$l0", Leaf),
    ("$ra0", Anys),
    ("$ra1", Anys),
    ("$rx0", Exts),
    ("$rs0", Structs),
    ("$rs1", Structs),
];

/// The number of locals that are parameters: the first ones.
pub(super) const PARAMS: usize = 3;
/// The locals that begin with a new object. The others begin with null.
pub(super) const NEW: [usize; 4] = [9, 11, 13, 14];
/// The length of an array with which a local begins.
pub(super) const NEW_LEN: u32 = 5;
/// The local whose value a function returns.
pub(super) const RESULT: usize = 1;
/// The locals to which the host's new values go.
pub(super) const MADE: [usize; 3] = [0, 3, 6];

pub(super) const GLOBALS: [(&str, Ty); 6] =
    [("ge0", Ext), ("ge1", Ext), ("ga0", Any), ("ga1", Any), ("gs0", Base), ("gs1", Base)];

pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) ty: Ty,
    pub(super) len: u32,
    pub(super) maximum: u32,
}

pub(super) const TABLES: [Table; 3] = [
    Table { name: "te", ty: Ext, len: 6, maximum: 40 },
    Table { name: "ta", ty: Any, len: 8, maximum: 300 },
    Table { name: "ts", ty: Base, len: 4, maximum: 24 },
];

/// To which tables elements of which tables are copied.
pub(super) const COPIES: [(usize, usize); 4] = [(0, 0), (1, 1), (2, 2), (1, 2)];

/// A field that holds a reference.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) owner: Ty,
    pub(super) ty: Ty,
    pub(super) mutable: bool,
}

pub(super) const FIELDS: [Field; 4] = [
    Field { name: "$e", owner: Base, ty: Ext, mutable: true },
    Field { name: "$a", owner: Base, ty: Any, mutable: true },
    Field { name: "$s", owner: Mid, ty: Base, mutable: true },
    Field { name: "$x", owner: Leaf, ty: Ext, mutable: false },
];

/// The number of fields with references of a struct.
pub(super) fn references(ty: Ty) -> usize {
    FIELDS.iter().filter(|field| ty.is_subtype(field.owner)).count()
}

/// An element of a segment.
#[derive(Clone, Copy)]
pub(super) enum Item {
    Null,
    I31(u32),
    /// A new struct with this number. Those of the type [`Leaf`] hold the imported value.
    Struct(Ty, u32),
    /// An array of type [`Anys`] of two: the integer and null.
    Array(u32),
    /// The value of the imported global.
    Imported,
}

/// The elements of a segment, their type, the table into which they may be copied, and the kind of
/// arrays.
pub(super) struct Segment {
    pub(super) ty: Ty,
    pub(super) table: usize,
    pub(super) array: Ty,
    pub(super) items: &'static [Item],
}

pub(super) const SEGMENTS: [Segment; 3] = [
    Segment {
        ty: Any,
        table: 1,
        array: Anys,
        items: &[
            Item::I31(7),
            Item::Struct(Base, 1_000_000),
            Item::Array(5),
            Item::Null,
            Item::Struct(Leaf, 1_000_001),
        ],
    },
    Segment {
        ty: Base,
        table: 2,
        array: Structs,
        items: &[
            Item::Struct(Base, 1_000_002),
            Item::Null,
            Item::Struct(Mid, 1_000_003),
            Item::Struct(Leaf, 1_000_004),
        ],
    },
    Segment {
        ty: Ext,
        table: 0,
        array: Exts,
        items: &[Item::Null, Item::Imported, Item::Struct(Mid, 1_000_005)],
    },
];

/// What a test tests for.
pub(super) const TESTED: [&str; 13] = [
    "i31", "eq", "struct", "array", "none", "any", "$base", "$mid", "$deep", "$leaf", "$anys",
    "$exts", "$structs",
];

/// How a value is cast to a type of which it may not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cast {
    /// By `ref.test`. It becomes null if it is not of the type.
    Test,
    /// The same by `br_on_cast`. A failure is counted. Null fails unless it is `nullable`.
    Branch { nullable: bool },
    /// The same by `br_on_cast_fail`.
    BranchFail { nullable: bool },
    /// By `ref.cast`, which traps. Then other things trap too: nothing is checked before.
    Trap,
}

/// What the last byte of an operation says.
pub(super) fn cast(how: u8) -> Cast {
    match how {
        252.. => Cast::Trap,
        _ => match how % 6 {
            0 => Cast::Branch { nullable: true },
            1 => Cast::Branch { nullable: false },
            2 => Cast::BranchFail { nullable: true },
            3 => Cast::BranchFail { nullable: false },
            _ => Cast::Test,
        },
    }
}

/// Whether an operation that always traps is done. Most programs go on.
pub(super) fn is_behind(how: u8) -> bool {
    how >= 0xc0
}

/// An index or a length. Most are small.
pub(super) fn index(byte: u8) -> u32 {
    match byte {
        0xd0.. => u32::from(byte - 0xd0) * 7,
        _ => u32::from(byte % 8),
    }
}

/// The length of an array of equal elements. One of eight is [`LONG`].
pub(super) fn length(byte: u8) -> u32 {
    match byte {
        0xe0.. => LONG + u32::from(byte - 0xe0) * 29,
        _ => index(byte),
    }
}

/// The least length of an array that is too long for the small nurseries of
/// [`Way`](crate::way::Way), so that a generational collector makes it an old object. Most
/// such arrays refer to a new object, which is still young.
pub(super) const LONG: u32 = 200;

/// One of `count`.
pub(super) fn pick(byte: u8, count: usize) -> usize {
    usize::from(byte) % count
}

/// The local from which a value of type `ty` comes. Most bytes choose one that has such a value.
pub(super) fn source(byte: u8, ty: Ty) -> usize {
    choose(byte, |local| fits(local, ty))
}

/// The local to which a value of type `ty` goes.
pub(super) fn target(byte: u8, ty: Ty) -> usize {
    choose(byte, |local| fits(ty, local))
}

/// Whether every value of type `from` is one of type `to` when it is converted.
pub(super) fn converts(from: Ty, to: Ty) -> bool {
    to == Ext || fits(if from == Ext { Any } else { from }, to)
}

fn fits(from: Ty, to: Ty) -> bool {
    from == to || from != Ext && to != Ext && from.is_subtype(to)
}

fn choose(byte: u8, fits: impl Fn(Ty) -> bool) -> usize {
    if byte >= 0xd0 {
        return pick(byte, LOCALS.len());
    }
    let count = LOCALS.iter().filter(|(_, ty)| fits(*ty)).count();
    let mut fitting = (0..LOCALS.len()).filter(|local| fits(LOCALS[*local].1));
    fitting.nth(pick(byte, count)).expect("each type has a local")
}

/// The number of times that loops are repeated and functions are called, at most, by each call of
/// the host.
pub(super) const BUDGET: u32 = 24;
/// What a cast that fails adds.
pub(super) const FAILED: u32 = 5;
/// The length of an array of garbage.
pub(super) const GARBAGE: u32 = 60;
