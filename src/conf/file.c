/* src/conf/file.c - the texts a configuration is made of, and where a byte of them stands. */
#include "conf/conf_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

struct file *file_add(struct vv_conf_doc *doc, const char *path, struct vv_str text)
{
    struct file *f = doc_zalloc(doc, sizeof *f);
    uint32_t lines = 1;
    for (size_t i = 0; i < text.n; i++) {
        lines += text.p[i] == '\n';
    }
    f->path = doc_fmt(doc, "%s", path);
    f->text = text;
    f->line_at = doc_zalloc(doc, lines * sizeof *f->line_at);
    f->line_count = 1;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '\n') {
            f->line_at[f->line_count++] = (uint32_t)i + 1;
        }
    }
    f->order = ++doc->file_count;
    *doc->files_tail = f;
    doc->files_tail = &f->next;
    return f;
}

/* A FIFO is fine (`vivace check <(generate)`); the size limit holds while reading, too. */
static FILE *open_text(const char *path, const char **ret_why)
{
    struct stat st;
    FILE *f = fopen(path, "rbe");
    if (f == NULL) {
        *ret_why = strerror(errno);
        return NULL;
    }
    if (fstat(fileno(f), &st) != 0 || S_ISDIR(st.st_mode)) {
        *ret_why = "it is a directory";
    } else if (st.st_size > (off_t)FILE_BYTES_MAX) {
        *ret_why = "it is larger than 16 MB";
    } else {
        return f;
    }
    fclose(f);
    return NULL;
}

bool file_read(struct vv_conf_doc *doc, const char *path, struct vv_str *ret_text,
               const char **ret_why)
{
    size_t n = 0;
    FILE *f = open_text(path, ret_why);
    if (f == NULL) {
        return false;
    }
    struct vv_sb sb = VV_SB_INIT;
    char part[4096];
    while ((n = fread(part, 1, sizeof part, f)) > 0 && sb.n <= FILE_BYTES_MAX) {
        vv_sb_add(&sb, (struct vv_str){part, n});
    }
    const bool bad = ferror(f) != 0 || sb.failed || sb.n > FILE_BYTES_MAX;
    fclose(f);
    if (bad) {
        *ret_why = "it cannot be read or is larger than 16 MB";
        vv_sb_fini(&sb);
        return false;
    }
    char *text = vv_arena_alloc(&doc->arena, sb.n + 1);
    if (text == NULL) {
        *ret_why = "out of memory";
        vv_sb_fini(&sb);
        return false;
    }
    memcpy(text, sb.p != NULL ? sb.p : "", sb.n);
    text[sb.n] = '\0';
    *ret_text = (struct vv_str){text, sb.n};
    vv_sb_fini(&sb);
    return true;
}

const char *file_beside(struct vv_conf_doc *doc, const char *base_file, const char *path)
{
    const char *slash = strrchr(base_file, '/');
    if (path[0] == '/' || slash == NULL) {
        return doc_fmt(doc, "%s", path);
    }
    while (path[0] == '.' && path[1] == '/') {
        path += 2;
    }
    return doc_fmt(doc, "%.*s%s", (int)(slash - base_file + 1), base_file, path);
}

void file_line_column(const struct file *f, uint32_t offset, uint32_t *ret_line,
                      uint32_t *ret_column)
{
    uint32_t low = 0, high = f->line_count;
    while (high - low > 1) { /* line_at[low] <= offset always holds */
        const uint32_t middle = low + (high - low) / 2;
        if (f->line_at[middle] <= offset) {
            low = middle;
        } else {
            high = middle;
        }
    }
    uint32_t column = 1;
    for (uint32_t i = f->line_at[low]; i < offset && i < f->text.n; i++) {
        column += ((unsigned char)f->text.p[i] & 0xc0) != 0x80;
    }
    *ret_line = low + 1;
    *ret_column = column;
}

struct vv_conf_pos mark_pos(struct mark at)
{
    struct vv_conf_pos pos = {0};
    if (at.file != NULL) {
        pos.file = at.file->path;
        file_line_column(at.file, at.from, &pos.line, &pos.column);
    }
    return pos;
}

void file_hide(struct vv_conf_doc *doc, struct mark at)
{
    if (at.file != NULL && at.to > at.from) {
        struct span *s = doc_zalloc(doc, sizeof *s);
        *s = (struct span){at.from, at.to, at.file->secrets};
        at.file->secrets = s;
    }
}

struct vv_str url_password(struct vv_str url)
{
    const char *scheme = url.n > 0 ? memmem(url.p, url.n, "://", 3) : NULL;
    if (scheme == NULL) {
        return (struct vv_str){NULL, 0};
    }
    const struct vv_str rest = {scheme + 3, (size_t)(url.p + url.n - scheme) - 3};
    const char *at = rest.n > 0 ? memrchr(rest.p, '@', rest.n) : NULL;
    const char *colon = at != NULL ? memchr(rest.p, ':', (size_t)(at - rest.p)) : NULL;
    if (colon == NULL) {
        return (struct vv_str){NULL, 0};
    }
    return (struct vv_str){colon + 1, (size_t)(at - colon) - 1};
}

size_t utf8_length(struct vv_str s)
{
    const unsigned char c = s.n > 0 ? (unsigned char)s.p[0] : 0xff;
    const size_t bytes = c < 0x80   ? 1
                         : c < 0xc2 ? 0
                         : c < 0xe0 ? 2
                         : c < 0xf0 ? 3
                         : c < 0xf5 ? 4
                                    : 0;
    if (bytes == 0 || bytes > s.n) {
        return 0;
    }
    for (size_t i = 1; i < bytes; i++) {
        if (((unsigned char)s.p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    const unsigned char second = bytes > 1 ? (unsigned char)s.p[1] : 0;
    const bool overlong = (c == 0xe0 && second < 0xa0) || (c == 0xf0 && second < 0x90);
    const bool beyond = (c == 0xed && second > 0x9f) || (c == 0xf4 && second > 0x8f);
    return overlong || beyond ? 0 : bytes;
}
