/* src/os/memory.c - three rules, each against one way in which a heap creeps.
 *
 * Arenas: by default the library makes up to eight per core, and free memory of one is of no use to
 * another, so the slack of all adds up. A worker rarely allocates, and one arena per thread that
 * carries traffic and one for the rest is as many as ever work at the same time.
 *
 * Threshold: by default the first large block that is freed raises the size from which blocks get a
 * mapping of their own, up to 32 MiB, and from then on large bodies lie between small ones and keep
 * their pages. A fixed threshold, above the 64 KiB chunks of the cache, keeps large blocks apart:
 * freeing one returns its pages at once.
 *
 * Trim: freed pages in the middle of an arena go back only when asked. */
#include "os/memory.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARENAS_MAX 16
#define MAPPED_FROM (128 * 1024)

void vv_memory_tune(unsigned threads)
{
    /* A result of 0 means that another library than the GNU one serves malloc: then its rules. */
    (void)mallopt(M_ARENA_MAX, threads + 1 < ARENAS_MAX ? (int)threads + 1 : ARENAS_MAX);
    (void)mallopt(M_MMAP_THRESHOLD, MAPPED_FROM);
}

void vv_memory_trim(void)
{
    (void)malloc_trim(0);
}

/* The first line of dir + sub + "/" + name as a number; 0: no such file, or a word such as "max". */
static uint64_t read_number(const char *dir, const char *sub, const char *name)
{
    char path[1400];
    char line[64];
    unsigned long long n = 0;
    snprintf(path, sizeof path, "%s%s/%s", dir, sub, name);
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        return 0;
    }
    if (fgets(line, sizeof line, f) == NULL || sscanf(line, "%llu", &n) != 1) {
        n = 0;
    }
    fclose(f);
    return n;
}

static uint64_t least(uint64_t a, uint64_t b) /* 0: not known */
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* From our own group up to the root that we can see. */
static uint64_t limit_of_path(char *path, const char *mount, const char *name)
{
    uint64_t all = 0;
    for (;;) {
        all = least(all, read_number(mount, path, name));
        char *slash = strrchr(path, '/');
        if (slash == NULL) {
            return all;
        }
        *slash = '\0';
    }
}

static uint64_t cgroup_limit(void)
{
    char line[1024];
    uint64_t all = 0;
    FILE *f = fopen("/proc/self/cgroup", "re");
    if (f == NULL) {
        return 0;
    }
    while (fgets(line, sizeof line, f) != NULL) { /* "0::/path" or "9:memory:/path" */
        line[strcspn(line, "\n")] = '\0';
        char *const names = strchr(line, ':');
        char *const path = names != NULL ? strchr(names + 1, ':') : NULL;
        if (path == NULL) {
            continue;
        }
        *path = '\0';
        if (names[1] == '\0') {
            all = least(all, limit_of_path(path + 1, "/sys/fs/cgroup", "memory.max"));
        } else if (strcmp(names + 1, "memory") == 0) {
            all = least(all,
                        limit_of_path(path + 1, "/sys/fs/cgroup/memory", "memory.limit_in_bytes"));
        }
    }
    fclose(f);
    return all;
}

uint64_t vv_memory_usable(void)
{
    const long pages = sysconf(_SC_PHYS_PAGES);
    const long page_bytes = sysconf(_SC_PAGESIZE);
    const uint64_t machine =
        pages > 0 && page_bytes > 0 ? (uint64_t)pages * (uint64_t)page_bytes : 0;
    return least(machine, cgroup_limit());
}

uint64_t vv_memory_resident(void)
{
    unsigned long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f == NULL) {
        return 0;
    }
    if (fscanf(f, "%*u %llu", &pages) != 1) {
        pages = 0;
    }
    fclose(f);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}
