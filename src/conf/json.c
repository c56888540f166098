/* src/conf/json.c - a value of any shape as JSON text.
 *
 * Scalars keep the form they were written in: `1.50` stays 1.50. What would be a number only to YAML
 * ("0x1f", ".5", "+1") is text, so that nobody has to know two grammars of numbers. */
#include "base/json.h"
#include "conf/conf_int.h"
#include "conf/node.h"

static size_t digits(const char *s)
{
    return strspn(s, "0123456789");
}

bool json_is_number(const char *s)
{
    s += s[0] == '-';
    const size_t whole = digits(s);
    if (whole == 0 || (whole > 1 && s[0] == '0')) {
        return false;
    }
    s += whole;
    if (s[0] == '.') {
        const size_t fraction = digits(s + 1);
        if (fraction == 0) {
            return false;
        }
        s += 1 + fraction;
    }
    if (s[0] == 'e' || s[0] == 'E') {
        s += 1 + (s[1] == '+' || s[1] == '-');
        const size_t power = digits(s);
        if (power == 0) {
            return false;
        }
        s += power;
    }
    return s[0] == '\0';
}

static void add_text(struct vv_sb *out, const char *text)
{
    struct vv_json j;
    vv_json_init(&j, out);
    vv_json_cstr(&j, text);
}

static void add(struct vv_sb *out, struct node *n)
{
    const bool map = n->kind == NODE_MAP;
    n->json = true;
    if (n->kind == NODE_NULL) {
        vv_sb_adds(out, "null");
    } else if (n->kind == NODE_SCALAR && !n->quoted &&
               (node_is_bool(n) || json_is_number(n->text))) {
        vv_sb_adds(out, n->text);
    } else if (n->kind == NODE_SCALAR) {
        add_text(out, n->text);
    } else {
        vv_sb_addc(out, map ? '{' : '[');
        for (uint32_t i = 0; i < n->count; i++) {
            vv_sb_adds(out, i > 0 ? "," : "");
            if (map) {
                add_text(out, n->key[i]->text);
                vv_sb_addc(out, ':');
            }
            add(out, n->item[i]);
        }
        vv_sb_addc(out, map ? '}' : ']');
    }
}

const char *conf_json_text(struct vv_conf_doc *doc, struct node *n)
{
    struct vv_sb sb = VV_SB_INIT;
    add(&sb, n);
    const char *text = doc_fmt(doc, "%s", sb.p != NULL ? sb.p : "");
    vv_sb_fini(&sb);
    return text;
}

const struct vv_conf_node *vv_conf_json_node(const struct vv_conf_doc *doc, const void *field)
{
    return (const struct vv_conf_node *)(const void *)slot_get(doc, field, false);
}

const char *vv_conf_json(struct vv_conf_doc *doc, const struct vv_conf_node *n)
{
    return conf_json_text(doc, (struct node *)(uintptr_t)n);
}
