//! A collector: a pair of two halves with the same name.

#[cfg(feature = "compiler")]
use anyhow::{Result, bail};
#[cfg(feature = "compiler")]
use gc_compiler::{GcCompiler, collector as code};
use gc_runtime::{GcRuntime, Reclaims, collector as heap};
use gc_types::CollectorAbi;
use std::fmt;
use std::sync::Arc;

/// A collector for an engine: the half that makes heaps and the half that emits code. The halves
/// can come from any crate. [`Collector::all`] returns the collectors of this project.
#[derive(Clone)]
pub struct Collector {
    runtime: Arc<dyn GcRuntime>,
    #[cfg(feature = "compiler")]
    compiler: Arc<dyn GcCompiler>,
}

/// A collector of this project: a half that makes heaps and one that emits code.
macro_rules! ours {
    ($runtime:expr, $compiler:expr) => {
        Collector {
            runtime: Arc::new($runtime),
            #[cfg(feature = "compiler")]
            compiler: Arc::new($compiler),
        }
    };
}

impl Collector {
    /// Pairs two halves.
    ///
    /// # Errors
    /// If their [`CollectorAbi`]s differ: the code of one half would damage the objects of the
    /// other.
    #[cfg(feature = "compiler")]
    pub fn new(runtime: Arc<dyn GcRuntime>, compiler: Arc<dyn GcCompiler>) -> Result<Collector> {
        if runtime.name() != compiler.name() {
            bail!(
                "the heaps of collector `{}` do not work with the code of collector `{}`",
                runtime.name(),
                compiler.name()
            );
        }
        if let Err(difference) = runtime.abi().check(&compiler.abi()) {
            bail!(
                "the halves of collector `{}` do not fit: {difference} (here: its heaps, there: \
                 its code)",
                runtime.name()
            );
        }
        Ok(Collector { runtime, compiler })
    }

    /// `null`: never collects. It has the least overhead and is for programs that end soon.
    pub fn null() -> Collector {
        ours!(heap::null::NullCollector, code::null::NullCompiler)
    }

    /// `drc`: deferred reference counting. It does not move objects. It reclaims acyclic garbage in
    /// each collection, and cycles when the heap has grown. Its heaps use at most 3 GiB, so that
    /// counts cannot overflow.
    pub fn drc() -> Collector {
        ours!(heap::drc::DrcCollector, code::drc::DrcCompiler)
    }

    /// `copying`: a semispace collector. It allocates inline and has no barriers, and dead objects
    /// cost nothing. It needs space to copy to, and its pauses grow with the live objects.
    pub fn copying() -> Collector {
        ours!(heap::copying::CopyingCollector, code::copying::CopyingCompiler)
    }

    /// `generational`: a nursery in front of a mark-region heap. It moves objects. It is the
    /// fastest for most programs and has short pauses.
    pub fn generational() -> Collector {
        ours!(heap::generational::GenerationalCollector, code::generational::GenerationalCompiler)
    }

    /// The collectors of this project.
    pub fn all() -> Vec<Collector> {
        vec![Collector::null(), Collector::drc(), Collector::copying(), Collector::generational()]
    }

    /// The collector of this project with this name, if there is one.
    pub fn by_name(name: &str) -> Option<Collector> {
        Collector::all().into_iter().find(|collector| collector.name() == name)
    }

    /// The collector's name, as in `--collector NAME`.
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

    /// The facts on which its emitted code and its heaps agree.
    pub fn abi(&self) -> CollectorAbi {
        self.runtime.abi()
    }

    /// The half that makes heaps.
    pub fn runtime(&self) -> &dyn GcRuntime {
        &*self.runtime
    }

    /// The half that emits code.
    #[cfg(feature = "compiler")]
    pub fn compiler(&self) -> &dyn GcCompiler {
        &*self.compiler
    }
}

/// `generational`, the default of a [`Config`](crate::Config).
impl Default for Collector {
    fn default() -> Collector {
        Collector::generational()
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Collector({})", self.name())
    }
}
