/* src/load/plan_read.c - from a file to a plan: which form it has, what is merged, what is missing. */
#include "load/plan_read.h"
#include "os/clock.h"
#include "os/file.h"

#include <stdlib.h>

#define FILE_BYTES_MAX (256 * VV_MIB)

static const char *from_environment(void *user, const char *name)
{
    (void)user;
    return getenv(name);
}

const char *load_beside(struct load_reading *r, const NODE *n, const char *path)
{
    const struct vv_conf_pos pos = n != NULL ? vv_conf_node_pos(n) : (struct vv_conf_pos){0};
    const char *slash = pos.file != NULL && path[0] != '/' ? strrchr(pos.file, '/') : NULL;
    const struct vv_str folder = {pos.file, slash != NULL ? (size_t)(slash + 1 - pos.file) : 0};
    const struct vv_str full = vv_arena_fmt(&r->plan->arena, VV_STR_FMT "%s", (int)folder.n,
                                            slash != NULL ? folder.p : "", path);
    if (full.p == NULL) {
        longjmp(r->plan->out_of_memory, 1);
    }
    return full.p;
}

bool load_file(struct load_reading *r, const NODE *n, const char *path, struct vv_str *ret)
{
    struct vv_load_plan *p = r->plan;
    const char *full = load_beside(r, n, path);
    char *text = NULL;
    size_t bytes = 0;
    if (r->source->no_files) {
        load_wrong(r, n, "files may not be read here: %s", full);
        return false;
    }
    const enum vv_err err = vv_file_read(full, FILE_BYTES_MAX, &text, &bytes);
    if (err != VV_OK) {
        load_wrong(r, n, "cannot read %s: %s", full, vv_err_text(err));
        return false;
    }
    char *copy = vv_arena_alloc(&p->arena, bytes + 1);
    if (copy != NULL) {
        memcpy(copy, text, bytes);
        copy[bytes] = '\0';
    }
    free(text);
    if (copy == NULL) {
        longjmp(p->out_of_memory, 1);
    }
    *ret = (struct vv_str){copy, bytes};
    return true;
}

/* ---- Artillery ----------------------------------------------------------------------------- */

/* environments.NAME over config, then the JSON of the command line over both. */
static void merge_config(struct load_reading *r, NODE *config)
{
    const struct vv_load_source *s = r->source;
    const NODE *all = vv_conf_node_get(config, "environments"), *one = NULL;
    if (s->environment != NULL) {
        one = vv_conf_node_get(all, s->environment);
        if (one == NULL) {
            load_wrong(r, all, "there is no environment named %s", s->environment);
        } else if (load_is(r, one, VV_CONF_NODE_MAP, "an environment") &&
                   !vv_conf_node_merge(r->tree, config, one)) {
            longjmp(r->plan->out_of_memory, 1);
        }
        r->plan->names.environment.p = load_dup(r->plan, vv_str_from(s->environment));
        r->plan->names.environment.n = strlen(s->environment);
    }
}

static void merge_overrides(struct load_reading *r, NODE *root)
{
    const struct vv_load_source *s = r->source;
    NODE *n = NULL;
    if (s->overrides == NULL) {
        return;
    }
    n = vv_conf_tree_read(r->tree, "--overrides", s->overrides);
    if (n == NULL || !load_is(r, n, VV_CONF_NODE_MAP, "--overrides")) {
        return;
    }
    /* {"config": {...}} as the other tool has it, or just what goes into config. */
    const NODE *config = vv_conf_node_get(root, "config"), *load = vv_conf_node_get(root, "load");
    const NODE *part = config != NULL ? config : load; /* our short form inside of another file */
    const bool whole = part == NULL || vv_conf_node_get(n, "config") != NULL ||
                       vv_conf_node_kind(part) != VV_CONF_NODE_MAP;
    NODE *into = whole ? root : (NODE *)(uintptr_t)part;
    if (!vv_conf_node_merge(r->tree, into, n)) {
        longjmp(r->plan->out_of_memory, 1);
    }
}

static void artillery(struct load_reading *r, NODE *root)
{
    static const char *const known[] = {"config", "scenarios", "before", "after", NULL};
    static const char *const around[] = {"before", "after"};
    NODE *config = (NODE *)(uintptr_t)vv_conf_node_get(root, "config");
    const NODE *n = NULL;
    load_known_keys(r, root, known, "a scenario file");
    if (config == NULL || !load_is(r, config, VV_CONF_NODE_MAP, "config")) {
        if (config == NULL) {
            load_wrong(r, root, "there is no config");
        }
        return;
    }
    r->config = config;
    merge_config(r, config);
    load_config(r, config);
    for (size_t i = 0; i < VV_COUNT(around); i++) {
        if ((n = vv_conf_node_get(root, around[i])) != NULL) {
            load_wrong(r, n, "%s is not supported: steps that run once for the whole test",
                       around[i]);
        }
    }
    if ((n = vv_conf_node_get(root, "scenarios")) != NULL) {
        load_scenarios(r, n);
    } else {
        load_wrong(r, root, "there are no scenarios: what should be sent?");
    }
}

/* ---- after all was read --------------------------------------------------------------------- */

