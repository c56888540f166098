/* src/gateway/admit.c - limits of listener, route and plan, decided together.
 *
 * All words that refuse are one call of vv_limits_take(), so that a request which one of them refuses costs
 * the others nothing. Limits that only watch are taken each for itself afterwards: they must neither refuse
 * nor be spared by what another refuses. */
#include "gateway/access.h"
#include "gateway/admit_int.h"
#include "gateway/homes.h"
#include "gateway/session.h"
#include "gateway/shed.h"

#define SHED_RETRY_NS VV_SEC /* as fast as classes come back */

/* ---- who is it? ---- */

/* IPv4 in 4 bytes, IPv6 as its /64 in 8: whoever has one has all addresses of it. The zero before it keeps
 * addresses apart from names. */
static struct vv_str address_key(const struct vv_admit_question *q, char *room)
{
    struct vv_addr parsed;
    const struct vv_addr *a = q->peer;
    size_t n = 0;
    room[n++] = '\0';
    if (a == NULL) {
        if (!vv_addr_from_ip(q->client, 0, &parsed)) { /* a unix socket */
            n += vv_min_u64(q->client.n, VV_ADMIT_KEY - 1);
            memcpy(room + 1, q->client.p, n - 1);
            return (struct vv_str){room, n};
        }
        a = &parsed;
    }
    if (a->sa.sa_family == AF_INET) {
        memcpy(room + n, &a->in4.sin_addr, 4);
        n += 4;
    } else if (a->sa.sa_family == AF_INET6) {
        const uint8_t *bytes = a->in6.sin6_addr.s6_addr;
        const bool mapped = IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr);
        memcpy(room + n, mapped ? bytes + 12 : bytes, mapped ? 4 : 8);
        n += mapped ? 4 : 8;
    }
    return (struct vv_str){room, n};
}

static bool allowed_address(const struct vv_admit_question *q, const struct vv_limit_item *item)
{
    struct vv_addr parsed = {.len = 0};
    const struct vv_addr *a = q->peer;
    if (a == NULL) {
        if (!vv_addr_from_ip(q->client, 0, &parsed)) {
            parsed.sa.sa_family = AF_UNIX;
        }
        a = &parsed;
    }
    for (size_t i = 0; i < item->allow_count; i++) {
        if (vv_cidr_has(&item->allow[i], a)) {
            return true;
        }
    }
    return false;
}

/* Who has no key, or a template without a value, is counted by address: leaving a field out, or writing
 * nonsense into it, must not be a way around the limit. */
bool vv_admit_key(const struct vv_admit_question *q, const struct vv_limit_item *item, char *room,
                  struct vv_str *ret)
{
    if (item->allow_count > 0 && allowed_address(q, item)) {
        return false;
    }
    struct vv_str key = {NULL, 0};
    switch (item->per) {
    case VV_PER_CLIENT:
        break;
    case VV_PER_KEY:
        key = q->caller;
        break;
    case VV_PER_ALL:
        *ret = VV_STR("");
        return true;
    case VV_PER_TEMPLATE:
        if (q->vars == NULL ||
            vv_template_render(item->key, q->vars, q->arena, VV_TEMPLATE_TEXT, &key) != VV_OK) {
            key.n = 0;
        }
        break;
    }
    *ret = key.n > 0 ? key : address_key(q, room);
    return true;
}

/* ---- the decision ---- */

struct asks {
    size_t count;
    struct vv_limit_ask ask[VV_LIMITS_AT_ONCE];
    const struct vv_limit_item *item[VV_LIMITS_AT_ONCE];
    const struct vv_limit_part *part[VV_LIMITS_AT_ONCE];
};
_Static_assert(VV_ADMIT_LISTS *VV_LIMIT_PLAN_PARTS <= VV_LIMITS_AT_ONCE, "all lists fit");

static void add_asks(struct asks *to, const struct vv_limit_item *item, struct vv_str key)
{
    for (size_t i = 0; i < item->parts; i++) {
        to->ask[to->count] = (struct vv_limit_ask){&item->part[i].limit, key, item->conf->weight};
        to->item[to->count] = item;
        to->part[to->count++] = &item->part[i];
    }
}

static bool has_places(const struct vv_limit_item *item)
{
    return item->part[item->parts - 1].limit.kind == VV_LIMIT_CONCURRENT;
}

/* A limit that only watches: charged like any other, but its refusal is only counted. */
static enum vv_err watch(const struct vv_admit_question *q, const struct vv_limit_item *item,
                         struct vv_str key, vv_admit_count_fn *count, void *user,
                         struct vv_admission *a)
{
    struct asks asks;
    struct vv_admit_held *held = NULL;
    struct vv_limit_grant grant;
    asks.count = 0;
    add_asks(&asks, item, key);
    if (has_places(item)) {
        held = vv_arena_alloc(q->arena, sizeof *held);
        if (held == NULL) {
            return VV_ENOMEM;
        }
    }
    const bool passed = vv_limits_take(q->limits, asks.ask, asks.count, q->now_ns, &grant, NULL);
    if (held != NULL) {
        *held = (struct vv_admit_held){.next = a->held, .grant = grant};
        a->held = held;
    }
    a->watched += !passed;
    if (count != NULL) {
        count(user, item, passed ? VV_LIMIT_ALLOWED : VV_LIMIT_DRY);
    }
    return VV_OK;
}

