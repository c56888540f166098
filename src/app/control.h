/* src/app/control.h - what supervisor and worker say to each other: one packet per message.
 *
 * Model:     a SOCK_SEQPACKET pair per worker, so a message is whole or absent. A message is a type,
 *            a number, a text and up to VV_CONTROL_FDS descriptors. The end of the stream means that
 *            the other process is gone.
 * Threads:   supervisor thread on one side, control thread on the other.
 * Ownership: received descriptors belong to the caller; the text lives in the message.
 * Errors:    VV_EAGAIN: nothing there (or, sending: the other side does not read), VV_ECLOSED: gone.
 */
#ifndef VV_APP_CONTROL_H
#define VV_APP_CONTROL_H
#include "base/err.h"

#define VV_CONTROL_TEXT 61440 /* fits a default socket buffer (208 KiB) with room for descriptors */
#define VV_CONTROL_FDS 128    /* below the kernel's SCM_MAX_FD of 253 */

#define VV_CONTROL_MESSAGES(X)                                                                     \
    X(READY, "worker: every thread listens")                                                       \
    X(ALIVE, "worker: once a second; text is one line for status displays")                        \
    X(RELOADING, "worker: a reload begins")                                                        \
    X(WANT, "worker: the listeners a new configuration needs, one line each")                      \
    X(APPLIED, "worker: the configuration that was read last is in use")                           \
    X(KEPT, "worker: nothing changed, forget what was bound for the reload")                       \
    X(REVERTED, "worker: the former configuration is in use again")                                \
    X(UPGRADE, "worker: an operator asks for a binary upgrade")                                    \
    X(STOP, "worker: an operator asks to drain and stop")                                          \
    X(RELOAD, "supervisor: read the configuration again")                                          \
    X(REOPEN, "supervisor: open the log files again")                                              \
    X(DRAIN, "supervisor: accept nothing more, finish, exit; number is the time left in ms")       \
    X(GIVE, "supervisor: sockets of one listener; text is its line")                               \
    X(GIVEN, "supervisor: that was all")                                                           \
    X(REFUSED, "supervisor: a listener could not be bound; text says which and why")               \
    X(UPGRADE_FAILED, "supervisor: the upgrade did not happen; text says why")                     \
    X(KEYS, "worker: keys of session tickets for the workers after it; a secret")

enum vv_control {
#define VV_X(name, doc) VV_CONTROL_##name,
    VV_CONTROL_MESSAGES(VV_X)
#undef VV_X
        VV_CONTROL_COUNT
};
const char *vv_control_name(enum vv_control type);

struct vv_control_msg {
    enum vv_control type;
    uint32_t number;
    size_t fds_count;
    int fds[VV_CONTROL_FDS];
    size_t text_bytes;
    char text[VV_CONTROL_TEXT + 1]; /* NUL-terminated */
};

/* Both ends are non-blocking and close-on-exec. */
VV_MUST_CHECK enum vv_err vv_control_pair(int ret_fd[2]);
/* text may be NULL, fds may be NULL with count 0. */
enum vv_err vv_control_send(int fd, enum vv_control type, uint32_t number, const char *text,
                            const int *fds, size_t fds_count);
/* Descriptors of a message that is not accepted (unknown type) are closed here. */
VV_MUST_CHECK enum vv_err vv_control_recv(int fd, struct vv_control_msg *msg);
#endif
