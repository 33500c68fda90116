/* What the programs share: checks that say where they failed, and stores of the collector that the command
 * line names. */
#ifndef CHECK_H
#define CHECK_H

#include "reclaim.h"
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                       \
  do {                                                                         \
    if (!(condition)) {                                                        \
      wasm_message_t why;                                                      \
      bool failed = reclaim_last_error(&why);                                  \
      printf("%s:%d: %s is false; last error: %s\n", __FILE__, __LINE__,       \
             #condition, failed ? why.data : "none");                          \
      exit(1);                                                                 \
    }                                                                          \
  } while (0)

/* Checks that a call has failed and that the reason has these words. */
#define CHECK_FAILED(failed, words) check_failed(failed, words, #failed, __LINE__)

static inline void check_failed(bool failed, const char* words, const char* what, int line) {
  wasm_message_t why;
  bool known = reclaim_last_error(&why);
  if (!failed || !known || !strstr(why.data, words) || strstr(why.data, "internal error")) {
    printf("line %d: %s; expected an error with \"%s\", found: %s\n", line, what, words,
           known ? why.data : "none");
    exit(1);
  }
  wasm_byte_vec_delete(&why);
}

static inline bool is_null_collector(char** argv) { return strcmp(argv[1], "null") == 0; }

/* Settings for the collector and the zeal of the command line. */
static inline wasm_config_t* config_of(int argc, char** argv) {
  CHECK(argc == 3);
  wasm_config_t* config = wasm_config_new();
  CHECK(reclaim_config_collector(config, argv[1]));
  reclaim_config_gc_zeal(config, (uint32_t)atoi(argv[2]));
  return config;
}

static inline wasm_engine_t* engine_of(int argc, char** argv) {
  wasm_engine_t* engine = wasm_engine_new_with_config(config_of(argc, argv));
  CHECK(engine);
  return engine;
}

/* A module of this text. */
static inline wasm_module_t* module_of(wasm_store_t* store, const char* text) {
  wasm_byte_vec_t binary;
  CHECK(reclaim_wat2wasm(text, strlen(text), &binary));
  CHECK(wasm_module_validate(store, &binary));
  wasm_module_t* module = wasm_module_new(store, &binary);
  CHECK(module);
  wasm_byte_vec_delete(&binary);
  return module;
}

/* The exports of an instance of this text. `import` may be NULL. */
static inline wasm_extern_vec_t exports_of(wasm_store_t* store, const char* text, wasm_func_t* import) {
  wasm_module_t* module = module_of(store, text);
  wasm_extern_t* externs[] = {wasm_func_as_extern(import)};
  wasm_extern_vec_t imports = {import ? 1 : 0, externs};
  wasm_trap_t* trap = NULL;
  wasm_instance_t* instance = wasm_instance_new(store, module, &imports, &trap);
  CHECK(instance && !trap);
  wasm_extern_vec_t exports;
  wasm_instance_exports(instance, &exports);
  wasm_instance_delete(instance);
  wasm_module_delete(module);
  return exports;
}

/* Calls an export. The trap, or NULL. */
static inline wasm_trap_t* call(const wasm_extern_vec_t* exports, size_t index, size_t arguments,
                                wasm_val_t argument[], size_t results, wasm_val_t result[]) {
  wasm_val_vec_t as = {arguments, argument}, rs = {results, result};
  return wasm_func_call(wasm_extern_as_func(exports->data[index]), &as, &rs);
}

/* Checks that a trap has these words in its message, and deletes it. */
static inline void check_trap(wasm_trap_t* trap, const char* words) {
  CHECK(trap);
  /* The reason, if this was the last call that failed. */
  wasm_message_t why;
  if (reclaim_last_error(&why) && !strstr(why.data, words)) {
    printf("expected the reason \"%s\", found: %s\n", words, why.data);
    exit(1);
  }
  wasm_byte_vec_delete(&why);
  wasm_message_t message;
  wasm_trap_message(trap, &message);
  if (!strstr(message.data, words)) {
    printf("expected a trap with \"%s\", found: %s\n", words, message.data);
    exit(1);
  }
  wasm_byte_vec_delete(&message);
  wasm_trap_delete(trap);
}

/* A finalizer that counts. */
static int finalized = 0;
static inline void count(void* info) {
  (void)info;
  finalized++;
}

#endif
