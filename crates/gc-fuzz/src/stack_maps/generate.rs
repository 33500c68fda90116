//! Programs from choices.

use super::program::{
    Call, Catch, Class, Cond, ELEMENTS, Expr, Function, GLOBALS, Program, RefKind, Stmt, TAGS, Way,
};
use gc_testkit::choices::Choices;

/// The most statements and expressions of a program.
const BUDGET: i32 = 320;

struct Generator {
    choices: Choices,
    /// The signatures of all functions, and those bodies that were made.
    functions: Vec<Function>,
    /// The types of the locals of the function that is being made.
    locals: Vec<RefKind>,
    results: Vec<RefKind>,
    /// The number of loops and try statements around the place.
    breaks: usize,
    budget: i32,
}

/// The program that these choices make.
pub(super) fn program(mut choices: Choices) -> Program {
    let (depth, fuel) = (2 + choices.below(4) as i32, 8 + choices.below(60) as i32);
    let mut functions = Vec::new();
    for number in 0..2 + choices.below(3) {
        let mut list = |few, many| {
            let most = if choices.below(8) == 7 { many } else { few };
            (0..choices.below(most)).map(|_| choices.pick(&RefKind::ALL)).collect::<Vec<_>>()
        };
        let (params, results) =
            if number == 0 { Default::default() } else { (list(4, 14), list(3, 11)) };
        // Tail calls need functions with the same results.
        let results = match functions.last() {
            Some(Function { results, .. }) if number > 1 && choices.below(3) == 1 => {
                results.clone()
            }
            _ => results,
        };
        let body = Vec::new();
        functions.push(Function {
            locals: params.clone(),
            params,
            results,
            body,
            ends: Vec::new(),
        });
    }
    let count = functions.len() as i32;
    let mut generator =
        Generator { choices, functions, locals: vec![], results: vec![], breaks: 0, budget: 0 };
    for number in 0..count as usize {
        generator.budget = BUDGET / count;
        generator.function(number);
    }
    Program { functions: generator.functions, depth, fuel }
}

impl Generator {
    fn function(&mut self, number: usize) {
        let mut locals = self.functions[number].params.clone();
        for _ in 0..2 + self.choices.below(5) {
            locals.push(self.choices.pick(&RefKind::ALL));
        }
        self.locals = locals;
        self.results = self.functions[number].results.clone();
        let mut body = Vec::new();
        for local in self.functions[number].params.len()..self.locals.len() {
            if self.choices.below(4) != 3 {
                body.push(Stmt::Set(local, self.operator(self.locals[local], 1)));
            }
        }
        let mut stmts = self.list(3, 8, 0);
        if number == 0 {
            // Every function runs, and more than once.
            for callee in 1..self.functions.len() {
                let call = self.call_of(callee, 2);
                let targets = self.targets(&self.functions[callee].results.clone());
                let call = Stmt::SetMany(targets, call);
                stmts.push(Stmt::Loop(1 + self.choices.below(3) as i32, vec![call]));
            }

            // An exception ends only a part of the program.
            body.extend(stmts.into_iter().map(|stmt| {
                let (payload, body) = (Vec::new(), Vec::new());
                let all = Catch { tag: None, payload, reference: None, body };
                if self.choices.below(8) == 7 { stmt } else { Stmt::Try(vec![stmt], vec![all]) }
            }));
        } else {
            body.extend(stmts);
        }
        // What was in a local all the time must be what it was.
        for local in 0..self.locals.len() {
            if self.choices.below(4) != 3 {
                body.push(Stmt::See(self.locals[local], Expr::Local(local)));
            }
        }
        let ends = self.exprs(&self.results.clone(), 2);
        let function = &mut self.functions[number];
        (function.locals, function.body, function.ends) = (self.locals.clone(), body, ends);
    }

    fn list(&mut self, least: usize, more: usize, depth: usize) -> Vec<Stmt> {
        let count = least + self.choices.below(more);
        (0..count).filter_map(|_| self.stmt(depth)).collect()
    }

    /// A local of exactly this type. Others would change what the local may hold.
    fn target(&mut self, kind: RefKind) -> Option<usize> {
        let all: Vec<_> = (0..self.locals.len()).filter(|l| kind.is_a(self.locals[*l])).collect();
        if all.is_empty() { None } else { Some(self.choices.pick(&all)) }
    }

    fn targets(&mut self, kinds: &[RefKind]) -> Vec<Option<usize>> {
        kinds.iter().map(|kind| self.target(*kind)).collect()
    }

    fn kind(&mut self) -> RefKind {
        self.choices.pick(&RefKind::ALL)
    }

