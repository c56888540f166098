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

struct vv_cert_settings { /* certs: [{cert: rsa.pem, key: rsa.key, ocsp: rsa.der}] */
    const char *cert;     /* PEM, with its chain */
    const char *key;      /* PEM; NULL: in the same file */
    const char *ocsp;     /* DER; NULL: nothing is stapled */
};
struct
    vv_mutual_settings { /* mutual: clients-ca.pem, mutual: {ca: clients-ca.pem, required: false} */
    uint64_t enabled;    /* bool: given */
    const char *ca;      /* PEM: who may sign clients */
    uint64_t required;   /* bool, default true; false: also without a certificate */
};
struct vv_tickets_settings { /* tickets: false, tickets: {life: 8h} */
    uint64_t enabled;        /* bool, default true */
    uint64_t life_ns;        /* of a ticket, and of the key that seals it; default 1 h */
};
struct vv_tls_settings {           /* tls: auto, tls: {cert: a.pem, key: a.key} */
    uint64_t enabled;              /* bool: given */
    uint64_t mode;                 /* enum vv_tls_mode, as written */
    const char *cert, *key, *ocsp; /* short for one entry of certs */
    struct vv_conf_list *certs;    /* struct vv_cert_settings; see `all` */
    struct vv_conf_list *names;    /* const char *, lower case */
    uint64_t version_min;          /* enum vv_tls_version of os/tls_context.h */
    uint64_t strict_names;         /* bool */
    struct vv_mutual_settings mutual;
    struct vv_tickets_settings tickets;
    uint64_t ktls;               /* bool, default true: when the kernel has it */
    uint64_t hello_bytes;        /* of a client hello, default 16 KiB */
    const char *dir;             /* of the authority of our own; NULL: derived */
    struct vv_conf_list *all;    /* derived: struct vv_cert_settings: cert, then certs */
    uint64_t local;              /* derived, bool: LOCAL, or AUTO in the profile development */
    struct vv_conf_list *wanted; /* derived, LOCAL and AUTO: names, const char *, lower case: names,
                                     * else those of the listener, else hosts of its routes */
};

struct vv_acme_eab_settings { /* eab: {key: kid-1, mac: zWNDZM6eQGHWpSRTPal5eIUYFTu7EajV} */
    uint64_t enabled;
    const char *key, *mac; /* an account elsewhere: its id, its secret in base64url */
};
struct vv_acme_settings { /* acme: admin@example.org; see settings_acme.h */
    uint64_t enabled;
    struct vv_conf_list *directory; /* const char *, URLs or words; NULL: Let's Encrypt */
    const char *email;
    const char *store;  /* a directory; NULL: derived */
    const char *ca;     /* PEM; NULL: the system's */
    uint64_t challenge; /* enum vv_acme_challenge of acme/acme.h */
    uint64_t agree;     /* bool, default true */
    uint64_t retry_ns;
    struct vv_acme_eab_settings eab;
};

struct vv_service_tls_settings { /* how servers with https:// URLs are spoken to */
    uint64_t enabled;            /* bool: any of it given */
    const char *ca;              /* PEM; NULL: the system's */
    uint64_t verify;             /* bool, default true */
    const char *name;            /* asked for and verified; NULL: the host of the URL */
    const char *cert, *key;      /* PEM, shown when asked for; key NULL: in the file of cert */
    uint64_t version_min;        /* enum vv_tls_version of os/tls_context.h */
};
#endif
