/* src/gateway/template.c - a template is a list of parts; rendering measures first and then writes, so
 * that the output is one allocation of the right size. What a value may contain is decided in one
 * place, put_value(), for every variable and every mode. */
#include "gateway/template.h"

#include "wire/uri.h"
#include <stdlib.h>

/* What frames a value in a key, and what stands for one that is not there: no value has them. */
#define KEY_FRAME "\x1f"
#define KEY_ABSENT "\x1e"
#define TEMPLATE_BYTES_MAX (1024 * 1024) /* bodies of `respond` are templates */

/* name in the text, id; HEADER, QUERY, COOKIE and TLS take a .NAME */
#define VARIABLES(X)                                                                               \
    X("host", HOST)                                                                                \
    X("uri", URI)                                                                                  \
    X("path", PATH)                                                                                \
    X("query", QUERY)                                                                              \
    X("scheme", SCHEME)                                                                            \
    X("method", METHOD)                                                                            \
    X("client_ip", CLIENT_IP)                                                                      \
    X("request_id", REQUEST_ID)                                                                    \
    X("rest", REST)                                                                                \
    X("route", ROUTE)                                                                              \
    X("user", USER)                                                                                \
    X("plan", PLAN)                                                                                \
    X("header", HEADER)                                                                            \
    X("cookie", COOKIE)                                                                            \
    X("tls", TLS)                                                                                  \
    X("body", BODY)

enum part_kind {
    PART_TEXT,
    PART_PARAM,
    PART_QUERY_VALUE, /* $query.NAME; $query alone is PART_QUERY */
#define AS_ENUM(name, id) PART_##id,
    VARIABLES(AS_ENUM)
#undef AS_ENUM
};

static const struct variable {
    struct vv_str name;
    enum part_kind kind;
} variables[] = {
#define AS_ROW(text, id) {{text, sizeof(text) - 1}, PART_##id},
    VARIABLES(AS_ROW)
#undef AS_ROW
};

struct part {
    enum part_kind kind;
    struct vv_str text; /* the literal, or the name after the dot, or the parameter's */
    enum vv_template_tls tls;
};

struct vv_template {
    char *text;
    size_t count;
    bool has_control; /* the text itself holds control bytes: fit for a body only */
    struct part part[];
};

/* ---- compiling ----------------------------------------------------------------------------- */

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_name_byte(char c)
{
    return is_letter(c) || (c >= '0' && c <= '9') || c == '-';
}

static bool is_control(char c) /* a tab may stand in a header value */
{
    return ((unsigned char)c < ' ' && c != '\t') || c == 0x7f;
}

struct parser {
    const char *text;
    size_t at, literal; /* literal: where the open run of plain text began */
    struct vv_template *t;
    struct vv_template_error *reterr;
};

static enum vv_err wrong(const struct parser *p, size_t at, const char *text)
{
    p->reterr->at = at;
    p->reterr->text = text;
    return VV_ESYNTAX;
}

static void add_part(struct parser *p, enum part_kind kind, size_t from, size_t until)
{
    if (kind != PART_TEXT || until > from) {
        p->t->part[p->t->count++] =
            (struct part){.kind = kind, .text = {p->t->text + from, until - from}};
    }
}

static size_t end_of(const struct parser *p, size_t at, bool (*is_byte)(char c))
{
    while (is_byte(p->text[at])) {
        at++;
    }
    return at;
}

static bool find_tls(struct vv_str name, enum vv_template_tls *ret)
{
    static const char *const names[] = {
#define AS_NAME(id, text, doc) text,
        VV_TEMPLATE_TLS(AS_NAME)
#undef AS_NAME
    };
    for (size_t i = 0; i < VV_COUNT(names); i++) {
        if (vv_str_eq(name, vv_str_from(names[i]))) {
            *ret = (enum vv_template_tls)i;
            return true;
        }
    }
    return false;
}

