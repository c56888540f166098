/* src/admin/admin.c - finds the row of api.def and guards the calls that change something. */
#include "admin/admin_int.h"
#include "wire/uri.h"

#include <stdlib.h>

const struct admin_route admin_routes[] = {
#define VV_ADMIN_ROUTE(method, path, handler, access, doc)                                         \
    {VV_METHOD_##method, path, admin_##handler, ACCESS_##access, doc},
#include "admin/api.def"
#undef VV_ADMIN_ROUTE
};
const size_t admin_routes_count = VV_COUNT(admin_routes);

struct vv_str admin_header(const struct vv_admin_exchange *x, const char *name)
{
    const struct vv_h1_field *f = vv_h1_find_name(x->head, vv_str_from(name));
    return f != NULL ? f->value : (struct vv_str){NULL, 0};
}

const char *admin_query(const struct vv_admin_exchange *x, const char *name, char *buf,
                        size_t buf_bytes, const char *fallback)
{
    struct vv_str value;
    size_t n = 0;
    if (x->head->query.p == NULL || !vv_uri_query_get(x->head->query, vv_str_from(name), &value) ||
        value.n >= buf_bytes || vv_uri_decode(value, buf, buf_bytes - 1, &n) != VV_OK) {
        return fallback;
    }
    buf[n] = '\0';
    return buf;
}

uint64_t admin_query_u64(const struct vv_admin_exchange *x, const char *name, uint64_t fallback,
                         uint64_t max)
{
    char buf[32];
    uint64_t v = 0;
    const char *text = admin_query(x, name, buf, sizeof buf, NULL);
    if (text == NULL || vv_str_to_u64(vv_str_from(text), &v) != VV_OK) {
        return fallback;
    }
    return vv_min_u64(v, max);
}

bool admin_match(const char *pattern, struct vv_str path, char param[][ADMIN_PARAM_BYTES])
{
    struct vv_str want = vv_str_from(pattern), got = path;
    size_t params = 0;
    while (want.n > 0 && got.n > 0) {
        const struct vv_str w = vv_str_cut(&want, '/');
        const struct vv_str g = vv_str_cut(&got, '/');
        if (w.n > 0 && w.p[0] == '{') {
            size_t n = 0;
            if (g.n == 0 || g.n >= ADMIN_PARAM_BYTES || params == ADMIN_PARAMS_MAX ||
                vv_uri_decode(g, param[params], ADMIN_PARAM_BYTES - 1, &n) != VV_OK) {
                return false;
            }
            param[params++][n] = '\0';
        } else if (!vv_str_eq(w, g)) {
            return false;
        }
    }
    return want.n == 0 && got.n == 0;
}

bool admin_host_is_ours(struct vv_str host)
{
    struct vv_str name;
    struct vv_addr addr;
    uint16_t port = 0;
    if (host.n == 0 || vv_uri_split_authority(host, &name, &port) != VV_OK) {
        return false;
    }
    if (name.n > 2 && name.p[0] == '[') {
        name = (struct vv_str){name.p + 1, name.n - 2};
    }
    return vv_str_eq_nocase(name, VV_STR("localhost")) || vv_addr_from_ip(name, port, &addr);
}

/* A browser sends a cross-site POST without asking first only as a form or as text, never with a
 * JSON type or a header of its own; and it names the page's origin. */
static bool looks_like_a_program(const struct vv_admin_exchange *x)
{
    const struct vv_str type = admin_header(x, "Content-Type");
    const struct vv_str origin = admin_header(x, "Origin");
    const bool json = type.n >= 16 &&
                      vv_str_eq_nocase((struct vv_str){type.p, 16}, VV_STR("application/json")) &&
                      (type.n == 16 || type.p[16] == ';' || type.p[16] == ' ');
    if (!json && admin_header(x, "X-Vivace").p == NULL) {
        return false;
    }
    if (origin.p != NULL) { /* "http://127.0.0.1:9180" */
        const ptrdiff_t at = vv_str_find_char(origin, '/');
        if (at < 0 || (size_t)at + 2 > origin.n) {
            return false;
        }
        const struct vv_str site = {origin.p + at + 2, origin.n - (size_t)at - 2};
        return vv_str_eq_nocase(site, x->head->authority);
    }
    return true;
}

static bool allowed(const struct admin_route *r, struct vv_admin_exchange *x)
{
    if (x->local || r->access == ACCESS_OPEN) {
        return true;
    }
    if (!admin_host_is_ours(x->head->authority)) {
        (void)vv_admin_fail(x, 403,
                            "the Host must be localhost or an address; or use the unix socket");
        return false;
    }
    if (r->access == ACCESS_CHANGE && !looks_like_a_program(x)) {
        (void)vv_admin_fail(x, 403,
                            "send Content-Type: application/json or an X-Vivace header, so that it "
                            "is clear that no web page made this call");
        return false;
    }
    return true;
}

static enum vv_err handle(void *user, struct vv_admin_exchange *x)
{
    struct vv_admin *a = user;
    const struct vv_h1_head *h = x->head;
    const enum vv_method method = h->method == VV_METHOD_HEAD ? VV_METHOD_GET : h->method;
    bool path_known = false;
    for (size_t i = 0; i < admin_routes_count; i++) {
        const struct admin_route *r = &admin_routes[i];
        if (!admin_match(r->path, h->path, a->param)) {
            continue;
        }
        path_known = true;
        if (r->method == method) {
            return allowed(r, x) ? r->fn(a, x) : VV_OK;
        }
    }
    if (path_known) {
        return vv_admin_fail(x, 405, "this path does not take " VV_STR_FMT,
                             VV_STR_ARG(h->method_text));
    }
    return vv_admin_fail(x, 404, "no such path; GET /api/v1 lists all");
}

enum vv_err vv_admin_new(const struct vv_admin_options *options, struct vv_admin **ret)
{
    struct vv_admin *a = calloc(1, sizeof *a);
    if (a == NULL) {
        return VV_ENOMEM;
    }
    a->o = *options;
    vv_list_init(&a->streams);
    vv_list_init(&a->questions);
    const enum vv_err err = vv_admin_http_new(options->loop, handle, a, &a->http);
    if (err != VV_OK) {
        free(a);
        return err;
    }
    *ret = a;
    return VV_OK;
}

void vv_admin_free(struct vv_admin *a)
{
    if (a == NULL) {
        return;
    }
    admin_stores_end(a);
    vv_admin_http_free(a->http);
    admin_logs_end(a);
    free(a);
}

enum vv_err vv_admin_listen(struct vv_admin *a, int fd, bool local)
{
    return vv_admin_http_listen(a->http, fd, local);
}

void vv_admin_unlisten(struct vv_admin *a, bool local)
{
    vv_admin_http_unlisten(a->http, local);
}

bool vv_admin_quiet(const struct vv_admin *a)
{
    return vv_admin_http_quiet(a->http);
}

void vv_admin_reference(struct vv_sb *out)
{
    vv_sb_adds(out, "| method | path | what | over TCP |\n|---|---|---|---|\n");
    for (size_t i = 0; i < admin_routes_count; i++) {
        const struct admin_route *r = &admin_routes[i];
        static const char *const access[] = {"open", "own Host names only", "programs only"};
        vv_sb_addf(out, "| " VV_STR_FMT " | `%s` | %s | %s |\n",
                   VV_STR_ARG(vv_methods[r->method].name), r->path, r->doc, access[r->access]);
    }
}
