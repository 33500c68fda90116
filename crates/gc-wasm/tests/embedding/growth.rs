//! An embedder's growth policy: stores that share a limit.

use anyhow::Result;
use gc_wasm::{
    AdaptivePolicy, Collector, Config, Decision, Engine, GrowthPolicy, HeapPlan, HeapUsage,
    Instance, Module, Store, Trap,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The default policy with a limit that all stores share.
#[derive(Clone, Debug)]
struct Shared {
    policy: AdaptivePolicy,
    left: Arc<AtomicU64>,
    taken: u64,
}

impl GrowthPolicy for Shared {
    fn decide(&mut self, usage: &HeapUsage, need: u64) -> Decision {
        self.policy.decide(usage, need)
    }

    fn plan(&mut self, usage: &HeapUsage) -> HeapPlan {
        self.policy.plan(usage)
    }

    fn admit(&mut self, mapped: u64, more: u64) -> bool {
        let more = (mapped + more).saturating_sub(self.taken);
        let take = |left: u64| left.checked_sub(more);
        let admitted = self.left.fetch_update(Relaxed, Relaxed, take).is_ok();
        self.taken += if admitted { more } else { 0 };
        admitted
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.left.fetch_add(self.taken, Relaxed);
    }
}

const HOARDER: &str = r#"(module
    (type $node (struct (field $next (ref null $node)) (field i64)))
    (global $list (mut (ref null $node)) (ref.null $node))
    (func (export "hoard") (param $n i32)
        (loop $again
            (global.set $list (struct.new $node (global.get $list) (i64.const 1)))
            (local.set $n (i32.sub (local.get $n) (i32.const 1)))
            (br_if $again (local.get $n)))))"#;

#[test]
fn stores_share_what_a_policy_admits() -> Result<()> {
    const ALL: u64 = 32 << 20;
    for collector in Collector::all() {
        let left = Arc::new(AtomicU64::new(ALL));
        let shared =
            Shared { policy: AdaptivePolicy::balanced(), left: Arc::clone(&left), taken: 0 };
        let mut config = Config::new();
        config.collector(collector.clone()).growth_policy(shared).gc_pause_target(Duration::ZERO);
        let engine = Engine::new(&config)?;
        let module = Module::new(&engine, HOARDER)?;
        let name = collector.name();
        let hoarder = |n: i32| {
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module, &[])?;
            let hoard = instance.get_typed_func::<i32, ()>(&mut store, "hoard")?;
            let result = hoard.call(&mut store, n);
            anyhow::Ok((store, result))
        };
        // Two megabytes fit.
        let (small, result) = hoarder(100_000)?;
        assert!(result.is_ok(), "{name}: {result:?}");
        assert!(left.load(Relaxed) < ALL, "{name}");
        // 2^31 objects do not.
        let (large, result) = hoarder(0)?;
        let trap = result.unwrap_err().downcast::<Trap>()?;
        assert_eq!(trap, Trap::OutOfMemory, "{name}");
        let (small_bytes, large_bytes) = (small.gc_stats().heap_bytes, large.gc_stats().heap_bytes);
        assert!(large_bytes > ALL / 4 && small_bytes + large_bytes <= ALL + (4 << 20), "{name}");
        drop(large);
        // Their memory is available to the next store.
        let before = left.load(Relaxed);
        let (again, result) = hoarder(100_000)?;
        assert!(result.is_ok(), "{name}: {result:?}");
        drop((small, again));
        assert!(before > ALL / 4, "{name}: {before}");
        assert_eq!(left.load(Relaxed), ALL, "{name}");
    }
    Ok(())
}
