/* src/gateway/clients.h - what each address is doing: connections, rates, garbage; and who is let in.
 *
 * Model:     one table for all workers holds an entry of 64 bytes for an address (a block of prefix4 or
 *            prefix6 bits) on a listener: connections that are open, arrival times of new ones and of full
 *            handshakes (GCRA), malformed requests, the end of a ban. Memory is fixed. An address has eight
 *            places, chosen by a secret hash; a new one takes a free place, else the one that would be
 *            idle soonest; whoever has connections open keeps its own. Where all eight are held nobody is
 *            counted, and the connection passes as untracked.
 *            Nothing is looked up for listeners that limit nothing.
 * Source:    ITU-T I.371 (1996) annex A, virtual scheduling, for the rates.
 * Units:     *_ns monotonic nanoseconds.
 * Threads:   vv_clients_place(), vv_clients_take(), vv_client_*(): any; a lock of one of many stripes is
 *            held for some 50 instructions. Others: control.
 * Ownership: entries belong to the table, which outlives workers. Who took one leaves it exactly once.
 */
#ifndef VV_GATEWAY_CLIENTS_H
#define VV_GATEWAY_CLIENTS_H
#include "base/json.h"
#include "gateway/settings.h"
#include "os/sock.h"

struct vv_clients;
struct vv_client;

enum vv_client_verdict {
    VV_CLIENT_PASSES,
    VV_CLIENT_DENIED,      /* by allow or deny */
    VV_CLIENT_BANNED,      /* sent too much garbage */
    VV_CLIENT_CONNECTIONS, /* has as many as it may */
    VV_CLIENT_NEW,         /* comes too often */
    VV_CLIENT_HANDSHAKES,  /* asks for too many handshakes */
    VV_CLIENT_VERDICTS
};
const char *vv_client_verdict_name(enum vv_client_verdict v); /* label of the metric: "denied" */

#define VV_CLIENTS_PLACES_MAX 65535

/* Room for that many addresses (rounded up). */
VV_MUST_CHECK enum vv_err vv_clients_new(uint64_t room, uint64_t seed, struct vv_clients **ret);
void vv_clients_free(struct vv_clients *c); /* NULL is fine */
/* The number of a listener's name, the same for all workers and reloads; 0: no more names. */
uint32_t vv_clients_place(struct vv_clients *c, const char *listener);

/* Is the address in `allow` and not in `deny`? Other families than IP always are. */
bool vv_clients_allowed(const struct vv_clients_settings *conf, const struct vv_addr *peer);

struct vv_client_ask {
    const struct vv_clients_settings *conf;
    const struct vv_addr *peer;
    uint32_t place;
    bool tls; /* begins with a handshake */
};
/* May it connect? *ret_client is set when it passes and is counted, else NULL. */
VV_MUST_CHECK enum vv_client_verdict vv_clients_take(struct vv_clients *c,
                                                     const struct vv_client_ask *ask,
                                                     uint64_t now_ns,
                                                     struct vv_client **ret_client);
void vv_client_leave(struct vv_clients *c, struct vv_client *client); /* NULL is fine */
/* The handshake was charged when it began, but was a cheap one. */
void vv_client_resumed(struct vv_clients *c, struct vv_client *client,
                       const struct vv_clients_settings *conf);
/* It sent something malformed. True: it is banned by that. */
bool vv_client_malformed(struct vv_clients *c, struct vv_client *client,
                         const struct vv_clients_settings *conf, uint64_t now_ns);

/* What the gateway's watch of memory (shed_watch.c) tells the doors. Any thread. */
enum vv_memory_state {
    VV_MEMORY_FINE,
    VV_MEMORY_SHORT, /* over `overload.memory`: connections that only wait are closed */
    VV_MEMORY_OUT    /* and no request passes any more */
};
enum vv_memory_state vv_clients_memory(const struct vv_clients *c);
void vv_clients_set_memory(struct vv_clients *c, enum vv_memory_state state);

struct vv_clients_stats {
    uint64_t room, used, evicted; /* evicted: still said something */
    uint64_t untracked;
    uint64_t bans; /* ever */
    uint64_t banned;
};
/* Walks the table. */
void vv_clients_look(struct vv_clients *c, uint64_t now_ns, struct vv_clients_stats *ret);
/* Members of an open object: "clients" (the `limit` busiest, 100 at most: banned ones, then by
 * open connections, then by refusals) and "table". */
void vv_clients_json(struct vv_clients *c, uint64_t now_ns, size_t limit, struct vv_json *j);
/* Lifts a ban, of all addresses when `ip` is NULL. Says how many. */
size_t vv_clients_pardon(struct vv_clients *c, const struct vv_addr *ip, uint64_t now_ns);
#endif
