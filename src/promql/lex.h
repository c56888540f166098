/* src/promql/lex.h - words of a query, one at a time.
 *
 * Model:  a colon belongs to a name, except between brackets, where it parts range and step.
 * Errors: TOKEN_BAD with a text; the caller stops there.
 */
#ifndef VV_PROMQL_LEX_H
#define VV_PROMQL_LEX_H
#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

enum vv_pq_token_kind {
    TOKEN_END = 256, /* one character stands for itself */
    TOKEN_BAD,
    TOKEN_NAME,
    TOKEN_NUMBER,
    TOKEN_DURATION,
    TOKEN_STRING, /* text is what was meant, without quotes and escapes */
    TOKEN_EQ,
    TOKEN_NE,
    TOKEN_LE,
    TOKEN_GE,
    TOKEN_RE,
    TOKEN_NRE,
};
struct vv_pq_token {
    int kind;
    size_t at;
    struct vv_str text;
    double number;
    int64_t ms;
};
struct vv_pq_lexer {
    struct vv_str text;
    size_t at;
    bool in_brackets;
    const char *why;
    struct vv_arena *arena;
};
struct vv_pq_token vv_pq_next(struct vv_pq_lexer *l);
#endif
