/* Exceptions that C throws, catches and passes on. */
#include "check.h"

static wasm_store_t* store;
static wasm_extern_t* tag;
static wasm_extern_vec_t* running;

/* Whether the trap has an exception: this one, unless it is NULL. */
static bool has_exception(const wasm_trap_t* trap, const wasm_ref_t* exception) {
  wasm_ref_t* found = reclaim_trap_exception(trap);
  bool same = found && (!exception || wasm_ref_same(found, exception));
  wasm_ref_delete(found);
  return same;
}

/* Throws an exception with its argument. */
static wasm_trap_t* throw_it(const wasm_val_vec_t* arguments, wasm_val_vec_t* results) {
  (void)results;
  wasm_ref_t* exception = reclaim_exception_new(store, tag, arguments);
  CHECK(exception && reclaim_ref_kind(exception) == RECLAIM_REF_EXCEPTION);
  wasm_trap_t* trap = reclaim_trap_new_exception(exception);
  CHECK(trap && has_exception(trap, exception));
  wasm_ref_delete(exception);
  return trap;
}

/* Calls what throws, and passes the exception on. */
static wasm_trap_t* pass_on(const wasm_val_vec_t* arguments, wasm_val_vec_t* results) {
  (void)results;
  wasm_val_t argument[] = {arguments->data[0]};
  wasm_trap_t* trap = call(running, 1, 1, argument, 0, NULL);
  CHECK(trap && has_exception(trap, NULL));
  return trap;
}

/* Returns the same trap at each call. */
static wasm_trap_t* kept;
static wasm_trap_t* throw_again(const wasm_val_vec_t* arguments, wasm_val_vec_t* results) {
  (void)arguments, (void)results;
  return wasm_trap_copy(kept);
}

#define MODULE                                                                          \
  "(module (import \"\" \"tag\" (tag $tag (param i32)))"                                \
  "  (import \"\" \"f\" (func $f (param i32)))"                                         \
  "  (func (export \"catch\") (param i32) (result i32)"                                 \
  "    (block $caught (result i32)"                                                     \
  "      (try_table (catch $tag $caught) (call $f (local.get 0)))"                      \
  "      (i32.const -1)))"                                                              \
  "  (func (export \"throw\") (param i32) (throw $tag (local.get 0))))"

static wasm_extern_vec_t exports_with(wasm_func_callback_t callback) {
  wasm_functype_t* type = wasm_functype_new_1_0(wasm_valtype_new_i32());
  wasm_func_t* func = wasm_func_new(store, type, callback);
  wasm_functype_delete(type);
  wasm_module_t* module = module_of(store, MODULE);
  wasm_extern_t* given[] = {tag, wasm_func_as_extern(func)};
  wasm_extern_vec_t imports = WASM_ARRAY_VEC(given), exports;
  wasm_instance_t* instance = wasm_instance_new(store, module, &imports, NULL);
  CHECK(instance);
  wasm_instance_exports(instance, &exports);
  wasm_instance_delete(instance);
  wasm_module_delete(module);
  wasm_func_delete(func);
  return exports;
}

static wasm_extern_t* new_tag(void) {
  wasm_tagtype_t* type = wasm_tagtype_new(wasm_functype_new_1_0(wasm_valtype_new_i32()));
  wasm_extern_t* made = reclaim_tag_new(store, type);
  wasm_tagtype_delete(type);
  CHECK(made && wasm_extern_kind(made) == WASM_EXTERN_TAG);
  return made;
}

