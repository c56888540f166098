/* src/os/tls_server.c - a server's context: one SSL_CTX for each set of certificates that names share.
 *
 * The name is looked at in the client hello callback, the first moment it is known: before versions, suites
 * and tickets are looked at, and before anything was computed, so that a refused hello costs little. */
#include "os/clock.h"
#include "os/tls_context.h"
#include "os/tls_int.h"

#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#define SLOW_RSA_BITS 2048       /* above: more than a millisecond for each signature, see tls.h */
#define SIGALG_ECDSA_P256 0x0403 /* RFC 8446 section 4.2.3 */
#define GROUP_P256 0x0017        /* RFC 8446 section 4.2.7 */
#define NAME_MAX_BYTES 255

/* ---- names ---------------------------------------------------------------------------------- */

static struct vv_tls_sni *place_of(const struct vv_tls_context *c, struct vv_str name)
{
    size_t at = vv_str_hash_nocase(name, 0) & c->sni_mask;
    while (c->sni[at].name != NULL &&
           !vv_str_eq_nocase((struct vv_str){c->sni[at].name, c->sni[at].n}, name)) {
        at = (at + 1) & c->sni_mask;
    }
    return &c->sni[at];
}

/* The set for a name; NULL when no certificate has it. */
static struct vv_tls_group *named_group(const struct vv_tls_context *c, struct vv_str name)
{
    if (c->sni == NULL || name.n == 0 || name.p[0] == '.') {
        return NULL;
    }
    const struct vv_tls_sni *s = place_of(c, name);
    if (s->name == NULL) { /* a wildcard stands for one label, RFC 6125 section 6.4.3 */
        const ptrdiff_t dot = vv_str_find_char(name, '.');
        if (dot < 0) {
            return NULL;
        }
        s = place_of(c, (struct vv_str){name.p + dot, name.n - (size_t)dot});
    }
    return s->name != NULL ? s->group : NULL;
}

struct vv_tls_group *vv_tls_context_group(const struct vv_tls_context *c, struct vv_str name)
{
    struct vv_tls_group *g = named_group(c, name);
    return g != NULL ? g : c->groups[0];
}

const struct vv_tls_cert *vv_tls_context_cert(const struct vv_tls_context *c, struct vv_str name,
                                              enum vv_tls_key key)
{
    return vv_tls_context_group(c, name)->cert[key];
}

static struct vv_str sni_form(const char *name) /* "*.x.y" is kept as ".x.y" */
{
    struct vv_str s = vv_str_from(name);
    if (vv_str_starts(s, VV_STR("*."))) {
        s.p++;
        s.n--;
    }
    return s;
}

static bool fill_names(struct vv_tls_context *c)
{
    size_t count = 0, places = 16;
    for (size_t i = 0; i < c->cert_count; i++) {
        count += c->certs[i]->info.name_count;
    }
    while (places < 2 * count) {
        places *= 2;
    }
    c->sni = calloc(places, sizeof(*c->sni));
    c->sni_mask = places - 1;
    if (c->sni == NULL) {
        return false;
    }
    for (size_t i = 0; i < c->cert_count; i++) {
        struct vv_tls_cert *cert = c->certs[i];
        for (size_t k = 0; k < cert->info.name_count; k++) {
            const struct vv_str name = sni_form(cert->info.names[k]);
            struct vv_tls_sni *s = place_of(c, name);
            s->name = name.p;
            s->n = name.n;
            if (s->cert[cert->info.key] == NULL) {
                s->cert[cert->info.key] = cert;
            }
        }
    }
    return true;
}

/* ---- callbacks ------------------------------------------------------------------------------ */

/* The first host name of the extension, RFC 6066 section 3; .n 0 when there is none. */
static struct vv_str hello_name(SSL *ssl)
{
    const unsigned char *p;
    size_t n;
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &n) != 1 || n < 5 ||
        p[2] != TLSEXT_NAMETYPE_host_name) {
        return (struct vv_str){NULL, 0};
    }
    const size_t len = (size_t)p[3] << 8 | p[4];
    if (len > n - 5 || len > NAME_MAX_BYTES || memchr(p + 5, '\0', len) != NULL) {
        return (struct vv_str){NULL, 0}; /* OpenSSL refuses it a moment later */
    }
    return (struct vv_str){(const char *)p + 5, len};
}

