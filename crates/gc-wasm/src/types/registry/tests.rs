//! Types are freed with their last owner, and their indices are used again.

use super::*;
use wasmtime_types::{RecGroupRelativeTypeIndex, WasmHeapType, WasmRefType, WasmStructType};

/// A struct type with these fields.
fn structure(
    supertype: Option<EngineOrModuleTypeIndex>,
    fields: impl IntoIterator<Item = WasmValType>,
) -> WasmSubType {
    let field = |ty| WasmFieldType { element_type: WasmStorageType::Val(ty), mutable: true };
    let fields = fields.into_iter().map(field).collect();
    WasmSubType {
        is_final: false,
        supertype,
        composite_type: WasmCompositeType {
            inner: WasmCompositeInnerType::Struct(WasmStructType { fields }),
            shared: false,
        },
    }
}

/// A type with a few fields that is another one for each `number`.
fn numbered(number: u32) -> WasmSubType {
    let bit = |i: u32| if number >> i & 1 == 0 { WasmValType::I32 } else { WasmValType::I64 };
    structure(None, (0..32).map(bit))
}

fn edge(ty: &RegisteredType) -> EngineOrModuleTypeIndex {
    VMSharedTypeIndex::new(ty.index.as_u32()).into()
}

fn reference(edge: EngineOrModuleTypeIndex) -> WasmValType {
    WasmValType::Ref(WasmRefType { nullable: true, heap_type: WasmHeapType::ConcreteStruct(edge) })
}

fn subtype(of: &RegisteredType) -> WasmSubType {
    let WasmCompositeInnerType::Struct(ty) = &of.sub_type.composite_type.inner else {
        panic!("a struct type")
    };
    let fields = ty.fields.iter().map(|field| match field.element_type {
        WasmStorageType::Val(ty) => ty,
        _ => unreachable!("fields are values"),
    });
    structure(Some(edge(of)), fields.chain([WasmValType::F64]))
}

#[test]
fn a_million_short_lived_types_use_few_indices() {
    let registry = TypeRegistry::with_capacity(4).unwrap();
    let kept = registry.register_alone(numbered(u32::MAX)).unwrap();
    for number in 0..1_000_000 {
        let ty = registry.register_alone(numbered(number)).unwrap();
        assert_eq!(ty.index.as_u32(), 1);
        assert!(registry.is_subtype(ty.index, ty.index));
        assert!(!registry.is_subtype(ty.index, kept.index));
    }
    assert_eq!(registry.len(), 1);
    assert!(registry.0.table.read().unwrap().groups.len() == 1, "forms are forgotten too");
}

#[test]
fn equal_types_are_one_type_while_one_of_them_exists() {
    let registry = TypeRegistry::with_capacity(4).unwrap();
    let a = registry.register_alone(numbered(1)).unwrap();
    let b = registry.register_alone(numbered(1)).unwrap();
    assert_eq!(a.index, b.index);
    drop(a);
    assert_eq!(registry.register_alone(numbered(1)).unwrap().index, b.index);
    drop(b);
    assert_eq!(registry.len(), 0);
}

#[test]
fn types_keep_those_to_which_they_refer() {
    let registry = TypeRegistry::with_capacity(4).unwrap();
    let a = registry.register_alone(numbered(1)).unwrap();
    let b = registry.register_alone(subtype(&a)).unwrap();
    let c = registry.register_alone(structure(None, [reference(edge(&b))])).unwrap();
    let (a_index, b_index) = (a.index, b.index);
    drop((a, b));
    assert_eq!(registry.len(), 3);
    assert!(registry.is_subtype(b_index, a_index) && !registry.is_subtype(a_index, b_index));
    assert_eq!(registry.get(b_index).chain.len(), 2);
    drop(c);
    assert_eq!(registry.len(), 0);
    assert!(!registry.is_subtype(b_index, a_index), "the row is cleared");
}

