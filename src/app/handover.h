/* src/app/handover.h - what a supervisor leaves to the next image of itself at a binary upgrade.
 *
 * Model:     text in the environment variable VIVACE_HANDOVER, one item a line, fields separated by
 *            0x1f, unknown lines ignored so that versions may differ. Descriptors keep their numbers
 *            over exec(2).
 * Threads:   one. Ownership: the handover borrows the sockets when written and fills them when read.
 * Errors:    VV_ESYNTAX for a text this version cannot use.
 */
#ifndef VV_APP_HANDOVER_H
#define VV_APP_HANDOVER_H
#include "app/sockets.h"
#include <sys/types.h>

#define VV_HANDOVER_ENV "VIVACE_HANDOVER"
#define VV_HANDOVER_WORKERS 8
#define VV_HANDOVER_FORMAT "vivace-handover-1"
/* Before the exec the new binary checks the file with this variable set to the format. A binary that
 * can take over says so by this exit code; 0 could come from any program. */
#define VV_HANDOVER_CHECK_ENV "VIVACE_HANDOVER_CHECK"
#define VV_HANDOVER_CHECK_CODE 3

struct vv_handover {
    struct vv_sockets sockets;
    struct {
        pid_t pid;
        int ctl;
        uint64_t generation;
        bool draining;
    } worker[VV_HANDOVER_WORKERS];
    size_t workers;
    uint64_t generation, restarts, started_wall_ns;
    int exe_fd;       /* the binary of the writer, to go back to; -1: none */
    int keys_fd;      /* memory with the keys of session tickets; 0: none */
    char failed[512]; /* not empty: the newer image gave up, and why */
};

void vv_handover_write(const struct vv_handover *h, struct vv_sb *out);
VV_MUST_CHECK enum vv_err vv_handover_read(const char *text, struct vv_handover *ret);
/* `code`, or VV_HANDOVER_CHECK_CODE when all is fine and an upgrade asks. */
int vv_handover_check_code(int code);
/* Sets or clears close-on-exec on everything that is handed over. */
void vv_handover_cloexec(const struct vv_handover *h, bool on);
#endif
