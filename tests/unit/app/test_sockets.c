/* tests/unit/app/test_sockets.c - which sockets are bound, kept, given up. */
#include "app/sockets.h"
#include "vv_test.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* "127.0.0.1:port" of a port that is free now and stays unknown to others. */
static const char *free_address(char *buf, size_t bytes)
{
    struct vv_addr any, got;
    int fd = -1;
    const struct vv_listen_options plain = {.backlog = 1};
    VV_CHECK_INT(vv_addr_parse(VV_STR("127.0.0.1:0"), &any), VV_OK);
    VV_CHECK_INT(vv_sock_listen(&any, &plain, &fd), VV_OK);
    VV_CHECK_INT(vv_sock_local(fd, &got), VV_OK);
    vv_addr_format(&got, buf, bytes);
    close(fd);
    return buf;
}

static enum vv_err want(struct vv_sockets *s, const char *name, const char *address, size_t count)
{
    struct vv_sb list = VV_SB_INIT, why = VV_SB_INIT;
    VV_CHECK(vv_sockets_line(&list, name, address, count, 0600));
    const enum vv_err err = vv_sockets_want(s, list.p, &why);
    VV_CHECK((err == VV_OK) == (why.n == 0)); /* every failure is explained */
    vv_sb_fini(&list);
    vv_sb_fini(&why);
    return err;
}

static bool reachable(const char *address)
{
    struct vv_addr a;
    VV_AUTO(vv_close_fd) int fd = -1;
    return vv_addr_parse(vv_str_from(address), &a) == VV_OK && vv_sock_connect(&a, &fd) == VV_OK &&
           (usleep(0), vv_sock_error(fd) == VV_OK);
}

VV_TEST(a_listener_has_a_socket_per_thread_and_keeps_them_under_another_name)
{
    struct vv_sockets s = {0};
    char a[VV_ADDR_TEXT];
    free_address(a, sizeof a);
    VV_CHECK_INT(want(&s, "web", a, 3), VV_OK);
    VV_CHECK_INT(s.count, 1);
    VV_CHECK_INT(s.item[0]->count, 3);
    const int fd = s.item[0]->fds[0];
    vv_sockets_keep(&s);
    VV_CHECK_INT(want(&s, "front", a, 3), VV_OK);
    VV_CHECK_INT(s.count, 1);
    VV_CHECK_INT(s.item[0]->fds[0], fd); /* not bound again */
    VV_CHECK_STR(s.item[0]->name, "front");
    vv_sockets_fini(&s);
}

VV_TEST(sockets_are_added_for_threads_and_only_trimmed_on_purpose)
{
    struct vv_sockets s = {0};
    char a[VV_ADDR_TEXT];
    free_address(a, sizeof a);
    VV_CHECK_INT(want(&s, "web", a, 2), VV_OK);
    vv_sockets_keep(&s);
    VV_CHECK_INT(want(&s, "web", a, 4), VV_OK);
    VV_CHECK_INT(s.item[0]->count, 4);
    vv_sockets_keep(&s);
    VV_CHECK_INT(want(&s, "web", a, 1), VV_OK);
    VV_CHECK_INT(s.item[0]->count, 4); /* closing one would drop its share of the backlog */
    vv_sockets_trim(&s, 1);            /* until somebody says that nobody reads them any more */
    VV_CHECK_INT(s.item[0]->count, 1);
    vv_sockets_fini(&s);
}

VV_TEST(a_reload_that_is_given_up_leaves_the_sockets_as_they_were)
{
    struct vv_sockets s = {0};
    char a[VV_ADDR_TEXT], b[VV_ADDR_TEXT];
    free_address(a, sizeof a);
    VV_CHECK_INT(want(&s, "web", a, 1), VV_OK);
    vv_sockets_keep(&s);
    free_address(b, sizeof b);
    VV_CHECK_INT(want(&s, "other", b, 2), VV_OK);
    VV_CHECK_INT(s.count, 2);
    vv_sockets_forget(&s);
    VV_CHECK_INT(s.count, 1);
    VV_CHECK_STR(s.item[0]->address, a);
    VV_CHECK(s.item[0]->wanted);
    vv_sockets_fini(&s);
}

