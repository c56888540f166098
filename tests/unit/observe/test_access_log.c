/* tests/unit/observe/test_access_log.c - lines byte by byte, then buffers, drops and reopening. */
#include "observe/access_int.h"

#include "vv_test.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define T0 (UINT64_C(1795249020) * VV_SEC + 45 * VV_MS) /* 2026-11-21 08:17:00.045 UTC */

static const struct vv_access_record full = {
    .wall_ns = T0,
    .duration_ns = 12345678, /* 12.345 ms, cut not rounded */
    .first_byte_ns = 2 * VV_MS,
    .upstream_ns = 1500 * VV_US,
    .bytes_in = 7,
    .bytes_out = 1024,
    .client_ip = {"192.0.2.1", 9},
    .method = {"GET", 3},
    .host = {"shop.example", 12},
    .path = {"/a/b", 4},
    .query = {"x=1", 3},
    .route = {"api", 3},
    .service = {"shop", 4},
    .server = {"127.0.0.1:3001", 14},
    .user_agent = {"curl/7.88.1", 11},
    .referer = {"http://r/", 9},
    .request_id = {"r-1", 3},
    .trace_id = {"t-1", 3},
    .error = {"", 0},
    .cache = {"MISS", 4},
    .guard = {"hedged", 6},
    .caller = {"partner-42", 10},
    .plan = {"premium", 7},
    .status = 200,
    .attempts = 1,
    .http_minor = 1,
};
static char out[VV_ACCESS_BUFFER];

static const char *line(const struct vv_access_record *r, enum vv_access_format format)
{
    struct vv_access_clock clock = {0};
    char *end = vv_access_line(out, r, format, &clock);
    VV_CHECK((size_t)(end - out) <= vv_access_bound(r));
    *end = '\0';
    return out;
}

VV_TEST(json_has_the_fields_of_the_reference)
{
    VV_CHECK_STR(line(&full, VV_ACCESS_JSON),
                 "{\"ts\":\"2026-11-21T08:17:00.045Z\",\"level\":\"info\",\"msg\":\"request\","
                 "\"trace_id\":\"t-1\",\"request_id\":\"r-1\",\"client_ip\":\"192.0.2.1\","
                 "\"caller\":\"partner-42\",\"plan\":\"premium\","
                 "\"method\":\"GET\",\"host\":\"shop.example\",\"path\":\"/a/b\","
                 "\"query\":\"x=1\",\"proto\":\"HTTP/1.1\",\"route\":\"api\","
                 "\"service\":\"shop\",\"status\":200,\"bytes_in\":7,\"bytes_out\":1024,"
                 "\"duration_ms\":12.345,\"ttfb_ms\":2.000,\"upstream\":\"127.0.0.1:3001\","
                 "\"upstream_ms\":1.500,\"attempts\":1,\"cache\":\"MISS\",\"guard\":\"hedged\","
                 "\"user_agent\":\"curl/7.88.1\","
                 "\"referer\":\"http://r/\"}\n");
}

VV_TEST(json_leaves_out_what_is_not_there_and_marks_errors)
{
    const struct vv_access_record r = {.wall_ns = T0, .error = VV_STR("client_closed")};
    VV_CHECK_STR(line(&r, VV_ACCESS_JSON),
                 "{\"ts\":\"2026-11-21T08:17:00.045Z\",\"level\":\"error\",\"msg\":\"request\","
                 "\"proto\":\"HTTP/1.0\",\"status\":0,\"bytes_in\":0,\"bytes_out\":0,"
                 "\"duration_ms\":0.000,\"error\":\"client_closed\"}\n");
}

VV_TEST(combined_is_what_nginx_writes)
{
    VV_CHECK_STR(line(&full, VV_ACCESS_COMBINED),
                 "192.0.2.1 - - [21/Nov/2026:08:17:00 +0000] \"GET /a/b?x=1 HTTP/1.1\" 200 1024 "
                 "\"http://r/\" \"curl/7.88.1\"\n");
    const struct vv_access_record bare = {.wall_ns = T0, .client_ip = VV_STR("::1")};
    VV_CHECK_STR(line(&bare, VV_ACCESS_COMBINED),
                 "::1 - - [21/Nov/2026:08:17:00 +0000] \"-\" 499 0 \"-\" \"-\"\n");
}

