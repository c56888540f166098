/* tests/fuzz/fuzz_promql.c - a query that parses prints as text that parses to the same, and an
 * evaluation of whatever parses ends, within its bounds. */
#include <stdlib.h>

#include "promql/memory.h"
#include "promql/promql.h"

#define QUERY_MAX 2048

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fill(struct vv_promql_memory *m)
{
    static const char *const names[] = {"a", "b", "le"};
    for (size_t i = 0; i < 12; i++) {
        const char digit[2] = {(char)('0' + i % 4), '\0'};
        const struct vv_promql_label labels[] = {
            {VV_STR("__name__"), vv_str_from(names[i % 3])},
            {VV_STR("job"), VV_STR("x")},
            {VV_STR("le"), vv_str_from(digit)},
        };
        size_t series = 0;
        VV_ASSERT(vv_promql_memory_series(m, (struct vv_promql_labels){labels, 3}, &series) ==
                  VV_OK);
        for (int t = 0; t < 40; t++) {
            const double v = t == 20 ? vv_promql_stale() : (double)((t * 7 + (int)i) % 13);
            VV_ASSERT(vv_promql_memory_add(m, series, 15000 * t, v) == VV_OK);
        }
    }
}

static void same_again(const struct vv_promql_expr *e, struct vv_arena *arena)
{
    struct vv_promql_error why;
    struct vv_sb one = VV_SB_INIT, two = VV_SB_INIT;
    const struct vv_promql_expr *again = NULL;
    vv_promql_print(e, &one);
    VV_ASSERT(vv_promql_parse(vv_sb_str(&one), arena, &again, &why) == VV_OK);
    VV_ASSERT(vv_promql_type(again) == vv_promql_type(e));
    vv_promql_print(again, &two);
    VV_ASSERT(vv_str_eq(vv_sb_str(&one), vv_sb_str(&two)));
    vv_sb_fini(&one);
    vv_sb_fini(&two);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vv_arena arena;
    struct vv_promql_memory memory;
    struct vv_promql_error why;
    const struct vv_promql_expr *e = NULL;
    if (size > QUERY_MAX) {
        return 0;
    }
    vv_arena_init(&arena, NULL, 0, 65536, 0);
    const enum vv_err err =
        vv_promql_parse((struct vv_str){(const char *)data, size}, &arena, &e, &why);
    if (err == VV_OK) {
        struct vv_promql_query q = {.start_ms = 300000, .work_max = 20000, .memory_max = 1 << 22};
        struct vv_promql_result result;
        same_again(e, &arena);
        vv_promql_memory_init(&memory, &arena);
        fill(&memory);
        const struct vv_promql_source source = vv_promql_memory_source(&memory);
        if (vv_promql_eval(e, &source, &q, &arena, &result, &why) == VV_OK) {
            VV_ASSERT(result.type == vv_promql_type(e));
        }
        q.end_ms = 600000;
        q.step_ms = 60000;
        if (vv_promql_eval(e, &source, &q, &arena, &result, &why) == VV_OK) {
            VV_ASSERT(result.type == VV_PROMQL_MATRIX);
        }
    } else {
        VV_ASSERT(why.at <= size && why.text[0] != '\0');
    }
    vv_arena_fini(&arena);
    return 0;
}
