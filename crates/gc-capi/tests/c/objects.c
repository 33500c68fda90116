/* Objects of the GC heap, what is attached to them, and collections. */
#include "check.h"

static wasm_engine_t* engine;
static wasm_store_t* store;

static wasm_val_t i32(int32_t number) {
  wasm_val_t value = WASM_I32_VAL(number);
  return value;
}

static wasm_val_t any(wasm_ref_t* ref) {
  wasm_val_t value;
  value.kind = RECLAIM_ANYREF;
  value.of.ref = ref;
  return value;
}

static void integers(void) {
  wasm_ref_t* i31 = reclaim_i31_new(store, 0x7fffffff);
  int32_t number;
  CHECK(reclaim_i31_get(i31, &number) && number == -1 && reclaim_ref_kind(i31) == RECLAIM_REF_I31);
  wasm_ref_t* same = reclaim_i31_new(store, 0x7fffffff);
  CHECK(wasm_ref_same(i31, same) && !reclaim_ref_type(i31));
  CHECK_FAILED((wasm_ref_set_host_info(i31, &number), true), "unboxed");
  CHECK_FAILED(!reclaim_struct_get(i31, 0, &(wasm_val_t){0}), "no struct");
  wasm_ref_delete(i31);
  wasm_ref_delete(same);
}

static reclaim_gctype_t* struct_type(void) {
  reclaim_fieldtype_t fields[] = {{RECLAIM_STORAGE_I8, WASM_VAR, NULL},
                                  {RECLAIM_STORAGE_VALUE, WASM_VAR, wasm_valtype_new(RECLAIM_ANYREF)},
                                  {RECLAIM_STORAGE_VALUE, WASM_CONST, wasm_valtype_new_i64()}};
  reclaim_gctype_t* type = reclaim_structtype_new(engine, fields, 3);
  wasm_valtype_delete(fields[1].type);
  wasm_valtype_delete(fields[2].type);
  CHECK(type);
  return type;
}

static wasm_ref_t* new_struct(const reclaim_gctype_t* type, int32_t number, wasm_ref_t* next) {
  wasm_val_t values[] = {i32(number), any(next), WASM_I64_VAL(number)};
  wasm_val_vec_t fields = WASM_ARRAY_VEC(values);
  return reclaim_struct_new(store, type, &fields);
}

static void structs(void) {
  reclaim_gctype_t* type = struct_type();
  wasm_ref_t* object = new_struct(type, 0x1ff, NULL);
  CHECK(object && reclaim_ref_kind(object) == RECLAIM_REF_STRUCT);
  wasm_val_t value;
  CHECK(reclaim_struct_get(object, 0, &value) && value.of.i32 == 0xff);
  CHECK(reclaim_struct_get(object, 2, &value) && value.of.i64 == 0x1ff);
  value = i32(3);
  CHECK(reclaim_struct_set(object, 0, &value) && reclaim_struct_get(object, 0, &value) && value.of.i32 == 3);
  value = any(object);
  CHECK(reclaim_struct_set(object, 1, &value) && reclaim_struct_get(object, 1, &value));
  CHECK(wasm_ref_same(value.of.ref, object));
  wasm_val_delete(&value);
  value = i32(1);
  CHECK_FAILED(!reclaim_struct_set(object, 1, &value), "type mismatch");
  CHECK_FAILED(!reclaim_struct_set(object, 3, &value), "no field 3");
  value.kind = WASM_I64;
  CHECK_FAILED(!reclaim_struct_set(object, 2, &value), "");
  CHECK_FAILED(!reclaim_struct_get(object, 3, &value), "");
  CHECK_FAILED(!reclaim_array_length(object, &(uint32_t){0}), "no array");
  wasm_val_vec_t none = WASM_EMPTY_VEC;
  CHECK_FAILED(!reclaim_struct_new(store, type, &none), "expected 3 values, found 0");
  reclaim_gctype_t* found = reclaim_ref_type(object);
  CHECK(found && reclaim_gctype_field_count(found) == 3);
  reclaim_gctype_delete(found);
  wasm_ref_delete(object);
  reclaim_gctype_delete(type);
}

