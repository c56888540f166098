/* tests/unit/gateway/test_names.c - servers of the file and of the API become one set per service. */
#include "gateway/names.h"
#include "rig.h"

static const char one[] = "listen: 127.0.0.1:1\n"
                          "admin: none\n"
                          "services: {app: [\"http://127.0.0.1:%u\"]}\n"
                          "routes:\n"
                          "  - to: app\n";

static struct vv_server_set *servers(struct rig *r)
{
    return vv_service_state_servers(r->rt->service[0].state);
}

static size_t count_of(struct rig *r)
{
    struct vv_server_set *set = servers(r);
    const size_t n = set->count;
    vv_server_set_unref(set);
    return n;
}

VV_TEST(addresses_need_no_look_up)
{
    struct rig r;
    struct vv_names *n = NULL;
    rig_up(&r, one);
    VV_CHECK_INT(vv_names_new(r.w->loop, &n), VV_OK);
    VV_CHECK_INT(vv_names_apply(n, r.rt), VV_OK);
    VV_CHECK(vv_names_settled(n));
    VV_CHECK_INT(count_of(&r), 1);
    struct vv_server_set *set = servers(&r);
    VV_CHECK_INT(vv_addr_port(&set->server[0]->addr), vv_addr_port(&r.origin_addr));
    vv_server_set_unref(set);
    vv_names_free(n);
    rig_down(&r);
}

VV_TEST(servers_come_change_and_go_at_run_time)
{
    struct rig r;
    struct vv_names *n = NULL;
    struct vv_server_change c = {
        .service = "app", .server = "127.0.0.1:9", .what = VV_SERVER_ADD, .weight = 7, .drain = -1};
    rig_up(&r, one);
    VV_CHECK_INT(vv_names_new(r.w->loop, &n), VV_OK);
    VV_CHECK_INT(vv_names_apply(n, r.rt), VV_OK);
    VV_CHECK_INT(vv_names_change(n, &c), VV_OK);
    VV_CHECK_INT(count_of(&r), 2);
    VV_CHECK_INT(vv_names_change(n, &c), VV_EEXIST);
    c.server = "http://127.0.0.1:9"; /* another spelling of the same server */
    VV_CHECK_INT(vv_names_change(n, &c), VV_EEXIST);
    c.server = "not an address:x";
    VV_CHECK_INT(vv_names_change(n, &c), VV_EINVAL);
    VV_CHECK_INT(count_of(&r), 2);
    c.server = "127.0.0.1:9";
    c.what = VV_SERVER_REMOVE;
    VV_CHECK_INT(vv_names_change(n, &c), VV_OK);
    VV_CHECK_INT(count_of(&r), 1);
    VV_CHECK_INT(vv_names_change(n, &c), VV_ENOENT);
    c.service = "other";
    VV_CHECK_INT(vv_names_change(n, &c), VV_ENOENT);
    vv_names_free(n);
    rig_down(&r);
}

VV_TEST(a_name_may_go_while_it_is_looked_up)
{
    struct rig r;
    struct vv_names *n = NULL;
    struct vv_server_change c = {
        .service = "app", .server = "nowhere.invalid:80", .what = VV_SERVER_ADD, .drain = -1};
    rig_up(&r, one);
    VV_CHECK_INT(vv_names_new(r.w->loop, &n), VV_OK);
    VV_CHECK_INT(vv_names_apply(n, r.rt), VV_OK);
    VV_CHECK_INT(vv_names_change(n, &c), VV_OK);
    c.what = VV_SERVER_REMOVE;
    VV_CHECK_INT(vv_names_change(n, &c), VV_OK);
    rig_turns(&r, 20); /* whatever the resolver says now finds nobody */
    VV_CHECK(vv_names_settled(n));
    VV_CHECK_INT(count_of(&r), 1);
    vv_names_free(n);
    rig_down(&r);
}