/* Does this entry count for this request at all? */
static bool applies(const struct vv_admit_question *q, const struct vv_limit_item *item, size_t l)
{
    return item->parts > 0 &&
           !(q->has_plan && l < VV_ADMIT_LISTS - 1 && item->per == VV_PER_CLIENT) &&
           !(q->stranger && item->per != VV_PER_CLIENT);
}

static void decide(const struct vv_admit_question *q, const struct asks *asks,
                   vv_admit_count_fn *count, void *user, struct vv_admission *a)
{
    struct vv_limit_answer answer[VV_LIMITS_AT_ONCE];
    a->allowed = vv_limits_take(q->limits, asks->ask, asks->count, q->now_ns, &a->grant, answer);
    const struct vv_limit_item *counted = NULL;
    for (size_t i = 0; i < asks->count; i++) {
        const struct vv_limit_item *item = asks->item[i];
        a->told[i] = (struct vv_admit_told){item, asks->part[i], answer[i]};
        a->holds |= asks->part[i]->limit.kind == VV_LIMIT_CONCURRENT;
        a->legacy |= item->conf->legacy != 0;
        if (!answer[i].allowed) {
            a->status = a->status == 0 ? (int)item->conf->status : a->status;
            a->retry_ns = vv_max_u64(a->retry_ns, answer[i].retry_ns);
        }
        if (item != counted && count != NULL && (a->allowed || !answer[i].allowed)) {
            count(user, item, a->allowed ? VV_LIMIT_ALLOWED : VV_LIMIT_REFUSED);
            counted = item;
        }
    }
    a->count = asks->count;
}

enum vv_err vv_admit_decide(const struct vv_admit_question *q, vv_admit_count_fn *count, void *user,
                            struct vv_admission **ret)
{
    struct asks asks; /* not zeroed as a whole: it is long, and nearly always one is used */
    char room[VV_LIMITS_AT_ONCE][VV_ADMIT_KEY];
    char scratch[VV_ADMIT_KEY];
    size_t watchers = 0;
    struct vv_str key;
    asks.count = 0;
    *ret = NULL;
    for (size_t l = 0; l < VV_ADMIT_LISTS; l++) {
        for (size_t i = 0; q->list[l] != NULL && i < q->list[l]->count; i++) {
            const struct vv_limit_item *item = &q->list[l]->item[i];
            if (!applies(q, item, l)) {
                continue;
            }
            if (item->conf->dry_run != 0) {
                watchers++;
            } else if (vv_admit_key(q, item, room[asks.count], &key)) {
                add_asks(&asks, item, key);
            }
        }
    }
    if (asks.count + watchers == 0) {
        return VV_OK;
    }
    struct vv_admission *a = vv_arena_alloc(q->arena, sizeof *a + asks.count * sizeof a->told[0]);
    if (a == NULL) {
        return VV_ENOMEM;
    }
    memset(&a->held, 0, sizeof *a - offsetof(struct vv_admission, held)); /* the grant is taken */
    a->allowed = true;
    if (asks.count > 0) {
        decide(q, &asks, count, user, a);
    }
    for (size_t l = 0; watchers > 0 && l < VV_ADMIT_LISTS; l++) {
        for (size_t i = 0; q->list[l] != NULL && i < q->list[l]->count; i++) {
            const struct vv_limit_item *item = &q->list[l]->item[i];
            if (item->conf->dry_run != 0 && applies(q, item, l) &&
                vv_admit_key(q, item, scratch, &key) &&
                watch(q, item, key, count, user, a) != VV_OK) {
                vv_admission_release(q->limits, a, q->now_ns);
                return VV_ENOMEM;
            }
        }
    }
    *ret = a;
    return VV_OK;
}

void vv_admission_release(struct vv_limits *l, struct vv_admission *a, uint64_t now_ns)
{
    if (a->holds) {
        vv_limits_release(l, &a->grant, now_ns);
    }
    for (struct vv_admit_held *h = a->held; h != NULL; h = h->next) {
        vv_limits_release(l, &h->grant, now_ns);
    }
    a->holds = false;
    a->held = NULL;
}

/* ---- the phase ---- */

