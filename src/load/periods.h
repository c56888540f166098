/* src/load/periods.h - a run in pieces of ten seconds, as Artillery's reports have it.
 *
 * Model:     pieces begin at whole ten seconds of the wall clock. What threads measured in a second
 *            is added to the piece that second begins in; a piece that no thread can add to any
 *            more becomes text at once, so that only the open ones hold histograms. Agents begin
 *            together, so their pieces are cut at the same seconds and add up exactly.
 * Units:     ns of the wall clock. Threads: one owner. Errors: VV_ENOMEM.
 */
#ifndef VV_LOAD_PERIODS_H
#define VV_LOAD_PERIODS_H
#include "load/result.h"

#define VV_LOAD_PERIOD_NS (10 * VV_SEC)

struct vv_load_periods;
/* The view is borrowed. NULL: no memory. */
VV_MUST_CHECK struct vv_load_periods *vv_load_periods_new(const struct vv_load_view *view);
void vv_load_periods_free(struct vv_load_periods *p);
/* Before the first addition: the text becomes one line for each piece, its number and its exact state,
 * for vv_load_periods_join() elsewhere. */
void vv_load_periods_keep_states(struct vv_load_periods *p);
/* Adds what one thread measured in the second that began at this time. */
VV_MUST_CHECK enum vv_err vv_load_periods_add(struct vv_load_periods *p, uint64_t second_unix_ns,
                                              const struct vv_load_result *part);
/* Nothing comes for seconds before this time any more. */
void vv_load_periods_close(struct vv_load_periods *p, uint64_t before_unix_ns);
/* Closes all, and gives the text away: JSON objects with commas between them, for free(); NULL:
 * there were none, or memory was short. */
char *vv_load_periods_take(struct vv_load_periods *p);
/* One text of records from lines of several agents in any order: what has the same number is added
 * up. *ret as from _take(); NULL: no lines. VV_ESYNTAX: no such lines; VV_EINVAL: of several plans. */
VV_MUST_CHECK enum vv_err vv_load_periods_join(struct vv_str lines, char **ret);
#endif
