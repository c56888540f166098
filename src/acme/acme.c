/* src/acme/acme.c - the control side: what is wanted, what happened, how things are. */
#include "acme/acme.h"
#include "acme/acme_int.h"
#include "acme/pkix.h"
#include "os/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LABEL_MAX 63 /* bytes, RFC 1035 section 2.3.4 */

static const char *const default_directory[] = {VV_ACME_LETSENCRYPT};

/* ---- names --------------------------------------------------------------------------------- */

/* Letters, digits and '-' between dots. */
static bool is_host(const char *name)
{
    size_t label = 0;
    for (const char *p = name; *p != '\0'; p++) {
        const char c = vv_char_lower(*p);
        if (c == '.') {
            if (label == 0 || p[-1] == '-' || p[1] == '\0') {
                return false;
            }
            label = 0;
            continue;
        }
        const bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if ((!letter && (c != '-' || label == 0)) || ++label > LABEL_MAX) {
            return false;
        }
    }
    return label > 0 && name[strlen(name) - 1] != '-';
}

const char *vv_acme_name_problem(const char *name, enum vv_acme_challenge challenge)
{
    if (name[0] == '\0' || strlen(name) >= VV_ACME_NAME_MAX) {
        return "a name has 1 to 253 characters";
    }
    if (strchr(name, '*') != NULL) {
        return "a wildcard needs the challenge dns-01, which is not supported: name the hosts one "
               "by "
               "one, or give a certificate from a file (tls: {cert: a.pem, key: a.key})";
    }
    if (vv_acme_is_address(name)) {
        return challenge == VV_ACME_TLS_ALPN
                   ? "an address is proved over HTTP only: set acme.challenge to http-01"
                   : NULL;
    }
    return is_host(name) ? NULL
                         : "a name for a public certificate has letters, digits, hyphens and dots";
}

/* ---- configurations ------------------------------------------------------------------------ */

struct vv_acme_wish *vv_acme_wish_ref(struct vv_acme_wish *w)
{
    (void)atomic_fetch_add(&w->refs, 1);
    return w;
}

void vv_acme_wish_unref(struct vv_acme_wish *w)
{
    if (w != NULL && atomic_fetch_sub(&w->refs, 1) == 1) {
        vv_arena_fini(&w->arena);
        free(w);
    }
}

static const char *copy(struct vv_acme_wish *w, const char *text, bool *ok)
{
    if (text == NULL) {
        return NULL;
    }
    const char *p = vv_arena_dup(&w->arena, vv_str_from(text));
    *ok = *ok && p != NULL;
    return p;
}

static struct vv_acme_wish *wish_new(const struct vv_acme_conf *conf)
{
    struct vv_acme_wish *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return NULL;
    }
    const bool given = conf->directory_count > 0;
    const char *const *all = given ? conf->directory : default_directory;
    const size_t count = given ? conf->directory_count : VV_COUNT(default_directory);
    bool ok = true;
    atomic_init(&w->refs, 1);
    vv_arena_init(&w->arena, NULL, 0, 1024, 0);
    w->directory_count = count;
    w->directory = vv_arena_zalloc(&w->arena, count * sizeof *w->directory);
    ok = w->directory != NULL;
    for (size_t i = 0; ok && i < count; i++) {
        w->directory[i] = copy(w, all[i], &ok);
    }
    w->store = copy(w, conf->store, &ok);
    w->email = copy(w, conf->email, &ok);
    w->ca_file = copy(w, conf->ca_file, &ok);
    w->eab_key = copy(w, conf->eab_key, &ok);
    w->eab_mac = copy(w, conf->eab_mac, &ok);
    w->agree = conf->agree;
    w->challenge = conf->challenge;
    w->retry_ns = conf->retry_ns;
    if (!ok) {
        vv_acme_wish_unref(w);
        return NULL;
    }
    return w;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* A reload that changes nothing of it must not break off what is under way. */
