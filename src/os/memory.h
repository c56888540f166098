/* src/os/memory.h - how the C library's heap gives memory back to the machine.
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
/* Gives free pages back, also those between used blocks. A walk over the heap: seconds apart. */
void vv_memory_trim(void);
#endif
