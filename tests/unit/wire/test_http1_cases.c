/* tests/unit/wire/test_http1_cases.c - every message of tests/data/http1_*.txt: the outcome written
 * there, the same outcome however the bytes are cut, and every row of the errors met once. */
#include "vv_test.h"
#include "wire/http1.h"
#include <stdio.h>
#include <stdlib.h>

#define CASES_MAX 400
#define KEYS_MAX 24

/* The limits tests/data/http1_requests.txt speaks of. */
static const struct vv_h1_limits limits = {.line_bytes = 8192, .head_bytes = 32768, .fields = 100};

struct one_case {
    const char *name;
    const char *keys[KEYS_MAX], *values[KEYS_MAX];
    size_t count;
    char *bytes;
    size_t bytes_n;
};

static struct one_case cases[CASES_MAX];
static size_t cases_count;
static bool met[VV_H1_ERROR_COUNT];

static const char *value_of(const struct one_case *c, const char *key)
{
    for (size_t i = 0; i < c->count; i++) {
        if (strcmp(c->keys[i], key) == 0) {
            return c->values[i];
        }
    }
    return NULL;
}

static int hex(char c)
{
    return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* Appends the unescaped text to out; returns the new length. out is large enough for any case. */
static size_t unescape(const char *p, const char *end, char *out, size_t n)
{
    while (p < end) {
        if (*p != '\\') {
            out[n++] = *p++;
            continue;
        }
        p++;
        if (*p == 'x') {
            out[n++] = (char)(hex(p[1]) * 16 + hex(p[2]));
            p += 3;
        } else if (*p == '{') {
            char *after;
            const long times = strtol(p + 1, &after, 10);
            const char *close = strchr(after, '}');
            assert_true(*after == ':' && close != NULL);
            for (long i = 0; i < times; i++) {
                n = unescape(after + 1, close, out, n);
            }
            p = close + 1;
        } else {
            out[n++] = *p == 'r' ? '\r' : *p == 'n' ? '\n' : *p == 't' ? '\t' : '\\';
            p++;
        }
    }
    return n;
}

static void read_line(char *line, char *scratch)
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
    char *colon = strchr(line, ':');
    assert_non_null(colon);
    *colon = '\0';
    const char *value = colon + (colon[1] == ' ' ? 2 : 1);
    if (strcmp(line, "bytes") == 0) {
        const size_t n = unescape(value, value + strlen(value), scratch, 0);
        c->bytes = realloc(c->bytes, c->bytes_n + n + 1);
        memcpy(c->bytes + c->bytes_n, scratch, n);
        c->bytes_n += n;
        return;
    }
    assert_true(c->count < KEYS_MAX);
    c->keys[c->count] = line;
    c->values[c->count++] = value;
}

/* Reads a table; what it allocates lives until the next one is read. */
static void read_cases(const char *file)
{
    static char text[1 << 18], path[4096];
    for (size_t i = 0; i < cases_count; i++) {
        free(cases[i].bytes);
    }
    memset(cases, 0, sizeof cases);
    cases_count = 0;
    snprintf(path, sizeof path, "%s/%s", VV_TEST_DATA, file);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    const size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    char *scratch = malloc(1 << 20);
    for (char *line = text; line != NULL && *line != '\0';) {
        char *end = strchr(line, '\n');
        if (end != NULL) {
            *end = '\0';
        }
        read_line(line, scratch);
        line = end != NULL ? end + 1 : NULL;
    }
    free(scratch);
}

/* ---- parsing in pieces, each in memory of exactly its size so that a sanitizer sees any overread */

struct verdict {
    enum vv_err err;
    enum vv_h1_error error;
    struct vv_h1_head head;
    char *copy; /* what the head's slices point into */
};

static bool is_answer;

