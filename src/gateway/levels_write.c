/* src/gateway/levels_write.c - what was fetched goes into the levels, behind the answer. */
#include "cache/fill.h"
#include "gateway/levels_int.h"
#include "gateway/session.h"
#include <stdio.h>
#include <stdlib.h>

#define BYTES_MAX (32 * VV_MIB)  /* of one worker, on their way */
#define PACK_HERE (256 * VV_KIB) /* larger bodies are packed on the pool: the loop goes on */
#define MARKER_NS (7 * VV_DAY)   /* so that it outlives its variants; it is small */
#define WRITE_NS VV_SEC          /* nobody waits for it */

struct write;
struct send { /* one name in one level */
    struct vv_redis_op set;
    struct write *of;
    struct vv_level *level;
    struct vv_str name;
    const struct vv_sb *value;
    struct vv_str args[5];
    char ttl[24];
    bool written, is_marker;
};

struct write {
    struct vv_job job;
    struct vv_list node; /* of the worker's, while the pool has it */
    struct vv_worker *w;
    struct vv_levels *levels;
    struct vv_sb value, marker;
    struct vv_str key;
    size_t compress_min;
    struct vv_cache_fill *fill;           /* counted; one of both has the body */
    const struct vv_cache_object *object; /* counted */
    uint64_t body_n, charged;
    bool failed;
    size_t sends, left; /* left: operations under way */
    struct send send[2 * VV_LEVEL_STORES_MAX];
};

static void write_free(struct write *wr)
{
    vv_list_del(&wr->node);
    wr->w->level_bytes -= wr->charged;
    for (size_t i = 0; i < wr->sends; i++) {
        free((char *)(uintptr_t)wr->send[i].name.p);
    }
    vv_sb_fini(&wr->value);
    vv_sb_fini(&wr->marker);
    if (wr->fill != NULL) {
        vv_cache_fill_unref(wr->fill);
    }
    if (wr->object != NULL) {
        vv_cache_unref(wr->object);
    }
    free((char *)(uintptr_t)wr->key.p);
    vv_levels_unref(wr->levels);
    free(wr);
}

static void count(struct send *s, enum vv_level_write_result result)
{
    if (!s->is_marker) {
        vv_level_count_write(s->level, result);
    }
}

/* ---- answers ---- */

static void op_ends(struct send *s)
{
    struct write *wr = s->of;
    if (--wr->left == 0) {
        write_free(wr);
    }
}

static void on_set_item(struct vv_redis_op *op, const struct vv_resp_item *it)
{
    struct send *s = VV_CONTAINER(op, struct send, set);
    s->written |= it->type == VV_RESP_STATUS;
}

static void on_set_end(struct vv_redis_op *op, enum vv_err err)
{
    struct send *s = VV_CONTAINER(op, struct send, set);
    s->written = s->written && err == VV_OK;
    count(s, s->written ? VV_LEVEL_WRITE_WRITTEN : VV_LEVEL_WRITE_FAILED);
    /* After an error nothing was written, and who looked before still watches. Without an answer nobody knows. */
    if (err != VV_OK && err != VV_EREFUSED) {
        struct vv_levels *l = s->of->levels;
        (void)vv_cache_purge_key(l->cache->memory, s->of->key, true);
    }
    op_ends(s);
}

/* ---- sending ---- */

static void start_send(struct send *s)
{
    struct write *wr = s->of;
    struct vv_redis *redis = vv_store_client(wr->w, s->level->store);
    s->args[0] = VV_STR("SET");
    s->args[1] = s->name;
    s->args[2] = vv_sb_str(s->value);
    s->args[3] = VV_STR("PX");
    s->args[4] = vv_str_from(s->ttl);
    s->set = (struct vv_redis_op){.item = on_set_item,
                                  .end = on_set_end,
                                  .key = s->name,
                                  .args = s->args,
                                  .args_count = 5,
                                  .flags = VV_REDIS_TRACK,
                                  .timeout_ns = WRITE_NS};
    if (redis == NULL || vv_redis_do(redis, &s->set) != VV_OK) {
        count(s, VV_LEVEL_WRITE_FAILED);
        return;
    }
    wr->left++;
}

