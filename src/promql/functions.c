/* src/promql/functions.c - one row per function; the bodies of those that are neither arithmetic on
 * one number nor a look over a range. */
#include "promql/promql_int.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

#define YEAR_SECONDS_MAX 6e16 /* beyond it a year does not fit the calendar of C */

static void call_time(struct vv_pq_run *r VV_UNUSED, const struct vv_promql_expr *e VV_UNUSED,
                      int64_t t_ms, struct vv_pq_value *out)
{
    out->scalar = (double)t_ms / 1000;
}

static void call_pi(struct vv_pq_run *r VV_UNUSED, const struct vv_promql_expr *e VV_UNUSED,
                    int64_t t_ms VV_UNUSED, struct vv_pq_value *out)
{
    out->scalar = M_PI;
}

static void call_scalar(struct vv_pq_run *r, const struct vv_promql_expr *e, int64_t t_ms,
                        struct vv_pq_value *out)
{
    struct vv_pq_value v = {0};
    vv_pq_eval(r, e->args[0], t_ms, &v);
    out->scalar = v.n == 1 ? v.vector[0].v : (double)NAN;
}

static void one_element(struct vv_pq_run *r, double v, struct vv_pq_value *out)
{
    out->vector = vv_pq_alloc(r, 1, sizeof *out->vector);
    if (out->vector != NULL) {
        out->vector[0] = (struct vv_pq_element){.v = v};
        out->n = 1;
    }
}

static void call_vector(struct vv_pq_run *r, const struct vv_promql_expr *e, int64_t t_ms,
                        struct vv_pq_value *out)
{
    struct vv_pq_value v = {0};
    vv_pq_eval(r, e->args[0], t_ms, &v);
    one_element(r, v.scalar, out);
}

/* What is known about the series that is not there: its equalities, unless a label has several. */
static struct vv_promql_labels labels_of_absent(struct vv_pq_run *r, const struct vv_promql_expr *e)
{
    struct vv_promql_labels l = {NULL, 0};
    for (size_t i = 0; i < e->matchers_n; i++) {
        const struct vv_promql_matcher *m = &e->matchers[i];
        bool again = false;
        for (size_t k = 0; k < i; k++) {
            again = again ||
                    (vv_str_eq(e->matchers[k].name, m->name) && e->matchers[k].how == MATCH_EQ);
        }
        if (!vv_str_eq(m->name, VV_PQ_NAME)) {
            const bool known = m->how == MATCH_EQ && !again;
            l = vv_pq_labels_set(r, l, m->name, known ? m->value : (struct vv_str){"", 0});
        }
    }
    return l;
}

static void call_absent(struct vv_pq_run *r, const struct vv_promql_expr *e, int64_t t_ms,
                        struct vv_pq_value *out)
{
    struct vv_pq_value v = {0};
    vv_pq_eval(r, e->args[0], t_ms, &v);
    if (v.n == 0 && r->err == VV_OK) {
        one_element(r, 1, out);
        if (r->err == VV_OK) {
            out->vector[0].labels = labels_of_absent(r, e->args[0]);
        }
    }
}

static void call_timestamp(struct vv_pq_run *r, const struct vv_promql_expr *e, int64_t t_ms,
                           struct vv_pq_value *out)
{
    vv_pq_eval(r, e->args[0], t_ms, out);
    const bool sampled = e->args[0]->kind == NODE_SELECTOR;
    for (size_t i = 0; i < out->n && r->err == VV_OK; i++) {
        struct vv_pq_element *el = &out->vector[i];
        el->v = (double)(sampled ? el->t_ms : t_ms) / 1000;
        el->labels = vv_pq_drop_name(r, el->labels);
    }
}

static double larger(double a, double b)
{
    return isnan(a) || isnan(b) ? (double)NAN : fmax(a, b);
}

static double smaller(double a, double b)
{
    return isnan(a) || isnan(b) ? (double)NAN : fmin(a, b);
}

