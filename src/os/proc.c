/* src/os/proc.c - small protocols with init, with parent and child, and with the kernel. */
#include "os/proc.h"

#include "os/sock.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

#define LISTEN_FDS_START 3 /* sd_listen_fds(3) */

enum vv_err vv_proc_notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    if (path == NULL || path[0] == '\0') {
        return VV_ENOENT;
    }
    const size_t n = strlen(path);
    if ((path[0] != '/' && path[0] != '@') || n < 2 || n >= sizeof(un.sun_path)) {
        return VV_EINVAL;
    }
    memcpy(un.sun_path, path, n);
    if (path[0] == '@') {
        un.sun_path[0] = '\0';
    }
    const socklen_t len =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (path[0] == '/' ? 1 : 0));
    VV_AUTO(vv_close_fd) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return vv_err_from_errno(errno);
    }
    const ssize_t sent =
        sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&un, len);
    return sent >= 0 ? VV_OK : vv_err_from_errno(errno);
}

static bool env_number(const char *name, uint64_t *ret)
{
    const char *text = getenv(name);
    return text != NULL && vv_str_to_u64(vv_str_from(text), ret) == VV_OK;
}

/* Names are separated by colons; missing ones stay empty. */
static void take_names(struct vv_proc_listen *l)
{
    struct vv_str rest = vv_str_from(getenv("LISTEN_FDNAMES"));
    for (size_t i = 0; i < l->count && rest.p != NULL; i++) {
        const struct vv_str name = vv_str_cut(&rest, ':');
        (void)snprintf(l->name[i], sizeof(l->name[i]), VV_STR_FMT, VV_STR_ARG(name));
    }
}

enum vv_err vv_proc_listen_fds(struct vv_proc_listen *ret)
{
    uint64_t pid = 0, count = 0;
    enum vv_err err = VV_OK;
    memset(ret, 0, sizeof(*ret));
    if (getenv("LISTEN_PID") == NULL) {
        return VV_OK;
    }
    if (!env_number("LISTEN_PID", &pid) || !env_number("LISTEN_FDS", &count)) {
        err = VV_ESYNTAX;
    } else if (pid != (uint64_t)getpid()) {
        return VV_OK; /* meant for another process: leave its variables alone */
    } else if (count > VV_PROC_LISTEN_MAX) {
        err = VV_ELIMIT;
    }
    for (uint64_t i = 0; err == VV_OK && i < count; i++) {
        const int fd = LISTEN_FDS_START + (int)i;
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
            err = VV_ESYNTAX; /* announced, but not there */
        }
        ret->fd[i] = fd;
    }
    if (err == VV_OK) {
        ret->count = (size_t)count;
        take_names(ret);
    }
    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_FDNAMES");
    return err;
}

union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(VV_PROC_FDS_MAX * sizeof(int))];
};

enum vv_err vv_proc_send_fds(int sock, const int *fds, size_t count, struct vv_str payload)
{
    union control control;
    if (count > VV_PROC_FDS_MAX || payload.n == 0 || payload.n > VV_PROC_PAYLOAD_MAX) {
        return VV_EINVAL;
    }
    struct iovec iov = {.iov_base = (void *)(uintptr_t)payload.p, .iov_len = payload.n};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (count > 0) {
        memset(&control, 0, sizeof(control));
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(c), fds, count * sizeof(int));
    }
    ssize_t sent;
    do {
        sent = sendmsg(sock, &msg, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) {
        return vv_err_from_errno(errno);
    }
    return (size_t)sent == payload.n ? VV_OK : VV_EIO; /* a full STREAM socket cut it */
}

/* Moves received descriptors to `fds`; what does not fit is closed. Returns how many there were. */
static size_t take_fds(struct msghdr *msg, int *fds, size_t fds_max)
{
    size_t count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        const size_t here = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < here; i++, count++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            if (count < fds_max) {
                fds[count] = fd;
            } else {
                close(fd);
            }
        }
    }
    return count;
}

enum vv_err vv_proc_recv_fds(int sock, int *fds, size_t fds_max, size_t *ret_count, void *payload,
                             size_t payload_max, size_t *ret_bytes)
{
    union control control;
    struct iovec iov = {.iov_base = payload, .iov_len = payload_max};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    ssize_t got;
    do {
        got = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return vv_err_from_errno(errno);
    }
    const size_t count = take_fds(&msg, fds, fds_max);
    if (got == 0 && count == 0) {
        return VV_ECLOSED;
    }
    if (count > fds_max || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
        for (size_t i = 0; i < count && i < fds_max; i++) {
            close(fds[i]);
        }
        return VV_ELIMIT;
    }
    *ret_count = count;
    *ret_bytes = (size_t)got;
    return VV_OK;
}

void vv_proc_raise_nofile(uint64_t want, uint64_t *ret_now)
{
    struct rlimit limit;
    VV_ASSERT(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    if (limit.rlim_cur < want) {
        const struct rlimit both = {.rlim_cur = want,
                                    .rlim_max = limit.rlim_max < want ? want : limit.rlim_max};
        const struct rlimit soft = {.rlim_cur = want < limit.rlim_max ? want : limit.rlim_max,
                                    .rlim_max = limit.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &both) != 0) { /* needs CAP_SYS_RESOURCE, fs.nr_open */
            (void)setrlimit(RLIMIT_NOFILE, &soft);
        }
        VV_ASSERT(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    }
    *ret_now = limit.rlim_cur;
}

enum vv_err vv_proc_find_user(const char *name, struct vv_proc_user *ret)
{
    char buf[16384]; /* getpwnam_r's entry with its strings */
    struct passwd entry, *found = NULL;
    struct vv_proc_user user;
    const size_t n = strlen(name);
    if (n == 0 || n >= sizeof(user.name)) {
        return VV_EINVAL;
    }
    const int failed = getpwnam_r(name, &entry, buf, sizeof(buf), &found);
    if (failed != 0 && failed != ENOENT && failed != ESRCH) {
        return vv_err_from_errno(failed);
    }
    if (found == NULL) {
        return VV_ENOENT;
    }
    memcpy(user.name, name, n + 1);
    user.uid = entry.pw_uid;
    user.gid = entry.pw_gid;
    *ret = user;
    return VV_OK;
}

static bool is_only(const struct vv_proc_user *user)
{
    uid_t ruid, euid, suid;
    gid_t rgid, egid, sgid;
    return getresuid(&ruid, &euid, &suid) == 0 && getresgid(&rgid, &egid, &sgid) == 0 &&
           ruid == user->uid && euid == user->uid && suid == user->uid && rgid == user->gid &&
           egid == user->gid && sgid == user->gid;
}

enum vv_err vv_proc_become(const struct vv_proc_user *user)
{
    if (is_only(user) && user->uid != 0) {
        return VV_OK;
    }
    /* Groups before the user: without root they can no longer be changed. */
    if (initgroups(user->name, user->gid) != 0 || setresgid(user->gid, user->gid, user->gid) != 0 ||
        setresuid(user->uid, user->uid, user->uid) != 0) {
        return vv_err_from_errno(errno);
    }
    if (!is_only(user)) {
        return VV_EACCES;
    }
    if (user->uid != 0 && (setuid(0) == 0 || seteuid(0) == 0)) {
        return VV_EACCES; /* a capability survived: the caller must not go on */
    }
    return VV_OK;
}

void vv_proc_name_thread(const char *name)
{
    char cut[16];
    (void)snprintf(cut, sizeof(cut), "%.15s", name);
    (void)prctl(PR_SET_NAME, cut);
}