#[test]
fn a_group_is_freed_with_the_last_of_its_types() {
    let registry = TypeRegistry::with_capacity(8).unwrap();
    let own = |n| EngineOrModuleTypeIndex::from(RecGroupRelativeTypeIndex::from_u32(n));
    let group = || WasmRecGroup {
        types: Box::new([
            structure(None, [reference(own(1))]),
            structure(Some(own(0)), [reference(own(1)), reference(own(0))]),
        ]),
    };
    let types: Vec<_> = registry.register(group()).unwrap().collect();
    let [first, second] = &types[..] else { panic!("two types") };
    assert!(registry.is_subtype(second.index, first.index));
    let second = second.clone();
    drop(types);
    assert_eq!(registry.len(), 2);
    let again: Vec<_> = registry.register(group()).unwrap().collect();
    assert_eq!(again[1].index, second.index);
    drop((again, second));
    assert_eq!(registry.len(), 0);
    // Groups without types need nothing.
    assert_eq!(registry.register(WasmRecGroup { types: Box::new([]) }).unwrap().len(), 0);
}

#[test]
fn free_indices_need_not_be_adjacent() {
    let registry = TypeRegistry::with_capacity(4).unwrap();
    let mut types: Vec<_> = (0..4).map(|n| registry.register_alone(numbered(n)).unwrap()).collect();
    types.remove(2);
    types.remove(0);
    let pair = WasmRecGroup { types: Box::new([numbered(7), numbered(8)]) };
    let pair: Vec<_> = registry.register(pair).unwrap().collect();
    assert_eq!([pair[0].index.as_u32(), pair[1].index.as_u32()], [0, 2]);
    assert_eq!(registry.get(pair[1].index).sub_type, pair[1].sub_type);
}

#[test]
fn a_full_registry_is_an_error_until_types_are_freed() {
    let registry = TypeRegistry::with_capacity(3).unwrap();
    let types: Vec<_> = (0..3).map(|n| registry.register_alone(numbered(n)).unwrap()).collect();
    let error = registry.register_alone(subtype(&types[0])).unwrap_err().to_string();
    assert_eq!(error, "more than 3 types in one engine at the same time");
    assert_eq!(registry.len(), 3);
    drop(types);
    registry.register_alone(numbered(9)).unwrap();
}

#[test]
fn subtypes_of_deep_types() {
    let registry = TypeRegistry::with_capacity(64).unwrap();
    let mut chain = vec![registry.register_alone(structure(None, [])).unwrap()];
    for _ in 0..20 {
        let next = registry.register_alone(subtype(chain.last().unwrap())).unwrap();
        chain.push(next);
    }
    let other = registry.register_alone(numbered(1)).unwrap();
    for (i, sub) in chain.iter().enumerate() {
        assert!(!registry.is_subtype(other.index, sub.index));
        for (j, sup) in chain.iter().enumerate() {
            assert_eq!(registry.is_subtype(sub.index, sup.index), j <= i);
        }
    }
}

/// A module chooses how long the row of groups is, and the stack of a thread is small.
#[test]
fn a_long_row_of_groups_is_freed_without_recursion() {
    const LENGTH: usize = 100_000;
    let registry = TypeRegistry::new().unwrap();
    let mut last = registry.register_alone(structure(None, [])).unwrap();
    for _ in 0..LENGTH {
        last = registry.register_alone(structure(None, [reference(edge(&last))])).unwrap();
    }
    assert_eq!(registry.len(), LENGTH + 1);
    let thread = std::thread::Builder::new().stack_size(256 << 10);
    thread.spawn(move || drop(last)).unwrap().join().unwrap();
    assert_eq!(registry.len(), 0);
}

#[test]
fn threads_that_register_and_free_equal_types_agree() {
    let registry = &TypeRegistry::with_capacity(4 * 2 * 3).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for round in 0..20_000 {
                    // Two threads always use the same numbers.
                    let root = numbered(round % 5 + thread / 2 * 1000);
                    let root = registry.register_alone(root).unwrap();
                    let sub = registry.register_alone(subtype(&root)).unwrap();
                    let equal = registry.register_alone(subtype(&root)).unwrap();
                    assert_eq!(sub.index, equal.index);
                    assert!(registry.is_subtype(sub.index, root.index));
                    assert!(!registry.is_subtype(root.index, sub.index));
                    assert_eq!(*sub.chain, [root.index.as_u32(), sub.index.as_u32()]);
                    assert_eq!(registry.get(sub.index).sub_type, sub.sub_type);
                }
            });
        }
    });
    assert_eq!(registry.len(), 0);
}
