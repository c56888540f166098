/* tests/unit/conf/conf_test.h - a small made-up section, and loads from text, for tests of the engine. */
#ifndef VV_CONF_TEST_H
#define VV_CONF_TEST_H
#include "conf/conf.h"
#include "vv_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct wheel {
    const char *name;
    uint64_t spokes;
    const char *maker;
};
struct waits {
    uint64_t first_ns, whole_ns;
};
struct bike { /* the root */
    uint64_t gears, light, price_bytes, slope_ppm, pause_ns, kind, mode, lanes;
    const char *owner, *lock, *motto;
    struct vv_conf_list *colours, *wheels, *trips;
    struct waits waits;
};
struct trip {
    const char *to;
    struct waits waits;
    struct vv_conf_pos at;
};

#define FIELD(f) VV_CONF_FIELD(struct wheel, f)
static const struct vv_conf_row wheel_rows[] = {
    {FIELD(name), .type = VV_CONF_NAME},
    {FIELD(spokes), .key = "spokes", .type = VV_CONF_COUNT, .def = "32", .min = "8", .max = "64",
     .doc = "How many spokes."},
    {FIELD(maker), .key = "maker", .type = VV_CONF_TEXT, .nullable = true, .doc = "Who made it."},
};
#undef FIELD
static const struct vv_conf_short wheel_shorts[] = {{VV_CONF_FORM_NUMBER, "spokes"},
                                                    {VV_CONF_FORM_SCALAR, "maker"}};
static const struct vv_conf_section wheel_section = {.name = "wheel",
                                                     .size = sizeof(struct wheel),
                                                     .rows = wheel_rows,
                                                     .row_count = VV_COUNT(wheel_rows),
                                                     .shorts = wheel_shorts,
                                                     .short_count = 2,
                                                     .doc = "A wheel."};

#define FIELD(f) VV_CONF_FIELD(struct waits, f)
static const struct vv_conf_row waits_rows[] = {
    {FIELD(first_ns), .key = "first", .type = VV_CONF_DURATION, .def = "2s", .doc = "First."},
    {FIELD(whole_ns), .key = "whole", .type = VV_CONF_DURATION, .def = "9s", .doc = "Whole."},
};
#undef FIELD
static const struct vv_conf_section waits_section = {.name = "waits",
                                                     .size = sizeof(struct waits),
                                                     .rows = waits_rows,
                                                     .row_count = VV_COUNT(waits_rows),
                                                     .doc = "Waits."};

#define FIELD(f) VV_CONF_FIELD(struct trip, f)
static const struct vv_conf_row trip_rows[] = {
    {FIELD(to), .key = "to", .type = VV_CONF_TEXT, .required = true, .doc = "Where to."},
    {FIELD(waits.whole_ns), .key = "wait", .type = VV_CONF_DURATION, .store = "waits.whole",
     .doc = "Short for waits.whole."},
    {FIELD(waits), .key = "waits", .type = VV_CONF_SECTION, .section = &waits_section,
     .inherit = true, .doc = "Waits."},
    {FIELD(at), .type = VV_CONF_AT},
};
#undef FIELD
static const struct vv_conf_section trip_section = {.name = "trip",
                                                    .size = sizeof(struct trip),
                                                    .rows = trip_rows,
                                                    .row_count = VV_COUNT(trip_rows),
                                                    .doc = "A trip."};

