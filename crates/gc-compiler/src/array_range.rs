//! Copies and fills of many array elements. Short ones are a few loads and stores, and longer ones a
//! loop. The host does the longest. It also does those of references, unless the collector needs no
//! barrier for them.
//!
//! A range of 16 to 32 bytes is its first 16 and its last 16 bytes, which may have some in common. All
//! of them are loaded before the first is stored, so the ranges of a copy may overlap. Other lengths
//! up to [`SHORT`] bytes are done in the same way with accesses of other sizes. Accesses of 16 bytes
//! use vectors: of four references, or of data. No call that may collect comes between the load and
//! the store of references, because a vector cannot be in a stack map.

use crate::address::{Access, Trust};
use crate::array::{element_access, for_each_index};
use crate::array_meter::{MeteredElements, is_more};
use crate::{GcEmitter, object, regions, trap_code};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData, Type, types};
use gc_types::{ArrayLayout, HostCall, StorageType, Trap};

/// The most bytes of a short range. Its bytes fit into registers.
const SHORT: u32 = 128;
/// The most bytes of a range for which there is a loop.
const MEDIUM: u32 = 1024;
/// What is done here is not checked by a meter.
const _: () = assert!(MEDIUM <= HostCall::SMALL_WORK);
/// The bytes that the loop accesses at once.
const STEP: u32 = 64;
/// The bytes of a vector.
const VECTOR: u32 = 16;

impl GcEmitter<'_, '_> {
    /// Stores `value` in the `length` elements that begin at `index` (both `I32`, unsigned). Traps
    /// if `array` is null or the range is out of bounds.
    pub fn array_fill(
        &mut self,
        array: ir::Value,
        layout: &ArrayLayout,
        index: ir::Value,
        value: ir::Value,
        length: ir::Value,
    ) {
        let mut meter = std::mem::take(&mut self.elements);
        meter.commit(self);
        if layout.element == StorageType::V128 {
            return fill_with_vectors(self, &mut meter, array, layout, index, value, length);
        }
        let bits = element_bits(self, layout, value);
        let ranges = Ranges { layout, length, written: array, read: None };
        let host = |e: &mut GcEmitter<'_, '_>, meter: &mut MeteredElements<'_>| {
            meter.call_host(e, HostCall::ARRAY_FILL, &[array, index, bits, length]);
        };
        let in_host = self.builder.create_block();
        if !ranges.may_be_inline(self, in_host) {
            self.builder.ins().trapz(array, trap_code(Trap::NullReference));
            return host(self, &mut meter);
        }
        let total = self.array_len(array);
        let outside = is_outside(self, index, length, total);
        let to = place(self, array, layout, index);
        let is_ref = layout.element.is_ref();
        let pattern = if is_ref { bits } else { repeated(self, layout.element.size(), bits) };
        let emit = |e: &mut GcEmitter<'_, '_>, places: Places| {
            let ty = places.ty;
            let value = if ty.is_vector() {
                let lane = ty.lane_type();
                let narrow = if lane == types::I64 {
                    pattern
                } else {
                    e.builder.ins().ireduce(lane, pattern)
                };
                e.builder.ins().splat(ty, narrow)
            } else if is_ref || ty == types::I64 {
                pattern
            } else {
                e.builder.ins().ireduce(ty, pattern)
            };
            for at in places.all(e, to) {
                let access = access(e, layout, at, ty);
                store(e, layout, access, value);
            }
        };
        ranges.emit(self, meter, outside, emit, in_host, host);
    }

    /// Copies `length` elements. The ranges may overlap. Traps if an array is null or a range is
    /// out of bounds. Indices and length are `I32`, unsigned. Both arrays have the layout `layout`.
    pub fn array_copy(
        &mut self,
        layout: &ArrayLayout,
        destination: (ir::Value, ir::Value),
        source: (ir::Value, ir::Value),
        length: ir::Value,
    ) {
        let ranges = Ranges { layout, length, written: destination.0, read: Some(source.0) };
        let mut meter = std::mem::take(&mut self.elements);
        meter.commit(self);
        let host = |e: &mut GcEmitter<'_, '_>, meter: &mut MeteredElements<'_>| {
            let args = [destination.0, destination.1, source.0, source.1, length];
            meter.call_host(e, HostCall::ARRAY_COPY, &args);
        };
        let in_host = self.builder.create_block();
        if !ranges.may_be_inline(self, in_host) {
            for array in [destination.0, source.0] {
                self.builder.ins().trapz(array, trap_code(Trap::NullReference));
            }
            return host(self, &mut meter);
        }
        let totals = [destination.0, source.0].map(|array| self.array_len(array));
        let outside = is_outside(self, destination.1, length, totals[0]);
        let other = is_outside(self, source.1, length, totals[1]);
        let outside = self.builder.ins().bor(outside, other);
        let to = place(self, destination.0, layout, destination.1);
        let from = place(self, source.0, layout, source.1);
        let emit = |e: &mut GcEmitter<'_, '_>, places: Places| {
            let mut values = Vec::new();
            for at in places.all(e, from) {
                let access = access(e, layout, at, places.ty);
                values.push(load(e, layout, access, places.ty));
            }
            for (at, value) in places.all(e, to).into_iter().zip(values) {
                let access = access(e, layout, at, places.ty);
                store(e, layout, access, value);
            }
        };
        ranges.emit(self, meter, outside, emit, in_host, host);
    }
}