/* p->at is at a dollar. */
static enum vv_err parse_variable(struct parser *p)
{
    const size_t dollar = p->at;
    const size_t end = end_of(p, dollar + 1, is_letter);
    const struct vv_str name = {p->text + dollar + 1, end - dollar - 1};
    if (p->text[dollar + 1] == '$') {
        add_part(p, PART_TEXT, p->literal, dollar + 1); /* one of the two is text */
        p->literal = p->at = dollar + 2;
        return VV_OK;
    }
    if (name.n == 0) {
        return wrong(p, dollar, "a variable's name must follow the dollar; write $$ for a dollar");
    }
    const struct variable *v = NULL;
    for (size_t i = 0; i < VV_COUNT(variables); i++) {
        v = vv_str_eq(variables[i].name, name) ? &variables[i] : v;
    }
    if (v == NULL) {
        return wrong(p, dollar,
                     "no such variable; there are $host $uri $path $query $scheme $method "
                     "$client_ip $request_id $rest $route $user $plan $header.NAME $query.NAME "
                     "$cookie.NAME $tls.NAME");
    }
    const bool has_name = p->text[end] == '.' && is_name_byte(p->text[end + 1]);
    const size_t until = has_name ? end_of(p, end + 1, is_name_byte) : end;
    enum part_kind kind = v->kind;
    enum vv_template_tls tls = VV_TEMPLATE_TLS_VERSION;
    if (kind == PART_HEADER || kind == PART_COOKIE) {
        if (!has_name) {
            return wrong(p, dollar, "a name must follow: $header.NAME, $cookie.NAME");
        }
    } else if (kind == PART_TLS) {
        if (!has_name || !find_tls((struct vv_str){p->text + end + 1, until - end - 1}, &tls)) {
            return wrong(p, dollar,
                         "after $tls. stands version, cipher, name, resumed, client, client_name, "
                         "client_san, client_issuer, client_serial, client_fingerprint or "
                         "client_end");
        }
    } else if (kind == PART_QUERY && has_name) {
        kind = PART_QUERY_VALUE;
    }
    add_part(p, PART_TEXT, p->literal, dollar);
    const bool named =
        kind == PART_HEADER || kind == PART_COOKIE || kind == PART_QUERY_VALUE || kind == PART_TLS;
    p->literal = p->at = named ? until : end; /* "$host.example": the dot is text */
    add_part(p, kind, named ? end + 1 : end, p->at);
    p->t->part[p->t->count - 1].tls = tls;
    return VV_OK;
}

/* p->at is at an opening brace: a parameter, or plain text as in JSON. */
static void parse_brace(struct parser *p)
{
    const size_t open = p->at;
    const size_t close = end_of(p, open + 1, is_name_byte);
    if (p->text[close] != '}' || !is_letter(p->text[open + 1])) {
        p->at++;
        return;
    }
    add_part(p, PART_TEXT, p->literal, open);
    add_part(p, PART_PARAM, open + 1, close);
    p->literal = p->at = close + 1;
}

enum vv_err vv_template_new(const char *text, struct vv_template **ret,
                            struct vv_template_error *reterr)
{
    const size_t n = strlen(text);
    struct parser p = {.text = text, .reterr = reterr};
    if (n > TEMPLATE_BYTES_MAX) {
        return wrong(&p, TEMPLATE_BYTES_MAX, "longer than 1 MiB");
    }
    size_t parts = 1;
    bool has_control = false;
    for (size_t i = 0; i < n; i++) { /* each $ or { ends a literal and is a part itself */
        parts += text[i] == '$' || text[i] == '{' ? 2 : 0;
        has_control |= is_control(text[i]);
    }
    p.t = calloc(1, sizeof(*p.t) + parts * sizeof(p.t->part[0]));
    if (p.t == NULL) {
        return VV_ENOMEM;
    }
    p.t->has_control = has_control;
    p.t->text = strdup(text);
    enum vv_err err = p.t->text != NULL ? VV_OK : VV_ENOMEM;
    while (err == VV_OK && p.at < n) {
        if (text[p.at] == '$') {
            err = parse_variable(&p);
        } else if (text[p.at] == '{') {
            parse_brace(&p);
        } else {
            p.at++;
        }
    }
    if (err != VV_OK) {
        vv_template_free(p.t);
        return err;
    }
    add_part(&p, PART_TEXT, p.literal, n);
    *ret = p.t;
    return VV_OK;
}

void vv_template_free(struct vv_template *t)
{
    if (t != NULL) {
        free(t->text);
        free(t);
    }
}

bool vv_template_is_constant(const struct vv_template *t)
{
    for (size_t i = 0; i < t->count; i++) {
        if (t->part[i].kind != PART_TEXT) {
            return false;
        }
    }
    return true;
}

bool vv_template_has_body(const struct vv_template *t)
{
    for (size_t i = 0; i < t->count; i++) {
        if (t->part[i].kind == PART_BODY) {
            return true;
        }
    }
    return false;
}

