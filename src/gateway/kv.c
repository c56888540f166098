/* src/gateway/kv.c - who answers: the store where it can, memory where it is the truth or all there is. */
#include "gateway/kv.h"

#include "gateway/kv_int.h"
#include <stdlib.h>

const char *vv_kv_level_name(enum vv_kv_level l)
{
    return l == VV_KV_STORE ? "redis" : "memory";
}

/* ---- the home -------------------------------------------------------------------------------- */

static struct vv_str prefix(char **at, const struct vv_store *s, char kind)
{
    char *p = *at;
    const size_t n = strlen(s->prefix), m = strlen(s->name);
    memcpy(p, s->prefix, n);
    memcpy(p + n, ":kv:", 4);
    memcpy(p + n + 4, s->name, m);
    p[n + m + 4] = ':';
    p[n + m + 5] = kind;
    p[n + m + 6] = ':';
    *at = p + n + m + 7;
    return (struct vv_str){p, n + m + 7};
}

static struct vv_kv *home_new(struct vv_store *s)
{
    const size_t text = 2 * (strlen(s->prefix) + strlen(s->name) + 7);
    struct vv_kv *kv = calloc(1, sizeof *kv + text);
    if (kv == NULL) {
        return NULL;
    }
    char *at = kv->text;
    kv->store = s;
    kv->objects = prefix(&at, s, 'o');
    kv->tags = prefix(&at, s, 't');
    if (vv_small_new(&s->fallback, &kv->small) != VV_OK || vv_kv_notes_new(&kv->notes) != VV_OK) {
        vv_kv_free(kv);
        return NULL;
    }
    return kv;
}

void vv_kv_free(struct vv_kv *kv)
{
    if (kv != NULL) {
        vv_small_free(kv->small);
        vv_kv_notes_free(kv->notes);
        free(kv);
    }
}

struct vv_kv *vv_kv_of(struct vv_store *s)
{
    struct vv_kv *there = atomic_load_explicit(&s->kv, memory_order_acquire);
    if (there != NULL) {
        return there;
    }
    struct vv_kv *made = home_new(s);
    if (made == NULL || atomic_compare_exchange_strong(&s->kv, &there, made)) {
        return made;
    }
    vv_kv_free(made); /* another thread was faster */
    return there;
}

struct vv_small *vv_kv_small(struct vv_kv *kv)
{
    return kv->small;
}

void vv_kv_stats(struct vv_kv *kv, struct vv_kv_stats *ret)
{
    struct vv_small_stats small;
    vv_small_stats(kv->small, &small);
    ret->entries = small.entries;
    ret->bytes = small.bytes;
    vv_kv_notes_count(kv->notes, &ret->noted, &ret->purges_waiting);
}

void vv_kv_collect(struct vv_collect *c, const struct vv_store *s)
{
    struct vv_kv *kv = atomic_load_explicit(&s->kv, memory_order_acquire);
    const struct vv_str name = vv_str_from(s->name);
    struct vv_kv_stats now;
    if (kv == NULL) {
        return;
    }
    vv_kv_stats(kv, &now);
    vv_collect_value(c, VV_METRIC_OBJECTS_ENTRIES, &name, 1, (double)now.entries);
    vv_collect_value(c, VV_METRIC_OBJECTS_BYTES, &name, 1, (double)now.bytes);
    vv_collect_value(c, VV_METRIC_OBJECTS_NOTED, &name, 1,
                     (double)(now.noted + now.purges_waiting));
}

/* ---- counting -------------------------------------------------------------------------------- */

static const char *const verb_names[VV_KV_VERBS + 1] = {"get",   "put",   "delete",
                                                        "purge", "purge", "repeat"};
static const char *const result_names[] = {
#define AS_NAME(id, name) [VV_KV_R_##id] = (name),
    VV_KV_RESULTS(AS_NAME)
#undef AS_NAME
};

void vv_kv_count(struct vv_worker *w, struct vv_kv *kv, enum vv_kv_verb verb, enum vv_kv_result r,
                 enum vv_kv_level level)
{
    _Atomic vv_series *at = &kv->series[verb][r][level];
    vv_series series = atomic_load_explicit(at, memory_order_relaxed);
    if (series == 0) {
        const struct vv_str values[] = {vv_str_from(kv->store->name), vv_str_from(verb_names[verb]),
                                        vv_str_from(result_names[r]),
                                        vv_str_from(vv_kv_level_name(level))};
        series = vv_metrics_series(w->metrics, VV_METRIC_OBJECTS, values, VV_COUNT(values));
        atomic_store_explicit(at, series, memory_order_relaxed);
    }
    vv_metric_add(w->shard, series, 1);
}

