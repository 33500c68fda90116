// A program whose compiled code calls `walk`, which walks the stack as an unwinder does.

#include "reclaim_native.h"
#include <stdint.h>
#include <stdio.h>
#include <unwind.h>

int main(void);

static int found_main;

static _Unwind_Reason_Code visit(struct _Unwind_Context *context, void *data) {
    (void)data;
    void *function = _Unwind_FindEnclosingFunction((void *)_Unwind_GetIP(context));
    if (function == (void *)main) {
        found_main = 1;
    }
    return _URC_NO_REASON;
}

int32_t walk(void) {
    _Unwind_Backtrace(visit, NULL);
    return found_main;
}

int main(void) {
    char *error = NULL;
    reclaim_store *store = reclaim_open(&error);
    if (!store) {
        fprintf(stderr, "%s\n", error);
        return 1;
    }
    reclaim_value result;
    if (reclaim_call(store, "start", NULL, 0, &result, 1, &error)) {
        fprintf(stderr, "%s\n", error);
        return 1;
    }
    reclaim_close(store);
    printf("%s\n", result.i32 ? "main was found" : "main was not found");
    return 0;
}
