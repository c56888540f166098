/* tests/unit/trace/trace_maker.h - traces for tests, span by span. */
#ifndef VV_TRACE_MAKER_H
#define VV_TRACE_MAKER_H
#include "trace/assemble.h"

#define MAKER_SPANS 64

struct maker {
    struct vv_span span[MAKER_SPANS];
    struct vv_trace trace;
};

static inline void maker_id(uint8_t *id, size_t n, uint64_t value)
{
    memset(id, 0, n);
    for (size_t i = 0; i < 8; i++) {
        id[n - 1 - i] = (uint8_t)(value >> (8 * i));
    }
}

/* Ids are small numbers; parent 0: none. Returns the span, for more. */
static inline struct vv_span *maker_add(struct maker *m, uint64_t trace, uint64_t id,
                                        uint64_t parent, uint64_t start_ns, uint64_t end_ns,
                                        const char *service, const char *name)
{
    struct vv_span *s = &m->span[m->trace.count++];
    *s = (struct vv_span){.start_ns = start_ns,
                          .end_ns = end_ns,
                          .kind = VV_SPAN_INTERNAL,
                          .service = vv_str_from(service),
                          .name = vv_str_from(name)};
    maker_id(s->trace_id, sizeof s->trace_id, trace);
    maker_id(s->span_id, sizeof s->span_id, id);
    maker_id(s->parent_id, sizeof s->parent_id, parent);
    memcpy(m->trace.id, s->trace_id, sizeof m->trace.id);
    m->trace.spans = m->span;
    return s;
}
#endif
