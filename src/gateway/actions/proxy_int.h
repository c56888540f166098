/* src/gateway/actions/proxy_int.h - what the two halves of the proxy action share: proxy.c decides (who is
 * asked, how often, what a failure means), attempt.c carries bytes.
 *
 * Model:     an *ask* is an exchange's business with a service: it passes the breaker and the turnstile,
 *            then makes attempts, one after the other. Two run at once only while a hedge races the first
 *            for a head; the first good head wins, the other is abandoned.
 * Threads:   one worker. Ownership: lies in the exchange's arena; cancel() lets go of everything.
 */
#ifndef VV_GATEWAY_ACTIONS_PROXY_INT_H
#define VV_GATEWAY_ACTIONS_PROXY_INT_H
#include "gateway/fetch.h"
#include "gateway/forward.h"
#include "gateway/recall.h"
#include "gateway/session.h"
#include "gateway/turnstile.h"
#include "gateway/upstream.h"

struct vv_ask;
struct vv_attempt {
    struct vv_exchange *x;
    struct vv_ask *ask;
    struct vv_uconn *u;       /* NULL: no connection */
    struct vv_server *server; /* NULL: nothing picked, the attempt is not running */
    uint64_t asked_ns, first_ns;
    uint64_t answer_left;
    size_t scan;
    unsigned interims;
    int status; /* of the final head */
    enum vv_h1_framing framing;
    struct vv_h1_chunked chunked;
    bool sent_any; /* some byte of this request left in this attempt */
    bool request_done, send_failed, got_any, head_done, answer_done, keep, tunnel;
    bool fetching;      /* the answer goes to a fill, not to a client */
    bool hedge;         /* it races another attempt */
    bool paused;        /* the fill can hold no more: its client takes over, with `rest` first */
    struct vv_str rest; /* taken out of the block, not yet passed on */
};

struct vv_ask {
    struct vv_exchange *x;
    struct vv_attempt slot[2];
    struct vv_attempt *now; /* the one that bodies and answers belong to */
    struct vv_pick pick;
    struct vv_str head;
    struct vv_turn turn;
    struct vv_named_breaker *breaker; /* that gave the permit; NULL: none */
    struct vv_breaker_permit permit;
    struct vv_timer timer; /* before a retry, or until a hedge */
    uint64_t began_ns;     /* let in */
    unsigned retries_left, retries;
    enum vv_reason last_reason;
    bool fresh;     /* the next attempt must not reuse a connection */
    bool hedged;    /* a second one was sent */
    bool judged;    /* and has won or lost */
    bool entered;   /* the turnstile is to be told */
    bool unsettled; /* breaker and turnstile wait for the outcome */
};

/* ---- proxy.c: decisions ---- */
/* The attempt failed. Tries again where that is safe, leaves it to its rival, or answers. */
void vv_attempt_failed(struct vv_attempt *a, enum vv_reason reason, enum vv_outcome outcome,
                       const char *why);
/* A final head: true when it is to be passed on; false: another attempt or a fallback takes its place. */
VV_MUST_CHECK bool vv_attempt_won(struct vv_attempt *a, const struct vv_h1_head *h);
/* Reports to the balancer and lets go of the connection. */
void vv_attempt_end(struct vv_attempt *a, enum vv_outcome outcome);
/* Once more the same, from the beginning. */
void vv_ask_again(struct vv_ask *k);
/* Breaker and turnstile learn how it went; once. */
void vv_ask_settle(struct vv_ask *k, enum vv_outcome outcome, uint64_t took_ns);
/* Lets go of everything; the exchange goes another way. */
void vv_ask_drop(struct vv_exchange *x);
void vv_ask_answer(struct vv_ask *k, enum vv_reason reason);

/* ---- attempt.c: bytes ---- */
extern const struct vv_uconn_owner vv_attempt_events;
void vv_attempt_send(struct vv_attempt *a);
bool vv_attempt_pump_request(struct vv_attempt *a);
bool vv_attempt_pass_body(struct vv_attempt *a);
void vv_attempt_pump_answer(struct vv_attempt *a);
void vv_attempt_wait(struct vv_attempt *a, uint64_t ns); /* 0: without limit */
static inline const struct vv_timeouts_settings *vv_attempt_timeouts(const struct vv_attempt *a)
{
    return &a->x->route->conf->timeouts;
}
#endif
