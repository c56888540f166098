/* src/gateway/kv_head.c - digits, lines, value. */
#include "gateway/kv_head.h"

#define MAGIC "VKV1"

bool vv_kv_head_takes(struct vv_str text)
{
    for (size_t i = 0; i < text.n; i++) {
        if ((unsigned char)text.p[i] < 0x20) {
            return false;
        }
    }
    return true;
}

size_t vv_kv_head_bytes(const struct vv_small_item *it)
{
    size_t bytes = VV_KV_HEAD_FIXED + it->type.n + 1;
    for (size_t i = 0; i < it->tags; i++) {
        bytes += it->tag[i].n + 1;
    }
    return bytes;
}

static char *put_hex(char *to, uint64_t v, unsigned digits)
{
    for (unsigned i = digits; i-- > 0; v >>= 4) {
        to[i] = "0123456789abcdef"[v & 15];
    }
    return to + digits;
}

static char *put_line(char *to, struct vv_str s)
{
    if (s.n > 0) {
        memcpy(to, s.p, s.n);
    }
    to[s.n] = '\n';
    return to + s.n + 1;
}

void vv_kv_head_write(char *to, const struct vv_small_item *it, uint64_t until_ms)
{
    memcpy(to, MAGIC, 4);
    to = put_hex(to + 4, vv_kv_head_bytes(it), 8);
    to = put_hex(to, it->etag, 16);
    to = put_hex(to, it->stored_ms, 16);
    to = put_hex(to, until_ms, 16);
    to = put_line(to, it->type);
    for (size_t i = 0; i < it->tags; i++) {
        to = put_line(to, it->tag[i]);
    }
}

static bool take_hex(struct vv_str *s, size_t digits, uint64_t *ret)
{
    uint64_t v = 0;
    for (size_t i = 0; i < digits; i++) {
        const char c = s->p[i];
        if (c >= '0' && c <= '9') {
            v = v << 4 | (uint64_t)(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            v = v << 4 | (uint64_t)(c - 'a' + 10);
        } else {
            return false;
        }
    }
    *s = (struct vv_str){s->p + digits, s->n - digits};
    *ret = v;
    return true;
}

static bool take_line(struct vv_str *s, struct vv_str *ret)
{
    const ptrdiff_t end = vv_str_find_char(*s, '\n');
    if (end < 0) {
        return false;
    }
    *ret = (struct vv_str){s->p, (size_t)end};
    *s = (struct vv_str){s->p + end + 1, s->n - (size_t)end - 1};
    return true;
}

enum vv_err vv_kv_head_read(struct vv_str bytes, struct vv_kv_head *ret)
{
    uint64_t head = 0;
    if (bytes.n <= VV_KV_HEAD_FIXED || memcmp(bytes.p, MAGIC, 4) != 0) {
        return VV_ESYNTAX;
    }
    struct vv_str s = {bytes.p + 4, bytes.n - 4};
    if (!take_hex(&s, 8, &head) || !take_hex(&s, 16, &ret->etag) ||
        !take_hex(&s, 16, &ret->stored_ms) || !take_hex(&s, 16, &ret->until_ms) ||
        head <= VV_KV_HEAD_FIXED || head > bytes.n) {
        return VV_ESYNTAX;
    }
    s.n = (size_t)head - VV_KV_HEAD_FIXED;
    if (!take_line(&s, &ret->type)) {
        return VV_ESYNTAX;
    }
    ret->tags = 0;
    while (s.n > 0) {
        if (ret->tags == VV_SMALL_TAGS_MAX || !take_line(&s, &ret->tag[ret->tags++])) {
            return VV_ESYNTAX;
        }
    }
    ret->value = (struct vv_str){bytes.p + head, bytes.n - (size_t)head};
    return vv_small_etag(ret->value, ret->type) == ret->etag ? VV_OK : VV_ESYNTAX;
}
