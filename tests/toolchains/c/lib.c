// A library: it has no `main`, so the toolchain emits `_initialize`, which runs the constructor.
static volatile int state;

__attribute__((constructor)) static void begin(void) { state = 40; }

__attribute__((export_name("add"))) int add(int n) { return state += n; }
