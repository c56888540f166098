/* bench/micro/redis.c - CPU of one pipelined GET: store/redis.h beside hiredis, same server, same depth.
 * Run:  redis-server --port 0 --unixsocket /tmp/r.sock --save "" &
 *       meson compile -C build bench_redis && taskset -c 1 build/src/store/bench_redis /tmp/r.sock
 * Prints CPU (user and system) of this process for each GET, with the value copied once into memory of
 * ours as a cache would. "tracked" is what a store with tracking costs: CLIENT CACHING YES goes with each. */
#include "store/redis.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

enum { DEPTH = 64, GETS = 300000, VALUE_MAX = 1024 };

static char copy[VALUE_MAX];
static const struct vv_str get_args[] = {{"GET", 3}, {"vz:CACHE:o:0123456789abcdef", 27}};

static double cpu_ns(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return ((double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec) * 1e9 +
           ((double)u.ru_utime.tv_usec + (double)u.ru_stime.tv_usec) * 1e3;
}

static double wall_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void report(const char *name, size_t bytes, double cpu, double wall)
{
    printf("%-18s %5zu B  %7.0f ns CPU  %9.0f GET/s\n", name, bytes, (cpu_ns() - cpu) / GETS,
           GETS / (wall_ns() - wall) * 1e9);
}

static void fail(const char *what)
{
    fprintf(stderr, "%s\n", what);
    exit(1);
}

/* ------------------------------------------------------------------------- ours */

static unsigned done;
static size_t copied;

static void on_item(struct vv_redis_op *op, const struct vv_resp_item *it)
{
    (void)op;
    copied = it->first ? 0 : copied;
    memcpy(copy + copied, it->text.p, it->text.n);
    copied += it->text.n;
}

static void on_end(struct vv_redis_op *op, enum vv_err err)
{
    (void)op;
    if (err != VV_OK) {
        fail("our GET failed");
    }
    done++;
}

static void ours(const char *path, size_t bytes, bool tracking)
{
    static struct vv_redis_op op[DEPTH];
    struct vv_redis_conf conf = {.tracking = tracking, .call_ns = VV_SEC};
    struct vv_loop *loop = NULL;
    struct vv_redis *r = NULL;
    char url[200], why[256];
    snprintf(url, sizeof(url), "redis+unix://%s", path);
    if (vv_redis_url_read(vv_str_from(url), &conf.url, why) != VV_OK ||
        vv_loop_new(&loop) != VV_OK || vv_redis_new(loop, &conf, NULL, &r) != VV_OK) {
        fail("cannot begin");
    }
    double cpu = 0, wall = 0;
    for (unsigned i = 0; i < GETS + DEPTH; i += DEPTH) { /* the first round opens the connection */
        if (i == DEPTH) {
            cpu = cpu_ns();
            wall = wall_ns();
        }
        done = 0;
        for (unsigned k = 0; k < DEPTH; k++) {
            op[k] = (struct vv_redis_op){.item = on_item,
                                         .end = on_end,
                                         .key = get_args[1],
                                         .args = get_args,
                                         .args_count = 2,
                                         .flags = VV_REDIS_READ | (tracking ? VV_REDIS_TRACK : 0u)};
            if (vv_redis_do(r, &op[k]) != VV_OK) {
                fail("our GET was refused");
            }
        }
        while (done < DEPTH) {
            vv_loop_turn(loop, VV_SEC);
        }
    }
    report(tracking ? "vivace, tracked" : "vivace", bytes, cpu, wall);
    vv_redis_free(r);
    vv_loop_free(loop);
}

/* ---------------------------------------------------------------------- hiredis */

static void theirs(redisContext *c, size_t bytes)
{
    const char *argv[] = {get_args[0].p, get_args[1].p};
    const size_t lens[] = {get_args[0].n, get_args[1].n};
    const double cpu = cpu_ns(), wall = wall_ns();
    for (unsigned i = 0; i < GETS; i += DEPTH) {
        for (unsigned k = 0; k < DEPTH; k++) {
            redisAppendCommandArgv(c, 2, argv, lens);
        }
        for (unsigned k = 0; k < DEPTH; k++) {
            redisReply *reply = NULL;
            if (redisGetReply(c, (void **)&reply) != REDIS_OK || (size_t)reply->len != bytes) {
                fail("GET of hiredis failed");
            }
            memcpy(copy, reply->str, (size_t)reply->len);
            freeReplyObject(reply);
        }
    }
    report("hiredis", bytes, cpu, wall);
}

int main(int argc, char **argv)
{
    static char value[VALUE_MAX];
    static const size_t sizes[] = {300, 1024};
    redisContext *c = argc == 2 ? redisConnectUnix(argv[1]) : NULL;
    if (c == NULL || c->err != 0) {
        fail("usage: bench_redis path-of-a-unix-socket");
    }
    memset(value, 'v', sizeof(value));
    for (size_t i = 0; i < VV_COUNT(sizes); i++) {
        freeReplyObject(
            redisCommand(c, "SET %b %b", get_args[1].p, get_args[1].n, value, sizes[i]));
        for (int round = 0; round < 2; round++) {
            theirs(c, sizes[i]);
            ours(argv[1], sizes[i], false);
            ours(argv[1], sizes[i], true);
        }
    }
    redisFree(c);
    return 0;
}
