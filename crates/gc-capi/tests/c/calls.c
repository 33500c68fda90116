/* Calls in both directions, all kinds of values, and traps. */
#include "check.h"

static wasm_extern_vec_t* running;

static wasm_trap_t* add(void* env, const wasm_val_vec_t* arguments, wasm_val_vec_t* results) {
  results->data[0].kind = WASM_I32;
  results->data[0].of.i32 = arguments->data[0].of.i32 + *(int*)env;
  return NULL;
}

/* Calls the module again, down to zero. */
static wasm_trap_t* down(const wasm_val_vec_t* arguments, wasm_val_vec_t* results) {
  int n = arguments->data[0].of.i32;
  if (n == 0) {
    results->data[0] = arguments->data[0];
    return NULL;
  }
  wasm_val_t argument[] = {WASM_I32_VAL(n - 1)};
  wasm_val_t result[1];
  wasm_trap_t* trap = call(running, 0, 1, argument, 1, result);
  if (!trap) results->data[0].of.i32 = result[0].of.i32 + n;
  return trap;
}

static wasm_trap_t* all(const wasm_val_vec_t* arguments, wasm_val_vec_t* results) {
  for (size_t i = 0; i < arguments->size; i++) {
    wasm_val_delete(&results->data[i]);
    wasm_val_copy(&results->data[i], &arguments->data[i]);
  }
  return NULL;
}

static wasm_trap_t* kept_trap;

static wasm_trap_t* fail(void* env, const wasm_val_vec_t* arguments, wasm_val_vec_t* results) {
  (void)arguments, (void)results;
  wasm_message_t message;
  wasm_name_new_from_string_nt(&message, "a trap of C");
  wasm_trap_t* trap = wasm_trap_new(env, &message);
  wasm_name_delete(&message);
  kept_trap = wasm_trap_copy(trap);
  wasm_trap_set_host_info_with_finalizer(trap, &kept_trap, count);
  return trap;
}

static wasm_trap_t* wrong(const wasm_val_vec_t* arguments, wasm_val_vec_t* results) {
  (void)arguments;
  results->data[0].kind = WASM_I64;
  return NULL;
}

static wasm_func_t* func(wasm_store_t* store, wasm_func_callback_t callback) {
  wasm_functype_t* type = wasm_functype_new_1_1(wasm_valtype_new_i32(), wasm_valtype_new_i32());
  wasm_func_t* func = wasm_func_new(store, type, callback);
  wasm_functype_delete(type);
  CHECK(func && wasm_func_param_arity(func) == 1 && wasm_func_result_arity(func) == 1);
  return func;
}

#define THROUGH                                                                        \
  "(module (import \"\" \"f\" (func $f (param i32) (result i32)))"                     \
  "  (func $run (export \"run\") (param i32) (result i32) (call $f (local.get 0)))"    \
  "  (func (export \"outer\") (param i32) (result i32) (call $run (local.get 0)))"     \
  "  (func $deep (export \"deep\") (param i32) (result i32)"                           \
  "    (i32.add (call $deep (local.get 0)) (i32.const 1)))"                            \
  "  (func (export \"bad\") (unreachable)))"

