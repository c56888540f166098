/* src/gateway/kv_job.c - one operation on one key as commands of Redis, sent together.
 *
 * A put without a condition is EXISTS and SET; conditions are judged in a script, in one step with
 * the write. The sets of tags are on servers of their own in a cluster, so they cannot be part of that: they
 * follow, and if one of them fails the key is noted and all of it is repeated. Nothing of the caller's is
 * referred to, so a write goes on when its client has left. */
#include "gateway/kv_int.h"
#include <stdlib.h>

#define ARENA_BLOCK 1024
#define EVER_MS (UINT64_C(10) * 365 * 24 * 3600 * 1000) /* of tags of what has no end: ten years */
#define ARGS_MAX (9 + VV_KV_ETAGS_MAX)

/* KEYS[1]; mode, what, value, lifetime in ms or 0, etags. -1: VV_EEXIST, -2: VV_ENOENT, else: was there. */
static const char script_if[] =
    "local e=redis.call('GETRANGE',KEYS[1],12,27) local there=#e>0 local hit=false "
    "for i=5,#ARGV do if ARGV[i]==e then hit=true end end local m=ARGV[1] "
    "if (m=='a' and there) or (m=='o' and hit) then return -1 end "
    "if (m=='p' and not there) or (m=='m' and not hit) then return -2 end "
    "if ARGV[2]=='d' then redis.call('DEL',KEYS[1]) "
    "elseif ARGV[4]=='0' then redis.call('SET',KEYS[1],ARGV[3]) "
    "else redis.call('SET',KEYS[1],ARGV[3],'PX',ARGV[4]) end "
    "return there and 1 or 0";
/* KEYS[1]; key, the ms it ends at, the present ms, how many ms the set is to live at least. */
static const char script_tag[] = "redis.call('ZADD',KEYS[1],ARGV[2],ARGV[1]) "
                                 "redis.call('ZREMRANGEBYSCORE',KEYS[1],'-inf','('..ARGV[3]) "
                                 "if redis.call('PTTL',KEYS[1])<tonumber(ARGV[4]) then "
                                 "redis.call('PEXPIRE',KEYS[1],ARGV[4]) end return 1";

/* ---- making ---------------------------------------------------------------------------------- */

struct vv_kv_job *vv_kv_job_new(struct vv_worker *w, struct vv_kv *kv, enum vv_kv_verb verb,
                                struct vv_str key, struct vv_small_item *item,
                                const struct vv_small_if *cond)
{
    struct vv_kv_job *job = calloc(1, sizeof *job);
    if (job == NULL) {
        return NULL;
    }
    vv_arena_init(&job->arena, NULL, 0, ARENA_BLOCK, 0);
    (void)vv_store_ref(kv->store);
    job->w = w;
    job->kv = kv;
    job->verb = verb;
    job->key = vv_arena_str(&job->arena, key);
    if (cond != NULL && cond->when != VV_SMALL_ALWAYS) {
        const size_t n = cond->etags;
        uint64_t *etag = vv_arena_alloc(&job->arena, (n + 1) * sizeof *etag);
        if (etag == NULL) {
            vv_kv_job_free(job);
            return NULL;
        }
        if (n > 0) {
            memcpy(etag, cond->etag, n * sizeof *etag);
        }
        job->cond = (struct vv_small_if){cond->when, etag, n};
    }
    job->item = item != NULL ? vv_small_item_ref(item) : NULL;
    job->began_ns = vv_worker_now(w);
    job->writes = vv_kv_writes(kv, key);
    if (job->key.p == NULL) {
        vv_kv_job_free(job);
        return NULL;
    }
    return job;
}

void vv_kv_job_free(struct vv_kv_job *job)
{
    struct vv_store *s = job->kv->store;
    vv_small_item_unref(job->item);
    vv_arena_fini(&job->arena);
    free(job->bytes);
    free(job);
    vv_store_unref(s);
}

static struct vv_str joined(struct vv_kv_job *job, struct vv_str a, struct vv_str b)
{
    return vv_arena_fmt(&job->arena, VV_STR_FMT VV_STR_FMT, VV_STR_ARG(a), VV_STR_ARG(b));
}

static struct vv_str number(struct vv_kv_job *job, uint64_t v)
{
    return vv_arena_fmt(&job->arena, "%llu", (unsigned long long)v);
}

/* Keys may have any bytes, so they are not formatted. */
static struct vv_str object_key(struct vv_kv_job *job)
{
    const struct vv_str p = job->kv->objects;
    char *to = vv_arena_alloc(&job->arena, p.n + job->key.n);
    if (to == NULL) {
        return (struct vv_str){NULL, 0};
    }
    memcpy(to, p.p, p.n);
    memcpy(to + p.n, job->key.p, job->key.n);
    return (struct vv_str){to, p.n + job->key.n};
}