static double scalar_arg(struct vv_pq_run *r, const struct vv_promql_expr *e, size_t i,
                         int64_t t_ms)
{
    struct vv_pq_value v = {0};
    vv_pq_eval(r, e->args[i], t_ms, &v);
    return v.scalar;
}

static void clamp(struct vv_pq_run *r, const struct vv_promql_expr *e, int64_t t_ms, double min,
                  double max, struct vv_pq_value *out)
{
    vv_pq_eval(r, e->args[0], t_ms, out);
    if (max < min) {
        out->n = 0;
    }
    for (size_t i = 0; i < out->n && r->err == VV_OK; i++) {
        out->vector[i].v = larger(min, smaller(max, out->vector[i].v));
        out->vector[i].labels = vv_pq_drop_name(r, out->vector[i].labels);
    }
}

static void call_clamp(struct vv_pq_run *r, const struct vv_promql_expr *e, int64_t t_ms,
                       struct vv_pq_value *out)
{
    clamp(r, e, t_ms, scalar_arg(r, e, 1, t_ms), scalar_arg(r, e, 2, t_ms), out);
}

static void call_clamp_min(struct vv_pq_run *r, const struct vv_promql_expr *e, int64_t t_ms,
                           struct vv_pq_value *out)
{
    clamp(r, e, t_ms, scalar_arg(r, e, 1, t_ms), (double)INFINITY, out);
}

static void call_clamp_max(struct vv_pq_run *r, const struct vv_promql_expr *e, int64_t t_ms,
                           struct vv_pq_value *out)
{
    clamp(r, e, t_ms, -(double)INFINITY, scalar_arg(r, e, 1, t_ms), out);
}

static void call_round(struct vv_pq_run *r, const struct vv_promql_expr *e, int64_t t_ms,
                       struct vv_pq_value *out)
{
    /* Dividing by the inverse is exact for 0.1, 0.01 and their like. */
    const double inverse = 1 / (e->args_n > 1 ? scalar_arg(r, e, 1, t_ms) : 1);
    vv_pq_eval(r, e->args[0], t_ms, out);
    for (size_t i = 0; i < out->n && r->err == VV_OK; i++) {
        out->vector[i].v = floor(out->vector[i].v * inverse + 0.5) / inverse;
        out->vector[i].labels = vv_pq_drop_name(r, out->vector[i].labels);
    }
}

static int value_order(const void *a, const void *b)
{
    const double x = ((const struct vv_pq_element *)a)->v, y = ((const struct vv_pq_element *)b)->v;
    return isnan(x) || isnan(y) ? isnan(x) - isnan(y) : (x > y) - (x < y);
}

static int value_order_down(const void *a, const void *b)
{
    const double x = ((const struct vv_pq_element *)a)->v, y = ((const struct vv_pq_element *)b)->v;
    return isnan(x) || isnan(y) ? isnan(x) - isnan(y) : (x < y) - (x > y);
}

static void call_sort(struct vv_pq_run *r, const struct vv_promql_expr *e, int64_t t_ms,
                      struct vv_pq_value *out)
{
    vv_pq_eval(r, e->args[0], t_ms, out);
    if (out->n > 1) {
        qsort(out->vector, out->n, sizeof *out->vector, value_order);
    }
}

static void call_sort_desc(struct vv_pq_run *r, const struct vv_promql_expr *e, int64_t t_ms,
                           struct vv_pq_value *out)
{
    vv_pq_eval(r, e->args[0], t_ms, out);
    if (out->n > 1) {
        qsort(out->vector, out->n, sizeof *out->vector, value_order_down);
    }
}

static void call_absent_over_time(struct vv_pq_run *r, const struct vv_promql_expr *e, int64_t t_ms,
                                  struct vv_pq_value *out)
{
    call_absent(r, e, t_ms, out); /* a range without samples is no series */
}