static void environment(wasm_store_t* store) {
  int number = 40;
  wasm_functype_t* type = wasm_functype_new_1_1(wasm_valtype_new_i32(), wasm_valtype_new_i32());
  wasm_func_t* import = wasm_func_new_with_env(store, type, add, &number, count);
  wasm_functype_delete(type);
  wasm_extern_vec_t exports = exports_of(store, THROUGH, import);
  wasm_val_t argument[] = {WASM_I32_VAL(2)}, result[1];
  CHECK(!call(&exports, 1, 1, argument, 1, result) && result[0].of.i32 == 42);
  check_trap(call(&exports, 2, 1, argument, 1, result), "stack");
  wasm_val_t two[] = {WASM_I32_VAL(2), WASM_I32_VAL(2)};
  check_trap(call(&exports, 0, 2, two, 1, result), "expected 1 arguments, found 2");
  check_trap(call(&exports, 0, 1, argument, 0, NULL), "room for 1 results, found 0");
  wasm_val_t other[] = {WASM_I64_VAL(2)};
  check_trap(call(&exports, 0, 1, other, 1, result), "argument 0: type mismatch: expected i32");
  wasm_trap_t* trap = wasm_func_call(NULL, NULL, NULL);
  CHECK_FAILED(trap, "wasm_func_call: NULL was passed for `func`");
  check_trap(trap, "NULL was passed for `func`");
  trap = call(&exports, 3, 0, NULL, 0, NULL);
  CHECK_FAILED(trap, "wasm_func_call: wasm trap: wasm `unreachable` instruction executed");
  check_trap(trap, "unreachable");
  wasm_func_delete(import);
  wasm_extern_vec_delete(&exports);
  CHECK(finalized == 0);
}

static void nested(wasm_store_t* store) {
  wasm_func_t* import = func(store, down);
  wasm_extern_vec_t exports = exports_of(store, THROUGH, import);
  running = &exports;
  wasm_val_t argument[] = {WASM_I32_VAL(20)}, result[1];
  CHECK(!call(&exports, 0, 1, argument, 1, result) && result[0].of.i32 == 210);
  wasm_func_delete(import);
  wasm_extern_vec_delete(&exports);
}

