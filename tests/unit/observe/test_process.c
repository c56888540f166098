/* tests/unit/observe/test_process.c - reading /proc/PID/stat, also with a name that lies. */
#include "observe/metrics_int.h"

#include "vv_test.h"
#include <fcntl.h>
#include <unistd.h>

#define TAIL                                                                                       \
    "S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 -5 3 0 4200 8192000 500 184467 1 1 0 0 0 0\n"

VV_TEST(stat_gives_cpu_memory_and_start)
{
    struct vv_process_stats s = {0};
    VV_CHECK_INT(vv_process_parse(VV_STR("7 (vivace) " TAIL), 100, 4096, &s), VV_OK);
    VV_CHECK_INT(s.cpu_ns, 3 * VV_SEC);    /* 250 + 50 ticks of 10 ms */
    VV_CHECK_INT(s.start_ns, 42 * VV_SEC); /* tick 4200 */
    VV_CHECK_INT(s.virtual_bytes, 8192000);
    VV_CHECK_INT(s.resident_bytes, 500 * 4096);
}

VV_TEST(a_process_name_with_spaces_and_parens_does_not_shift_fields)
{
    struct vv_process_stats s = {0};
    VV_CHECK_INT(vv_process_parse(VV_STR("7 (a) S 1 (b) " TAIL), 100, 4096, &s), VV_OK);
    VV_CHECK_INT(s.cpu_ns, 3 * VV_SEC);
}

VV_TEST(a_cut_or_strange_stat_is_refused)
{
    struct vv_process_stats s = {0};
    VV_CHECK_INT(vv_process_parse(VV_STR(""), 100, 4096, &s), VV_ESYNTAX);
    VV_CHECK_INT(vv_process_parse(VV_STR("7 (vivace) S 1 7"), 100, 4096, &s), VV_ESYNTAX);
}

VV_TEST(this_process_is_described)
{
    struct vv_process_stats before;
    struct vv_process_stats after;
    VV_CHECK_INT(vv_process_read(&before), VV_OK);
    VV_CHECK(before.resident_bytes > 0);
    VV_CHECK(before.virtual_bytes >= before.resident_bytes);
    VV_CHECK(before.start_ns > UINT64_C(1577836800) * VV_SEC); /* after 2020 */
    const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    VV_CHECK(fd >= 0);
    VV_CHECK_INT(vv_process_read(&after), VV_OK);
    VV_CHECK_INT(after.open_fds, before.open_fds + 1);
    close(fd);
}
