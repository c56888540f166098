/* src/gateway/jwks.c - a thread, because looking up a name may block for as long as the resolver likes. */
#include "gateway/jwks.h"
#include "base/sb.h"
#include "gateway/jwt.h"
#include "os/thread.h"

#include <curl/curl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define ERROR_BYTES 256
#define TIME_MS 10000L
#define CONNECT_MS 5000L

struct vv_jwks_fetch {
    struct vv_thread thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t asked;
    _Atomic bool stop; /* also read without the lock, by a transfer */
    bool busy, done;
    char *url;
    struct vv_sb body;
    char error[ERROR_BYTES]; /* "": it went well */
};

static size_t take_bytes(char *p, size_t size, size_t count, void *user)
{
    struct vv_sb *body = user;
    if (body->n + size * count > VV_JWKS_BYTES_MAX) {
        return 0; /* ends the transfer */
    }
    vv_sb_add(body, (struct vv_str){p, size * count});
    return body->failed ? 0 : size * count;
}

/* curl asks about once a second whether to go on. */
static int go_on(void *user, curl_off_t total, curl_off_t now, curl_off_t up, curl_off_t up_now)
{
    const struct vv_jwks_fetch *f = user;
    (void)total, (void)now, (void)up, (void)up_now;
    return f->stop;
}

/* An address with a password in it is not for logs: only what curl says about the failure is kept. */
static void fetch(struct vv_jwks_fetch *f, const char *url, struct vv_sb *body,
                  char error[ERROR_BYTES])
{
    CURL *c = curl_easy_init();
    char detail[CURL_ERROR_SIZE] = "";
    error[0] = '\0';
    if (c == NULL) {
        snprintf(error, ERROR_BYTES, "out of memory");
        return;
    }
    (void)curl_easy_setopt(c, CURLOPT_URL, url);
    (void)curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, "https");
    (void)curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
    (void)curl_easy_setopt(c, CURLOPT_MAXREDIRS, 3L);
    (void)curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(c, CURLOPT_FAILONERROR, 1L);
    (void)curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, TIME_MS);
    (void)curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    (void)curl_easy_setopt(c, CURLOPT_USERAGENT, "vivace");
    (void)curl_easy_setopt(c, CURLOPT_ERRORBUFFER, detail);
    (void)curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_bytes);
    (void)curl_easy_setopt(c, CURLOPT_WRITEDATA, body);
    (void)curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    (void)curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, go_on);
    (void)curl_easy_setopt(c, CURLOPT_XFERINFODATA, f);
    const CURLcode code = curl_easy_perform(c);
    if (code != CURLE_OK) {
        snprintf(error, ERROR_BYTES, "%.200s",
                 detail[0] != '\0' ? detail : curl_easy_strerror(code));
    }
    curl_easy_cleanup(c);
}

static void work(void *arg)
{
    struct vv_jwks_fetch *f = arg;
    pthread_mutex_lock(&f->lock);
    while (!f->stop) {
        if (!f->busy || f->done) {
            pthread_cond_wait(&f->asked, &f->lock);
            continue;
        }
        char *url = f->url;
        struct vv_sb body = VV_SB_INIT;
        char error[ERROR_BYTES];
        f->url = NULL;
        pthread_mutex_unlock(&f->lock);
        fetch(f, url, &body, error);
        free(url);
        pthread_mutex_lock(&f->lock);
        f->body = body;
        memcpy(f->error, error, sizeof error);
        f->done = true;
    }
    pthread_mutex_unlock(&f->lock);
}

enum vv_err vv_jwks_fetch_new(struct vv_jwks_fetch **ret)
{
    struct vv_jwks_fetch *f = calloc(1, sizeof *f);
    if (f == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(f);
        return VV_ENOMEM;
    }
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->asked, NULL);
    const enum vv_err err = vv_thread_start(&f->thread, "vv-jwks", work, f);
    if (err != VV_OK) {
        vv_jwks_fetch_free(f);
        return err;
    }
    *ret = f;
    return VV_OK;
}

void vv_jwks_fetch_free(struct vv_jwks_fetch *f)
{
    if (f == NULL) {
        return;
    }
    pthread_mutex_lock(&f->lock);
    f->stop = true;
    pthread_cond_signal(&f->asked);
    pthread_mutex_unlock(&f->lock);
    vv_thread_join(&f->thread);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->asked);
    vv_sb_fini(&f->body);
    free(f->url);
    free(f);
    curl_global_cleanup();
}

bool vv_jwks_fetch_ask(struct vv_jwks_fetch *f, const char *url)
{
    char *copy = strdup(url);
    pthread_mutex_lock(&f->lock);
    const bool free_now = !f->busy && copy != NULL;
    if (free_now) {
        f->url = copy;
        f->busy = true;
        pthread_cond_signal(&f->asked);
    }
    pthread_mutex_unlock(&f->lock);
    if (!free_now) {
        free(copy);
    }
    return free_now;
}

enum vv_err vv_jwks_fetch_take(struct vv_jwks_fetch *f, char **ret_text, size_t *ret_bytes,
                               char *reterr_text)
{
    enum vv_err err = VV_EAGAIN;
    pthread_mutex_lock(&f->lock);
    if (f->done) {
        err = f->error[0] == '\0' && f->body.n > 0 ? VV_OK : VV_EIO;
        snprintf(reterr_text, ERROR_BYTES, "%s",
                 f->error[0] != '\0' ? f->error : "the answer is empty");
        if (err == VV_OK) {
            *ret_bytes = f->body.n;
            *ret_text = vv_sb_take(&f->body);
        } else {
            vv_sb_fini(&f->body);
        }
        f->body = (struct vv_sb)VV_SB_INIT;
        f->busy = f->done = false;
    }
    pthread_mutex_unlock(&f->lock);
    return err;
}
