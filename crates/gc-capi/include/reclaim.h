/*
 * What Reclaim has beyond wasm.h: the choice of a collector, objects of the GC heap, exceptions, fuel and
 * epochs, limits, the text format, and the reasons of errors. The rules of wasm.h hold here too.
 *
 * To C there is one space of references (`wasm_ref_t`): functions, unboxed integers, structs, arrays,
 * exceptions, foreign objects, and other things such as globals or instances. A thing that is passed where
 * WebAssembly has an `externref` or an `anyref` is put in a box of the heap, and is the same thing when it
 * comes back.
 */
#ifndef RECLAIM_H
#define RECLAIM_H

#include "wasm.h"

#ifdef __cplusplus
extern "C" {
#endif

#define own

#ifdef __cplusplus
#define RECLAIM_ALIGNED_16 alignas(16)
#else
#define RECLAIM_ALIGNED_16 _Alignas(16)
#endif

/* ---- Errors ---- */

/* Takes the reason of this thread's last error, which ends with a zero byte. False, and an empty vector,
 * if there was no error since the last call of this function. Functions that succeed do not change it. */
WASM_API_EXTERN bool reclaim_last_error(own wasm_message_t* out);

/* The version of the library, "MAJOR.MINOR.PATCH". It is never freed. */
WASM_API_EXTERN const char* reclaim_version(void);

/* Translates the text format to the binary format. False if the text is malformed. */
WASM_API_EXTERN bool reclaim_wat2wasm(const char* text, size_t length, own wasm_byte_vec_t* out);

/* ---- Settings ---- */

/* Sets the collector: "null", "drc", "copying" or "generational" (the default), with options if wanted, as
 * in "generational:nursery=1048576". False, and nothing is changed, if there is no such collector or
 * option. */
WASM_API_EXTERN bool reclaim_config_collector(wasm_config_t* config, const char* collector);
/* The most bytes of a store's GC heap, and the bytes that it has at first. */
WASM_API_EXTERN void reclaim_config_gc_heap_maximum(wasm_config_t* config, uint64_t bytes);
WASM_API_EXTERN void reclaim_config_gc_heap_initial_size(wasm_config_t* config, uint64_t bytes);
/* How long a pause for the collector should take, in nanoseconds: an aim, and not a bound. */
WASM_API_EXTERN void reclaim_config_gc_pause_target(wasm_config_t* config, uint64_t ns);
/* The bytes that the GC heaps of all stores of an engine share: an aim, and not a bound. What lives in them is more
 * important. The rest is divided so that the collections of all of them take the least time. */
WASM_API_EXTERN void reclaim_config_memory_budget(wasm_config_t* config, uint64_t bytes);
/* How many threads work for the heaps beside the programs. The default is one where threads run in
 * parallel, and otherwise none. With 0 the thread that runs a program does all of it. */
WASM_API_EXTERN void reclaim_config_gc_threads(wasm_config_t* config, uint32_t count);
/* Collects at every n-th allocation and verifies the heap, to find bugs. 0 turns this off. With another
 * number, no engine can be made unless the library was built with the feature gc_zeal. */
WASM_API_EXTERN void reclaim_config_gc_zeal(wasm_config_t* config, uint32_t n);
/* Whether code consumes fuel, and whether it looks at the engine's epoch. */
WASM_API_EXTERN void reclaim_config_consume_fuel(wasm_config_t* config, bool yes);
WASM_API_EXTERN void reclaim_config_epoch_interruption(wasm_config_t* config, bool yes);
/* The bytes of native stack that code may use. */
WASM_API_EXTERN void reclaim_config_max_wasm_stack(wasm_config_t* config, size_t bytes);
/* Whether code is optimised. */
WASM_API_EXTERN void reclaim_config_optimize(wasm_config_t* config, bool yes);

/* ---- Engines and stores ---- */

/* The name of the engine's collector, with a zero byte at its end. */
WASM_API_EXTERN void reclaim_engine_collector(const wasm_engine_t* engine, own wasm_name_t* out);
/* Begins a new epoch. Any thread, and a signal handler, may do so. */
WASM_API_EXTERN void reclaim_engine_increment_epoch(const wasm_engine_t* engine);

/* Collects all garbage of the heap now. False if the heap is corrupt. */
WASM_API_EXTERN bool reclaim_store_gc(wasm_store_t* store);
/* Collects garbage for about ns nanoseconds, for a host that has nothing better to do. Writes the bytes of
 * the objects that the collector would still visit now to left, if it is not null: 0 if there is nothing to
 * do. False if the heap is corrupt. */
WASM_API_EXTERN bool reclaim_store_gc_for(wasm_store_t* store, uint64_t ns, uint64_t* left);

typedef struct reclaim_gc_stats_t {
  uint64_t allocations;     /* objects allocated; exact with zeal only */
  uint64_t allocated_bytes; /* bytes allocated */
  uint64_t collections;
  uint64_t live_objects; /* after the last collection of the whole heap */
  uint64_t live_bytes;
  uint64_t heap_bytes;      /* of the heap now */
  uint64_t peak_heap_bytes; /* the most that it had */
  uint64_t pauses;
  uint64_t pause_ns; /* of all pauses together */
} reclaim_gc_stats_t;
WASM_API_EXTERN bool reclaim_store_gc_stats(wasm_store_t* store, reclaim_gc_stats_t* out);

/* Limits of what the programs of a store may use. UINT64_MAX is no limit, as at first. */
typedef struct reclaim_limits_t {
  uint64_t memory_size;    /* bytes of a linear memory */
  uint64_t gc_heap_size;   /* bytes of the GC heap */
  uint64_t table_elements; /* elements of a table */
  uint64_t instances;
  uint64_t tables;
  uint64_t memories;
} reclaim_limits_t;
/* False while code of the store runs. */
WASM_API_EXTERN bool reclaim_store_limit(wasm_store_t* store, const reclaim_limits_t* limits);

/* Sets and reads the fuel that is left. False unless the engine was configured so. */
WASM_API_EXTERN bool reclaim_store_set_fuel(wasm_store_t* store, uint64_t fuel);
WASM_API_EXTERN bool reclaim_store_fuel(wasm_store_t* store, uint64_t* out);
/* Lets code of the store trap when the engine's epoch has been incremented `ticks` times from now. False
 * unless the engine was configured so. */
WASM_API_EXTERN bool reclaim_store_set_epoch_deadline(wasm_store_t* store, uint64_t ticks);

/* ---- Types ---- */

/* More kinds of values. */
enum reclaim_valkind_enum {
  RECLAIM_V128 = 4, /* the value owns 16 bytes: only the functions below read and write them */
  RECLAIM_ANYREF = 130,
  RECLAIM_EXNREF = 131,
};

typedef uint8_t reclaim_heaptype_t;
enum reclaim_heaptype_enum {
  RECLAIM_HEAP_EXTERN,
  RECLAIM_HEAP_NOEXTERN,
  RECLAIM_HEAP_FUNC,
  RECLAIM_HEAP_NOFUNC,
  RECLAIM_HEAP_ANY,
  RECLAIM_HEAP_EQ,
  RECLAIM_HEAP_I31,
  RECLAIM_HEAP_STRUCT,
  RECLAIM_HEAP_ARRAY,
  RECLAIM_HEAP_NONE,
  RECLAIM_HEAP_EXN,
  RECLAIM_HEAP_NOEXN,
};

/* The type of structs, or of arrays, of an engine. */
typedef struct reclaim_gctype_t reclaim_gctype_t;
WASM_API_EXTERN void reclaim_gctype_delete(own reclaim_gctype_t* type);
WASM_API_EXTERN own reclaim_gctype_t* reclaim_gctype_copy(const reclaim_gctype_t* type);

typedef uint8_t reclaim_storage_t;
enum reclaim_storage_enum {
  RECLAIM_STORAGE_VALUE, /* a whole value */
  RECLAIM_STORAGE_I8,    /* 8 bits of an i32 */
  RECLAIM_STORAGE_I16,   /* 16 bits of an i32 */
};
typedef struct reclaim_fieldtype_t {
  reclaim_storage_t storage;
  wasm_mutability_t mutability;
  wasm_valtype_t* type; /* of a whole value; otherwise NULL */
} reclaim_fieldtype_t;

/* The types in the fields are copied. NULL if one is wrong. */
WASM_API_EXTERN own reclaim_gctype_t* reclaim_structtype_new(
    wasm_engine_t* engine, const reclaim_fieldtype_t fields[], size_t count);
WASM_API_EXTERN own reclaim_gctype_t* reclaim_arraytype_new(
    wasm_engine_t* engine, const reclaim_fieldtype_t* element);
WASM_API_EXTERN bool reclaim_gctype_is_array(const reclaim_gctype_t* type);
/* The number of fields. 1 for arrays. */
WASM_API_EXTERN size_t reclaim_gctype_field_count(const reclaim_gctype_t* type);
/* The type of a field, or of the elements (index 0). `out->type` is to be deleted. */
WASM_API_EXTERN bool reclaim_gctype_field(
    const reclaim_gctype_t* type, size_t index, own reclaim_fieldtype_t* out);

/* The type of references to what an abstract heap type has, or to structs or arrays of one type. */
WASM_API_EXTERN own wasm_valtype_t* reclaim_valtype_new_ref(reclaim_heaptype_t heap_type, bool nullable);
WASM_API_EXTERN own wasm_valtype_t* reclaim_valtype_new_concrete(
    const reclaim_gctype_t* type, bool nullable);
/* The struct or array type to which references of a type refer. NULL if it has none. */
WASM_API_EXTERN own reclaim_gctype_t* reclaim_valtype_gctype(const wasm_valtype_t* type);
/* Whether every value of type `sub` is one of type `sup`. */
WASM_API_EXTERN bool reclaim_valtype_matches(const wasm_valtype_t* sub, const wasm_valtype_t* sup);
/* The type in the text format, with a zero byte at its end. */
WASM_API_EXTERN void reclaim_valtype_to_string(const wasm_valtype_t* type, own wasm_name_t* out);
/* Whether the indices of a table, or the addresses of a memory, have 64 bits. */
WASM_API_EXTERN bool reclaim_tabletype_is_64(const wasm_tabletype_t* type);
WASM_API_EXTERN bool reclaim_memorytype_is_64(const wasm_memorytype_t* type);

/* ---- Values ---- */

/* A v128 of 16 bytes, the lowest first. */
WASM_API_EXTERN void reclaim_val_new_v128(own wasm_val_t* out, const uint8_t bytes[16]);
WASM_API_EXTERN bool reclaim_val_v128(const wasm_val_t* value, uint8_t out[16]);

typedef uint8_t reclaim_refkind_t;
enum reclaim_refkind_enum {
  RECLAIM_REF_NULL,
  RECLAIM_REF_I31,
  RECLAIM_REF_STRUCT,
  RECLAIM_REF_ARRAY,
  RECLAIM_REF_EXCEPTION,
  RECLAIM_REF_FOREIGN,
  RECLAIM_REF_FUNC,
  RECLAIM_REF_OTHER, /* a global, table, memory, tag, instance, module or trap */
};
WASM_API_EXTERN reclaim_refkind_t reclaim_ref_kind(const wasm_ref_t* ref);

/* ---- Objects of the GC heap ---- */

/* The type of a struct or an array. NULL for anything else. */
WASM_API_EXTERN own reclaim_gctype_t* reclaim_ref_type(const wasm_ref_t* ref);

/* Unboxed integers of 31 bits: the lowest of `value`. They are read with their sign. */
WASM_API_EXTERN own wasm_ref_t* reclaim_i31_new(wasm_store_t* store, uint32_t value);
WASM_API_EXTERN bool reclaim_i31_get(const wasm_ref_t* ref, int32_t* out);

/* Objects are NULL, and functions false, if a value is of another type or store, if there is no such
 * field or element, or if the heap is full. Fields of 8 and 16 bits are read without their sign. */
WASM_API_EXTERN own wasm_ref_t* reclaim_struct_new(
    wasm_store_t* store, const reclaim_gctype_t* type, const wasm_val_vec_t* fields);
WASM_API_EXTERN bool reclaim_struct_get(const wasm_ref_t* ref, size_t index, own wasm_val_t* out);
WASM_API_EXTERN bool reclaim_struct_set(const wasm_ref_t* ref, size_t index, const wasm_val_t* value);

WASM_API_EXTERN own wasm_ref_t* reclaim_array_new(
    wasm_store_t* store, const reclaim_gctype_t* type, const wasm_val_t* element, uint32_t length);
WASM_API_EXTERN own wasm_ref_t* reclaim_array_new_fixed(
    wasm_store_t* store, const reclaim_gctype_t* type, const wasm_val_vec_t* elements);
WASM_API_EXTERN bool reclaim_array_length(const wasm_ref_t* ref, uint32_t* out);
WASM_API_EXTERN bool reclaim_array_get(const wasm_ref_t* ref, uint32_t index, own wasm_val_t* out);
WASM_API_EXTERN bool reclaim_array_set(const wasm_ref_t* ref, uint32_t index, const wasm_val_t* value);
/* Copies whole elements of an array of numbers, which are little-endian, from element `index` on. `count` is
 * in bytes. */
WASM_API_EXTERN bool reclaim_array_read(
    const wasm_ref_t* ref, uint32_t index, uint8_t* bytes, size_t count);
WASM_API_EXTERN bool reclaim_array_write(
    const wasm_ref_t* ref, uint32_t index, const uint8_t* bytes, size_t count);

/* ---- Exceptions ---- */

/* A tag of exceptions. It is an external of the kind WASM_EXTERN_TAG. */
WASM_API_EXTERN own wasm_extern_t* reclaim_tag_new(wasm_store_t* store, const wasm_tagtype_t* type);
WASM_API_EXTERN own wasm_ref_t* reclaim_exception_new(
    wasm_store_t* store, const wasm_extern_t* tag, const wasm_val_vec_t* values);
WASM_API_EXTERN own wasm_extern_t* reclaim_exception_tag(const wasm_ref_t* ref);
WASM_API_EXTERN bool reclaim_exception_get(const wasm_ref_t* ref, size_t index, own wasm_val_t* out);
/* A trap of the exception. A function of C that returns it throws the exception, and the call that does not
 * catch it returns a new trap. The exception lives as long as its traps. So do not keep traps in the heap, as
 * externrefs: a cycle of a trap and its exception is only freed with the store. */
WASM_API_EXTERN own wasm_trap_t* reclaim_trap_new_exception(const wasm_ref_t* exception);
/* The exception of a trap: the one that a call has not caught, or that the trap was made of. NULL if the
 * trap has none. */
WASM_API_EXTERN own wasm_ref_t* reclaim_trap_exception(const wasm_trap_t* trap);

/* The name of a function of a trace, with a zero byte at its end. False if it has none. */
WASM_API_EXTERN bool reclaim_frame_func_name(const wasm_frame_t* frame, own wasm_name_t* out);

/* ---- Raw values ---- */

/* A value without its kind, as compiled code passes it. Calls with such values allocate nothing and check
 * nothing but their number: what a slot holds must be of the type that the function has there. Otherwise
 * anything may happen.
 *
 * A reference in a slot is a number. 0 is null. The garbage collector does not know it: it is good until the
 * next collection, so until code of the store runs or something is allocated in its heap. A reference that
 * was passed in a slot is not passed again. `reclaim_val_from_raw` makes a handle of it, which is good for
 * longer. `reclaim_vals_to_raw` makes numbers of handles. */
typedef union reclaim_val_raw_t {
  int32_t i32;
  int64_t i64;
  float32_t f32;
  float64_t f64;
  RECLAIM_ALIGNED_16 uint8_t v128[16]; /* the lowest byte first */
  uint32_t anyref;
  uint32_t externref;
  uint32_t exnref;
  void* funcref;
} reclaim_val_raw_t;

/* Calls a function. The slots have its arguments before the call, and its results after it. There are at least
 * as many slots as the function has parameters, and as it has results. Every failure is a trap. */
WASM_API_EXTERN own wasm_trap_t* reclaim_func_call_unchecked(
    const wasm_func_t* func, reclaim_val_raw_t* values, size_t count);

/* A function of C with raw values. `values` has the arguments, and gets the results. `count` is the larger
 * number of the two. It writes all results and returns NULL, or returns a trap. */
typedef own wasm_trap_t* (*reclaim_func_unchecked_callback_t)(
    void* env, reclaim_val_raw_t* values, size_t count);
WASM_API_EXTERN own wasm_func_t* reclaim_func_new_unchecked(
    wasm_store_t* store, const wasm_functype_t* type, reclaim_func_unchecked_callback_t callback,
    void* env, void (*finalizer)(void*));

/* Writes values to slots. A thing that is no reference in WebAssembly is put in a box, which may collect. So
 * write all references of a call at once: those of one call of this function are good together. */
WASM_API_EXTERN bool reclaim_vals_to_raw(
    wasm_store_t* store, const wasm_val_t values[], size_t count, reclaim_val_raw_t out[]);
/* The value in a slot, which is of this kind. It does not collect. */
WASM_API_EXTERN bool reclaim_val_from_raw(
    wasm_store_t* store, const reclaim_val_raw_t* raw, wasm_valkind_t kind, own wasm_val_t* out);

#undef own

#ifdef __cplusplus
}
#endif

#endif
