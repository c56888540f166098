/* src/app/view.c - red means that clients notice, yellow that something is not as it should be. */
#include "app/view.h"
#include "app/table.h"

#include <stdlib.h>
#include <string.h>

#define RED "31"
#define YELLOW "33"
#define ROUTES_MIN 5
#define CACHES_MAX 4 /* of a screen that has an end */

static const char *const sort_names[VIEW_SORTS] = {"file order", "name", "rate", "errors", "p95"};

const char *view_sort_name(unsigned sort)
{
    return sort_names[sort % VIEW_SORTS];
}

const char *view_count(double n, char *buf, size_t buf_bytes)
{
    static const char unit[] = " kMGT";
    size_t u = 0;
    while (n >= 1000.0 && u + 1 < sizeof unit - 1) {
        n /= 1000.0;
        u++;
    }
    if (u == 0) {
        (void)snprintf(buf, buf_bytes, n < 10.0 && n > 0.0 ? "%.1f" : "%.0f", n);
    } else {
        (void)snprintf(buf, buf_bytes, n < 10.0 ? "%.2f%c" : "%.1f%c", n, unit[u]);
    }
    return buf;
}

struct row { /* one route or service with its traffic */
    const char *name;
    const json_t *traffic;
    size_t place;
};

static double error_share(const json_t *t)
{
    const double n = json_num(t, "requests");
    return n > 0.0 ? 100.0 * json_num(t, "errors_5xx") / n : 0.0;
}

static double sort_key(const struct row *r, unsigned sort)
{
    switch (sort) {
    case 2:
        return json_num(r->traffic, "per_second");
    case 3:
        return error_share(r->traffic);
    case 4:
        return json_num(r->traffic, "p95_ms");
    default:
        return 0.0;
    }
}

static unsigned sort_by; /* qsort has no argument; there is one thread */

static int compare(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    if (sort_by == 1) {
        return strcmp(x->name, y->name);
    }
    const double p = sort_key(x, sort_by), q = sort_key(y, sort_by);
    if (p > q || p < q) {
        return p > q ? -1 : 1;
    }
    return x->place < y->place ? -1 : x->place > y->place;
}

static size_t collect(const json_t *map, unsigned sort, struct row **ret)
{
    const size_t max = json_object_size(map);
    struct row *list = calloc(max + 1, sizeof *list);
    const char *key = NULL;
    json_t *v = NULL;
    size_t n = 0;
    if (list == NULL) {
        *ret = NULL;
        return 0;
    }
    json_object_foreach((json_t *)(uintptr_t)map, key, v)
    {
        list[n] = (struct row){key, v, n};
        n++;
    }
    sort_by = sort;
    if (sort != 0) {
        qsort(list, n, sizeof *list, compare);
    }
    *ret = list;
    return n;
}

static void traffic_cells(struct table *t, size_t from, const json_t *o)
{
    char buf[16];
    table_cell(t, from, "%s", view_count(json_num(o, "per_second"), buf, sizeof buf));
    table_cell(t, from + 1, "%.2f", error_share(o));
    table_cell(t, from + 2, "%s", view_count(json_num(o, "errors_4xx"), buf, sizeof buf));
    table_cell(t, from + 3, "%.1f", json_num(o, "p50_ms"));
    table_cell(t, from + 4, "%.1f", json_num(o, "p95_ms"));
    table_cell(t, from + 5, "%.1f", json_num(o, "p99_ms"));
}

static void routes_table(const struct view *v, size_t rows, struct vv_sb *out)
{
    static const char *const titles[] = {"ROUTE",   ">REQ/S",  ">5XX %", ">4XX",
                                         ">P50 MS", ">P95 MS", ">P99 MS"};
    struct table t;
    struct row *list = NULL;
    const size_t n = collect(json_object_get(v->o, "routes"), v->sort, &list);
    if (!table_init(&t, titles, VV_COUNT(titles))) {
        free(list);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const double share = error_share(list[i].traffic);
        if (!table_row(&t, share > 1.0 ? RED : NULL)) {
            break;
        }
        table_cell(&t, 0, "%.40s", list[i].name);
        traffic_cells(&t, 1, list[i].traffic);
    }
    table_print(&t, 0, rows, v->width, v->color, v->eol, out);
    if (n > rows) {
        vv_sb_addf(out, "... and %zu more%s", n - rows, v->eol);
    }
    table_fini(&t);
    free(list);
}

