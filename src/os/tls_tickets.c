/* src/os/tls_tickets.c - three keys under a lock. A handshake takes it for the copy of 80 bytes, which is
 * nothing beside its arithmetic, and needs no rule for when an old key may be wiped. */
#include "os/tls_tickets.h"
#include "os/tls_int.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdlib.h>

#define KEYS_MAX 3
#define NAME_BYTES 16 /* RFC 5077 section 4 */
#define IV_BYTES 16

struct key { /* exported as it is */
    uint8_t name[NAME_BYTES], cipher[32], mac[32];
    uint64_t born_wall_ns;
};
struct exported {
    char magic[8];
    uint64_t count;
    struct key key[KEYS_MAX];
};
static const char magic[8] = "vvtick01";
_Static_assert(sizeof(struct exported) <= VV_TLS_TICKETS_BYTES,
               "an export fits what the header promises");

struct vv_tls_tickets {
    atomic_uint refs;
    uint64_t life_ns;
    EVP_CIPHER *cipher;
    pthread_mutex_t lock;
    size_t count;
    struct key key[KEYS_MAX]; /* newest first */
};

static bool make_key(struct key *k, uint64_t wall_ns)
{
    k->born_wall_ns = wall_ns;
    return RAND_bytes(k->name, sizeof(k->name)) == 1 &&
           RAND_priv_bytes(k->cipher, sizeof(k->cipher)) == 1 &&
           RAND_priv_bytes(k->mac, sizeof(k->mac)) == 1;
}

enum vv_err vv_tls_tickets_new(uint64_t life_ns, uint64_t wall_ns, struct vv_tls_tickets **ret)
{
    VV_ASSERT(life_ns > 0);
    struct vv_tls_tickets *t = calloc(1, sizeof(*t));
    if (t == NULL) {
        return VV_ENOMEM;
    }
    atomic_init(&t->refs, 1);
    t->life_ns = life_ns;
    t->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    if (t->cipher == NULL || !make_key(&t->key[0], wall_ns) ||
        pthread_mutex_init(&t->lock, NULL) != 0) {
        EVP_CIPHER_free(t->cipher);
        OPENSSL_cleanse(t, sizeof(*t));
        free(t);
        return VV_ENOMEM;
    }
    t->count = 1;
    *ret = t;
    return VV_OK;
}

struct vv_tls_tickets *vv_tls_tickets_ref(struct vv_tls_tickets *t)
{
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void vv_tls_tickets_unref(struct vv_tls_tickets *t)
{
    if (t == NULL || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    EVP_CIPHER_free(t->cipher);
    pthread_mutex_destroy(&t->lock);
    OPENSSL_cleanse(t, sizeof(*t));
    free(t);
}

uint64_t vv_tls_tickets_life(const struct vv_tls_tickets *t)
{
    return t->life_ns;
}

bool vv_tls_tickets_rotate(struct vv_tls_tickets *t, uint64_t wall_ns)
{
    struct key fresh;
    bool rotated = false;
    pthread_mutex_lock(&t->lock);
    const uint64_t born = t->key[0].born_wall_ns;
    if ((wall_ns < born || wall_ns - born >= t->life_ns) && make_key(&fresh, wall_ns)) {
        memmove(&t->key[1], &t->key[0], sizeof(t->key) - sizeof(t->key[0]));
        t->key[0] = fresh;
        t->count = vv_min_u64(t->count + 1, KEYS_MAX);
        rotated = true;
    }
    pthread_mutex_unlock(&t->lock);
    OPENSSL_cleanse(&fresh, sizeof(fresh));
    return rotated;
}

size_t vv_tls_tickets_export(struct vv_tls_tickets *t, uint8_t to[VV_TLS_TICKETS_BYTES])
{
    struct exported e;
    memcpy(e.magic, magic, sizeof(magic));
    pthread_mutex_lock(&t->lock);
    e.count = t->count;
    memcpy(e.key, t->key, sizeof(e.key));
    pthread_mutex_unlock(&t->lock);
    memcpy(to, &e, sizeof(e));
    OPENSSL_cleanse(&e, sizeof(e));
    return sizeof(e);
}

enum vv_err vv_tls_tickets_import(struct vv_tls_tickets *t, struct vv_str bytes)
{
    struct exported e;
    if (bytes.n != sizeof(e)) {
        return VV_ESYNTAX;
    }
    memcpy(&e, bytes.p, sizeof(e));
    const bool fits =
        memcmp(e.magic, magic, sizeof(magic)) == 0 && e.count >= 1 && e.count <= KEYS_MAX;
    if (fits) {
        pthread_mutex_lock(&t->lock);
        memcpy(t->key, e.key, sizeof(e.key));
        t->count = (size_t)e.count;
        pthread_mutex_unlock(&t->lock);
    }
    OPENSSL_cleanse(&e, sizeof(e));
    return fits ? VV_OK : VV_ESYNTAX;
}

/* The newest key, or the one of this name. Returns its place, -1 when there is none. */
static int find_key(struct vv_tls_tickets *t, const uint8_t *name, struct key *ret)
{
    int at = -1;
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < t->count && at < 0; i++) {
        if (name == NULL || memcmp(t->key[i].name, name, NAME_BYTES) == 0) {
            *ret = t->key[i];
            at = (int)i;
        }
    }
    pthread_mutex_unlock(&t->lock);
    return at;
}

/* Called by OpenSSL for each ticket. 0: unknown key, go on with a full handshake; 1: fine; 2: fine, but give
 * the client a new one; -1: failed. */
int vv_tls_tickets_callback(SSL *ssl, unsigned char *name, unsigned char *iv,
                            EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int seal)
{
    struct vv_tls *conn = SSL_get_app_data(ssl);
    struct vv_tls_tickets *t = conn->context->tickets;
    struct key k;
    char digest[] = "SHA256";
    const int at = find_key(t, seal ? NULL : name, &k);
    if (at < 0) {
        return 0;
    }
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, k.mac, sizeof(k.mac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    /* Tickets of TLS 1.3 are used once (RFC 8446 appendix C.4): who came with one needs the next. */
    int result = at == 0 && SSL_version(ssl) < TLS1_3_VERSION ? 1 : 2;
    result = seal ? 1 : result;
    if (seal) {
        memcpy(name, k.name, NAME_BYTES);
        if (RAND_bytes(iv, IV_BYTES) != 1) {
            result = -1;
        }
    }
    if (result > 0 && (EVP_CipherInit_ex(cipher, t->cipher, NULL, k.cipher, iv, seal) != 1 ||
                       EVP_MAC_CTX_set_params(mac, params) != 1)) {
        result = -1;
    }
    OPENSSL_cleanse(&k, sizeof(k));
    return result;
}
