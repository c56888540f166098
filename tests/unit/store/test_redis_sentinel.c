/* tests/unit/store/test_redis_sentinel.c - which master sentinels name, and when they are asked again. Fakes
 * 0 and 1 are sentinels, 2 and 3 servers. */
#include "redis_script.h"

static size_t master; /* whom sentinels name */
static size_t truly;  /* who says of himself that he is it */
static bool unknown, version2, replica_down;

static const char *sentinel(size_t at, const char *words)
{
    static char text[512];
    (void)at;
    if (version2 && strncmp(words, "HELLO", 5) == 0) {
        return "-ERR unknown command `HELLO`\r\n";
    }
    if (strcmp(words, "SENTINEL GET-MASTER-ADDR-BY-NAME main") == 0) {
        snprintf(text, sizeof(text), "*2\r\n$9\r\n127.0.0.1\r\n$5\r\n%05u\r\n", fakes[master].port);
        return unknown ? "_\r\n" : text;
    }
    if (strcmp(words, "SENTINEL REPLICAS main") == 0) {
        const char *flags = replica_down ? "s_down,slave" : "slave";
        snprintf(text, sizeof(text),
                 "*1\r\n%%4\r\n+name\r\n+x\r\n+ip\r\n$9\r\n127.0.0.1\r\n+port\r\n$5\r\n%05u\r\n"
                 "+flags\r\n$%zu\r\n%s\r\n",
                 fakes[5 - master].port, strlen(flags), flags);
        return text;
    }
    return NULL;
}

static const char *everybody(size_t at, const char *words)
{
    if (at < 2) {
        return sentinel(at, words);
    }
    if (strcmp(words, "ROLE") == 0) {
        return at == truly ? NULL : "*2\r\n$5\r\nslave\r\n:0\r\n";
    }
    if (strncmp(words, "SET", 3) == 0 && at != truly) {
        return "-READONLY You can't write against a read only replica.\r\n";
    }
    return NULL;
}

static void begin(struct vv_redis_conf conf)
{
    begin_fakes(4);
    script = everybody;
    master = truly = 2;
    unknown = version2 = replica_down = false;
    begin_redis("redis+sentinel://127.0.0.1:%u,127.0.0.1:%u/main", conf);
}

static uint64_t share(void)
{
    return vv_redis_share(redis, VV_STR("k"));
}

VV_TEST(redis_sentinel_asks_who_the_master_is_and_the_master_too)
{
    begin((struct vv_redis_conf){0});
    VV_CHECK_INT(set("k"), VV_OK);
    VV_CHECK_INT(get("k", 0), VV_OK);
    VV_CHECK_STR(fakes[2].log, "ROLE; SET k v; GET k; ");
    UNTIL(heard(0, "SUBSCRIBE +switch-master") == 1);
    VV_CHECK_INT(heard(0, "GET-MASTER-ADDR-BY-NAME main"), 1);
    VV_CHECK_STR(fakes[1].log, "");
    finish();
}

VV_TEST(redis_sentinel_asks_the_next_one)
{
    begin((struct vv_redis_conf){0});
    end_fake(0);
    VV_CHECK_INT(set("k"), VV_OK);
    VV_CHECK_INT(heard(1, "GET-MASTER-ADDR-BY-NAME main"), 1);
    finish();
}

VV_TEST(redis_sentinel_refuses_when_nobody_knows_a_master)
{
    struct asked a;
    begin((struct vv_redis_conf){0});
    unknown = true;
    VV_CHECK_INT(set("k"), VV_EREFUSED);
    VV_CHECK_INT(heard(0, "GET-MASTER"), 1);
    VV_CHECK_INT(heard(1, "GET-MASTER"), 1);
    ask(&a, "GET", "k", VV_REDIS_READ);
    VV_CHECK_INT(a.ends, 1); /* at once from now on */
    unknown = false;
    UNTIL(heard(0, "GET-MASTER") + heard(1, "GET-MASTER") > 2);
    UNTIL(heard(0, "SUBSCRIBE") + heard(1, "SUBSCRIBE") == 1);
    VV_CHECK_INT(set("k"), VV_OK);
    finish();
}

