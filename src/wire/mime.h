/* src/wire/mime.h - the media type of a file, told from its name. Rows in wire/mime.def, after the
 * IANA registry of media types. Threads: pure. */
#ifndef VV_WIRE_MIME_H
#define VV_WIRE_MIME_H
#include "base/str.h"

struct vv_mime {
    struct vv_str type; /* ready for Content-Type */
    bool compressible;  /* are compressed copies worth looking for? */
};
/* By the last extension of the last name in `path`, case ignored; application/octet-stream when it is
 * unknown or there is none. Never NULL. */
const struct vv_mime *vv_mime_of(struct vv_str path);
/* Is this media type (no parameters) one whose files are compressed by themselves? What
 * the table does not have is told by its family: pictures, sound and films are. */
bool vv_mime_is_compressed(struct vv_str type);
#endif
