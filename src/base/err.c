/* src/base/err.c - one switch per question, generated from err.def: a row that is forgotten or
 * doubled is a compile error, and the compiler makes a table of it by itself. */
#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

void vv_panic(const char *file, int line, const char *what)
{
    fprintf(stderr, "vivace: bug: %s:%d: %s does not hold\n", file, line, what);
    fflush(stderr);
    abort();
}

const char *vv_err_name(enum vv_err err)
{
    switch (err) {
    case VV_OK:
        return "VV_OK";
#define VV_ERR(code, value, status, retryable, text)                                               \
    case code:                                                                                     \
        return #code;
#include "base/err.def"
#undef VV_ERR
    }
    return "VV_E?";
}

const char *vv_err_text(enum vv_err err)
{
    switch (err) {
    case VV_OK:
        return "no error";
#define VV_ERR(code, value, status, retryable, text)                                               \
    case code:                                                                                     \
        return text;
#include "base/err.def"
#undef VV_ERR
    }
    return "unknown error";
}

int vv_err_http_status(enum vv_err err)
{
    switch (err) {
    case VV_OK:
        return 200;
#define VV_ERR(code, value, status, retryable, text)                                               \
    case code:                                                                                     \
        return status;
#include "base/err.def"
#undef VV_ERR
    }
    return 500;
}

bool vv_err_retryable(enum vv_err err)
{
    switch (err) {
    case VV_OK:
        return false;
#define VV_ERR(code, value, status, retryable, text)                                               \
    case code:                                                                                     \
        return retryable;
#include "base/err.def"
#undef VV_ERR
    }
    return false;
}

enum vv_err vv_err_from_errno(int errnum)
{
    switch (errnum) {
    case 0:
        return VV_OK;
    case EAGAIN:
    case EINPROGRESS:
    case EALREADY:
    case EINTR:
        return VV_EAGAIN;
    case ENOMEM:
    case ENOBUFS:
        return VV_ENOMEM;
    case EMFILE:
    case ENFILE:
        return VV_EFILES;
    case EINVAL:
    case ENAMETOOLONG:
    case EDESTADDRREQ:
        return VV_EINVAL;
    case ENOENT:
    case ENOTDIR:
        return VV_ENOENT;
    case EEXIST:
        return VV_EEXIST;
    case EACCES:
    case EPERM:
    case EROFS:
        return VV_EACCES;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return VV_ELIMIT;
    case EPIPE:
    case ENOTCONN:
    case ESHUTDOWN:
        return VV_ECLOSED;
    case ERANGE:
    case EOVERFLOW:
        return VV_ERANGE;
    case EOPNOTSUPP:
    case ENOSYS:
    case EAFNOSUPPORT:
    case EPROTONOSUPPORT:
        return VV_EUNSUPPORTED;
    case ETIMEDOUT:
        return VV_ETIMEOUT;
    case EADDRINUSE:
        return VV_EADDRINUSE;
    case ECONNREFUSED:
        return VV_EREFUSED;
    case ECONNRESET:
    case ECONNABORTED:
        return VV_ERESET;
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
    case EADDRNOTAVAIL:
        return VV_EUNREACHABLE;
    default:
        return VV_EIO;
    }
}
