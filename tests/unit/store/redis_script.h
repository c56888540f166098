/* tests/unit/store/redis_script.h - several servers in the test's own thread that answer what a script
 * says, and a vv_redis before them. */
#ifndef VV_TEST_STORE_REDIS_SCRIPT_H
#define VV_TEST_STORE_REDIS_SCRIPT_H
#include "store/redis.h"
#include "vv_test.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define FAKES 4
#define PEERS 8

struct fake {
    int listener;
    uint16_t port;
    struct peer {
        int fd;
        char in[16384];
        size_t n;
    } peer[PEERS];
    char log[8192]; /* what was asked besides the greeting: words, each command with "; " behind */
};

static struct fake fakes[FAKES];
static size_t fake_count;
/* Answers one command; NULL: as always (script_default). "": not at all. */
static const char *(*script)(size_t at, const char *words);
static VV_UNUSED char reply_text[8192]; /* for scripts to write into */

static struct vv_loop *loop;
static struct vv_redis *redis;
static unsigned lost_count;

static void on_lost(void *user, uint64_t share)
{
    (void)user;
    (void)share;
    lost_count++;
}

static const char *script_default(const char *words)
{
    return strncmp(words, "HELLO", 5) == 0       ? "%1\r\n$5\r\nproto\r\n:3\r\n"
           : strncmp(words, "GET", 3) == 0       ? "$1\r\nv\r\n"
           : strncmp(words, "ROLE", 4) == 0      ? "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"
           : strncmp(words, "SUBSCRIBE", 9) == 0 ? ">3\r\n+subscribe\r\n+c\r\n:1\r\n"
                                                 : "+OK\r\n";
}

static void answer_command(size_t at, struct peer *p, const char *words)
{
    struct fake *f = &fakes[at];
    const bool greeting = strncmp(words, "HELLO", 5) == 0 || strncmp(words, "CLIENT", 6) == 0;
    if (!greeting) {
        VV_CHECK(strlen(f->log) + strlen(words) + 3 < sizeof(f->log));
        strcat(f->log, words);
        strcat(f->log, "; ");
    }
    const char *text = script != NULL ? script(at, words) : NULL;
    text = text != NULL ? text : script_default(words);
    const size_t n = strlen(text);
    if (n > 0 && send(p->fd, text, n, MSG_NOSIGNAL) != (ssize_t)n) {
        VV_CHECK(errno == EPIPE || errno == ECONNRESET);
    }
}

/* Takes one command, an array of strings, off what has come; how many bytes it was, 0: not whole. */
static size_t take_command(const char *in, size_t n, char *words, size_t room)
{
    const char *end = in + n, *p = in;
    char *line_end = memchr(in, '\n', n);
    if (line_end == NULL) {
        return 0;
    }
    long count = strtol(p + 1, NULL, 10);
    p = line_end + 1;
    words[0] = '\0';
    for (; count > 0; count--) {
        line_end = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;
        if (line_end == NULL) {
            return 0;
        }
        const size_t length = (size_t)strtol(p + 1, NULL, 10);
        p = line_end + 1;
        if ((size_t)(end - p) < length + 2) {
            return 0;
        }
        VV_CHECK(strlen(words) + length + 2 < room);
        strcat(words, words[0] != '\0' ? " " : "");
        strncat(words, p, length);
        p += length + 2;
    }
    return (size_t)(p - in);
}

static void hear_peer(size_t at, struct peer *p)
{
    char words[1024];
    const ssize_t got = recv(p->fd, p->in + p->n, sizeof(p->in) - p->n, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN)) {
        close(p->fd);
        p->fd = -1;
        return;
    }
    p->n += got > 0 ? (size_t)got : 0;
    size_t used = 0, one = 0;
    while (p->fd >= 0 &&
           (one = take_command(p->in + used, p->n - used, words, sizeof(words))) > 0) {
        used += one;
        answer_command(at, p, words);
    }
    memmove(p->in, p->in + used, p->n - used);
    p->n -= used;
}

static void hear_fakes(void)
{
    for (size_t i = 0; i < fake_count; i++) {
        struct fake *f = &fakes[i];
        for (size_t j = 0; j < PEERS; j++) {
            struct peer *p = &f->peer[j];
            if (p->fd < 0 && f->listener >= 0) {
                p->fd = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
                p->n = 0;
            }
            if (p->fd >= 0) {
                hear_peer(i, p);
            }
        }
    }
}

static VV_UNUSED size_t connections(size_t at)
{
    size_t n = 0;
    for (size_t j = 0; j < PEERS; j++) {
        n += fakes[at].peer[j].fd >= 0;
    }
    return n;
}

static void turn(void)
{
    vv_loop_turn(loop, VV_MS);
    hear_fakes();
}

#define UNTIL(cond)                                                                                \
    do {                                                                                           \
        const uint64_t until_ns_ = vv_loop_refresh(loop) + 5 * VV_SEC;                             \
        while (!(cond) && vv_loop_now(loop) < until_ns_) {                                         \
            turn();                                                                                \
        }                                                                                          \
        VV_CHECK(cond);                                                                            \
    } while (0)

