/* src/watch/slo.c - sums per window instead of walks over the rings: looking happens every second
 * for every objective and window, and a slot leaves a window only every ten seconds. */
#include "watch/slo.h"

#include <math.h>
#include <string.h>

/* ---- states -------------------------------------------------------------------------------- */

const char *vv_slo_state_name(enum vv_slo_state s)
{
    static const char *const names[] = {"no_data", "meeting", "at_risk", "breaching"};
    return names[s];
}

struct vv_slo_bounds vv_slo_bounds_for(enum vv_slo_kind kind, double target)
{
    switch (kind) {
    case VV_SLO_AVAILABILITY:
        return (struct vv_slo_bounds){target, 100 - (100 - target) * 5};
    case VV_SLO_LATENCY:
        return (struct vv_slo_bounds){target, target * 1.5};
    case VV_SLO_ERRORS:
        break;
    }
    return (struct vv_slo_bounds){target, target * 10};
}

/* Bounds are computed (100 - 0.1 * 5): without a little room 99.5 would breach below 99.5. */
static bool at_least(double a, double b)
{
    return a >= b - 1e-9 * (fabs(a) + fabs(b));
}

enum vv_slo_state vv_slo_judge(enum vv_slo_kind kind, const struct vv_slo_bounds *b, double value)
{
    const bool high = kind == VV_SLO_AVAILABILITY;
    if (isnan(value)) {
        return VV_SLO_NO_DATA;
    }
    if (high ? at_least(value, b->target) : at_least(b->target, value)) {
        return VV_SLO_MEETING;
    }
    return (high ? at_least(value, b->breach) : at_least(b->breach, value)) ? VV_SLO_AT_RISK
                                                                            : VV_SLO_BREACHING;
}

static const struct vv_slo_preset presets[] = {
    {"default", "P95 below 500 ms, P99 below 1 s, 99.9 % available, 0.1 % errors", 500, 1000, 99.9,
     0.1},
    {"e-commerce", "P95 below 1 s, 99.9 % available", 1000, 0, 99.9, 0},
    {"saas", "P95 below 500 ms, 99.95 % available", 500, 0, 99.95, 0},
    {"api", "P95 below 200 ms, 99.99 % available", 200, 0, 99.99, 0},
};

const struct vv_slo_preset *vv_slo_preset_at(size_t i)
{
    return i < VV_COUNT(presets) ? &presets[i] : NULL;
}

const struct vv_slo_preset *vv_slo_preset(const char *name)
{
    for (size_t i = 0; i < VV_COUNT(presets); i++) {
        if (strcmp(presets[i].name, name) == 0) {
            return &presets[i];
        }
    }
    return NULL;
}

