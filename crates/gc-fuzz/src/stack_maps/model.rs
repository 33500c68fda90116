//! Runs programs without an engine: what they see, and which host values are alive at each
//! collection.

use super::program::{
    Call, Class, Cond, ELEMENTS, Expr, Function, GLOBALS, Program, RefKind, Stmt, Way,
};
use std::collections::BTreeSet;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ModelValue {
    Null,
    I31(i32),
    Object(usize),
    Array(usize),
    Token(u32),
    Exception(usize),
}

struct Object {
    class: Class,
    next: ModelValue,
    extra: ModelValue,
}

/// The host values at a collection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Alive {
    /// Those that globals and tables refer to. They must be alive.
    pub(super) least: BTreeSet<u32>,
    /// Those that anything in a frame refers to, also what is not used any more. No others may be
    /// alive.
    pub(super) most: BTreeSet<u32>,
}

/// What a program does.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// What it writes down.
    pub(super) log: Vec<i32>,
    /// The host values at each collection that it or the host asks for.
    pub(super) collections: Vec<Alive>,
    /// Those at the end.
    pub(super) at_end: Alive,
    /// The depth of calls that its first function gets.
    pub(super) depth: i32,
    /// The tag of the exception that it does not catch.
    pub(super) thrown: Option<usize>,
}

/// How a statement ends.
enum Flow {
    Next,
    Break(usize),
    Return(Vec<ModelValue>),
    TailCall(Way, usize, Vec<ModelValue>),
}

/// An exception on its way to a handler.
struct Thrown(usize);

type Step<T> = Result<T, Thrown>;

struct Model<'a> {
    program: &'a Program,
    objects: Vec<Object>,
    arrays: Vec<Vec<ModelValue>>,
    exceptions: Vec<(usize, Vec<ModelValue>)>,
    tokens: u32,
    globals: [ModelValue; GLOBALS.len()],
    table: [ModelValue; ELEMENTS],
    /// Operands of all frames, and what the host holds.
    stack: Vec<ModelValue>,
    /// The locals of all frames.
    frames: Vec<Frame>,
    fuel: i32,
    outcome: Outcome,
}

struct Frame {
    depth: i32,
    locals: Vec<ModelValue>,
}

/// What `program` does.
pub(super) fn run(program: &Program) -> Outcome {
    let mut model = Model {
        program,
        objects: vec![],
        arrays: vec![],
        exceptions: vec![],
        tokens: 0,
        globals: [ModelValue::Null; GLOBALS.len()],
        table: [ModelValue::Null; ELEMENTS],
        stack: vec![],
        frames: vec![],
        fuel: program.fuel,
        outcome: Outcome { depth: program.depth, ..Outcome::default() },
    };
    if let Err(Thrown(exception)) = model.function(0, program.depth, vec![]) {
        model.outcome.thrown = Some(model.exceptions[exception].0);
    }
    assert!(model.outcome.thrown.is_some() || model.stack.is_empty(), "operands are left");
    model.stack.clear();
    model.frames.clear();
    model.outcome.at_end = model.alive();
    model.outcome
}

