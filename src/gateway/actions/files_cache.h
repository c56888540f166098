/* src/gateway/actions/files_cache.h - the files a worker has open: a hot one costs no open.
 *
 * Model:     an entry is what one path of one route stands for: a file, a folder that lacks its
 *            slash, or nothing. A file has a copy for each content coding: the file itself, its
 *            compressed siblings (looked for when a client would take one), and copies made ahead in
 *            memory (files_ahead.h). Once in a turn of the loop an entry that is used is compared
 *            with what its descriptors say now, so that writing to a file, replacing and removing it
 *            show at once; once in VV_FILES_TRUST_NS its name is opened anew, so that a new file, a
 *            new sibling and a renamed folder show after that at the latest. Small contents that
 *            are asked for again stay in memory. What nobody asked for in VV_FILES_IDLE_NS is closed.
 *            An entry that changed is replaced; whoever sends from it keeps the old one.
 * Bounds:    entries, descriptors and bytes; beyond one of them the entry that was not used since it
 *            came, or since the last round, goes (second chance: a scan does not push out what is
 *            hot). When the process has no descriptors left all entries are given back.
 * Source:    second chance: F. J. Corbato, A Paging Experiment with the Multics System (1968).
 * Units:     bytes, nanoseconds. Threads: one worker.
 * Ownership: entries are counted: vv_files_get() gives a reference, vv_files_put() takes it back.
 *            Every reference is back before vv_files_cache_free(), and no job runs any more.
 */
#ifndef VV_GATEWAY_ACTIONS_FILES_CACHE_H
#define VV_GATEWAY_ACTIONS_FILES_CACHE_H
#include "gateway/actions/files_find.h"
#include "os/loop.h"
#include "wire/encoding.h"
#include "wire/mime.h"
#include <sys/stat.h>

#define VV_FILES_TRUST_NS VV_SEC
#define VV_FILES_IDLE_NS (20 * VV_SEC)
#define VV_FILES_SMALL_MAX (32 * 1024)           /* contents that are kept in memory */
#define VV_FILES_ETAG_BYTES (3 * 16 + 2 + 2 + 5) /* three numbers, dashes, quotes, "-zstd" */

struct vv_files_limits {
    size_t entries, fds;
    uint64_t bytes; /* of contents in memory */
};

enum vv_files_state {
    VV_FILES_UNKNOWN, /* not looked for, or not made */
    VV_FILES_NONE,    /* not there, or not worth it */
    VV_FILES_COMING,  /* being made */
    VV_FILES_THERE,
};
struct vv_files_copy {
    uint8_t state; /* enum vv_files_state */
    uint8_t etag_bytes;
    char etag[VV_FILES_ETAG_BYTES];
    int fd;      /* -1: in memory only */
    char *bytes; /* the whole content; NULL: not in memory */
    uint64_t size;
    int64_t modified_s;
    struct vv_files_mark { /* PRIVATE: what the file was like when it was opened */
        dev_t device;
        ino_t inode;
        off_t size;
        struct timespec modified, changed;
    } mark;
};

struct vv_files_cache;
struct vv_files_entry {
    bool folder; /* the path lacks its slash at the end; there are no copies */
    const struct vv_mime *mime;
    struct vv_files_copy file[VV_ENCODING_COUNT]; /* IDENTITY: the file; others: its siblings */
    struct vv_files_copy made[VV_ENCODING_COUNT];
    /* PRIVATE from here */
    struct vv_files_cache *cache;
    struct vv_files_entry *chain;
    struct vv_list ring;
    uint32_t refs, gets;
    bool listed, used;
    enum vv_err err;
    int root_fd;
    bool literal; /* the fallback of its route */
    uint32_t route;
    uint64_t hash, generation;
    uint64_t opened_ns, looked_ns, used_ns;
    char *name; /* as it is opened */
    struct vv_str path;
};

struct vv_files_ask {
    const struct vv_files_settings *conf;
    struct vv_arena *arena; /* for what is needed during the call */
    struct vv_str path;     /* below the root, still encoded */
    int root_fd;
    uint32_t route;
    uint64_t generation; /* of the runtime: with a new one the root is another */
    uint64_t now_ns, wall_ns;
};

/* loop: for closing what is idle; NULL: vv_files_cache_sweep() is called by hand. */
VV_MUST_CHECK enum vv_err vv_files_cache_new(struct vv_loop *loop,
                                             const struct vv_files_limits *limits,
                                             struct vv_files_cache **ret);
void vv_files_cache_free(struct vv_files_cache *c);
/* What the path stands for, or the fallback. VV_ENOENT (404), VV_EACCES (403), VV_ESYNTAX (400),
 * VV_ENOMEM, VV_EFILES, VV_EIO. It may wait for the disk. */
VV_MUST_CHECK enum vv_err vv_files_get(struct vv_files_cache *c, const struct vv_files_ask *ask,
                                       struct vv_files_entry **ret);
void vv_files_ref(struct vv_files_entry *e);
void vv_files_put(struct vv_files_entry *e); /* NULL is fine */
/* A compressed copy beside the file that is not older than it; NULL: there is none. */
const struct vv_files_copy *vv_files_sibling(struct vv_files_entry *e, enum vv_encoding encoding);

/* The content of a copy of this entry if it is, or may now be, in memory; p NULL: read it. */
struct vv_str vv_files_content(struct vv_files_entry *e, const struct vv_files_copy *copy,
                               uint64_t wall_ns);

/* Is the file still as it was when it was opened? Any thread that holds a reference. */
bool vv_files_unchanged(const struct vv_files_entry *e);
/* Could it have been written to since then without its dates showing it? Kernels write dates with the
 * precision of their tick; what is that fresh is not kept in memory. */
bool vv_files_fresh(const struct vv_files_entry *e, uint64_t wall_ns);
/* Room for contents in memory; false: more than there may be. vv_files_forget() gives it back. */
VV_MUST_CHECK bool vv_files_remember(struct vv_files_cache *c, uint64_t bytes);
void vv_files_forget(struct vv_files_cache *c, uint64_t bytes);
/* Writes "first-second-third-coding" in quotes: a strong entity tag. */
void vv_files_tag(struct vv_files_copy *copy, const uint64_t part[3], enum vv_encoding encoding);

/* Closes what was not asked for in VV_FILES_IDLE_NS, except files whose copies were made ahead. */
void vv_files_cache_sweep(struct vv_files_cache *c, uint64_t now_ns);
struct vv_list *vv_files_jobs(struct vv_files_cache *c); /* of files_ahead.c: what is being made */
struct vv_files_counts {
    size_t entries, fds;
    uint64_t bytes, opens; /* opens: names that were opened so far */
};
struct vv_files_counts vv_files_counts(const struct vv_files_cache *c);
#endif
