/* src/admin/api_stores.c - the stores: what is known, and what their servers say when they are asked. */
#include "admin/admin_int.h"
#include "gateway/homes.h"
#include "gateway/store_ask.h"

#include <stdio.h>
#include <stdlib.h>

#define WALK_KEYS 10000 /* unless the request says otherwise */
#define WALK_SOON 20

struct question { /* an exchange that waits for servers */
    struct vv_list node;
    struct vv_admin_exchange *x;
    struct vv_store_ask ask;
    struct vv_store_walk walk;
};

static struct vv_stores *stores_of(const struct vv_admin *a)
{
    return vv_gateway_homes(a->o.gateway)->stores;
}

enum vv_err admin_stores(struct vv_admin *a, struct vv_admin_exchange *x)
{
    vv_json_obj(&x->json);
    vv_json_key(&x->json, "stores");
    vv_stores_json(stores_of(a), &x->json);
    vv_json_obj_end(&x->json);
    vv_sb_addc(&x->out, '\n');
    return VV_OK;
}

static void question_free(struct question *q)
{
    vv_store_ask_end(&q->ask);
    vv_store_walk_end(&q->walk);
    vv_list_del(&q->node);
    free(q);
}

void admin_stores_end(struct vv_admin *a)
{
    VV_LIST_EACH (it, &a->questions) {
        question_free(VV_LIST_ENTRY(it, struct question, node));
    }
}

static void answer(struct question *q)
{
    struct vv_admin_exchange *x = q->x;
    vv_json_obj_end(&x->json);
    vv_sb_addc(&x->out, '\n');
    question_free(q);
    vv_admin_finish(x);
}

static void on_info(struct vv_store_ask *ask)
{
    struct question *q = VV_CONTAINER(ask, struct question, ask);
    vv_json_obj(&q->x->json);
    vv_store_info_json(ask->store, &q->x->json);
    answer(q);
}

static void on_check(struct vv_store_ask *ask)
{
    struct question *q = VV_CONTAINER(ask, struct question, ask);
    vv_json_obj(&q->x->json);
    vv_store_check_json(ask->store, &q->x->json);
    answer(q);
}

static void on_walk(struct vv_store_walk *walk)
{
    struct question *q = VV_CONTAINER(walk, struct question, walk);
    vv_json_obj(&q->x->json);
    vv_store_walk_json(walk, &q->x->json);
    answer(q);
}

static enum vv_err refuse(struct vv_admin *a, struct vv_admin_exchange *x, enum vv_err err)
{
    const char *name = a->param[0];
    if (err == VV_ENOENT) {
        return vv_admin_fail(x, 404, "there is no store \"%s\"", name);
    }
    if (err == VV_EUNSUPPORTED) {
        return vv_admin_fail(x, 409, "store \"%s\" has no server that could be asked", name);
    }
    return vv_admin_fail(x, vv_err_http_status(err), "%s", vv_err_text(err));
}

static struct question *question_new(struct vv_admin *a, struct vv_admin_exchange *x)
{
    struct question *q = calloc(1, sizeof *q);
    if (q != NULL) {
        q->x = x;
        vv_list_init(&q->node);
        vv_list_push_back(&a->questions, &q->node);
    }
    return q;
}

static enum vv_err wait_for(struct vv_admin *a, struct vv_admin_exchange *x, struct question *q,
                            enum vv_err err)
{
    if (err == VV_OK) {
        return VV_EAGAIN;
    }
    question_free(q);
    return refuse(a, x, err);
}

static enum vv_err ask(struct vv_admin *a, struct vv_admin_exchange *x, bool check)
{
    struct question *q = question_new(a, x);
    if (q == NULL) {
        return refuse(a, x, VV_ENOMEM);
    }
    q->ask.done = check ? on_check : on_info;
    q->ask.check = check;
    return wait_for(a, x, q, vv_stores_ask(stores_of(a), vv_str_from(a->param[0]), &q->ask));
}

enum vv_err admin_store_info(struct vv_admin *a, struct vv_admin_exchange *x)
{
    return ask(a, x, false);
}

enum vv_err admin_store_check(struct vv_admin *a, struct vv_admin_exchange *x)
{
    return ask(a, x, true);
}

enum vv_err admin_store_expire(struct vv_admin *a, struct vv_admin_exchange *x)
{
    char prefix[256];
    struct question *q = question_new(a, x);
    if (q == NULL) {
        return refuse(a, x, VV_ENOMEM);
    }
    q->walk.done = on_walk;
    q->walk.keys_max = (size_t)admin_query_u64(x, "keys", WALK_KEYS, VV_STORE_WALK_KEYS);
    q->walk.soon_max = (size_t)admin_query_u64(x, "soonest", WALK_SOON, VV_STORE_WALK_SOON);
    (void)snprintf(q->walk.prefix, sizeof q->walk.prefix, "%s",
                   admin_query(x, "prefix", prefix, sizeof prefix, ""));
    return wait_for(a, x, q, vv_stores_walk(stores_of(a), vv_str_from(a->param[0]), &q->walk));
}
