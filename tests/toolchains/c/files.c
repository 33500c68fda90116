// Makes, reads, renames, lists and removes files in the directory of its first argument, and prints
// what it finds. The environment variable GREETING is what it writes.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *dir;

static const char *in(const char *name) {
    static char paths[4][256];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

static void check(int ok, const char *what) {
    if (!ok) {
        printf("%s: %s\n", what, strerror(errno));
        exit(3);
    }
}

static void refused(int result, const char *what) {
    printf("%s: %s\n", what, result < 0 ? strerror(errno) : "allowed");
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    dir = argv[1];
    const char *greeting = getenv("GREETING");
    check(mkdir(in("sub"), 0777) == 0, "mkdir");
    FILE *file = fopen(in("sub/a.txt"), "w+");
    check(file != NULL, "fopen");
    fprintf(file, "%s\n", greeting ? greeting : "nothing");
    fseek(file, 1, SEEK_SET);
    char text[64] = "";
    check(fgets(text, sizeof text, file) != NULL, "fgets");
    printf("from the second byte: %s", text);
    fclose(file);
    struct stat stat_;
    check(stat(in("sub/a.txt"), &stat_) == 0, "stat");
    printf("size %lld, a file: %d\n", (long long)stat_.st_size, S_ISREG(stat_.st_mode));
    check(rename(in("sub/a.txt"), in("sub/b.txt")) == 0, "rename");
    check(symlink("b.txt", in("sub/link")) == 0, "symlink");
    check(truncate(in("sub/b.txt"), 100) == 0, "truncate");
    int count = 0, found = 0;
    DIR *entries = opendir(in("sub"));
    check(entries != NULL, "opendir");
    for (struct dirent *entry; (entry = readdir(entries));) {
        count++;
        found += !strcmp(entry->d_name, "b.txt") || !strcmp(entry->d_name, "link");
    }
    closedir(entries);
    printf("%d entries, %d known\n", count, found);
    refused(rmdir(in("sub")), "rmdir");
    refused(unlink(in("sub")), "unlink");
    refused(open(in("none"), O_RDONLY), "open");
    refused(open(in("../outside"), O_RDONLY), "open ../outside");
    refused(open("/etc/passwd", O_RDONLY), "open /etc/passwd");
    refused(mkdir(in("sub"), 0777), "mkdir");
    refused(close(77), "close");
    check(unlink(in("sub/link")) == 0 && unlink(in("sub/b.txt")) == 0, "unlink");
    check(rmdir(in("sub")) == 0, "rmdir");
    struct timespec begin, end, pause = {0, 5000000};
    clock_gettime(CLOCK_MONOTONIC, &begin);
    nanosleep(&pause, NULL);
    clock_gettime(CLOCK_MONOTONIC, &end);
    long long took = (end.tv_sec - begin.tv_sec) * 1000000000ll + (end.tv_nsec - begin.tv_nsec);
    printf("slept at least 5 ms: %d\n", took >= 5000000);
    return 42;
}
