/* src/load/render.c - a compiled request to bytes, into buffers that are used again.
 *
 * Field names go out in lower case and `host` first; a URL may hold anything a template made of it, so
 * what cannot stand in a target is percent-encoded, and a field value that would end its line makes
 * the request fail instead of sending something else than was asked. */
#include "load/program_int.h"
#include "wire/uri.h"

static struct vv_str pair_name(const struct load_pair *pair)
{
    return pair->name.count > 0 ? pair->name.part[0].literal : VV_STR("");
}

static bool has_pair(const struct load_pairs *list, struct vv_str name)
{
    for (size_t i = 0; i < list->count; i++) {
        if (vv_str_eq_nocase(pair_name(&list->pair[i]), name)) {
            return true;
        }
    }
    return false;
}

/* ---- encoding ------------------------------------------------------------------------------ */

static void add_percent(struct vv_sb *out, unsigned char c)
{
    static const char hex[] = "0123456789ABCDEF";
    vv_sb_addc(out, '%');
    vv_sb_addc(out, hex[c >> 4]);
    vv_sb_addc(out, hex[c & 15]);
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (vv_char_lower(c) >= 'a' && vv_char_lower(c) <= 'f');
}

void load_escape_url(struct vv_str s, struct vv_sb *out)
{
    for (size_t i = 0; i < s.n; i++) {
        const unsigned char c = (unsigned char)s.p[i];
        const bool stray = c == '%' && !(i + 2 < s.n && is_hex(s.p[i + 1]) && is_hex(s.p[i + 2]));
        if (stray || c <= ' ' || c >= 0x7f || strchr("\"<>\\^`{|}", c) != NULL) {
            add_percent(out, c);
        } else {
            vv_sb_addc(out, (char)c);
        }
    }
}

/* application/x-www-form-urlencoded (WHATWG URL, section 5.2): space is "+". */
static void add_form_text(struct vv_str s, struct vv_sb *out)
{
    for (size_t i = 0; i < s.n; i++) {
        const char c = s.p[i];
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            c == '*' || c == '-' || c == '.' || c == '_') {
            vv_sb_addc(out, c);
        } else if (c == ' ') {
            vv_sb_addc(out, '+');
        } else {
            add_percent(out, (unsigned char)c);
        }
    }
}

static struct vv_str rendered(const struct load_render *x, const struct vv_load_text *t)
{
    if (t->count == 0) {
        return VV_STR("");
    }
    if (t->count == 1 && t->part[0].kind == VV_LOAD_PART_LITERAL) {
        return t->part[0].literal;
    }
    vv_sb_reset(x->scratch);
    vv_load_text_render(t, &x->scope, x->scratch);
    return vv_sb_str(x->scratch);
}

static void add_pairs(const struct load_render *x, const struct load_pairs *list, struct vv_sb *out)
{
    bool first = true;
    for (size_t i = 0; i < list->count; i++) {
        const struct load_pair *p = &list->pair[i];
        if (vv_load_text_variable(&p->value) && vv_load_text_value(&p->value, &x->scope) == NULL) {
            continue; /* an undefined variable alone: the pair is left out */
        }
        vv_sb_adds(out, first ? "" : "&");
        add_form_text(rendered(x, &p->name), out);
        vv_sb_addc(out, '=');
        add_form_text(rendered(x, &p->value), out);
        first = false;
    }
}

static void add_base64(struct vv_str s, struct vv_sb *out)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < s.n; i += 3) {
        const size_t n = s.n - i < 3 ? s.n - i : 3;
        uint32_t v = 0;
        for (size_t j = 0; j < 3; j++) {
            v = v << 8 | (j < n ? (unsigned char)s.p[i + j] : 0);
        }
        for (size_t j = 0; j < 4; j++) {
            vv_sb_addc(out, j <= n ? digit[(v >> (18 - 6 * j)) & 63] : '=');
        }
    }
}

/* ---- URL ----------------------------------------------------------------------------------- */

bool load_render_url(const struct load_render *x, const struct load_request *r)
{
    vv_sb_reset(x->url);
    if (x->location.p != NULL) {
        load_escape_url(x->location, x->url);
        return !x->url->failed;
    }
    const struct vv_str url = rendered(x, &r->url);
    if (url.n == 0 || url.p[0] == '/') {
        const struct vv_str target = vv_str_from(x->plan->view.target);
        load_escape_url(target, x->url);
        if (url.n > 0 && target.n > 0 && target.p[target.n - 1] == '/') {
            x->url->n--; /* one slash between them is enough */
        }
    }
    load_escape_url(url, x->url);
    if (r->query.count > 0) { /* qs replaces the query of the URL, as in Artillery */
        const ptrdiff_t mark = vv_str_find_char(vv_sb_str(x->url), '?');
        x->url->n = mark >= 0 ? (size_t)mark : x->url->n;
        vv_sb_addc(x->url, '?');
        add_pairs(x, &r->query, x->url);
    }
    return !x->url->failed;
}

