/* src/watch/rules.h - Prometheus rule files, read as they are and evaluated as Prometheus does.
 *
 * Model:     a set holds groups; a group's rules run in order at the same time stamp, and a later
 *            rule sees what an earlier one wrote. An alerting rule keeps one alert per label set of
 *            its result: PENDING until `for` has passed, then FIRING; gone from the result (a
 *            series that vanished is gone too) and past `keep_firing_for` it is INACTIVE with
 *            resolved_ms set, kept 15 minutes more so that the news can be told again. What a rule
 *            wrote last time and not this time gets a stale marker.
 * Source:    Prometheus 2.42, documentation "Recording rules", "Alerting rules"; transitions are
 *            compared with that program by tests/integration/test_rules.py.
 * Units:     *_ms are milliseconds since 1970 or durations; -1 stands for "never".
 * Threads:   one owner.
 * Ownership: the set owns groups, rules and alerts. An alert seen through vv_rules_alert() or a
 *            watcher is valid until the next evaluation. Label views given to the sink are valid
 *            during the call.
 * Errors:    VV_ECONFIG: the problems say why, with line and column. A rule that cannot be
 *            evaluated keeps its alerts as they were, and vv_rule_health() says why.
 */
#ifndef VV_WATCH_RULES_H
#define VV_WATCH_RULES_H
#include "conf/conf.h"
#include "promql/promql.h"
#include "watch/labels.h"

#define VV_ALERT_RESOLVED_KEPT_MS INT64_C(900000)
#define VV_ALERTS_PER_RULE_MAX 10000 /* and series of one recording rule */
#define VV_ALERT_NEVER INT64_C(-1)

enum vv_alert_state { VV_ALERT_INACTIVE, VV_ALERT_PENDING, VV_ALERT_FIRING };
const char *vv_alert_state_name(enum vv_alert_state s); /* "inactive" ... as in Prometheus */

struct vv_rule;
struct vv_rules;
struct vv_alert {
    struct vv_promql_labels labels; /* with alertname */
    struct vv_promql_labels annotations;
    uint64_t hash; /* of the labels: the alert's name for the world */
    enum vv_alert_state state;
    double value;
    int64_t active_ms;     /* since when it has been pending or firing */
    int64_t fired_ms;      /* NEVER: not yet */
    int64_t resolved_ms;   /* INACTIVE: when it was resolved */
    int64_t keep_since_ms; /* since when only keep_firing_for holds it */
};

VV_MUST_CHECK struct vv_rules *vv_rules_new(void); /* NULL: no memory */
void vv_rules_free(struct vv_rules *r);            /* NULL is fine */
/* text NULL: reads the file. A file with errors adds nothing. `interval_ms` is for groups that name
 * none. */
VV_MUST_CHECK enum vv_err vv_rules_add(struct vv_rules *r, const char *path, const char *text,
                                       int64_t interval_ms, struct vv_conf_problems *problems);
/* What {{ $externalLabels }} and {{ $externalURL }} are; copied. */
VV_MUST_CHECK enum vv_err vv_rules_outer(struct vv_rules *r, struct vv_promql_labels labels,
                                         struct vv_str url);
/* After a reload: rules that are the same as in `old` (group, name, expression, labels, times) take
 * over its alerts and memory. `old` is left without them. */
void vv_rules_adopt(struct vv_rules *r, struct vv_rules *old);

struct vv_rules_io {
    const struct vv_promql_source *source;
    void *ctx; /* of the two calls below */
    /* A sample of a recording rule, of ALERTS or of ALERTS_FOR_STATE; a stale marker ends a series.
     * May be NULL. What fails here fails the rule. */
    enum vv_err (*append)(void *ctx, struct vv_promql_labels labels, int64_t t_ms, double v);
    /* An alert has moved. From PENDING to INACTIVE it is about to be forgotten. May be NULL. */
    void (*moved)(void *ctx, const struct vv_rule *rule, const struct vv_alert *alert,
                  enum vv_alert_state from, enum vv_alert_state to);
};
size_t vv_rules_groups(const struct vv_rules *r);
int64_t vv_rules_group_interval_ms(const struct vv_rules *r, size_t group);
struct vv_str vv_rules_group_name(const struct vv_rules *r, size_t group);
/* Evaluates one group as of t_ms, which must rise from call to call. */
void vv_rules_eval_group(struct vv_rules *r, size_t group, int64_t t_ms,
                         const struct vv_rules_io *io);
/* Evaluates every group whose time has come, as of the last multiple of its interval (a time that
 * was missed is not made up for). Returns when the next one is due. */
int64_t vv_rules_tick(struct vv_rules *r, int64_t now_ms, const struct vv_rules_io *io);

size_t vv_rules_count(const struct vv_rules *r);
const struct vv_rule *vv_rules_at(const struct vv_rules *r, size_t i); /* in order of the files */
size_t vv_rules_alerts(const struct vv_rule *rule);
const struct vv_alert *vv_rules_alert(const struct vv_rule *rule, size_t i);
struct vv_str vv_rule_name(const struct vv_rule *rule); /* of the alert or of the new series */
bool vv_rule_is_alert(const struct vv_rule *rule);
struct vv_str vv_rule_expression(const struct vv_rule *rule);
int64_t vv_rule_for_ms(const struct vv_rule *rule);
/* NULL: the last evaluation went well (or there was none). */
const char *vv_rule_health(const struct vv_rule *rule);
/* "5m", "1h30m", "0", "500ms": units from large to small, every one at most once. */
VV_MUST_CHECK enum vv_err vv_rules_parse_duration(struct vv_str s, int64_t *ret_ms);
#endif
