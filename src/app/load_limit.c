/* src/app/load_limit.c - `vivace load limit`: steps of real load until the gates break, then what the
 * gateway's metrics say about the step that broke them. */
#include "app/load.h"
#include "app/table.h"
#include "base/json.h"
#include "base/units.h"
#include "load/limit.h"
#include "load/usl.h"
#include "os/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STEP_NS (5 * VV_SEC)
#define STEP_TELLS_NS (3 * VV_SEC) /* load/limit.h: shorter ones do not see users pile up */
#define START 10.0
#define RATE_MAX 100000.0
#define PRECISION 0.02
#define STEPS 24
#define PAUSE_MS 300 /* between steps: queues run empty */
#define FETCH_NS (5 * VV_SEC)
#define FETCH_MAX (64U * 1024 * 1024)

/* ---- the admin listener ---- */

static enum vv_err exchange(int fd, struct vv_str request, struct vv_sb *in)
{
    const uint64_t deadline_ns = vv_clock_now() + FETCH_NS;
    char buf[16384];
    while (vv_clock_now() < deadline_ns) {
        struct pollfd p = {.fd = fd, .events = request.n > 0 ? POLLOUT : POLLIN};
        if (poll(&p, 1, 200) <= 0) {
            continue;
        }
        const ssize_t n = request.n > 0 ? send(fd, request.p, request.n, MSG_NOSIGNAL)
                                        : read(fd, buf, sizeof buf);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return vv_err_from_errno(errno);
        }
        if (n > 0 && request.n > 0) {
            request.p += n;
            request.n -= (size_t)n;
        } else if (n > 0) {
            vv_sb_add(in, (struct vv_str){buf, (size_t)n});
            if (in->failed || in->n > FETCH_MAX) {
                return VV_ELIMIT;
            }
        } else if (n == 0) {
            return VV_OK; /* HTTP/1.0: the end of the connection ends the answer */
        }
    }
    return VV_ETIMEOUT;
}

/* The body of an answer with status 200; false otherwise. */
static bool fetch(const char *url, const char *target, struct vv_sb *ret)
{
    struct vv_addr addr;
    struct vv_sb request = VV_SB_INIT, in = VV_SB_INIT;
    struct vv_str host = vv_str_from(url);
    VV_AUTO(vv_close_fd) int fd = -1;
    if (vv_str_starts(host, VV_STR("http://"))) {
        host.p += 7;
        host.n -= 7;
    }
    host = vv_str_cut(&host, '/');
    if (vv_addr_parse(host, &addr) != VV_OK || vv_sock_connect(&addr, &fd) != VV_OK) {
        return false;
    }
    vv_sb_addf(&request, "GET %s HTTP/1.0\r\nHost: " VV_STR_FMT "\r\n\r\n", target,
               VV_STR_ARG(host));
    const enum vv_err err = exchange(fd, vv_sb_str(&request), &in);
    const char *body = in.p != NULL ? strstr(in.p, "\r\n\r\n") : NULL;
    const bool ok = err == VV_OK && body != NULL && in.n > 12 && memcmp(in.p + 8, " 200", 4) == 0;
    if (ok) {
        vv_sb_adds(ret, body + 4);
    }
    vv_sb_fini(&request);
    vv_sb_fini(&in);
    return ok;
}

static void read_signs(const char *admin, struct vv_load_signs *ret)
{
    struct vv_sb text = VV_SB_INIT;
    *ret = (struct vv_load_signs){0};
    if (admin != NULL && fetch(admin, "/metrics", &text)) {
        vv_load_signs_read(vv_sb_str(&text), ret);
    }
    vv_sb_fini(&text);
}

static unsigned read_workers(const char *admin)
{
    struct vv_sb text = VV_SB_INIT;
    unsigned workers = 0;
    if (admin != NULL && fetch(admin, "/api/v1/status", &text)) {
        json_t *o = json_loadb(vv_sb_str(&text).p, text.n, 0, NULL);
        workers = (unsigned)json_num(o, "workers");
        json_decref(o);
    }
    vv_sb_fini(&text);
    return workers;
}

