//! [`HeapCore`] is the state that the heaps of all collectors have, with access to objects. All
//! values read from the heap here (headers, type indices, lengths, references) are untrusted.
//! Inconsistent values are errors.

use crate::{
    AdaptivePolicy, ExternRefHostDataId, GcStats, GrowthPolicy, HeapError, HeapMemory, HeapOptions,
    HeapPlan, HeapUsage, LayoutTable, Occupancy, PauseLog,
};
use gc_types::collector::bump::{LIMIT, NEXT};
use gc_types::{ArrayLayout, GcLayout, StorageType, VMGcHeader, VMGcKind, VMGcRef};
use std::time::{Duration, Instant};

pub(crate) const NO_TYPE: &str = "a header names no type of its kind";
pub(crate) const NO_KIND: &str = "a header names no kind";

/// The state that the heaps of all collectors have.
#[derive(Debug)]
pub struct HeapCore {
    /// The heap's bytes and its data words.
    pub memory: HeapMemory,
    /// The layouts of the types whose objects may be in the heap.
    pub layouts: LayoutTable,
    /// Nesting depth of no-GC scopes.
    pub no_gc_scopes: u32,
    /// Counters.
    pub stats: GcStats,
    /// The pauses of the mutator.
    pub pauses: PauseLog,
    /// The policy for the heap's use of memory. A store sets it from its options.
    pub policy: Box<dyn GrowthPolicy>,
    /// The last plan of the policy. Collectors follow it.
    pub plan: HeapPlan,
    /// Bytes of objects that the last collection of the whole heap found alive.
    pub live: u64,
    /// Whether the host or the guest requested the current or the last collection.
    pub asked: bool,
    /// Bytes of mapped memory that are not used. The policy does not count them.
    pub set_aside: u64,
    /// Bytes that the policy has admitted and that are not mapped yet.
    admitted: u64,
    /// Bytes that were mapped at the start. The policy is not asked about them.
    initial: u64,
    /// The time when the plan was made, and the total time for which the mutator had been stopped
    /// until then.
    planned: (Instant, Duration),
    /// The time that an increment of a collection, or a slice of incremental marking, may take. A
    /// store sets it from its options.
    pub slice: Duration,
    /// The first damage that a method without a `Result` found. The next allocation or collection
    /// reports it.
    pub damage: Option<HeapError>,
}

impl HeapCore {
    /// Makes the core of an empty heap in `memory`.
    pub fn new(memory: HeapMemory) -> HeapCore {
        HeapCore::with_policy(memory, Box::new(AdaptivePolicy::balanced()))
    }

    /// Like [`new`](HeapCore::new), with this policy.
    pub(crate) fn with_policy(memory: HeapMemory, policy: Box<dyn GrowthPolicy>) -> HeapCore {
        let pauses = PauseLog::default();
        let planned = (pauses.made(), Duration::ZERO);
        let mut core = HeapCore {
            initial: memory.usable(),
            memory,
            layouts: LayoutTable::default(),
            no_gc_scopes: 0,
            stats: GcStats::default(),
            pauses,
            policy,
            plan: HeapPlan::default(),
            live: 0,
            asked: false,
            set_aside: 0,
            admitted: 0,
            planned,
            slice: HeapOptions::DEFAULT_SLICE,
            damage: None,
        };
        core.count_heap_bytes();
        core
    }

    /// Forgets every object and all counters. Keeps the mappings, the layouts and the policy.
    pub fn reset(&mut self) {
        self.memory.reset();
        self.stats = GcStats::default();
        self.pauses = PauseLog::default();
        self.plan = HeapPlan::default();
        self.live = 0;
        self.admitted = 0;
        self.planned = (Instant::now(), Duration::ZERO);
        self.damage = None;
        self.no_gc_scopes = 0;
        self.count_heap_bytes();
    }

    /// Maps more memory ([`HeapMemory::grow`]), if the policy admits it, and counts it.
    ///
    /// # Errors
    /// As [`HeapMemory::grow`]; [`HeapError::Refused`] by the policy.
    pub fn grow(&mut self, bytes: u64) -> Result<u64, HeapError> {
        self.grow_behind(0, bytes, 0)
    }

