/* tests/unit/store/redis_drive.c - a steady stream of GET and SET through one vv_redis, for tests that
 * break real servers under it (tests/integration/test_redis_topologies.py).
 *
 *   redis_drive [replicas] [tracking] [watch_writes] [keep] [call_ms=N] [rate=N] [writes=N] [ca=FILE]
 *               [password=...] URL KEYS...
 *
 * KEYS are groups: `name` or `name*100` (name:0 ... name:99; `{a}x*100` stays in one slot). Of every
 * hundred operations on a group `writes` are SET key key, the others GET key, which must give the key or
 * nothing. Once in 50 ms a line of JSON says for each group what ended: reads and writes that succeeded,
 * that failed, microseconds of the slowest, how many took longer than 20 ms. Standard input ending ends
 * it; the last line is a summary.
 *
 * With `keep` (and tracking) what was read and is watched is kept, and answers until it is invalidated or
 * its share is lost; writes are numbers that grow and go through a second vv_redis. The summary says how
 * long at most a write had been confirmed when an older kept value still answered. */
#include "os/loop.h"
#include "store/redis.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define OPS 4096
#define GROUPS 8
#define LINE_NS (50 * VV_MS)
#define SLOW_NS (20 * VV_MS)
#define ERRS 128 /* codes are -ERRS + 1 .. 0 or beyond: counted as the last */

#define KEPT 256 /* keys of a group, with `keep` */

struct entry {
    bool has;
    uint64_t share, number, asked_ns;       /* what is kept */
    uint64_t next, confirmed, confirmed_ns; /* what was written */
};

struct group {
    const char *name;
    uint64_t keys, next;
    uint64_t ok[2], failed[2], slowest_ns, slow;
};

struct op {
    struct vv_redis_op op;
    struct group *group;
    struct entry *entry;
    uint64_t number;
    char key[128], got[128], value[24];
    struct vv_str args[3];
    size_t got_n;
    uint64_t began_ns;
    bool busy, write, error, some;
};

static struct vv_loop *loop;
static struct vv_redis *redis, *writer; /* without `keep` the same */
static struct entry entries[GROUPS][KEPT];
static bool keep;
static uint64_t hits, stale_ns;
static struct op ops[OPS];
static struct group groups[GROUPS];
static size_t group_count;
static uint64_t rate = 1000, writes = 50, began_ns, line_ns, owed, last_ns, wrong, late, losts;
static uint64_t errs[ERRS], shown;
static char first_error[128];
static unsigned write_flags;

static void on_item(struct vv_redis_op *op, const struct vv_resp_item *it)
{
    struct op *o = VV_CONTAINER(op, struct op, op);
    if (it->type == VV_RESP_ERROR) {
        o->error = true;
        snprintf(first_error, sizeof(first_error), "%.*s", VV_STR_ARG(it->text));
    } else if (it->type == VV_RESP_BULK && o->got_n + it->text.n <= sizeof(o->got)) {
        memcpy(o->got + o->got_n, it->text.p, it->text.n);
        o->got_n += it->text.n;
        o->some = true;
    }
}

/* What was written or read, with `keep`. */
static void learn(struct op *o)
{
    struct entry *e = o->entry;
    if (o->write && o->number > e->confirmed) {
        e->confirmed = o->number;
        e->confirmed_ns = vv_loop_now(loop);
    } else if (!o->write) {
        char text[sizeof(o->got) + 1];
        memcpy(text, o->got, o->got_n);
        text[o->got_n] = '\0';
        e->has = o->op.share != 0;
        e->share = o->op.share;
        e->number = strtoull(text, NULL, 10);
        e->asked_ns = o->began_ns;
    }
}

/* True: the answer is kept. A write that was confirmed before it was asked for is no matter of ours: servers
 * lose writes in a failover. */
static bool answer_kept(struct group *g, const struct entry *e)
{
    const uint64_t now_ns = vv_loop_now(loop);
    if (!e->has) {
        return false;
    }
    if (e->number < e->confirmed && e->confirmed_ns > e->asked_ns) {
        stale_ns = vv_max_u64(stale_ns, now_ns - e->confirmed_ns);
    }
    hits++;
    g->ok[0]++;
    return true;
}