static const char *const kinds[] = {"road", "city", "mountain", NULL};
#define FIELD(f) VV_CONF_FIELD(struct bike, f)
static const struct vv_conf_row bike_rows[] = {
    {.key = "include", .type = VV_CONF_INCLUDE, .doc = "Files."},
    {.key = "profile", .type = VV_CONF_PROFILE, .doc = "Profile."},
    {.key = "profiles", .type = VV_CONF_PROFILES, .doc = "Profiles."},
    {FIELD(gears), .key = "gears", .type = VV_CONF_COUNT, .def = "7", .min = "1", .max = "27",
     .doc = "Gears."},
    {FIELD(light), .key = "light", .type = VV_CONF_BOOL, .def = "true", .doc = "Light."},
    {FIELD(price_bytes), .key = "price", .type = VV_CONF_SIZE, .def = "1KB", .doc = "Price."},
    {FIELD(slope_ppm), .key = "slope", .type = VV_CONF_PPM, .def = "10%", .max = "50%",
     .doc = "Slope."},
    {FIELD(pause_ns), .key = "pause", .type = VV_CONF_DURATION, .def = "30s", .min = "1s",
     .doc = "Pause."},
    {FIELD(kind), .key = "kind", .type = VV_CONF_ENUM, .def = "city", .names = kinds,
     .doc = "Kind."},
    {FIELD(mode), .key = "mode", .type = VV_CONF_OCTAL, .def = "0660", .doc = "Mode."},
    {FIELD(lanes), .key = "lanes", .type = VV_CONF_COUNT, .def = "auto", .word = "auto",
     .doc = "Lanes."},
    {FIELD(owner), .key = "owner", .type = VV_CONF_TEXT, .doc = "Owner."},
    {FIELD(lock), .key = "lock", .type = VV_CONF_TEXT, .secret = true, .doc = "Lock."},
    {FIELD(motto), .key = "motto", .type = VV_CONF_TEMPLATE, .doc = "Motto."},
    {FIELD(colours), .key = "colours", .type = VV_CONF_TEXTS, .doc = "Colours."},
    {FIELD(wheels), .key = "wheels", .type = VV_CONF_MAP, .section = &wheel_section,
     .bare_name = "front", .doc = "Wheels."},
    {FIELD(trips), .key = "trips", .type = VV_CONF_LIST, .section = &trip_section, .doc = "Trips."},
    {FIELD(waits), .key = "waits", .type = VV_CONF_SECTION, .section = &waits_section,
     .doc = "Waits."},
};
#undef FIELD
static const struct vv_conf_section bike_section = {.name = "bike",
                                                    .size = sizeof(struct bike),
                                                    .rows = bike_rows,
                                                    .row_count = VV_COUNT(bike_rows),
                                                    .doc = "A bicycle."};

struct loaded {
    struct vv_conf_doc *doc;
    struct bike *bike;
    char *problems; /* printed, without colour */
    size_t errors, warnings;
};

static const char *test_variable(void *user, const char *name)
{
    (void)user;
    return strcmp(name, "OWNER") == 0    ? "Ada: [x, $host"
           : strcmp(name, "EMPTY") == 0  ? ""
           : strcmp(name, "GEARS") == 0  ? "12"
           : strcmp(name, "COLOUR") == 0 ? "red, green"
                                         : NULL;
}

static inline struct loaded load_source(const struct vv_conf_source *source)
{
    struct loaded l = {0};
    struct vv_sb sb = VV_SB_INIT;
    struct vv_conf_problems *p = vv_conf_problems_new();
    assert_non_null(p);
    const enum vv_err err = vv_conf_load(source, &bike_section, NULL, p, &l.doc);
    l.errors = vv_conf_problems_errors(p);
    l.warnings = vv_conf_problems_warnings(p);
    assert_int_equal(err == VV_OK, l.errors == 0);
    l.bike = err == VV_OK ? vv_conf_root(l.doc) : NULL;
    vv_conf_problems_print(p, false, "Nothing was started.", &sb);
    vv_sb_adds(&sb, "");
    l.problems = vv_sb_take(&sb);
    vv_conf_problems_free(p);
    return l;
}

static inline struct loaded load_text(const char *text)
{
    const struct vv_conf_source source = {.path = "bike.yaml", .text = text, .env = test_variable};
    return load_source(&source);
}

static inline void unload(struct loaded *l)
{
    vv_conf_free(l->doc);
    free(l->problems);
}

/* The text loads with exactly these problems. */
static inline void check_problems(const char *text, const char *problems)
{
    struct loaded l = load_text(text);
    VV_CHECK_STR(l.problems, problems);
    unload(&l);
}

/* One of the problems says this. */
static inline void check_says(const char *text, const char *part)
{
    struct loaded l = load_text(text);
    if (strstr(l.problems, part) == NULL) {
        fail_msg("expected \"%s\" in:\n%s", part, l.problems);
    }
    unload(&l);
}

static inline void check_fine(const char *text)
{
    check_problems(text, "");
}
#endif
