/* tests/unit/cache/test_small.c - the small map: its bounds, what goes when it is full, lifetimes. */
#include "cache/small.h"
#include "vv_test.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static struct vv_small *made(uint64_t entries, uint64_t bytes)
{
    const struct vv_small_conf conf = {.entries = entries, .bytes = bytes};
    struct vv_small *m = NULL;
    VV_CHECK_INT(vv_small_new(&conf, &m), VV_OK);
    return m;
}

static enum vv_err put(struct vv_small *m, const char *key, const char *value, uint64_t ttl_ns,
                       uint64_t now_ns)
{
    const struct vv_small_spec spec = {
        .key = vv_str_from(key), .value = vv_str_from(value), .ttl_ns = ttl_ns};
    return vv_small_put(m, &spec, NULL, now_ns, NULL);
}

static bool has(struct vv_small *m, const char *key, uint64_t now_ns)
{
    struct vv_small_item *it = vv_small_get(m, vv_str_from(key), now_ns);
    vv_small_item_unref(it);
    return it != NULL;
}

static uint64_t entries(struct vv_small *m)
{
    struct vv_small_stats s;
    vv_small_stats(m, &s);
    return s.entries;
}

static void fill(struct vv_small *m, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "k%u", i);
        VV_CHECK_INT(put(m, key, "v", 0, i), VV_OK);
    }
}

VV_TEST(an_item_comes_back_with_all_it_had)
{
    struct vv_small *m = made(0, 0);
    const struct vv_str tags[] = {VV_STR("red"), VV_STR("blue")};
    const struct vv_small_spec spec = {.key = VV_STR("a\0b"),
                                       .value = VV_STR("val\0ue"),
                                       .type = VV_STR("text/plain"),
                                       .tag = tags,
                                       .tags = 2,
                                       .ttl_ns = 5,
                                       .stored_ms = 77};
    VV_CHECK_INT(vv_small_put(m, &spec, NULL, 10, NULL), VV_OK);
    struct vv_small_item *it = vv_small_get(m, VV_STR("a\0b"), 14);
    VV_CHECK(it != NULL);
    VV_CHECK(vv_str_eq(it->value, VV_STR("val\0ue")));
    VV_CHECK_SLICE(it->type, "text/plain");
    VV_CHECK_INT(it->tags, 2);
    VV_CHECK(vv_small_item_tagged(it, VV_STR("blue")) && !vv_small_item_tagged(it, VV_STR("b")));
    VV_CHECK_INT(it->until_ns, 15);
    VV_CHECK_INT(it->stored_ms, 77);
    VV_CHECK_INT(it->etag, vv_small_etag(VV_STR("val\0ue"), VV_STR("text/plain")));
    VV_CHECK(it->etag != vv_small_etag(VV_STR("val\0ue"), VV_STR("text/html")));
    vv_small_check(m);
    vv_small_free(m); /* the item outlives it */
    VV_CHECK(vv_str_eq(it->value, VV_STR("val\0ue")));
    vv_small_item_unref(it);
}

VV_TEST(the_1001st_key_makes_the_200_oldest_go)
{
    struct vv_small *m = made(0, 0); /* the default: 1,000 entries, 20 % */
    fill(m, 0, 1000);
    VV_CHECK_INT(entries(m), 1000);
    fill(m, 1000, 1001);
    VV_CHECK_INT(entries(m), 801); /* 1,000 - 200 + 1 */
    VV_CHECK(!has(m, "k0", 2000) && !has(m, "k199", 2000));
    VV_CHECK(has(m, "k200", 2000) && has(m, "k1000", 2000));
    fill(m, 1001, 1200); /* up to 1,000 again: nothing goes */
    VV_CHECK_INT(entries(m), 1000);
    VV_CHECK(has(m, "k200", 2000));
    vv_small_check(m);
    vv_small_free(m);
}

