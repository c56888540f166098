/* tests/unit/watch/rules_driver.c - the rule engine as a program, for comparison with Prometheus.
 *
 * Usage: rules_driver FILE. Lines of standard input, fields parted by tabs:
 *   series NAME VALUE ...       the series that the next samples belong to
 *   sample MILLISECONDS VALUE   "stale" is the marker
 *   eval MILLISECONDS           all groups, as of this time
 * Every eval answers with one line of JSON: what was written (by whom does not matter) and which
 * alerts are active. What is written can be queried by later rules and evaluations. */
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "promql/memory.h"
#include "watch/rules.h"

#define FIELDS_MAX 32

struct driver {
    struct vv_promql_memory memory;
    struct vv_json json;
};

static void put_labels(struct vv_json *j, struct vv_promql_labels l)
{
    vv_json_obj(j);
    for (size_t i = 0; i < l.n; i++) {
        vv_json_keyn(j, l.at[i].name);
        vv_json_str(j, l.at[i].value);
    }
    vv_json_obj_end(j);
}

static enum vv_err append(void *ctx, struct vv_promql_labels labels, int64_t t_ms, double v)
{
    struct driver *d = ctx;
    char buf[VV_PROMQL_FORMAT_BYTES];
    size_t series = 0;
    enum vv_err err = vv_promql_memory_series(&d->memory, labels, &series);
    err = err == VV_OK ? vv_promql_memory_add(&d->memory, series, t_ms, v) : err;
    vv_json_obj(&d->json);
    vv_json_key(&d->json, "labels");
    put_labels(&d->json, labels);
    vv_json_kcstr(&d->json, "value", vv_promql_is_stale(v) ? "stale" : vv_promql_format(v, buf));
    vv_json_obj_end(&d->json);
    return err;
}

static void put_alerts(struct vv_json *j, const struct vv_rules *rules)
{
    char buf[VV_PROMQL_FORMAT_BYTES];
    for (size_t i = 0; i < vv_rules_count(rules); i++) {
        const struct vv_rule *rule = vv_rules_at(rules, i);
        for (size_t k = 0; k < vv_rules_alerts(rule); k++) {
            const struct vv_alert *a = vv_rules_alert(rule, k);
            vv_json_obj(j);
            vv_json_key(j, "labels");
            put_labels(j, a->labels);
            vv_json_key(j, "annotations");
            put_labels(j, a->annotations);
            vv_json_kcstr(j, "state", vv_alert_state_name(a->state));
            vv_json_kcstr(j, "value", vv_promql_format(a->value, buf));
            vv_json_key(j, "active_ms");
            vv_json_i64(j, a->active_ms);
            vv_json_obj_end(j);
        }
    }
}

static void evaluate(struct driver *d, struct vv_rules *rules, int64_t t_ms)
{
    struct vv_sb out = VV_SB_INIT;
    const struct vv_promql_source source = vv_promql_memory_source(&d->memory);
    const struct vv_rules_io io = {.source = &source, .ctx = d, .append = append};
    vv_json_init(&d->json, &out);
    vv_json_obj(&d->json);
    vv_json_key(&d->json, "written");
    vv_json_arr(&d->json);
    for (size_t g = 0; g < vv_rules_groups(rules); g++) {
        vv_rules_eval_group(rules, g, t_ms, &io);
    }
    vv_json_arr_end(&d->json);
    vv_json_key(&d->json, "alerts");
    vv_json_arr(&d->json);
    put_alerts(&d->json, rules);
    vv_json_arr_end(&d->json);
    vv_json_key(&d->json, "unwell");
    vv_json_arr(&d->json);
    for (size_t i = 0; i < vv_rules_count(rules); i++) {
        const char *why = vv_rule_health(vv_rules_at(rules, i));
        if (why != NULL) {
            vv_json_cstr(&d->json, why);
        }
    }
    vv_json_arr_end(&d->json);
    vv_json_obj_end(&d->json);
    puts(out.p);
    fflush(stdout);
    vv_sb_fini(&out);
}

static enum vv_err add_series(struct vv_promql_memory *memory, char *line, size_t *ret)
{
    struct vv_promql_label labels[FIELDS_MAX];
    size_t n = 0;
    char *save = NULL;
    for (char *name = strtok_r(line, "\t", &save); name != NULL && n < FIELDS_MAX;
         name = strtok_r(NULL, "\t", &save)) {
        labels[n++] =
            (struct vv_promql_label){vv_str_from(name), vv_str_from(strtok_r(NULL, "\t", &save))};
    }
    return vv_promql_memory_series(memory, (struct vv_promql_labels){labels, n}, ret);
}

static enum vv_err obey(struct driver *d, struct vv_rules *rules, char *line, size_t *series)
{
    char *fields = strchr(line, '\t');
    if (fields == NULL) {
        return VV_OK;
    }
    if (strncmp(line, "series\t", 7) == 0) {
        return add_series(&d->memory, fields + 1, series);
    }
    char *value = NULL;
    const long long t_ms = strtoll(fields + 1, &value, 10);
    if (line[0] == 'e') {
        evaluate(d, rules, t_ms);
        return VV_OK;
    }
    const bool stale = strcmp(value, "\tstale") == 0;
    return vv_promql_memory_add(&d->memory, *series, t_ms,
                                stale ? vv_promql_stale() : strtod(value, NULL));
}

int main(int argc, char **argv)
{
    struct vv_arena arena;
    struct driver d;
    size_t series = 0, room = 0;
    char *line = NULL;
    struct vv_conf_problems *problems = vv_conf_problems_new();
    struct vv_rules *rules = vv_rules_new();
    if (argc != 2 || problems == NULL || rules == NULL) {
        return 2;
    }
    enum vv_err err = vv_rules_add(rules, argv[1], NULL, 60000, problems);
    struct vv_sb text = VV_SB_INIT;
    vv_conf_problems_print(problems, false, "", &text);
    fputs(text.n > 0 ? text.p : "", stderr);
    vv_sb_fini(&text);
    vv_arena_init(&arena, NULL, 0, 65536, 0);
    vv_promql_memory_init(&d.memory, &arena);
    while (err == VV_OK && getline(&line, &room, stdin) > 0) {
        line[strcspn(line, "\n")] = '\0';
        err = obey(&d, rules, line, &series);
    }
    free(line);
    vv_arena_fini(&arena);
    vv_rules_free(rules);
    vv_conf_problems_free(problems);
    return err == VV_OK ? 0 : 1;
}
