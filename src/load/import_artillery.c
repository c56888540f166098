/* src/load/import_artillery.c - Artillery's long form as our short one: the same values, fewer lines.
 * Values go out as JSON, which is YAML too; what needs JavaScript becomes a note with its line. */
#include "conf/node.h"
#include "load/import.h"
#include "load/plan_read.h"

#include <stdlib.h>

struct import {
    struct load_reading reading; /* only for its helpers that make values */
    struct vv_sb *out;
    struct vv_load_notes *notes;
};

static void note(struct import *im, const NODE *n, const char *what, const char *name)
{
    vv_load_notes_add(im->notes, vv_conf_node_pos(n).line, "%s is left out: %s", name, what);
}

static void add_value(struct import *im, const NODE *n)
{
    struct vv_load_value v;
    load_value(&im->reading, n, &v);
    vv_load_json_write(&v, im->out);
}

static void add_key(struct import *im, const char *indent, const char *key, const NODE *n)
{
    if (n != NULL) {
        vv_sb_addf(im->out, "%s%s: ", indent, key);
        add_value(im, n);
        vv_sb_addc(im->out, '\n');
    }
}

static bool is_script(const char *key)
{
    static const char *const keys[] = {"beforeRequest", "afterResponse", "function",
                                       "whileTrue",     "onError",       "beforeScenario",
                                       "afterScenario"};
    for (size_t i = 0; i < VV_COUNT(keys); i++) {
        if (strcmp(keys[i], key) == 0) {
            return true;
        }
    }
    return false;
}

static void add_steps(struct import *im, const NODE *list, int indent);

static void add_request(struct import *im, const char *method, const NODE *request)
{
    const NODE *url =
        vv_conf_node_kind(request) == VV_CONF_NODE_MAP ? vv_conf_node_get(request, "url") : request;
    url = url != NULL ? url : vv_conf_node_get(request, "uri");
    vv_sb_addf(im->out, "- {%s: ", method);
    if (url != NULL) {
        add_value(im, url);
    } else {
        vv_sb_adds(im->out, "\"/\"");
        note(im, request, "it has no url", "a request");
    }
    for (size_t i = 0;
         vv_conf_node_kind(request) == VV_CONF_NODE_MAP && i < vv_conf_node_count(request); i++) {
        const NODE *key = vv_conf_node_key(request, i);
        const char *name = vv_conf_node_text(key);
        if (is_script(name)) {
            note(im, key, "it needs JavaScript", name);
        } else if (strcmp(name, "url") != 0 && strcmp(name, "uri") != 0) {
            vv_sb_adds(im->out, ", ");
            vv_load_json_text(vv_str_from(name), im->out);
            vv_sb_adds(im->out, ": ");
            add_value(im, vv_conf_node_item(request, i));
        }
    }
    vv_sb_adds(im->out, "}\n");
}

static void add_loop(struct import *im, const NODE *step, int indent)
{
    static const char *const keys[] = {"count", "over", "loopValue", "loopElement"};
    const NODE *script = vv_conf_node_get(step, "whileTrue");
    if (script != NULL) {
        note(im, script, "it needs JavaScript", "whileTrue");
    }
    vv_sb_adds(im->out, "- loop:\n");
    add_steps(im, vv_conf_node_get(step, "loop"), indent + 4);
    for (size_t i = 0; i < VV_COUNT(keys); i++) {
        const NODE *n = vv_conf_node_get(step, keys[i]);
        if (n != NULL) {
            vv_sb_addf(im->out, "%*s%s: ", indent + 2, "", keys[i]);
            add_value(im, n);
            vv_sb_addc(im->out, '\n');
        }
    }
}

static void add_step(struct import *im, const NODE *step, int indent)
{
    for (size_t i = 0; vv_conf_node_kind(step) == VV_CONF_NODE_MAP && i < vv_conf_node_count(step);
         i++) {
        const NODE *key = vv_conf_node_key(step, i);
        const char *name = vv_conf_node_text(key);
        if (load_method_key(name) != NULL) {
            vv_sb_addf(im->out, "%*s", indent, "");
            add_request(im, name, vv_conf_node_item(step, i));
            return;
        }
        if (strcmp(name, "loop") == 0) {
            vv_sb_addf(im->out, "%*s", indent, "");
            add_loop(im, step, indent);
            return;
        }
        if (strcmp(name, "think") == 0) {
            vv_sb_addf(im->out, "%*s- ", indent, "");
            add_value(im, step);
            vv_sb_addc(im->out, '\n');
            return;
        }
    }
    note(im, step, "there is nothing like it here", "this step");
}

static void add_steps(struct import *im, const NODE *list, int indent)
{
    if (list == NULL || vv_conf_node_kind(list) != VV_CONF_NODE_LIST) {
        vv_sb_addf(im->out, "%*s[]\n", indent, "");
        return;
    }
    for (size_t i = 0; i < vv_conf_node_count(list); i++) {
        add_step(im, vv_conf_node_item(list, i), indent);
    }
}

