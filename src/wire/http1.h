/* src/wire/http1.h - HTTP/1.x heads and bodies, both directions: strict, incremental, no copies.
 *
 * Model:     feed the bytes received so far (always from the start of the message); VV_EAGAIN
 *            means more are needed and costs no rescan of what was seen (`scan` remembers). On
 *            VV_OK every slice in the head points into the caller's buffer. Nothing is guessed:
 *            ambiguous framing, bare CR or LF, obs-fold, white space before a colon, duplicate or
 *            signed lengths, Content-Length beside Transfer-Encoding, unknown codings are refused.
 * Source:    RFC 9112 (syntax, framing, sections 2 to 7), RFC 9110 (fields), RFC 9931-style CONNECT.
 * Threads:   pure. Ownership: slices borrow the caller's bytes.
 * Errors:    VV_EAGAIN, or VV_ESYNTAX with head->error naming the row of http1_errors.def (status
 *            for the client, RFC section, text).
 */
#ifndef VV_WIRE_HTTP1_H
#define VV_WIRE_HTTP1_H
#include "base/err.h"
#include "base/str.h"

/* VV_METHOD(id, name, safe, idempotent): rows in wire/methods.def; _OTHER for extension methods. */
enum vv_method {
#define VV_METHOD(id, name, safe, idempotent) VV_METHOD_##id,
#include "wire/methods.def"
#undef VV_METHOD
    VV_METHOD_COUNT
};
extern const struct vv_method_info {
    struct vv_str name;
    bool safe, idempotent;
} vv_methods[VV_METHOD_COUNT];

/* Field names the product acts upon: rows in wire/fields.def, VV_FIELD(id, "Canonical-Name"). */
enum vv_field_id {
    VV_FIELD_OTHER = 0,
#define VV_FIELD(id, name) VV_FIELD_##id,
#include "wire/fields.def"
#undef VV_FIELD
    VV_FIELD_COUNT
};
extern const struct vv_str vv_field_names[VV_FIELD_COUNT];
enum vv_field_id vv_field_lookup(struct vv_str name); /* case-insensitive */

struct vv_h1_field {
    struct vv_str name;  /* as received */
    struct vv_str value; /* without surrounding white space */
    uint16_t id;         /* enum vv_field_id */
    bool hop;            /* hop-by-hop: must not be forwarded (RFC 9110 7.6.1), also when named
                          * in Connection */
};

enum vv_h1_framing {
    VV_H1_BODY_NONE,
    VV_H1_BODY_LENGTH, /* content_length bytes */
    VV_H1_BODY_CHUNKED,
    VV_H1_BODY_CLOSE,  /* answers only: until the connection ends */
    VV_H1_BODY_TUNNEL, /* 101, or 2xx to CONNECT: no more HTTP on this connection */
};
enum vv_h1_target { VV_H1_ORIGIN, VV_H1_ABSOLUTE, VV_H1_AUTHORITY, VV_H1_ASTERISK };

/* VV_H1_ERROR(id, status, section, text): rows in wire/http1_errors.def. */
enum vv_h1_error {
    VV_H1_FINE = 0,
#define VV_H1_ERROR(id, status, section, text) VV_H1_ERR_##id,
#include "wire/http1_errors.def"
#undef VV_H1_ERROR
    VV_H1_ERROR_COUNT
};
struct vv_h1_error_info {
    const char *id; /* lower-case name for metrics and logs */
    int status;
    const char *section; /* "RFC 9112 6.3" */
    const char *text;
};
extern const struct vv_h1_error_info vv_h1_errors[VV_H1_ERROR_COUNT];

struct vv_h1_limits {
    uint32_t line_bytes; /* request line; over: 414 */
    uint32_t head_bytes; /* whole head; over: 431 */
    uint32_t fields;     /* number of fields; over: 431; at most VV_H1_FIELDS_MAX */
};
#define VV_H1_FIELDS_MAX 128

