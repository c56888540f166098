/* tests/unit/acme/test_store.c - what is kept: rights, replacing, locks, accounts, challenges. */
#include "acme/jws.h"
#include "acme/store.h"
#include "os/file.h"
#include "vv_test.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64];

static void fresh(void)
{
    struct vv_sb why = VV_SB_INIT;
    snprintf(dir, sizeof dir, "/tmp/vv-acme-XXXXXX");
    VV_CHECK(mkdtemp(dir) != NULL);
    VV_CHECK_INT(vv_acme_store_open(dir, &why), VV_OK);
    vv_sb_fini(&why);
}

static void gone(void)
{
    char command[96];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    VV_CHECK_INT(system(command), 0);
}

static unsigned mode_of(const char *what)
{
    char path[128];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", dir, what);
    VV_CHECK_INT(stat(path, &st), 0);
    return (unsigned)(st.st_mode & 0777);
}

VV_TEST(directories_and_files_are_for_the_owner_only)
{
    fresh();
    EVP_PKEY *key = NULL;
    struct vv_sb why = VV_SB_INIT;
    VV_CHECK_INT(vv_acme_store_account(dir, &key, &why), VV_OK);
    VV_CHECK_INT(vv_acme_store_cert(dir, "a.example", VV_STR("KEY\n"), VV_STR("CHAIN\n")), VV_OK);
    VV_CHECK_INT(mode_of("certs"), 0700);
    VV_CHECK_INT(mode_of("challenges"), 0700);
    VV_CHECK_INT(mode_of("account.key"), 0600);
    VV_CHECK_INT(mode_of("certs/a.example.pem"), 0600);
    EVP_PKEY_free(key);
    gone();
}

VV_TEST(a_store_that_others_may_read_is_refused)
{
    struct vv_sb why = VV_SB_INIT;
    fresh();
    VV_CHECK_INT(chmod(dir, 0755), 0);
    VV_CHECK_INT(vv_acme_store_open(dir, &why), VV_EACCES);
    VV_CHECK(strstr(why.p, "chmod 700") != NULL);
    vv_sb_fini(&why);
    gone();
}

VV_TEST(missing_parents_are_made)
{
    char deep[128];
    struct vv_sb why = VV_SB_INIT;
    fresh();
    snprintf(deep, sizeof deep, "%s/a/b/c", dir);
    VV_CHECK_INT(vv_acme_store_open(deep, &why), VV_OK);
    VV_CHECK_INT(mode_of("a/b/c/locks"), 0700);
    gone();
}

VV_TEST(the_account_key_is_made_once)
{
    EVP_PKEY *one = NULL, *two = NULL;
    struct vv_sb why = VV_SB_INIT;
    fresh();
    VV_CHECK_INT(vv_acme_store_account(dir, &one, &why), VV_OK);
    VV_CHECK_INT(vv_acme_store_account(dir, &two, &why), VV_OK);
    VV_CHECK_INT(EVP_PKEY_eq(one, two), 1);
    EVP_PKEY_free(one);
    EVP_PKEY_free(two);
    gone();
}

static void *make_account(void *ret)
{
    EVP_PKEY *key = NULL;
    struct vv_sb why = VV_SB_INIT;
    if (vv_acme_store_account(dir, &key, &why) == VV_OK) {
        *(EVP_PKEY **)ret = key;
    }
    vv_sb_fini(&why);
    return NULL;
}

VV_TEST(threads_that_make_the_account_key_at_once_all_get_the_same_one)
{
    for (int round = 0; round < 20; round++) {
        pthread_t id[4];
        EVP_PKEY *key[4] = {NULL};
        fresh();
        for (int i = 0; i < 4; i++) {
            VV_CHECK_INT(pthread_create(&id[i], NULL, make_account, &key[i]), 0);
        }
        for (int i = 0; i < 4; i++) {
            pthread_join(id[i], NULL);
        }
        for (int i = 0; i < 4; i++) {
            VV_CHECK(key[i] != NULL && EVP_PKEY_eq(key[0], key[i]) == 1);
        }
        for (int i = 0; i < 4; i++) {
            EVP_PKEY_free(key[i]);
        }
        gone();
    }
}

VV_TEST(an_account_key_that_cannot_be_used_is_named_and_kept)
{
    char path[128];
    char *text = NULL;
    size_t n;
    EVP_PKEY *key = NULL;
    struct vv_sb why = VV_SB_INIT;
    fresh();
    snprintf(path, sizeof path, "%s/account.key", dir);
    VV_CHECK_INT(vv_file_write(path, VV_STR("mine"), 0600), VV_OK);
    VV_CHECK_INT(vv_acme_store_account(dir, &key, &why), VV_ESYNTAX);
    VV_CHECK(strstr(why.p, "account.key") != NULL);
    VV_CHECK_INT(vv_file_read(path, 100, &text, &n), VV_OK);
    VV_CHECK_STR(text, "mine");
    free(text);
    vv_sb_fini(&why);
    gone();
}

