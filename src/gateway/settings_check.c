/* src/gateway/settings_check.c - what no single row can see: names, addresses, actions, reach.
 *
 * Every report points at the value and, where there is one, at the other end. Checks run on settings
 * that may have other errors: fields can be NULL here, and warnings that would only follow from an
 * error are left out. */
#include "gateway/route_pattern.h"
#include "gateway/settings_acme.h"
#include "gateway/settings_int.h"
#include "gateway/template.h"
#include "os/sock.h"

#include <stdio.h>
#include <unistd.h>

struct check {
    struct vv_conf_doc *doc;
    struct vv_settings *s;
    struct vv_name_index services, listeners;
};

/* ---- hints --------------------------------------------------------------------------------- */

static const char *text_fmt(struct vv_conf_doc *doc, const char *before, const char *middle,
                            const char *after)
{
    struct vv_sb sb = VV_SB_INIT;
    vv_sb_adds(&sb, before);
    vv_sb_adds(&sb, middle);
    vv_sb_adds(&sb, after);
    const char *copy = vv_conf_dup(doc, vv_sb_str(&sb));
    vv_sb_fini(&sb);
    return copy;
}

void vv_settings_unknown_name(struct vv_conf_doc *doc, const void *field, const char *what,
                              const char *name, const struct vv_conf_list *known,
                              const struct vv_name_index *index)
{
    const char *near = known != NULL && known->name != NULL
                           ? vv_conf_nearest(name, known->name, known->count)
                           : NULL;
    struct vv_conf_report r = {.field = field};
    if (near != NULL) {
        r.hint = text_fmt(doc, "did you mean \"", near, "\"?");
        r.other = vv_names_get(index, vv_str_from(near));
        r.other_whole = true;
    }
    vv_conf_report(doc, &r, "no %s named \"%s\"", what, name);
}

/* ---- listeners ----------------------------------------------------------------------------- */

static bool listener_address(const struct vv_listen_settings *l, struct vv_addr *ret)
{
    char text[16];
    if (l->address != NULL) {
        return vv_addr_parse(vv_str_from(l->address), ret) == VV_OK;
    }
    (void)snprintf(text, sizeof text, ":%u", (unsigned)l->port);
    return l->port > 0 && vv_addr_parse(vv_str_from(text), ret) == VV_OK;
}

void vv_settings_check_cidrs(struct vv_conf_doc *doc, const struct vv_conf_list *list)
{
    for (size_t i = 0; i < vv_list_count(list); i++) {
        const char *text = list->item[i];
        struct vv_cidr cidr;
        if (vv_cidr_parse(vv_str_from(text), &cidr) != VV_OK) {
            vv_conf_report(doc,
                           &(struct vv_conf_report){
                               .field = &list->item[i],
                               .hint = "write 10.0.0.0/8, 2001:db8::/32, one address, or unix"},
                           "\"%s\" is no block of addresses", text);
        }
    }
}

/* Whom `addr` clashes with among listeners before number `count`. */
static const struct vv_listen_settings *same_address(const struct vv_conf_list *listen,
                                                     size_t count, const struct vv_addr *addr)
{
    for (size_t i = 0; i < count; i++) {
        struct vv_addr other;
        if (listener_address(listen->item[i], &other) && vv_addr_eq(addr, &other)) {
            return listen->item[i];
        }
    }
    return NULL;
}

static const void *address_field(const struct vv_listen_settings *l)
{
    return l->address != NULL ? (const void *)&l->address : (const void *)&l->port;
}

