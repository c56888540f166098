/* tests/unit/gateway/test_resp_commands.c - the table of commands, where keys are, answers in two versions. */
#include "gateway/resp_commands.h"
#include "vv_test.h"
#include <ctype.h>

#define ARGS 16

/* Words of a command, cut at spaces. */
static size_t words(const char *text, struct vv_str *args)
{
    struct vv_str rest = vv_str_from(text);
    size_t n = 0;
    while (rest.p != NULL && n < ARGS) {
        args[n++] = vv_str_cut(&rest, ' ');
    }
    return n;
}

/* The keys of a command, with commas; "!" when they cannot be found. */
static const char *keys(const char *text)
{
    static char out[256];
    struct vv_str args[ARGS];
    struct vv_resp_keys k;
    const size_t n = words(text, args);
    const struct vv_resp_command *c = vv_resp_command_find(args[0]);
    out[0] = '\0';
    VV_CHECK(c != NULL && vv_resp_command_fits(c, n));
    if (vv_resp_keys_find(c, args, n, &k) != VV_OK) {
        return "!";
    }
    for (size_t i = 0; i < vv_resp_keys_count(&k); i++) {
        const struct vv_str key = vv_resp_key(&k, i);
        strcat(out, i > 0 ? "," : "");
        strncat(out, key.p, key.n);
    }
    return out;
}

/* What a client of this version gets for an answer of the server, which comes in pieces of n bytes. */
static const char *converted(const char *command, unsigned version, const char *answer, size_t n)
{
    static char out[512];
    const struct vv_resp_command *c = vv_resp_command_find(vv_str_from(command));
    struct vv_resp_bytes b = {0};
    struct vv_resp_convert v;
    struct vv_resp_reader r;
    const size_t size = strlen(answer);
    size_t at = 0;
    size_t have = 0;
    vv_resp_reader_init(&r, NULL, false);
    vv_resp_convert_init(&v, version, c->flags);
    for (bool done = false; !done;) {
        struct vv_resp_item it;
        size_t used = 0;
        have = have + n < size ? have + n : size;
        enum vv_err err = VV_OK;
        while (err == VV_OK && !done) {
            err = vv_resp_next(&r, (struct vv_str){answer + at, have - at}, &used, &it);
            at += used;
            if (err == VV_OK) {
                VV_CHECK(vv_resp_convert(&v, &it, &b));
                done = it.done;
            }
        }
        VV_CHECK(err == VV_OK || (err == VV_EAGAIN && have < size));
    }
    VV_CHECK(b.n < sizeof out);
    memcpy(out, b.p, b.n);
    out[b.n] = '\0';
    vv_resp_bytes_fini(&b);
    return out;
}

/* The same however it is cut. */
static const char *answer(const char *command, unsigned version, const char *text)
{
    static char whole[512];
    strcpy(whole, converted(command, version, text, strlen(text)));
    for (size_t n = 1; n < 8; n++) {
        const char *pieces = converted(command, version, text, n);
        VV_CHECK_STR(pieces, whole);
    }
    return whole;
}

VV_TEST(the_table_is_sorted_and_every_row_makes_sense)
{
    const struct vv_resp_command *before = NULL;
    for (size_t i = 0; vv_resp_command_at(i) != NULL; i++) {
        const struct vv_resp_command *c = vv_resp_command_at(i);
        VV_CHECK(before == NULL || strcmp(before->name.p, c->name.p) < 0);
        VV_CHECK(vv_resp_command_find(c->name) == c);
        VV_CHECK(c->arity != 0 && strlen(c->text) > 6 && c->name.n < 24);
        if (c->how == VV_RESP_HOW_REFUSE) {
            VV_CHECK(c->class == VV_RESP_CLASS_REFUSED && islower((unsigned char)c->text[0]));
        } else {
            VV_CHECK(c->class != VV_RESP_CLASS_REFUSED);
            VV_CHECK(strchr(".?", c->text[strlen(c->text) - 1]) != NULL);
        }
        const bool reads = (c->flags & VV_RESP_READ) != 0;
        const bool writes = (c->flags & VV_RESP_WRITE) != 0;
        const bool passes = c->how != VV_RESP_HOW_REFUSE && c->how != VV_RESP_HOW_OWN;
        VV_CHECK(passes == (reads != writes)); /* who passes either reads or writes */
        VV_CHECK(c->memory == VV_RESP_MEMORY_NONE || c->first == 1);
        /* The least number of words that fits has room for the first key. */
        VV_CHECK(c->first < (c->arity < 0 ? -c->arity : c->arity));
        before = c;
    }
}

