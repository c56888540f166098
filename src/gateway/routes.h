/* src/gateway/routes.h - which route takes a request.
 *
 * Model:     the routes of the settings compiled into one immutable matcher. The first route in the
 *            order of the file whose every condition holds wins, whatever the order costs: paths
 * are looked up in a trie, so that 10,000 routes cost no more than ten.
 *
 *            Patterns of a path (matched against the normalised path, without the query):
 *              /api/            ends with a slash: a prefix; the rest of the path is $rest
 *              /health          otherwise: exactly this path
 *              /users/{id}      {name}: one segment, not empty; at most 16 in a pattern
 *              /users/{id}/     both: a prefix with a parameter
 *              /docs/{page...}  {name...}: all that follows, maybe nothing; only at the end
 *              *.{jpg,png}      with a * or a list in braces: a glob over the whole path. * is any
 *                               run of bytes, slashes too; {a,b} one of these; case is ignored
 *            "/" is the prefix of everything. "/api/" does not match "/api".
 *            Hosts: "shop.example.org", "*.example.org" (any depth, not example.org itself), "*".
 *            Methods: exact names; GET lets HEAD in too. If everything but the method fits some
 *            route and no other route matches, the result is VV_ROUTE_METHOD.
 * Source:    RFC 9110 section 15.5.6 (405 and Allow), RFC 3986 section 6 (what normalised means).
 * Threads:   immutable after vv_routes_new(); matching is pure.
 * Ownership: the matcher borrows the settings, which must outlive it; a match borrows the matcher
 *            (names) and the path of its query (values).
 * Errors:    VV_ESYNTAX: a pattern is malformed, reterr_text says which and why.
 */
#ifndef VV_GATEWAY_ROUTES_H
#define VV_GATEWAY_ROUTES_H
#include "base/arena.h"
#include "base/json.h"
#include "gateway/settings.h"
#include "wire/http1.h"

#define VV_ROUTE_PARAMS 16
#define VV_ROUTE_TEXT 256                /* bytes of reterr_text */
#define VV_ROUTE_ANY_LISTENER UINT32_MAX /* for explain */

struct vv_routes;
/* reterr_text: VV_ROUTE_TEXT bytes, set only on VV_ESYNTAX. */
VV_MUST_CHECK enum vv_err vv_routes_new(const struct vv_settings *settings, struct vv_routes **ret,
                                        char *reterr_text);
void vv_routes_free(struct vv_routes *r);

struct vv_route_query {
    uint32_t listener;   /* index in settings->listen, or VV_ROUTE_ANY_LISTENER */
    struct vv_str host;  /* lower-case, without port; may be empty */
    struct vv_str path;  /* normalised, begins with a slash */
    struct vv_str query; /* without '?'; p NULL: none */
    struct vv_str method;
    const struct vv_h1_head *head; /* for header conditions; NULL: no headers */
};

struct vv_route_match {
    uint32_t index;     /* of the route in settings->routes; set on VV_ROUTE_FOUND */
    struct vv_str rest; /* what a prefix or {name...} left over, without the slash; else empty */
    uint32_t param_count;
    const struct vv_str *param_name; /* param_count names */
    struct vv_str param[VV_ROUTE_PARAMS];
    uint32_t refused_count; /* PRIVATE: routes that only the method kept out, for vv_routes_allow */
    uint32_t refused[VV_ROUTE_PARAMS];
};

enum vv_route_result {
    VV_ROUTE_NONE,   /* 404 */
    VV_ROUTE_METHOD, /* 405 with vv_routes_allow() */
    VV_ROUTE_FOUND,
};
enum vv_route_result vv_routes_match(const struct vv_routes *r, const struct vv_route_query *q,
                                     struct vv_route_match *ret);
/* Value of Allow after VV_ROUTE_METHOD: "GET, HEAD, POST". p NULL: the arena is full. */
struct vv_str vv_routes_allow(const struct vv_routes *r, const struct vv_route_match *m,
                              struct vv_arena *arena);
/* Value of a parameter; p NULL: the route has none of this name. */
struct vv_str vv_route_param(const struct vv_route_match *m, struct vv_str name);

/* Writes one array: the routes tried in the order of the file up to the one that wins, each with
 * "route", "path", "line", "result" ("matched" or the first condition that failed: "host", "path",
 * "listener", "headers", "query", "method") and "why" in words. Over 100 routes only those whose
 * path matches are named. */
void vv_routes_explain(const struct vv_routes *r, const struct vv_route_query *q,
                       struct vv_json *j);

/* For checks of the configuration. reterr_text as above. */
VV_MUST_CHECK enum vv_err vv_route_pattern_check(const char *pattern, char *reterr_text);
bool vv_route_pattern_has(const char *pattern, struct vv_str param); /* of a pattern that is fine */
#endif
