//! Objects behave the same under every collector and in both bounds modes: allocation, fields,
//! arrays, exceptions, externrefs, errors.

use crate::common::*;
use gc_runtime::{GcHeap, HeapError, NoStack};
use gc_types::{I31, StorageType, TypeIndex, VMGcKind, VMGcRef};

#[test]
fn fields_are_zero_at_first_and_keep_what_is_written() {
    on_every_heap(|name, mut store| {
        let object = store.alloc_struct(&mut NoStack, MIXED).unwrap();
        let layout = layouts().remove(1).1;
        for field in layout.fields().unwrap() {
            assert_eq!(store.read_field(&object, field.offset, field.ty), Ok(0), "{name}");
        }
        for (i, field) in layout.fields().unwrap().iter().enumerate() {
            if field.ty.is_ref() {
                continue;
            }
            let ones = u128::MAX >> (128 - 8 * field.ty.size());
            store.write_field(&object, field.offset, field.ty, ones - i as u128).unwrap();
        }
        for (i, field) in layout.fields().unwrap().iter().enumerate() {
            if field.ty.is_ref() {
                continue;
            }
            let ones = u128::MAX >> (128 - 8 * field.ty.size());
            let read = store.read_field(&object, field.offset, field.ty);
            assert_eq!(read, Ok(ones - i as u128), "{name}");
        }
        assert!(store.heap().unwrap().is_kind(&object, VMGcKind::EqRef));
        assert!(!store.heap().unwrap().is_kind(&object, VMGcKind::ArrayRef));
        assert_eq!(store.heap().unwrap().object_size(&object), Ok(layout.size(0).unwrap()));
        store.heap().unwrap().verify().unwrap();
    });
}

#[test]
fn references_are_clones_the_caller_holds() {
    on_every_heap(|name, mut store| {
        let (a, b) = (node(&mut store), node(&mut store));
        store.write_field(&b, VALUE, StorageType::I64, 42).unwrap();
        store.write_field_ref(&a, LEFT, Some(&b)).unwrap();
        store.drop_gc_ref(b);
        let b = store.read_field_ref(&a, LEFT).unwrap().unwrap();
        assert_eq!(store.read_field_ref(&a, RIGHT), Ok(None));
        // After the overwrite the object still lives in `b`.
        let i31 = VMGcRef::from_i31(I31::wrapping_i32(-5));
        store.write_field_ref(&a, LEFT, Some(&i31)).unwrap();
        assert_eq!(store.read_field(&b, VALUE, StorageType::I64), Ok(42), "{name}");
        assert_eq!(store.read_field_ref(&a, LEFT).unwrap().unwrap(), i31);
        let mut seen = Vec::new();
        store.heap().unwrap().for_each_ref(&a, &mut |offset, r| seen.push((offset, r))).unwrap();
        assert_eq!(seen, [(LEFT, i31)]);
        let mut slot = None;
        store.write_gc_ref(&mut slot, Some(&b));
        store.drop_gc_ref(b);
        store.heap().unwrap().verify().unwrap();
        let copy = slot.as_ref().unwrap().unchecked_copy();
        store.write_gc_ref(&mut slot, Some(&copy));
        assert_eq!(store.read_field(&copy, VALUE, StorageType::I64), Ok(42));
        store.write_gc_ref(&mut slot, None);
        assert_eq!(slot, None);
        store.gc(&mut NoStack).unwrap();
        store.heap().unwrap().verify().unwrap();
        let expected = if name == "drc" { 1 } else { 2 };
        assert_eq!(store.stats().live_objects, expected, "{name}");
    });
}

