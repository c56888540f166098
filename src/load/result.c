/* src/load/result.c - the memory of a result, and adding one to another. Histograms and counters add
 * exactly. The quantiles of a second do not, so a merged second shows the larger of the two: never
 * better than what was measured. */
#include "load/result.h"

#include <stdlib.h>

static const char *const reasons[] = {VV_LOAD_INVALID_LATE, VV_LOAD_INVALID_CPU,
                                      VV_LOAD_INVALID_PART};

const char *vv_load_invalid_text(struct vv_str text)
{
    for (size_t i = 0; i < VV_COUNT(reasons); i++) {
        if (vv_str_eq(text, vv_str_from(reasons[i]))) {
            return reasons[i];
        }
    }
    return VV_LOAD_INVALID_PART;
}

/* The histograms outside of endpoints, so that nobody forgets one. */
#define TOTALS 5
static void totals(const struct vv_load_result *r, struct vv_load_hist *ret[TOTALS + 6])
{
    ret[0] = r->latency;
    ret[1] = r->service;
    ret[2] = r->first_byte;
    ret[3] = r->session;
    ret[4] = r->tls_connect;
    for (size_t i = 0; i < VV_COUNT(r->by_class); i++) {
        ret[TOTALS + i] = r->by_class[i];
    }
}

static bool fill(struct vv_load_result *r)
{
    const size_t endpoints = r->view.endpoint_count, scenarios = r->view.scenario_count;
    r->users_by_scenario = calloc(scenarios + 1, sizeof(r->users_by_scenario[0]));
    r->endpoint = calloc(endpoints + 1, sizeof(r->endpoint[0]));
    r->expect = calloc(r->view.expect_count + 1, sizeof(r->expect[0]));
    if (r->users_by_scenario == NULL || r->endpoint == NULL || r->expect == NULL) {
        return false;
    }
    r->latency = vv_load_hist_new();
    r->service = vv_load_hist_new();
    r->first_byte = vv_load_hist_new();
    r->session = vv_load_hist_new();
    r->tls_connect = vv_load_hist_new();
    bool ok = r->latency != NULL && r->service != NULL && r->first_byte != NULL &&
              r->session != NULL && r->tls_connect != NULL;
    for (size_t i = 0; i < VV_COUNT(r->by_class); i++) {
        r->by_class[i] = vv_load_hist_new();
        ok = ok && r->by_class[i] != NULL;
    }
    for (size_t i = 0; i < endpoints; i++) {
        struct vv_load_endpoint_result *e = &r->endpoint[i];
        e->latency = vv_load_hist_new();
        e->service = vv_load_hist_new();
        e->first_byte = vv_load_hist_new();
        ok = ok && e->latency != NULL && e->service != NULL && e->first_byte != NULL;
    }
    return ok;
}

enum vv_err vv_load_result_new(const struct vv_load_view *view, struct vv_load_result **ret)
{
    struct vv_load_result *r = calloc(1, sizeof(*r));
    if (r == NULL) {
        return VV_ENOMEM;
    }
    r->view = *view;
    if (!fill(r)) {
        vv_load_result_free(r);
        return VV_ENOMEM;
    }
    *ret = r;
    return VV_OK;
}

void vv_load_result_free(struct vv_load_result *r)
{
    if (r == NULL) {
        return;
    }
    struct vv_load_hist *hist[TOTALS + 6];
    totals(r, hist);
    for (size_t i = 0; i < VV_COUNT(hist); i++) {
        vv_load_hist_free(hist[i]);
    }
    for (size_t i = 0; r->endpoint != NULL && i < r->view.endpoint_count; i++) {
        vv_load_hist_free(r->endpoint[i].latency);
        vv_load_hist_free(r->endpoint[i].service);
        vv_load_hist_free(r->endpoint[i].first_byte);
    }
    free(r->endpoint);
    free(r->expect);
    free(r->users_by_scenario);
    free(r->window);
    free(r->intermediate);
    free(r->owned);
    free(r);
}

