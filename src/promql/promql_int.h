/* src/promql/promql_int.h - what the parser, the printer and the evaluator share.
 *
 * Model: one node type with a kind; fields of other kinds are zero. A running query remembers its
 *        first error and from then on does nothing, so that callers need not check every step.
 */
#ifndef VV_PROMQL_PROMQL_INT_H
#define VV_PROMQL_PROMQL_INT_H
#include "promql/promql.h"
#include "promql/regex.h"

#define VV_PQ_NAME VV_STR("__name__")

enum vv_pq_match { MATCH_EQ, MATCH_NE, MATCH_RE, MATCH_NRE };
struct vv_promql_matcher {
    enum vv_pq_match how;
    struct vv_str name, value;
    const struct vv_regex *re;
};

enum vv_pq_kind {
    NODE_NUMBER,
    NODE_STRING,
    NODE_SELECTOR,
    NODE_RANGE,
    NODE_SUBQUERY,
    NODE_CALL,
    NODE_AGGREGATE,
    NODE_BINARY,
    NODE_NEGATE,
    NODE_PLUS,
};
enum vv_pq_at { AT_NONE, AT_TIME, AT_QUERY_START, AT_QUERY_END };
enum vv_pq_op {
    BIN_OR,
    BIN_AND,
    BIN_UNLESS,
    BIN_EQ,
    BIN_NE,
    BIN_LT,
    BIN_LE,
    BIN_GT,
    BIN_GE,
    BIN_ADD,
    BIN_SUB,
    BIN_MUL,
    BIN_DIV,
    BIN_MOD,
    BIN_ATAN2,
    BIN_POW,
    BIN_COUNT,
};
enum vv_pq_aggregate {
    AGG_SUM,
    AGG_AVG,
    AGG_COUNT,
    AGG_MIN,
    AGG_MAX,
    AGG_GROUP,
    AGG_STDDEV,
    AGG_STDVAR,
    AGG_TOPK,
    AGG_BOTTOMK,
    AGG_QUANTILE,
    AGG_COUNT_VALUES,
    AGG_KINDS,
};
enum vv_pq_card { CARD_ONE_TO_ONE, CARD_MANY_TO_ONE, CARD_ONE_TO_MANY };

extern const char *const vv_pq_op_text[BIN_COUNT];
extern const char *const vv_pq_aggregate_name[AGG_KINDS];

struct vv_pq_names {
    const struct vv_str *at;
    size_t n;
};
struct vv_pq_function;
struct vv_promql_expr {
    enum vv_pq_kind kind;
    enum vv_promql_type type;
    size_t at; /* byte of the text, for errors */
    unsigned depth;
    double number;
    struct vv_str text;
    const struct vv_promql_matcher *matchers;
    size_t matchers_n, slot; /* SELECTOR and RANGE: where the evaluator keeps its series */
    int64_t range_ms, substep_ms, offset_ms, at_ms;
    enum vv_pq_at at_kind;
    bool has_offset;
    const struct vv_pq_function *fn;
    const struct vv_promql_expr **args; /* BINARY: two; AGGREGATE: vector, parameter */
    size_t args_n;
    const struct vv_regex *re; /* label_replace */
    enum vv_pq_op op;
    enum vv_pq_aggregate aggregate;
    enum vv_pq_card card;
    bool without, on, to_bool, matching; /* matching: on or ignoring was written */
    struct vv_pq_names labels, include;
    size_t slots; /* only of the whole expression: selectors in it */
};

struct vv_pq_element {
    struct vv_promql_labels labels;
    double v;
    int64_t t_ms; /* of the sample, for timestamp() */
};
struct vv_pq_value {
    double scalar;
    struct vv_str text;
    struct vv_pq_element *vector;
    struct vv_promql_series *matrix;
    size_t n;
};
struct vv_pq_slot {
    const struct vv_promql_series *series;
    size_t n;
};
struct vv_pq_run {
    const struct vv_promql_source *source;
    struct vv_promql_query query;
    struct vv_arena *arena; /* of the step */
    struct vv_arena *keep;  /* of the query */
    struct vv_pq_slot *slots;
    uint64_t work;
    enum vv_err err;
    struct vv_promql_error *why;
};
/* The samples of one series that a function over time sees. */
struct vv_pq_window {
    const struct vv_promql_sample *samples;
    size_t n;
    int64_t start_ms, end_ms, now_ms;
    double p1, p2; /* scalar arguments */
};
/* False: no result for this series. */
typedef bool vv_pq_over(struct vv_pq_run *r, const struct vv_pq_window *w, double *ret);
typedef double vv_pq_math(double v);
typedef void vv_pq_call(struct vv_pq_run *r, const struct vv_promql_expr *e, int64_t t_ms,
                        struct vv_pq_value *out);