static bool same_wish(const struct vv_acme_wish *a, const struct vv_acme_wish *b)
{
    bool same = a != NULL && a->directory_count == b->directory_count && a->agree == b->agree &&
                a->challenge == b->challenge && a->retry_ns == b->retry_ns &&
                same_text(a->store, b->store) && same_text(a->email, b->email) &&
                same_text(a->ca_file, b->ca_file) && same_text(a->eab_key, b->eab_key) &&
                same_text(a->eab_mac, b->eab_mac);
    for (size_t i = 0; same && i < a->directory_count; i++) {
        same = same_text(a->directory[i], b->directory[i]);
    }
    return same;
}

/* ---- entries ------------------------------------------------------------------------------- */

static struct vv_acme_entry *find(const struct vv_acme *a, const char *name)
{
    for (size_t i = 0; i < a->entry_count; i++) {
        if (strcmp(a->entry[i]->name, name) == 0) {
            return a->entry[i];
        }
    }
    return NULL;
}

static void take_out(struct vv_acme *a, const struct vv_acme_entry *e)
{
    size_t n = 0;
    for (size_t i = 0; i < a->entry_count; i++) {
        if (a->entry[i] != e) {
            a->entry[n++] = a->entry[i];
        }
    }
    a->entry_count = n;
}

void vv_acme_drop(struct vv_acme *a, struct vv_acme_entry *e)
{
    take_out(a, e);
    free(e);
}

static void lower_name(char out[VV_ACME_NAME_MAX], const char *name)
{
    size_t n = 0;
    for (; name[n] != '\0' && n + 1 < VV_ACME_NAME_MAX; n++) {
        out[n] = vv_char_lower(name[n]);
    }
    out[n] = '\0';
}

static struct vv_acme_entry *entry_new(const char *name, bool wanted)
{
    struct vv_acme_entry *e = calloc(1, sizeof *e);
    if (e != NULL) {
        lower_name(e->name, name);
        e->wanted = wanted;
    }
    return e;
}

/* The new list: entries that stay keep what they know. Nothing is changed when memory is out. */
static struct vv_acme_entry **list_new(const struct vv_acme *a, const struct vv_acme_conf *conf,
                                       size_t *ret_count)
{
    char name[VV_ACME_NAME_MAX];
    struct vv_acme_entry **list =
        calloc(conf->name_count + a->entry_count + 1, sizeof(struct vv_acme_entry *));
    size_t n = 0;
    for (size_t i = 0; list != NULL && i < conf->name_count; i++) {
        lower_name(name, conf->name[i]);
        struct vv_acme_entry *e = find(a, name);
        bool twice = false;
        for (size_t k = 0; k < n; k++) {
            twice = twice || strcmp(list[k]->name, name) == 0;
        }
        if (twice) {
            continue;
        }
        list[n] = e != NULL ? e : entry_new(name, true);
        if (list[n] == NULL) {
            while (n > 0) {
                n--;
                if (find(a, list[n]->name) == NULL) {
                    free(list[n]);
                }
            }
            free(list);
            return NULL;
        }
        n++;
    }
    *ret_count = n;
    return list;
}

static bool in_list(struct vv_acme_entry *const *list, size_t n, const struct vv_acme_entry *e)
{
    for (size_t i = 0; i < n; i++) {
        if (list[i] == e) {
            return true;
        }
    }
    return false;
}

/* The list has room for those that are not wanted but still to be revoked. */
static void put_list(struct vv_acme *a, struct vv_acme_entry **list, size_t n)
{
    const size_t wanted = n;
    for (size_t i = 0; i < a->entry_count; i++) {
        struct vv_acme_entry *e = a->entry[i];
        if (in_list(list, wanted, e)) {
            continue;
        }
        e->wanted = false;
        if (e->revoke) {
            list[n++] = e;
        } else if (!e->working) {
            free(e);
        }
    }
    for (size_t i = 0; i < wanted; i++) {
        list[i]->wanted = true;
    }
    free(a->entry);
    a->entry = list;
    a->entry_count = n;
}

/* ---- life ---------------------------------------------------------------------------------- */

