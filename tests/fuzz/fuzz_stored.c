/* tests/fuzz/fuzz_stored.c - what is written of an answer's head can be read again, stays the same when
 * written again, and carries nothing that belongs to one connection. Input: the head of an answer, an
 * empty line, the fields of a 304 to its renewal. */
#include "cache/directives.h"
#include "gateway/stored.h"

#define INPUT_MAX 4096
#define BLOCK_BYTES (8 * INPUT_MAX)

struct message {
    struct vv_h1_head head;
    char text[2 * INPUT_MAX + 64];
};

static const struct vv_h1_limits limits = {8192, 8192, 64};
static const struct vv_str date = {"Sun, 06 Nov 1994 08:49:37 GMT", 29};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Lines end as they do on the wire. */
static bool answer_of(struct message *m, struct vv_str status, struct vv_str fields)
{
    memcpy(m->text, status.p, status.n);
    size_t n = status.n;
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
    return vv_h1_parse_answer(&m->head, (struct vv_str){m->text, n + 2}, VV_METHOD_GET, &limits) ==
           VV_OK;
}

static struct vv_str cut_fields(struct vv_str *rest)
{
    struct vv_str first = *rest;
    for (size_t i = 0; i + 1 < rest->n; i++) {
        if (rest->p[i] == '\n' && rest->p[i + 1] == '\n') {
            first.n = i + 1;
            *rest = (struct vv_str){rest->p + i + 2, rest->n - i - 2};
            return first;
        }
    }
    *rest = (struct vv_str){NULL, 0};
    return first;
}

static struct vv_cc directives_of(const struct vv_h1_head *h)
{
    struct vv_cc cc;
    vv_cc_of_answer(h, NULL, 0, true, &cc);
    return cc;
}

/* Reads the block, checks what every block has to be, and writes it once more. */
static void check_block(struct vv_str block, const struct vv_cc *cc)
{
    static struct vv_h1_head h;
    static char again[BLOCK_BYTES];
    bool dated = false;
    VV_ASSERT(vv_stored_head_read(block, 7, &h));
    VV_ASSERT(h.status >= 100 && h.status <= 999 && h.content_length == 7);
    for (uint32_t i = 0; i < h.fields_count; i++) {
        const struct vv_h1_field *f = &h.fields[i];
        VV_ASSERT(f->id != VV_FIELD_CONTENT_LENGTH && f->id != VV_FIELD_TRANSFER_ENCODING &&
                  f->id != VV_FIELD_CONNECTION && f->id != VV_FIELD_AGE);
        VV_ASSERT(f->name.p >= block.p && f->value.p + f->value.n <= block.p + block.n);
        VV_ASSERT(vv_h1_find(&h, f->id) != NULL || f->id == VV_FIELD_OTHER);
        dated |= f->id == VV_FIELD_DATE;
    }
    VV_ASSERT(dated);
    const size_t n = vv_stored_head_write(&h, cc, date, again, sizeof again);
    VV_ASSERT(n == block.n && memcmp(again, block.p, n) == 0);
}

static void check_tags(const struct vv_h1_head *h)
{
    uint64_t tags[VV_CACHE_TAGS_MAX];
    const uint32_t n = vv_stored_tags(h, tags);
    VV_ASSERT(n <= VV_CACHE_TAGS_MAX);
    for (uint32_t i = 0; i < n; i++) {
        VV_ASSERT(tags[i] != 0);
    }
}

/* A block whose bytes come from a file may be anything. */
static void read_raw(struct vv_str raw)
{
    static struct vv_h1_head h;
    if (vv_stored_head_read(raw, 0, &h)) {
        VV_ASSERT(h.fields_count <= VV_H1_FIELDS_MAX);
        check_tags(&h);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct message first;
    static struct message second;
    static char block[BLOCK_BYTES];
    static char merged[BLOCK_BYTES];
    static struct vv_h1_head stored;
    struct vv_str rest = {(const char *)data, size};
    read_raw(rest);
    if (size > INPUT_MAX || size == 0) {
        return 0;
    }
    const struct vv_str fields = cut_fields(&rest);
    if (!answer_of(&first, VV_STR("HTTP/1.1 200 OK\r\n"), fields)) {
        return 0;
    }
    const struct vv_cc cc = directives_of(&first.head);
    const size_t n = vv_stored_head_write(&first.head, &cc, date, block, sizeof block);
    VV_ASSERT(n > 0);
    VV_ASSERT(vv_stored_head_write(&first.head, &cc, date, merged, n) == n);
    VV_ASSERT(vv_stored_head_write(&first.head, &cc, date, merged, n - 1) == 0);
    check_tags(&first.head);
    check_block((struct vv_str){block, n}, &cc);
    if (!answer_of(&second, VV_STR("HTTP/1.1 304 Not Modified\r\n"), rest) ||
        !vv_stored_head_read((struct vv_str){block, n}, 7, &stored)) {
        return 0;
    }
    const struct vv_cc more = directives_of(&second.head);
    const size_t m =
        vv_stored_head_merge(&stored, &second.head, &more, date, merged, sizeof merged);
    if (m > 0 && stored.fields_count + second.head.fields_count < VV_H1_FIELDS_MAX) {
        check_block((struct vv_str){merged, m}, &more);
    }
    return 0;
}