/* Length of the reference behind a dollar sign ($1, $name, ${name}), 0: none. */
static size_t reference(struct vv_str s, struct vv_str *name)
{
    const bool braced = s.n > 0 && s.p[0] == '{';
    const size_t from = braced ? 1 : 0;
    size_t i = from;
    while (i < s.n) {
        const char l = vv_char_lower(s.p[i]);
        if (!((l >= 'a' && l <= 'z') || (l >= '0' && l <= '9') || l == '_')) {
            break;
        }
        i++;
    }
    if (i == from || (braced && (i >= s.n || s.p[i] != '}'))) {
        return 0;
    }
    *name = (struct vv_str){s.p + from, i - from};
    return i + (braced ? 1 : 0);
}

static void expand(const struct vv_regex *re, struct vv_str text,
                   const struct vv_str groups[VV_REGEX_GROUPS], struct vv_sb *out)
{
    for (size_t i = 0; i < text.n; i++) {
        struct vv_str name = {NULL, 0};
        const struct vv_str rest = {text.p + i + 1, text.n - i - 1};
        if (text.p[i] != '$') {
            vv_sb_addc(out, text.p[i]);
        } else if (rest.n > 0 && rest.p[0] == '$') {
            vv_sb_addc(out, '$');
            i++;
        } else {
            const size_t n = reference(rest, &name);
            const int group = n > 0 ? vv_regex_group(re, name) : -1;
            if (n == 0) {
                vv_sb_addc(out, '$');
            } else if (group >= 0 && groups[group].p != NULL) {
                vv_sb_add(out, groups[group]);
            }
            i += n;
        }
    }
}

static void call_label_replace(struct vv_pq_run *r, const struct vv_promql_expr *e, int64_t t_ms,
                               struct vv_pq_value *out)
{
    struct vv_sb sb = VV_SB_INIT;
    vv_pq_eval(r, e->args[0], t_ms, out);
    for (size_t i = 0; i < out->n && r->err == VV_OK; i++) {
        struct vv_str groups[VV_REGEX_GROUPS];
        struct vv_promql_labels *l = &out->vector[i].labels;
        if (!vv_regex_match(e->re, vv_pq_label(*l, e->args[3]->text), groups)) {
            continue;
        }
        vv_sb_reset(&sb);
        expand(e->re, e->args[2]->text, groups, &sb);
        const struct vv_str value = vv_arena_str(r->arena, vv_sb_str(&sb));
        if (sb.failed || value.p == NULL) {
            vv_pq_fail(r, e, VV_ENOMEM, "the query needs too much memory");
            break;
        }
        *l = vv_pq_labels_set(r, *l, e->args[1]->text, value);
    }
    vv_sb_fini(&sb);
}

static void call_label_join(struct vv_pq_run *r, const struct vv_promql_expr *e, int64_t t_ms,
                            struct vv_pq_value *out)
{
    struct vv_sb sb = VV_SB_INIT;
    vv_pq_eval(r, e->args[0], t_ms, out);
    for (size_t i = 0; i < out->n && r->err == VV_OK; i++) {
        struct vv_promql_labels *l = &out->vector[i].labels;
        vv_sb_reset(&sb);
        for (size_t k = 3; k < e->args_n; k++) {
            if (k > 3) {
                vv_sb_add(&sb, e->args[2]->text);
            }
            vv_sb_add(&sb, vv_pq_label(*l, e->args[k]->text));
        }
        const struct vv_str value = vv_arena_str(r->arena, vv_sb_str(&sb));
        if (sb.failed || value.p == NULL) {
            vv_pq_fail(r, e, VV_ENOMEM, "the query needs too much memory");
            break;
        }
        *l = vv_pq_labels_set(r, *l, e->args[1]->text, value);
    }
    vv_sb_fini(&sb);
}

struct bucket {
    size_t group;
    double bound, count;
};

static int bucket_order(const void *a, const void *b)
{
    const struct bucket *x = a, *y = b;
    const int c = (x->group > y->group) - (x->group < y->group);
    return c != 0 ? c : vv_pq_double_compare(&x->bound, &y->bound);
}

/* Buckets of one histogram in rising order. Equal bounds are added up, and a count below the one
 * before it, which scrapes at different moments can give, is lifted to it. */
