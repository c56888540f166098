/* src/app/welcome.c - one block, addresses a browser understands, and the next two commands. */
#include "app/welcome.h"
#include "app/version.h"

#include <unistd.h>

/* ":8080" is every address; a person opens it as localhost. */
static void print_address(FILE *out, const char *address)
{
    if (strncmp(address, "unix:", 5) == 0) {
        (void)fprintf(out, "%s", address);
        return;
    }
    const char *colon = strrchr(address, ':');
    const bool bare = colon == NULL;
    const bool any = bare || colon == address || strncmp(address, "0.0.0.0:", 8) == 0 ||
                     strncmp(address, "[::]:", 5) == 0;
    if (any) {
        (void)fprintf(out, "http://localhost:%s", bare ? address : colon + 1);
    } else {
        (void)fprintf(out, "http://%s", address);
    }
}

void vv_welcome(const struct vv_run *run, const struct vv_settings *s, FILE *out)
{
    char buf[32];
    const unsigned threads = vv_run_threads(s);
    (void)fprintf(out, "\n  Vivace %s\n\n", vv_version);
    for (size_t i = 0; s->listen != NULL && i < s->listen->count; i++) {
        const struct vv_listen_settings *l = s->listen->item[i];
        (void)fprintf(out, "  %-10s", i == 0 ? "listening" : "");
        print_address(out, vv_run_address(l, buf, sizeof buf));
        (void)fprintf(out, strcmp(l->name, "default") == 0 ? "\n" : "   (%s)\n", l->name);
    }
    if (vv_run_has_admin(s)) {
        (void)fprintf(out, "  %-10s", "admin");
        print_address(out, s->admin);
        (void)fprintf(out, "   metrics at /metrics\n");
    }
    (void)fprintf(out, "  %-10s%s\n", "config", run->path);
    (void)fprintf(out, "  %-10s%zu route%s, %zu service%s, %u worker thread%s, process %d\n", "",
                  s->routes != NULL ? s->routes->count : 0,
                  s->routes != NULL && s->routes->count == 1 ? "" : "s",
                  s->services != NULL ? s->services->count : 0,
                  s->services != NULL && s->services->count == 1 ? "" : "s", threads,
                  threads == 1 ? "" : "s", (int)getpid());
    (void)fprintf(out, "\n  watch it with `vivace top`; Ctrl-C drains and stops\n\n");
    (void)fflush(out);
}
