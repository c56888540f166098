/* src/os/tls_client.c - a client's context: whom it trusts, and the last session of each name.
 *
 * A session is taken out of the store while it is tried and a copy of the new one is put in: OpenSSL
 * writes to a session in use, and RFC 8446 appendix C.4 wants tickets used once. */
#include "os/tls_context.h"
#include "os/tls_int.h"

#include <openssl/err.h>
#include <stdlib.h>

static struct vv_tls_session *find(struct vv_tls_context *c, const char *name)
{
    for (size_t i = 0; i < c->sessions_max; i++) {
        if (c->sessions[i].name != NULL && strcmp(c->sessions[i].name, name) == 0) {
            return &c->sessions[i];
        }
    }
    return NULL;
}

SSL_SESSION *vv_tls_session_take(struct vv_tls_context *c, const char *name)
{
    SSL_SESSION *taken = NULL;
    pthread_mutex_lock(&c->sessions_lock);
    struct vv_tls_session *s = find(c, name);
    if (s != NULL) {
        taken = s->session;
        s->session = NULL;
    }
    pthread_mutex_unlock(&c->sessions_lock);
    return taken;
}

/* The name's own place, or a free one, or the one that was not used for longest. */
static struct vv_tls_session *place_for(struct vv_tls_context *c, const char *name)
{
    struct vv_tls_session *s = find(c, name);
    if (s != NULL) {
        return s;
    }
    s = &c->sessions[0];
    for (size_t i = 1; i < c->sessions_max; i++) {
        if (c->sessions[i].used < s->used) {
            s = &c->sessions[i];
        }
    }
    char *copy = strdup(name);
    if (copy == NULL) {
        return NULL;
    }
    free(s->name);
    s->name = copy;
    return s;
}

void vv_tls_session_put(struct vv_tls_context *c, const char *name, SSL_SESSION *session)
{
    if (c->sessions_max == 0 || SSL_SESSION_is_resumable(session) != 1) {
        return;
    }
    SSL_SESSION *old = SSL_SESSION_dup(session);
    if (old == NULL) {
        ERR_clear_error();
        return;
    }
    pthread_mutex_lock(&c->sessions_lock);
    struct vv_tls_session *s = place_for(c, name);
    if (s != NULL) {
        SSL_SESSION *fresh = old;
        old = s->session;
        s->session = fresh;
        s->used = ++c->sessions_used;
    }
    pthread_mutex_unlock(&c->sessions_lock);
    SSL_SESSION_free(old);
}

static int on_session(SSL *ssl, SSL_SESSION *session)
{
    const struct vv_tls *t = SSL_get_app_data(ssl);
    vv_tls_session_put(t->context, t->key, session);
    return 0; /* the reference stays OpenSSL's */
}

static enum vv_err trust(const struct vv_tls_client_conf *conf, SSL_CTX *ssl, struct vv_sb *why)
{
    if (conf->insecure) {
        SSL_CTX_set_verify(ssl, SSL_VERIFY_NONE, NULL);
        return VV_OK;
    }
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    if (conf->ca_file == NULL) {
        return SSL_CTX_set_default_verify_paths(ssl) == 1 ? VV_OK : VV_ENOMEM;
    }
    if (SSL_CTX_load_verify_file(ssl, conf->ca_file) != 1) {
        vv_sb_addf(why, "%s: ", conf->ca_file);
        vv_tls_say(why, "the trusted certificates cannot be read");
        return VV_EINVAL;
    }
    return VV_OK;
}

static enum vv_err set_up(struct vv_tls_context *c, const struct vv_tls_client_conf *conf,
                          struct vv_sb *why)
{
    struct vv_tls_group *g = calloc(1, sizeof(*g));
    c->groups = calloc(1, sizeof(struct vv_tls_group *));
    if (g == NULL || c->groups == NULL || (g->ssl = vv_tls_ssl_new(c, conf->version_min)) == NULL) {
        free(g);
        return VV_ENOMEM;
    }
    c->groups[c->group_count++] = g;
    if (conf->cert != NULL && !vv_tls_ssl_use(g->ssl, conf->cert)) {
        vv_tls_say(why, "the client's certificate is not accepted by OpenSSL");
        return VV_EINVAL;
    }
    if (c->alpn_n > 0 && SSL_CTX_set_alpn_protos(g->ssl, c->alpn, (unsigned)c->alpn_n) != 0) {
        return VV_ENOMEM;
    }
    if (conf->sessions_max > 0) {
        c->sessions = calloc(conf->sessions_max, sizeof(*c->sessions));
        if (c->sessions == NULL) {
            return VV_ENOMEM;
        }
        c->sessions_max = conf->sessions_max;
        SSL_CTX_set_session_cache_mode(g->ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(g->ssl, on_session);
    }
    return trust(conf, g->ssl, why);
}

enum vv_err vv_tls_client_new(const struct vv_tls_client_conf *conf, struct vv_sb *why,
                              struct vv_tls_context **ret)
{
    struct vv_tls_context *c = vv_tls_context_make(false);
    if (c == NULL) {
        return VV_ENOMEM;
    }
    c->ktls = conf->ktls && vv_tls_ktls_possible();
    c->insecure = conf->insecure;
    enum vv_err err = vv_tls_context_alpn(c, conf->alpn, conf->alpn_count, why);
    if (err == VV_OK) {
        err = set_up(c, conf, why);
    }
    ERR_clear_error();
    if (err != VV_OK) {
        vv_tls_context_unref(c);
        return err;
    }
    *ret = c;
    return VV_OK;
}
