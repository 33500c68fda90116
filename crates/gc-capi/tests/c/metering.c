/* Fuel, epochs, limits, settings that are refused, and the text format. */
#include "check.h"
#include <pthread.h>
#include <time.h>

#define LOOP "(module (func (export \"f\") (loop (br 0))) (memory (export \"m\") 1) (table 1 funcref))"

static void fuel(int argc, char** argv) {
  wasm_config_t* config = config_of(argc, argv);
  reclaim_config_consume_fuel(config, true);
  wasm_engine_t* engine = wasm_engine_new_with_config(config);
  wasm_store_t* store = wasm_store_new(engine);
  wasm_extern_vec_t exports = exports_of(store, LOOP, NULL);
  CHECK(reclaim_store_set_fuel(store, 1000));
  check_trap(call(&exports, 0, 0, NULL, 0, NULL), "fuel");
  uint64_t left;
  CHECK(reclaim_store_fuel(store, &left) && left < 1000);
  wasm_extern_vec_delete(&exports);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
}

static void* tick(void* engine) {
  struct timespec wait = {0, 20 * 1000 * 1000};
  nanosleep(&wait, NULL);
  reclaim_engine_increment_epoch(engine);
  return NULL;
}

/* What an engine was not configured for is an error. */
static void unconfigured(wasm_engine_t* engine) {
  wasm_store_t* store = wasm_store_new(engine);
  CHECK_FAILED(!reclaim_store_set_epoch_deadline(store, 1), "epochs are off");
  CHECK_FAILED(!reclaim_store_set_fuel(store, 1), "fuel");
  wasm_store_delete(store);
}

static void epochs(int argc, char** argv) {
  wasm_config_t* config = config_of(argc, argv);
  reclaim_config_epoch_interruption(config, true);
  wasm_engine_t* engine = wasm_engine_new_with_config(config);
  wasm_store_t* store = wasm_store_new(engine);
  CHECK(reclaim_store_set_epoch_deadline(store, 1));
  wasm_extern_vec_t exports = exports_of(store, LOOP, NULL);
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, tick, engine) == 0);
  check_trap(call(&exports, 0, 0, NULL, 0, NULL), "interrupt");
  pthread_join(thread, NULL);
  wasm_extern_vec_delete(&exports);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
}

static wasm_store_t* limited;

static wasm_trap_t* limit_now(const wasm_val_vec_t* arguments, wasm_val_vec_t* results) {
  (void)arguments, (void)results;
  reclaim_limits_t limits = {0, 0, 0, 0, 0, 0};
  CHECK_FAILED(!reclaim_store_limit(limited, &limits), "in use");
  return NULL;
}

static void limits(wasm_engine_t* engine) {
  wasm_store_t* store = limited = wasm_store_new(engine);
  wasm_functype_t* type = wasm_functype_new_0_0();
  wasm_func_t* import = wasm_func_new(store, type, limit_now);
  wasm_functype_delete(type);
  wasm_extern_vec_t exports =
      exports_of(store, "(module (import \"\" \"f\" (func)) (export \"f\" (func 0)))", import);
  CHECK(!call(&exports, 0, 0, NULL, 0, NULL));
  wasm_extern_vec_delete(&exports);
  wasm_func_delete(import);
  reclaim_limits_t limits = {2 * MEMORY_PAGE_SIZE, UINT64_MAX, 4, 3, UINT64_MAX, UINT64_MAX};
  CHECK(reclaim_store_limit(store, &limits));
  exports = exports_of(store, LOOP, NULL);
  wasm_memory_t* memory = wasm_extern_as_memory(exports.data[1]);
  CHECK(wasm_memory_grow(memory, 1));
  CHECK_FAILED(!wasm_memory_grow(memory, 1), "");
  wasm_extern_vec_delete(&exports);
  exports = exports_of(store, LOOP, NULL);
  wasm_extern_vec_delete(&exports);
  wasm_module_t* module = module_of(store, LOOP);
  CHECK_FAILED(!wasm_instance_new(store, module, NULL, NULL), "instance");
  wasm_module_delete(module);
  CHECK_FAILED(!reclaim_store_limit(store, NULL), "NULL");
  CHECK_FAILED(!reclaim_store_set_fuel(store, 1), "fuel");
  wasm_store_delete(store);
}

static void settings(int argc, char** argv) {
  wasm_config_t* config = config_of(argc, argv);
  CHECK_FAILED(!reclaim_config_collector(config, "mark-sweep"), "mark-sweep");
  CHECK_FAILED(!reclaim_config_collector(config, "generational:nursery=many"), "nursery");
  CHECK_FAILED(!reclaim_config_collector(config, "null:nursery=1"), "nursery");
  CHECK_FAILED(!reclaim_config_collector(config, "\xff"), "UTF-8");
  CHECK_FAILED(!reclaim_config_collector(config, NULL), "NULL");
  reclaim_config_gc_pause_target(config, 100000);
  reclaim_config_gc_heap_initial_size(config, 1 << 20);
  reclaim_config_optimize(config, false);
  reclaim_config_max_wasm_stack(config, 512 * 1024);
  wasm_engine_t* engine = wasm_engine_new_with_config(config);
  CHECK(engine);
  wasm_name_t name;
  reclaim_engine_collector(engine, &name);
  CHECK(strncmp(argv[1], name.data, strlen(name.data)) == 0);
  wasm_name_delete(&name);
  wasm_engine_delete(engine);
  config = wasm_config_new();
  wasm_config_delete(config);
  wasm_config_delete(NULL);
}

int main(int argc, char** argv) {
  wasm_engine_t* engine = engine_of(argc, argv);
  fuel(argc, argv);
  epochs(argc, argv);
  limits(engine);
  unconfigured(engine);
  settings(argc, argv);
  wasm_byte_vec_t binary;
  CHECK_FAILED(!reclaim_wat2wasm("(module (func)", 14, &binary), "");
  CHECK_FAILED(!reclaim_wat2wasm("\0asm\1\0\0\0", 8, &binary), "this is the binary format");
  CHECK(binary.size == 0 && strchr(reclaim_version(), '.'));
  CHECK_FAILED(!reclaim_wat2wasm(NULL, 1, &binary), "NULL");
  wasm_engine_delete(engine);
  return 0;
}
