/* tests/unit/gateway/test_log_tail.c - lines on their way from the writer to the control loop. */
#include "gateway/gateway_int.h"

#include "vv_test.h"
#include <stdlib.h>

#define TURNS_MAX 2000 /* of at most 1 ms each */

struct seen {
    uint64_t lines, lost;
    char last[512];
    struct vv_gateway *give_up; /* at the first line */
};

static void on_line(void *user, struct vv_str line)
{
    struct seen *s = user;
    const size_t n = line.n < sizeof s->last - 1 ? line.n : sizeof s->last - 1;
    memcpy(s->last, line.p, n);
    s->last[n] = '\0';
    const char *lost = strstr(s->last, "\"lines\":");
    if (lost != NULL) {
        s->lost += strtoull(lost + 8, NULL, 10);
    } else {
        s->lines++;
    }
    if (s->give_up != NULL) {
        vv_gateway_log_tail(s->give_up, NULL, NULL);
    }
}

/* As much of a gateway as the tail looks at. */
static void up(struct vv_gateway *g, bool with_log)
{
    memset(g, 0, sizeof *g);
    VV_CHECK_INT(vv_loop_new(&g->control), VV_OK);
    if (with_log) {
        VV_CHECK_INT(vv_access_log_new("/dev/null", VV_ACCESS_COMBINED, &g->log), VV_OK);
    }
}

static void down(struct vv_gateway *g)
{
    vv_log_tail_free(g);
    vv_access_log_free(g->log);
    vv_loop_turn(g->control, 0); /* mail that came too late */
    vv_loop_free(g->control);
}

static void append(struct vv_gateway *g, uint64_t n)
{
    struct vv_access_appender *a = NULL;
    const struct vv_access_record r = {.method = VV_STR("GET"),
                                       .path = VV_STR("/a"),
                                       .client_ip = VV_STR("192.0.2.1"),
                                       .status = 200};
    VV_CHECK_INT(vv_access_appender_new(g->log, &a), VV_OK);
    for (uint64_t i = 0; i < n; i++) {
        vv_access_append(a, &r);
    }
    vv_access_appender_free(a);
}

VV_TEST(written_lines_arrive_one_by_one)
{
    struct vv_gateway g;
    struct seen s = {0};
    up(&g, true);
    vv_gateway_log_tail(&g, on_line, &s);
    append(&g, 3);
    for (int i = 0; i < TURNS_MAX && s.lines < 3; i++) {
        vv_loop_turn(g.control, VV_MS);
    }
    VV_CHECK_INT(s.lines, 3);
    VV_CHECK(strstr(s.last, "\"GET /a HTTP/1.0\" 200") != NULL);
    VV_CHECK(strchr(s.last, '\n') == NULL);
    down(&g);
}

VV_TEST(nothing_comes_after_giving_up)
{
    struct vv_gateway g;
    struct seen s = {.give_up = &g};
    up(&g, true);
    vv_gateway_log_tail(&g, on_line, &s);
    append(&g, 3); /* one buffer: one mail */
    for (int i = 0; i < TURNS_MAX && s.lines < 1; i++) {
        vv_loop_turn(g.control, VV_MS);
    }
    VV_CHECK_INT(s.lines, 1);
    append(&g, 3);
    vv_access_log_free(g.log); /* everything is written */
    g.log = NULL;
    vv_loop_turn(g.control, 0);
    VV_CHECK_INT(s.lines, 1);
    down(&g);
}

VV_TEST(lines_left_out_are_counted)
{
    enum { LINES = 60000 }; /* of over 50 bytes: more than the mebibyte that may be on its way */
    struct vv_gateway g;
    struct seen s = {0};
    up(&g, true);
    vv_gateway_log_tail(&g, on_line, &s);
    append(&g, LINES);
    append(&g, LINES);
    const uint64_t dropped = vv_access_dropped(g.log);
    struct vv_access_log *log = g.log;
    g.log = NULL;
    vv_access_log_free(log); /* everything else is written */
    for (int i = 0; i < 10; i++) {
        vv_loop_turn(g.control, 0);
    }
    VV_CHECK_INT(s.lines + s.lost + dropped, 2 * LINES);
    VV_CHECK(s.lines > 0);
    VV_CHECK(s.lines * 50 <= VV_MIB);
    down(&g);
}

VV_TEST(without_a_log_one_line_says_so)
{
    struct vv_gateway g;
    struct seen s = {0};
    up(&g, false);
    vv_gateway_log_tail(&g, on_line, &s);
    VV_CHECK_INT(s.lines, 0); /* not before the caller is ready */
    vv_loop_turn(g.control, 0);
    vv_loop_turn(g.control, 0);
    VV_CHECK_INT(s.lines, 1);
    VV_CHECK(strstr(s.last, "access log is off") != NULL);
    down(&g);
}