bool load_place_of(struct vv_str url, struct load_place *ret_place, struct vv_str *ret_target,
                   struct vv_str *ret_authority, struct vv_str *ret_userinfo)
{
    struct vv_uri u;
    if (vv_uri_parse(url, &u) != VV_OK || u.host.n == 0) {
        return false;
    }
    const bool tls = vv_str_eq_nocase(u.scheme, VV_STR("https"));
    if (!tls && !vv_str_eq_nocase(u.scheme, VV_STR("http"))) {
        return false;
    }
    const char *authority =
        u.userinfo.p != NULL ? u.userinfo.p + u.userinfo.n + 1 : u.host.p - (u.host.p[-1] == '[');
    const char *path = u.path.p;
    const char *end = u.query.p != NULL ? u.query.p + u.query.n : u.path.p + u.path.n;
    *ret_place = (struct load_place){tls, u.host, u.has_port ? u.port : tls ? 443 : 80};
    *ret_authority = (struct vv_str){authority, (size_t)(path - authority)};
    *ret_target = (struct vv_str){path, (size_t)(end - path)};
    *ret_userinfo = u.userinfo;
    return ret_place->port != 0;
}

/* ---- JSON ---------------------------------------------------------------------------------- */

/* Undefined variables alone vanish from maps, and are null in lists, as JSON.stringify() has it. */
static bool json_absent(const struct load_render *x, const struct load_json *j)
{
    return j->kind == LOAD_JSON_VALUE && vv_load_text_value(&j->text, &x->scope) == NULL;
}

static void add_json(const struct load_render *x, const struct load_json *j)
{
    bool first = true;
    switch (j->kind) {
    case LOAD_JSON_DONE:
        vv_sb_add(x->body, j->done);
        return;
    case LOAD_JSON_TEXT:
        vv_load_json_text(rendered(x, &j->text), x->body);
        return;
    case LOAD_JSON_VALUE:
        if (json_absent(x, j)) {
            vv_sb_adds(x->body, "null");
        } else {
            vv_load_json_write(vv_load_text_value(&j->text, &x->scope), x->body);
        }
        return;
    case LOAD_JSON_LIST:
    case LOAD_JSON_MAP:
        break;
    }
    vv_sb_addc(x->body, j->kind == LOAD_JSON_MAP ? '{' : '[');
    for (size_t i = 0; i < j->count; i++) {
        if (j->kind == LOAD_JSON_MAP && json_absent(x, &j->item[i])) {
            continue;
        }
        vv_sb_adds(x->body, first ? "" : ",");
        first = false;
        if (j->kind == LOAD_JSON_MAP) {
            vv_load_json_text(rendered(x, &j->key[i]), x->body);
            vv_sb_addc(x->body, ':');
        }
        add_json(x, &j->item[i]);
    }
    vv_sb_addc(x->body, j->kind == LOAD_JSON_MAP ? '}' : ']');
}

/* ---- head ---------------------------------------------------------------------------------- */

static void add_field(struct vv_sb *out, const char *name, struct vv_str value)
{
    vv_sb_adds(out, name);
    vv_sb_adds(out, ": ");
    vv_sb_add(out, value);
    vv_sb_adds(out, "\r\n");
}

static bool is_ours(struct vv_str name) /* written elsewhere */
{
    return vv_str_eq(name, VV_STR("host")) || vv_str_eq(name, VV_STR("content-length")) ||
           vv_str_eq(name, VV_STR("transfer-encoding"));
}

static bool add_headers(const struct load_render *x, const struct load_pairs *list,
                        const struct load_pairs *overridden_by)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct vv_str name = pair_name(&list->pair[i]);
        if (is_ours(name) || (overridden_by != NULL && has_pair(overridden_by, name)) ||
            (x->elsewhere && vv_str_eq(name, VV_STR("authorization")))) {
            continue;
        }
        const struct vv_str value = vv_str_trim(rendered(x, &list->pair[i].value));
        if (!vv_h1_is_field_value(value)) {
            return false;
        }
        vv_sb_add(x->out, name);
        vv_sb_adds(x->out, ": ");
        vv_sb_add(x->out, value);
        vv_sb_adds(x->out, "\r\n");
    }
    return true;
}

static bool given(const struct load_render *x, const struct load_request *r, struct vv_str name)
{
    return has_pair(&r->headers, name) || has_pair(&x->plan->headers, name);
}

