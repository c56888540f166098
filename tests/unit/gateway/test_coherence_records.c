/* tests/unit/gateway/test_coherence_records.c - what a list of purges says about objects of a store. */
#include "gateway/coherence_int.h"
#include "vv_test.h"
#include <stdio.h>
#include <stdlib.h>

#define KEY "GET https site /shop/shoes/red.css"

static struct vv_records *records;

static void start(size_t max)
{
    records = vv_records_new(max, 42);
    VV_CHECK(records != NULL);
}

static void stop(void)
{
    vv_records_free(records);
    records = NULL;
}

static void add(uint64_t id, enum vv_record_what what, const char *value, bool soft)
{
    const struct vv_record rec = {
        .id = id, .what = what, .value = vv_str_from(value), .soft = soft};
    vv_records_add(records, &rec);
}

/* Of an object with KEY and the tags "shop" and "red", whose writer knew the log up to `log`. */
static enum vv_coherence_verdict judge(uint64_t log)
{
    const uint64_t tags[] = {vv_cache_tag(VV_STR("shop")), vv_cache_tag(VV_STR("red"))};
    const struct vv_packed_head h = {.log = log, .key = VV_STR(KEY), .tags = tags, .tags_n = 2};
    return vv_records_judge(records, &h);
}

static enum vv_coherence_verdict judge_key(const char *key, uint64_t log)
{
    const struct vv_packed_head h = {.log = log, .key = vv_str_from(key)};
    return vv_records_judge(records, &h);
}

enum { GOOD = VV_COHERENCE_GOOD, SOFT = VV_COHERENCE_SOFT, GONE = VV_COHERENCE_GONE };

VV_TEST(records_judge_by_url_pattern_tag_and_everything)
{
    static const struct {
        enum vv_record_what what;
        const char *value;
        bool fits;
    } rows[] = {
        {VV_RECORD_URL, KEY, true},
        {VV_RECORD_URL, "GET https site /shop/shoes/red", false},
        {VV_RECORD_URL, "", false},
        {VV_RECORD_TAG, "shop", true},
        {VV_RECORD_TAG, "red", true},
        {VV_RECORD_TAG, "blue", false},
        {VV_RECORD_TAG, KEY, false}, /* a key is no tag, and the other way round */
        {VV_RECORD_URL, "shop", false},
        {VV_RECORD_PATTERN, "GET https site /shop/*", true},
        {VV_RECORD_PATTERN, "GET https site /shop/***", true},
        {VV_RECORD_PATTERN, "GET https site /cart/*", false},
        {VV_RECORD_PATTERN, "*", true},
        {VV_RECORD_PATTERN, KEY "*", true},
        {VV_RECORD_PATTERN, KEY "?*", false},
        {VV_RECORD_PATTERN, KEY, true}, /* no star: the key itself */
        {VV_RECORD_PATTERN, "*.css", true},
        {VV_RECORD_PATTERN, "*.js", false},
        {VV_RECORD_PATTERN, "* /shop/*/re?.css", true},
        {VV_RECORD_PATTERN, "", false},
        {VV_RECORD_ALL, "", true},
        {VV_RECORD_BEGIN, "", true},
    };
    for (size_t i = 0; i < VV_COUNT(rows); i++) {
        for (int soft = 0; soft < 2; soft++) {
            const int hit = soft && rows[i].what != VV_RECORD_BEGIN ? SOFT : GONE;
            start(100);
            add(10, rows[i].what, rows[i].value, soft);
            VV_CHECK_INT(judge(9), rows[i].fits ? hit : GOOD); /* fetched before it */
            VV_CHECK_INT(judge(10), GOOD);                     /* fetched when it was known */
            VV_CHECK_INT(judge(11), GOOD);
            stop();
        }
    }
}

