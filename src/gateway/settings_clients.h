/* src/gateway/settings_clients.h - what the configuration says about hostile clients: `clients` of a listener.
 *
 * Model:     plain values, one row per field (settings_clients_rows.c), every field 8 bytes. Units, ownership,
 *            threads: see settings.h.
 */
#ifndef VV_GATEWAY_SETTINGS_CLIENTS_H
#define VV_GATEWAY_SETTINGS_CLIENTS_H
#include "conf/conf.h"

struct vv_clients_settings { /* clients: {connections: 256, deny: [203.0.113.0/24]} */
    uint64_t connections;    /* at once from one address, on all workers; 0: no limit */
};
#endif
