/* tests/unit/wire/test_resp.c - replies of Redis as items, commands as bytes. Expected items are
 * written by hand after the specification of RESP2 and RESP3. */
#include "vv_test.h"
#include "wire/resp.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static char items[8192];
static size_t items_n;

static void add(const char *text, size_t n)
{
    VV_CHECK(items_n + n < sizeof items);
    memcpy(items + items_n, text, n);
    items_n += n;
    items[items_n] = '\0';
}

/* One item as text: "depth type value", flags as letters; runs of a string are put together. */
static void write_item(const struct vv_resp_item *it)
{
    static const char bytes[] = {
#define AS_BYTE(id, byte, name) byte,
        VV_RESP_TYPES(AS_BYTE)};
    char head[64];
    if (it->first) {
        const char type = it->type == VV_RESP_INLINE ? 'I' : bytes[it->type];
        add(head, (size_t)snprintf(head, sizeof head, "%u%c%s%s%s", it->depth, type,
                                   it->attribute ? "a" : "", it->push ? "p" : "", it->format));
    }
    if (it->type == VV_RESP_INTEGER || it->type == VV_RESP_BOOLEAN) {
        add(head, (size_t)snprintf(head, sizeof head, "%lld", (long long)it->integer));
    } else if (it->type == VV_RESP_DOUBLE) {
        add(head, (size_t)snprintf(head, sizeof head, "%.17g", it->number));
    } else if (it->text.p != NULL) {
        add(it->text.p, it->text.n);
    } else if (it->type != VV_RESP_NIL) {
        add(head, (size_t)snprintf(head, sizeof head, "%llu", (unsigned long long)it->count));
    }
    if (it->last) {
        add(it->done ? ".\n" : "\n", it->done ? 2 : 1);
    }
}

/* Reads all of it, `piece` new bytes at a time, each time from memory of exactly that size. */
static enum vv_err read_pieces(struct vv_resp_reader *r, struct vv_str wire, size_t piece)
{
    size_t from = 0, to = 0;
    enum vv_err err = VV_EAGAIN;
    items_n = 0;
    items[0] = '\0';
    while (err == VV_EAGAIN && to < wire.n) {
        to = wire.n - to < piece ? wire.n : to + piece;
        char *copy = malloc(to - from + 1);
        memcpy(copy, wire.p + from, to - from);
        const size_t n = to - from;
        size_t at = 0;
        do {
            struct vv_resp_item it;
            size_t used = 0;
            err = vv_resp_next(r, (struct vv_str){copy + at, n - at}, &used, &it);
            at += used;
            if (err == VV_OK) {
                write_item(&it);
            }
        } while (err == VV_OK);
        from += at;
        free(copy);
    }
    return err == VV_EAGAIN && from < wire.n ? VV_ECLOSED : err;
}

/* However it is cut: the same items, nothing left over. */
static void reads_as(const char *wire, size_t n, const char *want)
{
    for (size_t piece = 1; piece <= n; piece++) {
        struct vv_resp_reader r;
        vv_resp_reader_init(&r, NULL, false);
        VV_CHECK_INT(read_pieces(&r, (struct vv_str){wire, n}, piece), VV_EAGAIN);
        VV_CHECK_STR(items, want);
        VV_CHECK(vv_resp_between(&r));
    }
}
#define READS(wire, want) reads_as(wire, sizeof(wire) - 1, want)

static void fails(const char *wire, enum vv_err want)
{
    const struct vv_str all = vv_str_from(wire);
    for (size_t piece = 1; piece <= all.n; piece++) {
        struct vv_resp_reader r;
        struct vv_resp_item it;
        size_t used = 0;
        vv_resp_reader_init(&r, NULL, false);
        VV_CHECK_INT(read_pieces(&r, all, piece), want);
        if (want != VV_ECLOSED) { /* it stays failed */
            VV_CHECK_INT(vv_resp_next(&r, VV_STR("+OK\r\n"), &used, &it), want);
            VV_CHECK_INT(used, 0);
        }
    }
}

