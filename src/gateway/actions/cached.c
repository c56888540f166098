/* src/gateway/actions/cached.c - answers from a stored object, or from a fill while it grows.
 *
 * A small object is copied behind its head and the exchange ends at once, so that pipelined hits leave
 * in one write; larger ones are lent to the batch and stay referenced until they have left. */
#include "cache/validate.h"
#include "gateway/access.h"
#include "gateway/answer.h"
#include "gateway/fetch.h"
#include "gateway/recall.h"
#include "gateway/session.h"
#include "gateway/shape.h"
#include "gateway/variants.h"
#include "wire/conditional.h"
#include "wire/date.h"
#include "wire/range.h"
#include <inttypes.h>
#include <stdlib.h>

#define COPY_MAX 8192
#define RUN_MAX (256u * 1024u) /* of one object in one batch: others have their turn */

struct vv_follow { /* outlives the exchange while mail is on its way */
    struct vv_cache_waiter waiter;
    struct vv_timer timer;
    struct vv_worker *w;
    struct vv_exchange *x; /* NULL: nobody waits any more */
    bool waiting;
};

struct vv_parts { /* several ranges: texts between spans of the body */
    struct vv_ranges ranges;
    struct vv_str text[VV_RANGES_MAX + 1];
    uint32_t index;
    bool in_text; /* the text before range `index` is next */
    size_t done;  /* of that text */
};

static void go_on(struct vv_exchange *x);
static void pump(struct vv_exchange *x);

/* ---- waiting ---- */

static void follow_ends(struct vv_follow *f)
{
    vv_loop_timer_stop(f->w->loop, &f->timer);
    free(f);
}

static void on_mail(struct vv_loop *loop, struct vv_mail *mail)
{
    (void)loop;
    struct vv_follow *f =
        VV_CONTAINER(VV_CONTAINER(mail, struct vv_cache_waiter, mail), struct vv_follow, waiter);
    f->waiting = false;
    if (f->x == NULL) {
        follow_ends(f);
        return;
    }
    vv_loop_timer_stop(f->w->loop, &f->timer);
    go_on(f->x);
}

/* Alone from here: another fetch of the same may run beside the one that takes so long. */
static void go_alone(struct vv_exchange *x)
{
    struct vv_recall *r = x->recall;
    vv_cached_stop(x);
    x->action = NULL;
    r->role = VV_RECALL_PASS;
    r->status.collapsed = false;
    r->request_ms = vv_recall_now_ms(x);
    vv_recall_proxy(x);
}

static void on_late(struct vv_loop *loop, struct vv_timer *t)
{
    (void)loop;
    struct vv_follow *f = VV_CONTAINER(t, struct vv_follow, timer);
    struct vv_exchange *x = f->x;
    if (x->head_sent) {
        vv_exchange_end(x, VV_REASON_IDLE_TIMEOUT);
    } else {
        go_alone(x);
    }
}

void vv_cached_stop(struct vv_exchange *x)
{
    struct vv_follow *f = x->recall->follow;
    if (f == NULL) {
        return;
    }
    x->recall->follow = NULL;
    f->x = NULL;
    vv_loop_timer_stop(f->w->loop, &f->timer);
    if (!f->waiting || vv_cache_fill_stop(&f->waiter)) {
        free(f);
    }
}

static struct vv_follow *follow_of(struct vv_exchange *x)
{
    struct vv_follow *f = x->recall->follow;
    if (f == NULL) {
        f = calloc(1, sizeof *f);
        if (f == NULL) {
            return NULL;
        }
        f->w = x->w;
        f->waiter.mail.fn = on_mail;
        f->waiter.loop = x->w->loop;
        vv_timer_init(&f->timer, on_late);
        x->recall->follow = f;
    }
    f->x = x;
    return f;
}

/* False: there is something already. Else the exchange waits, or was ended. */
static bool wait_for(struct vv_exchange *x, bool head)
{
    struct vv_recall *r = x->recall;
    struct vv_follow *f = follow_of(x);
    if (f != NULL && f->waiting) {
        return true; /* drained() came while the mail is still to come: there is one for each wait */
    }
    const enum vv_err err =
        f != NULL ? vv_cache_fill_wait(r->fill, &f->waiter, head, r->at) : VV_ENOMEM;
    if (err == VV_EEXIST) {
        return false;
    }
    if (err == VV_OK) {
        f->waiting = true;
        const uint64_t limit = head ? r->plan->wait_ns : x->route->conf->timeouts.idle_ns;
        vv_loop_timer_at(x->w->loop, &f->timer, vv_worker_now(x->w) + limit);
    } else if (x->head_sent) {
        vv_exchange_end(x, VV_REASON_NO_MEMORY);
    } else {
        go_alone(x);
    }
    return true;
}

