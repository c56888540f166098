/* src/acme/challenges.c - what the authority comes to see: in memory for this process, in the store for the
 * gateways that share it. A stranger's guess costs a look into memory and, a few times a second, a
 * file that is not there. */
#include "acme/acme_int.h"
#include "acme/pkix.h"
#include "os/clock.h"

#include <stdio.h>
#include <stdlib.h>

#define ANSWER_MAX 256

static void alpn_file(char out[VV_ACME_NAME_MAX + 8], const char *name)
{
    (void)snprintf(out, VV_ACME_NAME_MAX + 8, "%s.pem", name);
}

/* ---- putting up ---------------------------------------------------------------------------- */

static enum vv_err make_cert(const char *name, const char *answer, struct vv_sb *pem,
                             struct vv_tls_cert **ret)
{
    struct vv_sb why = VV_SB_INIT;
    enum vv_err err = vv_acme_alpn_pem(name, answer, vv_clock_wall(), pem);
    if (err == VV_OK) {
        const struct vv_tls_cert_text text = {.cert_name = "challenge", .cert = vv_sb_str(pem)};
        err = vv_tls_cert_parse(&text, &why, ret);
    }
    vv_sb_fini(&why);
    return err;
}

enum vv_err vv_acme_publish(struct vv_acme_thread *t, const struct vv_acme_wish *w,
                            const char *name, const struct vv_acme_order *o)
{
    struct vv_acme_token k = {.cert = NULL};
    struct vv_sb pem = VV_SB_INIT;
    char file[VV_ACME_NAME_MAX + 8];
    enum vv_err err;
    (void)snprintf(k.token, sizeof k.token, "%s", vv_acme_order_token(o));
    (void)snprintf(k.name, sizeof k.name, "%s", name);
    (void)snprintf(k.answer, sizeof k.answer, "%s", vv_acme_order_key_authorization(o));
    if (vv_acme_order_kind(o) == VV_ACME_KIND_HTTP) {
        err = vv_acme_store_challenge(w->store, k.token, vv_str_from(k.answer));
    } else {
        alpn_file(file, name);
        err = make_cert(name, k.answer, &pem, &k.cert);
        if (err == VV_OK) {
            err = vv_acme_store_challenge(w->store, file, vv_sb_str(&pem));
        }
    }
    vv_sb_fini(&pem);
    if (err != VV_OK) {
        vv_tls_cert_unref(k.cert);
        return err;
    }
    vv_acme_unpublish(t, w);
    pthread_mutex_lock(&t->a->token_lock);
    *t->token = k;
    pthread_mutex_unlock(&t->a->token_lock);
    return VV_OK;
}

void vv_acme_unpublish(struct vv_acme_thread *t, const struct vv_acme_wish *w)
{
    char file[VV_ACME_NAME_MAX + 8];
    pthread_mutex_lock(&t->a->token_lock);
    const struct vv_acme_token k = *t->token;
    *t->token = (struct vv_acme_token){.cert = NULL};
    pthread_mutex_unlock(&t->a->token_lock);
    if (k.cert != NULL) {
        alpn_file(file, k.name);
        vv_acme_store_unchallenge(w->store, file);
    } else if (k.token[0] != '\0') {
        vv_acme_store_unchallenge(w->store, k.token);
    }
    vv_tls_cert_unref(k.cert);
}

/* ---- being asked --------------------------------------------------------------------------- */

/* The store's configuration, counted, if there may be another look into it in this second. */
static struct vv_acme_wish *may_look(struct vv_acme *a)
{
    struct vv_acme_wish *w = NULL;
    const uint64_t now_s = vv_clock_now() / VV_SEC;
    pthread_mutex_lock(&a->lock);
    if (a->look_s != now_s) {
        a->look_s = now_s;
        a->looks = 0;
    }
    if (a->wish != NULL && a->looks < VV_ACME_LOOKS_MAX) {
        a->looks++;
        w = vv_acme_wish_ref(a->wish);
    }
    pthread_mutex_unlock(&a->lock);
    return w;
}

static char *find_in_store(struct vv_acme *a, const char *file, size_t *ret_n)
{
    char *text = NULL;
    struct vv_acme_wish *w = may_look(a);
    if (w != NULL && vv_acme_store_find(w->store, file, &text, ret_n) != VV_OK) {
        text = NULL;
    }
    vv_acme_wish_unref(w);
    return text;
}

/* A file of the store is only sent if it is what it should be: the token, a dot, a thumbprint. */
static bool is_answer(struct vv_str text, struct vv_str token)
{
    if (text.n > ANSWER_MAX || text.n < token.n + 2 || !vv_str_starts(text, token) ||
        text.p[token.n] != '.') {
        return false;
    }
    return vv_acme_is_token((struct vv_str){text.p + token.n + 1, text.n - token.n - 1});
}

struct vv_str vv_acme_challenge(struct vv_acme *a, struct vv_str token, struct vv_arena *arena)
{
    struct vv_str found = {NULL, 0};
    char file[VV_ACME_TOKEN_MAX];
    if (!vv_acme_busy(a) || !vv_acme_is_token(token)) {
        return found;
    }
    pthread_mutex_lock(&a->token_lock);
    for (size_t i = 0; i < VV_COUNT(a->token); i++) {
        const struct vv_acme_token *k = &a->token[i];
        if (k->cert == NULL && vv_str_eq(vv_str_from(k->token), token)) {
            found = vv_arena_str(arena, vv_str_from(k->answer));
        }
    }
    pthread_mutex_unlock(&a->token_lock);
    if (found.n > 0) {
        return found;
    }
    (void)snprintf(file, sizeof file, VV_STR_FMT, VV_STR_ARG(token));
    size_t n = 0;
    char *text = find_in_store(a, file, &n);
    if (text != NULL && is_answer((struct vv_str){text, n}, token)) {
        found = vv_arena_str(arena, (struct vv_str){text, n});
    }
    free(text);
    return found;
}

static struct vv_tls_cert *parse_challenge(struct vv_str pem)
{
    struct vv_tls_cert *c = NULL;
    struct vv_sb why = VV_SB_INIT;
    const struct vv_tls_cert_text text = {.cert_name = "challenge", .cert = pem};
    if (vv_tls_cert_parse(&text, &why, &c) != VV_OK) {
        c = NULL;
    }
    vv_sb_fini(&why);
    return c;
}

struct vv_tls_cert *vv_acme_challenge_cert(struct vv_acme *a, struct vv_str name)
{
    struct vv_tls_cert *found = NULL;
    char text[VV_ACME_NAME_MAX], file[VV_ACME_NAME_MAX + 8];
    if (!vv_acme_busy(a) || name.n >= sizeof text) {
        return NULL;
    }
    for (size_t i = 0; i < name.n; i++) {
        text[i] = vv_char_lower(name.p[i]);
    }
    text[name.n] = '\0';
    pthread_mutex_lock(&a->token_lock);
    for (size_t i = 0; i < VV_COUNT(a->token) && found == NULL; i++) {
        const struct vv_acme_token *k = &a->token[i];
        if (k->cert != NULL && strcmp(k->name, text) == 0) {
            found = vv_tls_cert_ref(k->cert);
        }
    }
    pthread_mutex_unlock(&a->token_lock);
    if (found != NULL || vv_acme_name_problem(text, VV_ACME_ANY) != NULL) {
        return found;
    }
    alpn_file(file, text);
    size_t n = 0;
    char *pem = find_in_store(a, file, &n);
    if (pem != NULL) {
        found = parse_challenge((struct vv_str){pem, n});
        OPENSSL_cleanse(pem, n);
        free(pem);
    }
    return found;
}
