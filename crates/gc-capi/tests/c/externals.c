/* Globals, tables, memories, modules, and the life of handles. */
#include "check.h"

#define MODULE                                                                     \
  "(module (import \"m\" \"g\" (global (mut i64)))"                                \
  "  (table (export \"t\") 3 5 externref) (memory (export \"mem\") 1 2)"           \
  "  (func (export \"f\") (param i32) (result f64) (f64.const 2.5))"               \
  "  (tag (export \"tag\") (param i32))"                                           \
  "  (data (i32.const 0) \"hello\"))"

static wasm_global_t* global_of(wasm_store_t* store, int64_t number, wasm_mutability_t mutability) {
  wasm_val_t value = WASM_I64_VAL(number);
  wasm_globaltype_t* type = wasm_globaltype_new(wasm_valtype_new_i64(), mutability);
  wasm_global_t* global = wasm_global_new(store, type, &value);
  wasm_globaltype_delete(type);
  CHECK(global);
  return global;
}

static void globals(wasm_store_t* store, wasm_store_t* other) {
  wasm_global_t* global = global_of(store, 5, WASM_VAR);
  wasm_val_t value;
  wasm_global_get(global, &value);
  CHECK(value.kind == WASM_I64 && value.of.i64 == 5);
  value.of.i64 = 6;
  wasm_global_set(global, &value);
  wasm_global_get(global, &value);
  CHECK(value.of.i64 == 6);
  wasm_val_t wrong = WASM_I32_VAL(1);
  CHECK_FAILED((wasm_global_set(global, &wrong), true), "type mismatch: expected i64");
  wasm_global_t* constant = global_of(store, 5, WASM_CONST);
  CHECK_FAILED((wasm_global_set(constant, &value), true), "immutable");
  CHECK(!wasm_global_same(global, constant));
  wasm_global_t* copy = wasm_global_copy(global);
  CHECK(wasm_global_same(global, copy) && !wasm_global_same(global, NULL) && wasm_global_same(NULL, NULL));
  wasm_globaltype_t* type = wasm_global_type(copy);
  CHECK(wasm_globaltype_mutability(type) == WASM_VAR);
  wasm_globaltype_delete(type);
  wasm_global_delete(copy);
  wasm_global_delete(constant);

  /* A reference of another store. */
  wasm_foreign_t* foreign = wasm_foreign_new(other);
  wasm_val_t ref = WASM_REF_VAL(wasm_foreign_as_ref(foreign));
  type = wasm_globaltype_new(wasm_valtype_new_externref(), WASM_VAR);
  CHECK_FAILED(!wasm_global_new(store, type, &ref), "another store");
  ref.of.ref = NULL;
  wasm_global_t* refs = wasm_global_new(store, type, &ref);
  ref.of.ref = wasm_foreign_as_ref(foreign);
  CHECK_FAILED((wasm_global_set(refs, &ref), true), "another store");
  wasm_globaltype_delete(type);
  wasm_global_delete(refs);
  wasm_foreign_delete(foreign);
  wasm_global_delete(global);
}

static void tables(wasm_store_t* store, wasm_store_t* other) {
  wasm_limits_t limits = {2, 4};
  wasm_tabletype_t* type = wasm_tabletype_new(wasm_valtype_new_externref(), &limits);
  wasm_foreign_t* foreign = wasm_foreign_new(store);
  wasm_ref_t* ref = wasm_foreign_as_ref(foreign);
  wasm_table_t* table = wasm_table_new(store, type, ref);
  CHECK(table && wasm_table_size(table) == 2);
  wasm_ref_t* element = wasm_table_get(table, 1);
  CHECK(wasm_ref_same(element, ref));
  wasm_ref_delete(element);
  CHECK(wasm_table_set(table, 0, NULL) && !wasm_table_get(table, 0));
  CHECK(wasm_table_grow(table, 2, ref) && wasm_table_size(table) == 4);
  CHECK_FAILED(!wasm_table_grow(table, 1, NULL), "");
  CHECK_FAILED(!wasm_table_get(table, 4), "no element 4");
  CHECK_FAILED(!wasm_table_set(table, 4, NULL), "");
  wasm_foreign_t* stranger = wasm_foreign_new(other);
  CHECK_FAILED(!wasm_table_set(table, 0, wasm_foreign_as_ref(stranger)), "another store");
  CHECK_FAILED(!wasm_table_new(store, type, wasm_foreign_as_ref(stranger)), "another store");
  wasm_tabletype_delete(type);
  type = wasm_table_type(table);
  CHECK(wasm_tabletype_limits(type)->max == 4);
  wasm_tabletype_delete(type);
  type = wasm_tabletype_new(wasm_valtype_new_funcref(), &limits);
  CHECK_FAILED(!wasm_table_new(store, type, ref), "type mismatch");
  wasm_tabletype_delete(type);
  wasm_foreign_delete(stranger);
  wasm_foreign_delete(foreign);
  wasm_table_delete(table);
}