static void feed(const struct one_case *c, struct verdict *v, size_t n)
{
    char *copy = malloc(n > 0 ? n : 1);
    memcpy(copy, c->bytes, n);
    const struct vv_str bytes = {copy, n};
    if (is_answer) {
        const char *request = value_of(c, "request");
        const enum vv_method method = request == NULL                ? VV_METHOD_GET
                                      : strcmp(request, "HEAD") == 0 ? VV_METHOD_HEAD
                                                                     : VV_METHOD_CONNECT;
        v->err = vv_h1_parse_answer(&v->head, bytes, method, &limits);
    } else {
        v->err = vv_h1_parse_request(&v->head, bytes, &limits);
    }
    v->error = v->head.error;
    free(v->copy);
    v->copy = copy;
}

static void start(struct verdict *v)
{
    v->copy = NULL;
    vv_h1_head_init(&v->head);
}

static void same_slice(struct vv_str a, const char *base_a, struct vv_str b, const char *base_b)
{
    assert_int_equal(a.n, b.n);
    assert_int_equal(a.p == NULL, b.p == NULL);
    if (a.p != NULL && a.n > 0) {
        assert_int_equal(a.p - base_a, b.p - base_b);
    }
}

static void same_verdict(const struct verdict *a, const struct verdict *b)
{
    const struct vv_h1_head *x = &a->head, *y = &b->head;
    assert_int_equal(a->err, b->err);
    assert_int_equal(a->error, b->error);
    if (a->err != VV_OK) {
        return;
    }
    same_slice(x->method_text, a->copy, y->method_text, b->copy);
    same_slice(x->target, a->copy, y->target, b->copy);
    same_slice(x->scheme, a->copy, y->scheme, b->copy);
    same_slice(x->authority, a->copy, y->authority, b->copy);
    same_slice(x->path, a->copy, y->path, b->copy);
    same_slice(x->query, a->copy, y->query, b->copy);
    same_slice(x->reason, a->copy, y->reason, b->copy);
    assert_int_equal(x->head_bytes, y->head_bytes);
    assert_int_equal(x->framing, y->framing);
    assert_int_equal(x->content_length, y->content_length);
    assert_int_equal(x->keep_alive, y->keep_alive);
    assert_int_equal(x->fields_count, y->fields_count);
    for (uint32_t i = 0; i < x->fields_count; i++) {
        same_slice(x->fields[i].name, a->copy, y->fields[i].name, b->copy);
        same_slice(x->fields[i].value, a->copy, y->fields[i].value, b->copy);
        assert_int_equal(x->fields[i].hop, y->fields[i].hop);
    }
}

static void every_cut(const struct one_case *c, const struct verdict *whole)
{
    static struct verdict v;
    const size_t stride = c->bytes_n > 2000 ? 997 : 1;
    for (size_t cut = 1; cut < c->bytes_n; cut += stride) {
        start(&v);
        feed(c, &v, cut);
        if (v.err == VV_EAGAIN) {
            feed(c, &v, c->bytes_n);
        }
        same_verdict(&v, whole);
        free(v.copy);
    }
    start(&v);
    for (size_t n = 1; n <= c->bytes_n; n += stride) {
        const size_t scan = v.head.scan; /* all that some callers keep */
        vv_h1_head_init(&v.head);
        v.head.scan = scan;
        feed(c, &v, n);
        if (v.err != VV_EAGAIN) {
            break;
        }
    }
    if (v.err == VV_EAGAIN && stride > 1) {
        feed(c, &v, c->bytes_n);
    }
    same_verdict(&v, whole);
    free(v.copy);
    start(&v);
    for (size_t n = 1; n <= c->bytes_n; n += stride) {
        feed(c, &v, n);
        if (v.err != VV_EAGAIN) {
            break;
        }
    }
    if (v.err == VV_EAGAIN && stride > 1) {
        feed(c, &v, c->bytes_n);
    }
    same_verdict(&v, whole);
    free(v.copy);
}

/* ---- bodies */

struct body {
    enum vv_err err;
    enum vv_h1_error error;
    size_t used, n;
    char *data;
};

