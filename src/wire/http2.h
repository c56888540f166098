/* src/wire/http2.h - HTTP/2 as a codec, both sides: bytes in, messages out, messages in, bytes out.
 *
 * Model:     struct vv_h2 is one connection, without socket or clock. Bytes that came go into
 *            vv_h2_receive(), which calls the events; what is to be written is pulled by
 *            vv_h2_output(), many frames a call, as a list of slices. A message head has the form
 *            of HTTP/1 (struct vv_h1_head), so what decides about requests need not know the
 *            version: minor 1, names lower case, cookie crumbs joined, `authority` from :authority
 *            or Host, framing LENGTH with Content-Length, NONE without content, CHUNKED for "until
 *            it ends", TUNNEL for CONNECT. A malformed message resets its stream and is never
 *            handed out; a head over the limit is handed out with head->error set, for the answer
 *            431.
 * Streams:   told by head() first and closed() last, exactly once each (vv_h2_request(): closed()
 *            only). The stream, its head's slices and its memory are valid until closed() returns.
 * Flow:      the peer may send only so much content as the caller has given back by
 *            vv_h2_consumed(); at most connection_window_bytes are ever outstanding.
 * Floods:    frames that carry nothing, resets, CONTINUATION, header lists and memory have budgets;
 *            over one, the connection gets GOAWAY ENHANCE_YOUR_CALM. Every early end is counted
 *            under its row of http2_reasons.def. Slow peers are for the caller's timers.
 * Upgrade:   `Upgrade: h2c` is deliberately not offered (RFC 9113 3.1 has it obsolete); HTTP/2 in
 *            the clear is by prior knowledge, see vv_h2_preface(). Server push is off.
 * Source:    RFC 9113, RFC 7541 (HPACK, http2_hpack.h), RFC 8441 (extended CONNECT), RFC 9218
 *            (priorities: field and PRIORITY_UPDATE frame; the older tree is not followed).
 * Units:     bytes; now_ns monotonic nanoseconds.
 * Threads:   a pool and its connections belong to one worker. Events come only from within
 *            vv_h2_receive(), _output() and _free(). In an event every function may be called but
 *            these three.
 * Errors:    VV_OK or negative; a call on a stream that has failed meanwhile is harmless: closed()
 *            is on its way.
 */
#ifndef VV_WIRE_HTTP2_H
#define VV_WIRE_HTTP2_H
#include "wire/http1.h"

#include <sys/uio.h>

struct vv_h2;
struct vv_h2_pool;

struct vv_h2_stream { /* the public part of a stream */
    void *user;       /* the caller's */
    uint32_t id;
};

/* RFC 9113 section 7. */
enum vv_h2_code {
    VV_H2_NO_ERROR,
    VV_H2_PROTOCOL_ERROR,
    VV_H2_INTERNAL_ERROR,
    VV_H2_FLOW_CONTROL_ERROR,
    VV_H2_SETTINGS_TIMEOUT,
    VV_H2_STREAM_CLOSED,
    VV_H2_FRAME_SIZE_ERROR,
    VV_H2_REFUSED_STREAM,
    VV_H2_CANCEL,
    VV_H2_COMPRESSION_ERROR,
    VV_H2_CONNECT_ERROR,
    VV_H2_ENHANCE_YOUR_CALM,
    VV_H2_INADEQUATE_SECURITY,
    VV_H2_HTTP_1_1_REQUIRED,
    VV_H2_CODE_COUNT
};
extern const char *const vv_h2_code_names[VV_H2_CODE_COUNT]; /* "PROTOCOL_ERROR" */

enum vv_h2_reason {
    VV_H2_FINE = 0,
#define VV_H2_REASON(id, code, section, text) VV_H2_WHY_##id,
#include "wire/http2_reasons.def"
#undef VV_H2_REASON
    VV_H2_REASON_COUNT
};
extern const struct vv_h2_reason_info {
    const char *name; /* lower case, for metrics and logs */
    enum vv_h2_code code;
    const char *section, *text;
} vv_h2_reasons[VV_H2_REASON_COUNT];

struct vv_h2_counts { /* of a worker: plain words, added up over its connections */
    uint64_t reason[VV_H2_REASON_COUNT];
    uint64_t connections, streams, frames_in, frames_out;
    uint64_t memory_bytes, memory_bytes_max; /* in use now; the most one connection ever had */
};

