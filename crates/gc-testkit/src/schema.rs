//! The types that a mutator allocates: a fixed set with every kind and every storage type, or a
//! random one.

use arbitrary::Unstructured;
use gc_heap::GcHeap;
use gc_types::{
    ArrayLayout, ExnLayout, FieldLayout, GcLayout, StorageType, StructLayout, TypeIndex,
};
use std::sync::{Arc, LazyLock};

/// A struct of a number and two references, in the fixed schema.
pub const NODE: TypeIndex = type_index(0);
/// A struct of every storage type, in the fixed schema.
pub const MIXED: TypeIndex = type_index(1);
/// A struct without fields, in the fixed schema.
pub const EMPTY: TypeIndex = type_index(2);
/// A struct of 601 fields, every second a reference, in the fixed schema.
pub const WIDE: TypeIndex = type_index(3);
/// An exception with a payload of two references and a number, in the fixed schema.
pub const EXN: TypeIndex = type_index(4);
/// An array of bytes, in every schema.
pub const BYTES: TypeIndex = array_index(0);
/// An array of 64-bit integers, in every schema.
pub const LONGS: TypeIndex = array_index(3);
/// An array of references, in every schema.
pub const REFS: TypeIndex = array_index(7);

/// Elements of the array types.
const ELEMENTS: [StorageType; 9] = {
    use StorageType::*;
    [I8, I16, I32, I64, F32, F64, V128, Ref, FuncRef]
};

/// Indices are far apart, because tables by type index must support holes.
const fn type_index(number: u32) -> TypeIndex {
    TypeIndex::new(number * 7 + 3).unwrap()
}

const fn array_index(number: u32) -> TypeIndex {
    type_index(100 + number)
}

/// A set of types.
#[derive(Debug)]
pub struct Schema {
    structs: Vec<(TypeIndex, Arc<GcLayout>)>,
    arrays: Vec<(TypeIndex, Arc<GcLayout>)>,
}

impl Schema {
    fn new(structs: Vec<GcLayout>) -> Schema {
        let numbered = |(number, layout)| (type_index(number as u32), Arc::new(layout));
        let array = |(number, &element): (usize, &StorageType)| {
            let layout = GcLayout::Array(ArrayLayout::new(element));
            (array_index(number as u32), Arc::new(layout))
        };
        Schema {
            structs: structs.into_iter().enumerate().map(numbered).collect(),
            arrays: ELEMENTS.iter().enumerate().map(array).collect(),
        }
    }

    /// The fixed set.
    pub fn fixed() -> Arc<Schema> {
        static FIXED: LazyLock<Arc<Schema>> = LazyLock::new(|| Arc::new(Schema::make_fixed()));
        Arc::clone(&FIXED)
    }

    fn make_fixed() -> Schema {
        use StorageType::*;
        let wide = std::iter::once(I64).chain((0..300).flat_map(|_| [Ref, I16]));
        let structs: [Vec<StorageType>; 4] = [
            vec![I64, Ref, Ref],
            vec![I8, Ref, I16, F32, I64, F64, V128, Ref, FuncRef, I32, Ref, I8],
            vec![],
            wide.collect(),
        ];
        let structs = structs.into_iter().map(struct_layout).chain([exn_layout([Ref, I32, Ref])]);
        Schema::new(structs.collect())
    }

    /// Makes structs and exceptions with random fields.
    ///
    /// # Errors
    /// If `u` runs out.
    pub fn arbitrary(u: &mut Unstructured<'_>) -> arbitrary::Result<Arc<Schema>> {
        let mut structs = Vec::new();
        for _ in 0..u.int_in_range(1..=5)? {
            let mut fields = Vec::new();
            for _ in 0..u.int_in_range(0..=9)? {
                // As many references as other types.
                let any = *u.choose(&ELEMENTS)?;
                fields.push(if u.arbitrary()? { StorageType::Ref } else { any });
            }
            let is_exn = u.ratio(1, 5)?;
            structs.push(if is_exn { exn_layout(fields) } else { struct_layout(fields) });
        }
        Ok(Arc::new(Schema::new(structs)))
    }

    /// All types with their layouts.
    pub fn types(&self) -> impl Iterator<Item = (TypeIndex, &Arc<GcLayout>)> {
        self.structs.iter().chain(&self.arrays).map(|(ty, layout)| (*ty, layout))
    }

