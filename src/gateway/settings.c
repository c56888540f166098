/* src/gateway/settings.c - loads the configuration: derives what no key says and fills in defaults.
 *
 * The order matters: names and actions first, then services for bare URLs, then inheritance, which
 * needs to know the service of a route. Checks come last and see finished settings. */
#include "gateway/settings.h"

#include "gateway/settings_int.h"
#include "os/sock.h"

#include <stdio.h>

/* ---- names --------------------------------------------------------------------------------- */

void vv_names_init(struct vv_name_index *x, struct vv_conf_doc *doc, size_t count_max)
{
    x->room = 16;
    while (x->room < count_max * 2) {
        x->room *= 2;
    }
    x->slot = vv_conf_zalloc(doc, x->room * sizeof *x->slot);
}

static struct vv_name_slot *name_slot(const struct vv_name_index *x, struct vv_str name)
{
    size_t i = (size_t)vv_str_hash(name, 0) & (x->room - 1);
    while (x->slot[i].name != NULL && !vv_str_eq(vv_str_from(x->slot[i].name), name)) {
        i = (i + 1) & (x->room - 1);
    }
    return &x->slot[i];
}

void vv_names_put(struct vv_name_index *x, const char *name, void *item)
{
    struct vv_name_slot *slot = name_slot(x, vv_str_from(name));
    if (slot->name == NULL) {
        *slot = (struct vv_name_slot){name, item};
    }
}

void *vv_names_get(const struct vv_name_index *x, struct vv_str name)
{
    return name_slot(x, name)->item;
}

static const char *lower(struct vv_conf_doc *doc, const char *text)
{
    char *copy = (char *)(uintptr_t)vv_conf_dup(doc, vv_str_from(text));
    for (char *c = copy; *c != '\0'; c++) {
        *c = vv_char_lower(*c);
    }
    return copy;
}

static void lower_all(struct vv_conf_doc *doc, struct vv_conf_list *names)
{
    for (size_t i = 0; i < vv_list_count(names); i++) {
        names->item[i] = (void *)(uintptr_t)lower(doc, names->item[i]);
    }
}

/* ---- routes -------------------------------------------------------------------------------- */

/* "@file": the bytes of a file stand for the body as they are; braces in it are no parameters. */
static void read_body(struct vv_conf_doc *doc, struct vv_respond_settings *r)
{
    struct vv_str content = {NULL, 0};
    const char *why = NULL;
    if (r->body == NULL || r->body[0] != '@') {
        return;
    }
    const char *path = vv_conf_resolve(doc, &r->body, r->body + 1);
    if (vv_conf_read_file(doc, path, &content, &why)) {
        if (memchr(content.p, '\0', content.n) != NULL) {
            why = "it holds a zero byte; serve it with files";
        }
    }
    if (why != NULL) {
        vv_conf_report(doc, &(struct vv_conf_report){.field = &r->body}, "cannot read %s: %s", path,
                       why);
        return;
    }
    r->body = content.p;
    r->body_literal = 1;
}

/* Paths are relative to the file that names them, wherever the gateway is started. */
void vv_settings_resolve(struct vv_conf_doc *doc, const char **path)
{
    if (*path != NULL) {
        *path = vv_conf_resolve(doc, path, *path);
    }
}

static void derive_action(struct vv_conf_doc *doc, struct vv_route_settings *r)
{
    if (vv_conf_given_struct(doc, &r->files)) {
        r->action = VV_ACTION_FILES;
        vv_settings_resolve(doc, &r->files.root);
    } else if (vv_conf_given_struct(doc, &r->redirect)) {
        r->action = VV_ACTION_REDIRECT;
    } else if (vv_conf_given_struct(doc, &r->respond)) {
        r->action = VV_ACTION_RESPOND;
        read_body(doc, &r->respond);
    } else if (vv_conf_given_struct(doc, &r->compose)) {
        r->action = VV_ACTION_COMPOSE;
    } else if (vv_conf_given(doc, &r->objects)) {
        r->action = VV_ACTION_OBJECTS;
    } else {
        r->action = VV_ACTION_TO;
    }
    if (r->name == NULL) {
        r->name = r->path;
    }
    lower_all(doc, r->hosts);
    vv_settings_derive_fallbacks(doc, r);
}

/* ---- services nobody named ----------------------------------------------------------------- */

static bool is_url(const char *to)
{
    return strstr(to, "://") != NULL || strncmp(to, "unix:", 5) == 0;
}