    /// Like [`grow`](HeapCore::grow), but first maps `gap` bytes that will not be used, and that
    /// the policy does not count. Afterwards `ahead` more bytes are admitted, for which later
    /// growth need not ask.
    ///
    /// # Errors
    /// As [`grow`](HeapCore::grow).
    pub fn grow_behind(&mut self, gap: u64, bytes: u64, ahead: u64) -> Result<u64, HeapError> {
        let more = self.memory.growth(gap.saturating_add(bytes)).saturating_sub(gap);
        self.admit((more + ahead).saturating_sub(self.admitted))?;
        let grown = self.memory.grow(gap.saturating_add(bytes))?;
        self.admitted = self.admitted.saturating_sub(more);
        self.count_heap_bytes();
        Ok(grown)
    }

    /// Asks the policy whether `more` bytes may be used. The policy is asked only about bytes
    /// beyond those that the heap began with.
    ///
    /// # Errors
    /// [`HeapError::Refused`] by the policy.
    pub fn admit(&mut self, more: u64) -> Result<(), HeapError> {
        let asked = more.saturating_sub(self.unused());
        if asked > 0 && !self.policy.admit(self.in_use().max(self.initial), asked) {
            return Err(HeapError::Refused { bytes: asked });
        }
        self.admitted += more;
        Ok(())
    }

    /// Bytes that are mapped and used, or admitted.
    fn in_use(&self) -> u64 {
        (self.memory.usable() + self.admitted).saturating_sub(self.set_aside)
    }

    /// Bytes by which the heap uses less than it began with.
    pub fn unused(&self) -> u64 {
        self.initial.saturating_sub(self.in_use())
    }

    /// Bytes that were admitted and are not used yet.
    pub fn admitted(&self) -> u64 {
        self.admitted
    }

    /// Records that `bytes` of the memory that was set aside and admitted are now used.
    pub fn use_admitted(&mut self, bytes: u64) {
        self.admitted = self.admitted.saturating_sub(bytes);
    }

    /// The input of the growth policy for a heap with this occupancy. The fields that only a plan
    /// needs are zero.
    pub fn usage(&self, occupancy: &Occupancy) -> HeapUsage {
        let Occupancy { used, given_back, least_room: least, wanted, .. } = *occupancy;
        HeapUsage {
            live: self.live,
            used,
            mapped: self.memory.usable().saturating_sub(given_back),
            limit: self.memory.maximum().saturating_sub(gc_types::NULL_PAGE_SIZE.into()),
            least,
            wanted,
            asked: self.asked,
            ..HeapUsage::default()
        }
    }

    /// Asks the policy for a [plan](HeapCore::plan). Every collection of the whole heap calls it
    /// when it knows the number of `live` bytes. [`HeapUsage`] describes `grown` and `gc_time`.
    pub fn make_plan(&mut self, occupancy: &Occupancy, live: u64, grown: u64, gc_time: Duration) {
        let mutator_time = self.mutator_time();
        let usage = self.usage(occupancy);
        let usage = HeapUsage { live, used: live, grown, gc_time, mutator_time, ..usage };
        (self.plan, self.live) = (self.policy.plan(&usage), live);
        self.planned = (Instant::now(), self.pauses.stopped());
        log::debug!("{live} bytes live in the GC heap: {:?}", self.plan);
    }

    /// The time for which the mutator has run since the plan was made.
    pub(crate) fn mutator_time(&self) -> Duration {
        let (then, stopped_then) = self.planned;
        let stopped = self.pauses.stopped().saturating_sub(stopped_then);
        then.elapsed().saturating_sub(stopped)
    }

    /// Whether a collection of the whole heap is due because of the plan's `review` time, even if
    /// the heap is not full.
    pub fn review_is_due(&self) -> bool {
        self.planned.0.elapsed() >= self.plan.review
    }

    fn count_heap_bytes(&mut self) {
        self.stats.heap_bytes = self.memory.usable();
    }

    /// Updates the peak of the heap's memory. `given_back` bytes of the mapped memory were given
    /// back to the system. Called before each collection, when the heap is largest.
    pub(crate) fn count_peak(&mut self, given_back: u64) {
        let bytes = self.memory.usable().saturating_sub(given_back);
        self.stats.peak_heap_bytes = self.stats.peak_heap_bytes.max(bytes);
    }

