/* src/store/redis_url.h - addresses of stores as text:
 *   redis://[user:password@]host[:port][,host[:port]...][/db]      one server; several: a ring
 *   rediss://...                                                  the same over TLS
 *   redis+cluster://[user:password@]host[:port][,...]              some servers of a cluster (rediss+cluster)
 *   redis+sentinel://[user:password@]host[:port][,...]/name[/db]   sentinels, and the master's name there
 *   redis+unix:///path/to/socket[?db=n]
 * Model:     user and password may be percent-encoded; [::1] in brackets; ports 6379, of sentinels 26379.
 *            Names and passwords are as long as vv_redis_url has room for.
 * Threads:   pure. Errors: VV_ESYNTAX with a sentence that says what would be right.
 */
#ifndef VV_STORE_REDIS_URL_H
#define VV_STORE_REDIS_URL_H
#include "base/err.h"
#include "base/str.h"

#define VV_REDIS_URL_HOSTS 16

enum vv_redis_kind { VV_REDIS_SINGLE, VV_REDIS_RING, VV_REDIS_SENTINEL, VV_REDIS_CLUSTER };

struct vv_redis_url {
    enum vv_redis_kind kind;
    bool tls, is_unix;
    struct {
        char name[256]; /* or the path of a socket */
        uint16_t port;
    } host[VV_REDIS_URL_HOSTS];
    size_t hosts;
    char user[128], password[512], master[128];
    uint32_t db;
};

VV_MUST_CHECK enum vv_err vv_redis_url_read(struct vv_str text, struct vv_redis_url *ret,
                                            char reterr_text[256]);
/* Without user and password; returns how many bytes, `cap` at most. */
size_t vv_redis_url_show(const struct vv_redis_url *u, char *out, size_t cap);
#endif
