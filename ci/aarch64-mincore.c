/* `mincore` for programs that qemu runs with larger pages than those of the machine. It answers for each page of the
   machine, and the program expects an entry for each of its own pages. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

int mincore(void *at, size_t bytes, unsigned char *pages) {
  const size_t page = sysconf(_SC_PAGESIZE), host = 4096, each = page / host;
  const size_t count = (bytes + page - 1) / page;
  unsigned char *all = calloc(count, each);
  if (!all) return -1;
  const int result = syscall(SYS_mincore, at, bytes, all);
  for (size_t i = 0; result == 0 && i < count * each; i++)
    pages[i / each] = i % each ? pages[i / each] | all[i] : all[i];
  free(all);
  return result;
}