static void send_all(struct write *wr)
{
    vv_list_del(&wr->node); /* no job any more */
    wr->left = 1;           /* ours, until all are on their way */
    for (size_t i = 0; i < wr->sends; i++) {
        struct send *s = &wr->send[i];
        if (wr->failed) {
            count(s, VV_LEVEL_WRITE_FAILED);
        } else if (wr->body_n > s->level->object_max) {
            count(s, VV_LEVEL_WRITE_LARGE);
        } else {
            start_send(s);
        }
    }
    if (--wr->left == 0) {
        write_free(wr);
    }
}

/* ---- packing ---- */

/* The bytes of the body from there on; n 0: the end. */
static struct vv_str body_at(const struct write *wr, uint64_t at)
{
    struct vv_str run = {NULL, 0};
    if (wr->object != NULL) {
        return vv_cache_body_at(wr->object, at);
    }
    return vv_cache_fill_read(wr->fill, at, &run) == VV_OK ? run : (struct vv_str){NULL, 0};
}

static void pack(struct write *wr)
{
    struct vv_str run;
    char *room = malloc(VV_PACKED_CHUNK);
    wr->failed |= room == NULL;
    /* Bytes lie as they came: short runs together, or they would stay uncompressed. */
    for (uint64_t at = 0; !wr->failed && at < wr->body_n;) {
        size_t n = 0;
        while (n < VV_PACKED_CHUNK && (run = body_at(wr, at)).n > 0) {
            run.n = vv_min_u64(run.n, VV_PACKED_CHUNK - n);
            memcpy(room + n, run.p, run.n);
            n += run.n;
            at += run.n;
        }
        wr->failed = n == 0 || vv_packed_write_chunk(&wr->value, (struct vv_str){room, n},
                                                     wr->compress_min) != VV_OK;
    }
    free(room);
}

static void work(struct vv_job *job)
{
    pack(VV_CONTAINER(job, struct write, job));
}

static void packed(struct vv_loop *loop, struct vv_job *job)
{
    (void)loop;
    send_all(VV_CONTAINER(job, struct write, job));
}

void vv_levels_stop(struct vv_worker *w)
{
    VV_LIST_EACH (it, &w->level_jobs) {
        write_free(VV_LIST_ENTRY(it, struct write, node));
    }
}

static bool write_head(struct write *wr, const struct vv_level_object *o, uint64_t body_n,
                       uint64_t store_ms)
{
    const int64_t now_ms = (int64_t)(vv_loop_wall(wr->w->loop) / VV_MS);
    const uint64_t keep_ms = vv_min_u64(o->keep_ns / VV_MS, INT64_MAX / 4);
    const struct vv_packed_head h = {
        .id = vv_rng_u64(&wr->w->rng) | 1,
        .log = o->log,
        .written_ms = now_ms,
        .keep_until_ms = now_ms + (int64_t)keep_ms,
        .store_until_ms = now_ms + (int64_t)vv_min_u64(store_ms, INT64_MAX / 4),
        .body_n = body_n,
        .meta = {o->meta, o->meta_n},
        .key = o->key,
        .second = o->second,
        .head = o->head,
        .tags = o->tags,
        .tags_n = o->tags_n,
    };
    return vv_packed_write_head(&wr->value, &h) == VV_OK;
}

/* Says under the key's own name by which fields answers vary. */
static bool write_marker(struct write *wr, const struct vv_level_object *o, uint64_t generation)
{
    const int64_t now_ms = (int64_t)(vv_loop_wall(wr->w->loop) / VV_MS);
    const struct vv_packed_head h = {
        .id = generation,
        .log = o->log,
        .written_ms = now_ms,
        .keep_until_ms = now_ms + (int64_t)(MARKER_NS / VV_MS),
        .store_until_ms = now_ms + (int64_t)(MARKER_NS / VV_MS),
        .marker = true,
        .key = o->key,
        .second = o->second,
    };
    return vv_packed_write_head(&wr->marker, &h) == VV_OK;
}

static struct send *add_send(struct write *wr, struct vv_level *level, struct vv_str name,
                             const struct vv_sb *value, uint64_t ttl_ms)
{
    struct send *s = &wr->send[wr->sends];
    if (name.p == NULL) {
        wr->failed = true;
        return s;
    }
    wr->sends++;
    s->of = wr;
    s->level = level;
    s->name = name;
    s->value = value;
    snprintf(s->ttl, sizeof s->ttl, "%llu", (unsigned long long)ttl_ms);
    return s;
}

static uint64_t ttl_at(const struct vv_level *level, const struct vv_level_object *o,
                       uint64_t limit_ns)
{
    return vv_min_u64(vv_level_ttl_ms(level, o->life_ns), vv_max_u64(limit_ns / VV_MS, 1));
}

