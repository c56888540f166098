/* tests/unit/gateway/test_keys.c - the file of keys and the file of users: read, looked up, changed. */
#include "gateway/keys.h"
#include "gateway/users.h"
#include "vv_test.h"

#include <stdlib.h>

#define HASH_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HASH_B "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define MADE "2026-11-21T14:00:00Z"
#define MADE_S INT64_C(1795269600) /* date -u -d 2026-11-21T14:00:00Z +%s */

static struct vv_keys *parse(const char *text)
{
    struct vv_keys *k = NULL;
    struct vv_keys_error e;
    VV_CHECK_INT(vv_keys_parse(vv_str_from(text), &k, &e), VV_OK);
    return k;
}

VV_TEST(a_key_is_found_by_its_whole_hash)
{
    /* A and B begin alike and so share their slot: only the whole hash tells them apart. */
    struct vv_keys *k = parse("# mine\n\n" HASH_A " premium ann " MADE "\r\n" HASH_B
                              "\t-  bob " MADE " expires=2026-11-21T15:00:00Z");
    uint8_t hash[VV_KEY_HASH];
    memset(hash, 0xaa, sizeof hash);
    VV_CHECK_INT(k->count, 2);
    const struct vv_key *a = vv_keys_find(k, hash);
    VV_CHECK_STR(a->name, "ann");
    VV_CHECK_STR(a->plan, "premium");
    VV_CHECK_INT(a->created_s, MADE_S);
    VV_CHECK_INT(a->line, 3);
    memset(hash + 8, 0xbb, sizeof hash - 8);
    const struct vv_key *b = vv_keys_find(k, hash);
    VV_CHECK_STR(b->name, "bob");
    VV_CHECK(b->plan == NULL);
    hash[31] ^= 1;
    VV_CHECK(vv_keys_find(k, hash) == NULL);
    VV_CHECK(vv_keys_named(k, VV_STR("bob")) == b);
    VV_CHECK(vv_keys_named(k, VV_STR("eve")) == NULL);
    vv_keys_free(k);
}

VV_TEST(a_key_is_good_until_it_expires_or_is_revoked)
{
    struct vv_keys *k = parse(HASH_A " - ann " MADE " expires=2026-11-21T15:00:00Z\n" HASH_B
                                     " - bob " MADE " revoked=2026-11-21T14:00:01Z\n");
    VV_CHECK(vv_key_good(&k->key[0], MADE_S + 3599));
    VV_CHECK(!vv_key_good(&k->key[0], MADE_S + 3600));
    VV_CHECK(!vv_key_good(&k->key[1], MADE_S));
    vv_keys_free(k);
}

VV_TEST(a_wrong_line_is_named_with_its_column)
{
    static const struct {
        const char *text;
        uint32_t line, column;
    } bad[] = {
        {"\nabc p n " MADE, 2, 1},
        {HASH_A "a p n " MADE, 1, 1},
        {HASH_A " p", 1, 67},                        /* 64 digits, a space, p: then nothing */
        {HASH_A " p! n " MADE, 1, 66},               /* the plan */
        {HASH_A " p n yesterday", 1, 70},            /* the time */
        {HASH_A " p n 2026-02-29T00:00:00Z", 1, 70}, /* 2026 has no such day */
        {HASH_A " p n " MADE " until=" MADE, 1, 91}, /* 69 + 20 + a space, then */
        {HASH_A " p n " MADE " expires=" MADE " expires=" MADE, 1, 120}, /* + 28 + a space */
        {HASH_A " p n " MADE "\n" HASH_A " p m " MADE, 2, 1},            /* the same key */
        {HASH_A " p n " MADE "\n" HASH_B " p n " MADE, 2, 68},           /* the same name */
    };
    for (size_t i = 0; i < VV_COUNT(bad); i++) {
        struct vv_keys *k = NULL;
        struct vv_keys_error e;
        VV_CHECK_INT(vv_keys_parse(vv_str_from(bad[i].text), &k, &e), VV_ESYNTAX);
        VV_CHECK_INT(e.line, bad[i].line);
        VV_CHECK_INT(e.column, bad[i].column);
    }
}

