/* src/gateway/settings_tls.h - what the configuration says about TLS: `tls` of a listener, `acme`, `tls` of a
 * service.
 *
 * Model:     plain values, one row per field (settings_tls_rows.c, settings_upstream_rows.c), every field 8
 *            bytes. Units, ownership, threads: see settings.h.
 */
#ifndef VV_GATEWAY_SETTINGS_TLS_H
#define VV_GATEWAY_SETTINGS_TLS_H
#include "conf/conf.h"

enum vv_tls_mode {
    VV_TLS_MODE_FILES, /* certificates are given */
    VV_TLS_MODE_AUTO,  /* ACME; in the profile `development` as LOCAL */
    VV_TLS_MODE_LOCAL, /* a certificate of an authority of our own */
};

struct vv_tls_settings {    /* tls: auto, tls: {cert: a.pem, key: a.key} */
    uint64_t enabled;       /* bool: given */
    uint64_t mode;          /* enum vv_tls_mode */
    const char *cert, *key; /* PEM; short for one entry of certs */
};

struct vv_acme_settings {
    uint64_t enabled;
    const char *directory; /* URL of the authority's directory */
};

struct vv_service_tls_settings { /* how servers with https:// URLs are spoken to */
    uint64_t enabled;            /* bool: any of it given */
    const char *ca;              /* PEM; NULL: the system's */
};
#endif
