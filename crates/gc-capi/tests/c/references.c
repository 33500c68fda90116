/* References: any thing comes back from WebAssembly as the same thing, and what is attached to it is
 * finalized once, when the thing is gone. */
#include "check.h"

/* An object with a field of type anyref, for which C and WebAssembly have the same type. */
static reclaim_gctype_t* box_type(wasm_engine_t* engine) {
  reclaim_fieldtype_t field = {RECLAIM_STORAGE_VALUE, WASM_VAR, wasm_valtype_new(RECLAIM_ANYREF)};
  reclaim_gctype_t* type = reclaim_structtype_new(engine, &field, 1);
  wasm_valtype_delete(field.type);
  CHECK(type);
  return type;
}

/* A new box of something, or of NULL. */
static wasm_ref_t* box(wasm_store_t* store, const reclaim_gctype_t* type, wasm_ref_t* content) {
  wasm_val_t value = {RECLAIM_ANYREF, {.ref = content}};
  wasm_val_vec_t values = {1, &value};
  wasm_ref_t* object = reclaim_struct_new(store, type, &values);
  CHECK(object);
  return object;
}

static wasm_ref_t* array(wasm_engine_t* engine, wasm_store_t* store) {
  reclaim_fieldtype_t element = {RECLAIM_STORAGE_I8, WASM_VAR, NULL};
  reclaim_gctype_t* type = reclaim_arraytype_new(engine, &element);
  wasm_val_t one = WASM_I32_VAL(1);
  wasm_ref_t* array = reclaim_array_new(store, type, &one, 100);
  reclaim_gctype_delete(type);
  CHECK(array);
  return array;
}

static void collect(wasm_store_t* store) { CHECK(reclaim_store_gc(store)); }

static wasm_trap_t* nothing(const wasm_val_vec_t* arguments, wasm_val_vec_t* results) {
  (void)arguments, (void)results;
  return NULL;
}

static wasm_func_t* new_func(wasm_store_t* store) {
  wasm_functype_t* type = wasm_functype_new_0_0();
  wasm_func_t* func = wasm_func_new(store, type, nothing);
  wasm_functype_delete(type);
  CHECK(func);
  return func;
}

static wasm_extern_t* new_tag(wasm_store_t* store) {
  wasm_tagtype_t* type = wasm_tagtype_new(wasm_functype_new_0_0());
  wasm_extern_t* tag = reclaim_tag_new(store, type);
  wasm_tagtype_delete(type);
  CHECK(tag);
  return tag;
}

/* One thing of every kind. */
enum { FUNC, GLOBAL, TABLE, MEMORY, TAG, INSTANCE, MODULE, TRAP, FOREIGN, I31, STRUCT, ARRAY, THINGS };

static void all_things(wasm_engine_t* engine, wasm_store_t* store, wasm_ref_t* things[THINGS]) {
  wasm_module_t* module = module_of(store,
      "(module (func (export \"f\")) (global (export \"g\") i32 (i32.const 1))"
      "  (table (export \"t\") 1 funcref) (memory (export \"m\") 1) (tag (export \"e\")))");
  wasm_extern_vec_t none = WASM_EMPTY_VEC, exports;
  wasm_instance_t* instance = wasm_instance_new(store, module, &none, NULL);
  CHECK(instance);
  wasm_instance_exports(instance, &exports);
  for (int i = FUNC; i <= TAG; i++) {
    things[i] = wasm_extern_as_ref(wasm_extern_copy(exports.data[i]));
    CHECK(wasm_ref_as_extern(things[i]));
  }
  wasm_extern_vec_delete(&exports);
  wasm_message_t message;
  wasm_name_new_from_string(&message, "trapped");
  things[INSTANCE] = wasm_instance_as_ref(instance);
  things[MODULE] = wasm_module_as_ref(module);
  things[TRAP] = wasm_trap_as_ref(wasm_trap_new(store, &message));
  things[FOREIGN] = wasm_foreign_as_ref(wasm_foreign_new(store));
  things[I31] = reclaim_i31_new(store, 12);
  reclaim_gctype_t* type = box_type(engine);
  things[STRUCT] = box(store, type, NULL);
  reclaim_gctype_delete(type);
  things[ARRAY] = array(engine, store);
  wasm_name_delete(&message);
}

