/* src/gateway/names.c - entries per service in a list; any change rebuilds that service's set from all of
 * its entries, because a set is replaced as a whole. */
#include "gateway/names.h"
#include "gateway/upstream_tls.h"
#include "observe/log.h"
#include "wire/uri.h"
#include <stdio.h>
#include <stdlib.h>

#define LOOKUP_TIMEOUT_NS (2 * VV_SEC)
#define RETRY_MIN_NS VV_SEC
#define RETRY_MAX_NS (30 * VV_SEC)
#define SERVERS_MAX 1024

struct group { /* one service */
    struct vv_list node;
    struct vv_names *names;
    struct vv_service_state *state; /* counted */
    struct vv_list entries;
    bool seen; /* by the apply that is running */
};

struct entry { /* one server as the file says it */
    struct vv_list node;
    struct group *group;
    char *url, *host; /* host NULL: the address is final */
    uint16_t port;
    uint32_t weight;
    bool drain, seen, answered, failing, in_flight;
    size_t count;
    struct vv_addr addr[VV_DNS_MAX];
    uint64_t retry_ns;
    struct vv_dns_query query;
    struct vv_timer timer;
};

struct vv_names {
    struct vv_loop *loop;
    struct vv_dns *dns;
    struct vv_list groups;
};

enum vv_err vv_names_new(struct vv_loop *loop, struct vv_names **ret)
{
    struct vv_names *n = calloc(1, sizeof *n);
    if (n == NULL) {
        return VV_ENOMEM;
    }
    n->loop = loop;
    vv_list_init(&n->groups);
    const enum vv_err err = vv_dns_new(loop, &n->dns);
    if (err != VV_OK) {
        free(n);
        return err;
    }
    *ret = n;
    return VV_OK;
}

static void entry_free(struct entry *e)
{
    if (e->in_flight) {
        vv_dns_cancel(&e->query);
    }
    vv_loop_timer_stop(e->group->names->loop, &e->timer);
    vv_list_del(&e->node);
    free(e->url);
    free(e->host);
    free(e);
}

static void group_free(struct group *g)
{
    VV_LIST_EACH (it, &g->entries) {
        entry_free(VV_LIST_ENTRY(it, struct entry, node));
    }
    vv_list_del(&g->node);
    vv_service_state_unref(g->state);
    free(g);
}

void vv_names_free(struct vv_names *n)
{
    if (n == NULL) {
        return;
    }
    VV_LIST_EACH (it, &n->groups) {
        group_free(VV_LIST_ENTRY(it, struct group, node));
    }
    vv_dns_free(n->dns);
    free(n);
}

/* "http://host:port", "https://host:port", "host:port", "host", "unix:/path". */
static enum vv_err parse_url(struct entry *e)
{
    struct vv_str s = vv_str_from(e->url);
    if (vv_str_starts(s, VV_STR("unix:"))) {
        e->count = 1;
        e->answered = true;
        return vv_addr_parse(s, &e->addr[0]);
    }
    const bool secure = vv_url_is_secure(e->url);
    if (secure || vv_str_starts(s, VV_STR("http://"))) {
        s.p += secure ? 8 : 7;
        s.n -= secure ? 8 : 7;
    }
    const ptrdiff_t slash = vv_str_find_char(s, '/');
    s.n = slash >= 0 ? (size_t)slash : s.n;
    struct vv_str host;
    uint16_t port = 0;
    const enum vv_err err = vv_uri_split_authority(s, &host, &port);
    if (err != VV_OK) {
        return err;
    }
    e->port = port != 0 ? port : secure ? 443 : 80;
    if (vv_addr_from_ip(host, e->port, &e->addr[0])) {
        e->count = 1;
        e->answered = true;
        return VV_OK;
    }
    e->host = strndup(host.p, host.n);
    return e->host != NULL ? VV_OK : VV_ENOMEM;
}

static void server_name(const struct entry *e, size_t i, char *name, size_t bytes)
{
    if (e->host == NULL) {
        const char *url = strncmp(e->url, "http://", 7) == 0 ? e->url + 7 : e->url;
        snprintf(name, bytes, "%s", url);
        return;
    }
    char ip[VV_ADDR_TEXT];
    vv_addr_format(&e->addr[i], ip, sizeof ip);
    snprintf(name, bytes, "%s%s/%s", vv_url_is_secure(e->url) ? "https://" : "", e->host, ip);
}

static enum vv_err rebuild(struct group *g)
{
    static struct vv_server_spec spec[SERVERS_MAX];
    static char name[SERVERS_MAX][320];
    size_t count = 0;
    VV_LIST_EACH (it, &g->entries) {
        const struct entry *e = VV_LIST_ENTRY(it, struct entry, node);
        for (size_t i = 0; i < e->count && count < SERVERS_MAX; i++, count++) {
            server_name(e, i, name[count], sizeof name[count]);
            spec[count] = (struct vv_server_spec){
                .name = name[count], .addr = e->addr[i], .weight = e->weight, .draining = e->drain};
        }
    }
    return vv_service_state_set(g->state, spec, count, vv_loop_now(g->names->loop));
}