VV_TEST(redis_sentinel_does_not_write_to_a_master_that_says_it_is_none)
{
    begin((struct vv_redis_conf){0});
    truly = 3; /* the sentinels do not know yet */
    VV_CHECK_INT(set("k"), VV_EREFUSED);
    VV_CHECK_INT(heard(2, "SET"), 0);
    master = 3;
    for (int i = 0; i < 100 && set("k") != VV_OK; i++) {
        pass_ms(20);
    }
    VV_CHECK_INT(heard(3, "SET"), 1);
    finish();
}

VV_TEST(redis_sentinel_asks_again_when_the_master_is_readonly)
{
    begin((struct vv_redis_conf){.tracking = true});
    VV_CHECK_INT(set("k"), VV_OK);
    VV_CHECK(share() != 0);
    const uint64_t before = share();
    master = truly = 3;
    VV_CHECK_INT(set("k"), VV_OK); /* it was not carried out there, so it may be here */
    VV_CHECK_INT(heard(2, "SET"), 2);
    VV_CHECK_INT(heard(3, "SET"), 1);
    UNTIL(connections(2) == 0); /* nothing of it is watched */
    VV_CHECK_INT(lost_count, 1);
    VV_CHECK(share() != before);
    finish();
}

VV_TEST(redis_sentinel_hears_of_another_master)
{
    char news[256], text[128];
    begin((struct vv_redis_conf){0});
    VV_CHECK_INT(get("k", 0), VV_OK);
    UNTIL(heard(0, "SUBSCRIBE") == 1);
    pass_ms(5);
    master = truly = 3;
    snprintf(text, sizeof(text), "main 127.0.0.1 %u 127.0.0.1 %u", fakes[2].port, fakes[3].port);
    snprintf(news, sizeof(news), ">3\r\n$7\r\nmessage\r\n$14\r\n+switch-master\r\n$%zu\r\n%s\r\n",
             strlen(text), text);
    for (size_t i = 0; i < PEERS; i++) {
        if (fakes[0].peer[i].fd >= 0) {
            VV_CHECK(send(fakes[0].peer[i].fd, news, strlen(news), MSG_NOSIGNAL) > 0);
        }
    }
    UNTIL(heard(0, "GET-MASTER") == 2);
    UNTIL(connections(2) == 0);
    VV_CHECK_INT(set("k"), VV_OK);
    VV_CHECK_STR(fakes[3].log, "ROLE; SET k v; ");
    finish();
}

VV_TEST(redis_sentinel_reads_from_replicas_that_are_up)
{
    begin((struct vv_redis_conf){.replicas = true});
    VV_CHECK_INT(get("k", 0), VV_OK); /* before they are known: the master */
    UNTIL(heard(0, "SENTINEL REPLICAS main") == 1);
    pass_ms(5);
    VV_CHECK_INT(get("k", 0), VV_OK);
    VV_CHECK_INT(get("k", VV_REDIS_MASTER), VV_OK);
    VV_CHECK_STR(fakes[3].log, "ROLE; GET k; ");
    end_fake(2); /* reads go on */
    VV_CHECK_INT(get("k", 0), VV_OK);
    VV_CHECK_INT(heard(3, "GET k"), 2);
    finish();
    begin((struct vv_redis_conf){.replicas = true});
    replica_down = true;
    VV_CHECK_INT(get("k", 0), VV_OK);
    UNTIL(heard(0, "SENTINEL REPLICAS main") == 1);
    pass_ms(5);
    VV_CHECK_INT(get("k", 0), VV_OK);
    VV_CHECK_STR(fakes[3].log, "");
    finish();
}

VV_TEST(redis_sentinel_of_version_2_is_asked_every_second)
{
    begin((struct vv_redis_conf){0});
    version2 = true;
    VV_CHECK_INT(get("k", 0), VV_OK);
    UNTIL(heard(0, "GET-MASTER") == 2);
    VV_CHECK_INT(heard(0, "SUBSCRIBE"), 0);
    finish();
}

VV_TEST(redis_sentinel_listens_to_another_one_when_its_teller_goes)
{
    begin((struct vv_redis_conf){0});
    VV_CHECK_INT(get("k", 0), VV_OK);
    UNTIL(heard(0, "SUBSCRIBE") == 1);
    end_fake(0);
    UNTIL(heard(1, "SUBSCRIBE") == 1);
    VV_CHECK_INT(get("k", 0), VV_OK);
    finish();
}