VV_TEST(adding_and_revoking_leave_the_rest_of_the_file_alone)
{
    struct vv_key_new n = {.name = VV_STR("ann"), .plan = VV_STR("gold"), .created_s = MADE_S};
    struct vv_sb one = VV_SB_INIT, two = VV_SB_INIT;
    char why[256] = "";
    memset(n.hash, 0xaa, sizeof n.hash);
    VV_CHECK_INT(vv_keys_add(VV_STR("# ours"), &n, &one, why), VV_OK);
    VV_CHECK_STR(one.p, "# ours\n" HASH_A " gold ann " MADE "\n");
    VV_CHECK_INT(vv_keys_add(vv_sb_str(&one), &n, &two, why), VV_EEXIST);
    VV_CHECK_INT(two.n, 0);
    VV_CHECK_INT(vv_keys_revoke(vv_sb_str(&one), VV_STR("ann"), MADE_S + 1, &two, why), VV_OK);
    VV_CHECK_STR(two.p, "# ours\n" HASH_A " gold ann " MADE " revoked=2026-11-21T14:00:01Z\n");
    vv_sb_reset(&one);
    VV_CHECK_INT(vv_keys_revoke(vv_sb_str(&two), VV_STR("ann"), MADE_S, &one, why), VV_EEXIST);
    VV_CHECK_INT(vv_keys_revoke(vv_sb_str(&two), VV_STR("bob"), MADE_S, &one, why), VV_ENOENT);
    vv_sb_fini(&one);
    vv_sb_fini(&two);
}

VV_TEST(times_are_the_same_both_ways)
{
    static const struct {
        int64_t s;
        const char *text;
    } times[] = {
        {0, "1970-01-01T00:00:00Z"},
        {951782400, "2000-02-29T00:00:00Z"},  /* date -u -d @951782400 */
        {4107542400, "2100-03-01T00:00:00Z"}, /* no leap day before it */
        {MADE_S, MADE},
        {1798761599, "2026-12-31T23:59:59Z"},
        {INT64_C(253402300799), "9999-12-31T23:59:59Z"},
    };
    for (size_t i = 0; i < VV_COUNT(times); i++) {
        char text[VV_UTC_BYTES];
        int64_t s = -1;
        VV_CHECK_STR(vv_utc_format(times[i].s, text), times[i].text);
        VV_CHECK(vv_utc_parse(vv_str_from(times[i].text), &s));
        VV_CHECK_INT(s, times[i].s);
    }
}

VV_TEST(a_key_is_hashed_by_sha_256)
{
    /* FIPS 180-4, example of one block: "abc" */
    static const uint8_t begins[] = {0xba, 0x78, 0x16, 0xbf};
    uint8_t hash[VV_KEY_HASH], random[32] = {0};
    char key[VV_KEY_TEXT];
    VV_CHECK_INT(vv_key_hash(VV_STR("abc"), hash), VV_OK);
    assert_memory_equal(hash, begins, sizeof begins);
    vv_key_make(random, key);
    VV_CHECK_INT(strlen(key), 46); /* vk_ and 43 letters for 32 bytes */
    VV_CHECK(vv_key_is_key(vv_str_from(key)));
    VV_CHECK(!vv_key_is_key(VV_STR("fifteen-letters")));
    VV_CHECK(!vv_key_is_key(VV_STR("with a space in the middle")));
}

VV_TEST(a_password_fits_its_own_line_only)
{
    static const uint8_t salt[VV_USER_SALT] = {1, 2, 3};
    struct vv_sb line = VV_SB_INIT;
    struct vv_users *u = NULL;
    struct vv_keys_error e;
    VV_CHECK_INT(vv_user_line(VV_STR("ann"), VV_STR("gold"), VV_STR("sesame"), salt, &line), VV_OK);
    VV_CHECK_INT(vv_users_parse(vv_sb_str(&line), &u, &e), VV_OK);
    const struct vv_user *ann = vv_users_find(u, VV_STR("ann"));
    VV_CHECK_STR(ann->plan, "gold");
    VV_CHECK(vv_user_verify(&ann->secret, VV_STR("sesame")));
    VV_CHECK(!vv_user_verify(&ann->secret, VV_STR("Sesame")));
    VV_CHECK(!vv_user_verify(&vv_user_nobody, VV_STR("sesame")));
    VV_CHECK(vv_users_find(u, VV_STR("bob")) == NULL);
    vv_users_free(u);
    vv_sb_fini(&line);
}

VV_TEST(a_wrong_line_of_users_is_named_with_its_column)
{
#define SALT "AAAAAAAAAAAAAAAAAAAAAA=="
#define SECRET "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
    static const struct {
        const char *text;
        uint32_t line, column;
    } bad[] = {
        {"ann", 1, 1},
        {"# x\nann:sesame", 2, 5},
        {"ann:scrypt$18$8$1$" SALT "$" SECRET, 1, 5}, /* 17 at most */
        {"ann:scrypt$14$8$1$" SALT "$" SALT, 1, 5},
        {"ann:scrypt$14$8$1$" SALT "$" SECRET ":a:b", 1, 89}, /* 18 + 24 + 1 + 44 + 1, then */
    };
    for (size_t i = 0; i < VV_COUNT(bad); i++) {
        struct vv_users *u = NULL;
        struct vv_keys_error e;
        VV_CHECK_INT(vv_users_parse(vv_str_from(bad[i].text), &u, &e), VV_ESYNTAX);
        VV_CHECK_INT(e.line, bad[i].line);
        VV_CHECK_INT(e.column, bad[i].column);
    }
}
