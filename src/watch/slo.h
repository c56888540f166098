/* src/watch/slo.h - service level: states, error budgets, burn rates, trends.
 *
 * Model:     an indicator (availability, a latency, the share of errors) has a target and a bound
 *            behind which it breaches; in between it is at risk. An objective counts good, bad and
 *            degraded answers in two rings of slots (10 s for six hours, 5 min for 30 days) with a
 *            running sum per window. Four pairs of windows watch how fast the budget burns; a pair
 *            is hot when both its windows burn faster than its factor. A slot without counts is no
 *            data, neither good nor bad. Degraded answers are counted as good for the budget and
 *            told apart, for they were answers but not the whole truth.
 * Source:    B. Beyer et al., The Site Reliability Workbook (2018), chapter 5, table 5-8, and its
 *            last line (3 days) for slow burns.
 * Units:     shares are fractions (0.999); *_ms are milliseconds since 1970 or durations.
 * Threads:   one owner. Ownership: the caller owns the objective (260 kB: allocate it).
 * Errors:    none. A time that goes back counts into the newest slot.
 */
#ifndef VV_WATCH_SLO_H
#define VV_WATCH_SLO_H
#include "base/defs.h"
#include "base/sb.h"

/* ---- states -------------------------------------------------------------------------------- */

enum vv_slo_kind { VV_SLO_AVAILABILITY, VV_SLO_LATENCY, VV_SLO_ERRORS };
enum vv_slo_state { VV_SLO_NO_DATA, VV_SLO_MEETING, VV_SLO_AT_RISK, VV_SLO_BREACHING };
const char *vv_slo_state_name(enum vv_slo_state s); /* "no_data", "meeting", "at_risk", ... */
struct vv_slo_bounds {
    double target, breach; /* both themselves are on the better side */
};
/* With the proportions of the defaults: availability 99.9 % breaches below 99.5 (five budgets),
 * a latency of 500 ms above 750 (one and a half), errors of 0.1 % above 1 (ten times). Units are
 * the caller's: percent or milliseconds. */
struct vv_slo_bounds vv_slo_bounds_for(enum vv_slo_kind kind, double target);
/* NaN is no data. */
enum vv_slo_state vv_slo_judge(enum vv_slo_kind kind, const struct vv_slo_bounds *b, double value);

struct vv_slo_preset {
    const char *name, *doc;
    double p95_ms, p99_ms, availability, errors; /* the last two in percent; 0: not named */
};
const struct vv_slo_preset *vv_slo_preset(const char *name); /* NULL: there is none */
const struct vv_slo_preset *vv_slo_preset_at(size_t i);      /* NULL beyond the end */

/* ---- objectives ---------------------------------------------------------------------------- */

#define VV_SLO_FINE_MS INT64_C(10000)
#define VV_SLO_FINE_SLOTS 2160 /* six hours */
#define VV_SLO_COARSE_MS INT64_C(300000)
#define VV_SLO_COARSE_SLOTS 8640 /* thirty days */
#define VV_SLO_PERIOD_MS (VV_SLO_COARSE_MS * VV_SLO_COARSE_SLOTS)

#define VV_SLO_WINDOWS(X)                                                                          \
    X(5M, "5m", 300000)                                                                            \
    X(30M, "30m", 1800000)                                                                         \
    X(1H, "1h", 3600000)                                                                           \
    X(2H, "2h", 7200000)                                                                           \
    X(6H, "6h", 21600000)                                                                          \
    X(1D, "1d", 86400000)                                                                          \
    X(3D, "3d", 259200000)                                                                         \
    X(30D, "30d", 2592000000)
enum vv_slo_window {
#define VV_SLO_AS_ENUM(id, name, ms) VV_SLO_##id,
    VV_SLO_WINDOWS(VV_SLO_AS_ENUM)
#undef VV_SLO_AS_ENUM
        VV_SLO_WINDOW_COUNT
};
const char *vv_slo_window_name(enum vv_slo_window w);
int64_t vv_slo_window_ms(enum vv_slo_window w);

#define VV_SLO_PAIRS 4
struct vv_slo_pair {
    enum vv_slo_window longer, shorter;
    double factor;
    bool page; /* false: a ticket */
};
extern const struct vv_slo_pair vv_slo_pairs[VV_SLO_PAIRS];

struct vv_slo_counts {
    uint64_t total, bad, degraded; /* bad and degraded are parts of total */
};
struct vv_slo_ring { /* PRIVATE fields */
    struct vv_slo_counts *at;
    size_t n;
    int64_t slot_ms, newest; /* number of the newest slot; INT64_MIN: none */
};
struct vv_slo { /* PRIVATE fields */
    double objective;
    uint64_t events_min;
    struct vv_slo_ring fine, coarse;
    struct vv_slo_counts sums[VV_SLO_WINDOW_COUNT];
    struct vv_slo_counts fine_slots[VV_SLO_FINE_SLOTS], coarse_slots[VV_SLO_COARSE_SLOTS];
};
/* objective from 0 to 1, both excluded. events_min: a pair with fewer events in its longer window
 * never gets hot. */
void vv_slo_init(struct vv_slo *s, double objective, uint64_t events_min);
void vv_slo_count(struct vv_slo *s, int64_t now_ms, struct vv_slo_counts more);
void vv_slo_advance(struct vv_slo *s, int64_t now_ms); /* before looking, when nothing came */
struct vv_slo_counts vv_slo_sum(const struct vv_slo *s, enum vv_slo_window w);
double vv_slo_bad_share(const struct vv_slo *s, enum vv_slo_window w); /* NaN: no data */
double vv_slo_burn(const struct vv_slo *s, enum vv_slo_window w);      /* 1: just used up in 30 d */
bool vv_slo_hot(const struct vv_slo *s, size_t pair);
struct vv_slo_budget {
    double allowed, spent, left_share; /* answers; left_share 1: untouched, below 0: overdrawn */
    double time_allowed_s;             /* the same as time of a total outage: 2592 s for 99.9 % */
    double exhausted_s;                /* at the burn of the last hour; infinity: never */
};
struct vv_slo_budget vv_slo_budget(const struct vv_slo *s);
/* The same four pairs as a Prometheus rule file. `bad` and `total` are selectors of counters with
 * $window where the window goes: `sum(rate(http_requests_total{status=~"5.."}[$window]))`. */
void vv_slo_rules(const char *name, double objective, const char *bad, const char *total,
                  struct vv_sb *out);

/* ---- trends -------------------------------------------------------------------------------- */

enum vv_slo_trend { VV_SLO_STABLE, VV_SLO_IMPROVING, VV_SLO_DEGRADING };
const char *vv_slo_trend_name(enum vv_slo_trend t);
#define VV_SLO_TREND_POINTS 60
struct vv_slo_trender { /* PRIVATE fields; zero is the start */
    double value[VV_SLO_TREND_POINTS];
    int64_t at_ms[VV_SLO_TREND_POINTS];
    size_t n, next;
    enum vv_slo_trend trend, candidate;
    unsigned seen;
};
/* One value a minute; NaN is left out. The slope of the last hour, as a change over that hour, is
 * compared with the distance from target to breach: a trend begins at a quarter of it, ends below
 * an eighth, and either needs three values in a row that say so. */
enum vv_slo_trend vv_slo_trend_add(struct vv_slo_trender *t, enum vv_slo_kind kind,
                                   const struct vv_slo_bounds *b, int64_t now_ms, double value);
#endif
