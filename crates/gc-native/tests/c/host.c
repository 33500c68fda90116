/* A program in C with its own main: four threads with a store each, and the code of a library. */
#include "reclaim_native.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The symbol of the executable. */
extern const char reclaim_start[];

static void fail(const char *what, char *error) {
    fprintf(stderr, "%s: %s\n", what, error ? error : "no error");
    exit(1);
}

static void *run(void *unused) {
    char *error = NULL;
    reclaim_store *store = reclaim_open(&error);
    if (!store) fail("open", error);
    for (int turn = 0; turn < 4; turn++) {
        reclaim_value result;
        if (reclaim_call(store, "start", NULL, 0, &result, 1, &error)) fail("call", error);
        if (result.i32 != 42) fail("the result is wrong", NULL);
    }
    reclaim_close(store);
    return unused;
}

int main(int count, char **arguments) {
    pthread_t threads[4];
    for (int n = 0; n < 4; n++)
        if (pthread_create(&threads[n], NULL, run, NULL)) fail("a thread", NULL);
    for (int n = 0; n < 4; n++) pthread_join(threads[n], NULL);

    char *error = NULL;
    reclaim_store *store = reclaim_open(&error);
    if (!store) fail("open", error);
    reclaim_value value = {.i64 = 5}, result;
    if (!reclaim_call(store, "nothing", NULL, 0, NULL, 0, &error)) fail("it was called", NULL);
    if (strcmp(error, "there is no function `nothing`")) fail("another error", error);
    reclaim_free_error(error);
    if (!reclaim_call(store, "start", &value, 1, &result, 1, &error)) fail("it was called", NULL);
    if (!strstr(error, "is called with 1 values")) fail("another error", error);
    reclaim_free_error(error);
    if (!reclaim_call(store, "list", &value, 1, &result, 1, &error)) fail("it was called", NULL);
    if (!strstr(error, "returns references")) fail("another error", error);
    reclaim_free_error(error);

    if (!reclaim_call(store, "start", &value, (size_t)-1, &result, 1, &error)) fail("it was called", NULL);
    reclaim_free_error(error);
    if (!reclaim_call(store, "list", NULL, 1, &result, 1, &error)) fail("it was called", NULL);
    reclaim_free_error(error);
    if (!reclaim_call(store, "start", NULL, 0, NULL, 1, &error)) fail("it was called", NULL);
    if (!strstr(error, "are NULL")) fail("another error", error);
    reclaim_free_error(error);
    reclaim_close(NULL);
    if (!reclaim_register(store, reclaim_start, &error)) fail("it was registered", NULL);
    if (!strstr(error, "is that of the executable")) fail("another error", error);
    reclaim_free_error(error);

    if (count == 2) {
        void *library = dlopen(arguments[1], RTLD_NOW);
        if (!library) fail("dlopen", dlerror());
        void *start = dlsym(library, "reclaim_start");
        if (reclaim_register(store, start, &error)) fail("register", error);
        if (reclaim_call(store, "twice", &value, 1, &result, 1, &error)) fail("twice", error);
        if (result.i64 != 10) fail("the result is wrong", NULL);
        /* A second store, with the same code. */
        reclaim_store *second = reclaim_open(&error);
        if (reclaim_register(second, start, &error)) fail("register", error);
        if (reclaim_call(second, "twice", &value, 1, &result, 1, &error)) fail("twice", error);
        reclaim_close(second);
        if (!reclaim_register(store, start, &error)) fail("it was registered twice", NULL);
        reclaim_free_error(error);
    }
    reclaim_close(store);
    puts("ok");
    return 0;
}
