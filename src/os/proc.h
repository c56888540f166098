/* src/os/proc.h - what a process arranges with its surroundings: readiness, inherited sockets,
 * passing descriptors on, limits, privileges, names.
 *
 * Source:  sd_notify(3) and sd_listen_fds(3) for the protocols (spoken here without libsystemd),
 *          unix(7) for SCM_RIGHTS.
 * Threads: environment and privileges: before threads start; the rest anywhere.
 * Errors:  mapped from errno unless said.
 */
#ifndef VV_OS_PROC_H
#define VV_OS_PROC_H
#include "base/err.h"
#include "base/str.h"
#include <sys/types.h>

/* Sends one datagram, for example "READY=1", to $NOTIFY_SOCKET ("/path" or "@abstract").
 * VV_ENOENT: nobody asked for notifications, which is no failure. */
enum vv_err vv_proc_notify(const char *state);

/* Sockets handed over by systemd, only when $LISTEN_PID is this process. */
#define VV_PROC_LISTEN_MAX 64
#define VV_PROC_LISTEN_NAME 64
struct vv_proc_listen {
    size_t count;
    int fd[VV_PROC_LISTEN_MAX];                         /* now close-on-exec; the caller's */
    char name[VV_PROC_LISTEN_MAX][VV_PROC_LISTEN_NAME]; /* $LISTEN_FDNAMES, "" when unnamed */
};
/* Takes them once: the variables are removed, so children do not believe they are meant.
 * Nothing handed over: VV_OK with count 0. VV_ESYNTAX: the variables make no sense, VV_ELIMIT:
 * more than VV_PROC_LISTEN_MAX. */
VV_MUST_CHECK enum vv_err vv_proc_listen_fds(struct vv_proc_listen *ret);

/* Passes up to VV_PROC_FDS_MAX descriptors with a payload of 1 .. VV_PROC_PAYLOAD_MAX bytes in one
 * message over a unix SEQPACKET or DGRAM socket (message borders are kept; on a STREAM pair one
 * side must answer before the next message). The sender keeps its own descriptors. */
#define VV_PROC_FDS_MAX 250 /* the kernel allows 253 */
#define VV_PROC_PAYLOAD_MAX 65536
VV_MUST_CHECK enum vv_err vv_proc_send_fds(int sock, const int *fds, size_t count,
                                           struct vv_str payload);
/* Receives one such message; descriptors arrive close-on-exec and belong to the caller.
 * VV_ECLOSED: the other side is gone. VV_EAGAIN: nothing there (non-blocking socket).
 * VV_ELIMIT: more descriptors or payload than there is room for; none is kept then. */
VV_MUST_CHECK enum vv_err vv_proc_recv_fds(int sock, int *fds, size_t fds_max, size_t *ret_count,
                                           void *payload, size_t payload_max, size_t *ret_bytes);

/* Raises RLIMIT_NOFILE towards `want` (the hard limit too when allowed); *ret_now is what we got,
 * at least the old value. */
void vv_proc_raise_nofile(uint64_t want, uint64_t *ret_now);

struct vv_proc_user {
    char name[64];
    uid_t uid;
    gid_t gid;
};
/* VV_ENOENT: no such user. */
VV_MUST_CHECK enum vv_err vv_proc_find_user(const char *name, struct vv_proc_user *ret);
/* Becomes the user for good: supplementary groups, group, user, all three ids each; then proves
 * that root cannot be had back. VV_EACCES: not allowed, or the proof failed - do not go on then.
 * A process that is the user already may call it without being root. */
VV_MUST_CHECK enum vv_err vv_proc_become(const struct vv_proc_user *user);

void vv_proc_name_thread(const char *name); /* of the calling thread, cut to 15 bytes */
#endif
