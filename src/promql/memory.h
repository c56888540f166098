/* src/promql/memory.h - a source of samples that are in memory: for tests and for small sets.
 *
 * Model:     series in the order they were first added; a lookup compares every series.
 * Ownership: all memory comes from the arena; labels are copied.
 * Threads:   one owner.
 * Errors:    VV_EINVAL for labels out of order or a time that does not rise.
 */
#ifndef VV_PROMQL_MEMORY_H
#define VV_PROMQL_MEMORY_H
#include "promql/promql.h"

struct vv_promql_memory { /* PRIVATE fields */
    struct vv_arena *arena;
    struct vv_promql_series *series;
    size_t *room;
    size_t n, cap;
};

void vv_promql_memory_init(struct vv_promql_memory *m, struct vv_arena *arena);
/* Finds or makes the series; its number stays valid. */
VV_MUST_CHECK enum vv_err vv_promql_memory_series(struct vv_promql_memory *m,
                                                  struct vv_promql_labels labels, size_t *ret);
VV_MUST_CHECK enum vv_err vv_promql_memory_add(struct vv_promql_memory *m, size_t series,
                                               int64_t t_ms, double v);
/* Borrows m. Do not add while a query runs. */
struct vv_promql_source vv_promql_memory_source(struct vv_promql_memory *m);
#endif
