/* tests/fuzz/fuzz_client_hello.c - what a server makes of the first bytes of a client does not depend on how
 * they are cut, a failure always has a reason, and what is refused is counted once. */
#include "os/clock.h"
#include "os/tls.h"
#include "os/tls_local.h"
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct vv_tls_context *server;
static struct vv_tls_cert *proof; /* what an authority sees (RFC 8737) */

static void end(void)
{
    vv_tls_context_unref(server);
    vv_tls_cert_unref(proof);
}

static struct vv_tls_cert *challenge(void *user, struct vv_str name)
{
    (void)user;
    return vv_str_eq_nocase(name, VV_STR("a.test")) ? vv_tls_cert_ref(proof) : NULL;
}

/* Two certificates, strict protocols: every callback has something to decide. */
static void start(void)
{
    const char *const names[] = {"a.test", "*.b.test"}, *const alpn[] = {"h2", "http/1.1"};
    const uint64_t now = vv_clock_wall();
    struct vv_tls_cert *cert[2] = {NULL, NULL};
    struct vv_sb why = VV_SB_INIT;
    for (size_t i = 0; i < 2; i++) {
        struct vv_tls_pem pem;
        const struct vv_tls_make m = {.subject = "fuzz",
                                      .names = &names[i],
                                      .name_count = 1,
                                      .not_before_wall_ns = now - VV_DAY,
                                      .not_after_wall_ns = now + VV_DAY};
        VV_ASSERT(vv_tls_make(&m, &pem) == VV_OK);
        const struct vv_tls_cert_text text = {.cert_name = "c",
                                              .key_name = "k",
                                              .cert = vv_str_from(pem.cert),
                                              .key = vv_str_from(pem.key)};
        VV_ASSERT(vv_tls_cert_parse(&text, &why, &cert[i]) == VV_OK);
        vv_tls_pem_fini(&pem);
    }
    struct vv_tls_tickets *tickets = NULL;
    VV_ASSERT(vv_tls_tickets_new(VV_HOUR, now, &tickets) == VV_OK);
    const struct vv_tls_server_conf conf = {.certs = cert,
                                            .cert_count = 2,
                                            .alpn = alpn,
                                            .alpn_count = 2,
                                            .tickets = tickets,
                                            .hello_bytes_max = 4096,
                                            .strict_names = true,
                                            .offload = true,
                                            .challenge = challenge};
    VV_ASSERT(vv_tls_server_new(&conf, &why, &server) == VV_OK);
    vv_tls_tickets_unref(tickets);
    proof = cert[0];
    vv_tls_cert_unref(cert[1]);
    vv_sb_fini(&why);
    atexit(end);
}

struct outcome {
    enum vv_err err;
    enum vv_tls_failure failure;
    char name[256];
};

static enum vv_err feed(struct vv_tls *t, const int fd[2], const uint8_t *p, size_t n)
{
    enum vv_err err = VV_EAGAIN;
    int waiting = 0;
    VV_ASSERT(n == 0 || send(fd[1], p, n, MSG_DONTWAIT) == (ssize_t)n);
    do {
        err = vv_tls_handshake(t);
        VV_ASSERT(ioctl(fd[0], FIONREAD, &waiting) == 0);
    } while (err == VV_EAGAIN && waiting > 0);
    return err;
}

static void hear(const uint8_t *p, size_t n, size_t cut, struct outcome *o)
{
    struct vv_tls_stats stats = {0};
    struct vv_tls *t = NULL;
    int fd[2];
    VV_ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) == 0);
    VV_ASSERT(vv_tls_accept(server, fd[0], &stats, &t) == VV_OK);
    memset(o, 0, sizeof(*o));
    o->err = feed(t, fd, p, cut);
    if (o->err == VV_EAGAIN && cut < n) {
        o->err = feed(t, fd, p + cut, n - cut);
    }
    o->failure = vv_tls_failure(t);
    VV_ASSERT(o->err != VV_OK); /* nobody finishes a handshake with bytes made before it */
    VV_ASSERT((o->err == VV_EAGAIN) == (o->failure == VV_TLS_FAIL_NONE));
    VV_ASSERT(stats.failed[o->failure] == (o->err != VV_EAGAIN));
    VV_ASSERT(stats.handshakes == 0);
    const struct vv_str name = vv_tls_name(t);
    VV_ASSERT(name.n < sizeof(o->name));
    memcpy(o->name, name.n > 0 ? name.p : "", name.n);
    char text[VV_TLS_ERROR_TEXT];
    VV_ASSERT(strlen(vv_tls_error(t, text)) < sizeof(text));
    vv_tls_free(t);
    close(fd[0]);
    close(fd[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome whole, parts;
    if (size < 2 || size > 4000) { /* below the limit, where cutting changes nothing */
        return 0;
    }
    if (server == NULL) {
        start();
    }
    const size_t cut = (size_t)data[0] * 16 % size; /* the first byte chooses where */
    hear(data + 1, size - 1, size - 1, &whole);
    hear(data + 1, size - 1, cut, &parts);
    VV_ASSERT(whole.err == parts.err && whole.failure == parts.failure);
    VV_ASSERT(strcmp(whole.name, parts.name) == 0);
    return 0;
}