VV_TEST(accounts_are_kept_for_each_authority)
{
    char kid[VV_ACME_URL_MAX];
    fresh();
    VV_CHECK(!vv_acme_store_kid(dir, "https://a/dir", kid));
    VV_CHECK_INT(vv_acme_store_set_kid(dir, "https://a/dir", "https://a/1"), VV_OK);
    VV_CHECK_INT(vv_acme_store_set_kid(dir, "https://b/dir", "https://b/2"), VV_OK);
    VV_CHECK_INT(vv_acme_store_set_kid(dir, "https://a/dir", "https://a/3"), VV_OK);
    VV_CHECK(vv_acme_store_kid(dir, "https://a/dir", kid));
    VV_CHECK_STR(kid, "https://a/3");
    VV_CHECK(vv_acme_store_kid(dir, "https://b/dir", kid));
    VV_CHECK_STR(kid, "https://b/2");
    gone();
}

VV_TEST(a_certificate_is_one_file_and_another_one_another_stamp)
{
    char path[VV_ACME_PATH_MAX];
    char *text = NULL;
    size_t n;
    fresh();
    VV_CHECK_INT(vv_acme_store_stamp(dir, "a.example"), 0);
    VV_CHECK_INT(vv_acme_store_cert(dir, "a.example", VV_STR("KEY\n"), VV_STR("ONE\n")), VV_OK);
    const uint64_t one = vv_acme_store_stamp(dir, "a.example");
    VV_CHECK(one != 0);
    VV_CHECK_INT(vv_acme_store_cert(dir, "a.example", VV_STR("KEY\n"), VV_STR("TWO\n")), VV_OK);
    VV_CHECK(vv_acme_store_stamp(dir, "a.example") != one);
    vv_acme_store_path(dir, "a.example", path);
    VV_CHECK_INT(vv_file_read(path, 100, &text, &n), VV_OK);
    VV_CHECK_STR(text, "KEY\nTWO\n");
    free(text);
    VV_CHECK_INT(vv_acme_store_revoked(dir, "a.example"), VV_OK);
    VV_CHECK_INT(vv_acme_store_stamp(dir, "a.example"), 0);
    VV_CHECK_INT(mode_of("certs/a.example.revoked.pem"), 0600);
    gone();
}

VV_TEST(what_is_remembered_is_recalled)
{
    struct vv_acme_memory m = {.issued_wall_ns = 1800000000 * VV_SEC,
                               .failures = 3,
                               .retry_wall_ns = 42,
                               .authority = "https://a/dir",
                               .error = "said \"no\"\n"},
                          back;
    fresh();
    vv_acme_store_recall(dir, "a.example", &back);
    VV_CHECK_INT(back.failures, 0);
    VV_CHECK_INT(vv_acme_store_remember(dir, "a.example", &m), VV_OK);
    vv_acme_store_recall(dir, "a.example", &back);
    VV_CHECK_INT(back.issued_wall_ns, 1800000000 * VV_SEC);
    VV_CHECK_INT(back.failures, 3);
    VV_CHECK_STR(back.authority, "https://a/dir");
    VV_CHECK_STR(back.error, "said \"no\" ");
    gone();
}

VV_TEST(one_works_on_a_name_and_the_lock_ends_with_its_process)
{
    int fd = -1, other = -1;
    fresh();
    const pid_t child = fork();
    if (child == 0) { /* takes it and dies without letting go */
        _exit(vv_acme_store_lock(dir, "a.example", &fd) == VV_OK ? 0 : 1);
    }
    int status = 1;
    VV_CHECK_INT(waitpid(child, &status, 0), child);
    VV_CHECK_INT(status, 0);
    VV_CHECK_INT(vv_acme_store_lock(dir, "a.example", &fd), VV_OK);
    VV_CHECK_INT(vv_acme_store_lock(dir, "a.example", &other), VV_EAGAIN);
    VV_CHECK_INT(vv_acme_store_lock(dir, "b.example", &other), VV_OK);
    vv_acme_store_unlock(&other);
    vv_acme_store_unlock(&fd);
    VV_CHECK_INT(fd, -1);
    VV_CHECK_INT(vv_acme_store_lock(dir, "a.example", &fd), VV_OK);
    vv_acme_store_unlock(&fd);
    gone();
}

VV_TEST(challenges_are_found_until_they_are_taken_down)
{
    char *text = NULL;
    size_t n;
    fresh();
    VV_CHECK_INT(vv_acme_store_challenge(dir, "token-1", VV_STR("token-1.thumb")), VV_OK);
    VV_CHECK_INT(vv_acme_store_find(dir, "token-1", &text, &n), VV_OK);
    VV_CHECK_STR(text, "token-1.thumb");
    free(text);
    vv_acme_store_unchallenge(dir, "token-1");
    VV_CHECK_INT(vv_acme_store_find(dir, "token-1", &text, &n), VV_ENOENT);
    gone();
}

VV_TEST(challenges_that_a_dead_gateway_left_are_swept_away_after_a_day)
{
    struct stat st;
    char path[128];
    char *text = NULL;
    size_t n;
    fresh();
    VV_CHECK_INT(vv_acme_store_challenge(dir, "token-1", VV_STR("x")), VV_OK);
    snprintf(path, sizeof path, "%s/challenges/token-1", dir);
    VV_CHECK_INT(stat(path, &st), 0);
    const uint64_t made = (uint64_t)st.st_mtime * VV_SEC;
    vv_acme_store_sweep(dir, made + VV_DAY);
    VV_CHECK_INT(vv_acme_store_find(dir, "token-1", &text, &n), VV_OK);
    free(text);
    vv_acme_store_sweep(dir, made + VV_DAY + VV_SEC);
    VV_CHECK_INT(vv_acme_store_find(dir, "token-1", &text, &n), VV_ENOENT);
    gone();
}
