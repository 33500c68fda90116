/* What is deleted while it is used, and calls when the process ends. */
#include "check.h"

static wasm_store_t* store;
static wasm_func_t* called;
static bool traps;

/* Uses memory that was just freed. */
static void reuse_memory(void) {
  void* blocks[64];
  for (size_t i = 0; i < 64; i++) memset(blocks[i] = malloc(8 * (i % 16 + 1)), 0x5a, 8 * (i % 16 + 1));
  for (size_t i = 0; i < 64; i++) free(blocks[i]);
}

static wasm_trap_t* new_trap(void) {
  wasm_message_t message;
  wasm_name_new_from_string_nt(&message, "after the deletion");
  wasm_trap_t* trap = wasm_trap_new(store, &message);
  wasm_byte_vec_delete(&message);
  return trap;
}

/* Deletes the handle of the function that is called. */
static wasm_trap_t* delete_func(const wasm_val_vec_t* arguments, wasm_val_vec_t* results) {
  (void)arguments;
  wasm_trap_t* trap = traps ? new_trap() : NULL;
  wasm_func_delete(called);
  reuse_memory();
  results->data[0].kind = WASM_EXTERNREF;
  results->data[0].of.ref = wasm_foreign_as_ref(wasm_foreign_new(store));
  return trap;
}

/* Deletes the last handle of the store. */
static wasm_trap_t* delete_store(const wasm_val_vec_t* arguments, wasm_val_vec_t* results) {
  (void)arguments, (void)results;
  wasm_trap_t* trap = traps ? new_trap() : NULL;
  wasm_store_delete(store);
  reuse_memory();
  return trap;
}

static wasm_func_t* new_func(wasm_functype_t* type, wasm_func_callback_t callback) {
  wasm_func_t* func = wasm_func_new(store, type, callback);
  wasm_functype_delete(type);
  CHECK(func);
  return func;
}

static void functions(void) {
  for (int i = 0; i < 20; i++) {
    traps = i % 2;
    called = new_func(wasm_functype_new_0_1(wasm_valtype_new_externref()), delete_func);
    wasm_val_t results[] = {WASM_INIT_VAL};
    wasm_val_vec_t given = WASM_EMPTY_VEC, out = WASM_ARRAY_VEC(results);
    wasm_trap_t* trap = wasm_func_call(called, &given, &out);
    if (traps) {
      check_trap(trap, "after the deletion");
    } else {
      CHECK(!trap && results[0].kind == WASM_EXTERNREF && results[0].of.ref);
      wasm_val_delete(&results[0]);
    }
  }
}

static void start_functions(wasm_engine_t* engine) {
  for (int i = 0; i < 20; i++) {
    traps = i % 2;
    store = wasm_store_new(engine);
    wasm_func_t* func = new_func(wasm_functype_new_0_0(), delete_store);
    wasm_module_t* module = module_of(store, "(module (import \"\" \"f\" (func $f)) (start $f))");
    wasm_extern_t* externs[] = {wasm_func_as_extern(func)};
    wasm_extern_vec_t imports = WASM_ARRAY_VEC(externs);
    wasm_trap_t* trap;
    wasm_instance_t* instance = wasm_instance_new(store, module, &imports, &trap);
    CHECK(!instance == traps);
    if (traps) check_trap(trap, "after the deletion");
    wasm_instance_delete(instance);
    wasm_module_delete(module);
    wasm_func_delete(func);
  }
}

static void finalize(void* info) {
  (void)info;
  if (finalized++ == 0) wasm_store_delete(store);
  reuse_memory();
}

/* A finalizer deletes the last handle of the store while the store makes an object. */
static void finalizers(wasm_engine_t* engine) {
  store = wasm_store_new(engine);
  wasm_foreign_t* object = wasm_foreign_new(store);
  wasm_foreign_set_host_info_with_finalizer(object, NULL, finalize);
  wasm_foreign_delete(object);
  while (finalized == 0) {
    wasm_foreign_t* other = wasm_foreign_new(store);
    CHECK(other);
    wasm_foreign_delete(other);
  }
}

/* The variables of the thread are gone when this runs. */
static void at_exit(void) {
  wasm_store_t* last = store;
  wasm_message_t why;
  if (wasm_module_new(last, NULL) || reclaim_last_error(&why)) _Exit(1);
  wasm_store_delete(last);
}

int main(int argc, char** argv) {
  CHECK(atexit(at_exit) == 0);
  wasm_engine_t* engine = engine_of(argc, argv);
  store = wasm_store_new(engine);
  wasm_store_t* kept = store;
  functions();
  wasm_store_delete(kept);
  start_functions(engine);
  if (!is_null_collector(argv)) finalizers(engine);
  store = wasm_store_new(engine);
  CHECK_FAILED(!wasm_module_new(store, NULL), "NULL was passed for `binary`");
  wasm_engine_delete(engine);
  return 0;
}