    /// The struct or exception type that `choice` chooses.
    pub fn choose_struct(&self, choice: u8) -> (TypeIndex, &Arc<GcLayout>) {
        let (ty, layout) = &self.structs[usize::from(choice) % self.structs.len()];
        (*ty, layout)
    }

    /// The array type that `choice` chooses; half of all choices are arrays of
    /// references.
    pub fn choose_array(&self, choice: u8) -> (TypeIndex, &Arc<GcLayout>) {
        let choice = if choice < 128 { 7 } else { usize::from(choice) % self.arrays.len() };
        let (ty, layout) = &self.arrays[choice];
        (*ty, layout)
    }

    /// The layout of a type.
    pub fn layout(&self, ty: TypeIndex) -> Option<&Arc<GcLayout>> {
        self.types().find(|(known, _)| *known == ty).map(|(_, layout)| layout)
    }

    /// Registers all types with a heap.
    pub fn register(&self, heap: &mut dyn GcHeap) {
        let layouts = &mut heap.core_mut().side.layouts;
        self.types().for_each(|(ty, layout)| {
            layouts.ensure(ty, layout).expect("types have numbers of their own");
        });
    }
}

fn struct_layout(fields: impl IntoIterator<Item = StorageType>) -> GcLayout {
    GcLayout::Struct(StructLayout::new(fields).expect("a few fields fit any heap"))
}

fn exn_layout(fields: impl IntoIterator<Item = StorageType>) -> GcLayout {
    GcLayout::Exn(ExnLayout::new(fields).expect("a few fields fit any heap"))
}

/// Fields or elements of an object of this layout; `length` is an array's.
pub(crate) fn slot_count(layout: &GcLayout, length: u32) -> u32 {
    layout.fields().map_or(length, |fields| fields.len() as u32)
}

/// The `number`th field or element of an object.
///
/// # Panics
/// If a struct or exception has fewer.
pub(crate) fn slot(layout: &GcLayout, number: u32) -> FieldLayout {
    match layout {
        GcLayout::Struct(StructLayout { fields, .. }) | GcLayout::Exn(ExnLayout { fields, .. }) => {
            fields[number as usize]
        }
        // An offset of more than 32 bits comes from a corrupt length. Then any offset will do.
        GcLayout::Array(array) => {
            let offset = u32::try_from(array.element_offset(number)).unwrap_or(u32::MAX);
            FieldLayout { offset, ty: array.element }
        }
    }
}

/// The number of the field or element that `choice` chooses among the references, or among the
/// other values. `None` if there are none.
pub(crate) fn choose_slot(layout: &GcLayout, length: u32, choice: u16, refs: bool) -> Option<u32> {
    let Some(fields) = layout.fields() else {
        let element = layout.as_array()?.element;
        return (length > 0 && element.is_ref() == refs).then(|| u32::from(choice) % length);
    };
    let matching = || fields.iter().enumerate().filter(|(_, field)| field.ty.is_ref() == refs);
    let chosen = usize::from(choice).checked_rem(matching().count())?;
    matching().nth(chosen).map(|(number, _)| number as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_stay_among_what_there_is() {
        let schema = Schema::fixed();
        let mixed = schema.layout(MIXED).unwrap();
        for choice in 0..100 {
            for refs in [false, true] {
                let number = choose_slot(mixed, 0, choice, refs).unwrap();
                assert_eq!(slot(mixed, number).ty.is_ref(), refs);
            }
        }
        assert_eq!(choose_slot(schema.layout(EMPTY).unwrap(), 0, 5, true), None);
        let refs = schema.layout(REFS).unwrap();
        assert_eq!(choose_slot(refs, 0, 5, true), None);
        assert_eq!(choose_slot(refs, 3, 5, true), Some(2));
        assert_eq!(choose_slot(refs, 3, 5, false), None);
        assert_eq!(slot_count(refs, 3), 3);
        assert_eq!(schema.layout(BYTES).unwrap().as_array().unwrap().element, StorageType::I8);
        assert_eq!(schema.layout(LONGS).unwrap().as_array().unwrap().element, StorageType::I64);
        assert_eq!(schema.layout(REFS).unwrap().as_array().unwrap().element, StorageType::Ref);
    }
}