static const char *state_color(const char *state)
{
    if (strcmp(state, "up") == 0) {
        return NULL;
    }
    return strcmp(state, "draining") == 0 ? YELLOW : RED;
}

static void servers_table(const struct view *v, size_t rows, struct vv_sb *out)
{
    static const char *const titles[] = {"SERVICE",    "SERVER", "STATE",  ">WEIGHT",
                                         ">IN FLIGHT", ">REQ/S", ">5XX %", ">P95 MS"};
    const json_t *services = json_object_get(v->o, "services");
    const json_t *traffic = json_object_get(v->o, "by_service");
    struct table t;
    char buf[16];
    if (!table_init(&t, titles, VV_COUNT(titles))) {
        return;
    }
    for (size_t i = 0; i < json_array_size(services); i++) {
        const json_t *s = json_array_get(services, i);
        const json_t *servers = json_object_get(s, "servers");
        const json_t *of = json_object_get(traffic, json_text(s, "name"));
        for (size_t k = 0; k < json_array_size(servers); k++) {
            const json_t *one = json_array_get(servers, k);
            const char *state = json_text(one, "state");
            if (!table_row(&t, state_color(state))) {
                break;
            }
            table_cell(&t, 0, "%.32s", k == 0 ? json_text(s, "name") : "");
            table_cell(&t, 1, "%.40s", json_text(one, "name"));
            table_cell(&t, 2, "%s", state);
            table_cell(&t, 3, "%.0f", json_num(one, "weight"));
            table_cell(&t, 4, "%.0f", json_num(one, "in_flight"));
            if (k == 0) {
                table_cell(&t, 5, "%s", view_count(json_num(of, "per_second"), buf, sizeof buf));
                table_cell(&t, 6, "%.2f", error_share(of));
                table_cell(&t, 7, "%.1f", json_num(of, "p95_ms"));
            }
        }
    }
    table_print(&t, 0, rows, v->width, v->color, v->eol, out);
    table_fini(&t);
}

static void caches_table(const struct view *v, size_t rows, struct vv_sb *out)
{
    static const char *const titles[] = {"CACHE",  ">USED MB",  ">OF MB",  ">ENTRIES",
                                         ">HIT %", ">REQUESTS", ">EVICTED"};
    static const char *const evicted[] = {"evicted_space", "evicted_expired", "evicted_purged"};
    const json_t *caches = json_object_get(v->o, "caches");
    struct table t;
    char buf[16];
    if (json_array_size(caches) == 0 || !table_init(&t, titles, VV_COUNT(titles))) {
        return;
    }
    for (size_t i = 0; i < json_array_size(caches); i++) {
        const json_t *c = json_array_get(caches, i);
        const char *result = NULL;
        json_t *n = NULL;
        double requests = 0.0, gone = 0.0;
        if (!table_row(&t, NULL)) {
            break;
        }
        json_object_foreach(json_object_get(c, "requests"), result, n)
        {
            requests += json_number_value(n);
        }
        for (size_t k = 0; k < VV_COUNT(evicted); k++) {
            gone += json_num(c, evicted[k]);
        }
        table_cell(&t, 0, "%.40s", json_text(c, "name"));
        table_cell(&t, 1, "%.1f", json_num(c, "bytes") / 1048576.0);
        table_cell(&t, 2, "%.0f", json_num(c, "budget_bytes") / 1048576.0);
        table_cell(&t, 3, "%s", view_count(json_num(c, "entries"), buf, sizeof buf));
        table_cell(&t, 4, "%.1f", 100.0 * json_num(c, "hit_ratio"));
        table_cell(&t, 5, "%s", view_count(requests, buf, sizeof buf));
        table_cell(&t, 6, "%s", view_count(gone, buf, sizeof buf));
    }
    vv_sb_adds(out, v->eol);
    table_print(&t, 0, rows, v->width, v->color, v->eol, out);
    table_fini(&t);
}