static void decode(struct vv_h1_chunked *d, struct vv_str bytes, struct body *b)
{
    for (;;) {
        size_t used = 0;
        struct vv_str data;
        b->err = vv_h1_chunked_next(d, bytes, &used, &data);
        b->used += used;
        if (data.n > 0) {
            memcpy(b->data + b->n, data.p, data.n);
            b->n += data.n;
        }
        if (b->err == VV_EAGAIN) {
            assert_int_equal(used, bytes.n);
        }
        if (b->err != VV_OK || d->done) {
            b->error = d->error;
            return;
        }
        bytes.p += used;
        bytes.n -= used;
    }
}

/* Decodes in pieces of `piece` bytes, after a first one of `first`. */
static struct body decode_cut(struct vv_str bytes, size_t first, size_t piece, char *data)
{
    struct vv_h1_chunked d;
    struct body b = {.data = data};
    vv_h1_chunked_init(&d);
    for (size_t at = 0, n = first; at < bytes.n; at += n, n = piece) {
        n = n < bytes.n - at ? n : bytes.n - at;
        decode(&d, (struct vv_str){bytes.p + at, n}, &b);
        if (b.err != VV_EAGAIN) {
            break;
        }
    }
    return b;
}

static struct body chunked_body(struct vv_str bytes)
{
    static char data[1 << 16], cut_data[1 << 16];
    struct body whole = decode_cut(bytes, bytes.n, bytes.n, data);
    const size_t stride = bytes.n > 2000 ? 97 : 1;
    for (size_t cut = 0; cut < bytes.n; cut += stride) { /* cut 0: byte by byte */
        const struct body b = decode_cut(bytes, cut > 0 ? cut : 1, cut > 0 ? bytes.n : 1, cut_data);
        assert_int_equal(b.err, whole.err);
        assert_int_equal(b.error, whole.error);
        assert_int_equal(b.used, whole.used);
        assert_int_equal(b.n, whole.n);
        assert_memory_equal(b.data, whole.data, b.n);
    }
    return whole;
}

/* ---- what the table says */

static void check_slice(const struct one_case *c, const char *key, struct vv_str got)
{
    static char text[1 << 14];
    const char *want = value_of(c, key);
    if (want == NULL) {
        return;
    }
    if (strcmp(want, "-") == 0) {
        assert_null(got.p);
        return;
    }
    const size_t n = unescape(want, want + strlen(want), text, 0);
    assert_non_null(got.p);
    assert_int_equal(got.n, n);
    assert_memory_equal(got.p, text, n);
}

static void check_word(const struct one_case *c, const char *key, const char *got)
{
    const char *want = value_of(c, key);
    if (want != NULL) {
        assert_string_equal(got, want);
    }
}

static bool has_word(const char *words, struct vv_str word)
{
    struct vv_str rest = vv_str_from(words);
    while (rest.p != NULL) {
        if (vv_str_eq_nocase(vv_str_cut(&rest, ' '), word)) {
            return true;
        }
    }
    return false;
}

static void check_head(const struct one_case *c, const struct vv_h1_head *h)
{
    static const char *const forms[] = {"origin", "absolute", "authority", "asterisk"};
    static const char *const framings[] = {"none", "length", "chunked", "close", "tunnel"};
    check_slice(c, "target", h->target);
    check_slice(c, "path", h->path);
    check_slice(c, "query", h->query);
    check_slice(c, "authority", h->authority);
    check_slice(c, "reason", h->reason);
    check_word(c, "form", forms[h->target_form]);
    check_word(c, "framing", framings[h->framing]);
    check_word(c, "method", vv_methods[h->method].name.p);
    char status[8];
    snprintf(status, sizeof status, "%d", h->status);
    check_word(c, "status", status);
    check_word(c, "connection", h->keep_alive ? "kept" : "closed");
    const char *flags = value_of(c, "flags"), *hop = value_of(c, "hop");
    if (flags != NULL) {
        assert_int_equal(h->expect_continue, has_word(flags, VV_STR("expect")));
        assert_int_equal(h->upgrade, has_word(flags, VV_STR("upgrade")));
        assert_int_equal(h->te_trailers, has_word(flags, VV_STR("trailers")));
    }
    for (uint32_t i = 0; hop != NULL && i < h->fields_count; i++) {
        assert_int_equal(h->fields[i].hop, has_word(hop, h->fields[i].name));
    }
}

