/* src/wire/http1_chunked.c - chunked bodies (RFC 9112 section 7.1) as a table of states and bytes.
 *
 * Every byte outside chunk data goes through one table: state and class of byte give the next state
 * or the reason to refuse. There is no buffer to overflow and a cut may fall anywhere. Extensions
 * are held to their grammar, since a CR, LF or quote that two parsers read differently is how
 * requests have been smuggled through chunk extensions. */
#include "wire/http1_int.h"

#include <string.h>

#define SIZE_DIGITS_MAX 16     /* leading zeros included */
#define LINE_BYTES_MAX 256     /* of a chunk size with its extensions */
#define TRAILER_BYTES_MAX 8192 /* of all trailer fields of one body */

enum state {
    SIZE,        /* before or in the size */
    EXT_GAP,     /* white space that must lead to ';' */
    EXT_NAME0,   /* after ';' */
    EXT_NAME,    /* in the name */
    EXT_AFTER,   /* white space after the name: '=' or ';' follows */
    EXT_VALUE0,  /* after '=' */
    EXT_VALUE,   /* in a token value */
    EXT_QUOTED,  /* in a quoted value */
    EXT_ESCAPE,  /* after a backslash in it */
    EXT_QUOTED1, /* after the closing quote */
    SIZE_LF,     /* CR seen, LF must follow */
    DATA,
    DATA_CR, /* after the data */
    DATA_LF,
    TRAILER_LINE, /* at the start of a trailer line */
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    END_LF,
    DONE,
    STATES
};

enum class {
    CTL,
    TEXT,
    TOKEN,
    HEX,
    SEMICOLON,
    EQUALS,
    QUOTE,
    BACKSLASH,
    COLON,
    BLANK,
    CR,
    LF,
    CLASSES
};

static uint8_t class_of[256];

/* Cells: a state, or BAD. Which row of the errors a bad byte means depends on the state alone. */
#define BAD 0xff
#define ROW(ctl, text, token, hex, semi, eq, quote, back, colon, blank, cr, lf)                    \
    {                                                                                              \
        ctl, text, token, hex, semi, eq, quote, back, colon, blank, cr, lf                         \
    }