/* Is it in this extension, a list of numbers of two bytes? */
static bool offers(SSL *ssl, unsigned extension, unsigned number)
{
    const unsigned char *p;
    size_t n;
    if (SSL_client_hello_get0_ext(ssl, extension, &p, &n) != 1) {
        return false;
    }
    for (size_t i = 2; i + 1 < n; i += 2) {
        if ((unsigned)(p[i] << 8 | p[i + 1]) == number) {
            return true;
        }
    }
    return false;
}

/* Before TLS 1.3 the suite says as well which kind of key signs. */
static bool shares_ecdsa_suite(SSL *ssl)
{
    STACK_OF(SSL_CIPHER) *theirs = SSL_get_client_ciphers(ssl), *ours = SSL_get_ciphers(ssl);
    for (int i = 0; i < sk_SSL_CIPHER_num(theirs); i++) {
        const SSL_CIPHER *suite = sk_SSL_CIPHER_value(theirs, i);
        if (SSL_CIPHER_get_auth_nid(suite) == NID_auth_ecdsa &&
            sk_SSL_CIPHER_find(ours, (SSL_CIPHER *)(uintptr_t)suite) >= 0) {
            return true;
        }
    }
    return false;
}

/* Will this handshake make us sign with a large RSA key? When in doubt, yes: a client must not be
 * able to choose that the loop does it. */
static bool will_be_slow(SSL *ssl, const struct vv_tls *t)
{
    const struct vv_tls_group *g = t->group;
    const bool small = g->cert[VV_TLS_KEY_EC] != NULL && t->takes_ecdsa &&
                       (SSL_version(ssl) >= TLS1_3_VERSION || shares_ecdsa_suite(ssl));
    return g->slow && !small;
}

/* Asked for a certificate only when a ticket was not taken up, so for what is about to be signed. */
static int on_cert(SSL *ssl, void *user)
{
    const struct vv_tls_context *c = user;
    const struct vv_tls *t = SSL_get_app_data(ssl);
    return c->offload && !t->may_work && !t->challenge && will_be_slow(ssl, t) ? -1 : 1;
}

/* RFC 8737 section 3: the protocol of the challenge is the only one that is offered. */
static bool is_challenge(SSL *ssl)
{
    static const char only[] = "\x00\x0b\x0a" VV_TLS_ALPN_CHALLENGE; /* lengths: list, protocol */
    const unsigned char *p;
    size_t n;
    return SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &p,
                                     &n) == 1 &&
           n == sizeof(only) - 1 && memcmp(p, only, n) == 0;
}

static int show_challenge(SSL *ssl, struct vv_tls *t, struct vv_str name, int *alert)
{
    const struct vv_tls_context *c = t->context;
    struct vv_tls_cert *cert = name.n > 0 ? c->challenge(c->challenge_user, name) : NULL;
    if (cert == NULL) {
        t->failure = VV_TLS_FAIL_ALPN;
        *alert = SSL_AD_NO_APPLICATION_PROTOCOL;
        return SSL_CLIENT_HELLO_ERROR;
    }
    SSL_certs_clear(ssl);
    const bool ok = SSL_use_cert_and_key(ssl, cert->x509, cert->key, cert->chain, 1) == 1;
    vv_tls_cert_unref(cert); /* the connection has counted its parts */
    if (!ok) {
        *alert = SSL_AD_INTERNAL_ERROR;
        return SSL_CLIENT_HELLO_ERROR;
    }
    SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL);
    SSL_set_options(ssl, SSL_OP_NO_TICKET);
    t->challenge = true;
    t->hello_done = true;
    return SSL_CLIENT_HELLO_SUCCESS;
}

