/* tests/unit/store/redis_real.h - a redis-server of a test's own, on a unix socket in a folder of its
 * own; another client of it that simply waits; and a vv_redis under test that writes down what it is
 * told. Tests are skipped where redis-server is not installed. */
#ifndef VV_TEST_STORE_REDIS_REAL_H
#define VV_TEST_STORE_REDIS_REAL_H
#include "store/redis.h"
#include "vv_test.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64];
static pid_t server = -1;
static int other = -1; /* the other client */

static struct vv_loop *loop;
static struct vv_redis *redis;
static char gone[512]; /* keys that were invalidated, each with a space behind; "*" is all */
static unsigned gone_count, lost_count;
static uint64_t lost_share, lost_ns;

static void on_invalidated(void *user, uint64_t share, struct vv_str key)
{
    (void)user;
    (void)share;
    gone_count++;
    if (strlen(gone) + key.n + 2 < sizeof gone) {
        strncat(gone, key.p != NULL ? key.p : "*", key.p != NULL ? key.n : 1);
        strcat(gone, " ");
    }
}

static void on_lost(void *user, uint64_t share)
{
    (void)user;
    lost_count++;
    lost_share = share;
    lost_ns = vv_loop_now(loop);
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

struct asked { /* one operation, and what came */
    struct vv_redis_op op;
    struct vv_str args[8];
    char words[128], text[256];
    size_t n;
    uint64_t bytes;
    unsigned ends;
    enum vv_err err;
    bool is_error;
};

static void asked_item(struct vv_redis_op *op, const struct vv_resp_item *it)
{
    struct asked *a = VV_CONTAINER(op, struct asked, op);
    const size_t room = sizeof a->text - a->n;
    int n = 0;
    a->is_error |= it->type == VV_RESP_ERROR;
    a->bytes += it->text.n;
    if (it->text.p != NULL) {
        n = snprintf(a->text + a->n, room, "%.*s", VV_STR_ARG(it->text));
    } else if (it->type == VV_RESP_INTEGER) {
        n = snprintf(a->text + a->n, room, "%lld", (long long)it->integer);
    } else {
        n = snprintf(a->text + a->n, room, "<%s>", vv_resp_type_name(it->type));
    }
    a->n += (size_t)n < room ? (size_t)n : room - 1;
}

static void asked_end(struct vv_redis_op *op, enum vv_err err)
{
    struct asked *a = VV_CONTAINER(op, struct asked, op);
    a->ends++;
    a->err = err;
}

/* At most eight words, cut at spaces; the second is the key. Without flags a READ that starts with GET. */
static VV_UNUSED enum vv_err ask_for(struct asked *a, const char *words, unsigned flags)
{
    const uint64_t timeout_ns = a->op.timeout_ns;
    size_t n = 0;
    *a = (struct asked){
        .op = {.item = asked_item, .end = asked_end, .flags = flags, .timeout_ns = timeout_ns}};
    snprintf(a->words, sizeof a->words, "%s", words);
    struct vv_str rest = vv_str_from(a->words);
    while (rest.p != NULL && n < 8) {
        a->args[n++] = vv_str_cut(&rest, ' ');
    }
    a->op.args = a->args;
    a->op.args_count = n;
    a->op.key = n > 1 ? a->args[1] : (struct vv_str){NULL, 0};
    return vv_redis_do(redis, &a->op);
}

/* Asks, waits, and says what came; of an operation that failed its error. */
static VV_UNUSED const char *answer_of(const char *words, unsigned flags)
{
    static struct asked a;
    a.op.timeout_ns = 0;
    const enum vv_err err = ask_for(&a, words, flags);
    if (err != VV_OK) {
        return vv_err_name(err);
    }
    UNTIL(a.ends == 1);
    return a.err == VV_OK ? a.text : vv_err_name(a.err);
}

static VV_UNUSED const char *read_of(const char *words)
{
    return answer_of(words, VV_REDIS_READ | VV_REDIS_TRACK);
}

static VV_UNUSED void open_redis(const struct vv_redis_conf *conf)
{
    const struct vv_redis_events events = {on_invalidated, on_lost, NULL};
    gone[0] = '\0';
    gone_count = lost_count = 0;
    lost_share = 0;
    VV_CHECK_INT(vv_loop_new(&loop), VV_OK);
    VV_CHECK_INT(vv_redis_new(loop, conf, &events, &redis), VV_OK);
}

static VV_UNUSED void close_redis(void)
{
    vv_redis_free(redis);
    vv_loop_free(loop);
    redis = NULL;
    loop = NULL;
}

/* --------------------------------------------------------------- the real server */

static VV_UNUSED int connect_unix(const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
    if (connect(fd, (struct sockaddr *)&un, sizeof un) == 0) {
        return fd;
    }
    close(fd);
    return -1;
}

/* `extra` ends with NULL. Generous deadlines: a busy machine is no reason to fail. */
static VV_UNUSED struct vv_redis_conf start_real(const char *const *extra)
{
    struct vv_redis_conf conf = {.tracking = true,
                                 .call_ns = 5 * VV_SEC,
                                 .connect_ns = 5 * VV_SEC,
                                 .hang_ns = 10 * VV_SEC,
                                 .ping_ns = VV_SEC};
    const char *args[32] = {"redis-server", "--port", "0", "--unixsocket", "s", "--save", ""};
    char path[100], url[128], why[256];
    size_t n = 7;
    if (system("command -v redis-server >/dev/null 2>&1") != 0) {
        skip();
    }
    for (size_t i = 0; extra != NULL && extra[i] != NULL; i++) {
        args[n++] = extra[i];
    }
    strcpy(folder, "/tmp/vivace-redis-XXXXXX");
    VV_CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/s", folder);
    snprintf(url, sizeof url, "redis+unix://%s", path);
    VV_CHECK_INT(vv_redis_url_read(vv_str_from(url), &conf.url, why), VV_OK);
    const pid_t parent = getpid();
    server = fork();
    if (server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent && chdir(folder) == 0 && freopen("log", "w", stdout) != NULL) {
            execvp("redis-server", (char *const *)(uintptr_t)args);
        }
        _exit(127);
    }
    VV_CHECK(server > 0);
    for (int i = 0; i < 500 && (other = connect_unix(path)) < 0; i++) {
        usleep(10000);
    }
    VV_CHECK(other >= 0);
    return conf;
}

static VV_UNUSED void stop_real(void)
{
    static const char *const files[] = {
        "/s",        "/log",     "/dump.rdb",   "/ca.pem",         "/ca-key.pem",
        "/cert.pem", "/key.pem", "/client.pem", "/client-key.pem", ""};
    char path[100];
    if (redis != NULL) {
        close_redis();
    }
    vv_close_fd(&other);
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    for (size_t i = 0; i < VV_COUNT(files); i++) {
        snprintf(path, sizeof path, "%s%s", folder, files[i]);
        remove(path);
    }
}

/* What the other client is answered: the first 4 KiB, as they come. */
static VV_UNUSED const char *other_says(const char *words)
{
    static char text[4097];
    char line[512];
    const int n = snprintf(line, sizeof line, "%s\r\n", words);
    VV_CHECK_INT(send(other, line, (size_t)n, MSG_NOSIGNAL), n);
    const ssize_t got = recv(other, text, sizeof text - 1, 0);
    VV_CHECK(got > 0);
    text[got] = '\0';
    return text;
}
#endif