static void check_listener(struct check *c, const struct vv_listen_settings *l, size_t index)
{
    struct vv_addr addr, admin;
    const void *at = address_field(l);
    if (l->address != NULL && l->port > 0) {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){.field = &l->port,
                                                .other = &l->address,
                                                .other_what = "address given",
                                                .hint = "keep one of them"},
                       "listener \"%s\" has both an address and a port", l->name);
        return;
    }
    if (l->address == NULL && l->port == 0) {
        if (!vv_conf_given(c->doc, &l->port)) {
            vv_conf_report(c->doc,
                           &(struct vv_conf_report){
                               .field = l, .whole = true, .hint = "add port: 8080, or an address"},
                           "listener \"%s\" has neither an address nor a port", l->name);
        }
        return;
    }
    if (!listener_address(l, &addr)) {
        vv_conf_report(
            c->doc,
            &(struct vv_conf_report){
                .field = at, .hint = "write 127.0.0.1:8080, [::1]:8080, :8080 or unix:/path"},
            "\"%s\" is no address to listen on", l->address);
        return;
    }
    const struct vv_listen_settings *twin = same_address(c->s->listen, index, &addr);
    if (twin != NULL) {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){.field = at,
                                                .other = address_field(twin),
                                                .other_what = "first used",
                                                .hint = "choose another"},
                       "listener \"%s\" has the address of listener \"%s\"", l->name, twin->name);
    }
    if (c->s->admin != NULL && vv_addr_parse(vv_str_from(c->s->admin), &admin) == VV_OK &&
        vv_addr_eq(&addr, &admin)) {
        vv_conf_report(
            c->doc,
            &(struct vv_conf_report){.field = at, .other = &c->s->admin, .other_what = "admin"},
            "listener \"%s\" has the address of the admin listener, %s", l->name, c->s->admin);
    }
    vv_settings_check_cidrs(c->doc, l->trust);
}

static void check_listeners(struct check *c)
{
    struct vv_addr addr;
    for (size_t i = 0; i < vv_list_count(c->s->listen); i++) {
        check_listener(c, c->s->listen->item[i], i);
    }
    if (c->s->admin != NULL && vv_addr_parse(vv_str_from(c->s->admin), &addr) != VV_OK) {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){.field = &c->s->admin,
                                                .hint = "write 127.0.0.1:9180, or none"},
                       "\"%s\" is no address to listen on", c->s->admin);
    }
    for (size_t i = 0; i < vv_list_count(c->s->dns_servers); i++) {
        const char *text = c->s->dns_servers->item[i];
        if (vv_addr_parse(vv_str_from(text), &addr) != VV_OK &&
            !vv_addr_from_ip(vv_str_from(text), 53, &addr)) {
            vv_conf_report(c->doc,
                           &(struct vv_conf_report){.field = &c->s->dns_servers->item[i],
                                                    .hint = "write 192.0.2.53, or 192.0.2.53:5353"},
                           "\"%s\" is no address of a name server", text);
        }
    }
}

/* ---- templates ----------------------------------------------------------------------------- */

static bool is_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static void bad_template(struct vv_conf_doc *doc, const void *field, const char *text,
                         const struct vv_template_error *e)
{
    static const char *const variables[] = {"host",   "uri",       "path",       "query", "scheme",
                                            "method", "client_ip", "request_id", "rest",  "route",
                                            "header", "cookie",    "body"};
    struct vv_str word = {text + e->at + 1, 0};
    const bool dollar = e->at < strlen(text) && text[e->at] == '$';
    while (dollar && is_word_char(word.p[word.n])) {
        word.n++;
    }
    const char *name = dollar ? vv_conf_dup(doc, word) : "";
    const char *near = vv_conf_nearest(name, variables, VV_COUNT(variables));
    vv_conf_report(
        doc,
        &(struct vv_conf_report){
            .field = field,
            .hint = near != NULL ? text_fmt(doc, "did you mean \"$", near, "\"?") : e->text},
        near != NULL ? "no variable \"$%s\" in a template" : "\"%s\" is no template",
        near != NULL ? name : text);
}

static bool has_param(const struct vv_route_pattern *p, struct vv_str name)
{
    for (uint32_t i = 0; i < p->param_count; i++) {
        if (vv_str_eq(p->param[i], name)) {
            return true;
        }
    }
    return false;
}

