/* src/trace/span.h - one span: as a value, and packed into bytes.
 *
 * Model:     a span is ids, times, a kind, a status, five texts and attributes. Packed, it is one run
 *            of bytes that travels unchanged from a worker's ring through assembly into the store:
 *            a fixed part, then the texts, then the attributes. Well known attribute keys are one
 *            byte (span_keys.def). Events are attributes too: a row EVENT, then the rows of its
 *            attributes; a LINK is 24 bytes, trace id and span id.
 * Source:    OpenTelemetry data model (trace.proto 1.x), semantic conventions for HTTP spans.
 * Units:     *_ns are nanoseconds since 1970.
 * Ownership: a vv_span borrows everything; packing copies, unpacking points into the bytes.
 * Threads:   pure.
 * Errors:    unpacking takes any bytes: VV_ESYNTAX.
 */
#ifndef VV_TRACE_SPAN_H
#define VV_TRACE_SPAN_H
#include "base/err.h"
#include "base/str.h"
#include "wire/trace_context.h"

#define VV_SPAN_ATTRS_MAX 128
#define VV_SPAN_TEXT_MAX 4095          /* bytes of one text or value; longer ones are cut */
#define VV_SPAN_PACKED_MAX (16 * 1024) /* attributes that do not fit are counted as dropped */

enum vv_span_kind { /* OTLP's numbers */
                    VV_SPAN_KIND_UNSET,
                    VV_SPAN_INTERNAL,
                    VV_SPAN_SERVER,
                    VV_SPAN_CLIENT,
                    VV_SPAN_PRODUCER,
                    VV_SPAN_CONSUMER,
                    VV_SPAN_KIND_COUNT
};
enum vv_span_status { VV_SPAN_UNSET, VV_SPAN_OK, VV_SPAN_ERROR, VV_SPAN_STATUS_COUNT };

#define VV_SPAN_F_SAMPLED 0x01 /* W3C flags as they came */
#define VV_SPAN_F_RANDOM 0x02
#define VV_SPAN_F_REMOTE_KNOWN 0x10 /* whether the parent is remote is known: */
#define VV_SPAN_F_REMOTE 0x20       /* it is */
#define VV_SPAN_F_ENTRY 0x40 /* the gateway's first span of an exchange: a root as far as we know */
#define VV_SPAN_F_OURS 0x80  /* made by the gateway itself */

enum vv_attr_type {
    VV_ATTR_STR,
    VV_ATTR_I64,
    VV_ATTR_DOUBLE,
    VV_ATTR_BOOL,
    VV_ATTR_ANY,   /* str: an OTLP AnyValue in JSON: array, kvlist, bytes */
    VV_ATTR_EVENT, /* key: its name, i64: its time; the rows after it are its own */
    VV_ATTR_LINK,  /* str: 24 bytes */
    VV_ATTR_TYPE_COUNT
};
enum vv_span_key { /* 0: not a known one */
                   VV_KEY_OTHER,
#define VV_SPAN_KEY(id, text) VV_KEY_##id,
#include "trace/span_keys.def"
#undef VV_SPAN_KEY
                   VV_KEY_COUNT
};
struct vv_span_attr {
    uint8_t type;       /* enum vv_attr_type */
    uint8_t key;        /* enum vv_span_key */
    struct vv_str name; /* of VV_KEY_OTHER only; unpacking fills it for all */
    union {
        struct vv_str str;
        int64_t i64;
        double f64;
        bool b;
    };
};

struct vv_span {
    uint8_t trace_id[VV_TRACE_ID_BYTES];
    uint8_t span_id[VV_SPAN_ID_BYTES];
    uint8_t parent_id[VV_SPAN_ID_BYTES]; /* zero: a root */
    uint64_t start_ns, end_ns;           /* end_ns >= start_ns, packing sees to it */
    uint8_t kind, status, flags;
    uint16_t http_status; /* 0: none */
    uint16_t dropped;     /* attributes that found no room */
    struct vv_str service;
    struct vv_str name;
    struct vv_str route;   /* "": none */
    struct vv_str state;   /* tracestate */
    struct vv_str message; /* of the status */
    const struct vv_span_attr *attrs;
    size_t attr_count;
};

/* Bytes the packed span has; at most VV_SPAN_PACKED_MAX. */
size_t vv_span_packed_bytes(const struct vv_span *s);
/* The same in two steps, for who makes room in between. */
struct vv_span_room {
    size_t bytes;
    size_t attrs, rows, dropped; /* PRIVATE */
};
struct vv_span_room vv_span_measure(const struct vv_span *s);
void vv_span_pack_measured(const struct vv_span *s, const struct vv_span_room *room, uint8_t *buf);
/* `buf` has vv_span_packed_bytes(). Returns them. */
size_t vv_span_pack(const struct vv_span *s, uint8_t *buf);
/* `attrs` has room for VV_SPAN_ATTRS_MAX, or is NULL: then the span has none. */
VV_MUST_CHECK enum vv_err vv_span_unpack(struct vv_str packed, struct vv_span *ret,
                                         struct vv_span_attr *attrs);
/* Only the trace id and what assembly needs, without reading texts. */
struct vv_span_brief {
    const uint8_t *trace_id;
    uint64_t start_ns, end_ns;
    uint8_t kind, status, flags;
    uint16_t http_status;
    bool root; /* no parent, or the gateway's entry */
};
VV_MUST_CHECK enum vv_err vv_span_peek(struct vv_str packed, struct vv_span_brief *ret);

const char *vv_span_key_text(enum vv_span_key key);
enum vv_span_key vv_span_key_find(struct vv_str text); /* VV_KEY_OTHER: none */
/* NULL: not there. Stops at the first event. */
const struct vv_span_attr *vv_span_attr_find(const struct vv_span *s, enum vv_span_key key);
static inline uint64_t vv_span_ns(const struct vv_span *s)
{
    return s->end_ns - s->start_ns;
}
#endif