static void arrays(void) {
  reclaim_fieldtype_t element = {RECLAIM_STORAGE_I16, WASM_VAR, NULL};
  reclaim_gctype_t* type = reclaim_arraytype_new(engine, &element);
  wasm_val_t value = i32(0x12345);
  wasm_ref_t* array = reclaim_array_new(store, type, &value, 4);
  uint32_t length;
  CHECK(array && reclaim_ref_kind(array) == RECLAIM_REF_ARRAY);
  CHECK(reclaim_array_length(array, &length) && length == 4);
  CHECK(reclaim_array_get(array, 3, &value) && value.of.i32 == 0x2345);
  uint8_t bytes[4] = {1, 2, 3, 4}, read[8];
  CHECK(reclaim_array_write(array, 1, bytes, 4) && reclaim_array_read(array, 0, read, 8));
  CHECK(read[0] == 0x45 && memcmp(read + 2, bytes, 4) == 0 && read[7] == 0x23);
  CHECK(reclaim_array_read(array, 4, NULL, 0) && reclaim_array_write(array, 4, NULL, 0));
  CHECK_FAILED(!reclaim_array_read(array, 0, read, 3), "");
  CHECK_FAILED(!reclaim_array_write(array, 3, bytes, 4), "");
  CHECK_FAILED(!reclaim_array_read(array, 0, NULL, 2), "NULL");
  CHECK_FAILED(!reclaim_array_get(array, 4, &value), "");
  value = i32(8);
  CHECK(reclaim_array_set(array, 0, &value));
  CHECK_FAILED(!reclaim_array_set(array, 4, &value), "");
  wasm_val_t values[] = {i32(1), i32(2)};
  wasm_val_vec_t elements = WASM_ARRAY_VEC(values);
  wasm_ref_t* fixed = reclaim_array_new_fixed(store, type, &elements);
  CHECK(fixed && reclaim_array_length(fixed, &length) && length == 2);
  CHECK_FAILED(!reclaim_struct_new(store, type, &elements), "arrays");
  wasm_ref_delete(array);
  wasm_ref_delete(fixed);
  reclaim_gctype_delete(type);
}

/* Whatever is passed as an externref or an anyref is the same when it comes back. */
static void things(void) {
  wasm_extern_vec_t exports = exports_of(
      store,
      "(module (global (export \"g\") (mut externref) (ref.null extern))"
      "  (func (export \"any\") (param anyref) (result anyref) (local.get 0))"
      "  (func (export \"extern\") (param externref) (result externref) (local.get 0))"
      "  (func (export \"to\") (param anyref) (result externref) (extern.convert_any (local.get 0)))"
      "  (memory (export \"m\") 1) (table (export \"t\") 1 funcref))",
      NULL);
  wasm_module_t* module = module_of(store, "(module)");
  wasm_message_t message;
  wasm_name_new_from_string_nt(&message, "a trap");
  wasm_trap_t* trap = wasm_trap_new(store, &message);
  wasm_byte_vec_delete(&message);
  wasm_foreign_t* foreign = wasm_foreign_new(store);
  reclaim_gctype_t* type = struct_type();
  wasm_ref_t* refs[] = {wasm_extern_as_ref(exports.data[0]), wasm_extern_as_ref(exports.data[1]),
                        wasm_extern_as_ref(exports.data[4]), wasm_extern_as_ref(exports.data[5]),
                        wasm_module_as_ref(module),          wasm_trap_as_ref(trap),
                        wasm_foreign_as_ref(foreign),        new_struct(type, 1, NULL),
                        reclaim_i31_new(store, 1)};
  for (size_t i = 0; i < sizeof refs / sizeof *refs; i++) {
    for (size_t f = 1; f <= 3; f++) {
      wasm_val_t argument[] = {any(refs[i])}, result[1];
      CHECK(!call(&exports, f, 1, argument, 1, result));
      for (size_t j = 0; j < sizeof refs / sizeof *refs; j++)
        CHECK(wasm_ref_same(result[0].of.ref, refs[j]) == (i == j));
      wasm_val_delete(&result[0]);
    }
  }
  CHECK(reclaim_ref_kind(refs[1]) == RECLAIM_REF_FUNC && reclaim_ref_kind(refs[2]) == RECLAIM_REF_OTHER);
  CHECK(reclaim_ref_kind(refs[6]) == RECLAIM_REF_FOREIGN && reclaim_ref_kind(NULL) == RECLAIM_REF_NULL);
  wasm_ref_delete(refs[7]);
  wasm_ref_delete(refs[8]);
  reclaim_gctype_delete(type);
  wasm_foreign_delete(foreign);
  wasm_trap_delete(trap);
  wasm_module_delete(module);
  wasm_extern_vec_delete(&exports);
}

static bool used_the_store, deleted_a_handle;

static void use_the_store(void* other) {
  CHECK_FAILED(!wasm_foreign_new(store), "the store is in use");
  wasm_foreign_delete(other);
  used_the_store = true;
}

static void delete_a_handle(void* other) {
  wasm_foreign_delete(other);
  deleted_a_handle = true;
}