struct vv_h1_head {
    /* request */
    enum vv_method method;
    struct vv_str method_text;
    struct vv_str target; /* as received */
    enum vv_h1_target target_form;
    struct vv_str scheme; /* absolute form only */
    struct vv_str
        authority;       /* from an absolute/authority target, else Host's value; may be empty */
    struct vv_str path;  /* origin or absolute form: up to '?', at least "/" */
    struct vv_str query; /* without '?'; p NULL when there is none */
    /* answer */
    int status;
    struct vv_str reason;
    /* both */
    uint8_t minor;        /* HTTP/1.minor */
    bool keep_alive;      /* may the connection be used again after this message? */
    bool expect_continue; /* HTTP/1.1 request with Expect: 100-continue */
    bool upgrade;         /* has Upgrade and Connection: upgrade */
    bool te_trailers;
    bool has_host;
    enum vv_h1_framing framing;
    uint64_t content_length; /* VV_H1_BODY_LENGTH; for an answer to HEAD or a 304: what it said,
                                    * else 0 */
    bool has_content_length;
    size_t head_bytes; /* bytes of the head including the empty line */
    uint32_t fields_count;
    enum vv_h1_error error;
    /* PRIVATE from here: where an unfinished head stands. */
    size_t scan;      /* bytes already searched for the end of the line in hand */
    size_t line;      /* where that line starts */
    const char *base; /* buffer of the last call: the caller may move it in between */
    bool start_line_done;
    uint8_t repeated;              /* framing fields seen more than once */
    uint8_t first[VV_FIELD_COUNT]; /* index + 1 of the first field with an id, 0: none */
    struct vv_h1_field fields[VV_H1_FIELDS_MAX];
};

/* Makes the head ready for a new message; does not touch fields[] (hot path). A caller that cannot
 * keep the head between reads may save `scan` after VV_EAGAIN and set it in a fresh head: finished
 * lines are then parsed again, once for each new line, but unfinished bytes are not searched twice. */
void vv_h1_head_init(struct vv_h1_head *h);
/* Leading empty lines before a request line are skipped (RFC 9112 2.2) and counted in head_bytes. */
VV_MUST_CHECK enum vv_err vv_h1_parse_request(struct vv_h1_head *h, struct vv_str bytes,
                                              const struct vv_h1_limits *limits);
/* `request_method` decides the framing of answers to HEAD and CONNECT (RFC 9112 6.3). 1xx heads are
 * returned like others (framing NONE; 101 TUNNEL). */
VV_MUST_CHECK enum vv_err vv_h1_parse_answer(struct vv_h1_head *h, struct vv_str bytes,
                                             enum vv_method request_method,
                                             const struct vv_h1_limits *limits);
/* The row that says the same about an answer (status 502); others map to themselves. For errors of
 * the chunked decoder, which does not know the direction. */
enum vv_h1_error vv_h1_error_for_answer(enum vv_h1_error error);
/* First field with this id, NULL when absent. Constant time; for heads that were parsed. */
const struct vv_h1_field *vv_h1_find(const struct vv_h1_head *h, enum vv_field_id id);
const struct vv_h1_field *vv_h1_find_name(const struct vv_h1_head *h, struct vv_str name);

/* Chunked decoding in place: walks `bytes`, hands out the next run of data without copying.
 * VV_OK: *ret_used bytes were consumed and *ret_data (maybe empty) is body data inside `bytes`;
 * call again while ret_used > 0 and not done. VV_EAGAIN: all consumed (*ret_used == bytes.n), more
 * needed. d->done: the trailer section has ended, bytes after *ret_used belong to the next message.
 * VV_ESYNTAX: d->error. Chunk extensions are checked, bounded (256 bytes a line) and dropped;
 * trailers are checked like fields, counted and bounded, and dropped. */
struct vv_h1_chunked {
    uint8_t state;
    uint8_t size_digits;
    bool done;
    uint32_t line_bytes;
    uint32_t trailer_bytes;
    uint64_t left;
    enum vv_h1_error error;
};
void vv_h1_chunked_init(struct vv_h1_chunked *d);
VV_MUST_CHECK enum vv_err vv_h1_chunked_next(struct vv_h1_chunked *d, struct vv_str bytes,
                                             size_t *ret_used, struct vv_str *ret_data);
/* Writes "1f4\r\n" for a chunk of n bytes; buf >= 20. Returns the length. */
size_t vv_h1_chunk_head(char *buf, uint64_t n);

bool vv_h1_is_token(struct vv_str s);       /* RFC 9110 5.6.2 */
bool vv_h1_is_field_value(struct vv_str s); /* no CTL but HTAB, no edge white space needed */
const char *vv_h1_reason(int status);       /* "OK"; "" for unknown */
/* Walks a comma list of tokens ("a, b;q=1"): returns false at the end. */
bool vv_h1_list_next(struct vv_str *rest, struct vv_str *ret_item);
/* Is `token` (case-insensitive, parameters ignored) in the comma list? */
bool vv_h1_list_has(struct vv_str list, struct vv_str token);
#endif
