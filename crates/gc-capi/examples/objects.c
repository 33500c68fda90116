/* Makes a list of structs in the GC heap, lets a module sum it up, and collects it.
 *
 * In the root of the project:
 *   cargo build --release -p gc-capi
 *   cc crates/gc-capi/examples/objects.c -o objects -Icrates/gc-capi/include \
 *     -Ltarget/release -lreclaim -Wl,-rpath,$PWD/target/release
 *   ./objects
 */
#include "reclaim.h"
#include <stdio.h>
#include <stdlib.h>

/* The type of the list's nodes is the same as the one that C makes below: equal types are one type. */
static const char* TEXT =
    "(module"
    "  (type $node (struct (field i32) (field (mut anyref))))"
    "  (func (export \"sum\") (param $list anyref) (result i32)"
    "    (local $sum i32) (local $node (ref null $node))"
    "    (block $end"
    "      (loop $next"
    "        (br_if $end (ref.is_null (local.get $list)))"
    "        (local.set $node (ref.cast (ref $node) (local.get $list)))"
    "        (local.set $sum (i32.add (local.get $sum) (struct.get $node 0 (local.get $node))))"
    "        (local.set $list (struct.get $node 1 (local.get $node)))"
    "        (br $next)))"
    "    (local.get $sum)))";

/* Prints why the last call failed, and ends the program. */
static void fail(const char* what) {
  wasm_message_t why;
  reclaim_last_error(&why);
  fprintf(stderr, "%s: %s\n", what, why.size ? why.data : "no reason");
  exit(1);
}

static void print_stats(wasm_store_t* store, const char* when) {
  reclaim_gc_stats_t stats;
  if (!reclaim_store_gc(store) || !reclaim_store_gc_stats(store, &stats)) fail("the heap");
  printf("%s: %llu objects of %llu bytes live\n", when, (unsigned long long)stats.live_objects,
         (unsigned long long)stats.live_bytes);
}

int main(void) {
  /* Choose a collector. */
  wasm_config_t* config = wasm_config_new();
  if (!reclaim_config_collector(config, "generational")) fail("the collector");
  wasm_engine_t* engine = wasm_engine_new_with_config(config);
  if (!engine) fail("the engine");
  wasm_store_t* store = wasm_store_new(engine);

  /* The type of nodes: a number, and the next node. */
  reclaim_fieldtype_t fields[2] = {
      {RECLAIM_STORAGE_VALUE, WASM_CONST, wasm_valtype_new(WASM_I32)},
      {RECLAIM_STORAGE_VALUE, WASM_VAR, wasm_valtype_new(RECLAIM_ANYREF)},
  };
  reclaim_gctype_t* node = reclaim_structtype_new(engine, fields, 2);
  wasm_valtype_delete(fields[0].type);
  wasm_valtype_delete(fields[1].type);
  if (!node) fail("the type");

  /* A list of the numbers from 1 to 1000. Only the handle to its first node is kept: the nodes keep one
   * another alive. */
  wasm_ref_t* list = NULL;
  for (int i = 1; i <= 1000; i++) {
    wasm_val_t values[2];
    values[0].kind = WASM_I32;
    values[0].of.i32 = i;
    values[1].kind = RECLAIM_ANYREF;
    values[1].of.ref = list;
    wasm_val_vec_t vector = {2, values};
    wasm_ref_t* longer = reclaim_struct_new(store, node, &vector);
    if (!longer) fail("a node");
    if (list) wasm_ref_delete(list);
    list = longer;
  }
  print_stats(store, "with the list");

  /* The module sums it up. */
  wasm_byte_vec_t binary;
  if (!reclaim_wat2wasm(TEXT, strlen(TEXT), &binary)) fail("the text");
  wasm_module_t* module = wasm_module_new(store, &binary);
  wasm_byte_vec_delete(&binary);
  if (!module) fail("the module");
  wasm_extern_vec_t none = WASM_EMPTY_VEC, exports;
  wasm_instance_t* instance = wasm_instance_new(store, module, &none, NULL);
  if (!instance) fail("the instance");
  wasm_instance_exports(instance, &exports);
  wasm_val_t argument, result;
  argument.kind = RECLAIM_ANYREF;
  argument.of.ref = list;
  wasm_val_vec_t arguments = {1, &argument}, results = {1, &result};
  if (wasm_func_call(wasm_extern_as_func(exports.data[0]), &arguments, &results)) fail("the call");
  printf("the sum is %d\n", result.of.i32);

  /* Without the handle, the list is garbage. */
  wasm_ref_delete(list);
  print_stats(store, "without the list");

  wasm_extern_vec_delete(&exports);
  wasm_instance_delete(instance);
  wasm_module_delete(module);
  reclaim_gctype_delete(node);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  return result.of.i32 == 500500 ? 0 : 1;
}
