/* tests/unit/conf/test_json.c - values of any shape as JSON, and lists that may be one value alone. */
#include "conf/conf.h"
#include "conf/node.h"
#include "vv_test.h"

#include <stdio.h>
#include <stdlib.h>

struct pen {
    const char *colour;
};
struct desk {
    const char *any;
    struct vv_conf_list *pens;
};
static const struct vv_conf_row pen_rows[] = {
    {VV_CONF_FIELD(struct pen, colour), .key = "colour", .type = VV_CONF_TEXT, .required = true,
     .doc = "Its colour."},
};
static const struct vv_conf_short pen_shorts[] = {{VV_CONF_FORM_SCALAR, "colour"}};
static const struct vv_conf_section pen_section = {.name = "pen",
                                                   .size = sizeof(struct pen),
                                                   .rows = pen_rows,
                                                   .row_count = 1,
                                                   .shorts = pen_shorts,
                                                   .short_count = 1,
                                                   .doc = "A pen."};
static const struct vv_conf_row desk_rows[] = {
    {VV_CONF_FIELD(struct desk, any), .key = "any", .type = VV_CONF_JSON, .doc = "Anything."},
    {VV_CONF_FIELD(struct desk, pens), .key = "pens", .type = VV_CONF_LIST, .section = &pen_section,
     .one = true, .doc = "The pens."},
};
static const struct vv_conf_section desk_section = {.name = "desk",
                                                    .size = sizeof(struct desk),
                                                    .rows = desk_rows,
                                                    .row_count = 2,
                                                    .doc = "A desk."};

static const char *variable(void *user, const char *name)
{
    (void)user;
    return strcmp(name, "NUMBER") == 0 ? "7" : strcmp(name, "WORD") == 0 ? "yes" : "$5 {\"a\"}";
}

static struct vv_conf_doc *load(const char *text, const char *problem)
{
    const struct vv_conf_source source = {
        .path = "desk.yaml", .text = text, .no_files = true, .env = variable};
    struct vv_conf_problems *p = vv_conf_problems_new();
    struct vv_conf_doc *doc = NULL;
    struct vv_sb sb = VV_SB_INIT;
    const enum vv_err err = vv_conf_load(&source, &desk_section, NULL, p, &doc);
    vv_conf_problems_print(p, false, "", &sb);
    vv_sb_adds(&sb, "");
    if (problem == NULL) {
        VV_CHECK_STR(sb.p, "");
        VV_CHECK_INT(err, VV_OK);
    } else if (strstr(sb.p, problem) == NULL) {
        fail_msg("expected \"%s\" in:\n%s", problem, sb.p);
    }
    vv_sb_fini(&sb);
    vv_conf_problems_free(p);
    return doc;
}

static void check_json(const char *yaml, const char *json)
{
    char text[1024];
    snprintf(text, sizeof text, "any: %s\n", yaml);
    struct vv_conf_doc *doc = load(text, NULL);
    VV_CHECK_STR(((struct desk *)vv_conf_root(doc))->any, json);
    vv_conf_free(doc);
}

static char *shown(const char *text, unsigned flags)
{
    struct vv_conf_doc *doc = load(text, NULL);
    struct vv_sb sb = VV_SB_INIT;
    vv_conf_show(doc, flags, &sb);
    vv_conf_free(doc);
    return vv_sb_take(&sb);
}

VV_TEST(any_value_becomes_compact_json)
{
    check_json("{name: User, plan: free, tags: [a, {}], none: null}",
               "{\"name\":\"User\",\"plan\":\"free\",\"tags\":[\"a\",{}],\"none\":null}");
    check_json("text", "\"text\"");
    check_json("\"say \\\"no\\\"\"", "\"say \\\"no\\\"\"");
    check_json("[]", "[]");
    check_json("true", "true");
    check_json("\"true\"", "\"true\"");
}

