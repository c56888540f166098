/* tests/unit/store/test_redis_faults.c - a store over a real redis-server that refuses, hangs, loads, is
 * full or wants to be asked properly. */
#include "redis_real.h"

#include "os/clock.h"
#include "os/tls_local.h"

#include <fcntl.h>

static const char *first_word(const char *text)
{
    static char word[32];
    snprintf(word, sizeof word, "%.*s", (int)strcspn(text, " "), text);
    return word;
}

VV_TEST(faults_of_a_command_are_answers)
{
    const struct vv_redis_conf conf = start_real(NULL);
    struct vv_redis_stats s;
    open_redis(&conf);
    VV_CHECK_STR(other_says("LPUSH l a"), ":1\r\n");
    VV_CHECK_STR(first_word(answer_of("GET l", VV_REDIS_READ)), "WRONGTYPE");
    VV_CHECK_STR(other_says("CONFIG SET maxmemory 1"), "+OK\r\n");
    VV_CHECK_STR(first_word(answer_of("SET k v", 0)), "OOM");
    VV_CHECK_STR(other_says("CONFIG SET maxmemory 0"), "+OK\r\n");
    VV_CHECK_STR(other_says("REPLICAOF 127.0.0.1 1"), "+OK\r\n");
    VV_CHECK_STR(first_word(answer_of("SET k v", 0)), "READONLY");
    VV_CHECK_STR(answer_of("GET k", VV_REDIS_READ), "<null>");
    VV_CHECK_STR(other_says("CONFIG SET replica-serve-stale-data no"), "+OK\r\n");
    VV_CHECK_STR(first_word(answer_of("GET k", VV_REDIS_READ)), "MASTERDOWN");
    VV_CHECK_STR(other_says("REPLICAOF NO ONE"), "+OK\r\n");
    VV_CHECK_STR(answer_of("SET k v", 0), "OK");
    vv_redis_stats(redis, &s);
    VV_CHECK_INT(s.errors, 2); /* READONLY and MASTERDOWN speak of the server */
    VV_CHECK_INT(s.reconnects, 0);
    stop_real();
}

VV_TEST(faults_hanging_server_costs_an_operation_its_deadline_then_nothing)
{
    struct vv_redis_conf conf = start_real(NULL);
    struct asked a[5] = {0};
    conf.call_ns = 50 * VV_MS;
    conf.tracking = false;
    open_redis(&conf);
    UNTIL(strcmp(answer_of("SET k 1", 0), "OK") == 0);
    VV_CHECK_INT(kill(server, SIGSTOP), 0);
    const uint64_t from_ns = vv_loop_refresh(loop);
    for (size_t i = 0; i < 5; i++) {
        VV_CHECK_INT(ask_for(&a[i], "GET k", VV_REDIS_READ), VV_OK);
    }
    UNTIL(a[4].ends == 1);
    VV_CHECK_INT(a[4].err, VV_ETIMEOUT);
    VV_CHECK(vv_loop_now(loop) - from_ns >= 50 * VV_MS);
    VV_CHECK(vv_loop_now(loop) - from_ns < 2 * VV_SEC); /* a few ms, on a busy machine more */
    VV_CHECK_INT(ask_for(&a[0], "GET k", VV_REDIS_READ), VV_EREFUSED); /* five in a row */
    VV_CHECK(!vv_redis_up(redis, VV_STR("k"), vv_loop_now(loop)));
    VV_CHECK_INT(kill(server, SIGCONT), 0);
    UNTIL(strcmp(answer_of("GET k", VV_REDIS_READ), "1") == 0); /* after recover_ns */
    stop_real();
}

VV_TEST(faults_loading_server_is_not_waited_for)
{
    static const char *const extra[] = {"--enable-debug-command",
                                        "yes",
                                        "--key-load-delay",
                                        "2000",
                                        "--loading-process-events-interval-bytes",
                                        "1024",
                                        NULL};
    struct vv_redis_conf conf = start_real(extra);
    char words[64];
    conf.recover_ns = 50 * VV_MS;
    for (int i = 0; i < 400; i++) { /* 2 ms each when loaded again */
        snprintf(words, sizeof words, "SET k%d %0*d", i, 20, i);
        VV_CHECK_STR(other_says(words), "+OK\r\n");
    }
    open_redis(&conf);
    VV_CHECK_STR(answer_of("GET none", VV_REDIS_READ), "<null>");
    VV_CHECK_INT(send(other, "DEBUG RELOAD\r\n", 14, MSG_NOSIGNAL), 14);
    bool loading =
        false; /* it may be over before it is seen on a fast machine: then nothing is shown */
    for (int i = 0; i < 200 && !loading; i++) {
        loading = strcmp(first_word(answer_of("GET k1", VV_REDIS_READ)), "LOADING") == 0;
    }
    UNTIL(strlen(answer_of("GET k1", VV_REDIS_READ)) == 20);
    stop_real();
}

