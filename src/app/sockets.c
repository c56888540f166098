/* src/app/sockets.c - a listener is found again by its parsed address, not by its text or name: a
 * renamed listener keeps its socket and its backlog, and "8080" and ":8080" are the same one. */
#include "app/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define LISTENERS_MAX 1024
#define SOCKETS_MAX 1024 /* per listener */
#define BACKLOG 4096     /* the kernel caps it at net.core.somaxconn */

static void socket_free(struct vv_socket *k)
{
    if (k == NULL) {
        return;
    }
    for (size_t i = 0; i < k->count; i++) {
        vv_close_fd(&k->fds[i]);
    }
    free(k->fds);
    free(k->name);
    free(k->address);
    free(k);
}

void vv_sockets_fini(struct vv_sockets *s)
{
    for (size_t i = 0; i < s->count; i++) {
        socket_free(s->item[i]);
    }
    free(s->item);
    *s = (struct vv_sockets){0};
}

static bool printable(const char *text)
{
    for (const char *p = text; *p != '\0'; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f) {
            return false;
        }
    }
    return true;
}

bool vv_sockets_line(struct vv_sb *out, const char *name, const char *address, size_t count,
                     unsigned mode)
{
    if (!printable(name) || !printable(address)) {
        return false;
    }
    vv_sb_addf(out, "%s%c%s%c%zu%c%o\n", name, VV_SOCKETS_SEP, address, VV_SOCKETS_SEP, count,
               VV_SOCKETS_SEP, mode);
    return true;
}

struct vv_socket *vv_sockets_find(const struct vv_sockets *s, const char *name, const char *address)
{
    struct vv_addr addr;
    for (size_t i = 0; i < s->count; i++) {
        if (s->item[i]->activated && strcmp(s->item[i]->name, name) == 0) {
            return s->item[i];
        }
    }
    if (vv_addr_parse(vv_str_from(address), &addr) != VV_OK) {
        return NULL;
    }
    for (size_t i = 0; i < s->count; i++) {
        if (vv_addr_eq(&s->item[i]->addr, &addr)) {
            return s->item[i];
        }
    }
    return NULL;
}

static enum vv_err append(struct vv_sockets *s, struct vv_socket *k)
{
    if (s->count >= LISTENERS_MAX) {
        return VV_ELIMIT;
    }
    struct vv_socket **grown = realloc(s->item, (s->count + 1) * sizeof(struct vv_socket *));
    if (grown == NULL) {
        return VV_ENOMEM;
    }
    s->item = grown;
    s->item[s->count++] = k;
    return VV_OK;
}

static struct vv_socket *socket_new(const char *name, const char *address)
{
    struct vv_socket *k = calloc(1, sizeof *k);
    if (k == NULL) {
        return NULL;
    }
    k->name = strdup(name);
    k->address = strdup(address);
    if (k->name == NULL || k->address == NULL) {
        socket_free(k);
        return NULL;
    }
    return k;
}

/* SO_REUSEPORT lets another process of the same user join silently; a bind without it first finds
 * whoever has the port already. */
static enum vv_err probe(const struct vv_addr *a)
{
    VV_AUTO(vv_close_fd) int fd = -1;
    const struct vv_listen_options plain = {.backlog = 1};
    return vv_sock_listen(a, &plain, &fd);
}

static enum vv_err grow(struct vv_socket *k, size_t count, unsigned mode)
{
    const bool is_unix = k->addr.sa.sa_family == AF_UNIX;
    const size_t want = is_unix || k->activated ? 1 : count;
    if (want <= k->count) {
        return VV_OK;
    }
    int *grown = realloc(k->fds, want * sizeof(int));
    if (grown == NULL) {
        return VV_ENOMEM;
    }
    k->fds = grown;
    if (k->count == 0 && !is_unix) {
        const enum vv_err err = probe(&k->addr);
        if (err != VV_OK) {
            return err;
        }
    }
    const struct vv_listen_options options = {.reuseport = !is_unix,
                                              .defer_accept = !is_unix && k->name[0] != '@',
                                              .backlog = BACKLOG,
                                              .unix_mode = (int)mode};
    while (k->count < want) {
        const enum vv_err err = vv_sock_listen(&k->addr, &options, &k->fds[k->count]);
        if (err != VV_OK) {
            return err;
        }
        k->count++;
    }
    return VV_OK;
}

static void shrink(struct vv_socket *k, size_t count)
{
    while (k->count > count) {
        vv_close_fd(&k->fds[--k->count]);
    }
}

static enum vv_err add_new(struct vv_sockets *s, const char *name, const char *address,
                           size_t count, unsigned mode)
{
    struct vv_socket *k = socket_new(name, address);
    if (k == NULL) {
        return VV_ENOMEM;
    }
    enum vv_err err = vv_addr_parse(vv_str_from(address), &k->addr);
    if (err == VV_OK) {
        err = grow(k, count, mode);
    }
    if (err == VV_OK) {
        err = append(s, k);
    }
    if (err != VV_OK) {
        socket_free(k);
        return err;
    }
    k->wanted = true;
    return VV_OK;
}

struct line {
    char name[256], address[VV_ADDR_TEXT];
    uint64_t count, mode;
};