VV_TEST(a_listener_that_is_no_longer_named_is_closed_when_the_new_ones_are_in_use)
{
    struct vv_sockets s = {0};
    char a[VV_ADDR_TEXT], b[VV_ADDR_TEXT];
    free_address(a, sizeof a);
    VV_CHECK_INT(want(&s, "web", a, 1), VV_OK);
    vv_sockets_keep(&s);
    free_address(b, sizeof b);
    VV_CHECK_INT(want(&s, "other", b, 1), VV_OK);
    VV_CHECK_INT(s.count, 2); /* both, until it is certain */
    vv_sockets_keep(&s);
    VV_CHECK_INT(s.count, 1);
    VV_CHECK_STR(s.item[0]->address, b);
    vv_sockets_fini(&s);
}

VV_TEST(an_address_of_somebody_else_fails_the_list_and_closes_what_was_new)
{
    struct vv_sockets s = {0}, others = {0};
    char a[VV_ADDR_TEXT], b[VV_ADDR_TEXT];
    struct vv_sb list = VV_SB_INIT, why = VV_SB_INIT;
    free_address(b, sizeof b);
    VV_CHECK_INT(want(&others, "theirs", b, 1), VV_OK); /* with SO_REUSEPORT, as another of us */
    free_address(a, sizeof a);
    VV_CHECK(vv_sockets_line(&list, "web", a, 1, 0));
    VV_CHECK(vv_sockets_line(&list, "busy", b, 1, 0));
    VV_CHECK_INT(vv_sockets_want(&s, list.p, &why), VV_EADDRINUSE);
    VV_CHECK(strstr(why.p, "busy") != NULL && strstr(why.p, b) != NULL);
    VV_CHECK_INT(s.count, 0);
    vv_sb_fini(&list);
    vv_sb_fini(&why);
    vv_sockets_fini(&s);
    vv_sockets_fini(&others);
}

VV_TEST(a_unix_listener_has_one_socket_and_its_path_goes_with_it)
{
    struct vv_sockets s = {0};
    char path[64], address[80], b[VV_ADDR_TEXT];
    (void)snprintf(path, sizeof path, "/tmp/vv-sockets-%d.sock", (int)getpid());
    (void)snprintf(address, sizeof address, "unix:%s", path);
    VV_CHECK_INT(want(&s, "@socket", address, 4), VV_OK);
    VV_CHECK_INT(s.item[0]->count, 1);
    VV_CHECK(reachable(address));
    vv_sockets_keep(&s);
    free_address(b, sizeof b);
    VV_CHECK_INT(want(&s, "web", b, 1), VV_OK);
    vv_sockets_keep(&s);
    VV_CHECK(access(path, F_OK) != 0);
    vv_sockets_fini(&s);
}

VV_TEST(an_activated_socket_is_found_by_name_and_never_dropped)
{
    struct vv_sockets s = {0}, manager = {0};
    char a[VV_ADDR_TEXT], b[VV_ADDR_TEXT];
    free_address(a, sizeof a);
    VV_CHECK_INT(want(&manager, "x", a, 1), VV_OK);
    VV_CHECK_INT(fcntl(manager.item[0]->fds[0], F_SETFL, 0), 0); /* blocking, as systemd's */
    VV_CHECK_INT(vv_sockets_activate(&s, "web", fcntl(manager.item[0]->fds[0], F_DUPFD_CLOEXEC, 3)),
                 VV_OK);
    VV_CHECK_INT(want(&s, "web", free_address(b, sizeof b), 4), VV_OK);
    VV_CHECK(fcntl(s.item[0]->fds[0], F_GETFL) & O_NONBLOCK); /* whatever the manager did */
    VV_CHECK_INT(s.count, 1);
    VV_CHECK_STR(s.item[0]->address, a); /* the manager's, not the file's */
    vv_sockets_keep(&s);
    VV_CHECK_INT(want(&s, "other", b, 1), VV_OK);
    vv_sockets_keep(&s);
    VV_CHECK(vv_sockets_find(&s, "web", "127.0.0.1:1") != NULL);
    vv_sockets_fini(&s);
    vv_sockets_fini(&manager);
}

VV_TEST(names_with_control_bytes_make_no_line)
{
    struct vv_sb list = VV_SB_INIT;
    VV_CHECK(!vv_sockets_line(&list, "a\nb", "127.0.0.1:1", 1, 0));
    VV_CHECK(!vv_sockets_line(&list, "a", "127.0.0.1:1\x1f", 1, 0));
    VV_CHECK_INT(list.n, 0);
}
