/* src/gateway/upstream_tls.c - one context for all servers of a service: trust is read once, and each server
 * keeps a session of its own in it. */
#include "gateway/upstream_tls.h"
#include "base/sb.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>

#define SESSIONS_MAX 128 /* servers whose last session is kept */
#define NAME_BYTES 256

struct vv_service_tls {
    atomic_uint refs;
    struct vv_tls_context *requests, *probe;
    char *name;     /* NULL: the host of the URL */
    char *identity; /* what it was made from */
};

bool vv_url_is_secure(const char *url)
{
    return strncmp(url, "https://", 8) == 0;
}

struct vv_str vv_secure_host(const char *server_name)
{
    struct vv_str s = vv_str_from(server_name);
    if (vv_url_is_secure(server_name)) {
        s = (struct vv_str){s.p + 8, s.n - 8};
    }
    if (s.n > 0 && s.p[0] == '[') {
        const ptrdiff_t end = vv_str_find_char(s, ']');
        return (struct vv_str){s.p + 1, end > 0 ? (size_t)end - 1 : 0};
    }
    size_t n = 0;
    while (n < s.n && s.p[n] != ':' && s.p[n] != '/') {
        n++;
    }
    return (struct vv_str){s.p, n};
}

static bool has_secure_server(const struct vv_service_settings *conf)
{
    for (size_t i = 0; conf->servers != NULL && i < conf->servers->count; i++) {
        const struct vv_server_settings *s = conf->servers->item[i];
        if (s->url != NULL && vv_url_is_secure(s->url)) {
            return true;
        }
    }
    return false;
}

/* A file by what a replacement changes about it. */
static void add_file(struct vv_sb *out, const char *path)
{
    struct stat st;
    if (path != NULL && stat(path, &st) == 0) {
        vv_sb_addf(out, "%s %llu %lld %lld.%09ld\n", path, (unsigned long long)st.st_ino,
                   (long long)st.st_size, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    } else {
        vv_sb_addf(out, "%s\n", path != NULL ? path : "-");
    }
}

static char *identity_of(const struct vv_service_settings *conf)
{
    const struct vv_service_tls_settings *s = &conf->tls;
    struct vv_sb out = VV_SB_INIT;
    add_file(&out, s->ca);
    add_file(&out, s->cert);
    add_file(&out, s->key);
    vv_sb_addf(&out, "%s %d %d %d", s->name != NULL ? s->name : "-", (int)s->verify,
               (int)s->version_min, (int)conf->http2);
    return vv_sb_take(&out);
}

static enum vv_err make_contexts(struct vv_service_tls *t, const struct vv_service_settings *conf,
                                 struct vv_tls_cert *cert, struct vv_sb *why)
{
    static const char *const both[] = {"h2", "http/1.1"};
    struct vv_tls_client_conf c = {
        .ca_file = conf->tls.ca,
        .cert = cert,
        .alpn = conf->http2 ? both : both + 1,
        .alpn_count = conf->http2 ? 2 : 1,
        .sessions_max = SESSIONS_MAX,
        .version_min = (enum vv_tls_version)conf->tls.version_min,
        .insecure = conf->tls.verify == 0,
    };
    enum vv_err err = vv_tls_client_new(&c, why, &t->requests);
    if (err != VV_OK || !conf->http2) {
        t->probe = err == VV_OK ? vv_tls_context_ref(t->requests) : NULL;
        return err;
    }
    c.alpn = both + 1;
    c.alpn_count = 1;
    return vv_tls_client_new(&c, why, &t->probe);
}

static enum vv_err fill(struct vv_service_tls *t, const struct vv_service_settings *conf,
                        struct vv_sb *why, const void **reterr_field)
{
    const struct vv_service_tls_settings *s = &conf->tls;
    struct vv_tls_cert *cert = NULL;
    enum vv_err err = VV_OK;
    if (s->name != NULL && (t->name = strdup(s->name)) == NULL) {
        return VV_ENOMEM;
    }
    if (s->cert != NULL) {
        const struct vv_tls_cert_files files = {.cert = s->cert, .key = s->key};
        *reterr_field = &s->cert;
        err = vv_tls_cert_load(&files, why, &cert);
    }
    if (err == VV_OK) {
        *reterr_field = s->ca != NULL ? (const void *)&s->ca : &s->cert;
        err = make_contexts(t, conf, cert, why);
    }
    vv_tls_cert_unref(cert);
    return err;
}

enum vv_err vv_service_tls_take(const struct vv_service_settings *conf,
                                struct vv_service_tls *former, struct vv_service_tls **ret,
                                struct vv_sb *why, const void **reterr_field)
{
    *reterr_field = NULL;
    if (!conf->tls.enabled && !has_secure_server(conf)) {
        *ret = NULL;
        return VV_OK;
    }
    char *identity = identity_of(conf);
    if (identity == NULL) {
        return VV_ENOMEM;
    }
    if (former != NULL && strcmp(former->identity, identity) == 0) {
        free(identity);
        *ret = vv_service_tls_ref(former);
        return VV_OK;
    }
    struct vv_service_tls *t = calloc(1, sizeof *t);
    if (t == NULL) {
        free(identity);
        return VV_ENOMEM;
    }
    atomic_init(&t->refs, 1);
    t->identity = identity;
    const enum vv_err err = fill(t, conf, why, reterr_field);
    if (err != VV_OK) {
        vv_service_tls_unref(t);
        return err;
    }
    *ret = t;
    return VV_OK;
}

struct vv_service_tls *vv_service_tls_ref(struct vv_service_tls *t)
{
    if (t != NULL) {
        atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    }
    return t;
}

void vv_service_tls_unref(struct vv_service_tls *t)
{
    if (t == NULL || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    vv_tls_context_unref(t->requests);
    vv_tls_context_unref(t->probe);
    free(t->name);
    free(t->identity);
    free(t);
}

enum vv_err vv_service_tls_connect(const struct vv_service_tls *t, const struct vv_server *server,
                                   enum vv_service_tls_use use, int fd, struct vv_tls **ret)
{
    struct vv_tls_context *context = use == VV_SERVICE_TLS_PROBE ? t->probe : t->requests;
    char host[NAME_BYTES];
    const char *name = t->name;
    if (name == NULL) {
        const struct vv_str h = vv_secure_host(server->name);
        if (h.n == 0 || h.n >= sizeof host) {
            return VV_EINVAL;
        }
        memcpy(host, h.p, h.n);
        host[h.n] = '\0';
        name = host;
    }
    return vv_tls_connect_keyed(context, fd, name, server->name, NULL, ret);
}