VV_TEST(records_soft_and_hard_of_one_key_each_count_from_their_own_place)
{
    start(100);
    add(10, VV_RECORD_URL, KEY, false);
    add(20, VV_RECORD_URL, KEY, true);
    VV_CHECK_INT(judge(9), GONE);
    VV_CHECK_INT(judge(10), SOFT);
    VV_CHECK_INT(judge(20), GOOD);
    add(30, VV_RECORD_PATTERN, "*.css", true);
    add(31, VV_RECORD_PATTERN, "*.css", false);
    add(32, VV_RECORD_PATTERN, "*.css", true);
    VV_CHECK_INT(judge(20), GONE); /* by 31, though 30 and 32 are soft */
    VV_CHECK_INT(judge(31), SOFT);
    VV_CHECK_INT(judge(32), GOOD);
    stop();
}

VV_TEST(records_a_hard_one_wins_over_a_soft_one_wherever_it_is_found)
{
    static const struct {
        enum vv_record_what what;
        const char *value;
    } kinds[] = {{VV_RECORD_URL, KEY},
                 {VV_RECORD_TAG, "red"},
                 {VV_RECORD_PATTERN, "GET *"},
                 {VV_RECORD_PATTERN, "*.css"}};
    for (size_t hard = 0; hard < VV_COUNT(kinds); hard++) {
        for (size_t soft = 0; soft < VV_COUNT(kinds); soft++) {
            start(100);
            add(5, VV_RECORD_ALL, "", true);
            add(10, kinds[soft].what, kinds[soft].value, true);
            add(11, kinds[hard].what, kinds[hard].value, false);
            VV_CHECK_INT(judge(4), GONE);
            VV_CHECK_INT(judge(9), GONE);
            stop();
        }
    }
}

VV_TEST(records_that_are_forgotten_take_with_them_what_was_older)
{
    start(3);
    add(10, VV_RECORD_URL, "a", false);
    add(20, VV_RECORD_URL, "b", false);
    add(30, VV_RECORD_URL, "c", false);
    VV_CHECK_INT(vv_records_floor(records), 0);
    VV_CHECK_INT(judge_key("x", 5), GOOD);
    add(40, VV_RECORD_URL, "d", false); /* a leaves: of x at 5 nobody knows any more */
    VV_CHECK_INT(vv_records_count(records), 3);
    VV_CHECK_INT(vv_records_floor(records), 10);
    VV_CHECK_INT(judge_key("x", 9), GONE);
    VV_CHECK_INT(judge_key("x", 10), GOOD);
    VV_CHECK_INT(judge_key("a", 10), GOOD);
    VV_CHECK_INT(judge_key("b", 10), GONE);
    VV_CHECK_INT(judge_key("d", 39), GONE);
    stop();
}

VV_TEST(records_purge_of_everything_is_the_floor)
{
    start(100);
    add(10, VV_RECORD_URL, "a", false);
    add(20, VV_RECORD_ALL, "", false);
    VV_CHECK_INT(vv_records_count(records), 0);
    VV_CHECK_INT(judge_key("x", 19), GONE);
    VV_CHECK_INT(judge_key("x", 20), GOOD);
    vv_records_clear(records, 100);
    VV_CHECK_INT(judge_key("x", 99), GONE);
    VV_CHECK_INT(judge_key("x", 100), GOOD);
    stop();
}

VV_TEST(records_more_other_patterns_than_fit_lift_the_floor)
{
    char text[32];
    start(10000);
    for (uint64_t i = 1; i <= 200; i++) { /* each fits only its own number */
        snprintf(text, sizeof text, "*/%llu.css", (unsigned long long)i);
        add(i, VV_RECORD_PATTERN, text, false);
    }
    VV_CHECK_INT(vv_records_floor(records), 200 - 64); /* so many are kept */
    VV_CHECK_INT(judge_key("a/200.css", 170), GONE);
    VV_CHECK_INT(judge_key("a/150.css", 170), GOOD);
    VV_CHECK_INT(judge_key("x", 135), GONE);
    VV_CHECK_INT(judge_key("x", 136), GOOD);
    add(201, VV_RECORD_PATTERN, "*/150.css", true); /* known: it takes no other place */
    VV_CHECK_INT(vv_records_floor(records), 200 - 64);
    VV_CHECK_INT(judge_key("a/150.css", 170), SOFT);
    VV_CHECK_INT(judge_key("a/150.css", 149), GONE);
    stop();
}

/* The same as the index, but as a list. */
struct plain {
    struct vv_record rec;
    char value[24];
};

