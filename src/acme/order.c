/* src/acme/order.c - every state has one request; a table says what may follow what.
 *
 * The nonce is no state: any signed request that has none asks for one first. So a refused nonce
 * costs nothing but another turn of the same state. */
#include "acme/order.h"
#include "acme/jws.h"
#include "acme/pkix.h"

#include <stdio.h>
#include <stdlib.h>

#define NONCE_MAX 256
#define NONCE_REFUSALS_MAX 24 /* in a row; at one in two refused, one order in 16 million fails */
#define BROKEN_MAX 3          /* repetitions of one request */
#define NOT_READY_MAX 10      /* an order that is ready only when nobody asks */
#define POLL_FIRST_NS (VV_SEC / 4)
#define POLL_MAX_NS (10 * VV_SEC)
#define AUTHORIZE_NS (5 * VV_MINUTE) /* what an authority may think about a challenge or an order */

#define STATES(X)                                                                                  \
    X(DIRECTORY, "where is what")                                                                  \
    X(ACCOUNT, "make the account, or find it by its key")                                          \
    X(ORDER, "say which name")                                                                     \
    X(AUTHORIZE, "read how the name can be proved")                                                \
    X(PUBLISH, "the answer to the challenge is being put up")                                      \
    X(CHALLENGE, "say that it is up")                                                              \
    X(CHECKING, "the authority looks at it; ask now and then")                                     \
    X(FINALIZE, "send the signing request")                                                        \
    X(ISSUING, "the authority signs; ask now and then")                                            \
    X(CERTIFICATE, "fetch the chain")                                                              \
    X(REVOKE, "give a certificate back")                                                           \
    X(DONE, "")                                                                                    \
    X(FAILED, "")
#define EDGES(X)                                                                                   \
    X(DIRECTORY, ACCOUNT)                                                                          \
    X(DIRECTORY, ORDER)                                                                            \
    X(DIRECTORY, REVOKE)                                                                           \
    X(ACCOUNT, ORDER)                                                                              \
    X(ORDER, ACCOUNT) /* the account was forgotten */                                              \
    X(ORDER, AUTHORIZE)                                                                            \
    X(ORDER, FINALIZE) /* proved before */                                                         \
    X(AUTHORIZE, PUBLISH)                                                                          \
    X(AUTHORIZE, FINALIZE)                                                                         \
    X(PUBLISH, CHALLENGE)                                                                          \
    X(CHALLENGE, CHECKING)                                                                         \
    X(CHECKING, FINALIZE)                                                                          \
    X(FINALIZE, ISSUING)                                                                           \
    X(FINALIZE, CERTIFICATE)                                                                       \
    X(ISSUING, FINALIZE) /* it was not ready after all */                                          \
    X(ISSUING, CERTIFICATE)                                                                        \
    X(CERTIFICATE, DONE)                                                                           \
    X(REVOKE, DONE)
#define AS_ENUM(name, doc) ST_##name,
#define AS_NAME(name, doc) #name,
#define AS_EDGE(from, to) [ST_##from][ST_##to] = true,
enum state { STATES(AS_ENUM) ST_COUNT };
static const char *const state_name[] = {STATES(AS_NAME)};
static const bool edge[ST_COUNT][ST_COUNT] = {EDGES(AS_EDGE)};

struct vv_acme_order {
    const struct vv_acme_order_conf *conf;
    enum state state;
    uint64_t began_ns, since_ns, wait_until_ns, poll_ns;
    unsigned nonce_refusals, broken, not_ready;
    bool want_nonce, account_made, account_lost;
    struct vv_acme_directory directory;
    struct vv_acme_challenge_doc challenge;
    char nonce[NONCE_MAX], kid[VV_ACME_URL_MAX];
    char order_url[VV_ACME_URL_MAX], finalize[VV_ACME_URL_MAX], authorization[VV_ACME_URL_MAX];
    char certificate[VV_ACME_URL_MAX];
    char key_authorization[VV_ACME_TOKEN_MAX + VV_ACME_THUMBPRINT];
    struct vv_sb body, chain;
    struct vv_acme_failure failure;
};

/* The only writer of o->state. */
static void enter(struct vv_acme_order *o, enum state to, uint64_t now_ns)
{
    VV_ASSERT(to == ST_FAILED || edge[o->state][to]);
    o->state = to;
    o->since_ns = now_ns;
    o->poll_ns = POLL_FIRST_NS;
    o->wait_until_ns = 0;
    o->broken = o->nonce_refusals = 0;
}

