/*
 * The C interface that engines of WebAssembly share (github.com/WebAssembly/wasm-c-api), as Reclaim has
 * it. Programs for other engines with this interface compile with this header and link to libreclaim.
 * reclaim.h has what is missing here: collectors, objects of the GC heap, exceptions, reasons of errors.
 *
 * Rules:
 *  - What a function returns or writes as `own` belongs to the caller, who passes it to the function
 *    `wasm_TYPE_delete`. A parameter that is `own` is taken over. A vector that is taken over is empty
 *    afterwards.
 *  - A pointer is NULL, or one that a function has returned and that was not deleted.
 *  - A store, with everything that belongs to it, is used by one thread at a time. Any thread may use an
 *    engine, a shared module, or a type (also at the same time, if none of them changes or deletes it).
 *  - What is passed to a function is not deleted before it returns, but for stores and the function that is
 *    called: a function of C, or a finalizer, may delete these meanwhile.
 *  - A handle keeps its store alive. Handles, stores and engines are deleted in any order. A store whose
 *    handle is deleted only by a finalizer of that store stays alive.
 *  - A finalizer may delete handles. It must not use a store.
 *  - A function of C must not leave by an exception of C++ or by longjmp.
 *  - A function that fails returns NULL, false or 0, or a trap. `reclaim_last_error` has the reason.
 */
#ifndef WASM_H
#define WASM_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef WASM_API_EXTERN
#define WASM_API_EXTERN
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Marks what is passed on with its ownership. It means nothing to the compiler. */
#define own

typedef char byte_t;
typedef float float32_t;
typedef double float64_t;

/* ---- Vectors ---- */

/* A vector of wasm_NAME_t (or of pointers to it), and its functions. */
#define WASM_DECLARE_VEC(name, star)                                                                   \
  typedef struct wasm_##name##_vec_t {                                                                 \
    size_t size;                                                                                       \
    wasm_##name##_t star* data;                                                                        \
  } wasm_##name##_vec_t;                                                                               \
  /* Writes an empty vector. */                                                                        \
  WASM_API_EXTERN void wasm_##name##_vec_new_empty(own wasm_##name##_vec_t* out);                      \
  /* Writes a vector of zeros or NULLs. */                                                             \
  WASM_API_EXTERN void wasm_##name##_vec_new_uninitialized(own wasm_##name##_vec_t* out, size_t size); \
  /* Writes a vector that takes over the elements of an array. */                                      \
  WASM_API_EXTERN void wasm_##name##_vec_new(                                                          \
      own wasm_##name##_vec_t* out, size_t size, own wasm_##name##_t star const elements[]);           \
  /* Writes a copy of a vector and of its elements. */                                                 \
  WASM_API_EXTERN void wasm_##name##_vec_copy(                                                         \
      own wasm_##name##_vec_t* out, const wasm_##name##_vec_t* vector);                                \
  /* Deletes the elements. */                                                                          \
  WASM_API_EXTERN void wasm_##name##_vec_delete(own wasm_##name##_vec_t* vector);

typedef byte_t wasm_byte_t;
WASM_DECLARE_VEC(byte, )

/* Names are UTF-8. */
typedef wasm_byte_vec_t wasm_name_t;

#define wasm_name wasm_byte_vec
#define wasm_name_new wasm_byte_vec_new
#define wasm_name_new_empty wasm_byte_vec_new_empty
#define wasm_name_new_new_uninitialized wasm_byte_vec_new_uninitialized
#define wasm_name_new_uninitialized wasm_byte_vec_new_uninitialized
#define wasm_name_copy wasm_byte_vec_copy
#define wasm_name_delete wasm_byte_vec_delete

static inline void wasm_name_new_from_string(own wasm_name_t* out, const char* text) {
  wasm_byte_vec_new(out, strlen(text), text);
}

/* With the zero byte at the end. */
static inline void wasm_name_new_from_string_nt(own wasm_name_t* out, const char* text) {
  wasm_byte_vec_new(out, strlen(text) + 1, text);
}

