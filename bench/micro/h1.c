/* bench/micro/h1.c - how long does one HTTP/1 head take? Prints ns per parse for typical heads.
 *
 * The best of several rounds is shown: noise only ever adds. Run it alone on an idle core:
 * `meson compile -C build bench_h1 && taskset -c 1 build/src/wire/bench_h1`. */
#include "wire/http1.h"
#include <stdio.h>
#include <time.h>

#define ROUNDS 15
#define PARSES 200000

static const struct vv_h1_limits limits = {.line_bytes = 8192, .head_bytes = 65536, .fields = 100};

static const char bench_client[] = "GET /api/products?page=2 HTTP/1.1\r\n"
                                   "Host: shop.example\r\n"
                                   "User-Agent: load/1.0\r\n"
                                   "Accept: */*\r\n"
                                   "Accept-Encoding: gzip\r\n"
                                   "X-Request-Id: 0123456789abcdef\r\n"
                                   "\r\n";

static const char browser[] =
    "GET /catalogue/garden/tools?sort=price&dir=asc&page=3 HTTP/1.1\r\n"
    "Host: www.shop.example\r\n"
    "Connection: keep-alive\r\n"
    "Cache-Control: max-age=0\r\n"
    "Upgrade-Insecure-Requests: 1\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/120.0.0.0 Safari/537.36\r\n"
    "Accept: "
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
    "Sec-Fetch-Site: same-origin\r\n"
    "Sec-Fetch-Mode: navigate\r\n"
    "Sec-Fetch-User: ?1\r\n"
    "Sec-Fetch-Dest: document\r\n"
    "Referer: https://www.shop.example/catalogue/garden\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "Accept-Language: fr-FR,fr;q=0.9,en-US;q=0.8,en;q=0.7\r\n"
    "Cookie: session=1f0c5b7e9a3d4c2b8e6f7a1d0c9b8e7f; theme=dark; consent=1\r\n"
    "\r\n";

static const char answer[] = "HTTP/1.1 200 OK\r\n"
                             "Server: app/2.1\r\n"
                             "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                             "Content-Type: application/json\r\n"
                             "Content-Length: 1024\r\n"
                             "ETag: \"5f2c-18a3\"\r\n"
                             "Connection: keep-alive\r\n"
                             "\r\n";

static struct vv_h1_head head;

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static enum vv_err parse(struct vv_str bytes, bool is_answer)
{
    vv_h1_head_init(&head);
    return is_answer ? vv_h1_parse_answer(&head, bytes, VV_METHOD_GET, &limits)
                     : vv_h1_parse_request(&head, bytes, &limits);
}

static void measure(const char *name, struct vv_str bytes, bool is_answer)
{
    double best = 1e18;
    if (parse(bytes, is_answer) != VV_OK) {
        printf("%-28s refused: %s\n", name, vv_h1_errors[head.error].text);
        return;
    }
    for (int round = 0; round < ROUNDS; round++) {
        const double start = now_ns();
        for (int i = 0; i < PARSES; i++) {
            if (parse(bytes, is_answer) != VV_OK) {
                return;
            }
            __asm__ volatile("" : : "r"(&head) : "memory"); /* the head counts as used */
        }
        const double each = (now_ns() - start) / PARSES;
        best = each < best ? each : best;
    }
    printf("%-28s %4zu bytes %3u fields %7.1f ns\n", name, bytes.n, head.fields_count, best);
}

int main(void)
{
    measure("request, simple client", VV_STR(bench_client), false);
    measure("request, browser", VV_STR(browser), false);
    measure("answer, JSON service", VV_STR(answer), true);
    return 0;
}
