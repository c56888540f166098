/* src/admin/api_life.c - reload, stop, upgrade: the process does it, here it is asked for. */
#include "admin/admin_int.h"

/* A reload may take a moment (sockets come from the supervisor), so the exchange waits for it. */
static void reload_done(void *arg, int status, struct vv_str json)
{
    struct vv_admin_exchange *x = arg;
    x->status = status;
    vv_sb_reset(&x->out);
    vv_sb_add(&x->out, json);
    vv_sb_addc(&x->out, '\n');
    vv_admin_finish(x);
}

enum vv_err admin_reload(struct vv_admin *a, struct vv_admin_exchange *x)
{
    a->o.process->reload(a->o.process->user, reload_done, x);
    return VV_EAGAIN;
}

static enum vv_err accepted(struct vv_admin *a, struct vv_admin_exchange *x, enum vv_err err)
{
    if (err != VV_OK) {
        return vv_admin_fail(x, 503, "the supervisor cannot be reached: %s", vv_err_text(err));
    }
    x->status = 202;
    vv_json_obj(&x->json);
    vv_json_kbool(&x->json, "ok", true);
    vv_json_ku64(&x->json, "pid", (uint64_t)a->o.process->supervisor_pid);
    vv_json_ku64(&x->json, "generation", a->o.process->generation);
    vv_json_obj_end(&x->json);
    vv_sb_addc(&x->out, '\n');
    return VV_OK;
}

enum vv_err admin_stop(struct vv_admin *a, struct vv_admin_exchange *x)
{
    return accepted(a, x, a->o.process->stop(a->o.process->user));
}

enum vv_err admin_upgrade(struct vv_admin *a, struct vv_admin_exchange *x)
{
    return accepted(a, x, a->o.process->upgrade(a->o.process->user));
}