/* ---- Engines and stores ---- */

#define WASM_DECLARE_OWN(name)                   \
  typedef struct wasm_##name##_t wasm_##name##_t; \
  WASM_API_EXTERN void wasm_##name##_delete(own wasm_##name##_t* it);

/* Settings of an engine. reclaim.h has the functions that change them. */
WASM_DECLARE_OWN(config)
WASM_API_EXTERN own wasm_config_t* wasm_config_new(void);

WASM_DECLARE_OWN(engine)
WASM_API_EXTERN own wasm_engine_t* wasm_engine_new(void);
WASM_API_EXTERN own wasm_engine_t* wasm_engine_new_with_config(own wasm_config_t* config);

WASM_DECLARE_OWN(store)
WASM_API_EXTERN own wasm_store_t* wasm_store_new(wasm_engine_t* engine);

/* ---- Types ---- */

#define WASM_DECLARE_TYPE(name) \
  WASM_DECLARE_OWN(name)        \
  WASM_DECLARE_VEC(name, *)     \
  WASM_API_EXTERN own wasm_##name##_t* wasm_##name##_copy(const wasm_##name##_t* it);

typedef uint8_t wasm_mutability_t;
enum wasm_mutability_enum { WASM_CONST, WASM_VAR };

typedef struct wasm_limits_t {
  uint32_t min;
  uint32_t max; /* wasm_limits_max_default if there is none */
} wasm_limits_t;

static const uint32_t wasm_limits_max_default = 0xffffffff;

/* Types of values */

WASM_DECLARE_TYPE(valtype)

typedef uint8_t wasm_valkind_t;
/* reclaim.h has some more. */
enum wasm_valkind_enum {
  WASM_I32,
  WASM_I64,
  WASM_F32,
  WASM_F64,
  WASM_EXTERNREF = 128,
  WASM_FUNCREF,
};

WASM_API_EXTERN own wasm_valtype_t* wasm_valtype_new(wasm_valkind_t kind);
WASM_API_EXTERN wasm_valkind_t wasm_valtype_kind(const wasm_valtype_t* type);

static inline bool wasm_valkind_is_num(wasm_valkind_t kind) { return kind < WASM_EXTERNREF; }
static inline bool wasm_valkind_is_ref(wasm_valkind_t kind) { return kind >= WASM_EXTERNREF; }
static inline bool wasm_valtype_is_num(const wasm_valtype_t* type) {
  return wasm_valkind_is_num(wasm_valtype_kind(type));
}
static inline bool wasm_valtype_is_ref(const wasm_valtype_t* type) {
  return wasm_valkind_is_ref(wasm_valtype_kind(type));
}

/* Types of functions, globals, tables, memories and tags. What the getters return belongs to the type. */

WASM_DECLARE_TYPE(functype)
WASM_API_EXTERN own wasm_functype_t* wasm_functype_new(
    own wasm_valtype_vec_t* params, own wasm_valtype_vec_t* results);
WASM_API_EXTERN const wasm_valtype_vec_t* wasm_functype_params(const wasm_functype_t* type);
WASM_API_EXTERN const wasm_valtype_vec_t* wasm_functype_results(const wasm_functype_t* type);

WASM_DECLARE_TYPE(globaltype)
WASM_API_EXTERN own wasm_globaltype_t* wasm_globaltype_new(
    own wasm_valtype_t* content, wasm_mutability_t mutability);
WASM_API_EXTERN const wasm_valtype_t* wasm_globaltype_content(const wasm_globaltype_t* type);
WASM_API_EXTERN wasm_mutability_t wasm_globaltype_mutability(const wasm_globaltype_t* type);

WASM_DECLARE_TYPE(tabletype)
WASM_API_EXTERN own wasm_tabletype_t* wasm_tabletype_new(
    own wasm_valtype_t* element, const wasm_limits_t* limits);
WASM_API_EXTERN const wasm_valtype_t* wasm_tabletype_element(const wasm_tabletype_t* type);
WASM_API_EXTERN const wasm_limits_t* wasm_tabletype_limits(const wasm_tabletype_t* type);

