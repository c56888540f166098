/* src/gateway/forward.c - one pass over the client's fields, then ours: each byte is copied once. */
#include "gateway/forward.h"
#include "gateway/access.h"
#include "gateway/canary.h"
#include "gateway/head_writer.h"
#include "gateway/recall.h"
#include "gateway/session.h"

#define HOPS_MAX 8     /* gateways like this one in a row; more is a loop */
#define OWN_FIELDS 640 /* names and punctuation of all fields added here */

/* Fields we write ourselves, in every request, from what we know. */
static bool ours(const struct vv_exchange *x, const struct vv_h1_field *f)
{
    switch (f->id) {
    case VV_FIELD_HOST:
    case VV_FIELD_CONTENT_LENGTH:
    case VV_FIELD_X_FORWARDED_FOR:
    case VV_FIELD_X_REAL_IP:
    case VV_FIELD_FORWARDED:
    case VV_FIELD_X_REQUEST_ID:
        return true;
    case VV_FIELD_X_FORWARDED_HOST:
    case VV_FIELD_X_FORWARDED_PROTO:
        return !x->session->trusted;
    default:
        return false;
    }
}

static void put_target(struct vv_writer *o, const struct vv_exchange *x, struct vv_str path)
{
    vv_put(o, x->req.method_text);
    *o->at++ = ' ';
    vv_put(o, path);
    if (x->req.query.p != NULL) {
        *o->at++ = '?';
        vv_put(o, x->req.query);
    }
    vv_put(o, VV_STR(" HTTP/1.1\r\n"));
}

static void put_framing(struct vv_writer *o, const struct vv_exchange *x)
{
    if (x->req.framing == VV_H1_BODY_CHUNKED) {
        vv_put(o, VV_STR("Transfer-Encoding: chunked\r\n"));
    } else if (x->req.has_content_length) {
        vv_put(o, VV_STR("Content-Length: "));
        vv_put_u64(o, x->req.content_length);
        vv_put(o, VV_STR("\r\n"));
    }
}

bool vv_forward_upgrades(const struct vv_exchange *x)
{
    const struct vv_h1_field *f = x->req.upgrade ? vv_h1_find(&x->req, VV_FIELD_UPGRADE) : NULL;
    return f != NULL && !vv_h1_list_has(f->value, VV_STR("h2c"));
}

bool vv_forward_loops(const struct vv_exchange *x)
{
    unsigned hops = 0;
    if (vv_h1_find(&x->req, VV_FIELD_VIA) == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < x->req.fields_count; i++) {
        struct vv_str rest = x->req.fields[i].value;
        struct vv_str hop;
        while (x->req.fields[i].id == VV_FIELD_VIA && vv_h1_list_next(&rest, &hop)) {
            hops += vv_str_ends(hop, VV_STR(" vivace"));
        }
    }
    return hops >= HOPS_MAX;
}

static void put_upgrade(struct vv_writer *o, const struct vv_exchange *x)
{
    if (vv_forward_upgrades(x)) {
        vv_put(o, VV_STR("Connection: upgrade\r\n"));
        vv_put_field(o, VV_STR("Upgrade"), vv_h1_find(&x->req, VV_FIELD_UPGRADE)->value);
    }
}

/* Trailers reach the client over HTTP/2 only (and servers of gRPC refuse who does not say so). */
static void put_te(struct vv_writer *o, const struct vv_exchange *x)
{
    if (x->service->conf->http2 != 0 && x->req.te_trailers) {
        vv_put(o, VV_STR("TE: trailers\r\n"));
    }
}

static void put_forwarded(struct vv_writer *o, const struct vv_exchange *x)
{
    const struct vv_str peer = {x->session->client_ip, x->session->client_ip_bytes};
    const bool v6 = vv_str_find_char(peer, ':') >= 0;
    vv_put(o, VV_STR("Forwarded: "));
    if (x->forwarded.n > 0) {
        vv_put(o, x->forwarded);
        vv_put(o, VV_STR(", "));
    }
    vv_put(o, v6 ? VV_STR("for=\"[") : VV_STR("for="));
    vv_put(o, peer);
    if (v6) {
        vv_put(o, VV_STR("]\""));
    }
    vv_put(o, VV_STR(";host=\""));
    vv_put(o, x->req.authority);
    vv_put(o, x->https ? VV_STR("\";proto=https\r\n") : VV_STR("\";proto=http\r\n"));
}

/* Did a trusted proxy say it, and does it pass on? */
static bool said(const struct vv_exchange *x, enum vv_field_id id)
{
    const struct vv_h1_field *f = x->session->trusted ? vv_h1_find(&x->req, id) : NULL;
    return f != NULL && !f->hop;
}

/* An edit of the route stands in for a field of ours, or removes it. */
static bool edited(const struct vv_exchange *x, struct vv_str name)
{
    const struct vv_edits *edits = &x->route->request_edits;
    return edits->count > 0 && vv_edits_have(edits, name);
}

bool vv_forward_tells_deadline(const struct vv_exchange *x)
{
    return x->deadline_ns != 0 && x->rt->settings->deadline_header != NULL;
}

