/* tests/unit/gateway/test_kv_notes.c - what a store has yet to hear: keys, purges, and too much of both. */
#include "gateway/kv_notes.h"
#include "vv_test.h"
#include <stdio.h>
#include <stdlib.h>

static struct vv_kv_notes *made(void)
{
    struct vv_kv_notes *n = NULL;
    VV_CHECK_INT(vv_kv_notes_new(&n), VV_OK);
    VV_CHECK(vv_kv_notes_empty(n));
    return n;
}

static size_t oldest(struct vv_kv_notes *n, struct vv_kv_noted *one)
{
    return vv_kv_notes_oldest(n, one, 1);
}

static void release(struct vv_kv_noted *one)
{
    free((char *)one->key.p);
}

VV_TEST(a_key_stays_noted_until_it_is_told)
{
    struct vv_kv_notes *n = made();
    struct vv_kv_noted one;
    VV_CHECK(!vv_kv_noted(n, VV_STR("a")));
    vv_kv_note(n, VV_STR("a"));
    vv_kv_note(n, VV_STR("b"));
    VV_CHECK(vv_kv_noted(n, VV_STR("a")) && !vv_kv_noted(n, VV_STR("c")));
    VV_CHECK_INT(oldest(n, &one), 1);
    VV_CHECK_SLICE(one.key, "a");
    vv_kv_note_done(n, one.key, one.serial);
    release(&one);
    VV_CHECK(!vv_kv_noted(n, VV_STR("a")) && vv_kv_noted(n, VV_STR("b")));
    vv_kv_notes_free(n);
}

VV_TEST(a_key_written_again_meanwhile_is_told_again)
{
    struct vv_kv_notes *n = made();
    struct vv_kv_noted one;
    vv_kv_note(n, VV_STR("a"));
    VV_CHECK_INT(oldest(n, &one), 1);
    vv_kv_note(n, VV_STR("a"));
    vv_kv_note_done(n, one.key, one.serial);
    VV_CHECK(vv_kv_noted(n, VV_STR("a")));
    release(&one);
    VV_CHECK_INT(oldest(n, &one), 1);
    vv_kv_note_done(n, one.key, one.serial);
    VV_CHECK(vv_kv_notes_empty(n));
    release(&one);
    vv_kv_notes_free(n);
}

VV_TEST(a_key_that_cannot_be_told_lets_others_pass)
{
    struct vv_kv_notes *n = made();
    struct vv_kv_noted one;
    vv_kv_note(n, VV_STR("a"));
    vv_kv_note(n, VV_STR("b"));
    vv_kv_note_later(n, VV_STR("a"));
    VV_CHECK_INT(oldest(n, &one), 1);
    VV_CHECK_SLICE(one.key, "b");
    release(&one);
    vv_kv_notes_free(n);
}

VV_TEST(purges_come_before_keys_and_in_order)
{
    struct vv_kv_notes *n = made();
    struct vv_kv_noted one;
    struct vv_kv_purge_note p;
    const struct vv_str tag = VV_STR("t");
    vv_kv_note(n, VV_STR("x:1"));
    VV_CHECK(vv_kv_note_purge(n, false, VV_STR("x:*"), false) != 0);
    VV_CHECK(vv_kv_note_purge(n, true, tag, false) != 0);
    VV_CHECK(vv_kv_noted(n, VV_STR("x:2")) && !vv_kv_noted(n, VV_STR("y")));
    VV_CHECK(vv_kv_noted_tag(n, &tag, 1));
    VV_CHECK_INT(oldest(n, &one), 0);
    vv_kv_notes_take_purge(n, &p);
    VV_CHECK(!p.is_tag);
    VV_CHECK_SLICE(p.what, "x:*");
    free((char *)p.what.p);
    const uint64_t first = p.id;
    vv_kv_purge_done(n, first, false); /* it waits again, in its place */
    vv_kv_notes_take_purge(n, &p);
    VV_CHECK_INT(p.id, first);
    free((char *)p.what.p);
    vv_kv_purge_done(n, first, true);
    VV_CHECK(!vv_kv_noted(n, VV_STR("x:2")) && vv_kv_noted(n, VV_STR("x:1")));
    vv_kv_notes_take_purge(n, &p);
    VV_CHECK(p.is_tag);
    free((char *)p.what.p);
    VV_CHECK_INT(oldest(n, &one), 0); /* it is being carried out */
    vv_kv_purge_done(n, p.id, true);
    VV_CHECK_INT(oldest(n, &one), 1);
    release(&one);
    vv_kv_notes_free(n);
}

