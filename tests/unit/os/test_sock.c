/* tests/unit/os/test_sock.c - text forms, CIDR blocks, listening and connecting. */
#include "os/sock.h"
#include "vv_test.h"
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct vv_addr addr(const char *text)
{
    struct vv_addr a;
    VV_CHECK_INT(vv_addr_parse(vv_str_from(text), &a), VV_OK);
    return a;
}

static void check_forms(const char *in, const char *full, const char *ip)
{
    char buf[VV_ADDR_TEXT];
    const struct vv_addr a = addr(in);
    VV_CHECK_INT(vv_addr_format(&a, buf, sizeof(buf)), strlen(full));
    VV_CHECK_STR(buf, full);
    VV_CHECK_INT(vv_addr_format_ip(&a, buf, sizeof(buf)), strlen(ip));
    VV_CHECK_STR(buf, ip);
}

VV_TEST(addr_reads_and_prints_every_form)
{
    check_forms("127.0.0.1:80", "127.0.0.1:80", "127.0.0.1");
    check_forms("255.10.0.9:65535", "255.10.0.9:65535", "255.10.0.9");
    check_forms("[::1]:8080", "[::1]:8080", "::1");
    check_forms("[2001:DB8::0:1]:1", "[2001:db8::1]:1", "2001:db8::1");
    check_forms("[::ffff:192.0.2.1]:5", "192.0.2.1:5", "192.0.2.1"); /* mapped: shown as v4 */
    check_forms(":80", "[::]:80", "::");
    check_forms("80", "[::]:80", "::");
    check_forms("unix:/run/x.sock", "unix:/run/x.sock", "unix:");
    check_forms("unix:@name", "unix:@name", "unix:");
    VV_CHECK_INT(vv_addr_port(&(struct vv_addr){.sa = {.sa_family = AF_UNIX}}), 0);
}

VV_TEST(addr_refuses_with_the_right_reason)
{
    static const struct {
        const char *text;
        enum vv_err err;
    } row[] = {{"127.0.0.1", VV_EINVAL},
               {"[::1]", VV_EINVAL},
               {"::1", VV_EINVAL},
               {"", VV_ESYNTAX},
               {"localhost:80", VV_ESYNTAX},
               {"127.0.0.1:", VV_ESYNTAX},
               {"127.0.0.1:8x", VV_ESYNTAX},
               {"127.0.0.1:65536", VV_ERANGE},
               {"70000", VV_ERANGE},
               {"127.0.0.256:80", VV_ESYNTAX},
               {"127.1:80", VV_ESYNTAX},
               {"010.0.0.1:80", VV_ESYNTAX},
               {"[::1:80", VV_ESYNTAX},
               {"[::1]80", VV_ESYNTAX},
               {"[127.0.0.1]:80", VV_ESYNTAX},
               {"unix:", VV_ESYNTAX},
               {"unix:@", VV_ESYNTAX},
               {"-1", VV_ESYNTAX}};
    struct vv_addr a = {.len = 99};
    for (size_t i = 0; i < VV_COUNT(row); i++) {
        VV_CHECK_INT(vv_addr_parse(vv_str_from(row[i].text), &a), row[i].err);
    }
    char path[200] = "unix:/";
    memset(path + 6, 'x', 150); /* sun_path has 108 bytes */
    VV_CHECK_INT(vv_addr_parse(vv_str_from(path), &a), VV_ERANGE);
    VV_CHECK_INT(vv_addr_parse((struct vv_str){"1\0:80", 5}, &a), VV_ESYNTAX);
    VV_CHECK_INT(a.len, 99); /* failing changed nothing */
}

VV_TEST(addr_compares_address_and_port)
{
    const struct vv_addr a = addr("127.0.0.1:80"), b = addr("127.0.0.1:81"), c = addr("[::1]:80"),
                         u = addr("unix:/a"), v = addr("unix:/b");
    VV_CHECK(vv_addr_eq(&a, &a) && vv_addr_eq(&c, &c) && vv_addr_eq(&u, &u));
    VV_CHECK(!vv_addr_eq(&a, &b) && !vv_addr_eq(&a, &c) && !vv_addr_eq(&u, &v));
    struct vv_addr d;
    VV_CHECK(vv_addr_from_ip(VV_STR("127.0.0.1"), 80, &d) && vv_addr_eq(&a, &d));
    VV_CHECK(!vv_addr_from_ip(VV_STR("example.org"), 80, &d));
}

VV_TEST(addr_print_is_cut_to_the_buffer)
{
    char buf[8];
    const struct vv_addr a = addr("192.168.100.200:12345");
    VV_CHECK_INT(vv_addr_format(&a, buf, sizeof(buf)), 7);
    VV_CHECK_STR(buf, "192.168");
}

static bool has(const char *block, const char *address)
{
    struct vv_cidr c;
    const struct vv_addr a = addr(address);
    VV_CHECK_INT(vv_cidr_parse(vv_str_from(block), &c), VV_OK);
    return vv_cidr_has(&c, &a);
}

