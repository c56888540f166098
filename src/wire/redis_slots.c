/* src/wire/redis_slots.c - the table of a Redis Cluster, filled while the answer arrives. Maps of
 * version 3 and flat arrays of version 2 look the same to it: keys at even places. */
#include "wire/redis_slots.h"

#define PENDING (UINT16_MAX - 1) /* a slot of the shard that is being read */

/* CRC-16/XMODEM, four bits at a time: entry i is the CRC of the nibble i. */
static const uint16_t crc_nibble[16] = {0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5,
                                        0x60c6, 0x70e7, 0x8108, 0x9129, 0xa14a, 0xb16b,
                                        0xc18c, 0xd1ad, 0xe1ce, 0xf1ef};

uint16_t vv_redis_slot(struct vv_str key)
{
    const char *open = key.n > 0 ? memchr(key.p, '{', key.n) : NULL;
    if (open != NULL) {
        const size_t left = key.n - (size_t)(open + 1 - key.p);
        const char *close = memchr(open + 1, '}', left);
        if (close != NULL && close > open + 1) {
            key = (struct vv_str){open + 1, (size_t)(close - open - 1)};
        }
    }
    unsigned crc = 0;
    for (size_t i = 0; i < key.n; i++) {
        const unsigned byte = (uint8_t)key.p[i];
        crc = (crc << 4 & 0xffff) ^ crc_nibble[(crc >> 12 ^ byte >> 4) & 15];
        crc = (crc << 4 & 0xffff) ^ crc_nibble[(crc >> 12 ^ byte) & 15];
    }
    return (uint16_t)(crc % VV_REDIS_SLOTS);
}

/* -------------------------------------------------------------------- nodes */

static enum vv_err find_or_add(struct vv_redis_slots *t, struct vv_str host, uint16_t port,
                               uint16_t *ret)
{
    if (host.n > VV_REDIS_HOST_MAX) {
        return VV_ELIMIT;
    }
    for (uint16_t i = 0; i < t->nodes_count; i++) {
        if (t->nodes[i].port == port && vv_str_eq(vv_str_from(t->nodes[i].host), host)) {
            *ret = i;
            return VV_OK;
        }
    }
    if (t->nodes_count == VV_REDIS_NODES_MAX) {
        return VV_ELIMIT;
    }
    struct vv_redis_node *node = &t->nodes[t->nodes_count];
    *node = (struct vv_redis_node){.port = port, .master = t->nodes_count};
    if (host.n > 0) {
        memcpy(node->host, host.p, host.n);
    }
    *ret = t->nodes_count++;
    return VV_OK;
}

enum vv_err vv_redis_slots_move(struct vv_redis_slots *t, uint16_t slot, struct vv_str host,
                                uint16_t port)
{
    uint16_t node = 0;
    VV_ASSERT(slot < VV_REDIS_SLOTS);
    const enum vv_err err = find_or_add(t, host, port, &node);
    if (err == VV_OK) {
        t->nodes[node].master = node; /* a replica that answers for a slot was promoted */
        t->master_of[slot] = node;
    }
    return err;
}

const struct vv_redis_node *vv_redis_slots_node(const struct vv_redis_slots *t, uint16_t slot,
                                                bool replicas, uint64_t turn)
{
    VV_ASSERT(slot < VV_REDIS_SLOTS);
    const uint16_t master = t->master_of[slot];
    uint64_t count = 0;
    if (master == VV_REDIS_NOBODY) {
        return NULL;
    }
    for (uint16_t i = 0; replicas && i < t->nodes_count; i++) {
        count += i != master && t->nodes[i].master == master;
    }
    for (uint16_t i = 0; count > 0 && i < t->nodes_count; i++) {
        if (i != master && t->nodes[i].master == master && turn-- % count == 0) {
            return &t->nodes[i];
        }
    }
    return &t->nodes[master];
}

uint32_t vv_redis_slots_covered(const struct vv_redis_slots *t)
{
    uint32_t n = 0;
    for (size_t i = 0; i < VV_REDIS_SLOTS; i++) {
        n += t->master_of[i] != VV_REDIS_NOBODY;
    }
    return n;
}

/* ------------------------------------------------------------------ filling */

void vv_redis_slots_begin(struct vv_redis_slots_fill *f, struct vv_redis_slots *table,
                          enum vv_redis_slots_form form, bool tls)
{
    *f = (struct vv_redis_slots_fill){
        .table = table, .form = form, .tls = tls, .master = VV_REDIS_NOBODY};
    table->nodes_count = 0;
    memset(table->master_of, 0xff, sizeof(table->master_of));
}