bool vv_template_names_header(const struct vv_template *t, struct vv_str name)
{
    for (size_t i = 0; i < t->count; i++) {
        if (t->part[i].kind == PART_HEADER && vv_str_eq_nocase(t->part[i].text, name)) {
            return true;
        }
    }
    return false;
}

struct vv_str vv_template_param(const struct vv_template *t, size_t i)
{
    for (size_t k = 0; k < t->count; k++) {
        if (t->part[k].kind == PART_PARAM && i-- == 0) {
            return t->part[k].text;
        }
    }
    return (struct vv_str){NULL, 0};
}

/* ---- values -------------------------------------------------------------------------------- */

static const struct vv_str nothing = {NULL, 0};

static struct vv_str header_value(const struct vv_template_vars *v, struct vv_str name)
{
    return v->header != NULL ? v->header(v->user, name) : nothing;
}

static struct vv_str cookie_value(const struct vv_template_vars *v, struct vv_str name)
{
    struct vv_str left = header_value(v, VV_STR("Cookie"));
    while (left.n > 0) {
        struct vv_str value = vv_str_trim(vv_str_cut(&left, ';'));
        if (vv_str_eq(vv_str_cut(&value, '='), name)) {
            return value;
        }
    }
    return nothing;
}

/* $uri is two slices and is put together by render_part(). */
static struct vv_str value_of(const struct part *p, const struct vv_template_vars *v)
{
    struct vv_str value = nothing;
    switch (p->kind) {
    case PART_TEXT:
        return p->text;
    case PART_PARAM:
        return v->match != NULL ? vv_route_param(v->match, p->text) : nothing;
    case PART_QUERY_VALUE:
        return v->query.p != NULL && vv_uri_query_get(v->query, p->text, &value) ? value : nothing;
    case PART_HEADER:
        return header_value(v, p->text);
    case PART_COOKIE:
        return cookie_value(v, p->text);
    case PART_TLS:
        return v->tls != NULL ? v->tls(v->user, p->tls) : nothing;
    case PART_HOST:
        return v->host;
    case PART_URI:
    case PART_PATH:
        return v->path;
    case PART_QUERY:
        return v->query;
    case PART_SCHEME:
        return v->scheme;
    case PART_METHOD:
        return v->method;
    case PART_CLIENT_IP:
        return v->client_ip;
    case PART_REQUEST_ID:
        return v->request_id;
    case PART_REST:
        return v->rest;
    case PART_ROUTE:
        return v->route;
    case PART_USER:
        return v->caller;
    case PART_PLAN:
        return v->plan;
    case PART_BODY:
        return nothing;
    }
    return nothing;
}

/* ---- rendering ----------------------------------------------------------------------------- */

struct output {
    char *p; /* NULL: only measure */
    size_t n;
};

static void put_bytes(struct output *o, const char *p, size_t n)
{
    if (o->p != NULL && n > 0) {
        memcpy(o->p + o->n, p, n);
    }
    o->n += n;
}

static bool is_unreserved(unsigned char c) /* RFC 3986 2.3 */
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

enum guard {                /* how far a value may shape a URI */
             GUARD_NONE,    /* a part of the request's own URI, already normalised */
             GUARD_SEGMENT, /* a query parameter: encoded by the client, one segment */
             GUARD_RAW,     /* a header or a cookie: not encoded at all, one segment */
};

static bool uri_keeps(unsigned char c, enum guard guard)
{
    return is_unreserved(c) || (c == '%' && guard != GUARD_RAW) ||
           (guard == GUARD_NONE && c != '\0' && strchr(":/?#[]@!$&'()*+,;=", c) != NULL);
}

/* "." or "..", also when the dots are escaped: the server behind would leave the folder. */
static bool is_dots(struct vv_str value)
{
    char plain[8];
    size_t n = 0;
    return value.n < sizeof(plain) && vv_uri_decode(value, plain, sizeof(plain), &n) == VV_OK &&
           (n == 1 || n == 2) && plain[0] == '.' && plain[n - 1] == '.';
}

static enum vv_err put_uri(struct output *o, struct vv_str value, enum guard guard)
{
    static const char digits[] = "0123456789ABCDEF";
    if (guard != GUARD_NONE && is_dots(value)) {
        return VV_EINVAL;
    }
    for (size_t i = 0; i < value.n; i++) {
        const unsigned char c = (unsigned char)value.p[i];
        if (uri_keeps(c, guard)) {
            put_bytes(o, &value.p[i], 1);
        } else {
            const char coded[3] = {'%', digits[c >> 4], digits[c & 15]};
            put_bytes(o, coded, 3);
        }
    }
    return VV_OK;
}

