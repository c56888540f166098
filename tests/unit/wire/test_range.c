/* tests/unit/wire/test_range.c - which bytes are wanted. */
#include "vv_test.h"
#include "wire/range.h"

static struct vv_ranges got;

static enum vv_range_result parse(const char *value, uint64_t size)
{
    memset(&got, 0, sizeof got);
    return vv_range_parse(vv_str_from(value), size, &got);
}

static void one(const char *value, uint64_t size, uint64_t first, uint64_t bytes)
{
    VV_CHECK_INT(parse(value, size), VV_RANGE_PARTS);
    VV_CHECK_INT(got.count, 1);
    VV_CHECK_INT(got.range[0].first, first);
    VV_CHECK_INT(got.range[0].bytes, bytes);
}

VV_TEST(range_takes_both_ends_one_end_and_a_suffix)
{
    /* RFC 9110 14.1.2: of 10,000 bytes, positions count from 0 and both ends are included. */
    one("bytes=0-499", 10000, 0, 500);
    one("bytes=500-999", 10000, 500, 500);
    one("bytes=9500-", 10000, 9500, 500);
    one("bytes=-500", 10000, 9500, 500);
    one("bytes=0-0", 10000, 0, 1);
    one("bytes=-1", 10000, 9999, 1);
    one("BYTES=0-0", 10000, 0, 1); /* units are case-insensitive */
    one("bytes= 1-2 ,, ", 10000, 1, 2);
}

VV_TEST(range_is_cut_to_the_size)
{
    one("bytes=9999-20000", 10000, 9999, 1);
    one("bytes=-20000", 10000, 0, 10000);
    one("bytes=5-", 6, 5, 1);
}

VV_TEST(range_numbers_do_not_overflow)
{
    one("bytes=1-18446744073709551615", 10, 1, 9); /* 2^64 - 1 */
    one("bytes=1-18446744073709551616", 10, 1, 9); /* 2^64 */
    one("bytes=1-99999999999999999999999", 10, 1, 9);
    one("bytes=-99999999999999999999999", 10, 0, 10);
    VV_CHECK_INT(parse("bytes=18446744073709551616-", 10), VV_RANGE_UNSATISFIABLE);
    /* The last byte of the largest thing there can be. */
    one("bytes=18446744073709551614-", UINT64_MAX, UINT64_MAX - 1, 1);
}

VV_TEST(range_behind_the_end_is_unsatisfiable)
{
    VV_CHECK_INT(parse("bytes=10-", 10), VV_RANGE_UNSATISFIABLE);
    VV_CHECK_INT(parse("bytes=10-20,99-", 10), VV_RANGE_UNSATISFIABLE);
    VV_CHECK_INT(parse("bytes=-0", 10), VV_RANGE_UNSATISFIABLE);
}

VV_TEST(range_that_is_malformed_is_ignored)
{
    static const char *const bad[] = {
        "",           "bytes",     "bytes=",        "bytes=,",       "bytes=-",    "bytes=a-b",
        "bytes=1",    "bytes=5-4", "bytes=--5",     "bytes=1-2-3",   "bytes=+1-2", "bytes=1 -2",
        "lines=1-2",  "bytes 1-2", "bytes=0-1;2-3", "bytes=0-1,x-y", "bytes=0x1-", "bytes=1-2 3-4",
        " bytes=1-2", "byte=1-2",
    };
    for (size_t i = 0; i < VV_COUNT(bad); i++) {
        VV_CHECK_INT(parse(bad[i], 10), VV_RANGE_IGNORE);
    }
    VV_CHECK_INT(got.count, 0); /* nothing was set */
}

VV_TEST(range_of_nothing_is_the_whole_nothing)
{
    /* A 206 cannot name a range of no bytes, and a 416 would hide that the file is there. */
    VV_CHECK_INT(parse("bytes=0-", 0), VV_RANGE_IGNORE);
    VV_CHECK_INT(parse("bytes=-5", 0), VV_RANGE_IGNORE);
}

VV_TEST(range_list_keeps_what_can_be_satisfied)
{
    VV_CHECK_INT(parse("bytes=0-1, 4-5,20-30, -2", 10), VV_RANGE_PARTS);
    VV_CHECK_INT(got.count, 3);
    VV_CHECK_INT(got.range[1].first, 4);
    VV_CHECK_INT(got.range[1].bytes, 2);
    VV_CHECK_INT(got.range[2].first, 8);
    VV_CHECK_INT(got.range[2].bytes, 2);
}

VV_TEST(range_list_that_overlaps_falls_or_is_long_is_ignored)
{
    VV_CHECK_INT(parse("bytes=0-5,5-9", 10), VV_RANGE_IGNORE);
    VV_CHECK_INT(parse("bytes=0-,0-,0-", 10), VV_RANGE_IGNORE);
    VV_CHECK_INT(parse("bytes=5-6,1-2", 10), VV_RANGE_IGNORE);
    VV_CHECK_INT(parse("bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14", 20), VV_RANGE_PARTS);
    VV_CHECK_INT(got.count, 8);
    VV_CHECK_INT(parse("bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14,16-16", 20), VV_RANGE_IGNORE);
}
