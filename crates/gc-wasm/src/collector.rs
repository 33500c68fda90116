//! A collector: the pairing of its two halves, under one name.

use anyhow::{Result, bail};
use gc_compiler::GcCompiler;
use gc_runtime::{GcRuntime, Reclaims};
use gc_types::CollectorAbi;
use std::fmt;
use std::sync::Arc;

/// A collector an engine can be made with: the half that makes heaps and the half
/// that emits code. Anybody's halves will do; those of this project are
/// [`Collector::all`].
#[derive(Clone)]
pub struct Collector {
    runtime: Arc<dyn GcRuntime>,
    compiler: Arc<dyn GcCompiler>,
}

impl Collector {
    /// Pairs two halves.
    ///
    /// # Errors
    /// If they do not agree on everything ([`CollectorAbi`]): code that one emits would
    /// damage the objects of the other.
    pub fn new(runtime: Arc<dyn GcRuntime>, compiler: Arc<dyn GcCompiler>) -> Result<Collector> {
        if runtime.name() != compiler.name() {
            bail!(
                "the heaps of collector `{}` do not understand the code of collector `{}`",
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

    /// `null`: never collects. The least overhead, for programs that end soon.
    pub fn null() -> Collector {
        Collector {
            runtime: Arc::new(gc_runtime::collector::null::NullCollector),
            compiler: Arc::new(gc_compiler::collector::null::NullCompiler),
        }
    }

    /// `drc`: deferred reference counting. Does not move objects, reclaims acyclic
    /// garbage at each collection, and cycles when the heap has grown. Its heaps use at
    /// most 3 GiB, so that counts cannot overflow.
    pub fn drc() -> Collector {
        Collector {
            runtime: Arc::new(gc_runtime::collector::drc::DrcCollector),
            compiler: Arc::new(gc_compiler::collector::drc::DrcCompiler),
        }
    }

    /// `copying`: a semispace collector. Allocates inline, has no barriers, and what
    /// died costs it nothing; needs room to copy to, and its pauses grow with what
    /// lives.
    pub fn copying() -> Collector {
        Collector {
            runtime: Arc::new(gc_runtime::collector::copying::CopyingCollector),
            compiler: Arc::new(gc_compiler::collector::copying::CopyingCompiler),
        }
    }

    /// `generational`: a nursery in front of a mark-region heap. Moves objects; the
    /// fastest for most programs, with short pauses.
    pub fn generational() -> Collector {
        Collector {
            runtime: Arc::new(gc_runtime::collector::generational::GenerationalCollector),
            compiler: Arc::new(gc_compiler::collector::generational::GenerationalCompiler),
        }
    }

    /// The collectors of this project.
    pub fn all() -> Vec<Collector> {
        vec![Collector::null(), Collector::drc(), Collector::copying(), Collector::generational()]
    }

    /// The collector of this project with this name, if there is one.
    pub fn by_name(name: &str) -> Option<Collector> {
        Collector::all().into_iter().find(|collector| collector.name() == name)
    }

    /// Its name, as in `--collector NAME`.
    pub fn name(&self) -> &'static str {
        self.runtime.name()
    }

    /// What it is good for, in a sentence: see [`GcRuntime::summary`].
    pub fn summary(&self) -> &'static str {
        self.runtime.summary()
    }

    /// Whether objects may be elsewhere after a collection.
    pub fn moves_objects(&self) -> bool {
        self.runtime.moves_objects()
    }

    /// What its collections free.
    pub fn reclaims(&self) -> Reclaims {
        self.runtime.reclaims()
    }

    /// The most bytes a heap of it can use; a larger maximum is cut down to it.
    pub fn max_heap_size(&self) -> u64 {
        self.runtime.max_heap_size()
    }

    /// What its emitted code and its heaps agree on.
    pub fn abi(&self) -> CollectorAbi {
        self.runtime.abi()
    }

    /// The half that makes heaps.
    pub fn runtime(&self) -> &dyn GcRuntime {
        &*self.runtime
    }

    /// The half that emits code.
    pub fn compiler(&self) -> &dyn GcCompiler {
        &*self.compiler
    }
}

/// `generational`: what a [`Config`](crate::Config) begins with.
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
