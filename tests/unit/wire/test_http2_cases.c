/* tests/unit/wire/test_http2_cases.c - every exchange of tests/data/http2_frames.txt: the reaction
 * written there, the same however the bytes are cut, and every reason to end something met once. */
#include "vv_test.h"
#include "wire/http2.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define CASES_MAX 400
#define LINES_MAX 24
#define BYTES_MAX (1 << 20)

struct one_case {
    const char *name;
    const char *keys[LINES_MAX], *values[LINES_MAX];
    size_t count;
};

static struct one_case cases[CASES_MAX];
static size_t cases_count;
static bool met[VV_H2_REASON_COUNT];

static const char *value_of(const struct one_case *c, const char *key)
{
    for (size_t i = 0; i < c->count; i++) {
        if (strcmp(c->keys[i], key) == 0) {
            return c->values[i];
        }
    }
    return NULL;
}

static void read_line(char *line)
{
    if (line[0] == '\0' || line[0] == '#') {
        return;
    }
    if (line[0] == '[') {
        line[strcspn(line, "]")] = '\0';
        assert_true(cases_count < CASES_MAX);
        cases[cases_count++].name = line + 1;
        return;
    }
    struct one_case *c = &cases[cases_count - 1];
    char *colon = strstr(line, ": ");
    assert_non_null(colon);
    *colon = '\0';
    assert_true(c->count < LINES_MAX);
    c->keys[c->count] = line;
    c->values[c->count++] = colon + 2;
}

static void read_cases(void)
{
    static char text[1 << 18], path[4096];
    snprintf(path, sizeof path, "%s/http2_frames.txt", VV_TEST_DATA);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    for (char *line = text; line != NULL && *line != '\0';) {
        char *end = strchr(line, '\n');
        if (end != NULL) {
            *end = '\0';
        }
        read_line(line);
        line = end != NULL ? end + 1 : NULL;
    }
}

/* ---- from the table's words to frames */

struct bytes {
    uint8_t *p;
    size_t n;
};

