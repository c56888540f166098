/* src/gateway/actions/files.c - files from a folder. */
#include "gateway/actions/files_open.h"
#include "gateway/session.h"
#include "wire/uri.h"
#include <unistd.h>

struct state {
    int fd;
};

static void start(struct vv_exchange *x)
{
    if (x->req.method != VV_METHOD_GET && x->req.method != VV_METHOD_HEAD) {
        x->allow = VV_STR("GET, HEAD");
        vv_answer_error(x, VV_REASON_METHOD);
        return;
    }
    const struct vv_str raw = {x->path.p + 1, x->path.n - 1};
    char *path = vv_arena_alloc(&x->arena, raw.n + 1);
    struct state *st = vv_arena_zalloc(&x->arena, sizeof *st);
    size_t n = 0;
    if (path == NULL || st == NULL) {
        vv_answer_error(x, VV_REASON_NO_MEMORY);
        return;
    }
    st->fd = -1;
    x->state = st;
    struct stat stat;
    if (vv_uri_decode(raw, path, raw.n, &n) != VV_OK) {
        vv_answer_error(x, VV_REASON_BAD_PATH);
        return;
    }
    path[n] = '\0';
    if (vv_files_open(x->route->root_fd, path, &st->fd, &stat) != VV_OK || !S_ISREG(stat.st_mode)) {
        vv_answer_error(x, VV_REASON_NOT_FOUND);
        return;
    }
    if (!vv_answer_head(x, 200, NULL, 0, (uint64_t)stat.st_size)) {
        return;
    }
    vv_answer_file(x, st->fd, 0, (uint64_t)stat.st_size);
    vv_answer_done(x);
    (void)vv_answer_flush(x);
}

static void cancel(struct vv_exchange *x)
{
    struct state *st = x->state;
    if (st != NULL && st->fd >= 0) {
        close(st->fd);
        st->fd = -1;
    }
}

const struct vv_action vv_action_files = {.name = "files", .start = start, .cancel = cancel};
