/* src/load/csv.h - rows of comma-separated values, one at a time.
 *
 * Model:     quotes ("a ""b"", c") may hold separators and line ends; lines end with LF or CRLF; a
 *            byte order mark is skipped; empty lines may be.
 * Source:    RFC 4180. Threads: pure. Ownership: fields borrow the text, or the arena when quotes had
 *            to be undone. Errors: VV_ENOENT: no more rows. VV_ESYNTAX: *reterr_line, counted from 1,
 *            has a quote that never ends. VV_ENOMEM.
 */
#ifndef VV_LOAD_CSV_H
#define VV_LOAD_CSV_H
#include "base/arena.h"
#include "base/err.h"

struct vv_load_csv { /* PRIVATE fields but `line` */
    struct vv_arena *arena;
    struct vv_str rest;
    char separator;
    bool keep_empty;
    size_t line; /* of the row returned last */
    size_t next_line;
    struct vv_str *field;
    size_t room;
};
void vv_load_csv_init(struct vv_load_csv *c, struct vv_arena *arena, struct vv_str text,
                      char separator);
/* The fields are valid until the next call. */
VV_MUST_CHECK enum vv_err vv_load_csv_next(struct vv_load_csv *c, const struct vv_str **ret_fields,
                                           size_t *ret_count, size_t *reterr_line);
#endif
