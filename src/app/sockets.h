/* src/app/sockets.h - the listening sockets the supervisor holds, so that no worker's end closes them.
 *
 * Model:     a table of listeners by address. A worker says which it wants (vv_sockets_want); those
 *            that are not there yet are bound. Later the worker says whether it uses the new set
 *            (vv_sockets_keep) or not (vv_sockets_forget). TCP listeners have one SO_REUSEPORT socket
 *            per worker thread, unix and activated ones a single socket.
 * Text:      one listener is a line "name<US>address<US>count<US>mode", US is the byte 0x1f.
 * Threads:   the supervisor's only thread. Ownership: the table owns the descriptors.
 * Errors:    VV_EADDRINUSE, VV_EACCES, VV_ESYNTAX...; a call that fails changes nothing.
 */
#ifndef VV_APP_SOCKETS_H
#define VV_APP_SOCKETS_H
#include "base/err.h"
#include "base/sb.h"
#include "os/sock.h"

#define VV_SOCKETS_SEP '\x1f'

struct vv_socket { /* one listener */
    char *name;
    char *address;
    struct vv_addr addr;
    int *fds;
    size_t count;
    size_t former;  /* sockets it had before the last vv_sockets_want() */
    bool wanted;    /* by the newest list */
    bool activated; /* came from the service manager: never closed, bound or removed by us */
};

struct vv_sockets {
    struct vv_socket **item;
    size_t count;
};

void vv_sockets_fini(struct vv_sockets *s); /* closes everything, leaves unix paths */
/* Appends one line; false when a name or address has a control byte in it. */
bool vv_sockets_line(struct vv_sb *out, const char *name, const char *address, size_t count,
                     unsigned mode);
/* Reads the list and binds what is missing; each failure is a line in `why`. */
VV_MUST_CHECK enum vv_err vv_sockets_want(struct vv_sockets *s, const char *list,
                                          struct vv_sb *why);
void vv_sockets_keep(struct vv_sockets *s);
void vv_sockets_forget(struct vv_sockets *s);
/* Closes what is beyond one socket per thread: connections in a socket nobody accepts from would hang.
 * For the moment when a worker with fewer threads has taken over. */
void vv_sockets_trim(struct vv_sockets *s, size_t threads);
struct vv_socket *vv_sockets_find(const struct vv_sockets *s, const char *name,
                                  const char *address);
/* Takes a descriptor the service manager passed, under its name. */
VV_MUST_CHECK enum vv_err vv_sockets_activate(struct vv_sockets *s, const char *name, int fd);
/* Takes descriptors from a former image of this process. */
VV_MUST_CHECK enum vv_err vv_sockets_adopt(struct vv_sockets *s, const char *name,
                                           const char *address, bool activated, const int *fds,
                                           size_t count);
/* Removes the paths of unix sockets: at the very end, when nobody listens any more. */
void vv_sockets_unlink(const struct vv_sockets *s);
#endif
