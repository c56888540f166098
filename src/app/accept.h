/* src/app/accept.h - `vivace config accept`: run-time changes of the overlay go into the file.
 *
 * Model:     only the servers of the changed services are rewritten, so comments, variables and order
 *            stay. The result must mean exactly what file and overlay meant together, or nothing is
 *            written. The file before is kept beside it as FILE.bak.
 * Threads:   one; blocks for small files.
 */
#ifndef VV_APP_ACCEPT_H
#define VV_APP_ACCEPT_H
#include "app/run.h"

/* Returns an exit code; prints what changed. */
int config_accept(const struct vv_run *run, bool color);
/* The text of a file with the servers of one service replaced; `servers` are lines for a YAML list,
 * without indentation, each ending with a newline. VV_EUNSUPPORTED: written in a way this cannot edit. */
VV_MUST_CHECK enum vv_err accept_edit(struct vv_str text, const char *service,
                                      struct vv_str servers, struct vv_sb *out);
#endif