#[test]
fn arrays_copy_fill_and_check_their_bounds() {
    on_every_heap(|_, mut store| {
        let array = store.alloc_array(&mut NoStack, LONGS, 100).unwrap();
        assert_eq!(store.array_len(&array), Ok(100));
        store.array_fill(&array, 10, 7, 50).unwrap();
        store.array_write_bytes(&array, 0, &[1u64, 2, 3].map(u64::to_le_bytes).concat()).unwrap();
        store.array_copy(&array, 1, &array, 0, 99).unwrap();
        let expect = |store: &gc_runtime::GcStore, index, value: u128| {
            let (offset, ty) = store.array_element(&array, index, 1).unwrap();
            assert_eq!(store.read_field(&array, offset, ty), Ok(value), "element {index}");
        };
        for (index, value) in [(0, 1), (1, 1), (2, 2), (3, 3), (4, 0), (10, 0), (11, 7), (60, 7)] {
            expect(&store, index, value);
        }
        expect(&store, 61, 0);
        store.array_fill(&array, 100, 1, 0).unwrap();
        let outside = |result| matches!(result, Err(HeapError::OutOfBounds { length: 100, .. }));
        assert!(outside(store.array_fill(&array, 100, 1, 1)));
        assert!(outside(store.array_fill(&array, u32::MAX, 1, u32::MAX)));
        assert!(outside(store.array_copy(&array, 0, &array, 1, 100)));
        assert!(outside(store.array_copy(&array, 1, &array, 0, 100)));
        assert!(outside(store.array_write_bytes(&array, 99, &[0; 16])));
        let wrong = |result| matches!(result, Err(HeapError::WrongElement { .. }));
        assert!(wrong(store.array_write_bytes(&array, 0, &[0; 7])));
        let refs = store.alloc_array(&mut NoStack, REFS, 2).unwrap();
        let bytes = store.alloc_array(&mut NoStack, BYTES, 0).unwrap();
        assert!(wrong(store.array_write_bytes(&refs, 0, &[0; 4])));
        assert!(wrong(store.array_copy(&array, 0, &refs, 0, 1)));
        assert!(wrong(store.array_copy(&bytes, 0, &array, 0, 0)));
        store.array_write_bytes(&bytes, 0, &[]).unwrap();
        store.heap().unwrap().verify().unwrap();
    });
}

#[test]
fn copying_and_filling_references_counts_them() {
    on_every_heap(|name, mut store| {
        let array = store.alloc_array(&mut NoStack, REFS, 8).unwrap();
        let nodes: Vec<VMGcRef> = (0..4).map(|_| node(&mut store)).collect();
        for (i, node) in nodes.iter().enumerate() {
            let (offset, _) = store.array_element(&array, i as u32, 1).unwrap();
            store.write_field_ref(&array, offset, Some(node)).unwrap();
        }
        let element = |store: &mut gc_runtime::GcStore, i| {
            let (offset, ty) = store.array_element(&array, i, 1).unwrap();
            store.read_field(&array, offset, ty).unwrap() as u32
        };
        let expected: Vec<u32> = nodes.iter().map(VMGcRef::as_raw_u32).collect();
        nodes.into_iter().for_each(|node| store.drop_gc_ref(node));
        // Copies up by two with overlap, then down by one.
        store.array_copy(&array, 2, &array, 0, 4).unwrap();
        let now: Vec<u32> = (0..8).map(|i| element(&mut store, i)).collect();
        assert_eq!(now[2..6], expected[..]);
        assert_eq!(now[..2], expected[..2]);
        store.heap().unwrap().verify().unwrap();
        store.array_copy(&array, 0, &array, 1, 7).unwrap();
        let now: Vec<u32> = (0..8).map(|i| element(&mut store, i)).collect();
        assert_eq!(now[1..5], expected[..]);
        store.heap().unwrap().verify().unwrap();
        let first = expected[0];
        store.array_fill(&array, 0, u128::from(first), 8).unwrap();
        store.gc(&mut NoStack).unwrap();
        store.heap().unwrap().verify().unwrap();
        if name == "drc" {
            assert_eq!(store.stats().live_objects, 2);
        }
        store.array_fill(&array, 0, 0, 8).unwrap();
        store.drop_gc_ref(array);
        store.gc(&mut NoStack).unwrap();
        store.heap().unwrap().verify().unwrap();
        if name == "drc" {
            assert_eq!(store.stats().live_objects, 0);
        }
    });
}

