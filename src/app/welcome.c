/* src/app/welcome.c - one block, addresses a browser understands, and the next two commands. */
#include "app/welcome.h"
#include "app/version.h"
#include "gateway/certs.h"
#include "os/tls_local.h"

#include <string.h>
#include <unistd.h>

/* ":8080" is every address; a person opens it as localhost. */
static void print_address(FILE *out, const char *address, const char *scheme)
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
        (void)fprintf(out, "%s://localhost:%s", scheme, bare ? address : colon + 1);
    } else {
        (void)fprintf(out, "%s://%s", scheme, address);
    }
}

/* Who made the certificate is nobody a browser knows: how to change that, once for a machine. */
static void print_authority(FILE *out, const struct vv_settings *s)
{
    char dir[VV_TLS_LOCAL_PATH], last[VV_TLS_LOCAL_PATH] = "";
    for (size_t i = 0; s->listen != NULL && i < s->listen->count; i++) {
        const struct vv_listen_settings *l = s->listen->item[i];
        if (!l->tls.enabled || !l->tls.local || !vv_certs_local_dir(s, &l->tls, dir, sizeof dir) ||
            strcmp(dir, last) == 0) {
            continue;
        }
        (void)fprintf(out, "  %-10s%s/ca.pem\n", "authority", dir);
        (void)fprintf(
            out, "  %-10scurl --cacert %s/ca.pem https://localhost...; for browsers import it,\n",
            "", dir);
        (void)fprintf(
            out,
            "  %-10sfor this machine: sudo cp %s/ca.pem "
            "/usr/local/share/ca-certificates/vivace.crt && sudo update-ca-certificates\n",
            "", dir);
        memcpy(last, dir, sizeof last);
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
        print_address(out, vv_run_address(l, buf, sizeof buf), l->tls.enabled ? "https" : "http");
        (void)fprintf(out, strcmp(l->name, "default") == 0 ? "\n" : "   (%s)\n", l->name);
    }
    if (vv_run_has_admin(s)) {
        (void)fprintf(out, "  %-10s", "admin");
        print_address(out, s->admin, "http");
        (void)fprintf(out, "   metrics at /metrics\n");
    }
    print_authority(out, s);
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
