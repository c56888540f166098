/* src/gateway/users.c - scrypt, because a password is short and its hash must cost memory to guess. */
#include "gateway/users.h"
#include "base/base64.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>

#define LOG2_N 14 /* 2^14 blocks of 1 KiB: 16 MiB, about 40 ms */
#define R 8
#define P 1
#define LOG2_N_MAX 17
#define R_MAX 16
#define P_MAX 4
#define MEMORY_MAX (300u << 20) /* above what the largest numbers need */

const struct vv_user_secret vv_user_nobody = {.log2_n = LOG2_N, .r = R, .p = P};

static bool derive(const struct vv_user_secret *s, struct vv_str password,
                   uint8_t ret[VV_USER_HASH])
{
    return EVP_PBE_scrypt(password.n > 0 ? password.p : "", password.n, s->salt, VV_USER_SALT,
                          UINT64_C(1) << s->log2_n, s->r, s->p, MEMORY_MAX, ret, VV_USER_HASH) == 1;
}

bool vv_user_verify(const struct vv_user_secret *s, struct vv_str password)
{
    uint8_t hash[VV_USER_HASH];
    const bool done = derive(s, password, hash);
    const bool same = CRYPTO_memcmp(hash, s->hash, sizeof hash) == 0;
    return done && same && s != &vv_user_nobody;
}

enum vv_err vv_user_line(struct vv_str name, struct vv_str plan, struct vv_str password,
                         const uint8_t salt[VV_USER_SALT], struct vv_sb *out)
{
    struct vv_user_secret s = vv_user_nobody;
    char text[VV_BASE64_TEXT(VV_USER_HASH) + 1];
    memcpy(s.salt, salt, sizeof s.salt);
    if (!vv_key_is_name(name) || (plan.n > 0 && !vv_key_is_name(plan)) || password.n == 0 ||
        password.n > VV_PASSWORD_MAX) {
        return VV_EINVAL;
    }
    if (!derive(&s, password, s.hash)) {
        return VV_ENOMEM;
    }
    vv_sb_addf(out, VV_STR_FMT ":scrypt$%u$%u$%u$", VV_STR_ARG(name), s.log2_n, s.r, s.p);
    vv_sb_add(out, (struct vv_str){text, vv_base64_encode(VV_BASE64, s.salt, sizeof s.salt, text)});
    vv_sb_addc(out, '$');
    vv_sb_add(out, (struct vv_str){text, vv_base64_encode(VV_BASE64, s.hash, sizeof s.hash, text)});
    if (plan.n > 0) {
        vv_sb_addf(out, ":" VV_STR_FMT, VV_STR_ARG(plan));
    }
    vv_sb_addc(out, '\n');
    return out->failed ? VV_ENOMEM : VV_OK;
}

/* ---- the reader ---------------------------------------------------------------------------- */

static bool small_number(struct vv_str s, uint64_t max, uint8_t *ret)
{
    uint64_t v = 0;
    if (vv_str_to_u64(s, &v) != VV_OK || v == 0 || v > max) {
        return false;
    }
    *ret = (uint8_t)v;
    return true;
}

static bool exact_bytes(struct vv_str s, uint8_t *out, size_t bytes)
{
    size_t n = 0;
    return vv_base64_decode(VV_BASE64, s, out, bytes, &n) == VV_OK && n == bytes;
}

static const char *read_secret(struct vv_str text, struct vv_user_secret *s)
{
    if (!vv_str_eq(vv_str_cut(&text, '$'), VV_STR("scrypt"))) {
        return "the hash must be of scrypt; `vivace key user NAME` writes such a line";
    }
    if (!small_number(vv_str_cut(&text, '$'), LOG2_N_MAX, &s->log2_n) ||
        !small_number(vv_str_cut(&text, '$'), R_MAX, &s->r) ||
        !small_number(vv_str_cut(&text, '$'), P_MAX, &s->p)) {
        return "scrypt takes three numbers: at most 17, 16 and 4";
    }
    if (!exact_bytes(vv_str_cut(&text, '$'), s->salt, sizeof s->salt) ||
        !exact_bytes(text, s->hash, sizeof s->hash)) {
        return "salt and hash are 16 and 32 bytes in base64";
    }
    return NULL;
}

