//! [`CodeMemory`]: an image in executable memory. The mapping is first writable, then executable, and never both. An image in a file is executed where the file is mapped.
#![allow(unsafe_code)]

use crate::registry;
use crate::saved::FileMapping;
use anyhow::{Context as _, Result, ensure};
use gc_types::{Abi, CodeImage, FunctionId, Machine, TypeIndex};
use std::sync::{Arc, LazyLock};

/// Published code. It is unregistered and unmapped when its last `Arc` is dropped. Any value that
/// may still run the code, or has a frame of it on the stack, must hold an `Arc`.
///
/// # Examples
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/store.rs.in"));
/// # use cranelift_codegen::ir::InstBuilder;
/// use gc_jit::{CodeMemory, lookup_code};
/// # use gc_types::CallSignature;
///
/// # fn main() -> anyhow::Result<()> {
/// # let abi = abi();
/// # let image = compile(&abi, &CallSignature::new([], []), |b, _| {
/// #     b.ins().return_(&[]);
/// # })?;
/// // The image has one function, `f`.
/// let code = CodeMemory::publish(image, &abi, &[])?;
/// let address = code.function_address(0).unwrap();
///
/// // Each address of published code is known.
/// let found = lookup_code(address.addr()).unwrap();
/// assert_eq!(found.lookup(address.addr()).next().unwrap().name, "f");
/// drop((code, found));
/// assert!(lookup_code(address.addr()).is_none());
/// # Ok(())
/// # }
/// ```
pub struct CodeMemory {
    image: CodeImage,
    /// The ABI of the stores that run it.
    abi: Arc<Abi>,
    _mapping: Mapping,
    /// The address of the first byte of code.
    base: *const u8,
    /// Bytes of code.
    size: usize,
}

/// The owner of the code's memory.
enum Mapping {
    Copied(#[expect(dead_code, reason = "kept")] region::Allocation),
    File(#[expect(dead_code, reason = "kept")] Arc<FileMapping>),
    /// It belongs to the program.
    InPlace,
}

// SAFETY: this value keeps the mapping, which is not bound to a thread and is only read and
// executed.
unsafe impl Send for CodeMemory {}
// SAFETY: as above.
unsafe impl Sync for CodeMemory {}

impl std::fmt::Debug for CodeMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CodeMemory").field("base", &self.base()).finish_non_exhaustive()
    }
}

/// A function of published code, and a source location in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameInfo {
    /// The function.
    pub function: FunctionId,
    /// That function's name.
    pub name: String,
    /// Distance in bytes from the start of the function that contains the code. This is another
    /// function if the call of this one was inlined.
    pub code_offset: u32,
    /// The source location of the instruction, or of the inlined call, if it has one.
    pub srcloc: Option<u32>,
}

impl CodeMemory {
    /// Maps `image` into executable memory and registers its addresses. Stores with the ABI `abi`
    /// can run it. `types` has the index of each of the image's types, by its number there.
    ///
    /// # Errors
    /// If the code was compiled for another ABI (the error names the difference) or contains type
    /// indices of another engine, if the system refuses the memory, or if the code uses a type that
    /// is not in `types`.
    pub fn publish(
        image: CodeImage,
        abi: &Arc<Abi>,
        types: &[TypeIndex],
    ) -> Result<Arc<CodeMemory>> {
        abi.check(image.abi()).context(
            "the code was compiled for another kind of store (here: the store, there: the code)",
        )?;
        ensure!(image.is_for(abi), "the code contains type indices of another engine");
        CodeMemory::publish_checked(image, abi.clone(), types)
    }

