/* src/gateway/routes.c - the matcher: a trie over path segments.
 *
 * One trie for routes without a host, one per host name, one per *.suffix; edges are looked up in one
 * hash table by (node, segment), so a node with 10,000 children is as good as one with two.
 *
 *     root --api--> n1 --users--> n2 --{}--> n3        a node keeps three things:
 *       prefix: [9]    prefix: [4]             exact: [1]   the routes that end there exactly,
 *       least: 1       least: 1                least: 1     those that are prefixes there, and the
 *                                                          least index anywhere below it
 *
 * The walk goes down the path, by text and by parameter, and leaves out whatever cannot beat the best
 * route so far: `least` makes file order cheap. It recurses as deep as the longest pattern at most
 * (VV_ROUTE_SEGMENTS). Globs stand apart in file order and are only tried below the best so far. */
#include "gateway/routes.h"

#include "gateway/route_pattern.h"
#include "gateway/routes_int.h"
#include "wire/uri.h"
#include <stdlib.h>

#define ARENA_BLOCK_BYTES 16384
#define NONE UINT32_MAX
/* Parents of host names in the edge table; real nodes have small numbers. */
#define HOSTS (UINT32_MAX - 1)
#define SUFFIXES (UINT32_MAX - 2)
#define QUERY_VALUE_MAX 1024

struct entry { /* a route in a node's list */
    uint32_t route, next;
};

struct node {
    uint32_t least;         /* smallest route index here and below */
    uint32_t param;         /* child for any segment; NONE */
    uint32_t exact, prefix; /* lists in file order; NONE */
};

struct edge {
    uint32_t parent; /* NONE: free slot */
    uint32_t child;
    uint64_t hash;
    struct vv_str key;
};

struct builder_sizes {
    size_t nodes, edges, entries;
};

struct vv_route_trie {
    struct node *node;
    struct edge *edge;
    struct entry *entry;
    uint32_t nodes, entries;
    uint32_t any_host; /* root of routes without a host */
    uint32_t suffixes; /* how many *.hosts there are */
    uint64_t mask;     /* of edge[] */
};

/* ---- building ------------------------------------------------------------------------------ */

static uint64_t edge_hash(uint32_t parent, struct vv_str key)
{
    return vv_str_hash(key, (uint64_t)parent * UINT64_C(0x9e3779b97f4a7c15));
}

static struct edge *find_slot(const struct vv_route_trie *t, uint32_t parent, struct vv_str key)
{
    const uint64_t hash = edge_hash(parent, key);
    uint64_t i = hash & t->mask;
    for (;;) {
        struct edge *e = &t->edge[i];
        if (e->parent == NONE ||
            (e->hash == hash && e->parent == parent && vv_str_eq(e->key, key))) {
            return e;
        }
        i = (i + 1) & t->mask;
    }
}

static uint32_t child_of(const struct vv_route_trie *t, uint32_t parent, struct vv_str key)
{
    const struct edge *e = find_slot(t, parent, key);
    return e->parent == NONE ? NONE : e->child;
}

static uint32_t add_node(struct vv_route_trie *t)
{
    t->node[t->nodes] = (struct node){.least = NONE, .param = NONE, .exact = NONE, .prefix = NONE};
    return t->nodes++;
}

static uint32_t add_child(struct vv_route_trie *t, uint32_t parent, struct vv_str key)
{
    struct edge *e = find_slot(t, parent, key);
    if (e->parent == NONE) {
        *e = (struct edge){
            .parent = parent, .child = add_node(t), .hash = edge_hash(parent, key), .key = key};
    }
    return e->child;
}

/* Routes come last first, so that each list is in file order without looking for its end. */
static void push(struct vv_route_trie *t, uint32_t *list, uint32_t route)
{
    t->entry[t->entries] = (struct entry){.route = route, .next = *list};
    *list = t->entries++;
}

static void add_pattern(struct vv_route_trie *t, uint32_t root, const struct vv_route_pattern *p,
                        uint32_t route)
{
    uint32_t at = root;
    t->node[at].least = route; /* the smallest yet: routes come last first */
    for (uint32_t i = 0; i < p->segment_count; i++) {
        uint32_t next;
        if (p->segment[i].p != NULL) {
            next = add_child(t, at, p->segment[i]);
        } else {
            if (t->node[at].param == NONE) {
                const uint32_t made = add_node(t);
                t->node[at].param = made;
            }
            next = t->node[at].param;
        }
        at = next;
        t->node[at].least = route;
    }
    struct node *n = &t->node[at];
    push(t, p->kind == VV_PATTERN_EXACT ? &n->exact : &n->prefix, route);
}

