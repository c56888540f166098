/* src/gateway/stores_view.c - what is known about the stores, for people and for metrics. */
#include "gateway/keys.h"
#include "gateway/kv.h"
#include "gateway/store_expect.h"
#include "gateway/stores_int.h"

#include <stdio.h>

static const char *const kind_names[] = {"single", "ring", "sentinel", "cluster"};

const char *store_state_name(enum store_state s)
{
    static const char *const names[] = {"unknown", "up", "degraded", "away", "memory"};
    return names[s];
}

/* ---- metrics ------------------------------------------------------------------------------- */

static void collect_server(struct vv_collect *c, const struct vv_store_home *h,
                           const struct store_server *s)
{
    const struct vv_str values[] = {vv_str_from(h->s.name), vv_str_from(s->name)};
    const struct store_info *i = &s->info;
    const struct {
        enum vv_metric id;
        uint64_t value;
    } rows[] = {{VV_METRIC_REDIS_HITS, i->hits},
                {VV_METRIC_REDIS_MISSES, i->misses},
                {VV_METRIC_REDIS_USED, i->used},
                {VV_METRIC_REDIS_MAX, i->max},
                {VV_METRIC_REDIS_EVICTED, i->evicted},
                {VV_METRIC_REDIS_EXPIRED, i->expired},
                {VV_METRIC_REDIS_CLIENTS, i->clients},
                {VV_METRIC_REDIS_UPTIME, i->uptime_s},
                {VV_METRIC_REDIS_TRACKING, i->tracking_keys}};
    vv_collect_value(c, VV_METRIC_REDIS_UP, values, 2, s->up ? 1 : 0);
    for (size_t k = 0; s->up && k < VV_COUNT(rows); k++) {
        vv_collect_value(c, rows[k].id, values, 2, (double)rows[k].value);
    }
    for (size_t k = 0; s->up && k < i->dbs; k++) {
        char db[16];
        (void)snprintf(db, sizeof db, "db%u", i->db[k].number);
        const struct vv_str three[] = {values[0], values[1], vv_str_from(db)};
        vv_collect_value(c, VV_METRIC_REDIS_DB_KEYS, three, 3, (double)i->db[k].keys);
        vv_collect_value(c, VV_METRIC_REDIS_DB_EXPIRING, three, 3, (double)i->db[k].expires);
    }
}

void store_collect(struct vv_collect *c, void *stores)
{
    struct vv_stores *ss = stores;
    VV_LIST_EACH (it, &ss->all) {
        const struct vv_store_home *h = store_home(VV_LIST_ENTRY(it, struct vv_store, node));
        const struct vv_str name = vv_str_from(h->s.name);
        if (!h->current) {
            continue;
        }
        vv_collect_value(c, VV_METRIC_STORE_UP, &name, 1, h->state == STORE_UP ? 1 : 0);
        vv_collect_value(c, VV_METRIC_STORE_BROKEN, &name, 1, (double)store_broken(h));
        for (size_t i = 0; i < h->servers; i++) {
            collect_server(c, h, &h->server[i]);
        }
        vv_kv_collect(c, &h->s);
    }
}

/* ---- expectations -------------------------------------------------------------------------- */

/* 1: it holds; 0: it does not; -1: nobody knows. */
static int holds(const struct vv_store_home *h, const struct store_server *s, size_t i)
{
    const struct store_expectation *e = &h->expect.item[i];
    if (s->finding == NULL || s->finding[i].is == NULL) {
        return -1;
    }
    return vv_expect_holds(vv_str_from(e->name), vv_str_from(e->value),
                           vv_str_from(s->finding[i].is));
}

static void put_command(const struct vv_store_home *h, const struct store_server *s,
                        struct vv_sb *out)
{
    const struct vv_redis_url *u = &h->s.conf.url;
    vv_sb_adds(out, "redis-cli");
    if (s->peer.port == 0) {
        vv_sb_addf(out, " -s %s", s->peer.host);
    } else {
        vv_sb_addf(out, " -h %s -p %u", s->peer.host, (unsigned)s->peer.port);
    }
    vv_sb_adds(out, u->tls ? " --tls" : "");
    if (u->password[0] != '\0') {
        if (u->user[0] != '\0') {
            vv_sb_addf(out, " --user %s", u->user);
        }
        vv_sb_adds(out, " --askpass");
    }
}