static void count(struct op *o, enum vv_err err)
{
    struct group *g = o->group;
    const uint64_t took_ns = vv_loop_refresh(loop) - o->began_ns;
    if (err == VV_OK && !o->error) {
        g->ok[o->write]++;
        wrong += !keep && !o->write && o->some &&
                 !vv_str_eq((struct vv_str){o->got, o->got_n}, vv_str_from(o->key));
        if (keep) {
            learn(o);
        }
    } else {
        g->failed[o->write]++;
        shown += o->error;
        const int code = o->error ? 0 : -(int)err;
        errs[code < ERRS ? code : ERRS - 1]++;
    }
    g->slowest_ns = took_ns > g->slowest_ns ? took_ns : g->slowest_ns;
    g->slow += took_ns > SLOW_NS;
    o->busy = false;
}

static void on_end(struct vv_redis_op *op, enum vv_err err)
{
    count(VV_CONTAINER(op, struct op, op), err);
}

static void begin(struct group *g)
{
    static size_t at;
    struct op *o = &ops[at++ % OPS];
    if (o->busy) {
        late++;
        return;
    }
    const uint64_t n = g->next++;
    o->group = g;
    o->entry = &entries[g - groups][n % g->keys % KEPT];
    o->write = n * 61 % 100 < writes;
    if (keep && !o->write && answer_kept(g, o->entry)) {
        return;
    }
    o->busy = true;
    o->error = o->some = false;
    o->got_n = 0;
    if (g->keys > 1) {
        snprintf(o->key, sizeof(o->key), "%s:%llu", g->name, (unsigned long long)(n % g->keys));
    } else {
        snprintf(o->key, sizeof(o->key), "%s", g->name);
    }
    const struct vv_str key = vv_str_from(o->key);
    o->args[0] = o->write ? VV_STR("SET") : VV_STR("GET");
    o->args[1] = o->args[2] = key;
    if (keep) {
        o->number = ++o->entry->next;
        snprintf(o->value, sizeof(o->value), "%llu", (unsigned long long)o->number);
        o->args[2] = vv_str_from(o->value);
    }
    o->op = (struct vv_redis_op){.item = on_item,
                                 .end = on_end,
                                 .key = key,
                                 .args = o->args,
                                 .args_count = o->write ? 3 : 2,
                                 .flags = o->write ? write_flags : VV_REDIS_READ | VV_REDIS_TRACK};
    o->began_ns = vv_loop_refresh(loop);
    const enum vv_err err = vv_redis_do(o->write ? writer : redis, &o->op);
    if (err != VV_OK) {
        count(o, err);
    }
}

static void print_line(uint64_t now_ns)
{
    printf("{\"t\":%.3f,\"groups\":[", (double)(now_ns - began_ns) / 1e9);
    for (size_t i = 0; i < group_count; i++) {
        struct group *g = &groups[i];
        printf("%s[%llu,%llu,%llu,%llu,%llu,%llu]", i > 0 ? "," : "", (unsigned long long)g->ok[0],
               (unsigned long long)g->failed[0], (unsigned long long)g->ok[1],
               (unsigned long long)g->failed[1], (unsigned long long)(g->slowest_ns / 1000),
               (unsigned long long)g->slow);
        memset(g->ok, 0, sizeof(g->ok));
        memset(g->failed, 0, sizeof(g->failed));
        g->slowest_ns = g->slow = 0;
    }
    printf("]}\n");
    fflush(stdout);
}

static void tick(struct vv_loop *l, struct vv_timer *t)
{
    const uint64_t now_ns = vv_loop_refresh(l);
    char byte;
    if (read(0, &byte, 1) == 0) {
        vv_loop_stop(l);
        return;
    }
    owed += (now_ns - last_ns) * rate;
    last_ns = now_ns;
    for (; owed >= VV_SEC; owed -= VV_SEC) {
        for (size_t i = 0; i < group_count; i++) {
            begin(&groups[i]);
        }
    }
    if (now_ns - line_ns >= LINE_NS) {
        line_ns = now_ns;
        print_line(now_ns);
    }
    vv_loop_timer_at(l, t, now_ns + VV_MS);
}

static void on_lost(void *user, uint64_t share)
{
    (void)user;
    losts++;
    for (size_t i = 0; i < GROUPS * KEPT; i++) {
        struct entry *e = &entries[i / KEPT][i % KEPT];
        e->has = e->has && e->share != share;
    }
}

static void on_invalidated(void *user, uint64_t share, struct vv_str key)
{
    if (key.p == NULL) {
        return on_lost(user, share);
    }
    for (size_t i = 0; i < group_count; i++) {
        const struct group *g = &groups[i];
        const size_t n = strlen(g->name);
        if (key.n < n || memcmp(key.p, g->name, n) != 0) {
            continue;
        }
        char digits[24] = "0";
        if (key.n > n + 1 && key.n - n < sizeof(digits)) {
            memcpy(digits, key.p + n + 1, key.n - n - 1);
            digits[key.n - n - 1] = '\0';
        }
        entries[i][strtoull(digits, NULL, 10) % KEPT].has = false;
    }
}

