/* src/acme/order.h - the conversation with an authority about one name, without a network.
 *
 * Model:     ask vv_acme_order_next() what to do, do it, say what came of it, ask again:
 *              SEND     the request; then _answer() or _broken()
 *              PUBLISH  the answer to a challenge, so that the authority can fetch it; then _published()
 *              WAIT     until *wait_ns
 *              DONE     the chain (or the revocation) is there; FAILED  see the failure
 *            A nonce the authority does not take is replaced and the request sent again. A request that
 *            did not come through is repeated a few times. An account the authority has
 *            forgotten is made again, once.
 * Source:    RFC 8555 sections 6.5 (nonces), 7.3 to 7.6, 8.
 * Units:     *_ns monotonic. Threads: one owner; pure: no clock, no I/O.
 * Ownership: the configuration is borrowed and outlives the order; requests live until the next call.
 */
#ifndef VV_ACME_ORDER_H
#define VV_ACME_ORDER_H
#include "acme/acme.h"
#include "acme/json.h"
#include <openssl/evp.h>

enum vv_acme_fault { /* whose fault a failure is, and so how soon to try again */
                     VV_ACME_UNREACHABLE,  /* the authority did not answer, or with 5xx */
                     VV_ACME_REFUSED,      /* it said no */
                     VV_ACME_LIMITED,      /* it said: too many */
                     VV_ACME_UNACCEPTABLE, /* it wants what the configuration does not have */
                     VV_ACME_LOCAL         /* this machine */
};
struct vv_acme_failure {
    enum vv_acme_fault fault;
    uint64_t retry_after_ns; /* 0: the authority did not say */
    char text[512];
};

struct vv_acme_order_conf {
    EVP_PKEY *account_key; /* to revoke: the key of the certificate */
    const char *kid;       /* the account's URL, NULL: not known yet */
    const char *directory; /* URL */
    const char *name;
    EVP_PKEY *cert_key;            /* a fresh one; NULL: revoke instead */
    struct vv_str revoke_der;      /* the certificate to revoke */
    enum vv_acme_challenge prefer; /* ANY: what is offered, HTTP first */
    const char *email;             /* or NULL */
    const char *eab_key, *eab_mac; /* or NULL */
    bool agree;
};

enum vv_acme_method { VV_ACME_GET, VV_ACME_HEAD, VV_ACME_POST };
struct vv_acme_request {
    enum vv_acme_method method;
    const char *url;
    struct vv_str body; /* application/jose+json */
};
struct vv_acme_answer {
    int status;
    struct vv_str body;
    const char *nonce, *location; /* header fields, or NULL */
    uint64_t retry_after_ns;      /* 0: not said */
};
enum vv_acme_step {
    VV_ACME_STEP_SEND,
    VV_ACME_STEP_PUBLISH,
    VV_ACME_STEP_WAIT,
    VV_ACME_STEP_DONE,
    VV_ACME_STEP_FAILED
};

struct vv_acme_order;
VV_MUST_CHECK enum vv_err vv_acme_order_new(const struct vv_acme_order_conf *conf, uint64_t now_ns,
                                            struct vv_acme_order **ret);
void vv_acme_order_free(struct vv_acme_order *o); /* NULL is fine */
enum vv_acme_step vv_acme_order_next(struct vv_acme_order *o, uint64_t now_ns,
                                     struct vv_acme_request *ret, uint64_t *ret_wait_ns);
void vv_acme_order_answer(struct vv_acme_order *o, uint64_t now_ns, const struct vv_acme_answer *a);
void vv_acme_order_broken(struct vv_acme_order *o, uint64_t now_ns, const char *why);
void vv_acme_order_published(struct vv_acme_order *o);

/* With PUBLISH and after. */
enum vv_acme_kind vv_acme_order_kind(const struct vv_acme_order *o);
const char *vv_acme_order_token(const struct vv_acme_order *o);
const char *vv_acme_order_key_authorization(const struct vv_acme_order *o);
/* After DONE. */
struct vv_str vv_acme_order_chain(const struct vv_acme_order *o);
/* At any time: the account's URL, "" when it is not known; was it asked for in this conversation? */
const char *vv_acme_order_kid(const struct vv_acme_order *o, bool *ret_made);
const char *vv_acme_order_terms(const struct vv_acme_order *o); /* URL or "" */
/* After FAILED. */
const struct vv_acme_failure *vv_acme_order_failure(const struct vv_acme_order *o);
const char *vv_acme_order_state(const struct vv_acme_order *o); /* "AUTHORIZE" */
#endif