void vv_load_result_clear(struct vv_load_result *r)
{
    struct vv_load_hist *hist[TOTALS + 6];
    totals(r, hist);
    for (size_t i = 0; i < VV_COUNT(hist); i++) {
        vv_load_hist_clear(hist[i]);
    }
    for (size_t i = 0; i < r->view.endpoint_count; i++) {
        struct vv_load_endpoint_result *e = &r->endpoint[i];
        vv_load_hist_clear(e->latency);
        vv_load_hist_clear(e->service);
        vv_load_hist_clear(e->first_byte);
        *e = (struct vv_load_endpoint_result){
            .latency = e->latency, .service = e->service, .first_byte = e->first_byte};
    }
    free(r->intermediate);
    memset(r->users_by_scenario, 0, r->view.scenario_count * sizeof(r->users_by_scenario[0]));
    memset(r->expect, 0, r->view.expect_count * sizeof(r->expect[0]));
    struct vv_load_result empty = {.view = r->view,
                                   .users_by_scenario = r->users_by_scenario,
                                   .latency = r->latency,
                                   .service = r->service,
                                   .first_byte = r->first_byte,
                                   .session = r->session,
                                   .tls_connect = r->tls_connect,
                                   .endpoint = r->endpoint,
                                   .expect = r->expect,
                                   .window = r->window,
                                   .owned = r->owned};
    memcpy(empty.by_class, r->by_class, sizeof(empty.by_class));
    *r = empty;
}

/* The last place gathers all that find none. */
static void add_named(struct vv_load_named *list, size_t max, size_t *count, const char *name,
                      uint64_t n)
{
    size_t i = 0;
    while (i < *count && strncmp(list[i].name, name, sizeof(list[i].name) - 1) != 0) {
        i++;
    }
    if (i == max) {
        i--;
    } else if (i == *count) {
        strncpy(list[i].name, i == max - 1 ? "other" : name, sizeof(list[i].name) - 1);
        ++*count;
    }
    list[i].count += n;
}

void vv_load_result_error(struct vv_load_result *r, const char *name, uint64_t n)
{
    add_named(r->error, VV_COUNT(r->error), &r->error_count, name, n);
}

void vv_load_endpoint_error(struct vv_load_endpoint_result *e, const char *name, uint64_t n)
{
    add_named(e->error, VV_COUNT(e->error), &e->error_count, name, n);
}

enum vv_err vv_load_result_windows(struct vv_load_result *r, size_t count)
{
    if (count <= r->window_count) {
        return VV_OK;
    }
    struct vv_load_window *w = realloc(r->window, count * sizeof(*w));
    if (w == NULL) {
        return VV_ENOMEM;
    }
    r->window = w;
    for (size_t i = r->window_count; i < count; i++) {
        r->window[i] = (struct vv_load_window){.at_ns = i * VV_SEC};
    }
    r->window_count = count;
    return VV_OK;
}

static void merge_window(struct vv_load_window *into, const struct vv_load_window *from)
{
    into->offered += from->offered;
    into->started += from->started;
    into->completed += from->completed;
    into->failed += from->failed;
    into->late += from->late;
    into->bytes_in += from->bytes_in;
    into->in_flight += from->in_flight;
    into->p50_ns = vv_max_u64(into->p50_ns, from->p50_ns);
    into->p95_ns = vv_max_u64(into->p95_ns, from->p95_ns);
    into->p99_ns = vv_max_u64(into->p99_ns, from->p99_ns);
    into->max_ns = vv_max_u64(into->max_ns, from->max_ns);
}

