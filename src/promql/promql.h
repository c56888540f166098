/* src/promql/promql.h - the query language of Prometheus over any source of samples.
 *
 * Model:     a text is parsed once into an expression and evaluated at one time or at every step
 *            of a range. Samples come from a source: one function that finds series. Series without
 *            a sample in the look-back, or with a stale marker as the last one, do not exist at
 *            that time.
 * Source:    Prometheus 2.42, documentation chapter "Querying"; answers are compared with that
 *            program by tests/integration/test_promql.py. Native histograms are not here.
 * Units:     *_ms are milliseconds since 1970 (UTC) or durations.
 * Threads:   an expression is evaluated by one thread at a time (its regular expressions keep their
 *            working memory in it); different expressions are independent.
 * Ownership: everything an expression or a result points at lives in the arena it was made with.
 *            Texts are copied.
 * Errors:    VV_ESYNTAX with a place for what is not a query, VV_EINVAL for a query that these
 *            samples do not allow, VV_ELIMIT when it costs more than it may, VV_ENOMEM, or what the
 *            source said.
 */
#ifndef VV_PROMQL_PROMQL_H
#define VV_PROMQL_PROMQL_H
#include "base/arena.h"
#include "base/err.h"
#include "base/sb.h"
#include "base/str.h"

#define VV_PROMQL_FORMAT_BYTES 400 /* of a number as text, see vv_promql_format() */

struct vv_promql_label {
    struct vv_str name, value;
};
/* Sorted by name (bytes), every name once, no empty value. The metric's name is "__name__". */
struct vv_promql_labels {
    const struct vv_promql_label *at;
    size_t n;
};
struct vv_promql_sample {
    int64_t t_ms;
    double v;
};
struct vv_promql_series {
    struct vv_promql_labels labels;
    const struct vv_promql_sample *samples; /* rising times */
    size_t n;
};

struct vv_promql_matcher; /* one of {a="b", c!="d", e=~"f", g!~"h"} */
/* Whether a series has these labels; an absent label is an empty one. */
bool vv_promql_matches(const struct vv_promql_matcher *m, size_t n, struct vv_promql_labels labels);
/* The value when the matcher is an equality on this label, for a source with an index. */
bool vv_promql_matcher_equals(const struct vv_promql_matcher *m, size_t i, struct vv_str *ret_name,
                              struct vv_str *ret_value);

struct vv_promql_source {
    void *ctx;
    /* Finds all series that match and may have samples in [from_ms, to_ms]; a series may bring
     * samples from outside. What is returned lives as long as the arena. */
    enum vv_err (*select)(void *ctx, const struct vv_promql_matcher *m, size_t n, int64_t from_ms,
                          int64_t to_ms, struct vv_arena *arena,
                          const struct vv_promql_series **ret, size_t *ret_n);
};

enum vv_promql_type {
    VV_PROMQL_SCALAR = 1,
    VV_PROMQL_STRING,
    VV_PROMQL_VECTOR,
    VV_PROMQL_MATRIX,
};
const char *vv_promql_type_name(enum vv_promql_type type);

struct vv_promql_error {
    size_t at; /* byte of the text; evaluation names the part that failed */
    char text[200];
};

/* "1h30m": units from long to short, each at most once. VV_ESYNTAX; VV_ERANGE: beyond 292 years. */
VV_MUST_CHECK enum vv_err vv_promql_duration(struct vv_str s, int64_t *ret_ms);

struct vv_promql_expr;
VV_MUST_CHECK enum vv_err vv_promql_parse(struct vv_str text, struct vv_arena *arena,
                                          const struct vv_promql_expr **ret,
                                          struct vv_promql_error *reterr);
enum vv_promql_type vv_promql_type(const struct vv_promql_expr *e);
/* The expression as text that parses to the same expression: every operation in parentheses. */
void vv_promql_print(const struct vv_promql_expr *e, struct vv_sb *out);

struct vv_promql_query {
    int64_t start_ms, end_ms, step_ms; /* step 0: at start_ms only */
    int64_t lookback_ms;               /* 0: five minutes */
    int64_t substep_ms;                /* of a subquery that names no step; 0: one minute */
    uint64_t work_max;                 /* samples and elements touched; 0: fifty million */
    size_t memory_max;                 /* bytes of one step; 0: 256 MiB */
};
struct vv_promql_result {
    enum vv_promql_type type;
    struct vv_promql_sample scalar;        /* SCALAR */
    struct vv_str text;                    /* STRING */
    const struct vv_promql_series *series; /* VECTOR (one sample each, in order) and MATRIX */
    size_t n;
};
/* With a step the result is a MATRIX, and the expression a scalar or a vector. */
VV_MUST_CHECK enum vv_err vv_promql_eval(const struct vv_promql_expr *e,
                                         const struct vv_promql_source *source,
                                         const struct vv_promql_query *query,
                                         struct vv_arena *arena, struct vv_promql_result *ret,
                                         struct vv_promql_error *reterr);

double vv_promql_stale(void); /* the marker: a NaN that says the series ended */
bool vv_promql_is_stale(double v);
/* Shortest text that reads back the same, never with an exponent: "0.1", "+Inf", "NaN". */
const char *vv_promql_format(double v, char buf[VV_PROMQL_FORMAT_BYTES]);
#endif
