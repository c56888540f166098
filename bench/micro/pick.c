/* bench/micro/pick.c - what choosing a server and giving it back costs, by algorithm and pool size.
 *
 * Build:  ninja -C build src/balance/bench_pick
 * Prints: nanoseconds of CPU for a vv_balance_pick() and a vv_balance_done() together, one thread, 16
 *         requests in flight. The balancers' clock is made up; no connection is opened. */
#include "balance/balance.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <time.h>

#define PICKS 1000000
#define IN_FLIGHT 16
#define SERVERS_MAX 1000

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * VV_SEC + (uint64_t)t.tv_nsec;
}

static struct vv_service_state *make(enum vv_balancer balancer, size_t count)
{
    static struct vv_server_spec spec[SERVERS_MAX];
    static char name[SERVERS_MAX][24];
    const struct vv_service_conf conf = {.balancer = balancer,
                                         .max_fails = 3,
                                         .fail_timeout_ns = 10 * VV_SEC,
                                         .max_ejected_ppm = VV_PPM / 2,
                                         .bounded_load_ppm = 1250000};
    struct vv_service_state *s = NULL;
    for (size_t i = 0; i < count; i++) {
        snprintf(name[i], sizeof(name[i]), "server-%zu", i);
        spec[i] = (struct vv_server_spec){.name = name[i], .weight = 1 + (uint32_t)i % 3};
        spec[i].addr.in4 =
            (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)(1024 + i))};
        spec[i].addr.len = sizeof(struct sockaddr_in);
    }
    if (vv_service_state_new("bench", &s) != VV_OK) {
        return NULL;
    }
    vv_service_state_conf(s, &conf);
    return vv_service_state_set(s, spec, count, 0) == VV_OK ? s : NULL;
}

static double measure(enum vv_balancer balancer, size_t count)
{
    struct vv_server *held[IN_FLIGHT] = {NULL};
    struct vv_picker *picker = NULL;
    struct vv_service_state *s = make(balancer, count);
    if (s == NULL || vv_picker_new(s, 1, &picker) != VV_OK) {
        return -1;
    }
    const uint64_t began_ns = now_ns();
    for (uint64_t i = 0; i < PICKS; i++) {
        const uint64_t t = VV_SEC + i * 10 * VV_US;
        const struct vv_pick how = {.now_ns = t, .has_key = true, .key = i};
        struct vv_server **slot = &held[i % IN_FLIGHT];
        if (*slot != NULL) {
            vv_balance_done(*slot, VV_OUTCOME_OK, VV_MS + i % 977, t, NULL);
        }
        if (vv_balance_pick(picker, &how, slot) != VV_OK) {
            return -1;
        }
    }
    const double took = (double)(now_ns() - began_ns) / PICKS;
    for (size_t i = 0; i < IN_FLIGHT; i++) {
        vv_balance_done(held[i], VV_OUTCOME_OK, VV_MS, 20 * VV_SEC, NULL);
    }
    vv_picker_free(picker);
    vv_service_state_unref(s);
    return took;
}

int main(void)
{
    static const size_t counts[] = {2, 10, 100, 1000};
    printf("%-12s", "ns per pick");
    for (size_t c = 0; c < VV_COUNT(counts); c++) {
        printf(" %6zu servers", counts[c]);
    }
    printf("\n");
    for (int b = 0; b < VV_BALANCER_COUNT; b++) {
        printf("%-12s", vv_balancer_name((enum vv_balancer)b));
        for (size_t c = 0; c < VV_COUNT(counts); c++) {
            printf(" %14.0f", measure((enum vv_balancer)b, counts[c]));
        }
        printf("\n");
    }
    return 0;
}