VV_TEST(faults_of_access_are_told)
{
    static const char *const extra[] = {"--user", "app", "on", ">pw", "~*", "&*", "+@all", NULL};
    struct vv_redis_conf conf = start_real(extra);
    struct vv_sb out = VV_SB_INIT;
    struct vv_json j;
    strcpy(conf.url.user, "app");
    strcpy(conf.url.password, "wrong");
    open_redis(&conf);
    VV_CHECK_STR(answer_of("GET k", VV_REDIS_READ), "VV_EREFUSED");
    vv_json_init(&j, &out);
    vv_redis_json(redis, &j);
    VV_CHECK(strstr(out.p, "WRONGPASS") != NULL);
    vv_sb_fini(&out);
    close_redis();
    strcpy(conf.url.password, "pw");
    conf.url.db = 3;
    open_redis(&conf);
    VV_CHECK_STR(answer_of("ACL WHOAMI", VV_REDIS_READ), "app");
    VV_CHECK(strstr(answer_of("CLIENT LIST", VV_REDIS_READ), "id=") != NULL);
    VV_CHECK_STR(answer_of("SET k v", 0), "OK");
    VV_CHECK_STR(other_says("SELECT 3"), "+OK\r\n");
    VV_CHECK_STR(other_says("GET k"), "$1\r\nv\r\n");
    stop_real();
}

VV_TEST(faults_none_with_ten_thousand_operations_at_once)
{
    enum { COUNT = 10000 };
    const struct vv_redis_conf conf = start_real(NULL);
    struct asked *a = calloc(COUNT, sizeof *a);
    struct vv_redis_stats s;
    char words[64];
    VV_CHECK(a != NULL);
    open_redis(&conf);
    VV_CHECK_STR(answer_of("PING", VV_REDIS_READ), "PONG");
    for (int i = 0; i < COUNT; i++) {
        snprintf(words, sizeof words, i % 2 == 0 ? "SET k%d v%d" : "GET k%d", i / 2, i / 2);
        VV_CHECK_INT(ask_for(&a[i], words, i % 2 == 0 ? 0u : VV_REDIS_READ), VV_OK);
    }
    UNTIL(a[COUNT - 1].ends == 1);
    for (int i = 0; i < COUNT; i++) {
        snprintf(words, sizeof words, i % 2 == 0 ? "OK" : "v%d", i / 2);
        VV_CHECK_STR(a[i].text, words);
    }
    vv_redis_stats(redis, &s);
    VV_CHECK_INT(s.ops, COUNT + 1);
    VV_CHECK_INT(s.errors + s.timeouts + s.refused, 0);
    free(a);
    stop_real();
}

static uint64_t largest;
static unsigned pauses;

static void large_item(struct vv_redis_op *op, const struct vv_resp_item *it)
{
    struct asked *a = VV_CONTAINER(op, struct asked, op);
    a->bytes += it->text.n;
    largest = it->text.n > largest ? it->text.n : largest;
    if (it->first || a->bytes % 7 == 0) {
        vv_redis_pause(op);
        pauses++;
    }
}

VV_TEST(faults_none_with_fifty_megabytes_and_a_slow_consumer)
{
    const size_t n = 50 * VV_MIB;
    char *value = calloc(1, n);
    struct vv_redis_conf conf = start_real(NULL);
    static struct asked set, get;
    conf.ping_ns = 100 * VV_SEC;
    open_redis(&conf);
    VV_CHECK(value != NULL);
    const struct vv_str args[] = {VV_STR("SET"), VV_STR("k"), {value, n}};
    const struct vv_str get_args[] = {VV_STR("GET"), VV_STR("k")};
    set = (struct asked){.op = {.item = asked_item,
                                .end = asked_end,
                                .key = args[1],
                                .args = args,
                                .args_count = 3,
                                .flags = VV_REDIS_TRACK}};
    get = (struct asked){.op = {.item = large_item,
                                .end = asked_end,
                                .key = args[1],
                                .args = get_args,
                                .args_count = 2,
                                .flags = VV_REDIS_READ | VV_REDIS_TRACK}};
    VV_CHECK_INT(vv_redis_do(redis, &set.op), VV_OK);
    UNTIL(set.ends == 1);
    VV_CHECK_STR(set.text, "OK");
    free(value);
    VV_CHECK_INT(vv_redis_do(redis, &get.op), VV_OK);
    for (int i = 0; i < 20000 && get.ends == 0; i++) {
        vv_loop_turn(loop, VV_MS);
        vv_redis_resume(&get.op);
    }
    VV_CHECK_INT(get.ends, 1);
    VV_CHECK_INT(get.bytes, n);
    VV_CHECK(pauses > 0);
    VV_CHECK(largest <= 65536); /* the connection's buffer: it is never kept whole */
    VV_CHECK_INT(gone_count, 0);
    stop_real();
}