static void identity(wasm_engine_t* engine, wasm_store_t* store) {
  wasm_ref_t* things[THINGS];
  all_things(engine, store, things);
  const reclaim_refkind_t kinds[THINGS] = {
      [FUNC] = RECLAIM_REF_FUNC,       [GLOBAL] = RECLAIM_REF_OTHER,   [TABLE] = RECLAIM_REF_OTHER,
      [MEMORY] = RECLAIM_REF_OTHER,    [TAG] = RECLAIM_REF_OTHER,      [INSTANCE] = RECLAIM_REF_OTHER,
      [MODULE] = RECLAIM_REF_OTHER,    [TRAP] = RECLAIM_REF_OTHER,     [FOREIGN] = RECLAIM_REF_FOREIGN,
      [I31] = RECLAIM_REF_I31,         [STRUCT] = RECLAIM_REF_STRUCT,  [ARRAY] = RECLAIM_REF_ARRAY};
  wasm_extern_vec_t exports = exports_of(store,
      "(module (global $any (mut anyref) (ref.null any)) (table $t 1 externref)"
      "  (func (export \"extern\") (param externref) (result externref)"
      "    (table.set $t (i32.const 0) (local.get 0)) (table.get $t (i32.const 0)))"
      "  (func (export \"any\") (param anyref) (result anyref)"
      "    (global.set $any (local.get 0)) (global.get $any))"
      "  (func (export \"internalize\") (param externref) (result anyref)"
      "    (any.convert_extern (local.get 0)))"
      "  (func (export \"externalize\") (param anyref) (result externref)"
      "    (extern.convert_any (local.get 0))))",
      NULL);
  const wasm_valkind_t params[] = {WASM_EXTERNREF, RECLAIM_ANYREF, WASM_EXTERNREF, RECLAIM_ANYREF};
  const wasm_valkind_t results[] = {WASM_EXTERNREF, RECLAIM_ANYREF, RECLAIM_ANYREF, WASM_EXTERNREF};
  for (int i = 0; i < THINGS; i++) {
    CHECK(reclaim_ref_kind(things[i]) == kinds[i]);
    if (i != TAG && i != I31) wasm_ref_set_host_info(things[i], &things[i]);
    for (int j = 0; j < THINGS; j++) CHECK(wasm_ref_same(things[i], things[j]) == (i == j));
    /* Only the right casts succeed. */
    CHECK(!wasm_ref_as_func(things[i]) == (i != FUNC));
    CHECK(!wasm_ref_as_global(things[i]) == (i != GLOBAL));
    CHECK(!wasm_ref_as_table_const(things[i]) == (i != TABLE));
    CHECK(!wasm_ref_as_memory(things[i]) == (i != MEMORY));
    CHECK(!wasm_ref_as_extern(things[i]) == (i > TAG));
    CHECK(!wasm_ref_as_instance(things[i]) == (i != INSTANCE));
    CHECK(!wasm_ref_as_module(things[i]) == (i != MODULE));
    CHECK(!wasm_ref_as_trap(things[i]) == (i != TRAP));
    CHECK(!wasm_ref_as_foreign(things[i]) == (i != FOREIGN));
    for (size_t way = 0; way < 4; way++) {
      wasm_val_t argument = {params[way], {.ref = things[i]}}, result;
      CHECK(!call(&exports, way, 1, &argument, 1, &result));
      CHECK(result.kind == results[way] && wasm_ref_same(result.of.ref, things[i]));
      CHECK(reclaim_ref_kind(result.of.ref) == kinds[i]);
      if (i != TAG && i != I31) CHECK(wasm_ref_get_host_info(result.of.ref) == &things[i]);
      wasm_val_delete(&result);
    }
  }
  /* Exceptions are in a hierarchy of their own. */
  wasm_val_vec_t none = WASM_EMPTY_VEC;
  wasm_ref_t* exception = reclaim_exception_new(store, wasm_ref_as_extern(things[TAG]), &none);
  wasm_val_t argument = {RECLAIM_EXNREF, {.ref = exception}}, result;
  for (size_t way = 0; way < 4; way++) {
    check_trap(call(&exports, way, 1, &argument, 1, &result), "type mismatch");
  }
  wasm_ref_delete(exception);
  for (int i = 0; i < THINGS; i++) wasm_ref_delete(things[i]);
  wasm_extern_vec_delete(&exports);
}

