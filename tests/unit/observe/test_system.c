/* tests/unit/observe/test_system.c - the numbers of the machine become series, absent ones do not. */
#include "observe/metrics_int.h"
#include "os/system.h"

#include "vv_test.h"
#include <stdio.h>
#include <stdlib.h>

static char *page(struct vv_metrics *m)
{
    struct vv_sb out = VV_SB_INIT;
    vv_metrics_write(m, VV_EXPOSITION_TEXT, &out);
    VV_CHECK(!out.failed);
    return out.p;
}

/* The value of the first sample that begins like this; -1: no such series. */
static double value(const char *text, const char *series)
{
    char line[128];
    snprintf(line, sizeof(line), "\n%s ", series);
    const char *at = strstr(text, line);
    return at != NULL ? strtod(at + strlen(line), NULL) : -1.0;
}

VV_TEST(every_mode_and_the_memory_of_the_machine_are_series)
{
    struct vv_metrics *m = NULL;
    static struct vv_system before, after;
    VV_CHECK_INT(vv_metrics_new(&m), VV_OK);
    vv_system_read(NULL, NULL, &before);
    char *text = page(m);
    vv_system_read(NULL, NULL, &after);
    const double user = value(text, "vivace_system_cpu_seconds_total{mode=\"user\"}");
    /* ns became seconds; the scrape lies between two readings of our own */
    VV_CHECK(user >= (double)before.cpu.mode_ns[VV_SYSTEM_MODE_USER] / 1e9 - 1e-6);
    VV_CHECK(user <= (double)after.cpu.mode_ns[VV_SYSTEM_MODE_USER] / 1e9 + 1e-6);
    VV_CHECK(value(text, "vivace_system_cpu_seconds_total{mode=\"steal\"}") >= 0.0);
    VV_CHECK(value(text, "vivace_system_memory_total_bytes") == (double)after.memory.total_bytes);
    VV_CHECK(value(text, "vivace_system_boot_time_seconds") == (double)after.cpu.boot_s);
    VV_CHECK(value(text, "vivace_system_process_threads") == 1.0);
    const double load = value(text, "vivace_system_load1");
    VV_CHECK(load >= 0.0 && load < 10000.0);
    free(text);
    vv_metrics_free(m);
}

VV_TEST(what_the_kernel_does_not_say_is_no_series)
{
    struct vv_metrics *m = NULL;
    static struct vv_system s;
    VV_CHECK_INT(vv_metrics_new(&m), VV_OK);
    vv_system_read(NULL, NULL, &s);
    char *text = page(m);
    VV_CHECK((value(text, "vivace_system_cgroup_cpu_limit") < 0.0) ==
             (s.cgroup.cpu_limit_milli == VV_SYSTEM_ABSENT));
    VV_CHECK((value(text, "vivace_system_cgroup_memory_limit_bytes") < 0.0) ==
             (s.cgroup.memory_limit_bytes == VV_SYSTEM_ABSENT));
    VV_CHECK(strstr(text, "18446744073709551615") == NULL); /* VV_SYSTEM_ABSENT as a value */
    VV_CHECK(strstr(text, "1.8446744073709552e+19") == NULL);
    VV_CHECK(strstr(text, "18446744073.7") == NULL); /* in seconds */
    free(text);
    vv_metrics_free(m);
}
