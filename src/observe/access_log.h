/* src/observe/access_log.h - one line per request, formatted on the worker, written elsewhere.
 *
 * Model:     each thread has an appender with two buffers; a full (or one second old) buffer goes
 *            to the writer thread, which writes it with one write(2). If the writer is behind,
 *            records are dropped and counted, never waited for. SIGUSR1 reopens the files.
 * Formats:   json (ts level msg trace_id request_id client_ip method ...; empty fields are left
 *            out, status is 0 when the client left), combined (nginx and Apache; 499 then).
 * Threads:   append on the own appender only.
 * Ownership: the record borrows everything; long fields are cut and end in "...".
 */
#ifndef VV_OBSERVE_ACCESS_LOG_H
#define VV_OBSERVE_ACCESS_LOG_H
#include "base/err.h"
#include "base/str.h"

struct vv_access_record {
    uint64_t wall_ns; /* when the request began */
    uint64_t duration_ns, first_byte_ns, upstream_ns;
    uint64_t bytes_in, bytes_out; /* body bytes */
    struct vv_str client_ip, method, host, path, query, route, service, server, user_agent, referer,
        request_id, trace_id, error,
        cache; /* error: "" or the reason the answer was not the server's */
    /* cache: what the cache did, as X-Cache-Status says it (HIT, MISS ...); "": it was not asked */
    struct vv_str caller, plan; /* who asked, by key, user or subject; "": nobody known */
    struct vv_str guard; /* what a guard did (limited, would_limit, shed, breaker_open ...) */
    int status;          /* 0 when the client left before an answer */
    int attempts;
    uint8_t http_minor;
    bool http2; /* then http_minor says nothing */
};

enum vv_access_format { VV_ACCESS_JSON, VV_ACCESS_COMBINED };
struct vv_access_log;      /* the sink and its writer thread */
struct vv_access_appender; /* one per thread */
/* path "-" is standard output. */
VV_MUST_CHECK enum vv_err vv_access_log_new(const char *path, enum vv_access_format format,
                                            struct vv_access_log **ret);
/* Writes what was handed over and ends the writer; all appenders must have been freed. Waits at
 * most about a second for a pipe nobody reads. */
void vv_access_log_free(struct vv_access_log *log);
/* Any thread and signal handlers; the writer does it. If it fails the old file stays in use. */
void vv_access_log_reopen(struct vv_access_log *log);
VV_MUST_CHECK enum vv_err vv_access_appender_new(struct vv_access_log *log,
                                                 struct vv_access_appender **ret);
void vv_access_appender_free(struct vv_access_appender *a); /* hands over what it holds */
void vv_access_append(struct vv_access_appender *a, const struct vv_access_record *r);
/* Once a second, from the loop. */
void vv_access_flush(struct vv_access_appender *a, uint64_t now_ns);
uint64_t vv_access_dropped(const struct vv_access_log *log);
/* Shows fn all that is written from now on, in runs of whole lines, on the writer's thread, which
 * waits for it: copy and return. NULL ends it; after that fn is not running and will not be called. */
typedef void vv_access_tap_fn(void *user, struct vv_str lines);
void vv_access_log_tap(struct vv_access_log *log, vv_access_tap_fn *fn, void *user);
#endif
