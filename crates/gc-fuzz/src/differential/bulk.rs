//! Adds bulk operations on memories, tables and arrays to a module. `wasm-smith` seldom finds the
//! operands for one on its stack, and random operands are out of bounds or use all fuel.
//!
//! The operands of an added operation are small constants. So it seldom traps, ranges overlap, and fuel
//! need not be counted. The arrays are in globals, two for each array type, which are exported.

use anyhow::Result;
use gc_testkit::choices::Choices;
use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasm_encoder::{ConstExpr, GlobalType, HeapType, Instruction, RefType, ValType};
use wasmparser::{ArrayType, DataKind, ElementItems, ElementKind, Payload, StorageType, TypeRef};

/// The lengths that the two arrays of a type have first. What is copied or filled inline depends on
/// the number of bytes.
const LENGTHS: [i32; 2] = [24, 300];

/// What such operations can name.
#[derive(Default)]
pub(super) struct Items {
    /// Which memories have 64-bit addresses.
    pub(super) memories: Vec<bool>,
    /// Which tables have 64-bit indices, and the type of their elements.
    tables: Vec<(bool, wasmparser::RefType)>,
    /// The passive segments, and how many bytes each has.
    data: Vec<(u32, usize)>,
    /// The passive segments, the type of their elements, and how many each has.
    elements: Vec<(u32, wasmparser::RefType, usize)>,
    /// The array types whose elements can be overwritten and have a default value, and the type of the
    /// elements.
    arrays: Vec<(u32, StorageType)>,
    /// Segments can be named only if the module says before the code how many there are.
    counts_data: bool,
}

impl Items {
    /// Reads type `index`.
    pub(super) fn read_array(&mut self, index: usize, ty: &ArrayType) {
        let element = ty.0.element_type;
        let has_default = match element {
            StorageType::Val(wasmparser::ValType::Ref(ty)) => ty.is_nullable(),
            _ => true,
        };
        if ty.0.mutable && has_default {
            self.arrays.push((index as u32, element));
        }
    }

    /// Reads the other sections.
    pub(super) fn read(&mut self, payload: &Payload<'_>) -> Result<()> {
        match payload {
            Payload::ImportSection(section) => {
                for import in section.clone().into_imports() {
                    match import?.ty {
                        TypeRef::Memory(ty) => self.memories.push(ty.memory64),
                        TypeRef::Table(ty) => self.tables.push((ty.table64, ty.element_type)),
                        _ => {}
                    }
                }
            }
            Payload::MemorySection(section) => {
                for memory in section.clone() {
                    self.memories.push(memory?.memory64);
                }
            }
            Payload::TableSection(section) => {
                for table in section.clone() {
                    let ty = table?.ty;
                    self.tables.push((ty.table64, ty.element_type));
                }
            }
            Payload::DataCountSection { .. } => self.counts_data = true,
            Payload::DataSection(section) => {
                for (data, index) in section.clone().into_iter().zip(0..) {
                    let data = data?;
                    if let (DataKind::Passive, true) = (data.kind, self.counts_data) {
                        self.data.push((index, data.data.len()));
                    }
                }
            }
            Payload::ElementSection(section) => {
                for (segment, index) in section.clone().into_iter().zip(0..) {
                    let segment = segment?;
                    let (ty, len) = match segment.items {
                        ElementItems::Functions(items) => {
                            (wasmparser::RefType::FUNCREF, items.count())
                        }
                        ElementItems::Expressions(ty, items) => (ty, items.count()),
                    };
                    if let ElementKind::Passive = segment.kind {
                        self.elements.push((index, ty, len as usize));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The globals with the arrays.
    pub(super) fn globals(&self) -> impl Iterator<Item = (GlobalType, ConstExpr)> {
        let all = self.arrays.iter().flat_map(|(ty, _)| LENGTHS.map(|length| (*ty, length)));
        all.map(|(ty, length)| {
            let array = RefType { nullable: true, heap_type: HeapType::Concrete(ty) };
            let global = GlobalType { val_type: ValType::Ref(array), mutable: true, shared: false };
            let new = [Instruction::I32Const(length), Instruction::ArrayNewDefault(ty)];
            (global, ConstExpr::extended(new))
        })
    }

    /// The code of an operation that `choices` decide on, which leaves the stack as it is. It is empty if
    /// the module lacks what it needs. `global` is the first of the globals with arrays.
    pub(super) fn operation(
        &self,
        choices: &mut Choices,
        global: u32,
    ) -> Vec<Instruction<'static>> {
        Chosen { items: self, choices, global }.operation().unwrap_or_default()
    }
}

struct Chosen<'a> {
    items: &'a Items,
    choices: &'a mut Choices,
    global: u32,
}

type Code = Vec<Instruction<'static>>;

/// One of the two arrays of a type.
#[derive(Clone, Copy)]
struct Array {
    ty: u32,
    element: StorageType,
    /// The global of the first of the two.
    first: u32,
    global: u32,
    /// The length that it has first.
    length: usize,
}

impl Array {
    fn new(ty: u32, element: StorageType, first: u32, which: usize) -> Array {
        let length = LENGTHS[which] as usize;
        Array { ty, element, first, global: first + which as u32, length }
    }

    /// The other array of the same type.
    fn other(self) -> Array {
        Array::new(self.ty, self.element, self.first, 1 - (self.global - self.first) as usize)
    }

    fn get(self) -> Instruction<'static> {
        Instruction::GlobalGet(self.global)
    }
}

impl Chosen<'_> {
    fn operation(mut self) -> Option<Code> {
        match self.choices.below(12) {
            0 => self.memory_fill(),
            1 | 2 => self.memory_copy(),
            3 => self.memory_init(),
            4 => self.table_fill(),
            5 => self.table_copy(),
            6 => self.table_init(),
            7 => self.array_new(),
            8 => self.array_fill(),
            9 => self.array_init(),
            10 => self.array_set(),
            _ => self.array_copy(),
        }
    }

    /// One of the items, and its number.
    fn one_of<T: Copy>(&mut self, items: &[T]) -> Option<(u32, T)> {
        let count = items.len();
        (count > 0).then(|| self.choices.below(count)).map(|at| (at as u32, items[at]))
    }

    /// A number below `n`, as an operand with 64 bits or 32.
    fn number(&mut self, n: usize, wide: bool) -> Instruction<'static> {
        let number = self.choices.below(n);
        if wide {
            Instruction::I64Const(number as i64)
        } else {
            Instruction::I32Const(number as i32)
        }
    }

