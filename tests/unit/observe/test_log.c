/* tests/unit/observe/test_log.c - lines, levels, escapes and folding, read back from a pipe. */
#include "observe/log_int.h"

#include "vv_test.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define T0 (UINT64_C(1795249020) * VV_SEC + 123 * VV_MS) /* 2026-11-21 08:17:00.123 UTC */

static int ends[2] = {-1, -1};
static char got[65536];

static void begin(enum vv_log_level level, enum vv_log_format format)
{
    VV_CHECK_INT(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    vv_log_setup(level, format, ends[1]);
}

/* Everything written so far. */
static const char *lines(void)
{
    const ssize_t n = read(ends[0], got, sizeof(got) - 1);
    got[n > 0 ? n : 0] = '\0';
    return got;
}

static void finish(void)
{
    vv_log_flush(UINT64_MAX);
    close(ends[0]);
    close(ends[1]);
    vv_log_setup(VV_LOG_INFO, VV_LOG_TEXT, STDERR_FILENO);
}

static void say(uint64_t wall_ns, enum vv_log_level level, const char *fmt, ...) VV_PRINTF(3, 4);
static void say(uint64_t wall_ns, enum vv_log_level level, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vv_log_at(wall_ns, level, "conf", fmt, args);
    va_end(args);
}

VV_TEST(a_text_line_has_time_level_component_and_message)
{
    begin(VV_LOG_INFO, VV_LOG_TEXT);
    say(T0, VV_LOG_WARN, "server ejected server=%s", "127.0.0.1:1");
    VV_CHECK_STR(lines(),
                 "2026-11-21T08:17:00.123Z WARN  conf: server ejected server=127.0.0.1:1\n");
    finish();
}

VV_TEST(a_json_line_has_the_same_as_fields)
{
    begin(VV_LOG_INFO, VV_LOG_JSON);
    say(T0, VV_LOG_ERROR, "say \"%s\"", "a\\b\n\x01\xff\xc3\xa9");
    VV_CHECK_STR(lines(), "{\"ts\":\"2026-11-21T08:17:00.123Z\",\"level\":\"error\","
                          "\"component\":\"conf\","
                          "\"msg\":\"say \\\"a\\\\b\\u000a\\u0001\\ufffd\xc3\xa9\\\"\"}\n");
    finish();
}

VV_TEST(control_bytes_cannot_forge_lines_or_move_a_terminal)
{
    begin(VV_LOG_INFO, VV_LOG_TEXT);
    say(T0, VV_LOG_INFO, "%s", "a\nb\x1b[2J\x7f\xc2\x9b\xff\xc3\xa9");
    VV_CHECK_STR(lines(), "2026-11-21T08:17:00.123Z INFO  conf: "
                          "a\\nb\\x1b[2J\\x7f\\xc2\\x9b\\xff\xc3\xa9\n");
    finish();
}

VV_TEST(a_level_below_the_wanted_one_is_silent)
{
    begin(VV_LOG_WARN, VV_LOG_TEXT);
    vv_info("conf", "not seen %d", 1);
    vv_debug("conf", "not seen %d", 2);
    VV_CHECK_STR(lines(), "");
    vv_warn("conf", "seen %d", 3);
    VV_CHECK(strstr(lines(), "WARN  conf: seen 3\n") != NULL);
    finish();
}

VV_TEST(a_burst_of_one_message_is_folded_and_counted)
{
    begin(VV_LOG_INFO, VV_LOG_TEXT);
    for (int i = 0; i < 42; i++) {
        say(T0, VV_LOG_WARN, "down");
    }
    VV_CHECK_STR(lines(), "2026-11-21T08:17:00.123Z WARN  conf: down\n");
    say(T0, VV_LOG_WARN, "other");
    VV_CHECK_STR(lines(), "2026-11-21T08:17:00.123Z WARN  conf: other\n");
    vv_log_flush(T0 + 4 * VV_SEC); /* the 5 seconds are not over */
    VV_CHECK_STR(lines(), "");
    vv_log_flush(T0 + 5 * VV_SEC);
    VV_CHECK_STR(lines(), "2026-11-21T08:17:05.123Z WARN  conf: down (... 41 more)\n");
    say(T0 + 5 * VV_SEC, VV_LOG_WARN, "down"); /* a new burst speaks at once */
    VV_CHECK_STR(lines(), "2026-11-21T08:17:05.123Z WARN  conf: down\n");
    finish();
}

VV_TEST(folded_counts_are_not_lost_when_many_messages_pass)
{
    begin(VV_LOG_INFO, VV_LOG_TEXT);
    say(T0, VV_LOG_WARN, "down");
    say(T0, VV_LOG_WARN, "down");
    for (int i = 0; i < 40; i++) { /* more than the table of recent messages holds */
        say(T0 + 1, VV_LOG_INFO, "message %d", i);
    }
    VV_CHECK(strstr(lines(), "conf: down (... 1 more)\n") != NULL);
    finish();
}

VV_TEST(a_long_message_is_cut_and_errno_is_left_alone)
{
    char longer[5000];
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    begin(VV_LOG_INFO, VV_LOG_TEXT);
    errno = ENOSPC;
    say(T0, VV_LOG_INFO, "%s", longer);
    VV_CHECK_INT(errno, ENOSPC);
    const char *line = lines();
    VV_CHECK(strlen(line) < 2200);
    VV_CHECK_STR(line + strlen(line) - 5, "x...\n");
    finish();
}
