/* tests/unit/gateway/test_grpc.c - deadlines as gRPC writes them, and the codes of our errors. */
#include "gateway/grpc.h"
#include "vv_test.h"

static uint64_t timeout_of(const char *text)
{
    uint64_t ns = 7;
    return vv_grpc_timeout(vv_str_from(text), &ns) == VV_OK ? ns : 7;
}

VV_TEST(a_timeout_is_a_number_and_a_unit)
{
    VV_CHECK_INT(timeout_of("1H"), 3600 * VV_SEC);
    VV_CHECK_INT(timeout_of("2M"), 120 * VV_SEC);
    VV_CHECK_INT(timeout_of("3S"), 3 * VV_SEC);
    VV_CHECK_INT(timeout_of("250m"), 250 * VV_MS);
    VV_CHECK_INT(timeout_of("99999999u"), UINT64_C(99999999) * VV_US);
    VV_CHECK_INT(timeout_of("0n"), 0);
}

VV_TEST(a_timeout_no_clock_can_tell_is_a_very_long_one)
{
    VV_CHECK(timeout_of("99999999H") > UINT64_C(100) * 365 * 86400 * VV_SEC); /* over 100 years */
    VV_CHECK(timeout_of("99999999H") < UINT64_MAX / 2); /* it can be added to a time */
}

VV_TEST(what_is_no_timeout_is_refused)
{
    static const char *const bad[] = {"",     "S",          "1",   "1s", "-1S",
                                      "1.5S", "123456789S", "1 S", "1SS"};
    for (size_t i = 0; i < VV_COUNT(bad); i++) {
        VV_CHECK_INT(timeout_of(bad[i]), 7); /* untouched */
    }
}

VV_TEST(errors_of_ours_have_the_codes_that_clients_act_upon)
{
    VV_CHECK_INT(vv_grpc_status(503), 14); /* UNAVAILABLE: may be tried again */
    VV_CHECK_INT(vv_grpc_status(502), 14);
    VV_CHECK_INT(vv_grpc_status(504), 4);  /* DEADLINE_EXCEEDED */
    VV_CHECK_INT(vv_grpc_status(429), 8);  /* RESOURCE_EXHAUSTED */
    VV_CHECK_INT(vv_grpc_status(401), 16); /* UNAUTHENTICATED */
    VV_CHECK_INT(vv_grpc_status(403), 7);  /* PERMISSION_DENIED */
    VV_CHECK_INT(vv_grpc_status(404), 12); /* UNIMPLEMENTED: there is no such method here */
    VV_CHECK_INT(vv_grpc_status(418), 2);  /* UNKNOWN */
}

/* vv_grpc_answer_error() sends reasons as they are. */
VV_TEST(no_reason_needs_an_encoding_in_grpc_message)
{
    for (size_t i = 0; i < VV_REASON_COUNT; i++) {
        for (const char *p = vv_reasons[i].text; *p != '\0'; p++) {
            VV_CHECK(*p >= ' ' && *p <= '~' && *p != '%');
        }
    }
}
