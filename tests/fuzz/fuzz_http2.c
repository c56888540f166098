/* tests/fuzz/fuzz_http2.c - any frames on a live HTTP/2 session: each stream that was told of is
 * closed once, all memory comes back and stays within its limit, and what is consumed is never
 * more than what came. The first byte chooses the side and what the caller does, the second how
 * reads are cut. */
#include "wire/http2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    AS_CLIENT = 1,
    EXTENDED = 2,
    NO_PREFACE = 4,
    ANSWER_LATE = 8, /* at the end of the request, else at its head */
    RESETS = 16,     /* every second stream */
    HOLDS = 32,      /* content is given back at the end only */
    LARGE = 64,
    DRAINS = 128,
};

struct caller {
    struct vv_h2 *c;
    uint8_t choice;
    unsigned told, closed;
};

struct one { /* of a stream; handed out in turn: never so many are open at once */
    size_t held;
    bool open;
};

static struct one ones[256];
static char large[100000];

static struct one *one_of(const struct vv_h2_stream *s)
{
    return s->user;
}

static void told(struct caller *u, struct vv_h2_stream *s)
{
    struct one *one = &ones[u->told++ % VV_COUNT(ones)];
    VV_ASSERT(!one->open && s->user == NULL);
    *one = (struct one){0, true};
    s->user = one;
}

static void answer(struct caller *u, struct vv_h2_stream *s)
{
    static const struct vv_h2_field field[] = {{VV_STR("Content-Type"), VV_STR("text/plain"), 0},
                                               {VV_STR("x-a"), VV_STR("b"), VV_H2_STABLE}};
    static const char text[] = "HTTP/1.1 200 OK\r\nServer: a\r\nX-A: b\r\nSet-Cookie: c=d\r\n\r\n";
    if ((u->choice & AS_CLIENT) != 0) {
        return;
    }
    const enum vv_err err =
        s->id % 8 == 5 ? vv_h2_answer_text(s, (struct vv_str){text, sizeof text - 1}, false)
                       : vv_h2_answer(s, 200, field, 2, false);
    if (err != VV_OK) {
        return;
    }
    const size_t n = (u->choice & LARGE) != 0 ? sizeof large : 100;
    if (vv_h2_body(s, (struct vv_str){large, n}) == VV_OK) {
        if (s->id % 4 == 1) {
            vv_h2_end(s);
        } else {
            (void)!vv_h2_end_trailers(s, field, 1);
        }
    }
}

static void on_head(void *user, struct vv_h2_stream *s, const struct vv_h1_head *head, bool end)
{
    struct caller *u = user;
    VV_ASSERT(head->fields_count <= VV_H1_FIELDS_MAX);
    size_t sum = 0;
    for (uint32_t i = 0; i < head->fields_count; i++) { /* every byte can be read */
        for (size_t k = 0; k < head->fields[i].value.n; k++) {
            sum += (uint8_t)head->fields[i].value.p[k];
        }
    }
    VV_ASSERT(sum < SIZE_MAX);
    if ((u->choice & AS_CLIENT) == 0) {
        VV_ASSERT(head->authority.n > 0 && head->method_text.n > 0);
        told(u, s);
    }
    if ((u->choice & RESETS) != 0 && s->id % 4 == 3) {
        vv_h2_reset(s, VV_H2_CANCEL);
    } else if (end || (u->choice & ANSWER_LATE) == 0) {
        answer(u, s);
    }
}

static void on_data(void *user, struct vv_h2_stream *s, struct vv_str bytes)
{
    const struct caller *u = user;
    struct one *one = one_of(s);
    VV_ASSERT(one->open && bytes.n > 0);
    one->held += bytes.n;
    VV_ASSERT(one->held <= vv_h2_conf_default.stream_window_bytes);
    if ((u->choice & HOLDS) == 0) {
        vv_h2_consumed(s, one->held);
        one->held = 0;
    }
}

