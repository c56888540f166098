/* src/os/tls_cert.c - each PEM block is found and parsed by itself, so that a message can name the line
 * of the block that is wrong; OpenSSL's own loader only knows that the file is. */
#include "os/tls_cert.h"
#include "os/file.h"
#include "os/tls_int.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include <arpa/inet.h>

#define FILE_BYTES_MAX (1024 * 1024)
#define CHAIN_MAX 16
#define NAMES_MAX 4096
#define RSA_BITS_MIN 2048 /* RFC 9325 section 4.5; also OpenSSL's security level 2 */
#define EC_BITS_MIN 224

/* ---- texts --------------------------------------------------------------------------------- */

uint64_t vv_tls_wall_of(const ASN1_TIME *t)
{
    struct tm tm;
    if (t == NULL || ASN1_TIME_to_tm(t, &tm) != 1) {
        return 0;
    }
    const time_t s = timegm(&tm);
    if (s <= 0) {
        return 0;
    }
    return (uint64_t)s > UINT64_MAX / VV_SEC ? UINT64_MAX : (uint64_t)s * VV_SEC;
}

void vv_tls_fingerprint(const X509 *x, char out[VV_TLS_FINGERPRINT])
{
    static const char hex[] = "0123456789abcdef";
    uint8_t md[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (X509_digest(x, EVP_sha256(), md, &n) != 1) {
        n = 0;
    }
    for (unsigned i = 0; i < n; i++) {
        out[2 * i] = hex[md[i] >> 4];
        out[2 * i + 1] = hex[md[i] & 15];
    }
    out[2 * n] = '\0';
}

char *vv_tls_name_text(const X509_NAME *name)
{
    BIO *b = BIO_new(BIO_s_mem());
    char *text = NULL, *p = NULL;
    if (b != NULL && X509_NAME_print_ex(b, name, 0, XN_FLAG_RFC2253) >= 0) {
        const long n = BIO_get_mem_data(b, &p);
        text = strndup(p != NULL ? p : "", (size_t)n);
    }
    BIO_free(b);
    return text;
}

void vv_tls_say(struct vv_sb *why, const char *what)
{
    const unsigned long e = ERR_get_error();
    const char *reason = e != 0 ? ERR_reason_error_string(e) : NULL;
    vv_sb_addf(why, reason != NULL ? "%s: %s" : "%s", what, reason);
    ERR_clear_error();
}

/* ---- PEM ----------------------------------------------------------------------------------- */

struct pem { /* a cursor over the blocks of a file */
    struct vv_str rest;
    unsigned line; /* of the first line of rest */
};
struct block {
    struct vv_str label, text; /* "CERTIFICATE"; from BEGIN to END */
    unsigned line;
};

static bool next_line(struct pem *p, struct vv_str *line)
{
    if (p->rest.p == NULL || p->rest.n == 0) {
        return false;
    }
    *line = vv_str_cut(&p->rest, '\n');
    p->line++;
    return true;
}

/* "-----BEGIN X-----" gives "X". */
static bool label_of(struct vv_str line, struct vv_str head, struct vv_str *label)
{
    line = vv_str_trim(line);
    if (line.n > 0 && line.p[line.n - 1] == '\r') {
        line.n--;
    }
    if (!vv_str_starts(line, head) || !vv_str_ends(line, VV_STR("-----")) || line.n < head.n + 5) {
        return false;
    }
    *label = (struct vv_str){line.p + head.n, line.n - head.n - 5};
    return true;
}

/* VV_ENOENT: no further block. VV_ESYNTAX: a block without its end, at b->line. */
static enum vv_err next_block(struct pem *p, struct block *b)
{
    struct vv_str line, end;
    do {
        if (!next_line(p, &line)) {
            return VV_ENOENT;
        }
    } while (!label_of(line, VV_STR("-----BEGIN "), &b->label));
    b->line = p->line - 1;
    b->text.p = line.p;
    while (next_line(p, &line)) {
        if (label_of(line, VV_STR("-----END "), &end)) {
            b->text.n = (size_t)(line.p + line.n - b->text.p);
            return vv_str_eq(end, b->label) ? VV_OK : VV_ESYNTAX;
        }
    }
    return VV_ESYNTAX;
}

static enum vv_err wrong(struct vv_sb *why, const char *file, unsigned line, const char *what)
{
    if (line > 0) {
        vv_sb_addf(why, "%s:%u: ", file, line);
    } else {
        vv_sb_addf(why, "%s: ", file);
    }
    vv_tls_say(why, what);
    return VV_ESYNTAX;
}

static int no_password(char *buf, int size, int writing, void *user)
{
    (void)buf, (void)size, (void)writing, (void)user;
    return -1;
}

static enum vv_err read_chain(struct vv_tls_cert *c, const struct vv_tls_cert_text *text,
                              struct vv_sb *why)
{
    struct pem p = {text->cert, 1};
    struct block b;
    enum vv_err err;
    while ((err = next_block(&p, &b)) == VV_OK) {
        if (!vv_str_eq(b.label, VV_STR("CERTIFICATE"))) {
            continue;
        }
        BIO *bio = BIO_new_mem_buf(b.text.p, (int)b.text.n);
        X509 *x = bio != NULL ? PEM_read_bio_X509(bio, NULL, no_password, NULL) : NULL;
        BIO_free(bio);
        if (x == NULL) {
            return wrong(why, text->cert_name, b.line, "this certificate cannot be read");
        }
        if (c->x509 == NULL) {
            c->x509 = x;
        } else if (sk_X509_num(c->chain) >= CHAIN_MAX || sk_X509_push(c->chain, x) == 0) {
            X509_free(x);
            return wrong(why, text->cert_name, b.line, "more certificates than a chain may have");
        }
    }
    if (err == VV_ESYNTAX) {
        return wrong(why, text->cert_name, b.line, "the block that begins here has no end");
    }
    if (c->x509 == NULL) {
        return wrong(why, text->cert_name, 0, "no certificate in this file (PEM is expected)");
    }
    return VV_OK;
}

static enum vv_err read_key(struct vv_tls_cert *c, const struct vv_tls_cert_text *text,
                            struct vv_sb *why)
{
    const char *file = text->key.p != NULL ? text->key_name : text->cert_name;
    struct pem p = {text->key.p != NULL ? text->key : text->cert, 1};
    struct block b;
    enum vv_err err;
    do {
        err = next_block(&p, &b);
    } while (err == VV_OK && !vv_str_ends(b.label, VV_STR("PRIVATE KEY")));
    if (err == VV_ENOENT) {
        return wrong(why, file, 0, "no private key in this file (PEM is expected)");
    }
    if (err != VV_OK) {
        return wrong(why, file, b.line, "the block that begins here has no end");
    }
    if (vv_str_starts(b.label, VV_STR("ENCRYPTED")) ||
        memmem(b.text.p, b.text.n, "Proc-Type: 4,ENCRYPTED", 22) != NULL) {
        return wrong(why, file, b.line, "the key is encrypted; give one without a password");
    }
    BIO *bio = BIO_new_mem_buf(b.text.p, (int)b.text.n);
    c->key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
    BIO_free(bio);
    if (c->key == NULL) {
        return wrong(why, file, b.line, "this key cannot be read");
    }
    if (X509_check_private_key(c->x509, c->key) != 1) {
        ERR_clear_error();
        vv_sb_addf(why, "%s:%u: the key does not belong to the certificate in %s", file, b.line,
                   text->cert_name);
        return VV_EINVAL;
    }
    return VV_OK;
}

/* ---- what it says about itself -------------------------------------------------------------- */

static bool add_name(struct vv_tls_cert *c, const char *p, size_t n)
{
    if (n == 0 || n > 253 || memchr(p, '\0', n) != NULL || c->info.name_count == NAMES_MAX) {
        return true; /* no name anybody could ask for */
    }
    char *copy = strndup(p, n);
    char **grown = reallocarray(c->names, c->info.name_count + 1, sizeof(*grown));
    if (grown != NULL) {
        c->names = grown;
    }
    if (copy == NULL || grown == NULL) {
        free(copy);
        return false;
    }
    for (char *q = copy; *q != '\0'; q++) {
        *q = vv_char_lower(*q);
    }
    c->names[c->info.name_count++] = copy;
    return true;
}

static bool add_san(struct vv_tls_cert *c, const GENERAL_NAME *g)
{
    if (g->type == GEN_DNS) {
        return add_name(c, (const char *)ASN1_STRING_get0_data(g->d.dNSName),
                        (size_t)ASN1_STRING_length(g->d.dNSName));
    }
    if (g->type == GEN_IPADD) {
        char text[INET6_ADDRSTRLEN];
        const int n = ASN1_STRING_length(g->d.iPAddress);
        const int family = n == 4 ? AF_INET : AF_INET6;
        if ((n == 4 || n == 16) &&
            inet_ntop(family, ASN1_STRING_get0_data(g->d.iPAddress), text, sizeof(text)) != NULL) {
            return add_name(c, text, strlen(text));
        }
    }
    return true;
}

static bool read_names(struct vv_tls_cert *c)
{
    bool ok = true;
    GENERAL_NAMES *all = X509_get_ext_d2i(c->x509, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; ok && i < sk_GENERAL_NAME_num(all); i++) {
        ok = add_san(c, sk_GENERAL_NAME_value(all, i));
    }
    GENERAL_NAMES_free(all);
    if (ok && c->info.name_count == 0) {
        char cn[256];
        X509_NAME *subject = X509_get_subject_name(c->x509);
        const int n = X509_NAME_get_text_by_NID(subject, NID_commonName, cn, sizeof(cn));
        ok = n <= 0 || add_name(c, cn, (size_t)n);
    }
    return ok;
}

static enum vv_err read_kind(struct vv_tls_cert *c, const char *file, struct vv_sb *why)
{
    const int bits = EVP_PKEY_get_bits(c->key);
    const int id = EVP_PKEY_get_base_id(c->key);
    c->info.key_bits = (unsigned)bits;
    if (id == EVP_PKEY_RSA || id == EVP_PKEY_EC) {
        c->info.key = id == EVP_PKEY_RSA ? VV_TLS_KEY_RSA : VV_TLS_KEY_EC;
    } else if (id == EVP_PKEY_ED25519) {
        c->info.key = VV_TLS_KEY_ED;
    } else {
        vv_sb_addf(why, "%s: keys of this kind are not supported; use ECDSA, RSA or Ed25519", file);
        return VV_EUNSUPPORTED;
    }
    const int least = id == EVP_PKEY_RSA ? RSA_BITS_MIN : EC_BITS_MIN;
    if (bits < least) {
        vv_sb_addf(why, "%s: a key of %d bits is too weak; at least %d are needed", file, bits,
                   least);
        return VV_EINVAL;
    }
    return VV_OK;
}

static enum vv_err describe(struct vv_tls_cert *c, const char *file, struct vv_sb *why)
{
    int digest = NID_undef;
    const enum vv_err err = read_kind(c, file, why);
    if (err != VV_OK) {
        return err;
    }
    c->info.chain_count = (size_t)sk_X509_num(c->chain);
    c->info.not_before_wall_ns = vv_tls_wall_of(X509_get0_notBefore(c->x509));
    c->info.not_after_wall_ns = vv_tls_wall_of(X509_get0_notAfter(c->x509));
    if (X509_get_signature_info(c->x509, &digest, NULL, NULL, NULL) == 1 &&
        (digest == NID_sha1 || digest == NID_md5)) {
        c->problems |= VV_TLS_CERT_SHA1;
    }
    vv_tls_fingerprint(c->x509, c->info.fingerprint);
    c->info.subject = c->subject = vv_tls_name_text(X509_get_subject_name(c->x509));
    c->info.issuer = c->issuer = vv_tls_name_text(X509_get_issuer_name(c->x509));
    if (c->subject == NULL || c->issuer == NULL || !read_names(c)) {
        return VV_ENOMEM;
    }
    c->info.names = (const char *const *)c->names;
    ERR_clear_error();
    return VV_OK;
}

/* ---- public -------------------------------------------------------------------------------- */

enum vv_err vv_tls_cert_parse(const struct vv_tls_cert_text *text, struct vv_sb *why,
                              struct vv_tls_cert **ret)
{
    struct vv_tls_cert *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return VV_ENOMEM;
    }
    atomic_init(&c->refs, 1);
    c->chain = sk_X509_new_null();
    enum vv_err err = c->chain == NULL ? VV_ENOMEM : read_chain(c, text, why);
    if (err == VV_OK) {
        err = read_key(c, text, why);
    }
    if (err == VV_OK) {
        err = describe(c, text->cert_name, why);
    }
    if (err != VV_OK) {
        vv_tls_cert_unref(c);
        return err;
    }
    if (text->ocsp.p != NULL) {
        vv_tls_staple_check(c, text->ocsp_name, text->ocsp, why);
    }
    *ret = c;
    return VV_OK;
}

