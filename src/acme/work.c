/* src/acme/work.c - one name's turn: who else is at it, order or revoke, remember how it went.
 *
 * Everything that matters is looked at again under the store's lock: while we waited for it, another
 * gateway may have done the work, or failed at it. */
#include "acme/acme_int.h"
#include "acme/http.h"
#include "acme/jws.h"
#include "acme/pkix.h"
#include "os/clock.h"
#include "os/file.h"

#include <stdio.h>
#include <stdlib.h>

#define LOCKED_NS VV_SEC /* until we look again at what somebody else works on */

struct job {
    struct vv_acme_thread *t;
    struct vv_acme *a;
    struct vv_acme_entry *e;
    struct vv_acme_wish *w;
    struct vv_acme_http *http;
    const char *directory;
    struct vv_acme_failure failure;
    bool revoke; /* instead of ordering */
    bool left;   /* broken off: not wanted any more */
};

static void VV_PRINTF(3, 4)
    local_failure(struct job *job, enum vv_acme_fault fault, const char *fmt, ...)
{
    struct vv_sb text = VV_SB_INIT;
    va_list args;
    va_start(args, fmt);
    vv_sb_vaddf(&text, fmt, args);
    va_end(args);
    (void)snprintf(job->failure.text, sizeof job->failure.text, "%s", vv_sb_str(&text).p);
    vv_sb_fini(&text);
    job->failure.fault = fault;
    job->failure.retry_after_ns = 0;
}

/* ---- talking ------------------------------------------------------------------------------- */

static void send_one(struct job *job, struct vv_acme_order *o, const struct vv_acme_request *r)
{
    struct vv_acme_answer answer;
    const char *why = "";
    const enum vv_err err =
        vv_acme_http_do(job->http, job->w->ca_file, r, vv_clock_wall(), &answer, &why);
    if (err == VV_OK) {
        vv_acme_order_answer(o, vv_clock_now(), &answer);
    } else {
        vv_acme_order_broken(o, vv_clock_now(), why);
    }
}

/* Until it is done (true), has failed, or is broken off. */
static bool talk(struct job *job, struct vv_acme_order *o)
{
    struct vv_acme_request r;
    uint64_t until_ns = 0;
    while (vv_acme_still(job->a, job->e, job->w)) {
        switch (vv_acme_order_next(o, vv_clock_now(), &r, &until_ns)) {
        case VV_ACME_STEP_SEND:
            send_one(job, o, &r);
            break;
        case VV_ACME_STEP_WAIT:
            (void)vv_acme_sleep(job->a, until_ns);
            break;
        case VV_ACME_STEP_PUBLISH: {
            const enum vv_err err = vv_acme_publish(job->t, job->w, job->e->name, o);
            if (err != VV_OK) {
                local_failure(job, VV_ACME_LOCAL,
                              "the challenge cannot be written to the store: %s", vv_err_text(err));
                return false;
            }
            vv_acme_order_published(o);
            break;
        }
        case VV_ACME_STEP_DONE:
            return true;
        case VV_ACME_STEP_FAILED:
            job->failure = *vv_acme_order_failure(o);
            return false;
        }
    }
    job->left = true;
    return false;
}

/* ---- ordering ------------------------------------------------------------------------------ */

static void note_account(struct job *job, const struct vv_acme_order *o)
{
    bool made = false;
    const char *kid = vv_acme_order_kid(o, &made);
    if (!made) {
        return;
    }
    const enum vv_err err = vv_acme_store_set_kid(job->w->store, job->directory, kid);
    if (err != VV_OK) {
        vv_acme_say(job->a, VV_ACME_WARN, job->e->name, "account.json cannot be written: %s",
                    vv_err_text(err));
    }
    const char *terms = vv_acme_order_terms(o);
    vv_acme_say(job->a, VV_ACME_INFO, job->e->name, "account at %s: %s%s%s", job->directory, kid,
                terms[0] != '\0' ? "; agreed to its terms, as acme.agree says: " : "", terms);
}