VV_TEST(every_byte_is_escaped_right_in_json)
{
    struct vv_access_record r = {.path = VV_STR("\"\\\x01\n\x7f\xff\xc3\xa9\xc2\x9b plain text")};
    VV_CHECK(
        strstr(line(&r, VV_ACCESS_JSON),
               "\"path\":\"\\\"\\\\\\u0001\\u000a\\u007f\\ufffd\xc3\xa9\\u009b plain text\"") !=
        NULL);
}

VV_TEST(every_byte_is_escaped_right_in_combined)
{
    struct vv_access_record r = {.path = VV_STR("\"\\\x01\n\x7f\xff\xc3\xa9 plain text"),
                                 .method = VV_STR("GET")};
    VV_CHECK(strstr(line(&r, VV_ACCESS_COMBINED),
                    "\"GET \\x22\\x5C\\x01\\x0A\\x7F\\xFF\\xC3\\xA9 plain text HTTP/1.0\"") !=
             NULL);
}

/* Wherever a special byte stands in a word of eight, it is found and nothing else is changed. */
VV_TEST(special_bytes_are_found_at_every_offset)
{
    for (unsigned c = 0; c < 256; c++) {
        for (size_t at = 0; at < 16; at++) {
            char path[] = "abcdefghijklmnop";
            char want[64];
            path[at] = (char)c;
            const bool special = c < 0x20 || c >= 0x7f || c == '"' || c == '\\';
            snprintf(want, sizeof(want), special ? "\" %.*s\\x%02X%s HTTP" : "\" %.*s%c%s HTTP",
                     (int)at, path, c, path + at + 1);
            want[1] = ' ';
            struct vv_access_record r = {.path = {path, 16}};
            const char *got = strstr(line(&r, VV_ACCESS_COMBINED), "] \"-");
            VV_CHECK(got != NULL);
            VV_CHECK(strncmp(got + 4, want + 1, strlen(want) - 1) == 0);
        }
    }
}

VV_TEST(the_worst_record_fits_and_says_that_it_was_cut)
{
    static char bad[40000];
    memset(bad, 0x01, sizeof(bad));
    const struct vv_str s = {bad, sizeof(bad)};
    const struct vv_access_record r = {
        .wall_ns = T0,
        .duration_ns = UINT64_MAX,
        .first_byte_ns = UINT64_MAX,
        .client_ip = s,
        .upstream_ns = UINT64_MAX,
        .bytes_in = UINT64_MAX,
        .method = s,
        .bytes_out = UINT64_MAX,
        .host = s,
        .path = s,
        .query = s,
        .route = s,
        .service = s,
        .server = s,
        .user_agent = s,
        .referer = s,
        .request_id = s,
        .trace_id = s,
        .error = s,
        .cache = s,
        .guard = s,
        .caller = s,
        .plan = s,
        .status = 599,
        .attempts = 99,
    };
    VV_CHECK_INT(vv_access_bound(&r), VV_ACCESS_LINE_MAX);
    const char *got = line(&r, VV_ACCESS_JSON); /* line() checks the bound */
    VV_CHECK(strstr(got, "\\u0001...\",\"query\":\"") != NULL);
    VV_CHECK_STR(got + strlen(got) - 6, "...\"}\n");
    (void)line(&r, VV_ACCESS_COMBINED);
}

VV_TEST(the_second_is_rendered_once_but_changes_in_time)
{
    struct vv_access_clock clock = {0};
    struct vv_access_record r = {.wall_ns = T0};
    char *end = vv_access_line(out, &r, VV_ACCESS_COMBINED, &clock);
    r.wall_ns = T0 + VV_SEC;
    end = vv_access_line(end, &r, VV_ACCESS_COMBINED, &clock);
    *end = '\0';
    VV_CHECK(strstr(out, ":08:17:00 +0000") != NULL);
    VV_CHECK(strstr(out, ":08:17:01 +0000") != NULL);
}

/* ---- with files and the writer thread ---- */

static char dir[64];
static char path[128];

static void make_dir(void)
{
    snprintf(dir, sizeof(dir), "/tmp/vv-access-XXXXXX");
    VV_CHECK(mkdtemp(dir) != NULL);
    snprintf(path, sizeof(path), "%s/log", dir);
}

static void remove_dir(void)
{
    char moved[160];
    snprintf(moved, sizeof(moved), "%s.1", path);
    unlink(moved);
    unlink(path);
    rmdir(dir);
}

