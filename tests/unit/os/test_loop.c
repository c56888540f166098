/* tests/unit/os/test_loop.c - events, deletion in the middle of a turn, mail, deferred work. */
#include "os/clock.h"
#include "os/loop.h"
#include "os/sock.h"
#include "os/thread.h"
#include "vv_test.h"
#include <unistd.h>

static struct vv_loop *loop;
static char order[64]; /* what ran, one letter each */

static void note(char c)
{
    const size_t n = strlen(order);
    VV_ASSERT(n + 1 < sizeof(order));
    order[n] = c;
    order[n + 1] = '\0';
}

static void start(void)
{
    order[0] = '\0';
    VV_CHECK_INT(vv_loop_new(&loop), VV_OK);
}

struct end {
    struct vv_io io;
    uint32_t events;
    int calls;
    struct end *victim; /* deleted from within the callback */
    char letter;
};

static void on_event(struct vv_loop *l, struct vv_io *io, uint32_t events)
{
    struct end *e = VV_CONTAINER(io, struct end, io);
    VV_CHECK(vv_loop_current() == l);
    e->events = events;
    e->calls++;
    if (e->letter != 0) {
        note(e->letter);
    }
    if (e->victim != NULL) {
        vv_loop_del(l, &e->victim->io, false);
    }
}

static void pair(struct end *a, struct end *b)
{
    int fd[2];
    VV_CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
    *a = (struct end){.io = {.fn = on_event, .fd = fd[0]}};
    *b = (struct end){.io = {.fn = on_event, .fd = fd[1]}};
}

static void unpair(struct end *a, struct end *b)
{
    vv_loop_del(loop, &a->io, false);
    vv_loop_del(loop, &b->io, false);
    vv_close_fd(&a->io.fd);
    vv_close_fd(&b->io.fd);
}

VV_TEST(loop_reports_each_edge_once)
{
    struct end a, b;
    start();
    pair(&a, &b);
    VV_CHECK_INT(vv_loop_add(loop, &a.io), VV_OK);
    vv_loop_turn(loop, 0);
    VV_CHECK_INT(a.events, VV_IO_WRITE); /* a fresh socket can be written */
    vv_loop_turn(loop, 0);
    VV_CHECK_INT(a.calls, 1); /* still can, but that is no news */
    VV_CHECK_INT(write(b.io.fd, "x", 1), 1);
    vv_loop_turn(loop, 0);
    VV_CHECK_INT(a.calls, 2);
    VV_CHECK((a.events & VV_IO_READ) != 0);
    vv_close_fd(&b.io.fd);
    vv_loop_turn(loop, 0);
    VV_CHECK_INT(a.calls, 3);
    VV_CHECK((a.events & VV_IO_HUP) != 0 && (a.events & VV_IO_RDHUP) != 0);
    VV_CHECK_INT(vv_loop_stats(loop)->events, 3);
    VV_CHECK_INT(vv_loop_stats(loop)->turns, 4);
    unpair(&a, &b);
    vv_loop_free(loop);
}

VV_TEST(loop_drops_fetched_events_of_an_io_deleted_in_the_same_turn)
{
    struct end a, b;
    start();
    pair(&a, &b);
    a.victim = &b;
    b.victim = &a; /* whichever comes first removes the other */
    VV_CHECK_INT(vv_loop_add(loop, &a.io), VV_OK);
    VV_CHECK_INT(vv_loop_add(loop, &b.io), VV_OK);
    vv_loop_turn(loop, 0);
    VV_CHECK_INT(a.calls + b.calls, 1);
    unpair(&a, &b);
    vv_loop_free(loop);
}

struct killer {
    struct vv_timer t;
    struct vv_io *io;
};

static void on_kill(struct vv_loop *l, struct vv_timer *t)
{
    note('t');
    vv_loop_del(l, VV_CONTAINER(t, struct killer, t)->io, false);
}

