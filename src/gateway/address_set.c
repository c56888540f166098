/* src/gateway/address_set.c - ranges instead of a tree of prefixes: one block of memory that can be copied as it
 * is, and blocks either nest or do not touch, so joining them is one pass. */
#include "gateway/address_set.h"

#include <stdlib.h>
#include <string.h>

#define MAPPED_BITS 96 /* in front of an IPv4 address */

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

static void four_key(const void *four, uint8_t ret[VV_ADDRESS_KEY])
{
    ret[0] = 4;
    memcpy(ret + 1, mapped, sizeof mapped);
    memcpy(ret + 1 + sizeof mapped, four, 4);
}

bool vv_address_key(const struct vv_addr *a, uint8_t ret[VV_ADDRESS_KEY])
{
    if (a->sa.sa_family == AF_INET) {
        four_key(&a->in4.sin_addr, ret);
        return true;
    }
    if (a->sa.sa_family == AF_INET6) {
        ret[0] = IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr) ? 4 : 6;
        memcpy(ret + 1, &a->in6.sin6_addr, 16);
        return true;
    }
    return false;
}

static void range_of(const struct vv_cidr *c, struct vv_address_range *ret)
{
    unsigned bits = c->bits;
    if (c->family == AF_INET) {
        four_key(c->bytes, ret->first);
        bits += MAPPED_BITS;
    } else {
        ret->first[0] = 6;
        memcpy(ret->first + 1, c->bytes, 16);
    }
    memcpy(ret->last, ret->first, sizeof ret->last);
    for (unsigned i = 0; i < 16; i++) {
        const unsigned fixed = bits > i * 8 ? bits - i * 8 : 0;
        const uint8_t open = fixed >= 8 ? 0 : (uint8_t)(0xff >> fixed);
        ret->first[i + 1] &= (uint8_t)~open;
        ret->last[i + 1] |= open;
    }
}

static int by_first(const void *a, const void *b)
{
    const struct vv_address_range *x = a, *y = b;
    return memcmp(x->first, y->first, VV_ADDRESS_KEY);
}

void vv_address_set_build(struct vv_address_set *s, const struct vv_cidr *blocks, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (blocks[i].family == AF_INET || blocks[i].family == AF_INET6) {
            range_of(&blocks[i], &s->range[n++]);
        }
    }
    qsort(s->range, n, sizeof s->range[0], by_first);
    s->count = 0;
    for (size_t i = 0; i < n; i++) {
        struct vv_address_range *last = s->count > 0 ? &s->range[s->count - 1] : NULL;
        if (last == NULL || memcmp(s->range[i].first, last->last, VV_ADDRESS_KEY) > 0) {
            s->range[s->count++] = s->range[i];
        } else if (memcmp(s->range[i].last, last->last, VV_ADDRESS_KEY) > 0) {
            memcpy(last->last, s->range[i].last, VV_ADDRESS_KEY);
        }
    }
}

bool vv_address_set_has(const struct vv_address_set *s, const struct vv_addr *a)
{
    uint8_t key[VV_ADDRESS_KEY];
    size_t low = 0, high = s->count;
    if (!vv_address_key(a, key)) {
        return false;
    }
    while (low < high) { /* the first range that ends at or after the address */
        const size_t middle = low + (high - low) / 2;
        if (memcmp(s->range[middle].last, key, VV_ADDRESS_KEY) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < s->count && memcmp(s->range[low].first, key, VV_ADDRESS_KEY) <= 0;
}
