//! [`Abi`]: everything that compiled code depends on, in one value.
//!
//! Emitted code and its heap are two programs that must agree exactly: on the collector and its
//! options, the heap's bounds, the offsets and the host calls. An [`Abi`] contains all of this.
//! Code is emitted for an `Abi`, and an image contains the `Abi`'s text. Before the image runs,
//! this text is compared, entry by entry, with the `Abi` of the runtime. If they differ, the image
//! is refused, and an [`AbiDifference`] names the entry that differs.

mod collector;
mod difference;
mod side_table;

pub use collector::CollectorAbi;
pub use difference::AbiDifference;
pub use side_table::{SideForm, SideTable};

use crate::{
    HEAP_GUARD_SIZE, HeapBounds, HeapDataOffsets, HostCall, HostSignature, Machine, NULL_PAGE_SIZE,
    VMGcHeader, VMGcKind, VMOffsets,
};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// Everything that compiled code depends on.
///
/// ```
/// use gc_types::{Abi, CollectorAbi, HeapBounds};
///
/// let abi = Abi::new(CollectorAbi::new("generational").with("nursery", 1 << 20));
/// assert!(abi.guarded());
/// assert_eq!(abi.option("nursery"), 1 << 20);
///
/// let checked = abi.clone().with_bounds(HeapBounds::Checked);
/// let difference = abi.check(&checked.to_string()).unwrap_err();
/// assert_eq!(difference.to_string(), "heap.bounds is `guarded` here, but `checked` there");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Abi {
    collector: CollectorAbi,
    bounds: HeapBounds,
    zeal: bool,
    polls: bool,
    fuel: bool,
    epochs: bool,
    offsets: VMOffsets,
    machine: Machine,
    host_calls: BTreeMap<HostCall, HostSignature>,
    embedder: BTreeMap<Cow<'static, str>, String>,
}

impl Abi {
    /// Creates the ABI of code for this collector on the current machine: a guarded heap, no zeal,
    /// no polls, no fuel, no epochs, only the heap's host calls, and no entries of an embedder.
    pub fn new(collector: CollectorAbi) -> Abi {
        Abi {
            collector,
            bounds: HeapBounds::Guarded,
            zeal: false,
            polls: false,
            fuel: false,
            epochs: false,
            offsets: VMOffsets::HOST,
            machine: Machine::host(),
            host_calls: HostCall::GC.iter().copied().collect(),
            embedder: BTreeMap::new(),
        }
    }

    /// Replaces the collector.
    pub fn with_collector(self, collector: CollectorAbi) -> Abi {
        Abi { collector, ..self }
    }

    /// Replaces the heap's bounds.
    pub fn with_bounds(self, bounds: HeapBounds) -> Abi {
        Abi { bounds, ..self }
    }

    /// Enables or disables zeal. With zeal, inline allocation decrements
    /// [`HeapDataOffsets::ZEAL_COUNTDOWN`] and takes its slow path when the count is one.
    pub fn with_zeal(self, zeal: bool) -> Abi {
        Abi { zeal, ..self }
    }

    /// Sets whether loops are polled, so that the host can interrupt the code in them. Without polls
    /// code is only interrupted where it calls a function.
    pub fn with_polls(self, polls: bool) -> Abi {
        Abi { polls, ..self }
    }

    /// Sets whether code consumes fuel: it counts what it does in
    /// [`VMOffsets::store_fuel`], and calls the host when the fuel is used up.
    pub fn with_fuel(self, fuel: bool) -> Abi {
        Abi { fuel, ..self }
    }

    /// Sets whether code checks epochs: where a function or a turn of a loop begins, it compares the
    /// counter of epochs with [`VMOffsets::store_epoch_deadline`], and calls the host if the
    /// deadline is reached.
    pub fn with_epochs(self, epochs: bool) -> Abi {
        Abi { epochs, ..self }
    }

    /// Replaces the machine. Its pointers must have 64 bits.
    pub fn with_machine(self, machine: Machine) -> Abi {
        Abi { machine, ..self }
    }