/* Objects of the heap are finalized by collections. The null collector has none. */
static void objects(wasm_engine_t* engine, wasm_store_t* store, bool null) {
  reclaim_gctype_t* type = box_type(engine);
  int before = finalized, n = null ? 0 : 1;
  wasm_foreign_t* foreign = wasm_foreign_new(store);
  CHECK(!wasm_foreign_get_host_info(foreign));
  wasm_foreign_set_host_info_with_finalizer(foreign, &type, count);
  wasm_foreign_t* copy = wasm_foreign_copy(foreign);
  wasm_foreign_delete(foreign);
  collect(store);
  CHECK(finalized == before && wasm_foreign_get_host_info(copy) == &type);
  /* An object keeps it alive. */
  wasm_ref_t* object = box(store, type, wasm_foreign_as_ref(copy));
  wasm_foreign_delete(copy);
  collect(store);
  CHECK(finalized == before);
  wasm_val_t out, nil = {RECLAIM_ANYREF, {.ref = NULL}};
  CHECK(reclaim_struct_get(object, 0, &out) && wasm_ref_get_host_info(out.of.ref) == &type);
  wasm_val_delete(&out);
  CHECK(reclaim_struct_set(object, 0, &nil));
  collect(store);
  CHECK(finalized == before + n);

  /* Structs and arrays. */
  before = finalized;
  wasm_ref_t* bytes = array(engine, store);
  wasm_ref_set_host_info_with_finalizer(object, &type, count);
  wasm_ref_set_host_info_with_finalizer(bytes, &before, count);
  collect(store);
  CHECK(wasm_ref_get_host_info(object) == &type && wasm_ref_get_host_info(bytes) == &before);
  wasm_ref_delete(object);
  collect(store);
  CHECK(finalized == before + n && wasm_ref_get_host_info(bytes) == &before);
  wasm_ref_delete(bytes);
  collect(store);
  CHECK(finalized == before + 2 * n);

  /* Many, of which every third stays. */
  enum { MANY = 300 };
  static int infos[MANY];
  wasm_ref_t* refs[MANY];
  before = finalized;
  for (int i = 0; i < MANY; i++) {
    refs[i] = i % 2 ? box(store, type, NULL) : wasm_foreign_as_ref(wasm_foreign_new(store));
    wasm_ref_set_host_info_with_finalizer(refs[i], &infos[i], count);
  }
  for (int i = 0; i < MANY; i++) {
    if (i % 3) wasm_ref_delete(refs[i]);
  }
  collect(store);
  CHECK(finalized == before + n * (MANY - MANY / 3));
  for (int i = 0; i < MANY; i += 3) {
    CHECK(wasm_ref_get_host_info(refs[i]) == &infos[i]);
    wasm_ref_delete(refs[i]);
  }
  collect(store);
  CHECK(finalized == before + n * MANY);

  /* A chain of boxes that dies at once, also if it is a ring. */
  before = finalized;
  wasm_ref_t* first = box(store, type, NULL);
  wasm_ref_set_host_info_with_finalizer(first, infos, count);
  object = wasm_ref_copy(first);
  for (int i = 0; i < 20; i++) {
    wasm_ref_t* next = box(store, type, object);
    wasm_ref_set_host_info_with_finalizer(next, infos, count);
    wasm_ref_delete(object);
    object = next;
  }
  wasm_val_t last = {RECLAIM_ANYREF, {.ref = object}};
  CHECK(reclaim_struct_set(first, 0, &last));
  wasm_ref_delete(first);
  collect(store);
  CHECK(finalized == before);
  wasm_ref_delete(object);
  collect(store);
  CHECK(finalized == before + n * 21);
  reclaim_gctype_delete(type);
}

