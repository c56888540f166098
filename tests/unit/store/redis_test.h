/* tests/unit/store/redis_test.h - a connection under test on a loop of its own, and calls that
 * write down what they were answered. */
#ifndef VV_TEST_STORE_REDIS_TEST_H
#define VV_TEST_STORE_REDIS_TEST_H
#include "store/redis_conn.h"
#include "vv_test.h"

#include <stdio.h>
#include <stdlib.h>

struct answer { /* one call, and what came */
    struct vv_redis_call call;
    char text[256]; /* the items that fit, one behind the other, with a space between */
    size_t n;
    uint64_t bytes; /* of strings, all runs */
    unsigned ends;
    enum vv_err err;
    bool is_error;
};

static struct vv_loop *loop;
static struct vv_redis_conn *conn;
static unsigned ready_count, closed_count, ended_count;
static enum vv_err closed_why;
static char pushed[128];

static void on_ready(void *user)
{
    (void)user;
    ready_count++;
}

static void on_closed(void *user, enum vv_err why)
{
    (void)user;
    closed_count++;
    closed_why = why;
}

static void on_push(void *user, const struct vv_resp_item *it)
{
    (void)user;
    if (strlen(pushed) + it->text.n + 2 >= sizeof pushed) {
        return; /* the beginning is enough */
    }
    strncat(pushed, it->text.p != NULL ? it->text.p : ">", it->text.p != NULL ? it->text.n : 1);
    strcat(pushed, it->done ? "." : " ");
}

static void answer_item(struct vv_redis_call *call, const struct vv_resp_item *it)
{
    struct answer *a = VV_CONTAINER(call, struct answer, call);
    const size_t room = sizeof a->text - a->n;
    const char *space = a->n > 0 && it->first ? " " : "";
    a->is_error |= it->type == VV_RESP_ERROR;
    a->bytes += it->text.n;
    int n = 0;
    if (it->text.p != NULL) {
        n = snprintf(a->text + a->n, room, "%s%.*s", space, VV_STR_ARG(it->text));
    } else if (it->type == VV_RESP_INTEGER) {
        n = snprintf(a->text + a->n, room, "%s%lld", space, (long long)it->integer);
    } else {
        n = snprintf(a->text + a->n, room, "%s<%s>", space, vv_resp_type_name(it->type));
    }
    a->n += (size_t)n < room ? (size_t)n : room - 1;
}

static void answer_end(struct vv_redis_call *call, enum vv_err err)
{
    struct answer *a = VV_CONTAINER(call, struct answer, call);
    a->ends++;
    a->err = err;
    ended_count++;
}

/* At most eight words, cut at spaces. */
static VV_UNUSED enum vv_err ask(struct answer *a, const char *words)
{
    struct vv_str args[8], rest = vv_str_from(words);
    size_t n = 0;
    while (rest.p != NULL && n < 8) {
        args[n++] = vv_str_cut(&rest, ' ');
    }
    const uint64_t timeout_ns = a->call.timeout_ns;
    *a =
        (struct answer){.call = {.item = answer_item, .end = answer_end, .timeout_ns = timeout_ns}};
    return vv_redis_conn_call(conn, &a->call, args, n);
}

/* Turns the loop until `cond` holds; fails after five seconds. */
#define UNTIL(cond)                                                                                \
    do {                                                                                           \
        const uint64_t until_ns_ = vv_loop_refresh(loop) + 5 * VV_SEC;                             \
        while (!(cond) && vv_loop_now(loop) < until_ns_) {                                         \
            vv_loop_turn(loop, VV_MS);                                                             \
        }                                                                                          \
        VV_CHECK(cond);                                                                            \
    } while (0)

static VV_UNUSED void connect_to(const struct vv_redis_conn_conf *conf)
{
    const struct vv_redis_conn_events events = {on_ready, on_closed, on_push, NULL};
    ready_count = closed_count = ended_count = 0;
    pushed[0] = '\0';
    VV_CHECK_INT(vv_loop_new(&loop), VV_OK);
    VV_CHECK_INT(vv_redis_conn_new(loop, conf, &events, &conn), VV_OK);
    VV_CHECK_INT(vv_redis_conn_open(conn), VV_OK);
}

static VV_UNUSED void disconnect(void)
{
    vv_redis_conn_free(conn);
    vv_loop_free(loop);
    conn = NULL;
    loop = NULL;
}
#endif