/* ---- steps ---- */

struct search {
    const struct cli_args *args;
    const char *what, *admin;
    uint64_t step_ns;
    unsigned workers;
    int code; /* of what stopped the probe */
    size_t count;
    struct vv_load_evidence evidence[VV_LOAD_STEPS_MAX];
};

static const struct vv_load_gate default_gate = {.expression = "error_rate < 1%", .strict = true};

static double share_of(const struct vv_load_result *r, unsigned code)
{
    return r->answers > 0 ? (double)r->codes[code] / (double)r->answers : 0.0;
}

static bool judge(const struct cli_load *s, const struct vv_load_result *r, double rate,
                  struct vv_load_step *ret)
{
    const bool none = s->gate_count == 0 && r->view.gate_count == 0;
    struct vv_load_verdict *v = NULL;
    size_t count = 0;
    if (vv_load_judge(r, none ? &default_gate : s->gate, none ? 1 : s->gate_count, &v, &count) !=
        VV_OK) {
        return false;
    }
    vv_load_step_judge(r, (struct vv_load_judged){v, count}, rate, ret);
    free(v);
    return true;
}

static bool probe(void *user, double rate, struct vv_load_step *ret)
{
    struct search *s = user;
    struct vv_load_evidence *e = &s->evidence[s->count];
    struct cli_load setup;
    s->code = cli_load_setup(s->args, s->what, NULL, rate, s->step_ns * ret->times, &setup);
    if (s->code != EXIT_FINE) {
        return false;
    }
    (void)poll(NULL, 0, PAUSE_MS);
    *e = (struct vv_load_evidence){.workers = s->workers};
    read_signs(s->admin, &e->before);
    const uint64_t from_ns = vv_clock_now();
    struct vv_load_result *r = cli_load_run(s->args, &setup, false);
    e->seconds = (double)(vv_clock_now() - from_ns) / 1e9;
    read_signs(s->admin, &e->after);
    bool ok = r != NULL && !r->interrupted && *cli_load_stop() == 0;
    s->code = ok ? EXIT_FINE : r == NULL ? EXIT_FAILED : EXIT_INTERRUPTED;
    ok = ok && judge(&setup, r, rate, ret);
    if (ok) {
        const double cpu_ns = (double)r->duration_ns * (double)(r->threads > 0 ? r->threads : 1);
        e->generator_cpu = cpu_ns > 0.0 ? 100.0 * (double)r->cpu_ns / cpu_ns : 0.0;
        e->generator_late = r->invalid != NULL;
        e->share_429 = share_of(r, 429);
        e->share_503 = share_of(r, 503);
        s->count++;
    }
    if (ok && !cli_flag(s->args, "quiet") && !cli_flag(s->args, "json")) {
        (void)fprintf(stderr, "%8.1f/s  %s%s%s\n", rate, ret->held ? "held" : "missed",
                      ret->why[0] != '\0' ? ": " : "", ret->why);
    }
    vv_load_result_free(r);
    cli_load_setup_free(&setup);
    return ok;
}

/* ---- what came out ---- */

struct finding {
    const struct vv_load_step *step;
    size_t count;
    struct vv_load_limit limit;
    struct vv_usl usl;
    bool has_usl;
    enum vv_load_cause cause;
    struct vv_sb why;
};

static void fit(struct finding *f)
{
    double users[VV_LOAD_STEPS_MAX], rate[VV_LOAD_STEPS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < f->count; i++) {
        if (!f->step[i].generator && f->step[i].users > 0.0 && f->step[i].achieved > 0.0) {
            users[n] = f->step[i].users;
            rate[n++] = f->step[i].achieved;
        }
    }
    f->has_usl = vv_usl_fit(users, rate, n, &f->usl) == VV_OK;
}

