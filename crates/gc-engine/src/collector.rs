//! A collector: a pair of two halves with the same name, and its options.

use crate::size;
use anyhow::{Context as _, Result, ensure};
#[cfg(feature = "compiler")]
use gc_compiler::GcCompiler;
use gc_runtime::{CollectorOption, GcRuntime, HeapOptions, Reclaims};
#[cfg(feature = "compiler")]
use gc_runtime::{Handle, OwnedHandle};
use gc_types::{Abi, CollectorAbi};
use std::fmt;
use std::sync::Arc;

/// A collector for an engine: the half that makes heaps and the half that emits code, with the
/// collector's options. The halves can come from any crate. [`Collector::all`] returns the
/// collectors of this project.
///
/// ```
/// use gc_engine::Collector;
///
/// let collector = Collector::by_name("generational")?.with_option("nursery", "64MiB")?;
/// assert_eq!(collector.to_string(), "generational:nursery=67108864:survivors=8388608");
/// // The same as one text, as on a command line.
/// let same: Collector = "generational:nursery=64MiB".parse()?;
/// assert_eq!(same.to_string(), collector.to_string());
///
/// let error = Collector::by_name("mark-sweep").unwrap_err();
/// assert!(error.to_string().contains("null, drc, copying, generational"));
/// # anyhow::Ok(())
/// ```
#[derive(Clone)]
pub struct Collector {
    runtime: Arc<dyn GcRuntime>,
    #[cfg(feature = "compiler")]
    compiler: Arc<dyn GcCompiler>,
}

impl Collector {
    /// Pairs two halves.
    ///
    /// # Errors
    /// If their [`CollectorAbi`]s differ: the code of one half would damage the objects of the
    /// other. If the heaps allow fewer references [outside](GcRuntime::max_native_refs) than a store
    /// may have handles.
    #[cfg(feature = "compiler")]
    pub fn new(runtime: Arc<dyn GcRuntime>, compiler: Arc<dyn GcCompiler>) -> Result<Collector> {
        ensure!(
            runtime.name() == compiler.name(),
            "the heaps of collector `{}` do not work with the code of collector `{}`",
            runtime.name(),
            compiler.name()
        );
        let agreed = runtime.abi().check(&compiler.abi());
        agreed.map_err(|difference| {
            anyhow::anyhow!(
                "the halves of collector `{}` do not fit: {difference} (here: its heaps, there: \
                 its code)",
                runtime.name()
            )
        })?;
        let (most, handles) = (runtime.max_native_refs(), (Handle::MAX + OwnedHandle::MAX) as u64);
        ensure!(
            handles <= most,
            "the collector `{}` allows {most} references outside the heap, but the handles of a \
             store may be {handles}",
            runtime.name()
        );
        Ok(Collector { runtime, compiler })
    }

    /// `null`: never collects. It has the least overhead and is for programs that end soon.
    #[cfg(feature = "null")]
    pub fn null() -> Collector {
        Collector::ours(gc_types::collector::null::NAME)
    }

    /// `drc`: deferred reference counting. It does not move objects. It reclaims acyclic garbage in
    /// each collection, and cycles when the heap has grown. Its heaps use at most 3 GiB, so that
    /// counts cannot overflow.
    #[cfg(feature = "drc")]
    pub fn drc() -> Collector {
        Collector::ours(gc_types::collector::drc::NAME)
    }

    /// `copying`: a semispace collector. It allocates inline and has no barriers, and dead objects
    /// cost nothing. It needs space to copy to, and its pauses grow with the live objects.
    #[cfg(feature = "copying")]
    pub fn copying() -> Collector {
        Collector::ours(gc_types::collector::copying::NAME)
    }

    /// `generational`: a nursery in front of a mark-region heap. It moves objects. It is the
    /// fastest for most programs and has short pauses.
    #[cfg(feature = "generational")]
    pub fn generational() -> Collector {
        Collector::ours(gc_types::collector::generational::NAME)
    }

    #[cfg(any(feature = "copying", feature = "drc", feature = "generational", feature = "null"))]
    fn ours(name: &str) -> Collector {
        Collector::by_name(name).expect("it is in both lists")
    }

    /// The collectors of this project that this build has.
    pub fn all() -> Vec<Collector> {
        let paired = |runtime: Arc<dyn GcRuntime>| {
            #[cfg(feature = "compiler")]
            let compiler = {
                let mut halves = gc_compiler::collector::all().into_iter();
                halves.find(|half| half.name() == runtime.name())
            }
            .expect("each heap has code");
            Collector {
                runtime,
                #[cfg(feature = "compiler")]
                compiler,
            }
        };
        gc_runtime::collector::all().into_iter().map(paired).collect()
    }

