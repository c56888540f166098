/* tests/unit/vv_test.h - a thin face over cmocka: tests register themselves, names are sentences. */
#ifndef VV_TEST_H
#define VV_TEST_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define VV_TESTS_MAX 512
static struct CMUnitTest vv_tests[VV_TESTS_MAX];
static size_t vv_tests_count;

#define VV_TEST(title)                                                                             \
    static void title(void **state);                                                               \
    __attribute__((constructor)) static void vv_register_##title(void)                             \
    {                                                                                              \
        vv_tests[vv_tests_count++] = (struct CMUnitTest){#title, title, NULL, NULL, NULL};         \
    }                                                                                              \
    static void title(void **state __attribute__((unused)))

#define VV_CHECK(cond) assert_true(cond)
#define VV_CHECK_INT(got, want) assert_int_equal((long long)(got), (long long)(want))
#define VV_CHECK_STR(got, want) assert_string_equal(got, want)
/* got: struct vv_str, want: C string */
#define VV_CHECK_SLICE(got, want)                                                                  \
    do {                                                                                           \
        const struct vv_str vv_got_ = (got);                                                       \
        assert_int_equal(vv_got_.n, strlen(want));                                                 \
        assert_memory_equal(vv_got_.p != NULL ? vv_got_.p : "", want, vv_got_.n);                  \
    } while (0)

int main(void)
{
    return _cmocka_run_group_tests("vivace", vv_tests, vv_tests_count, NULL, NULL);
}
#endif
