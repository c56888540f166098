/* src/gateway/routes_int.h - what the matcher and its explanation share: compiled routes. */
#ifndef VV_GATEWAY_ROUTES_INT_H
#define VV_GATEWAY_ROUTES_INT_H
#include "gateway/route_pattern.h"

struct vv_compiled_route {
    const struct vv_route_settings *conf;
    struct vv_route_pattern pattern;
    struct vv_str *host; /* lower-case */
    size_t host_count;   /* 0: all hosts */
    uint32_t *listener;  /* indices in settings->listen */
    uint32_t listener_count;
    bool any_listener;
};

struct vv_route_trie; /* in routes.c */
struct vv_routes {
    struct vv_arena arena;
    uint32_t count;
    struct vv_compiled_route *route;
    uint32_t glob_count;
    struct vv_route_trie *trie;
    uint32_t *glob; /* routes whose pattern is a glob, in file order */
};

enum vv_route_verdict {
    VV_ROUTE_FITS,
    VV_ROUTE_LISTENER,
    VV_ROUTE_HEADERS,
    VV_ROUTE_QUERY,
    VV_ROUTE_METHOD_DIFFERS, /* and everything else fits */
};
/* Everything but host and path. */
enum vv_route_verdict vv_route_judge(const struct vv_compiled_route *c,
                                     const struct vv_route_query *q);
bool vv_route_host_fits(const struct vv_compiled_route *c, struct vv_str host);
#endif
