/* Loads a module, gives it a function of C, and calls a function of it.
 *
 * In the root of the project:
 *   cargo build --release -p gc-capi
 *   cc crates/gc-capi/examples/hello.c -o hello -Icrates/gc-capi/include \
 *     -Ltarget/release -lreclaim -Wl,-rpath,$PWD/target/release
 *   ./hello
 */
#include "reclaim.h"
#include <stdio.h>
#include <stdlib.h>

static const char* TEXT =
    "(module"
    "  (import \"host\" \"print\" (func $print (param i32)))"
    "  (func (export \"run\") (param $n i32) (result i32)"
    "    (call $print (local.get $n))"
    "    (i32.mul (local.get $n) (local.get $n))))";

/* Prints why the last call failed, and ends the program. */
static void fail(const char* what) {
  wasm_message_t why;
  reclaim_last_error(&why);
  fprintf(stderr, "%s: %s\n", what, why.size ? why.data : "no reason");
  exit(1);
}

/* The function that the module imports. */
static wasm_trap_t* print(const wasm_val_vec_t* arguments, wasm_val_vec_t* results) {
  (void)results;
  printf("the module says %d\n", arguments->data[0].of.i32);
  return NULL;
}

int main(void) {
  wasm_engine_t* engine = wasm_engine_new();
  wasm_store_t* store = wasm_store_new(engine);

  /* Translate the text, and compile the module. */
  wasm_byte_vec_t binary;
  if (!reclaim_wat2wasm(TEXT, strlen(TEXT), &binary)) fail("the text");
  wasm_module_t* module = wasm_module_new(store, &binary);
  wasm_byte_vec_delete(&binary);
  if (!module) fail("the module");

  /* Imports are passed in the order in which the module declares them. */
  wasm_functype_t* type = wasm_functype_new_1_0(wasm_valtype_new_i32());
  wasm_func_t* import = wasm_func_new(store, type, print);
  wasm_functype_delete(type);
  wasm_extern_t* externs[] = {wasm_func_as_extern(import)};
  wasm_extern_vec_t imports = WASM_ARRAY_VEC(externs);
  wasm_instance_t* instance = wasm_instance_new(store, module, &imports, NULL);
  if (!instance) fail("the instance");

  /* Exports are in the order of the module too. */
  wasm_extern_vec_t exports;
  wasm_instance_exports(instance, &exports);
  const wasm_func_t* run = wasm_extern_as_func(exports.data[0]);

  wasm_val_t argument, result;
  argument.kind = WASM_I32;
  argument.of.i32 = 7;
  wasm_val_vec_t arguments = {1, &argument}, results = {1, &result};
  wasm_trap_t* trap = wasm_func_call(run, &arguments, &results);
  if (trap) {
    wasm_message_t message;
    wasm_trap_message(trap, &message);
    fprintf(stderr, "a trap: %s\n", message.data);
    return 1;
  }
  printf("the result is %d\n", result.of.i32);

  /* Any order is fine. */
  wasm_extern_vec_delete(&exports);
  wasm_instance_delete(instance);
  wasm_func_delete(import);
  wasm_module_delete(module);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  return result.of.i32 == 49 ? 0 : 1;
}
