/* tests/unit/cache/test_status.c - Cache-Status values (RFC 9211 section 2) and nginx's words. */
#include "cache/status.h"
#include "vv_test.h"

static struct vv_str text(struct vv_cache_status s)
{
    static char out[128];
    s.cache = s.cache.p != NULL ? s.cache : VV_STR("Vivace");
    return (struct vv_str){out, vv_cache_status_write(&s, out, sizeof out)};
}

VV_TEST(status_writes_parameters_in_order)
{
    VV_CHECK_SLICE(text((struct vv_cache_status){.hit = true, .has_ttl = true, .ttl_s = 30}),
                   "Vivace;hit;ttl=30");
    VV_CHECK_SLICE(text((struct vv_cache_status){.hit = true, .has_ttl = true, .ttl_s = -5}),
                   "Vivace;hit;ttl=-5");
    VV_CHECK_SLICE(
        text((struct vv_cache_status){
            .fwd = VV_CACHE_FWD_STALE, .fwd_status = 304, .stored = true, .collapsed = true}),
        "Vivace;fwd=stale;fwd-status=304;stored;collapsed");
    VV_CHECK_SLICE(text((struct vv_cache_status){.fwd = VV_CACHE_FWD_URI_MISS,
                                                 .key = VV_STR("a\"\n"),
                                                 .detail = VV_STR("no-store")}),
                   "Vivace;fwd=uri-miss;key=\"a\\\"?\";detail=no-store");
    VV_CHECK_SLICE(text((struct vv_cache_status){.cache = VV_STR("my cache"), .hit = true}),
                   "\"my cache\";hit");
}

VV_TEST(status_has_no_room_for_half_a_value)
{
    char out[8];
    const struct vv_cache_status s = {.cache = VV_STR("Vivace"), .hit = true};
    VV_CHECK_INT(vv_cache_status_write(&s, out, sizeof out), 0);
}

VV_TEST(status_words_are_those_of_nginx)
{
#define WORD(...) vv_cache_status_word(&(struct vv_cache_status){__VA_ARGS__})
    VV_CHECK_STR(WORD(.hit = true), "HIT");
    VV_CHECK_STR(WORD(.fwd = VV_CACHE_FWD_VARY_MISS), "MISS");
    VV_CHECK_STR(WORD(.fwd = VV_CACHE_FWD_STALE), "EXPIRED");
    VV_CHECK_STR(WORD(.hit = true, .stale = true), "STALE");
    VV_CHECK_STR(WORD(.hit = true, .stale = true, .updating = true), "UPDATING");
    VV_CHECK_STR(WORD(.fwd = VV_CACHE_FWD_STALE, .revalidated = true), "REVALIDATED");
    VV_CHECK_STR(WORD(.fwd = VV_CACHE_FWD_BYPASS), "BYPASS");
}
