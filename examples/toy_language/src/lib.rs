//! A small Lisp that is compiled to machine code with Cranelift, form by form. A flag chooses the garbage
//! collector. The program shows how to use `gc-engine` without WebAssembly, and has no `unsafe` code.
//!
//! ```text
//! cargo run -p toy_language -- run FILE --collector drc      # a program, such as demo.toy
//! cargo run -p toy_language -- repl                          # a prompt
//! cargo run -p toy_language -- build FILE -o PROGRAM         # an executable
//! ```
//!
//! ```text
//! (def (map f xs)
//!   (match xs () (x rest) (cons (f x) (map f rest))))
//! (print (map (fun (x) (* x x)) (list 1 2 3)))        ; (1 4 9)
//! ```
//!
//! A program is a sequence of forms, which run one after the other. There are integers of 31 bits, which
//! wrap, lists, functions, strings, vectors and symbols (`'name`). `()` is the empty list and "no"; all
//! other values are "yes". Forms:
//!
//! - `(def name e)`, `(def (f x y) …)`: at the top level, for all forms; a second `def` redefines the name. In a
//!   body, the name is valid to the end of the body
//! - `(fun (x y) …)`, `(f a b)`: functions and calls. Tail calls use no stack
//! - `(if e yes no)`, `(while e …)`, `(do …)`, `(set name e)`,
//!   `(match list empty (head tail) not_empty)`
//! - `(throw e)`, `(try e (name handler))`
//! - `(cons e list)`, `(list a b)`, `(vector a b)`, `(new-vector size e)`, `(get vector i)`,
//!   `(put vector i e)`, `(size vector)`, `(byte string i)`, `(join string string)`
//! - `+ - * / % = <`, `not`, `int?`, `pair?`, `string?`, `symbol?`
//! - functions of the host: `print`, `text`, `same` (two strings), `symbol`, `symbols`, `eval`
//!
//! Read the files in this order: `reader.rs` (text to trees), `forms.rs` (the words of the language), `types.rs` (the
//! types of objects), `compiler.rs`, `variables.rs` and `builtins.rs` (trees to CLIF), `session.rs` (the store, functions of the
//! host), `show.rs` (values to text), `executable.rs` (a program as objects).

mod builtins;
mod compiler;
mod executable;
mod forms;
mod reader;
mod session;
mod show;
#[cfg(test)]
mod tests;
mod types;
mod variables;

pub use executable::Executable;
pub use reader::{Unclosed, check};
pub use session::{Session, State};

/// Bytes of stack that compiled code may use. They are enough to build lists of tens of thousands
/// of elements without tail calls.
pub const MAX_STACK: usize = 4 << 20;