static void VV_PRINTF(4, 5)
    fail(struct vv_acme_order *o, uint64_t now_ns, enum vv_acme_fault fault, const char *fmt, ...)
{
    struct vv_sb text = VV_SB_INIT;
    va_list args;
    va_start(args, fmt);
    vv_sb_vaddf(&text, fmt, args);
    va_end(args);
    (void)snprintf(o->failure.text, sizeof o->failure.text, "%s", vv_sb_str(&text).p);
    vv_sb_fini(&text);
    o->failure.fault = fault;
    enter(o, ST_FAILED, now_ns);
}

enum vv_err vv_acme_order_new(const struct vv_acme_order_conf *conf, uint64_t now_ns,
                              struct vv_acme_order **ret)
{
    struct vv_acme_order *o = calloc(1, sizeof *o);
    if (o == NULL) {
        return VV_ENOMEM;
    }
    o->conf = conf;
    o->began_ns = o->since_ns = now_ns;
    if (conf->kid != NULL) {
        (void)snprintf(o->kid, sizeof o->kid, "%s", conf->kid);
    }
    *ret = o;
    return VV_OK;
}

void vv_acme_order_free(struct vv_acme_order *o)
{
    if (o != NULL) {
        vv_sb_fini(&o->body);
        vv_sb_fini(&o->chain);
        free(o);
    }
}

/* ---- requests ------------------------------------------------------------------------------ */

static void account_payload(const struct vv_acme_order *o, struct vv_sb *out)
{
    struct vv_sb contact = VV_SB_INIT;
    struct vv_json j;
    vv_json_init(&j, out);
    vv_json_obj(&j);
    vv_json_kbool(&j, "termsOfServiceAgreed", o->conf->agree);
    if (o->conf->email != NULL) {
        vv_sb_addf(&contact, "mailto:%s", o->conf->email);
        vv_json_key(&j, "contact");
        vv_json_arr(&j);
        vv_json_str(&j, vv_sb_str(&contact));
        vv_json_arr_end(&j);
    }
    if (o->conf->eab_key != NULL && o->directory.external_account) {
        vv_json_key(&j, "externalAccountBinding");
        j.after_key = false; /* the value is JSON already */
        out->failed |= vv_acme_eab(o->conf->account_key, o->conf->eab_key, o->conf->eab_mac,
                                   o->directory.new_account, out) != VV_OK;
    }
    vv_json_obj_end(&j);
    out->failed |= contact.failed;
    vv_sb_fini(&contact);
}

static void order_payload(const struct vv_acme_order *o, struct vv_sb *out)
{
    struct vv_json j;
    vv_json_init(&j, out);
    vv_json_obj(&j);
    vv_json_key(&j, "identifiers");
    vv_json_arr(&j);
    vv_json_obj(&j);
    vv_json_kcstr(&j, "type", vv_acme_is_address(o->conf->name) ? "ip" : "dns");
    vv_json_kcstr(&j, "value", o->conf->name);
    vv_json_obj_end(&j);
    vv_json_arr_end(&j);
    vv_json_obj_end(&j);
}

/* {"key": DER in base64url} */
static void der_payload(const char *key, struct vv_str der, struct vv_sb *out)
{
    vv_sb_addf(out, "{\"%s\":\"", key);
    vv_acme_b64(out, der.p, der.n);
    vv_sb_adds(out, "\"}");
}

static void csr_payload(const struct vv_acme_order *o, struct vv_sb *out)
{
    struct vv_sb der = VV_SB_INIT;
    out->failed |= vv_acme_csr(o->conf->cert_key, o->conf->name, &der) != VV_OK;
    der_payload("csr", vv_sb_str(&der), out);
    vv_sb_fini(&der);
}

/* The URL of a signed request; its payload, or none for reading (POST-as-GET). */
static const char *signed_request(const struct vv_acme_order *o, struct vv_sb *payload,
                                  bool *ret_read)
{
    *ret_read = false;
    switch (o->state) {
    case ST_ACCOUNT:
        account_payload(o, payload);
        return o->directory.new_account;
    case ST_ORDER:
        order_payload(o, payload);
        return o->directory.new_order;
    case ST_CHALLENGE:
        vv_sb_adds(payload, "{}");
        return o->challenge.url;
    case ST_FINALIZE:
        csr_payload(o, payload);
        return o->finalize;
    case ST_REVOKE:
        der_payload("certificate", o->conf->revoke_der, payload);
        return o->directory.revoke;
    default:
        *ret_read = true;
        return o->state == ST_ISSUING       ? o->order_url
               : o->state == ST_CERTIFICATE ? o->certificate
                                            : o->authorization;
    }
}