static enum vv_kv_result result_of(const struct vv_kv_op *op)
{
    switch (op->err) {
    case VV_OK:
        break;
    case VV_ENOENT:
        return op->verb == VV_KV_GET ? VV_KV_R_MISS : VV_KV_R_CONDITION;
    case VV_EEXIST:
        return VV_KV_R_CONDITION;
    case VV_ELIMIT:
        return VV_KV_R_TOO_LARGE;
    default:
        return VV_KV_R_FAILED;
    }
    switch (op->verb) {
    case VV_KV_GET:
        return VV_KV_R_HIT;
    case VV_KV_PUT:
        return VV_KV_R_STORED;
    case VV_KV_DELETE:
        return op->there ? VV_KV_R_REMOVED : VV_KV_R_ABSENT;
    case VV_KV_PURGE_GLOB:
    case VV_KV_PURGE_TAG:
    case VV_KV_VERBS:
        break;
    }
    return VV_KV_R_REMOVED;
}

static bool answered(struct vv_worker *w, struct vv_kv *kv, struct vv_kv_op *op)
{
    vv_kv_count(w, kv, op->verb, result_of(op), op->level);
    return true;
}

/* ---- what was written meanwhile --------------------------------------------------------------- */

static _Atomic uint32_t *stripe(struct vv_kv *kv, struct vv_str key)
{
    return &kv->wrote[vv_str_hash(key, 0) % VV_KV_STRIPES];
}

void vv_kv_wrote(struct vv_kv *kv, struct vv_str key)
{
    atomic_fetch_add(stripe(kv, key), 1);
}

