/* src/gateway/access.c - the home of keys, users and public keys: read, replaced, fetched, counted. */
#include "gateway/access_int.h"
#include "observe/log.h"
#include "os/clock.h"
#include "os/file.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#define ERROR_BYTES 256
#define LOOK_NS VV_SEC         /* how often files are looked at */
#define ASK_NS (10 * VV_SEC)   /* between two fetches that were not due */
#define AGAIN_NS (30 * VV_SEC) /* after a fetch that failed, at the latest */

/* ---- seats --------------------------------------------------------------------------------- */

struct vv_seat *vv_access_seat(struct vv_access *a, struct vv_worker *w)
{
    VV_ASSERT(w->index < VV_ACCESS_SEATS);
    struct vv_seat *s = &a->seat[w->index];
    if (!s->ready) {
        s->sha = EVP_MD_CTX_new();
        s->seen = calloc(VV_ACCESS_SEEN, sizeof *s->seen);
        if (s->sha == NULL || s->seen == NULL) {
            EVP_MD_CTX_free(s->sha);
            free(s->seen);
            s->sha = NULL;
            s->seen = NULL;
            return NULL;
        }
        vv_list_init(&s->jobs);
        s->ready = true;
    }
    return s;
}

const struct vv_tables *vv_access_hold(struct vv_access *a, struct vv_seat *s)
{
    const struct vv_tables *t = atomic_load_explicit(&a->now, memory_order_acquire);
    for (;;) {
        atomic_store(&s->held, t); /* sequentially consistent: seen before the next line reads */
        const struct vv_tables *again = atomic_load(&a->now);
        if (again == t) {
            return t;
        }
        t = again;
    }
}

bool vv_access_hash(struct vv_access *a, struct vv_seat *s, struct vv_str text,
                    uint8_t ret[VV_KEY_HASH])
{
    unsigned n = 0;
    return EVP_DigestInit_ex2(s->sha, a->sha256, NULL) == 1 &&
           EVP_DigestUpdate(s->sha, text.p, text.n) == 1 &&
           EVP_DigestFinal_ex(s->sha, ret, &n) == 1;
}

static size_t seen_slot(const uint8_t hash[VV_KEY_HASH])
{
    return ((size_t)hash[0] | (size_t)hash[1] << 8) & (VV_ACCESS_SEEN - 1);
}

const struct vv_seen *vv_access_recall(const struct vv_seat *s, const struct vv_seen *what,
                                       int64_t now_s)
{
    const struct vv_seen *e = &s->seen[seen_slot(what->hash)];
    return e->by == what->by && e->tables == what->tables && e->runtime == what->runtime &&
                   now_s < e->until_s && CRYPTO_memcmp(e->hash, what->hash, VV_KEY_HASH) == 0
               ? e
               : NULL;
}

void vv_access_remember(struct vv_seat *s, const struct vv_seen *what)
{
    s->seen[seen_slot(what->hash)] = *what;
}

/* ---- metrics ------------------------------------------------------------------------------- */

static void collect(struct vv_collect *c, void *user)
{
    struct vv_access *a = user;
    const struct vv_view *v = a->view;
    if (v == NULL || v->url == NULL) {
        return;
    }
    const struct vv_part *part = v->part[PART_JWKS];
    vv_collect_value(c, VV_METRIC_JWKS_KEYS, NULL, 0,
                     part != NULL ? (double)vv_jwks_count(part->value) : 0.0);
    if (part != NULL) {
        vv_collect_value(c, VV_METRIC_JWKS_AGE, NULL, 0,
                         (double)(vv_clock_now() - a->fetched_ns) / (double)VV_SEC);
    }
}

static void count_fetch(struct vv_access *a, bool fine)
{
    const struct vv_str result = fine ? VV_STR("ok") : VV_STR("error");
    vv_metric_add(a->shard, vv_metrics_series(a->metrics, VV_METRIC_JWKS_FETCHES, &result, 1), 1);
}

/* ---- life ---------------------------------------------------------------------------------- */

enum vv_err vv_access_new(struct vv_metrics *metrics, struct vv_access **ret)
{
    struct vv_access *a = aligned_alloc(VV_CACHE_LINE, sizeof *a);
    if (a == NULL) {
        return VV_ENOMEM;
    }
    memset(a, 0, sizeof *a);
    a->metrics = metrics;
    a->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    enum vv_err err = a->sha256 != NULL ? vv_metrics_shard(metrics, &a->shard) : VV_ENOMEM;
    if (err == VV_OK) {
        err = vv_metrics_collector(metrics, collect, a);
    }
    if (err != VV_OK) {
        vv_access_free(a);
        return err;
    }
    *ret = a;
    return VV_OK;
}