/* "http://127.0.0.1:3000/" is called "127.0.0.1:3000": what a person would call it. */
static const char *url_name(struct vv_conf_doc *doc, const char *url)
{
    struct vv_str s = vv_str_from(url);
    if (vv_str_starts(s, VV_STR("http://"))) {
        s = (struct vv_str){s.p + 7, s.n - 7};
        const ptrdiff_t slash = vv_str_find_char(s, '/');
        s.n = slash >= 0 ? (size_t)slash : s.n;
    }
    return vv_conf_dup(doc, s);
}

static struct vv_service_settings *service_for_url(struct vv_conf_doc *doc,
                                                   struct vv_settings_root *root,
                                                   struct vv_name_index *services, const char *url,
                                                   const void *origin)
{
    const char *name = url_name(doc, url);
    struct vv_service_settings *s = vv_names_get(services, vv_str_from(name));
    if (s != NULL) {
        return s;
    }
    s = vv_conf_new(doc, &vv_settings_service_section, name);
    struct vv_server_settings *server = vv_conf_new(doc, &vv_settings_server_section, NULL);
    vv_conf_inherit(doc, &server->url, origin);
    server->url = url; /* the origin may be a value that only holds it */
    vv_conf_append(doc, &s->servers, server, NULL, origin);
    vv_conf_append(doc, &root->s.services, s, name, origin);
    vv_names_put(services, name, s);
    return s;
}

/* A URL becomes the name of its service. */
static void name_target(struct vv_conf_doc *doc, struct vv_settings_root *root,
                        struct vv_name_index *services, const char **to, const void *origin)
{
    if (*to != NULL && is_url(*to)) {
        *to = service_for_url(doc, root, services, *to, origin)->name;
    }
}

static void name_targets(struct vv_conf_doc *doc, struct vv_settings_root *root,
                         struct vv_name_index *services, struct vv_route_settings *r)
{
    name_target(doc, root, services, &r->to, &r->to);
    name_target(doc, root, services, &r->fallback.to, &r->fallback.given);
    name_target(doc, root, services, &r->canary.to, &r->canary.to);
    name_target(doc, root, services, &r->mirror.to, &r->mirror.to);
    for (size_t i = 0; i < vv_list_count(r->compose.parts); i++) {
        struct vv_part_settings *p = r->compose.parts->item[i];
        name_target(doc, root, services, &p->to, &p->to);
        name_target(doc, root, services, &p->fallback.to, &p->fallback.given);
    }
}

/* Services there can be at most: every target may be a URL. */
static size_t targets_max(const struct vv_settings *s)
{
    size_t n = vv_list_count(s->services);
    for (size_t i = 0; i < vv_list_count(s->routes); i++) {
        const struct vv_route_settings *r = s->routes->item[i];
        n += 4 + 2 * vv_list_count(r->compose.parts);
    }
    return n;
}

/* ---- nearest wins -------------------------------------------------------------------------- */

static void inherit_service(struct vv_conf_doc *doc, struct vv_service_settings *s,
                            struct vv_timeouts_settings *from)
{
    uint64_t *const field[] = {&s->connect_ns, &s->first_byte_ns, &s->idle_ns};
    uint64_t *const source[] = {&from->connect_ns, &from->first_byte_ns, &from->idle_ns};
    for (size_t i = 0; i < VV_COUNT(field); i++) {
        if (*field[i] == 0) {
            vv_conf_inherit(doc, field[i], source[i]);
        }
    }
}

static void inherit_timeouts(struct vv_conf_doc *doc, struct vv_timeouts_settings *t,
                             struct vv_service_settings *s, struct vv_timeouts_settings *from)
{
    const struct {
        uint64_t *field, *near, *far;
    } waits[] = {
        {&t->header_ns, NULL, &from->header_ns},
        {&t->body_ns, NULL, &from->body_ns},
        {&t->connect_ns, s != NULL ? &s->connect_ns : NULL, &from->connect_ns},
        {&t->first_byte_ns, s != NULL ? &s->first_byte_ns : NULL, &from->first_byte_ns},
        {&t->idle_ns, s != NULL ? &s->idle_ns : NULL, &from->idle_ns},
        {&t->send_ns, NULL, &from->send_ns},
        {&t->whole_ns, NULL, &from->whole_ns},
    };
    for (size_t i = 0; i < VV_COUNT(waits); i++) {
        if (*waits[i].field == VV_CONF_ABSENT) {
            vv_conf_inherit(doc, waits[i].field,
                            waits[i].near != NULL ? waits[i].near : waits[i].far);
        }
    }
}

static bool has_edit(const struct vv_conf_list *list, const char *name)
{
    for (size_t i = 0; i < vv_list_count(list); i++) {
        const struct vv_header_edit *e = list->item[i];
        if (vv_str_eq_nocase(vv_str_from(e->name), vv_str_from(name))) {
            return true;
        }
    }
    return false;
}