/* The chain must be for this key and this name: an authority may err too. */
static bool check_chain(struct job *job, struct vv_str key, struct vv_str chain)
{
    struct vv_sb why = VV_SB_INIT;
    struct vv_tls_cert *c = NULL;
    const struct vv_tls_cert_text text = {
        .cert_name = "chain", .key_name = "key", .cert = chain, .key = key};
    bool good = vv_tls_cert_parse(&text, &why, &c) == VV_OK;
    bool named = false;
    for (size_t i = 0; good && i < vv_tls_cert_info(c)->name_count; i++) {
        named = named || strcmp(vv_tls_cert_info(c)->names[i], job->e->name) == 0;
    }
    if (!good || !named) {
        local_failure(job, VV_ACME_REFUSED,
                      "the authority sent a certificate that does not fit: %s",
                      good            ? "it does not have the name"
                      : why.p != NULL ? why.p
                                      : "");
    }
    vv_tls_cert_unref(c);
    vv_sb_fini(&why);
    return good && named;
}

static bool keep_chain(struct job *job, EVP_PKEY *key, struct vv_str chain)
{
    struct vv_sb pem = VV_SB_INIT;
    bool ok = false;
    enum vv_err err = vv_acme_key_write(key, &pem);
    if (err == VV_OK && check_chain(job, vv_sb_str(&pem), chain)) {
        struct vv_acme_memory m = {.issued_wall_ns = vv_clock_wall()};
        (void)snprintf(m.authority, sizeof m.authority, "%s", job->directory);
        err = vv_acme_store_remember(job->w->store, job->e->name, &m);
        if (err == VV_OK) {
            err = vv_acme_store_cert(job->w->store, job->e->name, vv_sb_str(&pem), chain);
        }
        ok = err == VV_OK;
    }
    if (err != VV_OK) {
        local_failure(job, VV_ACME_LOCAL, "the certificate cannot be written to the store: %s",
                      vv_err_text(err));
    }
    if (pem.p != NULL) {
        OPENSSL_cleanse(pem.p, pem.n);
    }
    vv_sb_fini(&pem);
    return ok;
}

/* Any challenge is allowed: over HTTP first, after each failure the other way. */
static enum vv_acme_challenge prefer(const struct job *job)
{
    if (job->w->challenge != VV_ACME_ANY || vv_acme_is_address(job->e->name)) {
        return job->w->challenge;
    }
    return job->e->memory.failures % 2 == 0 ? VV_ACME_ANY : VV_ACME_TLS_ALPN;
}

static bool order(struct job *job)
{
    struct vv_sb why = VV_SB_INIT;
    EVP_PKEY *account = NULL, *key = NULL;
    struct vv_acme_order *o = NULL;
    char kid[VV_ACME_URL_MAX];
    enum vv_err err = vv_acme_store_account(job->w->store, &account, &why);
    if (err == VV_OK) {
        err = vv_acme_key_new(&key);
    }
    const struct vv_acme_order_conf conf = {
        .account_key = account,
        .kid = vv_acme_store_kid(job->w->store, job->directory, kid) ? kid : NULL,
        .directory = job->directory,
        .name = job->e->name,
        .cert_key = key,
        .prefer = prefer(job),
        .email = job->w->email,
        .eab_key = job->w->eab_key,
        .eab_mac = job->w->eab_mac,
        .agree = job->w->agree};
    if (err == VV_OK) {
        err = vv_acme_order_new(&conf, vv_clock_now(), &o);
    }
    bool ok = false;
    if (err != VV_OK) {
        local_failure(job, VV_ACME_LOCAL, "%s", why.p != NULL ? why.p : vv_err_text(err));
    } else {
        ok = talk(job, o);
        vv_acme_unpublish(job->t, job->w);
        note_account(job, o);
        ok = ok && keep_chain(job, key, vv_acme_order_chain(o));
    }
    vv_acme_order_free(o);
    EVP_PKEY_free(account);
    EVP_PKEY_free(key);
    vv_sb_fini(&why);
    return ok;
}

/* ---- how it went --------------------------------------------------------------------------- */

