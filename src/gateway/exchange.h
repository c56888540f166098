/* src/gateway/exchange.h - one request with its answer, from first to last byte, on one worker.
 *
 * Model:     the session parses a head and begins an exchange; phases (phases.c) run until one
 *            answers or hands over to an action. An action answers by vv_answer_*(): first the head
 *            (built in one go from status, fields and the route's edits), then the body, as memory
 *            that stays put until vv_action.drained() says it has left, or as a part of a file.
 *            Request bodies are pulled: the action calls vv_body_next() when it can take more and is
 *            told by vv_action.body() when there is more. Every exchange ends exactly once in
 *            vv_exchange_end(), which counts and logs it: answered, or aborted with a reason.
 * Threads:   one worker. Ownership: the session owns the exchange; all its memory is in `arena`.
 * Errors:    actions report failures by vv_answer_error(), which answers if nothing was sent yet
 *            and cuts the connection otherwise.
 */
#ifndef VV_GATEWAY_EXCHANGE_H
#define VV_GATEWAY_EXCHANGE_H
#include "base/arena.h"
#include "gateway/worker.h"

struct vv_session;
struct vv_caller;
struct vv_admission;
struct vv_sink;
struct vv_field;

/* VV_REASON(id, "name", status, text): why the gateway answered itself or cut (reasons.def). */
enum vv_reason {
    VV_REASON_NONE = 0,
#define VV_REASON(id, name, status, text) VV_REASON_##id,
#include "gateway/reasons.def"
#undef VV_REASON
    VV_REASON_COUNT
};
extern const struct vv_reason_info {
    const char *name;
    int status;
    const char *text;
} vv_reasons[VV_REASON_COUNT];

struct vv_action { /* one row per way to answer; each in actions/<name>.c */
    const char *name;
    void (*start)(struct vv_exchange *x);
    void (*body)(struct vv_exchange *x);    /* more of the request body may be had; NULL: ignored */
    void (*drained)(struct vv_exchange *x); /* what was given to the client has left */
    void (*cancel)(struct vv_exchange *x);  /* the exchange ends now: let go of everything */
};
extern const struct vv_action vv_action_proxy, vv_action_files, vv_action_redirect,
    vv_action_respond, vv_action_cached, vv_action_compose, vv_action_objects;

enum vv_answer_framing {
    VV_ANSWER_NONE,
    VV_ANSWER_LENGTH,
    VV_ANSWER_CHUNKED,
    VV_ANSWER_CLOSE,
    VV_ANSWER_STREAM /* HTTP/2: until the stream ends */
};

struct vv_exchange {
    struct vv_worker *w;
    struct vv_session *session;
    struct vv_runtime_use *use;
    struct vv_runtime *rt;
    const struct vv_route *route;     /* NULL until ROUTE, and for refused requests */
    const struct vv_service *service; /* who is asked: the route's, its canary's or fallback's */
    struct vv_route_match match;
    const struct vv_action *action;
    void *state; /* the action's own, in the arena */

    struct vv_str allow;         /* 405: methods that would be taken */
    struct vv_str client_ip;     /* after trusted proxies; text */
    struct vv_str host;          /* lower case, without port */
    struct vv_str path;          /* normalised */
    struct vv_str forwarded_for; /* what the client (if trusted) already said, else empty */
    struct vv_str forwarded;     /* the same as a Forwarded list (RFC 7239) */
    bool https;                  /* as the client saw it (trusted X-Forwarded-Proto) */
    char request_id[32];
    struct vv_str id; /* request_id, or the client's own X-Request-Id when trusted */

    /* answer */
    int status;
    enum vv_answer_framing framing;
    bool head_sent, body_done, close;       /* close: the connection ends after this answer */
    bool waiting_continue;                  /* 100-continue asked for and not yet answered */
    bool let_in;                            /* ACCESS has nothing against it */
    const struct vv_h1_error_info *refused; /* why the head was refused; NULL: it was fine */
    uint64_t body_bytes_max, body_timeout_ns, send_timeout_ns;
    uint64_t answer_left; /* VV_ANSWER_LENGTH: bytes still promised */
    uint64_t bytes_out;
    enum vv_reason reason;
    struct vv_str service_name, server_name; /* for logs; empty when not proxied */
    const char *cache_word; /* for logs: what the cache did (HIT ...); NULL: the route has none */
    const struct vv_field
        *trailer; /* fields after the answer's body, names lower case; in the arena */
    size_t trailer_count;
    const struct vv_field *request_trailer; /* the same of the request, once its body is done */
    size_t request_trailer_count;
    struct vv_str set_cookie; /* added to the answer when not empty (sticky sessions) */
    unsigned attempts;
    struct vv_str body_kept; /* a request body that was read whole before; p NULL: it was not */
    size_t body_kept_at;
    struct vv_caller *caller;       /* access.h; NULL: nobody known */
    struct vv_admission *admission; /* admit.h; NULL: no limit applied */
    const struct vv_sink *sink;     /* sink.h: who takes the answer; NULL: the client */
    void *sink_user;
    const char *guard_word;   /* for logs: what a guard did (limited, breaker_open, hedged ...) */
    struct vv_str degraded;   /* the answer is not the real thing: what is missing; n 0: it is */
    uint64_t queue_ns;        /* waited for a place at the service */
    uint64_t retry_after_ns;  /* of a refusal: when asking again makes sense; 0: in a second */
    uint8_t priority;         /* 0 high .. 3 batch */
    uint8_t side;             /* canary.h: 0 no canary, 1 the base, 2 the candidate */
    struct vv_recall *recall; /* what the cache is doing for it; NULL: nothing */
    struct vv_shape *shape;   /* the encoder its body passes; NULL: none */

