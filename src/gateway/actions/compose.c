/* src/gateway/actions/compose.c - one answer out of the answers of several services.
 *
 * All parts are asked at once, each as a request of our own. A part that fails (no answer in time, anything
 * but 2xx, too much) is replaced by its fallback where it has one. What is missing then decides: a
 * critical part fails the whole, at once (fail_fast) or when all have been tried (best_effort).
 * Nothing is decided while parts are being started: they may end before that returns. */
#include "base/json.h"
#include "gateway/compose_plan.h"
#include "gateway/fallback.h"
#include "gateway/head_writer.h"
#include "gateway/session.h"
#include "gateway/sink.h"

#define PART_MAX (1024u * 1024u)
#define WHOLE_MAX (4u * 1024u * 1024u)
#define FAIL_FAST 1   /* of vv_compose_settings.strategy */
#define HEAD_ROOM 128 /* of a part's request, beside what is copied */

struct composing;
struct part {
    struct composing *c;
    const struct vv_compose_part *plan;
    struct vv_exchange *x; /* NULL: not running */
    struct vv_buf *body;
    struct vv_str stand_in; /* the literal in its place; p NULL: none */
    uint64_t length;        /* as the head says */
    int status;
    bool too_large, late, degraded, fell_back;
    bool missing; /* it ended without a value */
};
struct composing {
    struct vv_exchange *x;
    const struct vv_compose *plan;
    struct vv_timer timer; /* of the whole */
    uint64_t until_ns;
    unsigned busy; /* parts are being started or stopped */
    struct vv_sb out;
    struct part part[];
};

static void decide(struct composing *c);
static void failed(struct part *p);

/* ---- asking -------------------------------------------------------------------------------- */

/* The client's conditions, ranges and bodies are about the whole; codings could not be merged. */
static bool passes_on(const struct vv_h1_field *f)
{
    const struct vv_str start = {f->name.p, f->name.n < 8 ? f->name.n : 8};
    switch (f->id) {
    case VV_FIELD_HOST:
    case VV_FIELD_RANGE:
    case VV_FIELD_EXPECT:
    case VV_FIELD_ACCEPT_ENCODING:
        return false;
    default:
        return !f->hop && !vv_str_eq_nocase(start, VV_STR("Content-")) &&
               !(f->name.n > 3 && vv_str_eq_nocase((struct vv_str){f->name.p, 3}, VV_STR("If-")));
    }
}

static enum vv_err make_target(struct part *p, struct vv_str *ret)
{
    struct vv_exchange *x = p->c->x;
    if (p->plan->path == NULL) {
        *ret = x->req.query.p == NULL ? x->path
                                      : vv_arena_fmt(&x->arena, VV_STR_FMT "?" VV_STR_FMT,
                                                     VV_STR_ARG(x->path), VV_STR_ARG(x->req.query));
        return ret->p != NULL ? VV_OK : VV_ENOMEM;
    }
    struct vv_template_vars vars;
    vv_exchange_vars(x, &vars);
    return vv_template_render(p->plan->path, &vars, &x->arena, VV_TEMPLATE_URI, ret);
}

