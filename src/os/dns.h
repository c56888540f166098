/* src/os/dns.h - names to addresses without blocking (c-ares on the loop), with their TTL.
 *
 * Model:     one resolver per loop; /etc/hosts is honoured; A and AAAA together, A first; at most
 *            VV_DNS_MAX addresses; TTL of hosts-file answers is 60 s, floor 1 s, ceiling 1 h.
 *            localhost and *.localhost need no hosts file: 127.0.0.1 and ::1 (RFC 6761 6.3).
 * Threads:   the loop's own thread. Ownership: the query is embedded by the caller and must stay
 *            until its callback ran or vv_dns_cancel().
 * Errors:    to the callback: VV_EDNS (no such name or no answer), VV_ETIMEOUT, VV_ENOMEM.
 */
#ifndef VV_OS_DNS_H
#define VV_OS_DNS_H
#include "os/loop.h"
#include "os/sock.h"

#define VV_DNS_MAX 32
struct vv_dns;
struct vv_dns_query;
struct vv_dns_answer {
    enum vv_err err;
    size_t count;
    struct vv_addr addr[VV_DNS_MAX]; /* port filled in from the query */
    uint64_t ttl_ns;
};
typedef void vv_dns_fn(struct vv_dns_query *q, const struct vv_dns_answer *answer);
struct vv_dns_query {
    vv_dns_fn *fn;
    uint16_t port;
    void *pending; /* PRIVATE */
};
VV_MUST_CHECK enum vv_err vv_dns_new(struct vv_loop *loop, struct vv_dns **ret);
/* Queries on their way are dropped without a callback. Not from inside a callback. */
void vv_dns_free(struct vv_dns *dns);
/* Tests and `servers:` option: "127.0.0.1:5353,...". */
VV_MUST_CHECK enum vv_err vv_dns_set_servers(struct vv_dns *dns, const char *csv);
/* The callback may run before this returns (hosts file, numeric address). */
void vv_dns_lookup(struct vv_dns *dns, struct vv_dns_query *q, const char *name,
                   uint64_t timeout_ns);
void vv_dns_cancel(struct vv_dns_query *q); /* harmless when nothing is pending */
#endif