static const uint8_t next_state[STATES][CLASSES] = {
    /* clang-format off */
    /*                   CTL  TEXT           TOKEN          HEX            ;              =              "              \              :              blank          CR          LF */
    [SIZE]        = ROW(BAD, BAD,           BAD,           SIZE,          EXT_NAME0,     BAD,           BAD,           BAD,           BAD,           EXT_GAP,       SIZE_LF,    BAD),
    [EXT_GAP]     = ROW(BAD, BAD,           BAD,           BAD,           EXT_NAME0,     BAD,           BAD,           BAD,           BAD,           EXT_GAP,       BAD,        BAD),
    [EXT_NAME0]   = ROW(BAD, BAD,           EXT_NAME,      EXT_NAME,      BAD,           BAD,           BAD,           BAD,           BAD,           EXT_NAME0,     BAD,        BAD),
    [EXT_NAME]    = ROW(BAD, BAD,           EXT_NAME,      EXT_NAME,      EXT_NAME0,     EXT_VALUE0,    BAD,           BAD,           BAD,           EXT_AFTER,     SIZE_LF,    BAD),
    [EXT_AFTER]   = ROW(BAD, BAD,           BAD,           BAD,           EXT_NAME0,     EXT_VALUE0,    BAD,           BAD,           BAD,           EXT_AFTER,     BAD,        BAD),
    [EXT_VALUE0]  = ROW(BAD, BAD,           EXT_VALUE,     EXT_VALUE,     BAD,           BAD,           EXT_QUOTED,    BAD,           BAD,           EXT_VALUE0,    BAD,        BAD),
    [EXT_VALUE]   = ROW(BAD, BAD,           EXT_VALUE,     EXT_VALUE,     EXT_NAME0,     BAD,           BAD,           BAD,           BAD,           EXT_GAP,       SIZE_LF,    BAD),
    [EXT_QUOTED]  = ROW(BAD, EXT_QUOTED,    EXT_QUOTED,    EXT_QUOTED,    EXT_QUOTED,    EXT_QUOTED,    EXT_QUOTED1,   EXT_ESCAPE,    EXT_QUOTED,    EXT_QUOTED,    BAD,        BAD),
    [EXT_ESCAPE]  = ROW(BAD, EXT_QUOTED,    EXT_QUOTED,    EXT_QUOTED,    EXT_QUOTED,    EXT_QUOTED,    EXT_QUOTED,    EXT_QUOTED,    EXT_QUOTED,    EXT_QUOTED,    BAD,        BAD),
    [EXT_QUOTED1] = ROW(BAD, BAD,           BAD,           BAD,           EXT_NAME0,     BAD,           BAD,           BAD,           BAD,           EXT_GAP,       SIZE_LF,    BAD),
    [SIZE_LF]     = ROW(BAD, BAD,           BAD,           BAD,           BAD,           BAD,           BAD,           BAD,           BAD,           BAD,           BAD,        DATA),
    [DATA_CR]     = ROW(BAD, BAD,           BAD,           BAD,           BAD,           BAD,           BAD,           BAD,           BAD,           BAD,           DATA_LF,    BAD),
    [DATA_LF]     = ROW(BAD, BAD,           BAD,           BAD,           BAD,           BAD,           BAD,           BAD,           BAD,           BAD,           BAD,        SIZE),
    [TRAILER_LINE]= ROW(BAD, BAD,           TRAILER_NAME,  TRAILER_NAME,  BAD,           BAD,           BAD,           BAD,           BAD,           BAD,           END_LF,     BAD),
    [TRAILER_NAME]= ROW(BAD, BAD,           TRAILER_NAME,  TRAILER_NAME,  BAD,           BAD,           BAD,           BAD,           TRAILER_VALUE, BAD,           BAD,        BAD),
    [TRAILER_VALUE]=ROW(BAD, TRAILER_VALUE, TRAILER_VALUE, TRAILER_VALUE, TRAILER_VALUE, TRAILER_VALUE, TRAILER_VALUE, TRAILER_VALUE, TRAILER_VALUE, TRAILER_VALUE, TRAILER_LF, BAD),
    [TRAILER_LF]  = ROW(BAD, BAD,           BAD,           BAD,           BAD,           BAD,           BAD,           BAD,           BAD,           BAD,           BAD,        TRAILER_LINE),
    [END_LF]      = ROW(BAD, BAD,           BAD,           BAD,           BAD,           BAD,           BAD,           BAD,           BAD,           BAD,           BAD,        DONE),
    /* clang-format on */
};

static const uint8_t bad_byte[STATES] = {
    [SIZE] = VV_H1_ERR_CHUNK_SIZE,
    [EXT_GAP] = VV_H1_ERR_CHUNK_EXTENSION,
    [EXT_NAME0] = VV_H1_ERR_CHUNK_EXTENSION,
    [EXT_NAME] = VV_H1_ERR_CHUNK_EXTENSION,
    [EXT_AFTER] = VV_H1_ERR_CHUNK_EXTENSION,
    [EXT_VALUE0] = VV_H1_ERR_CHUNK_EXTENSION,
    [EXT_VALUE] = VV_H1_ERR_CHUNK_EXTENSION,
    [EXT_QUOTED] = VV_H1_ERR_CHUNK_EXTENSION,
    [EXT_ESCAPE] = VV_H1_ERR_CHUNK_EXTENSION,
    [EXT_QUOTED1] = VV_H1_ERR_CHUNK_EXTENSION,
    [SIZE_LF] = VV_H1_ERR_CHUNK_SIZE,
    [DATA_CR] = VV_H1_ERR_CHUNK_END,
    [DATA_LF] = VV_H1_ERR_CHUNK_END,
    [TRAILER_LINE] = VV_H1_ERR_TRAILER,
    [TRAILER_NAME] = VV_H1_ERR_TRAILER,
    [TRAILER_VALUE] = VV_H1_ERR_TRAILER,
    [TRAILER_LF] = VV_H1_ERR_TRAILER,
    [END_LF] = VV_H1_ERR_TRAILER,
};