/* Which names in which levels. */
static void plan(struct write *wr, const struct vv_level_object *o, size_t upto, uint64_t limit_ns)
{
    struct vv_levels *l = wr->levels;
    const bool known = o->marker != 0 && vv_level_names(o->second) == o->marker_names;
    const uint64_t generation = known ? o->marker : vv_rng_u64(&wr->w->rng) | 1;
    const unsigned marked = known ? o->marker_at : 0;
    if (o->second.n > 0) { /* some level has none, or another one */
        wr->failed |= !write_marker(wr, o, generation);
    }
    for (size_t i = 0; i < upto; i++) {
        struct vv_level *level = &l->level[i];
        if (o->second.n > 0 && (marked >> i & 1) == 0) {
            add_send(wr, level, vv_level_name(l, level, o->key), &wr->marker, MARKER_NS / VV_MS)
                ->is_marker = true;
        }
        add_send(wr, level,
                 o->second.n > 0 ? vv_level_variant_name(l, level, generation, o->second, o->key)
                                 : vv_level_name(l, level, o->key),
                 &wr->value, ttl_at(level, o, limit_ns));
    }
}

/* What is encoded already does not become smaller. */
static bool is_encoded(struct vv_str head)
{
    while (head.n > 0) {
        const struct vv_str line = vv_str_cut(&head, '\n');
        const struct vv_str name = VV_STR("content-encoding:");
        if (line.n > name.n && vv_str_eq_nocase((struct vv_str){line.p, name.n}, name)) {
            return true;
        }
    }
    return false;
}

static struct write *write_new(struct vv_levels *l, struct vv_worker *w,
                               const struct vv_level_object *o, uint64_t body_n)
{
    struct write *wr = calloc(1, sizeof *wr);
    char *key = wr != NULL ? malloc(o->key.n + 1) : NULL;
    if (key == NULL) {
        free(wr);
        return NULL;
    }
    memcpy(key, o->key.p, o->key.n);
    vv_list_init(&wr->node);
    wr->key = (struct vv_str){key, o->key.n};
    wr->w = w;
    wr->levels = vv_levels_ref(l);
    wr->compress_min = is_encoded(o->head) ? SIZE_MAX : l->level[0].compress_min;
    wr->fill = o->fill;
    wr->object = o->fill == NULL ? o->object : NULL;
    if (wr->fill != NULL) {
        vv_cache_fill_ref(wr->fill);
    } else {
        vv_cache_ref(wr->object);
    }
    wr->body_n = body_n;
    wr->charged = body_n + o->head.n + o->key.n;
    w->level_bytes += wr->charged;
    return wr;
}

static uint64_t length_of(const struct vv_level_object *o)
{
    struct vv_str run;
    uint64_t n = 0;
    if (o->fill == NULL) {
        return o->object->body_n;
    }
    while (vv_cache_fill_read(o->fill, n, &run) == VV_OK && run.n > 0) {
        n += run.n;
    }
    return n;
}

void vv_levels_refill(struct vv_levels *l, struct vv_worker *w, const struct vv_level_object *o,
                      size_t upto, uint64_t limit_ns)
{
    const uint64_t body_n = length_of(o);
    const bool full = w->level_bytes + body_n > BYTES_MAX;
    struct write *wr =
        full || !vv_coherence_synced(l->coherence) ? NULL : write_new(l, w, o, body_n);
    if (wr == NULL) {
        for (size_t i = 0; i < upto; i++) {
            vv_level_count_write(&l->level[i],
                                 full ? VV_LEVEL_WRITE_DROPPED : VV_LEVEL_WRITE_FAILED);
        }
        return;
    }
    plan(wr, o, upto, limit_ns);
    wr->failed |= !write_head(wr, o, body_n, ttl_at(&l->level[l->count - 1], o, limit_ns));
    wr->job.work = work;
    wr->job.done = packed;
    vv_list_push_back(&w->level_jobs, &wr->node);
    if (body_n <= PACK_HERE || w->pool == NULL ||
        vv_pool_submit(w->pool, w->loop, &wr->job) != VV_OK) {
        pack(wr);
        send_all(wr);
    }
}

void vv_levels_write(struct vv_levels *l, struct vv_worker *w, const struct vv_level_object *o)
{
    vv_levels_refill(l, w, o, l->count, UINT64_MAX);
}