VV_TEST(a_command_is_found_in_any_case_and_only_whole)
{
    VV_CHECK(vv_resp_command_find(VV_STR("get")) == vv_resp_command_find(VV_STR("GET")));
    VV_CHECK(vv_resp_command_find(VV_STR("gEt")) != NULL);
    VV_CHECK(vv_resp_command_find(VV_STR("GE")) == NULL);
    VV_CHECK(vv_resp_command_find(VV_STR("GETS")) == NULL);
    VV_CHECK(vv_resp_command_find(VV_STR("")) == NULL);
    VV_CHECK(vv_resp_command_find(VV_STR("\xff\xfe")) == NULL);
    VV_CHECK(vv_resp_command_find((struct vv_str){"GET\0", 4}) == NULL);
}

VV_TEST(arguments_are_counted_with_the_name)
{
    const struct vv_resp_command *get = vv_resp_command_find(VV_STR("GET"));
    const struct vv_resp_command *set = vv_resp_command_find(VV_STR("SET"));
    VV_CHECK(!vv_resp_command_fits(get, 1) && vv_resp_command_fits(get, 2));
    VV_CHECK(!vv_resp_command_fits(get, 3));
    VV_CHECK(!vv_resp_command_fits(set, 2) && vv_resp_command_fits(set, 3));
    VV_CHECK(vv_resp_command_fits(set, 7));
}

VV_TEST(keys_are_where_the_row_says)
{
    VV_CHECK_STR(keys("GET a"), "a");
    VV_CHECK_STR(keys("SET a b EX 10"), "a");
    VV_CHECK_STR(keys("MGET a b c"), "a,b,c");
    VV_CHECK_STR(keys("MSET a 1 b 2"), "a,b");
    VV_CHECK_STR(keys("MSET a 1 b"), "!"); /* a key without a value */
    VV_CHECK_STR(keys("DEL a"), "a");
    VV_CHECK_STR(keys("RENAME a b"), "a,b");
    VV_CHECK_STR(keys("SMOVE a b m"), "a,b");
    VV_CHECK_STR(keys("SINTERSTORE d a b"), "d,a,b");
    VV_CHECK_STR(keys("DBSIZE"), "");
    VV_CHECK_STR(keys("SCAN 0 MATCH a"), "");
}

VV_TEST(counted_keys_are_as_many_as_the_command_says)
{
    VV_CHECK_STR(keys("ZUNION 2 a b WITHSCORES"), "a,b");
    VV_CHECK_STR(keys("ZUNIONSTORE d 2 a b WEIGHTS 1 2"), "d,a,b");
    VV_CHECK_STR(keys("SINTERCARD 1 a LIMIT 3"), "a");
    VV_CHECK_STR(keys("ZUNION 3 a b"), "!"); /* more than there are */
    VV_CHECK_STR(keys("ZUNION 0 a b"), "!");
    VV_CHECK_STR(keys("ZUNION -1 a b"), "!");
    VV_CHECK_STR(keys("ZUNION 18446744073709551615 a b"), "!");
    VV_CHECK_STR(keys("ZUNION x a b"), "!");
}

VV_TEST(keys_with_one_tag_live_together)
{
    const struct vv_str a = VV_STR("{user1}.name");
    const struct vv_str b = VV_STR("{user1}.mail");
    const struct vv_str c =
        VV_STR("foo"); /* slot 12182, bar is 5061: the specification's examples */
    const struct vv_str d = VV_STR("bar");
    VV_CHECK(vv_resp_keys_together(VV_REDIS_CLUSTER, a, b));
    VV_CHECK(vv_resp_keys_together(VV_REDIS_RING, a, b));
    VV_CHECK(!vv_resp_keys_together(VV_REDIS_CLUSTER, c, d));
    VV_CHECK(!vv_resp_keys_together(VV_REDIS_RING, c, d));
    VV_CHECK(vv_resp_keys_together(VV_REDIS_SINGLE, c, d));
    VV_CHECK(vv_resp_keys_together(VV_REDIS_SENTINEL, c, d));
}

VV_TEST(a_tag_is_what_stands_in_the_first_braces)
{
    VV_CHECK_SLICE(vv_resp_key_tag(VV_STR("{a}b")), "a");
    VV_CHECK_SLICE(vv_resp_key_tag(VV_STR("x{a}{b}")), "a");
    VV_CHECK_SLICE(vv_resp_key_tag(VV_STR("foo{}{bar}")), "foo{}{bar}"); /* empty: the whole key */
    VV_CHECK_SLICE(vv_resp_key_tag(VV_STR("foo{{bar}}")), "{bar");
    VV_CHECK_SLICE(vv_resp_key_tag(VV_STR("a}b{c")), "a}b{c");
    VV_CHECK_SLICE(vv_resp_key_tag(VV_STR("")), "");
}