static void check_params(struct vv_conf_doc *doc, const void *field, const struct vv_template *t,
                         const char *path)
{
    struct vv_arena arena;
    struct vv_route_pattern pattern = {.param_count = 0};
    char why[VV_ROUTE_TEXT];
    vv_arena_init(&arena, NULL, 0, 4096, 0);
    const bool known =
        path == NULL || vv_pattern_parse(path, &arena, &pattern, why) == VV_OK; /* else reported */
    for (size_t i = 0; known; i++) {
        const struct vv_str name = vv_template_param(t, i);
        if (name.p == NULL) {
            break;
        }
        if (!has_param(&pattern, name)) {
            const char *hint = NULL;
            if (pattern.param_count > 0) {
                hint = text_fmt(doc, "the path has {", vv_conf_dup(doc, pattern.param[0]),
                                pattern.param_count > 1 ? "} and more" : "}");
            }
            vv_conf_report(doc, &(struct vv_conf_report){.field = field, .hint = hint},
                           path != NULL ? "\"{" VV_STR_FMT "}\" is no parameter of the path \"%s\""
                                        : "\"{" VV_STR_FMT "}\" is no parameter: no path is here%s",
                           VV_STR_ARG(name), path != NULL ? path : "");
        }
    }
    vv_arena_fini(&arena);
}

void vv_settings_check_template(struct vv_conf_doc *doc, const void *field, const char *text,
                                const char *path, unsigned what)
{
    struct vv_template *t = NULL;
    struct vv_template_error e = {0};
    if (text == NULL) {
        return;
    }
    if (vv_template_new(text, &t, &e) != VV_OK) {
        if ((what & VV_CHECK_COMPILES) != 0) {
            bad_template(doc, field, text,
                         e.text != NULL ? &e
                                        : &(struct vv_template_error){.text = "out of memory"});
        }
        return;
    }
    if ((what & VV_CHECK_COMPILES) != 0 && (what & VV_CHECK_KEY) == 0 && vv_template_has_body(t)) {
        vv_conf_report(doc, &(struct vv_conf_report){.field = field},
                       "$body stands in the key of a cache only");
    }
    if ((what & VV_CHECK_PARAMS) != 0) {
        check_params(doc, field, t, path);
    }
    vv_template_free(t);
}

/* `path` NULL: there are no parameters here. */
static void check_template(struct check *c, const void *field, const char *text, const char *path)
{
    vv_settings_check_template(c->doc, field, text, path, VV_CHECK_COMPILES | VV_CHECK_PARAMS);
}