VV_TEST(too_many_keys_become_one_note_about_everything)
{
    struct vv_kv_notes *n = made();
    struct vv_kv_purge_note p;
    struct vv_kv_noted one;
    uint64_t keys = 0, purges = 0;
    char key[16];
    for (unsigned i = 0; i < VV_KV_NOTES_MAX; i++) {
        const int len = snprintf(key, sizeof key, "%u", i);
        vv_kv_note(n, (struct vv_str){key, (size_t)len});
    }
    VV_CHECK_INT(vv_kv_notes_overflows(n), 0);
    vv_kv_note(n, VV_STR("one more"));
    VV_CHECK_INT(vv_kv_notes_overflows(n), 1);
    vv_kv_notes_count(n, &keys, &purges);
    VV_CHECK_INT(keys, 0);
    VV_CHECK_INT(purges, 1);
    VV_CHECK(vv_kv_noted(n, VV_STR("anything")));
    vv_kv_note(n, VV_STR("new")); /* written after it: told after it */
    VV_CHECK_INT(oldest(n, &one), 0);
    vv_kv_notes_take_purge(n, &p);
    VV_CHECK_SLICE(p.what, "*");
    VV_CHECK(!p.is_tag);
    free((char *)p.what.p);
    vv_kv_purge_done(n, p.id, true);
    VV_CHECK(!vv_kv_noted(n, VV_STR("anything")) && vv_kv_noted(n, VV_STR("new")));
    vv_kv_notes_free(n);
}

VV_TEST(purges_that_are_being_carried_out_do_not_make_everything_old)
{
    struct vv_kv_notes *n = made();
    uint64_t id[VV_KV_PURGES_MAX];
    for (unsigned i = 0; i < VV_KV_PURGES_MAX; i++) {
        id[i] = vv_kv_note_purge(n, false, VV_STR("mine:*"), true);
        VV_CHECK(id[i] != 0 && id[i] != VV_KV_PURGE_BUSY);
    }
    VV_CHECK(vv_kv_note_purge(n, false, VV_STR("more:*"), true) == VV_KV_PURGE_BUSY);
    VV_CHECK(!vv_kv_noted(n, VV_STR("other")) && !vv_kv_noted(n, VV_STR("more:1")));
    vv_kv_purge_done(n, id[0], true);
    VV_CHECK(vv_kv_note_purge(n, false, VV_STR("more:*"), true) != VV_KV_PURGE_BUSY);
    VV_CHECK(vv_kv_noted(n, VV_STR("more:1")));
    for (unsigned i = 1; i < VV_KV_PURGES_MAX; i++) {
        vv_kv_purge_done(n, id[i], false);
    }
    VV_CHECK(vv_kv_note_purge(n, false, VV_STR("late:*"), true) == VV_KV_PURGE_BUSY);
    VV_CHECK_INT(vv_kv_note_purge(n, false, VV_STR("late:*"), false), 0); /* the store is away */
    VV_CHECK(vv_kv_noted(n, VV_STR("other")));
    vv_kv_notes_free(n);
}

VV_TEST(too_many_purges_do_too_and_those_that_run_are_ended)
{
    struct vv_kv_notes *n = made();
    struct vv_kv_purge_note p;
    uint64_t keys = 0, purges = 0;
    const uint64_t runs = vv_kv_note_purge(n, true, VV_STR("mine"), true);
    for (unsigned i = 1; i < VV_KV_PURGES_MAX; i++) {
        VV_CHECK(vv_kv_note_purge(n, true, VV_STR("t"), false) != 0);
    }
    VV_CHECK_INT(vv_kv_note_purge(n, true, VV_STR("t"), false), 0);
    vv_kv_notes_count(n, &keys, &purges);
    VV_CHECK_INT(purges, 2); /* the one that runs, and everything */
    vv_kv_purge_done(n, runs, true);
    vv_kv_notes_take_purge(n, &p);
    VV_CHECK_SLICE(p.what, "*");
    free((char *)p.what.p);
    vv_kv_purge_done(n, p.id, true);
    VV_CHECK(vv_kv_notes_empty(n));
    vv_kv_notes_free(n);
}
