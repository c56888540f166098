/* src/app/handover.c - text instead of a struct: the two sides are different versions by intention. */
#include "app/handover.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define FIELDS_MAX 6
#define FDS_MAX 1024

void vv_handover_write(const struct vv_handover *h, struct vv_sb *out)
{
    const char us = VV_SOCKETS_SEP;
    vv_sb_adds(out, VV_HANDOVER_FORMAT "\n");
    vv_sb_addf(out, "counts%c%llu%c%llu%c%llu\n", us, (unsigned long long)h->generation, us,
               (unsigned long long)h->restarts, us, (unsigned long long)h->started_wall_ns);
    for (size_t i = 0; i < h->sockets.count; i++) {
        const struct vv_socket *k = h->sockets.item[i];
        vv_sb_addf(out, "listen%c%s%c%s%c%d%c", us, k->name, us, k->address, us, k->activated, us);
        for (size_t j = 0; j < k->count; j++) {
            vv_sb_addf(out, "%s%d", j > 0 ? "," : "", k->fds[j]);
        }
        vv_sb_addc(out, '\n');
    }
    for (size_t i = 0; i < h->workers; i++) {
        vv_sb_addf(out, "worker%c%d%c%d%c%llu%c%d\n", us, (int)h->worker[i].pid, us,
                   h->worker[i].ctl, us, (unsigned long long)h->worker[i].generation, us,
                   h->worker[i].draining);
    }
    if (h->exe_fd >= 0) {
        vv_sb_addf(out, "exe%c%d\n", us, h->exe_fd);
    }
    if (h->keys_fd > 0) {
        vv_sb_addf(out, "keys%c%d\n", us, h->keys_fd);
    }
    if (h->failed[0] != '\0') {
        vv_sb_addf(out, "failed%c%s\n", us, h->failed);
    }
}

static bool number(struct vv_str text, uint64_t max, uint64_t *ret)
{
    return text.n > 0 && vv_str_to_u64(text, ret) == VV_OK && *ret <= max;
}

static enum vv_err read_listen(struct vv_handover *h, const struct vv_str *field, size_t count)
{
    int fds[FDS_MAX];
    size_t n = 0;
    uint64_t fd = 0;
    char name[256], address[VV_ADDR_TEXT];
    if (count != 5 || field[1].n >= sizeof name || field[2].n >= sizeof address) {
        return VV_ESYNTAX;
    }
    struct vv_str rest = field[4];
    while (rest.n > 0) {
        if (n == FDS_MAX || !number(vv_str_cut(&rest, ','), INT32_MAX, &fd)) {
            return VV_ESYNTAX;
        }
        fds[n++] = (int)fd;
    }
    if (n == 0) {
        return VV_ESYNTAX;
    }
    memcpy(name, field[1].p, field[1].n);
    name[field[1].n] = '\0';
    memcpy(address, field[2].p, field[2].n);
    address[field[2].n] = '\0';
    return vv_sockets_adopt(&h->sockets, name, address, vv_str_eq(field[3], VV_STR("1")), fds, n);
}

static enum vv_err read_worker(struct vv_handover *h, const struct vv_str *field, size_t count)
{
    uint64_t pid = 0, ctl = 0, generation = 0;
    if (count != 5 || h->workers == VV_HANDOVER_WORKERS || !number(field[1], INT32_MAX, &pid) ||
        !number(field[2], INT32_MAX, &ctl) || !number(field[3], UINT64_MAX, &generation)) {
        return VV_ESYNTAX;
    }
    h->worker[h->workers].pid = (pid_t)pid;
    h->worker[h->workers].ctl = (int)ctl;
    h->worker[h->workers].generation = generation;
    h->worker[h->workers].draining = vv_str_eq(field[4], VV_STR("1"));
    h->workers++;
    return VV_OK;
}

static enum vv_err read_line(struct vv_handover *h, struct vv_str line)
{
    struct vv_str field[FIELDS_MAX];
    size_t count = 0;
    uint64_t fd = 0;
    while (line.n > 0 && count < FIELDS_MAX) {
        field[count++] = vv_str_cut(&line, VV_SOCKETS_SEP);
    }
    if (count == 0) {
        return VV_OK;
    }
    if (vv_str_eq(field[0], VV_STR("listen"))) {
        return read_listen(h, field, count);
    }
    if (vv_str_eq(field[0], VV_STR("worker"))) {
        return read_worker(h, field, count);
    }
    if (vv_str_eq(field[0], VV_STR("counts"))) {
        const bool fine = count == 4 && number(field[1], UINT64_MAX, &h->generation) &&
                          number(field[2], UINT64_MAX, &h->restarts) &&
                          number(field[3], UINT64_MAX, &h->started_wall_ns);
        return fine ? VV_OK : VV_ESYNTAX;
    }
    if (vv_str_eq(field[0], VV_STR("exe"))) {
        if (count != 2 || !number(field[1], INT32_MAX, &fd)) {
            return VV_ESYNTAX;
        }
        h->exe_fd = (int)fd;
        return VV_OK;
    }
    if (vv_str_eq(field[0], VV_STR("keys"))) {
        if (count != 2 || !number(field[1], INT32_MAX, &fd)) {
            return VV_ESYNTAX;
        }
        h->keys_fd = (int)fd;
        return VV_OK;
    }
    if (vv_str_eq(field[0], VV_STR("failed")) && count == 2) {
        const size_t n = field[1].n < sizeof h->failed ? field[1].n : sizeof h->failed - 1;
        memcpy(h->failed, field[1].p, n);
        h->failed[n] = '\0';
    }
    return VV_OK;
}

enum vv_err vv_handover_read(const char *text, struct vv_handover *ret)
{
    struct vv_handover h = {.exe_fd = -1};
    struct vv_str rest = vv_str_from(text);
    if (!vv_str_eq(vv_str_cut(&rest, '\n'), VV_STR(VV_HANDOVER_FORMAT))) {
        return VV_ESYNTAX;
    }
    while (rest.n > 0) {
        const enum vv_err err = read_line(&h, vv_str_cut(&rest, '\n'));
        if (err != VV_OK) {
            vv_sockets_fini(&h.sockets);
            return err;
        }
    }
    *ret = h;
    return VV_OK;
}

int vv_handover_check_code(int code)
{
    const char *asked = getenv(VV_HANDOVER_CHECK_ENV);
    return code == 0 && asked != NULL && strcmp(asked, VV_HANDOVER_FORMAT) == 0
               ? VV_HANDOVER_CHECK_CODE
               : code;
}

static void set_cloexec(int fd, bool on)
{
    if (fd >= 0) {
        (void)fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0);
    }
}

void vv_handover_cloexec(const struct vv_handover *h, bool on)
{
    for (size_t i = 0; i < h->sockets.count; i++) {
        for (size_t j = 0; j < h->sockets.item[i]->count; j++) {
            set_cloexec(h->sockets.item[i]->fds[j], on);
        }
    }
    for (size_t i = 0; i < h->workers; i++) {
        set_cloexec(h->worker[i].ctl, on);
    }
    set_cloexec(h->exe_fd, on);
    if (h->keys_fd > 0) {
        set_cloexec(h->keys_fd, on);
    }
}