static enum vv_coherence_verdict judge_plainly(const struct plain *list, size_t from, size_t n,
                                               uint64_t floor, const struct vv_packed_head *h)
{
    enum vv_coherence_verdict v = h->log < floor ? VV_COHERENCE_GONE : VV_COHERENCE_GOOD;
    for (size_t i = from; i < n; i++) {
        const struct vv_record *r = &list[i].rec;
        const struct vv_str value = vv_str_from(list[i].value);
        if (r->id > h->log && vv_record_fits(r->what, value, vv_cache_tag(value), h)) {
            const enum vv_coherence_verdict one = r->soft ? VV_COHERENCE_SOFT : VV_COHERENCE_GONE;
            v = one > v ? one : v;
        }
    }
    return v;
}

VV_TEST(records_judge_like_a_walk_over_a_list)
{
    enum { RECORDS = 5000, MAX = 700 };
    struct plain *list = calloc(RECORDS, sizeof *list);
    uint64_t seed = 7;
    size_t from = 0, seen[3] = {0};
    VV_CHECK(list != NULL);
    start(MAX);
    for (size_t n = 0; n < RECORDS; n++) {
        static const char *const forms[] = {"k/%u", "t%u", "k/%u*", "k/%u/*", "*/%u"};
        static const enum vv_record_what whats[] = {VV_RECORD_URL, VV_RECORD_TAG, VV_RECORD_PATTERN,
                                                    VV_RECORD_PATTERN, VV_RECORD_PATTERN};
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407U;
        const size_t kind = (seed >> 33) % VV_COUNT(forms);
        /* Few distinct values of "*%u", so that the list of them never overflows. */
        const unsigned value = (unsigned)((seed >> 40) % (kind == 4 ? 50 : 400));
        struct plain *p = &list[n];
        p->rec = (struct vv_record){
            .id = 100 + n * 3, .what = whats[kind], .soft = (seed >> 60) % 2 == 0};
        snprintf(p->value, sizeof p->value, forms[kind], value);
        add(p->rec.id, p->rec.what, p->value, p->rec.soft);
        from = n + 1 > MAX ? n + 1 - MAX : 0;
        char key[32];
        const uint64_t tags[] = {(seed >> 20) % 500};
        snprintf(key, sizeof key, "k/%u/%u", (unsigned)((seed >> 10) % 400),
                 (unsigned)((seed >> 50) % 60));
        char tag[16];
        snprintf(tag, sizeof tag, "t%u", (unsigned)tags[0]);
        const uint64_t hash = vv_cache_tag(vv_str_from(tag));
        const uint64_t back = (seed >> 5) % (MAX * 3 / 2) * 2;
        const struct vv_packed_head h = {.log = p->rec.id > back ? p->rec.id - back : 0,
                                         .key = vv_str_from(key),
                                         .tags = &hash,
                                         .tags_n = 1};
        const uint64_t floor = from > 0 ? list[from - 1].rec.id : 0;
        const enum vv_coherence_verdict v = vv_records_judge(records, &h);
        VV_CHECK_INT(v, judge_plainly(list, from, n + 1, floor, &h));
        seen[v]++;
    }
    VV_CHECK(seen[GOOD] > 100 && seen[SOFT] > 100 && seen[GONE] > 100);
    free(list);
    stop();
}

VV_TEST(record_ids_are_read_and_written)
{
    char text[VV_RECORD_ID_MAX];
    uint64_t id = 0;
    VV_CHECK(vv_record_id_read(VV_STR("1700000000123-7"), &id));
    VV_CHECK_INT(id, (UINT64_C(1700000000123) << 20) + 7);
    VV_CHECK_SLICE(vv_record_id_write(id, text), "1700000000123-7");
    static const char *const bad[] = {"",   "-",   "1",         "1-",
                                      "-1", "x-1", "1-1048576", "17592186044416-0"};
    for (size_t i = 0; i < VV_COUNT(bad); i++) {
        VV_CHECK(!vv_record_id_read(vv_str_from(bad[i]), &id));
    }
    VV_CHECK(vv_record_id_read(VV_STR("17592186044415-1048575"), &id)); /* the largest */
    VV_CHECK_INT(id, UINT64_MAX);
}
