/* tests/unit/load/load_test.h - plans from text, users walking through them, answers made of text. */
#ifndef VV_LOAD_TEST_H
#define VV_LOAD_TEST_H
#include "load/program.h"
#include "vv_test.h"

#include <stdio.h>
#include <stdlib.h>

static inline const char *test_env(void *user, const char *name)
{
    (void)user;
    return strcmp(name, "PLACE") == 0 ? "http://shop.test:8080" : NULL;
}

struct read {
    struct vv_load_plan *plan; /* NULL: refused */
    char *problems;            /* printed, without colour */
};

static inline VV_UNUSED struct read read_source(const struct vv_load_source *source)
{
    struct read r = {NULL, NULL};
    struct vv_sb sb = VV_SB_INIT;
    struct vv_conf_problems *p = vv_conf_problems_new();
    assert_non_null(p);
    const enum vv_err err = vv_load_plan_read(source, p, &r.plan);
    assert_int_equal(err == VV_OK, r.plan != NULL);
    assert_int_equal(err == VV_OK, vv_conf_problems_errors(p) == 0);
    vv_conf_problems_print(p, false, "Nothing was sent.", &sb);
    vv_sb_adds(&sb, "");
    r.problems = vv_sb_take(&sb);
    vv_conf_problems_free(p);
    return r;
}

static inline struct read read_text(const char *text)
{
    const struct vv_load_source source = {.path = "test.yml", .text = text, .env = test_env};
    return read_source(&source);
}

/* A plan without a word said about it. */
static inline struct vv_load_plan *plan_of(const char *text)
{
    struct read r = read_text(text);
    if (r.problems[0] != '\0') {
        fail_msg("unexpected:\n%s", r.problems);
    }
    free(r.problems);
    return r.plan;
}

/* One of the problems says this. */
static inline void check_says(const char *text, const char *part)
{
    struct read r = read_text(text);
    if (strstr(r.problems, part) == NULL) {
        fail_msg("expected \"%s\" in:\n%s", part, r.problems);
    }
    free(r.problems);
    vv_load_plan_free(r.plan);
}

/* The next request as text; NULL: it was something else. The caller keeps nothing. */
static inline const char *next_text(struct vv_load_user *u)
{
    static char text[65536];
    struct vv_load_request q;
    uint64_t think = 0;
    if (vv_load_user_next(u, &q, &think) != VV_LOAD_REQUEST) {
        return NULL;
    }
    snprintf(text, sizeof text, VV_STR_FMT, VV_STR_ARG(q.bytes));
    return text;
}

/* Hands an answer to the user: head text with one body behind it. */
static inline const char *answer_counted(struct vv_load_user *u, const char *text,
                                         struct vv_load_tally *tally)
{
    static const struct vv_h1_limits limits = {8192, 32768, 100};
    struct vv_h1_head head;
    const struct vv_str all = vv_str_from(text);
    vv_h1_head_init(&head);
    assert_int_equal(vv_h1_parse_answer(&head, all, VV_METHOD_GET, &limits), VV_OK);
    return vv_load_user_answer(
        u, &head, (struct vv_str){all.p + head.head_bytes, all.n - head.head_bytes}, VV_MS, tally);
}

static inline const char *answer(struct vv_load_user *u, const char *text)
{
    return answer_counted(u, text, NULL);
}
#define OK_EMPTY "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
#endif
