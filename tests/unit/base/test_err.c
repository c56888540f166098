/* tests/unit/base/test_err.c - every row is whole, errno finds its row. */
#include "base/err.h"
#include "vv_test.h"
#include <errno.h>

static const enum vv_err all[] = {
#define VV_ERR(code, value, status, retryable, text) code,
#include "base/err.def"
#undef VV_ERR
};

VV_TEST(err_rows_are_negative_and_have_a_status_and_a_text)
{
    for (size_t i = 0; i < VV_COUNT(all); i++) {
        VV_CHECK(all[i] < 0);
        VV_CHECK(vv_err_http_status(all[i]) >= 400 && vv_err_http_status(all[i]) <= 599);
        VV_CHECK(strlen(vv_err_text(all[i])) > 0);
        VV_CHECK(strncmp(vv_err_name(all[i]), "VV_E", 4) == 0);
    }
    VV_CHECK_STR(vv_err_name(VV_ENOMEM), "VV_ENOMEM");
    VV_CHECK_STR(vv_err_text(VV_ENOMEM), "out of memory");
    VV_CHECK_INT(vv_err_http_status(VV_OK), 200);
    VV_CHECK(vv_err_retryable(VV_EREFUSED));
    VV_CHECK(!vv_err_retryable(VV_ECONFIG));
}

VV_TEST(err_from_errno_keeps_what_callers_tell_apart)
{
    VV_CHECK_INT(vv_err_from_errno(0), VV_OK);
    VV_CHECK_INT(vv_err_from_errno(ECONNREFUSED), VV_EREFUSED);
    VV_CHECK_INT(vv_err_from_errno(ECONNRESET), VV_ERESET);
    VV_CHECK_INT(vv_err_from_errno(EMFILE), VV_EFILES);
    VV_CHECK_INT(vv_err_from_errno(EPIPE), VV_ECLOSED);
    VV_CHECK_INT(vv_err_from_errno(ETIMEDOUT), VV_ETIMEOUT);
    VV_CHECK_INT(vv_err_from_errno(EADDRINUSE), VV_EADDRINUSE);
    VV_CHECK_INT(vv_err_from_errno(99999), VV_EIO);
}