VV_TEST(resp_reads_the_five_types_of_version_2)
{
    READS("+OK\r\n", "0+OK.\n");
    READS("+\r\n", "0+.\n");
    READS("-ERR unknown command\r\n", "0-ERR unknown command.\n");
    READS(":0\r\n:-12\r\n:+7\r\n", "0:0.\n0:-12.\n0:7.\n");
    READS(":9223372036854775807\r\n:-9223372036854775808\r\n",
          "0:9223372036854775807.\n0:-9223372036854775808.\n");
    READS("$5\r\nhello\r\n", "0$hello.\n");
    READS("$0\r\n\r\n", "0$.\n");
    READS("$4\r\n\r\n\0\n\r\n", "0$\r\n");
    READS("$-1\r\n*-1\r\n", "0_.\n0_.\n");
    READS("*2\r\n$3\r\nfoo\r\n:3\r\n", "0*2\n1$foo\n1:3.\n");
    READS("*0\r\n", "0*0.\n");
    READS("*3\r\n*1\r\n$-1\r\n*0\r\n+x\r\n+y\r\n", "0*3\n1*1\n2_\n1*0\n1+x.\n0+y.\n");
}

VV_TEST(resp_reads_what_version_3_adds)
{
    READS("_\r\n", "0_.\n");
    READS("#t\r\n#f\r\n", "0#1.\n0#0.\n");
    READS(",1.5\r\n,-10\r\n,2e3\r\n,inf\r\n,-inf\r\n",
          "0,1.5.\n0,-10.\n0,2000.\n0,inf.\n0,-inf.\n");
    READS("(3492890328409238509324850943850943825024385\r\n",
          "0(3492890328409238509324850943850943825024385.\n");
    READS("!21\r\nSYNTAX invalid syntax\r\n", "0!SYNTAX invalid syntax.\n");
    READS("=15\r\ntxt:Some string\r\n", "0=txtSome string.\n");
    READS("=4\r\nmkd:\r\n", "0=mkd.\n");
    READS("%2\r\n+a\r\n:1\r\n+b\r\n%0\r\n", "0%4\n1+a\n1:1\n1+b\n1%0.\n");
    READS("~2\r\n:1\r\n:2\r\n", "0~2\n1:1\n1:2.\n");
}

VV_TEST(resp_tells_pushes_from_replies)
{
    READS(">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n+OK\r\n",
          "0>p2\n1$pinvalidate\n1*p1\n2$pk.\n0+OK.\n");
    READS(">0\r\n:1\r\n", "0>p0.\n0:1.\n");
    fails("*1\r\n>1\r\n", VV_ESYNTAX); /* it may only come between replies */
}

VV_TEST(resp_attribute_is_no_reply_and_no_element)
{
    /* The example of the specification: the value has two elements, the attribute is neither. */
    READS("|1\r\n+ttl\r\n:9\r\n*2\r\n:1\r\n|1\r\n+pop\r\n%1\r\n+a\r\n+b\r\n:2\r\n+next\r\n",
          "0|a2\n1+attl\n1:a9\n0*2\n1:1\n1|a2\n2+apop\n2%a2\n3+aa\n3+ab\n1:2.\n0+next.\n");
    READS("|0\r\n+x\r\n", "0|a0\n0+x.\n");
    struct vv_resp_reader r;
    vv_resp_reader_init(&r, NULL, false);
    VV_CHECK_INT(read_pieces(&r, VV_STR("|1\r\n+ttl\r\n:9\r\n"), 99), VV_EAGAIN);
    VV_CHECK(!vv_resp_between(&r)); /* the value is still to come */
}

VV_TEST(resp_hands_a_large_string_out_as_it_comes)
{
    struct vv_resp_reader r;
    struct vv_resp_item it;
    size_t used = 0;
    vv_resp_reader_init(&r, NULL, false);
    VV_CHECK_INT(vv_resp_next(&r, VV_STR("$10\r\nabc"), &used, &it), VV_OK);
    VV_CHECK_INT(used, 8);
    VV_CHECK_SLICE(it.text, "abc");
    VV_CHECK_INT(it.count, 10);
    VV_CHECK(it.first && !it.last && !it.done);
    VV_CHECK_INT(vv_resp_next(&r, VV_STR("defghij\r"), &used, &it), VV_OK);
    VV_CHECK_INT(used, 7); /* the CR is given again */
    VV_CHECK_SLICE(it.text, "defghij");
    VV_CHECK(!it.first && !it.last && !it.done);
    VV_CHECK_INT(vv_resp_next(&r, VV_STR("\r"), &used, &it), VV_EAGAIN);
    VV_CHECK_INT(used, 0);
    VV_CHECK_INT(vv_resp_next(&r, VV_STR("\r\n+"), &used, &it), VV_OK);
    VV_CHECK_INT(used, 2);
    VV_CHECK(it.text.n == 0 && !it.first && it.last && it.done);
}