/* ---- rings --------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    int64_t ms;
} windows[] = {
#define AS_ROW(id, name, ms) {name, INT64_C(ms)},
    VV_SLO_WINDOWS(AS_ROW)
#undef AS_ROW
};

const struct vv_slo_pair vv_slo_pairs[VV_SLO_PAIRS] = {
    {VV_SLO_1H, VV_SLO_5M, 14.4, true},
    {VV_SLO_6H, VV_SLO_30M, 6, true},
    {VV_SLO_1D, VV_SLO_2H, 3, false},
    {VV_SLO_3D, VV_SLO_6H, 1, false},
};

const char *vv_slo_window_name(enum vv_slo_window w)
{
    return windows[w].name;
}

int64_t vv_slo_window_ms(enum vv_slo_window w)
{
    return windows[w].ms;
}

static bool is_fine(enum vv_slo_window w)
{
    return windows[w].ms <= VV_SLO_FINE_MS * VV_SLO_FINE_SLOTS;
}

void vv_slo_init(struct vv_slo *s, double objective, uint64_t events_min)
{
    VV_ASSERT(objective > 0 && objective < 1);
    memset(s, 0, sizeof *s);
    s->objective = objective;
    s->events_min = events_min;
    s->fine = (struct vv_slo_ring){s->fine_slots, VV_SLO_FINE_SLOTS, VV_SLO_FINE_MS, INT64_MIN};
    s->coarse =
        (struct vv_slo_ring){s->coarse_slots, VV_SLO_COARSE_SLOTS, VV_SLO_COARSE_MS, INT64_MIN};
}

static void add(struct vv_slo_counts *a, const struct vv_slo_counts *b)
{
    a->total += b->total;
    a->bad += b->bad;
    a->degraded += b->degraded;
}

static void subtract(struct vv_slo_counts *a, const struct vv_slo_counts *b)
{
    a->total -= b->total;
    a->bad -= b->bad;
    a->degraded -= b->degraded;
}

static struct vv_slo_counts *slot(struct vv_slo_ring *r, int64_t number)
{
    const int64_t i = number % (int64_t)r->n;
    return &r->at[i < 0 ? i + (int64_t)r->n : i];
}

static void clear(struct vv_slo *s, struct vv_slo_ring *r)
{
    memset(r->at, 0, r->n * sizeof *r->at);
    for (size_t w = 0; w < VV_SLO_WINDOW_COUNT; w++) {
        if (is_fine((enum vv_slo_window)w) == (r == &s->fine)) {
            s->sums[w] = (struct vv_slo_counts){0, 0, 0};
        }
    }
}

static void advance(struct vv_slo *s, struct vv_slo_ring *r, int64_t now_ms)
{
    const int64_t to = now_ms / r->slot_ms;
    if (r->newest == INT64_MIN || to - r->newest >= (int64_t)r->n) {
        clear(s, r);
        r->newest = to;
    }
    while (r->newest < to) {
        r->newest++;
        for (size_t w = 0; w < VV_SLO_WINDOW_COUNT; w++) {
            if (is_fine((enum vv_slo_window)w) == (r == &s->fine)) {
                subtract(&s->sums[w], slot(r, r->newest - windows[w].ms / r->slot_ms));
            }
        }
        *slot(r, r->newest) = (struct vv_slo_counts){0, 0, 0};
    }
}

void vv_slo_advance(struct vv_slo *s, int64_t now_ms)
{
    advance(s, &s->fine, now_ms);
    advance(s, &s->coarse, now_ms);
}

void vv_slo_count(struct vv_slo *s, int64_t now_ms, struct vv_slo_counts more)
{
    vv_slo_advance(s, now_ms);
    add(slot(&s->fine, s->fine.newest), &more);
    add(slot(&s->coarse, s->coarse.newest), &more);
    for (size_t w = 0; w < VV_SLO_WINDOW_COUNT; w++) {
        add(&s->sums[w], &more);
    }
}

struct vv_slo_counts vv_slo_sum(const struct vv_slo *s, enum vv_slo_window w)
{
    return s->sums[w];
}

double vv_slo_bad_share(const struct vv_slo *s, enum vv_slo_window w)
{
    const struct vv_slo_counts *c = &s->sums[w];
    return c->total > 0 ? (double)c->bad / (double)c->total : NAN;
}

double vv_slo_burn(const struct vv_slo *s, enum vv_slo_window w)
{
    return vv_slo_bad_share(s, w) / (1 - s->objective);
}

bool vv_slo_hot(const struct vv_slo *s, size_t pair)
{
    const struct vv_slo_pair *p = &vv_slo_pairs[pair];
    const double bound = p->factor * (1 - s->objective);
    return s->sums[p->longer].total >= s->events_min && vv_slo_bad_share(s, p->longer) > bound &&
           vv_slo_bad_share(s, p->shorter) > bound; /* NaN is not more than anything */
}

struct vv_slo_budget vv_slo_budget(const struct vv_slo *s)
{
    const struct vv_slo_counts *c = &s->sums[VV_SLO_30D];
    const double share = 1 - s->objective, burn = vv_slo_burn(s, VV_SLO_1H);
    struct vv_slo_budget b = {.allowed = share * (double)c->total,
                              .spent = (double)c->bad,
                              .left_share = 1,
                              .time_allowed_s = share * (double)VV_SLO_PERIOD_MS / 1000,
                              .exhausted_s = INFINITY};
    if (b.allowed > 0) {
        b.left_share = 1 - b.spent / b.allowed;
    }
    if (b.left_share <= 0) {
        b.exhausted_s = 0;
    } else if (burn > 0) {
        b.exhausted_s = b.left_share * (double)VV_SLO_PERIOD_MS / 1000 / burn;
    }
    return b;
}

/* ---- the same for Prometheus --------------------------------------------------------------- */

static void put_over(const char *expr, const char *window, struct vv_sb *out)
{
    static const char mark[] = "$window";
    for (const char *at = strstr(expr, mark); at != NULL; at = strstr(expr, mark)) {
        vv_sb_add(out, (struct vv_str){expr, (size_t)(at - expr)});
        vv_sb_adds(out, window);
        expr = at + sizeof mark - 1;
    }
    vv_sb_adds(out, expr);
}

