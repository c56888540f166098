/* tests/fuzz/fuzz_vary.c - a request selects a stored answer exactly if it would have written the
 * same secondary key. Input: the value of Vary, then the fields of one request, an empty line, and
 * the fields of another. */
#include "cache/vary.h"

#define INPUT_MAX 2048 /* so that the lines of a key always fit */
#define KEY_BYTES 8192

struct message {
    struct vv_h1_head head;
    char text[2 * INPUT_MAX + 64];
};

static const struct vv_h1_limits limits = {8192, 8192, 64};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Lines end as they do on the wire. */
static struct vv_str text_of(struct message *m, struct vv_str start, struct vv_str fields)
{
    memcpy(m->text, start.p, start.n);
    size_t n = start.n;
    while (fields.n > 0) {
        const struct vv_str line = vv_str_cut(&fields, '\n');
        if (line.n > 0) {
            memcpy(m->text + n, line.p, line.n);
            memcpy(m->text + n + line.n, "\r\n", 2);
            n += line.n + 2;
        }
    }
    memcpy(m->text + n, "\r\n", 2);
    vv_h1_head_init(&m->head);
    return (struct vv_str){m->text, n + 2};
}

static bool request_of(struct message *m, struct vv_str fields)
{
    const struct vv_str text = text_of(m, VV_STR("GET / HTTP/1.1\r\nHost: h\r\n"), fields);
    return vv_h1_parse_request(&m->head, text, &limits) == VV_OK;
}

/* Cuts at the first empty line. */
static struct vv_str cut_fields(struct vv_str *rest)
{
    for (size_t i = 0; i + 1 < rest->n; i++) {
        if (rest->p[i] == '\n' && rest->p[i + 1] == '\n') {
            const struct vv_str first = {rest->p, i + 1};
            *rest = (struct vv_str){rest->p + i + 2, rest->n - i - 2};
            return first;
        }
    }
    const struct vv_str first = *rest;
    *rest = (struct vv_str){NULL, 0};
    return first;
}

/* Each name once, in rising order: the same names give the same key however Vary lists them. */
static void check_lines(struct vv_str key)
{
    struct vv_str last = {NULL, 0};
    while (key.n > 0) {
        const struct vv_str line = vv_str_cut(&key, '\n');
        size_t n = 0;
        while (n < line.n && line.p[n] != ':' && line.p[n] != ' ') {
            n++;
        }
        const struct vv_str name = {line.p, n};
        VV_ASSERT(n < line.n && vv_h1_is_token(name));
        if (last.n > 0) {
            const int d = memcmp(last.p, name.p, vv_min_u64(last.n, name.n));
            VV_ASSERT(d < 0 || (d == 0 && last.n < name.n));
        }
        last = name;
    }
}

static void check(const struct vv_h1_head *one, const struct vv_h1_head *two,
                  const struct vv_h1_head *answer, const struct vv_vary_rules *rules)
{
    static char first[KEY_BYTES], second[KEY_BYTES];
    size_t n = 0, k = 0;
    const enum vv_err err = vv_vary_second(one, answer, rules, first, sizeof first, &n);
    VV_ASSERT(vv_vary_second(two, answer, rules, second, sizeof second, &k) == err);
    if (err != VV_OK) {
        VV_ASSERT(err == VV_EINVAL);
        return;
    }
    const struct vv_str key = {first, n};
    check_lines(key);
    VV_ASSERT(vv_vary_matches(one, key, rules));
    const bool same = n == k && memcmp(first, second, n) == 0;
    VV_ASSERT(vv_vary_matches(two, key, rules) == same);
    size_t unused = 0;
    VV_ASSERT(n == 0 || vv_vary_second(one, answer, rules, second, n - 1, &unused) == VV_ERANGE);
    VV_ASSERT(vv_vary_second(one, answer, rules, second, n, &unused) == VV_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct message one, two, answer;
    static const struct vv_vary_rules all = {.known_codings = false},
                                      known = {.known_codings = true}, none = {.no_codings = true};
    struct vv_str rest = {(const char *)data, size};
    if (size > INPUT_MAX) {
        return 0;
    }
    const struct vv_str vary = vv_str_cut(&rest, '\n');
    const struct vv_str fields = cut_fields(&rest);
    char line[INPUT_MAX + 8] = "Vary: ";
    memcpy(line + 6, vary.n > 0 ? vary.p : "", vary.n);
    const struct vv_str text =
        text_of(&answer, VV_STR("HTTP/1.1 200 X\r\n"), (struct vv_str){line, vary.n + 6});
    if (!request_of(&one, fields) || !request_of(&two, rest) ||
        vv_h1_parse_answer(&answer.head, text, VV_METHOD_GET, &limits) != VV_OK) {
        return 0;
    }
    check(&one.head, &two.head, &answer.head, &all);
    check(&one.head, &two.head, &answer.head, &known);
    check(&one.head, &two.head, &answer.head, &none);
    /* A key from a file that somebody changed selects or does not, and no more. */
    (void)vv_vary_matches(&one.head, (struct vv_str){(const char *)data, size}, &all);
    return 0;
}
