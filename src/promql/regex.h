/* src/promql/regex.h - regular expressions of label matchers, in time linear to the text.
 *
 * Model:     a program of a few instructions per character; all its threads run over the text at
 *            once, so no pattern can take exponential time. Matches are always of the whole text,
 *            groups are those of the leftmost alternative, as RE2 has it.
 * Source:    R. Cox, "Regular Expression Matching: the Virtual Machine Approach" (2009); syntax of
 *            RE2 without Unicode classes. (?i) folds ASCII letters only.
 * Threads:   a match uses memory of the program: one thread at a time.
 * Ownership: the program lives in the arena.
 * Errors:    VV_ESYNTAX, VV_ELIMIT for a program of more than 4,000 instructions, VV_ENOMEM.
 */
#ifndef VV_PROMQL_REGEX_H
#define VV_PROMQL_REGEX_H
#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#define VV_REGEX_GROUPS 16 /* group 0 is the whole text */

struct vv_regex;
VV_MUST_CHECK enum vv_err vv_regex_compile(struct vv_str pattern, struct vv_arena *arena,
                                           const struct vv_regex **ret, const char **reterr);
/* groups may be NULL; a group that took no part has .p NULL. */
bool vv_regex_match(const struct vv_regex *re, struct vv_str text,
                    struct vv_str groups[VV_REGEX_GROUPS]);
/* Number of a named or numbered group; -1: there is none. */
int vv_regex_group(const struct vv_regex *re, struct vv_str name);
#endif
