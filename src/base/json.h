/* src/base/json.h - streaming JSON writer into a vv_sb; reading JSON is jansson's job.
 *
 * Model:   commas and nesting are kept by the writer; depth at most 32. Strings are escaped, bytes
 *          that are not UTF-8 become U+FFFD. Numbers print so that they read back exactly.
 * Threads: one owner.
 */
#ifndef VV_BASE_JSON_H
#define VV_BASE_JSON_H
#include "base/sb.h"

struct vv_json {
    struct vv_sb *out;
    uint32_t has_item; /* bit per depth: something was written at this depth */
    uint32_t depth;
    bool after_key;
};

void vv_json_init(struct vv_json *j, struct vv_sb *out);
void vv_json_obj(struct vv_json *j);     /* { */
void vv_json_obj_end(struct vv_json *j); /* } */
void vv_json_arr(struct vv_json *j);
void vv_json_arr_end(struct vv_json *j);
void vv_json_key(struct vv_json *j, const char *key);
void vv_json_keyn(struct vv_json *j, struct vv_str key);
void vv_json_str(struct vv_json *j, struct vv_str s);
void vv_json_cstr(struct vv_json *j, const char *s); /* NULL prints null */
void vv_json_u64(struct vv_json *j, uint64_t v);
void vv_json_i64(struct vv_json *j, int64_t v);
void vv_json_double(struct vv_json *j, double v); /* NaN and infinities print null */
void vv_json_bool(struct vv_json *j, bool v);
void vv_json_null(struct vv_json *j);
/* Key and value at once. */
void vv_json_kstr(struct vv_json *j, const char *key, struct vv_str s);
void vv_json_kcstr(struct vv_json *j, const char *key, const char *s);
void vv_json_ku64(struct vv_json *j, const char *key, uint64_t v);
void vv_json_kdouble(struct vv_json *j, const char *key, double v);
void vv_json_kbool(struct vv_json *j, const char *key, bool v);
#endif