static void memories(wasm_store_t* store) {
  wasm_limits_t limits = {1, 3};
  wasm_memorytype_t* type = wasm_memorytype_new(&limits);
  wasm_memory_t* memory = wasm_memory_new(store, type);
  wasm_memorytype_delete(type);
  CHECK(memory && wasm_memory_size(memory) == 1 && wasm_memory_data_size(memory) == MEMORY_PAGE_SIZE);
  wasm_memory_data(memory)[MEMORY_PAGE_SIZE - 1] = 7;
  CHECK(wasm_memory_grow(memory, 2) && wasm_memory_size(memory) == 3);
  CHECK(wasm_memory_data(memory)[MEMORY_PAGE_SIZE - 1] == 7);
  CHECK_FAILED(!wasm_memory_grow(memory, 1), "");
  type = wasm_memory_type(memory);
  CHECK(wasm_memorytype_limits(type)->max == 3);
  wasm_memorytype_delete(type);
  wasm_memory_delete(memory);
}

static void reflection(wasm_store_t* store) {
  wasm_module_t* module = module_of(store, MODULE);
  wasm_importtype_vec_t imports;
  wasm_exporttype_vec_t exports;
  wasm_module_imports(module, &imports);
  wasm_module_exports(module, &exports);
  CHECK(imports.size == 1 && exports.size == 4);
  CHECK(memcmp(wasm_importtype_module(imports.data[0])->data, "m", 1) == 0);
  CHECK(wasm_externtype_kind(wasm_importtype_type(imports.data[0])) == WASM_EXTERN_GLOBAL);
  wasm_externkind_t kinds[] = {WASM_EXTERN_TABLE, WASM_EXTERN_MEMORY, WASM_EXTERN_FUNC, WASM_EXTERN_TAG};
  wasm_global_t* global = global_of(store, 1, WASM_VAR);
  wasm_extern_t* given[] = {wasm_global_as_extern(global)};
  wasm_extern_vec_t externs = WASM_ARRAY_VEC(given), found;
  wasm_instance_t* instance = wasm_instance_new(store, module, &externs, NULL);
  CHECK(instance);
  wasm_instance_exports(instance, &found);
  for (size_t i = 0; i < 4; i++) {
    CHECK(wasm_externtype_kind(wasm_exporttype_type(exports.data[i])) == kinds[i]);
    CHECK(wasm_extern_kind(found.data[i]) == kinds[i]);
    wasm_externtype_t* type = wasm_extern_type(found.data[i]);
    CHECK(wasm_externtype_kind(type) == kinds[i]);
    wasm_tagtype_t* tag = wasm_externtype_as_tagtype(type);
    CHECK((tag != NULL) == (kinds[i] == WASM_EXTERN_TAG));
    if (tag) {
      CHECK(wasm_functype_params(wasm_tagtype_functype(tag))->size == 1);
      wasm_extern_t* same = reclaim_tag_new(store, tag);
      CHECK(same && wasm_extern_kind(same) == WASM_EXTERN_TAG);
      wasm_extern_delete(same);
    }
    wasm_externtype_delete(type);
    CHECK(wasm_ref_as_extern(wasm_extern_as_ref(found.data[i])) == found.data[i]);
  }
  CHECK(wasm_extern_as_table(found.data[0]) && !wasm_extern_as_func(found.data[0]));
  CHECK(memcmp(wasm_memory_data(wasm_extern_as_memory(found.data[1])), "hello", 5) == 0);
  wasm_functype_t* type = wasm_func_type(wasm_extern_as_func(found.data[2]));
  CHECK(wasm_valtype_kind(wasm_functype_results(type)->data[0]) == WASM_F64);
  wasm_functype_delete(type);
  wasm_importtype_vec_delete(&imports);
  wasm_exporttype_vec_delete(&exports);
  wasm_extern_vec_delete(&found);
  wasm_instance_delete(instance);
  wasm_global_delete(global);
  wasm_module_delete(module);
}

