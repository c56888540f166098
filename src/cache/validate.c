/* src/cache/validate.c - what a cache must not judge (If-Match, If-Unmodified-Since) is not judged
 * here; wire/conditional.h does that for those who have the file itself. */
#include "cache/validate.h"
#include "wire/conditional.h"
#include "wire/date.h"
#include "wire/uri.h"

#define PATH_MAX_BYTES 4096

static bool is_one_of(struct vv_str name, const struct vv_str *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (vv_str_eq_nocase(name, names[i])) {
            return true;
        }
    }
    return false;
}

bool vv_cache_keeps_field(const struct vv_h1_field *f, const struct vv_cc *cc)
{
    static const struct vv_str proxy[] = {
        {"Proxy-Authenticate", 18}, {"Proxy-Authentication-Info", 25}, {"Proxy-Authorization", 19}};
    return !f->hop && !is_one_of(f->name, proxy, VV_COUNT(proxy)) &&
           !vv_cc_fields_have(&cc->no_cache, f->name) &&
           !vv_cc_fields_have(&cc->private_fields, f->name);
}

bool vv_cache_updates_field(const struct vv_h1_field *f, const struct vv_cc *cc)
{
    static const struct vv_str bytes[] = {{"Content-Length", 14}, {"Content-Encoding", 16},
                                          {"Content-Range", 13},  {"Content-Type", 12},
                                          {"Content-Digest", 14}, {"Repr-Digest", 11},
                                          {"Content-MD5", 11}};
    return vv_cache_keeps_field(f, cc) && !is_one_of(f->name, bytes, VV_COUNT(bytes));
}

static struct vv_str value_of(const struct vv_h1_head *h, enum vv_field_id id)
{
    const struct vv_h1_field *f = vv_h1_find(h, id);
    return f != NULL ? f->value : (struct vv_str){NULL, 0};
}

static bool put_field(char *out, size_t cap, size_t *n, struct vv_str name, struct vv_str value)
{
    const struct vv_str parts[] = {name, VV_STR(": "), value, VV_STR("\r\n")};
    for (size_t i = 0; i < VV_COUNT(parts); i++) {
        if (parts[i].n > cap - *n) {
            return false;
        }
        memcpy(out + *n, parts[i].p, parts[i].n);
        *n += parts[i].n;
    }
    return true;
}

size_t vv_cache_conditions(const struct vv_h1_head *stored, char *out, size_t cap)
{
    const struct vv_str etag = value_of(stored, VV_FIELD_ETAG);
    const struct vv_str modified = value_of(stored, VV_FIELD_LAST_MODIFIED);
    size_t n = 0;
    if (etag.n > 0 && !put_field(out, cap, &n, VV_STR("If-None-Match"), etag)) {
        return 0;
    }
    if (modified.n > 0 && !put_field(out, cap, &n, VV_STR("If-Modified-Since"), modified)) {
        return 0;
    }
    return n;
}

static bool is_weak(struct vv_str etag)
{
    return vv_str_starts(etag, VV_STR("W/"));
}

static struct vv_str opaque(struct vv_str etag)
{
    return is_weak(etag) ? (struct vv_str){etag.p + 2, etag.n - 2} : etag;
}

bool vv_cache_freshens(const struct vv_h1_head *not_modified, const struct vv_h1_head *stored)
{
    const struct vv_str etag = value_of(not_modified, VV_FIELD_ETAG);
    const struct vv_str old = value_of(stored, VV_FIELD_ETAG);
    if (etag.n > 0) {
        const bool strong = !is_weak(etag);
        if (old.p == NULL) {
            return false;
        }
        return strong ? vv_str_eq(etag, old) : vv_str_eq(opaque(etag), opaque(old));
    }
    const struct vv_str modified = value_of(not_modified, VV_FIELD_LAST_MODIFIED);
    return modified.n == 0 || vv_str_eq(modified, value_of(stored, VV_FIELD_LAST_MODIFIED));
}

