/* src/gateway/grpc.c - few lines, because HTTP/2 does the work; see upstream_h2.h and session_h2.h. */
#include "gateway/grpc.h"
#include "gateway/answer_more.h"
#include "gateway/session.h"

#define TIMEOUT_DIGITS 8

enum { /* codes of statuscodes.md that are ours to say */
       CANCELLED = 1,
       UNKNOWN = 2,
       INVALID_ARGUMENT = 3,
       DEADLINE_EXCEEDED = 4,
       PERMISSION_DENIED = 7,
       RESOURCE_EXHAUSTED = 8,
       UNIMPLEMENTED = 12,
       INTERNAL = 13,
       UNAVAILABLE = 14,
       UNAUTHENTICATED = 16
};

bool vv_grpc_asked(const struct vv_exchange *x)
{
    const struct vv_str grpc = VV_STR("application/grpc");
    const struct vv_h1_field *f = vv_h1_find(&x->req, VV_FIELD_CONTENT_TYPE);
    if (f == NULL || f->value.n < grpc.n ||
        !vv_str_eq_nocase((struct vv_str){f->value.p, grpc.n}, grpc)) {
        return false;
    }
    return f->value.n == grpc.n || f->value.p[grpc.n] == '+' || f->value.p[grpc.n] == ';';
}

enum vv_err vv_grpc_timeout(struct vv_str value, uint64_t *ret_ns)
{
    static const struct {
        char unit;
        uint64_t ns;
    } units[] = {{'H', 3600 * VV_SEC}, {'M', 60 * VV_SEC}, {'S', VV_SEC},
                 {'m', VV_MS},         {'u', VV_US},       {'n', 1}};
    uint64_t count = 0;
    if (value.n < 2 || value.n > TIMEOUT_DIGITS + 1) {
        return VV_ESYNTAX;
    }
    for (size_t i = 0; i + 1 < value.n; i++) {
        if (value.p[i] < '0' || value.p[i] > '9') {
            return VV_ESYNTAX;
        }
        count = count * 10 + (uint64_t)(value.p[i] - '0');
    }
    for (size_t i = 0; i < VV_COUNT(units); i++) {
        if (value.p[value.n - 1] == units[i].unit) {
            /* 99,999,999 hours are 3.6e20 ns, more than a clock of 64 bits can tell. */
            *ret_ns = count > UINT64_MAX / 4 / units[i].ns ? UINT64_MAX / 4 : count * units[i].ns;
            return VV_OK;
        }
    }
    return VV_ESYNTAX;
}

unsigned vv_grpc_status(int status)
{
    switch (status) {
    case 400:
    case 415:
    case 431:
        return INVALID_ARGUMENT;
    case 401:
        return UNAUTHENTICATED;
    case 403:
        return PERMISSION_DENIED;
    case 404:
    case 405:
    case 421:
    case 501:
        return UNIMPLEMENTED;
    case 408:
        return CANCELLED; /* the client has not gone on */
    case 413:
    case 429:
        return RESOURCE_EXHAUSTED;
    case 500:
    case 508:
        return INTERNAL;
    case 502:
    case 503:
        return UNAVAILABLE;
    case 504:
        return DEADLINE_EXCEEDED;
    default:
        return UNKNOWN;
    }
}

void vv_grpc_bounds(struct vv_exchange *x)
{
    uint64_t ns;
    if (!vv_grpc_asked(x)) {
        return;
    }
    if (x->session->conn != NULL) { /* either side may have nothing to say for a while */
        const uint64_t idle_ns = x->route->conf->timeouts.idle_ns;
        x->body_timeout_ns = idle_ns == 0 ? 0 : vv_max_u64(x->body_timeout_ns, idle_ns);
    }
    const struct vv_h1_field *f = vv_h1_find_name(&x->req, VV_STR("grpc-timeout"));
    if (f == NULL || vv_grpc_timeout(f->value, &ns) != VV_OK) {
        return;
    }
    const uint64_t at_ns = x->began_ns + ns;
    if (x->deadline_ns == 0 || at_ns < x->deadline_ns) {
        x->deadline_ns = vv_max_u64(at_ns, 1);
        vv_session_arm(x->session);
    }
}

bool vv_grpc_answer_error(struct vv_exchange *x, int status, enum vv_reason reason)
{
    if (!vv_grpc_asked(x)) {
        return false;
    }
    /* The texts are our own: plain ASCII without a percent sign, so nothing is to be encoded. */
    const struct vv_reason_info *why = &vv_reasons[reason];
    const struct vv_str code = vv_arena_fmt(&x->arena, "%u", vv_grpc_status(status));
    const struct vv_str message = vv_arena_fmt(&x->arena, "%s (%s)", why->text, why->name);
    if (code.p == NULL || message.p == NULL) {
        vv_exchange_end(x, VV_REASON_NO_MEMORY);
        return true;
    }
    struct vv_field field[4] = {{VV_STR("Content-Type"), VV_STR("application/grpc")},
                                {VV_STR("grpc-status"), code},
                                {VV_STR("grpc-message"), message}};
    size_t count = 3;
    const struct vv_str retry = vv_answer_retry_after(x, status);
    if (retry.n > 0) {
        field[count++] = (struct vv_field){VV_STR("Retry-After"), retry};
    }
    vv_answer_simple(x, 200, field, count, (struct vv_str){"", 0});
    return true;
}
