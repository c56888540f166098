/* src/app/control.c - a fixed eight-byte head before the text; both sides are always the same build
 * or, after an upgrade, builds that share this head. Unknown types are skipped, not refused. */
#include "app/control.h"
#include "os/proc.h"
#include "os/sock.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

struct head {
    uint32_t type, number;
};

const char *vv_control_name(enum vv_control type)
{
    static const char *const names[] = {
#define VV_X(name, doc) #name,
        VV_CONTROL_MESSAGES(VV_X)
#undef VV_X
    };
    return (size_t)type < VV_COUNT(names) ? names[type] : "?";
}

enum vv_err vv_control_pair(int ret_fd[2])
{
    int fd[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd) != 0) {
        return vv_err_from_errno(errno);
    }
    ret_fd[0] = fd[0];
    ret_fd[1] = fd[1];
    return VV_OK;
}

enum vv_err vv_control_send(int fd, enum vv_control type, uint32_t number, const char *text,
                            const int *fds, size_t fds_count)
{
    char packet[sizeof(struct head) + VV_CONTROL_TEXT];
    const struct head head = {(uint32_t)type, number};
    const size_t n = text != NULL ? strlen(text) : 0;
    if (n > VV_CONTROL_TEXT || fds_count > VV_CONTROL_FDS) {
        return VV_ELIMIT;
    }
    memcpy(packet, &head, sizeof head);
    if (n > 0) {
        memcpy(packet + sizeof head, text, n);
    }
    return vv_proc_send_fds(fd, fds, fds_count, (struct vv_str){packet, sizeof head + n});
}

static enum vv_err recv_one(int fd, struct vv_control_msg *msg)
{
    char packet[sizeof(struct head) + VV_CONTROL_TEXT];
    struct head head;
    size_t bytes = 0;
    const enum vv_err err = vv_proc_recv_fds(fd, msg->fds, VV_CONTROL_FDS, &msg->fds_count, packet,
                                             sizeof packet, &bytes);
    if (err != VV_OK) {
        return err;
    }
    if (bytes < sizeof head) {
        msg->type = VV_CONTROL_COUNT;
        return VV_OK;
    }
    memcpy(&head, packet, sizeof head);
    msg->type = head.type < VV_CONTROL_COUNT ? (enum vv_control)head.type : VV_CONTROL_COUNT;
    msg->number = head.number;
    msg->text_bytes = bytes - sizeof head;
    memcpy(msg->text, packet + sizeof head, msg->text_bytes);
    msg->text[msg->text_bytes] = '\0';
    return VV_OK;
}

enum vv_err vv_control_recv(int fd, struct vv_control_msg *msg)
{
    for (;;) {
        const enum vv_err err = recv_one(fd, msg);
        if (err != VV_OK || msg->type != VV_CONTROL_COUNT) {
            return err;
        }
        for (size_t i = 0; i < msg->fds_count; i++) {
            vv_close_fd(&msg->fds[i]);
        }
    }
}