static void command_line_variables(struct load_reading *r)
{
    NODE *n = NULL;
    if (r->source->variables != NULL) {
        n = vv_conf_tree_read(r->tree, "--variables", r->source->variables);
        if (n != NULL) {
            load_variables(r, n, "--variables");
        }
    }
}

static void check_names(struct load_reading *r)
{
    struct vv_load_names *names = &r->plan->names;
    const char **known = load_zalloc(r->plan, (names->count + 1) * sizeof *known);
    size_t count = 0;
    for (uint32_t i = 0; i < names->count; i++) {
        if (vv_str_eq(names->name[i], VV_STR("$uuid"))) {
            r->plan->uuid_slot = i;
            names->set[i] = true;
        }
        if (names->set[i]) {
            known[count++] = names->name[i].p;
        }
    }
    for (uint32_t i = 0; i < names->count; i++) {
        if (!names->set[i] && names->first_use[i] != NULL) {
            const char *near = vv_conf_nearest(names->name[i].p, known, count);
            const struct vv_str hint =
                near != NULL ? vv_arena_fmt(&r->plan->arena, "did you mean \"%s\"?", near)
                             : (struct vv_str){NULL, 0};
            load_warn(r, names->first_use[i], hint.p, "nothing gives \"%s\" a value",
                      names->name[i].p);
        }
    }
}

static void check_whole(struct load_reading *r, const NODE *root)
{
    struct vv_load_plan *p = r->plan;
    const char *profile = r->source->profile;
    if (vv_conf_problems_errors(r->problems) > r->errors_before) {
        return; /* what follows would only be a consequence */
    }
    if (p->view.target == NULL) {
        load_wrong(r, root, "there is no target: write it into the file, or say --target URL");
    }
    if (p->view.scenario_count == 0 && r->source->scenario != NULL) {
        load_wrong(r, root, "there is no scenario named %s", r->source->scenario);
    } else if (p->view.scenario_count == 0) {
        load_wrong(r, root, "there are no scenarios: what should be sent?");
    } else if (p->weight_sum == 0) {
        load_wrong(r, root, "the weights of all scenarios are 0");
    }
    if (p->view.phase_count == 0 && profile == NULL) {
        load_wrong(r, root, "there are no phases: when should users start?");
    }
    if (profile != NULL &&
        !(p->view.phase_count == 1 && p->phase[0].name != NULL &&
          strcmp(p->phase[0].name, profile) == 0) &&
        !load_preset(r, profile)) {
        load_wrong(r, NULL,
                   "there is no profile named %s: smoke, load, stress, spike, or a test of "
                   "the file",
                   profile);
    }
}

/* Without a file: the profile sends GET to the target. */
static const char built_in[] = "scenarios: {target: {get: \"\", name: target}}\n";

static void read_plan(struct load_reading *r)
{
    const struct vv_load_source *s = r->source;
    const bool none = s->path == NULL && s->text == NULL;
    NODE *root = vv_conf_tree_read(r->tree, s->path != NULL ? s->path : "(built in)",
                                   none ? built_in : s->text);
    if (root == NULL) {
        if (vv_conf_tree_failed(r->tree)) {
            longjmp(r->plan->out_of_memory, 1);
        }
        if (vv_conf_problems_errors(r->problems) == r->errors_before) {
            vv_conf_problems_add(r->problems, false, s->path, "it is empty");
        }
        return;
    }
    if (!load_is(r, root, VV_CONF_NODE_MAP, "a scenario file")) {
        return;
    }
    merge_overrides(r, root);
    const NODE *list = vv_conf_node_get(root, "scenarios"), *load = vv_conf_node_get(root, "load");
    if (vv_conf_node_get(root, "config") != NULL ||
        (list != NULL && vv_conf_node_kind(list) == VV_CONF_NODE_LIST)) {
        artillery(r, root);
    } else if (load != NULL && load_is(r, load, VV_CONF_NODE_MAP, "load")) {
        load_short(r, load);
    } else {
        load_short(r, root);
    }
    command_line_variables(r);
    check_names(r);
    check_whole(r, root);
}

enum vv_err vv_load_plan_read(const struct vv_load_source *source,
                              struct vv_conf_problems *problems, struct vv_load_plan **ret)
{
    struct load_reading r = {
        .source = source, .problems = problems, .errors_before = vv_conf_problems_errors(problems)};
    struct vv_load_plan *p = r.plan = load_plan_new();
    struct vv_conf_tree *tree = r.tree = vv_conf_tree_new(problems);
    if (p == NULL || tree == NULL || setjmp(p->out_of_memory) != 0) {
        vv_conf_tree_close(tree);
        vv_load_plan_free(p);
        return VV_ENOMEM;
    }
    p->may_jump = true;
    p->names.env = source->env != NULL ? source->env : from_environment;
    p->names.env_user = source->env_user;
    p->names.test_id = vv_arena_fmt(&p->arena, "t%016llx", (unsigned long long)vv_entropy_u64());
    load_default_headers(p);
    read_plan(&r);
    load_plan_seal(p);
    p->may_jump = false;
    vv_conf_tree_close(tree);
    if (vv_conf_problems_errors(problems) > r.errors_before) {
        vv_load_plan_free(p);
        return VV_ECONFIG;
    }
    *ret = p;
    return VV_OK;
}
