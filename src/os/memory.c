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
