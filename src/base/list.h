/* src/base/list.h - intrusive doubly linked list with a sentinel head.
 * A node that is in no list points at itself, so vv_list_del() is always safe and idempotent. */
#ifndef VV_BASE_LIST_H
#define VV_BASE_LIST_H
#include "base/defs.h"

struct vv_list {
    struct vv_list *next, *prev;
};

static inline void vv_list_init(struct vv_list *l)
{
    l->next = l->prev = l;
}

static inline bool vv_list_empty(const struct vv_list *l)
{
    return l->next == l;
}

static inline void vv_list_insert(struct vv_list *after, struct vv_list *node)
{
    node->next = after->next;
    node->prev = after;
    after->next->prev = node;
    after->next = node;
}

static inline void vv_list_push_front(struct vv_list *head, struct vv_list *node)
{
    vv_list_insert(head, node);
}

static inline void vv_list_push_back(struct vv_list *head, struct vv_list *node)
{
    vv_list_insert(head->prev, node);
}

static inline void vv_list_del(struct vv_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    vv_list_init(node);
}

#define VV_LIST_ENTRY(node, type, member) VV_CONTAINER(node, type, member)
/* `it` is a struct vv_list *; the body may delete `it` (not its neighbours). */
#define VV_LIST_EACH(it, head)                                                                     \
    for (struct vv_list *it = (head)->next, *it##_next = it->next; it != (head);                   \
         it = it##_next, it##_next = it->next)
#endif
