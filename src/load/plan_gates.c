/* src/load/plan_gates.c - `ensure` and `pass`: conditions on the result, all written as expressions. */
#include "load/plan_read.h"
#include "load/report.h"

#include <stdlib.h>

void load_gate(struct load_reading *r, const NODE *at, bool strict, const char *fmt, ...)
{
    struct vv_load_plan *p = r->plan;
    struct vv_sb sb = VV_SB_INIT;
    const char *why = NULL;
    size_t column = 0;
    va_list args;
    va_start(args, fmt);
    vv_sb_vaddf(&sb, fmt, args);
    va_end(args);
    const char *expression = load_dup(p, vv_sb_str(&sb));
    vv_sb_fini(&sb);
    if (vv_load_gate_check(expression, &column, &why) != VV_OK) {
        load_wrong(r, at, "character %zu of the condition \"%s\": %s", column, expression,
                   why != NULL ? why : "it is not understood");
        return;
    }
    struct vv_conf_pos pos = at != NULL ? vv_conf_node_pos(at) : (struct vv_conf_pos){0};
    pos.file = pos.file != NULL ? load_dup(p, vv_str_from(pos.file)) : NULL;
    for (size_t i = 0; i < p->view.gate_count;
         i++) { /* ensure and plugins.ensure may say the same */
        if (strcmp(p->gate[i].expression, expression) == 0) {
            return;
        }
    }
    p->gate = load_grow(p, p->gate, p->view.gate_count, &p->gate_room, sizeof *p->gate);
    p->gate[p->view.gate_count++] = (struct vv_load_gate){expression, strict, pos};
}

/* Names with signs that expressions do not have stand in quotes. */
static const char *quote_if_needed(const char *metric)
{
    for (const char *c = metric; *c != '\0'; c++) {
        if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
              *c == '_' || *c == '.')) {
            return "\"";
        }
    }
    return "";
}

static void thresholds(struct load_reading *r, const NODE *list)
{
    double limit = 0;
    if (!load_is(r, list, VV_CONF_NODE_LIST, "thresholds")) {
        return;
    }
    for (size_t i = 0; i < vv_conf_node_count(list); i++) {
        const NODE *item = vv_conf_node_item(list, i);
        if (!load_is(r, item, VV_CONF_NODE_MAP, "a threshold")) {
            continue;
        }
        for (size_t j = 0; j < vv_conf_node_count(item); j++) {
            const NODE *key = vv_conf_node_key(item, j);
            const char *metric = vv_conf_node_text(key), *q = quote_if_needed(metric);
            if (load_number(r, vv_conf_node_item(item, j), metric, -1e15, 1e15, &limit)) {
                load_gate(r, key, true, "%s%s%s < %.15g", q, metric, q, limit);
            }
        }
    }
}

static void conditions(struct load_reading *r, const NODE *list)
{
    static const char *const known[] = {"expression", "strict", NULL};
    if (!load_is(r, list, VV_CONF_NODE_LIST, "conditions")) {
        return;
    }
    for (size_t i = 0; i < vv_conf_node_count(list); i++) {
        const NODE *item = vv_conf_node_item(list, i);
        const char *text = vv_conf_node_text(item);
        bool strict = true;
        const NODE *at = item;
        if (text == NULL && load_is(r, item, VV_CONF_NODE_MAP, "a condition")) {
            load_known_keys(r, item, known, "a condition");
            const NODE *s = vv_conf_node_get(item, "strict");
            at = vv_conf_node_get(item, "expression");
            text = at != NULL ? vv_conf_node_text(at) : NULL;
            if (text == NULL) {
                load_wrong(r, item, "a condition needs an expression");
            }
            if (s != NULL) {
                (void)load_bool(r, s, "strict", &strict);
            }
        }
        if (text != NULL) {
            load_gate(r, at, strict, "%s", text);
        }
    }
}

void load_ensure(struct load_reading *r, const NODE *n)
{
    static const char *const known[] = {"thresholds", "conditions", "maxErrorRate", "min",
                                        "max",        "median",     "p50",          "p90",
                                        "p95",        "p99",        "p999",         NULL};
    double limit = 0;
    if (vv_conf_node_kind(n) == VV_CONF_NODE_NULL || !load_is(r, n, VV_CONF_NODE_MAP, "ensure")) {
        return;
    }
    load_known_keys(r, n, known, "ensure");
    for (size_t i = 0; i < vv_conf_node_count(n); i++) {
        const NODE *value = vv_conf_node_item(n, i), *key = vv_conf_node_key(n, i);
        const char *name = vv_conf_node_text(key);
        if (strcmp(name, "thresholds") == 0) {
            thresholds(r, value);
        } else if (strcmp(name, "conditions") == 0) {
            conditions(r, value);
        } else if (strcmp(name, "maxErrorRate") == 0) {
            if (load_number(r, value, name, 0, 100, &limit)) {
                load_gate(r, key, true,
                          "(vusers.created - vusers.completed) / vusers.created * 100 <= %.15g",
                          limit);
            }
        } else if ((name[0] == 'p' || name[0] == 'm') &&
                   load_number(r, value, name, 0, 1e15, &limit)) {
            load_gate(r, key, true, "http.response_time.%s < %.15g", name, limit);
        }
    }
}

/* Short form: {errors: 5%, p95: 2s, throughput: 10/s}. Latencies are those from the intended start. */
void load_pass(struct load_reading *r, const NODE *n)
{
    static const char *const known[] = {"errors", "throughput", "availability", "p50",
                                        "p75",    "p90",        "p95",          "p99",
                                        "p999",   "mean",       "max",          NULL};
    if (!load_is(r, n, VV_CONF_NODE_MAP, "pass")) {
        return;
    }
    load_known_keys(r, n, known, "pass");
    for (size_t i = 0; i < vv_conf_node_count(n); i++) {
        const NODE *value = vv_conf_node_item(n, i), *key = vv_conf_node_key(n, i);
        const char *name = vv_conf_node_text(key), *text = NULL;
        uint64_t ns = 0;
        if (!load_fixed(r, value, name, &text)) {
            continue;
        }
        const int number = (int)strspn(text, "0123456789.");
        const char *unit = text + number;
        if (strcmp(name, "errors") == 0 || strcmp(name, "availability") == 0) {
            if (number == 0 || strcmp(unit, "%") != 0) {
                load_wrong(r, value, "%s must be a share, such as 5%%", name);
            } else if (name[0] == 'e') {
                load_gate(r, key, true, "vivace.error_rate < %.*s", number, text);
            } else {
                load_gate(r, key, true, "availability > %.*s", number, text);
            }
        } else if (strcmp(name, "throughput") == 0) {
            if (number == 0 || (*unit != '\0' && strcmp(unit, "/s") != 0)) {
                load_wrong(r, value, "throughput must be a rate, such as 10/s");
            } else {
                load_gate(r, key, true, "vivace.throughput > %.*s", number, text);
            }
        } else if (name[0] == 'p' || name[0] == 'm') {
            if (load_time(r, value, name, VV_MS, &ns)) {
                load_gate(r, key, true, "vivace.latency.%s < %.15g", name, (double)ns / 1e6);
            }
        }
    }
}
