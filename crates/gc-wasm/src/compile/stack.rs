//! The operand stack and the control stack of a function that is being translated. SSA values are
//! the operands, and blocks are the labels.
//!
//! Unreachable code is validated but not translated. There only the nesting of blocks is counted,
//! and no frames are pushed. So every label that reachable code uses is a frame here.

use cranelift_codegen::ir;
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
    /// In unreachable code, the number of open constructs that began in it.
    unreachable: Option<u32>,
}

impl Stack {
    /// Empties both stacks for another function.
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