/* Another address takes the place of the first one. */
static void replaced(wasm_engine_t* engine, wasm_store_t* store, bool null) {
  int infos[3], before = finalized;
  wasm_foreign_t* foreign = wasm_foreign_new(store);
  wasm_func_t* func = new_func(store);
  wasm_foreign_set_host_info_with_finalizer(foreign, &infos[0], count);
  wasm_func_set_host_info_with_finalizer(func, &infos[0], count);
  CHECK(finalized == before);
  wasm_foreign_set_host_info(foreign, &infos[1]);
  wasm_func_set_host_info(func, &infos[1]);
  CHECK(finalized == before + 2);
  CHECK(wasm_foreign_get_host_info(foreign) == &infos[1] && wasm_func_get_host_info(func) == &infos[1]);
  wasm_foreign_set_host_info_with_finalizer(foreign, &infos[2], NULL);
  wasm_foreign_delete(foreign);
  wasm_func_delete(func);

  reclaim_gctype_t* type = box_type(engine);
  wasm_ref_t* object = box(store, type, NULL);
  before = finalized;
  wasm_ref_set_host_info_with_finalizer(object, &infos[0], count);
  wasm_ref_set_host_info_with_finalizer(object, &infos[1], count);
  CHECK(wasm_ref_get_host_info(object) == &infos[1]);
  collect(store);
  CHECK(finalized == before + (null ? 0 : 1) && wasm_ref_get_host_info(object) == &infos[1]);
  wasm_ref_set_host_info(object, NULL);
  collect(store);
  CHECK(finalized == before + (null ? 0 : 2) && !wasm_ref_get_host_info(object));
  wasm_ref_delete(object);
  reclaim_gctype_delete(type);

  /* The finalizer runs at once where nothing can be attached. */
  wasm_extern_t* tag = new_tag(store);
  wasm_val_vec_t none = WASM_EMPTY_VEC;
  wasm_ref_t* exception = reclaim_exception_new(store, tag, &none);
  before = finalized;
  CHECK_FAILED((wasm_extern_set_host_info_with_finalizer(tag, infos, count), true), "a tag");
  CHECK_FAILED((wasm_ref_set_host_info_with_finalizer(exception, infos, count), true), "an exception");
  CHECK_FAILED((wasm_ref_set_host_info_with_finalizer(NULL, infos, count), true), "NULL");
  CHECK(finalized == before + 3 && !wasm_extern_get_host_info(tag) && !wasm_ref_get_host_info(exception));
  /* It also does if a function cannot be made. */
  CHECK_FAILED(!wasm_func_new_with_env(store, NULL, NULL, infos, count), "NULL");
  CHECK(finalized == before + 4);
  wasm_ref_delete(exception);
  wasm_extern_delete(tag);
}

/* Everything that is left is finalized with the store, once. */
static void with_the_store(wasm_engine_t* engine, bool null) {
  wasm_store_t* store = wasm_store_new(engine);
  wasm_ref_t* things[THINGS];
  all_things(engine, store, things);
  int before = finalized;
  for (int i = 0; i < THINGS; i++) {
    if (i != TAG && i != I31) wasm_ref_set_host_info_with_finalizer(things[i], things, count);
  }
  CHECK(finalized == before);
  wasm_ref_delete(things[MODULE]);
  CHECK(finalized == before + 1);
  wasm_ref_t* trap = wasm_ref_copy(things[TRAP]);
  wasm_ref_delete(things[TRAP]);
  CHECK(finalized == before + 1 && wasm_ref_get_host_info(trap) == things);
  wasm_ref_delete(trap);
  CHECK(finalized == before + 2);
  for (int i = 0; i < THINGS; i++) {
    if (i != MODULE && i != TRAP) wasm_ref_delete(things[i]);
  }
  collect(store);
  /* The foreign object, the struct and the array. */
  CHECK(finalized == before + (null ? 2 : 5));
  wasm_store_delete(store);
  CHECK(finalized == before + THINGS - 2);

  /* Handles that are deleted after the store. */
  store = wasm_store_new(engine);
  all_things(engine, store, things);
  before = finalized;
  for (int i = 0; i < THINGS; i++) {
    if (i != TAG && i != I31) wasm_ref_set_host_info_with_finalizer(things[i], things, count);
  }
  wasm_store_delete(store);
  CHECK(finalized == before);
  for (int i = 0; i < THINGS; i++) wasm_ref_delete(things[i]);
  CHECK(finalized == before + THINGS - 2);
}