static void put(struct bytes *b, const void *p, size_t n)
{
    assert_true(b->n + n <= BYTES_MAX);
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

static void put_number(struct bytes *b, uint32_t v, unsigned width)
{
    while (width-- > 0) {
        const uint8_t byte = (uint8_t)(v >> (8 * width));
        put(b, &byte, 1);
    }
}

/* RFC 7541 5.1 with a prefix of 7 bits and no Huffman coding. */
static void put_hpack_string(struct bytes *b, const char *p, size_t n)
{
    if (n < 127) {
        put_number(b, (uint32_t)n, 1);
    } else {
        put_number(b, 127, 1);
        size_t rest = n - 127;
        for (; rest >= 128; rest /= 128) {
            put_number(b, (uint32_t)(rest % 128) | 128, 1);
        }
        put_number(b, (uint32_t)rest, 1);
    }
    put(b, p, n);
}

/* "\xHH" and "\s" for a space, "\{N:c}" for N times c. */
static size_t unescape(const char *p, const char *end, char *out)
{
    size_t n = 0;
    while (p < end) {
        if (*p != '\\') {
            out[n++] = *p++;
        } else if (p[1] == 's') {
            out[n++] = ' ';
            p += 2;
        } else if (p[1] == 'x') {
            const char hex[3] = {p[2], p[3], '\0'};
            out[n++] = (char)strtol(hex, NULL, 16);
            p += 4;
        } else {
            char *after;
            const long times = strtol(p + 2, &after, 10);
            memset(out + n, after[1], (size_t)times);
            n += (size_t)times;
            p = after + 3;
        }
    }
    return n;
}

static void put_field(struct bytes *b, const char *p, const char *end)
{
    static char text[1 << 17];
    const char *equals = memchr(p, '=', (size_t)(end - p));
    assert_non_null(equals);
    put_number(b, 0, 1); /* literal, not indexed, new name */
    size_t n = unescape(p, equals, text);
    put_hpack_string(b, text, n);
    n = unescape(equals + 1, end, text);
    put_hpack_string(b, text, n);
}

static void put_hex(struct bytes *b, const char *p, const char *end)
{
    for (; p < end; p += 2) {
        const char hex[3] = {p[0], p[1], '\0'};
        put_number(b, (uint32_t)strtol(hex, NULL, 16), 1);
    }
}

static void put_token(struct bytes *b, const char *p, const char *end)
{
    static const char authority[] = {0x01, 4, 's', 'h', 'o', 'p'}; /* index 1 of the static table */
    const size_t n = (size_t)(end - p);
    if (n == 3 && memcmp(p, "get", n) == 0) {
        put(b, "\x82\x87\x84", 3); /* GET https / */
        put(b, authority, sizeof authority);
    } else if (n == 4 && memcmp(p, "post", n) == 0) {
        put(b, "\x83\x87\x84", 3);
        put(b, authority, sizeof authority);
    } else if (memcmp(p, "f:", 2) == 0) {
        put_field(b, p + 2, end);
    } else if (memcmp(p, "x:", 2) == 0) {
        put_hex(b, p + 2, end);
    } else if (memcmp(p, "s:", 2) == 0) {
        put(b, p + 2, n - 2);
    } else if (memcmp(p, "z:", 2) == 0) {
        for (long i = strtol(p + 2, NULL, 10); i > 0; i--) {
            put_number(b, 0, 1);
        }
    } else if (memcmp(p, "u8:", 3) == 0 || memcmp(p, "u16:", 4) == 0 || memcmp(p, "u32:", 4) == 0) {
        const unsigned bits = (unsigned)strtoul(p + 1, NULL, 10);
        put_number(b, (uint32_t)strtoul(memchr(p, ':', n) + 1, NULL, 0), bits / 8);
    } else if (memcmp(p, "rep:", 4) == 0) {
        char *after;
        for (long i = strtol(p + 4, &after, 10); i > 0; i--) {
            put_token(b, after + 1, end);
        }
    } else {
        fail_msg("unknown word %.*s", (int)n, p);
    }
}

static unsigned named(const char *const *names, size_t count, const char *p, size_t n)
{
    for (size_t i = 0; i < count; i++) {
        if (names[i] != NULL && strlen(names[i]) == n && memcmp(names[i], p, n) == 0) {
            return (unsigned)i;
        }
    }
    return (unsigned)strtoul(p, NULL, 0);
}

static unsigned flags_of(const char *p, size_t n)
{
    static const char *const names[] = {
        [1] = "END_STREAM", [4] = "END_HEADERS", [8] = "PADDED", [32] = "PRIORITY"};
    unsigned flags = 0;
    while (n > 0) {
        const char *bar = memchr(p, '|', n);
        const size_t part = bar != NULL ? (size_t)(bar - p) : n;
        flags |= part == 3 && memcmp(p, "ACK", 3) == 0 ? 1 : named(names, VV_COUNT(names), p, part);
        n -= part + (bar != NULL);
        p += part + (bar != NULL);
    }
    return flags;
}

static const char *word_end(const char *p)
{
    return p + strcspn(p, " ");
}

static const char *next_word(const char *p)
{
    p = word_end(p);
    return *p == ' ' ? p + 1 : p;
}

/* "TYPE flags stream words": the stream "+" is the next one of a client. */
static void put_frame(struct bytes *b, const char *line, uint32_t *next_stream)
{
    static const char *const types[] = {"DATA",
                                        "HEADERS",
                                        "PRIORITY",
                                        "RST_STREAM",
                                        "SETTINGS",
                                        "PUSH_PROMISE",
                                        "PING",
                                        "GOAWAY",
                                        "WINDOW_UPDATE",
                                        "CONTINUATION",
                                        [16] = "PRIORITY_UPDATE"};
    const char *p = line;
    const unsigned type = named(types, VV_COUNT(types), p, (size_t)(word_end(p) - p));
    p = next_word(p);
    const unsigned flags = *p == '-' ? 0 : flags_of(p, (size_t)(word_end(p) - p));
    p = next_word(p);
    uint32_t stream = (uint32_t)strtoul(p, NULL, 10);
    if (*p == '+') {
        stream = *next_stream;
        *next_stream += 2;
    }
    p = next_word(p);
    const size_t at = b->n;
    put(b, "\0\0\0\0\0\0\0\0", 8);
    put(b, "", 1);
    long length = -1;
    for (; *p != '\0'; p = next_word(p)) {
        if (memcmp(p, "len:", 4) == 0) {
            length = strtol(p + 4, NULL, 10);
        } else {
            put_token(b, p, word_end(p));
        }
    }
    struct bytes head = {b->p + at, 0};
    put_number(&head, length >= 0 ? (uint32_t)length : (uint32_t)(b->n - at - 9), 3);
    put_number(&head, type, 1);
    put_number(&head, flags, 1);
    put_number(&head, stream, 4);
}

static void build(const struct one_case *c, struct bytes *b)
{
    uint32_t next_stream = 1;
    b->n = 0;
    const char *start = value_of(c, "start");
    if (start == NULL) {
        if (value_of(c, "role") == NULL) {
            put(b, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
        }
        put_frame(b, "SETTINGS - 0", &next_stream);
    }
    for (size_t i = 0; i < c->count; i++) {
        if (strcmp(c->keys[i], "raw") == 0) {
            for (const char *p = c->values[i]; *p != '\0'; p = next_word(p)) {
                put_token(b, p, word_end(p));
            }
        } else if (strncmp(c->keys[i], "send", 4) == 0) {
            const long times = c->keys[i][4] == '*' ? strtol(c->keys[i] + 5, NULL, 10) : 1;
            for (long k = 0; k < times; k++) {
                put_frame(b, c->values[i], &next_stream);
            }
        }
    }
}

/* ---- the codec's caller */

struct caller {
    struct vv_h2 *c;
    bool answers;
    unsigned heads, ends, trailers, closed;
    size_t data_bytes;
    enum vv_h1_error error;
    char verdict[128];
    uint8_t header[9 + 8];
    size_t header_n, left;
};

static void answer(struct caller *u, struct vv_h2_stream *s)
{
    if (u->answers) {
        VV_CHECK_INT(vv_h2_answer(s, 200, NULL, 0, true), VV_OK);
    }
}

static void on_head(void *user, struct vv_h2_stream *s, const struct vv_h1_head *head, bool end)
{
    struct caller *u = user;
    u->heads++;
    u->error = head->error;
    if (end) {
        answer(u, s);
    }
}

static void on_data(void *user, struct vv_h2_stream *s, struct vv_str bytes)
{
    struct caller *u = user;
    u->data_bytes += bytes.n;
    vv_h2_consumed(s, bytes.n);
}

static void on_trailers(void *user, struct vv_h2_stream *s, const struct vv_h1_head *fields)
{
    struct caller *u = user;
    (void)s;
    (void)fields;
    u->trailers++;
}

static void on_end(void *user, struct vv_h2_stream *s)
{
    struct caller *u = user;
    u->ends++;
    answer(u, s);
}

static void on_sent(void *user, struct vv_h2_stream *s, size_t bytes)
{
    (void)user;
    (void)s;
    (void)bytes;
}

static void on_closed(void *user, struct vv_h2_stream *s, enum vv_h2_reason why,
                      enum vv_h2_code code)
{
    struct caller *u = user;
    (void)s;
    (void)why;
    (void)code;
    u->closed++;
}

static const struct vv_h2_events events = {.head = on_head,
                                           .data = on_data,
                                           .trailers = on_trailers,
                                           .end = on_end,
                                           .sent = on_sent,
                                           .closed = on_closed};

static const char *code_name(const uint8_t *p)
{
    const uint32_t code = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    return code < VV_H2_CODE_COUNT ? vv_h2_code_names[code] : "?";
}

/* GOAWAY before anything, the first RST_STREAM otherwise; code 0 is nobody's fault. */
static void frame_seen(struct caller *u)
{
    const uint8_t *h = u->header;
    const unsigned stream =
        (unsigned)h[5] << 24 | (unsigned)h[6] << 16 | (unsigned)h[7] << 8 | h[8];
    if (h[3] == 7 && strcmp(code_name(h + 13), "NO_ERROR") != 0) {
        snprintf(u->verdict, sizeof u->verdict, "connection %s", code_name(h + 13));
    } else if (h[3] == 3 && strcmp(code_name(h + 9), "NO_ERROR") != 0 && u->verdict[0] == '\0') {
        snprintf(u->verdict, sizeof u->verdict, "stream %u %s", stream, code_name(h + 9));
    }
}

static void look_at(struct caller *u, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (u->header_n < 9) {
            u->header[u->header_n++] = p[i];
            u->left = (size_t)u->header[0] << 16 | (size_t)u->header[1] << 8 | u->header[2];
        } else {
            if (u->header_n < sizeof u->header) {
                u->header[u->header_n++] = p[i];
            }
            u->left--;
        }
        if (u->header_n >= 9 && u->left == 0) {
            frame_seen(u);
            u->header_n = 0;
        }
    }
}

static void drain(struct caller *u)
{
    static char stage[4096];
    struct vv_h2_gather g = {.stage = stage, .stage_bytes = sizeof stage};
    do {
        vv_h2_output(u->c, &g);
        for (unsigned i = 0; i < g.count; i++) {
            look_at(u, g.iov[i].iov_base, g.iov[i].iov_len);
        }
    } while (g.bytes > 0);
}

static void settle(struct caller *u, const struct one_case *c)
{
    if (value_of(c, "role") != NULL) { /* our own preface is no frame */
        struct vv_h2_stream *s;
        const char *method = value_of(c, "method");
        const struct vv_h2_request r = {.method = vv_str_from(method != NULL ? method : "GET"),
                                        .scheme = VV_STR("https"),
                                        .authority = VV_STR("shop"),
                                        .path = VV_STR("/"),
                                        .end = true};
        VV_CHECK_INT(vv_h2_request(u->c, NULL, &r, &s), VV_OK);
        static char stage[4096];
        struct vv_h2_gather g = {.stage = stage, .stage_bytes = sizeof stage};
        vv_h2_output(u->c, &g);
        VV_CHECK(g.bytes > 24);
    }
}

/* Runs the case with reads of `piece` bytes, each in memory of exactly its size. */
static void run(const struct one_case *c, const struct bytes *b, size_t piece, struct caller *u,
                struct vv_h2_counts *counts)
{
    memset(u, 0, sizeof *u);
    memset(counts, 0, sizeof *counts);
    struct vv_h2_conf conf = vv_h2_conf_default;
    const char *with = value_of(c, "with");
    conf.connect_protocol = with != NULL && strcmp(with, "connect") == 0;
    if (with != NULL && strncmp(with, "memory ", 7) == 0) {
        conf.memory_bytes_max = (uint32_t)strtoul(with + 7, NULL, 10);
    }
    struct vv_h2_pool *pool = vv_h2_pool_new(counts);
    u->answers = value_of(c, "answer") == NULL && value_of(c, "role") == NULL;
    u->c = value_of(c, "role") != NULL ? vv_h2_client_new(pool, &conf, &events, u, 0)
                                       : vv_h2_server_new(pool, &conf, &events, u, 0);
    assert_non_null(u->c);
    settle(u, c);
    for (size_t at = 0; at < b->n; at += piece) {
        const size_t n = b->n - at < piece ? b->n - at : piece;
        char *copy = malloc(n);
        memcpy(copy, b->p + at, n);
        const enum vv_err err = vv_h2_receive(u->c, (struct vv_str){copy, n}, 0);
        free(copy);
        if (value_of(c, "output") == NULL) {
            drain(u);
        }
        if (err != VV_OK) {
            break;
        }
    }
    drain(u);
    const bool connection = strncmp(u->verdict, "connection", 10) == 0;
    VV_CHECK(!connection || vv_h2_finished(u->c));
    const unsigned told = u->heads;
    vv_h2_free(u->c);
    if (value_of(c, "role") == NULL) {
        VV_CHECK_INT(u->closed, told); /* head() and closed(), once each */
    }
    VV_CHECK_INT(counts->memory_bytes, 0);
    vv_h2_pool_free(pool);
    if (u->verdict[0] == '\0') {
        strcpy(u->verdict, "fine");
    }
}

static unsigned wrongs;

/* All of them are told, not only the first. */
#define wrong(...)                                                                                 \
    do {                                                                                           \
        print_error(__VA_ARGS__);                                                                  \
        print_error("\n");                                                                         \
        wrongs++;                                                                                  \
    } while (0)

static void check_number(const struct one_case *c, const char *key, size_t got)
{
    const char *want = value_of(c, key);
    if (want != NULL && strtoul(want, NULL, 10) != got) {
        wrong("%s: %s is %zu, not %s", c->name, key, got, want);
    }
}

static void run_case(const struct one_case *c, struct bytes *b)
{
    static struct caller whole, cut;
    static struct vv_h2_counts counts, cut_counts;
    build(c, b);
    run(c, b, b->n, &whole, &counts);
    const char *expect = value_of(c, "expect"), *reason = value_of(c, "reason");
    assert_non_null(expect);
    assert_non_null(value_of(c, "rfc"));
    if (strcmp(whole.verdict, expect) != 0) {
        wrong("%s: %s, expected %s", c->name, whole.verdict, expect);
    }
    check_number(c, "heads", whole.heads);
    check_number(c, "trailers", whole.trailers);
    check_number(c, "data", whole.data_bytes);
    bool found = reason == NULL;
    for (size_t i = 1; i < VV_H2_REASON_COUNT; i++) {
        if (counts.reason[i] > 0) {
            met[i] = true;
            found = found || strcmp(vv_h2_reasons[i].name, reason) == 0;
            if (reason == NULL && i < VV_H2_WHY_PEER_RESET) {
                wrong("%s: counted under %s", c->name, vv_h2_reasons[i].name);
            }
        }
    }
    if (!found) {
        wrong("%s: not counted under %s", c->name, reason);
    }
    static const size_t pieces[] = {1, 7, 997};
    for (size_t i = b->n > 8000 ? 2 : 0; i < VV_COUNT(pieces); i++) {
        const size_t piece = pieces[i];
        run(c, b, piece, &cut, &cut_counts);
        if (strcmp(cut.verdict, whole.verdict) != 0) {
            wrong("%s: %s in pieces of %zu", c->name, cut.verdict, piece);
        }
        if (strcmp(whole.verdict, "fine") == 0) { /* content before a mistake may have passed */
            VV_CHECK_INT(cut.data_bytes, whole.data_bytes);
        }
        VV_CHECK_INT(cut.trailers, whole.trailers);
    }
}

VV_TEST(every_exchange_of_the_table_gets_its_reaction_however_it_is_cut)
{
    struct bytes b = {malloc(BYTES_MAX), 0};
    read_cases();
    VV_CHECK(cases_count >= 120);
    for (size_t i = 0; i < cases_count; i++) {
        for (size_t k = 0; k < i; k++) {
            VV_CHECK(strcmp(cases[i].name, cases[k].name) != 0);
        }
        run_case(&cases[i], &b);
    }
    free(b.p);
    for (size_t i = 1; i < VV_H2_WHY_CODE_OTHER; i++) {
        /* INTERNAL_ERROR is for failures of our own. */
        if (!met[i] && i != VV_H2_WHY_CODE_INTERNAL) {
            wrong("no case for %s", vv_h2_reasons[i].name);
        }
    }
    VV_CHECK_INT(wrongs, 0);
}
