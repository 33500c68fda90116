/* Calls and functions of C with raw values: numbers, vectors, references, traps, and what is deleted
 * meanwhile. */
#include "check.h"

static wasm_store_t* store;

#define MODULE                                                                                      \
  "(module (import \"\" \"f\" (func $f (param i32 i64) (result i64)))"                              \
  "  (type $box (struct (field i32)))"                                                              \
  "  (func (export \"nop\"))"                                                                       \
  "  (func (export \"f\") (param i32 i64) (result i64) (call $f (local.get 0) (local.get 1)))"      \
  "  (func (export \"many\") (param i32 i64 f32 f64 v128) (result v128 f64 f32 i64 i32)"            \
  "    (local.get 4) (local.get 3) (local.get 2) (local.get 1) (local.get 0))"                      \
  "  (func (export \"box\") (param i32) (result anyref) (struct.new $box (local.get 0)))"           \
  "  (func (export \"unbox\") (param anyref) (result i32)"                                          \
  "    (struct.get $box 0 (ref.cast (ref $box) (local.get 0))))"                                    \
  "  (func (export \"choose\") (param externref externref i32) (result externref)"                  \
  "    (select (result externref) (local.get 0) (local.get 1) (local.get 2)))"                      \
  "  (func (export \"func\") (param funcref) (result funcref) (local.get 0)))"

enum { NOP, F, MANY, BOX, UNBOX, CHOOSE, FUNC };
static wasm_extern_vec_t exports;

static wasm_func_t* export(size_t index) { return wasm_extern_as_func(exports.data[index]); }

/* What the function of C does, which `env` counts. */
static int calls = 0;
static bool recursive = false;
static wasm_trap_t* add(void* env, reclaim_val_raw_t* values, size_t count) {
  CHECK(env == &calls && count == 2);
  calls++;
  int32_t a = values[0].i32;
  int64_t b = values[1].i64;
  if (a == -1) {
    wasm_message_t why;
    wasm_name_new_from_string_nt(&why, "no such number");
    wasm_trap_t* trap = wasm_trap_new(store, &why);
    wasm_byte_vec_delete(&why);
    return trap;
  }
  if (recursive && a > 0) {
    /* The store is used again, and collects. */
    CHECK(reclaim_store_gc(store));
    reclaim_val_raw_t inner[2] = {{.i32 = a - 1}, {.i64 = b}};
    wasm_trap_t* trap = reclaim_func_call_unchecked(export(F), inner, 2);
    if (trap) return trap;
    b = inner[0].i64;
    a = 1;
  }
  values[0].i64 = a + b;
  return NULL;
}

static void numbers(void) {
  CHECK(!reclaim_func_call_unchecked(export(NOP), NULL, 0));
  reclaim_val_raw_t values[5];
  for (int i = 0; i < 100; i++) {
    values[0].i32 = i;
    values[1].i64 = (int64_t)1 << 40;
    CHECK(!reclaim_func_call_unchecked(export(F), values, 2));
    CHECK(values[0].i64 == i + ((int64_t)1 << 40));
  }
  CHECK(calls == 100);
  recursive = true;
  values[0].i32 = 20;
  values[1].i64 = 5;
  CHECK(!reclaim_func_call_unchecked(export(F), values, 5));
  CHECK(values[0].i64 == 25 && calls == 121);
  recursive = false;

  values[0].i32 = -7;
  values[1].i64 = INT64_MIN;
  values[2].f32 = 1.5f;
  values[3].f64 = -2.25;
  for (int i = 0; i < 16; i++) values[4].v128[i] = (uint8_t)i;
  CHECK(!reclaim_func_call_unchecked(export(MANY), values, 5));
  for (int i = 0; i < 16; i++) CHECK(values[0].v128[i] == i);
  CHECK(values[1].f64 == -2.25 && values[2].f32 == 1.5f);
  CHECK(values[3].i64 == INT64_MIN && values[4].i32 == -7);
}

