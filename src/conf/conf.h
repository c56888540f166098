/* src/conf/conf.h - the configuration engine: rows in, checked C structs out.
 *
 * This first version fixes what the rest of the product builds on; the engine's author owns and extends it.
 */
#ifndef VV_CONF_CONF_H
#define VV_CONF_CONF_H
#include "base/err.h"
#include "base/sb.h"

struct vv_conf_pos { /* where something stands; line 0: nowhere (a default) */
    const char *file;
    uint32_t line, column; /* from 1 */
};

struct vv_conf_list { /* items of a list or a map, in the order of the file */
    size_t count;
    void **item;             /* pointers to structs, or const char * for text */
    const char **name;       /* keys of a map; NULL for a list */
    struct vv_conf_pos *pos; /* where each item stands */
};

struct vv_conf_doc;
struct vv_conf_section;
struct vv_conf_problems;
#endif
