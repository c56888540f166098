/* tests/unit/os/test_tls_kit.h - an authority, certificates and two ends of a socket for the TLS tests. */
#ifndef TEST_TLS_KIT_H
#define TEST_TLS_KIT_H
#include "os/clock.h"
#include "os/sock.h"
#include "os/tls.h"
#include "os/tls_local.h"
#include "vv_test.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define KIT_STEPS_MAX 64

static struct vv_tls_pem kit_ca;
static char kit_dir[] = "/tmp/vivace-tls-XXXXXX";
static char kit_ca_file[64];

static void kit_end(void)
{
    vv_tls_pem_fini(&kit_ca);
    unlink(kit_ca_file);
    rmdir(kit_dir);
}

VV_UNUSED static void kit_write(const char *path, struct vv_str text)
{
    const int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    VV_ASSERT(fd >= 0 && write(fd, text.p, text.n) == (ssize_t)text.n);
    close(fd);
}

/* The authority; made once for a test program. */
VV_UNUSED static const struct vv_tls_pem *kit_authority(void)
{
    if (kit_ca.cert == NULL) {
        const uint64_t now = vv_clock_wall();
        const struct vv_tls_make m = {.subject = "Test authority",
                                      .not_before_wall_ns = now - VV_DAY,
                                      .not_after_wall_ns = now + 365 * VV_DAY,
                                      .authority = true};
        VV_ASSERT(vv_tls_make(&m, &kit_ca) == VV_OK);
        VV_ASSERT(mkdtemp(kit_dir) != NULL);
        snprintf(kit_ca_file, sizeof(kit_ca_file), "%s/ca.pem", kit_dir);
        kit_write(kit_ca_file, vv_str_from(kit_ca.cert));
        atexit(kit_end);
    }
    return &kit_ca;
}

VV_UNUSED static void kit_pem(enum vv_tls_key key, const char *name, bool client,
                              struct vv_tls_pem *ret)
{
    const uint64_t now = vv_clock_wall();
    const struct vv_tls_make m = {.subject = "Test certificate",
                                  .names = &name,
                                  .name_count = name != NULL,
                                  .key = key,
                                  .rsa_bits = 2048,
                                  .not_before_wall_ns = now - VV_DAY,
                                  .not_after_wall_ns = now + 30 * VV_DAY,
                                  .client = client,
                                  .issuer = kit_authority()};
    VV_ASSERT(vv_tls_make(&m, ret) == VV_OK);
}

VV_UNUSED static struct vv_tls_cert *kit_parse(const struct vv_tls_pem *pem)
{
    struct vv_tls_cert *c = NULL;
    struct vv_sb why = VV_SB_INIT;
    const struct vv_tls_cert_text text = {.cert_name = "c.pem",
                                          .key_name = "k.pem",
                                          .cert = vv_str_from(pem->cert),
                                          .key = vv_str_from(pem->key)};
    const enum vv_err err = vv_tls_cert_parse(&text, &why, &c);
    if (err != VV_OK) {
        fail_msg("%s", why.p);
    }
    vv_sb_fini(&why);
    return c;
}

VV_UNUSED static struct vv_tls_cert *kit_cert(enum vv_tls_key key, const char *name)
{
    struct vv_tls_pem pem;
    kit_pem(key, name, false, &pem);
    struct vv_tls_cert *c = kit_parse(&pem);
    vv_tls_pem_fini(&pem);
    return c;
}

VV_UNUSED static struct vv_tls_context *kit_server(struct vv_tls_server_conf conf)
{
    struct vv_sb why = VV_SB_INIT;
    struct vv_tls_context *c = NULL;
    if (vv_tls_server_new(&conf, &why, &c) != VV_OK) {
        fail_msg("%s", why.p);
    }
    vv_sb_fini(&why);
    return c;
}

VV_UNUSED static struct vv_tls_context *kit_client(struct vv_tls_client_conf conf)
{
    struct vv_sb why = VV_SB_INIT;
    struct vv_tls_context *c = NULL;
    kit_authority();
    conf.ca_file = conf.ca_file != NULL ? conf.ca_file : kit_ca_file;
    if (vv_tls_client_new(&conf, &why, &c) != VV_OK) {
        fail_msg("%s", why.p);
    }
    vv_sb_fini(&why);
    return c;
}

/* A server with one P-256 certificate for "a.test". */
VV_UNUSED static struct vv_tls_context *kit_server_a(struct vv_tls_server_conf conf)
{
    struct vv_tls_cert *cert = kit_cert(VV_TLS_KEY_EC, "a.test");
    conf.certs = &cert;
    conf.cert_count = 1;
    struct vv_tls_context *c = kit_server(conf);
    vv_tls_cert_unref(cert);
    return c;
}

struct kit {
    int fd[2]; /* server, client */
    struct vv_tls *s, *c;
    enum vv_err s_err, c_err;
    struct vv_tls_stats stats;
};

VV_UNUSED static void kit_pair(int fd[2])
{
    VV_ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) == 0);
}

VV_UNUSED static void kit_start(struct kit *k, struct vv_tls_context *server,
                                struct vv_tls_context *client, const char *name)
{
    memset(k, 0, sizeof(*k));
    kit_pair(k->fd);
    VV_ASSERT(vv_tls_accept(server, k->fd[0], &k->stats, &k->s) == VV_OK);
    VV_ASSERT(vv_tls_connect(client, k->fd[1], name, NULL, &k->c) == VV_OK);
}

/* Steps both ends until each has finished or failed. What is held back goes out, as in a session that
 * reads after its handshake. */
VV_UNUSED static void kit_shake(struct kit *k)
{
    k->s_err = k->c_err = VV_EAGAIN;
    for (int i = 0; i < KIT_STEPS_MAX && (k->s_err == VV_EAGAIN || k->c_err == VV_EAGAIN); i++) {
        if (k->c_err == VV_EAGAIN) {
            k->c_err = vv_tls_handshake(k->c);
            k->c_err = k->c_err == VV_OK ? vv_tls_flush(k->c) : k->c_err;
        }
        if (k->s_err == VV_EAGAIN) {
            k->s_err = vv_tls_handshake(k->s);
            k->s_err = k->s_err == VV_OK ? vv_tls_flush(k->s) : k->s_err;
        }
    }
}

VV_UNUSED static void kit_stop(struct kit *k)
{
    vv_tls_free(k->s);
    vv_tls_free(k->c);
    close(k->fd[0]);
    close(k->fd[1]);
}

/* One message from an end to the other, whole. */
VV_UNUSED static void kit_say(struct vv_tls *from, struct vv_tls *to, const char *text)
{
    char buf[256];
    size_t n = 0;
    const struct iovec one = {(void *)(uintptr_t)text, strlen(text)};
    VV_CHECK_INT(vv_tls_write(from, &one, 1, 0, VV_SEC, &n), VV_OK);
    VV_CHECK_INT(n, strlen(text));
    VV_CHECK_INT(vv_tls_read(to, buf, sizeof(buf), &n), VV_OK);
    VV_CHECK_SLICE(((struct vv_str){buf, n}), text);
}

/* A whole handshake with one name; the caller stops it. */
VV_UNUSED static void kit_meet(struct kit *k, struct vv_tls_context *server,
                               struct vv_tls_context *client, const char *name)
{
    kit_start(k, server, client, name);
    kit_shake(k);
    char text[VV_TLS_ERROR_TEXT];
    if (k->s_err != VV_OK) {
        fail_msg("server: %s", vv_tls_error(k->s, text));
    }
    if (k->c_err != VV_OK) {
        fail_msg("client: %s", vv_tls_error(k->c, text));
    }
}
#endif