    /// Adds host calls of the embedder. If a call collects whose signature says that it does not, references
    /// of the code that makes it are lost, because they are in no stack map there.
    ///
    /// # Panics
    /// If one has the number of a heap's host call.
    pub fn with_host_calls(
        mut self,
        calls: impl IntoIterator<Item = (HostCall, HostSignature)>,
    ) -> Abi {
        for (call, signature) in calls {
            let number = call.index();
            assert!(
                number >= HostCall::FIRST_EMBEDDER,
                "the embedder's host call `{}` has the number {number}, which belongs to the heap",
                signature.name
            );
            self.host_calls.insert(call, signature);
        }
        self
    }

    /// Adds an entry for something else that the embedder's code depends on, such as the layout of
    /// its vmctx.
    pub fn with_embedder(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl fmt::Display,
    ) -> Abi {
        self.embedder.insert(name.into(), value.to_string());
        self
    }

    /// The collector and its options.
    pub fn collector(&self) -> &CollectorAbi {
        &self.collector
    }

    /// The value of the collector's option `name`.
    ///
    /// # Panics
    /// If there is no such option. Then this [`Abi`] belongs to another collector.
    pub fn option(&self, name: &str) -> u64 {
        self.collector.option(name).unwrap_or_else(|| {
            panic!("collector `{}` has no option `{name}`", self.collector.name())
        })
    }

    /// How emitted code stays inside the heap.
    pub fn bounds(&self) -> HeapBounds {
        self.bounds
    }

    /// Whether no bounds checks are emitted ([`HeapBounds::Guarded`]).
    pub fn guarded(&self) -> bool {
        self.bounds == HeapBounds::Guarded
    }

    /// Whether inline allocation checks [`HeapDataOffsets::ZEAL_COUNTDOWN`].
    pub fn zeal(&self) -> bool {
        self.zeal
    }

    /// Whether loops are polled.
    pub fn polls(&self) -> bool {
        self.polls
    }

    /// Whether code consumes fuel.
    pub fn fuel(&self) -> bool {
        self.fuel
    }

    /// Whether code checks epochs.
    pub fn epochs(&self) -> bool {
        self.epochs
    }

    /// Offsets into native structures.
    pub fn offsets(&self) -> VMOffsets {
        self.offsets
    }

    /// The machine that the code is compiled for.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The signature of a host call of the heap or the embedder. `None` if there is no such call.
    pub fn host_call(&self, call: HostCall) -> Option<&HostSignature> {
        self.host_calls.get(&call)
    }

    /// Whether a host call may collect. The [signature](Abi::host_call) says so. If code is metered, copying
    /// and filling of arrays may collect too, because the host does them in parts and may run a callback
    /// between these. A call that the ABI does not have is taken to collect.
    ///
    /// # Examples
    /// ```
    /// use gc_types::{Abi, CollectorAbi, HostCall};
    ///
    /// let abi = Abi::new(CollectorAbi::new("copying"));
    /// assert!(abi.may_collect(HostCall::ALLOC_ARRAY) && !abi.may_collect(HostCall::ARRAY_COPY));
    /// assert!(abi.with_fuel(true).may_collect(HostCall::ARRAY_COPY));
    /// ```
    pub fn may_collect(&self, call: HostCall) -> bool {
        (self.is_metered() && HostCall::IN_PARTS.contains(&call))
            || self.host_call(call).is_none_or(|signature| signature.may_collect)
    }

    /// Whether code consumes [fuel](Abi::fuel) or checks [epochs](Abi::epochs).
    pub fn is_metered(&self) -> bool {
        self.fuel || self.epochs
    }

    /// All host calls, by number.
    pub fn host_calls(&self) -> impl Iterator<Item = (HostCall, &HostSignature)> {
        self.host_calls.iter().map(|(call, signature)| (*call, signature))
    }

