/* Calls with raw values: nothing is allocated for a call, and nothing is checked. For functions that are
 * called very often.
 *
 * In the root of the project:
 *   cargo build --release -p gc-capi
 *   cc crates/gc-capi/examples/raw.c -o raw -Icrates/gc-capi/include \
 *     -Ltarget/release -lreclaim -Wl,-rpath,$PWD/target/release
 */
#include "reclaim.h"
#include <stdio.h>
#include <stdlib.h>

static const char* TEXT =
    "(module"
    "  (import \"host\" \"scale\" (func $scale (param f64) (result f64)))"
    "  (func (export \"move\") (param f64 f64 f64) (result f64 f64)"
    "    (f64.add (local.get 0) (call $scale (local.get 2)))"
    "    (f64.add (local.get 1) (local.get 2))))";

static void fail(const char* what) {
  wasm_message_t why;
  if (reclaim_last_error(&why)) fprintf(stderr, "%s: %s\n", what, why.data);
  exit(1);
}

/* The slots have the arguments, and get the results. */
static wasm_trap_t* scale(void* env, reclaim_val_raw_t* values, size_t count) {
  (void)count;
  values[0].f64 *= *(double*)env;
  return NULL;
}

int main(void) {
  wasm_engine_t* engine = wasm_engine_new();
  wasm_store_t* store = wasm_store_new(engine);
  double factor = 2;
  wasm_functype_t* type = wasm_functype_new_1_1(wasm_valtype_new_f64(), wasm_valtype_new_f64());
  wasm_func_t* import = reclaim_func_new_unchecked(store, type, scale, &factor, NULL);
  wasm_functype_delete(type);

  wasm_byte_vec_t binary;
  if (!reclaim_wat2wasm(TEXT, strlen(TEXT), &binary)) fail("the text");
  wasm_module_t* module = wasm_module_new(store, &binary);
  wasm_byte_vec_delete(&binary);
  if (!module || !import) fail("the module");
  wasm_extern_t* externs[] = {wasm_func_as_extern(import)};
  wasm_extern_vec_t imports = WASM_ARRAY_VEC(externs), exports;
  wasm_instance_t* instance = wasm_instance_new(store, module, &imports, NULL);
  if (!instance) fail("the instance");
  wasm_instance_exports(instance, &exports);
  const wasm_func_t* move = wasm_extern_as_func(exports.data[0]);

  double x = 0, y = 0;
  for (int i = 0; i < 1000000; i++) {
    // ANCHOR: call
    /* As many slots as there are parameters or results, whichever are more. */
    reclaim_val_raw_t values[3];
    values[0].f64 = x;
    values[1].f64 = y;
    values[2].f64 = 0.5;
    wasm_trap_t* trap = reclaim_func_call_unchecked(move, values, 3);
    if (trap) fail("the call");
    x = values[0].f64;
    y = values[1].f64;
    // ANCHOR_END: call
  }
  printf("after a million steps: %.1f, %.1f\n", x, y);

  wasm_extern_vec_delete(&exports);
  wasm_instance_delete(instance);
  wasm_module_delete(module);
  wasm_func_delete(import);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  return x == 1000000 && y == 500000 ? 0 : 1;
}