/// The bits of an element's value that is not a vector.
fn element_bits(e: &mut GcEmitter<'_, '_>, layout: &ArrayLayout, value: ir::Value) -> ir::Value {
    let flags = MemFlagsData::new();
    match object::value_type(layout.element) {
        types::I32 => e.builder.ins().uextend(types::I64, value),
        types::F32 => {
            let bits = e.builder.ins().bitcast(types::I32, flags, value);
            e.builder.ins().uextend(types::I64, bits)
        }
        types::F64 => e.builder.ins().bitcast(types::I64, flags, value),
        _ => value,
    }
}

/// Whether the range of `length` elements from `index` on is not in an array of `total` elements.
fn is_outside(
    e: &mut GcEmitter<'_, '_>,
    index: ir::Value,
    length: ir::Value,
    total: ir::Value,
) -> ir::Value {
    let [start, count, total] =
        [index, length, total].map(|number| e.builder.ins().uextend(types::I64, number));
    let end = e.builder.ins().iadd(start, count);
    e.builder.ins().icmp(IntCC::UnsignedGreaterThan, end, total)
}

/// Places in a range of bytes that are accessed in turn: `count` values of type `ty`, from the byte at
/// `at` on, and as many from the byte at `last` on.
#[derive(Clone, Copy)]
struct Places {
    ty: Type,
    count: u32,
    at: Option<ir::Value>,
    last: Option<ir::Value>,
}

impl Places {
    /// The places in the range that begins at the index `start`: an index, and bytes beyond it.
    fn all(self, e: &mut GcEmitter<'_, '_>, start: ir::Value) -> Vec<(ir::Value, u32)> {
        let mut all = Vec::new();
        for at in [self.at, self.last].into_iter().flatten() {
            let from = e.builder.ins().iadd(start, at);
            all.extend((0..self.count).map(|n| (from, n * self.ty.bytes())));
        }
        all
    }
}

/// A range of elements that is written, and another that may be read.
struct Ranges<'l> {
    layout: &'l ArrayLayout,
    length: ir::Value,
    /// The array that is written.
    written: ir::Value,
    /// The array that is read.
    read: Option<ir::Value>,
}

impl Ranges<'_> {
    /// Whether any range is done without the host. If so, emits a jump to `in_host` for references
    /// that need a barrier.
    fn may_be_inline(&self, e: &mut GcEmitter<'_, '_>, in_host: ir::Block) -> bool {
        e.env.abi().guarded()
            && (!self.layout.element.is_ref() || e.has_plain_elements(self.written, in_host))
    }

    /// Emits the accesses of `emit` to all bytes of the ranges. The code jumps to `in_host`, which gets
    /// the code of `host`, where the ranges are long, or may overlap and are not short, or where
    /// `outside` says that they are not in their arrays. The host then reports the error.
    fn emit(
        &self,
        e: &mut GcEmitter<'_, '_>,
        mut meter: MeteredElements<'_>,
        outside: ir::Value,
        emit: impl Fn(&mut GcEmitter<'_, '_>, Places),
        in_host: ir::Block,
        host: impl FnOnce(&mut GcEmitter<'_, '_>, &mut MeteredElements<'_>),
    ) {
        let size = self.layout.element.size();
        let bytes = e.builder.ins().ishl_imm_u(self.length, i64::from(size.trailing_zeros()));
        let [inside, short, more, medium, done] = [(); 5].map(|()| e.builder.create_block());
        e.builder.ins().brif(outside, in_host, &[], inside, &[]);
        e.continue_in(inside);
        let is_more = |e: &mut GcEmitter<'_, '_>, most: u32| {
            let most = i64::from(most / size);
            e.builder.ins().icmp_imm_u(IntCC::UnsignedGreaterThan, self.length, most)
        };
        let condition = is_more(e, SHORT);
        e.builder.ins().brif(condition, more, &[], short, &[]);
        e.continue_in(short);
        meter.consume(e, self.length);
        each_short(e, self.layout, bytes, done, &emit);
        e.continue_in(more);
        let mut condition = is_more(e, MEDIUM);
        if let Some(read) = self.read {
            let same = e.builder.ins().icmp(IntCC::Equal, self.written, read);
            condition = e.builder.ins().bor(condition, same);
        }
        e.builder.ins().brif(condition, in_host, &[], medium, &[]);
        e.continue_in(medium);
        meter.consume(e, self.length);
        in_steps(e, self.layout, bytes, &emit);
        e.builder.ins().jump(done, &[]);
        e.continue_in(in_host);
        host(e, &mut meter);
        e.builder.ins().jump(done, &[]);
        e.continue_in(done);
    }
}