    /// The counters of the heap. `given_back` bytes of its mapped memory were given back to the
    /// system.
    pub fn stats_without(&self, given_back: u64) -> GcStats {
        let mut stats = self.stats.clone();
        stats.heap_bytes = self.memory.usable().saturating_sub(given_back);
        stats
    }

    /// Records damage found where no error can be returned.
    #[cold]
    pub fn note_damage(&mut self, at: u32, what: &'static str) {
        note_damage(&mut self.damage, at, what);
    }

    /// Returns the recorded damage as an error.
    ///
    /// # Errors
    /// If damage was recorded since the heap was made or reset.
    #[inline]
    pub fn check_damage(&self) -> Result<(), HeapError> {
        match &self.damage {
            None => Ok(()),
            Some(damage) => Err(damage.clone()),
        }
    }

    /// Checks that a collection is allowed. Every collector's `gc` begins with this call.
    ///
    /// # Panics
    /// Inside a no-GC scope.
    pub fn assert_may_collect(&self) {
        assert!(self.no_gc_scopes == 0, "a garbage collection inside a no-GC scope");
    }

    /// Enters a scope in which no collection may begin. Scopes nest.
    pub fn enter_no_gc_scope(&mut self) {
        self.no_gc_scopes += 1;
    }

    /// Leaves the innermost no-GC scope.
    ///
    /// # Panics
    /// If there is no no-GC scope.
    pub fn exit_no_gc_scope(&mut self) {
        let left = self.no_gc_scopes.checked_sub(1);
        self.no_gc_scopes = left.expect("left a no-GC scope that was not entered");
    }

    // ---- objects ----------------------------------------------------------

    /// Whether the reference refers to an object whose kind is `kind` or a subkind of it.
    pub fn is_kind(&self, gc_ref: &VMGcRef, kind: VMGcKind) -> bool {
        let actual = self.header(gc_ref).ok().and_then(|header| header.kind());
        actual.is_some_and(|actual| actual.matches(kind))
    }

    /// The object's index in bytes.
    ///
    /// # Errors
    /// If the reference is an `i31`.
    #[inline]
    pub fn index(&self, gc_ref: &VMGcRef) -> Result<u32, HeapError> {
        match gc_ref.as_heap_index() {
            Some(index) => Ok(index.get()),
            None => Err(HeapError::NotAnObject { raw: gc_ref.as_raw_u32() }),
        }
    }

    /// The object's header.
    ///
    /// # Errors
    /// If the reference does not refer to mapped memory.
    #[inline]
    pub fn header(&self, gc_ref: &VMGcRef) -> Result<VMGcHeader, HeapError> {
        self.header_at(self.index(gc_ref)?)
    }

    /// The header at `index`.
    ///
    /// # Errors
    /// If it is not mapped.
    #[inline]
    pub fn header_at(&self, index: u32) -> Result<VMGcHeader, HeapError> {
        let at = u64::from(index);
        match (
            self.memory.read_u32(at + u64::from(VMGcHeader::WORD_OFFSET)),
            self.memory.read_u32(at + u64::from(VMGcHeader::COLLECTOR_OFFSET)),
        ) {
            (Some(word), Some(collector)) => Ok(VMGcHeader::from_words(word, collector)),
            _ => Err(unmapped(index)),
        }
    }

    /// Writes the header at `index`. Returns `None` and writes nothing unless it is mapped.
    #[inline]
    #[must_use]
    pub fn set_header_at(&mut self, index: u32, header: VMGcHeader) -> Option<()> {
        // Word 0 is at the lower address in every byte order.
        const _: () = assert!(VMGcHeader::WORD_OFFSET == 0 && VMGcHeader::COLLECTOR_OFFSET == 4);
        let (word, collector) = (u64::from(header.word()), u64::from(header.collector_bits()));
        let both = if cfg!(target_endian = "little") {
            collector << 32 | word
        } else {
            word << 32 | collector
        };
        self.memory.write_u64(u64::from(index), both)
    }

    /// The layout of the object at `index`. `None` for an externref's box.
    ///
    /// # Errors
    /// If its header names no kind or no known type of that kind.
    pub fn layout_at(&self, index: u32) -> Result<Option<&GcLayout>, HeapError> {
        match Named::by(self.header_at(index)?, &self.layouts) {
            Named::ExternRef => Ok(None),
            Named::Layout(layout) => Ok(Some(layout)),
            Named::NoType => Err(HeapError::Corrupt { at: index, what: NO_TYPE }),
            Named::NoKind => Err(HeapError::Corrupt { at: index, what: NO_KIND }),
        }
    }