static void saved(wasm_store_t* store, wasm_store_t* other) {
  wasm_module_t* module = module_of(store, MODULE);
  wasm_byte_vec_t bytes;
  wasm_module_serialize(module, &bytes);
  CHECK(bytes.size > 100);
  wasm_module_t* loaded = wasm_module_deserialize(store, &bytes);
  CHECK(loaded && !wasm_module_same(module, loaded));
  wasm_exporttype_vec_t exports;
  wasm_module_exports(loaded, &exports);
  CHECK(exports.size == 4);
  wasm_exporttype_vec_delete(&exports);
  bytes.data[bytes.size / 2] ^= 1;
  CHECK_FAILED(!wasm_module_deserialize(store, &bytes), "");
  wasm_byte_vec_delete(&bytes);
  wasm_name_new_from_string(&bytes, "not a module");
  CHECK_FAILED(!wasm_module_new(store, &bytes), "");
  wasm_byte_vec_t text;
  wasm_byte_vec_new(&text, 8, "(module)");
  CHECK_FAILED(!wasm_module_new(store, &text), "a module in the text format");
  wasm_byte_vec_delete(&text);
  CHECK_FAILED(!wasm_module_validate(store, &bytes), "");
  CHECK_FAILED(!wasm_module_deserialize(store, &bytes), "");
  wasm_byte_vec_delete(&bytes);
  wasm_shared_module_t* shared = wasm_module_share(module);
  wasm_module_t* obtained = wasm_module_obtain(store, shared);
  CHECK(obtained);
  CHECK_FAILED(!wasm_module_obtain(other, shared), "another engine");
  CHECK_FAILED(!wasm_instance_new(other, module, NULL, NULL), "another store");
  wasm_module_set_host_info_with_finalizer(obtained, NULL, count);
  wasm_module_t* copy = wasm_module_copy(obtained);
  wasm_module_delete(obtained);
  CHECK(finalized == 0);
  wasm_module_delete(copy);
  CHECK(finalized == 1);
  wasm_shared_module_delete(shared);
  wasm_module_delete(loaded);
  wasm_module_delete(module);
}

/* Handles that outlive those of their engine and store. */
static void lives(int argc, char** argv) {
  wasm_engine_t* engine = engine_of(argc, argv);
  wasm_store_t* store = wasm_store_new(engine);
  wasm_global_t* global = global_of(store, 9, WASM_VAR);
  wasm_foreign_t* foreign = wasm_foreign_new(store);
  wasm_foreign_set_host_info_with_finalizer(foreign, NULL, count);
  wasm_engine_delete(engine);
  wasm_store_delete(store);
  wasm_val_t value;
  wasm_global_get(global, &value);
  CHECK(value.of.i64 == 9);
  wasm_global_delete(global);
  int before = finalized;
  wasm_foreign_delete(foreign);
  CHECK(finalized == before + 1);
}

int main(int argc, char** argv) {
  wasm_engine_t* engine = engine_of(argc, argv);
  wasm_engine_t* another = engine_of(argc, argv);
  wasm_store_t *store = wasm_store_new(engine), *other = wasm_store_new(another);
  globals(store, other);
  tables(store, other);
  memories(store);
  reflection(store);
  saved(store, other);
  lives(argc, argv);
  CHECK_FAILED(!wasm_store_new(NULL), "NULL");
  wasm_store_delete(store);
  wasm_store_delete(other);
  wasm_engine_delete(engine);
  wasm_engine_delete(another);
  return 0;
}