bool vv_settings_is_token(const char *s)
{
    const size_t n = strspn(s, "!#$%&'*+-.^_`|~0123456789"
                               "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
    return n > 0 && s[n] == '\0';
}

/* Names of headers, and values that could not be one line. */
static void check_edits(struct check *c, const struct vv_conf_list *edits, const char *path)
{
    for (size_t i = 0; i < vv_list_count(edits); i++) {
        const struct vv_header_edit *e = edits->item[i];
        if (!vv_settings_is_token(e->name)) {
            vv_conf_report(c->doc, &(struct vv_conf_report){.field = &e->name},
                           "\"%s\" cannot be the name of a header", e->name);
        }
        if (e->value != NULL && strpbrk(e->value, "\r\n") != NULL) {
            vv_conf_report(c->doc, &(struct vv_conf_report){.field = &e->value},
                           "a header has one line only");
        }
        check_template(c, &e->value, e->value, path);
    }
}

static void check_match_names(struct check *c, const struct vv_conf_list *matches)
{
    for (size_t i = 0; i < vv_list_count(matches); i++) {
        const struct vv_header_match *m = matches->item[i];
        if (!vv_settings_is_token(m->name)) {
            vv_conf_report(c->doc, &(struct vv_conf_report){.field = &m->name},
                           "\"%s\" cannot be the name of a header", m->name);
        }
    }
}

/* ---- services ------------------------------------------------------------------------------ */

static void check_servers(struct check *c, const struct vv_service_settings *s)
{
    if (s->servers != NULL && s->servers->count == 0) {
        vv_conf_report(
            c->doc,
            &(struct vv_conf_report){.field = &s->servers, .hint = "add one: [127.0.0.1:3001]"},
            "service \"%s\" has no servers", s->name);
    }
    struct vv_name_index seen;
    vv_names_init(&seen, c->doc, vv_list_count(s->servers));
    for (size_t i = 0; i < vv_list_count(s->servers); i++) {
        struct vv_server_settings *server = s->servers->item[i];
        if (server->url == NULL) {
            continue;
        }
        const char *hint = vv_settings_bad_server(server->url);
        const struct vv_server_settings *twin = vv_names_get(&seen, vv_str_from(server->url));
        if (hint != NULL) {
            vv_conf_report(c->doc, &(struct vv_conf_report){.field = &server->url, .hint = hint},
                           "\"%s\" is no address of a server", server->url);
        } else if (twin != NULL) {
            vv_conf_report(c->doc,
                           &(struct vv_conf_report){.field = &server->url,
                                                    .other = &twin->url,
                                                    .other_what = "first named",
                                                    .hint = "give it a weight instead"},
                           "server \"%s\" stands twice in service \"%s\"", server->url, s->name);
        }
        vv_names_put(&seen, server->url, server);
    }
}

static bool is_status_class(const char *s)
{
    return strlen(s) == 3 && s[0] >= '1' && s[0] <= '5' &&
           ((s[1] == 'x' && s[2] == 'x') ||
            (s[1] >= '0' && s[1] <= '9' && s[2] >= '0' && s[2] <= '9'));
}

static void check_checks(struct check *c, const struct vv_service_settings *s)
{
    const struct vv_check_settings *k = &s->check;
    if (k->path != NULL && k->path[0] != '/') {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){.field = &k->path,
                                                .hint = text_fmt(c->doc, "write /", k->path, "")},
                       "the path of a check begins with \"/\"");
    }
    for (size_t i = 0; i < vv_list_count(k->expect); i++) {
        if (!is_status_class(k->expect->item[i])) {
            vv_conf_report(
                c->doc,
                &(struct vv_conf_report){.field = &k->expect->item[i], .hint = "write 200, or 2xx"},
                "\"%s\" is no status", (const char *)k->expect->item[i]);
        }
    }
    if (k->timing.enabled && k->timing.timeout_ns > k->timing.every_ns) {
        vv_conf_report(
            c->doc,
            &(struct vv_conf_report){.field = vv_conf_given(c->doc, &k->timing.timeout_ns)
                                                  ? &k->timing.timeout_ns
                                                  : &k->timing.every_ns,
                                     .hint = "keep the timeout below every"},
            "a check of service \"%s\" may take longer than the time to the next one", s->name);
    }
}

static void check_service(struct check *c, struct vv_service_settings *s)
{
    check_servers(c, s);
    check_checks(c, s);
    vv_settings_check_upstream(c->doc, s);
    check_template(c, &s->hash_key, s->hash_key, NULL);
    check_template(c, &s->host, s->host, NULL);
    if (s->balance.balancer == VV_BALANCER_HASH && s->hash_key == NULL) {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){.field = &s->balance.balancer,
                                                .hint = "add hash_key: $client_ip"},
                       "balance: hash needs a hash_key");
    } else if (s->hash_key != NULL && s->balance.balancer != VV_BALANCER_HASH) {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){
                           .field = &s->hash_key, .warning = true, .hint = "add balance: hash"},
                       "hash_key does nothing without balance: hash");
    }
    if (s->sticky_cookie != NULL && !vv_settings_is_token(s->sticky_cookie)) {
        vv_conf_report(c->doc, &(struct vv_conf_report){.field = &s->sticky_cookie},
                       "\"%s\" cannot be the name of a cookie", s->sticky_cookie);
    }
}

/* ---- routes -------------------------------------------------------------------------------- */