static void put_mend(const struct vv_store_home *h, const struct store_server *s,
                     const struct store_expectation *e, struct vv_sb *out)
{
    const struct vv_str name = vv_str_from(e->name);
    if (!vv_expect_settable(name)) {
        vv_sb_adds(out, "it stands in the server's file and takes a restart");
        return;
    }
    put_command(h, s, out);
    vv_sb_addf(out, " config set %s ", e->name);
    vv_expect_write(name, vv_str_from(e->value), out);
}

bool store_sentence(const struct vv_store_home *h, const struct store_server *s, size_t i,
                    struct vv_sb *out)
{
    const struct store_expectation *e = &h->expect.item[i];
    if (holds(h, s, i) != 0) {
        return false;
    }
    vv_sb_addf(out, "%s of %s is ", e->name, s->name);
    vv_expect_show(vv_str_from(e->name), vv_str_from(s->finding[i].is), out);
    vv_sb_addf(out, ", %s was expected: ", e->value[0] != '\0' ? e->value : "nothing");
    put_mend(h, s, e, out);
    return true;
}

size_t store_broken(const struct vv_store_home *h)
{
    size_t n = 0;
    for (size_t i = 0; i < h->servers; i++) {
        for (size_t k = 0; k < h->expect.count; k++) {
            n += holds(h, &h->server[i], k) == 0;
        }
    }
    return n;
}

static bool is_loopback(struct vv_str word)
{
    if (word.n > 0 && word.p[0] == '-') { /* "may be missing" */
        word = (struct vv_str){word.p + 1, word.n - 1};
    }
    return vv_str_starts(word, VV_STR("127.")) || vv_str_eq(word, VV_STR("::1")) ||
           vv_str_eq(word, VV_STR("localhost"));
}

static bool is_public(const char *bind)
{
    struct vv_str rest = vv_str_from(bind);
    bool found = rest.n == 0; /* nothing said: all interfaces */
    while (rest.n > 0) {
        const struct vv_str word = vv_str_cut(&rest, ' ');
        found |= word.n > 0 && !is_loopback(word);
    }
    return found;
}