static void failures(void) {
  reclaim_val_raw_t values[3];
  values[0].i32 = -1;
  values[1].i64 = 0;
  check_trap(reclaim_func_call_unchecked(export(F), values, 2), "no such number");
  check_trap(reclaim_func_call_unchecked(export(F), values, 1), "1 slots for 2 values");
  check_trap(reclaim_func_call_unchecked(export(F), NULL, 2), "0 slots for 2 values");
  check_trap(reclaim_func_call_unchecked(NULL, values, 2), "NULL");
  reclaim_val_raw_t* crooked = (reclaim_val_raw_t*)(void*)((char*)values + 8);
  check_trap(reclaim_func_call_unchecked(export(F), crooked, 2), "not aligned");
  /* A null. */
  values[0].anyref = 0;
  check_trap(reclaim_func_call_unchecked(export(UNBOX), values, 1), "wasm trap: cast failure");
  values[0].i32 = 1;
  values[1].i64 = 2;
  CHECK(!reclaim_func_call_unchecked(export(F), values, 2) && values[0].i64 == 3);
  finalized = 0;
  wasm_functype_t* type = wasm_functype_new_0_0();
  CHECK_FAILED(!reclaim_func_new_unchecked(store, type, NULL, NULL, count), "callback");
  CHECK(finalized == 1);
  wasm_functype_delete(type);
}

static void references(void) {
  for (int i = 0; i < 20; i++) {
    reclaim_val_raw_t values[3];
    values[0].i32 = i;
    CHECK(!reclaim_func_call_unchecked(export(BOX), values, 1));
    wasm_val_t box;
    CHECK(reclaim_val_from_raw(store, values, RECLAIM_ANYREF, &box));
    CHECK(reclaim_ref_kind(box.of.ref) == RECLAIM_REF_STRUCT);
    /* It may move. The handle is good. */
    CHECK(reclaim_store_gc(store));
    CHECK(reclaim_vals_to_raw(store, &box, 1, values));
    CHECK(!reclaim_func_call_unchecked(export(UNBOX), values, 1) && values[0].i32 == i);
    wasm_val_delete(&box);

    /* Two references at once. One is a function, which is put in a box, and that may collect. */
    wasm_foreign_t* foreign = wasm_foreign_new(store);
    wasm_val_t both[] = {WASM_REF_VAL(wasm_foreign_as_ref(foreign)),
                         WASM_REF_VAL(wasm_func_as_ref(export(NOP)))};
    for (int chosen = 0; chosen < 2; chosen++) {
      CHECK(reclaim_vals_to_raw(store, both, 2, values));
      values[2].i32 = !chosen;
      CHECK(!reclaim_func_call_unchecked(export(CHOOSE), values, 3));
      wasm_val_t found;
      CHECK(reclaim_val_from_raw(store, values, WASM_EXTERNREF, &found));
      CHECK(wasm_ref_same(found.of.ref, both[chosen].of.ref));
      wasm_val_delete(&found);
    }
    wasm_foreign_delete(foreign);
  }
  reclaim_val_raw_t raw;
  wasm_val_t value = {.kind = WASM_FUNCREF, .of = {.ref = wasm_func_as_ref(export(BOX))}}, found;
  CHECK(reclaim_vals_to_raw(store, &value, 1, &raw) && raw.funcref);
  CHECK(!reclaim_func_call_unchecked(export(FUNC), &raw, 1));
  CHECK(reclaim_val_from_raw(store, &raw, WASM_FUNCREF, &found));
  CHECK(found.kind == WASM_FUNCREF && wasm_ref_same(found.of.ref, value.of.ref));
  wasm_val_delete(&found);
  wasm_val_t null = WASM_INIT_VAL;
  CHECK(reclaim_vals_to_raw(store, &null, 1, &raw) && raw.externref == 0);
  CHECK(reclaim_val_from_raw(store, &raw, WASM_EXTERNREF, &found) && !found.of.ref);
  wasm_val_t number = WASM_F64_VAL(0.5);
  CHECK(reclaim_vals_to_raw(store, &number, 1, &raw) && raw.f64 == 0.5);
  CHECK(reclaim_val_from_raw(store, &raw, WASM_F64, &found) && found.of.f64 == 0.5);

  CHECK(reclaim_vals_to_raw(store, NULL, 0, NULL));
  CHECK_FAILED(!reclaim_vals_to_raw(store, NULL, 1, &raw), "NULL");
  number.kind = 99;
  CHECK_FAILED(!reclaim_vals_to_raw(store, &number, 1, &raw), "99 is no kind");
  CHECK_FAILED(!reclaim_val_from_raw(store, &raw, 99, &found), "99 is no kind");
  CHECK_FAILED(!reclaim_val_from_raw(store, NULL, WASM_I32, &found), "NULL");
}