static int on_hello(SSL *ssl, int *alert, void *user)
{
    (void)user;
    struct vv_tls *t = SSL_get_app_data(ssl);
    struct vv_tls_context *c = t->context;
    const struct vv_str name = hello_name(ssl);
    if (c->challenge != NULL && is_challenge(ssl)) {
        return show_challenge(ssl, t, name, alert);
    }
    struct vv_tls_group *g = named_group(c, name);
    if (g == NULL && c->strict_names) {
        t->failure = VV_TLS_FAIL_NAME;
        *alert = SSL_AD_UNRECOGNIZED_NAME;
        return SSL_CLIENT_HELLO_ERROR;
    }
    if (g == NULL) {
        g = c->groups[0];
    }
    t->group = g;
    t->takes_ecdsa = offers(ssl, TLSEXT_TYPE_signature_algorithms, SIGALG_ECDSA_P256) &&
                     offers(ssl, TLSEXT_TYPE_supported_groups, GROUP_P256);
    if (t->name == NULL && name.n > 0) {
        t->name = strndup(name.p, name.n);
        for (char *q = t->name; q != NULL && *q != '\0'; q++) {
            *q = vv_char_lower(*q);
        }
    }
    if (g != c->groups[0] && SSL_set_SSL_CTX(ssl, g->ssl) == NULL) {
        *alert = SSL_AD_INTERNAL_ERROR;
        return SSL_CLIENT_HELLO_ERROR;
    }
    t->hello_done = true;
    return SSL_CLIENT_HELLO_SUCCESS;
}

/* Says that the name was understood, as RFC 6066 asks for. */
static int on_name(SSL *ssl, int *alert, void *user)
{
    (void)alert, (void)user;
    return SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) != NULL ? SSL_TLSEXT_ERR_OK
                                                                      : SSL_TLSEXT_ERR_NOACK;
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n,
                   const unsigned char *in, unsigned in_n, void *user)
{
    const struct vv_tls_context *c = user;
    unsigned char *chosen = NULL;
    struct vv_tls *t = SSL_get_app_data(ssl);
    if (t->challenge) {
        *out = (const unsigned char *)VV_TLS_ALPN_CHALLENGE;
        *out_n = sizeof(VV_TLS_ALPN_CHALLENGE) - 1;
        return SSL_TLSEXT_ERR_OK;
    }
    if (c->alpn_n == 0) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    if (SSL_select_next_proto(&chosen, out_n, c->alpn, (unsigned)c->alpn_n, in, in_n) !=
        OPENSSL_NPN_NEGOTIATED) {
        t->failure = VV_TLS_FAIL_ALPN;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int on_status(SSL *ssl, void *user)
{
    const struct vv_tls_context *c = user;
    const X509 *chosen = SSL_get_certificate(ssl);
    const struct vv_tls_cert *cert = NULL;
    for (size_t i = 0; i < c->cert_count && cert == NULL; i++) {
        cert = c->certs[i]->x509 == chosen ? c->certs[i] : NULL;
    }
    if (cert == NULL || cert->staple == NULL ||
        vv_clock_wall() >= cert->info.staple_until_wall_ns) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    unsigned char *copy = OPENSSL_memdup(cert->staple, cert->staple_n);
    if (copy == NULL) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)cert->staple_n);
    return SSL_TLSEXT_ERR_OK;
}

/* ---- sets of certificates -------------------------------------------------------------------- */

struct clients { /* whom we ask for certificates, read once for all sets */
    X509_STORE *trust;
    STACK_OF(X509_NAME) * names;
    uint8_t id[SHA256_DIGEST_LENGTH]; /* sessions of other rules are not taken up */
    int mode;
};

static bool ask_clients(SSL_CTX *ssl, const struct clients *who)
{
    if (who->trust != NULL) {
        STACK_OF(X509_NAME) *names = SSL_dup_CA_list(who->names);
        if (names == NULL || SSL_CTX_set1_verify_cert_store(ssl, who->trust) != 1) {
            sk_X509_NAME_pop_free(names, X509_NAME_free);
            return false;
        }
        SSL_CTX_set_client_CA_list(ssl, names);
    }
    SSL_CTX_set_verify(ssl, who->mode, NULL);
    return SSL_CTX_set_session_id_context(ssl, who->id, sizeof(who->id)) == 1;
}