VV_TEST(loop_runs_timers_before_events_and_a_timer_may_delete_an_io)
{
    struct end a, b;
    struct killer k = {.io = &a.io};
    start();
    pair(&a, &b);
    b.letter = 'b';
    vv_timer_init(&k.t, on_kill);
    VV_CHECK_INT(vv_loop_add(loop, &a.io), VV_OK);
    VV_CHECK_INT(vv_loop_add(loop, &b.io), VV_OK);
    vv_loop_timer_at(loop, &k.t, vv_loop_now(loop));
    const uint64_t until = vv_clock_now() + 2 * VV_MS; /* lets the tick pass without a turn */
    while (vv_clock_now() < until) {
    }
    vv_loop_turn(loop, 0);
    VV_CHECK_STR(order, "tb");
    VV_CHECK_INT(a.calls, 0);
    VV_CHECK_INT(vv_loop_stats(loop)->timers, 1);
    unpair(&a, &b);
    vv_loop_free(loop);
}

static void on_accept(struct vv_loop *l, struct vv_io *io, uint32_t events)
{
    (void)l;
    (void)events;
    (void)io;
    note('L');
}

VV_TEST(loop_asks_a_listener_again_until_it_is_empty)
{
    struct vv_addr a;
    int listener = -1, client = -1, served = -1;
    start();
    VV_CHECK_INT(vv_addr_parse(VV_STR("127.0.0.1:0"), &a), VV_OK);
    VV_CHECK_INT(vv_sock_listen(&a, &(struct vv_listen_options){0}, &listener), VV_OK);
    VV_CHECK_INT(vv_sock_local(listener, &a), VV_OK);
    struct vv_io io = {.fn = on_accept, .fd = listener};
    VV_CHECK_INT(vv_loop_add_listener(loop, &io), VV_OK);
    VV_CHECK_INT(vv_sock_connect(&a, &client), VV_OK);
    vv_loop_turn(loop, VV_SEC);
    vv_loop_turn(loop, 0);
    VV_CHECK_STR(order, "LL"); /* level-triggered */
    VV_CHECK_INT(vv_sock_accept(listener, &served, NULL), VV_OK);
    vv_loop_turn(loop, 0);
    VV_CHECK_STR(order, "LL");
    vv_loop_del(loop, &io, true);
    vv_close_fd(&listener);
    vv_close_fd(&client);
    vv_close_fd(&served);
    vv_loop_free(loop);
}

static struct vv_defer first, second;

static void on_first(struct vv_loop *l, struct vv_defer *d)
{
    (void)d;
    note('1');
    vv_loop_defer(l, &second);
}

static void on_second(struct vv_loop *l, struct vv_defer *d)
{
    (void)l;
    (void)d;
    note('2');
}

VV_TEST(loop_runs_deferred_work_once_and_what_it_defers_in_the_same_turn)
{
    start();
    first = (struct vv_defer){.fn = on_first};
    second = (struct vv_defer){.fn = on_second};
    vv_loop_defer(loop, &first);
    vv_loop_defer(loop, &first);
    vv_loop_turn(loop, VV_SEC); /* does not sleep: there is work */
    VV_CHECK_STR(order, "12");
    vv_loop_turn(loop, 0);
    VV_CHECK_STR(order, "12");
    vv_loop_defer(loop, &first);
    vv_loop_defer_stop(&first);
    vv_loop_defer_stop(&first);
    vv_loop_turn(loop, 0);
    VV_CHECK_STR(order, "12");
    vv_loop_free(loop);
}

VV_TEST(loop_never_starves_when_work_defers_itself)
{
    start();
    first = (struct vv_defer){.fn = on_first};
    second = (struct vv_defer){.fn = on_first}; /* defers itself for ever */
    vv_loop_defer(loop, &first);
    vv_loop_turn(loop, 0);
    VV_CHECK(strlen(order) >= 2 && strlen(order) <= 8);
    vv_loop_defer_stop(&second);
    vv_loop_free(loop);
}

#define MAILS 2000
struct letter {
    struct vv_mail mail;
    unsigned number;
};
static struct letter letters[2][MAILS];
static unsigned next_of[2], arrived;

static void on_mail(struct vv_loop *l, struct vv_mail *mail)
{
    const struct letter *m = VV_CONTAINER(mail, struct letter, mail);
    const unsigned sender = m >= letters[1] ? 1 : 0;
    VV_CHECK_INT(m->number, next_of[sender]); /* each sender's mail keeps its order */
    next_of[sender]++;
    if (++arrived == 2 * MAILS) {
        vv_loop_stop(l);
    }
}