/* Edits of the defaults that the route does not make itself. The structs are shared. */
static void inherit_edits(struct vv_conf_doc *doc, struct vv_conf_list **list,
                          const struct vv_conf_list *from)
{
    for (size_t i = 0; i < vv_list_count(from); i++) {
        struct vv_header_edit *e = from->item[i];
        if (!has_edit(*list, e->name)) {
            vv_conf_append(doc, list, e, e->name, &e->name);
        }
    }
}

static void derive_routes(struct vv_conf_doc *doc, struct vv_settings_root *root)
{
    struct vv_conf_list *routes = root->s.routes;
    struct vv_name_index services;
    vv_names_init(&services, doc, targets_max(&root->s));
    for (size_t i = 0; i < vv_list_count(root->s.services); i++) {
        struct vv_service_settings *s = root->s.services->item[i];
        vv_names_put(&services, s->name, s);
    }
    for (size_t i = 0; i < vv_list_count(routes); i++) {
        struct vv_route_settings *r = routes->item[i];
        struct vv_service_settings *s = NULL;
        name_targets(doc, root, &services, r);
        if (r->to != NULL) {
            s = vv_names_get(&services, vv_str_from(r->to));
        }
        if (s != NULL) {
            inherit_service(doc, s, &root->defaults.timeouts);
        }
        inherit_timeouts(doc, &r->timeouts, s, &root->defaults.timeouts);
        inherit_edits(doc, &r->headers, root->defaults.headers);
        inherit_edits(doc, &r->request_headers, root->defaults.request_headers);
    }
}

static void derive(struct vv_conf_doc *doc, struct vv_settings_root *root)
{
    struct vv_settings *s = &root->s;
    for (size_t i = 0; i < vv_list_count(s->listen); i++) {
        struct vv_listen_settings *l = s->listen->item[i];
        lower_all(doc, l->names);
        vv_settings_derive_clients(doc, l);
        if (l->header_timeout_ns == 0) {
            vv_conf_inherit(doc, &l->header_timeout_ns, &root->defaults.timeouts.header_ns);
        }
    }
    uint64_t port = 0;
    if (s->admin != NULL && vv_str_to_u64(vv_str_from(s->admin), &port) == VV_OK) {
        /* A bare port must not open the admin API to the world. */
        char text[64];
        (void)snprintf(text, sizeof text, "127.0.0.1:%s", s->admin);
        s->admin = vv_conf_dup(doc, vv_str_from(text));
    }
    vv_settings_resolve(doc, &s->socket);
    if (s->access_log.path != NULL && strcmp(s->access_log.path, "-") != 0) {
        vv_settings_resolve(doc, &s->access_log.path);
    }
    for (size_t i = 0; i < vv_list_count(s->routes); i++) {
        derive_action(doc, s->routes->item[i]);
    }
    derive_routes(doc, root);
    for (size_t i = 0; i < vv_list_count(s->services); i++) {
        inherit_service(doc, s->services->item[i], &root->defaults.timeouts);
    }
    vv_settings_derive_stores(doc, root);
    vv_settings_derive_guards(doc, root);
    vv_settings_derive_tls(doc, root);
    vv_settings_derive_caches(doc, root);
    vv_settings_derive_secure(doc, root);
}

/* ---- the interface ------------------------------------------------------------------------- */

static void derive_and_check(struct vv_conf_doc *doc, void *root)
{
    derive(doc, root);
    vv_settings_check(doc, root);
}

enum vv_err vv_settings_load(const struct vv_conf_source *source, struct vv_conf_problems *problems,
                             struct vv_settings **ret_settings)
{
    struct vv_conf_doc *doc = NULL;
    const enum vv_err err =
        vv_conf_load(source, &vv_settings_root_section, derive_and_check, problems, &doc);
    if (err != VV_OK) {
        return err;
    }
    struct vv_settings_root *root = vv_conf_root(doc);
    root->doc = doc;
    *ret_settings = &root->s;
    return VV_OK;
}

static struct vv_settings_root *root_of(const struct vv_settings *s)
{
    return VV_CONTAINER((struct vv_settings *)(uintptr_t)s, struct vv_settings_root, s);
}

void vv_settings_free(struct vv_settings *s)
{
    if (s != NULL) {
        vv_conf_free(root_of(s)->doc);
    }
}

const struct vv_conf_doc *vv_settings_doc(const struct vv_settings *s)
{
    return root_of(s)->doc;
}

const struct vv_conf_section *vv_settings_section(void)
{
    return &vv_settings_root_section;
}