static enum vv_err make_head(struct part *p, struct vv_str *ret)
{
    struct vv_exchange *x = p->c->x;
    struct vv_str target;
    const enum vv_err err = make_target(p, &target);
    if (err != VV_OK) {
        return err;
    }
    size_t bytes = HEAD_ROOM + p->plan->method.n + target.n + x->req.authority.n;
    for (uint32_t i = 0; i < x->req.fields_count; i++) {
        bytes += x->req.fields[i].name.n + x->req.fields[i].value.n + 4;
    }
    char *start = vv_arena_alloc(&x->arena, bytes);
    struct vv_writer w = {start};
    if (start == NULL) {
        return VV_ENOMEM;
    }
    vv_put(&w, p->plan->method);
    vv_put(&w, VV_STR(" "));
    vv_put(&w, target);
    vv_put(&w, VV_STR(" HTTP/1.1\r\n"));
    vv_put_field(&w, VV_STR("Host"), x->req.authority);
    for (uint32_t i = 0; i < x->req.fields_count; i++) {
        if (passes_on(&x->req.fields[i])) {
            vv_put_field(&w, x->req.fields[i].name, x->req.fields[i].value);
        }
    }
    vv_put_field(&w, VV_STR("Accept-Encoding"), VV_STR("identity"));
    if (!vv_str_eq(p->plan->method, VV_STR("GET"))) {
        vv_put_field(&w, VV_STR("Content-Length"), VV_STR("0"));
    }
    vv_put(&w, VV_STR("\r\n"));
    *ret = (struct vv_str){start, (size_t)(w.at - start)};
    return VV_OK;
}

static void forget_body(struct part *p)
{
    vv_buf_put(&p->c->x->w->bufs, p->body);
    p->body = NULL;
}

static const struct vv_sink part_sink;

static void ask(struct part *p, const struct vv_route *route)
{
    struct vv_subrequest r = {.route = route, .sink = &part_sink, .user = p};
    r.timeout_ns = p->plan->timeout_ns; /* 0: the timer of the whole ends it */
    p->status = 0;
    p->too_large = false;
    p->length = 0;
    forget_body(p);
    p->c->busy++;
    if (make_head(p, &r.head) != VV_OK || vv_subrequest_start(p->c->x, &r, &p->x) != VV_OK) {
        p->x = NULL;
        failed(p);
    }
    p->c->busy--;
}

/* ---- being answered ------------------------------------------------------------------------ */

static bool good(const struct part *p)
{
    return p->status >= 200 && p->status < 300;
}

static void on_head(void *user, int status, struct vv_str content_type, uint64_t length)
{
    struct part *p = user;
    (void)content_type;
    p->status = status;
    p->length = length != VV_LENGTH_UNKNOWN ? length : 0;
    /* Out of the cache, however old: vv_fallback() said so there. */
    p->degraded |= p->x->guard_word != NULL && strcmp(p->x->guard_word, "fallback") == 0;
}

static bool on_body(void *user, struct vv_str bytes)
{
    struct part *p = user;
    const size_t have = p->body != NULL ? vv_buf_len(p->body) : 0;
    if (have + bytes.n > PART_MAX || p->length > PART_MAX) {
        p->too_large = true;
        return false;
    }
    if (p->body == NULL || vv_buf_room(p->body) < bytes.n) {
        const size_t want = have > 0 ? 2 * (have + bytes.n) : bytes.n;
        struct vv_buf *b = vv_buf_get(&p->c->x->w->bufs, (size_t)vv_max_u64(want, p->length));
        if (b == NULL) {
            return false;
        }
        if (have > 0) {
            memcpy(b->data, p->body->data, have);
        }
        b->end = (uint32_t)have;
        forget_body(p);
        p->body = b;
    }
    memcpy(p->body->data + p->body->end, bytes.p, bytes.n);
    p->body->end += (uint32_t)bytes.n;
    return true;
}

/* Its fallback takes the part's place, or nothing does. */
static void failed(struct part *p)
{
    const struct vv_fallback_settings *f = &p->plan->conf->fallback;
    struct composing *c = p->c;
    const bool first = !p->fell_back;
    forget_body(p);
    p->fell_back = true;
    if (first && f->kind == VV_FALLBACK_LITERAL) {
        p->degraded = true;
        p->stand_in = (struct vv_str){f->body, (size_t)f->body_bytes};
    } else if (first && f->kind == VV_FALLBACK_TO && vv_worker_now(c->x->w) < c->until_ns) {
        p->degraded = true;
        ask(p, &p->plan->other);
    } else {
        p->degraded = true;
        p->missing = true;
    }
}