struct vv_h2_conf {
    uint32_t streams_max;             /* concurrent, opened by the peer */
    uint32_t stream_window_bytes;     /* content of one stream that waits for the caller */
    uint32_t connection_window_bytes; /* of all streams of a connection; at least 65,535 */
    uint32_t head_bytes;              /* a head, counted as RFC 9113 6.5.2; four times: a bomb */
    uint32_t fields;                  /* of a head; at most VV_H1_FIELDS_MAX */
    uint32_t table_bytes;             /* HPACK's dynamic table, each way */
    uint32_t continuations_max;       /* CONTINUATION frames of one head */
    uint32_t frames_burst, frames_per_second; /* frames that carry nothing, see http2_guard.c */
    uint32_t resets_burst, resets_per_second; /* streams reset by the peer or by its fault */
    uint32_t memory_bytes_max;                /* of one connection */
    bool connect_protocol;                    /* server: offer extended CONNECT (RFC 8441) */
};
extern const struct vv_h2_conf vv_h2_conf_default;

struct vv_h2_events { /* `user` is the connection's; none may be NULL but trailers */
    /* A request (server) or an answer (client; interim ones too, with their status). head->fields
     * live for the call, what the slices point at until closed(). end: no content follows and end()
     * is not called. */
    void (*head)(void *user, struct vv_h2_stream *s, const struct vv_h1_head *head, bool end);
    /* Content; borrowed for the call. The caller owes vv_h2_consumed() for it. */
    void (*data)(void *user, struct vv_h2_stream *s, struct vv_str bytes);
    /* Fields after the content; end() follows. */
    void (*trailers)(void *user, struct vv_h2_stream *s, const struct vv_h1_head *fields);
    void (*end)(void *user, struct vv_h2_stream *s);
    /* So many more bytes of what vv_h2_body() was given have left and their memory is free again.
     * */
    void (*sent)(void *user, struct vv_h2_stream *s, size_t bytes);
    /* The stream is over. why VV_H2_FINE: both sides came to their end. code: of a reset by the
     * peer or by us; VV_H2_REFUSED_STREAM from a server: nothing was done, it can be asked again.
     * */
    void (*closed)(void *user, struct vv_h2_stream *s, enum vv_h2_reason why, enum vv_h2_code code);
};

/* ---- a worker's memory for its connections: blocks are used again, sizes are counted */
VV_MUST_CHECK struct vv_h2_pool *vv_h2_pool_new(struct vv_h2_counts *counts); /* counts: borrowed */
void vv_h2_pool_free(struct vv_h2_pool *pool); /* after its connections; NULL is fine */

/* ---- connections. conf, events and user are borrowed. NULL: no memory. */
VV_MUST_CHECK struct vv_h2 *vv_h2_server_new(struct vv_h2_pool *pool, const struct vv_h2_conf *conf,
                                             const struct vv_h2_events *events, void *user,
                                             uint64_t now_ns);
VV_MUST_CHECK struct vv_h2 *vv_h2_client_new(struct vv_h2_pool *pool, const struct vv_h2_conf *conf,
                                             const struct vv_h2_events *events, void *user,
                                             uint64_t now_ns);
/* closed() comes for every stream that is left. Slices of the last output are free then. */
void vv_h2_free(struct vv_h2 *c);

#define VV_H2_PREFACE_BYTES 24
/* Do these bytes begin a connection by prior knowledge? VV_EAGAIN: so far yes. VV_ESYNTAX: no. */
VV_MUST_CHECK enum vv_err vv_h2_preface(struct vv_str bytes);

/* Takes all bytes. Not VV_OK: the connection cannot go on; output still has a GOAWAY to give. */
VV_MUST_CHECK enum vv_err vv_h2_receive(struct vv_h2 *c, struct vv_str bytes, uint64_t now_ns);

#define VV_H2_IOV_MAX 64
struct vv_h2_gather { /* the caller provides `stage`, of at least 1,024 bytes, best 64 KiB */
    char *stage;
    size_t stage_bytes;
    struct iovec iov[VV_H2_IOV_MAX];
    unsigned count;
    size_t bytes; /* in all; 0: nothing to send */
    size_t used;  /* of the stage */
};
/* Fills g with what is to be written next. All of it must have been written before the next call,
 * which takes that as said and tells sent(); until then stage and iov must stay. Content shorter
 * than VV_H2_COPY_MAX is copied into the stage and counts as sent at once. */
#define VV_H2_COPY_MAX 2048
void vv_h2_output(struct vv_h2 *c, struct vv_h2_gather *g);
bool vv_h2_wants_output(const struct vv_h2 *c);
/* Nothing more will come or go: close it (after the last gather is written). */
bool vv_h2_finished(const struct vv_h2 *c);

