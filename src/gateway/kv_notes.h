/* src/gateway/kv_notes.h - what a store that was away has yet to hear: keys whose truth is in memory, and purges.
 *
 * Model:     a noted key says no more than "ask memory": whoever repeats it tells the store what memory holds
 *            then. A serial number for each note tells whether the key was written again meanwhile.
 *            Purges come before keys: a write after a purge is noted, so nothing that is newer than a
 *            purge reaches the store before it.
 *            Where more is to be noted than there is room for, or memory is out, all notes are replaced by
 *            one: everything in the store is old. That takes no room.
 * Threads:   any; one lock inside, not taken while nothing is noted. Errors: none, see above.
 */
#ifndef VV_GATEWAY_KV_NOTES_H
#define VV_GATEWAY_KV_NOTES_H
#include "base/err.h"
#include "base/str.h"

#define VV_KV_NOTES_MAX 65536
#define VV_KV_NOTES_BYTES (8 * VV_MIB)
#define VV_KV_PURGES_MAX 64

struct vv_kv_notes;
VV_MUST_CHECK enum vv_err vv_kv_notes_new(struct vv_kv_notes **ret);
void vv_kv_notes_free(struct vv_kv_notes *n);
bool vv_kv_notes_empty(struct vv_kv_notes *n);
void vv_kv_notes_count(struct vv_kv_notes *n, uint64_t *ret_keys, uint64_t *ret_purges);
uint64_t vv_kv_notes_overflows(struct vv_kv_notes *n); /* times all notes were replaced by one */

/* Is memory the truth about this key: noted, or a pattern that waits matches it? */
bool vv_kv_noted(struct vv_kv_notes *n, struct vv_str key);
bool vv_kv_noted_tag(struct vv_kv_notes *n, const struct vv_str *tag, size_t tags);
void vv_kv_note(struct vv_kv_notes *n, struct vv_str key);

struct vv_kv_noted {
    uint64_t serial;
    struct vv_str key; /* in a text of its own: free() */
};
/* The keys that were noted longest ago, copied. 0 also while purges wait or memory is out. */
size_t vv_kv_notes_oldest(struct vv_kv_notes *n, struct vv_kv_noted *ret, size_t max);
/* The store knows it; if it was noted again since, it stays noted. */
void vv_kv_note_done(struct vv_kv_notes *n, struct vv_str key, uint64_t serial);
/* It could not be told: the others come first. */
void vv_kv_note_later(struct vv_kv_notes *n, struct vv_str key);

struct vv_kv_purge_note {
    uint64_t id; /* 0: none */
    bool is_tag;
    struct vv_str what; /* in a text of its own: free() */
};
/* A purge begins, carried out by the caller, or (running false) waits for somebody. 0: the note about
 * everything stands for it, and somebody else will carry that out. VV_KV_PURGE_BUSY (of one
 * that would begin): there are so many that it has to come later; nothing is noted. */
#define VV_KV_PURGE_BUSY UINT64_MAX
uint64_t vv_kv_note_purge(struct vv_kv_notes *n, bool is_tag, struct vv_str what, bool running);
/* The oldest purge that waits is the caller's now; ret->id 0: there is none. */
void vv_kv_notes_take_purge(struct vv_kv_notes *n, struct vv_kv_purge_note *ret);
/* It was carried out, or it waits again. */
void vv_kv_purge_done(struct vv_kv_notes *n, uint64_t id, bool ok);
#endif