static void kinds(wasm_store_t* store) {
  wasm_valtype_t* ps[] = {wasm_valtype_new_i32(),       wasm_valtype_new_i64(),
                          wasm_valtype_new_f32(),       wasm_valtype_new_f64(),
                          wasm_valtype_new(RECLAIM_V128), wasm_valtype_new_externref(),
                          wasm_valtype_new_funcref(),   wasm_valtype_new(RECLAIM_ANYREF)};
  wasm_valtype_vec_t params, results;
  wasm_valtype_vec_new(&params, 8, ps);
  wasm_valtype_vec_copy(&results, &params);
  wasm_functype_t* type = wasm_functype_new(&params, &results);
  wasm_func_t* import = wasm_func_new(store, type, all);
  wasm_functype_delete(type);
  wasm_extern_vec_t exports = exports_of(
      store,
      "(module (type $t (func (param i32 i64 f32 f64 v128 externref funcref anyref)"
      "  (result i32 i64 f32 f64 v128 externref funcref anyref)))"
      "  (import \"\" \"f\" (func $f (type $t)))"
      "  (func (export \"run\") (type $t) (call $f (local.get 0) (local.get 1) (local.get 2)"
      "    (local.get 3) (local.get 4) (local.get 5) (local.get 6) (local.get 7))))",
      import);
  uint8_t bytes[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, read[16];
  wasm_foreign_t* foreign = wasm_foreign_new(store);
  wasm_val_t as[] = {WASM_I32_VAL(-1),
                     WASM_I64_VAL(INT64_MIN),
                     WASM_F32_VAL(1.5f),
                     WASM_F64_VAL(-0.0),
                     WASM_INIT_VAL,
                     WASM_REF_VAL(wasm_foreign_as_ref(foreign)),
                     {WASM_FUNCREF, {.ref = wasm_func_as_ref(import)}},
                     {RECLAIM_ANYREF, {.ref = reclaim_i31_new(store, 77)}}};
  wasm_val_t rs[8];
  reclaim_val_new_v128(&as[4], bytes);
  for (int i = 0; i < 50; i++) {
    CHECK(!call(&exports, 0, 8, as, 8, rs));
    CHECK(rs[0].of.i32 == -1 && rs[1].of.i64 == INT64_MIN && rs[2].of.f32 == 1.5f);
    CHECK(rs[3].kind == WASM_F64 && rs[3].of.i64 == INT64_MIN);
    CHECK(reclaim_val_v128(&rs[4], read) && memcmp(read, bytes, 16) == 0);
    CHECK(rs[5].kind == WASM_EXTERNREF && wasm_ref_same(rs[5].of.ref, as[5].of.ref));
    CHECK(wasm_ref_as_foreign(rs[5].of.ref) && !wasm_ref_as_func(rs[5].of.ref));
    CHECK(rs[6].kind == WASM_FUNCREF && wasm_ref_same(rs[6].of.ref, as[6].of.ref));
    int32_t number;
    CHECK(rs[7].kind == RECLAIM_ANYREF && reclaim_i31_get(rs[7].of.ref, &number) && number == 77);
    for (int j = 0; j < 8; j++) wasm_val_delete(&rs[j]);
  }
  /* Nulls. */
  as[5].of.ref = NULL;
  wasm_ref_t* i31 = as[7].of.ref;
  as[7].of.ref = NULL;
  CHECK(!call(&exports, 0, 8, as, 8, rs) && !rs[5].of.ref && !rs[7].of.ref);
  for (int j = 0; j < 8; j++) wasm_val_delete(&rs[j]);
  /* A reference that is no function. */
  as[6].of.ref = i31;
  check_trap(call(&exports, 0, 8, as, 8, rs), "argument 6");
  CHECK_FAILED(!reclaim_val_v128(&as[0], read), "no v128");
  wasm_ref_delete(i31);
  wasm_val_delete(&as[4]);
  wasm_foreign_delete(foreign);
  wasm_func_delete(import);
  wasm_extern_vec_delete(&exports);
}

static void traps(wasm_store_t* store) {
  wasm_functype_t* type = wasm_functype_new_1_1(wasm_valtype_new_i32(), wasm_valtype_new_i32());
  wasm_func_t* import = wasm_func_new_with_env(store, type, fail, store, NULL);
  wasm_functype_delete(type);
  wasm_extern_vec_t exports = exports_of(store, THROUGH, import);
  wasm_val_t argument[] = {WASM_I32_VAL(0)}, result[1];
  wasm_trap_t* trap = call(&exports, 1, 1, argument, 1, result);
  CHECK(trap && wasm_trap_same(trap, kept_trap) && wasm_trap_get_host_info(trap) == &kept_trap);
  wasm_frame_vec_t trace;
  wasm_trap_trace(trap, &trace);
  CHECK(trace.size == 2 && wasm_frame_func_index(trace.data[0]) == 1);
  CHECK(wasm_frame_func_index(trace.data[1]) == 2 && wasm_frame_func_offset(trace.data[1]) > 0);
  CHECK(wasm_frame_module_offset(trace.data[1]) > wasm_frame_module_offset(trace.data[0]));
  wasm_frame_t* origin = wasm_trap_origin(trap);
  wasm_frame_t* copy = wasm_frame_copy(origin);
  wasm_frame_delete(origin);
  wasm_name_t name;
  CHECK(reclaim_frame_func_name(copy, &name) && strcmp(name.data, "run") == 0);
  wasm_name_delete(&name);
  CHECK(wasm_frame_instance(copy) && wasm_frame_instance(copy) == wasm_frame_instance(copy));
  wasm_frame_delete(copy);
  wasm_frame_vec_delete(&trace);
  CHECK(!reclaim_trap_exception(trap));
  int before = finalized;
  wasm_trap_delete(kept_trap);
  CHECK(finalized == before);
  check_trap(trap, "a trap of C");
  CHECK(finalized == before + 1);
  check_trap(call(&exports, 3, 0, NULL, 0, NULL), "unreachable");
  wasm_func_delete(import);
  wasm_extern_vec_delete(&exports);

  import = func(store, wrong);
  exports = exports_of(store, THROUGH, import);
  check_trap(call(&exports, 0, 1, argument, 1, result), "result 0 of a function of C: type mismatch");
  wasm_func_delete(import);
  wasm_extern_vec_delete(&exports);
}

static void instances(wasm_store_t* store) {
  wasm_module_t* module = module_of(store, "(module (func $f (unreachable)) (start $f))");
  wasm_extern_vec_t none = WASM_EMPTY_VEC;
  wasm_trap_t* trap;
  CHECK(!wasm_instance_new(store, module, &none, &trap));
  wasm_frame_t* origin = wasm_trap_origin(trap);
  CHECK(!wasm_frame_instance(origin));
  wasm_frame_delete(origin);
  check_trap(trap, "unreachable");
  CHECK_FAILED(!wasm_instance_new(store, module, &none, NULL), "wasm_instance_new: ");
  wasm_module_delete(module);
  module = module_of(store, THROUGH);
  CHECK_FAILED(!wasm_instance_new(store, module, &none, NULL), "expected 1 imports, found 0");
  wasm_val_t value = WASM_I32_VAL(1);
  wasm_globaltype_t* type = wasm_globaltype_new(wasm_valtype_new_i32(), WASM_CONST);
  wasm_global_t* global = wasm_global_new(store, type, &value);
  wasm_globaltype_delete(type);
  wasm_extern_t* externs[] = {wasm_global_as_extern(global)};
  wasm_extern_vec_t imports = WASM_ARRAY_VEC(externs);
  CHECK(!wasm_instance_new(store, module, &imports, &trap));
  check_trap(trap, "import");
  CHECK(!wasm_instance_new(store, NULL, &imports, &trap));
  check_trap(trap, "NULL was passed for `module`");
  CHECK(!wasm_instance_new(NULL, module, &imports, &trap));
  check_trap(trap, "NULL was passed for `store`");
  wasm_global_delete(global);
  wasm_module_delete(module);
}

/* Calls the module again, which traps, and passes the trap on. */
static wasm_trap_t* deeper(const wasm_val_vec_t* arguments, wasm_val_vec_t* results) {
  int n = arguments->data[0].of.i32;
  wasm_val_t argument[] = {WASM_I32_VAL(n - 1)};
  if (n == 0) return call(running, 3, 0, NULL, 0, NULL);
  return call(running, 1, 1, argument, 1, results->data);
}

/* A trap of WebAssembly that goes through functions of C stays the same. */
static void passed_on(wasm_store_t* store) {
  wasm_func_t* import = func(store, deeper);
  wasm_extern_vec_t exports = exports_of(store, THROUGH, import), again;
  running = &exports;
  wasm_val_t argument[] = {WASM_I32_VAL(4)}, result[1];
  wasm_trap_t* trap = call(&exports, 1, 1, argument, 1, result);
  CHECK(trap);
  wasm_frame_t* origin = wasm_trap_origin(trap);
  /* A function without a name has that of its export. */
  wasm_name_t name;
  CHECK(origin && wasm_frame_func_index(origin) == 4);
  CHECK(reclaim_frame_func_name(origin, &name) && strcmp(name.data, "bad") == 0);
  wasm_name_delete(&name);
  wasm_instance_t* instance = wasm_frame_instance(origin);
  CHECK(instance);
  wasm_instance_exports(instance, &again);
  CHECK(again.size == exports.size && wasm_extern_same(again.data[3], exports.data[3]));
  wasm_extern_vec_delete(&again);
  wasm_frame_vec_t trace, copy;
  wasm_trap_trace(trap, &trace);
  wasm_frame_vec_copy(&copy, &trace);
  /* `bad`, and `run` and `outer` for each of the numbers from 0 to 4. */
  CHECK(trace.size == 11 && copy.size == 11);
  for (size_t i = 1; i < 11; i++) CHECK(wasm_frame_func_index(copy.data[i]) == 2 - i % 2);
  CHECK(wasm_frame_module_offset(copy.data[0]) == wasm_frame_module_offset(origin));
  wasm_frame_vec_delete(&trace);
  wasm_frame_delete(origin);
  check_trap(trap, "unreachable");
  /* A frame is valid without its trap. */
  CHECK(wasm_frame_func_index(copy.data[0]) == 4);
  wasm_frame_vec_delete(&copy);
  wasm_func_delete(import);
  wasm_extern_vec_delete(&exports);

  /* With two instances of a module it is not known which of them trapped. */
  wasm_module_t* module = module_of(store, "(module (func (export \"f\") (unreachable)))");
  wasm_extern_vec_t none = WASM_EMPTY_VEC;
  wasm_instance_t* first = wasm_instance_new(store, module, &none, NULL);
  wasm_instance_exports(first, &exports);
  for (int i = 0; i < 2; i++) {
    trap = call(&exports, 0, 0, NULL, 0, NULL);
    origin = wasm_trap_origin(trap);
    CHECK(wasm_instance_same(wasm_frame_instance(origin), i == 0 ? first : NULL));
    wasm_frame_delete(origin);
    wasm_trap_delete(trap);
    if (i == 0) wasm_instance_delete(wasm_instance_new(store, module, NULL, NULL));
  }
  wasm_extern_vec_delete(&exports);
  wasm_instance_delete(first);
  wasm_module_delete(module);
}

/* Several results, in any number, and a handle that is called without a module. */
static wasm_trap_t* divide(const wasm_val_vec_t* arguments, wasm_val_vec_t* results) {
  CHECK(arguments->size == 2 && results->size == 2);
  results->data[0].of.i64 = arguments->data[0].of.i64 / arguments->data[1].of.i64;
  results->data[1].of.i64 = arguments->data[0].of.i64 % arguments->data[1].of.i64;
  return NULL;
}

static void several(wasm_store_t* store) {
  wasm_functype_t* type = wasm_functype_new_2_2(wasm_valtype_new_i64(), wasm_valtype_new_i64(),
                                                wasm_valtype_new_i64(), wasm_valtype_new_i64());
  wasm_func_t* import = wasm_func_new(store, type, divide);
  CHECK(import && wasm_func_param_arity(import) == 2 && wasm_func_result_arity(import) == 2);
  wasm_functype_t* its_type = wasm_func_type(import);
  CHECK(wasm_functype_params(its_type)->size == 2);
  CHECK(wasm_valtype_kind(wasm_functype_results(its_type)->data[1]) == WASM_I64);
  wasm_functype_delete(its_type);
  wasm_val_t numbers[] = {WASM_I64_VAL(47), WASM_I64_VAL(10)}, results[3];
  wasm_val_vec_t as = WASM_ARRAY_VEC(numbers), rs = WASM_ARRAY_VEC(results);
  results[2].of.i64 = 11;
  CHECK(!wasm_func_call(import, &as, &rs));
  CHECK(results[0].of.i64 == 4 && results[1].of.i64 == 7 && results[2].of.i64 == 11);
  wasm_extern_vec_t exports = exports_of(store,
      "(module (import \"\" \"f\" (func $f (param i64 i64) (result i64 i64)))"
      "  (func (export \"run\") (param i64 i64) (result i64 i64 i64)"
      "    (call $f (local.get 0) (local.get 1)) (local.get 0)))",
      import);
  CHECK(!call(&exports, 0, 2, numbers, 3, results));
  CHECK(results[0].of.i64 == 4 && results[1].of.i64 == 7 && results[2].of.i64 == 47);
  wasm_extern_vec_delete(&exports);
  wasm_func_delete(import);

  /* Functions that cannot be made. The environment is finalized nevertheless. */
  int before = finalized;
  CHECK_FAILED(!wasm_func_new(store, type, NULL), "NULL");
  CHECK_FAILED(!wasm_func_new(store, NULL, divide), "NULL");
  CHECK_FAILED(!wasm_func_new_with_env(NULL, type, add, &before, count), "NULL");
  CHECK(finalized == before + 1);
  wasm_functype_delete(type);
}

int main(int argc, char** argv) {
  wasm_engine_t* engine = engine_of(argc, argv);
  wasm_store_t* store = wasm_store_new(engine);
  environment(store);
  nested(store);
  kinds(store);
  traps(store);
  passed_on(store);
  several(store);
  instances(store);
  /* The environment of the function of C, when the store is gone. */
  int before = finalized;
  wasm_store_delete(store);
  CHECK(finalized == before + 1);
  wasm_engine_delete(engine);
  return 0;
}