    /// [`publish`](CodeMemory::publish) for an image whose ABI was compared.
    pub(crate) fn publish_checked(
        image: CodeImage,
        abi: Arc<Abi>,
        types: &[TypeIndex],
    ) -> Result<Arc<CodeMemory>> {
        runs_here(&abi)?;
        let size = image.code().len();
        ensure!(
            size.is_multiple_of(CodeImage::PAGE_SIZE as usize),
            "the code does not end at a page boundary"
        );
        // The pages are zero, and the code may end with as much.
        let used = image.code().iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let words = type_words(&image, types)?;
        let total = size + words.len();
        let mut mapping = region::alloc(total, region::Protection::READ_WRITE)
            .with_context(|| format!("cannot map {total} bytes for code"))?;
        let base = mapping.as_mut_ptr::<u8>();
        // SAFETY: only we use the mapping, which is writable and has at least `total` bytes. The
        // code ends with a page.
        unsafe {
            std::ptr::copy_nonoverlapping(image.code().as_ptr(), base, used);
            std::ptr::copy_nonoverlapping(words.as_ptr(), base.add(size), words.len());
            make_executable(base, size, words.len())?;
        }
        Ok(CodeMemory::register(image, abi, Mapping::Copied(mapping), base))
    }

    /// Like [`publish_checked`](CodeMemory::publish_checked), but for an image in a mapped file,
    /// whose code is executed in place. The table of words after the code is written, in a private
    /// copy of its pages.
    pub(crate) fn publish_file(
        image: CodeImage,
        abi: Arc<Abi>,
        file: Arc<FileMapping>,
        types: &[TypeIndex],
    ) -> Result<Arc<CodeMemory>> {
        runs_here(&abi)?;
        let words = type_words(&image, types)?;
        let size = image.code().len();
        let offset = image.code().as_ptr().addr() - file.base().addr();
        let base = file.base().wrapping_add(offset);
        // SAFETY: the code and the table after it are whole pages of the mapping, which was checked
        // when the file was read. There are no references to them.
        unsafe {
            if !words.is_empty() {
                let table = base.add(size);
                region::protect(table, words.len(), region::Protection::READ_WRITE)
                    .context("cannot write the words of types")?;
                std::ptr::copy_nonoverlapping(words.as_ptr(), table, words.len());
            }
            make_executable(base, size, words.len())?;
        }
        Ok(CodeMemory::register(image, abi, Mapping::File(file), base))
    }

    /// Registers the addresses of an image whose code is executable where it is: a system linker has put it into an
    /// executable or a library. The words of types are written to `words`. The loader has made the code visible to
    /// instruction fetch.
    ///
    /// # Errors
    /// If the code uses a type that is not in `types`.
    ///
    /// # Safety
    /// The image's code was compiled for stores with the ABI `abi`, and reads its words of types from `words`, which
    /// has eight writable bytes for each. Both stay as long as the returned value, and nothing else writes to `words`.
    pub unsafe fn publish_in_place(
        image: CodeImage,
        abi: &Arc<Abi>,
        types: &[TypeIndex],
        words: *mut u64,
    ) -> Result<Arc<CodeMemory>> {
        for (n, word) in words_of(&image, types).enumerate() {
            // SAFETY: the caller promises that there is room.
            unsafe { words.add(n).write_unaligned(word?) };
        }
        let base = image.code().as_ptr();
        Ok(CodeMemory::register(image, abi.clone(), Mapping::InPlace, base))
    }

    fn register(
        image: CodeImage,
        abi: Arc<Abi>,
        mapping: Mapping,
        base: *const u8,
    ) -> Arc<CodeMemory> {
        let size = image.code().len();
        let memory = Arc::new(CodeMemory { image, abi, _mapping: mapping, base, size });
        registry::register(&memory);
        memory
    }

    /// The image that was published.
    pub fn image(&self) -> &CodeImage {
        &self.image
    }

    /// The ABI of the stores that run it.
    pub fn abi(&self) -> &Arc<Abi> {
        &self.abi
    }

    /// The address of the code's first byte.
    pub fn base(&self) -> *const u8 {
        self.base
    }

    /// The address of the embedder's function with number `index`.
    pub fn function_address(&self, index: u32) -> Option<*const u8> {
        let offset = self.image.function_offset(index)?;
        Some(self.base().wrapping_add(offset as usize))
    }

