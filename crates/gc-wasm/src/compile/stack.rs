//! The operand stack and the control stack of a function that is being translated. SSA values are
//! the operands, and blocks are the labels.
//!
//! Unreachable code is validated but not translated. There only the nesting of blocks is counted,
//! and no frames are pushed. So every label that reachable code uses is a frame here.

use cranelift_codegen::ir;
use std::collections::HashSet;
use std::rc::Rc;
use wasmparser::BlockType;

/// The kind of construct of a frame.
#[derive(Debug)]
pub(super) enum FrameKind {
    /// The function's body. A branch to its label returns.
    Function,
    /// A `block`, or an `if` past its `else`.
    Block,
    /// A `loop`. Its label is its head.
    Loop,
    /// An `if` before its `else`.
    If {
        /// The start of the `else` arm, which is not entered yet.
        else_block: ir::Block,
        /// The operands at the start of both arms.
        params: Vec<ir::Value>,
    },
    /// A `try_table`, or the body of a legacy `try`.
    Try {
        /// Its clauses, in order.
        clauses: Vec<Clause>,
        /// Where exceptions are thrown on to handlers that calls in it do not list.
        relays: Vec<Relay>,
    },
    /// A clause of a legacy `try`.
    Catch {
        /// The caught exception, if anything reaches the clause.
        exn: Option<ir::Value>,
        /// The clauses that follow.
        rest: std::vec::IntoIter<Clause>,
    },
}

/// A clause that catches exceptions.
#[derive(Debug)]
pub(super) struct Clause {
    /// The tag of the exceptions that it catches. `None` if it catches all.
    pub(super) tag: Option<u32>,
    /// Its block, whose parameter is the exception, if anything reaches it.
    pub(super) block: Option<ir::Block>,
    /// In a `try_table`: the label to which it branches, seen from outside, and whether the
    /// exception itself is passed to it.
    pub(super) target: Option<(u32, bool)>,
}

/// A place that catches what these handlers catch, and throws it again, to them.
#[derive(Debug)]
pub(super) struct Relay {
    /// Its number in the function, for [`tag_of_relay`](gc_compiler::tag_of_relay).
    pub(super) number: u32,
    pub(super) handlers: Rc<[Handler]>,
    /// Its block, whose parameter is the exception, if anything reaches it.
    pub(super) block: Option<ir::Block>,
}

/// A handler of a call: a clause or a relay of an enclosing frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handler {
    /// The tag of the exceptions that it catches. `None` if it is a relay, or a clause that catches all.
    pub(super) tag: Option<u32>,
    /// The position of its frame.
    pub(super) frame: usize,
    /// What it is in the frame.
    pub(super) place: HandlerPlace,
}

/// What a handler is in its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HandlerPlace {
    /// The clause with this number.
    Clause(usize),
    /// The relay with this number.
    Relay(usize),
}

/// The most clauses that a call lists. The other ones are behind a relay. Without a bound, `n` nested
/// `try_table`s with a call each, or one with `n` clauses and `n` calls, would have `n²` pairs of a call
/// and a handler.
const MOST_LISTED: usize = 16;

/// An enclosing frame of kind [`FrameKind::Try`] that has clauses or delegates.
#[derive(Debug)]
pub(super) struct Try {
    /// Its position in the frames.
    frame: usize,
    /// The handlers of calls in it, in the order in which they are tried: its own, and those of the
    /// frames around it.
    handlers: Rc<[Handler]>,
}

/// One enclosing construct.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: FrameKind,
    /// The target of branches to the label, with block parameters for the label's types.
    pub(super) label: ir::Block,
    /// The block's type until the first branch makes the label's parameters, then `None`.
    pub(super) unmade: Option<BlockType>,
    /// Number of operands of a branch to the label.
    pub(super) label_arity: usize,
    /// Number of operands below the construct's own.
    pub(super) height: usize,
    /// Whether there is a branch to the label.
    pub(super) branched: bool,
}

/// Operands and enclosing constructs.
#[derive(Debug, Default)]
pub(super) struct Stack {
    pub(super) values: Vec<ir::Value>,
    pub(super) frames: Vec<Frame>,
    tries: Vec<Try>,
    /// The number of relays that were made in the function.
    relays: u32,
    /// In unreachable code, the number of open constructs that began in it.
    unreachable: Option<u32>,
}

impl Stack {
    /// Empties both stacks for another function.
    pub(super) fn clear(&mut self) {
        self.values.clear();
        self.frames.clear();
        self.tries.clear();
        self.relays = 0;
        self.unreachable = None;
    }