static void free_tables(const struct vv_tables *t)
{
    vv_tables_free((struct vv_tables *)(uintptr_t)t);
}

void vv_access_free(struct vv_access *a)
{
    if (a == NULL) {
        return;
    }
    vv_metrics_collector_remove(a->metrics, collect, a);
    vv_jwks_fetch_free(a->fetch);
    free(a->asked_url);
    for (size_t i = 0; i < VV_ACCESS_SEATS; i++) {
        if (a->seat[i].ready) {
            vv_access_basic_forget(&a->seat[i]);
            EVP_MD_CTX_free(a->seat[i].sha);
            OPENSSL_cleanse(a->seat[i].seen, VV_ACCESS_SEEN * sizeof *a->seat[i].seen);
            free(a->seat[i].seen);
        }
    }
    for (struct vv_tables *t = a->replaced, *next; t != NULL; t = next) {
        next = t->next;
        vv_tables_free(t);
    }
    free_tables(atomic_load(&a->now));
    vv_view_free(a->view);
    vv_view_free(a->next);
    for (struct vv_key_use *u = a->uses, *next; u != NULL; u = next) {
        next = u->next;
        free(u);
    }
    if (a->shard != NULL) {
        vv_metrics_shard_return(a->metrics, a->shard);
    }
    EVP_MD_free((EVP_MD *)(uintptr_t)a->sha256);
    free(a);
}

static void publish(struct vv_access *a, struct vv_tables *t)
{
    struct vv_tables *old = (struct vv_tables *)(uintptr_t)atomic_exchange(&a->now, t);
    if (old != NULL) {
        old->next = a->replaced;
        a->replaced = old;
    }
}

static bool is_held(const struct vv_access *a, const struct vv_tables *t)
{
    for (size_t i = 0; i < VV_ACCESS_SEATS; i++) {
        if (atomic_load(&a->seat[i].held) == t) {
            return true;
        }
    }
    return false;
}

static void reclaim(struct vv_access *a)
{
    struct vv_tables **at = &a->replaced;
    while (*at != NULL) {
        struct vv_tables *t = *at;
        if (is_held(a, t)) {
            at = &t->next;
            continue;
        }
        *at = t->next;
        vv_tables_free(t);
    }
}

enum vv_err vv_access_prepare(struct vv_access *a, const struct vv_access_settings *conf,
                              char *reterr_text)
{
    vv_view_free(a->next);
    a->next = NULL;
    reterr_text[0] = '\0';
    const enum vv_err err = vv_view_new(a, conf, &a->next, reterr_text);
    if (err != VV_OK && reterr_text[0] == '\0') {
        snprintf(reterr_text, ERROR_BYTES, "access: %s", vv_err_text(err));
    }
    return err;
}

void vv_access_settle(struct vv_access *a, bool kept)
{
    struct vv_view *next = a->next;
    a->next = NULL;
    if (!kept || next == NULL) {
        vv_view_free(next);
        return;
    }
    publish(a, next->tables);
    next->tables = NULL;
    vv_view_free(a->view);
    a->view = next;
    if (next->url != NULL && next->part[PART_JWKS] == NULL) {
        a->fetch_ns = 0; /* at once */
    }
}

/* ---- what changes by itself ---------------------------------------------------------------- */

static void republish(struct vv_access *a)
{
    struct vv_tables *t = NULL;
    if (vv_view_tables(a, a->view, &t) == VV_OK) {
        publish(a, t);
    } else {
        vv_warn("access", "out of memory: what was read last stays in force");
    }
}

static void look_at_files(struct vv_access *a)
{
    static const char *const what[] = {"keys", "users", "public keys"};
    char why[ERROR_BYTES];
    for (int i = 0; i < PART_COUNT; i++) {
        const enum vv_access_part part = (enum vv_access_part)i;
        if (!vv_view_changed(a->view, part)) {
            continue;
        }
        why[0] = '\0';
        const enum vv_err err = vv_view_read(a, a->view, part, why);
        if (err == VV_OK) {
            republish(a);
            vv_info("access", "read the changed file of %s", what[part]);
        } else {
            vv_warn("access", "the former %s stay in force: %s", what[part],
                    why[0] != '\0' ? why : vv_err_text(err));
        }
    }
}