static uint64_t ttl_ms(const struct vv_kv_job *job)
{
    const uint64_t until = job->item->until_ns;
    if (until == 0) {
        return 0;
    }
    return until > job->began_ns ? vv_max_u64((until - job->began_ns) / VV_MS, 1) : 1;
}

static struct vv_str packed(struct vv_kv_job *job, uint64_t until_ms)
{
    const struct vv_small_item *it = job->item;
    const size_t head = vv_kv_head_bytes(it);
    char *to = vv_arena_alloc(&job->arena, head + it->value.n);
    if (to == NULL) {
        return (struct vv_str){NULL, 0};
    }
    vv_kv_head_write(to, it, until_ms);
    if (it->value.n > 0) {
        memcpy(to + head, it->value.p, it->value.n);
    }
    return (struct vv_str){to, head + it->value.n};
}

static void on_item(struct vv_redis_op *op, const struct vv_resp_item *it);
static void on_end(struct vv_redis_op *op, enum vv_err err);

/* One more command, of so many arguments that follow the name; args[0] is the name. */
static bool add(struct vv_kv_job *job, struct vv_str key, const struct vv_str *args, size_t count)
{
    struct vv_kv_part *p = &job->part[job->parts];
    struct vv_str *copy = vv_arena_alloc(&job->arena, count * sizeof *copy);
    for (size_t i = 0; i < count; i++) {
        if (copy == NULL || args[i].p == NULL) {
            return false;
        }
        copy[i] = args[i];
    }
    *p = (struct vv_kv_part){.job = job};
    p->op = (struct vv_redis_op){
        .item = on_item, .end = on_end, .key = key, .args = copy, .args_count = count};
    job->parts++;
    return true;
}

static bool add_tags(struct vv_kv_job *job, uint64_t ms, uint64_t wall_ms)
{
    const uint64_t life = ms != 0 ? ms : EVER_MS;
    for (size_t i = 0; i < job->item->tags; i++) {
        const struct vv_str key = joined(job, job->kv->tags, job->item->tag[i]);
        const struct vv_str args[] = {
            VV_STR("EVAL"), VV_STR(script_tag),          VV_STR("1"),          key,
            job->key,       number(job, wall_ms + life), number(job, wall_ms), number(job, life)};
        if (key.p == NULL || !add(job, key, args, VV_COUNT(args))) {
            return false;
        }
    }
    return true;
}

static bool add_conditional(struct vv_kv_job *job, struct vv_str key, struct vv_str value,
                            uint64_t ms)
{
    static const char modes[] = {[VV_SMALL_ALWAYS] = '-',
                                 [VV_SMALL_ABSENT] = 'a',
                                 [VV_SMALL_PRESENT] = 'p',
                                 [VV_SMALL_MATCH] = 'm',
                                 [VV_SMALL_OTHER] = 'o'};
    struct vv_str args[ARGS_MAX] = {VV_STR("EVAL"),
                                    VV_STR(script_if),
                                    VV_STR("1"),
                                    key,
                                    {&modes[job->cond.when], 1},
                                    job->verb == VV_KV_PUT ? VV_STR("p") : VV_STR("d"),
                                    value,
                                    number(job, ms)};
    size_t count = 8;
    for (size_t i = 0; i < job->cond.etags; i++) {
        args[count++] = vv_arena_fmt(&job->arena, "%016llx", (unsigned long long)job->cond.etag[i]);
    }
    return add(job, key, args, count);
}

static bool add_put(struct vv_kv_job *job, struct vv_str key)
{
    const uint64_t ms = ttl_ms(job);
    const uint64_t wall_ms = vv_loop_wall(job->w->loop) / VV_MS;
    const struct vv_str value = packed(job, ms != 0 ? wall_ms + ms : 0);
    if (job->cond.when != VV_SMALL_ALWAYS) {
        return add_conditional(job, key, value, ms) && add_tags(job, ms, wall_ms);
    }
    const struct vv_str exists[] = {VV_STR("EXISTS"), key};
    const struct vv_str set[] = {VV_STR("SET"), key, value, VV_STR("PX"), number(job, ms)};
    return add(job, key, exists, VV_COUNT(exists)) && add(job, key, set, ms != 0 ? 5 : 3) &&
           add_tags(job, ms, wall_ms);
}

