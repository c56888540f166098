/* src/gateway/gateway.h - everything that carries traffic inside one worker process.
 *
 * Model:     N worker threads, each with its own loop, listeners, sessions, upstream connections and
 *            counters, and one control loop (the caller's) for checks, DNS, reloads and status. A
 *            *runtime* is built from settings, immutable, swapped as a whole; exchanges finish on
 *            the runtime they began with; services, counters and connections survive by name.
 * Threads:   all calls here belong to the control thread.
 * Ownership: the gateway takes settings and owns them until they are replaced and unused. It dups
 *            nothing: listener descriptors given to it are its own from then on (closed when dropped).
 * Errors:    a call that fails changes nothing (settings are then freed as well).
 */
#ifndef VV_GATEWAY_GATEWAY_H
#define VV_GATEWAY_GATEWAY_H
#include "base/json.h"
#include "gateway/settings.h"
#include "observe/access_log.h"
#include "observe/history.h"
#include "observe/metrics.h"
#include "os/loop.h"

struct vv_caches;
struct vv_gateway;
struct vv_homes;
struct vv_purge;

/* One listener of the settings with its bound, listening sockets: one per worker thread, or a
 * single one shared by all (unix sockets, socket activation). */
struct vv_listener_fds {
    const char *name; /* as in the settings */
    int *fds;
    size_t count;
};

struct vv_gateway_options {
    struct vv_loop *control;    /* the caller's loop; the caller runs it */
    struct vv_metrics *metrics; /* borrowed */
    unsigned workers;           /* threads; fixed for the life of the process */
};

VV_MUST_CHECK enum vv_err vv_gateway_new(const struct vv_gateway_options *options,
                                         struct vv_settings *settings,
                                         const struct vv_listener_fds *listeners, size_t count,
                                         struct vv_gateway **ret);
/* Starts the threads; names are resolved first (at most a second), so that the first request finds
 * servers. `ready` runs on the control loop once every worker listens. */
VV_MUST_CHECK enum vv_err vv_gateway_start(struct vv_gateway *g, void (*ready)(void *user),
                                           void *user);
/* Swaps in new settings. Listeners: those of the settings that have no socket yet must be in
 * `listeners`; those no longer named stop accepting and drain. */
VV_MUST_CHECK enum vv_err vv_gateway_reload(struct vv_gateway *g, struct vv_settings *settings,
                                            const struct vv_listener_fds *listeners, size_t count);
/* Does the gateway already hold sockets for this listener name and address? */
bool vv_gateway_has_listener(const struct vv_gateway *g, const char *name, const char *address);
/* Do all workers run on the newest settings? */
bool vv_gateway_settled(const struct vv_gateway *g);
const struct vv_settings *vv_gateway_settings(const struct vv_gateway *g);

/* Stops accepting; sessions end after the exchange they are in. `done` runs on the control loop when
 * nothing is left, or at the deadline, when what is left is cut. */
void vv_gateway_drain(struct vv_gateway *g, uint64_t deadline_ns, void (*done)(void *user),
                      void *user);
bool vv_gateway_draining(const struct vv_gateway *g);
void vv_gateway_stop(struct vv_gateway *g); /* joins the threads; then vv_gateway_free() */
/* After vv_gateway_stop(): writes the snapshots of the caches that have one. */
void vv_gateway_save_caches(struct vv_gateway *g);
void vv_gateway_free(struct vv_gateway *g);

void vv_gateway_tick(struct vv_gateway *g, uint64_t now_ns); /* 1 Hz */
void vv_gateway_reopen_logs(struct vv_gateway *g);

struct vv_gateway_counts {
    uint64_t connections, in_flight, requests, workers;
};
void vv_gateway_counts(struct vv_gateway *g, struct vv_gateway_counts *ret);
/* Writes members of an open JSON object: "listeners", "services" (with servers and states), "routes". */
void vv_gateway_status_json(struct vv_gateway *g, struct vv_json *j);
void vv_gateway_services_json(struct vv_gateway *g, struct vv_json *j); /* one array value */
void vv_gateway_routes_json(struct vv_gateway *g, struct vv_json *j);   /* one array value */

/* Run-time changes of a service's servers; the caller keeps them in the overlay file.
 * VV_ENOENT: no such service or server; VV_EEXIST; VV_EINVAL: bad address or weight. */
