/* src/conf/schema.c - a JSON Schema (draft-07) from the rows, for editors.
 *
 * One definition per section. A section that has short forms becomes a choice; a single value may
 * always be a reference "${...}" instead. Rules across fields are left to `vivace check`. */
#include "base/json.h"
#include "conf/conf_int.h"

#define SECTIONS_MAX 64

struct schema {
    struct vv_json j;
    const struct vv_conf_section *seen[SECTIONS_MAX];
    size_t count;
};

static void note(struct schema *s, const struct vv_conf_section *section)
{
    for (size_t i = 0; i < s->count; i++) {
        if (s->seen[i] == section) {
            return;
        }
    }
    VV_ASSERT(s->count < SECTIONS_MAX);
    s->seen[s->count++] = section;
}

static void ref_name(struct schema *s, const char *name)
{
    struct vv_sb sb = VV_SB_INIT;
    vv_sb_addf(&sb, "#/definitions/%s", name);
    for (size_t i = 0; i < sb.n; i++) {
        sb.p[i] = sb.p[i] == ' ' ? '_' : sb.p[i];
    }
    vv_json_kstr(&s->j, "$ref", vv_sb_str(&sb));
    vv_sb_fini(&sb);
}

static void ref(struct schema *s, const struct vv_conf_section *section)
{
    note(s, section);
    vv_json_obj(&s->j);
    ref_name(s, section->name);
    vv_json_obj_end(&s->j);
}

static void a_type(struct schema *s, const char *type, const char *pattern)
{
    vv_json_obj(&s->j);
    vv_json_kcstr(&s->j, "type", type);
    if (pattern != NULL) {
        vv_json_kcstr(&s->j, "pattern", pattern);
    }
    vv_json_obj_end(&s->j);
}

static void a_count(struct schema *s, const struct vv_conf_row *row)
{
    uint64_t limit = 0;
    vv_json_obj(&s->j);
    vv_json_kcstr(&s->j, "type", "integer");
    vv_json_ku64(&s->j, "minimum",
                 row->min != NULL && scalar_parse(row, row->min, &limit) ? limit : 0);
    if (row->max != NULL && scalar_parse(row, row->max, &limit)) {
        vv_json_ku64(&s->j, "maximum", limit);
    }
    vv_json_obj_end(&s->j);
}

static void words(struct schema *s, const struct vv_conf_row *row)
{
    vv_json_obj(&s->j);
    vv_json_key(&s->j, "enum");
    vv_json_arr(&s->j);
    for (size_t i = 0; row->names != NULL && row->names[i] != NULL; i++) {
        vv_json_cstr(&s->j, row->names[i]);
    }
    if (row->word != NULL) {
        vv_json_cstr(&s->j, row->word);
    }
    vv_json_arr_end(&s->j);
    vv_json_obj_end(&s->j);
}

/* A whole zero needs no unit: "0" is 0 of anything. */
static void a_measure(struct schema *s, const char *pattern)
{
    vv_json_obj(&s->j);
    vv_json_key(&s->j, "const");
    vv_json_u64(&s->j, 0);
    vv_json_obj_end(&s->j);
    a_type(s, "string", pattern);
}

static void a_share(struct schema *s) /* 0.8 */
{
    vv_json_obj(&s->j);
    vv_json_kcstr(&s->j, "type", "number");
    vv_json_ku64(&s->j, "minimum", 0);
    vv_json_ku64(&s->j, "maximum", 1);
    vv_json_obj_end(&s->j);
}

static void texts(struct schema *s)
{
    vv_json_obj(&s->j);
    vv_json_kcstr(&s->j, "type", "array");
    vv_json_key(&s->j, "items");
    vv_json_obj(&s->j);
    vv_json_key(&s->j, "type");
    vv_json_arr(&s->j);
    vv_json_cstr(&s->j, "string");
    vv_json_cstr(&s->j, "number");
    vv_json_arr_end(&s->j);
    vv_json_obj_end(&s->j);
    vv_json_obj_end(&s->j);
}

