/* src/admin/admin_int.h - what the files of the admin API share. */
#ifndef VV_ADMIN_ADMIN_INT_H
#define VV_ADMIN_ADMIN_INT_H
#include "admin/admin.h"
#include "admin/http.h"

#define ADMIN_PARAMS_MAX 4
#define ADMIN_PARAM_BYTES 256

enum admin_access { ACCESS_OPEN, ACCESS_SHIELDED, ACCESS_CHANGE };

struct vv_admin {
    struct vv_admin_options o;
    struct vv_admin_http *http;
    struct vv_list streams;                          /* struct log_stream */
    struct vv_list questions;                        /* of api_stores.c */
    char param[ADMIN_PARAMS_MAX][ADMIN_PARAM_BYTES]; /* of the request at hand, decoded */
};

typedef enum vv_err admin_fn(struct vv_admin *a, struct vv_admin_exchange *x);
#define VV_ADMIN_ROUTE(method, path, handler, access, doc) admin_fn admin_##handler;
#include "admin/api.def"
#undef VV_ADMIN_ROUTE

struct admin_route {
    enum vv_method method;
    const char *path;
    admin_fn *fn;
    enum admin_access access;
    const char *doc;
};
extern const struct admin_route admin_routes[];
extern const size_t admin_routes_count;

/* A query parameter, decoded; `fallback` when absent or broken. buf belongs to the caller. */
const char *admin_query(const struct vv_admin_exchange *x, const char *name, char *buf,
                        size_t buf_bytes, const char *fallback);
uint64_t admin_query_u64(const struct vv_admin_exchange *x, const char *name, uint64_t fallback,
                         uint64_t max);
/* Value of a header field, {NULL, 0} when absent. */
struct vv_str admin_header(const struct vv_admin_exchange *x, const char *name);
/* Matches a path against a pattern with {parameters}; fills param with decoded texts. */
bool admin_match(const char *pattern, struct vv_str path, char param[][ADMIN_PARAM_BYTES]);
/* May this Host stand for this machine? localhost or an address: DNS cannot rebind those. */
bool admin_host_is_ours(struct vv_str host);
void admin_traffic_json(struct vv_admin *a, struct vv_json *j, const char *route,
                        const char *service, unsigned seconds);
void admin_logs_end(struct vv_admin *a);
void admin_stores_end(struct vv_admin *a);
#endif
