/* src/app/table.c - fixed cells: what does not fit is cut, a live view must not jump. */
#include "app/table.h"

#include <stdio.h>
#include <stdlib.h>

bool table_init(struct table *t, const char *const *titles, size_t columns)
{
    *t = (struct table){.columns = columns};
    VV_ASSERT(columns <= TABLE_COLUMNS);
    memcpy(t->title, titles, columns * sizeof titles[0]);
    return true;
}

void table_fini(struct table *t)
{
    free(t->cell);
    free(t->color);
    *t = (struct table){0};
}

bool table_row(struct table *t, const char *color)
{
    if (t->rows == TABLE_ROWS) {
        return false;
    }
    char(*cell)[TABLE_CELL] = realloc(t->cell, (t->rows + 1) * t->columns * sizeof *cell);
    if (cell == NULL) {
        return false;
    }
    t->cell = cell;
    const char **colors = realloc(t->color, (t->rows + 1) * sizeof(const char *));
    if (colors == NULL) {
        return false;
    }
    t->color = colors;
    t->color[t->rows] = color;
    memset(t->cell[t->rows * t->columns], 0, t->columns * sizeof *cell);
    t->rows++;
    return true;
}

void table_cell(struct table *t, size_t column, const char *fmt, ...)
{
    struct vv_sb text = VV_SB_INIT;
    va_list args;
    if (t->rows == 0 || column >= t->columns) {
        return;
    }
    char *cell = t->cell[(t->rows - 1) * t->columns + column];
    va_start(args, fmt);
    vv_sb_vaddf(&text, fmt, args);
    va_end(args);
    (void)snprintf(cell, TABLE_CELL, "%s", vv_sb_str(&text).p);
    vv_sb_fini(&text);
    for (char *p = cell; *p != '\0'; p++) { /* names come from files: keep the terminal safe */
        if ((unsigned char)*p < 0x20 || *p == 0x7f) {
            *p = '?';
        }
    }
}

/* Bytes that begin a character: UTF-8 continuation bytes take no column. */
static size_t columns_of(const char *text)
{
    size_t n = 0;
    for (; *text != '\0'; text++) {
        n += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return n;
}

static void pad(struct vv_sb *out, size_t n)
{
    while (n-- > 0) {
        vv_sb_addc(out, ' ');
    }
}

static void print_cell(struct vv_sb *out, const char *text, size_t width, bool right, bool last)
{
    const size_t used = columns_of(text);
    const size_t space = width > used ? width - used : 0;
    if (right) {
        pad(out, space);
    }
    vv_sb_adds(out, text);
    if (!right && !last) {
        pad(out, space);
    }
}

static void print_line(const struct table *t, const size_t *width, size_t total,
                       const char *const *text, struct vv_sb *out)
{
    size_t used = 0;
    for (size_t c = 0; c < t->columns; c++) {
        const bool right = t->title[c][0] == '>';
        if (c > 0 && used + 2 + width[c] > total) {
            return; /* the narrow terminal loses the last columns */
        }
        if (c > 0) {
            pad(out, 2);
        }
        print_cell(out, text[c], width[c], right, c + 1 == t->columns);
        used += width[c] + (c > 0 ? 2 : 0);
    }
}

void table_print(const struct table *t, size_t first, size_t rows, size_t width, bool color,
                 const char *eol, struct vv_sb *out)
{
    size_t wide[TABLE_COLUMNS] = {0};
    const char *text[TABLE_COLUMNS];
    for (size_t c = 0; c < t->columns; c++) {
        text[c] = t->title[c] + (t->title[c][0] == '>');
        wide[c] = columns_of(text[c]);
        for (size_t r = 0; r < t->rows; r++) {
            const size_t n = columns_of(t->cell[r * t->columns + c]);
            wide[c] = n > wide[c] ? n : wide[c];
        }
    }
    vv_sb_adds(out, color ? "\033[1m" : "");
    print_line(t, wide, width, text, out);
    vv_sb_adds(out, color ? "\033[0m" : "");
    vv_sb_adds(out, eol);
    for (size_t r = first; r < t->rows && r < first + rows; r++) {
        for (size_t c = 0; c < t->columns; c++) {
            text[c] = t->cell[r * t->columns + c];
        }
        if (color && t->color[r] != NULL) {
            vv_sb_addf(out, "\033[%sm", t->color[r]);
        }
        print_line(t, wide, width, text, out);
        vv_sb_adds(out, color && t->color[r] != NULL ? "\033[0m" : "");
        vv_sb_adds(out, eol);
    }
}
