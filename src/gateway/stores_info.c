/* src/gateway/stores_info.c - reads the text of INFO: lines "name:value", sections begin with "#". */
#include "gateway/stores_int.h"

#include <stdio.h>

#define U64(name, field)                                                                           \
    {                                                                                              \
        name, offsetof(struct store_info, field)                                                   \
    }

static const struct {
    const char *name;
    size_t offset;
} numbers[] = {
    U64("keyspace_hits", hits),
    U64("keyspace_misses", misses),
    U64("used_memory", used),
    U64("maxmemory", max),
    U64("evicted_keys", evicted),
    U64("expired_keys", expired),
    U64("connected_clients", clients),
    U64("uptime_in_seconds", uptime_s),
    U64("tracking_total_keys", tracking_keys),
    U64("rdb_last_save_time", last_save_s),
};

static void read_text(struct vv_str value, char *out, size_t bytes)
{
    size_t n = 0;
    for (; n < value.n && n + 1 < bytes; n++) {
        out[n] = value.p[n] >= ' ' && value.p[n] < 0x7f ? value.p[n] : '?';
    }
    out[n] = '\0';
}

/* "db0:keys=3,expires=1,avg_ttl=0" */
static void read_db(struct vv_str number, struct vv_str value, struct store_info *ret)
{
    uint64_t which = 0;
    if (ret->dbs == STORE_DBS_MAX || vv_str_to_u64(number, &which) != VV_OK) {
        return;
    }
    ret->db[ret->dbs].number = (uint32_t)which;
    while (value.n > 0) {
        struct vv_str part = vv_str_cut(&value, ',');
        const struct vv_str name = vv_str_cut(&part, '=');
        uint64_t n = 0;
        if (vv_str_to_u64(part, &n) != VV_OK) {
            continue;
        }
        if (vv_str_eq(name, VV_STR("keys"))) {
            ret->db[ret->dbs].keys = n;
        } else if (vv_str_eq(name, VV_STR("expires"))) {
            ret->db[ret->dbs].expires = n;
        }
    }
    ret->dbs++;
}

static void read_line(struct vv_str name, struct vv_str value, struct store_info *ret)
{
    for (size_t i = 0; i < VV_COUNT(numbers); i++) {
        uint64_t n = 0;
        if (vv_str_eq(name, vv_str_from(numbers[i].name)) && vv_str_to_u64(value, &n) == VV_OK) {
            memcpy((char *)ret + numbers[i].offset, &n, sizeof n);
            return;
        }
    }
    if (vv_str_eq(name, VV_STR("redis_version"))) {
        read_text(value, ret->version, sizeof ret->version);
    } else if (vv_str_eq(name, VV_STR("role"))) {
        read_text(value, ret->role, sizeof ret->role);
    } else if (vv_str_eq(name, VV_STR("maxmemory_policy"))) {
        read_text(value, ret->policy, sizeof ret->policy);
    } else if (vv_str_eq(name, VV_STR("loading"))) {
        ret->loading = vv_str_eq(value, VV_STR("1"));
    } else if (vv_str_starts(name, VV_STR("db"))) {
        read_db((struct vv_str){name.p + 2, name.n - 2}, value, ret);
    }
}

void store_info_read(struct vv_str text, struct store_info *ret)
{
    *ret = (struct store_info){0};
    while (text.n > 0) {
        struct vv_str line = vv_str_cut(&text, '\n');
        if (line.n > 0 && line.p[line.n - 1] == '\r') {
            line.n--;
        }
        if (line.n > 0 && line.p[0] != '#') {
            const struct vv_str name = vv_str_cut(&line, ':');
            read_line(name, line, ret);
        }
    }
}