    fn stmt(&mut self, depth: usize) -> Option<Stmt> {
        self.budget -= 1;
        if self.budget < 0 {
            return None;
        }
        // Statements in statements end somewhere.
        let simple = if depth < 3 { 20 } else { 13 };
        Some(match self.choices.below(simple) {
            0..=2 => {
                let local = self.choices.below(self.locals.len());
                Stmt::Set(local, self.expr(self.locals[local], 3))
            }
            3 => {
                let kind = self.kind();
                Stmt::See(kind, self.expr(kind, 3))
            }
            4 | 5 => Stmt::Collect,
            6 | 7 => {
                let call = self.call(2, |_| true)?;
                let targets = self.targets(&self.functions[call.function].results.clone());
                Stmt::SetMany(targets, call)
            }
            8 => Stmt::SetNext(self.expr(RefKind::NonNull, 1), self.expr(RefKind::Object, 2)),
            9 => {
                let global = self.choices.below(GLOBALS.len());
                Stmt::SetGlobal(global, self.expr(GLOBALS[global], 2))
            }
            10 => Stmt::SetElement(self.choices.below(ELEMENTS), self.expr(RefKind::Any, 2)),
            11 if self.breaks > 0 => {
                let cond = Cond::Fresh(self.choices.pick(&[3, 7, 5, 1]));
                Stmt::Break(cond, self.choices.below(self.breaks.min(3)))
            }
            11 | 12 => Stmt::Rethrow(self.expr(RefKind::Exception, 1)),
            13 | 14 => {
                let count = 1 + self.choices.below(3) as i32;
                self.breaks += 1;
                let body = self.list(1, 4, depth + 1);
                self.breaks -= 1;
                Stmt::Loop(count, body)
            }
            15 | 16 => self.attempt(depth),
            17 => {
                let cond = self.cond(2);
                Stmt::If(cond, self.list(1, 3, depth + 1), self.list(0, 3, depth + 1))
            }
            // What leaves the function does so only sometimes, so that the rest has a sense.
            what => {
                let cond = Cond::Fresh(self.choices.pick(&[3, 7, 5, 1]));
                let end = match what {
                    18 => {
                        let tag = self.choices.below(TAGS.len());
                        Stmt::Throw(tag, self.exprs(TAGS[tag], 2))
                    }
                    _ => {
                        let results = self.results.clone();
                        match self.call(2, |function| function.results == results) {
                            Some(call) if self.choices.below(4) != 3 => Stmt::ReturnCall(call),
                            _ => Stmt::Return(self.exprs(&results, 2)),
                        }
                    }
                };
                Stmt::If(cond, vec![end], vec![])
            }
        })
    }

    fn attempt(&mut self, depth: usize) -> Stmt {
        self.breaks += 1;
        let mut body = self.list(1, 4, depth + 1);
        if self.choices.below(4) == 3 {
            let tag = self.choices.below(TAGS.len());
            body.push(Stmt::Throw(tag, self.exprs(TAGS[tag], 2)));
        }
        let mut catches = Vec::new();
        for _ in 0..1 + self.choices.below(3) {
            let tag = self.choices.below(TAGS.len() + 1).checked_sub(1);
            let payload = self.targets(tag.map_or(&[], |tag| TAGS[tag]));
            let with = self.choices.below(2) == 1;
            let reference = with.then(|| self.target(RefKind::Exception));
            let body = self.list(0, 3, depth + 1);
            catches.push(Catch { tag, payload, reference, body });
        }
        self.breaks -= 1;
        Stmt::Try(body, catches)
    }

    /// A call of a function that is `fit`, if there is one.
    fn call(&mut self, depth: usize, fit: impl Fn(&Function) -> bool) -> Option<Call> {
        let all: Vec<_> = (1..self.functions.len()).filter(|n| fit(&self.functions[*n])).collect();
        if all.is_empty() {
            return None;
        }
        let function = self.choices.pick(&all);
        Some(self.call_of(function, depth))
    }

    fn call_of(&mut self, function: usize, depth: usize) -> Call {
        let way = self.choices.pick(&[
            Way::Direct,
            Way::Indirect,
            Way::Reference,
            Way::Host,
            Way::Direct,
        ]);
        let arguments = self.exprs(&self.functions[function].params.clone(), depth);
        Call { way, function, arguments }
    }

    fn exprs(&mut self, kinds: &[RefKind], depth: usize) -> Vec<Expr> {
        kinds.iter().map(|kind| self.expr(*kind, depth)).collect()
    }

    fn boxed(&mut self, kind: RefKind, depth: usize) -> Box<Expr> {
        Box::new(self.expr(kind, depth))
    }