/* Milliseconds, rounded down: the service is to be done before we are. */
static void put_deadline(struct vv_writer *o, const struct vv_exchange *x)
{
    const uint64_t now = vv_worker_now(x->w);
    const uint64_t left = x->deadline_ns > now ? x->deadline_ns - now : 0;
    vv_put(o, vv_str_from(x->rt->settings->deadline_header));
    vv_put(o, VV_STR(": "));
    vv_put_u64(o, left / VV_MS);
    vv_put(o, VV_STR("\r\n"));
}

static void put_who(struct vv_writer *o, const struct vv_exchange *x)
{
    const struct vv_session *s = x->session;
    const struct vv_str peer = {s->client_ip, s->client_ip_bytes};
    const bool has_address = s->peer.sa.sa_family != AF_UNIX;
    if (has_address && !edited(x, VV_STR("X-Forwarded-For"))) {
        vv_put(o, VV_STR("X-Forwarded-For: "));
        if (x->forwarded_for.n > 0) {
            vv_put(o, x->forwarded_for);
            vv_put(o, VV_STR(", "));
        }
        vv_put(o, peer);
        vv_put(o, VV_STR("\r\n"));
    }
    if (has_address && !edited(x, VV_STR("Forwarded"))) {
        put_forwarded(o, x);
    }
    if (!edited(x, VV_STR("X-Real-IP"))) {
        vv_put_field(o, VV_STR("X-Real-IP"), x->client_ip);
    }
    if (!said(x, VV_FIELD_X_FORWARDED_PROTO) && !edited(x, VV_STR("X-Forwarded-Proto"))) {
        vv_put(o, x->https ? VV_STR("X-Forwarded-Proto: https\r\n")
                           : VV_STR("X-Forwarded-Proto: http\r\n"));
    }
    if (x->req.authority.n > 0 && !said(x, VV_FIELD_X_FORWARDED_HOST) &&
        !edited(x, VV_STR("X-Forwarded-Host"))) {
        vv_put_field(o, VV_STR("X-Forwarded-Host"), x->req.authority);
    }
    if (!edited(x, VV_STR("X-Request-Id"))) {
        vv_put_field(o, VV_STR("X-Request-Id"), x->id);
    }
}

static enum vv_err new_path(struct vv_exchange *x, struct vv_str *path)
{
    *path = x->path;
    if (x->route->rewrite == NULL) {
        return VV_OK;
    }
    struct vv_template_vars vars;
    vv_exchange_vars(x, &vars);
    return vv_template_render(x->route->rewrite, &vars, &x->arena, VV_TEMPLATE_URI, path);
}

enum vv_err vv_forward_head(struct vv_exchange *x, struct vv_str *ret)
{
    const struct vv_edits *edits = &x->route->request_edits;
    struct vv_str *value = NULL;
    struct vv_str path;
    size_t bytes = OWN_FIELDS + x->req.head_bytes + x->req.fields_count * 2;
    enum vv_err err = vv_edits_render(x, edits, &value, &bytes);
    if (err == VV_OK) {
        err = new_path(x, &path);
    }
    if (err != VV_OK) {
        return err;
    }
    struct vv_str host = x->service->host.p != NULL ? x->service->host : x->req.authority;
    if (host.n == 0) {
        host = vv_str_from(x->service->conf->name); /* HTTP/1.0 without Host */
    }
    const struct vv_str conditions = vv_recall_conditions(x);
    const bool tells =
        vv_forward_tells_deadline(x) && !edited(x, vv_str_from(x->rt->settings->deadline_header));
    const struct vv_str deadline =
        tells ? vv_str_from(x->rt->settings->deadline_header) : (struct vv_str){NULL, 0};
    bytes += conditions.n + deadline.n + 24 + path.n + host.n + 2 * x->req.authority.n +
             x->forwarded.n + x->forwarded_for.n + 3 * sizeof x->session->client_ip +
             x->client_ip.n + x->id.n + vv_access_fields_bytes(x);
    char *start = vv_arena_alloc(&x->arena, bytes);
    if (start == NULL) {
        return VV_ENOMEM;
    }
    struct vv_writer o = {start};
    put_target(&o, x, path);
    if (edits->count == 0 || !vv_edits_have(edits, VV_STR("Host"))) {
        vv_put_field(&o, VV_STR("Host"), host);
    }
    for (uint32_t i = 0; i < x->req.fields_count; i++) {
        const struct vv_h1_field *f = &x->req.fields[i];
        if (!f->hop && !ours(x, f) && !vv_access_drops_field(f) && !vv_mirror_drops_field(x, f) &&
            !vv_recall_drops_field(x, f) && !(tells && vv_str_eq_nocase(f->name, deadline)) &&
            (edits->count == 0 || !vv_edits_have(edits, f->name))) {
            vv_put_field(&o, f->name, f->value);
        }
    }
    put_framing(&o, x);
    put_upgrade(&o, x);
    put_te(&o, x);
    if (!edited(x, VV_STR("Via"))) {
        vv_put(&o, VV_STR("Via: 1.1 vivace\r\n"));
    }
    put_who(&o, x);
    vv_access_put_fields(&o, x);
    if (tells) {
        put_deadline(&o, x);
    }
    vv_put(&o, conditions);
    vv_edits_put(&o, edits, value);
    vv_put(&o, VV_STR("\r\n"));
    *ret = (struct vv_str){start, (size_t)(o.at - start)};
    return VV_OK;
}