static bool compile_hosts(struct vv_routes *r, struct vv_compiled_route *c)
{
    const struct vv_conf_list *hosts = c->conf->hosts;
    c->host_count = hosts != NULL ? hosts->count : 0;
    c->host = vv_arena_alloc(&r->arena, (c->host_count + 1) * sizeof(*c->host));
    for (size_t i = 0; c->host != NULL && i < c->host_count; i++) {
        const struct vv_str text = vv_str_from(hosts->item[i]);
        char *copy = vv_arena_dup(&r->arena, text);
        if (copy == NULL) {
            return false;
        }
        for (char *p = copy; *p != '\0'; p++) {
            *p = vv_char_lower(*p);
        }
        c->host[i] = (struct vv_str){copy, text.n};
        if (vv_str_eq(c->host[i], VV_STR("*"))) {
            c->host_count = 0; /* all hosts */
        }
    }
    return c->host != NULL;
}

static bool compile_listeners(struct vv_routes *r, const struct vv_settings *s,
                              struct vv_compiled_route *c)
{
    const struct vv_conf_list *names = c->conf->listen;
    c->any_listener = names == NULL;
    if (names == NULL) {
        return true;
    }
    c->listener = vv_arena_alloc(&r->arena, (names->count + 1) * sizeof(*c->listener));
    if (c->listener == NULL) {
        return false;
    }
    for (size_t i = 0; i < names->count; i++) {
        for (size_t k = 0; s->listen != NULL && k < s->listen->count; k++) {
            const struct vv_listen_settings *l = s->listen->item[k];
            if (strcmp(l->name, names->item[i]) == 0) {
                c->listener[c->listener_count++] = (uint32_t)k;
                break;
            }
        }
    }
    return true;
}

static enum vv_err compile_routes(struct vv_routes *r, const struct vv_settings *s,
                                  struct builder_sizes *sizes, char *reterr_text)
{
    for (uint32_t i = 0; s->routes != NULL && i < r->count; i++) {
        struct vv_compiled_route *c = &r->route[i];
        c->conf = s->routes->item[i];
        const char *path = c->conf->path != NULL ? c->conf->path : "/";
        const enum vv_err err = vv_pattern_parse(path, &r->arena, &c->pattern, reterr_text);
        if (err != VV_OK) {
            return err;
        }
        if (!compile_hosts(r, c) || !compile_listeners(r, s, c)) {
            return VV_ENOMEM;
        }
        const size_t places = c->host_count > 0 ? c->host_count : 1;
        sizes->nodes += places * (c->pattern.segment_count + 1);
        sizes->edges += places * (c->pattern.segment_count + 1);
        sizes->entries += places;
        r->glob_count += c->pattern.kind == VV_PATTERN_GLOB;
    }
    return VV_OK;
}

static bool alloc_trie(struct vv_routes *r, const struct builder_sizes *sizes)
{
    struct vv_route_trie *t = vv_arena_zalloc(&r->arena, sizeof(*t));
    if (t == NULL) {
        return false;
    }
    r->trie = t;
    uint64_t slots = 16;
    while (slots < 2 * sizes->edges) {
        slots *= 2;
    }
    t->mask = slots - 1;
    t->node = vv_arena_alloc(&r->arena, (sizes->nodes + 1) * sizeof(*t->node));
    t->entry = vv_arena_alloc(&r->arena, (sizes->entries + 1) * sizeof(*t->entry));
    t->edge = vv_arena_alloc(&r->arena, slots * sizeof(*t->edge));
    r->glob = vv_arena_alloc(&r->arena, (r->glob_count + 1) * sizeof(*r->glob));
    if (t->node == NULL || t->entry == NULL || t->edge == NULL || r->glob == NULL) {
        return false;
    }
    for (uint64_t i = 0; i < slots; i++) {
        t->edge[i].parent = NONE;
    }
    return true;
}

