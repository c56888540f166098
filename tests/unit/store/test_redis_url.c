/* tests/unit/store/test_redis_url.c - addresses of stores as text. */
#include "store/redis_url.h"
#include "vv_test.h"

VV_TEST(redis_url_reads_what_is_right_and_shows_it_without_secrets)
{
    static const struct {
        const char *text, *shown;
        enum vv_redis_kind kind;
        size_t hosts;
        const char *user, *password, *master;
    } cases[] = {
        {"redis://h", "redis://h:6379", VV_REDIS_SINGLE, 1, "", "", ""},
        {"redis://h/", "redis://h:6379", VV_REDIS_SINGLE, 1, "", "", ""},
        {"rediss://:p%40ss@h:1/3", "rediss://h:1/3", VV_REDIS_SINGLE, 1, "", "p@ss", ""},
        {"redis://app:a%25b@10.0.0.1", "redis://10.0.0.1:6379", VV_REDIS_SINGLE, 1, "app", "a%b",
         ""},
        {"redis://[::1]:6380,h2,[2001:db8::2]/1", "redis://[::1]:6380,h2:6379,[2001:db8::2]:6379/1",
         VV_REDIS_RING, 3, "", "", ""},
        {"redis+cluster://a:b@h1:7000,h2:7001", "redis+cluster://h1:7000,h2:7001", VV_REDIS_CLUSTER,
         2, "a", "b", ""},
        {"rediss+cluster://h/0", "rediss+cluster://h:6379", VV_REDIS_CLUSTER, 1, "", "", ""},
        {"redis+sentinel://h1,h2:26380/main/2", "redis+sentinel://h1:26379,h2:26380/main/2",
         VV_REDIS_SENTINEL, 2, "", "", "main"},
        {"redis+unix:///run/redis.sock", "redis+unix:///run/redis.sock", VV_REDIS_SINGLE, 1, "", "",
         ""},
        {"redis+unix://u:p@/run/r@1.sock?db=4", "redis+unix:///run/r@1.sock?db=4", VV_REDIS_SINGLE,
         1, "u", "p", ""},
    };
    for (size_t i = 0; i < VV_COUNT(cases); i++) {
        struct vv_redis_url u;
        char why[256] = "", shown[512];
        if (vv_redis_url_read(vv_str_from(cases[i].text), &u, why) != VV_OK) {
            fail_msg("%s: %s", cases[i].text, why);
        }
        shown[vv_redis_url_show(&u, shown, sizeof shown - 1)] = '\0';
        VV_CHECK_STR(shown, cases[i].shown);
        VV_CHECK_INT(u.kind, cases[i].kind);
        VV_CHECK_INT(u.hosts, cases[i].hosts);
        VV_CHECK_STR(u.user, cases[i].user);
        VV_CHECK_STR(u.password, cases[i].password);
        VV_CHECK_STR(u.master, cases[i].master);
    }
}

VV_TEST(redis_url_says_what_would_be_right)
{
    static const struct {
        const char *text, *part; /* of the sentence */
    } cases[] = {
        {"", "It begins with redis://"},
        {"http://h", "It begins with redis://"},
        {"redis://", "A host is missing"},
        {"redis://h,", "A host is missing"},
        {"redis://h:0", "1 to 65535"},
        {"redis://h:65536", "1 to 65535"},
        {"redis://h:", "1 to 65535"},
        {"redis://::1", "in brackets"},
        {"redis://[::1", "missing"},
        {"redis://[]", "IPv6"},
        {"redis://[h]", "IPv6"},
        {"redis://[127.0.0.1]", "IPv6"},
        {"redis://[::1]x", "Behind the ]"},
        {"redis://secret@h", "user:password"},
        {"redis://u:@h", "needs a password"},
        {"redis://u:%zz@h", "%25"},
        {"redis://u:%00x@h", "%25"},
        {"redis://h/x", "number of the database"},
        {"redis://h/99999999999", "number of the database"},
        {"redis://h h", "a space"},
        {"redis://h?x=1", "letters, digits"},
        {"redis://h,h:6379", "twice"},
        {"redis://a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q", "16 hosts"},
        {"redis+cluster://h/1", "database 0 only"},
        {"redis+sentinel://h", "name of the master is missing"},
        {"redis+sentinel://h/", "name of the master is missing"},
        {"redis+sentinel://h/m/x", "number of the database"},
        {"redis+sentinel://h/%02", "name of a master"},
        {"redis+unix://run/s", "absolute"},
        {"redis+unix:///run/s?x=1", "?db="},
        {"redis+unix:///run/s?db=x", "number of the database"},
    };
    for (size_t i = 0; i < VV_COUNT(cases); i++) {
        struct vv_redis_url u = {.hosts = 77};
        char why[256] = "";
        VV_CHECK_INT(vv_redis_url_read(vv_str_from(cases[i].text), &u, why), VV_ESYNTAX);
        if (strstr(why, cases[i].part) == NULL) {
            fail_msg("%s: %s", cases[i].text, why);
        }
        VV_CHECK(strstr(why, "secret") == NULL);
        VV_CHECK_INT(u.hosts, 77); /* failing changes nothing */
    }
}

VV_TEST(redis_url_has_room_for_long_names_and_no_more)
{
    char text[700], why[256];
    struct vv_redis_url u;
    memset(text, 'a', sizeof text);
    memcpy(text, "redis://", 8);
    VV_CHECK_INT(vv_redis_url_read((struct vv_str){text, 8 + 255}, &u, why), VV_OK);
    VV_CHECK_INT(vv_redis_url_read((struct vv_str){text, 8 + 256}, &u, why), VV_ESYNTAX);
    memcpy(text, "redis://:", 9);
    memcpy(text + 9 + 511, "@h", 2); /* a password of 511 */
    VV_CHECK_INT(vv_redis_url_read((struct vv_str){text, 9 + 511 + 2}, &u, why), VV_OK);
    VV_CHECK_INT(strlen(u.password), 511);
    memcpy(text + 9 + 511, "a@h", 3);
    VV_CHECK_INT(vv_redis_url_read((struct vv_str){text, 9 + 512 + 2}, &u, why), VV_ESYNTAX);
}
