/* tests/unit/trace/test_path.c - the critical paths that CRISP finds, and shapes that are no tree. */
#include "trace/path.h"
#include "vv_test.h"

#include "trace_maker.h"

#include <stdio.h>
#include <stdlib.h>

#define IDS 256
static char names[IDS][32]; /* ids are words in the file: their place here is the span id */
static size_t names_count;

static uint64_t id_of(const char *name)
{
    for (size_t i = 0; i < names_count; i++) {
        if (strcmp(names[i], name) == 0) {
            return i + 1;
        }
    }
    snprintf(names[names_count], sizeof names[0], "%s", name);
    return ++names_count;
}

struct expected {
    uint64_t id, exclusive_us;
};

static void check_trace(const char *name, struct maker *m, const struct expected *want, size_t n)
{
    struct vv_path p;
    uint64_t sum_us = 0;
    VV_CHECK_INT(vv_path_compute(&m->trace, &p), VV_OK);
    if (p.order_count != n) {
        print_error("trace %s\n", name);
    }
    VV_CHECK_INT(p.order_count, n);
    for (size_t i = 0; i < n; i++) {
        uint8_t id[8];
        maker_id(id, sizeof id, want[i].id);
        VV_CHECK(memcmp(m->span[p.order[i]].span_id, id, sizeof id) == 0);
        VV_CHECK_INT(p.span[p.order[i]].exclusive_ns / VV_US, want[i].exclusive_us);
        VV_CHECK(p.span[p.order[i]].critical);
        sum_us += p.span[p.order[i]].exclusive_ns / VV_US;
    }
    VV_CHECK_INT(sum_us, vv_span_ns(&m->span[p.root]) / VV_US);
    vv_path_fini(&p);
}

VV_TEST(all_paths_are_those_that_crisp_finds)
{
    static struct maker m;
    static struct expected want[MAKER_SPANS];
    char line[512], name[64] = "", id[32], parent[32], service[96], op[128];
    unsigned long long start, length;
    size_t n = 0, traces = 0;
    FILE *f = fopen(VV_TEST_DATA "/traces/critical_paths.txt", "r");
    VV_CHECK(f != NULL);
    for (bool more = true; more;) {
        more = fgets(line, sizeof line, f) != NULL;
        if (!more || strncmp(line, "trace ", 6) == 0) {
            if (m.trace.count > 0) {
                check_trace(name, &m, want, n);
                traces++;
            }
            m.trace = (struct vv_trace){0};
            n = names_count = 0;
            (void)sscanf(line, "trace %63s", name);
        } else if (sscanf(line, "span %31s %31s %llu %llu %95s %127s", id, parent, &start, &length,
                          service, op) == 6) {
            const uint64_t up = strcmp(parent, "-") == 0 ? 0 : id_of(parent);
            if (up == 0) {
                m.trace.root = m.trace.count;
            }
            maker_add(&m, 1, id_of(id), up, start * VV_US, (start + length) * VV_US, "s", "n");
        } else if (sscanf(line, "path %31s %llu", id, &length) == 2) {
            want[n++] = (struct expected){id_of(id), length};
        }
    }
    fclose(f);
    VV_CHECK_INT(traces, 23);
}