static bool set_up(struct vv_tls_context *c, SSL_CTX *ssl, const struct clients *who)
{
    SSL_CTX_set_client_hello_cb(ssl, on_hello, NULL);
    SSL_CTX_set_cert_cb(ssl, on_cert, c);
    SSL_CTX_set_tlsext_servername_callback(ssl, on_name);
    SSL_CTX_set_tlsext_status_cb(ssl, on_status);
    SSL_CTX_set_tlsext_status_arg(ssl, c);
    if (c->alpn_n > 0 || c->challenge != NULL) {
        SSL_CTX_set_alpn_select_cb(ssl, on_alpn, c);
    }
    if (c->tickets == NULL) {
        SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET);
        SSL_CTX_set_num_tickets(ssl, 0);
        return ask_clients(ssl, who);
    }
    SSL_CTX_set_num_tickets(ssl, 1);
    SSL_CTX_set_timeout(ssl, (long)(vv_tls_tickets_life(c->tickets) / VV_SEC));
    return SSL_CTX_set_tlsext_ticket_key_evp_cb(ssl, vv_tls_tickets_callback) == 1 &&
           ask_clients(ssl, who);
}

/* The group of exactly these certificates, made when it is new. */
static enum vv_err group_of(struct vv_tls_context *c, const struct vv_tls_server_conf *conf,
                            struct vv_tls_cert *const cert[VV_TLS_KEY_COUNT],
                            const struct clients *who, struct vv_sb *why, struct vv_tls_group **ret)
{
    const size_t bytes = sizeof((struct vv_tls_group *)NULL)->cert;
    for (size_t i = c->group_count; i > 0; i--) {
        if (memcmp(c->groups[i - 1]->cert, cert, bytes) == 0) {
            *ret = c->groups[i - 1];
            return VV_OK;
        }
    }
    struct vv_tls_group **grown =
        reallocarray(c->groups, c->group_count + 1, sizeof(struct vv_tls_group *));
    struct vv_tls_group *g = calloc(1, sizeof(*g));
    if (grown != NULL) {
        c->groups = grown;
    }
    if (grown == NULL || g == NULL || (g->ssl = vv_tls_ssl_new(c, conf->version_min)) == NULL) {
        free(g);
        return VV_ENOMEM;
    }
    c->groups[c->group_count++] = g;
    memcpy(g->cert, cert, bytes);
    const struct vv_tls_cert *rsa = cert[VV_TLS_KEY_RSA];
    g->slow = rsa != NULL && rsa->info.key_bits > SLOW_RSA_BITS;
    for (size_t k = 0; k < VV_TLS_KEY_COUNT; k++) {
        if (cert[k] != NULL && !vv_tls_ssl_use(g->ssl, cert[k])) {
            vv_tls_say(why, "a certificate is not accepted by OpenSSL");
            return VV_EINVAL;
        }
    }
    *ret = g;
    return set_up(c, g->ssl, who) ? VV_OK : VV_ENOMEM;
}

static enum vv_err fill_groups(struct vv_tls_context *c, const struct vv_tls_server_conf *conf,
                               const struct clients *who, struct vv_sb *why)
{
    struct vv_tls_cert *alone[VV_TLS_KEY_COUNT] = {NULL};
    struct vv_tls_cert *const *first = alone;
    struct vv_tls_group *g;
    const struct vv_tls_cert_info *info = vv_tls_cert_info(c->certs[0]);
    alone[info->key] = c->certs[0];
    if (info->name_count > 0) { /* the default may have several kinds of key, too */
        first = place_of(c, sni_form(info->names[0]))->cert;
    }
    enum vv_err err = group_of(c, conf, first, who, why, &g);
    for (size_t i = 0; i <= c->sni_mask && err == VV_OK; i++) {
        if (c->sni[i].name != NULL) {
            err = group_of(c, conf, c->sni[i].cert, who, why, &c->sni[i].group);
        }
    }
    return err;
}