static enum vv_err put_value(struct output *o, struct vv_str value, enum vv_template_mode mode,
                             enum guard guard)
{
    if (mode == VV_TEMPLATE_URI) {
        return put_uri(o, value, guard);
    }
    const bool strict = mode == VV_TEMPLATE_FIELD || mode == VV_TEMPLATE_KEY;
    for (size_t i = 0; i < value.n; i++) {
        const char c = value.p[i];
        if (c == '\r' || c == '\n' || c == '\0' || (strict && is_control(c))) {
            return VV_EINVAL;
        }
    }
    put_bytes(o, value.p, value.n);
    return VV_OK;
}

static enum vv_err render_part(struct output *o, const struct part *p,
                               const struct vv_template_vars *vars, enum vv_template_mode mode)
{
    if (p->kind == PART_TEXT) {
        put_bytes(o, p->text.p, p->text.n); /* the file's own words */
        return VV_OK;
    }
    const enum guard guard = p->kind == PART_QUERY_VALUE ? GUARD_SEGMENT
                             : p->kind == PART_HEADER || p->kind == PART_COOKIE ||
                                     p->kind == PART_USER || p->kind == PART_TLS
                                 ? GUARD_RAW
                                 : GUARD_NONE;
    const bool framed = mode == VV_TEMPLATE_KEY;
    struct vv_str value = value_of(p, vars);
    if (p->kind == PART_BODY) {
        return VV_OK;
    }
    if (framed && value.p == NULL) {
        put_bytes(o, KEY_ABSENT, 1);
        return VV_OK;
    }
    if (framed && p->kind == PART_METHOD && vv_str_eq(value, VV_STR("HEAD"))) {
        value = VV_STR("GET"); /* they share an answer (RFC 9110 section 9.3.2) */
    }
    put_bytes(o, KEY_FRAME, framed);
    enum vv_err err = put_value(o, value, mode, guard);
    if (err == VV_OK && p->kind == PART_URI && vars->query.p != NULL) {
        put_bytes(o, "?", 1);
        err = put_value(o, vars->query, mode, GUARD_NONE);
    }
    put_bytes(o, KEY_FRAME, framed);
    return err;
}

static enum vv_err render_all(struct output *o, const struct vv_template *t,
                              const struct vv_template_vars *vars, enum vv_template_mode mode)
{
    for (size_t i = 0; i < t->count; i++) {
        const enum vv_err err = render_part(o, &t->part[i], vars, mode);
        if (err != VV_OK) {
            return err;
        }
    }
    return VV_OK;
}

/* "//other.example/" names another host; a path that a client made up must not. */
static struct vv_str without_network_path(const struct vv_template *t, struct vv_str s)
{
    const struct part *first = &t->part[0];
    if (first->kind == PART_TEXT && vv_str_starts(first->text, VV_STR("//"))) {
        return s; /* the file says so */
    }
    while (s.n > 1 && s.p[0] == '/' && s.p[1] == '/') {
        s.p++;
        s.n--;
    }
    return s;
}

enum vv_err vv_template_render(const struct vv_template *t, const struct vv_template_vars *vars,
                               struct vv_arena *arena, enum vv_template_mode mode,
                               struct vv_str *ret)
{
    if (t->has_control && mode != VV_TEMPLATE_TEXT) {
        return VV_EINVAL;
    }
    if (t->count == 0) {
        *ret = (struct vv_str){t->text, 0};
        return VV_OK;
    }
    if (t->count == 1 && t->part[0].kind == PART_TEXT) {
        *ret = t->part[0].text;
        return VV_OK;
    }
    struct output o = {NULL, 0};
    const enum vv_err err = render_all(&o, t, vars, mode);
    if (err != VV_OK) {
        return err;
    }
    o.p = vv_arena_alloc(arena, o.n + 1);
    if (o.p == NULL) {
        return VV_ENOMEM;
    }
    o.n = 0;
    if (render_all(&o, t, vars, mode) != VV_OK) {
        return VV_EINVAL;
    }
    *ret = (struct vv_str){o.p, o.n};
    if (mode == VV_TEMPLATE_URI) {
        *ret = without_network_path(t, *ret);
    }
    return VV_OK;
}
