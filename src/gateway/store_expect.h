/* src/gateway/store_expect.h - does a parameter of a Redis have the value that was wanted?
 *
 * Model:     what CONFIG GET says against what the file says. Equal is what means the same to the server: 4gb
 *            and 4294967296, 60s and 60 (ms and us where the parameter counts those), yes and true, the same
 *            pairs of `save` or letters of events in any order, texts without regard to case and blanks.
 *            Where one letter is the unit (4g) the server counts thousands and we count 1024: either is fine.
 * Threads:   pure.
 */
#ifndef VV_GATEWAY_STORE_EXPECT_H
#define VV_GATEWAY_STORE_EXPECT_H
#include "base/sb.h"

bool vv_expect_holds(struct vv_str name, struct vv_str wanted, struct vv_str is);
/* May it be changed while the server runs? */
bool vv_expect_settable(struct vv_str name);
/* The value as the server's command line takes it: "4294967296" for 4gb, quoted where a shell needs that. */
void vv_expect_write(struct vv_str name, struct vv_str wanted, struct vv_sb *out);
/* The value with what it means, for people: "67108864 (64MB)"; "nothing" when it is empty. */
void vv_expect_show(struct vv_str name, struct vv_str is, struct vv_sb *out);
#endif