/* Open to whoever reaches it: no password, and not only on this machine. */
static bool exposed(const struct vv_store_home *h, const struct store_server *s, struct vv_sb *out)
{
    if (s->bind.is == NULL || s->password.is == NULL || !is_public(s->bind.is) ||
        s->password.is[0] != '\0' || h->s.conf.url.user[0] != '\0' || s->peer.port == 0) {
        return false;
    }
    const bool guarded = s->guarded.is != NULL && strcmp(s->guarded.is, "yes") == 0;
    vv_sb_addf(out, "%s listens on \"%.100s\" without a password%s: ", s->name, s->bind.is,
               guarded ? ", only protected-mode keeps strangers out"
                       : ", anybody may read and change it");
    put_command(h, s, out);
    vv_sb_adds(out, " config set requirepass ..., or config set bind '127.0.0.1 -::1'");
    return true;
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static void put_info(struct vv_json *j, const struct store_info *i)
{
    vv_json_kcstr(j, "version", i->version);
    vv_json_kcstr(j, "role", i->role);
    vv_json_ku64(j, "uptime_s", i->uptime_s);
    vv_json_ku64(j, "clients", i->clients);
    vv_json_ku64(j, "memory_used", i->used);
    vv_json_ku64(j, "memory_max", i->max);
    vv_json_kcstr(j, "policy", i->policy);
    vv_json_ku64(j, "hits", i->hits);
    vv_json_ku64(j, "misses", i->misses);
    vv_json_ku64(j, "evicted", i->evicted);
    vv_json_ku64(j, "expired", i->expired);
    vv_json_ku64(j, "tracking_keys", i->tracking_keys);
    vv_json_ku64(j, "last_save", i->last_save_s);
    vv_json_key(j, "databases");
    vv_json_arr(j);
    for (size_t k = 0; k < i->dbs; k++) {
        vv_json_obj(j);
        vv_json_ku64(j, "number", i->db[k].number);
        vv_json_ku64(j, "keys", i->db[k].keys);
        vv_json_ku64(j, "with_end", i->db[k].expires);
        vv_json_obj_end(j);
    }
    vv_json_arr_end(j);
}

static void put_time(struct vv_json *j, const char *name, uint64_t wall_ns)
{
    char text[VV_UTC_BYTES];
    vv_json_kcstr(j, name, wall_ns != 0 ? vv_utc_format((int64_t)(wall_ns / VV_SEC), text) : NULL);
}

static void put_servers(struct vv_json *j, const struct vv_store_home *h)
{
    vv_json_key(j, "servers");
    vv_json_arr(j);
    for (size_t i = 0; i < h->servers; i++) {
        const struct store_server *s = &h->server[i];
        vv_json_obj(j);
        vv_json_kcstr(j, "server", s->name);
        vv_json_kbool(j, "up", s->up);
        vv_json_kcstr(j, "why", s->up ? NULL : s->why);
        put_time(j, "asked", s->info_wall_ns);
        if (s->ever_up) {
            put_info(j, &s->info);
        }
        vv_json_obj_end(j);
    }
    vv_json_arr_end(j);
}

static uint64_t value_of(const struct vv_store_home *h, enum vv_metric id, const char *second)
{
    const struct vv_str values[] = {vv_str_from(h->s.name),
                                    vv_str_from(second != NULL ? second : "")};
    struct vv_metrics *m = h->owner->metrics;
    return vv_metrics_value(m, vv_metrics_series(m, id, values, second != NULL ? 2 : 1));
}

static void put_counters(struct vv_json *j, const struct vv_store_home *h)
{
    vv_json_ku64(j, "operations", value_of(h, VV_METRIC_STORE_OPERATIONS, NULL));
    vv_json_ku64(j, "timeouts", value_of(h, VV_METRIC_STORE_FAILURES, "timeout"));
    vv_json_ku64(j, "refused", value_of(h, VV_METRIC_STORE_FAILURES, "refused"));
    vv_json_ku64(j, "errors", value_of(h, VV_METRIC_STORE_FAILURES, "error"));
    vv_json_ku64(j, "reconnects", value_of(h, VV_METRIC_STORE_RECONNECTS, NULL));
    vv_json_ku64(j, "connections", value_of(h, VV_METRIC_STORE_CONNECTIONS, NULL));
    vv_json_ku64(j, "breakers_open", value_of(h, VV_METRIC_STORE_BREAKERS, NULL));
}

static void put_store(struct vv_json *j, const struct vv_store_home *h)
{
    vv_json_kcstr(j, "name", h->s.name);
    vv_json_kcstr(j, "state", store_state_name(h->state));
    put_time(j, "since", h->state_wall_ns);
    vv_json_kcstr(j, "address", h->s.has_server ? h->shown : NULL);
    vv_json_kcstr(j, "kind", h->s.has_server ? kind_names[h->s.conf.url.kind] : "memory");
    vv_json_kcstr(j, "prefix", h->s.prefix);
    vv_json_kcstr(j, "why", h->state == STORE_AWAY && h->servers == 0 ? h->why : NULL);
    put_counters(j, h);
    put_servers(j, h);
}

static void put_broken(struct vv_json *j, const struct vv_store_home *h)
{
    struct vv_sb sb = VV_SB_INIT;
    vv_json_key(j, "not_as_expected");
    vv_json_arr(j);
    for (size_t i = 0; i < h->servers; i++) {
        for (size_t k = 0; k < h->expect.count; k++) {
            vv_sb_reset(&sb);
            if (store_sentence(h, &h->server[i], k, &sb)) {
                vv_json_str(j, vv_sb_str(&sb));
            }
        }
    }
    vv_json_arr_end(j);
    vv_sb_fini(&sb);
}

void vv_stores_json(struct vv_stores *ss, struct vv_json *j)
{
    vv_json_arr(j);
    VV_LIST_EACH (it, &ss->all) {
        const struct vv_store_home *h = store_home(VV_LIST_ENTRY(it, struct vv_store, node));
        if (h->current) {
            vv_json_obj(j);
            put_store(j, h);
            put_broken(j, h);
            vv_json_obj_end(j);
        }
    }
    vv_json_arr_end(j);
}

void vv_store_info_json(struct vv_store *s, struct vv_json *j)
{
    put_store(j, store_home(s));
}

static void put_check(struct vv_json *j, const struct vv_store_home *h,
                      const struct store_server *s, size_t i, struct vv_sb *sb)
{
    const struct store_finding *f = s->finding != NULL ? &s->finding[i] : NULL;
    const int result = holds(h, s, i);
    vv_json_obj(j);
    vv_json_kcstr(j, "server", s->name);
    vv_json_kcstr(j, "parameter", h->expect.item[i].name);
    vv_json_kcstr(j, "expected", h->expect.item[i].value);
    vv_json_kcstr(j, "is", f != NULL ? f->is : NULL);
    vv_json_key(j, "holds");
    if (result >= 0) {
        vv_json_bool(j, result == 1);
    } else {
        vv_json_null(j);
    }
    vv_sb_reset(sb);
    if (result < 0) {
        vv_sb_addf(sb, "%s of %s is not known: %s", h->expect.item[i].name, s->name,
                   f != NULL && f->why[0] != '\0' ? f->why
                   : s->why[0] != '\0'            ? s->why
                                                  : "it was not asked yet");
    }
    const bool told = result < 0 || store_sentence(h, s, i, sb);
    vv_json_kcstr(j, "problem", told ? sb->p : NULL);
    vv_json_obj_end(j);
}

void vv_store_check_json(struct vv_store *s, struct vv_json *j)
{
    const struct vv_store_home *h = store_home(s);
    struct vv_sb sb = VV_SB_INIT;
    bool all = h->servers > 0 || h->expect.count == 0;
    for (size_t i = 0; i < h->servers; i++) {
        for (size_t k = 0; k < h->expect.count; k++) {
            all = all && holds(h, &h->server[i], k) == 1;
        }
    }
    vv_json_kcstr(j, "name", h->s.name);
    vv_json_kcstr(j, "state", store_state_name(h->state));
    vv_json_kcstr(j, "why", h->state == STORE_AWAY && h->servers == 0 ? h->why : NULL);
    vv_json_kbool(j, "holds", all);
    vv_json_key(j, "checks");
    vv_json_arr(j);
    for (size_t i = 0; i < h->servers; i++) {
        for (size_t k = 0; k < h->expect.count; k++) {
            put_check(j, h, &h->server[i], k, &sb);
        }
    }
    vv_json_arr_end(j);
    vv_json_key(j, "warnings");
    vv_json_arr(j);
    for (size_t i = 0; i < h->servers; i++) {
        vv_sb_reset(&sb);
        if (exposed(h, &h->server[i], &sb)) {
            vv_json_str(j, vv_sb_str(&sb));
        }
    }
    vv_json_arr_end(j);
    vv_sb_fini(&sb);
}

static const struct vv_store_home *first_or_next(const struct vv_stores *ss,
                                                 const struct vv_store_home *h)
{
    const struct vv_list *it = h != NULL ? h->s.node.next : ss->all.next;
    for (; it != &ss->all; it = it->next) {
        h = VV_CONTAINER(it, const struct vv_store_home, s.node);
        if (h->current) {
            return h;
        }
    }
    return NULL;
}

void vv_stores_health_json(const struct vv_stores *ss, struct vv_json *j)
{
    vv_json_arr(j);
    for (const struct vv_store_home *h = NULL; (h = first_or_next(ss, h)) != NULL;) {
        vv_json_obj(j);
        vv_json_kcstr(j, "name", h->s.name);
        vv_json_kcstr(j, "state", store_state_name(h->state));
        put_time(j, "since", h->state_wall_ns);
        vv_json_kcstr(j, "address", h->s.has_server ? h->shown : NULL);
        vv_json_obj_end(j);
    }
    vv_json_arr_end(j);
}

struct vv_stores_summary vv_stores_summary(const struct vv_stores *ss)
{
    struct vv_stores_summary sum = {0};
    for (const struct vv_store_home *h = NULL; (h = first_or_next(ss, h)) != NULL;) {
        sum.stores++;
        sum.away += h->state == STORE_AWAY || h->state == STORE_PARTLY;
        sum.broken += (uint32_t)store_broken(h);
    }
    return sum;
}
