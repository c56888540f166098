/* src/base/err.h - error codes: one row each in err.def.
 *
 * Model: VV_OK is 0, everything else is negative. A call that fails changes nothing.
 * Threads: pure functions.
 */
#ifndef VV_BASE_ERR_H
#define VV_BASE_ERR_H
#include "base/defs.h"

enum vv_err {
    VV_OK = 0,
#define VV_ERR(code, value, status, retryable, text) code = (value),
#include "base/err.def"
#undef VV_ERR
};

const char *vv_err_name(enum vv_err err); /* "VV_ENOMEM" */
const char *vv_err_text(enum vv_err err); /* "out of memory" */
int vv_err_http_status(enum vv_err err);  /* 503; 200 for VV_OK */
bool vv_err_retryable(enum vv_err err);
enum vv_err vv_err_from_errno(int errnum); /* anything unknown is VV_EIO */
#endif
