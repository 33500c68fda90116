//! A compiler for a small language with pairs, which compiles ahead of time and whose collector moves objects. It shows
//! what a language that compiles with Cranelift needs of `stack-roots`, and uses nothing else of this project.
//!
//! The language has integers, `nil`, pairs, functions, and these forms:
//!
//! ```text
//! (define (NAME PARAMETER ...) EXPRESSION)    (declare (NAME PARAMETER ...))
//! (let NAME EXPRESSION EXPRESSION)    (if CONDITION EXPRESSION EXPRESSION)
//! (cons a b) (head pair) (tail pair) (+ a b) (- a b) (< a b) (print a) (FUNCTION ...)
//! ```
//!
//! Zero and `nil` are false. A program begins with the function `main` without parameters. A file is compiled to an
//! object; functions that another file defines are declared.

mod compile;
mod emit;
mod read;

pub use compile::{Compiled, compile};
pub use read::{Expression, Function, read};