/* ---- heads ---- */

static void set_reason(struct vv_h1_head *h, int status)
{
    h->status = status;
    h->reason = vv_str_from(vv_h1_reason(status));
}

static bool send_not_modified(struct vv_exchange *x, struct vv_h1_head *h)
{
    static const struct vv_str useless[] = {{"Content-Type", 12},
                                            {"Content-Encoding", 16},
                                            {"Content-Language", 16},
                                            {"Content-Range", 13},
                                            {"Accept-Ranges", 13}};
    uint32_t n = 0;
    for (uint32_t i = 0; i < h->fields_count; i++) {
        bool drop = false;
        for (size_t k = 0; k < VV_COUNT(useless); k++) {
            drop |= vv_str_eq_nocase(h->fields[i].name, useless[k]);
        }
        if (!drop) {
            h->fields[n++] = h->fields[i];
        }
    }
    h->fields_count = n;
    memset(h->first, 0, sizeof h->first);
    for (uint32_t i = n; i-- > 0;) {
        h->first[h->fields[i].id] = (uint8_t)(i + 1);
    }
    set_reason(h, 304);
    h->framing = VV_H1_BODY_NONE;
    h->has_content_length = false;
    h->content_length = 0;
    x->recall->end = x->recall->at = 0;
    x->recall->whole = false;
    return vv_answer_head_from(x, h);
}

static bool add_field(struct vv_h1_head *h, struct vv_str name, struct vv_str value)
{
    if (h->fields_count == VV_H1_FIELDS_MAX || value.p == NULL) {
        return false;
    }
    h->fields[h->fields_count++] =
        (struct vv_h1_field){.name = name, .value = value, .id = (uint16_t)vv_field_lookup(name)};
    h->head_bytes += name.n + value.n + 4;
    return true;
}

static void send_unsatisfiable(struct vv_exchange *x, uint64_t length)
{
    const struct vv_field range = {VV_STR("Content-Range"),
                                   vv_arena_fmt(&x->arena, "bytes */%" PRIu64, length)};
    vv_answer_simple(x, 416, &range, 1, (struct vv_str){NULL, 0});
}

static bool make_parts(struct vv_exchange *x, struct vv_h1_head *h, const struct vv_ranges *ranges,
                       uint64_t length)
{
    struct vv_parts *p = vv_arena_zalloc(&x->arena, sizeof *p);
    if (p == NULL) {
        return false;
    }
    const uint64_t mark = vv_rng_u64(&x->w->rng);
    const struct vv_h1_field *type = vv_h1_find(h, VV_FIELD_CONTENT_TYPE);
    uint64_t bytes = 0;
    p->ranges = *ranges;
    p->in_text = true;
    for (uint32_t i = 0; i < ranges->count; i++) {
        const struct vv_range range = ranges->range[i];
        p->text[i] = vv_arena_fmt(
            &x->arena,
            "%s--vivace-%016" PRIx64 "\r\n" VV_STR_FMT VV_STR_FMT "%sContent-Range: bytes %" PRIu64
            "-%" PRIu64 "/%" PRIu64 "\r\n\r\n",
            i > 0 ? "\r\n" : "", mark,
            VV_STR_ARG(type != NULL ? VV_STR("Content-Type: ") : VV_STR("")),
            VV_STR_ARG(type != NULL ? type->value : VV_STR("")), type != NULL ? "\r\n" : "",
            range.first, range.first + range.bytes - 1, length);
        bytes += p->text[i].n + range.bytes;
        if (p->text[i].p == NULL) {
            return false;
        }
    }
    p->text[ranges->count] = vv_arena_fmt(&x->arena, "\r\n--vivace-%016" PRIx64 "--\r\n", mark);
    h->content_length = bytes + p->text[ranges->count].n;
    const struct vv_str value =
        vv_arena_fmt(&x->arena, "multipart/byteranges; boundary=vivace-%016" PRIx64, mark);
    if (type != NULL) {
        h->fields[type - h->fields].value = value;
        h->head_bytes += value.n;
    } else if (!add_field(h, VV_STR("Content-Type"), value)) {
        return false;
    }
    x->recall->parts = p;
    return value.p != NULL && p->text[ranges->count].p != NULL;
}