/* The limits are in pages of 64 KiB. */
WASM_DECLARE_TYPE(memorytype)
WASM_API_EXTERN own wasm_memorytype_t* wasm_memorytype_new(const wasm_limits_t* limits);
WASM_API_EXTERN const wasm_limits_t* wasm_memorytype_limits(const wasm_memorytype_t* type);

/* The parameters of the function type, which has no results, are the values of an exception. */
WASM_DECLARE_TYPE(tagtype)
WASM_API_EXTERN own wasm_tagtype_t* wasm_tagtype_new(own wasm_functype_t* type);
WASM_API_EXTERN const wasm_functype_t* wasm_tagtype_functype(const wasm_tagtype_t* type);

WASM_DECLARE_TYPE(externtype)
typedef uint8_t wasm_externkind_t;
enum wasm_externkind_enum {
  WASM_EXTERN_FUNC,
  WASM_EXTERN_GLOBAL,
  WASM_EXTERN_TABLE,
  WASM_EXTERN_MEMORY,
  WASM_EXTERN_TAG,
};
WASM_API_EXTERN wasm_externkind_t wasm_externtype_kind(const wasm_externtype_t* type);

/* The same type seen as one of any external, and the other way round: NULL if it is of another kind. */
#define WASM_DECLARE_EXTERNTYPE(name)                                                                 \
  WASM_API_EXTERN wasm_externtype_t* wasm_##name##_as_externtype(wasm_##name##_t* type);              \
  WASM_API_EXTERN wasm_##name##_t* wasm_externtype_as_##name(wasm_externtype_t* type);                \
  WASM_API_EXTERN const wasm_externtype_t* wasm_##name##_as_externtype_const(const wasm_##name##_t*); \
  WASM_API_EXTERN const wasm_##name##_t* wasm_externtype_as_##name##_const(const wasm_externtype_t*);
WASM_DECLARE_EXTERNTYPE(functype)
WASM_DECLARE_EXTERNTYPE(globaltype)
WASM_DECLARE_EXTERNTYPE(tabletype)
WASM_DECLARE_EXTERNTYPE(memorytype)
WASM_DECLARE_EXTERNTYPE(tagtype)

WASM_DECLARE_TYPE(importtype)
WASM_API_EXTERN own wasm_importtype_t* wasm_importtype_new(
    own wasm_name_t* module, own wasm_name_t* name, own wasm_externtype_t* type);
WASM_API_EXTERN const wasm_name_t* wasm_importtype_module(const wasm_importtype_t* import);
WASM_API_EXTERN const wasm_name_t* wasm_importtype_name(const wasm_importtype_t* import);
WASM_API_EXTERN const wasm_externtype_t* wasm_importtype_type(const wasm_importtype_t* import);

WASM_DECLARE_TYPE(exporttype)
WASM_API_EXTERN own wasm_exporttype_t* wasm_exporttype_new(
    own wasm_name_t* name, own wasm_externtype_t* type);
WASM_API_EXTERN const wasm_name_t* wasm_exporttype_name(const wasm_exporttype_t* exported);
WASM_API_EXTERN const wasm_externtype_t* wasm_exporttype_type(const wasm_exporttype_t* exported);

/* ---- Values and references ---- */

struct wasm_ref_t;

/* A value owns its reference. NULL is the null reference. */
typedef struct wasm_val_t {
  wasm_valkind_t kind;
  union {
    int32_t i32;
    int64_t i64;
    float32_t f32;
    float64_t f64;
    struct wasm_ref_t* ref;
  } of;
} wasm_val_t;

WASM_API_EXTERN void wasm_val_delete(own wasm_val_t* value);
WASM_API_EXTERN void wasm_val_copy(own wasm_val_t* out, const wasm_val_t* value);
WASM_DECLARE_VEC(val, )