    /// Bytes of the object at `index`, header included, according to its header and length.
    ///
    /// # Errors
    /// If the header or the length is invalid, or the object would pass the end of the mapped
    /// memory.
    pub fn size_at(&self, index: u32) -> Result<u32, HeapError> {
        let size = match self.layout_at(index)? {
            None => GcLayout::EXTERNREF_SIZE,
            Some(GcLayout::Array(layout)) => layout
                .size(self.length_at(index)?)
                .ok_or(HeapError::Corrupt { at: index, what: "an array's length is invalid" })?,
            Some(GcLayout::Struct(layout)) => layout.size,
            Some(GcLayout::Exn(layout)) => layout.size,
        };
        if u64::from(index) + u64::from(size) > self.memory.len() {
            return Err(HeapError::Corrupt {
                at: index,
                what: "an object extends beyond the heap's end",
            });
        }
        Ok(size)
    }

    /// Bytes of an object, header included.
    ///
    /// # Errors
    /// As [`size_at`](HeapCore::size_at).
    pub fn object_size(&self, gc_ref: &VMGcRef) -> Result<u32, HeapError> {
        self.size_at(self.index(gc_ref)?)
    }

    /// The length word of an array at `index`, unchecked.
    fn length_at(&self, index: u32) -> Result<u32, HeapError> {
        self.memory
            .read_u32(u64::from(index) + u64::from(ArrayLayout::LENGTH_OFFSET))
            .ok_or_else(|| unmapped(index))
    }

    /// The index and layout of an array.
    fn array(&self, array: &VMGcRef) -> Result<(u32, ArrayLayout), HeapError> {
        let index = self.index(array)?;
        match self.layout_at(index)? {
            Some(GcLayout::Array(layout)) => Ok((index, *layout)),
            _ => Err(HeapError::WrongKind { expected: VMGcKind::ArrayRef, at: index }),
        }
    }

    /// Number of elements of an array.
    ///
    /// # Errors
    /// If the object is not an array.
    pub fn array_len(&self, array: &VMGcRef) -> Result<u32, HeapError> {
        self.length_at(self.array(array)?.0)
    }

    /// The offset of `count` elements from `index` on, in bytes from the array's start, and their
    /// storage type.
    ///
    /// # Errors
    /// If the object is not an array or does not have these elements.
    pub fn array_element(
        &self,
        array: &VMGcRef,
        index: u32,
        count: u32,
    ) -> Result<(u32, StorageType), HeapError> {
        let (at, layout) = self.array(array)?;
        let length = self.length_at(at)?;
        if u64::from(index) + u64::from(count) > u64::from(length) {
            return Err(HeapError::OutOfBounds {
                index: u64::from(index),
                count: u64::from(count),
                length,
            });
        }
        match u32::try_from(layout.element_offset(index)) {
            Ok(offset) => Ok((offset, layout.element)),
            Err(_) => Err(HeapError::Corrupt { at, what: "an array's length is invalid" }),
        }
    }

    /// The id in an externref's box.
    ///
    /// # Errors
    /// If the object is not an externref, or the id is zero.
    pub fn externref_id(&self, externref: &VMGcRef) -> Result<ExternRefHostDataId, HeapError> {
        let index = self.index(externref)?;
        if self.header_at(index)?.kind() != Some(VMGcKind::ExternRef) {
            return Err(HeapError::WrongKind { expected: VMGcKind::ExternRef, at: index });
        }
        self.externref_id_at(index)
            .ok_or(HeapError::Corrupt { at: index, what: "an externref without a host value" })
    }

    /// Writes the id into a new externref's box.
    ///
    /// # Errors
    /// If the reference does not refer to mapped memory.
    pub fn set_externref_id(
        &mut self,
        externref: &VMGcRef,
        id: ExternRefHostDataId,
    ) -> Result<(), HeapError> {
        let at = u64::from(self.index(externref)?) + u64::from(GcLayout::EXTERNREF_ID_OFFSET);
        match self.memory.write_u32(at, id.as_raw()) {
            Some(()) => Ok(()),
            None => Err(HeapError::Corrupt { at: externref.as_raw_u32(), what: "no object" }),
        }
    }

