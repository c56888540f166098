/* src/guard/slices.h - how many in the last while: ten slices of a window, shared by threads.
 *
 * Model:   each slice is one word, its number above its count. Who adds to a slice of an earlier
 *          round starts it anew. A sum covers the present slice and the nine before it, that is
 *          between nine tenths of the window and all of it.
 * Units:   slice_ns is a tenth of the window; a count saturates at 2^32 - 1.
 * Threads: any thread at any time; no lock. A count by a clock that is a whole round late is lost.
 * Ownership: the caller's storage; zeroed is empty. */
#ifndef VV_GUARD_SLICES_H
#define VV_GUARD_SLICES_H
#include "base/defs.h"

#include <stdatomic.h>

#define VV_SLICES 10

struct vv_slices {
    _Atomic uint64_t word[VV_SLICES];
};

void vv_slices_add(struct vv_slices *s, uint64_t slice_ns, uint64_t now_ns, uint32_t n);
uint64_t vv_slices_sum(const struct vv_slices *s, uint64_t slice_ns, uint64_t now_ns);
void vv_slices_clear(struct vv_slices *s);
#endif
