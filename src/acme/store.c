/* src/acme/store.c - small files in a directory of four. */
#include "acme/store.h"
#include "acme/jws.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/sock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES_MAX (256 * 1024)
#define DIR_MODE 0700
#define FILE_MODE 0600
#define SWEEP_S (24 * 3600)
#define SWEEP_FILES_MAX 100000

static const char *const parts[] = {"", "/certs", "/challenges", "/locks"};

/* "what/name + end" under dir; false: too long. */
static bool path_of(char path[VV_ACME_PATH_MAX], const char *dir, const char *what,
                    const char *name, const char *end)
{
    const int n = snprintf(path, VV_ACME_PATH_MAX, "%s/%s%s%s", dir, what, name, end);
    return n > 0 && n < VV_ACME_PATH_MAX;
}

/* ---- the directory --------------------------------------------------------------------------- */

/* Every missing part of the path, like mkdir -p. */
static enum vv_err make_path(const char *path)
{
    char part[VV_ACME_PATH_MAX];
    (void)snprintf(part, sizeof part, "%s", path);
    for (char *p = part + 1;; p++) {
        if (*p != '/' && *p != '\0') {
            continue;
        }
        const char kept = *p;
        *p = '\0';
        if (mkdir(part, DIR_MODE) != 0 && errno != EEXIST) {
            return vv_err_from_errno(errno);
        }
        *p = kept;
        if (kept == '\0') {
            return VV_OK;
        }
    }
}

enum vv_err vv_acme_store_open(const char *dir, struct vv_sb *why)
{
    char path[VV_ACME_PATH_MAX];
    struct stat st;
    if (dir[0] == '\0' || strlen(dir) + VV_ACME_NAME_MAX + 32 > VV_ACME_PATH_MAX) {
        vv_sb_addf(why, "%s: the path is empty or too long", dir);
        return VV_ERANGE;
    }
    for (size_t i = 0; i < VV_COUNT(parts); i++) {
        (void)snprintf(path, sizeof path, "%s%s", dir, parts[i]);
        const enum vv_err err = make_path(path);
        if (err != VV_OK || stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
            vv_sb_addf(why, "%s: cannot be made: %s", path,
                       err != VV_OK ? vv_err_text(err) : "not a directory");
            return err != VV_OK ? err : VV_EINVAL;
        }
        if ((st.st_mode & 077) != 0) {
            vv_sb_addf(why, "%s: others may look into it (mode %03o), and it holds keys: chmod 700",
                       path, (unsigned)(st.st_mode & 0777));
            return VV_EACCES;
        }
        if (access(path, W_OK | X_OK) != 0) {
            vv_sb_addf(why, "%s: cannot be written to", path);
            return VV_EACCES;
        }
    }
    return VV_OK;
}

/* ---- certificates -------------------------------------------------------------------------- */

void vv_acme_store_path(const char *dir, const char *name, char path[VV_ACME_PATH_MAX])
{
    (void)path_of(path, dir, "certs/", name, ".pem"); /* vv_acme_store_open() saw to the length */
}

enum vv_err vv_acme_store_cert(const char *dir, const char *name, struct vv_str key,
                               struct vv_str chain)
{
    char path[VV_ACME_PATH_MAX];
    struct vv_sb all = VV_SB_INIT;
    vv_sb_add(&all, key);
    vv_sb_add(&all, chain);
    enum vv_err err = all.failed ? VV_ENOMEM : VV_OK;
    if (err == VV_OK) {
        vv_acme_store_path(dir, name, path);
        err = vv_file_write(path, vv_sb_str(&all), FILE_MODE);
        OPENSSL_cleanse(all.p, all.n);
    }
    vv_sb_fini(&all);
    return err;
}

enum vv_err vv_acme_store_revoked(const char *dir, const char *name)
{
    char from[VV_ACME_PATH_MAX], to[VV_ACME_PATH_MAX];
    vv_acme_store_path(dir, name, from);
    if (!path_of(to, dir, "certs/", name, ".revoked.pem")) {
        return VV_ERANGE;
    }
    return rename(from, to) == 0 ? VV_OK : vv_err_from_errno(errno);
}

