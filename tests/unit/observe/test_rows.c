/* tests/unit/observe/test_rows.c - walks every row of metrics.def: names, units, help, labels. */
#include "observe/metrics_int.h"

#include "vv_test.h"
#include <ctype.h>
#include <stdio.h>

static bool ends(const char *s, const char *suffix)
{
    return vv_str_ends(vv_str_from(s), vv_str_from(suffix));
}

VV_TEST(names_are_prometheus_names_in_lower_case_and_unique)
{
    for (size_t i = 0; i < VV_METRIC_ROWS; i++) {
        const char *name = vv_metric_rows[i].name;
        VV_CHECK(islower((unsigned char)name[0]));
        for (const char *c = name; *c != '\0'; c++) {
            VV_CHECK(islower((unsigned char)*c) || isdigit((unsigned char)*c) || *c == '_');
        }
        for (size_t k = 0; k < i; k++) {
            VV_CHECK(strcmp(name, vv_metric_rows[k].name) != 0);
            VV_CHECK(strcmp(vv_metric_rows[i].help, vv_metric_rows[k].help) != 0);
        }
    }
}

VV_TEST(counters_end_in_total_and_nothing_else_does)
{
    for (size_t i = 0; i < VV_METRIC_ROWS; i++) {
        const struct vv_metric_info *row = &vv_metric_rows[i];
        VV_CHECK_INT(ends(row->name, "_total"), row->kind == VV_COUNTER);
        VV_CHECK_INT(ends(row->name, "_info"), row->kind == VV_INFO);
        VV_CHECK(!ends(row->name, "_sum") && !ends(row->name, "_count") &&
                 !ends(row->name, "_bucket") && !ends(row->name, "_created"));
    }
}

VV_TEST(units_are_base_units_and_end_the_name)
{
    for (size_t i = 0; i < VV_METRIC_ROWS; i++) {
        const struct vv_metric_info *row = &vv_metric_rows[i];
        char want[64];
        if (row->kind == VV_INFO) {
            VV_CHECK_STR(row->unit, "");
            continue;
        }
        VV_CHECK(strcmp(row->unit, "1") == 0 || strcmp(row->unit, "seconds") == 0 ||
                 strcmp(row->unit, "bytes") == 0 || strcmp(row->unit, "ratio") == 0);
        VV_CHECK(row->kind != VV_HISTOGRAM || strcmp(row->unit, "seconds") == 0);
        if (strcmp(row->unit, "1") != 0) {
            snprintf(want, sizeof(want), "_%s%s", row->unit,
                     row->kind == VV_COUNTER ? "_total" : "");
            VV_CHECK(ends(row->name, want));
        }
    }
}

VV_TEST(help_is_a_sentence)
{
    for (size_t i = 0; i < VV_METRIC_ROWS; i++) {
        const char *help = vv_metric_rows[i].help;
        VV_CHECK(isupper((unsigned char)help[0]));
        VV_CHECK(ends(help, "."));
        VV_CHECK(strchr(help, '\n') == NULL && strchr(help, '|') == NULL);
    }
}

VV_TEST(labels_are_few_named_well_and_not_repeated)
{
    for (size_t i = 0; i < VV_METRIC_ROWS; i++) {
        struct vv_str rest = vv_str_from(vv_metric_rows[i].labels);
        struct vv_str seen[VV_METRIC_LABELS];
        size_t n = 0;
        while (rest.n > 0) {
            const struct vv_str label = vv_str_cut(&rest, ',');
            VV_CHECK(n < VV_METRIC_LABELS);
            VV_CHECK(label.n > 0 && !vv_str_eq(label, VV_STR("le")));
            for (size_t k = 0; k < label.n; k++) {
                VV_CHECK(islower((unsigned char)label.p[k]) || label.p[k] == '_');
            }
            for (size_t k = 0; k < n; k++) {
                VV_CHECK(!vv_str_eq(seen[k], label));
            }
            seen[n++] = label;
        }
    }
}

VV_TEST(families_stay_unique_without_their_suffixes)
{
    /* OpenMetrics drops _total and _info: "a" and "a_total" would become one family. */
    for (size_t i = 0; i < VV_METRIC_ROWS; i++) {
        for (size_t k = 0; k < VV_METRIC_ROWS; k++) {
            char with[128];
            snprintf(with, sizeof(with), "%s_total", vv_metric_rows[k].name);
            VV_CHECK(strcmp(vv_metric_rows[i].name, with) != 0);
            snprintf(with, sizeof(with), "%s_info", vv_metric_rows[k].name);
            VV_CHECK(strcmp(vv_metric_rows[i].name, with) != 0);
        }
    }
}

VV_TEST(the_reference_page_names_every_metric_and_its_labels)
{
    struct vv_sb out = VV_SB_INIT;
    vv_metrics_reference(&out);
    VV_CHECK(!out.failed);
    for (size_t i = 0; i < VV_METRIC_ROWS; i++) {
        char line[128];
        snprintf(line, sizeof(line), "\n| `%s` | ", vv_metric_rows[i].name);
        VV_CHECK(strstr(out.p, line) != NULL);
        VV_CHECK(strstr(out.p, vv_metric_rows[i].help) != NULL);
    }
    VV_CHECK(strstr(out.p, "| `method`, `route`, `service`, `status` |") != NULL);
    vv_sb_fini(&out);
}
