/* src/os/memory.h - how the C library's heap gives memory back to the machine; how much there is.
 *
 * Model:     one process holds up to a budget of cached bytes for weeks, in blocks of all sizes that
 *            threads free for each other. Left alone, the heap keeps what it was once given.
 * Source:    mallopt(3), malloc_trim(3) of the GNU C library.
 * Threads:   tune: before threads start; trim: any, it holds up allocations of others meanwhile.
 */
#ifndef VV_OS_MEMORY_H
#define VV_OS_MEMORY_H
#include "base/defs.h"

/* Rules for a process with this many threads that carry traffic. */
void vv_memory_tune(unsigned threads);
/* Bytes of this process that are in RAM; 0 when the kernel does not say. */
uint64_t vv_memory_resident(void);
/* Bytes this process may have: the least of the machine's RAM and the limits of its cgroups (v1 and v2) up
 * to the root that is visible; 0 when nothing is known. Reads files: at start and reload. */
uint64_t vv_memory_usable(void);
/* Gives free pages back, also those between used blocks. A walk over the heap: seconds apart. */
void vv_memory_trim(void);
#endif