static bool same_addresses(const struct entry *e, const struct vv_dns_answer *a)
{
    if (e->count != a->count) {
        return false;
    }
    for (size_t i = 0; i < a->count; i++) {
        bool found = false;
        for (size_t k = 0; k < e->count && !found; k++) {
            found = vv_addr_eq(&e->addr[k], &a->addr[i]);
        }
        if (!found) {
            return false;
        }
    }
    return true;
}

static void on_answer(struct vv_dns_query *q, const struct vv_dns_answer *a)
{
    struct entry *e = VV_CONTAINER(q, struct entry, query);
    struct vv_loop *loop = e->group->names->loop;
    const uint64_t now = vv_loop_now(loop);
    e->in_flight = false;
    e->answered = true;
    if (a->err != VV_OK || a->count == 0) {
        if (!e->failing) {
            vv_warn("dns", "name not resolved service=%s name=%s error=\"%s\" kept=%zu",
                    vv_service_state_name(e->group->state), e->host, vv_err_text(a->err), e->count);
        }
        e->failing = true;
        e->retry_ns = e->retry_ns == 0 ? RETRY_MIN_NS : vv_min_u64(e->retry_ns * 2, RETRY_MAX_NS);
        vv_loop_timer_at(loop, &e->timer, now + e->retry_ns);
        return;
    }
    e->failing = false;
    e->retry_ns = 0;
    if (!same_addresses(e, a)) {
        memcpy(e->addr, a->addr, a->count * sizeof a->addr[0]);
        e->count = a->count;
        if (rebuild(e->group) != VV_OK) {
            vv_error("dns", "servers not updated service=%s: out of memory",
                     vv_service_state_name(e->group->state));
        }
    }
    vv_loop_timer_at(loop, &e->timer, now + a->ttl_ns);
}

static void look_up(struct entry *e)
{
    e->query = (struct vv_dns_query){.fn = on_answer, .port = e->port};
    e->in_flight = true;
    vv_dns_lookup(e->group->names->dns, &e->query, e->host, LOOKUP_TIMEOUT_NS);
}

static void on_timer(struct vv_loop *loop, struct vv_timer *t)
{
    (void)loop;
    struct entry *e = VV_CONTAINER(t, struct entry, timer);
    if (!e->in_flight) {
        look_up(e);
    }
}

static struct entry *find_entry(struct group *g, const char *url)
{
    VV_LIST_EACH (it, &g->entries) {
        struct entry *e = VV_LIST_ENTRY(it, struct entry, node);
        const char *bare = strncmp(e->url, "http://", 7) == 0 ? e->url + 7 : e->url;
        const char *want = strncmp(url, "http://", 7) == 0 ? url + 7 : url;
        if (strcmp(bare, want) == 0) {
            return e;
        }
    }
    return NULL;
}

static enum vv_err add_entry(struct group *g, const char *url, struct entry **ret)
{
    struct entry *e = calloc(1, sizeof *e);
    if (e == NULL) {
        return VV_ENOMEM;
    }
    e->group = g;
    e->weight = 1;
    e->seen = true;
    vv_timer_init(&e->timer, on_timer);
    vv_list_init(&e->node);
    e->url = strdup(url);
    const enum vv_err err = e->url != NULL ? parse_url(e) : VV_ENOMEM;
    if (err != VV_OK) {
        free(e->url);
        free(e->host);
        free(e);
        return err;
    }
    vv_list_push_back(&g->entries, &e->node);
    *ret = e;
    return VV_OK;
}

static struct group *find_group(struct vv_names *n, const char *name)
{
    VV_LIST_EACH (it, &n->groups) {
        struct group *g = VV_LIST_ENTRY(it, struct group, node);
        if (strcmp(vv_service_state_name(g->state), name) == 0) {
            return g;
        }
    }
    return NULL;
}

static enum vv_err apply_group(struct group *g, const struct vv_service_settings *conf)
{
    VV_LIST_EACH (it, &g->entries) {
        VV_LIST_ENTRY(it, struct entry, node)->seen = false;
    }
    for (size_t i = 0; conf->servers != NULL && i < conf->servers->count; i++) {
        const struct vv_server_settings *s = conf->servers->item[i];
        struct entry *e = find_entry(g, s->url);
        if (e == NULL) {
            const enum vv_err err = add_entry(g, s->url, &e);
            if (err != VV_OK) {
                return err;
            }
        }
        e->weight = (uint32_t)s->weight;
        e->drain = s->drain != 0;
        e->seen = true;
    }
    VV_LIST_EACH (it, &g->entries) {
        struct entry *e = VV_LIST_ENTRY(it, struct entry, node);
        if (!e->seen) {
            entry_free(e);
        }
    }
    const enum vv_err err = rebuild(g);
    VV_LIST_EACH (it, &g->entries) {
        struct entry *e = VV_LIST_ENTRY(it, struct entry, node);
        if (e->host != NULL && !e->answered && !e->in_flight) {
            look_up(e);
        }
    }
    return err;
}