    /// An expression that allocates nothing and calls nothing.
    fn leaf(&mut self, kind: RefKind) -> Expr {
        let locals: Vec<_> =
            (0..self.locals.len()).filter(|l| self.locals[*l].is_a(kind)).collect();
        if !locals.is_empty() && self.choices.below(8) != 7 {
            return Expr::Local(self.choices.pick(&locals));
        }
        let globals: Vec<_> = (0..GLOBALS.len()).filter(|g| GLOBALS[*g].is_a(kind)).collect();
        match self.choices.below(4) {
            0 if kind == RefKind::Any => Expr::I31(self.choices.below(100) as i32),
            1 if kind == RefKind::Any => Expr::Element(self.choices.below(ELEMENTS)),
            0 | 1 if !globals.is_empty() => Expr::Global(self.choices.pick(&globals)),
            _ => Expr::Null(kind),
        }
    }

    /// An expression of type `kind`, with others in it at most `depth` deep.
    fn expr(&mut self, kind: RefKind, depth: usize) -> Expr {
        self.budget -= 1;
        if depth == 0 || self.budget < 0 {
            return match self.leaf(kind) {
                Expr::Null(RefKind::NonNull) => Expr::New(Box::new(self.leaf(RefKind::Object))),
                leaf => leaf,
            };
        }
        let d = depth - 1;
        match self.choices.below(9) {
            0 => self.expr(kind, 0),
            1 => {
                Expr::Select(kind, self.boxed(kind, d), self.boxed(kind, d), Box::new(self.cond(d)))
            }
            2 => {
                let cond = Box::new(self.cond(d));
                Expr::If(kind, cond, self.boxed(kind, d), self.boxed(kind, d))
            }
            3 | 4 => {
                let fit = |function: &Function| matches!(function.results[..], [result] if result.is_a(kind));
                match self.call(d, fit) {
                    Some(call) => Expr::Call(call),
                    None => self.expr(kind, d),
                }
            }
            5 if kind == RefKind::Any => Expr::Same(self.boxed(kind, d)),
            _ => self.operator(kind, d),
        }
    }

    fn operator(&mut self, kind: RefKind, d: usize) -> Expr {
        match kind {
            RefKind::Object => match self.choices.below(3) {
                0 => self.expr(RefKind::NonNull, d),
                1 => Expr::Next(self.boxed(RefKind::NonNull, d)),
                _ => Expr::Next(self.boxed(RefKind::Object, d)),
            },
            RefKind::NonNull => match self.choices.below(6) {
                0 | 1 => Expr::New(self.boxed(RefKind::Object, d)),
                2 => {
                    let next = self.boxed(RefKind::Object, d);
                    let class = self.choices.pick(&[Class::P, Class::Q]);
                    Expr::NewSub(class, next, Box::new(self.leaf(RefKind::Any)))
                }
                3 => Expr::OrElse(self.boxed(RefKind::Object, d), self.boxed(kind, d)),
                4 => {
                    let fail = self.choices.below(2) == 1;
                    Expr::Cast(Class::O, fail, self.boxed(RefKind::Any, d), self.boxed(kind, d))
                }
                _ => {
                    let fail = self.choices.below(2) == 1;
                    let tested = self.boxed(RefKind::Any, d);
                    let next = self.boxed(RefKind::Object, d);
                    let class = self.choices.pick(&[Class::P, Class::Q]);
                    let other = Expr::NewSub(class, next, Box::new(self.leaf(RefKind::Any)));
                    Expr::Cast(class, fail, tested, Box::new(other))
                }
            },
            RefKind::Any => match self.choices.below(5) {
                0 => self.expr(RefKind::Object, d),
                1 => Expr::FromExtern(self.boxed(RefKind::Extern, d)),
                2 => Expr::Same(self.boxed(kind, d)),
                _ => {
                    let count = 1 + self.choices.below(5);
                    let elements = self.exprs(&vec![kind; count], d);
                    Expr::Pick(elements, self.choices.below(count + 1))
                }
            },
            RefKind::Extern => match self.choices.below(3) {
                0 => Expr::ToExtern(self.boxed(RefKind::Any, d)),
                _ => Expr::Token,
            },
            RefKind::Exception => {
                let tag = self.choices.below(TAGS.len());
                Expr::Caught(tag, self.exprs(TAGS[tag], d))
            }
        }
    }

    fn cond(&mut self, depth: usize) -> Cond {
        let d = depth.saturating_sub(1);
        match self.choices.below(8) {
            0 | 1 => Cond::Fresh(self.choices.pick(&[1, 2, 3, 4])),
            2 => Cond::Depth,
            3 => Cond::IsNull(self.expr(RefKind::Object, d)),
            4 => Cond::Is(Class::O, self.expr(RefKind::Any, d)),
            5 => Cond::Is(Class::P, self.expr(RefKind::Any, d)),
            6 => Cond::Is(Class::Q, self.expr(RefKind::Any, d)),
            _ => Cond::Equal(self.expr(RefKind::Object, d), self.expr(RefKind::Object, d)),
        }
    }
}
