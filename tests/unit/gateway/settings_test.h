/* tests/unit/gateway/settings_test.h - configurations from text, for tests of the settings. */
#ifndef VV_SETTINGS_TEST_H
#define VV_SETTINGS_TEST_H
#include "gateway/settings_int.h"
#include "vv_test.h"

#include <stdio.h>
#include <stdlib.h>

struct loaded {
    struct vv_settings *s;
    char *problems;
    size_t errors, warnings;
};

static inline struct loaded load_source(const struct vv_conf_source *source)
{
    struct loaded l = {0};
    struct vv_sb sb = VV_SB_INIT;
    struct vv_conf_problems *p = vv_conf_problems_new();
    assert_non_null(p);
    const enum vv_err err = vv_settings_load(source, p, &l.s);
    l.errors = vv_conf_problems_errors(p);
    l.warnings = vv_conf_problems_warnings(p);
    assert_int_equal(err, l.errors == 0 ? VV_OK : VV_ECONFIG);
    vv_conf_problems_print(p, false, "Nothing was started.", &sb);
    vv_sb_adds(&sb, "");
    l.problems = vv_sb_take(&sb);
    vv_conf_problems_free(p);
    return l;
}

static inline struct loaded load_text(const char *text)
{
    const struct vv_conf_source source = {.path = "v.yaml", .text = text, .no_files = true};
    return load_source(&source);
}

static inline void unload(struct loaded *l)
{
    vv_settings_free(l->s);
    free(l->problems);
}

static inline struct loaded load_fine(const char *text)
{
    struct loaded l = load_text(text);
    VV_CHECK_STR(l.problems, "");
    return l;
}

static inline void check_says(const char *text, const char *part)
{
    struct loaded l = load_text(text);
    if (strstr(l.problems, part) == NULL) {
        fail_msg("expected \"%s\" in:\n%s", part, l.problems);
    }
    unload(&l);
}

/* The text with `listen` and a service "a" before it. */
static inline void routes_say(const char *routes, const char *part)
{
    char text[2048];
    snprintf(text, sizeof text, "listen: 80\nservices: {a: [h:1]}\nroutes:\n%s", routes);
    check_says(text, part);
}

static inline void routes_are_fine(const char *routes)
{
    char text[2048];
    snprintf(text, sizeof text, "listen: 80\nservices: {a: [h:1]}\nroutes:\n%s", routes);
    struct loaded l = load_fine(text);
    unload(&l);
}
#endif