static bool send_parts(struct vv_exchange *x, struct vv_h1_head *h, const struct vv_ranges *ranges,
                       uint64_t length)
{
    struct vv_recall *r = x->recall;
    set_reason(h, 206);
    r->whole = false;
    if (ranges->count > 1) {
        if (!make_parts(x, h, ranges, length)) {
            vv_answer_error(x, VV_REASON_NO_MEMORY);
            return false;
        }
        return vv_answer_head_from(x, h);
    }
    const struct vv_range range = ranges->range[0];
    if (!add_field(h, VV_STR("Content-Range"),
                   vv_arena_fmt(&x->arena, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, range.first,
                                range.first + range.bytes - 1, length))) {
        vv_answer_error(x, VV_REASON_NO_MEMORY);
        return false;
    }
    h->content_length = range.bytes;
    r->at = range.first;
    r->end = range.first + range.bytes;
    return vv_answer_head_from(x, h);
}

/* Does Range count for this stored answer? */
static bool range_counts(const struct vv_exchange *x, const struct vv_h1_head *h)
{
    const struct vv_h1_field *etag = vv_h1_find(h, VV_FIELD_ETAG);
    const struct vv_h1_field *modified = vv_h1_find(h, VV_FIELD_LAST_MODIFIED);
    struct vv_validators v = {.modified_s = INT64_MIN};
    if (etag != NULL && !vv_str_starts(etag->value, VV_STR("W/"))) {
        v.etag = etag->value;
    }
    if (modified != NULL &&
        vv_http_date_parse(modified->value, vv_recall_now_ms(x) / 1000, &v.modified_s) != VV_OK) {
        v.modified_s = INT64_MIN;
    }
    return vv_condition_range(&x->req, &v, vv_recall_now_ms(x) / 1000);
}

/* With whatever the client asks about the representation. False: the exchange is gone. */
static bool send_selected(struct vv_exchange *x, const struct vv_cache_facts *facts,
                          struct vv_h1_head *h, uint64_t length)
{
    if (vv_cache_not_modified(&x->req, h, facts, vv_recall_now_ms(x) / 1000)) {
        return send_not_modified(x, h);
    }
    const struct vv_h1_field *range = vv_h1_find(&x->req, VV_FIELD_RANGE);
    struct vv_ranges ranges;
    if (range != NULL && x->req.method == VV_METHOD_GET && h->status == 200 &&
        length != UINT64_MAX && range_counts(x, h)) {
        switch (vv_range_parse(range->value, length, &ranges)) {
        case VV_RANGE_UNSATISFIABLE:
            send_unsatisfiable(x, length);
            return false;
        case VV_RANGE_PARTS:
            return send_parts(x, h, &ranges, length);
        case VV_RANGE_IGNORE:
            break;
        }
    }
    return vv_answer_head_from(x, h);
}

static bool plain_request(const struct vv_exchange *x)
{
    const struct vv_h1_head *q = &x->req;
    return vv_h1_find(q, VV_FIELD_IF_NONE_MATCH) == NULL &&
           vv_h1_find(q, VV_FIELD_IF_MODIFIED_SINCE) == NULL &&
           vv_h1_find(q, VV_FIELD_RANGE) == NULL;
}

/* False: the exchange is gone. */
static bool send_head(struct vv_exchange *x, const struct vv_stored_meta *meta, struct vv_str block,
                      uint64_t length)
{
    struct vv_recall *r = x->recall;
    r->at = 0;
    r->end = length;
    r->whole = true;
    /* A variant is as it shall be sent; any other object that may be encoded goes the long way. */
    const bool as_is =
        !meta->compressible || meta->encoding != VV_ENCODING_IDENTITY || !vv_shape_asked(x);
    if (as_is && vv_answer_is_plain(x) && plain_request(x)) {
        return vv_answer_head_stored(x, meta->facts.status, block, length);
    }
    struct vv_h1_head *h = vv_recall_head(x, block, length != UINT64_MAX ? length : 0);
    if (h == NULL) {
        vv_answer_error(x, VV_REASON_NO_MEMORY);
        return false;
    }
    if (length == UINT64_MAX) {
        h->framing = VV_H1_BODY_CLOSE;
        h->has_content_length = false;
    }
    return send_selected(x, &meta->facts, h, length);
}

