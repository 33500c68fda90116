//! Loops and conditions. Variables pass values out of them.

use super::Body;
use cranelift_codegen::ir::{Block, InstBuilder, Value, types};

impl Body<'_, '_> {
    /// Runs `body` as long as `condition` returns an integer that is not zero.
    pub fn while_loop(
        &mut self,
        condition: impl FnOnce(&mut Self) -> Value,
        body: impl FnOnce(&mut Self),
    ) {
        let header = self.builder().create_block();
        let inside = self.builder().create_block();
        let after = self.builder().create_block();
        self.jump(header);
        self.builder().switch_to_block(header);
        let condition = condition(self);
        self.branch(condition, inside, after);
        self.enter(inside);
        body(self);
        self.jump(header);
        self.builder().seal_block(header);
        self.enter(after);
    }

    /// Runs `then` if `condition`, an integer, is not zero.
    pub fn if_then(&mut self, condition: Value, then: impl FnOnce(&mut Self)) {
        self.if_else(condition, then, |_| ());
    }

    /// Runs `then` if `condition`, an integer, is not zero, and `otherwise` if it is zero.
    pub fn if_else(
        &mut self,
        condition: Value,
        then: impl FnOnce(&mut Self),
        otherwise: impl FnOnce(&mut Self),
    ) {
        let yes = self.builder().create_block();
        let no = self.builder().create_block();
        let after = self.builder().create_block();
        self.branch(condition, yes, no);
        self.enter(yes);
        then(self);
        self.jump(after);
        self.enter(no);
        otherwise(self);
        self.jump(after);
        self.enter(after);
    }

    /// Branches on a condition.
    fn branch(&mut self, condition: Value, yes: Block, no: Block) {
        let condition = match self.is_condition(condition) {
            true => condition,
            false => self.dummy(types::I8),
        };
        self.ins().brif(condition, yes, &[], no, &[]);
    }

    /// Continues in `block`. All jumps to the block must have been emitted.
    fn enter(&mut self, block: Block) {
        self.builder().seal_block(block);
        self.builder().switch_to_block(block);
    }

    /// Jumps to `block`, unless the current block has already ended.
    fn jump(&mut self, block: Block) {
        if !self.is_ended() {
            self.ins().jump(block, &[]);
        }
    }
}
