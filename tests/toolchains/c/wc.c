// Counts lines, words and bytes of files, or of standard input. Exits with 1 if a file cannot be
// read, and says why.
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static void count(FILE *file, const char *name) {
    unsigned long lines = 0, words = 0, bytes = 0;
    int c, in_word = 0;
    while ((c = getc(file)) != EOF) {
        bytes++;
        lines += c == '\n';
        words += !isspace(c) && !in_word;
        in_word = !isspace(c);
    }
    printf("%lu %lu %lu %s\n", lines, words, bytes, name);
}

int main(int argc, char **argv) {
    int status = 0;
    if (argc < 2) count(stdin, "-");
    for (int i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "r");
        if (!file) {
            fprintf(stderr, "%s: %s: %s\n", argv[0], argv[i], strerror(errno));
            status = 1;
            continue;
        }
        count(file, argv[i]);
        fclose(file);
    }
    return status;
}
