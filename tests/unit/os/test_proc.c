/* tests/unit/os/test_proc.c - notifications, inherited sockets, passed descriptors, limits. */
#include "os/proc.h"
#include "os/sock.h"
#include "os/thread.h"
#include "vv_test.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

VV_TEST(proc_notify_sends_one_datagram_to_an_abstract_name)
{
    char name[64], got[64] = "";
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    const int n = snprintf(name, sizeof(name), "@vv-notify-%d", (int)getpid());
    memcpy(un.sun_path, name, (size_t)n);
    un.sun_path[0] = '\0';
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    const socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)n);
    VV_CHECK_INT(bind(fd, (struct sockaddr *)&un, len), 0);
    setenv("NOTIFY_SOCKET", name, 1);
    VV_CHECK_INT(vv_proc_notify("READY=1"), VV_OK);
    VV_CHECK_INT(recv(fd, got, sizeof(got), 0), 7);
    VV_CHECK_STR(got, "READY=1");
    close(fd);
    VV_CHECK_INT(vv_proc_notify("READY=1"), VV_EREFUSED); /* nobody there any more */
    setenv("NOTIFY_SOCKET", "relative", 1);
    VV_CHECK_INT(vv_proc_notify("READY=1"), VV_EINVAL);
    unsetenv("NOTIFY_SOCKET");
    VV_CHECK_INT(vv_proc_notify("READY=1"), VV_ENOENT);
}

static void announce(const char *pid, const char *fds, const char *names)
{
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", fds, 1);
    setenv("LISTEN_FDNAMES", names, 1);
}

/* In a child, because descriptors 3 and 4 must be free to take. */
static int listen_child(void)
{
    struct vv_proc_listen l;
    char pid[16];
    const int a = open("/dev/null", O_RDONLY);
    if (a < 0 || dup2(a, 3) != 3 || dup2(a, 4) != 4) {
        return 1;
    }
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    announce(pid, "2", "web");
    if (vv_proc_listen_fds(&l) != VV_OK || l.count != 2 || l.fd[0] != 3 || l.fd[1] != 4) {
        return 2;
    }
    if (strcmp(l.name[0], "web") != 0 || l.name[1][0] != '\0') {
        return 3;
    }
    if ((fcntl(4, F_GETFD) & FD_CLOEXEC) == 0 || getenv("LISTEN_FDS") != NULL) {
        return 4;
    }
    if (vv_proc_listen_fds(&l) != VV_OK || l.count != 0) { /* taken once */
        return 5;
    }
    announce(pid, "65", "");
    if (vv_proc_listen_fds(&l) != VV_ELIMIT) {
        return 6;
    }
    announce(pid, "two", "");
    if (vv_proc_listen_fds(&l) != VV_ESYNTAX) {
        return 7;
    }
    close(4);
    announce(pid, "2", "");
    if (vv_proc_listen_fds(&l) != VV_ESYNTAX || l.count != 0) { /* announced, not there */
        return 8;
    }
    announce("1", "2", "");
    return vv_proc_listen_fds(&l) == VV_OK && l.count == 0 && getenv("LISTEN_PID") != NULL ? 0 : 9;
}

static int in_child(int (*fn)(void))
{
    int status = -1;
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        _exit(fn());
    }
    VV_CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    VV_CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

VV_TEST(proc_takes_listening_sockets_only_when_meant)
{
    VV_CHECK_INT(in_child(listen_child), 0);
}

VV_TEST(proc_passes_several_descriptors_with_their_payload)
{
    int sock[2], pipes[2], got[4];
    char text[32];
    size_t count = 0, n = 0;
    VV_CHECK_INT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, sock), 0);
    VV_CHECK_INT(pipe(pipes), 0);
    VV_CHECK_INT(vv_proc_recv_fds(sock[1], got, 4, &count, text, sizeof(text), &n), VV_EAGAIN);
    VV_CHECK_INT(vv_proc_send_fds(sock[0], pipes, 2, VV_STR("a pipe")), VV_OK);
    VV_CHECK_INT(vv_proc_send_fds(sock[0], NULL, 0, VV_STR("no fd")), VV_OK);
    VV_CHECK_INT(vv_proc_recv_fds(sock[1], got, 4, &count, text, sizeof(text), &n), VV_OK);
    VV_CHECK_INT(count, 2);
    VV_CHECK(n == 6 && memcmp(text, "a pipe", 6) == 0);
    VV_CHECK((fcntl(got[0], F_GETFD) & FD_CLOEXEC) != 0);
    VV_CHECK_INT(write(got[1], "x", 1), 1); /* it is the same pipe */
    VV_CHECK_INT(read(pipes[0], text, 1), 1);
    close(got[0]);
    close(got[1]);
    VV_CHECK_INT(vv_proc_recv_fds(sock[1], got, 4, &count, text, sizeof(text), &n), VV_OK);
    VV_CHECK(count == 0 && n == 5);
    close(sock[0]);
    VV_CHECK_INT(vv_proc_recv_fds(sock[1], got, 4, &count, text, sizeof(text), &n), VV_ECLOSED);
    close(sock[1]);
    close(pipes[0]);
    close(pipes[1]);
}