static void explain(const struct search *s, struct finding *f)
{
    if (f->limit.missed <= 0.0) {
        vv_sb_adds(&f->why, "nothing gave out up to the last rate");
        f->cause = VV_LOAD_CAUSE_NONE;
    } else {
        f->cause = vv_load_diagnose(&s->evidence[f->limit.worst], &f->why);
    }
}

static void print_steps(const struct finding *f)
{
    static const char *const titles[] = {">RATE",   ">ANSWERS/S", ">USERS", ">P50 ms",
                                         ">P95 ms", ">P99 ms",    "",       "WHY"};
    struct table t;
    struct vv_sb out = VV_SB_INIT;
    if (!table_init(&t, titles, VV_COUNT(titles))) {
        return;
    }
    for (size_t i = 0; i < f->count && table_row(&t, NULL); i++) {
        const struct vv_load_step *s = &f->step[i];
        table_cell(&t, 0, "%.1f", s->rate);
        table_cell(&t, 1, "%.1f", s->achieved);
        table_cell(&t, 2, "%.2f", s->users);
        table_cell(&t, 3, "%.4g", s->p50_ms);
        table_cell(&t, 4, "%.4g", s->p95_ms);
        table_cell(&t, 5, "%.4g", s->p99_ms);
        table_cell(&t, 6, "%s", s->held ? "held" : "missed");
        table_cell(&t, 7, "%s", s->why);
    }
    table_print(&t, 0, SIZE_MAX, 200, false, "\n", &out);
    cli_print(vv_sb_str(&out));
    vv_sb_fini(&out);
    table_fini(&t);
}

/* What the server still got done at the lowest rate it did not hold; 0: a gate broke first. */
static double sustained(const struct finding *f)
{
    return f->limit.missed > 0.0 ? f->step[f->limit.worst].sustained : 0.0;
}

static void print_text(const struct finding *f)
{
    print_steps(f);
    if (f->limit.rate > 0.0) {
        (void)printf("\nlimit: %.1f/s holds", f->limit.rate);
        if (f->limit.missed > 0.0) {
            (void)printf(", %.1f/s does not%s", f->limit.missed,
                         f->limit.confirmed ? " (both tried again, for longer)" : "");
        }
        (void)printf("\n");
        if (sustained(f) > 0.0) {
            (void)printf("with too much to do it answered %.1f/s\n", sustained(f));
        }
    } else {
        (void)printf("\nlimit: not even the lowest rate held\n");
    }
    (void)printf("because of: %s\n", vv_sb_str(&f->why).p);
    if (f->has_usl) {
        (void)printf("scalability law: X(N) = %.4g N / (1 + %.4g (N-1) + %.4g N (N-1))\n",
                     f->usl.gamma, f->usl.alpha, f->usl.beta);
        if (f->usl.peak_users > 0.0) {
            (void)printf("  peak %.4g/s at %.4g users at once%s\n", f->usl.peak, f->usl.peak_users,
                         f->usl.beyond ? " (beyond what was measured: an estimate)" : "");
        } else {
            (void)printf("  no peak within sight\n");
        }
    }
}

