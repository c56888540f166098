/* src/app/table.h - columns of text for status and top: widths from the content, numbers to the right.
 * Ownership: the table copies. Threads: one. */
#ifndef VV_APP_TABLE_H
#define VV_APP_TABLE_H
#include "base/sb.h"

#define TABLE_COLUMNS 12
#define TABLE_ROWS 4096
#define TABLE_CELL 48

struct table {
    size_t columns, rows;
    const char *title[TABLE_COLUMNS]; /* a leading '>' aligns the column to the right */
    char (*cell)[TABLE_CELL];         /* rows * columns */
    const char **color;               /* per row, an SGR number or NULL */
};
VV_MUST_CHECK bool table_init(struct table *t, const char *const *titles, size_t columns);
void table_fini(struct table *t);
bool table_row(struct table *t, const char *color); /* false: full, cells then go nowhere */
void table_cell(struct table *t, size_t column, const char *fmt, ...) VV_PRINTF(3, 4);
/* At most `rows` rows from `first` on, cut to `width` columns of the terminal; `eol` ends lines. */
void table_print(const struct table *t, size_t first, size_t rows, size_t width, bool color,
                 const char *eol, struct vv_sb *out);
#endif