VV_TEST(a_put_makes_a_key_young_and_a_get_does_not)
{
    struct vv_small *m = made(10, 0);
    fill(m, 0, 10);
    VV_CHECK_INT(put(m, "k0", "again", 0, 50), VV_OK); /* replaced: no entry more */
    VV_CHECK_INT(entries(m), 10);
    VV_CHECK(has(m, "k1", 51));
    fill(m, 60, 61); /* two of ten go: k1 and k2 */
    VV_CHECK(has(m, "k0", 70) && !has(m, "k1", 70) && !has(m, "k2", 70) && has(m, "k3", 70));
    vv_small_check(m);
    vv_small_free(m);
}

VV_TEST(what_is_over_goes_before_what_is_old)
{
    struct vv_small *m = made(10, 0);
    fill(m, 0, 8);
    VV_CHECK_INT(put(m, "x", "v", 5, 10), VV_OK);
    VV_CHECK_INT(put(m, "y", "v", 5, 10), VV_OK);
    fill(m, 20, 21); /* at 20 ns x and y are over: the share of two */
    VV_CHECK_INT(entries(m), 9);
    VV_CHECK(has(m, "k0", 20));
    vv_small_check(m);
    vv_small_free(m);
}

VV_TEST(bytes_are_bounded_too)
{
    struct vv_small *m = made(0, 4096);
    char value[1025];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    VV_CHECK_INT(put(m, "a", value, 0, 1), VV_OK);
    VV_CHECK_INT(put(m, "b", value, 0, 2), VV_OK);
    VV_CHECK_INT(put(m, "c", value, 0, 3), VV_OK);
    /* Each takes 1,025 bytes and more than 50 for the entry: the fourth does not fit into 4,096. */
    VV_CHECK_INT(put(m, "d", value, 0, 4), VV_OK);
    VV_CHECK(!has(m, "a", 5) && has(m, "b", 5) && has(m, "d", 5));
    vv_small_check(m);
    vv_small_free(m);
}

VV_TEST(a_value_that_is_too_large_is_refused_and_changes_nothing)
{
    const struct vv_small_conf conf = {.value_bytes = 4};
    struct vv_small *m = NULL;
    VV_CHECK_INT(vv_small_new(&conf, &m), VV_OK);
    VV_CHECK_INT(put(m, "a", "1234", 0, 1), VV_OK);
    VV_CHECK_INT(put(m, "a", "12345", 0, 1), VV_ELIMIT);
    struct vv_small_item *it = vv_small_get(m, VV_STR("a"), 1);
    VV_CHECK_SLICE(it->value, "1234");
    vv_small_item_unref(it);
    vv_small_free(m);
}

VV_TEST(each_entry_has_its_own_time_and_none_is_for_ever)
{
    struct vv_small *m = made(0, 0);
    VV_CHECK_INT(put(m, "short", "v", 10, 100), VV_OK);
    VV_CHECK_INT(put(m, "long", "v", 1000, 100), VV_OK);
    VV_CHECK_INT(put(m, "ever", "v", 0, 100), VV_OK);
    VV_CHECK(has(m, "short", 109) && !has(m, "short", 110));
    VV_CHECK(has(m, "long", 1099) && !has(m, "long", 1100));
    VV_CHECK(has(m, "ever", UINT64_MAX));
    VV_CHECK_INT(entries(m), 1);
    vv_small_free(m);
}

VV_TEST(patterns_and_tags_remove_what_they_name)
{
    struct vv_small *m = made(0, 0);
    const struct vv_str tag = VV_STR("t");
    const struct vv_small_spec tagged = {
        .key = VV_STR("user:1"), .value = VV_STR("v"), .tag = &tag, .tags = 1};
    VV_CHECK_INT(vv_small_put(m, &tagged, NULL, 1, NULL), VV_OK);
    VV_CHECK_INT(put(m, "user:2", "v", 0, 1), VV_OK);
    VV_CHECK_INT(put(m, "user:3:x", "v", 5, 1), VV_OK);
    VV_CHECK_INT(put(m, "item:1", "v", 0, 1), VV_OK);
    VV_CHECK_INT(vv_small_remove_tag(m, VV_STR("u"), 2), 0);
    VV_CHECK_INT(vv_small_remove_tag(m, VV_STR("t"), 2), 1);
    VV_CHECK(!has(m, "user:1", 2));
    VV_CHECK_INT(vv_small_remove_glob(m, VV_STR("user:?"), 2), 1);
    VV_CHECK(has(m, "user:3:x", 2));
    VV_CHECK_INT(vv_small_remove_glob(m, VV_STR("*"), 7), 1); /* what is over does not count */
    VV_CHECK_INT(entries(m), 0);
    vv_small_check(m);
    vv_small_free(m);
}