bool vv_cache_head_agrees(const struct vv_h1_head *head_answer, const struct vv_h1_head *stored,
                          uint64_t stored_bytes)
{
    static const enum vv_field_id validators[] = {VV_FIELD_ETAG, VV_FIELD_LAST_MODIFIED};
    for (size_t i = 0; i < VV_COUNT(validators); i++) {
        const struct vv_str now = value_of(head_answer, validators[i]);
        if (now.n > 0 && !vv_str_eq(now, value_of(stored, validators[i]))) {
            return false;
        }
    }
    return !head_answer->has_content_length || head_answer->content_length == stored_bytes;
}

bool vv_cache_not_modified(const struct vv_h1_head *req, const struct vv_h1_head *stored,
                           const struct vv_cache_facts *facts, int64_t now_s)
{
    if ((req->method != VV_METHOD_GET && req->method != VV_METHOD_HEAD) || facts->status != 200) {
        return false;
    }
    const struct vv_h1_field *first = vv_h1_find(req, VV_FIELD_IF_NONE_MATCH);
    const struct vv_str etag = opaque(value_of(stored, VV_FIELD_ETAG));
    if (first != NULL) {
        for (const struct vv_h1_field *f = first; f < req->fields + req->fields_count; f++) {
            if (f->id == VV_FIELD_IF_NONE_MATCH && vv_etag_in(f->value, etag, true)) {
                return true;
            }
        }
        return false;
    }
    const struct vv_h1_field *since = vv_h1_find(req, VV_FIELD_IF_MODIFIED_SINCE);
    int64_t since_s = 0;
    if (since == NULL || vv_http_date_parse(since->value, now_s, &since_s) != VV_OK) {
        return false;
    }
    return (facts->has_modified ? facts->modified_s : facts->date_s) <= since_s;
}

bool vv_cache_invalidates(enum vv_method method, int status)
{
    /* A PURGE that reached an origin is its own business, but it is unsafe all the same. */
    return !vv_methods[method].safe && method != VV_METHOD_CONNECT && status >= 200 && status < 400;
}

static bool same_origin(const struct vv_uri *u, struct vv_str scheme, struct vv_str authority)
{
    struct vv_str host;
    uint16_t port;
    if (vv_uri_split_authority(authority, &host, &port) != VV_OK) {
        return false;
    }
    if (host.n >= 2 && host.p[0] == '[') {
        host = (struct vv_str){host.p + 1, host.n - 2};
    }
    const uint16_t usual = vv_str_eq_nocase(scheme, VV_STR("https")) ? 443 : 80;
    const uint16_t theirs = u->port != 0 ? u->port : usual;
    return (u->scheme.n == 0 || vv_str_eq_nocase(u->scheme, scheme)) &&
           vv_str_eq_nocase(u->host, host) && theirs == (port != 0 ? port : usual);
}

/* RFC 3986 section 5.2.3: the base up to its last slash, then the reference. */
static bool merge(struct vv_str base, struct vv_str path, char *out, size_t cap, size_t *ret_n)
{
    size_t n = base.n;
    while (n > 0 && base.p[n - 1] != '/') {
        n--;
    }
    if (n > cap || path.n > cap - n) {
        return false;
    }
    memcpy(out, base.p, n);
    memcpy(out + n, path.p, path.n);
    *ret_n = n + path.n;
    return true;
}

bool vv_cache_invalidation_target(struct vv_str scheme, struct vv_str authority,
                                  struct vv_str base_path, struct vv_str reference, char *room,
                                  size_t cap, struct vv_str *ret_path, struct vv_str *ret_query)
{
    struct vv_uri u;
    char merged[PATH_MAX_BYTES];
    size_t n = 0;
    if (vv_uri_parse(reference, &u) != VV_OK || (u.scheme.n > 0 && u.host.p == NULL) ||
        (u.host.p != NULL && !same_origin(&u, scheme, authority))) {
        return false;
    }
    struct vv_str path = u.path;
    if (path.n == 0) { /* "?a" and "" speak of the base itself */
        path = u.host.p != NULL ? VV_STR("/") : base_path;
    } else if (path.p[0] != '/') {
        if (!merge(base_path, path, merged, sizeof merged, &n)) {
            return false;
        }
        path = (struct vv_str){merged, n};
    }
    if (path.n + 1 > cap || vv_uri_normalise_path(path, room, cap, &n) != VV_OK) {
        return false;
    }
    *ret_path = (struct vv_str){room, n};
    *ret_query = u.query;
    return true;
}
