/* tests/unit/observe/test_negotiate.c - Accept headers and what they get. */
#include "observe/metrics.h"

#include "vv_test.h"

VV_TEST(accept_chooses_by_q_then_exactness_then_order)
{
    static const struct {
        const char *accept;
        enum vv_exposition want;
    } rows[] = {
        {"", VV_EXPOSITION_TEXT},
        {"*/*", VV_EXPOSITION_TEXT},
        {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", VV_EXPOSITION_TEXT},
        /* Prometheus 2.42 with and without native histograms: never protobuf */
        {"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;"
         "encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.8,"
         "application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,"
         "*/*;q=0.1",
         VV_EXPOSITION_OPENMETRICS},
        {"application/openmetrics-text;version=1.0.0,"
         "application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5",
         VV_EXPOSITION_OPENMETRICS},
        {"application/openmetrics-text; version=0.0.1", VV_EXPOSITION_TEXT}, /* not ours */
        {"text/plain;version=0.0.4;q=0.5, application/openmetrics-text;q=0.4", VV_EXPOSITION_TEXT},
        {"application/json", VV_EXPOSITION_JSON},
        {"application/json, text/plain;q=0.9", VV_EXPOSITION_JSON},
        {"*/*, application/openmetrics-text", VV_EXPOSITION_OPENMETRICS}, /* named beats any */
        {"application/openmetrics-text, text/plain", VV_EXPOSITION_OPENMETRICS}, /* first named */
        {"text/plain, application/openmetrics-text", VV_EXPOSITION_TEXT},
        {"*/*, text/plain;q=0", VV_EXPOSITION_OPENMETRICS}, /* text is explicitly refused */
        {"application/*", VV_EXPOSITION_OPENMETRICS},
        {"Application/OpenMetrics-Text; Version=\"1.0.0\"; q=1.000", VV_EXPOSITION_OPENMETRICS},
        {"text/plain;q=0.001, application/openmetrics-text;q=0.002", VV_EXPOSITION_OPENMETRICS},
        {"image/png", VV_EXPOSITION_TEXT},
        {";;;,,,=,q=", VV_EXPOSITION_TEXT},
        {"*/*;q=0", VV_EXPOSITION_TEXT}, /* nothing is acceptable: text is better than 406 */
    };
    for (size_t i = 0; i < VV_COUNT(rows); i++) {
        const enum vv_exposition got = vv_exposition_choose(vv_str_from(rows[i].accept));
        if (got != rows[i].want) {
            print_message("Accept: %s\n", rows[i].accept);
        }
        VV_CHECK_INT(got, rows[i].want);
    }
}

VV_TEST(content_types_carry_their_versions)
{
    VV_CHECK_STR(vv_exposition_type(VV_EXPOSITION_TEXT),
                 "text/plain; version=0.0.4; charset=utf-8");
    VV_CHECK_STR(vv_exposition_type(VV_EXPOSITION_OPENMETRICS),
                 "application/openmetrics-text; version=1.0.0; charset=utf-8");
    VV_CHECK_STR(vv_exposition_type(VV_EXPOSITION_JSON), "application/json");
}
