/* src/gateway/settings_clients_rows.c - the rows of `clients` of a listener. */
#include "gateway/settings_int.h"

#define ROWS(r) .rows = (r), .row_count = VV_COUNT(r)

#define FIELD(f) VV_CONF_FIELD(struct vv_clients_settings, f)
static const struct vv_conf_row clients_rows[] = {
    {FIELD(connections), .key = "connections", .type = VV_CONF_COUNT, .def = "0", .reload = true,
     .doc = "Connections one address may have at once; 0 means no limit.", .example = "256"},
};
#undef FIELD
_Static_assert(VV_COUNT(clients_rows) * 8 == sizeof(struct vv_clients_settings),
               "every field has a row");
const struct vv_conf_section vv_settings_clients_section = {
    .name = "clients",
    .size = sizeof(struct vv_clients_settings),
    ROWS(clients_rows),
    .doc = "What one client, or a hostile one, may do."};