struct vv_server_change {
    enum { VV_SERVER_ADD, VV_SERVER_REMOVE, VV_SERVER_CHANGE } what;
    const char *service, *server; /* server: url or name as in the file */
    uint32_t weight;              /* 0: unchanged (default 1 when adding) */
    int drain;                    /* -1 unchanged, 0, 1 */
};
VV_MUST_CHECK enum vv_err vv_gateway_server_change(struct vv_gateway *g,
                                                   const struct vv_server_change *c);

/* Everything by name that outlives reloads: homes.h. */
struct vv_homes *vv_gateway_homes(struct vv_gateway *g);
/* The caches by name: caches.h. */
struct vv_caches *vv_gateway_caches(struct vv_gateway *g);
/* vv_caches_purge(), and beyond it: a URL under every key that the present routes make of it (their
 * own parameters, templates, bodies, identities); a pattern that begins with a slash on every host. */
VV_MUST_CHECK enum vv_err vv_gateway_purge(struct vv_gateway *g, const struct vv_purge *p,
                                           size_t *ret_count);
/* One array: objects of a cache whose key begins so. VV_ENOENT: no such cache. */
VV_MUST_CHECK enum vv_err vv_gateway_objects_json(struct vv_gateway *g, struct vv_str cache,
                                                  struct vv_str prefix, size_t limit,
                                                  struct vv_json *j);
/* One array: the variants of a URL (or key) with their heads; *ret_count may be 0. */
VV_MUST_CHECK enum vv_err vv_gateway_object_json(struct vv_gateway *g, struct vv_str cache,
                                                 struct vv_str url, struct vv_json *j,
                                                 size_t *ret_count);

/* Asks the origins for URLs, and anew for what is stored and matches a pattern, in the order given,
 * spread over the workers. A second call joins the queue and sets its rate. */
#define VV_WARM_WAITING_MAX 100000
#define VV_WARM_RATE_MAX 10000
struct vv_warm {
    const struct vv_str *url; /* absolute */
    size_t count;
    struct vv_str cache;   /* for the pattern; n 0: every cache */
    struct vv_str pattern; /* n 0: none */
    uint32_t per_second;   /* 0: 50 */
};
/* VV_EINVAL: url[*reterr_bad] is no absolute URL; VV_ELIMIT: too many would wait; VV_ERANGE: the rate;
 * VV_ENOENT: no such cache. Nothing is queued then. */
VV_MUST_CHECK enum vv_err vv_gateway_warm(struct vv_gateway *g, const struct vv_warm *w,
                                          size_t *ret_queued, size_t *reterr_bad);
size_t vv_gateway_warming(const struct vv_gateway *g); /* how many still wait */

/* Why a request goes where it goes, without sending it: members of an open JSON object. */
struct vv_explain_request {
    const char *method, *url;   /* absolute, or a path */
    const char *const *headers; /* "name: value" */
    size_t headers_count;
    const char *listener; /* NULL: any */
};
VV_MUST_CHECK enum vv_err vv_gateway_explain(struct vv_gateway *g,
                                             const struct vv_explain_request *r, struct vv_json *j);
/* The same from settings alone (`vivace explain --config FILE`). */
VV_MUST_CHECK enum vv_err vv_settings_explain(const struct vv_settings *s,
                                              const struct vv_explain_request *r,
                                              struct vv_json *j);
/* Guards as they are: members of an open object: "breakers", "services", "limits", "keys", "overload". */
void vv_gateway_guards_json(struct vv_gateway *g, struct vv_json *j);
/* One array: limits of this name (n 0: all), and what they would say to an address, an id or a text
 * (key.p NULL: without). Says how many. */
size_t vv_gateway_limits_json(struct vv_gateway *g, struct vv_str limit, struct vv_str key,
                              struct vv_json *j);
/* what: "open", "close", "reset" (judges by itself again). Writes the breaker as an object. VV_ENOENT: no
 * such breaker; VV_EINVAL: no such order. */
VV_MUST_CHECK enum vv_err vv_gateway_breaker_order(struct vv_gateway *g, struct vv_str name,
                                                   struct vv_str what, struct vv_json *j);
/* For a line of a status page: breakers that are not closed, and classes of requests turned away. */
struct vv_guard_summary {
    uint64_t breakers_open;
    uint64_t sharing_alone; /* stores of shared limits that are away */
    double shed;
};
struct vv_guard_summary vv_gateway_guard_summary(struct vv_gateway *g);
/* Lines of the access log as they are written, for `logs -f`: fn runs on the control loop. Passing
 * NULL unsubscribes. */
typedef void vv_log_tail_fn(void *user, struct vv_str line);
void vv_gateway_log_tail(struct vv_gateway *g, vv_log_tail_fn *fn, void *user);
#endif
