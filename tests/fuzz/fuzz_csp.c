/* tests/fuzz/fuzz_csp.c - whatever is posted as a report: few reports, names of a closed list, text that can
 * stand in a log line. */
#include "gateway/csp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void plain(const char text[VV_CSP_TEXT])
{
    VV_ASSERT(memchr(text, '\0', VV_CSP_TEXT) != NULL);
    for (size_t i = 0; text[i] != '\0'; i++) {
        VV_ASSERT(text[i] > ' ' && text[i] < 0x7f && text[i] != '?');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct vv_csp_report report[VV_CSP_REPORTS_MAX];
    size_t n = 0;
    size_t dropped = 0;
    if (vv_csp_read((struct vv_str){(const char *)data, size}, report, &n, &dropped) != VV_OK) {
        return 0;
    }
    VV_ASSERT(n <= VV_CSP_REPORTS_MAX);
    VV_ASSERT(dropped == 0 || n == VV_CSP_REPORTS_MAX);
    for (size_t i = 0; i < n; i++) {
        VV_ASSERT(strlen(report[i].directive) < 32);
        plain(report[i].page);
        plain(report[i].blocked);
        plain(report[i].source);
    }
    return 0;
}
