/* src/load/bottleneck.c - what gave out, by the gateway's own numbers between two moments. The causes are
 * asked in the order of how sure their sign is: a status that says so itself first, arithmetic on
 * times last. A slow dependency is named only where workers still had time to spare. */
#include "load/limit.h"

#include <stdlib.h>

#define BUSY 0.85   /* of the workers' time: beyond, queues form in front of the CPU */
#define SHARE 0.01  /* of answers that decide a cause */
#define WAITING 0.6 /* of a request's time spent in the server behind */
#define GENERATOR_CPU 90.0

/* ---- Prometheus text ---- */

static bool has_label(struct vv_str labels, const char *want)
{
    const size_t n = strlen(want);
    for (size_t i = 0; i + n <= labels.n; i++) {
        if (memcmp(labels.p + i, want, n) == 0 &&
            (i == 0 || labels.p[i - 1] == ',' || labels.p[i - 1] == '{')) {
            return true;
        }
    }
    return false;
}

struct sample {
    struct vv_str name, labels;
    double value;
};

static bool read_sample(struct vv_str line, struct sample *ret)
{
    char buf[64], *end = NULL;
    size_t at = 0;
    if (line.n == 0 || line.p[0] == '#') {
        return false;
    }
    while (at < line.n && line.p[at] != '{' && line.p[at] != ' ') {
        at++;
    }
    ret->name = (struct vv_str){line.p, at};
    ret->labels = (struct vv_str){line.p, 0};
    if (at < line.n && line.p[at] == '{') {
        const size_t from = ++at;
        bool quoted = false;
        for (; at < line.n && (quoted || line.p[at] != '}'); at++) {
            if (line.p[at] == '\\' && quoted) {
                at++;
            } else if (line.p[at] == '"') {
                quoted = !quoted;
            }
        }
        if (at >= line.n) {
            return false;
        }
        ret->labels = (struct vv_str){line.p + from, at - from};
        at++;
    }
    struct vv_str rest = vv_str_trim((struct vv_str){line.p + at, line.n - at});
    const struct vv_str number = vv_str_cut(&rest, ' ');
    if (number.n == 0 || number.n >= sizeof buf) {
        return false;
    }
    memcpy(buf, number.p, number.n);
    buf[number.n] = '\0';
    ret->value = strtod(buf, &end);
    return *end == '\0';
}

void vv_load_signs_read(struct vv_str text, struct vv_load_signs *ret)
{
    *ret = (struct vv_load_signs){0};
    const struct {
        const char *name, *label;
        double *to;
    } rows[] = {
        {"vivace_loop_busy_seconds_total", NULL, &ret->loop_busy},
        {"http_requests_total", NULL, &ret->requests},
        {"http_requests_total", "status=\"503\"", &ret->answers_503},
        {"http_requests_total", "status=\"429\"", &ret->answers_429},
        {"http_request_duration_seconds_sum", NULL, &ret->duration},
        {"vivace_upstream_request_duration_seconds_sum", NULL, &ret->upstream_sum},
        {"vivace_upstream_request_duration_seconds_count", NULL, &ret->upstream_count},
        {"vivace_upstream_requests_total", "status=\"503\"", &ret->upstream_503},
        {"vivace_upstream_requests_total", "status=\"429\"", &ret->upstream_429},
        {"vivace_upstream_up", NULL, &ret->servers_up},
        {"vivace_shed_level", NULL, &ret->shed_level},
    };
    while (text.p != NULL && text.n > 0) {
        struct sample s;
        if (!read_sample(vv_str_cut(&text, '\n'), &s)) {
            continue;
        }
        for (size_t i = 0; i < VV_COUNT(rows); i++) {
            if (vv_str_eq(s.name, vv_str_from(rows[i].name)) &&
                (rows[i].label == NULL || has_label(s.labels, rows[i].label))) {
                *rows[i].to += s.value;
                ret->known = true;
            }
        }
        ret->servers += vv_str_eq(s.name, VV_STR("vivace_upstream_up")) ? 1.0 : 0.0;
    }
}

/* ---- judging ---- */

static double ratio(double part, double whole)
{
    return whole > 0.0 ? part / whole : 0.0;
}

static enum vv_load_cause too_busy(const struct vv_load_evidence *e, double busy, struct vv_sb *out)
{
    vv_sb_addf(out, "CPU: the gateway's %u worker%s were %.0f %% busy", e->workers,
               e->workers == 1 ? "" : "s", 100.0 * busy);
    vv_sb_adds(out, e->generator_late ? "; the generator was late too" : "");
    return VV_LOAD_CAUSE_CPU;
}