    uint64_t began_ns, began_wall_ns, first_byte_ns, upstream_ns, deadline_ns;
    struct vv_exchange *next_spare;
    struct vv_arena arena;
    struct vv_h1_head req;
    VV_ALIGNED(16) char first_block[4096];
};

/* session.c calls these */
VV_MUST_CHECK struct vv_exchange *vv_exchange_new(struct vv_worker *w, struct vv_session *s);
void vv_exchange_free(struct vv_exchange *x);
void vv_exchange_run(struct vv_exchange *x);       /* the phases */
void vv_exchange_run_route(struct vv_exchange *x); /* those after ROUTE: x->route was given */
void vv_exchange_resume(struct vv_exchange *x); /* from RECALL on: a phase before it had waited */
/* Ends it: counts, logs, cancels the action. `aborted` with its reason when the client did not get a
 * complete answer. The session goes on or closes. */
void vv_exchange_end(struct vv_exchange *x, enum vv_reason aborted);

/* ---- for actions: the answer ---- */
struct vv_field { /* one field of an answer an action makes itself */
    struct vv_str name, value;
};
/* Sends the head. length: body bytes, or VV_LENGTH_UNKNOWN (chunked, or until close). Date, Server,
 * request id, connection fields and the route's edits are added here. False: it could not be built
 * (the exchange was then ended with an error); do nothing more. */
#define VV_LENGTH_UNKNOWN UINT64_MAX
VV_MUST_CHECK bool vv_answer_head(struct vv_exchange *x, int status, const struct vv_field *field,
                                  size_t count, uint64_t length);
/* The proxy's variant: fields of an upstream's head, hop-by-hop ones left out. */
VV_MUST_CHECK bool vv_answer_head_from(struct vv_exchange *x, const struct vv_h1_head *head);
/* Copies a 1xx head through. */
VV_MUST_CHECK bool vv_answer_interim(struct vv_exchange *x, const struct vv_h1_head *head);
/* Body bytes that stay valid until drained(); frames them. False: the batch is full, flush first. */
VV_MUST_CHECK bool vv_answer_body(struct vv_exchange *x, struct vv_str bytes);
void vv_answer_file(struct vv_exchange *x, int fd, off_t at, uint64_t bytes);
/* The body is complete (writes the last chunk). Call vv_answer_flush() after it. */
void vv_answer_done(struct vv_exchange *x);
/* Sends what was given. VV_OK: all has left (and when the answer was done, the exchange has ended: x is
 * gone). VV_EAGAIN: wait for drained(). Otherwise the exchange has ended. */
enum vv_err vv_answer_flush(struct vv_exchange *x);
/* A whole small answer: head and body (copied). Ends the exchange. */
void vv_answer_simple(struct vv_exchange *x, int status, const struct vv_field *field, size_t count,
                      struct vv_str body);
/* The gateway's own error answer (application/problem+json, RFC 9457), or a cut when too late. */
void vv_answer_error(struct vv_exchange *x, enum vv_reason reason);
static inline bool vv_answer_has_body(const struct vv_exchange *x)
{
    return x->framing != VV_ANSWER_NONE;
}

/* ---- for actions: the request body ---- */
/* The next run of body data, inside the session's buffer, valid until the next call. VV_OK with an
 * empty run: the body is complete (session->body.done). VV_EAGAIN: action->body() will be called. Other
 * errors: the exchange has ended. */
VV_MUST_CHECK enum vv_err vv_body_next(struct vv_exchange *x, struct vv_str *ret_data);
/* The client's time for the next bytes of its body begins now. */
void vv_body_wait(struct vv_exchange *x);
/* Starts the body over, for sending it again; false when its beginning is no longer there. */
VV_MUST_CHECK bool vv_body_rewind(struct vv_exchange *x);
/* Reads a small body of known length whole into body_kept, from where vv_body_next() then gives it; for
 * RECALL, which goes on by itself when it is complete. True: it waits for that, or the exchange has
 * ended. False: done, or (body_kept.p is NULL) it will not be kept. */
VV_MUST_CHECK bool vv_body_keep(struct vv_exchange *x);
/* The same for other phases: at most so many bytes; `then` goes on when it had to wait. */
VV_MUST_CHECK bool vv_body_keep_then(struct vv_exchange *x, uint64_t bytes_max,
                                     void (*then)(struct vv_exchange *x));
/* Values for templates of this exchange. */
void vv_exchange_vars(struct vv_exchange *x, struct vv_template_vars *ret);
#endif
