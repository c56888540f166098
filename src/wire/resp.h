/* src/wire/resp.h - the protocol of Redis, versions 2 and 3: replies as items, commands as bytes.
 *
 * Model:     the reader is a walk, not a tree: every call gives the next item (a number, a line, a
 *            run of a string's bytes, the head of an array whose elements follow). It keeps no
 *            bytes, so a value of any size passes through whatever buffer the caller has, as runs.
 *            vv_resp_next() returns VV_EAGAIN when more bytes are needed; bytes that it did not use
 *            are given again at the start of the next call, with more behind them.
 *            A reply ends with the item that says `done`.
 *            The writer puts lengths and small values into the caller's text and refers to large
 *            values where they are.
 * Source:    Redis serialization protocol specification, RESP2 and RESP3. Of RESP3 the streamed
 *            strings and aggregates ("$?", "*?") are refused: no server sends them.
 * Units:     sizes are bytes.
 * Threads:   pure functions over the caller's structs.
 * Ownership: nothing here allocates; item->text points into the caller's bytes.
 * Errors:    VV_ESYNTAX: not the protocol; VV_ELIMIT: a limit below or of the caller;
 *            VV_EUNSUPPORTED: streamed forms. A reader that failed stays failed with that error:
 *            where the next reply begins is unknown, so the connection is of no more use.
 */
#ifndef VV_WIRE_RESP_H
#define VV_WIRE_RESP_H
#include "base/err.h"
#include "base/str.h"
#include <sys/uio.h>

#define VV_RESP_DEPTH_MAX 16    /* arrays within arrays */
#define VV_RESP_LINE_MAX 16384  /* bytes of a line: status, error, number */
#define VV_RESP_NUMBER_MAX 4096 /* digits of a big number */

/* What an item is. VV_RESP_TYPE(id, first byte, name) */
#define VV_RESP_TYPES(X)                                                                           \
    X(STATUS, '+', "status")                                                                       \
    X(ERROR, '-', "error")                                                                         \
    X(INTEGER, ':', "integer")                                                                     \
    X(BULK, '$', "bulk")                                                                           \
    X(ARRAY, '*', "array")                                                                         \
    X(NIL, '_', "null")                                                                            \
    X(BOOLEAN, '#', "boolean")                                                                     \
    X(DOUBLE, ',', "double")                                                                       \
    X(BIG, '(', "big number")                                                                      \
    X(BULK_ERROR, '!', "bulk error")                                                               \
    X(VERBATIM, '=', "verbatim")                                                                   \
    X(MAP, '%', "map")                                                                             \
    X(SET, '~', "set")                                                                             \
    X(PUSH, '>', "push")                                                                           \
    X(ATTRIBUTE, '|', "attribute")                                                                 \
    X(INLINE, '\0', "inline command") /* a reader of commands only */

enum vv_resp_type {
#define VV_RESP_AS_ENUM(id, byte, name) VV_RESP_##id,
    VV_RESP_TYPES(VV_RESP_AS_ENUM)
#undef VV_RESP_AS_ENUM
        VV_RESP_TYPE_COUNT
};
const char *vv_resp_type_name(enum vv_resp_type t); /* "bulk" */

struct vv_resp_limits { /* 0: the default */
    uint64_t bulk_max;  /* bytes of one string; default 512 MiB, the server's own */
    uint64_t items_max; /* items of one reply, all depths; default 1,048,576 */
};

struct vv_resp_item {
    enum vv_resp_type type;
    /* STATUS, ERROR, BIG, INLINE: the line. BULK, BULK_ERROR, VERBATIM: this run of the bytes. */
    struct vv_str text;
    /* Strings: bytes of the whole; aggregates: items that follow directly (a map of two pairs: 4). */
    uint64_t count;
    int64_t integer; /* INTEGER; BOOLEAN as 0 and 1 */
    double number;   /* DOUBLE */
    char format[4];  /* VERBATIM: "txt" or "mkd", ended by NUL */
    uint8_t depth;   /* 0 is the reply itself, 1 an element of it, and so on */
    bool first;      /* the string begins here (true for everything that is no string) */
    bool last;       /* the string ends here (the same) */
    bool attribute;  /* belongs to an attribute: says something about the value that follows it */
    bool push;       /* belongs to a push: answers no command */
    bool done;       /* the reply or the push ends with this item */
};

