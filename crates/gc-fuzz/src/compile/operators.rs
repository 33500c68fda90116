//! Changes a few operators of a function: for modules with types that `wasm-mutate` does not know.

use gc_testkit::choices::Choices;
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{CodeSection, Function, Module};
use wasmparser::{FunctionBody, Parser, Payload};

/// Operators that any module can have.
const ANYWHERE: [&[u8]; 10] = [
    b"\x00",     // unreachable
    b"\x1a",     // drop
    b"\x20\x00", // local.get 0
    b"\x20\x01", // local.get 1
    b"\x41\x07", // i32.const 7
    b"\x6a",     // i32.add
    b"\xd0\x71", // ref.null none
    b"\xd1",     // ref.is_null
    b"\xd4",     // ref.as_non_null
    b"\xfb\x1c", // ref.i31
];

/// A similar module, which may be invalid. `None` if the module has no functions.
pub(super) fn changed(module: &[u8], seed: u64) -> Option<Vec<u8>> {
    let mut choices = Choices::from_seed(seed);
    let mut bodies = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::CodeSectionEntry(body) = payload.ok()? {
            bodies.push(operators(&body)?);
        }
    }
    let which = choices.word() as usize % bodies.len().max(1);
    let mut body = bodies.get(which)?.clone();
    let others = bodies.concat();
    for _ in 0..=choices.below(3) {
        // The last operator ends the function.
        let at = choices.word() as usize % body.len();
        let is_last = at + 1 == body.len();
        let other = match choices.once_in(3) {
            true => choices.pick(&ANYWHERE),
            false => others[choices.word() as usize % others.len()],
        };
        match choices.below(6) {
            0 => body.insert(at, other),
            _ if is_last => {}
            1 => drop(body.remove(at)),
            2 => body.insert(at, body[at]),
            3 if at > 0 => body.swap(at - 1, at),
            _ => body[at] = other,
        }
    }
    let mut changed = Changed { body: Some(body), left: which };
    let mut result = Module::new();
    changed.parse_core_module(&mut result, Parser::new(0), module).ok()?;
    Some(result.finish())
}

/// The bytes of each operator.
fn operators<'a>(body: &FunctionBody<'a>) -> Option<Vec<&'a [u8]>> {
    let start = body.range().start;
    let mut reader = body.get_operators_reader().ok()?;
    let mut operators = Vec::new();
    while !reader.eof() {
        let from = reader.original_position();
        reader.read().ok()?;
        let range = from - start..reader.original_position() - start;
        operators.push(body.as_bytes().get(range)?);
    }
    Some(operators)
}

/// Encodes a module again, with another body of one function.
struct Changed<'a> {
    body: Option<Vec<&'a [u8]>>,
    /// The number of functions before it.
    left: usize,
}

impl Reencode for Changed<'_> {
    type Error = std::convert::Infallible;

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        func: FunctionBody<'_>,
    ) -> Result<(), Error<Self::Error>> {
        let other = if self.left == 0 { self.body.take() } else { None };
        self.left = self.left.saturating_sub(1);
        let Some(operators) = other else {
            return utils::parse_function_body(self, code, func);
        };
        let mut locals = Vec::new();
        for local in func.get_locals_reader()? {
            let (count, ty) = local?;
            locals.push((count, self.val_type(ty)?));
        }
        let mut body = Function::new(locals);
        body.raw(operators.concat());
        code.function(&body);
        Ok(())
    }
}
