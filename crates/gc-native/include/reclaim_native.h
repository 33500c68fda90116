/* The interface for C of executables whose code gc-engine has compiled (the crate gc-native).
 *
 * A function that can fail has the parameter `error`: NULL, or a place for a text. The text is set only if the function
 * fails, and is freed with reclaim_free_error. Names are UTF-8.
 *
 * Rules for functions of C that compiled code calls (Module::extern_c): they must not use the store whose code calls
 * them (it is an error), must not leave by longjmp or a C++ exception, and are not variadic. They have at least 256 KiB
 * of stack, or a quarter of a small stack.
 */
/*
 */
#ifndef RECLAIM_NATIVE_H
#define RECLAIM_NATIVE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A heap with the code of the executable. Several threads may have stores; each store is used by one at a time. */
typedef struct reclaim_store reclaim_store;

/* A value. The function's type says which member. C has no references into a heap. */
typedef union reclaim_value {
    int32_t i32;
    int64_t i64;
    float f32;
    double f64;
} reclaim_value;

/* Makes a store. Returns NULL if that fails. */
reclaim_store *reclaim_open(char **error);

/* Frees a store. NULL is ignored. */
void reclaim_close(reclaim_store *store);

/* Calls a function. The numbers of arguments and results must be those of its type, and none may be a reference. Returns
 * 0, or -1 if it fails. Then the results are unspecified. */
int reclaim_call(reclaim_store *store, const char *function, const reclaim_value *arguments, size_t argument_count,
                 reclaim_value *results, size_t result_count, char **error);

/* Loads the code of a library into a store. `start` is the address of the library's symbol `reclaim_start`, as dlsym
 * returns it. The library must stay loaded. Each store that uses the library registers it once.
 * A library must not contain this library itself. Returns 0, or -1 if
 * that fails. */
int reclaim_register(reclaim_store *store, const void *start, char **error);

/* Frees the text of an error. NULL is ignored. */
void reclaim_free_error(char *error);

#ifdef __cplusplus
}
#endif

#endif