static void put_alert(const char *name, double objective, bool page, struct vv_sb *out)
{
    vv_sb_addf(out, "      - alert: SLOBurn%s\n        expr: |\n", page ? "Fast" : "Slow");
    const char *between = "          ";
    for (size_t i = 0; i < VV_SLO_PAIRS; i++) {
        const struct vv_slo_pair *p = &vv_slo_pairs[i];
        if (p->page != page) {
            continue;
        }
        vv_sb_addf(out, "%s(\n", between);
        const enum vv_slo_window both[] = {p->longer, p->shorter};
        for (size_t k = 0; k < 2; k++) {
            vv_sb_addf(out, "            %sslo:error_ratio:%s{slo=\"%s\"} > %.17g * %.10g\n",
                       k > 0 ? "and " : "", windows[both[k]].name, name, p->factor, 1 - objective);
        }
        vv_sb_adds(out, "          )");
        between = " or ";
    }
    vv_sb_addf(out,
               "\n        labels:\n          severity: %s\n        annotations:\n"
               "          summary: The error budget of %s burns %s\n"
               "          description: The share of bad answers is {{ $value | humanizePercentage "
               "}}\n",
               page ? "page" : "ticket", name, page ? "fast" : "steadily");
}

void vv_slo_rules(const char *name, double objective, const char *bad, const char *total,
                  struct vv_sb *out)
{
    vv_sb_addf(out, "groups:\n  - name: slo.%s\n    rules:\n", name);
    for (size_t w = 0; w < VV_SLO_WINDOW_COUNT; w++) {
        vv_sb_addf(out, "      - record: slo:error_ratio:%s\n        expr: |\n          (",
                   windows[w].name);
        put_over(bad, windows[w].name, out);
        vv_sb_adds(out, ") / (");
        put_over(total, windows[w].name, out);
        vv_sb_addf(out, ")\n        labels:\n          slo: %s\n", name);
    }
    put_alert(name, objective, true, out);
    put_alert(name, objective, false, out);
}

/* ---- trends -------------------------------------------------------------------------------- */

#define TREND_SPAN_MS 3600000.0
#define TREND_POINTS_MIN 5
#define TREND_IN_A_ROW 3
#define TREND_BEGINS 0.25
#define TREND_ENDS 0.125

const char *vv_slo_trend_name(enum vv_slo_trend t)
{
    static const char *const names[] = {"stable", "improving", "degrading"};
    return names[t];
}

/* Least squares: change over an hour. */
static double change(const struct vv_slo_trender *t, int64_t now_ms)
{
    double n = 0, x = 0, y = 0, xx = 0, xy = 0;
    for (size_t i = 0; i < t->n; i++) {
        const double at = (double)(t->at_ms[i] - now_ms) / TREND_SPAN_MS;
        if (at >= -1) {
            n++;
            x += at;
            y += t->value[i];
            xx += at * at;
            xy += at * t->value[i];
        }
    }
    const double spread = n * xx - x * x;
    return n < TREND_POINTS_MIN || spread <= 0 ? 0 : (n * xy - x * y) / spread;
}

enum vv_slo_trend vv_slo_trend_add(struct vv_slo_trender *t, enum vv_slo_kind kind,
                                   const struct vv_slo_bounds *b, int64_t now_ms, double value)
{
    if (isnan(value)) {
        return t->trend;
    }
    t->value[t->next] = value;
    t->at_ms[t->next] = now_ms;
    t->next = (t->next + 1) % VV_SLO_TREND_POINTS;
    t->n += t->n < VV_SLO_TREND_POINTS ? 1 : 0;
    const double room = fabs(b->target - b->breach);
    const double slope = change(t, now_ms);
    const double better = (kind == VV_SLO_AVAILABILITY ? slope : -slope) / (room > 0 ? room : 1);
    const enum vv_slo_trend towards = better > 0 ? VV_SLO_IMPROVING : VV_SLO_DEGRADING;
    enum vv_slo_trend says = t->trend;
    if (fabs(better) >= TREND_BEGINS) {
        says = towards;
    } else if (fabs(better) < TREND_ENDS || towards != t->trend) {
        says = VV_SLO_STABLE;
    }
    t->seen = says == t->candidate ? t->seen + 1 : 1;
    t->candidate = says;
    if (says != t->trend && t->seen >= TREND_IN_A_ROW) {
        t->trend = says;
    }
    return t->trend;
}
