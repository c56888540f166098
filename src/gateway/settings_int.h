/* src/gateway/settings_int.h - what the settings files share. Never included elsewhere. */
#ifndef VV_GATEWAY_SETTINGS_INT_H
#define VV_GATEWAY_SETTINGS_INT_H
#include "gateway/settings.h"

struct vv_defaults_settings { /* defaults: what routes begin with */
    struct vv_timeouts_settings timeouts;
    struct vv_conf_list *headers;         /* struct vv_header_edit */
    struct vv_conf_list *request_headers; /* struct vv_header_edit */
};

struct vv_settings_root { /* what the root section fills; the settings come first */
    struct vv_settings s;
    struct vv_defaults_settings defaults;
    struct vv_conf_doc *doc; /* set after the load */
};

/* settings_rows.c */
extern const struct vv_conf_section vv_settings_root_section, vv_settings_service_section,
    vv_settings_server_section;

/* settings_check.c: what no single row can see. Reports through the document. */
void vv_settings_check(struct vv_conf_doc *doc, struct vv_settings_root *root);

/* Names to items, for look-ups while loading: 10,000 routes must not cost 10,000 scans. */
struct vv_name_slot {
    const char *name;
    void *item;
};
struct vv_name_index { /* memory of the document */
    struct vv_name_slot *slot;
    size_t room; /* a power of two, at least twice the names */
};
void vv_names_init(struct vv_name_index *x, struct vv_conf_doc *doc, size_t count_max);
void vv_names_put(struct vv_name_index *x, const char *name, void *item); /* the first one stays */
void *vv_names_get(const struct vv_name_index *x, struct vv_str name);    /* NULL: not there */

static inline size_t vv_list_count(const struct vv_conf_list *l)
{
    return l != NULL ? l->count : 0;
}
#endif
