/* src/wire/http2_int.h - what the files of the HTTP/2 codec share.
 *
 * Model:     frames that have come whole are looked at where they lie; of others what came is kept
 *            until the rest is there, but for DATA, which is handed on in pieces. Everything to
 *            send but content is encoded when it is asked for and waits in `out`, in its order, so
 *            that HPACK's tables agree; content is framed when it is written, behind that.
 * Ownership: streams, tables and buffers come from the connection's memory (http2_mem.c).
 */
#ifndef VV_WIRE_HTTP2_INT_H
#define VV_WIRE_HTTP2_INT_H
#include "base/list.h"
#include "wire/http2.h"
#include "wire/http2_hpack.h"

enum vv_h2_type { /* RFC 9113 6, RFC 9218 7.1 */
                  VV_H2_T_DATA = 0,
                  VV_H2_T_HEADERS = 1,
                  VV_H2_T_PRIORITY = 2,
                  VV_H2_T_RST_STREAM = 3,
                  VV_H2_T_SETTINGS = 4,
                  VV_H2_T_PUSH_PROMISE = 5,
                  VV_H2_T_PING = 6,
                  VV_H2_T_GOAWAY = 7,
                  VV_H2_T_WINDOW_UPDATE = 8,
                  VV_H2_T_CONTINUATION = 9,
                  VV_H2_T_PRIORITY_UPDATE = 16,
};
enum {
    VV_H2_F_END_STREAM = 1,
    VV_H2_F_ACK = 1,
    VV_H2_F_END_HEADERS = 4,
    VV_H2_F_PADDED = 8,
    VV_H2_F_PRIORITY = 32,
};
enum {
    VV_H2_S_TABLE_SIZE = 1,
    VV_H2_S_ENABLE_PUSH = 2,
    VV_H2_S_STREAMS_MAX = 3,
    VV_H2_S_WINDOW = 4,
    VV_H2_S_FRAME_BYTES = 5,
    VV_H2_S_HEAD_BYTES = 6,
    VV_H2_S_CONNECT_PROTOCOL = 8,
    VV_H2_S_NO_TREE = 9, /* SETTINGS_NO_RFC7540_PRIORITIES */
};
#define VV_H2_HEADER_BYTES 9
#define VV_H2_FRAME_BYTES 16384 /* the most we send and take: the default of RFC 9113 6.5.2 */
#define VV_H2_WINDOW_MAX INT64_C(0x7fffffff)
#define VV_H2_WINDOW_FIRST 65535
#define VV_H2_ID_MAX 0x7fffffffU
extern const char vv_h2_magic[VV_H2_PREFACE_BYTES + 1];

struct vv_h2_text { /* a block of bytes that belong to one stream */
    struct vv_h2_text *next;
    char bytes[];
};

struct vv_h2_trailer { /* waits for the last of the content */
    size_t count;
    struct vv_h2_field field[];
};

#define VV_H2_MEMO_LINES 24
#define VV_H2_MEMO_BYTES 816 /* so that it takes a block of 1,024 bytes in all */
struct vv_h2_memo { /* lines of the last head that was sent, as far as they are in HPACK's table */
    uint32_t count, used;
    struct {
        uint32_t number; /* of the entry */
        uint16_t at, n;  /* in text, with its CR LF */
    } line[VV_H2_MEMO_LINES];
    char text[VV_H2_MEMO_BYTES - 24];
};

/* Pseudo-header fields seen, bits of vv_h2_block.pseudo. */
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
    struct vv_h2_inner *next_by_id; /* in c->by_id */
    struct vv_list node;            /* c->streams */
    struct vv_list gather;          /* c->gathered: content in the last output */
    struct vv_list ready;           /* c->ready: content that may go */
    struct vv_list leave;           /* c->leaving or c->dying */
    size_t in_gather;               /* bytes of it by reference */
    size_t copied;                  /* bytes of it that were copied */
    size_t queued;                  /* bytes in slices */
    size_t held;                    /* content the caller has not given back */
    uint64_t body_in;               /* content received */
    uint64_t content_length;        /* with has_length */
    int64_t send_window, recv_window;
    uint32_t given; /* back by the caller, not yet told the peer */
    uint32_t close_code;
    struct vv_str protocol;
    struct vv_h2_trailer *trailer;
    struct vv_h2_text *text;
    char *text_at, *text_end;
    uint8_t slice_at, slice_count;
    uint8_t close_why; /* what closed() will say */
    uint8_t urgency;
    bool incremental;
    bool priority_told;           /* by a PRIORITY_UPDATE, which goes before the field */
    bool priority_ours;           /* and by us, which goes before all */
    bool has_length, head_method; /* head_method: the request was HEAD */
    bool told;                    /* head() was called, or the caller opened it */
    bool bad;                     /* no more events but closed(), nothing more is sent */
    bool final_head;              /* a request's head, or an answer's last one, is there */
    bool peer_ended;
    bool answered, has_body, done; /* our head was given; with content; which is complete */
    bool ended;                    /* and END_STREAM is on its way */
    bool tunnel;                   /* CONNECT: each side ends when it likes */
    bool closed;                   /* gone from by_id: waits for its content to leave */
    bool peer_reset;
    struct vv_str slices[VV_H2_SLICES_MAX]; /* not set before use, like what follows */
    char first[768];
};

