/* src/gateway/door.h - who comes in through a listener, and who must leave when it is full.
 *
 * Model:     a new connection passes the lists of the listener, its address's limits (clients.h) and, when
 *            the listener is full, descriptors run out or memory does, comes in exchange for the connection
 *            that has waited longest for its client: idle ones and those whose head does not come, at least
 *            a second each. The longest of a sample is taken, so a full house costs the same however full.
 *            Refused connections are reset without a byte: nothing of them stays behind.
 * Threads:   one worker. Ownership: vv_door_copy() gives a listener its own copy of the lists.
 */
#ifndef VV_GATEWAY_DOOR_H
#define VV_GATEWAY_DOOR_H
#include "gateway/clients.h"
#include "gateway/worker.h"

struct vv_session;

/* What a listener keeps of its settings: nothing in it points into `from`. VV_ENOMEM: *to is untouched. */
VV_MUST_CHECK enum vv_err vv_door_copy(const struct vv_clients_settings *from,
                                       struct vv_clients_settings *to);
void vv_door_forget(struct vv_clients_settings *copy); /* zeroed is fine */

/* False: refused, counted, and the descriptor closed. *ret_client goes to the session. */
VV_MUST_CHECK bool vv_door_admit(struct vv_listener *l, int fd, const struct vv_addr *peer,
                                 struct vv_client **ret_client);
/* The same for the address that a PROXY header told. False: the caller closes. */
VV_MUST_CHECK bool vv_door_admit_named(struct vv_session *s);
void vv_door_leave(struct vv_worker *w, struct vv_client *client); /* NULL is fine */
/* Makes room for one more. why: "connections", "descriptors", "memory", for the metric; NULL listener:
 * any. False: nobody waits for a client. */
VV_MUST_CHECK bool vv_door_make_room(struct vv_worker *w, struct vv_listener *l, const char *why);
/* Memory is short: may this listener take one more? */
VV_MUST_CHECK bool vv_door_has_memory(struct vv_listener *l);
/* 1 Hz: while memory is short, those who only wait go first. */
void vv_door_tick(struct vv_worker *w);

/* Its handshake was a resumed one. */
void vv_door_resumed(struct vv_session *s);
/* It sent something malformed. */
void vv_door_malformed(struct vv_session *s);
#endif