uint64_t vv_acme_store_stamp(const char *dir, const char *name)
{
    char path[VV_ACME_PATH_MAX];
    struct stat st;
    vv_acme_store_path(dir, name, path);
    if (stat(path, &st) != 0) {
        return 0;
    }
    const uint64_t words[] = {(uint64_t)st.st_ino, (uint64_t)st.st_mtim.tv_sec,
                              (uint64_t)st.st_mtim.tv_nsec, (uint64_t)st.st_size};
    const uint64_t h = vv_str_hash((struct vv_str){(const char *)words, sizeof words}, 0);
    return h != 0 ? h : 1;
}

enum vv_err vv_acme_store_remember(const char *dir, const char *name,
                                   const struct vv_acme_memory *m)
{
    char path[VV_ACME_PATH_MAX];
    struct vv_sb text = VV_SB_INIT;
    struct vv_json j;
    if (!path_of(path, dir, "certs/", name, ".json")) {
        return VV_ERANGE;
    }
    vv_json_init(&j, &text);
    vv_json_obj(&j);
    vv_json_ku64(&j, "issued_ns", m->issued_wall_ns);
    vv_json_ku64(&j, "failures", m->failures);
    vv_json_ku64(&j, "retry_ns", m->retry_wall_ns);
    vv_json_kcstr(&j, "authority", m->authority);
    vv_json_kcstr(&j, "error", m->error);
    vv_json_obj_end(&j);
    vv_sb_addc(&text, '\n');
    const enum vv_err err =
        text.failed ? VV_ENOMEM : vv_file_write(path, vv_sb_str(&text), FILE_MODE);
    vv_sb_fini(&text);
    return err;
}

void vv_acme_store_recall(const char *dir, const char *name, struct vv_acme_memory *ret)
{
    char path[VV_ACME_PATH_MAX];
    char *text = NULL;
    size_t n = 0;
    *ret = (struct vv_acme_memory){.failures = 0};
    if (path_of(path, dir, "certs/", name, ".json") &&
        vv_file_read(path, FILE_BYTES_MAX, &text, &n) == VV_OK) {
        (void)(vv_acme_read_memory((struct vv_str){text, n}, ret) == VV_OK);
        free(text);
    }
}

/* ---- the account --------------------------------------------------------------------------- */

static enum vv_err read_key(const char *path, EVP_PKEY **ret)
{
    char *text = NULL;
    size_t n = 0;
    enum vv_err err = vv_file_read(path, FILE_BYTES_MAX, &text, &n);
    if (err == VV_OK) {
        err = vv_acme_key_read((struct vv_str){text, n}, ret);
        OPENSSL_cleanse(text, n);
        free(text);
    }
    return err;
}

/* Written beside and linked: a link does not replace what another thread or gateway made meanwhile. */
static enum vv_err make_key(const char *dir, const char *path)
{
    char temp[VV_ACME_PATH_MAX];
    EVP_PKEY *key = NULL;
    struct vv_sb pem = VV_SB_INIT;
    enum vv_err err = vv_acme_key_new(&key);
    if (err == VV_OK) {
        err = vv_acme_key_write(key, &pem);
    }
    (void)snprintf(temp, sizeof temp, "%s/account.%016llx.new", dir,
                   (unsigned long long)vv_entropy_u64()); /* threads and gateways at once */
    if (err == VV_OK) {
        err = vv_file_write(temp, vv_sb_str(&pem), FILE_MODE);
    }
    if (err == VV_OK && link(temp, path) != 0 && errno != EEXIST) {
        err = vv_err_from_errno(errno);
    }
    (void)unlink(temp);
    if (pem.p != NULL) {
        OPENSSL_cleanse(pem.p, pem.n);
    }
    vv_sb_fini(&pem);
    EVP_PKEY_free(key);
    return err;
}

enum vv_err vv_acme_store_account(const char *dir, EVP_PKEY **ret, struct vv_sb *why)
{
    char path[VV_ACME_PATH_MAX];
    if (!path_of(path, dir, "account", ".key", "")) {
        return VV_ERANGE;
    }
    enum vv_err err = read_key(path, ret);
    if (err == VV_ENOENT) {
        err = make_key(dir, path);
        if (err == VV_OK) {
            err = read_key(path, ret);
        }
    }
    if (err != VV_OK) {
        vv_sb_addf(why, "%s: %s", path,
                   err == VV_ESYNTAX ? "is no P-256 key in PEM without a password"
                                     : vv_err_text(err));
    }
    return err;
}