bool vv_cached_lead(struct vv_exchange *x, struct vv_h1_head *origin)
{
    struct vv_recall *r = x->recall;
    struct vv_str bytes;
    struct vv_str block;
    struct vv_stored_meta meta;
    x->action = &vv_action_cached;
    x->state = NULL;
    if (vv_cache_fill_get_head(r->fill, &bytes, &block) != VV_OK) {
        vv_answer_error(x, VV_REASON_INTERNAL);
        return false;
    }
    memcpy(&meta, bytes.p, sizeof meta);
    r->status.has_ttl = !r->plan->coalesce_only || r->plan->keep_s > 0;
    r->status.ttl_s = (int64_t)meta.facts.lifetime_s - (int64_t)(meta.facts.initial_age_ms / 1000);
    r->at = 0;
    r->end = meta.length;
    r->whole = true;
    return plain_request(x) ? vv_answer_head_from(x, origin)
                            : send_selected(x, &meta.facts, origin, meta.length);
}

void vv_cached_lead_body(struct vv_exchange *x)
{
    pump(x);
}

/* ---- bodies ---- */

/* The next bytes of the body. VV_OK without: the end. */
static enum vv_err next_run(struct vv_recall *r, struct vv_str *ret)
{
    *ret = (struct vv_str){NULL, 0};
    if (r->at == r->end) {
        return VV_OK;
    }
    enum vv_err err = VV_OK;
    if (r->role == VV_RECALL_HIT) {
        *ret = vv_cache_body_at(r->object, r->at);
    } else {
        err = vv_cache_fill_read(r->fill, r->at, ret);
    }
    if (err == VV_OK) {
        ret->n = (size_t)vv_min_u64(ret->n, vv_min_u64(r->end - r->at, RUN_MAX));
    }
    return err;
}

/* The same through a multipart body; the end is the end of its last text. */
static enum vv_err next_part(struct vv_recall *r, struct vv_str *ret)
{
    struct vv_parts *p = r->parts;
    for (;;) {
        if (p->in_text) {
            const struct vv_str text = p->text[p->index];
            if (p->done < text.n) {
                *ret = (struct vv_str){text.p + p->done, text.n - p->done};
                return VV_OK;
            }
            if (p->index == p->ranges.count) {
                *ret = (struct vv_str){NULL, 0};
                return VV_OK;
            }
            p->in_text = false;
            r->at = p->ranges.range[p->index].first;
            r->end = r->at + p->ranges.range[p->index].bytes;
        }
        if (r->at < r->end) {
            return next_run(r, ret);
        }
        p->index++;
        p->in_text = true;
        p->done = 0;
    }
}

static void advance(struct vv_recall *r, size_t n)
{
    if (r->parts != NULL && r->parts->in_text) {
        r->parts->done += n;
    } else {
        r->at += n;
    }
}

static void fill_failed(struct vv_exchange *x, enum vv_err err);

static void pump(struct vv_exchange *x)
{
    struct vv_recall *r = x->recall;
    bool encoded = false;
    for (;;) {
        struct vv_str run = {NULL, 0};
        enum vv_err err = VV_OK;
        if (vv_answer_has_body(x)) {
            err = r->parts != NULL ? next_part(r, &run) : next_run(r, &run);
        }
        if (err == VV_OK && run.n == 0) {
            vv_answer_done(x);
            (void)vv_answer_flush(x);
            return;
        }
        const bool room = x->session->out.count + 4 <= VV_OUT_PIECES;
        if (err == VV_OK && room && (x->shape == NULL || !encoded)) {
            encoded = x->shape != NULL; /* what costs time leaves after each run: others wait */
            if (!vv_answer_body(x, run)) {
                vv_exchange_end(x, VV_REASON_NO_MEMORY);
                return;
            }
            advance(r, run.n);
            continue;
        }
        encoded = false;
        const enum vv_err sent =
            vv_answer_flush(x); /* the batch is full, or there is no more yet */
        if (sent != VV_OK) {
            return; /* drained() goes on, or the exchange is gone */
        }
        if (err == VV_EAGAIN && wait_for(x, false)) {
            return;
        }
        if (err != VV_OK && err != VV_EAGAIN) {
            fill_failed(x, err);
            return;
        }
    }
}