static void add_scenarios(struct import *im, const NODE *list)
{
    vv_sb_adds(im->out, "scenarios:\n");
    for (size_t i = 0; i < vv_conf_node_count(list); i++) {
        const NODE *n = vv_conf_node_item(list, i), *name = vv_conf_node_get(n, "name");
        vv_sb_adds(im->out, "  ");
        if (name != NULL && vv_conf_node_text(name) != NULL) {
            vv_load_json_text(vv_str_from(vv_conf_node_text(name)), im->out);
        } else {
            vv_sb_addf(im->out, "scenario_%zu", i);
        }
        vv_sb_adds(im->out, ":\n");
        add_key(im, "    ", "weight", vv_conf_node_get(n, "weight"));
        vv_sb_adds(im->out, "    steps:\n");
        add_steps(im, vv_conf_node_get(n, "flow"), 6);
    }
}

static void add_config(struct import *im, const NODE *config)
{
    static const char *const same[] = {"target", "phases", "variables", "payload", "ensure"};
    const NODE *http = vv_conf_node_get(config, "http"), *n = NULL;
    for (size_t i = 0; i < VV_COUNT(same); i++) {
        add_key(im, "", same[i], vv_conf_node_get(config, same[i]));
    }
    if (vv_conf_node_get(config, "ensure") == NULL) {
        add_key(im, "", "ensure", vv_conf_node_get(vv_conf_node_get(config, "plugins"), "ensure"));
    }
    n = vv_conf_node_get(http, "timeout");
    add_key(im, "", "timeout", n != NULL ? n : vv_conf_node_get(config, "timeout"));
    add_key(im, "", "pool", vv_conf_node_get(http, "pool"));
    n = vv_conf_node_get(vv_conf_node_get(http, "defaults"), "headers");
    add_key(im, "", "headers",
            n != NULL ? n : vv_conf_node_get(vv_conf_node_get(config, "defaults"), "headers"));
    static const char *const known[] = {"target", "phases",  "variables", "payload", "ensure",
                                        "http",   "timeout", "defaults",  "plugins"};
    for (size_t i = 0; i < vv_conf_node_count(config); i++) {
        const NODE *key = vv_conf_node_key(config, i);
        size_t k = 0;
        while (k < VV_COUNT(known) && strcmp(known[k], vv_conf_node_text(key)) != 0) {
            k++;
        }
        if (k == VV_COUNT(known)) {
            note(im, key, "there is nothing like it here", vv_conf_node_text(key));
        }
    }
}

static void copy_problems(struct vv_load_notes *notes, const struct vv_conf_problems *problems)
{
    const struct vv_conf_problem *p = NULL;
    for (size_t i = 0; (p = vv_conf_problems_at(problems, i)) != NULL; i++) {
        vv_load_notes_add(notes, p->line, "%s", p->message != NULL ? p->message : "out of memory");
    }
}

static enum vv_err import_tree(struct import *im, const NODE *root)
{
    const NODE *config = vv_conf_node_get(root, "config");
    const NODE *list = vv_conf_node_get(root, "scenarios");
    if (config == NULL || vv_conf_node_kind(config) != VV_CONF_NODE_MAP || list == NULL ||
        vv_conf_node_kind(list) != VV_CONF_NODE_LIST) {
        vv_load_notes_add(im->notes, 0, "an Artillery file has config and a list of scenarios");
        return VV_ESYNTAX;
    }
    add_config(im, config);
    add_scenarios(im, list);
    return im->out->failed || im->notes->failed ? VV_ENOMEM : VV_OK;
}

enum vv_err vv_load_import_artillery(const char *text, struct vv_sb *out,
                                     struct vv_load_notes *notes)
{
    struct vv_conf_problems *problems = vv_conf_problems_new();
    struct vv_conf_tree *tree = problems != NULL ? vv_conf_tree_new(problems) : NULL;
    struct vv_load_plan *plan = load_plan_new(); /* its arena holds the values */
    enum vv_err err = VV_ENOMEM;
    if (tree == NULL || plan == NULL) {
        vv_conf_tree_close(tree);
    } else if (setjmp(plan->out_of_memory) != 0) {
        vv_conf_tree_close(tree);
    } else {
        struct import im = {.reading = {.plan = plan, .tree = tree}, .out = out, .notes = notes};
        plan->may_jump = true;
        const NODE *root = vv_conf_tree_read(tree, "(import)", text);
        const bool map = root != NULL && vv_conf_node_kind(root) == VV_CONF_NODE_MAP;
        const enum vv_err result = map ? import_tree(&im, root) : VV_ESYNTAX;
        vv_conf_tree_close(tree);
        copy_problems(notes, problems);
        vv_load_plan_free(plan);
        vv_conf_problems_free(problems);
        return result;
    }
    vv_load_plan_free(plan);
    vv_conf_problems_free(problems);
    return err;
}