    /// All entries as names and values in text, sorted by name. Two ABIs are equal exactly if their
    /// entries are equal.
    pub fn entries(&self) -> BTreeMap<String, String> {
        let mut entries = BTreeMap::new();
        let mut add = |name: String, value: &dyn fmt::Display| {
            // One entry is one line, even if the embedder's name has line breaks.
            let line = |text: String| text.replace(['\n', '\r'], " ");
            entries.insert(line(name).replace(": ", ":"), line(value.to_string()));
        };
        add("version".into(), &env!("CARGO_PKG_VERSION"));
        for (name, value) in self.collector.entries() {
            add(name, &value);
        }
        add("heap.bounds".into(), &self.bounds);
        add("heap.guard".into(), &HEAP_GUARD_SIZE);
        add("heap.null_page".into(), &NULL_PAGE_SIZE);
        add("heap.zeal".into(), &self.zeal);
        add("heap.data".into(), &heap_data());
        add("loops.polled".into(), &self.polls);
        add("fuel.consumed".into(), &self.fuel);
        add("epochs.checked".into(), &self.epochs);
        add("object.header".into(), &header());
        add("object.kinds".into(), &kinds());
        add("machine".into(), &format_args!("{}-{}", self.machine.arch(), self.machine.system()));
        let features: Vec<&str> = self.machine.features().collect();
        add(difference::FEATURES.into(), &features.join(" "));
        for (name, offset) in self.offsets.entries() {
            add(format!("vm.{name}"), &offset);
        }
        for (call, signature) in &self.host_calls {
            add(format!("host_call.{:03}", call.index()), signature);
        }
        for (name, value) in &self.embedder {
            add(format!("embedder.{name}"), &value);
        }
        entries
    }

    /// A hash of all entries, to compare two ABIs quickly. It finds mistakes, but does not protect
    /// against forgery.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.to_string())
    }

    /// Checks that code whose [`Abi`] has the text `code` (its [`Display`](fmt::Display)) can run
    /// with this ABI. All entries must be equal, except that the machine may have more extensions
    /// than the code uses.
    ///
    /// # Errors
    /// The difference: the version, the machine or the collector if one of them differs, and
    /// otherwise the first entry by name.
    pub fn check(&self, code: &str) -> Result<(), AbiDifference> {
        difference::check(&self.entries(), code)
    }

    /// Checks that code with the ABI `code` can run in a store with this ABI. Unlike
    /// [`check`](Abi::check), the code may know fewer host calls than the store has.
    ///
    /// # Errors
    /// What differs. Here is the store, there is the code.
    pub fn accepts(&self, code: &Abi) -> Result<(), AbiDifference> {
        if self == code {
            return Ok(());
        }
        let known = |call: &HostCall| code.host_calls.contains_key(call);
        let mut here = self.clone();
        here.host_calls.retain(|call, _| known(call));
        here.check(&code.to_string())
    }

    /// Checks that a heap of this collector, with these bounds and with or without zeal, is one for
    /// which code with this ABI is compiled.
    ///
    /// # Errors
    /// What differs. Here is the heap, there is the code.
    pub fn check_heap(
        &self,
        collector: &CollectorAbi,
        bounds: HeapBounds,
        zeal: bool,
    ) -> Result<(), AbiDifference> {
        collector.check(&self.collector)?;
        if (bounds, zeal) == (self.bounds, self.zeal) {
            return Ok(());
        }
        Abi { bounds, zeal, ..self.clone() }.check(&self.to_string())
    }
}

/// One line `name: value` for each entry, sorted by name.
impl fmt::Display for Abi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries().iter().try_for_each(|(name, value)| writeln!(f, "{name}: {value}"))
    }
}

fn heap_data() -> String {
    use HeapDataOffsets as At;
    let (bound, zeal) = (At::BOUND, At::ZEAL_COUNTDOWN);
    format!("bound={bound} zeal={zeal} collector={} size={}", At::COLLECTOR, At::SIZE)
}

fn header() -> String {
    let (word, collector) = (VMGcHeader::WORD_OFFSET, VMGcHeader::COLLECTOR_OFFSET);
    format!("word={word} collector={collector} size={}", VMGcHeader::SIZE)
}

fn kinds() -> String {
    let kinds = VMGcKind::ALL.map(|kind| format!("{kind:?}={}", kind.bits()));
    format!("{} << {}", kinds.join(" "), VMGcKind::SHIFT)
}

/// The hash of an [`Abi`].
///
/// # Examples
/// ```
/// use gc_types::{Abi, CollectorAbi};
///
/// let abi = Abi::new(CollectorAbi::new("copying"));
/// assert_eq!(abi.fingerprint(), abi.clone().fingerprint());
/// assert_ne!(abi.fingerprint(), abi.with_zeal(true).fingerprint());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(u128);

