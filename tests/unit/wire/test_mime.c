/* tests/unit/wire/test_mime.c - the type of a file, told from its name. */
#include "vv_test.h"
#include "wire/mime.h"

static const struct {
    const char *extension, *type;
} rows[] = {
#define VV_MIME(extension, type, compressible) {extension, type},
#include "wire/mime.def"
#undef VV_MIME
};

VV_TEST(mime_rows_are_sorted_and_found)
{
    for (size_t i = 0; i < VV_COUNT(rows); i++) {
        char name[64] = "a/b.c/name.";
        strcat(name, rows[i].extension);
        VV_CHECK_SLICE(vv_mime_of(vv_str_from(name))->type, rows[i].type);
        VV_CHECK(i == 0 || strcmp(rows[i - 1].extension, rows[i].extension) < 0);
    }
}

VV_TEST(mime_row_of_text_says_its_charset)
{
    for (size_t i = 0; i < VV_COUNT(rows); i++) {
        if (strncmp(rows[i].type, "text/", 5) == 0) {
            VV_CHECK(strstr(rows[i].type, "; charset=utf-8") != NULL);
        }
    }
}

VV_TEST(mime_looks_at_the_last_extension_in_any_case)
{
    VV_CHECK_SLICE(vv_mime_of(VV_STR("INDEX.HTML"))->type, "text/html; charset=utf-8");
    VV_CHECK_SLICE(vv_mime_of(VV_STR("a.tar.gz"))->type, "application/gzip");
    VV_CHECK(vv_mime_of(VV_STR("app.js"))->compressible);
    VV_CHECK(!vv_mime_of(VV_STR("photo.jpg"))->compressible);
}

VV_TEST(mime_of_an_unknown_name_is_bytes)
{
    static const char *const names[] = {
        "",        "README", "a.",           ".html",
        "d/.html", "a.b/c",  "x.unknownext", "x.averyveryverylongextension"};
    for (size_t i = 0; i < VV_COUNT(names); i++) {
        VV_CHECK_SLICE(vv_mime_of(vv_str_from(names[i]))->type, "application/octet-stream");
    }
}