static void went_well(struct job *job)
{
    struct vv_acme_entry *e = job->e;
    char until[32], next[32];
    (void)vv_acme_load(job->a, e, job->w);
    pthread_mutex_lock(&job->a->lock);
    const struct vv_acme_life life = {e->not_before_wall_ns, e->not_after_wall_ns, 0};
    vv_acme_plan_ordered(&e->plan, &life, vv_clock_now());
    e->asked = false;
    vv_acme_wall_text(e->not_after_wall_ns, until);
    vv_acme_wall_text(e->plan.renew_wall_ns, next);
    pthread_mutex_unlock(&job->a->lock);
    (void)atomic_fetch_add(&job->a->result[VV_ACME_OK], 1);
    vv_acme_say(job->a, VV_ACME_INFO, e->name,
                "certificate from %s, valid until %s; it will be renewed about %s", job->directory,
                until, next);
}

static void went_wrong(struct job *job)
{
    struct vv_acme_entry *e = job->e;
    struct vv_acme *a = job->a;
    char until[32], wait[32];
    const uint64_t wall_ns = vv_clock_wall(), now_ns = vv_clock_now();
    pthread_mutex_lock(&a->lock);
    vv_acme_plan_failed(&e->plan, &job->failure, job->w->retry_ns, now_ns, &a->rng);
    const uint64_t pause = e->plan.retry_ns > now_ns ? e->plan.retry_ns - now_ns : 0;
    e->asked = false;
    e->memory.failures = e->plan.failures;
    e->memory.retry_wall_ns = wall_ns + pause;
    (void)snprintf(e->memory.error, sizeof e->memory.error, "%s", job->failure.text);
    const struct vv_acme_memory m = e->memory;
    vv_acme_wall_text(e->not_after_wall_ns, until);
    const bool have = e->stamp != 0;
    pthread_mutex_unlock(&a->lock);
    (void)atomic_fetch_add(&a->result[VV_ACME_FAILED], 1);
    vv_acme_span_text(pause, wait);
    vv_acme_say(a, VV_ACME_WARN, e->name,
                "no certificate from %s, try %llu: %s; next try in %s%s%s", job->directory,
                (unsigned long long)m.failures, job->failure.text, wait,
                have ? "; the one in use stays, valid until " : "", have ? until : "");
    if (vv_acme_store_remember(job->w->store, e->name, &m) != VV_OK) {
        vv_acme_say(a, VV_ACME_WARN, e->name, "the store cannot be written to");
    }
}

/* ---- revoking ------------------------------------------------------------------------------ */

/* Where it came from; the first of the list when nobody remembers. */
static const char *issuer_of(const struct job *job)
{
    return job->e->memory.authority[0] != '\0' ? job->e->memory.authority : job->w->directory[0];
}

static bool revoke(struct job *job)
{
    char path[VV_ACME_PATH_MAX];
    char *pem = NULL;
    size_t n = 0;
    EVP_PKEY *key = NULL;
    struct vv_sb der = VV_SB_INIT;
    struct vv_acme_order *o = NULL;
    vv_acme_store_path(job->w->store, job->e->name, path);
    enum vv_err err = vv_file_read(path, VV_ACME_DOCUMENT_MAX, &pem, &n);
    if (err == VV_OK) {
        err = vv_acme_key_read((struct vv_str){pem, n}, &key);
    }
    if (err == VV_OK) {
        err = vv_acme_first_der((struct vv_str){pem, n}, &der);
    }
    const struct vv_acme_order_conf conf = {.account_key = key,
                                            .directory = job->directory,
                                            .name = job->e->name,
                                            .revoke_der = vv_sb_str(&der)};
    if (err == VV_OK) {
        err = vv_acme_order_new(&conf, vv_clock_now(), &o);
    }
    bool ok = err == VV_OK && talk(job, o);
    if (ok) {
        err = vv_acme_store_revoked(job->w->store, job->e->name);
        ok = err == VV_OK;
    }
    if (err != VV_OK) {
        local_failure(job, VV_ACME_LOCAL, "%s: %s", path, vv_err_text(err));
    }
    vv_acme_order_free(o);
    EVP_PKEY_free(key);
    vv_sb_fini(&der);
    if (pem != NULL) {
        OPENSSL_cleanse(pem, n);
        free(pem);
    }
    return ok;
}