static enum vv_err read_clients(const struct vv_tls_server_conf *conf, struct clients *who,
                                struct vv_sb *why)
{
    uint8_t mode = (uint8_t)conf->ask;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool ok = md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 &&
              EVP_DigestUpdate(md, &mode, 1) == 1;
    if (ok && conf->ask != VV_TLS_ASK_NONE) {
        who->mode = SSL_VERIFY_PEER;
        who->mode |= conf->ask == VV_TLS_ASK_REQUIRED ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0;
        who->trust = X509_STORE_new();
        who->names = SSL_load_client_CA_file(conf->client_ca_file);
        if (who->trust == NULL || who->names == NULL ||
            X509_STORE_load_file(who->trust, conf->client_ca_file) != 1) {
            EVP_MD_CTX_free(md);
            vv_sb_addf(why, "%s: ", conf->client_ca_file);
            vv_tls_say(why, "the certificates of who may sign clients cannot be read");
            return VV_EINVAL;
        }
        STACK_OF(X509_OBJECT) *all = X509_STORE_get0_objects(who->trust);
        for (int i = 0; ok && i < sk_X509_OBJECT_num(all); i++) {
            char print[VV_TLS_FINGERPRINT];
            X509 *x = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(all, i));
            if (x != NULL) {
                vv_tls_fingerprint(x, print);
                ok = EVP_DigestUpdate(md, print, sizeof(print)) == 1;
            }
        }
    }
    ok = ok && EVP_DigestFinal_ex(md, who->id, NULL) == 1;
    EVP_MD_CTX_free(md);
    return ok ? VV_OK : VV_ENOMEM;
}

static enum vv_err take_certs(struct vv_tls_context *c, const struct vv_tls_server_conf *conf)
{
    c->certs = calloc(conf->cert_count, sizeof(struct vv_tls_cert *));
    if (c->certs == NULL) {
        return VV_ENOMEM;
    }
    for (size_t i = 0; i < conf->cert_count; i++) {
        c->certs[c->cert_count++] = vv_tls_cert_ref(conf->certs[i]);
    }
    return fill_names(c) ? VV_OK : VV_ENOMEM;
}

enum vv_err vv_tls_server_new(const struct vv_tls_server_conf *conf, struct vv_sb *why,
                              struct vv_tls_context **ret)
{
    VV_ASSERT(conf->ask == VV_TLS_ASK_NONE || conf->client_ca_file != NULL);
    struct clients who = {.mode = SSL_VERIFY_NONE};
    struct vv_tls_context *c = vv_tls_context_make(true);
    if (c == NULL) {
        return VV_ENOMEM;
    }
    c->hello_bytes_max = conf->hello_bytes_max > 0 ? conf->hello_bytes_max : VV_TLS_HELLO_BYTES;
    c->strict_names = conf->strict_names;
    c->offload = conf->offload;
    c->challenge = conf->challenge;
    c->challenge_user = conf->challenge_user;
    c->ktls = conf->ktls && vv_tls_ktls_possible();
    c->tickets = conf->tickets != NULL ? vv_tls_tickets_ref(conf->tickets) : NULL;
    enum vv_err err = vv_tls_context_alpn(c, conf->alpn, conf->alpn_count, why);
    if (err == VV_OK && conf->cert_count == 0) {
        vv_sb_adds(why, "a server needs a certificate");
        err = VV_EINVAL;
    }
    if (err == VV_OK) {
        err = take_certs(c, conf);
    }
    if (err == VV_OK) {
        err = read_clients(conf, &who, why);
    }
    if (err == VV_OK) {
        err = fill_groups(c, conf, &who, why);
    }
    X509_STORE_free(who.trust);
    sk_X509_NAME_pop_free(who.names, X509_NAME_free);
    ERR_clear_error();
    if (err != VV_OK) {
        vv_tls_context_unref(c);
        return err;
    }
    *ret = c;
    return VV_OK;
}
