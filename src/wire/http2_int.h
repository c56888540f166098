/* src/wire/http2_int.h - what the files of the HTTP/2 codec share.
 *
 * Model:     nghttp2 keeps frames, HPACK, windows and stream states; its own rules about messages
 *            are switched off, because ours (http2_head.c) are stricter, name their reason and
 *            build the head in the same pass.
 * Ownership: a stream and its text blocks come from the connection's memory (http2_mem.c).
 */
#ifndef VV_WIRE_HTTP2_INT_H
#define VV_WIRE_HTTP2_INT_H
#include "base/list.h"
#include "wire/http2.h"

#include <nghttp2/nghttp2.h>

struct vv_h2_text { /* a block of bytes that belong to one stream */
    struct vv_h2_text *next;
    char bytes[];
};

/* Pseudo-header fields seen, bits of vv_h2_inner.pseudo. */
enum {
    VV_H2_P_METHOD = 1,
    VV_H2_P_SCHEME = 2,
    VV_H2_P_AUTHORITY = 4,
    VV_H2_P_PATH = 8,
    VV_H2_P_PROTOCOL = 16,
    VV_H2_P_STATUS = 32
};

struct vv_h2_inner { /* a stream; pub comes first */
    struct vv_h2_stream pub;
    struct vv_h2 *c;
    struct vv_list node;   /* c->streams */
    struct vv_list gather; /* c->gathered: content in the last output */
    size_t in_gather;      /* bytes of it by reference */
    size_t copied;         /* bytes of it that were copied */
    struct vv_str slices[VV_H2_SLICES_MAX];
    uint8_t slice_at, slice_count;
    size_t queued;           /* bytes in slices */
    size_t held;             /* content the caller has not given back */
    uint64_t body_in;        /* content received */
    uint64_t content_length; /* with has_length */
    struct vv_str protocol;
    nghttp2_nv *trailer;
    size_t trailer_count;
    uint8_t close_why; /* what closed() will say */
    uint32_t close_code;
    uint8_t urgency;
    bool incremental;
    bool has_length, head_method; /* head_method: the request was HEAD */
    bool told;                    /* head() was called, or the caller opened it */
    bool bad;                     /* malformed: no more events but closed() */
    bool final_head;              /* a request's head, or an answer's last one, is there */
    bool peer_ended;
    bool answered, has_body, done; /* our head was given; with content; which is complete */
    bool tunnel;                   /* CONNECT: each side ends when it likes */
    bool deferred;                 /* nghttp2 waits for vv_h2_body() */
    bool closed;                   /* for nghttp2: it knows it no more */
    bool peer_reset;
    struct vv_h2_text *text;
    char *text_at, *text_end;
    char first[768];
};

struct vv_h2_bucket { /* tokens in millionths, so that slow rates round well */
    uint64_t tokens, cap;
    uint64_t per_second;
};

struct vv_h2_guard { /* walks the frame headers ahead of nghttp2 */
    struct vv_h2_bucket frames, windows, resets;
    uint64_t at_ns;
    uint32_t left;          /* bytes of the frame in hand still to come */
    uint32_t continuations; /* of the head in hand */
    uint32_t head_bytes;
    uint8_t preface_left;
    uint8_t header[9];
    uint8_t header_n;
};

struct vv_h2 {
    nghttp2_session *session;
    struct vv_h2_pool *pool;
    const struct vv_h2_conf *conf;
    const struct vv_h2_events *events;
    void *user;
    bool client;
    bool busy;   /* within receive or output */
    bool dead;   /* failed: takes nothing more */
    bool broken; /* and cannot even say so */
    bool drain_announced, drained;
    uint8_t why; /* enum vv_h2_reason of the connection */
    uint64_t pings;
    uint32_t streams_told;
    struct vv_list streams, gathered;
    /* the head that is being decoded: blocks do not interleave */
    struct vv_h2_inner *now;
    struct vv_h1_head *head;
    uint32_t list_bytes;
    uint8_t pseudo;
    bool regular_seen, is_trailer, too_large;
    /* output */
    struct vv_h2_gather *g;
    struct vv_h2_guard guard;
    size_t memory, memory_max;
    bool memory_over;
};

/* http2_mem.c */
void *vv_h2_alloc(struct vv_h2 *c, size_t bytes); /* not zeroed; NULL: over the limit or none */
void vv_h2_dealloc(struct vv_h2 *c, void *p);
void vv_h2_mem_hooks(struct vv_h2 *c, nghttp2_mem *ret);
struct vv_h2_counts *vv_h2_pool_counts(struct vv_h2_pool *pool);
char *vv_h2_text(struct vv_h2_inner *s, size_t bytes); /* NULL: no memory */
struct vv_h2_inner *vv_h2_stream_new(struct vv_h2 *c, uint32_t id);
void vv_h2_stream_free(struct vv_h2_inner *s);

/* http2_guard.c */
void vv_h2_guard_init(struct vv_h2_guard *g, const struct vv_h2_conf *conf, bool client,
                      uint64_t now_ns);
/* Looks at the frame headers in `bytes`. Returns how many bytes are fine; less than all: *ret says
 * what there was too much of. */
size_t vv_h2_guard_walk(struct vv_h2 *c, struct vv_str bytes, uint64_t now_ns,
                        enum vv_h2_reason *ret);
/* A stream was reset by the peer's fault; false: once too often. */
bool vv_h2_guard_reset(struct vv_h2_guard *g);
/* A stream ended as it should. */
void vv_h2_guard_well(struct vv_h2_guard *g);
/* A DATA frame left: the peer may answer it with two WINDOW_UPDATE frames. */
void vv_h2_guard_sent_data(struct vv_h2_guard *g);

/* http2_head.c */
int vv_h2_head_begin(struct vv_h2 *c, struct vv_h2_inner *s, bool trailer);
int vv_h2_head_field(struct vv_h2 *c, struct vv_str name, struct vv_str value);
void vv_h2_head_end(struct vv_h2 *c, bool end_stream);
void vv_h2_head_drop(struct vv_h2 *c);
bool vv_h2_take_priority(struct vv_h2_inner *s, struct vv_str value); /* false: it says nothing */

/* http2.c */
void vv_h2_malformed(struct vv_h2_inner *s, enum vv_h2_reason why); /* resets it */
void vv_h2_fail(struct vv_h2 *c, enum vv_h2_reason why);            /* GOAWAY */
void vv_h2_peer_ended(struct vv_h2_inner *s);
void vv_h2_finish_close(struct vv_h2_inner *s); /* closed(); the stream is gone then */
enum vv_h2_reason vv_h2_reason_of(uint32_t code);

/* http2_send.c */
void vv_h2_apply_priority(struct vv_h2_inner *s,
                          bool ours); /* ours: against what the client says */
ssize_t vv_h2_read_body(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length,
                        uint32_t *flags, nghttp2_data_source *source, void *user);
int vv_h2_send_body(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *header,
                    size_t length, nghttp2_data_source *source, void *user);
#endif