    fn memory_fill(&mut self) -> Option<Code> {
        let (mem, wide) = self.one_of(&self.items.memories)?;
        let operands = [self.number(64, wide), self.number(256, false), self.number(24, wide)];
        Some([&operands[..], &[Instruction::MemoryFill(mem)]].concat())
    }

    fn memory_copy(&mut self) -> Option<Code> {
        let (dst_mem, to) = self.one_of(&self.items.memories)?;
        let (src_mem, from) = self.one_of(&self.items.memories)?;
        let operands = [self.number(64, to), self.number(64, from), self.number(24, to && from)];
        Some([&operands[..], &[Instruction::MemoryCopy { src_mem, dst_mem }]].concat())
    }

    fn memory_init(&mut self) -> Option<Code> {
        let (mem, wide) = self.one_of(&self.items.memories)?;
        let (_, (data_index, len)) = self.one_of(&self.items.data)?;
        let [from, len] = self.part(len);
        Some(vec![self.number(64, wide), from, len, Instruction::MemoryInit { mem, data_index }])
    }

    /// The beginning and the length of a part of a segment. Sometimes the part is one too long.
    fn part(&mut self, len: usize) -> [Instruction<'static>; 2] {
        let from = self.choices.below(len + 1);
        let longest = len - from + usize::from(self.choices.once_in(8));
        [Instruction::I32Const(from as i32), self.number(longest + 1, false)]
    }

    fn table_fill(&mut self) -> Option<Code> {
        let (table, (wide, ty)) = self.one_of(&self.items.tables)?;
        let fill = Instruction::TableFill(table);
        let (at, len) = (self.number(8, wide), self.number(4, wide));
        ty.is_nullable().then(|| vec![at, null(ty), len, fill])
    }

    fn table_copy(&mut self) -> Option<Code> {
        let (dst_table, (to, ty)) = self.one_of(&self.items.tables)?;
        let (src_table, (from, other)) = self.one_of(&self.items.tables)?;
        let operands = [self.number(8, to), self.number(8, from), self.number(6, to && from)];
        let copy = Instruction::TableCopy { src_table, dst_table };
        (ty == other).then(|| [&operands[..], &[copy]].concat())
    }

    fn table_init(&mut self) -> Option<Code> {
        let (table, (wide, ty)) = self.one_of(&self.items.tables)?;
        let (_, (elem_index, other, len)) = self.one_of(&self.items.elements)?;
        let [from, len] = self.part(len);
        let init = Instruction::TableInit { elem_index, table };
        (ty == other).then(|| vec![self.number(8, wide), from, len, init])
    }

    /// One of the arrays.
    fn array(&mut self) -> Option<Array> {
        let (number, (ty, element)) = self.one_of(&self.items.arrays)?;
        let which = self.choices.below(LENGTHS.len());
        Some(Array::new(ty, element, self.global + number * LENGTHS.len() as u32, which))
    }