static void print_limit_json(const struct finding *f)
{
    struct vv_sb out = VV_SB_INIT;
    struct vv_json j;
    vv_json_init(&j, &out);
    vv_json_obj(&j);
    vv_json_kdouble(&j, "limit", f->limit.rate);
    vv_json_kdouble(&j, "missed", f->limit.missed);
    vv_json_kbool(&j, "confirmed", f->limit.confirmed);
    vv_json_kdouble(&j, "sustained", sustained(f));
    vv_json_kcstr(&j, "cause", vv_load_cause_name(f->cause));
    vv_json_kstr(&j, "why", vv_sb_str(&f->why));
    if (f->has_usl) {
        vv_json_key(&j, "usl");
        vv_json_obj(&j);
        vv_json_kdouble(&j, "gamma", f->usl.gamma);
        vv_json_kdouble(&j, "alpha", f->usl.alpha);
        vv_json_kdouble(&j, "beta", f->usl.beta);
        vv_json_kdouble(&j, "peak_users", f->usl.peak_users);
        vv_json_kdouble(&j, "peak", f->usl.peak);
        vv_json_kbool(&j, "beyond", f->usl.beyond);
        vv_json_obj_end(&j);
    }
    vv_json_key(&j, "steps");
    vv_json_arr(&j);
    for (size_t i = 0; i < f->count; i++) {
        const struct vv_load_step *s = &f->step[i];
        vv_json_obj(&j);
        vv_json_kdouble(&j, "rate", s->rate);
        vv_json_kdouble(&j, "achieved", s->achieved);
        vv_json_kdouble(&j, "sustained", s->sustained);
        vv_json_kdouble(&j, "users", s->users);
        vv_json_kdouble(&j, "p50_ms", s->p50_ms);
        vv_json_kdouble(&j, "p95_ms", s->p95_ms);
        vv_json_kdouble(&j, "p99_ms", s->p99_ms);
        vv_json_kbool(&j, "held", s->held);
        vv_json_kcstr(&j, "why", s->why);
        vv_json_obj_end(&j);
    }
    vv_json_arr_end(&j);
    vv_json_obj_end(&j);
    vv_sb_addc(&out, '\n');
    cli_print(vv_sb_str(&out));
    vv_sb_fini(&out);
}

int cli_load_limit(const struct cli_args *a)
{
    static struct search s;
    static struct vv_load_step step[VV_LOAD_STEPS_MAX];
    struct finding f = {.step = step, .why = VV_SB_INIT};
    struct vv_load_limit_conf conf = {
        .start = START, .max = RATE_MAX, .precision = PRECISION, .steps_max = STEPS};
    s = (struct search){
        .args = a, .what = cli_word(a, 1), .admin = cli_value(a, "admin"), .step_ns = STEP_NS};
    if (a->words_count != 2) {
        return cli_fail(EXIT_USAGE, "give one: vivace load limit URL|FILE --gate 'p95 < 200ms'");
    }
    if (!cli_load_duration(a, "step", &s.step_ns) || !cli_load_number(a, "start", &conf.start) ||
        !cli_load_number(a, "max", &conf.max)) {
        return EXIT_USAGE;
    }
    const char *share = cli_value(a, "precision");
    if (share != NULL) {
        uint64_t ppm = 0;
        if (vv_parse_ppm(vv_str_from(share), &ppm) != VV_OK || ppm < VV_PPM / 1000) {
            return cli_fail(EXIT_USAGE, "--precision takes a share of at least 0.1%%");
        }
        conf.precision = (double)ppm / (double)VV_PPM;
    }
    if (conf.start > conf.max) {
        return cli_fail(EXIT_USAGE, "--start is above --max");
    }
    if (s.step_ns < STEP_TELLS_NS) {
        (void)fprintf(stderr,
                      "vivace: --step below 3s: too short to see users pile up, so doubt the "
                      "answer\n");
    }
    s.workers = read_workers(s.admin);
    if (s.admin != NULL && s.workers == 0) {
        return cli_fail(EXIT_FAILED, "--admin %s: no gateway answers there", s.admin);
    }
    cli_load_catch_signals();
    vv_load_limit_search(&conf, probe, &s, step, &f.count, &f.limit);
    if (f.limit.stopped && s.code != EXIT_INTERRUPTED) {
        return s.code;
    }
    fit(&f);
    explain(&s, &f);
    if (cli_flag(a, "json")) {
        print_limit_json(&f);
    } else {
        print_text(&f);
    }
    vv_sb_fini(&f.why);
    return f.limit.stopped ? s.code : f.limit.rate > 0.0 ? EXIT_FINE : EXIT_FAILED;
}