static void take_fetched(struct vv_access *a, uint64_t now_ns)
{
    char *text = NULL;
    size_t n = 0;
    struct vv_jwks *jwks = NULL;
    struct vv_part *part = NULL;
    enum vv_err err = vv_jwks_fetch_take(a->fetch, &text, &n, a->fetch_error);
    if (err == VV_EAGAIN) {
        return;
    }
    if (strcmp(a->asked_url, a->view->url) != 0) { /* its keys are no longer believed */
        free(err == VV_OK ? text : NULL);
        a->fetch_error[0] = '\0';
        a->fetch_ns = now_ns;
        return;
    }
    if (err == VV_OK) {
        err = vv_jwks_parse((struct vv_str){text, n}, &jwks, a->fetch_error);
        free(text);
    }
    if (err == VV_OK) {
        err = vv_part_new(jwks, vv_jwks_free_any, &part);
    }
    count_fetch(a, err == VV_OK);
    if (err != VV_OK) {
        a->fetch_ns = now_ns + vv_min_u64(a->view->refresh_ns, AGAIN_NS);
        vv_warn("access", "fetching the public keys failed%s: %s",
                a->view->part[PART_JWKS] != NULL ? ", the former stay in force" : "",
                a->fetch_error);
        return;
    }
    a->fetch_error[0] = '\0';
    a->fetched_ns = now_ns;
    a->fetch_ns = now_ns + a->view->refresh_ns;
    vv_view_put(a->view, PART_JWKS, part);
    republish(a);
}

static void fetch_keys(struct vv_access *a, uint64_t now_ns)
{
    if (a->fetch == NULL && vv_jwks_fetch_new(&a->fetch) != VV_OK) {
        return;
    }
    take_fetched(a, now_ns);
    const bool wanted = atomic_load_explicit(&a->key_wanted, memory_order_relaxed);
    const bool early = wanted && (a->asked_ns == 0 || now_ns - a->asked_ns >= ASK_NS);
    char *url = now_ns >= a->fetch_ns || early ? strdup(a->view->url) : NULL;
    if (url != NULL && vv_jwks_fetch_ask(a->fetch, url)) {
        free(a->asked_url);
        a->asked_url = url;
        url = NULL;
        a->asked_ns = now_ns;
        a->fetch_ns = UINT64_MAX; /* until this one has ended */
        atomic_store_explicit(&a->key_wanted, false, memory_order_relaxed);
    }
    free(url);
}

void vv_access_tick(struct vv_access *a, uint64_t now_ns)
{
    if (a->view == NULL) {
        return;
    }
    if (now_ns >= a->look_ns) {
        a->look_ns = now_ns + LOOK_NS;
        look_at_files(a);
    }
    if (a->view->url != NULL) {
        fetch_keys(a, now_ns);
    }
    reclaim(a);
}

/* ---- keys at run time ---------------------------------------------------------------------- */

/* The file as it is now; one that is not there yet is empty. */
static enum vv_err file_text(const struct vv_access *a, char **ret, size_t *ret_n,
                             char *reterr_text)
{
    const char *path = a->view != NULL ? a->view->file[PART_KEYS].path : NULL;
    if (path == NULL) {
        snprintf(reterr_text, ERROR_BYTES,
                 "the configuration names no file of keys: access: {keys: keys.txt}");
        return VV_EUNSUPPORTED;
    }
    *ret = NULL;
    *ret_n = 0;
    enum vv_err err = vv_file_read(path, VV_KEYS_BYTES, ret, ret_n);
    if (err != VV_OK && err != VV_ENOENT) {
        snprintf(reterr_text, ERROR_BYTES, "%.160s: %s", path, vv_err_text(err));
        return err;
    }
    return VV_OK;
}

/* Writes, reads it back as anybody would, and puts it in force. */
static enum vv_err store(struct vv_access *a, const struct vv_sb *text, char *reterr_text)
{
    const char *path = a->view->file[PART_KEYS].path;
    enum vv_err err = vv_keys_write(path, vv_sb_str(text));
    if (err != VV_OK) {
        snprintf(reterr_text, ERROR_BYTES, "%.160s: %s", path, vv_err_text(err));
        return err;
    }
    err = vv_view_read(a, a->view, PART_KEYS, reterr_text);
    if (err == VV_OK) {
        republish(a);
    }
    return err;
}

static enum vv_err add_key(struct vv_access *a, struct vv_str text, const struct vv_key_new *n,
                           char *reterr_text)
{
    struct vv_sb out = VV_SB_INIT;
    enum vv_err err = vv_keys_add(text, n, &out, reterr_text);
    if (err == VV_OK) {
        err = store(a, &out, reterr_text);
    }
    vv_sb_fini(&out);
    return err;
}