static size_t tidy(struct bucket *b, size_t n)
{
    size_t kept = 1;
    for (size_t i = 1; i < n; i++) {
        if (b[i].bound == b[kept - 1].bound) {
            b[kept - 1].count += b[i].count;
        } else {
            b[kept++] = b[i];
        }
    }
    for (size_t i = 1; i < kept; i++) {
        b[i].count = b[i].count < b[i - 1].count ? b[i - 1].count : b[i].count;
    }
    return kept;
}

static double bucket_quantile(double q, struct bucket *b, size_t n)
{
    if (isnan(q)) {
        return (double)NAN;
    }
    if (q < 0 || q > 1) {
        return q < 0 ? -(double)INFINITY : (double)INFINITY;
    }
    if (!(isinf(b[n - 1].bound) && b[n - 1].bound > 0)) {
        return (double)NAN;
    }
    n = tidy(b, n);
    if (n < 2 || b[n - 1].count == 0) {
        return (double)NAN;
    }
    double rank = q * b[n - 1].count;
    size_t i = 0;
    while (i < n - 1 && !(b[i].count >= rank)) {
        i++;
    }
    if (i == n - 1) {
        return b[n - 2].bound;
    }
    if (i == 0 && b[0].bound <= 0) {
        return b[0].bound;
    }
    const double start = i > 0 ? b[i - 1].bound : 0, below = i > 0 ? b[i - 1].count : 0;
    rank -= below;
    return start + (b[i].bound - start) * (rank / (b[i].count - below));
}

static bool parse_bound(struct vv_str s, double *ret)
{
    char buf[64], *end = NULL;
    if (s.n == 0 || s.n >= sizeof buf) {
        return false;
    }
    memcpy(buf, s.p, s.n);
    buf[s.n] = '\0';
    *ret = strtod(buf, &end);
    return *end == '\0' && buf[0] != ' ';
}

static void call_histogram_quantile(struct vv_pq_run *r, const struct vv_promql_expr *e,
                                    int64_t t_ms, struct vv_pq_value *out)
{
    static const struct vv_str le = {"le", 2};
    const double q = scalar_arg(r, e, 0, t_ms);
    struct vv_pq_value in = {0};
    struct vv_pq_table table = {.arena = r->arena};
    vv_pq_eval(r, e->args[1], t_ms, &in);
    struct bucket *b = vv_pq_alloc(r, in.n, sizeof *b);
    out->vector = vv_pq_alloc(r, in.n, sizeof *out->vector);
    size_t n = 0;
    for (size_t i = 0; i < in.n && vv_pq_work(r, e, 1); i++) {
        const struct vv_promql_labels l = in.vector[i].labels;
        bool is_new = false;
        if (!parse_bound(vv_pq_label(l, le), &b[n].bound)) {
            continue;
        }
        b[n].group = vv_pq_table_add(
            &table, vv_pq_labels_without(r, l, (struct vv_pq_names){&le, 1}, false), &is_new);
        b[n++].count = in.vector[i].v;
        if (b[n - 1].group == SIZE_MAX) {
            vv_pq_fail(r, e, VV_ENOMEM, "the query needs too much memory");
        }
    }
    if (r->err != VV_OK) {
        return;
    }
    qsort(b, n, sizeof *b, bucket_order);
    for (size_t i = 0; i < n;) {
        const size_t from = i, group = b[i].group;
        while (i < n && b[i].group == group) {
            i++;
        }
        out->vector[out->n++] = (struct vv_pq_element){
            vv_pq_drop_name(r, table.keys[group]), bucket_quantile(q, b + from, i - from), t_ms};
    }
}

enum date_part { MINUTE, HOUR, DAY_OF_WEEK, DAY_OF_MONTH, DAY_OF_YEAR, DAYS_IN_MONTH, MONTH, YEAR };

static int days_in_month(int month, int year)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month] + (month == 1 && leap ? 1 : 0);
}

