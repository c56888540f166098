/* src/conf/origins.c - which node a field's value came from, found by the field's address.
 *
 * A hash table beside the structs keeps the structs plain: no field has to carry where it came
 * from. */
#include "conf/conf_int.h"

static uintptr_t address_of(const void *field, bool whole)
{
    return (uintptr_t)field | (whole ? 1 : 0); /* fields are 8-byte aligned: the bit is free */
}

static size_t home(const struct vv_conf_doc *doc, uintptr_t address)
{
    return (size_t)((address >> 3) * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (doc->slot_room - 1);
}

static struct origin_slot *find(const struct vv_conf_doc *doc, uintptr_t address)
{
    size_t i = home(doc, address);
    while (doc->slots[i].address != 0 && doc->slots[i].address != address) {
        i = (i + 1) & (doc->slot_room - 1);
    }
    return &doc->slots[i];
}

static void grow(struct vv_conf_doc *doc)
{
    struct origin_slot *old = doc->slots;
    const size_t count = doc->slot_room;
    doc->slot_room = count > 0 ? count * 2 : 256;
    doc->slots = doc_zalloc(doc, doc->slot_room * sizeof *doc->slots);
    for (size_t i = 0; i < count; i++) {
        if (old[i].address != 0) {
            *find(doc, old[i].address) = old[i];
        }
    }
}

void slot_set(struct vv_conf_doc *doc, const void *field, bool whole, const struct node *n)
{
    if (n == NULL) {
        return;
    }
    if (doc->slot_count * 2 >= doc->slot_room) {
        grow(doc);
    }
    struct origin_slot *slot = find(doc, address_of(field, whole));
    doc->slot_count += slot->address == 0;
    *slot = (struct origin_slot){address_of(field, whole), n};
}

const struct node *slot_get(const struct vv_conf_doc *doc, const void *field, bool whole)
{
    return field != NULL && doc->slot_room > 0 ? find(doc, address_of(field, whole))->node : NULL;
}