/* A handle to something. Copies are handles to the same. A program attaches an address (host info) to the
 * thing, not to the handle. Its finalizer runs when the thing is gone: an object of the heap when a
 * collection finds it dead, a module or a trap with its last handle, anything else with its store. It also
 * runs when another address is attached (for structs and arrays at a later collection), and at once if
 * nothing can be attached: to tags, exceptions, unboxed integers and NULL. */
#define WASM_DECLARE_REF_BASE(name)                                                                    \
  WASM_DECLARE_OWN(name)                                                                               \
  WASM_API_EXTERN own wasm_##name##_t* wasm_##name##_copy(const wasm_##name##_t* it);                  \
  WASM_API_EXTERN bool wasm_##name##_same(const wasm_##name##_t* a, const wasm_##name##_t* b);         \
  WASM_API_EXTERN void* wasm_##name##_get_host_info(const wasm_##name##_t* it);                        \
  WASM_API_EXTERN void wasm_##name##_set_host_info(wasm_##name##_t* it, void* info);                   \
  WASM_API_EXTERN void wasm_##name##_set_host_info_with_finalizer(                                     \
      wasm_##name##_t* it, void* info, void (*finalizer)(void*));

/* The same handle seen as a reference to anything, and the other way round: NULL if it refers to something
 * else. */
#define WASM_DECLARE_REF(name)                                                                         \
  WASM_DECLARE_REF_BASE(name)                                                                          \
  WASM_API_EXTERN wasm_ref_t* wasm_##name##_as_ref(wasm_##name##_t* it);                               \
  WASM_API_EXTERN wasm_##name##_t* wasm_ref_as_##name(wasm_ref_t* ref);                                \
  WASM_API_EXTERN const wasm_ref_t* wasm_##name##_as_ref_const(const wasm_##name##_t* it);             \
  WASM_API_EXTERN const wasm_##name##_t* wasm_ref_as_##name##_const(const wasm_ref_t* ref);