#[test]
fn exceptions_know_their_tag() {
    on_every_heap(|_, mut store| {
        let exn = store.alloc_exn(&mut NoStack, EXN, 3, 9).unwrap();
        assert_eq!(store.read_field(&exn, 8, StorageType::I32), Ok(3));
        assert_eq!(store.read_field(&exn, 12, StorageType::I32), Ok(9));
        assert!(store.heap().unwrap().is_kind(&exn, VMGcKind::ExnRef));
        let same = store.alloc_struct(&mut NoStack, EXN).unwrap();
        assert!(store.heap().unwrap().is_kind(&same, VMGcKind::ExnRef));
        store.heap().unwrap().verify().unwrap();
    });
}

#[test]
fn externrefs_hold_host_values() {
    on_every_heap(|_, mut store| {
        let externref = store.alloc_externref(&mut NoStack, Box::new("hello")).unwrap();
        let value = store.externref_host_data(&externref).unwrap();
        assert_eq!(value.downcast_ref::<&str>(), Some(&"hello"));
        let node = node(&mut store);
        assert!(matches!(store.externref_host_data(&node), Err(HeapError::WrongKind { .. })));
        let id = gc_types::GcLayout::EXTERNREF_ID_OFFSET;
        store.write_field(&externref, id, StorageType::I32, 0xffff).unwrap();
        assert!(matches!(store.externref_host_data(&externref), Err(HeapError::Corrupt { .. })));
    });
}

#[test]
fn misuse_is_an_error() {
    on_every_heap(|_, mut store| {
        let i31 = VMGcRef::from_i31(I31::wrapping_u32(1));
        assert!(matches!(store.array_len(&i31), Err(HeapError::NotAnObject { .. })));
        assert!(store.read_field(&i31, 8, StorageType::I32).is_err());
        assert!(store.write_field_ref(&i31, 8, None).is_err());
        let object = node(&mut store);
        assert!(matches!(store.array_len(&object), Err(HeapError::WrongKind { .. })));
        assert!(store.read_field(&object, u32::MAX, StorageType::I64).is_err());
        assert!(store.write_field(&object, LEFT, StorageType::Ref, 8).is_err());
        let unknown = TypeIndex::new(77).unwrap();
        for ty in [unknown, TypeIndex::NONE, REFS] {
            let result = store.alloc_struct(&mut NoStack, ty);
            assert_eq!(result, Err(HeapError::UnknownType { ty }));
        }
        assert!(store.alloc_array(&mut NoStack, NODE, 1).is_err());
        assert!(store.alloc_exn(&mut NoStack, NODE, 0, 0).is_err());
        assert_eq!(
            store.alloc_array(&mut NoStack, LONGS, u32::MAX),
            Err(HeapError::TooLarge { length: u64::from(u32::MAX) })
        );
        store.heap().unwrap().verify().unwrap();
    });
}

#[test]
fn i31s_pass_every_barrier() {
    on_every_heap(|_, mut store| {
        let i31 = VMGcRef::from_i31(I31::wrapping_u32(5));
        let clone = store.clone_gc_ref(&i31);
        assert_eq!(store.expose_gc_ref_to_wasm(clone), i31.as_raw_u32());
        let mut slot = None;
        store.write_gc_ref(&mut slot, Some(&i31));
        store.write_gc_ref(&mut slot, None);
        store.drop_gc_ref(i31);
        assert!(store.gc(&mut NoStack).unwrap());
        store.heap().unwrap().verify().unwrap();
    });
}

#[test]
fn objects_are_visited_in_address_order() {
    on_every_heap(|_, mut store| {
        let mut made: Vec<u32> = (0..50)
            .map(|i| {
                let array = store.alloc_array(&mut NoStack, BYTES, i * 13).unwrap();
                array.as_raw_u32()
            })
            .collect();
        made.sort_unstable();
        let mut seen = Vec::new();
        let heap: &dyn GcHeap = store.heap().unwrap();
        heap.for_each_object(&mut |object| seen.push(object.as_raw_u32())).unwrap();
        assert_eq!(seen, made);
    });
}
