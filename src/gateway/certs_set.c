/* src/gateway/certs_set.c - the certificates of one listener: read, watched, made into a context.
 *
 * Whoever replaces a certificate writes two files, one after the other: between them they do not fit. So a
 * read that fails is tried again at the next look, and is told only when it failed twice. */
#include "gateway/certs_int.h"
#include "os/clock.h"

#include <stdio.h>
#include <stdlib.h>

#define SET_BYTES_MAX (4u << 20)
#define PLACEHOLDER_NS (30 * VV_DAY)
#define CLOCK_SKEW_NS VV_HOUR

/* ---- files --------------------------------------------------------------------------------- */

static struct vv_certs_stamp stamp_of(const char *path)
{
    struct stat st;
    if (path == NULL || stat(path, &st) != 0) {
        return (struct vv_certs_stamp){.bytes = -1};
    }
    return (struct vv_certs_stamp){st.st_mtim, st.st_size, st.st_ino, st.st_dev};
}

static bool same_stamp(const struct vv_certs_stamp *a, const struct vv_certs_stamp *b)
{
    return a->bytes == b->bytes && a->inode == b->inode && a->device == b->device &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

static bool has_changed(const struct vv_certs_item *i)
{
    bool changed = false;
    for (size_t f = 0; f < FILE_COUNT; f++) {
        const struct vv_certs_stamp now = stamp_of(i->path[f]);
        changed = changed || !same_stamp(&now, &i->stamp[f]);
    }
    return changed;
}

static void keep_problem(struct vv_certs_item *i, const char *text)
{
    (void)snprintf(i->problem, sizeof i->problem, "%s", text);
}

/* VV_ENOENT without a word: an authority has not given the certificate yet. */
static enum vv_err read_item(struct vv_certs_item *i, struct vv_sb *why)
{
    struct vv_tls_cert *cert = NULL;
    const size_t before = why->n;
    for (size_t f = 0; f < FILE_COUNT; f++) { /* before reading: a later change is seen next time */
        i->stamp[f] = stamp_of(i->path[f]);
    }
    if (i->name != NULL && i->stamp[FILE_CERT].bytes < 0) {
        return VV_ENOENT;
    }
    const struct vv_tls_cert_files files = {i->path[FILE_CERT], i->path[FILE_KEY],
                                            i->path[FILE_OCSP]};
    const enum vv_err err = vv_tls_cert_load(&files, why, &cert);
    keep_problem(i, why->n > before ? why->p + before : "");
    if (err != VV_OK) {
        i->failures++;
        if (why->n == before) {
            vv_sb_addf(why, "%s: %s", i->path[FILE_CERT], vv_err_text(err));
            keep_problem(i, why->p + before);
        }
        return err;
    }
    i->failures = 0;
    vv_tls_cert_unref(i->cert);
    i->cert = cert;
    return VV_OK;
}

/* ---- the context --------------------------------------------------------------------------- */

/* Something to show until an authority has answered: a handshake that fails tells a person less. */
static enum vv_err make_placeholder(struct vv_certs_set *s, size_t missing, struct vv_sb *why)
{
    const uint64_t now = vv_clock_wall();
    struct vv_tls_pem pem = {NULL, NULL};
    struct vv_tls_cert *cert = NULL;
    const char **name = calloc(missing, sizeof *name);
    if (name == NULL) {
        return VV_ENOMEM;
    }
    size_t n = 0;
    for (size_t i = 0; i < s->count; i++) {
        if (s->item[i].cert == NULL) {
            name[n++] = s->item[i].name;
        }
    }
    const struct vv_tls_make make = {.subject = "Vivace placeholder",
                                     .names = name,
                                     .name_count = n,
                                     .key = VV_TLS_KEY_EC,
                                     .not_before_wall_ns = now - CLOCK_SKEW_NS,
                                     .not_after_wall_ns = now + PLACEHOLDER_NS};
    enum vv_err err = vv_tls_make(&make, &pem);
    if (err == VV_OK) {
        const struct vv_tls_cert_text text = {.cert_name = "placeholder",
                                              .key_name = "placeholder",
                                              .cert = vv_str_from(pem.cert),
                                              .key = vv_str_from(pem.key)};
        err = vv_tls_cert_parse(&text, why, &cert);
    }
    vv_tls_pem_fini(&pem);
    free(name);
    if (err == VV_OK) {
        vv_tls_cert_unref(s->placeholder);
        s->placeholder = cert;
        s->placeholder_for = missing;
    }
    return err;
}

static enum vv_err placeholder(struct vv_certs_set *s, struct vv_sb *why)
{
    size_t missing = 0;
    for (size_t i = 0; i < s->count; i++) {
        missing += s->item[i].cert == NULL;
    }
    if (missing > 0 && missing != s->placeholder_for) {
        return make_placeholder(s, missing, why);
    }
    if (missing == 0) {
        vv_tls_cert_unref(s->placeholder);
        s->placeholder = NULL;
        s->placeholder_for = 0;
    }
    return VV_OK;
}

static enum vv_err make_context(struct vv_certs_set *s, struct vv_sb *why)
{
    static const char *const protocols[] = {"h2", "http/1.1"};
    struct vv_tls_context *made = NULL;
    struct vv_acme *acme = atomic_load(&s->home->acme);
    enum vv_err err = placeholder(s, why);
    struct vv_tls_cert **cert = calloc(s->count + 1, sizeof(struct vv_tls_cert *));
    size_t n = 0;
    if (err != VV_OK || cert == NULL) {
        free(cert);
        return err != VV_OK ? err : VV_ENOMEM;
    }
    for (size_t i = 0; i < s->count; i++) {
        if (s->item[i].cert != NULL) {
            cert[n++] = s->item[i].cert;
        }
    }
    if (s->placeholder != NULL) {
        cert[n++] = s->placeholder;
    }
    const struct vv_tls_server_conf conf = {.certs = cert,
                                            .cert_count = n,
                                            .alpn = s->http2 ? protocols : protocols + 1,
                                            .alpn_count = s->http2 ? 2 : 1,
                                            .tickets = s->tickets,
                                            .client_ca_file = s->ca_file,
                                            .ask = s->ask,
                                            .version_min = s->version_min,
                                            .hello_bytes_max = s->hello_bytes,
                                            .strict_names = s->strict_names,
                                            .ktls = s->ktls,
                                            .offload = true,
                                            .challenge =
                                                acme != NULL ? vv_certs_acme_challenge : NULL,
                                            .challenge_user = acme};
    s->ca_stamp = stamp_of(s->ca_file);
    err = vv_tls_server_new(&conf, why, &made);
    free(cert);
    if (err == VV_OK) {
        vv_tls_context_unref(s->context);
        s->context = made;
    }
    return err;
}

/* ---- life ---------------------------------------------------------------------------------- */

static const char *dup_text(struct vv_certs_set *s, const char *text)
{
    return text != NULL ? vv_arena_dup(&s->arena, vv_str_from(text)) : NULL;
}

static bool dup_names(struct vv_certs_set *s, const struct vv_conf_list *list)
{
    const size_t count = list != NULL ? list->count : 0;
    const char **name = vv_arena_zalloc(&s->arena, (count + 1) * sizeof *name);
    for (size_t i = 0; name != NULL && i < count; i++) {
        name[i] = dup_text(s, list->item[i]);
        if (name[i] == NULL) {
            return false;
        }
    }
    s->name = name;
    s->name_count = count;
    return name != NULL;
}

static bool take_files(struct vv_certs_set *s, const struct vv_conf_list *certs)
{
    for (size_t i = 0; i < s->count; i++) {
        const struct vv_cert_settings *conf = certs->item[i];
        const char *const path[FILE_COUNT] = {conf->cert, conf->key, conf->ocsp};
        for (size_t f = 0; f < FILE_COUNT; f++) {
            s->item[i].path[f] = dup_text(s, path[f]);
            if (path[f] != NULL && s->item[i].path[f] == NULL) {
                return false;
            }
        }
    }
    return true;
}

static bool take_local(struct vv_certs_set *s, const char *dir)
{
    s->dir = dup_text(s, dir);
    struct vv_str cert = vv_arena_fmt(&s->arena, "%s/local.pem", dir);
    struct vv_str key = vv_arena_fmt(&s->arena, "%s/local.key", dir);
    s->item[0].path[FILE_CERT] = cert.p;
    s->item[0].path[FILE_KEY] = key.p;
    return s->dir != NULL && cert.p != NULL && key.p != NULL;
}

static bool take(struct vv_certs_set *s, const struct vv_listen_settings *l, const char *dir)
{
    const struct vv_tls_settings *t = &l->tls;
    s->source = t->local                       ? VV_CERTS_LOCAL
                : t->mode == VV_TLS_MODE_FILES ? VV_CERTS_FILES
                                               : VV_CERTS_ACME;
    s->count = s->source == VV_CERTS_LOCAL  ? 1
               : s->source == VV_CERTS_ACME ? (t->wanted != NULL ? t->wanted->count : 0)
               : t->all != NULL             ? t->all->count
                                            : 0;
    s->item = vv_arena_zalloc(&s->arena, (s->count + 1) * sizeof *s->item);
    s->listener = dup_text(s, l->name);
    s->ca_file = t->mutual.enabled ? dup_text(s, t->mutual.ca) : NULL;
    if (s->item == NULL || s->listener == NULL || !dup_names(s, t->wanted) ||
        (t->mutual.enabled && s->ca_file == NULL)) {
        return false;
    }
    s->ask = s->ca_file == NULL   ? VV_TLS_ASK_NONE
             : t->mutual.required ? VV_TLS_ASK_REQUIRED
                                  : VV_TLS_ASK_OPTIONAL;
    s->version_min = (enum vv_tls_version)t->version_min;
    s->hello_bytes = t->hello_bytes;
    s->strict_names = t->strict_names != 0;
    s->ktls = t->ktls != 0;
    s->http2 = l->http2 != 0;
    for (size_t i = 0; s->source == VV_CERTS_ACME && i < s->count; i++) {
        s->item[i].name = s->name[i];
        vv_certs_acme_file(s->home, s, &s->item[i]);
    }
    return s->source == VV_CERTS_LOCAL   ? take_local(s, dir)
           : s->source == VV_CERTS_FILES ? take_files(s, t->all)
                                         : true;
}

static enum vv_err first_read(struct vv_certs_set *s, struct vv_sb *why)
{
    for (size_t i = 0; i < s->count; i++) {
        const enum vv_err err = read_item(&s->item[i], why);
        const bool later = s->source == VV_CERTS_ACME; /* it can be ordered again */
        if (err != VV_OK && !later) {
            return err;
        }
        vv_sb_reset(why); /* what is only of no use (a staple) is in the status */
    }
    return make_context(s, why);
}

enum vv_err vv_certs_set_new(struct vv_certs *c, const struct vv_listen_settings *l,
                             const char *dir, struct vv_sb *why, struct vv_certs_set **ret)
{
    struct vv_certs_set *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return VV_ENOMEM;
    }
    vv_arena_init(&s->arena, NULL, 0, 4096, SET_BYTES_MAX);
    s->home = c;
    enum vv_err err = take(s, l, dir) ? VV_OK : VV_ENOMEM;
    if (err == VV_OK && l->tls.tickets.enabled) {
        err = vv_certs_tickets(c, l->tls.tickets.life_ns, &s->tickets);
        if (err == VV_ELIMIT) {
            vv_sb_addf(why, "more than %d different lives of tickets", VV_CERTS_LIVES);
        }
    }
    if (err == VV_OK) {
        err = first_read(s, why);
    }
    if (err != VV_OK) {
        vv_certs_set_free(s);
        return err;
    }
    *ret = s;
    return VV_OK;
}