static void on_end(void *user, struct vv_h2_stream *s)
{
    struct caller *u = user;
    VV_ASSERT(one_of(s)->open);
    if ((u->choice & ANSWER_LATE) != 0) {
        answer(u, s);
    }
}

static void on_sent(void *user, struct vv_h2_stream *s, size_t bytes)
{
    (void)user;
    VV_ASSERT(one_of(s)->open && bytes > 0);
}

static void on_closed(void *user, struct vv_h2_stream *s, enum vv_h2_reason why,
                      enum vv_h2_code code)
{
    struct caller *u = user;
    VV_ASSERT(one_of(s)->open && why < VV_H2_REASON_COUNT);
    (void)code;
    one_of(s)->open = false;
    u->closed++;
}

static const struct vv_h2_events events = {
    .head = on_head, .data = on_data, .end = on_end, .sent = on_sent, .closed = on_closed};

static void output(struct caller *u)
{
    static char stage[2048];
    struct vv_h2_gather g = {.stage = stage, .stage_bytes = sizeof stage};
    size_t sum = 0;
    do {
        vv_h2_output(u->c, &g);
        for (unsigned i = 0; i < g.count; i++) {
            sum += ((const uint8_t *)g.iov[i].iov_base)[g.iov[i].iov_len - 1];
        }
    } while (g.bytes > 0 && sum < SIZE_MAX);
}

static void begin(struct caller *u)
{
    if ((u->choice & AS_CLIENT) != 0) {
        for (int i = 0; i < 3; i++) {
            struct vv_h2_stream *s;
            const struct vv_h2_request r = {.method = VV_STR("POST"),
                                            .scheme = VV_STR("https"),
                                            .authority = VV_STR("shop"),
                                            .path = VV_STR("/"),
                                            .end = i > 0};
            if (vv_h2_request(u->c, NULL, &r, &s) == VV_OK) {
                told(u, s);
                (void)!vv_h2_body(s, (struct vv_str){large, 1000});
            }
        }
    } else if ((u->choice & NO_PREFACE) == 0) {
        static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";
        VV_ASSERT(vv_h2_receive(u->c, (struct vv_str){preface, sizeof preface}, 0) == VV_OK);
    }
    output(u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 65536) {
        return 0;
    }
    struct vv_h2_counts counts = {0};
    struct vv_h2_conf conf = vv_h2_conf_default;
    struct caller u = {.choice = data[0]};
    conf.connect_protocol = (u.choice & EXTENDED) != 0;
    if ((data[1] & 128) !=
        0) { /* a connection begins with 2,048: allocations fail here and there */
        conf.memory_bytes_max = 2048 + (data[1] & 127) * 200U;
    }
    struct vv_h2_pool *pool = vv_h2_pool_new(&counts);
    VV_ASSERT(pool != NULL);
    memset(ones, 0, sizeof ones);
    u.c = (u.choice & AS_CLIENT) != 0 ? vv_h2_client_new(pool, &conf, &events, &u, 0)
                                      : vv_h2_server_new(pool, &conf, &events, &u, 0);
    VV_ASSERT(u.c != NULL);
    begin(&u);
    const size_t piece = (data[1] & 127) > 0 ? data[1] & 127 : size;
    for (size_t at = 2; at < size; at += piece) {
        const size_t n = size - at < piece ? size - at : piece;
        const enum vv_err err = vv_h2_receive(u.c, (struct vv_str){(const char *)data + at, n}, 0);
        VV_ASSERT(vv_h2_memory(u.c) <= conf.memory_bytes_max + 4 * VV_KIB);
        VV_ASSERT(vv_h2_streams(u.c) <= conf.streams_max + 1);
        output(&u);
        if (err != VV_OK) {
            VV_ASSERT(vv_h2_finished(u.c));
            break;
        }
        if ((u.choice & DRAINS) != 0) {
            vv_h2_drain(u.c);
        }
    }
    vv_h2_free(u.c);
    VV_ASSERT(u.told == u.closed && counts.memory_bytes == 0);
    vv_h2_pool_free(pool);
    return 0;
}