    /// The collector of this project with this name.
    ///
    /// # Errors
    /// If there is none. The error lists the available collectors.
    pub fn by_name(name: &str) -> Result<Collector> {
        let all = Collector::all();
        let names: Vec<_> = all.iter().map(Collector::name).collect();
        let unknown = format!("no collector `{name}`; available: {}", names.join(", "));
        all.into_iter().find(|collector| collector.name() == name).context(unknown)
    }

    /// Sets options that are written as on a command line: `OPTION=VALUE`, separated by colons.
    ///
    /// # Errors
    /// As for [`with_option`](Collector::with_option), or if an option has no value.
    pub fn with_options(&self, options: &str) -> Result<Collector> {
        let mut collector = self.clone();
        for option in options.split(':') {
            let (name, value) = option
                .split_once('=')
                .with_context(|| format!("`{option}` is not of the form OPTION=VALUE"))?;
            collector = collector.with_option(name.trim(), value.trim())?;
        }
        Ok(collector)
    }

    /// Sets an option to a number, or to a size with a unit, such as `64MiB`.
    ///
    /// # Errors
    /// If there is no such option, or if the value is invalid. The error lists the available
    /// options.
    pub fn with_option(&self, name: &str, value: &str) -> Result<Collector> {
        let options = self.options();
        let known = options.iter().any(|option| option.name == name);
        ensure!(known, "{}", no_option(self.name(), name, &options));
        let wrong = || {
            format!("`{value}` is not a valid value for the option `{name}` of `{}`", self.name())
        };
        let value = size::parse(value).map_err(anyhow::Error::msg).with_context(wrong)?;
        let runtime = self.runtime.with_option(name, value).with_context(wrong)?;
        let mut collector = self.clone();
        collector.runtime = runtime;
        Ok(collector)
    }

    /// Its options with their values.
    pub fn options(&self) -> Vec<CollectorOption> {
        self.runtime.options()
    }

    /// The collector's name.
    pub fn name(&self) -> &'static str {
        self.runtime.name()
    }

    /// A one-sentence description; see [`GcRuntime::summary`].
    pub fn summary(&self) -> &'static str {
        self.runtime.summary()
    }

    /// Whether a collection may move objects.
    pub fn moves_objects(&self) -> bool {
        self.runtime.moves_objects()
    }

    /// The garbage that its collections reclaim.
    pub fn reclaims(&self) -> Reclaims {
        self.runtime.reclaims()
    }

    /// The maximal size in bytes of its heaps. A larger maximum in the settings is reduced to this
    /// size.
    pub fn max_heap_size(&self) -> u64 {
        self.runtime.max_heap_size()
    }

    /// The most references that a store may have outside its heap and its stacks
    /// ([`GcRuntime::max_native_refs`]).
    pub fn max_native_refs(&self) -> u64 {
        self.runtime.max_native_refs()
    }

    /// The same collector for short tests ([`GcRuntime::for_tests`]), or itself.
    #[must_use]
    pub fn for_tests(&self) -> Collector {
        let mut collector = self.clone();
        if let Some(small) = self.runtime.for_tests() {
            collector.runtime = small;
        }
        collector
    }

    /// The facts on which its emitted code and its heaps agree.
    pub fn abi(&self) -> CollectorAbi {
        self.runtime.abi()
    }

    /// The ABI of code for its heaps with these options.
    pub(crate) fn abi_for(&self, heap: &HeapOptions) -> Abi {
        heap.abi(&*self.runtime)
    }

    /// The half that makes heaps.
    pub fn runtime(&self) -> &dyn GcRuntime {
        &*self.runtime
    }

    /// The half that makes heaps, to be shared.
    pub(crate) fn shared_runtime(&self) -> Arc<dyn GcRuntime> {
        self.runtime.clone()
    }

    /// The half that emits code.
    #[cfg(feature = "compiler")]
    pub fn compiler(&self) -> &dyn GcCompiler {
        &*self.compiler
    }
}

/// The error for an unknown option, with the available ones.
fn no_option(collector: &str, name: &str, options: &[CollectorOption]) -> String {
    let names: Vec<_> = options.iter().map(|option| format!("`{}`", option.name)).collect();
    match names.as_slice() {
        [] => format!("the collector `{collector}` has no option `{name}`: it has no options"),
        names => {
            format!(
                "the collector `{collector}` has no option `{name}`; available: {}",
                names.join(", ")
            )
        }
    }
}

/// `generational`, which is best for most programs.
#[cfg(feature = "generational")]
impl Default for Collector {
    fn default() -> Collector {
        Collector::generational()
    }
}

/// `NAME` or `NAME:OPTION=VALUE:...`, of a collector of this project.
impl std::str::FromStr for Collector {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Collector> {
        match text.split_once(':') {
            None => Collector::by_name(text),
            Some((name, options)) => Collector::by_name(name)?.with_options(options),
        }
    }
}

/// The text that [`FromStr`](std::str::FromStr) parses, with every option.
impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        self.options().iter().try_for_each(|one| write!(f, ":{}={}", one.name, one.value))
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Collector({self})")
    }
}
