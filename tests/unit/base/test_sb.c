/* tests/unit/base/test_sb.c - growth, formatting across the border, taking, failing for good. */
#include "base/sb.h"
#include "vv_test.h"
#include <stdlib.h>

VV_TEST(sb_grows_and_stays_terminated)
{
    struct vv_sb sb = VV_SB_INIT;
    for (int i = 0; i < 1000; i++) {
        vv_sb_addc(&sb, 'x');
        VV_CHECK_INT(sb.p[sb.n], 0);
    }
    VV_CHECK_INT(sb.n, 1000);
    vv_sb_reset(&sb);
    VV_CHECK_INT(vv_sb_str(&sb).n, 0);
    vv_sb_adds(&sb, "a");
    vv_sb_adds(&sb, NULL);
    vv_sb_addu(&sb, 0);
    vv_sb_addu(&sb, UINT64_MAX);
    VV_CHECK_STR(sb.p, "a018446744073709551615");
    vv_sb_fini(&sb);
    VV_CHECK_STR(vv_sb_str(&sb).p, "");
}

VV_TEST(sb_formats_texts_of_every_length_around_its_capacity)
{
    for (int n = 250; n < 262; n++) { /* the first block has 256 bytes */
        struct vv_sb sb = VV_SB_INIT;
        vv_sb_addf(&sb, "%0*d", n, 5);
        VV_CHECK_INT(sb.n, n);
        VV_CHECK_INT(strlen(sb.p), n);
        vv_sb_addf(&sb, "%s", "!");
        VV_CHECK_INT(sb.p[n], '!');
        VV_CHECK_INT(sb.p[n - 1], '5');
        vv_sb_fini(&sb);
    }
}

VV_TEST(sb_take_hands_over_and_starts_anew)
{
    struct vv_sb sb = VV_SB_INIT;
    vv_sb_adds(&sb, "mine");
    char *p = vv_sb_take(&sb);
    VV_CHECK_STR(p, "mine");
    VV_CHECK(sb.p == NULL);
    free(p);
    p = vv_sb_take(&sb); /* empty is a text too */
    VV_CHECK_STR(p, "");
    free(p);
}

VV_TEST(sb_remembers_its_first_failure)
{
    struct vv_sb sb = VV_SB_INIT;
    vv_sb_adds(&sb, "keep");
    vv_sb_add(&sb, (struct vv_str){"x", SIZE_MAX / 2}); /* refused before it is read */
    VV_CHECK(sb.failed);
    vv_sb_adds(&sb, "more");
    vv_sb_addf(&sb, "%d", 1);
    VV_CHECK_STR(sb.p, "keep");
    VV_CHECK(vv_sb_take(&sb) == NULL);
}

VV_TEST(text_between_tags_stays_text)
{
    struct vv_sb sb = VV_SB_INIT;
    vv_sb_add_markup(&sb, "<a href=\"x\">\x01 & b");
    vv_sb_add_markup(&sb, NULL);
    VV_CHECK_SLICE(vv_sb_str(&sb), "&lt;a href=&quot;x&quot;&gt;? &amp; b");
    vv_sb_fini(&sb);
}