static void print_end(void)
{
    struct vv_redis_stats s;
    struct vv_json j;
    struct vv_sb servers = VV_SB_INIT;
    vv_redis_stats(redis, &s);
    vv_json_init(&j, &servers);
    vv_redis_json(redis, &j);
    print_line(vv_loop_refresh(loop));
    printf("{\"end\":true,\"wrong\":%llu,\"late\":%llu,\"losts\":%llu,\"shown\":%llu,"
           "\"first_error\":\"%s\",\"refreshes\":%llu,\"redirects\":%llu,\"reconnects\":%llu,"
           "\"ops\":%llu,\"hits\":%llu,\"stale_ms\":%.1f,\"errors\":{",
           (unsigned long long)wrong, (unsigned long long)late, (unsigned long long)losts,
           (unsigned long long)shown, first_error, (unsigned long long)s.refreshes,
           (unsigned long long)s.redirects, (unsigned long long)s.reconnects,
           (unsigned long long)s.ops, (unsigned long long)hits, (double)stale_ns / 1e6);
    const char *comma = "";
    for (int i = 0; i < ERRS; i++) {
        if (errs[i] > 0) {
            printf("%s\"%s\":%llu", comma, i == 0 ? "answer" : vv_err_name((enum vv_err) - i),
                   (unsigned long long)errs[i]);
            comma = ",";
        }
    }
    printf("},\"servers\":%.*s}\n", (int)servers.n, servers.p);
    vv_sb_fini(&servers);
}

static bool option(struct vv_redis_conf *conf, const char *arg)
{
    const char *value = strchr(arg, '=');
    const uint64_t n = value != NULL ? strtoull(value + 1, NULL, 10) : 0;
    if (strcmp(arg, "replicas") == 0) {
        conf->replicas = true;
    } else if (strcmp(arg, "tracking") == 0) {
        conf->tracking = true;
    } else if (strcmp(arg, "watch_writes") == 0) {
        write_flags = VV_REDIS_TRACK;
    } else if (strcmp(arg, "keep") == 0) {
        keep = true;
    } else if (strncmp(arg, "call_ms=", 8) == 0) {
        conf->call_ns = n * VV_MS;
    } else if (strncmp(arg, "rate=", 5) == 0) {
        rate = n;
    } else if (strncmp(arg, "writes=", 7) == 0) {
        writes = n;
    } else if (strncmp(arg, "ca=", 3) == 0) {
        conf->ca_file = value + 1;
    } else if (strncmp(arg, "password=", 9) == 0) {
        conf->sentinel_password = value + 1;
    } else {
        return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    const struct vv_redis_events events = {.lost = on_lost, .invalidated = on_invalidated};
    struct vv_redis_conf conf = {0};
    struct vv_timer timer;
    char why[256] = "";
    int i = 1;
    while (i < argc && option(&conf, argv[i])) {
        i++;
    }
    if (i + 1 >= argc || vv_redis_url_read(vv_str_from(argv[i]), &conf.url, why) != VV_OK) {
        fprintf(stderr, "redis_drive: options, address and keys, please. %s\n", why);
        return 2;
    }
    for (i++; i < argc && group_count < GROUPS; i++) {
        char *star = strchr(argv[i], '*');
        groups[group_count].name = argv[i];
        groups[group_count++].keys = star != NULL ? strtoull(star + 1, NULL, 10) : 1;
        if (star != NULL) {
            *star = '\0';
        }
    }
    if (vv_loop_new(&loop) != VV_OK || vv_redis_new(loop, &conf, &events, &redis) != VV_OK ||
        fcntl(0, F_SETFL, O_NONBLOCK) != 0) {
        fprintf(stderr, "redis_drive: cannot begin\n");
        return 1;
    }
    writer = redis;
    conf.tracking = false;
    if (keep && vv_redis_new(loop, &conf, NULL, &writer) != VV_OK) {
        return 1;
    }
    began_ns = last_ns = line_ns = vv_loop_refresh(loop);
    vv_timer_init(&timer, tick);
    vv_loop_timer_at(loop, &timer, began_ns + VV_MS);
    vv_loop_run(loop);
    for (int turns = 0; turns < 100; turns++) { /* what is under way ends */
        vv_loop_turn(loop, VV_MS);
    }
    print_end();
    if (writer != redis) {
        vv_redis_free(writer);
    }
    vv_redis_free(redis);
    vv_loop_free(loop);
    return 0;
}