/* What other threads obtain too. */
#define WASM_DECLARE_SHARABLE_REF(name)                                                                \
  WASM_DECLARE_REF(name)                                                                               \
  WASM_DECLARE_OWN(shared_##name)                                                                      \
  WASM_API_EXTERN own wasm_shared_##name##_t* wasm_##name##_share(const wasm_##name##_t* it);          \
  WASM_API_EXTERN own wasm_##name##_t* wasm_##name##_obtain(                                           \
      wasm_store_t* store, const wasm_shared_##name##_t* shared);

WASM_DECLARE_REF_BASE(ref)

/* ---- Traps ---- */

/* A function that was on the stack. */
WASM_DECLARE_OWN(frame)
WASM_DECLARE_VEC(frame, *)
WASM_API_EXTERN own wasm_frame_t* wasm_frame_copy(const wasm_frame_t* frame);
/* The instance of the function, which belongs to the frame. NULL unless exactly one instance of its module
 * was made in the store. */
WASM_API_EXTERN struct wasm_instance_t* wasm_frame_instance(const wasm_frame_t* frame);
WASM_API_EXTERN uint32_t wasm_frame_func_index(const wasm_frame_t* frame);
/* Offsets are in bytes. 0 if it is not known. */
WASM_API_EXTERN size_t wasm_frame_func_offset(const wasm_frame_t* frame);
WASM_API_EXTERN size_t wasm_frame_module_offset(const wasm_frame_t* frame);

/* A message ends with a zero byte. */
typedef wasm_name_t wasm_message_t;

WASM_DECLARE_REF(trap)
WASM_API_EXTERN own wasm_trap_t* wasm_trap_new(wasm_store_t* store, const wasm_message_t* message);
WASM_API_EXTERN void wasm_trap_message(const wasm_trap_t* trap, own wasm_message_t* out);
/* The innermost function, or NULL, and all functions: those of the first call that the trap has ended. */
WASM_API_EXTERN own wasm_frame_t* wasm_trap_origin(const wasm_trap_t* trap);
WASM_API_EXTERN void wasm_trap_trace(const wasm_trap_t* trap, own wasm_frame_vec_t* out);

/* ---- Things of a store ---- */

/* A host value of the GC heap, to which a program attaches an address. */
WASM_DECLARE_REF(foreign)
WASM_API_EXTERN own wasm_foreign_t* wasm_foreign_new(wasm_store_t* store);

WASM_DECLARE_SHARABLE_REF(module)
WASM_API_EXTERN own wasm_module_t* wasm_module_new(wasm_store_t* store, const wasm_byte_vec_t* binary);
WASM_API_EXTERN bool wasm_module_validate(wasm_store_t* store, const wasm_byte_vec_t* binary);
WASM_API_EXTERN void wasm_module_imports(const wasm_module_t* module, own wasm_importtype_vec_t* out);
WASM_API_EXTERN void wasm_module_exports(const wasm_module_t* module, own wasm_exporttype_vec_t* out);
WASM_API_EXTERN void wasm_module_serialize(const wasm_module_t* module, own wasm_byte_vec_t* out);
/* The bytes are executed: take them only from wasm_module_serialize. */
WASM_API_EXTERN own wasm_module_t* wasm_module_deserialize(
    wasm_store_t* store, const wasm_byte_vec_t* bytes);

/* Functions. A function of C writes its results and returns NULL, or returns a trap. */
WASM_DECLARE_REF(func)
typedef own wasm_trap_t* (*wasm_func_callback_t)(
    const wasm_val_vec_t* arguments, own wasm_val_vec_t* results);
typedef own wasm_trap_t* (*wasm_func_callback_with_env_t)(
    void* env, const wasm_val_vec_t* arguments, own wasm_val_vec_t* results);
WASM_API_EXTERN own wasm_func_t* wasm_func_new(
    wasm_store_t* store, const wasm_functype_t* type, wasm_func_callback_t callback);
WASM_API_EXTERN own wasm_func_t* wasm_func_new_with_env(
    wasm_store_t* store, const wasm_functype_t* type, wasm_func_callback_with_env_t callback,
    void* env, void (*finalizer)(void*));
WASM_API_EXTERN own wasm_functype_t* wasm_func_type(const wasm_func_t* func);
WASM_API_EXTERN size_t wasm_func_param_arity(const wasm_func_t* func);
WASM_API_EXTERN size_t wasm_func_result_arity(const wasm_func_t* func);
/* Results are written over whatever is in `results`, which has room for them. Every failure is a trap. */
WASM_API_EXTERN own wasm_trap_t* wasm_func_call(
    const wasm_func_t* func, const wasm_val_vec_t* arguments, own wasm_val_vec_t* results);

WASM_DECLARE_REF(global)
WASM_API_EXTERN own wasm_global_t* wasm_global_new(
    wasm_store_t* store, const wasm_globaltype_t* type, const wasm_val_t* value);
WASM_API_EXTERN own wasm_globaltype_t* wasm_global_type(const wasm_global_t* global);
WASM_API_EXTERN void wasm_global_get(const wasm_global_t* global, own wasm_val_t* out);
WASM_API_EXTERN void wasm_global_set(wasm_global_t* global, const wasm_val_t* value);

WASM_DECLARE_REF(table)
typedef uint32_t wasm_table_size_t;
WASM_API_EXTERN own wasm_table_t* wasm_table_new(
    wasm_store_t* store, const wasm_tabletype_t* type, wasm_ref_t* init);
WASM_API_EXTERN own wasm_tabletype_t* wasm_table_type(const wasm_table_t* table);
WASM_API_EXTERN own wasm_ref_t* wasm_table_get(const wasm_table_t* table, wasm_table_size_t index);
WASM_API_EXTERN bool wasm_table_set(wasm_table_t* table, wasm_table_size_t index, wasm_ref_t* ref);
WASM_API_EXTERN wasm_table_size_t wasm_table_size(const wasm_table_t* table);
WASM_API_EXTERN bool wasm_table_grow(wasm_table_t* table, wasm_table_size_t delta, wasm_ref_t* init);

WASM_DECLARE_REF(memory)
typedef uint32_t wasm_memory_pages_t;
static const size_t MEMORY_PAGE_SIZE = 0x10000;
WASM_API_EXTERN own wasm_memory_t* wasm_memory_new(wasm_store_t* store, const wasm_memorytype_t* type);
WASM_API_EXTERN own wasm_memorytype_t* wasm_memory_type(const wasm_memory_t* memory);
/* The address may change when the memory grows. */
WASM_API_EXTERN byte_t* wasm_memory_data(wasm_memory_t* memory);
WASM_API_EXTERN size_t wasm_memory_data_size(const wasm_memory_t* memory);
WASM_API_EXTERN wasm_memory_pages_t wasm_memory_size(const wasm_memory_t* memory);
WASM_API_EXTERN bool wasm_memory_grow(wasm_memory_t* memory, wasm_memory_pages_t delta);

/* What is imported or exported: functions, globals, tables, memories, and tags, which reclaim.h makes. */
WASM_DECLARE_REF(extern)
WASM_DECLARE_VEC(extern, *)
WASM_API_EXTERN wasm_externkind_t wasm_extern_kind(const wasm_extern_t* external);
WASM_API_EXTERN own wasm_externtype_t* wasm_extern_type(const wasm_extern_t* external);

#define WASM_DECLARE_EXTERN(name)                                                                \
  WASM_API_EXTERN wasm_extern_t* wasm_##name##_as_extern(wasm_##name##_t* it);                   \
  WASM_API_EXTERN wasm_##name##_t* wasm_extern_as_##name(wasm_extern_t* external);               \
  WASM_API_EXTERN const wasm_extern_t* wasm_##name##_as_extern_const(const wasm_##name##_t* it); \
  WASM_API_EXTERN const wasm_##name##_t* wasm_extern_as_##name##_const(const wasm_extern_t* external);
WASM_DECLARE_EXTERN(func)
WASM_DECLARE_EXTERN(global)
WASM_DECLARE_EXTERN(table)
WASM_DECLARE_EXTERN(memory)

WASM_DECLARE_REF(instance)
/* If this fails and `trap` is not NULL, the trap that says why is written there; otherwise NULL is. */
WASM_API_EXTERN own wasm_instance_t* wasm_instance_new(
    wasm_store_t* store, const wasm_module_t* module, const wasm_extern_vec_t* imports,
    own wasm_trap_t** trap);
WASM_API_EXTERN void wasm_instance_exports(const wasm_instance_t* instance, own wasm_extern_vec_t* out);

/* ---- Short forms ---- */

#define WASM_EMPTY_VEC {0, NULL}
#define WASM_ARRAY_VEC(array) {sizeof(array) / sizeof(*(array)), array}

/* Initialisers of values. With these, C++ needs -std=c++20. */
#define WASM_I32_VAL(number) {.kind = WASM_I32, .of = {.i32 = number}}
#define WASM_I64_VAL(number) {.kind = WASM_I64, .of = {.i64 = number}}
#define WASM_F32_VAL(number) {.kind = WASM_F32, .of = {.f32 = number}}
#define WASM_F64_VAL(number) {.kind = WASM_F64, .of = {.f64 = number}}
#define WASM_REF_VAL(reference) {.kind = WASM_EXTERNREF, .of = {.ref = reference}}
#define WASM_INIT_VAL {.kind = WASM_EXTERNREF, .of = {.ref = NULL}}

/* Addresses as values of their size. */
static inline void wasm_val_init_ptr(own wasm_val_t* out, void* address) {
  if (sizeof(void*) == 4) {
    out->kind = WASM_I32;
    out->of.i32 = (int32_t)(intptr_t)address;
  } else {
    out->kind = WASM_I64;
    out->of.i64 = (int64_t)(intptr_t)address;
  }
}

static inline void* wasm_val_ptr(const wasm_val_t* value) {
  return (void*)(sizeof(void*) == 4 ? (intptr_t)value->of.i32 : (intptr_t)value->of.i64);
}

#define WASM_SHORT_VALTYPE(name, kind) \
  static inline own wasm_valtype_t* wasm_valtype_new_##name(void) { return wasm_valtype_new(kind); }
WASM_SHORT_VALTYPE(i32, WASM_I32)
WASM_SHORT_VALTYPE(i64, WASM_I64)
WASM_SHORT_VALTYPE(f32, WASM_F32)
WASM_SHORT_VALTYPE(f64, WASM_F64)
WASM_SHORT_VALTYPE(externref, WASM_EXTERNREF)
WASM_SHORT_VALTYPE(funcref, WASM_FUNCREF)
#undef WASM_SHORT_VALTYPE

/* wasm_functype_new_P_R makes a function type of P parameters and R results. */
static inline own wasm_functype_t* wasm_functype_of_arrays(
    size_t params, own wasm_valtype_t* const* param, size_t results, own wasm_valtype_t* const* result) {
  wasm_valtype_vec_t ps, rs;
  wasm_valtype_vec_new(&ps, params, param);
  wasm_valtype_vec_new(&rs, results, result);
  return wasm_functype_new(&ps, &rs);
}

#define WASM_SHORT_FUNCTYPE(p, r, formals, ps, rs)                                  \
  static inline own wasm_functype_t* wasm_functype_new_##p##_##r formals {          \
    wasm_valtype_t* const param[] = ps;                                             \
    wasm_valtype_t* const result[] = rs;                                            \
    return wasm_functype_of_arrays(p, param, r, result);                            \
  }