/* Stops in two steps (RFC 9113 6.8): the first call announces it, the second, a round trip later,
 * says which stream was the last. Streams in work go on; then vv_h2_finished(). */
void vv_h2_drain(struct vv_h2 *c);
/* Ends it now with an error of the caller's. */
void vv_h2_abort(struct vv_h2 *c, enum vv_h2_code code);
/* A PING; vv_h2_pings_answered() counts the answers. False: no memory. */
VV_MUST_CHECK bool vv_h2_ping(struct vv_h2 *c);
uint64_t vv_h2_pings_answered(const struct vv_h2 *c);
enum vv_h2_reason
vv_h2_why(const struct vv_h2 *c);              /* the connection fails; VV_H2_FINE: it does not */
uint32_t vv_h2_streams(const struct vv_h2 *c); /* told and not closed */
size_t vv_h2_memory(const struct vv_h2 *c);    /* bytes in use */
/* Client: may another stream be opened now (peer's limit, GOAWAY)? */
bool vv_h2_can_open(const struct vv_h2 *c);
/* Client: how many streams the server takes at once; 100 before it was heard, UINT32_MAX: any number. */
uint32_t vv_h2_streams_allowed(const struct vv_h2 *c);

/* Keeps what head() showed: for a caller whose own head outlives the call. What the slices point at
 * stays the stream's, until closed(). vv_h1_find() works on the copy. */
void vv_h2_head_copy(struct vv_h1_head *to, const struct vv_h1_head *from);

/* ---- what is sent */
enum {
    VV_H2_STABLE = 1, /* name (lower case) and value stay until closed(): not copied */
    VV_H2_SECRET = 2, /* never in a compression table, here or behind (RFC 7541 7.1.3) */
};
struct vv_h2_field {
    struct vv_str name, value;
    unsigned flags;
};
/* Server. Fields of the connection (Connection, Transfer-Encoding ...) are left out, names are made
 * lower case. status 1xx (not 101): an interim answer. end: no content. VV_EINVAL: head was given
 * before, or too many fields. VV_ENOMEM. */
VV_MUST_CHECK enum vv_err vv_h2_answer(struct vv_h2_stream *s, int status,
                                       const struct vv_h2_field *field, size_t count, bool end);
/* The same from a head as HTTP/1 writes it, status line to empty line. VV_ESYNTAX: it is not one.
 * */
VV_MUST_CHECK enum vv_err vv_h2_answer_text(struct vv_h2_stream *s, struct vv_str head, bool end);

/* Bytes of the head, as HTTP/1 writes it, that text begins with; 0: it does not end there. */
size_t vv_h2_head_text_bytes(struct vv_str text);

struct vv_h2_request { /* protocol.n > 0: extended CONNECT */
    struct vv_str method, scheme, authority, path, protocol;
    const struct vv_h2_field *field;
    size_t count;
    bool end;
};
/* Client. VV_ELIMIT: no stream can be opened now. *ret is set on VV_OK only. */
VV_MUST_CHECK enum vv_err vv_h2_request(struct vv_h2 *c, void *stream_user,
                                        const struct vv_h2_request *r, struct vv_h2_stream **ret);

/* Content that stays put until sent() has told of it. VV_EAGAIN: VV_H2_SLICES_MAX runs wait
 * already; offer it again after sent(). VV_EINVAL: no head yet, or ended. */
#define VV_H2_SLICES_MAX 8
VV_MUST_CHECK enum vv_err vv_h2_body(struct vv_h2_stream *s, struct vv_str bytes);
/* The content is complete. */
void vv_h2_end(struct vv_h2_stream *s);
/* The same, with trailers (copied). */
VV_MUST_CHECK enum vv_err vv_h2_end_trailers(struct vv_h2_stream *s,
                                             const struct vv_h2_field *field, size_t count);
size_t vv_h2_unsent(const struct vv_h2_stream *s); /* bytes of content that wait */
void vv_h2_consumed(struct vv_h2_stream *s, size_t bytes);
void vv_h2_reset(struct vv_h2_stream *s, enum vv_h2_code code);
/* The server's own opinion about what goes first: urgency 0 (first) to 7. */
void vv_h2_prioritise(struct vv_h2_stream *s, unsigned urgency, bool incremental);
/* The same from the Priority field of an answer: what it leaves out stays as the client wished (RFC
 * 9218 8). */
void vv_h2_prioritise_as(struct vv_h2_stream *s, struct vv_str priority);
/* :protocol of an extended CONNECT; n 0: none. */
struct vv_str vv_h2_protocol(const struct vv_h2_stream *s);
#endif