static char *read_accounts(const char *dir, char path[VV_ACME_PATH_MAX], size_t *ret_n)
{
    char *text = NULL;
    if (!path_of(path, dir, "account", ".json", "") ||
        vv_file_read(path, FILE_BYTES_MAX, &text, ret_n) != VV_OK) {
        return NULL;
    }
    return text;
}

bool vv_acme_store_kid(const char *dir, const char *directory, char ret[VV_ACME_URL_MAX])
{
    char path[VV_ACME_PATH_MAX];
    size_t n = 0;
    char *text = read_accounts(dir, path, &n);
    const bool found = text != NULL && vv_acme_read_kid((struct vv_str){text, n}, directory, ret);
    free(text);
    return found;
}

enum vv_err vv_acme_store_set_kid(const char *dir, const char *directory, const char *kid)
{
    char path[VV_ACME_PATH_MAX];
    size_t n = 0;
    char *text = read_accounts(dir, path, &n);
    json_t *root = text != NULL ? json_loadb(text, n, 0, NULL) : NULL;
    free(text);
    if (!json_is_object(root) || !json_is_object(json_object_get(root, "accounts"))) {
        json_decref(root);
        root = json_pack("{s:{}}", "accounts");
    }
    char *out = NULL;
    if (json_object_set_new(json_object_get(root, "accounts"), directory, json_string(kid)) == 0) {
        out = json_dumps(root, JSON_INDENT(2) | JSON_SORT_KEYS);
    }
    const enum vv_err err =
        out != NULL ? vv_file_write(path, vv_str_from(out), FILE_MODE) : VV_ENOMEM;
    free(out);
    json_decref(root);
    return err;
}

/* ---- challenges ---------------------------------------------------------------------------- */

enum vv_err vv_acme_store_challenge(const char *dir, const char *file, struct vv_str text)
{
    char path[VV_ACME_PATH_MAX];
    return path_of(path, dir, "challenges/", file, "") ? vv_file_write(path, text, FILE_MODE)
                                                       : VV_ERANGE;
}

enum vv_err vv_acme_store_find(const char *dir, const char *file, char **ret_text, size_t *ret_n)
{
    char path[VV_ACME_PATH_MAX];
    return path_of(path, dir, "challenges/", file, "")
               ? vv_file_read(path, FILE_BYTES_MAX, ret_text, ret_n)
               : VV_ERANGE;
}

void vv_acme_store_unchallenge(const char *dir, const char *file)
{
    char path[VV_ACME_PATH_MAX];
    if (path_of(path, dir, "challenges/", file, "")) {
        (void)unlink(path);
    }
}

void vv_acme_store_sweep(const char *dir, uint64_t wall_ns)
{
    char path[VV_ACME_PATH_MAX];
    struct stat st;
    if (!path_of(path, dir, "challenges", "", "")) {
        return;
    }
    DIR *d = opendir(path);
    const struct dirent *e;
    for (unsigned i = 0; d != NULL && i < SWEEP_FILES_MAX && (e = readdir(d)) != NULL; i++) {
        if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
            st.st_mtime + SWEEP_S < (time_t)(wall_ns / VV_SEC)) {
            (void)unlinkat(dirfd(d), e->d_name, 0);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
}

/* ---- locks --------------------------------------------------------------------------------- */

enum vv_err vv_acme_store_lock(const char *dir, const char *name, int *ret_fd)
{
    char path[VV_ACME_PATH_MAX], host[65] = "", text[128];
    if (!path_of(path, dir, "locks/", name, "")) {
        return VV_ERANGE;
    }
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
    if (fd < 0) {
        return vv_err_from_errno(errno);
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        const int e = errno;
        (void)close(fd);
        return e == EWOULDBLOCK ? VV_EAGAIN : vv_err_from_errno(e);
    }
    (void)gethostname(host, sizeof host - 1); /* for people who look; nothing reads it */
    const int n = snprintf(text, sizeof text, "%s %ld\n", host, (long)getpid());
    if (ftruncate(fd, 0) == 0 && n > 0) {
        (void)!write(fd, text, (size_t)n);
    }
    *ret_fd = fd;
    return VV_OK;
}

void vv_acme_store_unlock(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
    }
    *fd = -1;
}
