/* src/admin/admin.h - the admin API of one worker process: look, ask, change.
 *
 * Model:     a table of routes (api.def) over admin/http.h. The TCP listener and the unix socket speak
 *            the same API. Over TCP a call that changes something must look like a program's (JSON
 *            content type or an X-Vivace header) and name this machine by address or as localhost,
 *            so that a web page in the operator's browser cannot make it, nor a rebound DNS name.
 * Threads:   the control thread. Ownership: everything in the options is borrowed and outlives it.
 * Errors:    JSON {"error": text} with the fitting status.
 */
#ifndef VV_ADMIN_ADMIN_H
#define VV_ADMIN_ADMIN_H
#include "gateway/gateway.h"

struct vv_admin;

/* How a reload ended; `json` is an object without its "ok" member's line end. */
typedef void vv_admin_reload_done(void *arg, int status, struct vv_str json);

struct vv_admin_process { /* the process around the gateway: what it is and what it can do */
    const char *version, *revision, *compiler;
    const char *config_path, *profile, *socket;
    int supervisor_pid;
    uint64_t generation, restarts, started_wall_ns;
    void *user;
    /* Starts a reload; `done` runs once, now or later. */
    void (*reload)(void *user, vv_admin_reload_done *done, void *arg);
    enum vv_err (*stop)(void *user);
    enum vv_err (*upgrade)(void *user);
    /* Members of an open JSON object: "reload" and "upgrade", how the last ones went. */
    void (*life_json)(void *user, struct vv_json *j);
};

struct vv_admin_options {
    struct vv_loop *loop;
    struct vv_gateway *gateway;
    struct vv_metrics *metrics;
    struct vv_history *history;
    const struct vv_admin_process *process;
};

VV_MUST_CHECK enum vv_err vv_admin_new(const struct vv_admin_options *options,
                                       struct vv_admin **ret);
void vv_admin_free(struct vv_admin *a);
/* Takes the listening socket. `local`: the unix socket. */
VV_MUST_CHECK enum vv_err vv_admin_listen(struct vv_admin *a, int fd, bool local);
void vv_admin_unlisten(struct vv_admin *a, bool local);
/* Is every answer out? */
bool vv_admin_quiet(const struct vv_admin *a);
/* Markdown table of the API, from the route table. */
void vv_admin_reference(struct vv_sb *out);
#endif
