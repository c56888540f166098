/* src/gateway/address_set.h - a set of blocks of addresses, asked in logarithmic time.
 *
 * Model:     blocks become ranges, sorted, overlapping ones joined. The family stands in front of the
 *            address, so one order holds both and ::/0 says nothing about IPv4. An IPv4 address that is
 *            written as an IPv6 one is an IPv4 address. 100,000 blocks cost 17 comparisons.
 * Threads:   immutable once it is built.
 * Ownership: the caller's storage: vv_address_set_bytes() for `count` blocks.
 */
#ifndef VV_GATEWAY_ADDRESS_SET_H
#define VV_GATEWAY_ADDRESS_SET_H
#include "os/sock.h"

#define VV_ADDRESS_KEY 17 /* 4 or 6, then 16 bytes: of IPv4 the last four count */
struct vv_address_range {
    uint8_t first[VV_ADDRESS_KEY], last[VV_ADDRESS_KEY]; /* both are in it */
};

struct vv_address_set {
    size_t count;
    struct vv_address_range range[];
};

static inline size_t vv_address_set_bytes(size_t count)
{
    return sizeof(struct vv_address_set) + count * sizeof(struct vv_address_range);
}
/* Blocks of AF_UNIX are left out. */
void vv_address_set_build(struct vv_address_set *s, const struct vv_cidr *blocks, size_t count);
/* False also for an address that is neither IPv4 nor IPv6. */
bool vv_address_set_has(const struct vv_address_set *s, const struct vv_addr *a);
/* False for others than IPv4 and IPv6. */
bool vv_address_key(const struct vv_addr *a, uint8_t ret[VV_ADDRESS_KEY]);
#endif
