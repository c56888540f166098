/* src/acme/store.h - what is kept: a directory that several gateways may share.
 *
 * Model:     DIR/account.key           our key at every authority, P-256 PEM
 *            DIR/account.json          {"accounts": {directory URL: account URL}}
 *            DIR/certs/NAME.pem        key, then chain; one file so that one rename swaps both
 *            DIR/certs/NAME.json       when it was issued, failures, when the next try is
 *            DIR/challenges/TOKEN      the text for HTTP; NAME.pem the certificate for TLS-ALPN-01
 *            DIR/locks/NAME            locked by who works on the name, says who that is
 *            Directories are 0700, files 0600. Files are replaced whole. A lock is the kernel's
 *            (flock): it ends with its process, so there is nothing stale to take over; on a
 *            network file system the server does the same when the client's lease ends.
 * Threads:   any; blocks. Ownership: texts are the caller's, free().
 * Errors:    of files; VV_ELIMIT: bigger than anything of ours; *why gets one line.
 */
#ifndef VV_ACME_STORE_H
#define VV_ACME_STORE_H
#include "acme/acme.h"
#include "acme/json.h"
#include <openssl/evp.h>

/* Makes what is missing and tries to write. A directory that others may read is VV_EACCES. */
VV_MUST_CHECK enum vv_err vv_acme_store_open(const char *dir, struct vv_sb *why);
void vv_acme_store_path(const char *dir, const char *name, char path[VV_ACME_PATH_MAX]);
VV_MUST_CHECK enum vv_err vv_acme_store_cert(const char *dir, const char *name, struct vv_str key,
                                             struct vv_str chain);
/* NAME.pem becomes NAME.revoked.pem. */
VV_MUST_CHECK enum vv_err vv_acme_store_revoked(const char *dir, const char *name);
/* A number that changes when the certificate's file does; 0: no file. */
uint64_t vv_acme_store_stamp(const char *dir, const char *name);
VV_MUST_CHECK enum vv_err vv_acme_store_remember(const char *dir, const char *name,
                                                 const struct vv_acme_memory *m);
/* All zeroes when there is nothing (readable). */
void vv_acme_store_recall(const char *dir, const char *name, struct vv_acme_memory *ret);

/* Reads the account's key, or makes one: of gateways that do at once, one wins and all have its key. */
VV_MUST_CHECK enum vv_err vv_acme_store_account(const char *dir, EVP_PKEY **ret, struct vv_sb *why);
bool vv_acme_store_kid(const char *dir, const char *directory, char ret[VV_ACME_URL_MAX]);
VV_MUST_CHECK enum vv_err vv_acme_store_set_kid(const char *dir, const char *directory,
                                                const char *kid);

/* `file` is a token or NAME.pem. */
VV_MUST_CHECK enum vv_err vv_acme_store_challenge(const char *dir, const char *file,
                                                  struct vv_str text);
VV_MUST_CHECK enum vv_err vv_acme_store_find(const char *dir, const char *file, char **ret_text,
                                             size_t *ret_n);
void vv_acme_store_unchallenge(const char *dir, const char *file);
/* Removes challenges older than a day: a gateway died with them. */
void vv_acme_store_sweep(const char *dir, uint64_t wall_ns);

/* VV_EAGAIN: somebody else works on it. The lock goes with vv_acme_store_unlock() or the process. */
VV_MUST_CHECK enum vv_err vv_acme_store_lock(const char *dir, const char *name, int *ret_fd);
void vv_acme_store_unlock(int *fd); /* -1 is fine; becomes -1 */
#endif
