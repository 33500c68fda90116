//! The host functions, which follow the script, and what they expect.

use super::ops::{Op, polls};
use super::{Ended, MOST_POLLS};
use crate::refs::host_number;
use anyhow::{Context as _, Result, bail, ensure};
use gc_testkit::Ledger;
use gc_wasm::{
    AsContext, AsContextMut, Caller, ExternRef, Global, GlobalType, Linker, Mutability,
    OwnedRooted, RootScope, Rooted, Store, StoreContextMut, StructRef, TypedFunc, Val, ValType,
};
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

type External = Option<Rooted<ExternRef>>;
type Struct = Option<Rooted<StructRef>>;
type Step = TypedFunc<(External, Struct, i32, i32), (External, Struct)>;

/// The number of globals.
pub(super) const GLOBALS: usize = 3;
/// How deep host functions may call the code again.
const NESTED: usize = 5;
/// The most owned handles.
const OWNED: usize = 4;

/// The error with which a host function fails on purpose.
#[derive(Debug)]
pub(super) struct Intended;

impl fmt::Display for Intended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the script says so")
    }
}

impl std::error::Error for Intended {}

/// The steps that are left, and what was found on the way.
pub(super) struct Script {
    ops: Mutex<std::vec::IntoIter<Op>>,
    /// The first fault of a host function. Its call may be dropped before it returns it.
    fault: Mutex<Option<String>>,
    trap: Mutex<bool>,
    /// The number of host functions that run.
    nested: AtomicUsize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Script {
    pub(super) fn new(ops: Vec<Op>) -> Script {
        Script {
            ops: Mutex::new(ops.into_iter()),
            fault: Mutex::default(),
            trap: Mutex::default(),
            nested: AtomicUsize::new(0),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        lock(&self.ops).as_slice().is_empty()
    }

    /// The next step, if it begins a call.
    pub(super) fn begin(&self) -> Option<Op> {
        lock(&self.ops).next_if_begin()
    }

    fn next(&self) -> Option<Op> {
        lock(&self.ops).next()
    }

    /// # Errors
    /// The fault that a host function found.
    pub(super) fn check(&self) -> Result<()> {
        match lock(&self.fault).take() {
            Some(fault) => bail!("{fault}"),
            None => Ok(()),
        }
    }

    /// Whether the code was told to trap.
    pub(super) fn take_trap(&self) -> bool {
        std::mem::take(&mut *lock(&self.trap))
    }

    /// Notes the fault of a host function.
    fn note<R>(&self, result: Result<R>) -> Result<R> {
        if let Err(error) = &result
            && !error.chain().any(|cause| cause.is::<Intended>())
        {
            lock(&self.fault).get_or_insert(format!("{error:?}"));
        }
        result
    }
}

trait NextIfBegin {
    fn next_if_begin(&mut self) -> Option<Op>;
}

impl NextIfBegin for std::vec::IntoIter<Op> {
    fn next_if_begin(&mut self) -> Option<Op> {
        let begins = matches!(self.as_slice().first(), Some(Op::Begin { .. }));
        if begins { self.next() } else { None }
    }
}

/// The data of a store.
pub(super) struct Data {
    pub(super) step: Option<Step>,
    pub(super) ledger: Ledger,
    globals: Vec<Global>,
    /// The numbers of the host values in the globals.
    pub(super) kept: [Option<u32>; GLOBALS],
    pub(super) owned: Vec<(OwnedRooted<ExternRef>, u32)>,
    script: Arc<Script>,
    /// The numbers of values that host functions had as local variables.
    locals: Vec<u32>,
}

impl Data {
    pub(super) fn new(script: Arc<Script>, ledger: Ledger) -> Data {
        let (globals, owned, locals) = Default::default();
        Data { step: None, ledger, globals, kept: [None; GLOBALS], owned, script, locals }
    }

    pub(super) fn local(&self) -> Vec<u32> {
        self.locals.clone()
    }
}

/// Makes the globals that keep values.
pub(super) fn make_globals(store: &mut Store<Data>) -> Result<()> {
    for _ in 0..GLOBALS {
        let ty = GlobalType::new(ValType::EXTERNREF, Mutability::Var);
        let global = Global::new(&mut *store, ty, Val::null_extern_ref())?;
        store.data_mut().globals.push(global);
    }
    Ok(())
}

/// The number of the host value to which a reference refers.
fn number(store: impl AsContext, value: External) -> Result<u32> {
    let value = value.context("null instead of a host value")?;
    host_number(store, value)?.context("an object instead of a host value")
}

/// Checks that a global has the value that was put into it.
pub(super) fn check_global(mut store: impl AsContextMut<Data = Data>, global: usize) -> Result<()> {
    let mut scope = RootScope::new(&mut store);
    let data = scope.as_context().data();
    let (expected, global) = (data.kept[global], data.globals[global]);
    let Val::ExternRef(value) = global.get(&mut scope) else { bail!("another type") };
    let actual = value.map(|value| number(&scope, Some(value))).transpose()?;
    ensure!(actual == expected, "a global has {actual:?} instead of {expected:?}");
    Ok(())
}

/// Is pending this many times.
async fn wait(times: u8) {
    let mut left = times;
    std::future::poll_fn(|_| {
        left = left.saturating_sub(1);
        if left == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Polls a future some times, and drops it unless it is ready.
async fn poll_some<F: Future>(future: F, polls: Option<u32>) -> Ended<F::Output> {
    let mut future = Box::pin(future);
    let mut left = polls.unwrap_or(MOST_POLLS);
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(Ended::Dropped);
        }
        left -= 1;
        future.as_mut().poll(context).map(Ended::Ready)
    })
    .await
}

/// Calls the code with a new value, and checks what it returns.
pub(super) async fn step(
    mut store: impl AsContextMut<Data = Data>,
    depth: u8,
    spin: u8,
) -> Result<()> {
    let mut scope = RootScope::new(&mut store);
    let mut store = scope.as_context_mut();
    let script = store.data().script.clone();
    let (step, token) =
        (store.data().step.clone().context("the code")?, store.data().ledger.issue());
    let expected = token.number();
    let value = ExternRef::new(&mut store, token)?;
    let (depth, spin) = (i32::from(depth % 5), i32::from(spin));
    let (e, q) = step.call_async(&mut store, (Some(value), None, depth, spin)).await?;
    script.note(returned(&mut store, e, q, (expected, depth)))
}

fn returned(
    store: &mut StoreContextMut<'_, Data>,
    e: External,
    q: Struct,
    (expected, depth): (u32, i32),
) -> Result<()> {
    let actual = number(&*store, e)?;
    ensure!(actual == expected, "value {actual} is returned instead of {expected}");
    let n = q.context("no struct")?.field(&mut *store, 0)?.i32();
    ensure!(n == Some(depth), "struct {n:?} is returned instead of {depth}");
    Ok(())
}

/// Counts the host functions that run.
struct Nested(Arc<Script>);

impl Nested {
    fn new(script: &Arc<Script>) -> Nested {
        script.nested.fetch_add(1, Ordering::Relaxed);
        Nested(script.clone())
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        self.0.nested.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Defines what the module imports.
pub(super) fn add_to_linker(linker: &mut Linker<Data>) -> Result<()> {
    linker.func_wrap_async(
        "",
        "host",
        |mut caller: Caller<'_, Data>, (e, q): (External, Struct)| {
            Box::new(async move {
                let script = caller.data().script.clone();
                let nested = Nested::new(&script);
                // Must be dropped with the future.
                let local = caller.data().ledger.issue();
                caller.data_mut().locals.push(local.number());
                let result = host(&mut caller, e, q).await;
                drop((local, nested));
                script.note(result)
            })
        },
    )?;
    linker.func_wrap("", "same", |caller: Caller<'_, Data>, a: External, b: External| {
        let same = || {
            let (a, b) = (number(&caller, a)?, number(&caller, b)?);
            ensure!(a == b, "the code has value {b} instead of {a}");
            Ok(())
        };
        caller.data().script.note(same())
    })?;
    Ok(())
}

/// Follows the script until it says that the host function ends.
async fn host(caller: &mut Caller<'_, Data>, e: External, q: Struct) -> Result<(External, i32)> {
    let script = caller.data().script.clone();
    let expected = number(&*caller, e)?;
    while let Some(op) = script.next() {
        match op {
            Op::Begin { .. } => {}
            Op::End => break,
            Op::Wait { times } => wait(times % 8).await,
            Op::Gc => caller.gc(None)?,
            Op::GcAsync => caller.gc_async(None).await?,
            Op::Garbage { count } => {
                let mut scope = RootScope::new(&mut *caller);
                for _ in 0..count % 32 {
                    let token = scope.as_context().data().ledger.issue();
                    ExternRef::new(&mut scope, token)?;
                }
            }
            Op::New { count } => {
                for _ in 0..count % 4 {
                    let token = caller.data().ledger.issue();
                    let expected = token.number();
                    let new = ExternRef::new_async(&mut *caller, token).await?;
                    wait(2).await;
                    let actual = number(&*caller, Some(new))?;
                    ensure!(actual == expected, "value {actual} instead of {expected}");
                }
            }
            Op::Recurse { polls: times, depth, spin } => {
                if script.nested.load(Ordering::Relaxed) < NESTED {
                    let future: Pin<Box<dyn Future<Output = Result<()>> + Send + '_>> =
                        Box::pin(step(&mut *caller, depth, spin));
                    match poll_some(future, polls(times)).await {
                        Ended::Ready(Err(error)) => {
                            let intended = error.chain().any(|cause| cause.is::<Intended>());
                            let trap = script.take_trap();
                            if !intended && !trap {
                                return Err(error);
                            }
                        }
                        Ended::Ready(Ok(())) | Ended::Dropped => {}
                    }
                }
            }
            Op::Keep { global } => {
                let number = usize::from(global) % GLOBALS;
                let global = caller.data().globals[number];
                global.set(&mut *caller, Val::ExternRef(e))?;
                caller.data_mut().kept[number] = Some(expected);
            }
            Op::Kept { global } => check_global(&mut *caller, usize::from(global) % GLOBALS)?,
            Op::Own => {
                if caller.data().owned.len() < OWNED {
                    let owned = e.context("not null")?.to_owned_rooted(&mut *caller)?;
                    caller.data_mut().owned.push((owned, expected));
                }
            }
            Op::DropOwned { owned } => {
                let count = caller.data().owned.len();
                if let Some(i) = usize::from(owned).checked_rem(count) {
                    let (owned, expected) = caller.data_mut().owned.swap_remove(i);
                    let value = owned.to_rooted(&mut *caller);
                    let actual = number(&*caller, Some(value))?;
                    ensure!(actual == expected, "{actual} is owned instead of {expected}");
                }
            }
            Op::Fail => return Err(Intended.into()),
            Op::Trap => {
                *lock(&script.trap) = true;
                return Ok((e, 1));
            }
            Op::Tick => caller.engine().increment_epoch(),
            Op::Refused => {
                let step = caller.data().step.clone().context("the code")?;
                let error = step.call(&mut *caller, (None, None, 0, 0)).err();
                let error = error.context("a call that is not asynchronous begins")?;
                ensure!(error.to_string().contains("`*_async` functions"), "{error:?}");
            }
        }
        let actual = number(&*caller, e)?;
        ensure!(actual == expected, "the argument is {actual} instead of {expected} after {op:?}");
        let mut scope = RootScope::new(&mut *caller);
        let field = q.context("no struct")?.field(&mut scope, 1)?;
        let Val::ExternRef(field) = field else { bail!("another field") };
        let actual = number(&scope, field)?;
        ensure!(actual == expected, "a field is {actual} instead of {expected} after {op:?}");
    }
    Ok((e, 0))
}
