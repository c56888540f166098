/* src/gateway/upstream_h2_int.h - what upstream_h2.c (connections) and ustream.c (streams) share. */
#ifndef VV_GATEWAY_UPSTREAM_H2_INT_H
#define VV_GATEWAY_UPSTREAM_H2_INT_H
#include "gateway/upstream_h2.h"
#include "wire/http2.h"

struct vv_uh2 {          /* a connection */
    struct vv_list node; /* home->conns */
    struct vv_uh2_home *home;
    struct vv_worker *w;
    struct vv_uconn *u; /* what carries it; NULL: it is gone, and freed at the end of the turn */
    struct vv_h2 *h2;   /* NULL: not connected yet */
    struct vv_list streams, ready;
    size_t stream_count;
    struct vv_defer turn; /* writes and tells once a turn, for all streams together */
    struct vv_corpse corpse;
    enum vv_err lost; /* what its streams are told */
    bool answered;    /* some stream was: it is no news that the server is there */
    bool asked;       /* by a PING that was not answered yet */
    bool h1;          /* the server has chosen HTTP/1.1 */
    uint64_t reads;   /* how often something came */
    uint64_t heard_ns, ping_ns, idle_ns, pings;
    unsigned written; /* pieces of `gather` that were handed to u->out */
    struct vv_buf *stage;
    struct vv_h2_gather gather;
};

struct vv_ustream {         /* a request on it */
    struct vv_uconn u;      /* what its owner has */
    struct vv_uh2 *c;       /* NULL: gone */
    struct vv_h2_stream *s; /* NULL: not asked yet, or closed */
    struct vv_uh2_home *home;
    struct vv_list node, ready;
    struct vv_buf *first, *last;         /* received, not yet read */
    struct vv_buf *out_first, *out_last; /* content on its way, as long as the codec points at it */
    size_t head_left;                    /* bytes of heads in front of what was received */
    enum vv_err err;                     /* how it ended, when not well */
    bool ended, refused, tls_failed, lent;
    bool head_method; /* the request is HEAD */
    bool stalled;     /* the owner waits for writable() */
    bool told;        /* the owner knows that it is connected, or never will be */
    uint64_t mark;    /* c->reads when it was asked */
    struct vv_corpse corpse;
    char *trailer_text;
    struct vv_field *trailer;
    size_t trailer_count;
};

/* upstream_h2.c */
void vv_uh2_schedule(struct vv_uh2 *c); /* there is something to write or to tell */
void vv_uh2_left(struct vv_uh2 *c);     /* a stream has gone */
/* ustream.c */
extern const struct vv_h2_events vv_ustream_events; /* user: struct vv_uh2 */
struct vv_ustream *vv_ustream_new(struct vv_uh2 *c, const struct vv_uconn_owner *owner, void *user);
/* It has news for its owner. */
void vv_ustream_ready(struct vv_ustream *st);
void vv_ustream_tell(struct vv_ustream *st);
/* A request head of ours, HTTP/1 text, as one of HTTP/2; method, path, authority and fields point into it.
 * False: more than `max` fields. */
VV_MUST_CHECK bool vv_uh2_split(struct vv_str head, struct vv_h2_request *r,
                                struct vv_h2_field *field, size_t max);
/* The connection is gone, and the codec with it. */
void vv_ustream_lost(struct vv_ustream *st, enum vv_err err);
#endif