static enum vv_err parse_line(struct vv_str text, struct line *ret)
{
    struct vv_str rest = text;
    const struct vv_str name = vv_str_cut(&rest, VV_SOCKETS_SEP);
    const struct vv_str address = vv_str_cut(&rest, VV_SOCKETS_SEP);
    const struct vv_str count = vv_str_cut(&rest, VV_SOCKETS_SEP);
    if (name.n == 0 || name.n >= sizeof ret->name || address.n == 0 ||
        address.n >= sizeof ret->address || rest.n == 0 || rest.n > 6 ||
        vv_str_to_u64(count, &ret->count) != VV_OK || ret->count == 0 || ret->count > SOCKETS_MAX) {
        return VV_ESYNTAX;
    }
    memcpy(ret->name, name.p, name.n);
    ret->name[name.n] = '\0';
    memcpy(ret->address, address.p, address.n);
    ret->address[address.n] = '\0';
    ret->mode = 0;
    for (size_t i = 0; i < rest.n; i++) {
        if (rest.p[i] < '0' || rest.p[i] > '7') {
            return VV_ESYNTAX;
        }
        ret->mode = ret->mode * 8 + (uint64_t)(rest.p[i] - '0');
    }
    return VV_OK;
}

static enum vv_err want_one(struct vv_sockets *s, const struct line *l)
{
    struct vv_socket *k = vv_sockets_find(s, l->name, l->address);
    if (k == NULL) {
        return add_new(s, l->name, l->address, l->count, (unsigned)l->mode);
    }
    char *name = strdup(l->name);
    if (name == NULL) {
        return VV_ENOMEM;
    }
    const enum vv_err err = grow(k, l->count, (unsigned)l->mode);
    if (err != VV_OK) {
        free(name);
        return err;
    }
    free(k->name);
    k->name = name;
    k->wanted = true;
    return VV_OK;
}

enum vv_err vv_sockets_want(struct vv_sockets *s, const char *list, struct vv_sb *why)
{
    struct vv_str rest = vv_str_from(list);
    enum vv_err result = VV_OK;
    for (size_t i = 0; i < s->count; i++) {
        s->item[i]->wanted = false;
        s->item[i]->former = s->item[i]->count;
    }
    while (rest.n > 0) {
        struct line l = {0};
        const struct vv_str text = vv_str_cut(&rest, '\n');
        enum vv_err err = parse_line(text, &l);
        if (err == VV_OK) {
            err = want_one(s, &l);
        }
        if (err != VV_OK) {
            vv_sb_addf(why, "%s%s: %s: %s", why->n > 0 ? "\n" : "",
                       l.name[0] == '@' ? l.name + 1 : l.name, l.address, vv_err_text(err));
            result = err;
        }
    }
    if (result != VV_OK) {
        vv_sockets_forget(s);
    }
    return result;
}

static void drop_at(struct vv_sockets *s, size_t at)
{
    socket_free(s->item[at]);
    memmove(&s->item[at], &s->item[at + 1], (s->count - at - 1) * sizeof(struct vv_socket *));
    s->count--;
}

void vv_sockets_keep(struct vv_sockets *s)
{
    for (size_t i = s->count; i-- > 0;) {
        struct vv_socket *k = s->item[i];
        k->former = k->count;
        if (!k->wanted && !k->activated) {
            if (k->addr.sa.sa_family == AF_UNIX && k->addr.un.sun_path[0] != '\0') {
                (void)unlink(k->addr.un.sun_path);
            }
            drop_at(s, i);
        }
    }
}

void vv_sockets_forget(struct vv_sockets *s)
{
    for (size_t i = s->count; i-- > 0;) {
        struct vv_socket *k = s->item[i];
        if (k->former == 0) {
            if (k->addr.sa.sa_family == AF_UNIX && k->addr.un.sun_path[0] != '\0') {
                (void)unlink(k->addr.un.sun_path);
            }
            drop_at(s, i);
            continue;
        }
        shrink(k, k->former);
        k->wanted = true;
    }
}

void vv_sockets_trim(struct vv_sockets *s, size_t threads)
{
    for (size_t i = 0; i < s->count; i++) {
        shrink(s->item[i], threads > 0 ? threads : 1);
        s->item[i]->former = s->item[i]->count;
    }
}

enum vv_err vv_sockets_adopt(struct vv_sockets *s, const char *name, const char *address,
                             bool activated, const int *fds, size_t count)
{
    struct vv_socket *k = socket_new(name, address);
    if (k == NULL) {
        return VV_ENOMEM;
    }
    enum vv_err err = vv_addr_parse(vv_str_from(address), &k->addr);
    k->fds = calloc(count, sizeof(int));
    if (err == VV_OK && k->fds == NULL) {
        err = VV_ENOMEM;
    }
    if (err == VV_OK) {
        err = append(s, k);
    }
    if (err != VV_OK) {
        socket_free(k);
        return err;
    }
    memcpy(k->fds, fds, count * sizeof(int));
    k->count = k->former = count;
    k->activated = activated;
    k->wanted = true;
    return VV_OK;
}

enum vv_err vv_sockets_activate(struct vv_sockets *s, const char *name, int fd)
{
    struct vv_addr local;
    char text[VV_ADDR_TEXT];
    const enum vv_err err = vv_sock_local(fd, &local);
    if (err != VV_OK) {
        return err;
    }
    /* Managers pass blocking sockets: a thread whose colleague was faster would wait in accept. */
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0) {
        return vv_err_from_errno(errno);
    }
    vv_addr_format(&local, text, sizeof text);
    return vv_sockets_adopt(s, name, text, true, &fd, 1);
}

void vv_sockets_unlink(const struct vv_sockets *s)
{
    for (size_t i = 0; i < s->count; i++) {
        const struct vv_socket *k = s->item[i];
        if (!k->activated && k->addr.sa.sa_family == AF_UNIX && k->addr.un.sun_path[0] != '\0') {
            (void)unlink(k->addr.un.sun_path);
        }
    }
}
