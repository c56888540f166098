/* src/gateway/describe.h - parts of the gateway as JSON, for status pages and explanations alike.
 *
 * Threads:   control thread. Ownership: nothing is kept.
 */
#ifndef VV_GATEWAY_DESCRIBE_H
#define VV_GATEWAY_DESCRIBE_H
#include "base/json.h"
#include "gateway/runtime.h"

/* One object: name, balance, check, servers, how many of them are usable. Without a set of servers yet (names not resolved, or a
 * runtime that only explains) the servers are those of the file, in state "unknown". */
void vv_describe_service(const struct vv_service *s, uint64_t now_ns, struct vv_json *j);
/* One object: name, where it stands, conditions, action and target, timeouts. */
void vv_describe_route(const struct vv_route *r, struct vv_json *j);
/* Key and value; a duration as the file says it ("10s"), null for 0 (no limit). */
void vv_describe_duration(struct vv_json *j, const char *key, uint64_t ns);
/* Key and a list of texts; an empty list when there is none. */
void vv_describe_texts(struct vv_json *j, const char *key, const struct vv_conf_list *list);
/* "to", "files", "redirect", "respond": the key of the file. */
const char *vv_describe_action(enum vv_action_kind action);
#endif