/* A wish to revoke is tried once: who wished it is told, and may wish again. */
static void revoke_and_tell(struct job *job)
{
    struct vv_acme_entry *e = job->e;
    job->directory = issuer_of(job);
    const bool ok = revoke(job);
    if (job->left) {
        return;
    }
    pthread_mutex_lock(&job->a->lock);
    e->revoke = false;
    e->revoked = ok;
    pthread_mutex_unlock(&job->a->lock);
    if (ok) {
        vv_acme_say(job->a, VV_ACME_INFO, e->name, "certificate revoked at %s", job->directory);
        (void)vv_acme_load(job->a, e, job->w);
        pthread_mutex_lock(&job->a->lock);
        vv_acme_plan_now(&e->plan);
        pthread_mutex_unlock(&job->a->lock);
    } else {
        vv_acme_say(job->a, VV_ACME_WARN, e->name, "the certificate is not revoked: %s",
                    job->failure.text);
    }
}

/* ---- a turn -------------------------------------------------------------------------------- */

/* True: somebody else has done it, or failed at it, since we last looked. */
static bool others_did(struct job *job)
{
    struct vv_acme_entry *e = job->e;
    struct vv_acme_memory m;
    const uint64_t wall_ns = vv_clock_wall();
    if (vv_acme_store_stamp(job->w->store, e->name) != e->stamp) {
        (void)vv_acme_load(job->a, e, job->w);
        pthread_mutex_lock(&job->a->lock);
        e->asked = false; /* it is as fresh as can be */
        pthread_mutex_unlock(&job->a->lock);
        (void)atomic_fetch_add(&job->a->result[VV_ACME_TAKEN], 1);
        vv_acme_say(job->a, VV_ACME_INFO, e->name, "another gateway has put a certificate into %s",
                    job->w->store);
        return true;
    }
    vv_acme_store_recall(job->w->store, e->name, &m);
    pthread_mutex_lock(&job->a->lock);
    const bool failed = !e->asked && m.failures > e->plan.failures && m.retry_wall_ns > wall_ns;
    if (failed) {
        e->memory = m;
        vv_acme_plan_remember(&e->plan, m.failures, m.retry_wall_ns, wall_ns, vv_clock_now());
    }
    pthread_mutex_unlock(&job->a->lock);
    return failed;
}

static void turn(struct job *job)
{
    if (job->revoke) {
        revoke_and_tell(job);
        return;
    }
    if (others_did(job)) {
        return;
    }
    job->directory =
        job->w->directory[vv_acme_plan_authority(&job->e->plan, job->w->directory_count)];
    const bool ok = order(job);
    if (ok) {
        went_well(job);
    } else if (!job->left) {
        went_wrong(job);
    }
}

void vv_acme_work(struct vv_acme_thread *t, struct vv_acme_entry *e, struct vv_acme_wish *w)
{
    struct job job = {.t = t, .a = t->a, .e = e, .w = w, .directory = w->directory[0]};
    int lock = -1;
    pthread_mutex_lock(&t->a->lock);
    const bool loaded = e->loaded;
    job.revoke = e->revoke;
    pthread_mutex_unlock(&t->a->lock);
    if (!loaded) {
        (void)vv_acme_load(t->a, e, w);
        return;
    }
    enum vv_err err = vv_acme_store_lock(w->store, e->name, &lock);
    if (err == VV_EAGAIN) {
        pthread_mutex_lock(&t->a->lock);
        e->look_ns = vv_clock_now() + LOCKED_NS;
        pthread_mutex_unlock(&t->a->lock);
        return;
    }
    if (err == VV_OK) {
        err = vv_acme_http_new(&t->a->stop, &job.http);
    }
    if (err == VV_OK) {
        turn(&job);
    } else {
        local_failure(&job, VV_ACME_LOCAL, "%s/locks/%s: %s", w->store, e->name, vv_err_text(err));
        went_wrong(&job);
    }
    vv_acme_http_free(job.http);
    vv_acme_store_unlock(&lock);
}