struct vv_h2_bucket { /* tokens in millionths, so that slow rates round well */
    uint64_t tokens, cap;
    uint64_t per_second;
};

struct vv_h2_guard {
    struct vv_h2_bucket frames, windows, resets;
    uint64_t at_ns;
    uint32_t continuations; /* of the head in hand */
    uint32_t head_bytes;
};

struct vv_h2_buffer {
    uint8_t *p;
    size_t n, room;
};

struct vv_h2_frame { /* the one that is coming in */
    uint8_t header[VV_H2_HEADER_BYTES];
    uint8_t header_n;
    uint8_t mode; /* http2_frame.c */
    uint8_t type, flags;
    uint8_t pad;
    bool pad_told;
    uint32_t id;
    uint32_t length;
    uint32_t left; /* bytes still to come */
};

/* A head that is being decoded. */
struct vv_h2_block {
    struct vv_h2_inner *s; /* NULL: for the table's sake only */
    struct vv_h1_head *head;
    uint32_t list_bytes;
    uint8_t pseudo;
    bool regular_seen, is_trailer, too_large;
    struct vv_str priority; /* n 0: none */
};

#define VV_H2_ID_BUCKETS 64
#define VV_H2_PAST 256 /* the peer's last numbers whose fate is remembered */
#define VV_H2_URGENCIES 8
#define VV_H2_EARLY 4

struct vv_h2 {
    struct vv_h2_pool *pool;
    const struct vv_h2_conf *conf;
    const struct vv_h2_events *events;
    void *user;
    bool client;
    bool busy; /* within receive or output */
    bool dead; /* failed: takes nothing more, and only its last words go out */
    bool drain_announced, drained;
    bool peer_goes; /* sent GOAWAY */
    bool settings_seen;
    uint8_t preface_left;
    uint8_t last_word_left; /* a GOAWAY to be written, and then nothing */
    uint8_t why;            /* enum vv_h2_reason of the connection */
    uint32_t settings_open; /* not acknowledged */
    uint64_t pings;
    uint32_t streams_told;
    uint32_t streams_in; /* open, of the peer */
    uint32_t peer_streams_max;
    uint32_t last_id;                     /* the highest of the peer */
    uint32_t next_id;                     /* the next of ours */
    uint32_t drained_id;                  /* with drained: the last one taken */
    uint32_t promised_id;                 /* the highest of a push we do not want */
    uint64_t past_open[VV_H2_PAST / 64];  /* a bit for a number: a stream had it */
    uint64_t past_reset[VV_H2_PAST / 64]; /* and was reset, so that late frames may come */
    struct vv_list streams, gathered;
    struct vv_list leaving; /* close when `out` has left */
    struct vv_list dying;   /* close now */
    struct vv_h2_inner *by_id[VV_H2_ID_BUCKETS];
    /* what comes in */
    struct vv_h2_frame in;
    struct vv_h2_buffer kept;  /* of the frame in hand */
    struct vv_h2_buffer block; /* fragments of a head */
    uint32_t block_id;         /* 0: no CONTINUATION is due */
    uint32_t block_promised;   /* the block is that of a push */
    uint8_t block_flags;
    int64_t recv_window; /* what the peer may still send */
    int64_t recv_first;  /* of a new stream */
    uint32_t given;
    struct { /* priorities of streams that have not begun (RFC 9218 7.1) */
        uint32_t id;
        uint8_t urgency;
        bool incremental;
    } early[VV_H2_EARLY];
    uint8_t early_at;
    /* what goes out */
    struct vv_h2_buffer out;
    struct vv_h2_buffer flight; /* referenced by the last gather */
    int64_t send_window, send_first;
    struct vv_list ready[VV_H2_URGENCIES][2]; /* whole ones by id; incremental ones in turn */
    uint32_t ready_count;
    uint8_t turn; /* bits: an incremental one goes next */
    uint8_t last_word[VV_H2_HEADER_BYTES + 8];
    struct vv_hpack_in hpack_in;
    struct vv_hpack_out hpack_out;
    struct vv_hpack_memory hpack_memory;
    struct vv_h2_memo *memo; /* NULL: of no head yet */
    bool answered;           /* a head was sent from text: the next one may be like it */
    struct vv_h2_guard guard;
    size_t memory, memory_max;
};

static inline struct vv_h2_inner *vv_h2_inner_of(struct vv_h2_stream *s)
{
    return (struct vv_h2_inner *)(void *)s;
}

static inline uint32_t vv_h2_get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint8_t *vv_h2_set32(uint8_t *p, uint32_t v)
{
    v = __builtin_bswap32(v);
    __builtin_memcpy(p, &v, 4);
    return p + 4;
}