    /// The id in the externref's box at `index`, unless it is zero.
    pub fn externref_id_at(&self, index: u32) -> Option<ExternRefHostDataId> {
        let at = u64::from(index) + u64::from(GcLayout::EXTERNREF_ID_OFFSET);
        ExternRefHostDataId::from_raw(self.memory.read_u32(at)?)
    }

    /// Calls `visit` with the heap index and the contents of every non-null
    /// reference in the object at `index`, in address order. The contents may be
    /// an `i31`.
    ///
    /// # Errors
    /// As [`size_at`](HeapCore::size_at).
    pub fn trace_at(
        &self,
        index: u32,
        mut visit: impl FnMut(u64, VMGcRef),
    ) -> Result<(), HeapError> {
        self.size_at(index)?;
        let mut look = |at: u64| {
            if let Some(gc_ref) = self.memory.read_u32(at).and_then(VMGcRef::from_raw_u32) {
                visit(at, gc_ref);
            }
        };
        let base = u64::from(index);
        match self.layout_at(index)? {
            None => {}
            Some(GcLayout::Struct(layout)) => {
                layout.refs.iter().for_each(|&offset| look(base + u64::from(offset)));
            }
            Some(GcLayout::Exn(layout)) => {
                layout.refs.iter().for_each(|&offset| look(base + u64::from(offset)));
            }
            Some(GcLayout::Array(layout)) if layout.element.is_ref() => {
                for element in 0..self.length_at(index)? {
                    look(base + layout.element_offset(element));
                }
            }
            Some(GcLayout::Array(_)) => {}
        }
        Ok(())
    }

    // ---- references, without barriers -----------------------------------------

    /// The reference at heap index `at`.
    ///
    /// # Errors
    /// If it is not mapped.
    #[inline]
    pub fn read_ref_at(&self, at: u64) -> Result<Option<VMGcRef>, HeapError> {
        let word = self.memory.read_u32(at).ok_or_else(|| unmapped(at as u32))?;
        Ok(VMGcRef::from_raw_u32(word))
    }

    /// Writes a copy of `source`, or null, at heap index `at`.
    ///
    /// # Errors
    /// If it is not mapped.
    #[inline]
    pub fn write_ref_at(&mut self, at: u64, source: Option<&VMGcRef>) -> Result<(), HeapError> {
        let word = source.map_or(0, VMGcRef::as_raw_u32);
        self.memory.write_u32(at, word).ok_or_else(|| unmapped(at as u32))
    }

    /// Copies `count` references from heap index `from` to heap index `to`. The ranges may overlap.
    ///
    /// # Errors
    /// If not all are mapped. Then nothing was copied.
    pub fn copy_refs_at(&mut self, to: u64, from: u64, count: u32) -> Result<(), HeapError> {
        let bytes = u64::from(count) * 4;
        self.memory.copy_within(to, from, bytes).ok_or_else(|| unmapped(to as u32))
    }

    /// Writes copies of `source`, or nulls, into the `count` slots that begin at heap index `at`.
    ///
    /// # Errors
    /// If not all of them are mapped. Some may have been written.
    pub fn fill_refs_at(
        &mut self,
        at: u64,
        source: Option<&VMGcRef>,
        count: u32,
    ) -> Result<(), HeapError> {
        let word = source.map_or(0, VMGcRef::as_raw_u32);
        self.fill_scalars_at(at, StorageType::I32, word.into(), count)
    }

    /// Writes the low bits of `bits` as a `ty` into the `count` places that begin at heap index
    /// `at`, without a barrier.
    ///
    /// # Errors
    /// If not all of them are mapped. Some may have been written.
    pub fn fill_scalars_at(
        &mut self,
        at: u64,
        ty: StorageType,
        bits: u128,
        count: u32,
    ) -> Result<(), HeapError> {
        let size = u64::from(ty.size());
        let bytes = u64::from(count) * size;
        if count == 0 {
            return Ok(());
        }
        // Writes the first place, and then copies the written part, which doubles each time.
        self.write_scalar(at, ty, bits)?;
        let mut done = size;
        while done < bytes {
            let more = done.min(bytes - done);
            let copied = at.checked_add(done).and_then(|to| self.memory.copy_within(to, at, more));
            copied.ok_or_else(|| unmapped(at as u32))?;
            done += more;
        }
        Ok(())
    }

