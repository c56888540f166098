/* tests/fuzz/fuzz_keys.c - whatever a file of keys holds: each key that is read is found, and adding one
 * makes a file that is read again with one more. The same bytes as a file of users. */
#include "gateway/keys.h"
#include "gateway/users.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void add_one(struct vv_str text, size_t count)
{
    struct vv_key_new n = {.name = VV_STR("fuzz-added"), .plan = VV_STR("p"), .created_s = 1};
    struct vv_sb out = VV_SB_INIT;
    struct vv_keys_error e;
    struct vv_keys *again = NULL;
    char why[256];
    memset(n.hash, 0x5c, sizeof n.hash);
    if (vv_keys_add(text, &n, &out, why) == VV_OK) {
        VV_ASSERT(vv_keys_parse(vv_sb_str(&out), &again, &e) == VV_OK);
        VV_ASSERT(again->count == count + 1);
        vv_keys_free(again);
        vv_sb_reset(&out);
    }
    vv_sb_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct vv_str text = {(const char *)data, size};
    struct vv_keys *k = NULL;
    struct vv_users *u = NULL;
    struct vv_keys_error e;
    if (vv_keys_parse(text, &k, &e) == VV_OK) {
        for (size_t i = 0; i < k->count; i++) {
            VV_ASSERT(vv_keys_find(k, k->key[i].hash) == &k->key[i]);
            VV_ASSERT(vv_keys_named(k, vv_str_from(k->key[i].name)) == &k->key[i]);
        }
        add_one(text, k->count);
        vv_keys_free(k);
    } else {
        VV_ASSERT(e.line > 0 && e.column > 0 && e.text != NULL);
    }
    if (vv_users_parse(text, &u, &e) == VV_OK) {
        for (size_t i = 0; i < u->count; i++) {
            VV_ASSERT(vv_users_find(u, vv_str_from(u->user[i].name)) == &u->user[i]);
        }
        vv_users_free(u);
    }
    return 0;
}
