//! The programs: functions that call each other in every way, with references in every place of
//! their frames.

/// The type of a reference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RefKind {
    /// `(ref null $o)`: an object or null.
    Object,
    /// `(ref $o)`: an object.
    NonNull,
    /// `anyref`: an object, an `i31`, an array, or a converted host value.
    Any,
    /// `externref`: a host value, or any other reference, converted.
    Extern,
    /// `exnref`: an exception.
    Exception,
}

impl RefKind {
    pub(super) const ALL: [RefKind; 5] =
        [RefKind::Object, RefKind::NonNull, RefKind::Any, RefKind::Extern, RefKind::Exception];

    /// Whether a value of this type is one of `other` too.
    pub(super) fn is_a(self, other: RefKind) -> bool {
        self == other
            || match other {
                RefKind::Object => self == RefKind::NonNull,
                RefKind::Any => matches!(self, RefKind::Object | RefKind::NonNull),
                _ => false,
            }
    }
}

/// The payloads of the tags.
pub(super) const TAGS: [&[RefKind]; 3] = [
    &[RefKind::Object, RefKind::Extern],
    &[RefKind::Any, RefKind::NonNull, RefKind::Any, RefKind::Exception],
    &[],
];

/// The types of the globals.
pub(super) const GLOBALS: [RefKind; 4] =
    [RefKind::Object, RefKind::Any, RefKind::Extern, RefKind::Exception];

/// The number of elements of the table of `anyref`.
pub(super) const ELEMENTS: usize = 4;

/// An object's type: `$o`, its subtype `$p`, which has one more field, or that one's subtype `$q`,
/// which is final.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Class {
    O,
    P,
    Q,
}

/// How a function is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    Direct,
    Indirect,
    Reference,
    /// Through a host function, which collects before and after.
    Host,
}

/// A call of a function, with an expression for each parameter.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) way: Way,
    pub(super) function: usize,
    pub(super) arguments: Vec<Expr>,
}

/// An expression leaves a reference.
#[derive(Clone, Debug)]
pub(super) enum Expr {
    Local(usize),
    Null(RefKind),
    Global(usize),
    Element(usize),
    I31(i32),
    /// A new object of class `$o`, whose `next` is this.
    New(Box<Expr>),
    /// A new object of another class than `$o`, with this `next` and `extra`, which allocates nothing.
    NewSub(Class, Box<Expr>, Box<Expr>),
    /// A new host value.
    Token,
    /// The host returns what it gets, after a collection.
    Same(Box<Expr>),
    /// A function with one result.
    Call(Call),
    Select(RefKind, Box<Expr>, Box<Expr>, Box<Cond>),
    If(RefKind, Box<Cond>, Box<Expr>, Box<Expr>),
    /// The field `next`, or null.
    Next(Box<Expr>),
    /// The first one, or the second one if it is null.
    OrElse(Box<Expr>, Box<Expr>),
    /// The first one if it has this class, or the second one. With `br_on_cast_fail` if true.
    Cast(Class, bool, Box<Expr>, Box<Expr>),
    FromExtern(Box<Expr>),
    ToExtern(Box<Expr>),
    /// A new array of these, of which one is read. The array itself if it has none with this index.
    Pick(Vec<Expr>, usize),
    /// The exception of this tag with this payload, after it was thrown and caught. If the payload
    /// throws another one, it is that one.
    Caught(usize, Vec<Expr>),
}

/// A condition.
#[derive(Clone, Debug)]
pub(super) enum Cond {
    /// Whether the remaining depth of calls is odd.
    Depth,
    /// Whether the number of objects so far has all these bits.
    Fresh(i32),
    IsNull(Expr),
    Is(Class, Expr),
    /// Whether both are the same object.
    Equal(Expr, Expr),
}

/// A statement.
#[derive(Clone, Debug)]
pub(super) enum Stmt {
    Set(usize, Expr),
    /// Calls a function, and keeps these results in locals.
    SetMany(Vec<Option<usize>>, Call),
    /// Writes down which object a reference refers to.
    See(RefKind, Expr),
    /// A collection, after which the host compares what is alive.
    Collect,
    If(Cond, Vec<Stmt>, Vec<Stmt>),
    Loop(i32, Vec<Stmt>),
    /// Leaves a loop or a try statement: that many further out.
    Break(Cond, usize),
    Try(Vec<Stmt>, Vec<Catch>),
    Throw(usize, Vec<Expr>),
    /// Throws an exception again, unless it is null.
    Rethrow(Expr),
    ReturnCall(Call),
    Return(Vec<Expr>),
    /// Sets the field `next`, unless the value is younger.
    SetNext(Expr, Expr),
    SetGlobal(usize, Expr),
    SetElement(usize, Expr),
}

/// A clause of a try statement.
#[derive(Clone, Debug)]
pub(super) struct Catch {
    /// `None` for all.
    pub(super) tag: Option<usize>,
    /// The locals that get the payload.
    pub(super) payload: Vec<Option<usize>>,
    /// With a reference to the exception, for this local.
    pub(super) reference: Option<Option<usize>>,
    pub(super) body: Vec<Stmt>,
}

/// A function. Its first parameter, which is not in the lists, is the remaining depth of calls.
#[derive(Clone, Debug)]
pub(super) struct Function {
    pub(super) params: Vec<RefKind>,
    pub(super) results: Vec<RefKind>,
    /// The types of the parameters and of the other locals.
    pub(super) locals: Vec<RefKind>,
    pub(super) body: Vec<Stmt>,
    /// What it returns at its end.
    pub(super) ends: Vec<Expr>,
}

/// A program. It begins with the first function, which has no parameters and no results.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) functions: Vec<Function>,
    /// The depth of calls.
    pub(super) depth: i32,
    /// How many functions are entered and loops turned. Then the functions do nothing, and the loops
    /// end.
    pub(super) fuel: i32,
}