int main(int argc, char** argv) {
  wasm_engine_t* engine = engine_of(argc, argv);
  store = wasm_store_new(engine);
  tag = new_tag();

  wasm_extern_vec_t thrower = exports_with(throw_it), passer = exports_with(pass_on);
  running = &thrower;
  wasm_val_t argument[] = {WASM_I32_VAL(42)}, result[1];
  for (int i = 0; i < 100; i++) {
    argument[0].of.i32 = i;
    CHECK(!call(&thrower, 0, 1, argument, 1, result) && result[0].of.i32 == i);
    CHECK(!call(&passer, 0, 1, argument, 1, result) && result[0].of.i32 == i);
  }

  /* What nothing catches. */
  wasm_trap_t* trap = call(&thrower, 1, 1, argument, 0, NULL);
  CHECK(trap);
  wasm_ref_t* exception = reclaim_trap_exception(trap);
  CHECK(exception && has_exception(trap, exception));
  wasm_extern_t* found = reclaim_exception_tag(exception);
  CHECK(wasm_extern_same(found, tag));
  wasm_val_t value;
  CHECK(reclaim_exception_get(exception, 0, &value) && value.of.i32 == 99);
  CHECK_FAILED(!reclaim_exception_get(exception, 1, &value), "");
  wasm_extern_delete(found);

  /* The exception belongs to the trap, whatever was called since, and can be thrown again. */
  argument[0].of.i32 = 7;
  wasm_trap_t* other = call(&thrower, 1, 1, argument, 0, NULL);
  CHECK(other && !has_exception(other, exception) && has_exception(trap, exception));
  kept = trap;
  wasm_extern_vec_t again = exports_with(throw_again);
  for (int i = 0; i < 3; i++) {
    CHECK(reclaim_store_gc(store));
    CHECK(!call(&again, 0, 1, argument, 1, result) && result[0].of.i32 == 99);
  }
  kept = other;
  CHECK(!call(&again, 0, 1, argument, 1, result) && result[0].of.i32 == 7);

  /* A start function throws: the exception is in the trap, also if nobody wants the trap. */
  wasm_module_t* module =
      module_of(store, "(module (import \"\" \"tag\" (tag $tag (param i32)))"
                       "  (func $start (throw $tag (i32.const 5))) (start $start))");
  wasm_extern_t* externs[] = {tag};
  wasm_extern_vec_t imports = WASM_ARRAY_VEC(externs);
  wasm_trap_t* started = NULL;
  CHECK(!wasm_instance_new(store, module, &imports, &started) && has_exception(started, NULL));
  CHECK_FAILED(!wasm_instance_new(store, module, &imports, NULL), "exception");
  wasm_trap_delete(started);
  wasm_module_delete(module);

  /* It does not get into another store. */
  wasm_store_t* here = store;
  wasm_extern_t* tag_here = tag;
  store = wasm_store_new(engine);
  tag = new_tag();
  wasm_extern_vec_t elsewhere = exports_with(throw_again);
  check_trap(call(&elsewhere, 0, 1, argument, 1, result), "a trap of another store");
  wasm_extern_vec_delete(&elsewhere);
  wasm_extern_delete(tag);
  wasm_store_delete(store);
  store = here;
  tag = tag_here;
  wasm_trap_delete(other);
  wasm_trap_delete(trap);
  wasm_extern_vec_delete(&again);

  /* An exception is no externref. */
  wasm_globaltype_t* type = wasm_globaltype_new(wasm_valtype_new_externref(), WASM_VAR);
  value.kind = WASM_EXTERNREF;
  value.of.ref = exception;
  CHECK_FAILED(!wasm_global_new(store, type, &value), "type mismatch");
  wasm_globaltype_delete(type);
  type = wasm_globaltype_new(wasm_valtype_new(RECLAIM_EXNREF), WASM_VAR);
  wasm_global_t* global = wasm_global_new(store, type, &value);
  CHECK(global);
  wasm_globaltype_delete(type);
  wasm_ref_delete(exception);
  CHECK(reclaim_store_gc(store));
  wasm_global_get(global, &value);
  CHECK(value.kind == RECLAIM_EXNREF && reclaim_exception_get(value.of.ref, 0, &result[0]));
  CHECK(result[0].of.i32 == 99);
  wasm_val_delete(&value);
  wasm_global_delete(global);

  wasm_val_vec_t none = WASM_EMPTY_VEC;
  CHECK_FAILED(!reclaim_exception_new(store, tag, &none), "expected 1 values, found 0");
  CHECK_FAILED(!reclaim_exception_new(store, thrower.data[0], &none), "expected a tag");
  CHECK_FAILED(!reclaim_trap_new_exception(wasm_extern_as_ref(tag)), "expected an exception");
  wasm_extern_vec_delete(&thrower);
  wasm_extern_vec_delete(&passer);
  wasm_extern_delete(tag);
  wasm_store_delete(store);
  wasm_engine_delete(engine);
  return 0;
}
