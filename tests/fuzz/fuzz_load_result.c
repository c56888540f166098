/* tests/fuzz/fuzz_load_result.c - any text is a result or is refused; what was read is written and read
 * back the same, can be added to, and every report of it can be made: agents and files are strangers. */
#include "load/report.h"

#include <jansson.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_reports(const struct vv_load_result *r)
{
    struct vv_load_verdict *verdict = NULL;
    size_t count = 0;
    struct vv_sb out = VV_SB_INIT;
    VV_ASSERT(vv_load_judge(r, NULL, 0, &verdict, &count) == VV_OK);
    const struct vv_load_judged judged = {verdict, count};
    vv_load_report_text(r, judged, false, &out);
    vv_load_report_html(r, judged, &out);
    vv_load_report_junit(r, judged, &out);
    vv_sb_reset(&out);
    vv_load_report_json(r, judged, &out);
    json_t *json = json_loadb(out.p, out.n, 0, NULL);
    VV_ASSERT(json_is_object(json));
    json_decref(json);
    struct vv_load_result *back = NULL; /* the report carries the state */
    VV_ASSERT(vv_load_result_read(vv_sb_str(&out), &back) == VV_OK);
    vv_load_result_free(back);
    vv_sb_fini(&out);
    free(verdict);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vv_load_result *one = NULL, *two = NULL;
    if (vv_load_result_read((struct vv_str){(const char *)data, size}, &one) != VV_OK) {
        return 0;
    }
    struct vv_sb first = VV_SB_INIT, second = VV_SB_INIT;
    vv_load_result_write(one, &first);
    VV_ASSERT(vv_load_result_read(vv_sb_str(&first), &two) == VV_OK);
    vv_load_result_write(two, &second);
    VV_ASSERT(vv_str_eq(vv_sb_str(&first), vv_sb_str(&second)));
    check_reports(one);
    VV_ASSERT(vv_load_result_merge(one, two) == VV_OK);
    check_reports(one);
    vv_load_result_free(one);
    vv_load_result_free(two);
    vv_sb_fini(&first);
    vv_sb_fini(&second);
    return 0;
}