static void wipe(char *text, size_t n)
{
    if (text != NULL) {
        OPENSSL_cleanse(text, n);
        free(text);
    }
}

static enum vv_err read_one(const char *file, char **text, struct vv_str *slice, struct vv_sb *why)
{
    size_t n = 0;
    const enum vv_err err = vv_file_read(file, FILE_BYTES_MAX, text, &n);
    if (err != VV_OK) {
        vv_sb_addf(why, "%s: %s", file, vv_err_text(err));
        return err;
    }
    *slice = (struct vv_str){*text, n};
    return VV_OK;
}

enum vv_err vv_tls_cert_load(const struct vv_tls_cert_files *files, struct vv_sb *why,
                             struct vv_tls_cert **ret)
{
    char *cert = NULL, *key = NULL, *ocsp = NULL;
    struct vv_tls_cert_text text = {
        .cert_name = files->cert, .key_name = files->key, .ocsp_name = files->ocsp};
    enum vv_err err = read_one(files->cert, &cert, &text.cert, why);
    if (err == VV_OK && files->key != NULL) {
        err = read_one(files->key, &key, &text.key, why);
    }
    if (err == VV_OK) {
        struct vv_sb late = VV_SB_INIT;
        const bool stapled =
            files->ocsp != NULL && read_one(files->ocsp, &ocsp, &text.ocsp, &late) == VV_OK;
        err = vv_tls_cert_parse(&text, why, ret);
        if (err == VV_OK && files->ocsp != NULL && !stapled) {
            (*ret)->problems |= VV_TLS_CERT_STAPLE;
            vv_sb_add(why, vv_sb_str(&late));
        }
        vv_sb_fini(&late);
    }
    wipe(cert, text.cert.n);
    wipe(key, text.key.n);
    free(ocsp);
    return err;
}

struct vv_tls_cert *vv_tls_cert_ref(struct vv_tls_cert *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void vv_tls_cert_unref(struct vv_tls_cert *c)
{
    if (c == NULL || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (size_t i = 0; i < c->info.name_count; i++) {
        free(c->names[i]);
    }
    free(c->names);
    free(c->subject);
    free(c->issuer);
    free(c->staple);
    X509_free(c->x509);
    EVP_PKEY_free(c->key);
    sk_X509_pop_free(c->chain, X509_free);
    free(c);
}

const struct vv_tls_cert_info *vv_tls_cert_info(const struct vv_tls_cert *c)
{
    return &c->info;
}

unsigned vv_tls_cert_problems(const struct vv_tls_cert *c, uint64_t wall_ns)
{
    unsigned p = c->problems;
    p |= wall_ns < c->info.not_before_wall_ns ? VV_TLS_CERT_NOT_YET : 0u;
    p |= wall_ns >= c->info.not_after_wall_ns ? VV_TLS_CERT_EXPIRED : 0u;
    p |= c->staple != NULL && wall_ns >= c->info.staple_until_wall_ns ? VV_TLS_CERT_STAPLE : 0u;
    return p;
}
