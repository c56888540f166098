/* src/gateway/fallback.c - degraded answers. The last word of a route: whoever calls has tried all the rest,
 * so what is done here is done once. */
#include "gateway/fallback.h"
#include "gateway/fetch.h"
#include "gateway/recall.h"
#include "gateway/session.h"

static const char word[] = "fallback";

static void mark(struct vv_exchange *x)
{
    x->guard_word = word;
    if (x->sink == NULL) { /* a part's answer: the whole is what is degraded, and is counted once */
        x->degraded = (struct vv_str){word, sizeof word - 1};
    }
}

static bool done_before(const struct vv_exchange *x)
{
    return x->degraded.p == word || x->guard_word == word;
}

static bool literal(struct vv_exchange *x, const struct vv_fallback_settings *f)
{
    const struct vv_field field[] = {
        {VV_STR("Content-Type"),
         f->type != NULL ? vv_str_from(f->type) : VV_STR("application/json")},
        {VV_STR("Cache-Control"), VV_STR("no-store")},
    };
    mark(x);
    vv_answer_simple(x, (int)f->status, field, VV_COUNT(field),
                     (struct vv_str){f->body, (size_t)f->body_bytes});
    return true;
}

bool vv_fallback_to_stale(struct vv_exchange *x, const struct vv_cache_facts *facts)
{
    if (x->route->conf->fallback.kind != VV_FALLBACK_STALE || facts->must_revalidate ||
        facts->no_cache) {
        return false;
    }
    mark(x);
    return true;
}

static bool stale(struct vv_exchange *x)
{
    struct vv_recall *r = x->recall;
    if (r == NULL || r->key.p == NULL || r->invalidates) {
        return false;
    }
    vv_recall_find(x);
    if (r->object == NULL) {
        return false;
    }
    if (!vv_fallback_to_stale(x, &vv_stored_meta(r->object)->facts)) {
        return false;
    }
    r->status.detail = VV_STR("fallback");
    vv_recall_serve(x);
    return true;
}

/* The same request to another service, once; the time is the route's again when it was used up. */
static bool other(struct vv_exchange *x, enum vv_reason reason)
{
    const struct vv_service *to = x->route->fallback;
    const uint64_t whole_ns = x->route->conf->timeouts.whole_ns;
    if (to == NULL || x->service == to || !vv_body_rewind(x)) {
        return false;
    }
    mark(x);
    if (x->recall != NULL) { /* its answer is not what is to be kept under this key */
        x->recall->role = VV_RECALL_PASS;
        x->recall->conditions = (struct vv_str){NULL, 0};
    }
    if (reason == VV_REASON_WHOLE_TIMEOUT && whole_ns != 0) {
        x->deadline_ns = vv_worker_now(x->w) + whole_ns;
        vv_session_arm(x->session);
    }
    x->service = to;
    x->set_cookie = (struct vv_str){NULL, 0};
    x->reason = VV_REASON_NONE;
    x->action = &vv_action_proxy;
    x->action->start(x);
    return true;
}

bool vv_fallback(struct vv_exchange *x, enum vv_reason reason, int status)
{
    (void)status;
    if (x->route == NULL || x->head_sent || done_before(x)) {
        return false;
    }
    if (!x->let_in && x->sink == NULL) {
        return false; /* time was up before anybody knew who asks: another service is not for it either */
    }
    const struct vv_fallback_settings *f = &x->route->conf->fallback;
    if (f->kind == VV_FALLBACK_NONE) {
        return false;
    }
    x->action = NULL;
    x->state = NULL;
    if (x->recall != NULL && vv_fetch_failed(x)) { /* what the cache may send by its own rules */
        vv_recall_serve(x);
        return true;
    }
    switch ((enum vv_fallback_kind)f->kind) {
    case VV_FALLBACK_LITERAL:
        return literal(x, f);
    case VV_FALLBACK_STALE:
        return stale(x);
    case VV_FALLBACK_TO:
        return other(x, reason);
    case VV_FALLBACK_NONE:
        break;
    }
    return false;
}