VV_TEST(cidr_knows_what_lies_inside)
{
    VV_CHECK(has("10.0.0.0/8", "10.255.1.2:1"));
    VV_CHECK(!has("10.0.0.0/8", "11.0.0.0:1"));
    VV_CHECK(has("10.1.2.3/8", "10.9.9.9:1")); /* bits behind the prefix do not count */
    VV_CHECK(has("192.0.2.128/25", "192.0.2.255:1"));
    VV_CHECK(!has("192.0.2.128/25", "192.0.2.127:1"));
    VV_CHECK(has("0.0.0.0/0", "203.0.113.9:1"));
    VV_CHECK(!has("0.0.0.0/0", "[::1]:1"));
    VV_CHECK(has("192.0.2.7", "192.0.2.7:1"));
    VV_CHECK(!has("192.0.2.7", "192.0.2.6:1"));
    VV_CHECK(has("2001:db8::/33", "[2001:db8:7fff::1]:1"));
    VV_CHECK(!has("2001:db8::/33", "[2001:db8:8000::1]:1"));
    VV_CHECK(has("::1/128", "[::1]:1"));
    VV_CHECK(has("10.0.0.0/8", "[::ffff:10.1.1.1]:1")); /* mapped counts as IPv4 */
    VV_CHECK(has("::ffff:10.0.0.0/104", "10.1.1.1:1"));
    VV_CHECK(has("unix", "unix:/x"));
    VV_CHECK(!has("unix", "10.0.0.1:1"));
    VV_CHECK(!has("0.0.0.0/0", "unix:/x"));
}

VV_TEST(cidr_refuses_nonsense)
{
    struct vv_cidr c;
    VV_CHECK_INT(vv_cidr_parse(VV_STR("10.0.0.0/33"), &c), VV_ERANGE);
    VV_CHECK_INT(vv_cidr_parse(VV_STR("::/129"), &c), VV_ERANGE);
    VV_CHECK_INT(vv_cidr_parse(VV_STR("10.0.0.0/"), &c), VV_ESYNTAX);
    VV_CHECK_INT(vv_cidr_parse(VV_STR("10.0.0/8"), &c), VV_ESYNTAX);
    VV_CHECK_INT(vv_cidr_parse(VV_STR("here"), &c), VV_ESYNTAX);
}

static int flag(int fd, int level, int name)
{
    int v = 0;
    socklen_t len = sizeof(v);
    VV_CHECK_INT(getsockopt(fd, level, name, &v, &len), 0);
    return v;
}

VV_TEST(sock_connects_and_accepts_without_blocking_or_leaking)
{
    struct vv_addr a = addr("127.0.0.1:0"), peer, local;
    int listener = -1, client = -1, served = -1, none = -1;
    const struct vv_listen_options o = {.reuseport = true, .backlog = 16};
    VV_CHECK_INT(vv_sock_listen(&a, &o, &listener), VV_OK);
    VV_CHECK_INT(vv_sock_local(listener, &a), VV_OK);
    VV_CHECK_INT(vv_sock_accept(listener, &none, NULL), VV_EAGAIN);
    VV_CHECK_INT(vv_sock_connect(&a, &client), VV_OK);
    VV_CHECK_INT(vv_sock_accept(listener, &served, &peer), VV_OK);
    VV_CHECK_INT(vv_sock_error(client), VV_OK);
    VV_CHECK_INT(vv_sock_local(client, &local), VV_OK);
    VV_CHECK(vv_addr_eq(&peer, &local));
    VV_CHECK(flag(client, IPPROTO_TCP, TCP_NODELAY) != 0);
    VV_CHECK(flag(served, IPPROTO_TCP, TCP_NODELAY) != 0); /* inherited from the listener */
    VV_CHECK((fcntl(served, F_GETFL) & O_NONBLOCK) != 0);
    VV_CHECK((fcntl(served, F_GETFD) & FD_CLOEXEC) != 0);
    int again = -1;
    VV_CHECK_INT(vv_sock_listen(&a, &o, &again), VV_OK); /* SO_REUSEPORT: a second one */
    int third = -1;
    VV_CHECK_INT(vv_sock_listen(&a, &(struct vv_listen_options){0}, &third), VV_EADDRINUSE);
    VV_CHECK_INT(third, -1);
    vv_close_fd(&again);
    vv_close_fd(&client);
    vv_close_fd(&served);
    vv_close_fd(&listener);
}

VV_TEST(sock_reports_a_v4_peer_of_a_dual_stack_listener_as_v4)
{
    struct vv_addr any = addr("0"), a, peer;
    int listener = -1, client = -1, served = -1;
    VV_CHECK_INT(vv_sock_listen(&any, &(struct vv_listen_options){0}, &listener), VV_OK);
    VV_CHECK_INT(vv_sock_local(listener, &any), VV_OK);
    VV_CHECK(vv_addr_from_ip(VV_STR("127.0.0.1"), vv_addr_port(&any), &a));
    VV_CHECK_INT(vv_sock_connect(&a, &client), VV_OK);
    VV_CHECK_INT(vv_sock_accept(listener, &served, &peer), VV_OK);
    VV_CHECK_INT(peer.sa.sa_family, AF_INET);
    vv_close_fd(&client);
    vv_close_fd(&served);
    vv_close_fd(&listener);
}

