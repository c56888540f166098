/* src/store/redis_greet.c - the first words on a connection. HELLO goes first and alone: only its
 * answer tells whether AUTH has to be said in the words of version 2. */
#include "store/redis_conn_int.h"

#include <stdio.h>

static enum vv_err second(struct vv_redis_conn *c, bool auth);

static void remember(struct vv_redis_conn *c, struct vv_str text)
{
    const size_t n = text.n < sizeof(c->refusal) ? text.n : sizeof(c->refusal) - 1;
    memcpy(c->refusal, text.p, n);
    c->refusal[n] = '\0';
}

static void on_item(struct vv_redis_call *call, const struct vv_resp_item *it)
{
    struct vv_redis_conn *c = call->conn;
    if (it->depth == 0 && it->type == VV_RESP_ERROR && !c->refused) {
        c->refused = true;
        remember(c, it->text);
    }
}

static enum vv_err refusal_err(const struct vv_redis_conn *c)
{
    const enum vv_resp_error e = vv_resp_error_of(vv_str_from(c->refusal));
    if (e == VV_RESP_E_LOADING) {
        return VV_EAGAIN;
    }
    const bool auth = vv_str_starts(vv_str_from(c->refusal), VV_STR("ERR AUTH")) ||
                      vv_str_starts(vv_str_from(c->refusal), VV_STR("ERR invalid password"));
    return auth || vv_resp_error_blame(e) == VV_RESP_BLAME_ACCESS ? VV_EACCES : VV_EIO;
}

static void on_second(struct vv_redis_call *call, enum vv_err err)
{
    struct vv_redis_conn *c = call->conn;
    if (err != VV_OK) {
        return vv_redis_conn_fail(c, err);
    }
    if (--c->greets > 0) {
        return;
    }
    if (c->refused) {
        return vv_redis_conn_fail(c, refusal_err(c));
    }
    vv_redis_conn_ready(c);
}

static void on_hello(struct vv_redis_call *call, enum vv_err err)
{
    struct vv_redis_conn *c = call->conn;
    if (err != VV_OK) {
        return vv_redis_conn_fail(c, err);
    }
    bool auth = false;
    if (c->refused) {
        const enum vv_resp_error e = vv_resp_error_of(vv_str_from(c->refusal));
        const bool old = e == VV_RESP_E_NOPROTO ||
                         vv_str_starts(vv_str_from(c->refusal), VV_STR("ERR unknown command"));
        if (!old) {
            return vv_redis_conn_fail(c, refusal_err(c));
        }
        c->refused = false;
        c->refusal[0] = '\0';
        auth = true;
    } else {
        c->version = 3;
    }
    err = second(c, auth);
    if (err != VV_OK) {
        vv_redis_conn_fail(c, err);
    }
}

static struct vv_redis_call *fresh(struct vv_redis_conn *c, unsigned i,
                                   void (*end)(struct vv_redis_call *, enum vv_err))
{
    c->greet[i] = (struct vv_redis_call){
        .item = on_item, .end = end, .timeout_ns = c->conf.connect_ns, .conn = c};
    return &c->greet[i];
}

/* AUTH where HELLO did not do it, SELECT where it is not 0. */
static enum vv_err second(struct vv_redis_conn *c, bool auth)
{
    struct vv_str args[3] = {VV_STR("AUTH")};
    size_t n = 1;
    enum vv_err err = VV_OK;
    char db[16];
    c->greets = 0;
    if (auth && c->password[0] != '\0') {
        if (c->user[0] != '\0') {
            args[n++] = vv_str_from(c->user);
        }
        args[n++] = vv_str_from(c->password);
        err = vv_redis_conn_put(c, fresh(c, 1, on_second), args, n);
        c->greets++;
    }
    if (err == VV_OK && c->conf.db != 0) {
        snprintf(db, sizeof(db), "%u", c->conf.db);
        args[0] = VV_STR("SELECT");
        args[1] = vv_str_from(db);
        err = vv_redis_conn_put(c, fresh(c, 2, on_second), args, 2);
        c->greets++;
    }
    if (err == VV_OK && c->greets == 0 && c->version == 2) {
        /* Nothing else to say: learn whether the server wants a password before calls are taken. */
        args[0] = VV_STR("PING");
        err = vv_redis_conn_put(c, fresh(c, 1, on_second), args, 1);
        c->greets++;
    }
    if (err == VV_OK && c->greets == 0) {
        vv_redis_conn_ready(c);
    }
    return err;
}

enum vv_err vv_redis_greet(struct vv_redis_conn *c)
{
    c->version = 2;
    c->refused = false;
    c->refusal[0] = '\0';
    if (c->conf.version2) {
        return second(c, true);
    }
    struct vv_str args[5] = {VV_STR("HELLO"), VV_STR("3")};
    size_t n = 2;
    if (c->password[0] != '\0') {
        args[n++] = VV_STR("AUTH");
        args[n++] = c->user[0] != '\0' ? vv_str_from(c->user) : VV_STR("default");
        args[n++] = vv_str_from(c->password);
    }
    return vv_redis_conn_put(c, fresh(c, 0, on_hello), args, n);
}
