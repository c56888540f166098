/* src/gateway/routes_explain.c - why a request goes where it goes, for `vivace explain`. It asks every
 * route directly instead of walking the trie, so it can also say what the trie never looks at. */
#include "gateway/routes_int.h"

#include <stdio.h>

#define ALL_NAMED_MAX 100
#define WHY_BYTES 256

struct answer {
    const char *result;
    char why[WHY_BYTES];
};

static void say_list(struct answer *a, const char *before, const struct vv_conf_list *list)
{
    size_t n = (size_t)snprintf(a->why, sizeof(a->why), "%s", before);
    for (size_t i = 0; list != NULL && i < list->count && n < sizeof(a->why); i++) {
        n += (size_t)snprintf(a->why + n, sizeof(a->why) - n, "%s%s", i > 0 ? ", " : "",
                              (const char *)list->item[i]);
    }
}

static void say_pairs(struct answer *a, const char *before, const struct vv_conf_list *list)
{
    size_t n = (size_t)snprintf(a->why, sizeof(a->why), "%s", before);
    for (size_t i = 0; list != NULL && i < list->count && n < sizeof(a->why); i++) {
        const struct vv_header_match *m = list->item[i];
        n += (size_t)snprintf(a->why + n, sizeof(a->why) - n, "%s%s: %s", i > 0 ? ", " : "",
                              m->name, m->value != NULL ? m->value : "*");
    }
}

/* Returns true when the route takes the request. */
static bool judge(const struct vv_compiled_route *c, const struct vv_route_query *q, bool path_fits,
                  struct answer *a)
{
    a->why[0] = '\0';
    if (!path_fits) {
        a->result = "path";
        snprintf(a->why, sizeof(a->why), "the path does not fit %.200s",
                 c->conf->path != NULL ? c->conf->path : "/");
        return false;
    }
    if (!vv_route_host_fits(c, q->host)) {
        a->result = "host";
        say_list(a, "only for ", c->conf->hosts);
        return false;
    }
    switch (vv_route_judge(c, q)) {
    case VV_ROUTE_FITS:
        a->result = "matched";
        snprintf(a->why, sizeof(a->why), "the first route in the file whose every condition holds");
        return true;
    case VV_ROUTE_LISTENER:
        a->result = "listener";
        say_list(a, "only on the listeners ", c->conf->listen);
        return false;
    case VV_ROUTE_HEADERS:
        a->result = "headers";
        say_pairs(a, "needs all of ", c->conf->match_headers);
        return false;
    case VV_ROUTE_QUERY:
        a->result = "query";
        say_pairs(a, "needs all of ", c->conf->match_query);
        return false;
    case VV_ROUTE_METHOD_DIFFERS:
        break;
    }
    a->result = "method";
    say_list(a, "only for ", c->conf->methods);
    return false;
}

void vv_routes_explain(const struct vv_routes *r, const struct vv_route_query *q, struct vv_json *j)
{
    vv_json_arr(j);
    for (uint32_t i = 0; i < r->count; i++) {
        const struct vv_compiled_route *c = &r->route[i];
        struct vv_route_match unused;
        struct answer a;
        const bool path_fits = vv_pattern_fits(&c->pattern, q->path, &unused);
        const bool taken = judge(c, q, path_fits, &a);
        if (!path_fits && r->count > ALL_NAMED_MAX) {
            continue;
        }
        vv_json_obj(j);
        vv_json_kcstr(j, "route", c->conf->name != NULL ? c->conf->name : c->conf->path);
        vv_json_kcstr(j, "path", c->conf->path != NULL ? c->conf->path : "/");
        vv_json_ku64(j, "line", c->conf->at.line);
        vv_json_kcstr(j, "result", a.result);
        vv_json_kcstr(j, "why", a.why);
        vv_json_obj_end(j);
        if (taken) {
            break;
        }
    }
    vv_json_arr_end(j);
}