static enum vv_acme_step send_signed(struct vv_acme_order *o, uint64_t now_ns,
                                     struct vv_acme_request *ret)
{
    struct vv_sb payload = VV_SB_INIT;
    bool read = false;
    const char *url = signed_request(o, &payload, &read);
    const char *kid = o->state == ST_ACCOUNT || o->state == ST_REVOKE ? NULL : o->kid;
    vv_sb_reset(&o->body);
    enum vv_err err = payload.failed ? VV_ENOMEM : VV_OK;
    if (err == VV_OK) {
        const struct vv_str text = read ? (struct vv_str){NULL, 0} : vv_sb_str(&payload);
        err = vv_acme_jws(o->conf->account_key, kid, o->nonce, url, text, &o->body);
    }
    vv_sb_fini(&payload);
    o->nonce[0] = '\0'; /* used once */
    if (err != VV_OK) {
        fail(o, now_ns, VV_ACME_LOCAL, "the request cannot be made: %s", vv_err_text(err));
        return VV_ACME_STEP_FAILED;
    }
    *ret = (struct vv_acme_request){VV_ACME_POST, url, vv_sb_str(&o->body)};
    return VV_ACME_STEP_SEND;
}

enum vv_acme_step vv_acme_order_next(struct vv_acme_order *o, uint64_t now_ns,
                                     struct vv_acme_request *ret, uint64_t *ret_wait_ns)
{
    switch (o->state) {
    case ST_DONE:
        return VV_ACME_STEP_DONE;
    case ST_FAILED:
        return VV_ACME_STEP_FAILED;
    case ST_PUBLISH:
        return VV_ACME_STEP_PUBLISH;
    default:
        break;
    }
    if (now_ns < o->wait_until_ns) {
        *ret_wait_ns = o->wait_until_ns;
        return VV_ACME_STEP_WAIT;
    }
    if (o->state == ST_DIRECTORY) {
        *ret = (struct vv_acme_request){VV_ACME_GET, o->conf->directory, {NULL, 0}};
        return VV_ACME_STEP_SEND;
    }
    o->want_nonce = o->nonce[0] == '\0';
    if (o->want_nonce) {
        *ret = (struct vv_acme_request){VV_ACME_HEAD, o->directory.new_nonce, {NULL, 0}};
        return VV_ACME_STEP_SEND;
    }
    return send_signed(o, now_ns, ret);
}

/* ---- answers ------------------------------------------------------------------------------- */

/* Asks again later, the authority's way or ours; in the end it is a failure. */
static void poll_later(struct vv_acme_order *o, uint64_t now_ns, uint64_t retry_after_ns)
{
    if (now_ns - o->since_ns > AUTHORIZE_NS || now_ns - o->began_ns > 3 * AUTHORIZE_NS) {
        fail(o, now_ns, VV_ACME_REFUSED, "the authority did not decide in time (%s)",
             state_name[o->state]);
        return;
    }
    const uint64_t wait = retry_after_ns > 0 ? vv_min_u64(retry_after_ns, VV_MINUTE) : o->poll_ns;
    o->wait_until_ns = now_ns + wait;
    o->poll_ns = vv_min_u64(o->poll_ns * 2, POLL_MAX_NS);
}

/* Revoking needs no account: the certificate's own key signs (section 7.6), also when the account is
 * lost or was another one. */
static void after_directory(struct vv_acme_order *o, uint64_t now_ns)
{
    const bool revoke = o->conf->cert_key == NULL;
    if (revoke && o->directory.revoke[0] == '\0') {
        fail(o, now_ns, VV_ACME_UNACCEPTABLE, "this authority does not revoke certificates");
    } else if (revoke) {
        enter(o, ST_REVOKE, now_ns);
    } else if (o->kid[0] != '\0') {
        enter(o, ST_ORDER, now_ns);
    } else if (o->directory.terms[0] != '\0' && !o->conf->agree) {
        fail(o, now_ns, VV_ACME_UNACCEPTABLE,
             "the authority wants its terms agreed to (%s): read them, then set acme.agree: true",
             o->directory.terms);
    } else if (o->directory.external_account && o->conf->eab_key == NULL) {
        fail(o, now_ns, VV_ACME_UNACCEPTABLE,
             "the authority wants an external account: set acme.eab to the key id and the MAC key "
             "that it gave you");
    } else {
        enter(o, ST_ACCOUNT, now_ns);
    }
}

