/* src/wire/http1_int.h - what the request and the answer parser share.
 *
 * Model:   the head is parsed line by line, each line once, when its LF has arrived. Whatever is
 *          wrong with a line is judged from that line alone, so a message gets the same verdict
 *          however its bytes were cut. Only a first byte that can start nothing is refused at once.
 * Threads: pure. Errors: VV_EAGAIN, or VV_ESYNTAX with h->error set.
 */
#ifndef VV_WIRE_HTTP1_INT_H
#define VV_WIRE_HTTP1_INT_H
#include "wire/http1.h"
#include "wire/http1_scan.h"

/* Bits of vv_h1_head.repeated. */
enum { VV_H1_REPEATED_HOST = 1, VV_H1_REPEATED_LENGTH = 2, VV_H1_REPEATED_CODING = 4 };

struct vv_h1_input {
    struct vv_h1_head *h;
    const char *base;     /* first byte of the message */
    const char *line;     /* start of the line in hand */
    const char *end;      /* what may be looked at: all bytes, or up to the limit */
    const char *head_end; /* the same for the whole head, while `end` bounds a line */
    bool full, head_full; /* `end` is the limit: no line may go on behind it */
    bool answer;
    enum vv_h1_error full_error; /* the row to give when it does */
    uint32_t fields_max;
};

/* Prepares a call: false means that *ret is the result already. */
bool vv_h1_resume(struct vv_h1_input *in, struct vv_h1_head *h, struct vv_str bytes,
                  const struct vv_h1_limits *limits, bool answer, enum vv_err *ret);
/* Nothing more to see in this line yet. */
enum vv_err vv_h1_more(struct vv_h1_input *in);
/* This line is wrong: refuse as soon as it has ended. */
enum vv_err vv_h1_bad(struct vv_h1_input *in, enum vv_h1_error error);
/* Refuse now. */
enum vv_err vv_h1_refuse(struct vv_h1_input *in, enum vv_h1_error error);
/* The row for an unexpected byte at p: CR and LF out of place have their own. */
enum vv_h1_error vv_h1_line_error(const char *p, const char *end, enum vv_h1_error otherwise);
/* The start line has ended before `next`. */
void vv_h1_start_line_done(struct vv_h1_input *in, const char *next);
/* Parses field lines up to the empty line. */
enum vv_err vv_h1_fields(struct vv_h1_input *in);
/* Transfer-Encoding, Content-Length and Connection, the same in both directions: the first reason
 * found is the one reported. */
enum vv_h1_error vv_h1_framing_fields(struct vv_h1_head *h, bool *ret_chunked);
/* host [ ":" port ]; an empty port is a port (RFC 3986 3.2.3), *ret_port says whether it is there.
 */
bool vv_h1_authority_valid(struct vv_str s, bool *ret_port);
/* For names known to be tokens. */
enum vv_field_id vv_field_lookup_token(const char *p, size_t n);
#endif
