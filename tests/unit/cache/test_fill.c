/* tests/unit/cache/test_fill.c - one leader, many followers, woken by mail. No test sleeps. */
#include "cache/fill.h"
#include "vv_test.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

static struct vv_epoch epoch;
static struct vv_epoch_reader *reader;
static struct vv_loop *loop;
static int mails;

static struct vv_cache *start(void)
{
    const struct vv_cache_conf conf = {.budget_bytes = 4 * VV_MIB, .seed = 7};
    struct vv_cache *c = NULL;
    mails = 0;
    vv_epoch_init(&epoch);
    VV_CHECK_INT(vv_epoch_join(&epoch, &reader), VV_OK);
    VV_CHECK_INT(vv_cache_new(&conf, &epoch, &c), VV_OK);
    VV_CHECK_INT(vv_loop_new(&loop), VV_OK);
    return c;
}

static void stop(struct vv_cache *c)
{
    vv_cache_check(c);
    vv_epoch_leave(&epoch, reader);
    vv_cache_free(c);
    vv_epoch_fini(&epoch);
    vv_loop_free(loop);
}

static void on_mail(struct vv_loop *l, struct vv_mail *mail)
{
    (void)l;
    (void)mail;
    mails++;
}

static const struct vv_cache_object *find(struct vv_cache *c, struct vv_str key)
{
    bool soft;
    const struct vv_cache_query q = {.key = key, .hash = vv_cache_hash(c, key)};
    return vv_cache_lookup(c, reader, &q, &soft);
}

static struct vv_cache_fill *begin(struct vv_cache *c, struct vv_str key, enum vv_cache_role want)
{
    enum vv_cache_role role;
    struct vv_cache_fill *f = NULL;
    VV_CHECK_INT(vv_cache_fill_begin(c, key, 5, &role, &f), VV_OK);
    VV_CHECK_INT(role, want);
    return f;
}

static const struct vv_cache_spec spec = {
    .meta = "m", .meta_n = 2, .head = {"head", 4}, .keep_until_ns = UINT64_MAX};

VV_TEST(followers_read_behind_the_leader_and_the_object_appears_at_the_end)
{
    struct vv_cache *c = start();
    struct vv_str s, meta;
    struct vv_cache_waiter w = {.mail.fn = on_mail, .loop = loop};
    struct vv_cache_fill *lead = begin(c, VV_STR("/k"), VV_CACHE_LEAD);
    struct vv_cache_fill *follow = begin(c, VV_STR("/k"), VV_CACHE_FOLLOW);
    VV_CHECK(lead == follow);
    VV_CHECK_INT(vv_cache_fill_get_head(follow, &meta, &s), VV_EAGAIN);
    VV_CHECK_INT(vv_cache_fill_wait(follow, &w, true, 0), VV_OK);
    VV_CHECK_INT(vv_cache_fill_head(lead, "m", 2, VV_STR("head"), 0, 5), VV_OK);
    vv_loop_turn(loop, 0);
    VV_CHECK_INT(mails, 1);
    VV_CHECK_INT(vv_cache_fill_get_head(follow, &meta, &s), VV_OK);
    VV_CHECK_SLICE(s, "head");
    VV_CHECK_INT(vv_cache_fill_read(follow, 0, &s), VV_EAGAIN);
    VV_CHECK_INT(vv_cache_fill_append(lead, VV_STR("abc"), 5), VV_OK);
    VV_CHECK_INT(vv_cache_fill_wait(follow, &w, false, 0), VV_EEXIST);
    VV_CHECK_INT(vv_cache_fill_read(follow, 1, &s), VV_OK);
    VV_CHECK_SLICE(s, "bc");
    VV_CHECK(find(c, VV_STR("/k")) == NULL);
    VV_CHECK_INT(vv_cache_fill_finish(lead, &spec, 5), VV_OK);
    VV_CHECK_INT(vv_cache_fill_read(follow, 3, &s), VV_OK);
    VV_CHECK_INT(s.n, 0);
    VV_CHECK_SLICE(vv_cache_body_at(find(c, VV_STR("/k")), 0), "abc");
    vv_cache_fill_unref(lead);
    vv_cache_fill_unref(follow);
    stop(c);
}