impl Model<'_> {
    /// The host values that can be reached from `roots`.
    fn reach(&self, roots: impl Iterator<Item = ModelValue>) -> BTreeSet<u32> {
        let mut tokens = BTreeSet::new();
        let mut seen = std::collections::HashSet::new();
        let mut queue: Vec<ModelValue> = roots.collect();
        while let Some(value) = queue.pop() {
            let (kind, number) = match value {
                ModelValue::Null | ModelValue::I31(_) => continue,
                ModelValue::Token(number) => {
                    tokens.insert(number);
                    continue;
                }
                ModelValue::Object(number) => (0, number),
                ModelValue::Array(number) => (1, number),
                ModelValue::Exception(number) => (2, number),
            };
            if seen.insert((kind, number)) {
                match value {
                    ModelValue::Object(n) => {
                        queue.extend([self.objects[n].next, self.objects[n].extra])
                    }
                    ModelValue::Array(n) => queue.extend(&self.arrays[n]),
                    _ => queue.extend(&self.exceptions[number].1),
                }
            }
        }
        tokens
    }

    fn alive(&self) -> Alive {
        let global = || self.globals.iter().chain(&self.table).copied();
        let frames = self.frames.iter().flat_map(|frame| &frame.locals);
        let local = frames.chain(&self.stack).copied();
        Alive { least: self.reach(global()), most: self.reach(global().chain(local)) }
    }

    fn collect(&mut self) {
        let alive = self.alive();
        self.outcome.collections.push(alive);
    }

    fn pop(&mut self) -> ModelValue {
        self.stack.pop().expect("an operand")
    }

    fn pop_many(&mut self, count: usize) -> Vec<ModelValue> {
        self.stack.split_off(self.stack.len() - count)
    }

    fn new_object(&mut self, class: Class, next: ModelValue, extra: ModelValue) -> ModelValue {
        self.objects.push(Object { class, next, extra });
        ModelValue::Object(self.objects.len() - 1)
    }

    /// Uses a unit of fuel. False if there is none.
    fn burn(&mut self) -> bool {
        let burns = self.fuel > 0;
        self.fuel -= i32::from(burns);
        burns
    }

    /// Runs a function, and those that it calls instead of returning.
    fn function(
        &mut self,
        number: usize,
        depth: i32,
        arguments: Vec<ModelValue>,
    ) -> Step<Vec<ModelValue>> {
        let base = self.stack.len();
        let mut next = (number, depth, arguments);
        loop {
            let (number, depth, arguments) = next;
            let program = self.program;
            let function = &program.functions[number];
            if depth <= 0 || !self.burn() {
                return Ok(self.defaults(function));
            }
            let mut locals = arguments;
            for kind in &function.locals[function.params.len()..] {
                locals.push(match kind {
                    RefKind::NonNull => {
                        self.new_object(Class::O, ModelValue::Null, ModelValue::Null)
                    }
                    _ => ModelValue::Null,
                });
            }
            self.frames.push(Frame { depth, locals });
            let flow = self.body(function);
            self.frames.pop();
            self.stack.truncate(base);
            match flow? {
                Flow::Return(results) => return Ok(results),
                Flow::TailCall(Way::Host, callee, arguments) => {
                    return self.through_host(callee, depth - 1, arguments);
                }
                Flow::TailCall(_, callee, arguments) => next = (callee, depth - 1, arguments),
                Flow::Next | Flow::Break(_) => unreachable!("a function returns"),
            }
        }
    }

    fn body(&mut self, function: &Function) -> Step<Flow> {
        match self.list(&function.body)? {
            Flow::Next => Ok(Flow::Return(self.exprs(&function.ends)?)),
            flow => Ok(flow),
        }
    }

    /// What a function returns that does nothing.
    fn defaults(&mut self, function: &Function) -> Vec<ModelValue> {
        let value = |kind: &RefKind| match kind {
            RefKind::NonNull => self.new_object(Class::O, ModelValue::Null, ModelValue::Null),
            _ => ModelValue::Null,
        };
        function.results.iter().map(value).collect()
    }

    /// The host holds the arguments and the results until it returns.
    fn through_host(
        &mut self,
        callee: usize,
        depth: i32,
        arguments: Vec<ModelValue>,
    ) -> Step<Vec<ModelValue>> {
        let base = self.stack.len();
        self.stack.extend(&arguments);
        self.collect();
        let results = self.function(callee, depth, arguments)?;
        self.stack.extend(&results);
        self.collect();
        self.stack.truncate(base);
        Ok(results)
    }

    fn call(&mut self, call: &Call) -> Step<Vec<ModelValue>> {
        let arguments = self.exprs(&call.arguments)?;
        let depth = self.frame().depth - 1;
        match call.way {
            Way::Host => self.through_host(call.function, depth, arguments),
            _ => self.function(call.function, depth, arguments),
        }
    }

    fn frame(&mut self) -> &mut Frame {
        self.frames.last_mut().expect("a function runs")
    }

    fn set(&mut self, local: Option<usize>, value: ModelValue) {
        if let Some(local) = local {
            self.frame().locals[local] = value;
        }
    }

    /// Sets locals from the last to the first, as code does.
    fn set_many(&mut self, locals: &[Option<usize>], values: &[ModelValue]) {
        for (local, value) in locals.iter().zip(values).rev() {
            self.set(*local, *value);
        }
    }

    /// The values of expressions, which are operands until the last one is there.
    fn exprs(&mut self, exprs: &[Expr]) -> Step<Vec<ModelValue>> {
        for expr in exprs {
            self.push(expr)?;
        }
        Ok(self.pop_many(exprs.len()))
    }

    fn push(&mut self, expr: &Expr) -> Step<()> {
        let value = self.expr(expr)?;
        self.stack.push(value);
        Ok(())
    }

    fn expr(&mut self, expr: &Expr) -> Step<ModelValue> {
        Ok(match expr {
            Expr::Local(local) => self.frame().locals[*local],
            Expr::Null(_) => ModelValue::Null,
            Expr::Global(global) => self.globals[*global],
            Expr::Element(element) => self.table[*element],
            Expr::I31(number) => ModelValue::I31(*number),
            Expr::New(next) => {
                let next = self.expr(next)?;
                self.new_object(Class::O, next, ModelValue::Null)
            }
            Expr::NewSub(class, next, extra) => {
                let next = self.expr(next)?;
                let extra = self.expr(extra)?;
                self.new_object(*class, next, extra)
            }
            Expr::Token => {
                self.tokens += 1;
                ModelValue::Token(self.tokens - 1)
            }
            Expr::Same(value) => {
                self.push(value)?;
                self.collect();
                self.pop()
            }
            Expr::Call(call) => self.call(call)?[0],
            Expr::Select(_, a, b, cond) => {
                self.push(a)?;
                self.push(b)?;
                let first = self.cond(cond)?;
                let (b, a) = (self.pop(), self.pop());
                if first { a } else { b }
            }
            Expr::If(_, cond, a, b) => {
                let first = self.cond(cond)?;
                self.expr(if first { a } else { b })?
            }
            Expr::Next(object) => match self.expr(object)? {
                ModelValue::Object(number) => self.objects[number].next,
                _ => ModelValue::Null,
            },
            Expr::OrElse(a, b) => match self.expr(a)? {
                ModelValue::Null => self.expr(b)?,
                value => value,
            },
            Expr::Cast(class, _, tested, other) => match self.expr(tested)? {
                value if self.is(*class, value) => value,
                _ => self.expr(other)?,
            },
            Expr::FromExtern(value) | Expr::ToExtern(value) => self.expr(value)?,
            Expr::Pick(elements, index) => {
                let elements = self.exprs(elements)?;
                let element = elements.get(*index).copied();
                self.arrays.push(elements);
                element.unwrap_or(ModelValue::Array(self.arrays.len() - 1))
            }
            Expr::Caught(tag, payload) => {
                let base = self.stack.len();
                match self.exprs(payload) {
                    Ok(payload) => self.new_exception(*tag, payload),
                    // The payload's exception is caught in the same place.
                    Err(Thrown(exception)) => {
                        self.stack.truncate(base);
                        ModelValue::Exception(exception)
                    }
                }
            }
        })
    }

    fn new_exception(&mut self, tag: usize, payload: Vec<ModelValue>) -> ModelValue {
        self.exceptions.push((tag, payload));
        ModelValue::Exception(self.exceptions.len() - 1)
    }

    fn is(&self, class: Class, value: ModelValue) -> bool {
        match value {
            ModelValue::Object(number) => self.objects[number].class >= class,
            _ => false,
        }
    }

    fn cond(&mut self, cond: &Cond) -> Step<bool> {
        Ok(match cond {
            Cond::Depth => self.frame().depth % 2 == 1,
            Cond::Fresh(mask) => self.objects.len() as i32 & mask == *mask,
            Cond::IsNull(expr) => self.expr(expr)? == ModelValue::Null,
            Cond::Is(class, expr) => {
                let value = self.expr(expr)?;
                self.is(*class, value)
            }
            Cond::Equal(a, b) => {
                self.push(a)?;
                let b = self.expr(b)?;
                self.pop() == b
            }
        })
    }

    fn list(&mut self, stmts: &[Stmt]) -> Step<Flow> {
        for stmt in stmts {
            match self.stmt(stmt)? {
                Flow::Next => {}
                flow => return Ok(flow),
            }
        }
        Ok(Flow::Next)
    }

    fn stmt(&mut self, stmt: &Stmt) -> Step<Flow> {
        match stmt {
            Stmt::Set(local, expr) => {
                let value = self.expr(expr)?;
                self.set(Some(*local), value);
            }
            Stmt::SetMany(locals, call) => {
                let results = self.call(call)?;
                self.set_many(locals, &results);
            }
            Stmt::See(kind, expr) => {
                let value = self.expr(expr)?;
                self.see(*kind, value);
            }
            Stmt::Collect => self.collect(),
            Stmt::If(cond, yes, no) => {
                let chosen = if self.cond(cond)? { yes } else { no };
                return self.list(chosen);
            }
            Stmt::Loop(count, body) => {
                for _ in 0..*count {
                    if !self.burn() {
                        break;
                    }
                    match self.list(body)? {
                        Flow::Next => {}
                        flow => return Ok(broken(flow)),
                    }
                }
            }
            Stmt::Break(cond, levels) => {
                if self.cond(cond)? {
                    return Ok(Flow::Break(*levels));
                }
            }
            Stmt::Try(body, catches) => {
                let base = self.stack.len();
                let Thrown(exception) = match self.list(body) {
                    Ok(flow) => return Ok(broken(flow)),
                    Err(thrown) => thrown,
                };
                self.stack.truncate(base);
                let (tag, payload) = self.exceptions[exception].clone();
                let catch = catches.iter().find(|c| c.tag.is_none_or(|caught| caught == tag));
                let Some(catch) = catch else { return Err(Thrown(exception)) };
                if let Some(local) = catch.reference {
                    self.set(local, ModelValue::Exception(exception));
                }
                self.set_many(&catch.payload, &payload);
                return Ok(broken(self.list(&catch.body)?));
            }
            Stmt::Throw(tag, payload) => {
                let payload = self.exprs(payload)?;
                self.new_exception(*tag, payload);
                return Err(Thrown(self.exceptions.len() - 1));
            }
            Stmt::Rethrow(expr) => {
                if let ModelValue::Exception(exception) = self.expr(expr)? {
                    return Err(Thrown(exception));
                }
            }
            Stmt::ReturnCall(call) => {
                let arguments = self.exprs(&call.arguments)?;
                return Ok(Flow::TailCall(call.way, call.function, arguments));
            }
            Stmt::Return(exprs) => return Ok(Flow::Return(self.exprs(exprs)?)),
            Stmt::SetNext(object, next) => {
                self.push(object)?;
                let next = self.expr(next)?;
                let ModelValue::Object(object) = self.pop() else { unreachable!("it is not null") };
                let younger = matches!(next, ModelValue::Object(next) if next >= object);
                if !younger {
                    self.objects[object].next = next;
                }
            }
            Stmt::SetGlobal(global, expr) => self.globals[*global] = self.expr(expr)?,
            Stmt::SetElement(element, expr) => self.table[*element] = self.expr(expr)?,
        }
        Ok(Flow::Next)
    }

    /// Writes down which object this is.
    fn see(&mut self, kind: RefKind, value: ModelValue) {
        let text = match value {
            ModelValue::Null => NULL,
            _ if kind == RefKind::Exception => EXCEPTION,
            ModelValue::Exception(_) => unreachable!("an exception is nothing else"),
            ModelValue::I31(number) => FIRST_I31 + number,
            ModelValue::Object(number) => number as i32,
            ModelValue::Array(_) => ARRAY,
            ModelValue::Token(number) => FIRST_TOKEN + number as i32,
        };
        self.outcome.log.push(text);
    }
}

/// What comes after a statement that can be left, if its body ends so.
fn broken(flow: Flow) -> Flow {
    match flow {
        Flow::Break(0) => Flow::Next,
        Flow::Break(levels) => Flow::Break(levels - 1),
        flow => flow,
    }
}

/// How references are written down, other than objects, which have their numbers.
pub(super) const NULL: i32 = -1;
pub(super) const EXCEPTION: i32 = -2;
pub(super) const ARRAY: i32 = -3;
pub(super) const FIRST_I31: i32 = 1_000_000;
pub(super) const FIRST_TOKEN: i32 = 2_000_000;