/* What keeps requests from where they would go; nothing when nothing does. */
static const char *guard_words(const struct view *v, char *buf, size_t buf_bytes)
{
    const double open = json_num(v->o, "breakers_open"), shed = json_num(v->o, "shed");
    const double banned = json_num(v->o, "clients_banned");
    int n = 0;
    buf[0] = '\0';
    if (open > 0.0) {
        n = snprintf(buf, buf_bytes, "  %.0f breaker%s not closed", open, open > 1.0 ? "s" : "");
    }
    if (shed > 0.0) {
        n +=
            snprintf(buf + n, buf_bytes - (size_t)n, "  OVERLOAD, %.1f of 4 classes refused", shed);
    }
    if (json_num(v->o, "limits_alone") > 0.0) {
        n += snprintf(buf + n, buf_bytes - (size_t)n, "  limits counted by this gateway alone");
    }
    if (banned > 0.0) {
        (void)snprintf(buf + n, buf_bytes - (size_t)n, "  %.0f address%s banned", banned,
                       banned > 1.0 ? "es" : "");
    }
    return buf;
}

static void heading(const struct view *v, struct vv_sb *out)
{
    const json_t *t = json_object_get(v->o, "traffic");
    char rate[16], bytes[16], guards[200];
    const double up = json_num(v->o, "uptime_seconds");
    const double seconds = json_num(t, "seconds") > 0.0 ? json_num(t, "seconds") : 1.0;
    vv_sb_addf(out, "Vivace %s  up %dd %02d:%02d:%02d  process %d  worker %d  restarts %d%s%s",
               json_text(v->o, "version"), (int)(up / 86400), (int)(up / 3600) % 24,
               (int)(up / 60) % 60, (int)up % 60, (int)json_num(v->o, "pid"),
               (int)json_num(v->o, "worker_pid"), (int)json_num(v->o, "worker_restarts"),
               json_is_true(json_object_get(v->o, "draining")) ? "  DRAINING" : "", v->eol);
    vv_sb_addf(out, "%s requests/s  %.2f %% 5xx  p50 %.1f  p95 %.1f  p99 %.1f ms  %sB/s out%s",
               view_count(json_num(t, "per_second"), rate, sizeof rate), error_share(t),
               json_num(t, "p50_ms"), json_num(t, "p95_ms"), json_num(t, "p99_ms"),
               view_count(json_num(t, "bytes_out") / seconds, bytes, sizeof bytes), v->eol);
    vv_sb_addf(out, "%.0f connections  %.0f in flight  %.0f workers  %s%s%s%s",
               json_num(v->o, "connections"), json_num(v->o, "in_flight"),
               json_num(v->o, "workers"), json_text(v->o, "config"),
               guard_words(v, guards, sizeof guards), v->eol, v->eol);
}

void view_print(const struct view *v, struct vv_sb *out)
{
    size_t routes = SIZE_MAX, servers = SIZE_MAX;
    size_t caches = json_array_size(json_object_get(v->o, "caches"));
    if (v->height > 0) { /* 4 lines of heading, 2 of titles, 2 empty, 1 "more", 1 of keys */
        caches = caches < CACHES_MAX ? caches : CACHES_MAX;
        const size_t taken = 10 + (caches > 0 ? caches + 2 : 0);
        const size_t left = v->height > taken ? v->height - taken : 0;
        routes = left / 2 > ROUTES_MIN ? left / 2 : ROUTES_MIN;
        servers = left > routes ? left - routes : 0;
    }
    heading(v, out);
    routes_table(v, routes, out);
    vv_sb_adds(out, v->eol);
    servers_table(v, servers, out);
    caches_table(v, caches, out);
}
