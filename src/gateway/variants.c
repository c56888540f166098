/* src/gateway/variants.c - one job at a time in the whole process, so nothing is queued, nothing can be
 * asked for twice, and a lock is not needed: whoever hits a hot object while no job runs may start one.
 * The more often an object is hit, the sooner its turn comes. */
#include "gateway/variants.h"
#include "cache/store.h"
#include "gateway/head_writer.h"
#include "os/clock.h"
#include "wire/encoder_whole.h"
#include <stdatomic.h>
#include <stdlib.h>

#define BODY_MAX (4u << 20)
#define HITS_MIN 2
#define SHARE 10           /* a job that took t is followed by (SHARE - 1) t of rest */
#define SECOND_MAX 8300    /* an object's secondary key and the coding */
#define USELESS_COUNT 1024 /* a power of two */
#define HEAD_ROOM 96

static struct { /* of the process, as its CPU is */
    struct vv_job job;
    atomic_bool running;
    _Atomic uint64_t rest_until_ns;
    /* What became no smaller, by id and coding: not to be tried again. */
    _Atomic uint64_t useless[USELESS_COUNT];
    /* the job */
    struct vv_runtime *rt;                /* counted: the cache lives as long */
    const struct vv_cache_object *object; /* counted */
    struct vv_cache *cache;
    enum vv_encoding encoding;
} making;

bool vv_variant_possible(const struct vv_compress_plan *p, const struct vv_h1_head *answer,
                         uint64_t length)
{
    static struct vv_h1_head any; /* a request without fields */
    if (p == NULL || p->rules.prefer_count == 0) {
        return false;
    }
    struct vv_encoding_facts facts = vv_encoding_facts_of(answer);
    facts.length = length;
    return vv_encoding_decide(&p->rules, &any, &facts).vary;
}

/* ---- heads and keys ---- */

static bool make_second(const struct vv_cache_object *o, enum vv_encoding encoding, char *out,
                        struct vv_str *ret)
{
    const struct vv_str second = vv_cache_second(o);
    const struct vv_str name = vv_encodings[encoding].name;
    if (second.n + 1 + name.n > SECOND_MAX) {
        return false;
    }
    struct vv_writer w = {out};
    vv_put(&w, second);
    *w.at++ = '\x01';
    vv_put(&w, name);
    *ret = (struct vv_str){out, (size_t)(w.at - out)};
    return true;
}

/* The head block of `o` as the variant has it. *ret_p is malloced; NULL: memory is out. */
static struct vv_str make_head(const struct vv_cache_object *o, enum vv_encoding encoding)
{
    const struct vv_str block = vv_cache_head(o);
    struct vv_h1_head *h = malloc(sizeof *h);
    char *out = malloc(2 * block.n + HEAD_ROOM);
    struct vv_str ret = {NULL, 0};
    if (h != NULL && out != NULL && vv_stored_head_read(block, o->body_n, h)) {
        struct vv_writer w = {out};
        struct vv_str rest = block;
        const struct vv_str status = vv_str_cut(&rest, '\n');
        vv_put(&w, (struct vv_str){status.p, status.n + 1});
        for (uint32_t i = 0; i < h->fields_count; i++) {
            const struct vv_h1_field *f = &h->fields[i];
            if (f->id == VV_FIELD_VARY || f->id == VV_FIELD_ACCEPT_RANGES) {
                continue;
            }
            vv_put(&w, f->name);
            vv_put(&w, VV_STR(": "));
            if (f->id == VV_FIELD_ETAG) {
                vv_put(&w, vv_encoding_etag_prefix(f->value));
            }
            vv_put(&w, f->value);
            vv_put(&w, VV_STR("\r\n"));
        }
        vv_put_field(&w, VV_STR("Content-Encoding"), vv_encodings[encoding].name);
        vv_put(&w, VV_STR("Vary: "));
        w.at += vv_vary_merge(h, VV_STR("Accept-Encoding"), w.at, block.n + HEAD_ROOM / 2);
        vv_put(&w, VV_STR("\r\n"));
        ret = (struct vv_str){out, (size_t)(w.at - out)};
        out = NULL;
    }
    free(out);
    free(h);
    return ret;
}