VV_TEST(a_large_fill_becomes_the_object_without_losing_a_byte)
{
    struct vv_cache *c = start();
    const size_t n = 200000, step = 7777;
    char *body = malloc(n);
    for (size_t i = 0; i < n; i++) {
        body[i] = (char)(i * 31 + i / 777);
    }
    struct vv_cache_fill *f = begin(c, VV_STR("/big"), VV_CACHE_LEAD);
    VV_CHECK_INT(vv_cache_fill_head(f, "m", 2, VV_STR("head"), 0, 5), VV_OK);
    for (size_t at = 0; at < n; at += step) {
        const size_t k = n - at < step ? n - at : step;
        VV_CHECK_INT(vv_cache_fill_append(f, (struct vv_str){body + at, k}, 5), VV_OK);
    }
    VV_CHECK_INT(vv_cache_fill_finish(f, &spec, 5), VV_OK);
    const struct vv_cache_object *o = find(c, VV_STR("/big"));
    VV_CHECK(o != NULL);
    size_t at = 0;
    for (struct vv_str k; (k = vv_cache_body_at(o, at)).n > 0; at += k.n) {
        VV_CHECK(memcmp(k.p, body + at, k.n) == 0);
    }
    VV_CHECK_INT(at, n);
    vv_cache_fill_unref(f);
    free(body);
    stop(c);
}

VV_TEST(a_failure_is_told_once_and_the_next_to_come_leads)
{
    struct vv_cache *c = start();
    struct vv_str s;
    struct vv_cache_waiter w = {.mail.fn = on_mail, .loop = loop};
    struct vv_cache_fill *lead = begin(c, VV_STR("/f"), VV_CACHE_LEAD);
    struct vv_cache_fill *follow = begin(c, VV_STR("/f"), VV_CACHE_FOLLOW);
    VV_CHECK_INT(vv_cache_fill_wait(follow, &w, true, 0), VV_OK);
    vv_cache_fill_fail(lead, VV_ERESET);
    vv_loop_turn(loop, 0);
    vv_loop_turn(loop, 0);
    VV_CHECK_INT(mails, 1);
    VV_CHECK_INT(vv_cache_fill_read(follow, 0, &s), VV_ERESET);
    struct vv_cache_fill *again = begin(c, VV_STR("/f"), VV_CACHE_LEAD);
    VV_CHECK(again != lead);
    vv_cache_fill_fail(again, VV_ERESET);
    vv_cache_fill_unref(again);
    vv_cache_fill_unref(lead);
    vv_cache_fill_unref(follow);
    stop(c);
}

struct watch { /* a follower on another thread */
    struct vv_cache *c;
    struct vv_cache_fill *f;
    _Atomic int ready;
    bool met_again;
};

static void *watch_main(void *arg)
{
    struct watch *w = arg;
    struct vv_str bytes;
    struct vv_str head;
    enum vv_cache_role role;
    struct vv_cache_fill *next = NULL;
    atomic_store(&w->ready, 1);
    while (vv_cache_fill_get_head(w->f, &bytes, &head) == VV_EAGAIN) {
    }
    if (vv_cache_fill_begin(w->c, VV_STR("k"), 5, &role, &next) == VV_OK && next != NULL) {
        w->met_again = next == w->f;
        if (role == VV_CACHE_LEAD) {
            vv_cache_fill_fail(next, VV_EEXIST);
        }
        vv_cache_fill_unref(next);
    }
    return NULL;
}

/* Those who hear of the end on another worker look again at once: they must not be sent back to it. */
VV_TEST(who_hears_that_a_fill_failed_does_not_find_it_again)
{
    struct vv_cache *c = start();
    for (int i = 0; i < 500; i++) {
        struct vv_cache_fill *lead = begin(c, VV_STR("k"), VV_CACHE_LEAD);
        struct watch w = {.c = c, .f = begin(c, VV_STR("k"), VV_CACHE_FOLLOW)};
        pthread_t t;
        VV_CHECK_INT(pthread_create(&t, NULL, watch_main, &w), 0);
        while (atomic_load(&w.ready) == 0) {
        }
        vv_cache_fill_fail(lead, VV_EEXIST);
        pthread_join(t, NULL);
        VV_CHECK(!w.met_again);
        vv_cache_fill_unref(w.f);
        vv_cache_fill_unref(lead);
    }
    stop(c);
}

VV_TEST(a_waiter_that_gives_up_gets_no_mail)
{
    struct vv_cache *c = start();
    struct vv_cache_waiter w = {.mail.fn = on_mail, .loop = loop};
    struct vv_cache_fill *f = begin(c, VV_STR("/w"), VV_CACHE_LEAD);
    VV_CHECK_INT(vv_cache_fill_wait(f, &w, true, 0), VV_OK);
    VV_CHECK(vv_cache_fill_stop(&w));
    VV_CHECK_INT(vv_cache_fill_wait(f, &w, true, 0), VV_OK);
    vv_cache_fill_fail(f, VV_ERESET);
    VV_CHECK(!vv_cache_fill_stop(&w)); /* on its way already */
    vv_loop_turn(loop, 0);
    VV_CHECK_INT(mails, 1);
    vv_cache_fill_unref(f);
    stop(c);
}

