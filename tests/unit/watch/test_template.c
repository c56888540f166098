/* tests/unit/watch/test_template.c - what Go's templates and fmt print, by their documentation. */
#include "vv_test.h"
#include "watch/labels.h"
#include "watch/template.h"

#include <math.h>
#include <stdio.h>

static char answer[2000];

static const char *expand(const char *text, double value)
{
    static const struct vv_promql_label labels[] = {{VV_STR("instance"), VV_STR("[::1]:80")},
                                                    {VV_STR("job"), VV_STR("api one")}};
    const struct vv_template_data data = {
        .labels = {labels, 2}, .external_url = VV_STR("http://x"), .value = value};
    struct vv_arena arena;
    struct vv_template_error why;
    const struct vv_template *t = NULL;
    struct vv_sb out = VV_SB_INIT;
    vv_arena_init(&arena, NULL, 0, 4096, 0);
    const enum vv_err err = vv_template_compile(vv_str_from(text), &arena, &t, &why);
    if (err == VV_OK) {
        (void)vv_template_expand(t, &data, &out);
        snprintf(answer, sizeof answer, "%s", out.n > 0 ? out.p : "");
    } else {
        snprintf(answer, sizeof answer, "%zu: %s", why.at, why.text);
    }
    vv_sb_fini(&out);
    vv_arena_fini(&arena);
    return answer;
}

VV_TEST(values_print_as_go_prints_them)
{
    VV_CHECK_STR(expand("is {{ $value }}s", 0.25), "is 0.25s");
    VV_CHECK_STR(expand("{{.Value}}", 0.1), "0.1");
    VV_CHECK_STR(expand("{{ $value }}", 42), "42");
    VV_CHECK_STR(expand("{{ $value }}", NAN), "NaN");
    VV_CHECK_STR(expand("{{ $value }}", -INFINITY), "-Inf");
    VV_CHECK_STR(expand("{{ $value }}", 1e-5), "1e-05");
    VV_CHECK_STR(expand("{{ $value }}", 1e22), "1e+22");
}

VV_TEST(labels_are_found_by_name)
{
    VV_CHECK_STR(expand("{{ $labels.job }}/{{ .Labels.job }}/{{ $labels.none }}.", 1),
                 "api one/api one/.");
    VV_CHECK_STR(expand("{{ index $labels \"job\" }} {{ $externalURL }}", 1), "api one http://x");
    VV_CHECK_STR(expand("{{ $labels.instance | stripPort }}", 1), "::1");
    VV_CHECK_STR(expand("{{ $labels.job | title }} {{ toUpper $labels.job }}", 1),
                 "Api One API ONE");
    VV_CHECK_STR(expand("{{ $labels }}", 1), "map[instance:[::1]:80 job:api one]");
}

VV_TEST(humanizing_keeps_four_digits)
{
    VV_CHECK_STR(expand("{{ humanize $value }}", 1234567), "1.235M"); /* 1.234567 M */
    VV_CHECK_STR(expand("{{ $value | humanize }}", 0.00123), "1.23m");
    VV_CHECK_STR(expand("{{ $value | humanize }}", 0), "0");
    VV_CHECK_STR(expand("{{ $value | humanize1024 }}", 1536), "1.5ki"); /* 1536 / 1024 */
    VV_CHECK_STR(expand("{{ $value | humanizePercentage }}", 0.8512345), "85.12%");
    VV_CHECK_STR(expand("{{ $value | humanizePercentage }}", INFINITY), "+Inf%");
    VV_CHECK_STR(expand("{{ $value | humanizeDuration }}", 93784), "1d 2h 3m 4s");
    VV_CHECK_STR(expand("{{ $value | humanizeDuration }}", -61.7), "-1m 1s");
    VV_CHECK_STR(expand("{{ $value | humanizeDuration }}", 1.23456), "1.235s");
    VV_CHECK_STR(expand("{{ $value | humanizeDuration }}", 0.0125), "12.5ms");
    VV_CHECK_STR(expand("{{ $value | humanizeTimestamp }}", 1435065584.128),
                 "2015-06-23 13:19:44.128 +0000 UTC");
}

VV_TEST(printf_follows_its_verbs)
{
    VV_CHECK_STR(expand("{{ printf \"%.2f of %s\" $value $labels.job }}", 1.005),
                 "1.00 of api one");
    VV_CHECK_STR(expand("{{ $value | printf \"%.1f%%\" }}", 12.34), "12.3%");
    VV_CHECK_STR(expand("{{ printf \"%d %5.1f|%-4d|\" 7 $value 3 }}", 2.25), "7   2.2|3   |");
    VV_CHECK_STR(expand("{{ printf \"%d\" $value }}", 1.5), "%!d(float64=1.5)");
    VV_CHECK_STR(expand("{{ printf \"%s\" }}", 1.5), "%!s(MISSING)");
    VV_CHECK_STR(expand("{{ printf \"%q\" $labels.job }}", 1.5), "\"api one\"");
}

VV_TEST(conditions_choose)
{
    static const char text[] = "{{ if gt $value 2.0 }}high{{ else if eq $value 2.0 }}two"
                               "{{ else }}low{{ end }}!";
    VV_CHECK_STR(expand(text, 3), "high!");
    VV_CHECK_STR(expand(text, 2), "two!");
    VV_CHECK_STR(expand(text, 1), "low!");
    VV_CHECK_STR(expand("{{ if and $labels.job (not $labels.none) }}yes{{ end }}", 1), "yes");
}

VV_TEST(spaces_beside_a_dash_are_trimmed_and_comments_vanish)
{
    VV_CHECK_STR(expand("a  {{- 1 -}}  b{{/* \"no }} end */}}c", 1), "a1bc");
    VV_CHECK_STR(expand("a {{ -1 }} b", 1), "a -1 b");
}

VV_TEST(mistakes_have_a_place)
{
    VV_CHECK_STR(expand("ab {{ $value", 1), "5: \"{{\" without \"}}\"");
    VV_CHECK_STR(expand("{{ nothing }}", 1), "3: unknown function \"nothing\"");
    VV_CHECK_STR(expand("{{ $other }}", 1), "3: unknown name \"$other\"");
    VV_CHECK_STR(expand("{{ end }}", 1), "9: \"end\" or \"else\" without \"if\"");
    VV_CHECK_STR(expand("{{ humanize }}", 1), "3: wrong number of arguments for humanize");
    VV_CHECK_STR(expand("{{ query \"up\" }}", 1),
                 "3: query is not supported: templates ask no queries here");
    VV_CHECK_STR(expand("{{ if $value }}x", 1), "6: \"if\" without \"end\"");
}

VV_TEST(what_fails_in_use_says_so_in_the_text)
{
    VV_CHECK_STR(expand("x {{ humanize $labels.job }}", 1),
                 "<error expanding template: a number was expected>");
}