/* All that the variant takes from the object. `second` and the metadata stay the caller's. */
static struct vv_cache_spec spec_of(const struct vv_cache_object *o,
                                    const struct vv_stored_meta *meta, struct vv_str second,
                                    struct vv_str head)
{
    return (struct vv_cache_spec){
        .key = vv_cache_key(o),
        .second = second,
        .hash = o->hash,
        .meta = meta,
        .meta_n = sizeof *meta,
        .head = head,
        .tags = vv_cache_tags(o),
        .tags_n = o->tags_n,
        .keep_until_ns = o->keep_until_ns,
        .born = o->born,
        .soft = atomic_load_explicit(&o->soft, memory_order_relaxed),
    };
}

static struct vv_stored_meta meta_of(const struct vv_cache_object *o, enum vv_encoding encoding)
{
    struct vv_stored_meta meta = *vv_stored_meta(o);
    meta.encoding = (uint8_t)encoding;
    return meta;
}

/* ---- making one ---- */

static uint64_t mark_of(const struct vv_cache_object *o, enum vv_encoding encoding)
{
    return vv_stored_meta(o)->id * VV_ENCODING_COUNT + (uint64_t)encoding;
}

static bool is_useless(uint64_t mark)
{
    return atomic_load_explicit(&making.useless[mark % USELESS_COUNT], memory_order_relaxed) ==
           mark;
}

static void set_useless(uint64_t mark)
{
    atomic_store_explicit(&making.useless[mark % USELESS_COUNT], mark, memory_order_relaxed);
}

/* The body in one piece: lent if it is, else a copy in *ret_own. False: memory is out. */
static bool whole_body(const struct vv_cache_object *o, struct vv_str *ret, char **ret_own)
{
    *ret_own = NULL;
    *ret = vv_cache_body_at(o, 0);
    if (ret->n == o->body_n) {
        return true;
    }
    char *p = malloc(o->body_n);
    if (p == NULL) {
        return false;
    }
    for (uint64_t at = 0; at < o->body_n;) {
        const struct vv_str run = vv_cache_body_at(o, at);
        memcpy(p + at, run.p, run.n);
        at += run.n;
    }
    *ret_own = p;
    *ret = (struct vv_str){p, o->body_n};
    return true;
}

/* VV_ERANGE: it does not become smaller by a tenth. */
static enum vv_err make(const struct vv_cache_object *o, struct vv_cache *c,
                        enum vv_encoding encoding)
{
    char second_room[SECOND_MAX];
    struct vv_str second;
    struct vv_str body;
    char *own;
    if (!make_second(o, encoding, second_room, &second) || !whole_body(o, &body, &own)) {
        return VV_ENOMEM;
    }
    const size_t cap = body.n - body.n / 10;
    char *out = malloc(cap);
    size_t n = 0;
    enum vv_err err = out != NULL ? vv_encode_whole(encoding, body, out, cap, &n) : VV_ENOMEM;
    free(own);
    if (err == VV_OK) {
        const struct vv_stored_meta meta = meta_of(o, encoding);
        const struct vv_str head = make_head(o, encoding);
        struct vv_cache_spec spec = spec_of(o, &meta, second, head);
        spec.body = (struct vv_str){out, n};
        err = head.p != NULL ? vv_cache_insert(c, &spec, vv_clock_now()) : VV_ENOMEM;
        free((void *)(uintptr_t)head.p);
    }
    free(out);
    return err;
}

