/* tests/fuzz/fuzz_store_info.c - what a Redis says about itself: INFO, and values of parameters against those that
 * were wanted. Three texts end with a zero byte (name, wanted, is), the rest is INFO. */
#include "gateway/store_expect.h"
#include "gateway/stores_int.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct vv_str next(struct vv_str *rest)
{
    return vv_str_cut(rest, '\0');
}

static bool ends(const char *text, size_t bytes)
{
    return memchr(text, '\0', bytes) != NULL;
}

static void check_info(struct vv_str text)
{
    struct store_info i;
    store_info_read(text, &i);
    VV_ASSERT(i.dbs <= STORE_DBS_MAX);
    VV_ASSERT(ends(i.version, sizeof i.version) && ends(i.role, sizeof i.role) &&
              ends(i.policy, sizeof i.policy));
}

/* Texts that are equal hold, unless they are none of what the parameter takes. */
static void check_values(struct vv_str name, struct vv_str wanted, struct vv_str is)
{
    struct vv_sb sb = VV_SB_INIT;
    const bool list =
        vv_str_eq(name, VV_STR("save")) || vv_str_eq(name, VV_STR("notify-keyspace-events"));
    VV_ASSERT(list || vv_expect_holds(name, is, is));
    (void)vv_expect_holds(name, wanted, is);
    (void)vv_expect_settable(name);
    vv_expect_show(name, is, &sb);
    vv_sb_reset(&sb);
    vv_expect_write(name, wanted, &sb);
    for (size_t i = 0; i < sb.n; i++) { /* one line of a shell */
        VV_ASSERT((unsigned char)sb.p[i] >= ' ');
    }
    vv_sb_fini(&sb);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vv_str rest = {(const char *)data, size};
    const struct vv_str name = next(&rest), wanted = next(&rest), is = next(&rest);
    check_values(name, wanted, is);
    check_info(rest);
    return 0;
}