    /// Pushes an operand.
    pub(super) fn push(&mut self, value: ir::Value) {
        self.values.push(value);
    }

    /// Pops an operand.
    pub(super) fn pop(&mut self) -> ir::Value {
        self.values.pop().expect("validated: an operand is there")
    }

    /// Pops two operands. The upper one is the second.
    pub(super) fn pop2(&mut self) -> (ir::Value, ir::Value) {
        let second = self.pop();
        (self.pop(), second)
    }

    /// Pops three operands. The uppermost is the last.
    pub(super) fn pop3(&mut self) -> (ir::Value, ir::Value, ir::Value) {
        let third = self.pop();
        let (first, second) = self.pop2();
        (first, second, third)
    }

    /// Pops `count` operands. The uppermost is the last.
    pub(super) fn pop_n(&mut self, count: usize) -> Vec<ir::Value> {
        self.values.split_off(self.values.len() - count)
    }

    /// The upper `count` operands. The uppermost is the last.
    pub(super) fn peek_n(&self, count: usize) -> &[ir::Value] {
        &self.values[self.values.len() - count..]
    }

    /// The frame of label `depth`.
    pub(super) fn frame(&mut self, depth: u32) -> &mut Frame {
        let index = self.frames.len() - 1 - depth as usize;
        &mut self.frames[index]
    }

    /// Enters the body of a frame with these clauses, which is pushed next. If exceptions are
    /// delegated, only the frames below the number `delegate` can catch them. Returns the relays of the
    /// frame.
    pub(super) fn enter_try(&mut self, clauses: &[Clause], delegate: Option<usize>) -> Vec<Relay> {
        let mut relays = Vec::new();
        if clauses.is_empty() && delegate.is_none() {
            return relays;
        }
        let frame = self.frames.len();
        let below = delegate.unwrap_or(frame);
        let around = self.tries.partition_point(|outer| outer.frame < below);
        let around = around.checked_sub(1).map(|outer| self.tries[outer].handlers.clone());
        let mut seen = HashSet::new();
        let mut own = Vec::new();
        for (clause, Clause { tag, .. }) in clauses.iter().enumerate() {
            if seen.insert(tag) {
                own.push(Handler { tag: *tag, frame, place: HandlerPlace::Clause(clause) });
            }
            if tag.is_none() {
                break;
            }
        }
        let mut handlers = around.unwrap_or_default();
        for listed in own.chunks(MOST_LISTED).rev() {
            let mut all = listed.to_vec();
            if all.last().is_some_and(|handler| handler.tag.is_some()) {
                let is_new = |handler: &&Handler| listed.iter().all(|own| own.tag != handler.tag);
                all.extend(handlers.iter().filter(is_new));
            }
            if all.len() > MOST_LISTED {
                all.truncate(listed.len());
                all.push(Handler { tag: None, frame, place: HandlerPlace::Relay(relays.len()) });
                relays.push(Relay { number: self.relays, handlers, block: None });
                self.relays += 1;
            }
            handlers = all.into();
        }
        self.tries.push(Try { frame, handlers });
        relays
    }

    /// The handlers of a call at this place, in the order in which they are tried.
    pub(super) fn handlers(&self) -> Rc<[Handler]> {
        self.tries.last().map(|innermost| innermost.handlers.clone()).unwrap_or_default()
    }

    /// Leaves the body of the innermost frame, a `try` or `try_table`: its clauses catch nothing
    /// from here on.
    pub(super) fn leave_try(&mut self) {
        if self.tries.last().is_some_and(|innermost| innermost.frame + 1 == self.frames.len()) {
            self.tries.pop();
        }
    }

    /// Whether the next operator is reachable.
    pub(super) fn reachable(&self) -> bool {
        self.unreachable.is_none()
    }

    /// Marks the code from here to the end of the innermost construct as unreachable.
    pub(super) fn set_unreachable(&mut self) {
        self.unreachable = Some(0);
    }

    /// Marks the next operator as reachable again.
    pub(super) fn set_reachable(&mut self) {
        self.unreachable = None;
    }

    /// Enters a construct in unreachable code.
    pub(super) fn enter_unreachable(&mut self) {
        *self.unreachable.as_mut().expect("in unreachable code") += 1;
    }

    /// Whether the current `else` or `end` belongs to a construct that began in unreachable code.
    pub(super) fn in_unreachable_construct(&self) -> bool {
        self.unreachable.is_some_and(|depth| depth > 0)
    }

    /// Leaves a construct that began in unreachable code.
    pub(super) fn leave_unreachable(&mut self) {
        *self.unreachable.as_mut().expect("in unreachable code") -= 1;
    }
}
