//! What this engine and Wasmtime do with a module, through the same API: its imports, calls and
//! state. A macro writes it once for the types of each. How a call ended that failed is for each to
//! say, in a function `ended`.

/// Writes the functions for the types of the crate `$engine`.
macro_rules! embedding {
    ($engine:ident) => {
        use super::generate::FUEL;
        use super::instrument::FUEL_EXPORT;
        use super::run::{Argument, Call, Number, ObservedValue, Outcome, Run, hash};
        use gc_testkit::choices::Choices;
        use $engine::{
            AnyRef, AsContext, AsContextMut, Caller, Engine, Error, Extern, ExternRef, ExternType,
            Func, FuncType, Global, HeapType, I31, Instance, Memory, Module, RefType, Result,
            RootScope, Rooted, Store, Table, Tag, ThrownException, Trap, Val, ValType,
        };

        /// A module that is being run.
        struct Running {
            instance: Instance,
            exports: Vec<(String, Extern)>,
            fuel: Global,
            /// References that calls may get.
            seen: Vec<Val>,
        }

        /// Instantiates a module, or says why it cannot be.
        fn begin(
            store: &mut Store<()>,
            module: &Module,
            for_javascript: bool,
        ) -> Result<std::result::Result<Running, Outcome>> {
            let Some(imports) = imports(store, module)? else {
                return Ok(Err(Outcome::Failed(super::NO_IMPORT.to_string())));
            };
            let instance = match Instance::new(&mut *store, module, &imports) {
                Ok(instance) => instance,
                Err(error) => return Ok(Err(ended(store, &error)?)),
            };
            let exports = exports(store, &instance);
            let mut seen = seen_globals(store, &exports);
            seen.retain(|value| !for_javascript || !matches!(value, Val::ExnRef(_)));
            let fuel = instance.get_global(&mut *store, FUEL_EXPORT).expect("it is exported");
            Ok(Ok(Running { instance, exports, fuel, seen }))
        }

        /// Makes a call, and adds it to the run. Whether the run goes on.
        fn step(
            store: &mut Store<()>,
            running: &mut Running,
            export: &str,
            arguments: Vec<Argument>,
            run: &mut Run,
        ) -> Result<bool> {
            let Some(func) = running.instance.get_func(&mut *store, export) else {
                $engine::bail!("there is no function {export:?}");
            };
            running.fuel.set(&mut *store, Val::I32(FUEL as i32))?;
            let mut describer = Describer::new(!run.for_javascript);
            let outcome = call(store, &func, &arguments, &mut running.seen, &mut describer)?;
            let left = running.fuel.get(&mut *store);
            let fuel = Describer::new(false).describe(&mut *store, &left)?;
            let goes_on = !matches!(outcome, Outcome::Exhausted(_));
            run.calls.push(Call { export: export.to_string(), arguments, outcome, fuel });
            Ok(goes_on)
        }

        /// Runs a module. Chooses the calls and their arguments. For JavaScript it calls only the
        /// functions that are `callable`.
        fn lead(
            store: &mut Store<()>,
            module: &Module,
            choices: &mut Choices,
            callable: Option<fn(&FuncType) -> bool>,
        ) -> Result<Run> {
            let mut run = Run { for_javascript: callable.is_some(), ..Run::default() };
            let mut running = match begin(store, module, run.for_javascript)? {
                Ok(running) => running,
                Err(outcome) => return Ok(Run { refused: Some(outcome), ..run }),
            };
            let exports = running.exports.clone();
            for round in 0..2 {
                for (name, export) in &exports {
                    let Extern::Func(func) = export else { continue };
                    if callable.is_some_and(|callable| !callable(&func.ty(&*store))) {
                        continue;
                    }
                    let Some(arguments) = choose(store, func, &running.seen, choices)? else {
                        run.uncalled += usize::from(round == 0);
                        continue;
                    };
                    if !step(store, &mut running, name, arguments, &mut run)? {
                        return Ok(run);
                    }
                }
            }
            run.state = state(store, exports, !run.for_javascript)?;
            Ok(run)
        }

        /// Runs a module with the calls of `leader`.
        fn follow(store: &mut Store<()>, module: &Module, leader: &Run) -> Result<Run> {
            let mut run = Run { for_javascript: leader.for_javascript, ..Run::default() };
            let mut running = match begin(store, module, run.for_javascript)? {
                Ok(running) => running,
                Err(outcome) => return Ok(Run { refused: Some(outcome), ..run }),
            };
            for call in &leader.calls {
                between(store)?;
                let arguments = call.arguments.clone();
                if !step(store, &mut running, &call.export, arguments, &mut run)? {
                    return Ok(run);
                }
            }
            between(store)?;
            run.state = state(store, running.exports, !run.for_javascript)?;
            Ok(run)
        }

        /// Arguments for `func`, if there are any of its types.
        fn choose(
            store: &mut Store<()>,
            func: &Func,
            seen: &[Val],
            choices: &mut Choices,
        ) -> Result<Option<Vec<Argument>>> {
            let mut arguments = Vec::new();
            for ty in func.ty(&*store).params() {
                let word = choices.word();
                // Small numbers are indices that exist, and large ones are interesting bits.
                let number = match word % 4 {
                    0 => word >> 60,
                    1 => (word as i64 >> 60) as u64,
                    2 => 1 << (word >> 58),
                    _ => word >> 2,
                };
                arguments.push(match &ty {
                    ValType::I32 => Number::I32(number as i32).into(),
                    ValType::I64 => Number::I64(number as i64).into(),
                    ValType::F32 => Number::F32($crate::differential::run::f32_bits(number)).into(),
                    ValType::F64 => Number::F64($crate::differential::run::f64_bits(number)).into(),
                    ValType::V128 => {
                        let high = u128::from(choices.word());
                        Number::V128(u128::from(number) | high << 64).into()
                    }
                    ValType::Ref(reference) => {
                        let mut fitting = Vec::new();
                        for (index, value) in seen.iter().enumerate() {
                            if value.matches_ty(&*store, &ty)?
                                && !another_func(store, value, reference)
                            {
                                fitting.push(Argument::Seen(index));
                            }
                        }
                        match reference.heap_type() {
                            HeapType::Any | HeapType::Eq | HeapType::I31 => {
                                fitting.push(Argument::I31(number as u32 & 0x7fff_ffff));
                            }
                            HeapType::Extern => fitting.push(Argument::Extern(number as u32)),
                            _ => {}
                        }
                        if reference.is_nullable() && (fitting.is_empty() || word >> 61 == 0) {
                            Argument::Null
                        } else if fitting.is_empty() {
                            return Ok(None);
                        } else {
                            fitting.swap_remove(choices.word() as usize % fitting.len())
                        }
                    }
                });
            }
            Ok(Some(arguments))
        }

        /// Whether this is a function of another type than `reference` names. Wasmtime's API compares
        /// function types by their parameters and results. WebAssembly compares them by name.
        fn another_func(store: &Store<()>, value: &Val, reference: &RefType) -> bool {
            match (value, reference.heap_type()) {
                (Val::FuncRef(Some(func)), HeapType::ConcreteFunc(ty)) => {
                    !FuncType::eq(&func.ty(store), ty)
                }
                _ => false,
            }
        }

        /// What the module imports, or `None` if there is no value of a type. Host functions return their
        /// first parameter of the result's type, or a value like those of imported globals.
        fn imports(store: &mut Store<()>, module: &Module) -> Result<Option<Vec<Extern>>> {
            let mut imports = Vec::new();
            for (number, import) in (1..).zip(module.imports()) {
                imports.push(match import.ty() {
                    ExternType::Func(ty) => {
                        let signature = ty.clone();
                        let host = move |mut caller: Caller<'_, ()>,
                                         params: &[Val],
                                         results: &mut [Val]| {
                            for (result, ty) in results.iter_mut().zip(signature.results()) {
                                let same = signature.params().position(|param| param.matches(&ty));
                                *result = match same {
                                    Some(index) => params[index],
                                    None => match host_value(&mut caller, &ty, number)? {
                                        Some(value) => value,
                                        None => $engine::bail!(super::NO_VALUE),
                                    },
                                };
                            }
                            Ok(())
                        };
                        Func::new(&mut *store, ty, host).into()
                    }
                    ExternType::Global(ty) => {
                        match host_value(&mut *store, ty.content(), number)? {
                            Some(value) => Global::new(&mut *store, ty, value)?.into(),
                            None => return Ok(None),
                        }
                    }
                    ExternType::Table(ty) => {
                        let element = ValType::Ref(ty.element().clone());
                        match host_value(&mut *store, &element, number)? {
                            Some(init) => {
                                Table::new(&mut *store, ty, init.ref_().expect("a reference"))?
                                    .into()
                            }
                            None => return Ok(None),
                        }
                    }
                    ExternType::Memory(ty) => Memory::new(&mut *store, ty)?.into(),
                    ExternType::Tag(ty) => Tag::new(&mut *store, &ty)?.into(),
                });
            }
            Ok(Some(imports))
        }

        /// A value of type `ty` that depends only on the type and `number`, if there is one.
        fn host_value(
            store: impl AsContextMut<Data = ()>,
            ty: &ValType,
            number: i32,
        ) -> Result<Option<Val>> {
            Ok(Some(match ty {
                ValType::I32 => Val::I32(number),
                ValType::I64 => Val::I64(number.into()),
                ValType::F32 => Val::F32((number as f32).to_bits()),
                ValType::F64 => Val::F64(f64::from(number).to_bits()),
                ValType::V128 => Val::V128((number as u128).into()),
                ValType::Ref(ty) => match ty.heap_type() {
                    HeapType::Any | HeapType::Eq | HeapType::I31 => {
                        AnyRef::from_i31(store, I31::wrapping_i32(number)).into()
                    }
                    HeapType::Extern => ExternRef::new(store, number as u32)?.into(),
                    heap_type if ty.is_nullable() => Val::null_ref(heap_type),
                    _ => return Ok(None),
                },
            }))
        }

        fn see(seen: &mut Vec<Val>, value: &Val) {
            let null = matches!(
                value,
                Val::FuncRef(None) | Val::ExternRef(None) | Val::AnyRef(None) | Val::ExnRef(None)
            );
            if value.ref_().is_some() && !null {
                seen.push(*value);
            }
        }

        fn call(
            store: &mut Store<()>,
            func: &Func,
            arguments: &[Argument],
            seen: &mut Vec<Val>,
            describer: &mut Describer,
        ) -> Result<Outcome> {
            let ty = func.ty(&*store);
            let mut values = Vec::new();
            for (argument, ty) in arguments.iter().zip(ty.params()) {
                values.push(match *argument {
                    Argument::Number(number) => match number {
                        Number::I32(value) => Val::I32(value),
                        Number::I64(value) => Val::I64(value),
                        Number::F32(bits) => Val::F32(bits),
                        Number::F64(bits) => Val::F64(bits),
                        Number::V128(bits) => Val::V128(bits.into()),
                    },
                    Argument::Null => Val::default_for_ty(&ty).expect("it can be null"),
                    Argument::I31(value) => {
                        AnyRef::from_i31(&mut *store, I31::wrapping_u32(value)).into()
                    }
                    Argument::Extern(value) => ExternRef::new(&mut *store, value)?.into(),
                    Argument::Seen(index) => seen[index],
                });
            }
            let mut results = vec![Val::I32(0); ty.results().len()];
            match func.call(&mut *store, &values, &mut results) {
                Ok(()) => {
                    results.iter().for_each(|value| see(seen, value));
                    let mut scope = RootScope::new(&mut *store);
                    let described = describer.each(&mut scope, &results, Describer::export);
                    Ok(Outcome::Returned(described?))
                }
                Err(error) => ended(store, &error),
            }
        }

        /// The exports of an instance.
        fn exports(store: &mut Store<()>, instance: &Instance) -> Vec<(String, Extern)> {
            let exports = instance.exports(&mut *store);
            exports.map(|export| (export.name().to_string(), export.into_extern())).collect()
        }

        /// What the exported globals, memories and tables hold.
        fn state(
            store: &mut Store<()>,
            exports: Vec<(String, Extern)>,
            identity: bool,
        ) -> Result<Vec<(String, ObservedValue)>> {
            let mut state = Vec::new();
            let mut describer = Describer::new(identity);
            let mut store = RootScope::new(store);
            for (name, export) in exports {
                let value = match export {
                    Extern::Global(global) => {
                        let value = global.get(&mut store);
                        describer.export(&mut store, &value)?
                    }
                    Extern::Memory(memory) => {
                        let data = memory.data(&store);
                        ObservedValue::Memory(data.len(), hash(data))
                    }
                    Extern::Table(table) => {
                        let mut elements = Vec::new();
                        for index in 0..table.size(&store) {
                            let element = table.get(&mut store, index).expect("it is in bounds");
                            elements.push(element.into());
                        }
                        describer.budget = ObservedValue::BUDGET;
                        let described = describer.each(&mut store, &elements, Describer::describe);
                        ObservedValue::Table(described?)
                    }
                    _ => continue,
                };
                state.push((name, value));
            }
            Ok(state)
        }

        /// The values of the exported globals that are references, which later calls may get.
        fn seen_globals(store: &mut Store<()>, exports: &[(String, Extern)]) -> Vec<Val> {
            let mut seen = Vec::new();
            for (_, export) in exports {
                if let Extern::Global(global) = export {
                    let value = global.get(&mut *store);
                    see(&mut seen, &value);
                }
            }
            seen
        }

        /// The payload of the exception that a call threw.
        fn thrown(store: &mut Store<()>) -> Result<Outcome> {
            let mut scope = RootScope::new(&mut *store);
            let exception = scope.as_context_mut().take_pending_exception().expect("it was thrown");
            let exception = Val::ExnRef(Some(exception));
            let exception = Describer::new(false).export(&mut scope, &exception)?;
            let ObservedValue::Exn(payload) = exception else { unreachable!("it is an exception") };
            Ok(Outcome::Threw(payload))
        }

        /// How a call ended with a trap, if that is known to both engines.
        fn trapped(trap: Trap) -> Option<Outcome> {
            let why = match trap {
                Trap::StackOverflow => return Some(Outcome::Exhausted("stack".to_string())),
                Trap::AllocationTooLarge => {
                    return Some(Outcome::Exhausted("size of an object".to_string()))
                }
                Trap::MemoryOutOfBounds => "memory access",
                Trap::TableOutOfBounds => "table access",
                Trap::IndirectCallToNull => "indirect call to null",
                Trap::BadSignature => "indirect call type",
                Trap::IntegerOverflow => "integer overflow",
                Trap::IntegerDivisionByZero => "division by zero",
                Trap::BadConversionToInteger => "conversion to integer",
                Trap::UnreachableCodeReached => "unreachable",
                Trap::NullReference => "null reference",
                Trap::ArrayOutOfBounds => "array access",
                Trap::CastFailure => "cast",
                _ => return None,
            };
            Some(Outcome::Trapped(why.into()))
        }

        /// Describes values.
        struct Describer {
            /// How many more values are described.
            budget: usize,
            /// Whether an object or function that comes again is recognised.
            identity: bool,
            /// The objects that were described, in order. They are rooted as long as it lives.
            objects: Vec<Val>,
            /// The addresses of the functions that were described, in order.
            funcs: Vec<usize>,
        }

        impl Describer {
            fn new(identity: bool) -> Describer {
                let (objects, funcs) = (Vec::new(), Vec::new());
                Describer { budget: ObservedValue::BUDGET, identity, objects, funcs }
            }

            /// Describes a value with a budget of its own.
            fn export(
                &mut self,
                store: &mut RootScope<&mut Store<()>>,
                value: &Val,
            ) -> Result<ObservedValue> {
                self.budget = ObservedValue::BUDGET;
                self.describe(store, value)
            }

            /// Describes all of these values.
            fn each<S: AsContextMut<Data = ()>>(
                &mut self,
                store: &mut S,
                values: &[Val],
                describe: fn(&mut Self, &mut S, &Val) -> Result<ObservedValue>,
            ) -> Result<Vec<ObservedValue>> {
                values.iter().map(|value| describe(self, store, value)).collect()
            }

            /// The number of an object that was described before. Otherwise it gets the next one.
            fn again(&mut self, store: &impl AsContext, value: &Val) -> Result<Option<usize>> {
                if !self.identity {
                    return Ok(None);
                }
                for (number, other) in self.objects.iter().enumerate() {
                    let same = match (other, value) {
                        (Val::AnyRef(Some(a)), Val::AnyRef(Some(b))) => {
                            Rooted::ref_eq(store, a, b)?
                        }
                        (Val::ExnRef(Some(a)), Val::ExnRef(Some(b))) => {
                            Rooted::ref_eq(store, a, b)?
                        }
                        _ => false,
                    };
                    if same {
                        return Ok(Some(number));
                    }
                }
                self.objects.push(*value);
                Ok(None)
            }

            /// The number of a function.
            fn number(&mut self, store: &mut impl AsContextMut, func: &Func) -> usize {
                if !self.identity {
                    return 0;
                }
                let address = func.to_raw(store) as usize;
                let found = self.funcs.iter().position(|other| *other == address);
                found.unwrap_or_else(|| {
                    self.funcs.push(address);
                    self.funcs.len() - 1
                })
            }

            fn describe<S: AsContextMut<Data = ()>>(
                &mut self,
                store: &mut S,
                value: &Val,
            ) -> Result<ObservedValue> {
                if self.budget == 0 {
                    return Ok(ObservedValue::Deep);
                }
                self.budget -= 1;
                Ok(match value {
                    Val::I32(value) => Number::I32(*value).into(),
                    Val::I64(value) => Number::I64(*value).into(),
                    Val::F32(bits) => Number::F32(*bits).into(),
                    Val::F64(bits) => Number::F64(*bits).into(),
                    Val::V128(value) => Number::V128(value.as_u128()).into(),
                    Val::FuncRef(None)
                    | Val::ExternRef(None)
                    | Val::AnyRef(None)
                    | Val::ExnRef(None) => ObservedValue::Null,
                    Val::FuncRef(Some(func)) => {
                        let ty = func.ty(&*store);
                        let number = self.number(store, func);
                        ObservedValue::Func(ty.params().len(), ty.results().len(), number)
                    }
                    Val::ExternRef(Some(external)) => match external.data(&*store)? {
                        Some(data) => {
                            ObservedValue::Extern(*data.downcast_ref().expect("a number"))
                        }
                        None => {
                            let internal = AnyRef::convert_extern(&mut *store, *external)?;
                            let value = self.describe(store, &internal.into())?;
                            ObservedValue::Externalized(Box::new(value))
                        }
                    },
                    Val::AnyRef(Some(any)) => {
                        if let Some(value) = any.as_i31(&*store)? {
                            ObservedValue::I31(value.get_i32())
                        } else if let Some(object) = any.as_struct(&*store)? {
                            if let Some(number) = self.again(store, value)? {
                                return Ok(ObservedValue::Again(number));
                            }
                            let fields: Vec<Val> = object.fields(&mut *store)?.collect();
                            ObservedValue::Struct(self.each(store, &fields, Self::describe)?)
                        } else if let Some(array) = any.as_array(&*store)? {
                            if let Some(number) = self.again(store, value)? {
                                return Ok(ObservedValue::Again(number));
                            }
                            let len = array.len(&*store)?;
                            let mut described = Vec::new();
                            let mut most = ObservedValue::ELEMENTS;
                            let mut index = 0;
                            while index < len.min(most) {
                                let element = array.get(&mut *store, index)?;
                                use Val::{F32, F64, I32, I64, V128};
                                if let I32(_) | I64(_) | F32(_) | F64(_) | V128(_) = element {
                                    // Numbers lead nowhere.
                                    most = ObservedValue::NUMBERS;
                                    self.budget += 1;
                                }
                                described.push(self.describe(store, &element)?);
                                index += 1;
                            }
                            ObservedValue::Array(len, described)
                        } else {
                            let external = ExternRef::convert_any(&mut *store, *any)?;
                            let data = external.data(&*store)?.expect("a value of the host");
                            ObservedValue::Internalized(*data.downcast_ref().expect("a number"))
                        }
                    }
                    Val::ExnRef(Some(exception)) => {
                        if let Some(number) = self.again(store, value)? {
                            return Ok(ObservedValue::Again(number));
                        }
                        let fields: Vec<Val> = exception.fields(&mut *store)?.collect();
                        ObservedValue::Exn(self.each(store, &fields, Self::describe)?)
                    }
                    // One of the engines has values of stack switching.
                    #[allow(unreachable_patterns)]
                    other => unreachable!("an unknown value {other:?}"),
                })
            }
        }
    };
}

pub(crate) use embedding;