static void check_actions(struct check *c, const struct vv_route_settings *r)
{
    const struct {
        const char *key;
        const void *field;
        bool whole, given;
    } actions[] = {
        {"to", &r->to, false, vv_conf_given(c->doc, &r->to)},
        {"files", &r->files, true, vv_conf_given_struct(c->doc, &r->files)},
        {"compose", &r->compose, true, vv_conf_given_struct(c->doc, &r->compose)},
        {"objects", &r->objects, false, vv_conf_given(c->doc, &r->objects)},
        {"redirect", &r->redirect, true, vv_conf_given_struct(c->doc, &r->redirect)},
        {"respond", &r->respond, true, vv_conf_given_struct(c->doc, &r->respond)},
    };
    size_t first = VV_COUNT(actions);
    for (size_t i = 0; i < VV_COUNT(actions); i++) {
        if (!actions[i].given) {
            continue;
        }
        if (first == VV_COUNT(actions)) {
            first = i;
            continue;
        }
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){.field = actions[i].field,
                                                .whole = actions[i].whole,
                                                .other = actions[first].field,
                                                .other_whole = actions[first].whole,
                                                .other_what = "the other",
                                                .hint = "make two routes of it"},
                       "a route has one action, this one has \"%s\" and \"%s\"", actions[first].key,
                       actions[i].key);
    }
    if (first == VV_COUNT(actions)) {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){
                           .field = r,
                           .whole = true,
                           .hint = "add to, files, compose, objects, redirect or respond"},
                       "route \"%s\" does nothing", r->name);
    }
}

static void check_targets(struct check *c, const struct vv_route_settings *r)
{
    if (r->to != NULL && vv_names_get(&c->services, vv_str_from(r->to)) == NULL) {
        vv_settings_unknown_name(c->doc, &r->to, "service", r->to, c->s->services, &c->services);
    }
    for (size_t i = 0; i < vv_list_count(r->listen); i++) {
        const char *name = r->listen->item[i];
        if (vv_names_get(&c->listeners, vv_str_from(name)) == NULL) {
            vv_settings_unknown_name(c->doc, &r->listen->item[i], "listener", name, c->s->listen,
                                     &c->listeners);
        }
    }
    for (size_t i = 0; i < vv_list_count(r->methods); i++) {
        if (!vv_settings_is_token(r->methods->item[i])) {
            vv_conf_report(c->doc, &(struct vv_conf_report){.field = &r->methods->item[i]},
                           "\"%s\" cannot be a method", (const char *)r->methods->item[i]);
        }
    }
}

static void check_path(struct check *c, const struct vv_route_settings *r)
{
    char why[VV_ROUTE_TEXT] = "";
    if (r->path[0] != '/' && strchr(r->path, '*') == NULL) {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){.field = &r->path,
                                                .hint = text_fmt(c->doc, "write /", r->path, "")},
                       "a path begins with \"/\", or has a \"*\"");
    } else if (strpbrk(r->path, " \t\r\n?#") != NULL) {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){.field = &r->path,
                                                .hint = "query parameters go into when_query"},
                       "a path has no blanks, \"?\" or \"#\"");
    } else if (vv_route_pattern_check(r->path, why) == VV_ESYNTAX) {
        vv_conf_report(c->doc, &(struct vv_conf_report){.field = &r->path}, "%s", why);
    }
}

/* Keys and values: which store, and where in the path the key stands. */
static void check_objects(struct vv_conf_doc *doc, const struct vv_settings_root *root,
                          const struct vv_route_settings *r)
{
    const struct vv_str path = vv_str_from(r->path);
    if (r->objects == NULL) {
        return;
    }
    const struct vv_store_settings *store = vv_settings_named_store(doc, root, &r->objects);
    if (store != NULL && store->parsed == NULL) {
        vv_conf_report(doc,
                       &(struct vv_conf_report){
                           .field = &r->objects, .warning = true, .hint = "give the store a url"},
                       "store \"%s\" has no server: its objects are in the memory of this process "
                       "only",
                       r->objects);
    }
    if (path.n > 0 && path.p[0] == '/' && !vv_str_ends(path, VV_STR("/")) &&
        !vv_str_ends(path, VV_STR("...}"))) {
        vv_conf_report(doc,
                       &(struct vv_conf_report){.field = &r->path,
                                                .hint = text_fmt(doc, "write ", r->path, "/")},
                       "the path of objects ends with \"/\": what follows it is the key");
    }
}

