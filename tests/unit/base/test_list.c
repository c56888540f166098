/* tests/unit/base/test_list.c - order, deletion while walking, deleting twice. */
#include "base/list.h"
#include "vv_test.h"

struct item {
    int v;
    struct vv_list node;
};

VV_TEST(list_keeps_order_and_survives_deletion_while_walking)
{
    struct vv_list head;
    struct item item[4] = {{.v = 0}, {.v = 1}, {.v = 2}, {.v = 3}};
    int seen = 0;
    vv_list_init(&head);
    vv_list_push_back(&head, &item[1].node);
    vv_list_push_back(&head, &item[2].node);
    vv_list_push_front(&head, &item[0].node);
    vv_list_insert(&item[2].node, &item[3].node);
    VV_LIST_EACH (it, &head) {
        VV_CHECK_INT(VV_LIST_ENTRY(it, struct item, node)->v, seen++);
        vv_list_del(it);
    }
    VV_CHECK_INT(seen, 4);
    VV_CHECK(vv_list_empty(&head));
    vv_list_del(&item[0].node); /* in no list: harmless */
    VV_CHECK(vv_list_empty(&item[0].node));
}