void vv_certs_set_free(struct vv_certs_set *s)
{
    if (s == NULL) {
        return;
    }
    for (size_t i = 0; i < s->count && s->item != NULL; i++) {
        vv_tls_cert_unref(s->item[i].cert);
    }
    vv_tls_cert_unref(s->placeholder);
    vv_tls_context_unref(s->context);
    vv_arena_fini(&s->arena);
    free(s);
}

enum vv_err vv_certs_set_look(struct vv_certs_set *s, struct vv_sb *why)
{
    const struct vv_certs_stamp ca = stamp_of(s->ca_file);
    bool changed = !same_stamp(&ca, &s->ca_stamp);
    enum vv_err told = VV_EAGAIN;
    for (size_t i = 0; i < s->count; i++) {
        struct vv_certs_item *item = &s->item[i];
        if (has_changed(item)) {
            item->failures = 0;
        } else if (item->failures != 1) {
            continue;
        }
        struct vv_sb one = VV_SB_INIT;
        const enum vv_err err = read_item(item, &one);
        if (err == VV_OK) {
            changed = true;
        } else if (item->failures == 2) {
            vv_sb_addf(why, "%s%s", why->n > 0 ? "; " : "", vv_sb_str(&one).p);
            told = err;
        }
        vv_sb_fini(&one);
    }
    const enum vv_err err = changed ? make_context(s, why) : VV_EAGAIN;
    return err == VV_EAGAIN ? told : err;
}
