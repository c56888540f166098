/* src/app/view.h - the numbers of a running gateway as tables, shared by `status` and `top`.
 * Source: GET /api/v1/top. Threads: one. Ownership: borrows the JSON, appends to the text. */
#ifndef VV_APP_VIEW_H
#define VV_APP_VIEW_H
#include "app/cli.h"

#define VIEW_SORTS 5 /* name, rate, errors, p95, share of order in the file */

struct view {
    const json_t *o;
    size_t width, height; /* of the terminal; height 0: everything */
    unsigned sort;        /* which column of the routes, 0: as in the file */
    bool color;
    const char *eol;
};
void view_print(const struct view *v, struct vv_sb *out);
const char *view_sort_name(unsigned sort);
/* "1.2k", "3.4M"; buf >= 16. */
const char *view_count(double n, char *buf, size_t buf_bytes);
#endif
