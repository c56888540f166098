/* tests/fuzz/fuzz_resp.c - replies of Redis: the same items however reads are cut, limits hold, and
 * strings that are written as a command come back unchanged, and tables of a cluster that are taken
 * name only servers that are in them. Byte 0: the size of the pieces; bit 0
 * of byte 1: read as commands. */
#include "wire/redis_slots.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ITEMS_MAX 4096
static const struct vv_resp_limits limits = {.bulk_max = 8192, .items_max = ITEMS_MAX};

/* Everything that was read, runs of a string put together, as one text. */
struct outcome {
    enum vv_err err;
    char *log;
    size_t n, left;
};

static void log_bytes(struct outcome *o, const void *p, size_t n)
{
    if (n > 0) {
        memcpy(o->log + o->n, p, n);
    }
    o->n += n;
}

static void log_item(struct outcome *o, const struct vv_resp_item *it)
{
    VV_ASSERT(it->type < VV_RESP_TYPE_COUNT && it->depth <= VV_RESP_DEPTH_MAX);
    VV_ASSERT(!it->done || it->last);
    if (it->first) {
        const uint8_t head[] = {(uint8_t)it->type, it->depth, it->attribute, it->push};
        log_bytes(o, head, sizeof(head));
        log_bytes(o, &it->count, sizeof(it->count));
        log_bytes(o, &it->integer, sizeof(it->integer));
        log_bytes(o, &it->number, sizeof(it->number));
        log_bytes(o, it->format, sizeof(it->format));
    }
    log_bytes(o, it->text.p, it->text.n);
    if (it->last) {
        log_bytes(o, it->done ? "." : ",", 1);
    }
}

static struct outcome read_all(struct vv_str bytes, size_t piece, bool commands)
{
    /* An item takes at least one byte of the wire and 33 of the log beside its text. */
    struct outcome o = {.err = VV_EAGAIN, .log = malloc(bytes.n * 40 + 64)};
    struct vv_resp_reader r;
    size_t from = 0, to = 0;
    VV_ASSERT(o.log != NULL);
    vv_resp_reader_init(&r, &limits, commands);
    while (o.err == VV_EAGAIN && to < bytes.n) {
        to = bytes.n - to < piece ? bytes.n : to + piece;
        const size_t n = to - from;
        char *copy = malloc(n);
        VV_ASSERT(copy != NULL);
        memcpy(copy, bytes.p + from, n);
        size_t at = 0;
        do {
            struct vv_resp_item it;
            size_t used = 0;
            o.err = vv_resp_next(&r, (struct vv_str){copy + at, n - at}, &used, &it);
            VV_ASSERT(used <= n - at && (o.err != VV_OK || used > 0));
            at += used;
            if (o.err == VV_OK) {
                VV_ASSERT(it.text.n == 0 ||
                          (it.text.p >= copy && it.text.p + it.text.n <= copy + n));
                log_item(&o, &it);
            }
        } while (o.err == VV_OK);
        from += at;
        free(copy);
    }
    o.left = bytes.n - from;
    return o;
}

/* The input as a command of up to eight arguments, cut at its newlines. */
static void write_and_read(struct vv_str bytes)
{
    struct vv_str args[8];
    struct iovec iov[32];
    static char text[32768], wire[32768];
    struct vv_resp_out o;
    struct vv_resp_reader r;
    size_t n = 0, wire_n = 0, at = 0, arg = 0, in_arg = 0;
    while (n < VV_COUNT(args) && bytes.p != NULL) {
        args[n++] = vv_str_cut(&bytes, '\n');
    }
    vv_resp_out_init(&o, text, sizeof(text), iov, VV_COUNT(iov));
    VV_ASSERT(vv_resp_put(&o, args, n) == VV_OK);
    for (size_t i = 0; i < o.iov_used; i++) {
        memcpy(wire + wire_n, iov[i].iov_base, iov[i].iov_len);
        wire_n += iov[i].iov_len;
    }
    VV_ASSERT(wire_n == o.bytes);
    vv_resp_reader_init(&r, NULL, true);
    for (bool done = false; !done;) {
        struct vv_resp_item it;
        size_t used = 0;
        VV_ASSERT(vv_resp_next(&r, (struct vv_str){wire + at, wire_n - at}, &used, &it) == VV_OK);
        at += used;
        done = it.done;
        if (it.depth == 0) {
            VV_ASSERT(it.type == VV_RESP_ARRAY && it.count == n);
            continue;
        }
        VV_ASSERT(arg < n && in_arg + it.text.n <= args[arg].n);
        VV_ASSERT(it.text.n == 0 || memcmp(args[arg].p + in_arg, it.text.p, it.text.n) == 0);
        in_arg += it.text.n;
        if (it.last) {
            VV_ASSERT(in_arg == args[arg].n);
            arg++;
            in_arg = 0;
        }
    }
    VV_ASSERT(arg == n && at == wire_n);
}

static void words(struct vv_str line)
{
    struct vv_str args[16];
    struct vv_resp_redirect to;
    size_t n = 0, bytes = 0;
    char *text = malloc(line.n + 1);
    VV_ASSERT(text != NULL);
    if (vv_resp_inline_split(line, text, args, VV_COUNT(args), &n) == VV_OK) {
        for (size_t i = 0; i < n; i++) {
            bytes += args[i].n;
        }
        VV_ASSERT(n <= VV_COUNT(args) && bytes <= line.n);
    }
    if (vv_resp_redirect_parse(line, &to) == VV_OK) {
        VV_ASSERT(to.slot < 16384 && to.port > 0);
    }
    free(text);
}

static void fill_table(struct vv_str bytes, enum vv_redis_slots_form form)
{
    static struct vv_redis_slots t;
    struct vv_redis_slots_fill f;
    struct vv_resp_reader r;
    enum vv_err err = VV_EAGAIN;
    vv_resp_reader_init(&r, &limits, false);
    vv_redis_slots_begin(&f, &t, form, bytes.n % 2 == 1);
    while (err == VV_EAGAIN) {
        struct vv_resp_item it;
        size_t used = 0;
        if (vv_resp_next(&r, bytes, &used, &it) != VV_OK) {
            return;
        }
        bytes = (struct vv_str){bytes.p + used, bytes.n - used};
        err = vv_redis_slots_item(&f, &it);
    }
    for (uint16_t i = 0; err == VV_OK && i < VV_REDIS_SLOTS; i++) {
        const struct vv_redis_node *node = vv_redis_slots_node(&t, i, bytes.n % 2 == 0, i);
        VV_ASSERT(node == NULL || (node < t.nodes + t.nodes_count && node->port > 0));
        VV_ASSERT(node == NULL || node->master < t.nodes_count);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3 || size > 16384) {
        return 0;
    }
    const struct vv_str bytes = {(const char *)data + 2, size - 2};
    const bool commands = (data[1] & 1) != 0;
    struct outcome whole = read_all(bytes, bytes.n, commands);
    struct outcome parts = read_all(bytes, 1 + data[0] % bytes.n, commands);
    VV_ASSERT(whole.err == parts.err && whole.n == parts.n && whole.left == parts.left);
    VV_ASSERT(memcmp(whole.log, parts.log, whole.n) == 0);
    free(whole.log);
    free(parts.log);
    write_and_read(bytes);
    words(bytes);
    fill_table(bytes, commands ? VV_REDIS_FORM_SHARDS : VV_REDIS_FORM_SLOTS);
    return 0;
}
