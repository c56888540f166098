/* src/trace/map.h - who calls whom: edges with rate, errors and latency.
 *
 * Model:     every client or producer span whose child belongs to another service is a call; so is a
 *            server span under a span of another service. A client span without such a child calls
 *            something that does not report: an external node, named by peer.service, the database,
 *            the queue or the server's address. A root server span is called by "client".
 *            Latency is the caller's view where there is one. Counts cover the present period and
 *            the one before.
 * Memory:    edges_max edges of about 1.3 KiB; more are counted only.
 * Units:     ns; rates per second.
 * Threads:   one owner.
 */
#ifndef VV_TRACE_MAP_H
#define VV_TRACE_MAP_H
#include "trace/assemble.h"

#define VV_MAP_NAME_MAX 96

enum vv_map_kind { VV_MAP_CALL, VV_MAP_DATABASE, VV_MAP_QUEUE, VV_MAP_ENTRY };
struct vv_map_edge {
    struct vv_str caller, callee;
    enum vv_map_kind kind;
    bool external; /* the callee does not report */
    uint64_t count, errors;
    double rate; /* calls per second */
    uint64_t p50_ns, p95_ns, p99_ns;
    uint64_t last_ns; /* now_ns of the latest call */
};
struct vv_map;
/* `period_ns`: figures cover one to two of it. */
VV_MUST_CHECK enum vv_err vv_map_new(uint64_t edges_max, uint64_t period_ns, struct vv_map **ret);
void vv_map_free(struct vv_map *m);
/* All traces, not only kept ones, if rates shall be right. */
void vv_map_add(struct vv_map *m, const struct vv_trace *t, uint64_t now_ns);
/* Sorted by caller, then callee. At most `max`; returns how many. Names live until the map changes.
 * Edges without calls in two periods are gone. */
size_t vv_map_edges(struct vv_map *m, uint64_t now_ns, struct vv_map_edge *ret, size_t max);
uint64_t vv_map_dropped(const struct vv_map *m); /* calls of edges over edges_max */
#endif