static void sender(void *arg)
{
    struct letter *mine = arg;
    for (unsigned i = 0; i < MAILS; i++) {
        mine[i] = (struct letter){.mail = {.fn = on_mail}, .number = i};
        vv_loop_post(loop, &mine[i].mail);
    }
}

VV_TEST(loop_gets_every_mail_of_other_threads_in_order)
{
    struct vv_thread t[2] = {{.started = false}, {.started = false}};
    start();
    arrived = next_of[0] = next_of[1] = 0;
    for (int i = 0; i < 2; i++) {
        VV_CHECK_INT(vv_thread_start(&t[i], "sender", sender, letters[i]), VV_OK);
    }
    vv_loop_run(loop); /* ends by the last letter, so a lost wake-up hangs the test */
    for (int i = 0; i < 2; i++) {
        vv_thread_join(&t[i]);
    }
    VV_CHECK_INT(vv_loop_stats(loop)->mails, 2 * MAILS);
    vv_loop_free(loop);
}

static void stopper(void *arg)
{
    vv_loop_stop(arg);
}

VV_TEST(loop_stops_from_another_thread_and_runs_again)
{
    struct vv_thread t = {.started = false};
    start();
    for (int i = 0; i < 3; i++) {
        VV_CHECK_INT(vv_thread_start(&t, "stopper", stopper, loop), VV_OK);
        vv_loop_run(loop);
        vv_thread_join(&t);
    }
    vv_loop_free(loop);
}

static void on_tick(struct vv_loop *l, struct vv_timer *t)
{
    VV_CHECK(vv_loop_now(l) >= t->at_ns); /* never early */
    vv_loop_stop(l);
}

VV_TEST(loop_sleeps_until_its_next_timer)
{
    struct vv_timer t;
    start();
    vv_timer_init(&t, on_tick);
    vv_loop_timer_at(loop, &t, vv_loop_now(loop) + 3 * VV_MS);
    vv_loop_run(loop);
    VV_CHECK(vv_loop_stats(loop)->turns <= 4); /* slept instead of spinning */
    VV_CHECK(vv_loop_stats(loop)->busy_ns > 0);
    VV_CHECK(vv_loop_wall(loop) / VV_SEC > 1600000000); /* after September 2020 */
    const uint64_t before = vv_loop_now(loop);
    VV_CHECK(vv_loop_refresh(loop) >= before);
    vv_loop_free(loop);
}

VV_TEST(loop_refuses_what_epoll_cannot_watch)
{
    start();
    struct vv_io io = {.fn = on_accept, .fd = -1};
    VV_CHECK_INT(vv_loop_add(loop, &io), VV_EIO);
    VV_CHECK(!io.added);
    vv_loop_del(loop, &io, false); /* was never added: harmless */
    vv_loop_free(loop);
}

static void on_turned(void *user)
{
    VV_CHECK(user == &loop);
    note('t');
}

static void on_before(void *user)
{
    VV_CHECK(user == &loop);
    note('b');
}

static void on_after(void *user)
{
    VV_CHECK(user == &loop);
    note('a');
}

static void on_note_mail(struct vv_loop *l, struct vv_mail *mail)
{
    (void)l;
    (void)mail;
    note('m');
}

VV_TEST(loop_tells_of_turns_and_of_sleep_that_is_real)
{
    const struct vv_loop_hooks hooks = {
        .turned = on_turned, .before = on_before, .after = on_after, .user = &loop};
    struct vv_mail mail = {.fn = on_note_mail};
    start();
    vv_loop_on_wait(loop, &hooks);
    vv_loop_turn(loop, 0); /* may not wait: no sleep */
    VV_CHECK_STR(order, "t");
    vv_loop_post(loop, &mail);
    vv_loop_turn(loop, VV_MS); /* has work: no sleep, and the turn ends after the work */
    VV_CHECK_STR(order, "tmt");
    vv_loop_turn(loop, VV_MS);
    VV_CHECK_STR(order, "tmtbat");
    vv_loop_on_wait(loop, NULL);
    vv_loop_turn(loop, VV_MS);
    VV_CHECK_STR(order, "tmtbat");
    vv_loop_free(loop);
}