    // ---- allocation -----------------------------------------------------------

    /// Allocates by bumping [`NEXT`] up to [`LIMIT`] in the heap data, as emitted code does.
    /// Returns the index of a new object of `size` bytes with this header, or `None` if there is no
    /// room or damage was noted.
    #[inline]
    pub fn bump(&mut self, header: VMGcHeader, size: u32) -> Option<u32> {
        debug_assert!(size >= VMGcHeader::SIZE && size.is_multiple_of(8));
        if self.damage.is_some() {
            return None;
        }
        let (next, limit) = (self.memory.data_u32(NEXT), self.memory.data_u32(LIMIT));
        let end = next.checked_add(size).filter(|&end| end <= limit)?;
        self.set_header_at(next, header)?;
        self.memory.set_data_u32(NEXT, end);
        Some(next)
    }

    // ---- scalars ----------------------------------------------------------

    /// The bits of a value of type `ty` at heap index `at`, zero-extended.
    ///
    /// # Errors
    /// If it is not mapped.
    pub fn read_scalar(&self, at: u64, ty: StorageType) -> Result<u128, HeapError> {
        let memory = &self.memory;
        match ty.size() {
            1 => memory.read_u8(at).map(u128::from),
            2 => memory.read_u16(at).map(u128::from),
            4 => memory.read_u32(at).map(u128::from),
            8 => memory.read_u64(at).map(u128::from),
            _ => memory.read_u128(at),
        }
        .ok_or_else(|| unmapped(at as u32))
    }

    /// Writes the low bits of `bits` as a value of type `ty` at heap index `at`, without a barrier.
    ///
    /// # Errors
    /// If it is not mapped.
    pub fn write_scalar(&mut self, at: u64, ty: StorageType, bits: u128) -> Result<(), HeapError> {
        let memory = &mut self.memory;
        match ty.size() {
            1 => memory.write_u8(at, bits as u8),
            2 => memory.write_u16(at, bits as u16),
            4 => memory.write_u32(at, bits as u32),
            8 => memory.write_u64(at, bits as u64),
            _ => memory.write_u128(at, bits),
        }
        .ok_or_else(|| unmapped(at as u32))
    }
}

/// The meaning of a header.
pub(crate) enum Named<'a> {
    /// An externref's box.
    ExternRef,
    /// A type of the header's kind.
    Layout(&'a GcLayout),
    /// A valid kind, but no type of that kind.
    NoType,
    /// No valid kind.
    NoKind,
}

impl<'a> Named<'a> {
    #[inline]
    pub(crate) fn by(header: VMGcHeader, layouts: &'a LayoutTable) -> Named<'a> {
        match header.kind() {
            Some(VMGcKind::ExternRef) => Named::ExternRef,
            Some(kind) => match layouts.get(header.ty()) {
                Some(layout) if layout.kind() == kind => Named::Layout(layout),
                _ => Named::NoType,
            },
            None => Named::NoKind,
        }
    }
}

/// Calls `grow` with `bytes`. While it fails, tries half of that, down to `least`.
///
/// # Errors
/// The error of `grow` for `least` bytes, or an error that less memory would not avoid.
pub fn by_halves(
    bytes: u64,
    least: u64,
    mut grow: impl FnMut(u64) -> Result<u64, HeapError>,
) -> Result<u64, HeapError> {
    let mut step = bytes.max(least);
    loop {
        match grow(step) {
            Err(HeapError::Refused { .. } | HeapError::System { .. }) if step > least => {
                step = (step / 2).max(least);
            }
            result => return result,
        }
    }
}

/// Records and logs the first damage.
#[cold]
pub(crate) fn note_damage(damage: &mut Option<HeapError>, at: u32, what: &'static str) {
    damage.get_or_insert_with(|| {
        let error = HeapError::Corrupt { at, what };
        log::warn!("{error}");
        error
    });
}

/// The error for an access outside the mapped memory.
#[cold]
pub(crate) fn unmapped(at: u32) -> HeapError {
    HeapError::Corrupt { at, what: "a reference outside the heap" }
}