static void on_end(void *user, enum vv_reason aborted)
{
    struct part *p = user;
    struct composing *c = p->c;
    p->x = NULL;
    p->late |= p->status == 504 || aborted == VV_REASON_WHOLE_TIMEOUT;
    if (aborted != VV_REASON_NONE || !good(p)) {
        failed(p);
    }
    if (c->busy == 0) {
        decide(c);
    }
}

static const struct vv_sink part_sink = {on_head, on_body, on_end};

/* ---- answering ----------------------------------------------------------------------------- */

static void stop_parts(struct composing *c)
{
    for (size_t i = 0; i < c->plan->count; i++) {
        struct vv_exchange *x = c->part[i].x;
        c->part[i].x = NULL;
        if (x != NULL) {
            vv_subrequest_cancel(x);
        }
    }
}

static void cancel(struct vv_exchange *x)
{
    struct composing *c = x->state;
    if (c == NULL) {
        return;
    }
    vv_loop_timer_stop(x->w->loop, &c->timer);
    stop_parts(c);
    for (size_t i = 0; i < c->plan->count; i++) {
        forget_body(&c->part[i]);
    }
    vv_sb_fini(&c->out);
    x->state = NULL;
}

static void answer(struct composing *c, int status, const char *type, bool no_store)
{
    vv_loop_timer_stop(c->x->w->loop, &c->timer); /* a slow client may read for longer */
    const struct vv_field field[] = {{VV_STR("Content-Type"), vv_str_from(type)},
                                     {VV_STR("Cache-Control"), VV_STR("no-store")}};
    if (c->out.failed) {
        vv_answer_error(c->x, VV_REASON_NO_MEMORY);
        return;
    }
    vv_answer_simple(c->x, status, field, no_store ? 2 : 1, vv_sb_str(&c->out));
}

/* The whole cannot be had without this part. */
static void give_up(struct composing *c, const struct part *p)
{
    struct vv_exchange *x = c->x;
    const struct vv_str name = p->plan->name;
    const int status = p->late ? 504 : 502;
    stop_parts(c);
    if (x->route->conf->fallback.kind != VV_FALLBACK_NONE) {
        cancel(x);
        if (vv_fallback(x, VV_REASON_COMPOSE_FAILED, 0)) {
            return;
        }
        vv_answer_error(x, VV_REASON_COMPOSE_FAILED);
        return;
    }
    x->reason = VV_REASON_COMPOSE_FAILED;
    struct vv_json j;
    vv_json_init(&j, &c->out);
    vv_json_obj(&j);
    vv_json_kcstr(&j, "type", "about:blank");
    vv_json_kcstr(&j, "title", vv_h1_reason(status));
    vv_json_ku64(&j, "status", (uint64_t)status);
    vv_json_kcstr(&j, "detail", vv_reasons[VV_REASON_COMPOSE_FAILED].text);
    vv_json_kcstr(&j, "reason", vv_reasons[VV_REASON_COMPOSE_FAILED].name);
    vv_json_kstr(&j, "part", name);
    vv_json_kstr(&j, "request_id", x->id);
    vv_json_obj_end(&j);
    vv_sb_addc(&c->out, '\n');
    answer(c, status, "application/problem+json", true);
}

static struct vv_str value_of(const struct part *p)
{
    if (p->missing) {
        return (struct vv_str){NULL, 0};
    }
    if (p->stand_in.p != NULL) {
        return p->stand_in;
    }
    return p->body != NULL ? (struct vv_str){p->body->data, vv_buf_len(p->body)} : VV_STR("null");
}

static void name_degraded(struct composing *c)
{
    struct vv_exchange *x = c->x;
    for (size_t i = 0; i < c->plan->count; i++) {
        const struct part *p = &c->part[i];
        if (p->degraded) {
            const struct vv_str more =
                vv_arena_fmt(&x->arena, VV_STR_FMT "%s" VV_STR_FMT, VV_STR_ARG(x->degraded),
                             x->degraded.n > 0 ? ", " : "", VV_STR_ARG(p->plan->name));
            x->degraded = more.p != NULL ? more : VV_STR("parts");
            x->guard_word = "degraded";
        }
    }
}