static void count_decision(void *user, const struct vv_limit_item *item,
                           enum vv_limit_result result)
{
    static const struct vv_str words[] = {{"allowed", 7}, {"refused", 7}, {"dry_run", 7}};
    struct vv_worker *w = user;
    _Atomic vv_series *cell = (_Atomic vv_series *)(uintptr_t)&item->series[result];
    vv_series series = atomic_load_explicit(cell, memory_order_relaxed);
    if (series == 0) { /* rare: interning takes a lock; all workers get the same number */
        const struct vv_str values[] = {vv_str_from(item->name), words[result]};
        series = vv_metrics_series(w->metrics, VV_METRIC_LIMIT_DECISIONS, values, 2);
        atomic_store_explicit(cell, series, memory_order_relaxed);
    }
    vv_metric_add(w->shard, series, 1);
}

static uint8_t priority_of(const struct vv_exchange *x)
{
    const uint64_t own = x->route->conf->priority;
    if (own < VV_QUEUE_CLASSES) {
        return (uint8_t)own;
    }
    return x->caller != NULL && x->caller->plan != NULL ? x->caller->plan->priority : 1;
}

static const struct vv_limit_plan *listener_limits(const struct vv_exchange *x)
{
    const struct vv_listener *l = x->session->listener;
    return !l->stopped && l->index < x->rt->listener_count ? x->rt->listener_limits[l->index]
                                                           : NULL;
}

static bool refuse(struct vv_exchange *x)
{
    x->guard_word = "limited";
    x->retry_after_ns = x->admission->retry_ns;
    vv_answer_error(x, VV_REASON_LIMITED);
    return true;
}

/* True: it was answered. */
static bool limit(struct vv_exchange *x, const struct vv_limit_plan *listener,
                  const struct vv_limit_plan *plan, bool stranger)
{
    const struct vv_session *s = x->session;
    const struct vv_limit_plan *route = x->route->limits;
    struct vv_template_vars vars;
    struct vv_admit_question q = {.limits = vv_guards_limits(x->w->homes->guards),
                                  .list = {listener, route, plan},
                                  .has_plan = x->caller != NULL && x->caller->plan != NULL,
                                  .stranger = stranger,
                                  .client = x->client_ip,
                                  .peer = x->client_ip.p == s->client_ip ? &s->peer : NULL,
                                  .arena = &x->arena,
                                  .now_ns = vv_worker_now(x->w)};
    if (x->caller != NULL && x->caller->by != VV_BY_NONE) { /* else by address */
        q.caller = x->caller->id;
    }
    if ((listener != NULL && listener->has_template) || (route != NULL && route->has_template) ||
        (plan != NULL && plan->has_template)) {
        vv_exchange_vars(x, &vars);
        q.vars = &vars;
    }
    if (vv_admit_decide(&q, count_decision, x->w, &x->admission) != VV_OK) {
        vv_answer_error(x, VV_REASON_NO_MEMORY);
        return true;
    }
    if (x->admission == NULL) {
        return false;
    }
    if (x->admission->watched > 0 && x->guard_word == NULL) {
        x->guard_word = "would_limit";
    }
    return !x->admission->allowed && refuse(x);
}

bool vv_admit(struct vv_exchange *x)
{
    x->priority = priority_of(x);
    if (x->session->detached || x->w->homes == NULL) {
        return false; /* nobody asked for it: the cache keeps itself fresh */
    }
    const unsigned shed = vv_guards_shed_from(x->w->homes->guards);
    if (shed != VV_QUEUE_CLASSES && vv_shed_refuses(shed, x->priority, vv_rng_u64(&x->w->rng))) {
        x->guard_word = "shed";
        x->retry_after_ns = SHED_RETRY_NS;
        vv_answer_error(x, VV_REASON_SHED);
        return true;
    }
    const struct vv_limit_plan *listener = listener_limits(x);
    const struct vv_limit_plan *plan =
        x->caller != NULL && x->caller->plan != NULL ? x->caller->plan->limits : NULL;
    if (listener == NULL && x->route->limits == NULL && plan == NULL) {
        return false;
    }
    return limit(x, listener, plan, false);
}

bool vv_admit_stranger(struct vv_exchange *x)
{
    const struct vv_limit_plan *listener = listener_limits(x);
    if (x->session->detached || x->w->homes == NULL || x->admission != NULL ||
        (listener == NULL && x->route->limits == NULL)) {
        return false;
    }
    return limit(x, listener, NULL, true);
}

void vv_admit_end(struct vv_exchange *x)
{
    if (x->admission != NULL) {
        vv_admission_release(vv_guards_limits(x->w->homes->guards), x->admission,
                             vv_worker_now(x->w));
        x->admission = NULL;
    }
}

int vv_admit_status(const struct vv_exchange *x)
{
    return x->admission != NULL && x->admission->status != 0 ? x->admission->status : 429;
}

size_t vv_admit_fields_bytes(const struct vv_exchange *x)
{
    return x->admission != NULL ? vv_admission_fields_bytes(x->admission) : 0;
}

void vv_admit_put_fields(struct vv_writer *w, const struct vv_exchange *x)
{
    if (x->admission != NULL) {
        vv_admission_put_fields(w, x->admission);
    }
}