impl Fingerprint {
    /// The fingerprint of the ABI with this text: FNV-1a of 128 bits.
    pub fn of(text: &str) -> Fingerprint {
        const PRIME: u128 = (1 << 88) + (1 << 8) + 0x3b;
        const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
        let hash = text.bytes().fold(BASIS, |hash, b| (hash ^ u128::from(b)).wrapping_mul(PRIME));
        Fingerprint(hash)
    }
}

impl Fingerprint {
    /// Its bytes.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HostCallType;

    fn abi() -> Abi {
        Abi::new(CollectorAbi::new("a").with("x", 1))
            .with_machine(Machine::new("x86_64", "linux").with_features(["avx"]))
    }

    fn cards(shift: u32) -> SideTable {
        SideTable::indexed("cards", HeapDataOffsets::COLLECTOR + 8, shift)
    }

    /// ABIs that differ from the default in one entry, with the name of the entry.
    fn others() -> Vec<(&'static str, Abi)> {
        let call = |result| {
            let params = &[HostCallType::I32];
            let signature =
                HostSignature { name: "f", params, result, fallible: false, may_collect: false };
            abi().with_host_calls([(HostCall::embedder(0), signature)])
        };
        vec![
            ("collector", abi().with_collector(CollectorAbi::new("b").with("x", 1))),
            ("collector.x", abi().with_collector(CollectorAbi::new("a").with("x", 2))),
            ("collector.x", abi().with_collector(CollectorAbi::new("a"))),
            ("collector.y", abi().with_collector(abi().collector.with("y", 1))),
            ("collector.table.cards", abi().with_collector(abi().collector.with_table(cards(9)))),
            ("collector.table.cards", abi().with_collector(abi().collector.with_table(cards(8)))),
            ("heap.bounds", abi().with_bounds(HeapBounds::Checked)),
            ("heap.zeal", abi().with_zeal(true)),
            ("loops.polled", abi().with_polls(true)),
            ("fuel.consumed", abi().with_fuel(true)),
            ("epochs.checked", abi().with_epochs(true)),
            ("machine", abi().with_machine(Machine::new("aarch64", "linux"))),
            (
                "machine.features",
                abi().with_machine(Machine::new("x86_64", "linux").with_features(["avx", "sse9"])),
            ),
            ("host_call.016", call(None)),
            ("host_call.016", call(Some(HostCallType::I32))),
            ("embedder.vmctx", abi().with_embedder("vmctx", 2)),
        ]
    }

    #[test]
    fn whatever_differs_is_named() {
        abi().check(&abi().to_string()).unwrap();
        for (name, other) in others() {
            let difference = abi().check(&other.to_string()).unwrap_err();
            assert_eq!(difference.name, name, "{difference}");
            assert_ne!(abi().fingerprint(), other.fingerprint());
        }
    }

    #[test]
    fn each_difference_has_a_fingerprint_of_its_own() {
        let all = others();
        for (i, (name, one)) in all.iter().enumerate() {
            let earlier = &all[..i];
            assert!(
                earlier.iter().all(|(_, other)| other.fingerprint() != one.fingerprint()),
                "{name}"
            );
        }
        assert_eq!(abi().fingerprint(), abi().fingerprint());
    }

    #[test]
    fn a_machine_may_have_more_than_the_code_uses() {
        let plain = abi().with_machine(Machine::new("x86_64", "linux"));
        abi().check(&plain.to_string()).unwrap();
        let difference = plain.check(&abi().to_string()).unwrap_err();
        assert_eq!(
            difference.to_string(),
            "machine.features has no `avx` here, which the code uses"
        );
    }

    #[test]
    #[should_panic(expected = "which belongs to the heap")]
    fn an_embedder_has_numbers_of_its_own() {
        let signature = HostSignature {
            name: "mine",
            params: &[],
            result: None,
            fallible: false,
            may_collect: false,
        };
        let _ = abi().with_host_calls([(HostCall::ARRAY_COPY, signature)]);
    }
}
