/* bench/micro/routes.c - what finding a route costs with 10, 100, 1,000 and 10,000 routes.
 *
 * Build:  ninja -C build src/gateway/bench_routes
 * Prints: nanoseconds of CPU for a match: of ten paths again and again, which shows the work, and of a
 *         path for every route in a scattered order, which adds what the size does to the caches. */
#include "gateway/routes.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MATCHES 2000000

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * VV_SEC + (uint64_t)t.tv_nsec;
}

struct table {
    struct vv_route_settings *route;
    void **item;
    char (*path)[64];
    struct vv_conf_list list;
    struct vv_settings settings;
    struct vv_routes *routes;
};

/* Half plain prefixes, a quarter exact, a quarter with a parameter: as an API's table looks. */
static bool make(struct table *t, size_t count)
{
    char why[VV_ROUTE_TEXT];
    t->route = calloc(count, sizeof(*t->route));
    t->item = calloc(count, sizeof(*t->item));
    t->path = calloc(count, sizeof(*t->path));
    if (t->route == NULL || t->item == NULL || t->path == NULL) {
        return false;
    }
    static const char *const form[] = {"/api/v%zu/group%zu/", "/api/v%zu/exact%zu",
                                       "/api/v%zu/tree%zu/", "/api/v%zu/items%zu/{id}/detail"};
    for (size_t i = 0; i < count; i++) {
        snprintf(t->path[i], sizeof(t->path[i]), form[i % 4], i % 7, i);
        t->route[i].path = t->path[i];
        t->item[i] = &t->route[i];
    }
    t->list = (struct vv_conf_list){.count = count, .item = t->item};
    t->settings = (struct vv_settings){.routes = &t->list};
    return vv_routes_new(&t->settings, &t->routes, why) == VV_OK;
}

static double measure(const struct table *t, const char (*paths)[80], size_t count,
                      size_t *ret_found)
{
    struct vv_route_match m;
    const uint64_t began_ns = now_ns();
    for (size_t i = 0; i < MATCHES; i++) {
        const struct vv_route_query q = {.host = VV_STR("shop.example.org"),
                                         .path = vv_str_from(paths[i % count]),
                                         .method = VV_STR("GET")};
        *ret_found += vv_routes_match(t->routes, &q, &m) == VV_ROUTE_FOUND;
    }
    return (double)(now_ns() - began_ns) / MATCHES;
}

int main(void)
{
    static const size_t sizes[] = {10, 100, 1000, 10000};
    static char same[10][80];
    static char all[10000][80];
    printf("%8s %18s %18s %12s\n", "routes", "ns, ten paths", "ns, every path", "build ms");
    for (size_t s = 0; s < VV_COUNT(sizes); s++) {
        struct table t = {0};
        size_t found = 0;
        const uint64_t began_ns = now_ns();
        if (!make(&t, sizes[s])) {
            return 1;
        }
        const double build_ms = (double)(now_ns() - began_ns) / 1e6;
        for (size_t i = 0; i < sizes[s]; i++) { /* a path for each route, in a scattered order */
            const size_t r = i * 7919 % sizes[s];
            const size_t v = r % 7;
            static const char *const form[] = {"/api/v%zu/group%zu/a/b", "/api/v%zu/exact%zu",
                                               "/api/v%zu/tree%zu/leaf",
                                               "/api/v%zu/items%zu/123456/detail"};
            snprintf(all[i], sizeof(all[i]), form[r % 4], v, r);
        }
        for (size_t i = 0; i < 10; i++) { /* the same for all sizes but for the numbers in them */
            memcpy(same[i], all[i * (sizes[s] / 10)], sizeof(same[i]));
        }
        const double ten = measure(&t, same, 10, &found);
        const double every = measure(&t, all, sizes[s], &found);
        printf("%8zu %18.0f %18.0f %12.2f%s\n", sizes[s], ten, every, build_ms,
               found == 2 * MATCHES ? "" : "  (some paths found no route!)");
        vv_routes_free(t.routes);
        free(t.route);
        free(t.item);
        free(t.path);
    }
    return 0;
}