static void check_contents(struct check *c, const struct vv_route_settings *r)
{
    const uint64_t status = r->redirect.status;
    check_template(c, &r->rewrite, r->rewrite, r->path);
    check_template(c, &r->redirect.to, r->redirect.to, r->path);
    if (!r->respond.body_literal) {
        check_template(c, &r->respond.body, r->respond.body, r->path);
    }
    check_edits(c, r->headers, r->path);
    check_edits(c, r->request_headers, r->path);
    check_match_names(c, r->match_headers);
    check_match_names(c, r->require);
    if (status != 301 && status != 302 && status != 303 && status != 307 && status != 308) {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){.field = &r->redirect.status,
                                                .hint = "write 301, 302, 303, 307 or 308"},
                       "%llu is no redirect", (unsigned long long)status);
    }
    if (r->rewrite != NULL && r->to == NULL) {
        vv_conf_report(c->doc, &(struct vv_conf_report){.field = &r->rewrite, .warning = true},
                       "rewrite does nothing without \"to\"");
    }
    if (r->files.root != NULL && vv_conf_may_read(c->doc) && access(r->files.root, F_OK) != 0) {
        vv_conf_report(c->doc, &(struct vv_conf_report){.field = &r->files.root, .warning = true},
                       "there is no folder %s", r->files.root);
    }
}

/* ---- reach --------------------------------------------------------------------------------- */

static bool takes_everything(const struct vv_route_settings *r)
{
    return vv_list_count(r->methods) == 0 && vv_list_count(r->hosts) == 0 &&
           vv_list_count(r->listen) == 0 && vv_list_count(r->match_headers) == 0 &&
           vv_list_count(r->match_query) == 0;
}

/* "/users/{id}/x" and "/users/{name}/x" take the same paths: parameters lose their names; one that
 * takes the rest is a prefix. Globs stay as they are. */
static const char *canonical(struct vv_conf_doc *doc, const char *path)
{
    char *out = (char *)(uintptr_t)vv_conf_dup(doc, vv_str_from(path));
    char *to = out;
    if (strpbrk(path, "*,") != NULL) {
        return out;
    }
    for (const char *p = path; *p != '\0'; p++) {
        const size_t n = *p == '{' ? strcspn(p, "}.") : 0;
        if (n > 0 && p[n] == '.') {
            break;
        }
        *to++ = *p;
        p += n > 0 ? n - 1 : 0;
    }
    *to = '\0';
    return out;
}

/* The earlier route that takes every path of this one: the same path, or a prefix of it. */
static const struct vv_route_settings *covering(const struct vv_name_index *earlier,
                                                const char *path)
{
    const struct vv_route_settings *r = vv_names_get(earlier, vv_str_from(path));
    if (path[0] != '/') { /* "*.png": only "/" is sure to cover it */
        return r != NULL ? r : vv_names_get(earlier, VV_STR("/"));
    }
    for (size_t n = 1; r == NULL && path[n - 1] != '\0'; n++) {
        if (path[n - 1] == '/') {
            r = vv_names_get(earlier, (struct vv_str){path, n});
        }
    }
    return r;
}

static void check_reach(struct check *c)
{
    const struct vv_conf_list *routes = c->s->routes;
    struct vv_name_index earlier;
    vv_names_init(&earlier, c->doc, vv_list_count(routes));
    for (size_t i = 0; i < vv_list_count(routes); i++) {
        struct vv_route_settings *r = routes->item[i];
        const char *path = canonical(c->doc, r->path);
        const struct vv_route_settings *over = covering(&earlier, path);
        if (over != NULL) {
            vv_conf_report(c->doc,
                           &(struct vv_conf_report){.field = vv_conf_given(c->doc, &r->path)
                                                                 ? (const void *)&r->path
                                                                 : (const void *)r,
                                                    .whole = !vv_conf_given(c->doc, &r->path),
                                                    .other = over,
                                                    .other_whole = true,
                                                    .other_what = "that route stands",
                                                    .warning = true,
                                                    .hint = "move it up"},
                           "route \"%s\" is never reached: \"%s\" before it takes all its requests",
                           r->path, over->path);
        } else if (takes_everything(r)) {
            vv_names_put(&earlier, path, r);
        }
    }
}