static void collect(struct vv_collect *c, void *user)
{
    static const char *const names[] = {"ok", "failed", "taken_over"};
    struct vv_acme *a = user;
    double failing = 0;
    for (size_t i = 0; i < VV_COUNT(names); i++) {
        const struct vv_str label = vv_str_from(names[i]);
        vv_collect_value(c, VV_METRIC_ACME_ORDERS, &label, 1, (double)atomic_load(&a->result[i]));
    }
    pthread_mutex_lock(&a->lock);
    for (size_t i = 0; i < a->entry_count; i++) {
        failing += a->entry[i]->wanted && a->entry[i]->plan.failures > 0;
    }
    pthread_mutex_unlock(&a->lock);
    vv_collect_value(c, VV_METRIC_ACME_FAILING, NULL, 0, failing);
}

enum vv_err vv_acme_new(struct vv_metrics *metrics, struct vv_acme **ret)
{
    struct vv_acme *a = calloc(1, sizeof *a);
    pthread_condattr_t monotonic;
    if (a == NULL) {
        return VV_ENOMEM;
    }
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&a->lock, NULL);
    pthread_mutex_init(&a->token_lock, NULL);
    pthread_cond_init(&a->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    vv_rng_init(&a->rng, vv_entropy_u64());
    for (size_t i = 0; i < VV_COUNT(a->thread); i++) {
        a->thread[i].a = a;
        a->thread[i].token = &a->token[i];
    }
    const enum vv_err err = metrics != NULL ? vv_metrics_collector(metrics, collect, a) : VV_OK;
    if (err != VV_OK) {
        vv_acme_free(a);
        return err;
    }
    a->metrics = metrics;
    *ret = a;
    return VV_OK;
}

void vv_acme_free(struct vv_acme *a)
{
    if (a == NULL) {
        return;
    }
    if (a->metrics != NULL) {
        vv_metrics_collector_remove(a->metrics, collect, a);
    }
    pthread_mutex_lock(&a->lock);
    a->stop = true;
    pthread_cond_broadcast(&a->wake);
    pthread_mutex_unlock(&a->lock);
    for (size_t i = 0; i < a->threads; i++) {
        vv_thread_join(&a->thread[i].thread);
    }
    vv_acme_tick(a, NULL, NULL);
    for (size_t i = 0; i < a->entry_count; i++) {
        free(a->entry[i]);
    }
    free(a->entry);
    vv_acme_wish_unref(a->wish);
    pthread_mutex_destroy(&a->lock);
    pthread_mutex_destroy(&a->token_lock);
    pthread_cond_destroy(&a->wake);
    free(a);
}

/* As many as there are names, up to the limit; they stay. */
static enum vv_err start_threads(struct vv_acme *a, size_t names)
{
    while (a->threads < VV_ACME_THREADS && a->threads < names) {
        struct vv_acme_thread *t = &a->thread[a->threads];
        const enum vv_err err = vv_thread_start(&t->thread, "vv-acme", vv_acme_run, t);
        if (err != VV_OK) {
            return a->threads > 0 ? VV_OK : err; /* fewer do as well */
        }
        a->threads++;
    }
    return VV_OK;
}

enum vv_err vv_acme_conf(struct vv_acme *a, const struct vv_acme_conf *conf, struct vv_sb *why)
{
    size_t n = 0;
    if (conf->name_count > 0) {
        const enum vv_err err = vv_acme_store_open(conf->store, why);
        if (err != VV_OK) {
            return err;
        }
    }
    struct vv_acme_wish *w = wish_new(conf);
    if (w == NULL) {
        return VV_ENOMEM;
    }
    pthread_mutex_lock(&a->lock);
    struct vv_acme_entry **list = list_new(a, conf, &n);
    if (list != NULL) {
        put_list(a, list, n);
        if (!same_wish(a->wish, w)) { /* another authority or store: begin afresh */
            struct vv_acme_wish *old = a->wish;
            a->wish = vv_acme_wish_ref(w);
            vv_acme_wish_unref(old);
            for (size_t i = 0; i < a->entry_count; i++) {
                a->entry[i]->loaded = false;
                a->entry[i]->asked = a->entry[i]->asked || a->entry[i]->plan.failures > 0;
            }
        }
        atomic_store(&a->busy, conf->name_count > 0);
        pthread_cond_broadcast(&a->wake);
    }
    pthread_mutex_unlock(&a->lock);
    vv_acme_wish_unref(w);
    return list != NULL ? start_threads(a, n) : VV_ENOMEM;
}