static uint32_t host_root(struct vv_route_trie *t, struct vv_str host)
{
    if (vv_str_starts(host, VV_STR("*."))) {
        t->suffixes++;
        return add_child(t, SUFFIXES, (struct vv_str){host.p + 2, host.n - 2});
    }
    return add_child(t, HOSTS, host);
}

static void build(struct vv_routes *r)
{
    struct vv_route_trie *t = r->trie;
    uint32_t globs = r->glob_count;
    t->any_host = add_node(t);
    for (uint32_t i = r->count; i-- > 0;) {
        const struct vv_compiled_route *c = &r->route[i];
        if (c->pattern.kind == VV_PATTERN_GLOB) {
            r->glob[--globs] = i;
        } else if (c->host_count == 0) {
            add_pattern(t, t->any_host, &c->pattern, i);
        } else {
            for (size_t k = 0; k < c->host_count; k++) {
                add_pattern(t, host_root(t, c->host[k]), &c->pattern, i);
            }
        }
    }
}

enum vv_err vv_routes_new(const struct vv_settings *settings, struct vv_routes **ret,
                          char *reterr_text)
{
    struct vv_routes *r = calloc(1, sizeof(*r));
    if (r == NULL) {
        return VV_ENOMEM;
    }
    struct builder_sizes sizes = {.nodes = 1};
    vv_arena_init(&r->arena, NULL, 0, ARENA_BLOCK_BYTES, SIZE_MAX);
    r->count = settings->routes != NULL ? (uint32_t)settings->routes->count : 0;
    r->route = vv_arena_zalloc(&r->arena, (r->count + 1) * sizeof(*r->route));
    enum vv_err err =
        r->route != NULL ? compile_routes(r, settings, &sizes, reterr_text) : VV_ENOMEM;
    if (err == VV_OK && !alloc_trie(r, &sizes)) {
        err = VV_ENOMEM;
    }
    if (err != VV_OK) {
        vv_routes_free(r);
        return err;
    }
    build(r);
    *ret = r;
    return VV_OK;
}

void vv_routes_free(struct vv_routes *r)
{
    if (r != NULL) {
        vv_arena_fini(&r->arena);
        free(r);
    }
}

/* ---- conditions ---------------------------------------------------------------------------- */

bool vv_route_host_fits(const struct vv_compiled_route *c, struct vv_str host)
{
    for (size_t i = 0; i < c->host_count; i++) {
        const struct vv_str want = c->host[i];
        const struct vv_str suffix = {want.p + 1, want.n - 1}; /* ".example.org" */
        if (vv_str_eq(want, host) ||
            (vv_str_starts(want, VV_STR("*.")) && host.n > suffix.n && vv_str_ends(host, suffix))) {
            return true;
        }
    }
    return c->host_count == 0;
}

static bool listener_fits(const struct vv_compiled_route *c, uint32_t listener)
{
    if (c->any_listener || listener == VV_ROUTE_ANY_LISTENER) {
        return true;
    }
    for (uint32_t i = 0; i < c->listener_count; i++) {
        if (c->listener[i] == listener) {
            return true;
        }
    }
    return false;
}

static bool wants_any_value(const struct vv_header_match *m)
{
    return m->value == NULL || strcmp(m->value, "*") == 0;
}

static bool header_fits(const struct vv_header_match *m, const struct vv_h1_head *head)
{
    const struct vv_str name = vv_str_from(m->name);
    for (uint32_t i = 0; head != NULL && i < head->fields_count; i++) {
        if (vv_str_eq_nocase(head->fields[i].name, name) &&
            (wants_any_value(m) || vv_str_eq(head->fields[i].value, vv_str_from(m->value)))) {
            return true;
        }
    }
    return false;
}

static bool query_fits(const struct vv_header_match *m, struct vv_str query)
{
    struct vv_str value;
    if (query.p == NULL || !vv_uri_query_get(query, vv_str_from(m->name), &value)) {
        return false;
    }
    if (wants_any_value(m)) {
        return true;
    }
    char plain[QUERY_VALUE_MAX];
    size_t n = 0;
    return value.n < sizeof(plain) && vv_uri_decode(value, plain, sizeof(plain), &n) == VV_OK &&
           vv_str_eq((struct vv_str){plain, n}, vv_str_from(m->value));
}

