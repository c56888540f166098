/* src/gateway/actions/files_parts.c - several ranges are rare and mostly small, so they are copied
 * through a buffer; one range, which is common, goes by sendfile and never comes here. */
#include "gateway/actions/files_parts.h"
#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

enum vv_err vv_files_read_all(int fd, char *to, size_t bytes, uint64_t at)
{
    while (bytes > 0) {
        const ssize_t n = pread(fd, to, bytes, (off_t)at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return VV_EIO;
        }
        to += n;
        at += (uint64_t)n;
        bytes -= (size_t)n;
    }
    return VV_OK;
}

enum vv_err vv_files_parts_init(struct vv_files_parts *p, struct vv_arena *arena, int fd,
                                const struct vv_ranges *ranges, struct vv_str type, uint64_t size,
                                uint64_t mark)
{
    *p = (struct vv_files_parts){.fd = fd, .ranges = *ranges};
    p->content_type =
        vv_arena_fmt(arena, "multipart/byteranges; boundary=vivace-%016" PRIx64, mark);
    if (p->content_type.p == NULL) {
        return VV_ENOMEM;
    }
    for (uint32_t i = 0; i < ranges->count; i++) {
        const struct vv_range r = ranges->range[i];
        p->text[i] = vv_arena_fmt(
            arena,
            "%s--vivace-%016" PRIx64 "\r\nContent-Type: " VV_STR_FMT
            "\r\nContent-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n\r\n",
            i > 0 ? "\r\n" : "", mark, VV_STR_ARG(type), r.first, r.first + r.bytes - 1, size);
        if (p->text[i].p == NULL) {
            return VV_ENOMEM;
        }
        p->bytes += p->text[i].n + r.bytes;
    }
    p->text[ranges->count] = vv_arena_fmt(arena, "\r\n--vivace-%016" PRIx64 "--\r\n", mark);
    p->bytes += p->text[ranges->count].n;
    return p->text[ranges->count].p != NULL ? VV_OK : VV_ENOMEM;
}

enum vv_err vv_files_parts_read(struct vv_files_parts *p, char *to, size_t room, size_t *ret_bytes)
{
    size_t n = 0;
    while (n < room && p->at <= p->ranges.count) {
        const struct vv_str text = p->text[p->at];
        const struct vv_range r =
            p->at < p->ranges.count ? p->ranges.range[p->at] : (struct vv_range){0, 0};
        const uint64_t left = p->done < text.n ? text.n - p->done : text.n + r.bytes - p->done;
        const size_t take = (size_t)vv_min_u64(left, room - n);
        if (p->done < text.n) {
            memcpy(to + n, text.p + p->done, take);
        } else if (vv_files_read_all(p->fd, to + n, take, r.first + (p->done - text.n)) != VV_OK) {
            return VV_EIO;
        }
        n += take;
        p->done += take;
        if (p->done == text.n + r.bytes) {
            p->at++;
            p->done = 0;
        }
    }
    *ret_bytes = n;
    return VV_OK;
}