/* ---- events -------------------------------------------------------------------------------- */

static void free_event(struct vv_acme_event *e)
{
    free(e->name);
    free(e->text);
}

void vv_acme_say(struct vv_acme *a, enum vv_acme_level level, const char *name, const char *fmt,
                 ...)
{
    struct vv_sb text = VV_SB_INIT;
    va_list args;
    va_start(args, fmt);
    vv_sb_vaddf(&text, fmt, args);
    va_end(args);
    struct vv_acme_event e = {level, strdup(name), vv_sb_take(&text)};
    if (e.name == NULL || e.text == NULL) {
        free_event(&e);
        return;
    }
    pthread_mutex_lock(&a->lock);
    if (a->event_count == VV_ACME_EVENTS) { /* nobody asked for long: the oldest goes */
        free_event(&a->event[a->event_first]);
        a->event_first = (a->event_first + 1) % VV_ACME_EVENTS;
        a->event_count--;
    }
    a->event[(a->event_first + a->event_count) % VV_ACME_EVENTS] = e;
    a->event_count++;
    pthread_mutex_unlock(&a->lock);
}

void vv_acme_tick(struct vv_acme *a, vv_acme_event_fn *fn, void *user)
{
    for (;;) {
        pthread_mutex_lock(&a->lock);
        if (a->event_count == 0) {
            pthread_mutex_unlock(&a->lock);
            return;
        }
        struct vv_acme_event e = a->event[a->event_first];
        a->event_first = (a->event_first + 1) % VV_ACME_EVENTS;
        a->event_count--;
        pthread_mutex_unlock(&a->lock);
        if (fn != NULL) {
            fn(user, e.level, e.name, e.text);
        }
        free_event(&e);
    }
}

/* ---- asking and looking -------------------------------------------------------------------- */

void vv_acme_path(const char *store, const char *name, char path[VV_ACME_PATH_MAX])
{
    char lower[VV_ACME_NAME_MAX];
    lower_name(lower, name);
    vv_acme_store_path(store, lower, path);
}

bool vv_acme_file(struct vv_acme *a, const char *name, char path[VV_ACME_PATH_MAX])
{
    char lower[VV_ACME_NAME_MAX];
    lower_name(lower, name);
    pthread_mutex_lock(&a->lock);
    const struct vv_acme_entry *e = find(a, lower);
    const bool there = e != NULL && e->wanted && a->wish != NULL;
    if (there) {
        vv_acme_store_path(a->wish->store, lower, path);
    }
    pthread_mutex_unlock(&a->lock);
    return there;
}

uint64_t vv_acme_generation(const struct vv_acme *a)
{
    return atomic_load(&a->generation);
}

bool vv_acme_busy(const struct vv_acme *a)
{
    return atomic_load_explicit(&a->busy, memory_order_relaxed);
}

enum vv_err vv_acme_ask(struct vv_acme *a, const char *name)
{
    char lower[VV_ACME_NAME_MAX];
    lower_name(lower, name);
    pthread_mutex_lock(&a->lock);
    struct vv_acme_entry *e = find(a, lower);
    const bool there = e != NULL && e->wanted;
    if (there) {
        e->asked = true;
        e->look_ns = 0;
        pthread_cond_broadcast(&a->wake);
    }
    pthread_mutex_unlock(&a->lock);
    return there ? VV_OK : VV_ENOENT;
}

enum vv_err vv_acme_revoke(struct vv_acme *a, const char *name)
{
    char lower[VV_ACME_NAME_MAX];
    enum vv_err err = VV_ENOENT;
    lower_name(lower, name);
    if (vv_acme_name_problem(lower, VV_ACME_ANY) != NULL) {
        return VV_ENOENT;
    }
    pthread_mutex_lock(&a->lock);
    struct vv_acme_entry *e = find(a, lower);
    if (e != NULL) {
        err = e->revoke ? VV_EAGAIN : e->stamp == 0 ? VV_ENOENT : VV_OK;
    } else if (a->wish != NULL && vv_acme_store_stamp(a->wish->store, lower) != 0) {
        struct vv_acme_entry **list =
            realloc(a->entry, (a->entry_count + 1) * sizeof(struct vv_acme_entry *));
        e = list != NULL ? entry_new(lower, false) : NULL;
        a->entry = list != NULL ? list : a->entry;
        err = e != NULL ? VV_OK : VV_ENOMEM;
        if (e != NULL) {
            a->entry[a->entry_count++] = e;
        }
    }
    if (err == VV_OK) {
        e->revoke = true;
        e->look_ns = 0;
        pthread_cond_broadcast(&a->wake);
    }
    pthread_mutex_unlock(&a->lock);
    return err == VV_OK ? start_threads(a, 1) : err;
}