/// The vectors that have the elements of arrays with this layout.
fn vector(layout: &ArrayLayout) -> Type {
    if layout.element.is_ref() { types::I32X4 } else { types::I64X2 }
}

/// Emits code for each class of short ranges: from as many bytes as `count` accesses of type `ty` have
/// up to twice as many. The code of each jumps to `done`.
fn each_short(
    e: &mut GcEmitter<'_, '_>,
    layout: &ArrayLayout,
    bytes: ir::Value,
    done: ir::Block,
    emit: impl Fn(&mut GcEmitter<'_, '_>, Places),
) {
    const FEW_REFS: &[(Type, u32)] = &[(types::I32, 2), (types::I32, 1)];
    const FEW_BYTES: &[(Type, u32)] =
        &[(types::I64, 1), (types::I32, 1), (types::I16, 1), (types::I8, 1)];
    let vector = vector(layout);
    let has_at_least = |e: &mut GcEmitter<'_, '_>, least: u32| {
        e.builder.ins().icmp_imm_u(IntCC::UnsignedGreaterThanOrEqual, bytes, i64::from(least))
    };
    let size = layout.element.size();
    let classes = |e: &mut GcEmitter<'_, '_>, classes: &[(Type, u32)]| {
        for &(ty, count) in classes {
            let least = ty.bytes() * count;
            if least < size {
                break;
            }
            let [these, fewer] = [(); 2].map(|()| e.builder.create_block());
            let condition = has_at_least(e, least);
            e.builder.ins().brif(condition, these, &[], fewer, &[]);
            e.continue_in(these);
            let at = e.builder.ins().iconst(types::I32, 0);
            // If this is one element, there are no others.
            let last = (least > size).then(|| e.builder.ins().iadd_imm_s(bytes, -i64::from(least)));
            emit(e, Places { ty, count, at: Some(at), last });
            e.builder.ins().jump(done, &[]);
            e.continue_in(fewer);
        }
        e.builder.ins().jump(done, &[]);
    };
    let [in_vectors, few] = [(); 2].map(|()| e.builder.create_block());
    let condition = has_at_least(e, VECTOR);
    e.builder.ins().brif(condition, in_vectors, &[], few, &[]);
    e.continue_in(in_vectors);
    classes(e, &[(vector, 4), (vector, 2), (vector, 1)]);
    e.continue_in(few);
    classes(e, if layout.element.is_ref() { FEW_REFS } else { FEW_BYTES });
}

/// Emits a loop over steps of [`STEP`] bytes from the first one on, and then the last such bytes.
fn in_steps(
    e: &mut GcEmitter<'_, '_>,
    layout: &ArrayLayout,
    bytes: ir::Value,
    emit: impl Fn(&mut GcEmitter<'_, '_>, Places),
) {
    let (ty, count) = (vector(layout), STEP / VECTOR);
    let [header, rest] = [(); 2].map(|()| e.builder.create_block());
    // It counts elements, so that checkers see an index that is multiplied by an element's size.
    let index = e.builder.append_block_param(header, types::I32);
    let zero = e.builder.ins().iconst(types::I32, 0);
    let last = e.builder.ins().iadd_imm_s(bytes, -i64::from(STEP));
    e.builder.ins().jump(header, &[zero.into()]);
    e.builder.switch_to_block(header);
    let size = layout.element.size();
    let at = e.builder.ins().ishl_imm_u(index, i64::from(size.trailing_zeros()));
    emit(e, Places { ty, count, at: Some(at), last: None });
    let next = e.builder.ins().iadd_imm_u(index, i64::from(STEP / size));
    let after = e.builder.ins().iadd_imm_u(at, i64::from(STEP));
    let again = e.builder.ins().icmp(IntCC::UnsignedLessThan, after, last);
    e.builder.ins().brif(again, header, &[next.into()], rest, &[]);
    e.builder.seal_block(header);
    e.continue_in(rest);
    emit(e, Places { ty, count, at: None, last: Some(last) });
}

/// The heap index (`I32`) of the element at `index`, less the offset of the first element.
fn place(
    e: &mut GcEmitter<'_, '_>,
    array: ir::Value,
    layout: &ArrayLayout,
    index: ir::Value,
) -> ir::Value {
    let shift = i64::from(layout.element.size().trailing_zeros());
    let array = e.builder.ins().ireduce(types::I32, array);
    let scaled = e.builder.ins().ishl_imm_u(index, shift);
    e.builder.ins().iadd(array, scaled)
}

