/* src/gateway/settings_secure.c - finishes and checks `secure` and `cors`: both become header edits.
 *
 * What a route says is laid over what defaults say, that over the preset. The result is a list of edits
 * beside those of `headers`, which win: a list of its own, so that `config show` prints what was
 * written. Nothing of it is left to decide when an answer is made, but whether it goes over HTTPS and
 * whether the request's origin is among those of `cors`. */
#include "gateway/cors.h"
#include "gateway/secure.h"
#include "gateway/settings_int.h"

#define REPORTS_NAME "vivace-csp"
#define STRICT_CSP "default-src 'self'; base-uri 'self'; form-action 'self'; object-src 'none'"

/* Source of the values: OWASP Secure Headers Project, and S. Helme, "Security headers". Two are softer than
 * there: Referrer-Policy no-referrer makes browsers send "Origin: null" with forms, which frameworks take
 * for forgery, and upgrade-insecure-requests breaks pages that are served without TLS. */
#define TEXT(field_, name_, strict_)                                                               \
    {                                                                                              \
        (name_), (strict_), offsetof(struct vv_secure_settings, field_)                            \
    }
static const struct {
    const char *name, *strict;
    size_t field;
} texts[] = {
    TEXT(csp, "Content-Security-Policy", NULL),
    TEXT(csp_report_only, "Content-Security-Policy-Report-Only", NULL),
    TEXT(frame, "X-Frame-Options", "DENY"),
    TEXT(referrer, "Referrer-Policy", "same-origin"),
    TEXT(permissions, "Permissions-Policy",
         "accelerometer=(), camera=(), geolocation=(), gyroscope=(), magnetometer=(), "
         "microphone=(), "
         "payment=(), usb=()"),
    TEXT(opener, "Cross-Origin-Opener-Policy", "same-origin"),
    TEXT(embedder, "Cross-Origin-Embedder-Policy", NULL),
    TEXT(resource, "Cross-Origin-Resource-Policy", "same-origin"),
    TEXT(cross_domain, "X-Permitted-Cross-Domain-Policies", "none"),
};
static const char *const strict_hides[] = {"Server", "X-Powered-By", "X-AspNet-Version",
                                           "X-AspNetMvc-Version"};

struct securing {
    struct vv_conf_doc *doc;
    struct vv_secure_settings *near, *far; /* NULL: not given */
    bool strict;
    const struct vv_conf_list *headers; /* which win */
    struct vv_conf_list **to;
};

/* ---- edits --------------------------------------------------------------------------------- */

static bool has_edit(const struct vv_conf_list *list, const char *name)
{
    for (size_t i = 0; list != NULL && i < list->count; i++) {
        const struct vv_header_edit *e = list->item[i];
        if (vv_str_eq_nocase(vv_str_from(e->name), vv_str_from(name))) {
            return true;
        }
    }
    return false;
}

/* value NULL: servers' own is removed. */
static void add(struct securing *c, const char *name, const char *value, enum vv_edit_when when)
{
    if (when != VV_EDIT_BESIDE && (has_edit(c->headers, name) || has_edit(*c->to, name))) {
        return;
    }
    struct vv_header_edit *e = vv_conf_zalloc(c->doc, sizeof *e);
    *e = (struct vv_header_edit){.name = name, .value = value, .when = when};
    vv_conf_append(c->doc, c->to, e, name, NULL);
}

/* ---- secure -------------------------------------------------------------------------------- */

/* The settings that say something about the field at this offset; NULL: none, the preset counts. */
static const struct vv_secure_settings *says(const struct securing *c, size_t field)
{
    const struct vv_secure_settings *const from[] = {c->near, c->far};
    for (size_t i = 0; i < VV_COUNT(from); i++) {
        if (from[i] != NULL && vv_conf_given(c->doc, (const char *)from[i] + field)) {
            return from[i];
        }
    }
    return NULL;
}

static const char *text_of(const struct securing *c, size_t field, const char *strict)
{
    const struct vv_secure_settings *from = says(c, field);
    if (from == NULL) {
        return c->strict ? strict : NULL;
    }
    const char *text = NULL;
    memcpy(&text, (const char *)from + field, sizeof text);
    return text;
}