static double date(double seconds, enum date_part part)
{
    struct tm tm;
    const time_t t = fabs(seconds) < YEAR_SECONDS_MAX ? (time_t)seconds : 0;
    if (!(fabs(seconds) < YEAR_SECONDS_MAX) || gmtime_r(&t, &tm) == NULL) {
        return (double)NAN;
    }
    switch (part) {
    case MINUTE:
        return tm.tm_min;
    case HOUR:
        return tm.tm_hour;
    case DAY_OF_WEEK:
        return tm.tm_wday;
    case DAY_OF_MONTH:
        return tm.tm_mday;
    case DAY_OF_YEAR:
        return tm.tm_yday + 1;
    case DAYS_IN_MONTH:
        return days_in_month(tm.tm_mon, tm.tm_year + 1900);
    case MONTH:
        return tm.tm_mon + 1;
    case YEAR:
        return tm.tm_year + 1900.0;
    }
    return (double)NAN;
}

static void call_date(struct vv_pq_run *r, const struct vv_promql_expr *e, int64_t t_ms,
                      enum date_part part, struct vv_pq_value *out)
{
    if (e->args_n == 0) {
        one_element(r, date((double)t_ms / 1000, part), out);
        return;
    }
    vv_pq_eval(r, e->args[0], t_ms, out);
    for (size_t i = 0; i < out->n && r->err == VV_OK; i++) {
        out->vector[i].v = date(out->vector[i].v, part);
        out->vector[i].labels = vv_pq_drop_name(r, out->vector[i].labels);
    }
}

#define DATE_CALL(name, part)                                                                      \
    static void name(struct vv_pq_run *r, const struct vv_promql_expr *e, int64_t t_ms,            \
                     struct vv_pq_value *out)                                                      \
    {                                                                                              \
        call_date(r, e, t_ms, part, out);                                                          \
    }
DATE_CALL(call_minute, MINUTE)
DATE_CALL(call_hour, HOUR)
DATE_CALL(call_day_of_week, DAY_OF_WEEK)
DATE_CALL(call_day_of_month, DAY_OF_MONTH)
DATE_CALL(call_day_of_year, DAY_OF_YEAR)
DATE_CALL(call_days_in_month, DAYS_IN_MONTH)
DATE_CALL(call_month, MONTH)
DATE_CALL(call_year, YEAR)

static double sign_of(double v)
{
    return v < 0 ? -1 : v > 0 ? 1 : v;
}

static double to_degrees(double v)
{
    return v * 180 / M_PI;
}

static double to_radians(double v)
{
    return v * M_PI / 180;
}

#define SCALAR VV_PROMQL_SCALAR
#define STRING VV_PROMQL_STRING
#define VECTOR VV_PROMQL_VECTOR
#define MATRIX VV_PROMQL_MATRIX
#define MATH(text, fn)                                                                             \
    {                                                                                              \
        text, VECTOR, 1, 1, {VECTOR}, NULL, fn, NULL, false                                        \
    }
#define OVER(text, fn)                                                                             \
    {                                                                                              \
        text, VECTOR, 1, 1, {MATRIX}, fn, NULL, NULL, false                                        \
    }
#define DATE(text, fn)                                                                             \
    {                                                                                              \
        text, VECTOR, 0, 1, {VECTOR}, NULL, NULL, fn, false                                        \
    }
