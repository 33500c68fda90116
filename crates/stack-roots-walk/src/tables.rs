//! [`Tables`]: the stack maps of all code, by return address.

use crate::error::{BadRecord, TableError, WalkError};
use crate::record::Record;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

/// The hash of a return address: Fibonacci hashing (Knuth, volume 3, section 6.4).
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_usize(usize::from(*byte)));
    }

    fn write_usize(&mut self, address: usize) {
        let product = (self.0 ^ address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // The map uses the lowest bits for the bucket.
        self.0 = product ^ product >> 32;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A function with stack maps.
#[derive(Debug)]
struct Function {
    /// Bytes.
    size: u32,
    /// Return addresses, relative to the function.
    returns: Box<[u32]>,
}

/// The stack maps of all compiled code of a program, by return address.
///
/// A runtime makes it once, when it starts. Code that is compiled at run time is added and removed. A walk only
/// reads, so threads may share it, for example in a `RwLock`.
///
/// # Examples
/// ```
/// use stack_roots_walk::Tables;
///
/// // This program has no compiled code.
/// let tables = Tables::of_program()?;
/// assert_eq!(tables.len(), 0);
/// # Ok::<(), stack_roots_walk::TableError>(())
/// ```
#[derive(Debug, Default)]
pub struct Tables {
    /// The place of each return address's map in `words`.
    rows: HashMap<usize, u32, BuildHasherDefault<AddressHasher>>,
    /// All different maps: the number of roots, that of derived pointers, and their slots.
    words: Vec<u32>,
    /// The places of maps in `words`. They stay when code is removed.
    places: BTreeMap<Box<[u32]>, u32>,
    /// Whether a map has derived pointers.
    has_derived: bool,
    /// The functions, by their addresses.
    functions: BTreeMap<usize, Function>,
}

impl Tables {
    /// Tables without a function.
    pub const fn new() -> Tables {
        Tables {
            rows: HashMap::with_hasher(BuildHasherDefault::new()),
            words: Vec::new(),
            places: BTreeMap::new(),
            has_derived: false,
            functions: BTreeMap::new(),
        }
    }

    /// The tables of the objects that are linked into this program, or into this shared library if the crate is
    /// linked into one.
    ///
    /// # Errors
    /// If a record is not one that this version of the crate wrote.
    pub fn of_program() -> Result<Tables, TableError> {
        let mut tables = Tables::new();
        // SAFETY: the linker defines the symbols around the section, which nobody writes to.
        unsafe {
            let (start, stop) = crate::arch::section();
            if !start.is_null() {
                tables.add_section(start, stop)?;
            }
        }
        Ok(tables)
    }

    /// Adds the tables of a shared library that was loaded while the program runs.
    /// `Maps::write_library` of `stack-roots` writes the symbol that is passed here:
    ///
    /// ```no_run
    /// # let mut tables = stack_roots_walk::Tables::new();
    /// # unsafe {
    /// let library = libc::dlopen(c"plugin.so".as_ptr(), libc::RTLD_NOW);
    /// let bounds = libc::dlsym(library, c"plugin_stack_maps".as_ptr());
    /// tables.add_library(bounds.cast())?;
    /// # }
    /// # Ok::<(), stack_roots_walk::TableError>(())
    /// ```
    ///
    /// # Errors
    /// If a record is not one that this version of the crate wrote, or other code is at the same place.
    ///
    /// # Safety
    /// `bounds` is such a symbol of a library that stays loaded until its functions are
    /// [removed](Tables::remove), or for ever.
    pub unsafe fn add_library(&mut self, bounds: *const u8) -> Result<(), TableError> {
        // SAFETY: the caller promises it. The symbol has two distances of 64 bits, each relative to its own place.
        unsafe {
            let at = |n: usize| {
                let place = bounds.add(8 * n);
                place.wrapping_offset(place.cast::<i64>().read_unaligned() as isize)
            };
            self.add_section(at(0), at(1))
        }
    }

    /// Adds all records from `start` to `stop`: what is between `__start_stack_roots` and
    /// `__stop_stack_roots` of a program or library.
    ///
    /// # Errors
    /// If a record is not one that this version of the crate wrote, or other code is at the same place. Then none of the
    /// records that come after it is there, and the tables should not be used.
    ///
    /// # Safety
    /// The memory can be read, and the code that it describes exists as long as the tables are used.
    pub unsafe fn add_section(
        &mut self,
        start: *const u8,
        stop: *const u8,
    ) -> Result<(), TableError> {
        let size = stop.addr().saturating_sub(start.addr());
        // SAFETY: the caller promises it.
        let section = unsafe { std::slice::from_raw_parts(start, size) };
        let mut at = 0;
        while at < section.len() {
            let (record, size) = Record::read(&section[at..]).map_err(in_record(at))?;
            for function in record.functions() {
                let place = start.addr() + at + function.place;
                let address = place.wrapping_add_signed(function.distance as isize);
                let rows = function.rows.iter().map(|&[return_address, map]| {
                    // `insert` refuses words that are no map.
                    (return_address, record.map(map).unwrap_or_default())
                });
                self.insert(address, function.size, rows).map_err(in_record(at))?;
            }
            at += size;
        }
        Ok(())
    }

    /// Adds a function whose code is at `address`, with this number of bytes. `rows` are return addresses relative to
    /// the code, in ascending order, each with the [words of its map](crate::format). `Maps::register` of `stack-roots`
    /// calls it.
    ///
    /// # Errors
    /// If code of another function is there, or the rows or maps are not valid.
    pub fn insert<'m>(
        &mut self,
        address: usize,
        size: u32,
        rows: impl ExactSizeIterator<Item = (u32, &'m [u32])> + Clone,
    ) -> Result<(), TableError> {
        let mut last = 0;
        for (return_address, map) in rows.clone() {
            if return_address <= last || return_address > size {
                return Err(BadRecord::Rows.into());
            }
            last = return_address;
            if crate::record::map_at(map, 0).is_none_or(|whole| whole.len() != map.len()) {
                return Err(BadRecord::Map.into());
            }
        }
        let mut inside = self.functions.range(address..address + size as usize);
        if let Some((start, known)) = inside.next().or_else(|| self.around(address)) {
            // A linker may take two functions with the same code for one. Their maps must be the same then.
            let same = *start == address
                && known.size == size
                && known.returns.len() == rows.len()
                && known.returns.iter().zip(rows).all(|(known, (return_address, map))| {
                    *known == return_address
                        && self.rows.get(&(address + return_address as usize)).copied()
                            == self.places.get(map).copied()
                });
            return if same { Ok(()) } else { Err(TableError::Overlap { address }) };
        }
        let mut returns = Vec::with_capacity(rows.len());
        for (return_address, map) in rows {
            let place = self.place(map);
            self.rows.insert(address + return_address as usize, place);
            returns.push(return_address);
        }
        self.functions.insert(address, Function { size, returns: returns.into() });
        Ok(())
    }

    /// Removes the function whose code is at `address`, before its code is freed. Returns whether there is one.
    pub fn remove(&mut self, address: *const u8) -> bool {
        let Some(function) = self.functions.remove(&address.addr()) else { return false };
        for return_address in &function.returns {
            self.rows.remove(&(address.addr() + *return_address as usize));
        }
        true
    }

    /// The number of functions.
    pub fn len(&self) -> usize {
        self.functions.len()
    }

    /// Whether there is no function.
    pub fn is_empty(&self) -> bool {
        self.functions.is_empty()
    }

    /// The place of a map.
    fn place(&mut self, map: &[u32]) -> u32 {
        if let Some(place) = self.places.get(map) {
            return *place;
        }
        let place = u32::try_from(self.words.len()).expect("less than 16 GiB of maps");
        self.words.extend_from_slice(map);
        self.has_derived |= map[1] > 0;
        self.places.insert(map.into(), place);
        place
    }

    /// The function whose code ends at or after `address` and begins before it, as the one of a return address does.
    fn function(&self, address: usize) -> Option<(usize, &Function)> {
        let (start, function) = self.functions.range(..address).next_back()?;
        (address - start <= function.size as usize).then_some((*start, function))
    }

    /// The function whose code contains `address`.
    fn around(&self, address: usize) -> Option<(&usize, &Function)> {
        let (start, function) = self.functions.range(..=address).next_back()?;
        (address - start < function.size as usize).then_some((start, function))
    }

    /// Whether a return address is one of a function.
    pub(crate) fn has_code_at(&self, return_address: usize) -> bool {
        self.function(return_address).is_some()
    }

    /// The place of the map of a return address.
    pub(crate) fn row(&self, return_address: usize, frame: usize) -> Result<u32, WalkError> {
        self.rows.get(&return_address).copied().ok_or_else(|| WalkError::NoStackMap {
            return_address,
            function: self.function(return_address).map(|(start, _)| start),
            frame,
        })
    }

    /// The words of the map at this place: those of the slots of roots, and those of derived pointers, each after the one
    /// of its base.
    pub(crate) fn map(&self, place: u32) -> (&[u32], &[[u32; 2]]) {
        let map = &self.words[place as usize..];
        let (roots, rest) = map[2..].split_at(map[0] as usize);
        (roots, &rest.as_chunks().0[..map[1] as usize])
    }

    /// Whether a map has derived pointers.
    pub(crate) fn has_derived(&self) -> bool {
        self.has_derived
    }
}

/// Adds to an error the place of its record in the section.
fn in_record(offset: usize) -> impl Fn(TableError) -> TableError {
    move |error| match error {
        TableError::Record { what, .. } => TableError::Record { offset, what },
        other => other,
    }
}