/* Lets time pass: for what must not happen, or happens by the clock. */
static VV_UNUSED void pass_ms(uint64_t ms)
{
    const uint64_t until_ns = vv_loop_refresh(loop) + ms * VV_MS;
    while (vv_loop_refresh(loop) < until_ns) {
        turn();
    }
}

static VV_UNUSED unsigned heard(size_t at, const char *words)
{
    unsigned n = 0;
    for (const char *p = fakes[at].log; (p = strstr(p, words)) != NULL; p += strlen(words)) {
        n++;
    }
    return n;
}

/* The server ends: its port is closed, and its connections. */
static VV_UNUSED void end_fake(size_t at)
{
    struct fake *f = &fakes[at];
    vv_close_fd(&f->listener);
    for (size_t j = 0; j < PEERS; j++) {
        vv_close_fd(&f->peer[j].fd);
    }
}

static void begin_fakes(size_t count)
{
    fake_count = count;
    script = NULL;
    lost_count = 0;
    VV_CHECK_INT(vv_loop_new(&loop), VV_OK);
    for (size_t i = 0; i < count; i++) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t n = sizeof(in);
        struct fake *f = &fakes[i];
        f->log[0] = '\0';
        f->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        VV_CHECK(f->listener >= 0 && bind(f->listener, (struct sockaddr *)&in, n) == 0);
        VV_CHECK(listen(f->listener, 16) == 0 &&
                 getsockname(f->listener, (struct sockaddr *)&in, &n) == 0);
        f->port = ntohs(in.sin_port);
        for (size_t j = 0; j < PEERS; j++) {
            f->peer[j].fd = -1;
        }
    }
}

/* %u in the address is the port of the first fake, the next one that of the second. */
static void begin_redis(const char *address, struct vv_redis_conf conf)
{
    const struct vv_redis_events events = {.lost = on_lost};
    char text[256], why[256];
    snprintf(text, sizeof(text), address, fakes[0].port, fakes[1].port, fakes[2].port);
    conf.call_ns = conf.call_ns > 0 ? conf.call_ns : 5 * VV_SEC; /* a busy machine is no failure */
    conf.connect_ns = conf.hang_ns = 10 * VV_SEC;
    VV_CHECK_INT(vv_redis_url_read(vv_str_from(text), &conf.url, why), VV_OK);
    VV_CHECK_INT(vv_redis_new(loop, &conf, &events, &redis), VV_OK);
}

static void finish(void)
{
    vv_redis_free(redis);
    for (size_t i = 0; i < fake_count; i++) {
        end_fake(i);
    }
    vv_loop_free(loop);
    redis = NULL;
    loop = NULL;
}

/* ------------------------------------------------------------------------------ operations */

struct asked {
    struct vv_redis_op op;
    struct vv_str args[3];
    char text[64];
    size_t n;
    unsigned ends;
    enum vv_err err;
    bool error;
};

static void asked_item(struct vv_redis_op *op, const struct vv_resp_item *it)
{
    struct asked *a = VV_CONTAINER(op, struct asked, op);
    const size_t room = sizeof(a->text) - 1 - a->n;
    const size_t n = it->text.n < room ? it->text.n : room;
    a->error |= it->type == VV_RESP_ERROR;
    if (n > 0) {
        memcpy(a->text + a->n, it->text.p, n);
    }
    a->n += n;
    a->text[a->n] = '\0';
}

static void asked_end(struct vv_redis_op *op, enum vv_err err)
{
    struct asked *a = VV_CONTAINER(op, struct asked, op);
    a->ends++;
    a->err = err;
}

/* GET or SET of a key; what vv_redis_do() refused has ended as well. */
static VV_UNUSED void ask(struct asked *a, const char *command, const char *key, unsigned flags)
{
    *a = (struct asked){.args = {vv_str_from(command), vv_str_from(key), VV_STR("v")}};
    a->op = (struct vv_redis_op){.item = asked_item,
                                 .end = asked_end,
                                 .key = vv_str_from(key),
                                 .args = a->args,
                                 .args_count = strcmp(command, "SET") == 0 ? 3 : 2,
                                 .flags = flags};
    const enum vv_err err = vv_redis_do(redis, &a->op);
    if (err != VV_OK) {
        asked_end(&a->op, err);
    }
}

/* Asks and waits. */
static VV_UNUSED enum vv_err get(const char *key, unsigned flags)
{
    static struct asked a;
    ask(&a, "GET", key, VV_REDIS_READ | flags);
    UNTIL(a.ends == 1);
    return a.error ? VV_EIO : a.err;
}

static VV_UNUSED enum vv_err set(const char *key)
{
    static struct asked a;
    ask(&a, "SET", key, 0);
    UNTIL(a.ends == 1);
    return a.error ? VV_EIO : a.err;
}
#endif