struct vv_resp_reader { /* PRIVATE fields */
    struct vv_resp_limits limits;
    uint64_t left[VV_RESP_DEPTH_MAX]; /* items that are to come, by depth */
    uint16_t attributes;              /* bit per depth: this aggregate is an attribute */
    uint64_t items;                   /* of this reply so far */
    uint64_t total, rest;             /* of the string that is passing through */
    size_t scanned;                   /* bytes of an unfinished line that hold no CR */
    enum vv_err err;
    uint8_t depth, string, state;
    char format[4];
    bool push, commands;
};

/* limits may be NULL; they are copied. `commands`: what is read are commands of a client, a line
 * that begins with no type is an INLINE item. */
void vv_resp_reader_init(struct vv_resp_reader *r, const struct vv_resp_limits *limits,
                         bool commands);
/* VV_OK: *ret is set and *ret_used bytes are behind us. VV_EAGAIN: *ret_used may be more than 0 as
 * well; give the others again. */
VV_MUST_CHECK enum vv_err vv_resp_next(struct vv_resp_reader *r, struct vv_str bytes,
                                       size_t *ret_used, struct vv_resp_item *ret);
/* Nothing of a reply has come yet: the place where a connection may be left in peace. */
bool vv_resp_between(const struct vv_resp_reader *r);

/* Splits an inline command into its words, quotes and escapes as redis-cli has them. The words
 * are put one behind the other into `text`, which has room for as many bytes as the line.
 * VV_ESYNTAX: quotes that do not match; VV_ELIMIT: more than args_max words. */
VV_MUST_CHECK enum vv_err vv_resp_inline_split(struct vv_str line, char *text, struct vv_str *args,
                                               size_t args_max, size_t *ret_args);

/* A batch of commands on its way out. */
#define VV_RESP_COPY_MAX 512 /* values up to here are copied, longer ones referred to */
struct vv_resp_out {
    char *text; /* the caller's; where lengths and small values go */
    size_t text_room, text_used;
    struct iovec *iov; /* the caller's; refers to text and to large values, in order */
    size_t iov_room, iov_used;
    size_t bytes;   /* of all of them */
    bool text_last; /* PRIVATE: the vector's last part is text and may grow */
};
void vv_resp_out_init(struct vv_resp_out *o, char *text, size_t text_room, struct iovec *iov,
                      size_t iov_room);
/* Adds one command of at least one argument. VV_ELIMIT: no room; nothing was added. Values longer
 * than VV_RESP_COPY_MAX must stay where they are until the bytes are sent. */
VV_MUST_CHECK enum vv_err vv_resp_put(struct vv_resp_out *o, const struct vv_str *args,
                                      size_t args_count);

/* What an error is about. */
enum vv_resp_blame {
    VV_RESP_BLAME_COMMAND,   /* the command: another one may well succeed */
    VV_RESP_BLAME_SERVER,    /* the server cannot or may not now: try later or another */
    VV_RESP_BLAME_ELSEWHERE, /* the key lives on another server */
    VV_RESP_BLAME_ACCESS     /* who we are: name, password, rights */
};
enum vv_resp_error {
#define VV_RESP_ERROR(id, blame, doc) VV_RESP_E_##id,
#include "wire/resp_errors.def"
#undef VV_RESP_ERROR
    VV_RESP_E_COUNT
};
/* By the first word of an error's text; VV_RESP_E_OTHER for words that are not in the table. */
enum vv_resp_error vv_resp_error_of(struct vv_str text);
enum vv_resp_blame vv_resp_error_blame(enum vv_resp_error e);
const char *vv_resp_error_name(enum vv_resp_error e); /* "MOVED" */
const char *vv_resp_error_doc(enum vv_resp_error e);

struct vv_resp_redirect {
    struct vv_str host; /* empty: the server that answered; a name, an address without brackets */
    uint16_t port, slot;
    bool ask; /* ASK, this once; otherwise MOVED, for good */
};
/* "MOVED 3999 127.0.0.1:6381". VV_ESYNTAX for anything else. */
VV_MUST_CHECK enum vv_err vv_resp_redirect_parse(struct vv_str text, struct vv_resp_redirect *ret);
#endif