static bool method_fits(const struct vv_route_settings *conf, struct vv_str method)
{
    if (conf->methods == NULL) {
        return true;
    }
    for (size_t i = 0; i < conf->methods->count; i++) {
        const struct vv_str one = vv_str_from(conf->methods->item[i]);
        if (vv_str_eq(one, method) ||
            (vv_str_eq(one, VV_STR("GET")) && vv_str_eq(method, VV_STR("HEAD")))) {
            return true;
        }
    }
    return false;
}

/* The method comes last: only when all else fits does it make a 405. */
enum vv_route_verdict vv_route_judge(const struct vv_compiled_route *c,
                                     const struct vv_route_query *q)
{
    const struct vv_route_settings *conf = c->conf;
    if (!listener_fits(c, q->listener)) {
        return VV_ROUTE_LISTENER;
    }
    for (size_t i = 0; conf->match_headers != NULL && i < conf->match_headers->count; i++) {
        if (!header_fits(conf->match_headers->item[i], q->head)) {
            return VV_ROUTE_HEADERS;
        }
    }
    for (size_t i = 0; conf->match_query != NULL && i < conf->match_query->count; i++) {
        if (!query_fits(conf->match_query->item[i], q->query)) {
            return VV_ROUTE_QUERY;
        }
    }
    return method_fits(conf, q->method) ? VV_ROUTE_FITS : VV_ROUTE_METHOD_DIFFERS;
}

/* ---- matching ------------------------------------------------------------------------------ */

struct walk {
    const struct vv_routes *routes;
    const struct vv_route_trie *trie;
    const struct vv_route_query *q;
    struct vv_route_match *ret;
    uint32_t best; /* NONE: nothing yet */
    uint32_t depth;
    struct vv_str param[VV_ROUTE_SEGMENTS];
};

static bool takes(struct walk *w, uint32_t route)
{
    const enum vv_route_verdict verdict = vv_route_judge(&w->routes->route[route], w->q);
    if (verdict == VV_ROUTE_METHOD_DIFFERS && w->ret->refused_count < VV_COUNT(w->ret->refused)) {
        w->ret->refused[w->ret->refused_count++] = route;
    }
    if (verdict == VV_ROUTE_FITS) {
        w->best = route;
    }
    return verdict == VV_ROUTE_FITS;
}

static void keep(struct walk *w, struct vv_str rest)
{
    const struct vv_route_pattern *p = &w->routes->route[w->best].pattern;
    struct vv_route_match *m = w->ret;
    m->rest = rest;
    m->param_count = p->param_count;
    m->param_name = p->param;
    for (uint32_t i = 0; i < p->param_count; i++) {
        m->param[i] = w->param[i];
    }
    if (p->has_rest_param) {
        m->param[p->param_count - 1] = rest;
    }
}

static void try_list(struct walk *w, uint32_t list, struct vv_str rest)
{
    for (; list != NONE; list = w->trie->entry[list].next) {
        const uint32_t route = w->trie->entry[list].route;
        if (route >= w->best) {
            return;
        }
        if (takes(w, route)) {
            keep(w, rest);
            return; /* the list is in file order */
        }
    }
}

/* `at` is the byte of the path after what led to this node: a slash, or the end. */
static void visit(struct walk *w, uint32_t index, size_t at)
{
    const struct node *n = &w->trie->node[index];
    const struct vv_str path = w->q->path;
    if (n->least >= w->best) {
        return;
    }
    if (at == path.n) {
        try_list(w, n->exact, (struct vv_str){path.p + path.n, 0});
        return;
    }
    const struct vv_str rest = {path.p + at + 1, path.n - at - 1};
    const char *slash = memchr(rest.p, '/', rest.n);
    const struct vv_str segment = {rest.p, slash != NULL ? (size_t)(slash - rest.p) : rest.n};
    const size_t next = at + 1 + segment.n;
    const uint32_t child = child_of(w->trie, index, segment);
    if (child != NONE) {
        visit(w, child, next);
    }
    if (n->param != NONE && segment.n > 0) {
        w->param[w->depth++] = segment;
        visit(w, n->param, next);
        w->depth--;
    }
    try_list(w, n->prefix, rest);
}

static void visit_suffixes(struct walk *w, struct vv_str host)
{
    struct vv_str left = host;
    while (left.n > 0) {
        (void)vv_str_cut(&left, '.');
        const uint32_t root = left.n > 0 ? child_of(w->trie, SUFFIXES, left) : NONE;
        if (root != NONE) {
            visit(w, root, 0);
        }
    }
}