enum vv_err vv_access_key_add(struct vv_access *a, const struct vv_access_key *k, char *ret_key,
                              char *reterr_text)
{
    struct vv_key_new n = {.name = k->name, .plan = k->plan, .expires_s = k->expires_s};
    char key[VV_KEY_TEXT] = "", plan[VV_KEY_NAME_MAX + 1];
    uint8_t random[32];
    char *text = NULL;
    size_t bytes = 0;
    n.created_s = (int64_t)(vv_clock_wall() / VV_SEC);
    enum vv_err err = file_text(a, &text, &bytes, reterr_text);
    if (err != VV_OK) {
        return err;
    }
    snprintf(plan, sizeof plan, VV_STR_FMT, VV_STR_ARG(k->plan));
    if (k->plan.n > 0 && !vv_view_has_plan(a->view, plan)) {
        snprintf(reterr_text, ERROR_BYTES, "there is no plan \"%s\" in access.plans", plan);
        err = VV_EINVAL;
    } else if (k->key.n > 0 && !vv_key_is_key(k->key)) {
        snprintf(reterr_text, ERROR_BYTES, "a key has 16 to 512 visible ASCII characters");
        err = VV_EINVAL;
    }
    if (k->key.n == 0) {
        vv_entropy_fill(random, sizeof random);
        vv_key_make(random, key);
    }
    err = err == VV_OK ? vv_key_hash(k->key.n > 0 ? k->key : vv_str_from(key), n.hash) : err;
    err = err == VV_OK ? add_key(a, (struct vv_str){text, bytes}, &n, reterr_text) : err;
    if (err == VV_OK) {
        memcpy(ret_key, key, sizeof key);
    }
    OPENSSL_cleanse(key, sizeof key);
    free(text);
    return err;
}

enum vv_err vv_access_key_revoke(struct vv_access *a, struct vv_str name, char *reterr_text)
{
    struct vv_sb out = VV_SB_INIT;
    char *text = NULL;
    size_t bytes = 0;
    enum vv_err err = file_text(a, &text, &bytes, reterr_text);
    if (err == VV_OK) {
        err = vv_keys_revoke((struct vv_str){text, bytes}, name,
                             (int64_t)(vv_clock_wall() / VV_SEC), &out, reterr_text);
    }
    if (err == VV_OK) {
        err = store(a, &out, reterr_text);
    }
    free(text);
    vv_sb_fini(&out);
    return err;
}

static void put_time(struct vv_json *j, const char *name, int64_t unix_s)
{
    char text[VV_UTC_BYTES];
    vv_json_kcstr(j, name, unix_s != 0 ? vv_utc_format(unix_s, text) : NULL);
}

static void put_key(struct vv_json *j, const struct vv_key *k)
{
    vv_json_obj(j);
    vv_json_kcstr(j, "name", k->name);
    vv_json_kcstr(j, "plan", k->plan);
    put_time(j, "created", k->created_s);
    put_time(j, "expires", k->expires_s);
    put_time(j, "revoked", k->revoked_s);
    vv_json_ku64(j, "requests", atomic_load_explicit(&k->use->requests, memory_order_relaxed));
    vv_json_ku64(j, "refused", atomic_load_explicit(&k->use->refused, memory_order_relaxed));
    put_time(j, "last_used",
             (int64_t)(atomic_load_explicit(&k->use->last_wall_ns, memory_order_relaxed) / VV_SEC));
    vv_json_obj_end(j);
}

void vv_access_json(struct vv_access *a, struct vv_json *j)
{
    const struct vv_view *v = a->view;
    const struct vv_keys *keys =
        v != NULL && v->part[PART_KEYS] != NULL ? v->part[PART_KEYS]->value : NULL;
    vv_json_key(j, "keys");
    vv_json_arr(j);
    for (size_t i = 0; keys != NULL && i < keys->count; i++) {
        put_key(j, &keys->key[i]);
    }
    vv_json_arr_end(j);
    vv_json_key(j, "jwks");
    if (v == NULL || (v->url == NULL && v->file[PART_JWKS].path == NULL)) {
        vv_json_null(j);
        return;
    }
    const struct vv_part *part = v->part[PART_JWKS];
    vv_json_obj(j);
    vv_json_ku64(j, "keys", part != NULL ? vv_jwks_count(part->value) : 0);
    vv_json_kbool(j, "fetched", v->url != NULL);
    vv_json_kcstr(j, "error", a->fetch_error[0] != '\0' ? a->fetch_error : NULL);
    vv_json_obj_end(j);
}