static enum vv_load_cause refused(const struct vv_load_evidence *e, double busy, struct vv_sb *out)
{
    const struct vv_load_signs *a = &e->before, *b = &e->after;
    const double theirs_429 = b->upstream_429 - a->upstream_429;
    const double theirs_503 = b->upstream_503 - a->upstream_503;
    if (e->share_429 > SHARE) {
        vv_sb_addf(out, "a rate limit: %.1f %% of the answers were 429", 100.0 * e->share_429);
        if (b->known) {
            vv_sb_adds(out, theirs_429 > 0.5 * (b->answers_429 - a->answers_429)
                                ? ", sent by the servers behind"
                                : ", sent by the gateway");
        }
        return VV_LOAD_CAUSE_RATE_LIMIT;
    }
    if (e->share_503 <= SHARE || !b->known) {
        return VV_LOAD_CAUSE_UNKNOWN;
    }
    if (b->servers_up < b->servers) {
        vv_sb_addf(out, "servers: %.0f of %.0f are out, %.1f %% of the answers were 503",
                   b->servers - b->servers_up, b->servers, 100.0 * e->share_503);
        return VV_LOAD_CAUSE_SERVERS_DOWN;
    }
    const bool own = theirs_503 < 0.5 * (b->answers_503 - a->answers_503);
    if (own && (busy >= BUSY || b->shed_level > 0.0)) {
        return too_busy(e, busy, out); /* it sheds, or requests hold connections meanwhile */
    }
    if (own) {
        vv_sb_addf(out,
                   "the upstream pool: %.1f %% of the answers were the gateway's own 503, all "
                   "connections to the servers were in use",
                   100.0 * e->share_503);
        return VV_LOAD_CAUSE_POOL;
    }
    vv_sb_addf(out, "a dependency: the servers behind answered 503 to %.1f %%",
               100.0 * e->share_503);
    return VV_LOAD_CAUSE_DEPENDENCY;
}

enum vv_load_cause vv_load_diagnose(const struct vv_load_evidence *e, struct vv_sb *out)
{
    const struct vv_load_signs *a = &e->before, *b = &e->after;
    const double capacity = e->seconds * (double)e->workers;
    const double busy = ratio(b->loop_busy - a->loop_busy, capacity);
    const double duration = b->duration - a->duration;
    const double behind = b->upstream_sum - a->upstream_sum;
    const enum vv_load_cause said = refused(e, busy, out);
    if (said != VV_LOAD_CAUSE_UNKNOWN) {
        return said;
    }
    /* Before the generator: on one machine a gateway that takes all CPU makes the generator late too. */
    if (b->known && busy >= BUSY) {
        return too_busy(e, busy, out);
    }
    if (e->generator_late || e->generator_cpu >= GENERATOR_CPU) {
        vv_sb_addf(out, "the generator: its threads were %.0f %% busy", e->generator_cpu);
        vv_sb_adds(out, e->generator_late
                            ? " and starts were late; try --threads, or another machine"
                            : "; try --threads");
        return VV_LOAD_CAUSE_GENERATOR;
    }
    if (!b->known) {
        vv_sb_adds(out, "unknown: the gateway's metrics were not read (--admin URL)");
        return VV_LOAD_CAUSE_UNKNOWN;
    }
    if (ratio(behind, duration) >= WAITING) {
        vv_sb_addf(out,
                   "a slow dependency: %.0f %% of a request's time passes in the servers behind "
                   "(%.1f ms each), workers were %.0f %% busy",
                   100.0 * ratio(behind, duration),
                   1000.0 * ratio(behind, b->upstream_count - a->upstream_count), 100.0 * busy);
        return VV_LOAD_CAUSE_DEPENDENCY;
    }
    vv_sb_addf(out,
               "unknown: workers %.0f %% busy, %.0f %% of the time in the servers behind, "
               "generator %.0f %% busy",
               100.0 * busy, 100.0 * ratio(behind, duration), e->generator_cpu);
    return VV_LOAD_CAUSE_UNKNOWN;
}

const char *vv_load_cause_name(enum vv_load_cause c)
{
    static const char *const names[] = {
        [VV_LOAD_CAUSE_UNKNOWN] = "unknown",           [VV_LOAD_CAUSE_NONE] = "none",
        [VV_LOAD_CAUSE_GENERATOR] = "generator",       [VV_LOAD_CAUSE_RATE_LIMIT] = "rate-limit",
        [VV_LOAD_CAUSE_SERVERS_DOWN] = "servers-down", [VV_LOAD_CAUSE_POOL] = "upstream-pool",
        [VV_LOAD_CAUSE_DEPENDENCY] = "dependency",     [VV_LOAD_CAUSE_CPU] = "cpu",
    };
    return names[c];
}