static void check_body(const struct one_case *c, const struct vv_h1_head *h, struct vv_str bytes,
                       enum vv_h1_error *ret_error)
{
    struct body b = {.n = bytes.n, .data = (char *)(uintptr_t)bytes.p, .used = bytes.n};
    if (h->framing == VV_H1_BODY_CHUNKED) {
        b = chunked_body(bytes);
        *ret_error = is_answer ? vv_h1_error_for_answer(b.error) : b.error;
        if (b.error != VV_H1_FINE) {
            return;
        }
        assert_int_equal(b.err, VV_OK);
    } else if (h->framing == VV_H1_BODY_LENGTH) {
        assert_int_equal(bytes.n, h->content_length);
    } else if (h->framing == VV_H1_BODY_NONE) {
        assert_int_equal(bytes.n, 0);
    }
    assert_int_equal(b.used, bytes.n); /* a case is one whole message */
    check_slice(c, "body", (struct vv_str){b.data, b.n});
}

static void run_case(const struct one_case *c)
{
    static struct verdict whole;
    start(&whole);
    feed(c, &whole, c->bytes_n);
    every_cut(c, &whole);
    enum vv_h1_error error = whole.error;
    if (whole.err == VV_OK) {
        const size_t head = whole.head.head_bytes;
        check_body(c, &whole.head, (struct vv_str){whole.copy + head, c->bytes_n - head}, &error);
    }
    free(whole.copy);
    const char *want = value_of(c, "error"), *expect = value_of(c, "expect");
    assert_non_null(expect);
    assert_non_null(value_of(c, "rfc"));
    assert_non_null(value_of(c, "connection"));
    assert_string_equal(vv_h1_errors[error].id, want != NULL ? want : "fine");
    met[error] = true;
    if (strncmp(expect, "status ", 7) == 0) {
        assert_int_equal(vv_h1_errors[error].status, atoi(expect + 7));
        check_word(c, "connection", "closed");
    } else if (strcmp(expect, "broken") != 0) {
        assert_int_equal(error, VV_H1_FINE);
    }
}

static void run_table(const char *file, size_t at_least)
{
    read_cases(file);
    assert_true(cases_count >= at_least);
    for (size_t i = 0; i < cases_count; i++) {
        const struct one_case *c = &cases[i];
        print_message("%s: %s\n", file, c->name); /* the last one printed is the one that failed */
        run_case(c);
        const char *expect = value_of(c, "expect");
        if (strcmp(expect, "forwarded") == 0 || strcmp(expect, "parsed") == 0) {
            static struct verdict v;
            start(&v);
            feed(c, &v, c->bytes_n);
            check_head(c, &v.head);
            free(v.copy);
        }
    }
}

VV_TEST(requests_end_as_the_table_says_at_every_cut)
{
    is_answer = false;
    run_table("http1_requests.txt", 150);
}

VV_TEST(answers_end_as_the_table_says_at_every_cut)
{
    is_answer = true;
    run_table("http1_answers.txt", 70);
}

/* Runs after the two tables: a row nobody can reach is a row too many. */
VV_TEST(every_row_of_the_errors_was_met)
{
    for (int i = 1; i < VV_H1_ERROR_COUNT; i++) {
        print_message("%s\n", vv_h1_errors[i].id);
        assert_true(met[i]);
        assert_true(vv_h1_errors[i].status >= 400 && vv_h1_errors[i].status < 600);
        assert_memory_equal(vv_h1_errors[i].section, "RFC ", 4);
        assert_true(strlen(vv_h1_errors[i].text) > 10);
    }
}
