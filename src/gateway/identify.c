/* src/gateway/identify.c - one walk over the fields finds all that identifies a request. */
#include "gateway/identify.h"

#define REQUEST_ID_MAX 128

void vv_identify_session(struct vv_session *s)
{
    s->trusted = s->listener->trust_count > 0 && vv_listener_trusts(s->listener, &s->peer);
    if (s->peer.sa.sa_family == AF_UNIX) {
        memcpy(s->client_ip, "unix", 4);
        s->client_ip_bytes = 4;
        return;
    }
    s->client_ip_bytes = (uint8_t)vv_addr_format_ip(&s->peer, s->client_ip, sizeof s->client_ip);
}

void vv_identify_proxy_header(struct vv_session *s, const struct vv_proxy_header *h)
{
    struct vv_addr a = {.len = sizeof a.in4};
    switch (h->family) {
    case VV_PROXY_TCP4:
        a.in4.sin_family = AF_INET;
        a.in4.sin_port = htons(h->src_port);
        memcpy(&a.in4.sin_addr, h->src, 4);
        break;
    case VV_PROXY_TCP6:
        a.len = sizeof a.in6;
        a.in6.sin6_family = AF_INET6;
        a.in6.sin6_port = htons(h->src_port);
        memcpy(&a.in6.sin6_addr, h->src, 16);
        break;
    case VV_PROXY_UNKNOWN:
    case VV_PROXY_LOCAL:
    case VV_PROXY_UNIX:
        return; /* the connection's own address stands */
    }
    s->peer = a;
    vv_identify_session(s);
}

static bool plain_id(struct vv_str id)
{
    if (id.n == 0 || id.n > REQUEST_ID_MAX) {
        return false;
    }
    for (size_t i = 0; i < id.n; i++) {
        const char c = id.p[i];
        const bool fine = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                          (c >= 'A' && c <= 'Z') || c == '-' || c == '_' || c == '.' || c == ':' ||
                          c == '/';
        if (!fine) {
            return false;
        }
    }
    return true;
}

/* Eight digits at once: each half byte in a byte of its own, then '0' or 'a' - 10 is added. */
static void put_hex(char *to, uint32_t v)
{
    uint64_t d = v;
    d = (d << 16 | d) & UINT64_C(0x0000ffff0000ffff);
    d = (d << 8 | d) & UINT64_C(0x00ff00ff00ff00ff);
    d = (d << 4 | d) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    const uint64_t letters =
        ((d + UINT64_C(0x0606060606060606)) >> 4) & UINT64_C(0x0101010101010101);
    d += UINT64_C(0x3030303030303030) + letters * ('a' - '0' - 10);
    memcpy(to, &d, sizeof d);
}

static void make_id(struct vv_exchange *x)
{
    for (size_t i = 0; i < 4; i += 2) {
        const uint64_t r = vv_rng_u64(&x->w->rng);
        put_hex(x->request_id + i * 8, (uint32_t)r);
        put_hex(x->request_id + i * 8 + 8, (uint32_t)(r >> 32));
    }
    x->id = (struct vv_str){x->request_id, 32};
}

/* The right-most part of a comma list; *rest becomes what is left of it. */
static struct vv_str last_item(struct vv_str *rest)
{
    size_t i = rest->n;
    while (i > 0 && rest->p[i - 1] != ',') {
        i--;
    }
    const struct vv_str item = vv_str_trim((struct vv_str){rest->p + i, rest->n - i});
    rest->n = i > 0 ? i - 1 : 0;
    return item;
}

/* "192.0.2.1", "192.0.2.1:80", "[2001:db8::1]:80", with or without quotes -> the bare address. */
static struct vv_str bare_address(struct vv_str s)
{
    if (s.n >= 2 && s.p[0] == '"' && s.p[s.n - 1] == '"') {
        s.p++;
        s.n -= 2;
    }
    if (s.n > 0 && s.p[0] == '[') {
        const ptrdiff_t end = vv_str_find_char(s, ']');
        return end > 0 ? (struct vv_str){s.p + 1, (size_t)end - 1} : s;
    }
    const ptrdiff_t colon = vv_str_find_char(s, ':');
    if (colon >= 0 &&
        vv_str_find_char((struct vv_str){s.p + colon + 1, s.n - (size_t)colon - 1}, ':') < 0) {
        s.n = (size_t)colon; /* one colon: a port; more: an IPv6 address */
    }
    return s;
}

static void client_from_list(struct vv_exchange *x, struct vv_str list)
{
    for (int hops = 0; hops < 32 && list.n > 0; hops++) {
        const struct vv_str ip = bare_address(last_item(&list));
        struct vv_addr a;
        if (!vv_addr_from_ip(ip, 0, &a)) {
            return; /* "unknown", "_hidden" or garbage: what came before it proves nothing */
        }
        x->client_ip = ip;
        if (!vv_listener_trusts(x->session->listener, &a)) {
            return;
        }
    }
}

/* The for= parameter of each element of a Forwarded field, as a plain comma list. */
static struct vv_str forwarded_list(struct vv_exchange *x, struct vv_str forwarded)
{
    char *out = vv_arena_alloc(&x->arena, forwarded.n + 1);
    size_t n = 0;
    if (out == NULL) {
        return (struct vv_str){NULL, 0};
    }
    while (forwarded.n > 0) {
        struct vv_str element = vv_str_cut(&forwarded, ',');
        while (element.n > 0) {
            const struct vv_str pair = vv_str_trim(vv_str_cut(&element, ';'));
            if (pair.n > 4 && vv_str_eq_nocase((struct vv_str){pair.p, 4}, VV_STR("for="))) {
                if (n > 0) {
                    out[n++] = ',';
                }
                memcpy(out + n, pair.p + 4, pair.n - 4);
                n += pair.n - 4;
            }
        }
    }
    return (struct vv_str){out, n};
}

/* Several lines make one list (RFC 9110 5.3). */
static void join(struct vv_exchange *x, struct vv_str *list, struct vv_str more)
{
    *list = list->n == 0 ? more
                         : vv_arena_fmt(&x->arena, VV_STR_FMT ", " VV_STR_FMT, VV_STR_ARG(*list),
                                        VV_STR_ARG(more));
}

static void believe(struct vv_exchange *x)
{
    for (uint32_t i = 0; i < x->req.fields_count; i++) {
        const struct vv_h1_field *f = &x->req.fields[i];
        switch (f->id) {
        case VV_FIELD_X_FORWARDED_FOR:
            join(x, &x->forwarded_for, f->value);
            break;
        case VV_FIELD_FORWARDED:
            join(x, &x->forwarded, f->value);
            break;
        case VV_FIELD_X_FORWARDED_PROTO:
            x->https = vv_str_eq_nocase(f->value, VV_STR("https"));
            break;
        case VV_FIELD_X_REQUEST_ID:
            if (plain_id(f->value)) {
                x->id = f->value;
            }
            break;
        default:
            break;
        }
    }
    if (x->forwarded_for.n > 0) {
        client_from_list(x, x->forwarded_for);
    } else if (x->forwarded.n > 0) {
        client_from_list(x, forwarded_list(x, x->forwarded));
    }
}

void vv_identify_request(struct vv_exchange *x)
{
    const struct vv_session *s = x->session;
    x->client_ip = (struct vv_str){s->client_ip, s->client_ip_bytes};
    x->https = s->secure;
    if (s->trusted) {
        believe(x);
    }
    if (x->id.n == 0) {
        make_id(x);
    }
}