static void give_slots(struct vv_redis_slots_fill *f, uint16_t to)
{
    for (uint64_t i = f->begin; i <= f->end && i < VV_REDIS_SLOTS; i++) {
        f->table->master_of[i] = to;
    }
}

/* A node is complete: by its role it is the shard's master or one of the replicas. */
static enum vv_err end_node(struct vv_redis_slots_fill *f)
{
    const uint64_t port = f->tls && f->form == VV_REDIS_FORM_SHARDS ? f->tls_port : f->port;
    uint16_t node = 0;
    if (!f->in_node) {
        return VV_OK;
    }
    f->in_node = false;
    if (f->failed || port == 0) {
        return VV_OK; /* the cluster itself does not count on it */
    }
    if (port > UINT16_MAX) {
        return VV_ESYNTAX;
    }
    const bool unknown = strcmp(f->host, "?") == 0;
    const enum vv_err err =
        find_or_add(f->table, unknown ? VV_STR("") : vv_str_from(f->host), (uint16_t)port, &node);
    if (err != VV_OK) {
        return err;
    }
    if (!f->replica) {
        f->master = node;
        f->table->nodes[node].master = node;
    } else if (f->master != VV_REDIS_NOBODY) {
        f->table->nodes[node].master = f->master;
    }
    return VV_OK;
}

static enum vv_err end_shard(struct vv_redis_slots_fill *f)
{
    const enum vv_err err = end_node(f);
    if (err != VV_OK || f->shards == 0) {
        return err;
    }
    if (f->form == VV_REDIS_FORM_SLOTS) {
        give_slots(f, f->master);
        return VV_OK;
    }
    for (size_t i = 0; i < VV_REDIS_SLOTS; i++) {
        if (f->table->master_of[i] == PENDING) {
            f->table->master_of[i] = f->master;
        }
    }
    /* Replicas that came before their master. */
    for (uint16_t i = f->shard_node; i < f->table->nodes_count; i++) {
        f->table->nodes[i].master = f->master != VV_REDIS_NOBODY ? f->master : i;
    }
    return VV_OK;
}

static enum vv_err begin_shard(struct vv_redis_slots_fill *f, const struct vv_resp_item *it)
{
    const enum vv_err err = end_shard(f);
    const uint64_t shards_max =
        f->form == VV_REDIS_FORM_SHARDS ? VV_REDIS_NODES_MAX : VV_REDIS_SLOTS;
    if (err != VV_OK) {
        return err;
    }
    if (it->type != VV_RESP_ARRAY && it->type != VV_RESP_MAP) {
        return VV_ESYNTAX;
    }
    f->shard_node = f->table->nodes_count;
    f->master = VV_REDIS_NOBODY;
    f->begin = 1;
    f->end = 0; /* no slots yet */
    f->in_slots = f->in_nodes = false;
    return ++f->shards > shards_max ? VV_ELIMIT : VV_OK;
}

static enum vv_err begin_node(struct vv_redis_slots_fill *f, const struct vv_resp_item *it)
{
    const enum vv_err err = end_node(f);
    if (err != VV_OK) {
        return err;
    }
    if (it->type != VV_RESP_ARRAY && it->type != VV_RESP_MAP) {
        return VV_ESYNTAX;
    }
    f->in_node = true;
    f->replica = f->failed = false;
    f->port = f->tls_port = 0;
    f->host[0] = '\0';
    return VV_OK;
}

/* Ends of a range come one after the other. */
static enum vv_err take_slot(struct vv_redis_slots_fill *f, const struct vv_resp_item *it, bool end)
{
    if (it->type != VV_RESP_INTEGER || it->integer < 0 || it->integer >= VV_REDIS_SLOTS) {
        return VV_ESYNTAX;
    }
    if (!end) {
        f->begin = (uint64_t)it->integer;
        f->end = 0;
        return VV_OK;
    }
    f->end = (uint64_t)it->integer;
    if (f->end < f->begin) {
        return VV_ESYNTAX;
    }
    give_slots(f, PENDING);
    return VV_OK;
}

static void take_host(struct vv_redis_slots_fill *f)
{
    memcpy(f->host, f->text, f->text_n + 1);
}

static enum vv_err take_port(const struct vv_resp_item *it, uint64_t *ret)
{
    if (it->type != VV_RESP_INTEGER || it->integer < 0 || it->integer > UINT16_MAX) {
        return VV_ESYNTAX;
    }
    *ret = (uint64_t)it->integer;
    return VV_OK;
}