static enum vv_err use_dns_servers(struct vv_names *n, const struct vv_conf_list *servers)
{
    if (servers == NULL || servers->count == 0) {
        return VV_OK;
    }
    char csv[1024] = "";
    size_t at = 0;
    for (size_t i = 0; i < servers->count; i++) {
        const int k = snprintf(csv + at, sizeof csv - at, "%s%s", i > 0 ? "," : "",
                               (const char *)servers->item[i]);
        if (k < 0 || (size_t)k >= sizeof csv - at) {
            return VV_ELIMIT;
        }
        at += (size_t)k;
    }
    return vv_dns_set_servers(n->dns, csv);
}

enum vv_err vv_names_apply(struct vv_names *n, const struct vv_runtime *rt)
{
    enum vv_err err = use_dns_servers(n, rt->settings->dns_servers);
    VV_LIST_EACH (it, &n->groups) {
        VV_LIST_ENTRY(it, struct group, node)->seen = false;
    }
    for (size_t i = 0; err == VV_OK && i < rt->service_count; i++) {
        const struct vv_service *s = &rt->service[i];
        struct group *g = find_group(n, s->conf->name);
        if (g == NULL) {
            g = calloc(1, sizeof *g);
            if (g == NULL) {
                return VV_ENOMEM;
            }
            g->names = n;
            vv_service_state_ref(s->state);
            g->state = s->state;
            vv_list_init(&g->entries);
            vv_list_push_back(&n->groups, &g->node);
        }
        g->seen = true;
        err = apply_group(g, s->conf);
    }
    VV_LIST_EACH (it, &n->groups) {
        struct group *g = VV_LIST_ENTRY(it, struct group, node);
        if (!g->seen && err == VV_OK) {
            group_free(g);
        }
    }
    return err;
}

/* By the name a status page shows ("host/ip:port" stands for its entry) or as the file has it. */
static struct entry *entry_by_any_name(struct group *g, const char *any_name)
{
    struct entry *e = find_entry(g, any_name);
    const bool secure = vv_url_is_secure(any_name);
    const char *name = secure ? any_name + strlen("https://") : any_name;
    const char *slash = strchr(name, '/');
    if (e != NULL || slash == NULL) {
        return e;
    }
    VV_LIST_EACH (it, &g->entries) {
        struct entry *other = VV_LIST_ENTRY(it, struct entry, node);
        if (other->host != NULL && vv_url_is_secure(other->url) == secure &&
            strlen(other->host) == (size_t)(slash - name) &&
            strncmp(other->host, name, (size_t)(slash - name)) == 0) {
            return other;
        }
    }
    return NULL;
}

static enum vv_err remove_entry(struct group *g, struct entry *e)
{
    vv_list_del(&e->node);
    const enum vv_err err = rebuild(g);
    if (err != VV_OK) {
        vv_list_push_back(&g->entries, &e->node); /* it is still in use */
        return err;
    }
    entry_free(e);
    return VV_OK;
}

enum vv_err vv_names_change(struct vv_names *n, const struct vv_server_change *c)
{
    struct group *g = find_group(n, c->service);
    if (g == NULL || c->weight > 1000) {
        return g == NULL ? VV_ENOENT : VV_EINVAL;
    }
    struct entry *e = entry_by_any_name(g, c->server);
    switch (c->what) {
    case VV_SERVER_ADD: {
        if (e != NULL) {
            return VV_EEXIST;
        }
        const enum vv_err err = add_entry(g, c->server, &e);
        if (err != VV_OK) {
            return err == VV_ENOMEM ? err : VV_EINVAL;
        }
        break;
    }
    case VV_SERVER_REMOVE:
        return e != NULL ? remove_entry(g, e) : VV_ENOENT;
    case VV_SERVER_CHANGE:
        if (e == NULL) {
            return VV_ENOENT;
        }
        break;
    }
    if (c->weight != 0) {
        e->weight = c->weight;
    }
    if (c->drain >= 0) {
        e->drain = c->drain != 0;
    }
    const enum vv_err err = rebuild(g);
    if (err != VV_OK && c->what == VV_SERVER_ADD) {
        entry_free(e);
        return err;
    }
    if (e->host != NULL && !e->answered && !e->in_flight) {
        look_up(e);
    }
    return err;
}

bool vv_names_settled(const struct vv_names *n)
{
    VV_LIST_EACH (it, &n->groups) {
        VV_LIST_EACH (at, &VV_LIST_ENTRY(it, struct group, node)->entries) {
            if (!VV_LIST_ENTRY(at, struct entry, node)->answered) {
                return false;
            }
        }
    }
    return true;
}
