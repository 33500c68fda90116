//! The operand stack and the control stack of a function being translated: SSA
//! values and blocks where WebAssembly has operands and labels.
//!
//! Code that cannot be reached is validated but not translated. While it lasts
//! only the nesting of its blocks is counted: it pushes no frames, so that every
//! label that reachable code names is a frame here.

use cranelift_codegen::ir;
use wasmparser::BlockType;

/// What kind of construct a frame is.
#[derive(Debug)]
pub(super) enum FrameKind {
    /// The function's body: its label returns.
    Function,
    /// A `block`, or an `if` past its `else`.
    Block,
    /// A `loop`; its label is its head.
    Loop,
    /// An `if` before its `else`.
    If {
        /// Where the `else` arm begins; not entered yet.
        else_block: ir::Block,
        /// The operands both arms begin with.
        params: Vec<ir::Value>,
    },
}

/// One enclosing construct.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: FrameKind,
    /// Where a branch to it goes, with block parameters for the label's types.
    pub(super) label: ir::Block,
    /// The block's type, as long as the label's parameters are not made: the first
    /// branch makes them.
    pub(super) unmade: Option<BlockType>,
    /// Number of operands a branch to it takes.
    pub(super) label_arity: usize,
    /// Number of operands below the construct's own.
    pub(super) height: usize,
    /// Whether anything branches to the label.
    pub(super) branched: bool,
}

/// Operands and enclosing constructs.
#[derive(Debug, Default)]
pub(super) struct Stack {
    pub(super) values: Vec<ir::Value>,
    pub(super) frames: Vec<Frame>,
    /// While code is unreachable: how many constructs have begun in it.
    unreachable: Option<u32>,
}

impl Stack {
    /// Empties it for another function.
    pub(super) fn clear(&mut self) {
        self.values.clear();
        self.frames.clear();
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

    /// Pops two operands, the upper one second.
    pub(super) fn pop2(&mut self) -> (ir::Value, ir::Value) {
        let second = self.pop();
        (self.pop(), second)
    }

    /// Pops three operands, the uppermost last.
    pub(super) fn pop3(&mut self) -> (ir::Value, ir::Value, ir::Value) {
        let third = self.pop();
        let (first, second) = self.pop2();
        (first, second, third)
    }

    /// Pops `count` operands, the uppermost last.
    pub(super) fn pop_n(&mut self, count: usize) -> Vec<ir::Value> {
        self.values.split_off(self.values.len() - count)
    }

    /// The uppermost `count` operands, the uppermost last.
    pub(super) fn peek_n(&self, count: usize) -> &[ir::Value] {
        &self.values[self.values.len() - count..]
    }

    /// The frame that label `depth` names.
    pub(super) fn frame(&mut self, depth: u32) -> &mut Frame {
        let index = self.frames.len() - 1 - depth as usize;
        &mut self.frames[index]
    }

    /// Whether the next operator can be reached.
    pub(super) fn reachable(&self) -> bool {
        self.unreachable.is_none()
    }

    /// From here to the end of the innermost construct nothing can be reached.
    pub(super) fn set_unreachable(&mut self) {
        self.unreachable = Some(0);
    }

    /// The next operator can be reached again.
    pub(super) fn set_reachable(&mut self) {
        self.unreachable = None;
    }

    /// A construct begins in unreachable code.
    pub(super) fn enter_unreachable(&mut self) {
        *self.unreachable.as_mut().expect("in unreachable code") += 1;
    }

    /// Whether the `else` or `end` met now belongs to a construct that began in
    /// unreachable code.
    pub(super) fn in_unreachable_construct(&self) -> bool {
        self.unreachable.is_some_and(|depth| depth > 0)
    }

    /// A construct that began in unreachable code ends.
    pub(super) fn leave_unreachable(&mut self) {
        *self.unreachable.as_mut().expect("in unreachable code") -= 1;
    }
}
