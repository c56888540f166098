/* tests/unit/cache/cases.h - heads from one line of text: "~" ends a field. */
#ifndef CACHE_CASES_H
#define CACHE_CASES_H
#include "vv_test.h"
#include "wire/http1.h"
#include <stdio.h>

/* The slices of a head point into the text: one text for each head that lives at the same time. */
struct head_case {
    struct vv_h1_head head;
    char text[1024];
};

static inline void fields_of(char *out, size_t cap, const char *start, const char *fields)
{
    size_t n = (size_t)snprintf(out, cap, "%s\r\n", start);
    for (const char *c = fields; *c != '\0'; c++) {
        n += (size_t)snprintf(out + n, cap - n, *c == '~' ? "\r\n" : "%c", *c);
    }
    snprintf(out + n, cap - n, "%s\r\n", *fields != '\0' ? "\r\n" : "");
}

static inline const struct vv_h1_head *request_of(struct head_case *c, const char *method,
                                                  const char *fields)
{
    static const struct vv_h1_limits limits = {1024, 1024, 32};
    char start[64];
    snprintf(start, sizeof start, "%s / HTTP/1.1\r\nHost: h", method);
    fields_of(c->text, sizeof c->text, start, fields);
    vv_h1_head_init(&c->head);
    assert_int_equal(vv_h1_parse_request(&c->head, vv_str_from(c->text), &limits), VV_OK);
    return &c->head;
}

static inline const struct vv_h1_head *answer_of(struct head_case *c, int status,
                                                 const char *fields)
{
    static const struct vv_h1_limits limits = {1024, 1024, 32};
    char start[32];
    snprintf(start, sizeof start, "HTTP/1.1 %d X", status);
    fields_of(c->text, sizeof c->text, start, fields);
    vv_h1_head_init(&c->head);
    assert_int_equal(vv_h1_parse_answer(&c->head, vv_str_from(c->text), VV_METHOD_GET, &limits),
                     VV_OK);
    return &c->head;
}
#endif