VV_TEST(numbers_stay_as_they_are_written)
{
    check_json("[0, -1, 1.50, 1e3, -0.5E-7, 12345678901234567890123]",
               "[0,-1,1.50,1e3,-0.5E-7,12345678901234567890123]");
    check_json("\"7\"", "\"7\"");
    /* numbers to YAML at most: text */
    check_json("[007, 0x1f, .5, +1, 1., 1e, .inf]",
               "[\"007\",\"0x1f\",\".5\",\"+1\",\"1.\",\"1e\",\".inf\"]");
}

VV_TEST(values_from_outside_never_change_the_shape)
{
    check_json("{i: \"${NUMBER}\", t: \"${OTHER}\", d: $$x}",
               "{\"i\":7,\"t\":\"$5 {\\\"a\\\"}\",\"d\":\"$x\"}");
}

VV_TEST(nothing_and_a_key_twice_are_mistakes)
{
    vv_conf_free(load("any:\n", "desk.yaml:1:1: error: any has no value"));
    vv_conf_free(load("any: {a: 1, b: {c: 1, c: 2}}\n", "key \"c\" is given twice"));
}

VV_TEST(what_is_shown_loads_again_to_the_same_json)
{
    static const char text[] =
        "any: {a: -1, b: \"-1\", c: 1.50, d: [x, [z, null], {k: \"no\"}], e: "
        "\"${WORD}\", f: $$x, g: \"\"}\npens: red\n";
    struct vv_conf_doc *doc = load(text, NULL);
    const unsigned forms[] = {0, VV_CONF_SHOW_LONG, VV_CONF_SHOW_LONG | VV_CONF_SHOW_ORIGIN};
    for (size_t i = 0; i < VV_COUNT(forms); i++) {
        char *again = shown(text, forms[i]);
        struct vv_conf_doc *other = load(again, NULL);
        VV_CHECK_STR(((struct desk *)vv_conf_root(other))->any,
                     ((struct desk *)vv_conf_root(doc))->any);
        vv_conf_free(other);
        free(again);
    }
    vv_conf_free(doc);
    char *json = shown("any: [1.5, -2, 3, x]\n", VV_CONF_SHOW_JSON);
    VV_CHECK_STR(json, "{\"any\":[1.5,-2,3,\"x\"]}");
    free(json);
    char *origin = shown("any: 1.5\n", VV_CONF_SHOW_LONG | VV_CONF_SHOW_ORIGIN);
    VV_CHECK_STR(origin, "any: 1.5  # desk.yaml:1\n");
    free(origin);
}

VV_TEST(a_list_of_one_may_be_written_without_a_list)
{
    static const char *const forms[] = {"pens: red\n", "pens: {colour: red}\n", "pens: [red]\n",
                                        "pens: [{colour: red}]\n"};
    for (size_t i = 0; i < VV_COUNT(forms); i++) {
        struct vv_conf_doc *doc = load(forms[i], NULL);
        const struct desk *d = vv_conf_root(doc);
        VV_CHECK_INT(d->pens->count, 1);
        VV_CHECK_STR(((struct pen *)d->pens->item[0])->colour, "red");
        vv_conf_free(doc);
    }
    char *text = shown("pens: [{colour: red}]\n", 0);
    VV_CHECK_STR(text, "pens: red\n");
    free(text);
    text = shown("pens: [red, blue]\n", 0);
    VV_CHECK_STR(text, "pens: [red, blue]\n");
    free(text);
    vv_conf_free(load("pens: {color: red}\n", "unknown key \"color\" in pens\n"));
    vv_conf_free(load("pens: [red, {color: red}]\n", "unknown key \"color\" in pens[1]"));
    vv_conf_free(load("pens:\n", "pens has no value"));
}

VV_TEST(schema_and_reference_know_both)
{
    struct vv_sb sb = VV_SB_INIT;
    vv_conf_schema(&desk_section, &sb);
    VV_CHECK(strstr(sb.p, "{}") != NULL); /* the schema of anything */
    vv_sb_fini(&sb);
    vv_conf_reference(&desk_section, &sb);
    VV_CHECK(strstr(sb.p, "| `any` | any value |") != NULL);
    VV_CHECK(strstr(sb.p, "| `pens` | one or a list |") != NULL);
    vv_sb_fini(&sb);
}