VV_TEST(resp_not_a_number_is_a_number)
{
    struct vv_resp_reader r;
    struct vv_resp_item it;
    size_t used = 0;
    vv_resp_reader_init(&r, NULL, false);
    VV_CHECK_INT(vv_resp_next(&r, VV_STR(",nan\r\n"), &used, &it), VV_OK);
    VV_CHECK(isnan(it.number));
}

VV_TEST(resp_refuses_what_is_not_the_protocol)
{
    static const char *const bad[] = {
        "x\r\n",
        "\r\n",
        "+a\nb\r\n",
        "+a\rb\r\n",
        ":\r\n",
        ":1a\r\n",
        ": 1\r\n",
        ":--1\r\n",
        "$\r\n",
        "$-2\r\n",
        "$+1\r\n",
        "*-2\r\n",
        "%-1\r\n",
        "~-1\r\n",
        ">-1\r\n",
        "!-1\r\n",
        "#\r\n",
        "#true\r\n",
        "_x\r\n",
        ",\r\n",
        ",0x10\r\n",
        ",1.5x\r\n",
        ", 1\r\n",
        ",.5\r\n",
        "(\r\n",
        "(12a\r\n",
        "(-\r\n",
        "=3\r\nabc\r\n",
        "=5\r\ntxt!x\r\n",
        "$1\r\naXY",
        "$0\r\nXY",
        "$1\r\na\rY",
        ":9223372036854775808\r\n",
        "$99999999999999999999\r\n",
        "GET / HTTP/1.1\r\n",
    };
    for (size_t i = 0; i < VV_COUNT(bad); i++) {
        fails(bad[i], VV_ESYNTAX);
    }
    fails("$?\r\n", VV_EUNSUPPORTED);
    fails("*?\r\n", VV_EUNSUPPORTED);
}

VV_TEST(resp_limits_bound_what_a_server_may_send)
{
    const struct vv_resp_limits limits = {.bulk_max = 8, .items_max = 8};
    static const char *const over[] = {"$9\r\n", "*5\r\n", "*9223372036854775807\r\n", "%5\r\n",
                                       /* 1 + 2 * 4 = 9 items */
                                       "*2\r\n*3\r\n+a\r\n+a\r\n+a\r\n*3\r\n+a\r\n+a\r\n+a\r\n",
                                       /* attributes without end and no value */
                                       "|0\r\n|0\r\n|0\r\n|0\r\n|0\r\n|0\r\n|0\r\n|0\r\n|0\r\n"};
    for (size_t i = 0; i < VV_COUNT(over); i++) {
        struct vv_resp_reader r;
        vv_resp_reader_init(&r, &limits, false);
        VV_CHECK_INT(read_pieces(&r, vv_str_from(over[i]), 1), VV_ELIMIT);
    }
    struct vv_resp_reader r; /* the limit is of one reply, not of the connection */
    vv_resp_reader_init(&r, &limits, false);
    for (int i = 0; i < 9; i++) {
        VV_CHECK_INT(read_pieces(&r, VV_STR("$8\r\n12345678\r\n"), 99), VV_EAGAIN);
    }
}

VV_TEST(resp_depth_and_lines_are_bounded)
{
    char deep[VV_RESP_DEPTH_MAX * 4 + 8] = "";
    for (int i = 0; i < VV_RESP_DEPTH_MAX; i++) {
        strcat(deep, "*1\r\n");
    }
    struct vv_resp_reader r;
    vv_resp_reader_init(&r, NULL, false);
    VV_CHECK_INT(read_pieces(&r, vv_str_from(deep), 1), VV_EAGAIN);
    VV_CHECK_INT(read_pieces(&r, VV_STR("*1\r\n"), 1), VV_ELIMIT);

    static char line[VV_RESP_LINE_MAX + 3];
    memset(line, 'x', sizeof line);
    line[0] = '+';
    vv_resp_reader_init(&r, NULL, false);
    /* A line of LINE_MAX bytes with its type, and one byte more. */
    VV_CHECK_INT(read_pieces(&r, (struct vv_str){line, VV_RESP_LINE_MAX}, 1000), VV_ECLOSED);
    vv_resp_reader_init(&r, NULL, false);
    VV_CHECK_INT(read_pieces(&r, (struct vv_str){line, VV_RESP_LINE_MAX + 1}, 1000), VV_ELIMIT);
}

/* -------------------------------------------------------------- commands */