    /// A number of elements, at most `most` except in rare cases: few, or as many as are copied or
    /// filled by vectors, by a loop, or by the host.
    fn length(&mut self, most: usize) -> Instruction<'static> {
        let length = match self.choices.below(4) {
            0 | 1 => self.choices.below(9),
            2 => 17 + self.choices.below(24),
            _ => 100 + self.choices.below(180),
        };
        let most = most + usize::from(self.choices.once_in(16));
        Instruction::I32Const(length.min(most) as i32)
    }

    /// A place in an array, and the number of elements from there on.
    fn place(&mut self, array: &Array) -> (Instruction<'static>, usize) {
        let at = self.choices.below(array.length);
        (Instruction::I32Const(at as i32), array.length - at)
    }

    fn array_new(&mut self) -> Option<Code> {
        let Array { ty, element, global, .. } = self.array()?;
        let (operands, new) = match element {
            StorageType::Val(wasmparser::ValType::Ref(element)) if self.choices.once_in(2) => {
                let (_, (index, other, len)) = self.one_of(&self.items.elements)?;
                if other != element {
                    return None;
                }
                let new =
                    Instruction::ArrayNewElem { array_type_index: ty, array_elem_index: index };
                (self.part(len).to_vec(), new)
            }
            StorageType::Val(wasmparser::ValType::Ref(_)) => {
                (vec![self.number(64, false)], Instruction::ArrayNewDefault(ty))
            }
            _ => {
                let (_, (index, len)) = self.one_of(&self.items.data)?;
                let new =
                    Instruction::ArrayNewData { array_type_index: ty, array_data_index: index };
                // In bytes there are more of them.
                (self.part(len / 4).to_vec(), new)
            }
        };
        Some([&operands[..], &[new, Instruction::GlobalSet(global)]].concat())
    }

    fn array_fill(&mut self) -> Option<Code> {
        let array = self.array()?;
        let number = self.choices.below(1 << 16);
        let value = match array.element {
            StorageType::I8 | StorageType::I16 => Instruction::I32Const(number as i32),
            StorageType::Val(ty) => match ty {
                wasmparser::ValType::I32 => Instruction::I32Const(number as i32),
                wasmparser::ValType::I64 => Instruction::I64Const(number as i64),
                wasmparser::ValType::F32 => Instruction::F32Const((number as f32).into()),
                wasmparser::ValType::F64 => Instruction::F64Const((number as f64).into()),
                wasmparser::ValType::V128 => Instruction::V128Const(number as i128),
                wasmparser::ValType::Ref(ty) => null(ty),
            },
        };
        let (at, rest) = self.place(&array);
        let fill = Instruction::ArrayFill(array.ty);
        Some(vec![array.get(), at, value, self.length(rest), fill])
    }

    fn array_init(&mut self) -> Option<Code> {
        let array = self.array()?;
        let Array { ty, element, .. } = array;
        let (len, init) = if let StorageType::Val(wasmparser::ValType::Ref(element)) = element {
            let (_, (index, other, len)) = self.one_of(&self.items.elements)?;
            if other != element {
                return None;
            }
            (len, Instruction::ArrayInitElem { array_type_index: ty, array_elem_index: index })
        } else {
            let (_, (index, len)) = self.one_of(&self.items.data)?;
            (len / 4, Instruction::ArrayInitData { array_type_index: ty, array_data_index: index })
        };
        let (at, _) = self.place(&array);
        let [from, len] = self.part(len);
        Some(vec![array.get(), at, from, len, init])
    }

    /// Overwrites an element with another one.
    fn array_set(&mut self) -> Option<Code> {
        let array = self.array()?;
        let Array { ty, element, length, .. } = array;
        let get = match element {
            StorageType::I8 | StorageType::I16 => match self.choices.once_in(2) {
                true => Instruction::ArrayGetS(ty),
                false => Instruction::ArrayGetU(ty),
            },
            StorageType::Val(_) => Instruction::ArrayGet(ty),
        };
        let (at, from) = (self.number(length, false), self.number(length + 1, false));
        Some(vec![array.get(), at, array.get(), from, get, Instruction::ArraySet(ty)])
    }

    fn array_copy(&mut self) -> Option<Code> {
        let to = self.array()?;
        // What overlaps is copied by the host.
        let from = if self.choices.once_in(2) { to.other() } else { self.array()? };
        let ((to_at, most), (from_at, left)) = (self.place(&to), self.place(&from));
        let len = self.length(most.min(left));
        let (array_type_index_dst, array_type_index_src) = (to.ty, from.ty);
        let copy = Instruction::ArrayCopy { array_type_index_dst, array_type_index_src };
        (to.element == from.element).then(|| vec![to.get(), to_at, from.get(), from_at, len, copy])
    }
}

fn null(ty: wasmparser::RefType) -> Instruction<'static> {
    let ty = RoundtripReencoder.ref_type(ty).expect("a type of a valid module");
    Instruction::RefNull(ty.heap_type)
}