static void take_directory(struct vv_acme_order *o, uint64_t now_ns, const struct vv_acme_answer *a)
{
    if (vv_acme_read_directory(a->body, &o->directory) != VV_OK) {
        fail(o, now_ns, VV_ACME_UNREACHABLE, "%s is no ACME directory", o->conf->directory);
        return;
    }
    after_directory(o, now_ns);
}

static void take_account(struct vv_acme_order *o, uint64_t now_ns, const struct vv_acme_answer *a)
{
    enum vv_acme_status s;
    if (vv_acme_read_account(a->body, &s) != VV_OK || a->location == NULL ||
        strlen(a->location) >= sizeof o->kid) {
        fail(o, now_ns, VV_ACME_UNREACHABLE, "the answer about the account makes no sense");
        return;
    }
    if (s != VV_ACME_VALID) {
        fail(o, now_ns, VV_ACME_REFUSED,
             "the account was closed at the authority; remove account.key from the store to make "
             "another one");
        return;
    }
    (void)snprintf(o->kid, sizeof o->kid, "%s", a->location);
    o->account_made = true;
    enter(o, ST_ORDER, now_ns);
}

/* The authority's own words; its type when it has none. */
static void refused(struct vv_acme_order *o, uint64_t now_ns, const char *what,
                    const struct vv_acme_problem *p)
{
    fail(o, now_ns, strcmp(p->type, "rateLimited") == 0 ? VV_ACME_LIMITED : VV_ACME_REFUSED,
         "%s: %s%s%s%s", what, p->detail, p->detail[0] != '\0' ? " (" : "",
         p->type[0] != '\0' ? p->type : "no reason given", p->detail[0] != '\0' ? ")" : "");
}

static void take_order(struct vv_acme_order *o, uint64_t now_ns, const struct vv_acme_answer *a)
{
    struct vv_acme_order_doc d;
    if (vv_acme_read_order(a->body, &d) != VV_OK || d.authorization_count != 1) {
        fail(o, now_ns, VV_ACME_UNREACHABLE, "the answer about the order makes no sense");
        return;
    }
    if (o->state == ST_ORDER) {
        if (a->location == NULL || strlen(a->location) >= sizeof o->order_url) {
            fail(o, now_ns, VV_ACME_UNREACHABLE, "the answer to the order names no order");
            return;
        }
        (void)snprintf(o->order_url, sizeof o->order_url, "%s", a->location);
        memcpy(o->finalize, d.finalize, sizeof o->finalize);
        memcpy(o->authorization, d.authorization, sizeof o->authorization);
    }
    const bool ordering = o->state == ST_ORDER;
    switch (d.status) {
    case VV_ACME_VALID:
        if (!ordering && d.certificate[0] != '\0') {
            memcpy(o->certificate, d.certificate, sizeof o->certificate);
            enter(o, ST_CERTIFICATE, now_ns);
            return;
        }
        break;
    case VV_ACME_READY:
        if (ordering || o->state == ST_ISSUING) {
            enter(o, ST_FINALIZE, now_ns);
            return;
        }
        break;
    case VV_ACME_PENDING:
        if (ordering) {
            enter(o, ST_AUTHORIZE, now_ns);
            return;
        }
        if (o->state == ST_ISSUING) {
            poll_later(o, now_ns, a->retry_after_ns);
            return;
        }
        break;
    case VV_ACME_PROCESSING:
        if (o->state == ST_FINALIZE) {
            enter(o, ST_ISSUING, now_ns);
        }
        if (o->state == ST_ISSUING) {
            poll_later(o, now_ns, a->retry_after_ns);
            return;
        }
        break;
    default:
        break;
    }
    refused(o, now_ns, "the authority gave the order up", &d.problem);
}