static void add_auth(const struct load_render *x, const struct load_request *r,
                     struct vv_str userinfo)
{
    struct vv_sb pair = VV_SB_INIT;
    if (x->elsewhere || given(x, r, VV_STR("authorization"))) {
        return;
    }
    if (r->has_auth) {
        vv_sb_add(&pair, rendered(x, &r->user));
        vv_sb_addc(&pair, ':');
        vv_sb_add(&pair, rendered(x, &r->password));
    } else if (userinfo.n > 0) {
        vv_sb_add(&pair, userinfo);
    }
    if (pair.n > 0) {
        vv_sb_adds(x->out, "authorization: Basic ");
        add_base64(vv_sb_str(&pair), x->out);
        vv_sb_adds(x->out, "\r\n");
    }
    vv_sb_fini(&pair);
}

static bool add_cookies(const struct load_render *x)
{
    if (x->jar.n > 0) {
        add_field(x->out, "cookie", x->jar);
    }
    return x->jar.n == 0 || vv_h1_is_field_value(x->jar);
}

/* The host a user names himself wins: virtual hosts are tested that way. */
static bool add_host(const struct load_render *x, const struct load_request *r,
                     struct vv_str authority)
{
    const struct load_pairs *lists[] = {&r->headers, &x->plan->headers};
    for (size_t l = 0; l < VV_COUNT(lists) && !x->elsewhere; l++) {
        for (size_t i = 0; i < lists[l]->count; i++) {
            if (vv_str_eq(pair_name(&lists[l]->pair[i]), VV_STR("host"))) {
                authority = vv_str_trim(rendered(x, &lists[l]->pair[i].value));
            }
        }
    }
    add_field(x->out, "host", authority);
    return vv_h1_is_field_value(authority);
}

/* ---- the whole ----------------------------------------------------------------------------- */

static void add_body(const struct load_render *x, const struct load_request *r)
{
    vv_sb_reset(x->body);
    if (r->body == LOAD_BODY_JSON) {
        add_json(x, &r->json);
    } else if (r->body == LOAD_BODY_FORM) {
        add_pairs(x, &r->form, x->body);
    } else if (r->body == LOAD_BODY_TEXT) {
        vv_sb_add(x->body, rendered(x, &r->text));
    }
}

static bool method_has_body(enum vv_method m) /* a length of 0 is said for these */
{
    return m == VV_METHOD_POST || m == VV_METHOD_PUT || m == VV_METHOD_PATCH;
}

bool load_render_request(const struct load_render *x, const struct load_request *r,
                         struct load_place *ret_place)
{
    struct vv_str target, authority, userinfo;
    if (!load_place_of(vv_sb_str(x->url), ret_place, &target, &authority, &userinfo)) {
        return false;
    }
    const bool body = r->body != LOAD_BODY_NONE && !x->plain_get;
    vv_sb_reset(x->out);
    vv_sb_add(x->out, x->plain_get ? VV_STR("GET") : r->method_text);
    vv_sb_addc(x->out, ' ');
    vv_sb_adds(x->out, target.n == 0 || target.p[0] != '/' ? "/" : "");
    vv_sb_add(x->out, target);
    vv_sb_adds(x->out, " HTTP/1.1\r\n");
    bool fine = add_host(x, r, authority) && add_headers(x, &x->plan->headers, &r->headers) &&
                add_headers(x, &r->headers, NULL);
    if (r->gzip && !given(x, r, VV_STR("accept-encoding"))) {
        vv_sb_adds(x->out, r->wants_body ? "accept-encoding: gzip, deflate\r\n"
                                         : "accept-encoding: gzip, deflate, br\r\n");
    }
    add_auth(x, r, userinfo);
    fine = fine && add_cookies(x);
    if (body && r->body != LOAD_BODY_TEXT && !given(x, r, VV_STR("content-type"))) {
        vv_sb_adds(x->out, r->body == LOAD_BODY_JSON
                               ? "content-type: application/json\r\n"
                               : "content-type: application/x-www-form-urlencoded\r\n");
    }
    if (body) {
        add_body(x, r);
        vv_sb_adds(x->out, "content-length: ");
        vv_sb_addu(x->out, x->body->n);
        vv_sb_adds(x->out, "\r\n");
    } else if (method_has_body(r->method) && !x->plain_get) {
        vv_sb_adds(x->out, "content-length: 0\r\n");
    }
    vv_sb_adds(x->out,
               given(x, r, VV_STR("connection")) ? "\r\n" : "connection: keep-alive\r\n\r\n");
    if (body) {
        vv_sb_add(x->out, vv_sb_str(x->body));
    }
    return fine && !x->out->failed && (!body || !x->body->failed);
}
