/* src/gateway/certs_acme.c - `tls: auto`: which names are wanted from an authority, and what it says.
 *
 * The client of the protocol works on threads of its own and leaves files; they are watched like any
 * others. It is made when the first listener wants it, so that a gateway without it has no such thread. */
#include "acme/acme.h"
#include "gateway/certs_int.h"
#include "gateway/settings_acme.h"
#include "observe/log.h"

#include <stdio.h>
#include <stdlib.h>

static bool wants(const struct vv_listen_settings *l)
{
    return l->tls.enabled && l->tls.mode == VV_TLS_MODE_AUTO && !l->tls.local &&
           l->tls.wanted != NULL;
}

static size_t wanted_max(const struct vv_settings *s)
{
    size_t n = 0;
    for (size_t i = 0; s->listen != NULL && i < s->listen->count; i++) {
        const struct vv_listen_settings *l = s->listen->item[i];
        n += wants(l) ? l->tls.wanted->count : 0;
    }
    return n;
}

/* A name may be on several listeners: the client of the protocol wants it once. */
static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static size_t gather(const struct vv_settings *s, const char **name)
{
    size_t n = 0, kept = 0;
    for (size_t i = 0; s->listen != NULL && i < s->listen->count; i++) {
        const struct vv_listen_settings *l = s->listen->item[i];
        for (size_t k = 0; wants(l) && k < l->tls.wanted->count; k++) {
            name[n++] = l->tls.wanted->item[k];
        }
    }
    if (n > 0) {
        qsort(name, n, sizeof *name, by_text);
    }
    for (size_t i = 0; i < n; i++) {
        if (kept == 0 || strcmp(name[kept - 1], name[i]) != 0) {
            name[kept++] = name[i];
        }
    }
    return kept;
}

static enum vv_err tell(struct vv_acme *a, const struct vv_settings *s, const char *const *name,
                        size_t count, struct vv_sb *why)
{
    struct vv_arena arena;
    struct vv_acme_conf conf;
    vv_arena_init(&arena, NULL, 0, 4096, 0);
    enum vv_err err = vv_settings_acme_conf(s, &arena, &conf);
    if (err == VV_OK) {
        conf.name = name;
        conf.name_count = count;
        err = vv_acme_conf(a, &conf, why);
    }
    vv_arena_fini(&arena);
    return err;
}

enum vv_err vv_certs_acme_conf(struct vv_certs *c, const struct vv_settings *s, struct vv_sb *why)
{
    const size_t most = wanted_max(s);
    struct vv_acme *a = atomic_load(&c->acme);
    enum vv_err err = VV_OK;
    if (most == 0 && a == NULL) {
        return VV_OK;
    }
    const char **name = calloc(most + 1, sizeof *name);
    if (name == NULL) {
        return VV_ENOMEM;
    }
    if (a == NULL) {
        err = vv_acme_new(c->metrics, &a);
        if (err == VV_OK) {
            atomic_store(&c->acme, a);
        }
    }
    if (err == VV_OK) {
        err = tell(a, s, name, gather(s, name), why);
    }
    free(name);
    return err;
}

void vv_certs_acme_file(struct vv_certs *c, struct vv_certs_set *s, struct vv_certs_item *i)
{
    char path[VV_ACME_PATH_MAX];
    struct vv_acme *a = atomic_load(&c->acme);
    if (a != NULL && vv_acme_file(a, i->name, path)) {
        i->path[FILE_CERT] = vv_arena_dup(&s->arena, vv_str_from(path));
    }
}

struct vv_tls_cert *vv_certs_acme_challenge(void *acme, struct vv_str name)
{
    struct vv_acme *a = acme;
    return vv_acme_busy(a) ? vv_acme_challenge_cert(a, name) : NULL;
}

static void on_event(void *user, enum vv_acme_level level, const char *name, const char *text)
{
    (void)user;
    if (level == VV_ACME_WARN) {
        vv_warn("acme", "%s: %s", name, text);
    } else {
        vv_info("acme", "%s: %s", name, text);
    }
}

void vv_certs_acme_tick(struct vv_certs *c)
{
    struct vv_acme *a = atomic_load(&c->acme);
    if (a != NULL) {
        vv_acme_tick(a, on_event, NULL);
    }
}

struct vv_str vv_certs_challenge(const struct vv_certs *c, struct vv_str token,
                                 struct vv_arena *arena)
{
    struct vv_acme *a = atomic_load_explicit(&c->acme, memory_order_acquire);
    return a != NULL && vv_acme_busy(a) ? vv_acme_challenge(a, token, arena)
                                        : (struct vv_str){NULL, 0};
}

enum vv_err vv_certs_renew(struct vv_certs *c, const char *name)
{
    struct vv_acme *a = atomic_load(&c->acme);
    return a != NULL ? vv_acme_ask(a, name) : VV_ENOENT;
}

enum vv_err vv_certs_revoke(struct vv_certs *c, const char *name)
{
    struct vv_acme *a = atomic_load(&c->acme);
    return a != NULL ? vv_acme_revoke(a, name) : VV_ENOENT;
}

void vv_certs_acme_json(const struct vv_certs *c, struct vv_json *j)
{
    struct vv_acme *a = atomic_load(&c->acme);
    vv_json_key(j, "acme");
    if (a != NULL) {
        vv_acme_status(a, j);
    } else {
        vv_json_arr(j);
        vv_json_arr_end(j);
    }
}

void vv_certs_acme_free(struct vv_certs *c)
{
    vv_acme_free(atomic_load(&c->acme));
}