static void answer_whole(struct composing *c)
{
    struct vv_merge_value value[VV_COMPOSE_PARTS_MAX];
    size_t bytes = 0;
    for (size_t i = 0; i < c->plan->count; i++) {
        const struct part *p = &c->part[i];
        const struct vv_str body = value_of(p);
        value[i] = (struct vv_merge_value){.name = p->plan->name,
                                           .body = body,
                                           .is_json = body.p != NULL && vv_merge_is_json(body),
                                           .degraded = p->degraded};
        bytes += body.n;
        if (bytes > WHOLE_MAX) {
            give_up(c, p);
            return;
        }
    }
    vv_merge_write(c->plan->merge, value, c->plan->count, &c->out);
    if (c->out.n > WHOLE_MAX) { /* escapes, or a part that the form names more than once */
        vv_sb_reset(&c->out);
        give_up(c, &c->part[0]);
        return;
    }
    name_degraded(c);
    answer(c, 200, "application/json", c->x->degraded.n > 0);
}

static void decide(struct composing *c)
{
    const bool at_once = c->plan->conf->strategy == FAIL_FAST;
    const struct part *lost = NULL;
    bool running = false;
    for (size_t i = 0; i < c->plan->count; i++) {
        const struct part *p = &c->part[i];
        running |= p->x != NULL;
        if (lost == NULL && p->missing && p->plan->conf->priority != 0) {
            lost = p;
        }
    }
    if (lost != NULL && (at_once || !running)) {
        give_up(c, lost);
    } else if (!running) {
        answer_whole(c);
    }
}

/* ---- the whole ----------------------------------------------------------------------------- */

/* Time is up: what is not here stays away, but for what the cache has. */
static void on_timer(struct vv_loop *loop, struct vv_timer *t)
{
    struct composing *c = VV_CONTAINER(t, struct composing, timer);
    (void)loop;
    c->busy++;
    for (size_t i = 0; i < c->plan->count; i++) {
        struct part *p = &c->part[i];
        if (p->x == NULL) {
            continue;
        }
        p->late = true;
        if (p->plan->conf->fallback.kind == VV_FALLBACK_STALE && !p->x->head_sent) {
            vv_answer_error(p->x,
                            VV_REASON_WHOLE_TIMEOUT); /* on_end() has been called, if it can be */
        }
        struct vv_exchange *x = p->x;
        if (x != NULL) {
            p->x = NULL;
            vv_subrequest_cancel(x);
            failed(p);
        }
    }
    c->busy--;
    decide(c);
}

static void start(struct vv_exchange *x)
{
    const struct vv_compose *plan = x->route->compose;
    struct composing *c = vv_arena_zalloc(&x->arena, sizeof *c + plan->count * sizeof c->part[0]);
    if (c == NULL) {
        vv_answer_error(x, VV_REASON_NO_MEMORY);
        return;
    }
    x->state = c;
    c->x = x;
    c->plan = plan;
    c->until_ns = vv_worker_now(x->w) + plan->conf->timeout_ns;
    vv_timer_init(&c->timer, on_timer);
    vv_loop_timer_at(x->w->loop, &c->timer, c->until_ns);
    (void)vv_worker_stat(x->w, x->use,
                         x->route); /* parts share it: it is to have the whole's labels */
    for (size_t i = 0; i < plan->count; i++) {
        c->part[i].c = c;
        c->part[i].plan = &plan->part[i];
    }
    c->busy++;
    for (size_t i = 0; i < plan->count; i++) {
        ask(&c->part[i], &plan->part[i].route);
    }
    c->busy--;
    decide(c);
}

const struct vv_action vv_action_compose = {.name = "compose", .start = start, .cancel = cancel};
