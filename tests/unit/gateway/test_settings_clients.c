/* tests/unit/gateway/test_settings_clients.c - `clients` of a listener: what is derived, what is refused. */
#include "gateway/address_set.h"
#include "settings_test.h"

#include <unistd.h>

#define TAIL "\nroutes: [{path: /, respond: hello}]\n"

static const struct vv_clients_settings *clients_of(const struct loaded *l)
{
    return &((const struct vv_listen_settings *)l->s->listen->item[0])->clients;
}

VV_TEST(clients_measure_slow_ones_by_default_and_limit_nobody)
{
    struct loaded l = load_fine("listen: 8080" TAIL);
    const struct vv_clients_settings *c = clients_of(&l);
    VV_CHECK_INT(c->min_rate_bytes, 500);
    VV_CHECK_INT(c->grace_ns, 30 * VV_SEC);
    VV_CHECK_INT(c->prefix6, 64);
    VV_CHECK_INT(vv_clients_count(c), false);
    assert_null(c->allow_set);
    assert_null(c->deny_set);
    unload(&l);
}

VV_TEST(clients_rates_become_intervals_and_bursts_a_second_s_worth)
{
    struct loaded l =
        load_fine("listen: {web: {port: 8080, clients: {connections: 256, new: 100/s, "
                  "malformed: 20/min}}}" TAIL);
    const struct vv_clients_settings *c = clients_of(&l);
    VV_CHECK_INT(c->connections, 256);
    VV_CHECK_INT(c->fresh_interval_ns, 10 * VV_MS);
    VV_CHECK_INT(c->fresh_burst, 100);
    VV_CHECK_INT(c->handshakes_interval_ns, 0);
    VV_CHECK_INT(c->malformed_interval_ns, 3 * VV_SEC);
    VV_CHECK_INT(c->malformed_burst, 20); /* that many at once before it is too much */
    VV_CHECK_INT(c->ban_ns, 10 * VV_MINUTE);
    VV_CHECK_INT(vv_clients_count(c), true);
    unload(&l);
    l = load_fine("listen: {web: {port: 8080, clients: {new: 6/min, burst: 7}}}" TAIL);
    VV_CHECK_INT(clients_of(&l)->fresh_interval_ns, 10 * VV_SEC);
    VV_CHECK_INT(clients_of(&l)->fresh_burst, 7);
    unload(&l);
    l = load_fine("listen: {web: {port: 8080, clients: {new: 6/min}}}" TAIL);
    VV_CHECK_INT(clients_of(&l)->fresh_burst, 1);
    unload(&l);
}

static bool is_in(const struct vv_address_set *s, const char *ip)
{
    struct vv_addr a;
    assert_true(vv_addr_from_ip(vv_str_from(ip), 1, &a));
    return vv_address_set_has(s, &a);
}

VV_TEST(clients_lists_become_sets_also_from_files)
{
    char path[] = "/tmp/vivace-deny-XXXXXX", text[512];
    static const char list[] = "# known bad\n203.0.113.0/24\n\n  2001:db8:bad::/48 # and this\r\n";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    VV_CHECK_INT(write(fd, list, sizeof list - 1), sizeof list - 1);
    close(fd);
    snprintf(text, sizeof text,
             "listen: {web: {port: 8080, clients: {allow: [127.0.0.0/8, \"::1\"], deny: "
             "[198.51.100.7, \"@%s\"]}}}" TAIL,
             path);
    const struct vv_conf_source source = {.path = "v.yaml", .text = text};
    struct loaded l = load_source(&source);
    VV_CHECK_STR(l.problems, "");
    const struct vv_clients_settings *c = clients_of(&l);
    VV_CHECK_INT(is_in(c->allow_set, "127.9.9.9"), true);
    VV_CHECK_INT(is_in(c->allow_set, "::1"), true);
    VV_CHECK_INT(is_in(c->allow_set, "10.0.0.1"), false);
    VV_CHECK_INT(is_in(c->deny_set, "198.51.100.7"), true);
    VV_CHECK_INT(is_in(c->deny_set, "203.0.113.200"), true);
    VV_CHECK_INT(is_in(c->deny_set, "2001:db8:bad::1"), true);
    VV_CHECK_INT(is_in(c->deny_set, "2001:db8::1"), false);
    unload(&l);
    unlink(path);
}

VV_TEST(clients_mistakes_are_told_with_what_would_be_right)
{
    check_says("listen: {web: {port: 8080, clients: {deny: [10.0.0.0/99]}}}" TAIL,
               "\"10.0.0.0/99\" is no block of addresses");
    check_says("listen: {web: {port: 8080, clients: {allow: [unix]}}}" TAIL,
               "\"unix\" is no block of addresses");
    check_says("listen: {web: {port: 8080, clients: {new: 100}}}" TAIL,
               "write 100/s, 100/min or 100/h");
    check_says("listen: {web: {port: 8080, clients: {malformed: often}}}" TAIL,
               "\"often\" is no rate");
    check_says("listen: {web: {port: 8080, clients: {conections: 3}}}" TAIL,
               "did you mean \"connections\"?");
    check_says("listen: {web: {port: 8080, clients: {ban: 5m}}}" TAIL,
               "ban does nothing without malformed");
    check_says("listen: {web: {port: 8080, clients: {burst: 5}}}" TAIL,
               "burst does nothing without a rate");
    check_says("listen: {web: {port: 8080, clients: {handshakes: 5/s}}}" TAIL,
               "listener \"web\" has no TLS");
    check_says("listen: {web: {port: 8080, clients: {allow: []}}}" TAIL, "lets nobody in");
    check_says("listen: {web: {port: 8080, clients: {deny: [\"@bad.txt\"]}}}" TAIL,
               "no files may be read here");
}

VV_TEST(clients_lists_in_files_are_told_with_their_lines)
{
    char path[] = "/tmp/vivace-deny-XXXXXX", text[512];
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    VV_CHECK_INT(write(fd, "10.0.0.1\nexample.org\n", 21), 21);
    close(fd);
    snprintf(text, sizeof text, "listen: {web: {port: 8080, clients: {deny: [\"@%s\"]}}}" TAIL,
             path);
    const struct vv_conf_source source = {.path = "v.yaml", .text = text};
    struct loaded l = load_source(&source);
    VV_CHECK_INT(l.errors, 1);
    assert_non_null(strstr(l.problems, "\"example.org\" in line 2 of "));
    assert_non_null(strstr(l.problems, "v.yaml:1:"));
    unload(&l);
    unlink(path);
}