static void merge_endpoint(struct vv_load_endpoint_result *into,
                           const struct vv_load_endpoint_result *from)
{
    into->requests += from->requests;
    into->answers += from->answers;
    into->failed += from->failed;
    for (size_t i = 0; i < VV_COUNT(into->codes); i++) {
        into->codes[i] += from->codes[i];
    }
    for (size_t i = 0; i < from->error_count; i++) {
        vv_load_endpoint_error(into, from->error[i].name, from->error[i].count);
    }
    vv_load_hist_merge(into->latency, from->latency);
    vv_load_hist_merge(into->service, from->service);
    vv_load_hist_merge(into->first_byte, from->first_byte);
}

static void merge_counters(struct vv_load_result *into, const struct vv_load_result *from)
{
    if (into->started_unix_ns == 0 ||
        (from->started_unix_ns != 0 && from->started_unix_ns < into->started_unix_ns)) {
        into->started_unix_ns = from->started_unix_ns;
    }
    into->duration_ns = vv_max_u64(into->duration_ns, from->duration_ns);
    into->planned_ns = vv_max_u64(into->planned_ns, from->planned_ns);
    into->closed = into->closed || from->closed;
    into->offered += from->offered;
    into->requests += from->requests;
    into->answers += from->answers;
    into->failed += from->failed;
    into->users_created += from->users_created;
    into->users_completed += from->users_completed;
    into->users_failed += from->users_failed;
    into->users_skipped += from->users_skipped;
    into->bytes_in += from->bytes_in;
    into->bytes_out += from->bytes_out;
    into->connections += from->connections;
    into->tls_handshakes += from->tls_handshakes;
    into->tls_resumed += from->tls_resumed;
    if (into->tls_error[0] == '\0') {
        memcpy(into->tls_error, from->tls_error, sizeof(into->tls_error));
    }
    into->late += from->late;
    into->late_max_ns = vv_max_u64(into->late_max_ns, from->late_max_ns);
    into->cpu_ns += from->cpu_ns;
    into->threads += from->threads;
    into->interrupted = into->interrupted || from->interrupted;
    if (into->invalid == NULL && from->invalid != NULL) {
        into->invalid = vv_load_invalid_text(vv_str_from(from->invalid)); /* outlives `from` */
    }
}

enum vv_err vv_load_result_merge(struct vv_load_result *into, const struct vv_load_result *from)
{
    if (into->view.endpoint_count != from->view.endpoint_count ||
        into->view.scenario_count != from->view.scenario_count ||
        into->view.expect_count != from->view.expect_count) {
        return VV_EINVAL; /* of another plan */
    }
    size_t windows = into->window_count;
    for (size_t i = 0; i < from->window_count; i++) {
        const size_t second = (size_t)(from->window[i].at_ns / VV_SEC);
        windows = second + 1 > windows ? second + 1 : windows;
    }
    const enum vv_err err = vv_load_result_windows(into, windows);
    if (err != VV_OK) {
        return err;
    }
    for (size_t i = 0; i < from->window_count; i++) {
        merge_window(&into->window[from->window[i].at_ns / VV_SEC], &from->window[i]);
    }
    merge_counters(into, from);
    for (size_t i = 0; i < from->view.scenario_count; i++) {
        into->users_by_scenario[i] += from->users_by_scenario[i];
    }
    for (size_t i = 0; i < from->view.expect_count; i++) {
        into->expect[i].ok += from->expect[i].ok;
        into->expect[i].failed += from->expect[i].failed;
    }
    for (size_t i = 0; i < VV_COUNT(into->codes); i++) {
        into->codes[i] += from->codes[i];
    }
    for (size_t i = 0; i < from->error_count; i++) {
        vv_load_result_error(into, from->error[i].name, from->error[i].count);
    }
    struct vv_load_hist *to[TOTALS + 6], *of[TOTALS + 6];
    totals(into, to);
    totals(from, of);
    for (size_t i = 0; i < VV_COUNT(to); i++) {
        vv_load_hist_merge(to[i], of[i]);
    }
    for (size_t i = 0; i < from->view.endpoint_count; i++) {
        merge_endpoint(&into->endpoint[i], &from->endpoint[i]);
    }
    return VV_OK;
}
