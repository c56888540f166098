/* tests/fuzz/fuzz_rule_file.c - any text is a rule file or is refused with a place, and whatever is
 * taken can be evaluated: what a rule writes, it ends once its series are gone. */
#include "promql/memory.h"
#include "watch/rules.h"

#include <stdlib.h>

#define RULES_RUN_MAX 50
#define TEXT_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* libfyaml 0.7.12 loses 4 KiB when a quoted text of many escapes ends in a syntax error. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libfyaml.so";
}

static void fill(struct vv_promql_memory *m)
{
    static const char *const names[] = {"up", "a", "b"};
    for (size_t i = 0; i < 6; i++) {
        const char digit[2] = {(char)('0' + i % 2), '\0'};
        const struct vv_promql_label labels[] = {{VV_STR("__name__"), vv_str_from(names[i % 3])},
                                                 {VV_STR("job"), vv_str_from(digit)}};
        size_t series = 0;
        VV_ASSERT(vv_promql_memory_series(m, (struct vv_promql_labels){labels, 2}, &series) ==
                  VV_OK);
        for (int t = 0; t < 8; t++) {
            VV_ASSERT(vv_promql_memory_add(m, series, 15000 * t, (t + (int)i) % 3) == VV_OK);
        }
    }
}

static enum vv_err balance(void *ctx, struct vv_promql_labels labels, int64_t t_ms, double v)
{
    long *open = ctx;
    VV_ASSERT(t_ms >= 60000 && labels.n > 0);
    *open += vv_promql_is_stale(v) ? -1 : 0;
    return VV_OK;
}

static void count_moves(void *ctx, const struct vv_rule *rule, const struct vv_alert *alert,
                        enum vv_alert_state from, enum vv_alert_state to)
{
    (void)ctx;
    VV_ASSERT(from != to && alert->state == to && vv_rule_is_alert(rule));
    VV_ASSERT(to != VV_ALERT_FIRING || alert->fired_ms >= alert->active_ms + vv_rule_for_ms(rule));
}

static void evaluate(struct vv_rules *rules, const struct vv_promql_source *source)
{
    long open = 0;
    const struct vv_rules_io io = {
        .source = source, .ctx = &open, .append = balance, .moved = count_moves};
    for (int64_t t = 60000; t < 2000000; t += 300000) {
        for (size_t g = 0; g < vv_rules_groups(rules); g++) {
            vv_rules_eval_group(rules, g, t, &io);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vv_arena arena;
    struct vv_promql_memory memory;
    if (size > TEXT_MAX) {
        return 0;
    }
    char *text = malloc(size + 1);
    struct vv_conf_problems *problems = vv_conf_problems_new();
    struct vv_rules *rules = vv_rules_new(), *again = vv_rules_new();
    VV_ASSERT(text != NULL && problems != NULL && rules != NULL && again != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    const enum vv_err err = vv_rules_add(rules, "rules.yml", text, 60000, problems);
    VV_ASSERT(err == VV_OK || err == VV_ECONFIG);
    VV_ASSERT((err == VV_OK) == (vv_conf_problems_errors(problems) == 0));
    VV_ASSERT(err == VV_OK || vv_rules_count(rules) == 0);
    if (err == VV_OK && vv_rules_count(rules) <= RULES_RUN_MAX) {
        vv_arena_init(&arena, NULL, 0, 65536, 0);
        vv_promql_memory_init(&memory, &arena);
        fill(&memory);
        const struct vv_promql_source source = vv_promql_memory_source(&memory);
        evaluate(rules, &source);
        VV_ASSERT(vv_rules_add(again, "rules.yml", text, 60000, problems) == VV_OK);
        vv_rules_adopt(again, rules);
        vv_arena_fini(&arena);
    }
    vv_rules_free(rules);
    vv_rules_free(again);
    vv_conf_problems_free(problems);
    free(text);
    return 0;
}