/* The choices for one value; the caller opened the array of "anyOf". */
static void choices(struct schema *s, const struct vv_conf_row *row)
{
    switch (row->type) {
    case VV_CONF_BOOL:
        a_type(s, "boolean", NULL);
        break;
    case VV_CONF_COUNT:
        a_count(s, row);
        break;
    case VV_CONF_OCTAL:
        a_type(s, "string", "^[0-7]+$");
        break;
    case VV_CONF_DURATION:
        a_measure(s, "^(0|[0-9]+(\\.[0-9]+)?(ns|us|ms|s|m|h|d|w))$");
        break;
    case VV_CONF_SIZE:
        a_measure(s, "^(0|[0-9]+(\\.[0-9]+)?([Bb]|[KkMmGgTt][Ii]?[Bb]?))$");
        if (row->bare) {
            a_type(s, "integer", NULL);
        }
        break;
    case VV_CONF_PPM:
        a_type(s, "string", "^[0-9]+(\\.[0-9]+)?%$");
        if (row->bare) {
            a_share(s);
        }
        break;
    case VV_CONF_ENUM:
        words(s, row);
        break;
    case VV_CONF_TEXTS:
        texts(s);
        a_type(s, "string", NULL);
        a_type(s, "number", NULL);
        return;
    case VV_CONF_JSON: /* anything */
        vv_json_obj(&s->j);
        vv_json_obj_end(&s->j);
        return;
    default:
        a_type(s, "string", NULL);
        a_type(s, "number", NULL);
        break;
    }
    if (row->word != NULL && row->type != VV_CONF_ENUM) {
        words(s, row);
    }
    if (row->nullable) {
        a_type(s, "null", NULL);
    }
    if (row->type != VV_CONF_TEXT && row->type != VV_CONF_TEMPLATE) {
        vv_json_obj(&s->j);
        ref_name(s, "reference");
        vv_json_obj_end(&s->j);
    }
}

static void a_map(struct schema *s, const struct vv_conf_section *section)
{
    vv_json_obj(&s->j);
    vv_json_kcstr(&s->j, "type", "object");
    vv_json_key(&s->j, "additionalProperties");
    ref(s, section);
    vv_json_obj_end(&s->j);
}

static void short_forms(struct schema *s, const struct vv_conf_section *section)
{
    for (size_t i = 0; i < section->short_count; i++) {
        const struct vv_conf_row *row = section_row(section, section->shorts[i].key);
        VV_ASSERT(row != NULL);
        if (row->type == VV_CONF_LIST) {
            vv_json_obj(&s->j);
            vv_json_kcstr(&s->j, "type", "array");
            vv_json_key(&s->j, "items");
            ref(s, row->section);
            vv_json_obj_end(&s->j);
        } else {
            choices(s, row);
        }
    }
}

static void compound(struct schema *s, const struct vv_conf_row *row,
                     const struct vv_conf_section *root)
{
    switch (row->type) {
    case VV_CONF_SECTION:
        ref(s, row->section);
        break;
    case VV_CONF_LIST:
        vv_json_obj(&s->j);
        vv_json_kcstr(&s->j, "type", "array");
        vv_json_key(&s->j, "items");
        ref(s, row->section);
        vv_json_obj_end(&s->j);
        if (row->one) {
            ref(s, row->section);
        }
        break;
    case VV_CONF_MAP:
        a_map(s, row->section);
        if (row->bare_name != NULL) {
            short_forms(s, row->section);
        }
        break;
    case VV_CONF_PROFILES:
        a_map(s, root);
        break;
    case VV_CONF_INCLUDE:
        texts(s);
        a_type(s, "string", NULL);
        break;
    default:
        choices(s, row);
        break;
    }
}

static void property(struct schema *s, const struct vv_conf_row *row,
                     const struct vv_conf_section *root)
{
    vv_json_key(&s->j, row->key);
    vv_json_obj(&s->j);
    vv_json_kcstr(&s->j, "description", row->doc);
    if (row->def != NULL) {
        vv_json_kcstr(&s->j, "default", row->def);
    }
    vv_json_key(&s->j, "anyOf");
    vv_json_arr(&s->j);
    compound(s, row, root);
    vv_json_arr_end(&s->j);
    vv_json_obj_end(&s->j);
}

