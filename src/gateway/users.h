/* src/gateway/users.h - people with passwords, for Basic: a file of hashes that take long to guess.
 *
 * Model:     one line a user: NAME:scrypt$LOG2N$R$P$SALT$HASH, then :PLAN where there is one; salt and
 *            hash in base64. Lines that begin with # and empty ones are left alone.
 * Source:    RFC 7914 (scrypt), RFC 7617 (Basic).
 * Threads:   a table is read by any. vv_user_verify() takes tens of milliseconds: not on a loop.
 * Ownership: a table owns its text; a secret is a plain value.
 * Errors:    VV_ESYNTAX with line, column and a static text.
 */
#ifndef VV_GATEWAY_USERS_H
#define VV_GATEWAY_USERS_H
#include "gateway/keys.h"

#define VV_USER_SALT 16
#define VV_USER_HASH 32
#define VV_USERS_BYTES (64u << 20) /* of a file */
#define VV_PASSWORD_MAX 256

struct vv_user_secret {
    uint8_t log2_n, r, p;
    uint8_t salt[VV_USER_SALT], hash[VV_USER_HASH];
};
struct vv_user {
    const char *name, *plan; /* plan NULL: none */
    struct vv_user_secret secret;
};
struct vv_users { /* sorted by name */
    size_t count;
    struct vv_user *user;
    char *text; /* PRIVATE */
};
VV_MUST_CHECK enum vv_err vv_users_parse(struct vv_str text, struct vv_users **ret,
                                         struct vv_keys_error *reterr);
void vv_users_free(struct vv_users *u); /* NULL is fine */
const struct vv_user *vv_users_find(const struct vv_users *u, struct vv_str name);
/* What stands for a user that does not exist: as slow as a real one, and no password fits. */
extern const struct vv_user_secret vv_user_nobody;
/* Blocks. False also when memory is out. */
bool vv_user_verify(const struct vv_user_secret *s, struct vv_str password);
/* A line of the file; blocks like vv_user_verify(). VV_EINVAL: the name, the plan or the password. */
VV_MUST_CHECK enum vv_err vv_user_line(struct vv_str name, struct vv_str plan,
                                       struct vv_str password, const uint8_t salt[VV_USER_SALT],
                                       struct vv_sb *out);
#endif