static bool wanted(const struct vv_acme_order *o, enum vv_acme_kind kind)
{
    if (o->conf->prefer == VV_ACME_ANY) {
        return true;
    }
    return (o->conf->prefer == VV_ACME_HTTP) == (kind == VV_ACME_KIND_HTTP);
}

static const struct vv_acme_challenge_doc *choose(const struct vv_acme_order *o,
                                                  const struct vv_acme_authorization *d)
{
    const struct vv_acme_challenge_doc *best = NULL;
    for (size_t i = 0; i < d->challenge_count; i++) {
        const struct vv_acme_challenge_doc *c = &d->challenge[i];
        if (wanted(o, c->kind) && (best == NULL || c->kind < best->kind)) {
            best = c;
        }
    }
    return best;
}

static void prove(struct vv_acme_order *o, uint64_t now_ns, const struct vv_acme_authorization *d)
{
    char thumbprint[VV_ACME_THUMBPRINT];
    const struct vv_acme_challenge_doc *c = choose(o, d);
    if (c == NULL) {
        fail(o, now_ns, VV_ACME_UNACCEPTABLE,
             "the authority offers no challenge that acme.challenge allows");
        return;
    }
    const enum vv_err err = vv_acme_thumbprint(o->conf->account_key, thumbprint);
    if (err != VV_OK) {
        fail(o, now_ns, VV_ACME_LOCAL, "%s", vv_err_text(err));
        return;
    }
    o->challenge = *c;
    (void)snprintf(o->key_authorization, sizeof o->key_authorization, "%s.%s", c->token,
                   thumbprint);
    enter(o, ST_PUBLISH, now_ns);
}

static void not_proved(struct vv_acme_order *o, uint64_t now_ns,
                       const struct vv_acme_authorization *d)
{
    struct vv_acme_problem none = {.type = ""};
    const struct vv_acme_problem *p = &none;
    for (size_t i = 0; i < d->challenge_count; i++) {
        if (d->challenge[i].problem.type[0] != '\0') {
            p = &d->challenge[i].problem;
        }
    }
    char what[128];
    (void)snprintf(what, sizeof what, "the authority could not check the name by %s",
                   o->challenge.kind == VV_ACME_KIND_HTTP ? "http-01" : "tls-alpn-01");
    refused(o, now_ns, what, p);
}

static void take_authorization(struct vv_acme_order *o, uint64_t now_ns,
                               const struct vv_acme_answer *a)
{
    struct vv_acme_authorization d;
    if (vv_acme_read_authorization(a->body, &d) != VV_OK) {
        fail(o, now_ns, VV_ACME_UNREACHABLE, "the answer about the authorization makes no sense");
        return;
    }
    switch (d.status) {
    case VV_ACME_VALID:
        enter(o, ST_FINALIZE, now_ns);
        return;
    case VV_ACME_PENDING:
    case VV_ACME_PROCESSING:
        if (o->state == ST_AUTHORIZE) {
            prove(o, now_ns, &d);
        } else {
            poll_later(o, now_ns, a->retry_after_ns);
        }
        return;
    default:
        not_proved(o, now_ns, &d);
    }
}

static void take_good(struct vv_acme_order *o, uint64_t now_ns, const struct vv_acme_answer *a)
{
    switch (o->state) {
    case ST_DIRECTORY:
        take_directory(o, now_ns, a);
        return;
    case ST_ACCOUNT:
        take_account(o, now_ns, a);
        return;
    case ST_ORDER:
    case ST_FINALIZE:
    case ST_ISSUING:
        take_order(o, now_ns, a);
        return;
    case ST_AUTHORIZE:
    case ST_CHECKING:
        take_authorization(o, now_ns, a);
        return;
    case ST_CHALLENGE:
        enter(o, ST_CHECKING, now_ns);
        poll_later(o, now_ns, a->retry_after_ns);
        return;
    case ST_CERTIFICATE:
        vv_sb_reset(&o->chain);
        vv_sb_add(&o->chain, a->body);
        if (o->chain.failed || a->body.n == 0) {
            fail(o, now_ns, VV_ACME_LOCAL, "the chain that came is empty");
            return;
        }
        enter(o, ST_DONE, now_ns);
        return;
    default:
        enter(o, ST_DONE, now_ns); /* REVOKE: nothing else is sent */
    }
}