static void add_hsts(struct securing *c)
{
    static const struct vv_hsts_settings strict = {
        .enabled = 1, .max_age_ns = 730 * VV_DAY, .subdomains = 1};
    const struct vv_hsts_settings *h = c->strict ? &strict : NULL;
    if (c->near != NULL && vv_conf_given_struct(c->doc, &c->near->hsts)) {
        h = &c->near->hsts;
    } else if (c->far != NULL && vv_conf_given_struct(c->doc, &c->far->hsts)) {
        h = &c->far->hsts;
    }
    if (h == NULL || h->enabled == 0) {
        return;
    }
    struct vv_sb sb = VV_SB_INIT;
    vv_sb_addf(&sb, "max-age=%llu%s%s", (unsigned long long)(h->max_age_ns / VV_SEC),
               h->subdomains != 0 ? "; includeSubDomains" : "", h->preload != 0 ? "; preload" : "");
    add(c, "Strict-Transport-Security", vv_conf_dup(c->doc, vv_sb_str(&sb)), VV_EDIT_HTTPS);
    vv_sb_fini(&sb);
}

static void add_hidden(struct securing *c)
{
    const struct vv_secure_settings *from = says(c, offsetof(struct vv_secure_settings, hide));
    for (size_t i = 0; from != NULL && i < vv_list_count(from->hide); i++) {
        add(c, from->hide->item[i], NULL, VV_EDIT_ALWAYS);
    }
    for (size_t i = 0; from == NULL && c->strict && i < VV_COUNT(strict_hides); i++) {
        add(c, strict_hides[i], NULL, VV_EDIT_ALWAYS);
    }
}

/* A policy that does not say itself where reports go says our path: both ways, for browsers of each. */
static const char *with_reports(struct securing *c, const char *policy, const char *path)
{
    if (policy == NULL || path == NULL || strstr(policy, "report-uri") != NULL ||
        strstr(policy, "report-to") != NULL) {
        return policy;
    }
    struct vv_sb sb = VV_SB_INIT;
    vv_sb_addf(&sb, "%s; report-uri %s; report-to " REPORTS_NAME, policy, path);
    const char *text = vv_conf_dup(c->doc, vv_sb_str(&sb));
    vv_sb_fini(&sb);
    return text;
}

/* Browsers heed frame-ancestors and then forget X-Frame-Options: the preset's policy says what `frame` says. */
static const char *strict_csp(const char *frame)
{
    return frame == NULL                      ? STRICT_CSP
           : strcmp(frame, "SAMEORIGIN") == 0 ? STRICT_CSP "; frame-ancestors 'self'"
                                              : STRICT_CSP "; frame-ancestors 'none'";
}

/* Returns the path of reports; NULL: none. */
static const char *secure(struct securing *c)
{
    const char *frame = text_of(c, offsetof(struct vv_secure_settings, frame), "DENY");
    const char *reports = text_of(c, offsetof(struct vv_secure_settings, csp_reports), NULL);
    add_hsts(c);
    for (size_t i = 0; i < VV_COUNT(texts); i++) {
        const bool csp = texts[i].field == offsetof(struct vv_secure_settings, csp);
        const char *text = text_of(c, texts[i].field, csp ? strict_csp(frame) : texts[i].strict);
        if (csp || texts[i].field == offsetof(struct vv_secure_settings, csp_report_only)) {
            text = with_reports(c, text, reports);
        }
        if (text != NULL) {
            add(c, texts[i].name, text, VV_EDIT_ALWAYS);
        }
    }
    const struct vv_secure_settings *sniff = says(c, offsetof(struct vv_secure_settings, nosniff));
    if (sniff != NULL ? sniff->nosniff == 1 : c->strict) {
        add(c, "X-Content-Type-Options", "nosniff", VV_EDIT_ALWAYS);
    }
    if (reports != NULL) {
        struct vv_sb sb = VV_SB_INIT;
        vv_sb_addf(&sb, REPORTS_NAME "=\"%s\"", reports);
        add(c, "Reporting-Endpoints", vv_conf_dup(c->doc, vv_sb_str(&sb)), VV_EDIT_ALWAYS);
        vv_sb_fini(&sb);
    }
    add_hidden(c);
    return reports;
}

static void add_path(struct vv_conf_doc *doc, struct vv_settings *s, const char *path)
{
    for (size_t i = 0; i < vv_list_count(s->csp_paths); i++) {
        if (strcmp(s->csp_paths->item[i], path) == 0) {
            return;
        }
    }
    vv_conf_append(doc, &s->csp_paths, (void *)(uintptr_t)path, NULL, NULL);
}

