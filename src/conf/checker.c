/* src/conf/checker.c - what the owner of a section may do with a document while it is loaded. */
#include "conf/conf_int.h"

#include <stdarg.h>

void *vv_conf_zalloc(struct vv_conf_doc *doc, size_t bytes)
{
    return doc_zalloc(doc, bytes);
}

const char *vv_conf_dup(struct vv_conf_doc *doc, struct vv_str s)
{
    char *copy = doc_zalloc(doc, s.n + 1);
    if (copy != NULL && s.n > 0) {
        memcpy(copy, s.p, s.n);
    }
    return copy;
}

static size_t room_for(size_t count)
{
    size_t room = 1;
    while (room < count) {
        room *= 2;
    }
    return room;
}

struct vv_conf_list *list_new(struct vv_conf_doc *doc, size_t count, bool names)
{
    struct vv_conf_list *list = doc_zalloc(doc, sizeof *list);
    const size_t room = room_for(count);
    list->item = doc_zalloc(doc, room * sizeof *list->item);
    list->pos = doc_zalloc(doc, room * sizeof *list->pos);
    list->name = names ? doc_zalloc(doc, room * sizeof *list->name) : NULL;
    return list;
}

static void list_grow(struct vv_conf_doc *doc, struct vv_conf_list *l)
{
    const struct vv_conf_list *bigger = list_new(doc, l->count + 1, l->name != NULL);
    for (size_t i = 0; i < l->count; i++) {
        bigger->item[i] = l->item[i];
        bigger->pos[i] = l->pos[i];
        slot_set(doc, &bigger->item[i], false, slot_get(doc, &l->item[i], false));
        if (l->name != NULL) {
            bigger->name[i] = l->name[i];
        }
    }
    l->item = bigger->item;
    l->pos = bigger->pos;
    l->name = bigger->name;
}

void vv_conf_append(struct vv_conf_doc *doc, struct vv_conf_list **list, void *item,
                    const char *name, const void *origin)
{
    struct vv_conf_list *l = *list;
    if (l == NULL) {
        l = *list = list_new(doc, 1, name != NULL);
    } else if (room_for(l->count) == l->count) {
        list_grow(doc, l);
    }
    const struct node *n = slot_get(doc, origin, false);
    l->item[l->count] = item;
    l->pos[l->count] = n != NULL ? mark_pos(n->at) : (struct vv_conf_pos){0};
    if (l->name != NULL) {
        l->name[l->count] = name;
    }
    slot_set(doc, item, true, n);
    l->count++;
}

void vv_conf_inherit(struct vv_conf_doc *doc, void *field, const void *from)
{
    memcpy(field, from, 8);
    slot_set(doc, field, false, slot_get(doc, from, false));
}

bool vv_conf_given(const struct vv_conf_doc *doc, const void *field)
{
    return slot_get(doc, field, false) != NULL;
}

bool vv_conf_given_struct(const struct vv_conf_doc *doc, const void *section)
{
    return slot_get(doc, section, true) != NULL;
}

void *vv_conf_new(struct vv_conf_doc *doc, const struct vv_conf_section *section, const char *name)
{
    void *one = doc_zalloc(doc, section->size);
    decode(doc, section, NULL, one, "");
    for (size_t i = 0; i < section->row_count; i++) {
        if (section->rows[i].type == VV_CONF_NAME) {
            *(const char **)(void *)((char *)one + section->rows[i].offset) = name;
        }
    }
    return one;
}

bool vv_conf_read_file(struct vv_conf_doc *doc, const char *path, struct vv_str *ret_text,
                       const char **reterr_why)
{
    if (!vv_conf_may_read(doc)) {
        *reterr_why = "files may not be read here";
        return false;
    }
    return file_read(doc, path, ret_text, reterr_why);
}

bool vv_conf_has_errors(const struct vv_conf_doc *doc)
{
    return vv_conf_problems_errors(doc->problems) > doc->errors_before;
}

bool vv_conf_may_read(const struct vv_conf_doc *doc)
{
    return !doc->source->no_files;
}

struct vv_conf_pos vv_conf_where(const struct vv_conf_doc *doc, const void *field)
{
    const struct node *n = slot_get(doc, field, false);
    return n != NULL ? mark_pos(n->at) : (struct vv_conf_pos){0};
}

const char *vv_conf_resolve(struct vv_conf_doc *doc, const void *field, const char *path)
{
    const struct node *n = slot_get(doc, field, false);
    return file_beside(doc, n != NULL && n->at.file != NULL ? n->at.file->path : doc->path, path);
}

void vv_conf_report(struct vv_conf_doc *doc, const struct vv_conf_report *r, const char *fmt, ...)
{
    const struct node *n = slot_get(doc, r->field, r->whole);
    const struct node *other = slot_get(doc, r->other, r->other_whole);
    if (n != NULL && n->broken) {
        return; /* it was told that something is wrong with it; this would only follow from that */
    }
    const struct report one = {.at = n != NULL ? n->at : (struct mark){0},
                               .other = other != NULL ? other->at : (struct mark){0},
                               .other_what = r->other_what,
                               .warning = r->warning,
                               .hint = r->hint};
    va_list args;
    va_start(args, fmt);
    struct vv_sb sb = VV_SB_INIT;
    vv_sb_vaddf(&sb, fmt, args);
    va_end(args);
    report(doc, &one, "%s", sb.p != NULL ? sb.p : "out of memory");
    vv_sb_fini(&sb);
}
