/* src/observe/access_int.h - the formatting half of the access log, apart from its threads.
 *
 * Model:   vv_access_bound() says how many bytes the line may need, vv_access_line() writes it.
 * Threads: one clock per thread. Ownership: nothing is kept but the clock's text.
 */
#ifndef VV_OBSERVE_ACCESS_INT_H
#define VV_OBSERVE_ACCESS_INT_H
#include "observe/access_log.h"

#define VV_ACCESS_BUFFER 65536   /* bytes of one buffer */
#define VV_ACCESS_LINE_MAX 50176 /* no line is longer */

struct vv_access_clock { /* the text of the second written last */
    uint64_t second;
    size_t n;
    char text[32];
};

size_t vv_access_bound(const struct vv_access_record *r); /* <= VV_ACCESS_LINE_MAX */
/* Writes at p, which has room for vv_access_bound(r); returns the end. Ends in a newline. */
char *vv_access_line(char *p, const struct vv_access_record *r, enum vv_access_format format,
                     struct vv_access_clock *clock);
#endif