/* `near` NULL: what answers without a route carry. */
static void derive_secure(struct vv_conf_doc *doc, struct vv_settings_root *root,
                          struct vv_secure_settings *near, const struct vv_conf_list *headers,
                          struct vv_conf_list **to)
{
    struct vv_secure_settings *far = &root->defaults.secure;
    struct securing c = {.doc = doc, .headers = headers, .to = to};
    if (near != NULL && vv_conf_given_struct(doc, near)) {
        c.near = near;
    }
    const bool anew = c.near != NULL && vv_conf_given(doc, &near->preset);
    if (vv_conf_given_struct(doc, far) && far->enabled != 0 && !anew) {
        c.far = far;
    }
    if ((c.near == NULL && c.far == NULL) || (c.near != NULL && near->enabled == 0)) {
        return;
    }
    /* A route that only changes one header of the defaults has their preset. */
    const struct vv_secure_settings *preset =
        c.near != NULL && (anew || c.far == NULL) ? near : far;
    c.strict = preset->preset == VV_SECURE_STRICT;
    const char *reports = secure(&c);
    if (reports != NULL) {
        add_path(doc, &root->s, reports);
    }
}

/* ---- cors ---------------------------------------------------------------------------------- */

static bool any_origin(const struct vv_cors_settings *cors)
{
    for (size_t i = 0; i < vv_list_count(cors->origins); i++) {
        if (strcmp(cors->origins->item[i], "*") == 0) {
            return true;
        }
    }
    return false;
}

static const char *joined(struct vv_conf_doc *doc, const struct vv_conf_list *list)
{
    struct vv_sb sb = VV_SB_INIT;
    for (size_t i = 0; i < vv_list_count(list); i++) {
        vv_sb_addf(&sb, "%s%s", i > 0 ? ", " : "", (const char *)list->item[i]);
    }
    const char *text = sb.n > 0 ? vv_conf_dup(doc, vv_sb_str(&sb)) : NULL;
    vv_sb_fini(&sb);
    return text;
}

/* What servers say about origins is replaced or left out: two such headers are none to a browser. */
static void derive_cors(struct vv_conf_doc *doc, struct vv_settings_root *root,
                        struct vv_route_settings *r)
{
    const bool given = vv_conf_given_struct(doc, &r->cors);
    struct vv_cors_settings *cors = given ? &r->cors : &root->defaults.cors;
    if ((!given && !vv_conf_given_struct(doc, cors)) || cors->enabled == 0 ||
        vv_list_count(cors->origins) == 0) {
        return;
    }
    struct securing c = {.doc = doc, .headers = r->headers, .to = &r->browser_headers};
    const bool any = any_origin(cors);
    const enum vv_edit_when when = any ? VV_EDIT_ALWAYS : VV_EDIT_ORIGIN;
    r->sharing = cors;
    add(&c, "Access-Control-Allow-Origin", any ? "*" : "$header.origin", when);
    add(&c, "Access-Control-Allow-Credentials", cors->credentials != 0 ? "true" : NULL, when);
    add(&c, "Access-Control-Expose-Headers", joined(doc, cors->expose), when);
    if (!any) {
        add(&c, "Vary", "Origin", VV_EDIT_BESIDE);
    }
}

/* ---- checks -------------------------------------------------------------------------------- */

static void bad(struct vv_conf_doc *doc, const void *field, const char *hint, const char *what,
                const char *value)
{
    vv_conf_report(doc, &(struct vv_conf_report){.field = field, .hint = hint}, "\"%s\" %s", value,
                   what);
}

