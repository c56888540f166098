/* src/app/diff.h - two texts line by line: "-" only in the first, "+" only in the second, with two
 * lines around. Nothing when they are equal. Threads: pure. */
#ifndef VV_APP_DIFF_H
#define VV_APP_DIFF_H
#include "base/sb.h"

void diff_print(struct vv_str a, struct vv_str b, bool color, struct vv_sb *out);
#endif
