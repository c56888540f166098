/* src/load/import.h - files of other tools as scenario files of ours: `vivace import`.
 *
 * Model:     text in, YAML in our short form out, and notes on what was left out or guessed. What is
 *            written reads back as a plan; secrets are not copied but asked from the environment.
 * Source:    HAR 1.2 (W3C draft, 2012); Apache's combined log format; our JSON access log.
 * Threads:   pure. Ownership: `out` is the caller's; notes are freed by vv_load_notes_free().
 * Errors:    VV_ESYNTAX: the text is not of that kind (the last note says why). VV_ENOMEM.
 */
#ifndef VV_LOAD_IMPORT_H
#define VV_LOAD_IMPORT_H
#include "base/err.h"
#include "base/sb.h"

struct vv_load_note {
    size_t line; /* of the input, from 1; 0: none */
    char *text;
};
struct vv_load_notes { /* begins as {0} */
    struct vv_load_note *note;
    size_t count, room;
    bool failed; /* memory was out: some are missing */
};
void vv_load_notes_free(struct vv_load_notes *n);
void vv_load_notes_add(struct vv_load_notes *n, size_t line, const char *fmt, ...) VV_PRINTF(3, 4);

VV_MUST_CHECK enum vv_err vv_load_import_artillery(const char *text, struct vv_sb *out,
                                                   struct vv_load_notes *notes);
/* Requests in the order they began, with the pauses between them. */
VV_MUST_CHECK enum vv_err vv_load_import_har(struct vv_str text, struct vv_sb *out,
                                             struct vv_load_notes *notes);
/* Combined or JSON, by the first byte of each line. Arrivals come when the log says, requests in its
 * order. */
VV_MUST_CHECK enum vv_err vv_load_import_access_log(struct vv_str text, struct vv_sb *out,
                                                    struct vv_load_notes *notes);
#endif