VV_TEST(resp_writes_a_command_and_refers_to_large_values)
{
    static char large[VV_RESP_COPY_MAX + 1];
    memset(large, 'v', sizeof large);
    const struct vv_str get[] = {VV_STR("GET"), VV_STR("k1")};
    const struct vv_str set[] = {VV_STR("SET"), VV_STR(""), {large, sizeof large}};
    char text[256];
    struct iovec iov[3];
    struct vv_resp_out o;
    vv_resp_out_init(&o, text, sizeof text, iov, 3);
    VV_CHECK_INT(vv_resp_put(&o, get, 2), VV_OK);
    VV_CHECK_INT(vv_resp_put(&o, set, 3), VV_OK);
    VV_CHECK_INT(vv_resp_put(&o, get, 2), VV_OK);
    VV_CHECK_INT(o.iov_used, 3);
    static const char before[] =
        "*2\r\n$3\r\nGET\r\n$2\r\nk1\r\n*3\r\n$3\r\nSET\r\n$0\r\n\r\n$513\r\n";
    static const char after[] = "\r\n*2\r\n$3\r\nGET\r\n$2\r\nk1\r\n";
    VV_CHECK_SLICE(((struct vv_str){iov[0].iov_base, iov[0].iov_len}), before);
    VV_CHECK(iov[1].iov_base == large && iov[1].iov_len == sizeof large);
    VV_CHECK_SLICE(((struct vv_str){iov[2].iov_base, iov[2].iov_len}), after);
    VV_CHECK_INT(o.bytes, strlen(before) + sizeof large + strlen(after));
    /* No place for one more part: nothing changes. */
    const struct vv_resp_out full = o;
    const size_t len = iov[2].iov_len;
    VV_CHECK_INT(vv_resp_put(&o, set, 3), VV_ELIMIT);
    VV_CHECK_INT(memcmp(&o, &full, sizeof o), 0);
    VV_CHECK_INT(iov[2].iov_len, len);
}

VV_TEST(resp_command_that_does_not_fit_leaves_nothing_behind)
{
    const struct vv_str get[] = {VV_STR("GET"), VV_STR("k1")};
    char text[2 * 21]; /* "*2 $3 GET $2 k1", each with CR LF: 4 + 4 + 5 + 4 + 4 = 21 */
    struct iovec iov[1];
    struct vv_resp_out o;
    for (size_t room = 0; room < 2 * 21; room++) {
        vv_resp_out_init(&o, text, room, iov, 1);
        VV_CHECK_INT(vv_resp_put(&o, get, 2), room < 21 ? VV_ELIMIT : VV_OK);
        VV_CHECK_INT(vv_resp_put(&o, get, 2), VV_ELIMIT);
        VV_CHECK_INT(o.bytes, room < 21 ? 0 : 21);
    }
}

VV_TEST(resp_reads_commands_of_clients)
{
    struct vv_resp_reader r;
    const struct vv_str wire =
        VV_STR("*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\nget  a\n\r\n*0\r\n*-1\r\n");
    for (size_t piece = 1; piece <= wire.n; piece++) {
        vv_resp_reader_init(&r, NULL, true);
        VV_CHECK_INT(read_pieces(&r, wire, piece), VV_EAGAIN);
        VV_CHECK_STR(items, "0*2\n1$GET\n1$k.\n0IPING.\n0Iget  a.\n0I.\n0*0.\n0_.\n");
    }
    vv_resp_reader_init(&r, NULL, true);
    VV_CHECK_INT(read_pieces(&r, VV_STR("*1\r\n:1\r\n"), 1), VV_ESYNTAX);
    vv_resp_reader_init(&r, NULL, true);
    VV_CHECK_INT(read_pieces(&r, VV_STR("*1\r\n*1\r\n"), 1), VV_ESYNTAX);
}

static const char *split(const char *line)
{
    static char out[256];
    char text[128];
    struct vv_str args[4];
    size_t n = 0;
    out[0] = '\0';
    const enum vv_err err = vv_resp_inline_split(vv_str_from(line), text, args, 4, &n);
    if (err != VV_OK) {
        return err == VV_ELIMIT ? "limit" : "syntax";
    }
    for (size_t i = 0; i < n; i++) {
        strcat(strncat(strcat(out, "["), args[i].p, args[i].n), "]");
    }
    return out;
}

