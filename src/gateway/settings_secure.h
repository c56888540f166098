/* src/gateway/settings_secure.h - what the configuration says about browsers: `secure` and `cors` of routes.
 *
 * Model:     plain values, one row per field (settings_secure_rows.c), every field 8 bytes. Units, ownership,
 *            threads: see settings.h.
 */
#ifndef VV_GATEWAY_SETTINGS_SECURE_H
#define VV_GATEWAY_SETTINGS_SECURE_H
#include "conf/conf.h"

enum vv_secure_preset { VV_SECURE_NONE, VV_SECURE_STRICT };

struct vv_secure_settings { /* secure: strict, secure: {preset: strict, frame: SAMEORIGIN} */
    uint64_t enabled;       /* bool: given */
    uint64_t preset;        /* enum vv_secure_preset */
};

struct vv_cors_settings {         /* cors: "https://app.example.org" */
    uint64_t enabled;             /* bool: given */
    struct vv_conf_list *origins; /* const char *; "*" */
};
#endif