/* CLUSTER SLOTS: [[begin, end, [host, port, ...], [host, port, ...] ...] ...], the master first. */
static enum vv_err slots_item(struct vv_redis_slots_fill *f, const struct vv_resp_item *it,
                              uint64_t place)
{
    switch (it->depth) {
    case 1:
        return begin_shard(f, it);
    case 2:
        if (place < 2) {
            return take_slot(f, it, place == 1);
        }
        const enum vv_err err = begin_node(f, it);
        f->replica = place > 2;
        return err;
    case 3:
        if (place == 0) {
            take_host(f);
        }
        return place == 1 ? take_port(it, &f->port) : VV_OK;
    default:
        return VV_OK; /* the node's name, other names of the host: not needed */
    }
}

static bool key_is(const struct vv_redis_slots_fill *f, const char *key)
{
    return strcmp(f->key, key) == 0;
}

static enum vv_err node_field(struct vv_redis_slots_fill *f, const struct vv_resp_item *it)
{
    if (key_is(f, "port")) {
        return take_port(it, &f->port);
    }
    if (key_is(f, "tls-port")) {
        return take_port(it, &f->tls_port);
    }
    if ((key_is(f, "endpoint") && f->text_n > 0) || (key_is(f, "ip") && f->host[0] == '\0')) {
        take_host(f);
    } else if (key_is(f, "role")) {
        f->replica = strcmp(f->text, "master") != 0;
    } else if (key_is(f, "health")) {
        f->failed = strcmp(f->text, "fail") == 0;
    }
    return VV_OK;
}

/* CLUSTER SHARDS: [{"slots": [begin, end ...], "nodes": [{"port": ..., ...} ...]} ...] */
static enum vv_err shards_item(struct vv_redis_slots_fill *f, const struct vv_resp_item *it,
                               uint64_t place)
{
    const bool is_key = place % 2 == 0 && (it->depth == 2 || it->depth == 4);
    if (it->depth == 1) {
        return begin_shard(f, it);
    }
    if (is_key) {
        const size_t n = f->text_n < sizeof(f->key) ? f->text_n : 0; /* longer: none of ours */
        memcpy(f->key, f->text, n);
        f->key[n] = '\0';
    }
    if (is_key && it->depth == 2) {
        f->in_slots = key_is(f, "slots");
        f->in_nodes = key_is(f, "nodes");
        return VV_OK;
    }
    if (it->depth == 3 && f->in_slots) {
        return take_slot(f, it, place % 2 == 1);
    }
    if (it->depth == 3 && f->in_nodes) {
        return begin_node(f, it);
    }
    return it->depth == 4 && f->in_nodes && !is_key ? node_field(f, it) : VV_OK;
}

/* Collects a string that came in runs; none of the answer is longer than a host may be. */
static enum vv_err take_text(struct vv_redis_slots_fill *f, const struct vv_resp_item *it)
{
    if (it->first) {
        f->text_n = 0;
    }
    const bool is_text = it->type == VV_RESP_BULK || it->type == VV_RESP_STATUS;
    if (is_text && it->text.n > 0) {
        if (it->text.n > VV_REDIS_HOST_MAX - f->text_n) {
            return VV_ELIMIT;
        }
        memcpy(f->text + f->text_n, it->text.p, it->text.n);
        f->text_n += it->text.n;
    }
    f->text[f->text_n] = '\0';
    return VV_OK;
}

enum vv_err vv_redis_slots_item(struct vv_redis_slots_fill *f, const struct vv_resp_item *it)
{
    enum vv_err err = VV_OK;
    if (it->push || it->attribute) {
        return VV_EAGAIN;
    }
    if (it->depth == 0) {
        if (it->type == VV_RESP_ERROR || it->type == VV_RESP_BULK_ERROR) {
            return VV_EUNSUPPORTED;
        }
        f->at[1] = 0;
        if (it->type != VV_RESP_ARRAY) {
            return VV_ESYNTAX;
        }
    } else if (it->depth < VV_COUNT(f->at)) {
        err = take_text(f, it);
        if (err == VV_OK && it->last) {
            const uint64_t place = f->at[it->depth]++;
            if (it->depth + 1u < VV_COUNT(f->at)) {
                f->at[it->depth + 1] = 0;
            }
            err = f->form == VV_REDIS_FORM_SLOTS ? slots_item(f, it, place)
                                                 : shards_item(f, it, place);
        }
    }
    if (err == VV_OK && it->done) {
        return end_shard(f);
    }
    return err == VV_OK ? VV_EAGAIN : err;
}
