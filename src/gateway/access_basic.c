/* src/gateway/access_basic.c - checks a password on the blocking pool: it takes tens of milliseconds on
 * purpose, which no loop can spare. A few at a time for each worker, so that whoever sends wrong passwords
 * all day does not have the machine to itself; a good one is remembered by its hash. */
#include "base/base64.h"
#include "gateway/access_int.h"
#include "gateway/session.h"

#include <openssl/crypto.h>
#include <stdlib.h>

#define JOBS_MAX 8               /* at once, per worker */
#define REMEMBER_S INT64_C(3600) /* then the password is checked again */

struct basic_job {
    struct vv_job job;
    struct vv_list node;   /* in the seat */
    struct vv_exchange *x; /* NULL: it has ended meanwhile */
    struct vv_seat *seat;
    struct vv_user_secret secret;
    struct vv_seen seen; /* what is remembered when the password fits */
    bool known, good;
    size_t n;
    char password[VV_PASSWORD_MAX];
};

static void job_free(struct basic_job *j)
{
    vv_list_del(&j->node);
    j->seat->job_count--;
    OPENSSL_cleanse(j->password, sizeof j->password);
    free(j);
}

void vv_access_basic_forget(struct vv_seat *s)
{
    VV_LIST_EACH (it, &s->jobs) {
        job_free(VV_LIST_ENTRY(it, struct basic_job, node));
    }
}

static void work(struct vv_job *job)
{
    struct basic_job *j = VV_CONTAINER(job, struct basic_job, job);
    const struct vv_str password = {j->password, j->n};
    /* For a name that nobody has just as long, so that time does not tell the names. */
    j->good = vv_user_verify(j->known ? &j->secret : &vv_user_nobody, password) && j->known;
}

static void done(struct vv_loop *loop, struct vv_job *job)
{
    struct basic_job *j = VV_CONTAINER(job, struct basic_job, job);
    struct vv_exchange *x = j->x;
    const bool good = j->good;
    (void)loop;
    if (good) {
        vv_access_remember(j->seat, &j->seen);
    }
    job_free(j);
    if (x == NULL) {
        return;
    }
    x->action = NULL;
    x->state = NULL;
    if (good) {
        vv_exchange_run_route(x); /* and finds what was remembered */
    } else {
        vv_access_refuse_wrong(x, "the name or the password is wrong");
    }
}

static void cancel(struct vv_exchange *x)
{
    struct basic_job *j = x->state;
    j->x = NULL;
    x->state = NULL;
}

static const struct vv_action action_password = {.name = "password", .cancel = cancel};

enum vv_basic vv_access_basic(struct vv_exchange *x, struct vv_seat *s, const struct vv_tables *t,
                              struct vv_str credentials, const uint8_t hash[VV_KEY_HASH])
{
    const struct vv_users *users = vv_tables_get(t, PART_USERS);
    char plain[VV_KEY_NAME_MAX + 1 + VV_PASSWORD_MAX];
    size_t n = 0;
    if (vv_base64_decode(VV_BASE64, credentials, plain, sizeof plain, &n) != VV_OK) {
        return BASIC_MALFORMED;
    }
    struct vv_str password = {plain, n};
    const struct vv_str name = vv_str_cut(&password, ':');
    struct basic_job *j = NULL;
    if (password.p == NULL || password.n > VV_PASSWORD_MAX || name.n > VV_KEY_NAME_MAX) {
        OPENSSL_cleanse(plain, sizeof plain);
        return BASIC_MALFORMED;
    }
    if (s->job_count < JOBS_MAX && x->w->pool != NULL) {
        j = calloc(1, sizeof *j);
    }
    if (j == NULL) {
        OPENSSL_cleanse(plain, sizeof plain);
        return BASIC_BUSY;
    }
    const struct vv_user *u = users != NULL ? vv_users_find(users, name) : NULL;
    j->job = (struct vv_job){.work = work, .done = done};
    j->x = x;
    j->seat = s;
    j->known = u != NULL;
    j->seen.by = VV_BY_BASIC;
    j->seen.tables = t->generation;
    j->seen.runtime = x->rt->generation;
    j->seen.until_s = (int64_t)(vv_loop_wall(x->w->loop) / VV_SEC) + REMEMBER_S;
    memcpy(j->seen.hash, hash, VV_KEY_HASH);
    if (u != NULL) {
        j->secret = u->secret;
        memcpy(j->seen.name, u->name, strlen(u->name) + 1);
        memcpy(j->seen.plan, u->plan != NULL ? u->plan : "",
               u->plan != NULL ? strlen(u->plan) + 1 : 1);
    }
    j->n = password.n;
    memcpy(j->password, password.p, password.n);
    OPENSSL_cleanse(plain, sizeof plain);
    vv_list_push_back(&s->jobs, &j->node);
    s->job_count++;
    if (vv_pool_submit(x->w->pool, x->w->loop, &j->job) != VV_OK) {
        job_free(j);
        return BASIC_BUSY;
    }
    x->action = &action_password;
    x->state = j;
    return BASIC_WAITS;
}
