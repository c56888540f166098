/* src/conf/near.c - which known name did the user mean?
 *
 * Optimal string alignment (Damerau 1964, restricted): one unit for an insertion, a deletion, a
 * substitution or a swap of neighbours, because these four are what fingers do. Letter case costs
 * nothing, and "-" equals "_". A suggestion must be within a third of the word's length, else it
 * would only confuse. */
#include "conf/conf_int.h"

#define WORD_MAX 64

static char folded(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return (char)(c - 'A' + 'a');
    }
    return c == '-' ? '_' : c;
}

static size_t min3(size_t a, size_t b, size_t c)
{
    const size_t least = a < b ? a : b;
    return least < c ? least : c;
}

static size_t distance(const char *a, size_t an, const char *b, size_t bn)
{
    size_t rows[3][WORD_MAX + 1];
    for (size_t j = 0; j <= bn; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= an; i++) {
        size_t *now = rows[i % 3];
        const size_t *one = rows[(i + 2) % 3];
        const size_t *two = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= bn; j++) {
            const char x = folded(a[i - 1]), y = folded(b[j - 1]);
            now[j] = min3(one[j] + 1, now[j - 1] + 1, one[j - 1] + (x == y ? 0 : 1));
            if (i > 1 && j > 1 && x == folded(b[j - 2]) && folded(a[i - 2]) == y &&
                two[j - 2] + 1 < now[j]) {
                now[j] = two[j - 2] + 1;
            }
        }
    }
    return rows[an % 3][bn];
}

const char *vv_conf_nearest(const char *word, const char *const *names, size_t count)
{
    const char *best = NULL;
    const size_t n = strlen(word);
    size_t least = n < 3 ? 1 : (n + 2) / 3;
    if (n == 0 || n > WORD_MAX) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        const size_t m = names[i] != NULL ? strlen(names[i]) : 0;
        if (m == 0 || m > WORD_MAX) {
            continue;
        }
        const size_t d = distance(word, n, names[i], m);
        if (d < least || (d == least && best == NULL)) {
            least = d;
            best = names[i];
        }
    }
    return best;
}
