/* tests/fuzz/replay.c - runs a fuzz target over every file of the folders given: no libFuzzer needed. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        return 0;
    }
    static uint8_t buf[1 << 20];
    const size_t n = fread(buf, 1, sizeof buf, f);
    fclose(f);
    uint8_t *exact = malloc(n > 0 ? n : 1); /* exact size, so that a sanitizer sees overreads */
    if (exact == NULL) {
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        exact[i] = buf[i];
    }
    LLVMFuzzerTestOneInput(exact, n);
    free(exact);
    return 1;
}

int main(int argc, char **argv)
{
    int count = 0;
    for (int i = 1; i < argc; i++) {
        DIR *d = opendir(argv[i]);
        for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
            char path[4096];
            struct stat st;
            snprintf(path, sizeof path, "%s/%s", argv[i], e->d_name);
            if (stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
                count += run_file(path);
            }
        }
        if (d != NULL) {
            closedir(d);
        }
    }
    printf("%d inputs replayed\n", count);
    return count > 0 ? 0 : 1;
}