VV_TEST(conditions_decide_about_puts_and_removals)
{
    struct vv_small *m = made(0, 0);
    const struct vv_small_spec spec = {.key = VV_STR("k"), .value = VV_STR("1")};
    const struct vv_small_if absent = {.when = VV_SMALL_ABSENT};
    const struct vv_small_if present = {.when = VV_SMALL_PRESENT};
    const uint64_t tag = vv_small_etag(VV_STR("1"), VV_STR(""));
    const uint64_t wrong = tag + 1;
    const struct vv_small_if match = {VV_SMALL_MATCH, &tag, 1};
    const struct vv_small_if mismatch = {VV_SMALL_MATCH, &wrong, 1};
    const struct vv_small_if other = {VV_SMALL_OTHER, &tag, 1};
    bool was = true;
    VV_CHECK_INT(vv_small_put(m, &spec, &present, 1, &was), VV_ENOENT);
    VV_CHECK_INT(vv_small_put(m, &spec, &match, 1, &was), VV_ENOENT);
    VV_CHECK_INT(vv_small_put(m, &spec, &absent, 1, &was), VV_OK);
    VV_CHECK(!was);
    VV_CHECK_INT(vv_small_put(m, &spec, &absent, 1, &was), VV_EEXIST);
    VV_CHECK_INT(vv_small_put(m, &spec, &other, 1, &was), VV_EEXIST);
    VV_CHECK_INT(vv_small_put(m, &spec, &mismatch, 1, &was), VV_ENOENT);
    VV_CHECK_INT(vv_small_put(m, &spec, &match, 1, &was), VV_OK);
    VV_CHECK(was);
    VV_CHECK_INT(vv_small_remove(m, VV_STR("k"), &mismatch, 1, &was), VV_ENOENT);
    VV_CHECK(has(m, "k", 1));
    VV_CHECK_INT(vv_small_remove(m, VV_STR("k"), &match, 1, &was), VV_OK);
    VV_CHECK(was);
    VV_CHECK_INT(vv_small_remove(m, VV_STR("k"), NULL, 1, &was), VV_OK);
    VV_CHECK(!was);
    vv_small_free(m);
}

VV_TEST(a_key_put_later_is_not_forgotten)
{
    struct vv_small *m = made(0, 0);
    VV_CHECK_INT(put(m, "k", "v", 0, 10), VV_OK);
    vv_small_forget(m, VV_STR("k"), 10);
    VV_CHECK(has(m, "k", 11));
    vv_small_forget(m, VV_STR("k"), 11);
    VV_CHECK(!has(m, "k", 11));
    vv_small_free(m);
}

static void *hammer(void *arg)
{
    struct vv_small *m = arg;
    for (unsigned i = 0; i < 3000; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "k%u", i % 97);
        if (i % 3 == 0) {
            VV_CHECK_INT(put(m, key, "value", i % 5, i), VV_OK);
        } else if (i % 50 == 1) {
            (void)vv_small_remove_glob(m, VV_STR("k1*"), i);
        } else {
            (void)has(m, key, i);
        }
    }
    return NULL;
}

VV_TEST(threads_may_use_one_map)
{
    struct vv_small *m = made(64, 0);
    pthread_t t[3];
    for (size_t i = 0; i < VV_COUNT(t); i++) {
        VV_CHECK_INT(pthread_create(&t[i], NULL, hammer, m), 0);
    }
    for (size_t i = 0; i < VV_COUNT(t); i++) {
        pthread_join(t[i], NULL);
    }
    vv_small_check(m);
    vv_small_free(m);
}
