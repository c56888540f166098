/* src/gateway/resp_memory.c - plain strings while the store is away. Memory knows what applications wrote and
 * read lately; what it answers may be older than what the store had, which is what a fallback is for.
 * Counting is never done twice: a command that the store may have carried out is not repeated here
 * unless it may be. */
#include "gateway/resp_int.h"
#include <stdio.h>

#define READ_LIFE_NS (300 * VV_SEC) /* of what was read and whose lifetime nobody said */
#define SWAPS_MAX 16                /* tries of a count that others change, too */

struct set_options {
    uint64_t ttl_ns; /* 0: none */
    bool absent, present, keep, get, past;
};

static uint64_t now_of(const struct vv_resp_cmd *cmd)
{
    return vv_worker_now(cmd->client->front->w);
}

static struct vv_small *memory_of(const struct vv_resp_cmd *cmd)
{
    return cmd->client->front->shared->memory;
}

static bool status(struct vv_resp_cmd *cmd, const char *text)
{
    return vv_resp_bytes_add(&cmd->answer, vv_str_from(text));
}

static bool integer(struct vv_resp_cmd *cmd, int64_t n)
{
    return vv_resp_bytes_head(&cmd->answer, ':', n);
}

static bool to_i64(struct vv_str s, int64_t *ret)
{
    const bool minus = s.n > 0 && s.p[0] == '-';
    uint64_t v = 0;
    if (vv_str_to_u64((struct vv_str){s.p + minus, s.n - minus}, &v) != VV_OK ||
        v > (uint64_t)INT64_MAX + minus) {
        return false;
    }
    *ret = minus ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

static bool is(struct vv_str s, const char *word)
{
    return vv_str_eq_nocase(s, vv_str_from(word));
}

/* A lifetime in ticks of tick_ns; from an instant when `at`. False: not a time. */
static bool lifetime(const struct vv_resp_cmd *cmd, struct vv_str s, uint64_t tick_ns, bool at,
                     struct set_options *o)
{
    int64_t n = 0;
    if (!to_i64(s, &n) || n <= 0 || (uint64_t)n > UINT64_MAX / 4 / tick_ns) {
        return false;
    }
    o->ttl_ns = (uint64_t)n * tick_ns;
    if (at) {
        const uint64_t wall_ns = vv_loop_wall(cmd->client->front->w->loop);
        o->past = o->ttl_ns <= wall_ns;
        o->ttl_ns = o->past ? 1 : o->ttl_ns - wall_ns;
    }
    return true;
}

/* The words behind a key and its value. */
static bool set_options(const struct vv_resp_cmd *cmd, struct set_options *o)
{
    *o = (struct set_options){0};
    for (size_t i = 3; i < cmd->args_n; i++) {
        const struct vv_str word = cmd->args[i];
        const bool ms = word.n > 1 && (word.p[0] == 'P' || word.p[0] == 'p');
        const bool at = is(word, "EXAT") || is(word, "PXAT");
        if (at || is(word, "EX") || is(word, "PX")) {
            if (++i == cmd->args_n || !lifetime(cmd, cmd->args[i], ms ? VV_MS : VV_SEC, at, o)) {
                return false;
            }
        } else if (is(word, "NX")) {
            o->absent = true;
        } else if (is(word, "XX")) {
            o->present = true;
        } else if (is(word, "KEEPTTL")) {
            o->keep = true;
        } else if (is(word, "GET")) {
            o->get = true;
        } else {
            return false;
        }
    }
    return !(o->absent && o->present) && !(o->keep && o->ttl_ns > 0);
}

static enum vv_err put(const struct vv_resp_cmd *cmd, struct vv_str key, struct vv_str value,
                       uint64_t ttl_ns, const struct vv_small_if *cond)
{
    const struct vv_small_spec spec = {.key = key,
                                       .value = value,
                                       .ttl_ns = ttl_ns,
                                       .stored_ms =
                                           vv_loop_wall(cmd->client->front->w->loop) / VV_MS};
    return vv_small_put(memory_of(cmd), &spec, cond, now_of(cmd), NULL);
}

static void forget(const struct vv_resp_cmd *cmd, struct vv_str key)
{
    (void)!vv_small_remove(memory_of(cmd), key, NULL, now_of(cmd), NULL);
}

static bool item_or_nil(struct vv_resp_cmd *cmd, struct vv_small_item *it)
{
    const bool fine = it != NULL ? vv_resp_bytes_bulk(&cmd->answer, it->value)
                                 : vv_resp_bytes_nil(&cmd->answer, cmd->version);
    vv_small_item_unref(it);
    return fine;
}

static uint64_t left_ns(const struct vv_small_item *it, uint64_t now_ns)
{
    return it->until_ns == 0 ? 0 : it->until_ns > now_ns ? it->until_ns - now_ns : 1;
}

static bool set(struct vv_resp_cmd *cmd)
{
    struct set_options o;
    if (!set_options(cmd, &o)) {
        return status(cmd, "-ERR syntax error\r\n");
    }
    const struct vv_str key = cmd->args[1];
    struct vv_small_item *former = vv_small_get(memory_of(cmd), key, now_of(cmd));
    if (o.keep && former != NULL) {
        o.ttl_ns = left_ns(former, now_of(cmd));
    }
    const struct vv_small_if cond = {.when = o.absent    ? VV_SMALL_ABSENT
                                             : o.present ? VV_SMALL_PRESENT
                                                         : VV_SMALL_ALWAYS};
    const enum vv_err err = put(cmd, key, cmd->args[2], o.ttl_ns, &cond);
    if (err == VV_ELIMIT || err == VV_ENOMEM) {
        vv_small_item_unref(former);
        return false;
    }
    if (o.get) {
        return item_or_nil(cmd, former);
    }
    vv_small_item_unref(former);
    return err == VV_OK ? status(cmd, "+OK\r\n") : vv_resp_bytes_nil(&cmd->answer, cmd->version);
}

static bool is_ms(const struct vv_resp_cmd *cmd)
{
    return cmd->row->name.p[0] == 'P';
}

static bool setex(struct vv_resp_cmd *cmd)
{
    struct set_options o = {0};
    if (!lifetime(cmd, cmd->args[2], is_ms(cmd) ? VV_MS : VV_SEC, false, &o)) {
        return status(cmd, "-ERR invalid expire time\r\n");
    }
    return put(cmd, cmd->args[1], cmd->args[3], o.ttl_ns, NULL) == VV_OK && status(cmd, "+OK\r\n");
}

static bool setnx(struct vv_resp_cmd *cmd)
{
    const struct vv_small_if cond = {.when = VV_SMALL_ABSENT};
    const enum vv_err err = put(cmd, cmd->args[1], cmd->args[2], 0, &cond);
    return (err == VV_OK || err == VV_EEXIST) && integer(cmd, err == VV_OK ? 1 : 0);
}

static bool mget(struct vv_resp_cmd *cmd)
{
    bool fine = vv_resp_bytes_head(&cmd->answer, '*', (int64_t)cmd->args_n - 1);
    for (size_t i = 1; fine && i < cmd->args_n; i++) { /* the same key may be named many times */
        fine = item_or_nil(cmd, vv_small_get(memory_of(cmd), cmd->args[i], now_of(cmd))) &&
               cmd->answer.n <= RESP_OUT_MAX;
    }
    return fine;
}

static bool mset(struct vv_resp_cmd *cmd)
{
    for (size_t i = 1; i + 1 < cmd->args_n; i += 2) {
        if (put(cmd, cmd->args[i], cmd->args[i + 1], 0, NULL) != VV_OK) {
            return false;
        }
    }
    return status(cmd, "+OK\r\n");
}

static bool count_keys(struct vv_resp_cmd *cmd, bool removes)
{
    int64_t n = 0;
    for (size_t i = 1; i < cmd->args_n; i++) {
        bool there = false;
        if (removes) {
            (void)!vv_small_remove(memory_of(cmd), cmd->args[i], NULL, now_of(cmd), &there);
        } else {
            struct vv_small_item *it = vv_small_get(memory_of(cmd), cmd->args[i], now_of(cmd));
            there = it != NULL;
            vv_small_item_unref(it);
        }
        n += there;
    }
    return integer(cmd, n);
}

static bool ttl(struct vv_resp_cmd *cmd)
{
    struct vv_small_item *it = vv_small_get(memory_of(cmd), cmd->args[1], now_of(cmd));
    int64_t n = -2; /* no such key */
    if (it != NULL) {
        const uint64_t tick_ns = is_ms(cmd) ? VV_MS : VV_SEC;
        n = it->until_ns == 0 ? -1 : (int64_t)((left_ns(it, now_of(cmd)) + tick_ns / 2) / tick_ns);
    }
    vv_small_item_unref(it);
    return integer(cmd, n);
}

static bool expire(struct vv_resp_cmd *cmd)
{
    int64_t n = 0;
    struct set_options o = {0};
    if (cmd->args_n > 3) {
        return false; /* its conditions are about lifetimes that memory may not know */
    }
    if (!to_i64(cmd->args[2], &n)) {
        return status(cmd, "-ERR value is not an integer or out of range\r\n");
    }
    struct vv_small_item *it = vv_small_get(memory_of(cmd), cmd->args[1], now_of(cmd));
    if (it == NULL) {
        return integer(cmd, 0);
    }
    bool fine = true;
    if (n <= 0) {
        forget(cmd, cmd->args[1]);
    } else {
        fine = lifetime(cmd, cmd->args[2], is_ms(cmd) ? VV_MS : VV_SEC, false, &o) &&
               put(cmd, cmd->args[1], it->value, o.ttl_ns, NULL) == VV_OK;
    }
    vv_small_item_unref(it);
    return fine && integer(cmd, 1);
}

/* What INCR, DECR, INCRBY and DECRBY add. */
static bool step(const struct vv_resp_cmd *cmd, int64_t *ret)
{
    int64_t n = 1;
    if (cmd->args_n > 2 && !to_i64(cmd->args[2], &n)) {
        return false;
    }
    if (cmd->row->name.p[0] == 'D') {
        return !__builtin_sub_overflow((int64_t)0, n, ret);
    }
    *ret = n;
    return true;
}

static bool incr(struct vv_resp_cmd *cmd)
{
    int64_t add = 0;
    if (!step(cmd, &add)) {
        return status(cmd, "-ERR value is not an integer or out of range\r\n");
    }
    for (int i = 0; i < SWAPS_MAX; i++) {
        struct vv_small_item *it = vv_small_get(memory_of(cmd), cmd->args[1], now_of(cmd));
        const bool there = it != NULL;
        const uint64_t etag = it != NULL ? it->etag : 0;
        const uint64_t life_ns = it != NULL ? left_ns(it, now_of(cmd)) : 0;
        int64_t n = 0;
        const bool number = it == NULL || to_i64(it->value, &n);
        vv_small_item_unref(it);
        if (!number || __builtin_add_overflow(n, add, &n)) {
            return status(cmd, "-ERR value is not an integer or out of range\r\n");
        }
        char text[24];
        const int len = snprintf(text, sizeof text, "%lld", (long long)n);
        const struct vv_small_if cond = {.when = there ? VV_SMALL_MATCH : VV_SMALL_ABSENT,
                                         .etag = &etag,
                                         .etags = there ? 1 : 0};
        const enum vv_err err =
            put(cmd, cmd->args[1], (struct vv_str){text, (size_t)len}, life_ns, &cond);
        if (err == VV_OK) {
            return integer(cmd, n);
        }
        if (err != VV_ENOENT && err != VV_EEXIST) {
            return false;
        }
    }
    return false;
}

static bool sure_enough(const struct vv_resp_cmd *cmd)
{
    switch (cmd->row->memory) {
    case VV_RESP_MEMORY_INCR:
    case VV_RESP_MEMORY_SETNX:
        return false;
    case VV_RESP_MEMORY_SET: {
        struct set_options o;
        return set_options(cmd, &o) && !o.absent && !o.present && !o.get;
    }
    default:
        return true; /* the same when it is done twice */
    }
}

bool vv_resp_memory_answer(struct vv_resp_cmd *cmd, bool unsure)
{
    if (memory_of(cmd) == NULL || (unsure && !sure_enough(cmd))) {
        return false;
    }
    bool fine = false;
    switch ((enum vv_resp_memory)cmd->row->memory) {
    case VV_RESP_MEMORY_GET:
        return item_or_nil(cmd, vv_small_get(memory_of(cmd), cmd->args[1], now_of(cmd)));
    case VV_RESP_MEMORY_SET:
        fine = set(cmd);
        break;
    case VV_RESP_MEMORY_SETEX:
        fine = setex(cmd);
        break;
    case VV_RESP_MEMORY_SETNX:
        fine = setnx(cmd);
        break;
    case VV_RESP_MEMORY_MGET:
        fine = mget(cmd);
        break;
    case VV_RESP_MEMORY_MSET:
        fine = mset(cmd);
        break;
    case VV_RESP_MEMORY_DEL:
    case VV_RESP_MEMORY_EXISTS:
        fine = count_keys(cmd, cmd->row->memory == VV_RESP_MEMORY_DEL);
        break;
    case VV_RESP_MEMORY_TTL:
        fine = ttl(cmd);
        break;
    case VV_RESP_MEMORY_EXPIRE:
        fine = expire(cmd);
        break;
    case VV_RESP_MEMORY_INCR:
        fine = incr(cmd);
        break;
    case VV_RESP_MEMORY_NONE:
        break;
    }
    if (!fine) {
        cmd->answer.n = 0;
    }
    return fine;
}

/* ---- while the store answers ---- */

static void remember(const struct vv_resp_cmd *cmd, struct vv_str key, struct vv_str value,
                     uint64_t ttl_ns)
{
    if (put(cmd, key, value, ttl_ns, NULL) != VV_OK) {
        forget(cmd, key); /* no room for the new value, and the old one is wrong */
    }
}

static void forget_keys(const struct vv_resp_cmd *cmd)
{
    const size_t n = vv_resp_keys_count(&cmd->keys);
    for (size_t i = 0; i < n; i++) {
        forget(cmd, vv_resp_key(&cmd->keys, i));
    }
}

static void note_read(const struct vv_resp_cmd *cmd)
{
    const struct vv_str key = cmd->args[1];
    if (cmd->none) {
        forget(cmd, key);
    }
    if (!cmd->value) {
        return;
    }
    const struct vv_str value = {cmd->answer.p + cmd->value_at, cmd->value_n};
    struct vv_small_item *it = vv_small_get(memory_of(cmd), key, now_of(cmd));
    const bool known = it != NULL && vv_str_eq(it->value, value);
    vv_small_item_unref(it);
    if (!known) {
        remember(cmd, key, value, READ_LIFE_NS);
    }
}

static void note_set(const struct vv_resp_cmd *cmd)
{
    struct set_options o;
    if (cmd->none || !set_options(cmd, &o) || o.get || o.keep) {
        forget(cmd, cmd->args[1]); /* what is there now is not known for sure */
    } else {
        remember(cmd, cmd->args[1], cmd->args[2], o.ttl_ns);
    }
}

void vv_resp_memory_note(struct vv_resp_cmd *cmd)
{
    struct set_options o = {0};
    char text[24];
    if (memory_of(cmd) == NULL || cmd->result != VV_RESP_RESULT_OK) {
        return;
    }
    switch ((enum vv_resp_memory)cmd->row->memory) {
    case VV_RESP_MEMORY_GET:
        note_read(cmd);
        break;
    case VV_RESP_MEMORY_SET:
        note_set(cmd);
        break;
    case VV_RESP_MEMORY_SETEX:
        if (lifetime(cmd, cmd->args[2], is_ms(cmd) ? VV_MS : VV_SEC, false, &o)) {
            remember(cmd, cmd->args[1], cmd->args[3], o.ttl_ns);
        }
        break;
    case VV_RESP_MEMORY_MSET:
        for (size_t i = 1; i + 1 < cmd->args_n; i += 2) {
            remember(cmd, cmd->args[i], cmd->args[i + 1], 0);
        }
        break;
    case VV_RESP_MEMORY_INCR: {
        const int n = snprintf(text, sizeof text, "%lld", (long long)cmd->number);
        remember(cmd, cmd->args[1], (struct vv_str){text, (size_t)n}, READ_LIFE_NS);
        break;
    }
    default:
        if (cmd->row->how == VV_RESP_HOW_FLUSH) {
            (void)vv_small_remove_glob(memory_of(cmd), VV_STR("*"), now_of(cmd));
        } else if ((cmd->row->flags & VV_RESP_WRITE) != 0) {
            forget_keys(cmd);
        }
    }
}