#define WASM_LIST(...) {__VA_ARGS__}
WASM_SHORT_FUNCTYPE(0, 0, (void), {NULL}, {NULL})
WASM_SHORT_FUNCTYPE(1, 0, (own wasm_valtype_t* p1), {p1}, {NULL})
WASM_SHORT_FUNCTYPE(2, 0, (own wasm_valtype_t* p1, own wasm_valtype_t* p2),
                    WASM_LIST(p1, p2), {NULL})
WASM_SHORT_FUNCTYPE(3, 0, (own wasm_valtype_t* p1, own wasm_valtype_t* p2, own wasm_valtype_t* p3),
                    WASM_LIST(p1, p2, p3), {NULL})
WASM_SHORT_FUNCTYPE(0, 1, (own wasm_valtype_t* r1), {NULL}, {r1})
WASM_SHORT_FUNCTYPE(1, 1, (own wasm_valtype_t* p1, own wasm_valtype_t* r1), {p1}, {r1})
WASM_SHORT_FUNCTYPE(2, 1, (own wasm_valtype_t* p1, own wasm_valtype_t* p2, own wasm_valtype_t* r1),
                    WASM_LIST(p1, p2), {r1})
WASM_SHORT_FUNCTYPE(3, 1, (own wasm_valtype_t* p1, own wasm_valtype_t* p2, own wasm_valtype_t* p3,
                           own wasm_valtype_t* r1),
                    WASM_LIST(p1, p2, p3), {r1})
WASM_SHORT_FUNCTYPE(0, 2, (own wasm_valtype_t* r1, own wasm_valtype_t* r2), {NULL}, WASM_LIST(r1, r2))
WASM_SHORT_FUNCTYPE(1, 2, (own wasm_valtype_t* p1, own wasm_valtype_t* r1, own wasm_valtype_t* r2),
                    {p1}, WASM_LIST(r1, r2))
WASM_SHORT_FUNCTYPE(2, 2, (own wasm_valtype_t* p1, own wasm_valtype_t* p2, own wasm_valtype_t* r1,
                           own wasm_valtype_t* r2),
                    WASM_LIST(p1, p2), WASM_LIST(r1, r2))
WASM_SHORT_FUNCTYPE(3, 2, (own wasm_valtype_t* p1, own wasm_valtype_t* p2, own wasm_valtype_t* p3,
                           own wasm_valtype_t* r1, own wasm_valtype_t* r2),
                    WASM_LIST(p1, p2, p3), WASM_LIST(r1, r2))
#undef WASM_SHORT_FUNCTYPE
#undef WASM_LIST

#undef own

#ifdef __cplusplus
}
#endif

#endif