fn access(
    e: &mut GcEmitter<'_, '_>,
    layout: &ArrayLayout,
    (index, beyond): (ir::Value, u32),
    ty: Type,
) -> Access {
    let index = e.builder.ins().uextend(types::I64, index);
    let offset = layout.elements_offset() + beyond;
    let is_ref = layout.element.is_ref();
    let region = if is_ref { regions::ARRAY_REF_ELEMENT } else { regions::ARRAY_ELEMENT };
    e.object_access(index, offset, ty.bytes(), region, Trust::NotNull)
}

fn load(e: &mut GcEmitter<'_, '_>, layout: &ArrayLayout, access: Access, ty: Type) -> ir::Value {
    if layout.element.is_ref() && !ty.is_vector() {
        return e.load_ref_at(access);
    }
    let Access { address, offset, flags } = access;
    e.builder.ins().load(ty, flags, address, offset)
}

fn store(e: &mut GcEmitter<'_, '_>, layout: &ArrayLayout, access: Access, value: ir::Value) {
    if layout.element.is_ref() && !e.builder.func.dfg.value_type(value).is_vector() {
        return e.store_ref_at(access, value);
    }
    let Access { address, offset, flags } = access;
    e.builder.ins().store(flags, value, address, offset);
}

/// The low `size` bytes of `bits`, as often as they fit into 64 bits.
fn repeated(e: &mut GcEmitter<'_, '_>, size: u32, bits: ir::Value) -> ir::Value {
    let (mask, factor) = match size {
        1 => (0xff, 0x0101_0101_0101_0101),
        2 => (0xffff, 0x0001_0001_0001_0001),
        4 => (0xffff_ffff, 0x0000_0001_0000_0001),
        _ => return bits,
    };
    let bits = e.builder.ins().band_imm_u(bits, mask);
    e.builder.ins().imul_imm_s(bits, factor)
}

/// Fills without the host, because a vector does not fit the 64 bits of the usual host call. What is
/// metered is done by another host call if it is not small.
fn fill_with_vectors(
    e: &mut GcEmitter<'_, '_>,
    meter: &mut MeteredElements<'_>,
    array: ir::Value,
    layout: &ArrayLayout,
    index: ir::Value,
    value: ir::Value,
    length: ir::Value,
) {
    let total = e.array_len(array);
    let outside = is_outside(e, index, length, total);
    e.builder.ins().trapnz(outside, trap_code(Trap::ArrayOutOfBounds));
    let done = fill_in_host(e, meter, array, layout, index, value, (length, false));
    let end = e.builder.ins().iadd(index, length);
    let not_empty = e.builder.ins().icmp_imm_u(IntCC::NotEqual, length, 0);
    for_each_index(e, not_empty, index, end, |e, index| {
        let access = element_access(e, array, layout, index, Trust::NotNull);
        object::store(e, access, layout.element, value);
    });
    end_fill(e, done);
}

/// If a fill of elements that exist is metered: emits the host call for one that is not small. The
/// code for a small one follows, and then [`end_fill`]. `is_new` says whether the array is new.
pub(crate) fn fill_in_host(
    e: &mut GcEmitter<'_, '_>,
    meter: &mut MeteredElements<'_>,
    array: ir::Value,
    layout: &ArrayLayout,
    index: ir::Value,
    value: ir::Value,
    (length, is_new): (ir::Value, bool),
) -> Option<ir::Block> {
    if !meter.is_on() {
        return None;
    }
    meter.commit(e);
    let (host, small, done) =
        (e.create_cold_block(), e.builder.create_block(), e.builder.create_block());
    let more = is_more(e, layout, length);
    e.builder.ins().brif(more, host, &[], small, &[]);
    e.continue_in(host);
    let [low, high] = if layout.element == StorageType::V128 {
        let flags = MemFlagsData::new().with_endianness(ir::Endianness::Little);
        let halves = e.builder.ins().bitcast(types::I64X2, flags, value);
        [0, 1].map(|half| e.builder.ins().extractlane(halves, half))
    } else {
        [element_bits(e, layout, value), e.builder.ins().iconst(types::I64, 0)]
    };
    let is_new = e.builder.ins().iconst(types::I32, i64::from(is_new));
    meter.call_host(e, HostCall::ARRAY_FILL_WIDE, &[array, index, low, high, length, is_new]);
    e.builder.ins().jump(done, &[]);
    e.continue_in(small);
    meter.consume(e, length);
    Some(done)
}

/// Joins the code for a small fill with that of [`fill_in_host`].
pub(crate) fn end_fill(e: &mut GcEmitter<'_, '_>, done: Option<ir::Block>) {
    if let Some(done) = done {
        e.builder.ins().jump(done, &[]);
        e.continue_in(done);
    }
}