static size_t count_lines(const char *file)
{
    FILE *f = fopen(file, "re");
    size_t n = 0;
    for (int c = 0; f != NULL && (c = getc(f)) != EOF;) {
        n += c == '\n' ? 1 : 0;
    }
    if (f != NULL) {
        fclose(f);
    }
    return n;
}

static struct vv_access_log *log_at(const char *file)
{
    struct vv_access_log *log = NULL;
    VV_CHECK_INT(vv_access_log_new(file, VV_ACCESS_JSON, &log), VV_OK);
    return log;
}

static struct vv_access_appender *appender(struct vv_access_log *log)
{
    struct vv_access_appender *a = NULL;
    VV_CHECK_INT(vv_access_appender_new(log, &a), VV_OK);
    return a;
}

VV_TEST(every_record_is_written_or_counted_as_dropped)
{
    make_dir();
    struct vv_access_log *log = log_at(path);
    struct vv_access_appender *a = appender(log);
    struct vv_access_appender *b = appender(log);
    for (int i = 0; i < 3000; i++) { /* about 15 buffers in all */
        vv_access_append(a, &full);
        vv_access_append(b, &full);
    }
    vv_access_appender_free(a);
    vv_access_appender_free(b);
    struct stat st;
    VV_CHECK_INT(stat(path, &st), 0);
    VV_CHECK_INT(st.st_mode & 07777 & 077, 040);     /* the group may read, others nothing */
    const uint64_t dropped = vv_access_dropped(log); /* a regular file loses nothing later */
    vv_access_log_free(log);
    VV_CHECK_INT(count_lines(path) + dropped, 6000);
    remove_dir();
}

VV_TEST(flush_hands_over_at_most_twice_a_second)
{
    make_dir();
    struct vv_access_log *log = log_at(path);
    struct vv_access_appender *a = appender(log);
    vv_access_flush(a, 0); /* nothing there: nothing happens */
    vv_access_append(a, &full);
    vv_access_flush(a, VV_SEC);
    vv_access_append(a, &full);
    vv_access_flush(a, VV_SEC + 100 * VV_MS); /* too early: stays */
    vv_access_append(a, &full);
    vv_access_flush(a, 2 * VV_SEC);
    vv_access_appender_free(a);
    vv_access_log_free(log);
    VV_CHECK_INT(count_lines(path), 3);
    remove_dir();
}

VV_TEST(a_writer_that_is_stuck_costs_records_but_no_time)
{
    /* Nobody reads this pipe and it holds 64 KiB: the writer waits, the appender must not. */
    char fifo[128];
    make_dir();
    snprintf(fifo, sizeof(fifo), "%s/log", dir);
    VV_CHECK_INT(mkfifo(fifo, 0600), 0);
    const int reader = open(fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    VV_CHECK(reader >= 0);
    struct vv_access_log *log = log_at(fifo);
    struct vv_access_appender *a = appender(log);
    for (int i = 0; i < 2000; i++) { /* about 900 KB: two buffers and the pipe hold 192 KiB */
        vv_access_append(a, &full);
    }
    VV_CHECK(vv_access_dropped(log) >= 1000);
    VV_CHECK(vv_access_dropped(log) < 2000);
    vv_access_appender_free(a);
    close(reader); /* the writer's next write fails instead of waiting */
    vv_access_log_free(log);
    remove_dir();
}

VV_TEST(reopening_follows_a_rotated_file)
{
    make_dir();
    struct vv_access_log *log = log_at(path);
    struct vv_access_appender *a = appender(log);
    char moved[160];
    snprintf(moved, sizeof(moved), "%s.1", path);
    VV_CHECK_INT(rename(path, moved), 0);
    vv_access_log_reopen(log);
    vv_access_append(a, &full);
    vv_access_appender_free(a);
    vv_access_log_free(log);
    VV_CHECK_INT(count_lines(path), 1);
    VV_CHECK_INT(count_lines(moved), 0);
    remove_dir();
}

VV_TEST(a_path_that_cannot_be_opened_is_an_error)
{
    struct vv_access_log *log = NULL;
    VV_CHECK_INT(vv_access_log_new("/nowhere/at/all", VV_ACCESS_JSON, &log), VV_ENOENT);
    VV_CHECK(log == NULL);
}