static void attached(bool collects) {
  finalized = 0;
  reclaim_gctype_t* type = struct_type();
  wasm_ref_t* object = new_struct(type, 1, NULL);
  CHECK(!wasm_ref_get_host_info(object));
  wasm_ref_set_host_info_with_finalizer(object, &finalized, count);
  CHECK(wasm_ref_get_host_info(object) == &finalized);
  CHECK(reclaim_store_gc(store) && finalized == 0);
  uint64_t left = 1;
  CHECK(reclaim_store_gc_for(store, 1000000000, &left) && left == 0);
  CHECK(reclaim_store_gc_for(store, 0, NULL));
  CHECK_FAILED(!reclaim_store_gc_for(NULL, 0, &left), "NULL");
  CHECK(wasm_ref_get_host_info(object) == &finalized);
  wasm_ref_set_host_info_with_finalizer(object, type, count);
  CHECK(wasm_ref_get_host_info(object) == type);
  wasm_ref_delete(object);
  CHECK(reclaim_store_gc(store) && finalized == (collects ? 2 : 0));

  finalized = 0;
  wasm_foreign_t* foreign = wasm_foreign_new(store);
  wasm_foreign_set_host_info_with_finalizer(foreign, &finalized, count);
  wasm_foreign_set_host_info_with_finalizer(foreign, type, count);
  CHECK(finalized == 1 && wasm_foreign_get_host_info(foreign) == type);
  wasm_foreign_t* copy = wasm_foreign_copy(foreign);
  wasm_foreign_delete(foreign);
  CHECK(reclaim_store_gc(store) && finalized == 1);
  wasm_foreign_delete(copy);
  CHECK(reclaim_store_gc(store) && finalized == (collects ? 2 : 1));

  wasm_foreign_t* first = wasm_foreign_new(store);
  wasm_foreign_set_host_info_with_finalizer(first, wasm_foreign_new(store), use_the_store);
  wasm_foreign_t* second = wasm_foreign_new(store);
  wasm_foreign_set_host_info_with_finalizer(second, wasm_foreign_new(store), delete_a_handle);
  wasm_foreign_delete(first);
  wasm_foreign_delete(second);
  CHECK(reclaim_store_gc(store) && used_the_store == collects && deleted_a_handle == collects);
  if (!collects) {
    /* With null, they run when the store is gone, and cannot use it then. */
    used_the_store = true;
  }
  CHECK_FAILED((wasm_ref_set_host_info_with_finalizer(NULL, NULL, count), true), "NULL");
  reclaim_gctype_delete(type);
}

static void many(void) {
  reclaim_gctype_t* type = struct_type();
  wasm_ref_t* list = NULL;
  for (int i = 0; i < 20000; i++) {
    wasm_ref_t* longer = new_struct(type, i, i % 100 ? list : NULL);
    CHECK(longer);
    wasm_ref_delete(list);
    list = longer;
  }
  int length = 0;
  while (list) {
    wasm_val_t value;
    CHECK(reclaim_struct_get(list, 1, &value));
    wasm_ref_delete(list);
    list = value.of.ref;
    length++;
  }
  CHECK(length == 100);
  reclaim_gctype_delete(type);
}

static void full(int argc, char** argv) {
  wasm_config_t* config = config_of(argc, argv);
  reclaim_config_gc_heap_maximum(config, 4 << 20);
  wasm_engine_t* small = wasm_engine_new_with_config(config);
  CHECK(small);
  wasm_store_t* heap = wasm_store_new(small);
  reclaim_fieldtype_t element = {RECLAIM_STORAGE_I8, WASM_VAR, NULL};
  reclaim_gctype_t* type = reclaim_arraytype_new(small, &element);
  wasm_val_t zero = i32(0);
  wasm_ref_t* kept[100] = {NULL};
  int count = 0;
  while (count < 100 && (kept[count] = reclaim_array_new(heap, type, &zero, 100000))) count++;
  CHECK(count > 5 && count < 100);
  CHECK_FAILED(!kept[count], "");
  for (int i = 0; i < count; i++) wasm_ref_delete(kept[i]);
  if (!is_null_collector(argv)) {
    kept[0] = reclaim_array_new(heap, type, &zero, 100000);
    CHECK(kept[0]);
    wasm_ref_delete(kept[0]);
  }
  CHECK_FAILED(!reclaim_array_new(store, type, &zero, 1), "another engine");
  reclaim_gctype_delete(type);
  wasm_store_delete(heap);
  wasm_engine_delete(small);
}

int main(int argc, char** argv) {
  engine = engine_of(argc, argv);
  store = wasm_store_new(engine);
  integers();
  structs();
  arrays();
  things();
  attached(!is_null_collector(argv));
  many();
  full(argc, argv);
  reclaim_gc_stats_t stats;
  CHECK(reclaim_store_gc(store) && reclaim_store_gc_stats(store, &stats));
  CHECK(is_null_collector(argv) || (stats.collections > 0 && stats.pauses > 0 && stats.live_objects < 30));
  if (!is_null_collector(argv)) wasm_store_delete(store);
  wasm_engine_delete(engine);
  return 0;
}