/* ---- texts and status ---------------------------------------------------------------------- */

void vv_acme_wall_text(uint64_t wall_ns, char out[32])
{
    const time_t s = (time_t)(wall_ns / VV_SEC);
    struct tm tm;
    if (gmtime_r(&s, &tm) == NULL || strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0) {
        (void)snprintf(out, 32, "a time far away");
    }
}

void vv_acme_span_text(uint64_t ns, char out[32])
{
    static const struct {
        uint64_t ns;
        const char *unit;
    } units[] = {{VV_DAY, "d"}, {VV_HOUR, "h"}, {VV_MINUTE, "min"}, {VV_SEC, "s"}};
    for (size_t i = 0; i < VV_COUNT(units); i++) {
        if (ns >= 2 * units[i].ns || (i + 1 == VV_COUNT(units) && ns >= units[i].ns)) {
            (void)snprintf(out, 32, "%llu %s", (unsigned long long)(ns / units[i].ns),
                           units[i].unit);
            return;
        }
    }
    (void)snprintf(out, 32, "%llu ms", (unsigned long long)(ns / VV_MS));
}

static void key_wall(struct vv_json *j, const char *key, uint64_t wall_ns)
{
    char text[32];
    vv_acme_wall_text(wall_ns, text);
    vv_json_kcstr(j, key, wall_ns == 0 ? NULL : text);
}

static const char *state_of(const struct vv_acme_entry *e, uint64_t wall_ns)
{
    if (e->stamp == 0 || e->not_after_wall_ns == 0) {
        return e->revoked ? "revoked" : "none";
    }
    return wall_ns > e->not_after_wall_ns ? "expired" : "valid";
}

static void write_entry(const struct vv_acme *a, const struct vv_acme_entry *e, struct vv_json *j)
{
    char path[VV_ACME_PATH_MAX];
    const uint64_t now_ns = vv_clock_now();
    const struct vv_acme_plan *p = &e->plan;
    vv_json_obj(j);
    vv_json_kcstr(j, "name", e->name);
    vv_json_kcstr(j, "state", state_of(e, vv_clock_wall()));
    vv_acme_store_path(a->wish->store, e->name, path);
    vv_json_kcstr(j, "file", path);
    key_wall(j, "not_before", e->not_before_wall_ns);
    key_wall(j, "not_after", e->not_after_wall_ns);
    key_wall(j, "renew_at", e->stamp != 0 ? p->renew_wall_ns : 0);
    vv_json_kcstr(j, "authority", e->memory.authority[0] != '\0' ? e->memory.authority : NULL);
    vv_json_kbool(j, "working", e->working);
    vv_json_ku64(j, "failures", p->failures);
    vv_json_key(j, "retry_in");
    if (p->failures > 0 && p->retry_ns > now_ns) {
        vv_json_double(j, (double)(p->retry_ns - now_ns) / (double)VV_SEC);
    } else {
        vv_json_null(j);
    }
    vv_json_kcstr(j, "error", e->memory.error[0] != '\0' ? e->memory.error : NULL);
    vv_json_obj_end(j);
}

void vv_acme_status(struct vv_acme *a, struct vv_json *j)
{
    vv_json_arr(j);
    pthread_mutex_lock(&a->lock);
    for (size_t i = 0; i < a->entry_count && a->wish != NULL; i++) {
        write_entry(a, a->entry[i], j);
    }
    pthread_mutex_unlock(&a->lock);
    vv_json_arr_end(j);
}
