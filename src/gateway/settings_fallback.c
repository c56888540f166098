/* src/gateway/settings_fallback.c - what a `fallback:` means, from the value of any shape that stands there.
 *
 * A map is one of the forms {json}, {stale}, {to}, {file} and {body} when it has nothing but their keys;
 * every other value is the JSON itself, so that what a person would send can be written as it is. */
#include "conf/node.h"
#include "gateway/settings_int.h"
#include "wire/mime.h"

struct form { /* a map that is one of the forms */
    const struct vv_conf_node *json, *stale, *to, *file, *body, *status, *type;
};

static bool read_form(const struct vv_conf_node *map, struct form *ret)
{
    struct form f = {.json = NULL};
    const struct {
        const char *key;
        const struct vv_conf_node **node;
    } keys[] = {{"json", &f.json}, {"stale", &f.stale},   {"to", &f.to},    {"file", &f.file},
                {"body", &f.body}, {"status", &f.status}, {"type", &f.type}};
    size_t known = 0;
    for (size_t i = 0; i < VV_COUNT(keys); i++) {
        *keys[i].node = vv_conf_node_get(map, keys[i].key);
        known += *keys[i].node != NULL;
    }
    *ret = f;
    return known == vv_conf_node_count(map) &&
           (f.json != NULL || f.stale != NULL || f.to != NULL || f.file != NULL || f.body != NULL);
}

static void wrong(struct vv_conf_doc *doc, const struct vv_fallback_settings *f, const char *hint,
                  const char *what)
{
    vv_conf_report(doc, &(struct vv_conf_report){.field = &f->given, .hint = hint}, "%s", what);
}

static const char *text_of(const struct vv_conf_node *n)
{
    return n != NULL ? vv_conf_node_text(n) : NULL;
}

static void set_body(struct vv_fallback_settings *f, struct vv_str body, const char *type)
{
    f->kind = VV_FALLBACK_LITERAL;
    f->body = body.p != NULL ? body.p : "";
    f->body_bytes = body.n;
    f->type = type;
}

static void read_fallback_file(struct vv_conf_doc *doc, struct vv_fallback_settings *f,
                               const char *name)
{
    struct vv_str text = {NULL, 0};
    const char *why = NULL;
    const char *path = vv_conf_resolve(doc, &f->given, name);
    if (!vv_conf_read_file(doc, path, &text, &why)) {
        vv_conf_report(doc, &(struct vv_conf_report){.field = &f->given}, "cannot read %s: %s",
                       path, why);
        return;
    }
    set_body(f, text, vv_conf_dup(doc, vv_mime_of(vv_str_from(name))->type));
}

static void read_status(struct vv_conf_doc *doc, struct vv_fallback_settings *f,
                        const struct vv_conf_node *n)
{
    const char *text = text_of(n);
    if (n == NULL) {
        return;
    }
    if (text == NULL || vv_str_to_u64(vv_str_from(text), &f->status) != VV_OK || f->status < 200 ||
        f->status > 599) {
        f->status = 200;
        wrong(doc, f, "write 200, or 503", "the status of a fallback is a number from 200 to 599");
    }
}

static void derive_form(struct vv_conf_doc *doc, struct vv_fallback_settings *f,
                        const struct form *form)
{
    const size_t kinds = (size_t)(form->json != NULL) + (form->stale != NULL) + (form->to != NULL) +
                         (form->file != NULL) + (form->body != NULL);
    const bool literal = form->json != NULL || form->file != NULL || form->body != NULL;
    if (kinds > 1 || (!literal && (form->status != NULL || form->type != NULL))) {
        wrong(doc, f, "keep one of json, stale, to, file and body; status and type go with a body",
              "these keys of a fallback do not go together");
        return;
    }
    read_status(doc, f, form->status);
    if (form->json != NULL) {
        set_body(f, vv_str_from(vv_conf_json(doc, form->json)), "application/json");
    } else if (form->stale != NULL) {
        if (text_of(form->stale) == NULL || strcmp(text_of(form->stale), "true") != 0) {
            wrong(doc, f, "write {stale: true}", "the only value of stale is true");
        }
        f->kind = VV_FALLBACK_STALE;
    } else if (text_of(form->to) != NULL) {
        f->kind = VV_FALLBACK_TO;
        f->to = text_of(form->to);
    } else if (text_of(form->file) != NULL) {
        read_fallback_file(doc, f, text_of(form->file));
    } else if (text_of(form->body) != NULL) {
        set_body(f, vv_str_from(text_of(form->body)), "text/plain; charset=utf-8");
    } else {
        wrong(doc, f, "write {json: ...} if that is the answer itself",
              "to, file and body of a fallback are texts");
        return;
    }
    if (text_of(form->type) != NULL && literal) {
        f->type = text_of(form->type);
    }
    if (f->type != NULL && strpbrk(f->type, "\r\n") != NULL) {
        wrong(doc, f, NULL, "the type of a fallback has one line only");
    }
}

static void derive_fallback(struct vv_conf_doc *doc, struct vv_fallback_settings *f)
{
    const struct vv_conf_node *n = vv_conf_json_node(doc, &f->given);
    struct form form;
    if (f->given == NULL || n == NULL) {
        return;
    }
    f->status = 200;
    if (vv_conf_node_kind(n) == VV_CONF_NODE_MAP && read_form(n, &form)) {
        derive_form(doc, f, &form);
    } else {
        set_body(f, vv_str_from(f->given), "application/json");
    }
}

/* With files `fallback` is the name of a file and moves to files.fallback. */
static void move_to_files(struct vv_conf_doc *doc, struct vv_route_settings *r)
{
    const struct vv_conf_node *n = vv_conf_json_node(doc, &r->fallback.given);
    if (r->fallback.given == NULL || n == NULL) {
        return;
    }
    if (vv_conf_given(doc, &r->files.fallback)) {
        vv_conf_report(doc,
                       &(struct vv_conf_report){.field = &r->fallback.given,
                                                .other = &r->files.fallback,
                                                .other_what = "first given"},
                       "\"fallback\" and \"files.fallback\" are the same: give one of them");
    } else if (vv_conf_node_text(n) == NULL) {
        wrong(doc, &r->fallback, "write fallback: index.html",
              "the fallback of files is the name of a file");
    } else {
        vv_conf_inherit(doc, &r->files.fallback, &r->fallback.given);
        r->files.fallback = vv_conf_node_text(n);
    }
    r->fallback.given = NULL;
}

void vv_settings_derive_fallbacks(struct vv_conf_doc *doc, struct vv_route_settings *r)
{
    if (r->action == VV_ACTION_FILES) {
        move_to_files(doc, r);
    } else {
        derive_fallback(doc, &r->fallback);
    }
    for (size_t i = 0; i < vv_list_count(r->compose.parts); i++) {
        struct vv_part_settings *p = r->compose.parts->item[i];
        derive_fallback(doc, &p->fallback);
    }
}
