/* src/wire/redis_slots.h - Redis Cluster: which server holds a key.
 *
 * Model:     a key has one of 16,384 slots, a slot has one master, a master has replicas. The table
 *            is filled from the answer to CLUSTER SHARDS or CLUSTER SLOTS, fed item by item as it
 *            comes, and corrected slot by slot by what MOVED says.
 * Source:    Redis Cluster specification, "Key distribution model" and "Hash tags"; CRC16 is
 *            CRC-16/XMODEM (polynomial 0x1021).
 * Threads:   one owner.
 * Ownership: the caller's storage (about 100 KiB: not for the stack); nothing here allocates.
 * Errors:    a table whose filling failed is of no use: fill a second one and exchange them.
 */
#ifndef VV_WIRE_REDIS_SLOTS_H
#define VV_WIRE_REDIS_SLOTS_H
#include "wire/resp.h"

#define VV_REDIS_SLOTS 16384
#define VV_REDIS_NODES_MAX 256
#define VV_REDIS_HOST_MAX 255
#define VV_REDIS_NOBODY UINT16_MAX

/* The slot of a key; of what stands between its first { and the next }, if anything does. */
uint16_t vv_redis_slot(struct vv_str key);

struct vv_redis_node {
    char host[VV_REDIS_HOST_MAX + 1]; /* empty: the server that gave the answer */
    uint16_t port;
    uint16_t master; /* its place in nodes; its own place: this is a master */
};

struct vv_redis_slots {
    struct vv_redis_node nodes[VV_REDIS_NODES_MAX];
    uint16_t master_of[VV_REDIS_SLOTS]; /* VV_REDIS_NOBODY: the slot is not served */
    uint16_t nodes_count;
};

enum vv_redis_slots_form { VV_REDIS_FORM_SLOTS, VV_REDIS_FORM_SHARDS };

struct vv_redis_slots_fill { /* PRIVATE fields */
    struct vv_redis_slots *table;
    enum vv_redis_slots_form form;
    bool tls;
    uint64_t at[5]; /* how many items came at this depth of the aggregate that is open */
    uint64_t shards, begin, end;
    uint16_t shard_node; /* the first node of this shard */
    uint16_t master;
    char text[VV_REDIS_HOST_MAX + 1], key[16], host[VV_REDIS_HOST_MAX + 1];
    size_t text_n;
    uint64_t port, tls_port;
    bool in_slots, in_nodes, in_node, replica, failed;
};

/* Empties the table. `tls`: the ports wanted are those for TLS (CLUSTER SLOTS gives those of the
 * connection it is asked on). */
void vv_redis_slots_begin(struct vv_redis_slots_fill *f, struct vv_redis_slots *table,
                          enum vv_redis_slots_form form, bool tls);
/* One item of the answer. VV_EAGAIN: the next one. VV_OK: that was the last, the table is whole.
 * VV_EUNSUPPORTED: the server answered with an error; VV_ESYNTAX: with something else; VV_ELIMIT:
 * more nodes or longer names than there is place for. */
VV_MUST_CHECK enum vv_err vv_redis_slots_item(struct vv_redis_slots_fill *f,
                                              const struct vv_resp_item *it);

/* MOVED: from now on this slot is there. VV_ELIMIT: no place for one more node. */
VV_MUST_CHECK enum vv_err vv_redis_slots_move(struct vv_redis_slots *t, uint16_t slot,
                                              struct vv_str host, uint16_t port);
/* Whom to ask: the master, or with `replicas` one of the replicas by turns (`turn` is any number
 * that changes), the master only where there is none. NULL: nobody serves the slot. */
const struct vv_redis_node *vv_redis_slots_node(const struct vv_redis_slots *t, uint16_t slot,
                                                bool replicas, uint64_t turn);
/* How many slots are served. */
uint32_t vv_redis_slots_covered(const struct vv_redis_slots *t);
#endif
