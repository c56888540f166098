/* src/observe/reference.c - the reference page of all metrics, from their rows. */
#include "observe/metrics_int.h"

void vv_metrics_reference(struct vv_sb *out)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram", "info"};
    vv_sb_adds(out, "# Metrics\n\n"
                    "Generated from `src/observe/metrics.def`; do not edit.\n\n"
                    "`GET /metrics` answers Prometheus text or OpenMetrics by `Accept`, "
                    "`GET /api/v1/metrics` JSON.\n"
                    "Constant labels of the configuration (`labels:`) are on every series. "
                    "A metric keeps at most 2,000\n"
                    "label sets; further ones are counted together under `_overflow`. "
                    "Histogram bounds (seconds): 0.001,\n"
                    "0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.2, 0.35, 0.5, 0.75, "
                    "1, 2, 5, 10, 30.\n\n"
                    "| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < VV_METRIC_ROWS; i++) {
        const struct vv_metric_info *row = &vv_metric_rows[i];
        vv_sb_addf(out, "| `%s` | %s | ", row->name, kinds[row->kind]);
        struct vv_str rest = vv_str_from(row->labels);
        for (size_t k = 0; rest.n > 0; k++) {
            const struct vv_str label = vv_str_cut(&rest, ',');
            vv_sb_addf(out, "%s`" VV_STR_FMT "`", k > 0 ? ", " : "", VV_STR_ARG(label));
        }
        vv_sb_addf(out, " | %s |\n", row->help);
    }
}