/* The fetch this one waited for gave no answer. */
static void fill_failed(struct vv_exchange *x, enum vv_err err)
{
    struct vv_recall *r = x->recall;
    vv_cached_stop(x);
    if (err == VV_ELIMIT && r->fetch != NULL && r->whole && x->head_sent) {
        vv_proxy_take_back(x);
    } else if (x->head_sent) {
        vv_exchange_end(x, VV_REASON_SERVER_CLOSED);
    } else if (err == VV_ENOENT || err == VV_ELIMIT ||
               (err == VV_EACCES && vv_access_has_credential(x))) {
        go_alone(x); /* the answer is not for sharing */
    } else if (err == VV_EEXIST || err == VV_EACCES || !r->failed) {
        r->failed |= err != VV_EEXIST && err != VV_EACCES;
        vv_recall_again(x);
    } else {
        vv_answer_error(x, VV_REASON_FETCH_FAILED);
    }
}

/* ---- the two ways ---- */

static void go_on(struct vv_exchange *x)
{
    struct vv_recall *r = x->recall;
    while (!x->head_sent) {
        struct vv_str bytes;
        struct vv_str head;
        struct vv_stored_meta meta;
        const enum vv_err err = vv_cache_fill_get_head(r->fill, &bytes, &head);
        if (err == VV_EAGAIN) {
            if (wait_for(x, true)) {
                return;
            }
            continue;
        }
        if (err != VV_OK) {
            fill_failed(x, err);
            return;
        }
        memcpy(&meta, bytes.p, sizeof meta);
        const struct vv_str second = {head.p, meta.second_n};
        if (second.n > 0 && !vv_vary_matches(&x->req, second, &r->plan->vary_rules)) {
            go_alone(x);
            return;
        }
        r->use =
            vv_cache_judge_use(&meta.facts, &r->cc, &r->plan->options, false, vv_recall_now_ms(x));
        r->age_s = (int64_t)(r->use.age_ms / 1000);
        r->status.has_ttl = !r->plan->coalesce_only || r->plan->keep_s > 0;
        r->status.ttl_s = (int64_t)meta.facts.lifetime_s - r->age_s;
        if (!send_head(x, &meta, (struct vv_str){head.p + second.n, head.n - second.n},
                       meta.length)) {
            return;
        }
    }
    pump(x);
}

/* The stored answer in a coding this client takes, if there is one: ranges are of the answer as it came. */
static void choose_variant(struct vv_exchange *x)
{
    struct vv_recall *r = x->recall;
    if (!vv_stored_meta(r->object)->compressible || !vv_shape_asked(x) ||
        vv_h1_find(&x->req, VV_FIELD_RANGE) != NULL) {
        return;
    }
    const struct vv_cache_object *v = vv_variant_pick(x, r->memory, r->object, r->key, r->hash);
    if (v != NULL) {
        if (r->counted) {
            vv_cache_unref(r->object);
        }
        r->object = v;
        r->counted = false;
    }
}

static void send_object(struct vv_exchange *x)
{
    struct vv_recall *r = x->recall;
    choose_variant(x);
    const struct vv_cache_object *o = r->object;
    if (!send_head(x, vv_stored_meta(o), vv_cache_head(o), o->body_n)) {
        return;
    }
    if (o->body_n <= COPY_MAX && r->end == o->body_n && r->at == 0 && x->shape == NULL &&
        r->parts == NULL) {
        if (x->framing == VV_ANSWER_LENGTH) {
            const struct vv_str body = vv_cache_body_at(o, 0);
            if (body.n != o->body_n || !vv_out_copy(&x->session->out, &x->w->bufs, body)) {
                vv_exchange_end(x, VV_REASON_NO_MEMORY);
                return;
            }
            x->bytes_out += body.n;
            x->answer_left = 0;
        }
        x->body_done = true;
        vv_exchange_end(x, VV_REASON_NONE);
        return;
    }
    if (!r->counted) {
        vv_cache_ref(o);
        r->counted = true;
    }
    pump(x);
}

void vv_cached_start(struct vv_exchange *x)
{
    x->action = &vv_action_cached;
    x->state = NULL;
    if (x->recall->role == VV_RECALL_HIT) {
        send_object(x);
    } else {
        go_on(x);
    }
}

/* What has left may be the end of the answer before: this one still waits for its head. */
static void drained(struct vv_exchange *x)
{
    if (x->head_sent) {
        pump(x);
    }
}

static void cancel(struct vv_exchange *x)
{
    vv_cached_stop(x);
}

const struct vv_action vv_action_cached = {
    .name = "cached", .start = vv_cached_start, .drained = drained, .cancel = cancel};