VV_TEST(proc_keeps_no_descriptor_when_there_is_no_room)
{
    int sock[2], three[3], got[2];
    char text[4];
    size_t count = 77, n = 77;
    VV_CHECK_INT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, sock), 0);
    for (int i = 0; i < 3; i++) {
        three[i] = sock[0];
    }
    const int before = dup(0); /* the lowest free descriptor */
    close(before);
    VV_CHECK_INT(vv_proc_send_fds(sock[0], three, 3, VV_STR("x")), VV_OK);
    VV_CHECK_INT(vv_proc_recv_fds(sock[1], got, 2, &count, text, 4, &n), VV_ELIMIT);
    VV_CHECK_INT(vv_proc_send_fds(sock[0], three, 1, VV_STR("too long")), VV_OK);
    VV_CHECK_INT(vv_proc_recv_fds(sock[1], got, 2, &count, text, 4, &n), VV_ELIMIT);
    VV_CHECK(count == 77 && n == 77);
    const int after = dup(0);
    VV_CHECK_INT(after, before); /* nothing was left open */
    close(after);
    VV_CHECK_INT(vv_proc_send_fds(sock[0], three, 1, VV_STR("")), VV_EINVAL);
    close(sock[0]);
    close(sock[1]);
}

VV_TEST(proc_raises_the_descriptor_limit_to_what_is_allowed)
{
    struct rlimit old;
    uint64_t now = 0;
    VV_CHECK_INT(getrlimit(RLIMIT_NOFILE, &old), 0);
    struct rlimit low = {.rlim_cur = 64, .rlim_max = old.rlim_max};
    VV_CHECK_INT(setrlimit(RLIMIT_NOFILE, &low), 0);
    vv_proc_raise_nofile(128, &now);
    VV_CHECK_INT(now, 128);
    vv_proc_raise_nofile(100, &now); /* never lowers */
    VV_CHECK_INT(now, 128);
    VV_CHECK_INT(setrlimit(RLIMIT_NOFILE, &old), 0);
}

static int become_child(void)
{
    struct vv_proc_user user;
    if (vv_proc_find_user("nobody", &user) != VV_OK) {
        return 1;
    }
    const enum vv_err err = vv_proc_become(&user);
    if (geteuid() != 0 && getuid() != user.uid) {
        return err == VV_EACCES ? 0 : 2; /* not started as root: refused */
    }
    if (err != VV_OK || getuid() != user.uid || getegid() != user.gid || setuid(0) == 0) {
        return 3;
    }
    return vv_proc_become(&user) == VV_OK ? 0 : 4; /* being the user already is fine */
}

VV_TEST(proc_becomes_another_user_for_good)
{
    struct vv_proc_user user;
    VV_CHECK_INT(vv_proc_find_user("no-such-user-here", &user), VV_ENOENT);
    VV_CHECK_INT(in_child(become_child), 0);
}

static char seen_name[16];
static sigset_t seen_mask;

static void look(void *arg)
{
    (void)arg;
    (void)prctl(PR_GET_NAME, seen_name);
    pthread_sigmask(SIG_SETMASK, NULL, &seen_mask);
}

VV_TEST(thread_has_its_name_and_no_signals)
{
    struct vv_thread t = {.started = false};
    sigset_t mine;
    vv_thread_join(&t); /* not started: harmless */
    VV_CHECK_INT(vv_thread_start(&t, "a-rather-long-name", look, NULL), VV_OK);
    vv_thread_join(&t);
    VV_CHECK_STR(seen_name, "a-rather-long-n"); /* 15 bytes */
    VV_CHECK(sigismember(&seen_mask, SIGTERM) == 1 && sigismember(&seen_mask, SIGHUP) == 1);
    pthread_sigmask(SIG_SETMASK, NULL, &mine);
    VV_CHECK(sigismember(&mine, SIGTERM) == 0); /* ours are as before */
}