VV_TEST(sock_tells_a_refused_connection)
{
    struct vv_addr a = addr("127.0.0.1:0");
    int listener = -1, client = -1;
    VV_CHECK_INT(vv_sock_listen(&a, &(struct vv_listen_options){0}, &listener), VV_OK);
    VV_CHECK_INT(vv_sock_local(listener, &a), VV_OK);
    vv_close_fd(&listener); /* nobody listens on that port now */
    enum vv_err err = vv_sock_connect(&a, &client);
    if (err == VV_OK) { /* in progress on this kernel: loopback has answered already */
        err = vv_sock_error(client);
    }
    VV_CHECK_INT(err, VV_EREFUSED);
    vv_close_fd(&client);
}

VV_TEST(sock_replaces_a_dead_unix_socket_but_not_a_living_one_or_a_file)
{
    char dir[] = "/tmp/vv-sock-XXXXXX", text[80], path[64];
    VV_CHECK(mkdtemp(dir) != NULL);
    snprintf(path, sizeof(path), "%s/s", dir);
    snprintf(text, sizeof(text), "unix:%s", path);
    const struct vv_addr a = addr(text);
    const struct vv_listen_options o = {.unix_mode = 0666};
    int first = -1, second = -1, client = -1;
    struct stat st;
    VV_CHECK_INT(vv_sock_listen(&a, &o, &first), VV_OK);
    VV_CHECK_INT(stat(path, &st), 0);
    VV_CHECK_INT(st.st_mode & 0777, 0666); /* whatever the umask says */
    VV_CHECK_INT(vv_sock_listen(&a, &o, &second), VV_EADDRINUSE);
    vv_close_fd(&first); /* as after a crash: the name stays */
    VV_CHECK_INT(vv_sock_listen(&a, &o, &second), VV_OK);
    VV_CHECK_INT(vv_sock_connect(&a, &client), VV_OK);
    struct vv_addr peer;
    int served = -1;
    VV_CHECK_INT(vv_sock_accept(second, &served, &peer), VV_OK);
    VV_CHECK_INT(peer.sa.sa_family, AF_UNIX);
    char buf[VV_ADDR_TEXT];
    VV_CHECK_INT(vv_addr_format(&peer, buf, sizeof(buf)), 5); /* "unix:", the client has no name */
    vv_close_fd(&served);
    vv_close_fd(&client);
    vv_close_fd(&second);
    unlink(path);
    const int file = open(path, O_CREAT | O_WRONLY, 0600);
    VV_CHECK(file >= 0);
    close(file);
    VV_CHECK_INT(vv_sock_listen(&a, &o, &second), VV_EADDRINUSE);
    unlink(path);
    rmdir(dir);
}

VV_TEST(sock_adopts_only_listeners)
{
    const int plain = socket(AF_INET, SOCK_STREAM, 0);
    VV_CHECK_INT(vv_sock_adopt_listener(plain), VV_EINVAL);
    VV_CHECK_INT(listen(plain, 1), 0);
    VV_CHECK_INT(vv_sock_adopt_listener(plain), VV_OK);
    VV_CHECK((fcntl(plain, F_GETFL) & O_NONBLOCK) != 0);
    VV_CHECK((fcntl(plain, F_GETFD) & FD_CLOEXEC) != 0);
    VV_CHECK(flag(plain, IPPROTO_TCP, TCP_NODELAY) != 0);
    close(plain);
}

VV_TEST(sock_says_what_tcp_measured)
{
    struct vv_addr a;
    struct vv_sock_tcp tcp = {.retransmits = 7};
    const struct vv_listen_options o = {.backlog = 8};
    int listener = -1, client = -1, pair[2];
    VV_CHECK_INT(vv_addr_parse(VV_STR("127.0.0.1:0"), &a), VV_OK);
    VV_CHECK_INT(vv_sock_listen(&a, &o, &listener), VV_OK);
    VV_CHECK_INT(vv_sock_local(listener, &a), VV_OK);
    VV_CHECK_INT(vv_sock_connect(&a, &client), VV_OK);
    VV_CHECK_INT(vv_sock_tcp(client, &tcp), VV_OK);
    VV_CHECK(tcp.rtt_ns > 0 && tcp.rtt_ns < VV_SEC); /* measured by the handshake on loopback */
    VV_CHECK_INT(tcp.retransmits, 0);
    vv_close_fd(&client);
    vv_close_fd(&listener);
    VV_CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    VV_CHECK(vv_sock_tcp(pair[0], &tcp) != VV_OK);
    vv_close_fd(&pair[0]);
    vv_close_fd(&pair[1]);
}