VV_TEST(self_time_is_what_no_child_covers)
{
    struct maker m = {0};
    struct vv_path p;
    /* 100 long; children cover 10-30, 20-50 and 90-120 (cut at 100): 50 are left. */
    maker_add(&m, 1, 1, 0, 0, 100, "a", "root");
    maker_add(&m, 1, 2, 1, 10, 30, "b", "x");
    maker_add(&m, 1, 3, 1, 20, 50, "b", "y");
    maker_add(&m, 1, 4, 1, 90, 120, "b", "z");
    maker_add(&m, 1, 5, 1, 130, 140, "b", "outside");
    maker_add(&m, 1, 6, 5, 132, 139, "b", "below outside");
    VV_CHECK_INT(vv_path_compute(&m.trace, &p), VV_OK);
    VV_CHECK_INT(p.span[0].self_ns, 50);
    VV_CHECK_INT(p.span[3].end_ns, 100);
    VV_CHECK(p.span[3].reached && !p.span[4].reached && !p.span[5].reached);
    VV_CHECK_INT(p.span[0].first_child, 1);
    VV_CHECK_INT(p.span[1].next_sibling, 2);
    VV_CHECK_INT(p.span[3].depth, 1);
    /* z ends last, y before it began; x overlaps y by a tenth of the parent. */
    VV_CHECK_INT(p.order_count, 3);
    VV_CHECK(p.order[1] == 3 && p.order[2] == 2);
    VV_CHECK_INT(p.span[0].exclusive_ns, 60); /* 100 - 10 - 30 */
    vv_path_fini(&p);
}

VV_TEST(of_siblings_that_end_together_the_longest_is_on_the_path)
{
    struct maker m = {0};
    struct vv_path p;
    maker_add(&m, 1, 1, 0, 0, 100, "a", "root");
    maker_add(&m, 1, 2, 1, 60, 100, "b", "short");
    maker_add(&m, 1, 3, 1, 10, 100, "b", "long");
    VV_CHECK_INT(vv_path_compute(&m.trace, &p), VV_OK);
    VV_CHECK_INT(p.order_count, 2);
    VV_CHECK_INT(p.order[1], 2);
    vv_path_fini(&p);
}

VV_TEST(cycles_twins_and_orphans_do_no_harm)
{
    struct maker m = {0};
    struct vv_path p;
    maker_add(&m, 1, 1, 2, 0, 100, "a", "root in a cycle");
    maker_add(&m, 1, 2, 1, 10, 90, "a", "other end");
    maker_add(&m, 1, 2, 1, 10, 90, "a", "twin");
    maker_add(&m, 1, 4, 5, 10, 90, "a", "cycle apart");
    maker_add(&m, 1, 5, 4, 10, 90, "a", "cycle apart");
    maker_add(&m, 1, 6, 6, 10, 90, "a", "its own parent");
    maker_add(&m, 1, 7, 99, 10, 90, "a", "orphan");
    VV_CHECK_INT(vv_path_compute(&m.trace, &p), VV_OK);
    VV_CHECK(p.span[1].reached && p.span[2].reached);
    VV_CHECK(!p.span[3].reached && !p.span[5].reached && !p.span[6].reached);
    VV_CHECK_INT(p.order_count, 2);
    vv_path_fini(&p);
    m.trace.count = 0;
    VV_CHECK_INT(vv_path_compute(&m.trace, &p), VV_EINVAL);
}

VV_TEST(extreme_times_and_depth_are_fine)
{
    const size_t n = 20000;
    struct vv_span *s = calloc(n, sizeof *s);
    struct vv_trace t = {.spans = s, .count = n};
    struct vv_path p;
    VV_CHECK(s != NULL);
    for (size_t i = 0; i < n; i++) { /* one chain, each a nanosecond shorter at both ends */
        maker_id(s[i].span_id, 8, i + 1);
        maker_id(s[i].parent_id, 8, i);
        s[i].start_ns = i;
        s[i].end_ns = UINT64_MAX - i;
    }
    VV_CHECK_INT(vv_path_compute(&t, &p), VV_OK);
    VV_CHECK_INT(p.order_count, n);
    VV_CHECK_INT(p.span[0].exclusive_ns, 2);
    VV_CHECK_INT(p.span[n - 1].depth, n - 1);
    vv_path_fini(&p);
    for (size_t i = 1; i < n; i++) { /* one parent */
        maker_id(s[i].parent_id, 8, 1);
    }
    VV_CHECK_INT(vv_path_compute(&t, &p), VV_OK);
    VV_CHECK_INT(p.order_count, 2);
    vv_path_fini(&p);
    free(s);
}