static void check_route_names(struct check *c)
{
    struct vv_name_index seen;
    vv_names_init(&seen, c->doc, vv_list_count(c->s->routes));
    for (size_t i = 0; i < vv_list_count(c->s->routes); i++) {
        struct vv_route_settings *r = c->s->routes->item[i];
        const struct vv_route_settings *twin = vv_names_get(&seen, vv_str_from(r->name));
        if (!vv_conf_given(c->doc, &r->name)) {
            continue;
        }
        if (twin != NULL) {
            vv_conf_report(c->doc,
                           &(struct vv_conf_report){
                               .field = &r->name, .other = &twin->name, .other_what = "first used"},
                           "two routes are named \"%s\"", r->name);
        }
        vv_names_put(&seen, r->name, r);
    }
}

static void mark_used(struct vv_name_index *used, const char *name, struct vv_route_settings *r)
{
    if (name != NULL) {
        vv_names_put(used, name, r);
    }
}

static void check_unused(struct check *c)
{
    struct vv_name_index used;
    vv_names_init(&used, c->doc, vv_list_count(c->s->services)); /* none is unknown any more */
    for (size_t i = 0; i < vv_list_count(c->s->routes); i++) {
        struct vv_route_settings *r = c->s->routes->item[i];
        mark_used(&used, r->to, r);
        mark_used(&used, r->fallback.to, r);
        mark_used(&used, r->canary.to, r);
        mark_used(&used, r->mirror.to, r);
        for (size_t k = 0; k < vv_list_count(r->compose.parts); k++) {
            const struct vv_part_settings *p = r->compose.parts->item[k];
            mark_used(&used, p->to, r);
            mark_used(&used, p->fallback.to, r);
        }
    }
    for (size_t i = 0; i < vv_list_count(c->s->services); i++) {
        const struct vv_service_settings *s = c->s->services->item[i];
        if (vv_names_get(&used, vv_str_from(s->name)) == NULL) {
            vv_conf_report(c->doc,
                           &(struct vv_conf_report){.field = s,
                                                    .whole = true,
                                                    .warning = true,
                                                    .hint = "give a route to it, or remove it"},
                           "no route goes to service \"%s\"", s->name);
        }
    }
}

static void index_names(struct check *c)
{
    const struct vv_settings *s = c->s;
    vv_names_init(&c->services, c->doc, vv_list_count(s->services));
    vv_names_init(&c->listeners, c->doc, vv_list_count(s->listen));
    for (size_t i = 0; i < vv_list_count(s->services); i++) {
        struct vv_service_settings *service = s->services->item[i];
        vv_names_put(&c->services, service->name, service);
    }
    for (size_t i = 0; i < vv_list_count(s->listen); i++) {
        struct vv_listen_settings *l = s->listen->item[i];
        vv_names_put(&c->listeners, l->name, l);
    }
}

void vv_settings_check(struct vv_conf_doc *doc, struct vv_settings_root *root)
{
    struct check c = {.doc = doc, .s = &root->s};
    index_names(&c);
    check_listeners(&c);
    check_edits(&c, root->defaults.headers, NULL);
    check_edits(&c, root->defaults.request_headers, NULL);
    for (size_t i = 0; i < vv_list_count(c.s->services); i++) {
        check_service(&c, c.s->services->item[i]);
    }
    for (size_t i = 0; i < vv_list_count(c.s->routes); i++) {
        const struct vv_route_settings *r = c.s->routes->item[i];
        check_actions(&c, r);
        check_targets(&c, r);
        check_path(&c, r);
        check_objects(doc, root, r);
        check_contents(&c, r);
    }
    check_route_names(&c);
    vv_settings_check_guards(doc, root);
    vv_settings_check_secure(doc, root);
    vv_settings_check_tls(doc, root);
    vv_settings_check_acme(doc, &root->s);
    if (!vv_conf_has_errors(doc)) { /* with errors these would often be wrong */
        check_reach(&c);
        check_unused(&c);
        vv_settings_warn_caches(doc, root);
    }
}