/* NULL, or what is wrong with the line; *ret_at is where. */
static const char *read_user(char *line, size_t n, struct vv_user *u, const char **ret_at)
{
    struct vv_str rest = {line, n};
    const struct vv_str name = vv_str_cut(&rest, ':');
    *ret_at = line;
    if (!vv_key_is_name(name) || rest.p == NULL) {
        return "a line begins with the name of the user and a colon";
    }
    *ret_at = rest.p;
    const char *wrong = read_secret(vv_str_cut(&rest, ':'), &u->secret);
    if (wrong != NULL) {
        return wrong;
    }
    if (rest.p != NULL) {
        *ret_at = rest.p;
        if (!vv_key_is_name(rest)) {
            return "the name of the plan may follow, and nothing else";
        }
        u->plan = rest.p;
        line[rest.p - line + (ptrdiff_t)rest.n] = '\0';
    }
    line[name.n] = '\0';
    u->name = line;
    return NULL;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct vv_user *)a)->name, ((const struct vv_user *)b)->name);
}

void vv_users_free(struct vv_users *u)
{
    if (u != NULL) {
        free(u->user);
        free(u->text);
        free(u);
    }
}

static enum vv_err read_lines(struct vv_users *u, size_t bytes, struct vv_keys_error *reterr)
{
    for (size_t at = 0; at < bytes;) {
        char *line = u->text + at;
        const char *end = memchr(line, '\n', bytes - at);
        size_t n = end != NULL ? (size_t)(end - line) : bytes - at;
        const char *where = line;
        at += n + 1;
        n -= n > 0 && line[n - 1] == '\r';
        reterr->line++;
        if (n == 0 || line[0] == '#') {
            continue;
        }
        reterr->text = read_user(line, n, &u->user[u->count], &where);
        if (reterr->text != NULL) {
            reterr->column = (uint32_t)(where - line) + 1;
            return VV_ESYNTAX;
        }
        u->count++;
    }
    qsort(u->user, u->count, sizeof u->user[0], by_name);
    for (size_t i = 1; i < u->count; i++) {
        if (strcmp(u->user[i - 1].name, u->user[i].name) == 0) {
            reterr->text = "a user stands in the file twice";
            return VV_ESYNTAX;
        }
    }
    return VV_OK;
}

enum vv_err vv_users_parse(struct vv_str text, struct vv_users **ret, struct vv_keys_error *reterr)
{
    size_t lines = 1;
    struct vv_users *u = calloc(1, sizeof *u);
    *reterr = (struct vv_keys_error){.column = 1, .text = "out of memory"};
    for (size_t i = 0; i < text.n; i++) {
        lines += text.p[i] == '\n';
    }
    if (u == NULL) {
        return VV_ENOMEM;
    }
    u->text = malloc(text.n + 1);
    u->user = calloc(lines, sizeof *u->user);
    enum vv_err err = u->text != NULL && u->user != NULL ? VV_OK : VV_ENOMEM;
    if (err == VV_OK) {
        memcpy(u->text, text.n > 0 ? text.p : "", text.n);
        u->text[text.n] = '\0';
        err = read_lines(u, text.n, reterr);
    }
    if (err != VV_OK) {
        vv_users_free(u);
        return err;
    }
    *ret = u;
    return VV_OK;
}

const struct vv_user *vv_users_find(const struct vv_users *u, struct vv_str name)
{
    char text[VV_KEY_NAME_MAX + 1];
    const struct vv_user wanted = {.name = text};
    if (u->count == 0 || name.n > VV_KEY_NAME_MAX) {
        return NULL;
    }
    memcpy(text, name.n > 0 ? name.p : "", name.n);
    text[name.n] = '\0';
    return bsearch(&wanted, u->user, u->count, sizeof u->user[0], by_name);
}