static wasm_store_t* finalizers_store;

/* A finalizer that does what it must not. */
static void misbehave(void* info) {
  wasm_store_t* store = finalizers_store;
  reclaim_gc_stats_t stats;
  CHECK_FAILED(!reclaim_store_gc(store), "a finalizer must not");
  CHECK_FAILED(!reclaim_store_gc_stats(store, &stats), "a finalizer must not");
  CHECK_FAILED(!wasm_foreign_new(store), "a finalizer must not");
  CHECK_FAILED(!reclaim_i31_new(store, 1), "a finalizer must not");
  reclaim_limits_t limits = {1, 1, 1, 1, 1, 1};
  CHECK_FAILED(!reclaim_store_limit(store, &limits), "in use");
  check_trap(wasm_func_call(info, NULL, NULL), "a finalizer must not");
  count(NULL);
}

/* A finalizer that deletes a handle, as it may. */
static void delete_handle(void* info) {
  wasm_ref_delete(info);
  count(NULL);
}

static void in_finalizers(wasm_engine_t* engine, wasm_store_t* store) {
  int before = finalized;
  reclaim_gctype_t* type = box_type(engine);
  wasm_func_t* func = new_func(store);
  finalizers_store = store;
  wasm_foreign_t* foreign = wasm_foreign_new(store);
  wasm_ref_t* object = box(store, type, NULL);
  wasm_foreign_set_host_info_with_finalizer(foreign, func, misbehave);
  wasm_ref_set_host_info_with_finalizer(object, func, misbehave);
  wasm_foreign_delete(foreign);
  wasm_ref_delete(object);
  collect(store);
  CHECK(finalized == before + 2);
  CHECK(!wasm_func_call(func, NULL, NULL));
  wasm_func_delete(func);

  /* Ten objects, of which each is kept by the finalizer of the next. */
  before = finalized;
  wasm_ref_t* last = wasm_foreign_as_ref(wasm_foreign_new(store));
  wasm_ref_set_host_info_with_finalizer(last, NULL, count);
  for (int i = 1; i < 10; i++) {
    object = i % 2 ? box(store, type, NULL) : wasm_foreign_as_ref(wasm_foreign_new(store));
    wasm_ref_set_host_info_with_finalizer(object, last, delete_handle);
    last = object;
  }
  collect(store);
  CHECK(finalized == before);
  wasm_ref_delete(last);
  for (int i = 0; i < 10; i++) collect(store);
  CHECK(finalized == before + 10);

  /* The last handle of another store, whose things are finalized in the finalizer. */
  before = finalized;
  wasm_store_t* other = wasm_store_new(engine);
  wasm_func_t* theirs = new_func(other);
  wasm_func_set_host_info_with_finalizer(theirs, NULL, count);
  wasm_store_delete(other);
  object = box(store, type, NULL);
  wasm_ref_set_host_info_with_finalizer(object, wasm_func_as_ref(theirs), delete_handle);
  wasm_ref_delete(object);
  collect(store);
  CHECK(finalized == before + 2);
  reclaim_gctype_delete(type);
}

int main(int argc, char** argv) {
  wasm_engine_t* engine = engine_of(argc, argv);
  wasm_store_t* store = wasm_store_new(engine);
  bool null = is_null_collector(argv);
  identity(engine, store);
  objects(engine, store, null);
  replaced(engine, store, null);
  with_the_store(engine, null);
  /* The null collector finalizes nothing before the store is gone, so these handles would keep it. */
  if (!null) in_finalizers(engine, store);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  wasm_message_t none;
  CHECK(!reclaim_last_error(&none));
  return 0;
}
