/* src/gateway/limit_look.c - what the limits are and how far a key has got with them. */
#include "gateway/limit_look.h"
#include "gateway/access.h"
#include "gateway/describe.h"

static uint64_t ceil_s(uint64_t ns)
{
    return ns / VV_SEC + (ns % VV_SEC != 0);
}

/* The bytes a worker would count this text under. Names and addresses are told apart by looking: an id that
 * reads as an address cannot be peeked at. */
static struct vv_str key_of(const struct vv_limit_look *q, const struct vv_limit_item *item,
                            char *room)
{
    struct vv_addr a;
    struct vv_str key = q->key;
    const struct vv_limit_item by_address = {.per = VV_PER_CLIENT};
    const struct vv_admit_question ask = {.client = q->key};
    if (item->per == VV_PER_ALL) {
        return VV_STR("");
    }
    if ((item->per == VV_PER_CLIENT || vv_addr_from_ip(q->key, 0, &a)) &&
        !vv_admit_key(&ask, &by_address, room, &key)) {
        key = q->key;
    }
    return key;
}

static void part_json(const struct vv_limit_part *p, const struct vv_limit_answer *a,
                      struct vv_json *j)
{
    static const char *const kinds[] = {"rate", "quota", "concurrent"};
    const struct vv_limit *l = &p->limit;
    vv_json_obj(j);
    vv_json_kcstr(j, "kind", kinds[l->kind]);
    vv_json_kstr(j, "policy", (struct vv_str){p->policy, p->policy_bytes});
    vv_json_ku64(j, "count", l->count);
    if (l->kind != VV_LIMIT_CONCURRENT) {
        vv_describe_duration(j, "time", l->per_ns);
    }
    if (l->kind == VV_LIMIT_RATE) {
        vv_json_ku64(j, "at_once", l->at_once);
    }
    if (a != NULL) {
        vv_json_kbool(j, "would_pass", a->allowed);
        vv_json_ku64(j, "remaining", a->remaining);
        if (l->kind != VV_LIMIT_CONCURRENT) {
            vv_json_ku64(j, "reset_s", ceil_s(a->reset_ns));
        }
        if (!a->allowed && a->retry_ns != VV_LIMIT_NEVER) {
            vv_json_ku64(j, "retry_s", vv_max_u64(ceil_s(a->retry_ns), 1));
        }
    }
    vv_json_obj_end(j);
}

static void parts_json(const struct vv_limit_look *q, const struct vv_limit_item *item,
                       struct vv_json *j)
{
    char room[VV_ADMIT_KEY];
    struct vv_limit_answer answer[VV_LIMIT_PARTS];
    struct vv_limit_ask ask[VV_LIMIT_PARTS];
    const bool peek = q->limits != NULL && (q->key.p != NULL || item->per == VV_PER_ALL);
    if (peek) {
        const struct vv_str key = key_of(q, item, room);
        for (size_t i = 0; i < item->parts; i++) {
            ask[i] = (struct vv_limit_ask){&item->part[i].limit, key, item->conf->weight};
        }
        const bool passes = vv_limits_peek(q->limits, ask, item->parts, q->now_ns, answer);
        vv_json_kbool(j, "would_pass", passes);
    }
    vv_json_key(j, "parts");
    vv_json_arr(j);
    for (size_t i = 0; i < item->parts; i++) {
        part_json(&item->part[i], peek ? &answer[i] : NULL, j);
    }
    vv_json_arr_end(j);
}

static void counts_json(const struct vv_limit_look *q, const struct vv_limit_item *item,
                        struct vv_json *j)
{
    static const char *const names[] = {"allowed", "refused", "dry_run"};
    for (size_t i = 0; q->metrics != NULL && i < VV_LIMIT_RESULTS; i++) {
        const vv_series s = atomic_load_explicit(&item->series[i], memory_order_relaxed);
        vv_json_ku64(j, names[i], s != 0 ? vv_metrics_value(q->metrics, s) : 0);
    }
}

static void item_json(const struct vv_limit_look *q, const struct vv_limit_plan *plan,
                      const struct vv_limit_item *item, struct vv_json *j)
{
    static const char *const per[] = {"client", "key", "all"};
    vv_json_obj(j);
    vv_json_kcstr(j, "name", item->name);
    vv_json_kcstr(j, "of", plan->scope);
    vv_json_kcstr(j, "per", item->per == VV_PER_TEMPLATE ? item->conf->per : per[item->per]);
    if (item->conf->share != NULL) {
        vv_json_kcstr(j, "share", item->conf->share);
    }
    vv_json_ku64(j, "weight", item->conf->weight);
    vv_json_kbool(j, "watches", item->conf->dry_run != 0);
    vv_json_ku64(j, "status", item->conf->status);
    vv_describe_texts(j, "allow", item->conf->allow);
    parts_json(q, item, j);
    counts_json(q, item, j);
    vv_json_obj_end(j);
}

size_t vv_limit_look(const struct vv_limit_look *q, const struct vv_limit_plan *plan,
                     struct vv_json *j)
{
    size_t found = 0;
    for (size_t i = 0; plan != NULL && i < plan->count; i++) {
        const struct vv_limit_item *item = &plan->item[i];
        if (item->parts > 0 && (q->name.n == 0 || vv_str_eq(q->name, vv_str_from(item->name)))) {
            item_json(q, plan, item, j);
            found++;
        }
    }
    return found;
}

size_t vv_limit_look_all(const struct vv_limit_look *q, const struct vv_runtime *rt,
                         struct vv_json *j)
{
    size_t found = 0;
    for (size_t i = 0; i < rt->listener_count; i++) {
        found += vv_limit_look(q, rt->listener_limits[i], j);
    }
    for (size_t i = 0; i < rt->route_count; i++) {
        found += vv_limit_look(q, rt->route[i].limits, j);
    }
    for (size_t i = 0; i < rt->plan_count; i++) {
        found += vv_limit_look(q, rt->plan[i].limits, j);
    }
    return found;
}
