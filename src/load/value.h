/* src/load/value.h - what a variable of a virtual user holds: any JSON value, in an arena.
 *
 * Model:     values are immutable trees. Numbers keep the text they print as, so that an id of twenty
 *            digits goes out as it came in.
 * Source:    RFC 8259; numbers made from doubles print as ECMAScript prints them (ECMA-262
 *            section 6.1.6.1.20), because scenario files were written for a JavaScript tool.
 * Threads:   pure. Ownership: the arena owns nodes and copied text.
 * Errors:    NULL or false: memory is out, or the text is no JSON.
 */
#ifndef VV_LOAD_VALUE_H
#define VV_LOAD_VALUE_H
#include "base/arena.h"
#include "base/err.h"
#include "base/sb.h"

enum vv_load_kind {
    VV_LOAD_NULL,
    VV_LOAD_BOOL,
    VV_LOAD_NUMBER,
    VV_LOAD_TEXT,
    VV_LOAD_LIST,
    VV_LOAD_MAP
};

struct vv_load_value {
    enum vv_load_kind kind;
    bool yes;                         /* BOOL */
    struct vv_str text;               /* TEXT; NUMBER: as it prints */
    size_t count;                     /* LIST, MAP */
    const struct vv_load_value *item; /* array of count */
    const struct vv_str *key;         /* MAP: array of count */
};

/* Reads one JSON text. Borrows nothing: the text may go away. NULL: no JSON, or memory is out. */
VV_MUST_CHECK const struct vv_load_value *vv_load_json_read(struct vv_arena *a, struct vv_str text);
void vv_load_json_write(const struct vv_load_value *v, struct vv_sb *out); /* compact */
/* With quotes and escapes, as compact as JSON.stringify(). */
void vv_load_json_text(struct vv_str text, struct vv_sb *out);
/* As JavaScript turns it into text: lists and maps as JSON, NULL prints "undefined". */
void vv_load_value_print(const struct vv_load_value *v, struct vv_sb *out);
/* Deep copy; NULL: memory is out. */
VV_MUST_CHECK const struct vv_load_value *vv_load_value_copy(struct vv_arena *a,
                                                             const struct vv_load_value *v);
VV_MUST_CHECK const struct vv_load_value *vv_load_value_text(struct vv_arena *a,
                                                             struct vv_str text);
VV_MUST_CHECK const struct vv_load_value *vv_load_value_number(struct vv_arena *a, double d);
/* A member of a map; NULL: none. */
const struct vv_load_value *vv_load_value_get(const struct vv_load_value *v, struct vv_str key);
bool vv_load_value_same(const struct vv_load_value *a, const struct vv_load_value *b);
/* The number a value stands for: of a NUMBER, of a TEXT that is one, of a BOOL. */
bool vv_load_value_to_double(const struct vv_load_value *v, double *ret);
/* buf_bytes at least 32. */
const char *vv_load_number_format(double d, char *buf, size_t buf_bytes);
#endif
