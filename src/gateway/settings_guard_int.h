/* src/gateway/settings_guard_int.h - what the checks of guards share. Never included elsewhere.
 *
 * Threads:   a load, one thread. Ownership: everything is the document's.
 */
#ifndef VV_GATEWAY_SETTINGS_GUARD_INT_H
#define VV_GATEWAY_SETTINGS_GUARD_INT_H
#include "gateway/settings_int.h"

struct vv_guard_check {
    struct vv_conf_doc *doc;
    struct vv_settings_root *root;
    struct vv_name_index services, breakers, plans;
};

const char *vv_guard_check_fmt(const struct vv_guard_check *c, const char *fmt, ...)
    VV_PRINTF(2, 3);
/* Every word of the list must be one of these. */
void vv_guard_check_words(const struct vv_guard_check *c, const struct vv_conf_list *list,
                          const char *const *words, size_t count, const char *what);
void vv_guard_check_name(const struct vv_guard_check *c, const void *field, const char *name,
                         const char *what);
void vv_guard_check_plan(const struct vv_guard_check *c, const void *field, const char *name);

/* A store that is there, and has a server: without one nothing is shared. */
void vv_guard_check_share(const struct vv_guard_check *c, const char *const *field);

/* settings_breaker_check.c: breakers, retries, hedges, places. */
void vv_guard_check_services(const struct vv_guard_check *c);
/* settings_compose_check.c: compose, fallback, canary, mirror of each route. */
void vv_guard_check_actions(const struct vv_guard_check *c);
#endif
