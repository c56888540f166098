/* src/gateway/settings_clients.h - what the configuration says about hostile clients: `clients` of a listener.
 *
 * Model:     plain values, one row per field (settings_clients_rows.c), every field 8 bytes. Units, ownership,
 *            threads: see settings.h.
 */
#ifndef VV_GATEWAY_SETTINGS_CLIENTS_H
#define VV_GATEWAY_SETTINGS_CLIENTS_H
#include "conf/conf.h"

struct vv_address_set;

struct vv_clients_settings {   /* clients: {connections: 256, deny: [203.0.113.0/24]} */
    uint64_t connections;      /* at once from one address, on all workers; 0: no limit */
    const char *fresh;         /* `new`: "100/s", new connections of one address; NULL: no limit */
    const char *handshakes;    /* "20/s": full handshakes of one address; NULL: no limit */
    uint64_t burst;            /* how many of both may come at once; ABSENT: a second's worth */
    uint64_t prefix4, prefix6; /* bits that make "one address" */
    struct vv_conf_list *allow, *deny; /* CIDR text, "@file" */
    const char *malformed;             /* "20/m": more of it bans; NULL: never */
    uint64_t ban_ns;
    uint64_t min_rate_bytes; /* per second; 0: not measured */
    uint64_t grace_ns;
    /* derived: intervals of the rates (0: no limit), how many may come at once */
    uint64_t fresh_interval_ns, fresh_burst;
    uint64_t handshakes_interval_ns, handshakes_burst;
    uint64_t malformed_interval_ns, malformed_burst;
    struct vv_address_set *allow_set, *deny_set; /* NULL: not given */
};

/* Is anything of one address kept count of? */
static inline bool vv_clients_count(const struct vv_clients_settings *c)
{
    return c->connections != 0 || c->fresh_interval_ns != 0 || c->handshakes_interval_ns != 0 ||
           c->malformed_interval_ns != 0;
}
#endif
