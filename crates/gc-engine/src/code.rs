//! [`Code`]: a compiled module, with all that a store must know of it.

use crate::Signature;
use anyhow::Result;
use gc_jit::CodeMemory;
use gc_types::{CodeImage, GcLayout, TypeIndex};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Compiled functions with the layouts of the types that they use. Cheap to clone; any number
/// of stores run it.
///
/// It is made by `Module::compile` and says itself what it was compiled for: a
/// [`Store`](crate::Store) of another kind of heap refuses it.
#[derive(Clone)]
pub struct Code(Arc<Inner>);

struct Inner {
    image: CodeImage,
    layouts: Vec<(TypeIndex, Arc<GcLayout>)>,
    functions: BTreeMap<String, (u32, Signature)>,
    /// The code, executable, since the first store was made.
    memory: Mutex<Option<Arc<CodeMemory>>>,
}

impl Code {
    #[cfg(feature = "compiler")]
    pub(crate) fn new(
        image: CodeImage,
        layouts: Vec<(TypeIndex, Arc<GcLayout>)>,
        functions: BTreeMap<String, (u32, Signature)>,
    ) -> Code {
        Code(Arc::new(Inner { image, layouts, functions, memory: Mutex::default() }))
    }

    /// The image: machine code with its tables.
    pub fn image(&self) -> &CodeImage {
        &self.0.image
    }

    /// The layouts of its types, as its functions were compiled for them.
    pub fn layouts(&self) -> impl Iterator<Item = (TypeIndex, &Arc<GcLayout>)> {
        self.0.layouts.iter().map(|(ty, layout)| (*ty, layout))
    }

    /// The functions that the host can call, with their signatures, by name.
    pub fn functions(&self) -> impl Iterator<Item = (&str, &Signature)> {
        self.0.functions.iter().map(|(name, (_, signature))| (name.as_str(), signature))
    }

    /// The number and the signature of a function that the host can call.
    pub(crate) fn function(&self, name: &str) -> Option<(u32, &Signature)> {
        self.0.functions.get(name).map(|(index, signature)| (*index, signature))
    }

    /// Whether both are the same code.
    pub(crate) fn same(&self, other: &Code) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The code, executable.
    pub(crate) fn publish(&self) -> Result<Arc<CodeMemory>> {
        let mut memory = self.0.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.is_none() {
            // A store has one code: its type indices are constants in it.
            *memory = Some(CodeMemory::publish(self.0.image.clone(), &[])?);
        }
        Ok(memory.as_ref().expect("published above").clone())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.functions.keys()).finish()
    }
}