VV_TEST(a_marked_key_passes_until_its_time_is_over)
{
    struct vv_cache *c = start();
    enum vv_cache_role role;
    struct vv_cache_fill *f = NULL;
    vv_cache_fill_mark(c, VV_STR("/p"), 100);
    VV_CHECK_INT(vv_cache_fill_begin(c, VV_STR("/p"), 99, &role, &f), VV_OK);
    VV_CHECK_INT(role, VV_CACHE_PASS);
    VV_CHECK_INT(vv_cache_fill_begin(c, VV_STR("/p"), 100, &role, &f), VV_OK);
    VV_CHECK_INT(role, VV_CACHE_LEAD);
    vv_cache_fill_fail(f, VV_ERESET);
    vv_cache_fill_unref(f);
    stop(c);
}

VV_TEST(a_purge_during_the_fetch_keeps_the_answer_out)
{
    struct vv_cache *c = start();
    struct vv_cache_fill *f = begin(c, VV_STR("/d"), VV_CACHE_LEAD);
    VV_CHECK_INT(vv_cache_purge_key(c, VV_STR("/d"), false), 0);
    VV_CHECK_INT(vv_cache_fill_finish(f, &spec, 5), VV_ELIMIT);
    VV_CHECK(find(c, VV_STR("/d")) == NULL);
    vv_cache_fill_unref(f);
    f = begin(c, VV_STR("/e"), VV_CACHE_LEAD);
    vv_cache_purge_all(c, false);
    VV_CHECK_INT(vv_cache_fill_finish(f, &spec, 5), VV_ELIMIT);
    vv_cache_fill_unref(f);
    stop(c);
}

VV_TEST(a_purge_during_a_renewal_keeps_the_renewed_answer_out)
{
    struct vv_cache *c = start();
    struct vv_cache_spec renewed = spec;
    renewed.key = VV_STR("/r");
    renewed.hash = vv_cache_hash(c, renewed.key);
    struct vv_cache_fill *f = begin(c, renewed.key, VV_CACHE_LEAD);
    VV_CHECK_INT(vv_cache_fill_append(f, VV_STR("abc"), 5), VV_OK);
    VV_CHECK_INT(vv_cache_fill_finish(f, &spec, 5), VV_OK);
    vv_cache_fill_unref(f);
    const struct vv_cache_object *old = find(c, renewed.key);
    VV_CHECK(old != NULL);
    vv_cache_ref(old);
    f = begin(c, renewed.key, VV_CACHE_LEAD);
    renewed.born = vv_cache_born(c);
    renewed.fill = f;
    VV_CHECK_INT(vv_cache_refresh(c, old, &renewed, 5), VV_OK); /* nothing was purged */
    VV_CHECK_INT(vv_cache_purge_key(c, renewed.key, false), 1);
    VV_CHECK_INT(vv_cache_refresh(c, old, &renewed, 5), VV_ELIMIT);
    VV_CHECK(find(c, renewed.key) == NULL);
    vv_cache_fill_fail(f, VV_EEXIST);
    vv_cache_fill_unref(f);
    vv_cache_unref(old);
    stop(c);
}

VV_TEST(an_answer_too_large_is_refused_before_anybody_sees_it)
{
    struct vv_cache *c = start(); /* an object may have a quarter of 4 MiB */
    struct vv_cache_fill *f = begin(c, VV_STR("/l"), VV_CACHE_LEAD);
    VV_CHECK_INT(vv_cache_fill_head(f, "m", 2, VV_STR("h"), 2 * VV_MIB, 5), VV_ELIMIT);
    vv_cache_fill_fail(f, VV_ELIMIT);
    vv_cache_fill_unref(f);
    stop(c);
}