static void required_keys(struct schema *s, const struct vv_conf_section *section)
{
    vv_json_key(&s->j, "required");
    vv_json_arr(&s->j);
    for (size_t i = 0; i < section->row_count; i++) {
        if (section->rows[i].required) {
            vv_json_cstr(&s->j, section->rows[i].key);
        }
    }
    vv_json_arr_end(&s->j);
}

static void an_object(struct schema *s, const struct vv_conf_section *section,
                      const struct vv_conf_section *root)
{
    vv_json_obj(&s->j);
    vv_json_kcstr(&s->j, "type", "object");
    vv_json_kbool(&s->j, "additionalProperties", false);
    if (section != root) { /* profiles share the root's keys but need none of them */
        required_keys(s, section);
    }
    vv_json_key(&s->j, "properties");
    vv_json_obj(&s->j);
    for (size_t i = 0; i < section->row_count; i++) {
        if (section->rows[i].key != NULL) {
            property(s, &section->rows[i], root);
        }
    }
    vv_json_obj_end(&s->j);
    vv_json_obj_end(&s->j);
}

static void definition(struct schema *s, const struct vv_conf_section *section,
                       const struct vv_conf_section *root)
{
    struct vv_sb name = VV_SB_INIT;
    vv_sb_adds(&name, section->name);
    for (size_t i = 0; i < name.n; i++) {
        name.p[i] = name.p[i] == ' ' ? '_' : name.p[i];
    }
    vv_json_keyn(&s->j, vv_sb_str(&name));
    vv_sb_fini(&name);
    vv_json_obj(&s->j);
    vv_json_kcstr(&s->j, "description", section->doc);
    vv_json_key(&s->j, "anyOf");
    vv_json_arr(&s->j);
    an_object(s, section, root);
    short_forms(s, section);
    vv_json_arr_end(&s->j);
    vv_json_obj_end(&s->j);
}

static void break_line(struct vv_sb *out, int depth)
{
    vv_sb_addf(out, "\n%*s", depth * 2, "");
}

/* One value per line: in version control a single line would show no difference. */
static void indent(struct vv_str json, struct vv_sb *out)
{
    bool text = false;
    int depth = 0;
    for (size_t i = 0; i < json.n; i++) {
        const char c = json.p[i];
        const char after = i + 1 < json.n ? json.p[i + 1] : '\0';
        text = text != (c == '"'); /* an escaped quote is skipped below */
        if (!text && (c == '}' || c == ']') && json.p[i - 1] != '{' && json.p[i - 1] != '[') {
            break_line(out, depth);
        }
        vv_sb_addc(out, c);
        if (text && c == '\\') {
            vv_sb_addc(out, json.p[++i]);
        } else if (!text && (c == '{' || c == '[')) {
            depth++;
            if (after != '}' && after != ']') {
                break_line(out, depth);
            }
        } else if (!text && c == ',') {
            break_line(out, depth);
        } else if (!text && c == ':') {
            vv_sb_addc(out, ' ');
        }
        depth -= !text && (after == '}' || after == ']');
    }
}

void vv_conf_schema(const struct vv_conf_section *section, struct vv_sb *out)
{
    struct schema s = {.count = 0};
    struct vv_sb line = VV_SB_INIT;
    vv_json_init(&s.j, &line);
    vv_json_obj(&s.j);
    vv_json_kcstr(&s.j, "$schema", "http://json-schema.org/draft-07/schema#");
    vv_json_kcstr(&s.j, "title", "Vivace");
    vv_json_kcstr(&s.j, "description", section->doc);
    required_keys(&s, section);
    vv_json_key(&s.j, "allOf");
    vv_json_arr(&s.j);
    ref(&s, section);
    vv_json_arr_end(&s.j);
    vv_json_key(&s.j, "definitions");
    vv_json_obj(&s.j);
    vv_json_key(&s.j, "reference");
    a_type(&s, "string", "\\$\\{[^}]+\\}");
    for (size_t i = 0; i < s.count; i++) { /* grows while definitions refer to further ones */
        definition(&s, s.seen[i], section);
    }
    vv_json_obj_end(&s.j);
    vv_json_obj_end(&s.j);
    indent(vv_sb_str(&line), out);
    vv_sb_addc(out, '\n');
    vv_sb_fini(&line);
}
