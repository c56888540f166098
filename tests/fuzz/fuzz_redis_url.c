/* tests/fuzz/fuzz_redis_url.c - an address of a store: what is read and shown reads alike again. */
#include "store/redis_url.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct vv_redis_url u, again;
    char why[256] = "", shown[8192];
    if (vv_redis_url_read((struct vv_str){(const char *)data, size}, &u, why) != VV_OK) {
        if (why[0] == '\0') {
            abort();
        }
        return 0;
    }
    if (u.hosts == 0 || u.hosts > VV_REDIS_URL_HOSTS) {
        abort();
    }
    const size_t n = vv_redis_url_show(&u, shown, sizeof(shown));
    if (vv_redis_url_read((struct vv_str){shown, n}, &again, why) != VV_OK ||
        again.hosts != u.hosts || again.kind != u.kind || again.db != u.db) {
        fprintf(stderr, "%.*s: %s\n", (int)n, shown, why);
        abort();
    }
    for (size_t i = 0; i < u.hosts; i++) {
        if (strcmp(u.host[i].name, again.host[i].name) != 0 ||
            u.host[i].port != again.host[i].port) {
            abort();
        }
    }
    return 0;
}