static inline uint8_t *vv_h2_set_header(uint8_t *p, size_t length, unsigned type, unsigned flags,
                                        uint32_t id)
{
    p[0] = (uint8_t)(length >> 16);
    p[1] = (uint8_t)(length >> 8);
    p[2] = (uint8_t)length;
    p[3] = (uint8_t)type;
    p[4] = (uint8_t)flags;
    return vv_h2_set32(p + 5, id);
}

/* http2_mem.c */
void *vv_h2_alloc(struct vv_h2 *c, size_t bytes); /* not zeroed; NULL: over the limit or none */
void vv_h2_dealloc(struct vv_h2 *c, void *p);
struct vv_h2_counts *vv_h2_pool_counts(struct vv_h2_pool *pool);
/* The end of what the buffer holds, with room for so many bytes; NULL: no memory. */
uint8_t *vv_h2_buffer_room(struct vv_h2 *c, struct vv_h2_buffer *b, size_t bytes);
void vv_h2_buffer_free(struct vv_h2 *c, struct vv_h2_buffer *b);
char *vv_h2_text(struct vv_h2_inner *s, size_t bytes); /* NULL: no memory */
struct vv_h2_inner *vv_h2_stream_new(struct vv_h2 *c, uint32_t id);
struct vv_h2_inner *vv_h2_find(const struct vv_h2 *c, uint32_t id);
void vv_h2_forget(struct vv_h2_inner *s); /* its number means nothing any more */
void vv_h2_stream_free(struct vv_h2_inner *s);

/* http2_guard.c */
void vv_h2_guard_init(struct vv_h2_guard *g, const struct vv_h2_conf *conf, uint64_t now_ns);
void vv_h2_guard_time(struct vv_h2_guard *g, uint64_t now_ns);
/* A frame begins. Not VV_H2_FINE: what there was too much of. */
enum vv_h2_reason vv_h2_guard_frame(struct vv_h2 *c, const struct vv_h2_frame *f);
/* A head came for a stream that lives: what belongs to it may come, too. */
void vv_h2_guard_head(struct vv_h2_guard *g);
/* A head came for none: too late, or too early for a number. False: once too often. */
bool vv_h2_guard_late(struct vv_h2_guard *g);
/* A stream was reset by the peer's fault; false: once too often. */
bool vv_h2_guard_reset(struct vv_h2_guard *g);
/* A stream ended as it should. */
void vv_h2_guard_well(struct vv_h2_guard *g);
/* A DATA frame left: the peer may answer it with two WINDOW_UPDATE frames. */
void vv_h2_guard_sent_data(struct vv_h2_guard *g);

/* http2_frame.c */
void vv_h2_past_reset(struct vv_h2 *c, uint32_t id); /* by either side */
void vv_h2_frames(struct vv_h2 *c, const uint8_t *p, const uint8_t *end);

/* http2_head.c */
void vv_h2_head_begin(struct vv_h2_block *b, struct vv_h2_inner *s, struct vv_h1_head *head);
void vv_h2_head_field(struct vv_h2 *c, struct vv_h2_block *b, const struct vv_hpack_field *f);
void vv_h2_head_end(struct vv_h2 *c, struct vv_h2_block *b, bool end_stream);
/* false: it says nothing */
bool vv_h2_take_priority(struct vv_str value, uint8_t *urgency, bool *incremental);

/* http2.c */
void vv_h2_count(struct vv_h2 *c, enum vv_h2_reason why);
void vv_h2_malformed(struct vv_h2_inner *s, enum vv_h2_reason why); /* resets it */
void vv_h2_refuse(struct vv_h2 *c, uint32_t id, enum vv_h2_reason why, enum vv_h2_code code);
void vv_h2_fail(struct vv_h2 *c, enum vv_h2_reason why); /* GOAWAY */
void vv_h2_peer_ended(struct vv_h2_inner *s);
void vv_h2_finish_close(struct vv_h2_inner *s); /* closed(); the stream is gone then */
void vv_h2_reap(struct vv_h2 *c);               /* closes what is dying */
/* It closes at once (now) or when what was said so far has left. */
void vv_h2_leave(struct vv_h2_inner *s, bool now);
/* The peer has just ended its side: perhaps that was all. */
void vv_h2_both_ended(struct vv_h2_inner *s);
/* Our END_STREAM is in `out` or in the gather. */
void vv_h2_we_ended(struct vv_h2_inner *s);

/* http2_send.c */
/* A frame without content; no memory fails the connection. */
void vv_h2_put_frame(struct vv_h2 *c, enum vv_h2_type type, unsigned flags, uint32_t id,
                     const uint8_t *payload, size_t n);
/* So much that came needs no room any more. s: NULL for the connection alone. */
void vv_h2_give(struct vv_h2 *c, struct vv_h2_inner *s, size_t bytes);
/* Its content may go, or not any more. */
void vv_h2_ready(struct vv_h2_inner *s);
void vv_h2_unready(struct vv_h2_inner *s);
void vv_h2_set_priority(struct vv_h2_inner *s, unsigned urgency, bool incremental);

/* http2_out.c */
/* Trailers that waited. */
enum vv_err vv_h2_put_trailer(struct vv_h2_inner *s);
#endif