static bool compose(struct vv_kv_job *job)
{
    const size_t room = 2 + (job->verb == VV_KV_PUT ? job->item->tags : 0);
    job->part = vv_arena_zalloc(&job->arena, room * sizeof *job->part);
    const struct vv_str key = object_key(job);
    if (job->part == NULL || key.p == NULL) {
        return false;
    }
    if (job->verb == VV_KV_PUT) {
        return add_put(job, key);
    }
    if (job->verb == VV_KV_DELETE && job->cond.when != VV_SMALL_ALWAYS) {
        return add_conditional(job, key, VV_STR(""), 0);
    }
    const struct vv_str args[] = {job->verb == VV_KV_GET ? VV_STR("GET") : VV_STR("UNLINK"), key};
    if (!add(job, key, args, VV_COUNT(args))) {
        return false;
    }
    job->part[0].op.flags = job->verb == VV_KV_GET ? VV_REDIS_READ : 0;
    return true;
}

/* ---- being answered -------------------------------------------------------------------------- */

static void take_bytes(struct vv_kv_job *job, const struct vv_resp_item *it)
{
    if (it->first) {
        free(job->bytes); /* a READ is begun again when its connection breaks */
        job->bytes_n = 0;
        job->too_large = it->count > job->bytes_max;
        job->bytes = job->too_large ? NULL : malloc((size_t)it->count + 1);
    }
    if (job->bytes != NULL && it->text.n > 0) {
        memcpy(job->bytes + job->bytes_n, it->text.p, it->text.n);
        job->bytes_n += it->text.n;
    }
}

static void on_item(struct vv_redis_op *op, const struct vv_resp_item *it)
{
    struct vv_kv_part *p = VV_CONTAINER(op, struct vv_kv_part, op);
    if (it->depth != 0 || it->attribute) {
        return;
    }
    if (it->type == VV_RESP_ERROR || it->type == VV_RESP_BULK_ERROR) {
        p->failed = true;
    } else if (it->type == VV_RESP_NIL) {
        p->nil = true;
    } else if (it->type == VV_RESP_INTEGER) {
        p->integer = it->integer;
    } else if (it->type == VV_RESP_BULK && p->job->verb == VV_KV_GET) {
        take_bytes(p->job, it);
    }
}

/* The bytes become an item; what is not ours counts as no answer. */
static bool read_item(struct vv_kv_job *job)
{
    struct vv_kv_head head;
    if (job->part[0].nil) {
        return true;
    }
    if (job->bytes == NULL ||
        vv_kv_head_read((struct vv_str){job->bytes, job->bytes_n}, &head) != VV_OK) {
        return false;
    }
    const uint64_t wall_ms = vv_loop_wall(job->w->loop) / VV_MS;
    const uint64_t left_ms = head.until_ms > wall_ms ? head.until_ms - wall_ms : 1;
    const struct vv_small_spec spec = {.key = job->key,
                                       .value = head.value,
                                       .type = head.type,
                                       .tag = head.tag,
                                       .tags = head.tags,
                                       .ttl_ns = head.until_ms != 0 ? left_ms * VV_MS : 0,
                                       .stored_ms = head.stored_ms};
    return vv_small_item_new(&spec, vv_worker_now(job->w), &job->item) == VV_OK;
}

static void all_answered(struct vv_kv_job *job)
{
    /* A put without a condition: EXISTS says what was there, SET decides. */
    const bool two = job->verb == VV_KV_PUT && job->cond.when == VV_SMALL_ALWAYS;
    const struct vv_kv_part *write = &job->part[two ? 1 : 0];
    job->failed = write->failed || !write->begun;
    for (size_t i = two ? 2 : 1; i < job->parts; i++) {
        job->tags_failed |= job->part[i].failed || !job->part[i].begun;
    }
    if (job->verb == VV_KV_GET && !job->failed) {
        job->failed = !read_item(job);
    }
    job->finish(job);
}

static void on_end(struct vv_redis_op *op, enum vv_err err)
{
    struct vv_kv_part *p = VV_CONTAINER(op, struct vv_kv_part, op);
    struct vv_kv_job *job = p->job;
    p->failed |= err != VV_OK;
    if (--job->left == 0) {
        all_answered(job);
    }
}

bool vv_kv_job_send(struct vv_kv_job *job)
{
    const uint64_t value_max =
        job->kv->store->fallback.value_bytes != 0 ? job->kv->store->fallback.value_bytes : VV_MIB;
    struct vv_redis *r = vv_store_client(job->w, job->kv->store);
    job->bytes_max = value_max + 64 * VV_KIB;
    if (r == NULL || !compose(job)) {
        return false;
    }
    for (size_t i = 0; i < job->parts; i++) {
        job->part[i].begun = vv_redis_do(r, &job->part[i].op) == VV_OK;
        job->left += job->part[i].begun;
        if (i == 0 && !job->part[i].begun) {
            return false; /* nothing is under way, and nothing will be */
        }
    }
    return true;
}