VV_TEST(a_fill_that_ends_is_read_to_the_end_and_not_kept)
{
    struct vv_cache *c = start();
    struct vv_str s, meta;
    struct vv_cache_waiter w = {.mail.fn = on_mail, .loop = loop};
    struct vv_cache_fill *lead = begin(c, VV_STR("/n"), VV_CACHE_LEAD);
    VV_CHECK_INT(vv_cache_fill_head(lead, "m", 2, VV_STR("head"), 0, 5), VV_OK);
    struct vv_cache_fill *late = begin(c, VV_STR("/n"), VV_CACHE_FOLLOW);
    VV_CHECK_INT(vv_cache_fill_get_head(late, &meta, &s), VV_OK); /* who comes late has it too */
    VV_CHECK_INT(vv_cache_fill_append(lead, VV_STR("abc"), 5), VV_OK);
    VV_CHECK_INT(vv_cache_fill_wait(late, &w, false, 3), VV_OK);
    vv_cache_fill_end(lead);
    vv_loop_turn(loop, 0);
    VV_CHECK_INT(mails, 1);
    VV_CHECK_INT(vv_cache_fill_read(late, 0, &s), VV_OK);
    VV_CHECK_SLICE(s, "abc");
    VV_CHECK_INT(vv_cache_fill_read(late, 3, &s), VV_OK);
    VV_CHECK_INT(s.n, 0);
    VV_CHECK(find(c, VV_STR("/n")) == NULL);
    struct vv_cache_fill *next = begin(c, VV_STR("/n"), VV_CACHE_LEAD);
    vv_cache_fill_end(next);
    vv_cache_fill_unref(next);
    vv_cache_fill_unref(lead);
    vv_cache_fill_unref(late);
    stop(c);
}

VV_TEST(an_answer_that_outgrows_an_object_reaches_its_followers)
{
    struct vv_cache *c = start(); /* 4 MiB: an object may have 1 MiB, transients together 2 MiB */
    static char piece[64 * 1024];
    struct vv_str s;
    uint64_t at = 0;
    struct vv_cache_fill *lead = begin(c, VV_STR("/t"), VV_CACHE_LEAD);
    struct vv_cache_fill *follow = begin(c, VV_STR("/t"), VV_CACHE_FOLLOW);
    struct vv_cache_fill *other = begin(c, VV_STR("/u"), VV_CACHE_LEAD);
    VV_CHECK_INT(vv_cache_fill_head(lead, "m", 2, VV_STR("head"), 0, 5), VV_OK);
    for (int i = 0; i < 24; i++) { /* 1.5 MiB */
        VV_CHECK_INT(vv_cache_fill_append(lead, (struct vv_str){piece, sizeof(piece)}, 5), VV_OK);
    }
    for (int i = 0; i < 16; i++) { /* as large as an object may be: no transient yet */
        VV_CHECK_INT(vv_cache_fill_append(other, (struct vv_str){piece, sizeof(piece)}, 5), VV_OK);
    }
    VV_CHECK_INT(vv_cache_fill_append(other, VV_STR("x"), 5), VV_ELIMIT); /* 1.5 + 1 MiB > 2 */
    vv_cache_fill_fail(other, VV_ELIMIT);
    vv_cache_fill_unref(other);
    VV_CHECK_INT(vv_cache_fill_finish(lead, &spec, 5), VV_ELIMIT);
    while (vv_cache_fill_read(follow, at, &s) == VV_OK && s.n > 0) {
        at += s.n;
    }
    VV_CHECK_INT(at, 24 * sizeof(piece));
    VV_CHECK(find(c, VV_STR("/t")) == NULL);
    vv_cache_fill_unref(lead);
    vv_cache_fill_unref(follow);
    /* The room of the transients is free again: 2 MiB go through, and no byte more. */
    lead = begin(c, VV_STR("/t"), VV_CACHE_LEAD);
    for (int i = 0; i < 32; i++) {
        VV_CHECK_INT(vv_cache_fill_append(lead, (struct vv_str){piece, sizeof(piece)}, 5), VV_OK);
    }
    VV_CHECK_INT(vv_cache_fill_append(lead, VV_STR("x"), 5), VV_ELIMIT);
    vv_cache_fill_fail(lead, VV_ELIMIT);
    vv_cache_fill_unref(lead);
    stop(c);
}

VV_TEST(followers_hear_why_as_it_was_said)
{
    static const enum vv_err whys[] = {VV_EEXIST, VV_ENOENT};
    struct vv_cache *c = start();
    struct vv_str s, meta;
    for (size_t i = 0; i < VV_COUNT(whys); i++) {
        struct vv_cache_fill *lead = begin(c, VV_STR("/y"), VV_CACHE_LEAD);
        struct vv_cache_fill *follow = begin(c, VV_STR("/y"), VV_CACHE_FOLLOW);
        vv_cache_fill_fail(lead, whys[i]);
        VV_CHECK_INT(vv_cache_fill_get_head(follow, &meta, &s), whys[i]);
        VV_CHECK_INT(vv_cache_fill_read(follow, 0, &s), whys[i]);
        vv_cache_fill_unref(lead);
        vv_cache_fill_unref(follow);
    }
    stop(c);
}
