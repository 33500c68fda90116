//! A server that runs plug-ins that it does not trust. It serves many requests at once on two
//! threads. Some plug-ins never end, take too much memory or too much stack. The command line names
//! the collector. The program ends with an error if an answer is wrong.
//!
//! ```text
//! cargo run --release -p plugins -- generational
//! ```

mod executor;
mod host;

use executor::{Clock, Task, run};
use gc_wasm::error::Context;
use gc_wasm::{Collector, Error, InstancePre, Result, Trap, WasmBacktrace, bail, ensure};
use host::{AT_ONCE, Answer, Customer, Order, Request, Shop, Types};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const PLUGINS: [(&str, &str); 6] = [
    ("discount", include_str!("../plugins/discount.wat")),
    ("broken", include_str!("../plugins/broken.wat")),
    ("rude", include_str!("../plugins/rude.wat")),
    ("endless", include_str!("../plugins/endless.wat")),
    ("hungry", include_str!("../plugins/hungry.wat")),
    ("deep", include_str!("../plugins/deep.wat")),
];

const REQUESTS: u32 = 300;

/// How often a new epoch begins.
const TICK: Duration = Duration::from_millis(5);

const ORDER: &Order = &[(1_250, 2), (99, 10), (49_900, 3), (5, 7)];

/// The plug-in of a request, its customer, and how long the customer waits for the answer.
fn request(number: u32) -> (&'static str, Customer, Duration) {
    let plugin = match number % 100 {
        10 => "broken",
        20 => "rude",
        30 => "endless",
        40 => "hungry",
        50 => "deep",
        _ => "discount",
    };
    // The database never answers for customer 0, who closes the connection soon.
    let patience = Duration::from_millis(if number == 0 { 100 } else { 60_000 });
    (plugin, Customer { number }, patience)
}

// ANCHOR: errors
/// What a failure tells the author of the plug-in: what happened, and in which functions.
fn explain(error: &Error) -> Result<String> {
    let what = match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => format!("the host refused: {}", error.root_cause()),
    };
    let backtrace = error.downcast_ref::<WasmBacktrace>().context("there is no backtrace")?;
    let names = backtrace.frames().iter().take(2).map(|frame| frame.func_name().unwrap_or("?"));
    Ok(format!("{what}, in {}", names.collect::<Vec<_>>().join(", called by ")))
}
// ANCHOR_END: errors

/// What became of a request.
type Outcome = Option<Result<Answer>>;

/// Checks it and describes it.
fn check(plugin: &str, number: u32, outcome: Outcome) -> Result<String> {
    let Some(result) = outcome else {
        ensure!(number == 0, "request {number} to `{plugin}` took too long");
        return Ok("no answer".to_string());
    };
    let expected = match plugin {
        "discount" => {
            let answer = result.with_context(|| format!("request {number}"))?;
            let sum = ORDER.iter().map(|(cents, count)| cents * i64::from(*count)).sum::<i64>();
            let discount = sum * i64::from(number % 4) * 5 / 100;
            let (total, notes) = (sum - discount, vec!["a large order".to_string()]);
            let expected = Answer { total, discount, notes, fuel: answer.fuel };
            ensure!(answer == expected, "request {number}: {answer:?} is not {expected:?}");
            return Ok(format!("an answer for {} units of fuel", answer.fuel));
        }
        "broken" => "wasm trap: out of bounds array access, in last, called by price",
        "rude" => "the host refused: there is no discount for null, in price",
        "endless" => "wasm trap: interrupt, in price",
        "hungry" => "wasm trap: GC heap out of memory, in price",
        "deep" => "wasm trap: call stack exhausted, in sum, called by sum",
        _ => bail!("there is no plug-in `{plugin}`"),
    };
    let error = result.err().with_context(|| format!("`{plugin}` answered request {number}"))?;
    let explained = explain(&error).with_context(|| format!("`{plugin}`: {error:?}"))?;
    ensure!(explained == expected, "`{plugin}`: {explained}; not {expected}: {error:?}");
    Ok(explained)
}

fn main() -> Result<()> {
    let usage = "usage: plugins COLLECTOR";
    let mut args = std::env::args().skip(1);
    let collector: Collector = args.next().context(usage)?.parse()?;
    ensure!(args.next().is_none(), "{usage}");

    // ANCHOR: start
    let engine = host::new_engine(collector)?;
    let shop = Arc::new(Shop { clock: Clock::start(&engine, TICK) });
    let linker = host::new_linker(&engine)?;
    let mut plugins = BTreeMap::new();
    for (name, wasm) in PLUGINS {
        plugins.insert(name, host::load(&linker, wasm).with_context(|| format!("plug-in {name}"))?);
    }
    // ANCHOR_END: start
    let outcomes = serve(&plugins, &Types::new(&engine)?, &shop);

    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for (number, outcome) in outcomes {
        let (plugin, ..) = request(number);
        *counts.entry(format!("{plugin}: {}", check(plugin, number, outcome)?)).or_default() += 1;
    }
    for (what, count) in &counts {
        println!("{count:4} {what}");
    }
    ensure!(counts.values().sum::<u32>() == REQUESTS, "not all requests were served");
    // One cost for all answers, and one line for each other way to end.
    ensure!(counts.len() == 7, "there are {} kinds of outcomes, not 7", counts.len());

    // ANCHOR: metrics
    let metrics = engine.pooling_allocator_metrics().context("the engine has a pool")?;
    let in_use = (metrics.core_instances(), metrics.gc_heaps(), metrics.stacks());
    ensure!(in_use == (0, 0, 0), "these are still in use: {metrics:?}");
    // ANCHOR_END: metrics
    Ok(())
}

// ANCHOR: serve
/// Serves all requests on two threads, [`AT_ONCE`] of them at the same time.
fn serve(
    plugins: &BTreeMap<&str, InstancePre<Request>>,
    types: &Types,
    shop: &Arc<Shop>,
) -> BTreeMap<u32, Outcome> {
    let (next, outcomes) = (AtomicU32::new(0), Mutex::new(BTreeMap::new()));
    let serve_some = async || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= REQUESTS {
                break;
            }
            let (plugin, customer, patience) = request(number);
            let price = host::price(&plugins[plugin], types, shop, ORDER, customer);
            let outcome = shop.clock.timeout(patience, price).await;
            outcomes.lock().expect("no thread has panicked").insert(number, outcome);
        }
    };
    run(2, (0..AT_ONCE).map(|_| Box::pin(serve_some()) as Task<'_>).collect());
    outcomes.into_inner().expect("no thread has panicked")
}
// ANCHOR_END: serve