static const struct vv_pq_function functions[] = {
    MATH("abs", fabs),
    {"absent", VECTOR, 1, 1, {VECTOR}, NULL, NULL, call_absent, false},
    {"absent_over_time", VECTOR, 1, 1, {MATRIX}, NULL, NULL, call_absent_over_time, false},
    MATH("acos", acos),
    MATH("acosh", acosh),
    MATH("asin", asin),
    MATH("asinh", asinh),
    MATH("atan", atan),
    MATH("atanh", atanh),
    OVER("avg_over_time", vv_pq_avg_over),
    MATH("ceil", ceil),
    OVER("changes", vv_pq_changes),
    {"clamp", VECTOR, 3, 3, {VECTOR, SCALAR, SCALAR}, NULL, NULL, call_clamp, false},
    {"clamp_max", VECTOR, 2, 2, {VECTOR, SCALAR}, NULL, NULL, call_clamp_max, false},
    {"clamp_min", VECTOR, 2, 2, {VECTOR, SCALAR}, NULL, NULL, call_clamp_min, false},
    MATH("cos", cos),
    MATH("cosh", cosh),
    OVER("count_over_time", vv_pq_count_over),
    DATE("day_of_month", call_day_of_month),
    DATE("day_of_week", call_day_of_week),
    DATE("day_of_year", call_day_of_year),
    DATE("days_in_month", call_days_in_month),
    MATH("deg", to_degrees),
    OVER("delta", vv_pq_delta),
    OVER("deriv", vv_pq_deriv),
    MATH("exp", exp),
    MATH("floor", floor),
    {"histogram_quantile",
     VECTOR,
     2,
     2,
     {SCALAR, VECTOR},
     NULL,
     NULL,
     call_histogram_quantile,
     false},
    {"holt_winters", VECTOR, 3, 3, {MATRIX, SCALAR, SCALAR}, vv_pq_holt_winters, NULL, NULL, false},
    DATE("hour", call_hour),
    OVER("idelta", vv_pq_idelta),
    OVER("increase", vv_pq_increase),
    OVER("irate", vv_pq_irate),
    {"label_join",
     VECTOR,
     3,
     SIZE_MAX,
     {VECTOR, STRING, STRING, STRING, STRING},
     NULL,
     NULL,
     call_label_join,
     true},
    {"label_replace",
     VECTOR,
     5,
     5,
     {VECTOR, STRING, STRING, STRING, STRING},
     NULL,
     NULL,
     call_label_replace,
     true},
    {"last_over_time", VECTOR, 1, 1, {MATRIX}, vv_pq_last_over, NULL, NULL, true},
    MATH("ln", log),
    MATH("log10", log10),
    MATH("log2", log2),
    OVER("max_over_time", vv_pq_max_over),
    OVER("min_over_time", vv_pq_min_over),
    DATE("minute", call_minute),
    DATE("month", call_month),
    {"pi", SCALAR, 0, 0, {SCALAR}, NULL, NULL, call_pi, false},
    {"predict_linear", VECTOR, 2, 2, {MATRIX, SCALAR}, vv_pq_predict_linear, NULL, NULL, false},
    OVER("present_over_time", vv_pq_present_over),
    {"quantile_over_time", VECTOR, 2, 2, {SCALAR, MATRIX}, vv_pq_quantile_over, NULL, NULL, false},
    MATH("rad", to_radians),
    OVER("rate", vv_pq_rate),
    OVER("resets", vv_pq_resets),
    {"round", VECTOR, 1, 2, {VECTOR, SCALAR}, NULL, NULL, call_round, false},
    {"scalar", SCALAR, 1, 1, {VECTOR}, NULL, NULL, call_scalar, false},
    MATH("sgn", sign_of),
    MATH("sin", sin),
    MATH("sinh", sinh),
    {"sort", VECTOR, 1, 1, {VECTOR}, NULL, NULL, call_sort, true},
    {"sort_desc", VECTOR, 1, 1, {VECTOR}, NULL, NULL, call_sort_desc, true},
    MATH("sqrt", sqrt),
    OVER("stddev_over_time", vv_pq_stddev_over),
    OVER("stdvar_over_time", vv_pq_stdvar_over),
    OVER("sum_over_time", vv_pq_sum_over),
    MATH("tan", tan),
    MATH("tanh", tanh),
    {"time", SCALAR, 0, 0, {SCALAR}, NULL, NULL, call_time, false},
    {"timestamp", VECTOR, 1, 1, {VECTOR}, NULL, NULL, call_timestamp, false},
    {"vector", VECTOR, 1, 1, {SCALAR}, NULL, NULL, call_vector, false},
    DATE("year", call_year),
};

const struct vv_pq_function *vv_pq_function(struct vv_str name)
{
    for (size_t i = 0; i < VV_COUNT(functions); i++) {
        if (vv_str_eq(name, vv_str_from(functions[i].name))) {
            return &functions[i];
        }
    }
    return NULL;
}