/* The request again, with a pause that doubles; then it is a failure. */
static void again(struct vv_acme_order *o, uint64_t now_ns, const char *why)
{
    if (o->broken == BROKEN_MAX) {
        fail(o, now_ns, VV_ACME_UNREACHABLE, "%s", why);
        return;
    }
    o->wait_until_ns = now_ns + (VV_SEC / 4 << o->broken);
    o->broken++;
}

static void take_bad(struct vv_acme_order *o, uint64_t now_ns, const struct vv_acme_answer *a)
{
    struct vv_acme_problem p;
    char what[128];
    vv_acme_read_problem(a->body, &p);
    if (strcmp(p.type, "badNonce") == 0) {
        if (++o->nonce_refusals > NONCE_REFUSALS_MAX) {
            fail(o, now_ns, VV_ACME_UNREACHABLE, "the authority refused its own nonces %d times",
                 NONCE_REFUSALS_MAX);
        }
        return;
    }
    if (strcmp(p.type, "accountDoesNotExist") == 0 && !o->account_lost && o->state == ST_ORDER) {
        o->account_lost = true;
        o->kid[0] = '\0';
        enter(o, ST_ACCOUNT, now_ns);
        return;
    }
    if (strcmp(p.type, "orderNotReady") == 0 && o->state == ST_FINALIZE &&
        o->not_ready++ < NOT_READY_MAX) {
        enter(o, ST_ISSUING, now_ns);
        poll_later(o, now_ns, a->retry_after_ns);
        return;
    }
    o->failure.retry_after_ns = a->retry_after_ns;
    if (o->state == ST_REVOKE && strcmp(p.type, "alreadyRevoked") == 0) {
        enter(o, ST_DONE, now_ns);
    } else if (a->status == 429 || strcmp(p.type, "rateLimited") == 0) {
        fail(o, now_ns, VV_ACME_LIMITED, "the authority's limit is reached: %s",
             p.detail[0] != '\0' ? p.detail : "no details");
    } else if (a->status >= 500 || p.type[0] == '\0') {
        (void)snprintf(what, sizeof what, "the authority answered %d (%s)%s%.60s", a->status,
                       state_name[o->state], p.detail[0] != '\0' ? ": " : "", p.detail);
        again(o, now_ns, what);
    } else {
        (void)snprintf(what, sizeof what, "the authority refused (%s)", state_name[o->state]);
        refused(o, now_ns, what, &p);
    }
}

void vv_acme_order_answer(struct vv_acme_order *o, uint64_t now_ns, const struct vv_acme_answer *a)
{
    const bool good = a->status >= 200 && a->status < 300;
    if (a->nonce != NULL && strlen(a->nonce) < sizeof o->nonce) {
        (void)snprintf(o->nonce, sizeof o->nonce, "%s", a->nonce);
    }
    if (!o->want_nonce || o->state == ST_DIRECTORY) {
        if (good) {
            take_good(o, now_ns, a);
        } else {
            take_bad(o, now_ns, a);
        }
        return;
    }
    if (!good || o->nonce[0] == '\0') {
        again(o, now_ns, "the authority gives no nonce");
    }
}

void vv_acme_order_broken(struct vv_acme_order *o, uint64_t now_ns, const char *why)
{
    again(o, now_ns, why);
}

void vv_acme_order_published(struct vv_acme_order *o)
{
    VV_ASSERT(o->state == ST_PUBLISH);
    enter(o, ST_CHALLENGE, o->since_ns);
}

/* ---- looking ------------------------------------------------------------------------------- */

enum vv_acme_kind vv_acme_order_kind(const struct vv_acme_order *o)
{
    return o->challenge.kind;
}

const char *vv_acme_order_token(const struct vv_acme_order *o)
{
    return o->challenge.token;
}

const char *vv_acme_order_key_authorization(const struct vv_acme_order *o)
{
    return o->key_authorization;
}

struct vv_str vv_acme_order_chain(const struct vv_acme_order *o)
{
    return vv_sb_str(&o->chain);
}

const char *vv_acme_order_kid(const struct vv_acme_order *o, bool *ret_made)
{
    *ret_made = o->account_made;
    return o->kid;
}

const char *vv_acme_order_terms(const struct vv_acme_order *o)
{
    return o->directory.terms;
}

const struct vv_acme_failure *vv_acme_order_failure(const struct vv_acme_order *o)
{
    return &o->failure;
}

const char *vv_acme_order_state(const struct vv_acme_order *o)
{
    return state_name[o->state];
}
