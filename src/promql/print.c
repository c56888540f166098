/* src/promql/print.c - expressions and numbers as text. */
#include "promql/promql_int.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

const char *vv_promql_format(double v, char buf[VV_PROMQL_FORMAT_BYTES])
{
    char digits[40];
    if (!isfinite(v)) {
        snprintf(buf, VV_PROMQL_FORMAT_BYTES, "%s", isnan(v) ? "NaN" : v > 0 ? "+Inf" : "-Inf");
        return buf;
    }
    for (int precision = 0; precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*e", precision, v);
        if (strtod(digits, NULL) == v) {
            break;
        }
    }
    const char *e = strchr(digits, 'e');
    const int exponent = atoi(e + 1);
    const int mantissa = (int)(e - digits) - (v < 0 || signbit(v) ? 1 : 0); /* with the point */
    const int after = (mantissa > 1 ? mantissa - 2 : 0) - exponent;
    if (after >= 0) {
        snprintf(buf, VV_PROMQL_FORMAT_BYTES, "%.*f", after, v);
    } else {
        /* Digits behind the last one that counts are zeros, not what the binary number has. */
        char plain[40];
        size_t n = 0;
        for (const char *d = digits; d < e; d++) {
            if (*d != '.') {
                plain[n++] = *d;
            }
        }
        plain[n] = '\0';
        snprintf(buf, VV_PROMQL_FORMAT_BYTES, "%s%0*d", plain, -after, 0);
    }
    return buf;
}

static void print_string(struct vv_sb *out, struct vv_str s)
{
    vv_sb_addc(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        const unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\') {
            vv_sb_addc(out, '\\');
            vv_sb_addc(out, (char)c);
        } else if (c < 0x20 || c >= 0x7f) {
            vv_sb_addf(out, "\\x%02x", c);
        } else {
            vv_sb_addc(out, (char)c);
        }
    }
    vv_sb_addc(out, '"');
}

static void print_names(struct vv_sb *out, const char *word, struct vv_pq_names names)
{
    vv_sb_addf(out, " %s (", word);
    for (size_t i = 0; i < names.n; i++) {
        vv_sb_addf(out, "%s" VV_STR_FMT, i > 0 ? ", " : "", VV_STR_ARG(names.at[i]));
    }
    vv_sb_addc(out, ')');
}

static void print_matchers(struct vv_sb *out, const struct vv_promql_expr *e)
{
    static const char *const how[] = {"=", "!=", "=~", "!~"};
    vv_sb_addc(out, '{');
    for (size_t i = 0; i < e->matchers_n; i++) {
        const struct vv_promql_matcher *m = &e->matchers[i];
        vv_sb_addf(out, "%s" VV_STR_FMT "%s", i > 0 ? "," : "", VV_STR_ARG(m->name), how[m->how]);
        print_string(out, m->value);
    }
    vv_sb_addc(out, '}');
}

static void print_shift(struct vv_sb *out, const struct vv_promql_expr *e)
{
    if (e->at_kind == AT_TIME) {
        const uint64_t ms = e->at_ms < 0 ? (uint64_t)-e->at_ms : (uint64_t)e->at_ms;
        vv_sb_addf(out, " @ %s%llu.%03u", e->at_ms < 0 ? "-" : "", (unsigned long long)(ms / 1000),
                   (unsigned)(ms % 1000));
    } else if (e->at_kind != AT_NONE) {
        vv_sb_adds(out, e->at_kind == AT_QUERY_START ? " @ start()" : " @ end()");
    }
    if (e->has_offset) {
        vv_sb_addf(out, " offset %lldms", (long long)e->offset_ms);
    }
}

static void print_operand(struct vv_sb *out, const struct vv_promql_expr *e)
{
    const bool wrap = e->kind == NODE_BINARY || e->kind == NODE_NEGATE || e->kind == NODE_PLUS;
    if (wrap) {
        vv_sb_addc(out, '(');
    }
    vv_promql_print(e, out);
    if (wrap) {
        vv_sb_addc(out, ')');
    }
}

static void print_binary(struct vv_sb *out, const struct vv_promql_expr *e)
{
    print_operand(out, e->args[0]);
    vv_sb_addf(out, " %s%s", vv_pq_op_text[e->op], e->to_bool ? " bool" : "");
    if (e->matching) {
        print_names(out, e->on ? "on" : "ignoring", e->labels);
    }
    if (e->card != CARD_ONE_TO_ONE) {
        print_names(out, e->card == CARD_MANY_TO_ONE ? "group_left" : "group_right", e->include);
    }
    vv_sb_addc(out, ' ');
    print_operand(out, e->args[1]);
}

static void print_aggregate(struct vv_sb *out, const struct vv_promql_expr *e)
{
    vv_sb_adds(out, vv_pq_aggregate_name[e->aggregate]);
    if (e->labels.n > 0 || e->without) {
        print_names(out, e->without ? "without" : "by", e->labels);
    }
    vv_sb_addc(out, '(');
    if (e->args_n > 1) {
        vv_promql_print(e->args[1], out);
        vv_sb_adds(out, ", ");
    }
    vv_promql_print(e->args[0], out);
    vv_sb_addc(out, ')');
}

void vv_promql_print(const struct vv_promql_expr *e, struct vv_sb *out)
{
    char buf[VV_PROMQL_FORMAT_BYTES];
    switch (e->kind) {
    case NODE_NUMBER:
        if (isfinite(e->number)) {
            vv_sb_addf(out, "%.17g", e->number);
        } else {
            vv_sb_adds(out, vv_promql_format(e->number, buf) + (isinf(e->number) ? 1 : 0));
        }
        break;
    case NODE_STRING:
        print_string(out, e->text);
        break;
    case NODE_SELECTOR:
    case NODE_RANGE:
        print_matchers(out, e);
        if (e->kind == NODE_RANGE) {
            vv_sb_addf(out, "[%lldms]", (long long)e->range_ms);
        }
        print_shift(out, e);
        break;
    case NODE_SUBQUERY:
        print_operand(out, e->args[0]);
        vv_sb_addf(out, "[%lldms:", (long long)e->range_ms);
        if (e->substep_ms > 0) {
            vv_sb_addf(out, "%lldms", (long long)e->substep_ms);
        }
        vv_sb_addc(out, ']');
        print_shift(out, e);
        break;
    case NODE_CALL:
        vv_sb_addf(out, "%s(", e->fn->name);
        for (size_t i = 0; i < e->args_n; i++) {
            vv_sb_adds(out, i > 0 ? ", " : "");
            vv_promql_print(e->args[i], out);
        }
        vv_sb_addc(out, ')');
        break;
    case NODE_AGGREGATE:
        print_aggregate(out, e);
        break;
    case NODE_BINARY:
        print_binary(out, e);
        break;
    case NODE_NEGATE:
    case NODE_PLUS:
        vv_sb_addc(out, e->kind == NODE_NEGATE ? '-' : '+');
        print_operand(out, e->args[0]);
        break;
    }
}