#define VV_PQ_ARGS 5
struct vv_pq_function {
    const char *name;
    enum vv_promql_type type;
    size_t args_min, args_max; /* SIZE_MAX: any number */
    enum vv_promql_type args[VV_PQ_ARGS];
    vv_pq_over *over; /* one of these three */
    vv_pq_math *math;
    vv_pq_call *call;
    bool keeps_name;
};
const struct vv_pq_function *vv_pq_function(struct vv_str name);

/* eval.c */
void vv_pq_fail(struct vv_pq_run *r, const struct vv_promql_expr *e, enum vv_err err,
                const char *fmt, ...) VV_PRINTF(4, 5);
VV_MUST_CHECK void *vv_pq_alloc(struct vv_pq_run *r, size_t count, size_t bytes); /* zeroed */
bool vv_pq_work(struct vv_pq_run *r, const struct vv_promql_expr *e, size_t n);
void vv_pq_eval(struct vv_pq_run *r, const struct vv_promql_expr *e, int64_t t_ms,
                struct vv_pq_value *out);
/* When the selector or subquery is looked at, after @ and offset. */
int64_t vv_pq_when(const struct vv_pq_run *r, const struct vv_promql_expr *e, int64_t t_ms);
void vv_pq_check_unique(struct vv_pq_run *r, const struct vv_promql_expr *e,
                        const struct vv_pq_value *v);
void vv_pq_aggregate(struct vv_pq_run *r, const struct vv_promql_expr *e, int64_t t_ms,
                     struct vv_pq_value *out);
void vv_pq_binary(struct vv_pq_run *r, const struct vv_promql_expr *e, int64_t t_ms,
                  struct vv_pq_value *out);
double vv_pq_quantile(double q, const double *sorted, size_t n);
int vv_pq_double_compare(const void *a, const void *b); /* NaN first */

/* over.c */
vv_pq_over vv_pq_rate, vv_pq_increase, vv_pq_delta, vv_pq_irate, vv_pq_idelta, vv_pq_deriv,
    vv_pq_predict_linear, vv_pq_holt_winters, vv_pq_sum_over, vv_pq_avg_over, vv_pq_count_over,
    vv_pq_min_over, vv_pq_max_over, vv_pq_last_over, vv_pq_present_over, vv_pq_stddev_over,
    vv_pq_stdvar_over, vv_pq_quantile_over, vv_pq_changes, vv_pq_resets;

/* labels.c */
int vv_pq_str_compare(struct vv_str a, struct vv_str b);
bool vv_pq_labels_equal(struct vv_promql_labels a, struct vv_promql_labels b);
uint64_t vv_pq_labels_hash(struct vv_promql_labels l);
struct vv_str vv_pq_label(struct vv_promql_labels l, struct vv_str name);
bool vv_pq_in_names(struct vv_pq_names names, struct vv_str name);
bool vv_pq_label_name_valid(struct vv_str name);
struct vv_promql_labels vv_pq_drop_name(struct vv_pq_run *r, struct vv_promql_labels l);
struct vv_promql_labels vv_pq_labels_only(struct vv_pq_run *r, struct vv_promql_labels l,
                                          struct vv_pq_names names);
/* Without these names, and without the metric's name if `name_too`. */
struct vv_promql_labels vv_pq_labels_without(struct vv_pq_run *r, struct vv_promql_labels l,
                                             struct vv_pq_names names, bool name_too);
/* An empty value takes the label out. */
struct vv_promql_labels vv_pq_labels_set(struct vv_pq_run *r, struct vv_promql_labels l,
                                         struct vv_str name, struct vv_str value);

/* A set of label sets that numbers them in the order they came. */
struct vv_pq_table {
    struct vv_promql_labels *keys;
    uint64_t *hashes;
    uint32_t *slots; /* number + 1 */
    size_t n, cap, slots_n;
    struct vv_arena *arena;
};
/* SIZE_MAX: out of memory (with add) or not there (without). */
size_t vv_pq_table_find(const struct vv_pq_table *t, struct vv_promql_labels key);
size_t vv_pq_table_add(struct vv_pq_table *t, struct vv_promql_labels key, bool *ret_new);
#endif