/* On a pool thread. Everything is let go of here: the loop that asked may be gone by now. */
static void work(struct vv_job *job VV_UNUSED)
{
    const uint64_t cpu_ns = vv_clock_thread();
    if (make(making.object, making.cache, making.encoding) != VV_OK) {
        set_useless(mark_of(making.object, making.encoding));
    }
    vv_cache_unref(making.object);
    vv_runtime_unref(making.rt);
    atomic_store(&making.rest_until_ns,
                 vv_clock_now() + (SHARE - 1) * (vv_clock_thread() - cpu_ns));
}

static void done(struct vv_loop *loop VV_UNUSED, struct vv_job *job VV_UNUSED)
{
    atomic_store(&making.running, false);
}

static void ask(struct vv_exchange *x, struct vv_cache *c, const struct vv_cache_object *o,
                enum vv_encoding encoding)
{
    if (x->w->pool == NULL || o->body_n > BODY_MAX || vv_cache_hits(o) < HITS_MIN ||
        atomic_load_explicit(&making.running, memory_order_relaxed) ||
        vv_worker_now(x->w) < atomic_load_explicit(&making.rest_until_ns, memory_order_relaxed) ||
        is_useless(mark_of(o, encoding)) || atomic_exchange(&making.running, true)) {
        return;
    }
    vv_cache_ref(o);
    vv_runtime_ref(x->rt);
    making.object = o;
    making.rt = x->rt;
    making.cache = c;
    making.encoding = encoding;
    making.job.work = work;
    making.job.done = done;
    if (vv_pool_submit(x->w->pool, x->w->loop, &making.job) != VV_OK) {
        vv_cache_unref(o);
        vv_runtime_unref(x->rt);
        atomic_store(&making.running, false);
    }
}

/* ---- picking one ---- */

/* The object's head has changed since: the body under the head of today. */
static void renew(struct vv_exchange *x, struct vv_cache *c, const struct vv_cache_object *o,
                  const struct vv_cache_object *variant, enum vv_encoding encoding)
{
    const struct vv_stored_meta meta = meta_of(o, encoding);
    const struct vv_str head = make_head(o, encoding);
    if (head.p != NULL) {
        const struct vv_cache_spec spec = spec_of(o, &meta, vv_cache_second(variant), head);
        (void)!vv_cache_refresh(c, variant, &spec, vv_worker_now(x->w)); /* else at the next hit */
        free((void *)(uintptr_t)head.p);
    }
}

static bool same_facts(const struct vv_stored_meta *a, const struct vv_stored_meta *b)
{
    return a->facts.response_ms == b->facts.response_ms &&
           a->facts.initial_age_ms == b->facts.initial_age_ms &&
           a->facts.date_s == b->facts.date_s && a->facts.lifetime_s == b->facts.lifetime_s;
}

const struct vv_cache_object *vv_variant_pick(struct vv_exchange *x, struct vv_cache *c,
                                              const struct vv_cache_object *o, struct vv_str key,
                                              uint64_t hash)
{
    const struct vv_compress_plan *plan = x->route->compress;
    const struct vv_stored_meta *meta = vv_stored_meta(o);
    char room[SECOND_MAX];
    struct vv_cache_query q = {.key = key, .hash = hash};
    if (plan == NULL || !meta->compressible || meta->encoding != VV_ENCODING_IDENTITY) {
        return NULL;
    }
    const enum vv_encoding encoding = vv_encoding_choose(&plan->rules, &x->req);
    if (encoding == VV_ENCODING_IDENTITY || !make_second(o, encoding, room, &q.second)) {
        return NULL;
    }
    bool soft = false;
    const struct vv_cache_object *v = vv_cache_lookup(c, x->w->reader, &q, &soft);
    const struct vv_stored_meta *vm = v != NULL ? vv_stored_meta(v) : NULL;
    if (vm == NULL || vm->version != VV_STORED_VERSION || vm->id != meta->id) {
        ask(x, c, o, encoding);
        return NULL;
    }
    if (!same_facts(meta, vm)) {
        renew(x, c, o, v, encoding);
        return NULL;
    }
    return v;
}