/* A function of C keeps a reference, and returns it at the next call. */
static wasm_val_t kept = WASM_INIT_VAL;
static wasm_trap_t* exchange(void* env, reclaim_val_raw_t* values, size_t count) {
  (void)env, (void)count;
  wasm_val_t before = kept;
  CHECK(reclaim_val_from_raw(store, values, WASM_EXTERNREF, &kept));
  CHECK(reclaim_store_gc(store));
  CHECK(reclaim_vals_to_raw(store, &before, 1, values));
  wasm_val_delete(&before);
  return NULL;
}

static void kept_references(void) {
  wasm_functype_t* type =
      wasm_functype_new_1_1(wasm_valtype_new_externref(), wasm_valtype_new_externref());
  wasm_func_t* func = reclaim_func_new_unchecked(store, type, exchange, NULL, NULL);
  CHECK(func);
  wasm_functype_delete(type);
  wasm_foreign_t* before = NULL;
  for (int i = 0; i < 10; i++) {
    wasm_foreign_t* now = wasm_foreign_new(store);
    wasm_val_t argument[] = {WASM_REF_VAL(wasm_foreign_as_ref(now))}, result[1];
    wasm_val_vec_t arguments = WASM_ARRAY_VEC(argument), results = WASM_ARRAY_VEC(result);
    CHECK(!wasm_func_call(func, &arguments, &results));
    CHECK(!before == !result[0].of.ref);
    if (before) CHECK(wasm_ref_same(result[0].of.ref, wasm_foreign_as_ref(before)));
    wasm_val_delete(&result[0]);
    wasm_foreign_delete(before);
    before = now;
  }
  wasm_foreign_delete(before);
  wasm_val_delete(&kept);
  wasm_func_delete(func);
}

/* Deletes all handles of the store in which it runs. The last one may be its own, or that of its trap. */
static wasm_func_t* last;
static wasm_store_t* doomed;
static wasm_trap_t* delete_all(void* env, reclaim_val_raw_t* values, size_t number) {
  (void)env;
  CHECK(number == 1);
  wasm_message_t why;
  wasm_name_new_from_string_nt(&why, "the end");
  wasm_trap_t* trap = values[0].i32 == 1 ? wasm_trap_new(doomed, &why) : NULL;
  wasm_byte_vec_delete(&why);
  wasm_store_delete(doomed);
  wasm_func_delete(last);
  CHECK(finalized == 0);
  values[0].i32 = 42;
  return trap;
}

static void deletions(wasm_engine_t* engine) {
  for (int trap = 0; trap < 2; trap++) {
    finalized = 0;
    doomed = wasm_store_new(engine);
    wasm_functype_t* type = wasm_functype_new_1_1(wasm_valtype_new_i32(), wasm_valtype_new_i32());
    last = reclaim_func_new_unchecked(doomed, type, delete_all, NULL, count);
    CHECK(last);
    wasm_functype_delete(type);
    reclaim_val_raw_t value;
    value.i32 = trap;
    wasm_trap_t* result = reclaim_func_call_unchecked(last, &value, 1);
    CHECK((result != NULL) == trap && (trap || value.i32 == 42));
    /* The trap keeps its store. */
    CHECK(finalized == !trap);
    if (trap) check_trap(result, "the end");
    CHECK(finalized == 1);
  }
}

int main(int argc, char** argv) {
  wasm_engine_t* engine = engine_of(argc, argv);
  store = wasm_store_new(engine);
  wasm_functype_t* type =
      wasm_functype_new_2_1(wasm_valtype_new_i32(), wasm_valtype_new_i64(), wasm_valtype_new_i64());
  wasm_func_t* func = reclaim_func_new_unchecked(store, type, add, &calls, count);
  CHECK(func && wasm_func_param_arity(func) == 2);
  wasm_functype_delete(type);
  exports = exports_of(store, MODULE, func);
  wasm_func_delete(func);
  numbers();
  failures();
  references();
  kept_references();
  finalized = 0;
  wasm_extern_vec_delete(&exports);
  wasm_store_delete(store);
  CHECK(finalized == 1);
  deletions(engine);
  wasm_engine_delete(engine);
  return 0;
}