static void check_secure(struct vv_conf_doc *doc, struct vv_secure_settings *s)
{
    if (!vv_conf_given_struct(doc, s)) {
        return;
    }
    for (size_t i = 0; i < VV_COUNT(texts); i++) {
        const char *text = NULL;
        const char *field = (const char *)s + texts[i].field;
        memcpy(&text, field, sizeof text);
        if (text != NULL && strpbrk(text, "\r\n") != NULL) {
            bad(doc, field, "fold it: \">-\" before the text makes one line of several",
                "has more than one line", text);
        }
        vv_settings_check_template(doc, field, text, NULL, VV_CHECK_COMPILES | VV_CHECK_PARAMS);
    }
    if (s->frame != NULL && strcmp(s->frame, "DENY") != 0 && strcmp(s->frame, "SAMEORIGIN") != 0) {
        bad(doc, &s->frame, "write DENY or SAMEORIGIN; whom else, frame-ancestors of csp says",
            "is no value of X-Frame-Options", s->frame);
    }
    const char *path = s->csp_reports;
    const bool plain = path == NULL || (path[0] == '/' &&
                                        strspn(path, "/-._~0123456789"
                                                     "abcdefghijklmnopqrstuvwxyz"
                                                     "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == strlen(path));
    if (!plain) {
        bad(doc, &s->csp_reports, "write /csp-reports", "is no plain path", path);
    }
    for (size_t i = 0; i < vv_list_count(s->hide); i++) {
        if (!vv_settings_is_token(s->hide->item[i])) {
            bad(doc, &s->hide->item[i], "write Server", "cannot be the name of a header",
                s->hide->item[i]);
        }
    }
    const struct vv_hsts_settings *h = &s->hsts;
    if (vv_conf_given_struct(doc, h) && h->preload != 0 &&
        (h->subdomains == 0 || h->max_age_ns < 365 * VV_DAY)) {
        vv_conf_report(doc,
                       &(struct vv_conf_report){
                           .field = &h->preload,
                           .hint = "write {max_age: 730d, subdomains: true, preload: true}"},
                       "lists of browsers take names with subdomains and at least 365d only");
    }
}

static void check_words(struct vv_conf_doc *doc, const struct vv_conf_list *list, const char *hint,
                        const char *what)
{
    for (size_t i = 0; i < vv_list_count(list); i++) {
        if (!vv_settings_is_token(list->item[i])) {
            bad(doc, &list->item[i], hint, what, list->item[i]);
        }
    }
}

static void check_cors(struct vv_conf_doc *doc, struct vv_cors_settings *cors)
{
    if (!vv_conf_given_struct(doc, cors) || cors->enabled == 0) {
        return;
    }
    if (vv_list_count(cors->origins) == 0) {
        vv_conf_report(
            doc,
            &(struct vv_conf_report){.field = cors,
                                     .whole = true,
                                     .hint = "write origins: [\"https://app.example.org\"]"},
            "cors names no origins");
    }
    for (size_t i = 0; i < vv_list_count(cors->origins); i++) {
        const char *text = cors->origins->item[i];
        const char *why = NULL;
        if (!vv_cors_pattern_check(vv_str_from(text), &why)) {
            bad(doc, &cors->origins->item[i],
                "write \"https://app.example.org\", \"https://*.example.org\" or \"*\"", why, text);
        }
    }
    if (cors->credentials != 0 && any_origin(cors)) {
        vv_conf_report(doc,
                       &(struct vv_conf_report){.field = &cors->credentials,
                                                .other = &cors->origins,
                                                .other_what = "all origins",
                                                .hint = "name the origins"},
                       "every page of the world would act with the user's cookies");
    }
    check_words(doc, cors->methods, "write GET", "is no method");
    check_words(doc, cors->headers, "write Content-Type", "cannot be the name of a header");
    check_words(doc, cors->expose, "write X-Request-Id", "cannot be the name of a header");
}

/* Behind a balancer that ends TLS the listener trusts it; otherwise TLS is spoken here. */
static void check_redirects(struct vv_conf_doc *doc, const struct vv_settings *s)
{
    bool tls = false;
    for (size_t i = 0; i < vv_list_count(s->listen); i++) {
        const struct vv_listen_settings *l = s->listen->item[i];
        tls |= (l->tls.enabled != 0);
    }
    for (size_t i = 0; i < vv_list_count(s->listen); i++) {
        const struct vv_listen_settings *l = s->listen->item[i];
        if (l->redirect == NULL) {
            continue;
        }
        if (vv_https_redirect_port(l->redirect) < 0) {
            bad(doc, &l->redirect,
                "write https, or https:8443; where a route sends requests, its redirect says",
                "is nowhere a listener can send requests", l->redirect);
        } else if ((l->tls.enabled != 0)) {
            vv_conf_report(
                doc,
                &(struct vv_conf_report){.field = &l->redirect, .hint = "remove it, or remove tls"},
                "listener \"%s\" speaks TLS itself: it would send clients in circles", l->name);
        } else if (!tls && vv_list_count(l->trust) == 0) {
            vv_conf_report(doc,
                           &(struct vv_conf_report){
                               .field = &l->redirect,
                               .warning = true,
                               .hint = "add a listener with tls: auto, or trust: the balancer that "
                                       "speaks TLS"},
                           "listener \"%s\" sends clients to https, but nothing here speaks TLS",
                           l->name);
        }
    }
}

void vv_settings_derive_secure(struct vv_conf_doc *doc, struct vv_settings_root *root)
{
    derive_secure(doc, root, NULL, NULL, &root->s.browser_headers);
    for (size_t i = 0; i < vv_list_count(root->s.routes); i++) {
        struct vv_route_settings *r = root->s.routes->item[i];
        derive_cors(doc, root, r);
        derive_secure(doc, root, &r->secure, r->headers, &r->browser_headers);
    }
}

void vv_settings_check_secure(struct vv_conf_doc *doc, struct vv_settings_root *root)
{
    check_secure(doc, &root->defaults.secure);
    check_cors(doc, &root->defaults.cors);
    for (size_t i = 0; i < vv_list_count(root->s.routes); i++) {
        struct vv_route_settings *r = root->s.routes->item[i];
        check_secure(doc, &r->secure);
        check_cors(doc, &r->cors);
    }
    check_redirects(doc, &root->s);
}
