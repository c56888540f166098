/* bench/micro/load.c - what the load generator itself costs: one URL, users without pause or a rate.
 *
 * Build:  ninja -C build src/load/bench_load
 * Usage:  bench_load URL users|rate NUMBER SECONDS [THREADS] [fresh]
 *         `fresh` sends Connection: close, so that every request needs a connection.
 * Prints: one line of JSON: requests a second, CPU microseconds of the generator for one, the
 *         corrected and the service latency, and how well full seconds kept the rate. Beside it run
 *         `wrk -t1 -c64` against the same server (bench/build/floor_epoll). */
#include "conf/conf.h"
#include "load/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double us(uint64_t ns)
{
    return (double)ns / 1e3;
}

/* How far the worst full second was from what was offered, as a share. */
static double worst_second(const struct vv_load_result *r)
{
    double worst = 0;
    for (size_t i = 0; i < r->window_count && (i + 1) * VV_SEC <= r->planned_ns; i++) {
        const struct vv_load_window *w = &r->window[i];
        if (w->offered > 0) {
            const double off = (double)w->started / (double)w->offered - 1;
            worst = off < 0 && -off > worst ? -off : off > worst ? off : worst;
        }
    }
    return worst;
}

static void print(const struct vv_load_result *r)
{
    const double seconds = (double)r->duration_ns / 1e9;
    printf("{\"requests_per_second\": %.0f, \"cpu_us_per_request\": %.2f, \"requests\": %llu, "
           "\"answers\": %llu, \"failed\": %llu, \"connections\": %llu, \"offered\": %llu, "
           "\"late\": %llu, \"late_max_us\": %.0f, \"worst_second\": %.4f, \"latency_us\": "
           "{\"p50\": %.0f, \"p99\": %.0f, \"max\": %.0f}, \"service_us\": {\"p50\": %.0f, "
           "\"p99\": %.0f, \"max\": %.0f}, \"invalid\": %s%s%s}\n",
           (double)r->answers / seconds, us(r->cpu_ns) / (double)(r->answers > 0 ? r->answers : 1),
           (unsigned long long)r->requests, (unsigned long long)r->answers,
           (unsigned long long)r->failed, (unsigned long long)r->connections,
           (unsigned long long)r->offered, (unsigned long long)r->late, us(r->late_max_ns),
           worst_second(r), us(vv_load_hist_quantile(r->latency, 0.5)),
           us(vv_load_hist_quantile(r->latency, 0.99)), us(vv_load_hist_max(r->latency)),
           us(vv_load_hist_quantile(r->service, 0.5)), us(vv_load_hist_quantile(r->service, 0.99)),
           us(vv_load_hist_max(r->service)), r->invalid != NULL ? "\"" : "",
           r->invalid != NULL ? r->invalid : "null", r->invalid != NULL ? "\"" : "");
    for (size_t i = 0; i < r->error_count; i++) {
        fprintf(stderr, "%s: %llu\n", r->error[i].name, (unsigned long long)r->error[i].count);
    }
}

int main(int argc, char **argv)
{
    static const char *const close_header[] = {"connection: close"};
    if (argc < 5) {
        fprintf(stderr, "usage: bench_load URL users|rate NUMBER SECONDS [THREADS] [fresh]\n");
        return 2;
    }
    struct vv_load_line line = {.url = argv[1]};
    line.phase.ramp_to = -1;
    line.phase.duration_ns = (uint64_t)(atof(argv[4]) * (double)VV_SEC);
    if (strcmp(argv[2], "users") == 0) {
        line.phase.users = (uint64_t)atoll(argv[3]);
    } else {
        line.phase.rate = atof(argv[3]);
    }
    if (argc > 6) {
        line.headers = close_header;
        line.header_count = 1;
    }
    const struct vv_load_options options = {.threads = argc > 5 ? (unsigned)atoi(argv[5]) : 1,
                                            .seed = 1};
    struct vv_conf_problems *problems = vv_conf_problems_new();
    struct vv_load_plan *plan = NULL;
    struct vv_load_result *r = NULL;
    enum vv_err err = vv_load_plan_line(&line, problems, &plan);
    if (err == VV_OK) {
        err = vv_load_run(plan, &options, &r);
    }
    if (err != VV_OK) {
        fprintf(stderr, "bench_load: %s\n", vv_err_text(err));
    } else {
        print(r);
        vv_load_result_free(r);
    }
    vv_load_plan_free(plan);
    vv_conf_problems_free(problems);
    return err == VV_OK ? 0 : 1;
}