/* ----------------------------------------------------------------------- TLS */

static void put_file(const char *name, const char *text)
{
    char path[100];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    const int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    VV_CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

static uint16_t free_port(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof in;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    VV_CHECK(bind(fd, (struct sockaddr *)&in, len) == 0);
    VV_CHECK_INT(getsockname(fd, (struct sockaddr *)&in, &len), 0);
    close(fd);
    return ntohs(in.sin_port);
}

/* A certificate of the authority, its files in the folder. */
static void make_files(const char *cert, const char *key, const struct vv_tls_pem *issuer,
                       bool client, struct vv_tls_pem *ret)
{
    const uint64_t now = vv_clock_wall();
    const char *const name = "localhost";
    const struct vv_tls_make make = {.subject = "Test",
                                     .names = &name,
                                     .name_count = issuer != NULL,
                                     .not_before_wall_ns = now - VV_DAY,
                                     .not_after_wall_ns = now + VV_DAY,
                                     .authority = issuer == NULL,
                                     .client = client,
                                     .issuer = issuer};
    VV_CHECK_INT(vv_tls_make(&make, ret), VV_OK);
    put_file(cert, ret->cert);
    put_file(key, ret->key);
}

VV_TEST(faults_none_over_tls_and_certificates_are_checked)
{
    struct vv_redis_conf conf = start_real(NULL);
    struct vv_tls_pem ca = {0}, pem = {0}, ours = {0};
    char words[512], file[3][100];
    static const char *const names[3] = {"ca.pem", "client.pem", "client-key.pem"};
    make_files("ca.pem", "ca-key.pem", NULL, false, &ca);
    make_files("cert.pem", "key.pem", &ca, false, &pem);
    make_files("client.pem", "client-key.pem", &ca, true, &ours);
    for (size_t i = 0; i < 3; i++) {
        snprintf(file[i], sizeof file[i], "%s/%s", folder, names[i]);
    }
    conf.url.host[0].port = free_port();
    snprintf(words, sizeof words,
             "CONFIG SET tls-cert-file cert.pem tls-key-file key.pem tls-ca-cert-file ca.pem "
             "tls-port %d",
             conf.url.host[0].port);
    if (strstr(other_says(words), "OK") == NULL) {
        stop_real();
        skip(); /* a redis-server without TLS */
    }
    conf.url.is_unix = false;
    conf.url.tls = true;
    strcpy(conf.url.host[0].name, "localhost");
    conf.ca_file = file[0];
    open_redis(&conf);
    VV_CHECK_STR(answer_of("GET k", VV_REDIS_READ), "VV_EREFUSED"); /* it wants a certificate */
    close_redis();
    conf.cert_file = file[1];
    conf.key_file = file[2];
    open_redis(&conf);
    VV_CHECK_STR(answer_of("SET k v", VV_REDIS_TRACK), "OK");
    VV_CHECK_STR(read_of("GET k"), "v");
    VV_CHECK(other_says("SET k w") != NULL);
    UNTIL(gone_count == 1);
    VV_CHECK_STR(answer_of("SETRANGE big 3000000 x", 0), "3000001");
    static struct asked a;
    a.op.timeout_ns = 0;
    VV_CHECK_INT(ask_for(&a, "GET big", VV_REDIS_READ), VV_OK);
    UNTIL(a.ends == 1);
    VV_CHECK_INT(a.bytes, 3000001);
    char *value = calloc(1, 4 * VV_MIB); /* more than TLS takes at once, either way */
    const struct vv_str args[] = {VV_STR("SET"), VV_STR("big"), {value, 4 * VV_MIB}};
    a = (struct asked){
        .op = {
            .item = asked_item, .end = asked_end, .key = args[1], .args = args, .args_count = 3}};
    VV_CHECK_INT(vv_redis_do(redis, &a.op), VV_OK);
    free(value);
    UNTIL(a.ends == 1);
    VV_CHECK_STR(a.text, "OK");
    VV_CHECK_STR(answer_of("STRLEN big", VV_REDIS_READ), "4194304");
    close_redis();
    conf.tls_name = "example.test";
    open_redis(&conf);
    VV_CHECK_STR(answer_of("GET k", VV_REDIS_READ), "VV_EREFUSED"); /* not its name */
    close_redis();
    conf.tls_insecure = true;
    open_redis(&conf);
    VV_CHECK_STR(answer_of("GET k", VV_REDIS_READ), "w");
    vv_tls_pem_fini(&ca);
    vv_tls_pem_fini(&pem);
    vv_tls_pem_fini(&ours);
    stop_real();
}
