/* tests/unit/os/test_memory.c - how much memory this process has and may have. */
#include "os/memory.h"

#include "vv_test.h"
#include <stdlib.h>
#include <sys/mman.h>

VV_TEST(memory_that_is_touched_is_resident_and_fits_into_what_is_usable)
{
    const size_t bytes = 32u << 20;
    const uint64_t before = vv_memory_resident();
    VV_CHECK(before > 0);
    char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    VV_CHECK(p != MAP_FAILED);
    const uint64_t reserved = vv_memory_resident();
    memset(p, 1, bytes);
    const uint64_t touched = vv_memory_resident();
    VV_CHECK(reserved - before < bytes / 2);             /* reserving takes nothing */
    VV_CHECK(touched - reserved > bytes - (bytes >> 3)); /* the kernel counts in batches */
    VV_CHECK(vv_memory_usable() > touched);
    munmap(p, bytes);
}
