/* tests/unit/trace/test_otlp.c - requests of applications in, ours out, to the letter. */
#include "trace/otlp.h"
#include "vv_test.h"

#include "trace_maker.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define KEEP 8
struct kept {
    size_t count, accept;
    uint8_t packed[KEEP][VV_SPAN_PACKED_MAX];
    struct vv_span span[KEEP];
    struct vv_span_attr attrs[KEEP][VV_SPAN_ATTRS_MAX];
};

static bool keep(void *user, const struct vv_span *s)
{
    struct kept *k = user;
    if (k->count == k->accept) {
        return false;
    }
    const size_t n = vv_span_pack(s, k->packed[k->count]);
    VV_CHECK_INT(vv_span_unpack((struct vv_str){(char *)k->packed[k->count], n}, &k->span[k->count],
                                k->attrs[k->count]),
                 VV_OK);
    k->count++;
    return true;
}

static struct kept kept;
static struct vv_otlp_result result;

static enum vv_err read_text(const char *json)
{
    struct vv_otlp_limits limits;
    vv_otlp_limits_default(&limits);
    kept.count = 0;
    kept.accept = KEEP;
    return vv_otlp_read(vv_str_from(json), &limits, keep, &kept, &result);
}

#define ONE(members)                                                                               \
    "{\"resourceSpans\":[{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":"      \
    "{\"stringValue\":\"shop\"}}]},\"scopeSpans\":[{\"spans\":[{" members "}]}]}]}"
#define IDS "\"traceId\":\"4f1c2a9be07d3358a6d4c0b7e9182f3a\",\"spanId\":\"7a3b90c1d5e6f284\""
#define TIMES                                                                                      \
    "\"startTimeUnixNano\":\"1544712660000000001\",\"endTimeUnixNano\":\"1544712660123000000\""

VV_TEST(a_request_of_an_application_is_read)
{
    VV_CHECK_INT(
        read_text(ONE(IDS
                      "," TIMES
                      ",\"parentSpanId\":\"AAAAAAAAAAAAAAAA\",\"name\":\"GET /cart\",\"kind\":2,"
                      "\"flags\":769,\"traceState\":\"a=1\",\"unknown\":[1,{}],"
                      "\"attributes\":[{\"key\":\"http.response.status_code\",\"value\":{"
                      "\"intValue\":\"503\"}},"
                      "{\"key\":\"http.route\",\"value\":{\"stringValue\":\"/cart\"}},"
                      "{\"key\":\"x\",\"value\":{\"doubleValue\":0.5}},{\"key\":\"y\",\"value\":{"
                      "\"boolValue\":true}},"
                      "{\"key\":\"n\",\"value\":{\"intValue\":-7}},{\"key\":\"none\",\"value\":{}},"
                      "{\"key\":\"l\",\"value\":{\"arrayValue\":{\"values\":[{\"intValue\":1},{"
                      "\"stringValue\":\"\\u00e9\"}]}}}],"
                      "\"events\":[{\"timeUnixNano\":\"1544712660050000000\",\"name\":\"retry\","
                      "\"attributes\":"
                      "[{\"key\":\"error.type\",\"value\":{\"stringValue\":\"timeout\"}}]}],"
                      "\"links\":[{\"traceId\":\"00000000000000000000000000000001\",\"spanId\":"
                      "\"0000000000000002\"}],"
                      "\"status\":{\"code\":2,\"message\":\"bad\"}")),
        VV_OK);
    VV_CHECK(result.accepted == 1 && result.rejected == 0);
    const struct vv_span *s = &kept.span[0];
    VV_CHECK_SLICE(s->service, "shop");
    VV_CHECK_SLICE(s->name, "GET /cart");
    VV_CHECK_SLICE(s->route, "/cart");
    VV_CHECK_SLICE(s->state, "a=1");
    VV_CHECK_SLICE(s->message, "bad");
    VV_CHECK(s->start_ns == UINT64_C(1544712660000000001) && s->http_status == 503);
    VV_CHECK(s->kind == VV_SPAN_SERVER && s->status == VV_SPAN_ERROR && s->parent_id[0] == 0xaa);
    VV_CHECK_INT(s->flags, VV_SPAN_F_SAMPLED | VV_SPAN_F_REMOTE_KNOWN | VV_SPAN_F_REMOTE);
    VV_CHECK_INT(s->attr_count, 9); /* 6 with values, a link, an event and its own */
    VV_CHECK_INT(s->dropped, 1);
    VV_CHECK_INT(s->attrs[4].i64, -7);
    VV_CHECK_SLICE(
        s->attrs[5].str,
        "{\"arrayValue\":{\"values\":[{\"intValue\":\"1\"},{\"stringValue\":\"\xc3\xa9\"}]}}");
    VV_CHECK(s->attrs[6].type == VV_ATTR_LINK && s->attrs[7].type == VV_ATTR_EVENT);
    VV_CHECK_INT(s->attrs[8].key, VV_KEY_ERROR);
}

struct bad {
    const char *json, *error;
};
static const struct bad bads[] = {
    {ONE("\"spanId\":\"7a3b90c1d5e6f284\"," TIMES), "traceId is not 32 hex digits"},
    {ONE("\"traceId\":\"00000000000000000000000000000000\"," TIMES),
     "traceId is not 32 hex digits"},
    {ONE("\"traceId\":\"Txwqm+B9M1im1MC36RgvOg==\"," TIMES), "traceId is not 32 hex digits"},
    {ONE("\"traceId\":\"4f1c2a9be07d3358a6d4c0b7e9182f3a\",\"spanId\":\"7a3b\"," TIMES),
     "spanId is not 16 hex digits"},
    {ONE(IDS ",\"parentSpanId\":\"7a\"," TIMES), "parentSpanId is not 16 hex digits"},
    {ONE(IDS), "startTimeUnixNano or endTimeUnixNano is not a time"},
    {ONE(IDS ",\"startTimeUnixNano\":\"-5\",\"endTimeUnixNano\":\"7\""),
     "startTimeUnixNano or endTimeUnixNano is not a time"},
    {ONE(IDS ",\"kind\":\"SPAN_KIND_SERVER\"," TIMES), "kind and status.code are numbers"},
    {ONE(IDS "," TIMES "},7,{\"x\":1"), "a span is no object"},
};

VV_TEST(a_broken_span_is_refused_alone)
{
    for (size_t i = 0; i < VV_COUNT(bads); i++) {
        VV_CHECK_INT(read_text(bads[i].json), VV_OK);
        VV_CHECK_STR(result.error, bads[i].error);
        VV_CHECK(result.rejected >= 1);
    }
    VV_CHECK(result.accepted == 1 && result.rejected == 2); /* the last: two of three */
    struct vv_sb out = VV_SB_INIT;
    vv_otlp_write_response(&result, &out);
    VV_CHECK_STR(out.p,
                 "{\"partialSuccess\":{\"rejectedSpans\":\"2\",\"errorMessage\":\"a span is no "
                 "object\"}}");
    vv_sb_reset(&out);
    result.rejected = 0;
    vv_otlp_write_response(&result, &out);
    VV_CHECK_STR(out.p, "{}");
    vv_sb_fini(&out);
}

VV_TEST(what_is_no_request_is_refused_whole)
{
    VV_CHECK_INT(read_text(""), VV_ESYNTAX);
    VV_CHECK_INT(read_text("{"), VV_ESYNTAX);
    VV_CHECK_INT(read_text("[]"), VV_ESYNTAX);
    VV_CHECK_INT(read_text("{\"resourceSpans\":{}}"), VV_ESYNTAX);
    VV_CHECK_INT(read_text("{} x"), VV_ESYNTAX);
    VV_CHECK_INT(read_text("{}"), VV_OK);
    VV_CHECK_INT(read_text("{\"resourceSpans\":[null,{\"scopeSpans\":[{\"spans\":7}]}]}"), VV_OK);
    VV_CHECK_INT(result.accepted + result.rejected, 0);
}

VV_TEST(size_values_depth_and_spans_are_bounded)
{
    struct vv_otlp_limits l = {.bytes_max = 100, .values_max = 10, .depth_max = 4, .spans_max = 1};
    char many[64];
    VV_CHECK_INT(vv_otlp_read((struct vv_str){many, 101}, &l, keep, &kept, &result), VV_ELIMIT);
    VV_CHECK_INT(vv_otlp_read(VV_STR("{\"a\":[[[[]]]]}"), &l, keep, &kept, &result), VV_ELIMIT);
    VV_CHECK_INT(vv_otlp_read(VV_STR("[1,1,1,1,1,1,1,1,1,1,1]"), &l, keep, &kept, &result),
                 VV_ELIMIT);
    /* Braces in texts count for nothing. */
    VV_CHECK_INT(
        vv_otlp_read(VV_STR("{\"a\":\"[[[[[{{{{{,,,,,,,,,\\\"[[[[[\"}"), &l, keep, &kept, &result),
        VV_OK);
    l = (struct vv_otlp_limits){
        .bytes_max = 4096, .values_max = 1000, .depth_max = 32, .spans_max = 1};
    kept.count = 0;
    kept.accept = 5;
    VV_CHECK_INT(
        vv_otlp_read(vv_str_from(ONE(IDS "," TIMES "},{" IDS "," TIMES)), &l, keep, &kept, &result),
        VV_OK);
    VV_CHECK(result.accepted == 1 && result.rejected == 1);
    VV_CHECK_STR(result.error, "too many spans in one request");
    kept.accept = kept.count;
    l.spans_max = 9;
    VV_CHECK_INT(vv_otlp_read(vv_str_from(ONE(IDS "," TIMES)), &l, keep, &kept, &result), VV_OK);
    VV_CHECK(result.accepted == 0 && result.rejected == 1);
}

VV_TEST(lists_in_lists_end_at_a_depth)
{
    char json[4096];
    for (int depth = 1; depth < 20; depth++) {
        int n = snprintf(json, sizeof json, "%s",
                         "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{" IDS "," TIMES
                         ",\"attributes\":[{\"key\":\"k\",\"value\":");
        for (int i = 0; i < depth; i++) {
            n += snprintf(json + n, sizeof json - (size_t)n, "%s",
                          "{\"kvlistValue\":{\"values\":[{\"key\":\"a\",\"value\":");
        }
        n += snprintf(json + n, sizeof json - (size_t)n, "{\"boolValue\":true}");
        for (int i = 0; i < depth; i++) {
            n += snprintf(json + n, sizeof json - (size_t)n, "}]}}");
        }
        snprintf(json + n, sizeof json - (size_t)n, "}]}]}]}]}");
        struct vv_otlp_limits l = {
            .bytes_max = 9999, .values_max = 9999, .depth_max = 200, .spans_max = 9};
        kept.count = 0;
        kept.accept = KEEP;
        VV_CHECK_INT(vv_otlp_read(vv_str_from(json), &l, keep, &kept, &result), VV_OK);
        VV_CHECK_INT(kept.count, 1);
        VV_CHECK_INT(kept.span[0].attr_count, depth <= 5 ? 1 : 0); /* the leaf is the sixth */
    }
}

static const struct vv_otlp_resource us = {
    .service = {"vivace", 6}, .version = {"0.1.0", 5}, .instance = {"host:1", 6}};

VV_TEST(a_request_is_written_to_the_letter)
{
    struct maker m = {0};
    struct vv_sb out = VV_SB_INIT;
    static const struct vv_span_attr attrs[] = {
        {.type = VV_ATTR_I64, .key = VV_KEY_STATUS, .i64 = 200},
        {.type = VV_ATTR_LINK, .str = {"0123456789abcdefspanspan", 24}},
        {.type = VV_ATTR_DOUBLE, .name = {"d", 1}, .f64 = 0.5},
        {.type = VV_ATTR_ANY, .name = {"l", 1}, .str = {"{\"arrayValue\":{\"values\":[]}}", 28}},
        {.type = VV_ATTR_EVENT, .name = {"retry", 5}, .i64 = 1544712660050000000},
        {.type = VV_ATTR_BOOL, .name = {"b", 1}, .b = true},
    };
    struct vv_span *s = maker_add(&m, 0x5b8e, 0xeee1, 0xeee0, UINT64_C(1544712660000000000),
                                  UINT64_C(1544712660123000000), "", "GET /x");
    s->kind = VV_SPAN_SERVER;
    s->flags = VV_SPAN_F_SAMPLED | VV_SPAN_F_REMOTE_KNOWN | VV_SPAN_F_ENTRY | VV_SPAN_F_OURS;
    s->state = VV_STR("vv=1");
    s->attrs = attrs;
    s->attr_count = VV_COUNT(attrs);
    s = maker_add(&m, 0x5b8e, 0xaaaa, 0xeee1, 5, 6, "other", "q\"");
    s->status = VV_SPAN_ERROR;
    s->message = VV_STR("503");
    maker_add(&m, 0x5b8e, 0xbbbb, 0, 7, 7, "", "root");
    vv_otlp_write(m.span, 3, &us, &out);
    VV_CHECK_STR(
        out.p,
        "{\"resourceSpans\":[{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":{"
        "\"stringValue\":\"other\"}}]},\"scopeSpans\":[{\"scope\":{\"name\":\"vivace\"},\"spans\":["
        "{"
        "\"traceId\":\"00000000000000000000000000005b8e\",\"spanId\":\"000000000000aaaa\","
        "\"parentSpanId\":\"000000000000eee1\",\"flags\":0,\"name\":\"q\\\"\",\"kind\":1,"
        "\"startTimeUnixNano\":\"5\",\"endTimeUnixNano\":\"6\",\"status\":{\"message\":\"503\","
        "\"code\":2}}"
        "]}]},{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":{\"stringValue\":"
        "\"vivace\"}},"
        "{\"key\":\"service.version\",\"value\":{\"stringValue\":\"0.1.0\"}},{\"key\":"
        "\"service.instance.id\",\"value\":{\"stringValue\":\"host:1\"}}]},\"scopeSpans\":[{"
        "\"scope\":{"
        "\"name\":\"vivace\"},\"spans\":[{\"traceId\":\"00000000000000000000000000005b8e\","
        "\"spanId\":\"000000000000eee1\",\"parentSpanId\":\"000000000000eee0\",\"traceState\":\"vv="
        "1\","
        "\"flags\":257,\"name\":\"GET "
        "/x\",\"kind\":2,\"startTimeUnixNano\":\"1544712660000000000\","
        "\"endTimeUnixNano\":\"1544712660123000000\",\"attributes\":[{\"key\":"
        "\"http.response.status_code\",\"value\":{\"intValue\":\"200\"}},{\"key\":\"d\",\"value\":{"
        "\"doubleValue\":0.5}},{\"key\":\"l\",\"value\":{\"arrayValue\":{\"values\":[]}}}],"
        "\"events\":[{"
        "\"timeUnixNano\":\"1544712660050000000\",\"name\":\"retry\",\"attributes\":[{\"key\":"
        "\"b\","
        "\"value\":{\"boolValue\":true}}]}],\"links\":[{\"traceId\":"
        "\"30313233343536373839616263646566\","
        "\"spanId\":\"7370616e7370616e\"}],\"status\":{}},{\"traceId\":"
        "\"00000000000000000000000000005b8e\",\"spanId\":\"000000000000bbbb\",\"flags\":0,\"name\":"
        "\"root\","
        "\"kind\":1,\"startTimeUnixNano\":\"7\",\"endTimeUnixNano\":\"7\",\"status\":{}}]}]}]}");
    /* What we write, we read. */
    VV_CHECK_INT(read_text(out.p), VV_OK);
    VV_CHECK(result.accepted == 3 && result.rejected == 0);
    VV_CHECK_INT(kept.span[1].attr_count, VV_COUNT(attrs));
    vv_sb_reset(&out);
    vv_otlp_write(m.span, 0, &us, &out);
    VV_CHECK_INT(out.n, 0); /* no empty envelope */
    vv_sb_fini(&out);
}

VV_TEST(numbers_that_json_has_not_are_words)
{
    struct maker m = {0};
    struct vv_sb out = VV_SB_INIT;
    const struct vv_span_attr attrs[] = {
        {.type = VV_ATTR_DOUBLE, .name = {"a", 1}, .f64 = (double)NAN},
        {.type = VV_ATTR_DOUBLE, .name = {"b", 1}, .f64 = -(double)INFINITY},
    };
    struct vv_span *s = maker_add(&m, 1, 2, 0, 5, 6, "s", "n");
    s->attrs = attrs;
    s->attr_count = 2;
    vv_otlp_write(m.span, 1, &us, &out);
    VV_CHECK(strstr(out.p, "{\"doubleValue\":\"NaN\"}") != NULL);
    VV_CHECK_INT(read_text(out.p), VV_OK);
    VV_CHECK(isnan(kept.span[0].attrs[0].f64) && isinf(kept.span[0].attrs[1].f64));
    vv_sb_fini(&out);
}

VV_TEST(a_receivers_answer_is_understood)
{
    uint64_t rejected;
    char error[32];
    VV_CHECK_INT(vv_otlp_read_response(VV_STR("{}"), &rejected, error, sizeof error), VV_OK);
    VV_CHECK_INT(rejected, 0);
    VV_CHECK_INT(vv_otlp_read_response(VV_STR("{\"partialSuccess\":{\"rejectedSpans\":\"3\","
                                              "\"errorMessage\":\"full\"}}"),
                                       &rejected, error, sizeof error),
                 VV_OK);
    VV_CHECK_INT(rejected, 3);
    VV_CHECK_STR(error, "full");
    VV_CHECK_INT(vv_otlp_read_response(VV_STR("<html>"), &rejected, error, sizeof error),
                 VV_ESYNTAX);
}