uint32_t vv_kv_writes(struct vv_kv *kv, struct vv_str key)
{
    return atomic_load(stripe(kv, key)) + atomic_load(&kv->purged);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void get_in_memory(struct vv_worker *w, struct vv_kv *kv, struct vv_kv_op *op,
                          struct vv_str key)
{
    op->item = vv_small_get(kv->small, key, vv_worker_now(w));
    op->err = op->item != NULL ? VV_OK : VV_ENOENT;
    op->level = VV_KV_MEMORY;
}

/* A write that the store is not asked for now. It is noted first: from then on readers look here. */
static enum vv_err write_in_memory(struct vv_worker *w, struct vv_kv *kv, enum vv_kv_verb verb,
                                   struct vv_str key, struct vv_small_item *item,
                                   const struct vv_small_if *cond, bool *ret_there)
{
    const enum vv_err err =
        verb == VV_KV_PUT ? vv_small_put_item(kv->small, item, cond, vv_worker_now(w), ret_there)
                          : vv_small_remove(kv->small, key, cond, vv_worker_now(w), ret_there);
    vv_kv_wrote(kv, key);
    if (err == VV_OK && kv->store->has_server) {
        vv_kv_note(kv->notes, key);
        vv_kv_keep(w, kv);
    }
    return err;
}

static uint64_t purge_in_memory(struct vv_worker *w, struct vv_kv *kv, const struct vv_kv_op *op)
{
    atomic_fetch_add(&kv->purged, 1);
    return op->verb == VV_KV_PURGE_TAG ? vv_small_remove_tag(kv->small, op->key, vv_worker_now(w))
                                       : vv_small_remove_glob(kv->small, op->key, vv_worker_now(w));
}

/* ---- answers of the store ---------------------------------------------------------------------- */

/* What was read goes to memory, unless it is there already or something was written since. */
static void remember(struct vv_kv_job *job)
{
    struct vv_kv *kv = job->kv;
    const uint64_t now_ns = vv_worker_now(job->w);
    struct vv_small_item *had = vv_small_get(kv->small, job->key, now_ns);
    const bool same =
        had != NULL && had->etag == job->item->etag && had->stored_ms == job->item->stored_ms;
    vv_small_item_unref(had);
    if (!same && job->writes == vv_kv_writes(kv, job->key)) {
        if (vv_small_put_item(kv->small, job->item, NULL, now_ns, NULL) != VV_OK) {
            vv_small_forget(kv->small, job->key, UINT64_MAX); /* what was there is older */
        }
    }
}

static void finish_get(struct vv_kv_job *job, struct vv_kv_op *op)
{
    struct vv_kv *kv = job->kv;
    struct vv_small_item *it = job->item;
    if (job->failed || vv_kv_noted(kv->notes, job->key)) {
        get_in_memory(job->w, kv, op, job->key);
    } else if (it == NULL) {
        if (job->writes == vv_kv_writes(kv, job->key)) {
            vv_small_forget(kv->small, job->key, job->began_ns);
        }
        op->err = VV_ENOENT;
    } else if (vv_kv_noted_tag(kv->notes, it->tag, it->tags)) {
        op->err = VV_ENOENT; /* it is purged, the store will hear of it */
    } else {
        remember(job);
        op->item = vv_small_item_ref(it);
    }
}

static void finish_write(struct vv_kv_job *job, struct vv_kv_op *op)
{
    struct vv_kv *kv = job->kv;
    const int64_t said = job->part[0].integer;
    if (job->failed) {
        op->level = VV_KV_MEMORY;
        op->err =
            write_in_memory(job->w, kv, job->verb, job->key, job->item, &job->cond, &op->there);
        return;
    }
    if (said < 0) {
        op->err = said == -1 ? VV_EEXIST : VV_ENOENT;
        return;
    }
    op->there = said > 0;
    const bool again = job->tags_failed || vv_kv_noted(kv->notes, job->key);
    bool there = false;
    enum vv_err err;
    if (job->verb == VV_KV_PUT) {
        err = vv_small_put_item(kv->small, job->item, NULL, vv_worker_now(job->w), &there);
    } else {
        err = vv_small_remove(kv->small, job->key, NULL, vv_worker_now(job->w), &there);
    }
    vv_kv_wrote(kv, job->key);
    if (err != VV_OK) { /* an old value must be neither what memory answers nor what is repeated */
        vv_small_forget(kv->small, job->key, UINT64_MAX);
    }
    if (again) {
        vv_kv_note(kv->notes, job->key);
        vv_kv_keep(job->w, kv);
    }
}

static void finish(struct vv_kv_job *job)
{
    struct vv_kv_op nobody = {.verb = job->verb};
    struct vv_kv_op *op = job->op != NULL ? job->op : &nobody;
    op->job = NULL;
    if (job->verb == VV_KV_GET) {
        if (job->op != NULL) {
            finish_get(job, op);
        }
    } else {
        finish_write(job, op);
    }
    const bool waits = job->op != NULL;
    (void)answered(job->w, job->kv, op);
    vv_kv_job_free(job);
    if (waits) {
        op->done(op);
    }
}

struct purging {
    struct vv_kv_op *op; /* NULL: nobody waits */
    struct vv_worker *w;
    struct vv_kv *kv;
    uint64_t id, in_memory;
    struct vv_kv_job job; /* so that the operation can be abandoned: only op is used */
};

static void finish_purge(void *user, bool ok, uint64_t count)
{
    struct purging *p = user;
    struct vv_kv_op nobody = {.verb = VV_KV_PURGE_GLOB};
    const bool waits = p->job.op != NULL;
    struct vv_kv_op *op = waits ? p->job.op : &nobody;
    vv_kv_purge_done(p->kv->notes, p->id, ok);
    if (!vv_kv_notes_empty(p->kv->notes)) {
        vv_kv_keep(p->w, p->kv);
    }
    op->job = NULL;
    op->count = ok ? count : p->in_memory;
    op->level = ok ? VV_KV_STORE : VV_KV_MEMORY;
    (void)answered(p->w, p->kv, op);
    vv_store_unref(p->kv->store);
    free(p);
    if (waits) {
        op->done(op);
    }
}

/* ---- asking ---------------------------------------------------------------------------------- */

static bool purge(struct vv_worker *w, struct vv_kv *kv, struct vv_kv_op *op)
{
    op->count = purge_in_memory(w, kv, op);
    op->level = VV_KV_MEMORY;
    if (!kv->store->has_server) {
        return answered(w, kv, op);
    }
    const bool is_tag = op->verb == VV_KV_PURGE_TAG;
    struct vv_redis *r = vv_store_client(w, kv->store);
    /* Only a store that is away is to find all of its objects old where notes do not suffice. */
    const bool up = r != NULL && vv_redis_up(r, kv->objects, vv_worker_now(w));
    struct purging *p = up ? calloc(1, sizeof *p) : NULL;
    if (p != NULL) {
        p->id = vv_kv_note_purge(kv->notes, is_tag, op->key, true);
        *p = (struct purging){.w = w, .kv = kv, .id = p->id, .in_memory = op->count};
        p->job.op = op;
        if (p->id == VV_KV_PURGE_BUSY) {
            free(p);
            op->err = VV_EAGAIN;
            return answered(w, kv, op);
        }
        if (p->id != 0 && vv_kv_run_start(w, kv, is_tag, op->key, finish_purge, p) != NULL) {
            (void)vv_store_ref(kv->store);
            op->job = &p->job;
            return false;
        }
        vv_kv_purge_done(kv->notes, p->id, false);
        free(p);
    } else {
        (void)vv_kv_note_purge(kv->notes, is_tag, op->key, false);
    }
    vv_kv_keep(w, kv);
    return answered(w, kv, op);
}

static bool get(struct vv_worker *w, struct vv_kv *kv, struct vv_kv_op *op)
{
    if (kv->store->has_server && !vv_kv_noted(kv->notes, op->key)) {
        struct vv_kv_job *job = vv_kv_job_new(w, kv, op->verb, op->key, NULL, NULL);
        if (job != NULL) {
            job->finish = finish;
            job->op = op;
            op->job = job;
            if (vv_kv_job_send(job)) {
                return false;
            }
            op->job = NULL;
            vv_kv_job_free(job);
        }
    }
    get_in_memory(w, kv, op, op->key);
    return answered(w, kv, op);
}

static bool write_with(struct vv_worker *w, struct vv_kv *kv, struct vv_kv_op *op,
                       struct vv_small_item *item)
{
    if (kv->store->has_server && !vv_kv_noted(kv->notes, op->key) &&
        !vv_kv_noted_tag(kv->notes, op->tag, op->verb == VV_KV_PUT ? op->tags : 0)) {
        struct vv_kv_job *job = vv_kv_job_new(w, kv, op->verb, op->key, item, &op->cond);
        if (job != NULL) {
            job->finish = finish;
            job->op = op;
            op->job = job;
            if (vv_kv_job_send(job)) {
                return false;
            }
            op->job = NULL;
            vv_kv_job_free(job);
        }
    }
    op->level = VV_KV_MEMORY;
    op->err = write_in_memory(w, kv, op->verb, op->key, item, &op->cond, &op->there);
    return answered(w, kv, op);
}

static enum vv_err check(const struct vv_store *s, const struct vv_kv_op *op)
{
    const uint64_t max = s->fallback.value_bytes != 0 ? s->fallback.value_bytes : VV_MIB;
    const bool is_tag = op->verb == VV_KV_PURGE_TAG;
    if (op->cond.etags > VV_KV_ETAGS_MAX) {
        return VV_ELIMIT;
    }
    if (op->key.n == 0 || op->key.n > (is_tag ? VV_KV_TAG_MAX : VV_KV_KEY_MAX)) {
        return VV_ELIMIT;
    }
    if (op->verb != VV_KV_PUT) {
        return is_tag && !vv_kv_head_takes(op->key) ? VV_ELIMIT : VV_OK;
    }
    bool fits = op->value.n <= max && op->tags <= VV_SMALL_TAGS_MAX &&
                op->type.n <= VV_KV_KEY_MAX && vv_kv_head_takes(op->type);
    for (size_t i = 0; i < op->tags && fits; i++) {
        fits = op->tag[i].n > 0 && op->tag[i].n <= VV_KV_TAG_MAX && vv_kv_head_takes(op->tag[i]);
    }
    return fits ? VV_OK : VV_ELIMIT;
}

bool vv_kv_do(struct vv_worker *w, struct vv_store *s, struct vv_kv_op *op)
{
    struct vv_kv *kv = vv_kv_of(s);
    op->item = NULL;
    op->job = NULL;
    op->there = false;
    op->count = 0;
    op->level = VV_KV_STORE;
    op->err = kv != NULL ? check(s, op) : VV_ENOMEM;
    if (op->err != VV_OK) {
        op->level = VV_KV_MEMORY;
        return kv != NULL ? answered(w, kv, op) : true;
    }
    if (op->verb == VV_KV_GET) {
        return get(w, kv, op);
    }
    if (op->verb != VV_KV_PUT) {
        return op->verb == VV_KV_DELETE ? write_with(w, kv, op, NULL) : purge(w, kv, op);
    }
    struct vv_small_item *item = NULL;
    const struct vv_small_spec spec = {.key = op->key,
                                       .value = op->value,
                                       .type = op->type,
                                       .tag = op->tag,
                                       .tags = op->tags,
                                       .ttl_ns = op->ttl_ns,
                                       .stored_ms = vv_loop_wall(w->loop) / VV_MS};
    op->err = vv_small_item_new(&spec, vv_worker_now(w), &item);
    if (op->err != VV_OK) {
        op->level = VV_KV_MEMORY;
        return answered(w, kv, op);
    }
    const bool now = write_with(w, kv, op, item);
    vv_small_item_unref(item);
    return now;
}

void vv_kv_abandon(struct vv_kv_op *op)
{
    if (op->job != NULL) {
        op->job->op = NULL;
        op->job = NULL;
    }
}