static void try_globs(struct walk *w)
{
    const struct vv_routes *r = w->routes;
    for (uint32_t i = 0; i < r->glob_count && r->glob[i] < w->best; i++) {
        const struct vv_compiled_route *c = &r->route[r->glob[i]];
        if (vv_glob_fits(&c->pattern, w->q->path) && vv_route_host_fits(c, w->q->host) &&
            takes(w, r->glob[i])) {
            keep(w, (struct vv_str){w->q->path.p + w->q->path.n, 0});
            return;
        }
    }
}

enum vv_route_result vv_routes_match(const struct vv_routes *r, const struct vv_route_query *q,
                                     struct vv_route_match *ret)
{
    struct walk w;
    w.routes = r;
    w.trie = r->trie;
    w.q = q;
    w.ret = ret;
    w.best = NONE;
    w.depth = 0;
    ret->refused_count = 0;
    ret->param_count = 0;
    if (q->path.n == 0 || q->path.p[0] != '/') {
        return VV_ROUTE_NONE;
    }
    visit(&w, r->trie->any_host, 0);
    if (q->host.n > 0) {
        const uint32_t root = child_of(w.trie, HOSTS, q->host);
        if (root != NONE) {
            visit(&w, root, 0);
        }
        if (w.trie->suffixes > 0) {
            visit_suffixes(&w, q->host);
        }
    }
    try_globs(&w);
    if (w.best != NONE) {
        ret->index = w.best;
        return VV_ROUTE_FOUND;
    }
    return ret->refused_count > 0 ? VV_ROUTE_METHOD : VV_ROUTE_NONE;
}

struct vv_str vv_route_param(const struct vv_route_match *m, struct vv_str name)
{
    for (uint32_t i = 0; i < m->param_count; i++) {
        if (vv_str_eq(m->param_name[i], name)) {
            return m->param[i];
        }
    }
    return (struct vv_str){NULL, 0};
}

/* ---- Allow --------------------------------------------------------------------------------- */

struct allow {
    char *out; /* NULL: only measure */
    size_t n;
};

static void put(struct allow *a, struct vv_str s)
{
    if (a->out != NULL && s.n > 0) {
        memcpy(a->out + a->n, s.p, s.n);
    }
    a->n += s.n;
}

static bool is_before(const struct vv_routes *r, const struct vv_route_match *m, uint32_t upto,
                      size_t upto_method, struct vv_str method)
{
    for (uint32_t i = 0; i <= upto; i++) {
        const struct vv_conf_list *list = r->route[m->refused[i]].conf->methods;
        for (size_t k = 0; k < list->count && (i < upto || k < upto_method); k++) {
            const struct vv_str one = vv_str_from(list->item[k]);
            if (vv_str_eq(one, method) ||
                (vv_str_eq(one, VV_STR("GET")) && vv_str_eq(method, VV_STR("HEAD")))) {
                return true;
            }
        }
    }
    return false;
}

static void list_methods(const struct vv_routes *r, const struct vv_route_match *m, struct allow *a)
{
    for (uint32_t i = 0; i < m->refused_count; i++) {
        const struct vv_conf_list *list = r->route[m->refused[i]].conf->methods;
        for (size_t k = 0; k < list->count; k++) {
            const struct vv_str one = vv_str_from(list->item[k]);
            if (is_before(r, m, i, k, one)) {
                continue;
            }
            put(a, a->n > 0 ? VV_STR(", ") : VV_STR(""));
            put(a, one);
            if (vv_str_eq(one, VV_STR("GET")) && !is_before(r, m, i, k, VV_STR("HEAD"))) {
                put(a, VV_STR(", HEAD"));
            }
        }
    }
}

struct vv_str vv_routes_allow(const struct vv_routes *r, const struct vv_route_match *m,
                              struct vv_arena *arena)
{
    struct allow a = {NULL, 0};
    list_methods(r, m, &a);
    a.out = vv_arena_alloc(arena, a.n + 1);
    if (a.out == NULL) {
        return (struct vv_str){NULL, 0};
    }
    a.n = 0;
    list_methods(r, m, &a);
    return (struct vv_str){a.out, a.n};
}
