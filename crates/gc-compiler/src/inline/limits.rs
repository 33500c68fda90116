//! [`InlineLimits`]: what is inlined, and how far functions grow by it.

use super::choose;
use crate::finish::BuiltFunction;
use gc_types::HostCall;

/// How far functions grow by inlining, and which host calls throw. Numbers are instructions of CLIF in
/// blocks that are not cold, without constants and jumps. If a function has more than four times as many
/// in cold blocks, a quarter of those counts instead. A branch or call with more than six arguments or
/// destinations counts once more for each four of them. If a call has handlers, each call of the inlined
/// body gets them, and they count like destinations. Without these additions, a module of 16 KB whose
/// branch hints call nearly everything cold was compiled to 305 MB of code, one of 32 KB with jump
/// tables to 135 MB, and one of 9 KB with hundreds of handlers to 742 MB. The last now has 28 MB.
#[derive(Clone, Copy, Debug)]
pub struct InlineLimits {
    /// The largest callee of a call outside of loops.
    pub callee: usize,
    /// The largest callee of a call in a loop.
    pub callee_in_loop: usize,
    /// The largest callee of a call that may be made again by the callee: both functions are
    /// candidates, and each calls the other, directly or through further candidates. A body that keeps
    /// more than sixteen words across one of its calls is not inlined there, because each level of the
    /// recursion would have room for them. In a test with thirty vectors in a function that is rarely
    /// called, 16,000 levels fitted on the stack with it inlined, and 500,000 without.
    pub callee_in_cycle: usize,
    /// The number of instructions by which every function may grow.
    pub growth: usize,
    /// The number of instructions by which a function may grow in addition, for each hundred
    /// instructions that it has.
    pub growth_per_hundred: usize,
    /// The largest function into which calls are inlined. None becomes larger by it. Larger functions
    /// are soon [huge](crate::CompileOptions::huge_function), and are then not optimized.
    pub largest_caller: usize,
    /// Whether calls in loops are inlined a second time: those that the inlined bodies make, and those
    /// that were left for want of room. So a recursive function that a loop calls has one call more
    /// inlined.
    pub again_in_loops: bool,
    /// Whether a host call of the embedder may throw an exception, as [`HostCall::THROW`] does. By
    /// default each of them may. Such a call gets the handlers of the call that is inlined, so its
    /// result must not be read after it.
    pub may_throw: fn(HostCall) -> bool,
}

impl Default for InlineLimits {
    fn default() -> InlineLimits {
        InlineLimits {
            callee: 30,
            callee_in_loop: 120,
            callee_in_cycle: 30,
            growth: 400,
            growth_per_hundred: 50,
            largest_caller: crate::CompileOptions::HUGE_FUNCTION / 2,
            again_in_loops: false,
            may_throw: |call| call.gc_signature().is_none(),
        }
    }
}

impl InlineLimits {
    /// The number of CLIF instructions that the functions of a small module have at most.
    pub const SMALL_MODULE: usize = 20_000;

    /// The limits for a module of these functions, which is small or not.
    #[must_use]
    pub fn of_module<'a>(functions: impl IntoIterator<Item = &'a BuiltFunction>) -> InlineLimits {
        let (mut count, mut size) = (0, 0);
        for function in functions {
            count += 1;
            size += choose::weight(function.func());
        }
        match size <= InlineLimits::SMALL_MODULE {
            true => InlineLimits::for_small_module(count),
            false => InlineLimits::default(),
        }
    }

    /// The limits for a small module, which has this number of functions. It is compiled soon, so more is
    /// inlined into it. Which of its calls are often made is not known, so all are treated as calls in loops
    /// are. In all modules this would make the code of the largest program 28 % larger. Recursion is a loop too, and such functions often work for each other: `eval` and `apply`.
    ///
    /// A small module may have thousands of tiny functions. So the sum by which they may grow has a limit.
    #[must_use]
    pub fn for_small_module(functions: usize) -> InlineLimits {
        InlineLimits {
            callee: 120,
            callee_in_cycle: 300,
            growth: 600.min(120_000 / functions.max(1)),
            again_in_loops: true,
            ..InlineLimits::default()
        }
    }

    /// Whether calls of a function may be inlined at all. It may be smaller than each limit for callees, and
    /// is then worth to be among the functions of an [`Inlining`](super::Inlining).
    pub fn may_inline(&self, function: &BuiltFunction) -> bool {
        let most = self.callee.max(self.callee_in_loop).max(self.callee_in_cycle);
        choose::weight(function.func()) <= most
    }
}