__attribute__((constructor)) static void fill_classes(void)
{
    for (unsigned c = 0; c < 256; c++) {
        const char byte = (char)c;
        if (vv_h1_is(byte, VV_H1_C_HEX)) {
            class_of[c] = HEX;
        } else if (vv_h1_is(byte, VV_H1_C_TOKEN)) {
            class_of[c] = TOKEN;
        } else {
            class_of[c] = vv_h1_is(byte, VV_H1_C_VALUE) ? TEXT : CTL;
        }
    }
    class_of[';'] = SEMICOLON;
    class_of['='] = EQUALS;
    class_of['"'] = QUOTE;
    class_of['\\'] = BACKSLASH;
    class_of[':'] = COLON;
    class_of[' '] = class_of['\t'] = BLANK;
    class_of['\r'] = CR;
    class_of['\n'] = LF;
}

void vv_h1_chunked_init(struct vv_h1_chunked *d)
{
    memset(d, 0, sizeof *d);
}

static enum vv_err refuse(struct vv_h1_chunked *d, enum vv_h1_error error)
{
    d->error = error;
    return VV_ESYNTAX;
}

static uint64_t hex_digit(char c)
{
    return (uint64_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
}

/* One byte of a size line: count it in. */
static enum vv_h1_error size_byte(struct vv_h1_chunked *d, enum state from, enum state to, char c)
{
    if (++d->line_bytes > LINE_BYTES_MAX) {
        return VV_H1_ERR_CHUNK_LINE_LONG;
    }
    if (to == SIZE) {
        if (++d->size_digits > SIZE_DIGITS_MAX || d->left > (uint64_t)INT64_MAX >> 4) {
            return VV_H1_ERR_CHUNK_SIZE_OVERFLOW;
        }
        d->left = d->left << 4 | hex_digit(c);
    } else if (from == SIZE && d->size_digits == 0) {
        return VV_H1_ERR_CHUNK_SIZE; /* a line without a size */
    }
    return VV_H1_FINE;
}

/* One byte outside chunk data. */
static enum vv_h1_error step(struct vv_h1_chunked *d, char c)
{
    const enum state from = (enum state)d->state;
    const uint8_t cell = next_state[from][class_of[(uint8_t)c]];
    if (VV_UNLIKELY(cell == BAD)) {
        return (enum vv_h1_error)bad_byte[from];
    }
    const enum state to = (enum state)cell;
    if (from <= EXT_QUOTED1) {
        const enum vv_h1_error error = size_byte(d, from, to, c);
        if (error != VV_H1_FINE) {
            return error;
        }
    } else if (from >= TRAILER_LINE && ++d->trailer_bytes > TRAILER_BYTES_MAX) {
        return VV_H1_ERR_TRAILER_TOO_LARGE;
    }
    d->state = cell;
    if (to == DATA && d->left == 0) {
        d->state = TRAILER_LINE; /* the last chunk has size 0 */
    } else if (to == SIZE && from == DATA_LF) {
        d->line_bytes = 0;
        d->size_digits = 0;
    }
    d->done = d->state == DONE;
    return VV_H1_FINE;
}

enum vv_err vv_h1_chunked_next(struct vv_h1_chunked *d, struct vv_str bytes, size_t *ret_used,
                               struct vv_str *ret_data)
{
    *ret_used = 0;
    *ret_data = (struct vv_str){bytes.p, 0};
    if (d->error != VV_H1_FINE) {
        return VV_ESYNTAX;
    }
    for (size_t i = 0; i < bytes.n && !d->done; i++) {
        if (d->state == DATA) {
            const size_t here = bytes.n - i;
            const size_t n = d->left < here ? (size_t)d->left : here;
            d->left -= n;
            if (d->left == 0) {
                d->state = DATA_CR;
            }
            *ret_data = (struct vv_str){bytes.p + i, n};
            *ret_used = i + n;
            return VV_OK;
        }
        const enum vv_h1_error error = step(d, bytes.p[i]);
        if (error != VV_H1_FINE) {
            return refuse(d, error);
        }
        *ret_used = i + 1;
    }
    return d->done ? VV_OK : VV_EAGAIN;
}

size_t vv_h1_chunk_head(char *buf, uint64_t n)
{
    char digits[16];
    size_t count = 0;
    do {
        digits[count++] = "0123456789abcdef"[n & 15];
        n >>= 4;
    } while (n > 0);
    for (size_t i = 0; i < count; i++) {
        buf[i] = digits[count - 1 - i];
    }
    buf[count] = '\r';
    buf[count + 1] = '\n';
    return count + 2;
}
