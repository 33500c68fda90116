//! The operations that are compiled to code of their own: integers, tests, pairs, vectors and strings.

use crate::compiler::Function;
use crate::forms::wrong_use;
use crate::reader::Tree;
use anyhow::Result;
use cranelift_codegen::ir::{InstBuilder, Value, condcodes::IntCC};
use gc_engine::RefType;

/// What an operation returns: a value of the language, or an integer that is not zero for "yes".
pub(crate) enum Built {
    Value(Value),
    Test(Value),
}

/// Whether the operation with this name returns a [`Built::Test`].
pub(crate) fn is_test(name: &str) -> bool {
    matches!(name, "<" | "=" | "not" | "int?" | "pair?" | "string?" | "symbol?")
}

impl<'t> Function<'_, '_, '_, 't> {
    /// Emits the operation `name`. It traps if an argument is of a wrong type.
    pub(crate) fn builtin(&mut self, name: &str, args: &'t [Tree<'t>], line: u32) -> Result<Built> {
        let (args, types) = (self.values(args)?, self.types());
        let f = &mut *self.f;
        f.at(line);
        Ok(Built::Value(match (name, &args[..]) {
            ("+" | "-" | "*" | "/" | "%" | "<", [a, b]) => {
                let (a, b) = (f.i31_get(*a), f.i31_get(*b));
                let result = match name {
                    "+" => f.ins().iadd(a, b),
                    "-" => f.ins().isub(a, b),
                    "*" => f.ins().imul(a, b),
                    "/" => f.ins().sdiv(a, b),
                    "%" => f.ins().srem(a, b),
                    _ => return Ok(Built::Test(f.ins().icmp(IntCC::SignedLessThan, a, b))),
                };
                f.i31(result)
            }
            ("=", [a, b]) => return Ok(Built::Test(f.ref_eq(*a, *b))),
            ("not", [value]) => return Ok(Built::Test(f.is_null(*value))),
            ("int?", [value]) => return Ok(Built::Test(f.ref_test(*value, RefType::I31))),
            ("pair?", [value]) => return Ok(Built::Test(f.ref_test(*value, &types.pair))),
            ("string?", [value]) => return Ok(Built::Test(f.ref_test(*value, &types.string))),
            ("symbol?", [value]) => return Ok(Built::Test(f.ref_test(*value, &types.symbol))),
            ("cons", [head, tail]) => {
                f.ref_cast(*tail, RefType::from(&types.pair).nullable());
                f.struct_new(&types.pair, &[*head, *tail])
            }
            ("new-vector", [size, value]) => {
                let size = f.i31_get(*size);
                f.array_new(&types.vector, *value, size)
            }
            ("size", [array]) => {
                f.ref_cast(*array, RefType::ARRAY);
                let size = f.array_len(*array);
                f.i31(size)
            }
            // ANCHOR: get
            ("get", [vector, index]) => {
                f.ref_cast(*vector, &types.vector);
                let index = f.i31_get(*index);
                f.array_get(&types.vector, *vector, index)
            }
            // ANCHOR_END: get
            ("put", [vector, index, value]) => {
                f.ref_cast(*vector, &types.vector);
                let index = f.i31_get(*index);
                f.array_set(&types.vector, *vector, index, *value);
                *value
            }
            ("byte", [string, index]) => {
                f.ref_cast(*string, &types.string);
                let index = f.i31_get(*index);
                let byte = f.array_get(&types.string, *string, index);
                f.i31(byte)
            }
            ("join", [first, second]) => {
                f.ref_cast(*first, &types.string);
                f.ref_cast(*second, &types.string);
                let sizes = [f.array_len(*first), f.array_len(*second)];
                let (zero, size) = (f.i32(0), f.add(sizes[0], sizes[1]));
                let joined = f.array_new_default(&types.string, size);
                f.array_copy(&types.string, (joined, zero), (*first, zero), sizes[0]);
                f.array_copy(&types.string, (joined, sizes[0]), (*second, zero), sizes[1]);
                joined
            }
            _ => return Err(wrong_use(name, line)),
        }))
    }
}