    /// The distance in bytes of `pc` from the code's start, if `pc` is inside the code.
    pub fn offset_of(&self, pc: usize) -> Option<u32> {
        let offset = pc.checked_sub(self.base().addr())?;
        (offset < self.size).then_some(offset as u32)
    }

    /// The function that contains the code at `pc`, the address of an instruction, and the source
    /// location in it.
    pub(crate) fn containing(&self, pc: usize) -> Option<FrameInfo> {
        let offset = self.offset_of(pc)?;
        let function = self.image.function_at(offset)?;
        let own = self.image.sources_at(offset).find(|source| source.function.is_none());
        Some(FrameInfo {
            function: function.id,
            name: function.name.to_owned(),
            code_offset: offset - function.offset,
            srcloc: own.and_then(|own| own.location),
        })
    }

    /// The functions at `pc`, the address of an instruction: those that were inlined there, the
    /// innermost first, and at the end the function that contains the code. Functions that made a
    /// tail call are left out. For a return address, pass the address minus one.
    pub fn lookup(&self, pc: usize) -> impl Iterator<Item = FrameInfo> + '_ {
        let image = &self.image;
        let offset = self.offset_of(pc);
        let found = offset.and_then(|offset| Some((offset, image.function_at(offset)?)));
        found.into_iter().flat_map(move |(offset, function)| {
            let code_offset = offset - function.offset;
            image.sources_at(offset).map(move |source| {
                let (id, name) = match source.function {
                    Some(index) => {
                        (FunctionId::Function(index), image.function_name(index).unwrap_or(""))
                    }
                    None => (function.id, function.name),
                };
                let srcloc = source.location;
                FrameInfo { function: id, name: name.to_owned(), code_offset, srcloc }
            })
        })
    }
}

impl Drop for CodeMemory {
    fn drop(&mut self) {
        registry::unregister(self);
    }
}

/// Checks that this machine has what code needs.
fn runs_here(abi: &Abi) -> Result<()> {
    static HOST: LazyLock<Machine> = LazyLock::new(Machine::host);
    let machine = abi.machine();
    ensure!(HOST.runs(machine), "the code is for {machine}, and this machine is {}", *HOST);
    Ok(())
}

/// Makes `size` bytes of code executable and visible to instruction fetch, and the `words` bytes after them readable.
///
/// # Safety
/// They are mapped whole pages, and there are no references to them.
unsafe fn make_executable(base: *const u8, size: usize, words: usize) -> Result<()> {
    // SAFETY: as the caller promises.
    unsafe {
        region::protect(base, size, region::Protection::READ_EXECUTE)
            .context("cannot make code executable")?;
        if words > 0 {
            region::protect(base.add(size), words, region::Protection::READ)
                .context("cannot protect the words of types")?;
        }
    }
    crate::arch::flush_instruction_cache(base, size);
    Ok(())
}

/// Makes `size` bytes of a program's data readable and no longer writable.
///
/// # Errors
/// If the system refuses.
///
/// # Safety
/// They are whole pages. Nothing writes to them from now on.
pub unsafe fn protect_read_only(start: *const u8, size: usize) -> Result<()> {
    // SAFETY: as the caller promises.
    unsafe { region::protect(start, size, region::Protection::READ) }.context("cannot protect data")
}

/// The words of types that the code reads.
fn words_of(image: &CodeImage, types: &[TypeIndex]) -> impl Iterator<Item = Result<u64>> {
    image.type_words().map(|word| {
        let index = types.get(word.ty().as_u32() as usize).with_context(|| {
            format!("the code uses type {}, of {}", word.ty().as_u32(), types.len())
        })?;
        Ok(word.value(*index).into())
    })
}

/// The table of words after the code.
fn type_words(image: &CodeImage, types: &[TypeIndex]) -> Result<Vec<u8>> {
    let mut table = Vec::with_capacity(8 * image.type_words().len());
    for word in words_of(image, types) {
        table.extend_from_slice(&word?.to_le_bytes());
    }
    Ok(table)
}
