/* src/app/diff.c - common head and tail are cut off first; what is left in the middle is small, so the
 * plain table of longest common subsequences does. */
#include "app/diff.h"

#include <stdlib.h>

#define CONTEXT 2
#define MIDDLE_MAX 4000 /* lines; beyond, the middle counts as replaced whole */

struct lines {
    struct vv_str *line;
    size_t n;
};

static struct lines split(struct vv_str text)
{
    struct lines l = {NULL, 0};
    size_t max = 1;
    for (size_t i = 0; i < text.n; i++) {
        max += text.p[i] == '\n';
    }
    l.line = calloc(max, sizeof *l.line);
    while (l.line != NULL && text.n > 0) {
        l.line[l.n++] = vv_str_cut(&text, '\n');
    }
    return l;
}

static void print(struct vv_sb *out, char sign, struct vv_str line, bool color)
{
    if (color && sign != ' ') {
        vv_sb_adds(out, sign == '-' ? "\033[31m" : "\033[32m");
    }
    vv_sb_addf(out, "%c ", sign);
    vv_sb_add(out, line);
    vv_sb_adds(out, color && sign != ' ' ? "\033[0m\n" : "\n");
}

/* best[i][j]: the longest common subsequence of a[i..] and b[j..]. */
static uint16_t *table(const struct vv_str *a, size_t n, const struct vv_str *b, size_t m)
{
    if (n > MIDDLE_MAX || m > MIDDLE_MAX) {
        return NULL;
    }
    uint16_t *best = calloc((n + 1) * (m + 1), sizeof *best);
    for (size_t i = n; best != NULL && i-- > 0;) {
        for (size_t j = m; j-- > 0;) {
            uint16_t *at = &best[i * (m + 1) + j];
            const uint16_t skip_a = at[m + 1], skip_b = at[1];
            *at = vv_str_eq(a[i], b[j]) ? (uint16_t)(at[m + 2] + 1)
                                        : (skip_a >= skip_b ? skip_a : skip_b);
        }
    }
    return best;
}

static void middle(const struct vv_str *a, size_t n, const struct vv_str *b, size_t m, bool color,
                   struct vv_sb *out)
{
    uint16_t *best = table(a, n, b, m);
    size_t i = 0, j = 0;
    while (best != NULL && i < n && j < m) {
        const uint16_t *at = &best[i * (m + 1) + j];
        if (vv_str_eq(a[i], b[j])) {
            print(out, ' ', a[i], color);
            i++;
            j++;
        } else if (at[m + 1] >= at[1]) {
            print(out, '-', a[i++], color);
        } else {
            print(out, '+', b[j++], color);
        }
    }
    while (i < n) {
        print(out, '-', a[i++], color);
    }
    while (j < m) {
        print(out, '+', b[j++], color);
    }
    free(best);
}

void diff_print(struct vv_str a, struct vv_str b, bool color, struct vv_sb *out)
{
    struct lines x = split(a), y = split(b);
    size_t head = 0, tail = 0;
    if (x.line == NULL || y.line == NULL) {
        free(x.line);
        free(y.line);
        return;
    }
    while (head < x.n && head < y.n && vv_str_eq(x.line[head], y.line[head])) {
        head++;
    }
    while (tail < x.n - head && tail < y.n - head &&
           vv_str_eq(x.line[x.n - 1 - tail], y.line[y.n - 1 - tail])) {
        tail++;
    }
    if (head < x.n || head < y.n) {
        for (size_t i = head > CONTEXT ? head - CONTEXT : 0; i < head; i++) {
            print(out, ' ', x.line[i], color);
        }
        middle(x.line + head, x.n - head - tail, y.line + head, y.n - head - tail, color, out);
        for (size_t i = x.n - tail; i < x.n && i < x.n - tail + CONTEXT; i++) {
            print(out, ' ', x.line[i], color);
        }
    }
    free(x.line);
    free(y.line);
}