VV_TEST(resp_inline_words_may_be_quoted)
{
    VV_CHECK_STR(split(""), "");
    VV_CHECK_STR(split("  set a\tb "), "[set][a][b]");
    VV_CHECK_STR(split("set \"a b\" 'c \"d'"), "[set][a b][c \"d]");
    VV_CHECK_STR(split("x \"\\x41\\n\\\"\\q\\x4\" ''"), "[x][A\n\"qx4][]");
    VV_CHECK_STR(split("'it\\'s' \"\""), "[it's][]");
    VV_CHECK_STR(split("a b c d e"), "limit");
    VV_CHECK_STR(split("\"a"), "syntax");
    VV_CHECK_STR(split("'a\\'"), "syntax");
    VV_CHECK_STR(split("\"a\"b"), "syntax");
}

/* ---------------------------------------------------------------- errors */

VV_TEST(resp_error_says_whose_fault_it_is)
{
    const struct {
        const char *text;
        enum vv_resp_error error;
        enum vv_resp_blame blame;
    } cases[] = {
        {"ERR unknown command 'x'", VV_RESP_E_ERR, VV_RESP_BLAME_COMMAND},
        {"WRONGTYPE Operation against a key", VV_RESP_E_WRONGTYPE, VV_RESP_BLAME_COMMAND},
        {"LOADING Redis is loading", VV_RESP_E_LOADING, VV_RESP_BLAME_SERVER},
        {"OOM command not allowed", VV_RESP_E_OOM, VV_RESP_BLAME_SERVER},
        {"READONLY You can't write", VV_RESP_E_READONLY, VV_RESP_BLAME_SERVER},
        {"BUSY Redis is busy", VV_RESP_E_BUSY, VV_RESP_BLAME_SERVER},
        {"BUSYKEY Target key name", VV_RESP_E_BUSYKEY, VV_RESP_BLAME_COMMAND},
        {"MOVED 1 a:1", VV_RESP_E_MOVED, VV_RESP_BLAME_ELSEWHERE},
        {"NOAUTH Authentication required.", VV_RESP_E_NOAUTH, VV_RESP_BLAME_ACCESS},
        {"SOMETHING else", VV_RESP_E_OTHER, VV_RESP_BLAME_COMMAND},
        {"", VV_RESP_E_OTHER, VV_RESP_BLAME_COMMAND},
        {"OTHER", VV_RESP_E_OTHER, VV_RESP_BLAME_COMMAND},
    };
    for (size_t i = 0; i < VV_COUNT(cases); i++) {
        const enum vv_resp_error e = vv_resp_error_of(vv_str_from(cases[i].text));
        VV_CHECK_INT(e, cases[i].error);
        VV_CHECK_INT(vv_resp_error_blame(e), cases[i].blame);
    }
    for (int e = 0; e < VV_RESP_E_COUNT; e++) { /* every row has its word and a sentence */
        const char *name = vv_resp_error_name((enum vv_resp_error)e);
        const char *doc = vv_resp_error_doc((enum vv_resp_error)e);
        VV_CHECK_INT(vv_resp_error_of(vv_str_from(name)), e);
        VV_CHECK(doc[strlen(doc) - 1] == '.');
    }
    VV_CHECK_STR(vv_resp_type_name(VV_RESP_BIG), "big number");
}

VV_TEST(resp_redirection_names_a_place)
{
    struct vv_resp_redirect to;
    VV_CHECK_INT(vv_resp_redirect_parse(VV_STR("MOVED 3999 127.0.0.1:6381"), &to), VV_OK);
    VV_CHECK_SLICE(to.host, "127.0.0.1");
    VV_CHECK(to.port == 6381 && to.slot == 3999 && !to.ask);
    VV_CHECK_INT(vv_resp_redirect_parse(VV_STR("ASK 16383 ::1:7000"), &to), VV_OK);
    VV_CHECK_SLICE(to.host, "::1");
    VV_CHECK(to.port == 7000 && to.slot == 16383 && to.ask);
    VV_CHECK_INT(vv_resp_redirect_parse(VV_STR("MOVED 0 :7000"), &to), VV_OK);
    VV_CHECK_INT(to.host.n, 0);
    VV_CHECK_INT(vv_resp_redirect_parse(VV_STR("MOVED 0 ?:7000"), &to), VV_OK);
    VV_CHECK_INT(to.host.n, 0);
    static const char *const bad[] = {"MOVED",           "MOVED 1",     "MOVED 16384 a:1",
                                      "MOVED 1 a",       "ERR 1 a:1",   "MOVED 1 a:0",
                                      "MOVED 1 a:65536", "MOVED x a:1", "MOVED 1 a:"};
    for (size_t i = 0; i < VV_COUNT(bad); i++) {
        VV_CHECK_INT(vv_resp_redirect_parse(vv_str_from(bad[i]), &to), VV_ESYNTAX);
    }
}