VV_TEST(simple_answers_are_the_same_in_both_versions)
{
    static const char *const same[] = {"+OK\r\n",
                                       "-ERR no\r\n",
                                       ":-7\r\n",
                                       "$5\r\nhello\r\n",
                                       "$0\r\n\r\n",
                                       "*0\r\n",
                                       "*2\r\n$1\r\na\r\n:1\r\n"};
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        VV_CHECK_STR(answer("GET", 2, same[i]), same[i]);
        VV_CHECK_STR(answer("GET", 3, same[i]), same[i]);
    }
}

VV_TEST(version_2_has_no_null_boolean_double_map_or_set)
{
    VV_CHECK_STR(answer("GET", 2, "_\r\n"), "$-1\r\n");
    VV_CHECK_STR(answer("LPOP", 2, "_\r\n"), "*-1\r\n"); /* nothing of a list */
    VV_CHECK_STR(answer("GET", 2, "#t\r\n"), ":1\r\n");
    VV_CHECK_STR(answer("ZSCORE", 2, ",1.5\r\n"), "$3\r\n1.5\r\n");
    VV_CHECK_STR(answer("ZSCORE", 2, ",3.3\r\n"), "$3\r\n3.3\r\n"); /* the shortest text */
    VV_CHECK_STR(answer("ZSCORE", 2, ",inf\r\n"), "$3\r\ninf\r\n");
    VV_CHECK_STR(answer("HGETALL", 2, "%1\r\n$1\r\na\r\n$1\r\nb\r\n"),
                 "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
    VV_CHECK_STR(answer("SMEMBERS", 2, "~1\r\n$1\r\na\r\n"), "*1\r\n$1\r\na\r\n");
    VV_CHECK_STR(answer("GET", 2, "=7\r\ntxt:abc\r\n"), "$3\r\nabc\r\n");
    VV_CHECK_STR(answer("GET", 2, "(123456789012345678901\r\n"),
                 "$21\r\n123456789012345678901\r\n");
}

VV_TEST(pairs_are_flat_in_version_2_only)
{
    const char *const pairs = "*2\r\n*2\r\n$1\r\na\r\n,1\r\n*2\r\n$1\r\nb\r\n,2.5\r\n";
    VV_CHECK_STR(answer("ZRANGE", 2, pairs),
                 "*4\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$3\r\n2.5\r\n");
    VV_CHECK_STR(answer("ZRANGE", 3, pairs), pairs);
    /* Without scores the list is flat already; ZPOPMIN without a count is one pair, no list of them. */
    VV_CHECK_STR(answer("ZRANGE", 2, "*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
                 "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
    VV_CHECK_STR(answer("ZPOPMIN", 2, "*2\r\n$1\r\na\r\n,1\r\n"), "*2\r\n$1\r\na\r\n$1\r\n1\r\n");
    VV_CHECK_STR(answer("ZRANGE", 2, "*0\r\n"), "*0\r\n");
}

VV_TEST(what_is_no_pair_among_pairs_takes_two_places_all_the_same)
{
    VV_CHECK_STR(answer("ZRANGE", 2, "*3\r\n*2\r\n:1\r\n:2\r\n*0\r\n$1\r\na\r\n"),
                 "*6\r\n:1\r\n:2\r\n$-1\r\n*0\r\n$-1\r\n$1\r\na\r\n");
}

VV_TEST(a_server_of_version_2_gives_maps_and_sets_to_clients_of_version_3)
{
    VV_CHECK_STR(answer("HGETALL", 3, "*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
                 "%1\r\n$1\r\na\r\n$1\r\nb\r\n");
    VV_CHECK_STR(answer("SMEMBERS", 3, "*1\r\n$1\r\na\r\n"), "~1\r\n$1\r\na\r\n");
    VV_CHECK_STR(answer("GET", 3, "$-1\r\n"), "_\r\n");
    VV_CHECK_STR(answer("MGET", 3, "*1\r\n$-1\r\n"), "*1\r\n_\r\n");
}

VV_TEST(a_long_error_becomes_one_line)
{
    VV_CHECK_STR(answer("GET", 3, "!7\r\nERR a\nb\r\n"), "!7\r\nERR a\nb\r\n");
    VV_CHECK_STR(converted("GET", 2, "!7\r\nERR a\nb\r\n", 64), "-ERR a b\r\n");
}
