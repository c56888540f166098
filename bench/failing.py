#!/usr/bin/env python3
"""bench/failing.py - errors and extra load while one server of four does not do its work.

    failing.py [--cases dead,slow] [--servers vivace,nginx] [--seconds 10] [--rounds 1] [--out FILE]

Four servers of 8 places, 8 ms each (4,000/s together), 1,000 requests/s evenly spaced, open loop, clients
that give up after 1 s. The last server is

    dead              its port is closed          silent            it accepts and never answers
    slow              ten times slower            flapping          dead for 0.5 s of every 2 s
    flapping-silent   silent for 0.5 s of every 2 s

The first window (`--window`, 10 s) is counted apart. `requests more` is what reached the servers beyond what clients
sent: retries and hedges. The case `breaker` is another one: a service that answers every request with
500 in 1 ms, beside one that works; 500 requests/s to each.
"""
import argparse
import contextlib
import signal
import sys
import threading
import time

from harness import report, stand

RATE = 1000
POOL = ("--places", 8, "--service-us", 8000)
CASES = {"dead": None, "silent": None, "slow": None,
         "flapping": (signal.SIGUSR1, signal.SIGUSR2),
         "flapping-silent": (signal.SIGSTOP, signal.SIGCONT)}

# What docs/howto recommends where requests may be repeated.
CAREFUL = dict(balance="peak_ewma", first_byte_timeout="300ms", hedge=True,
               retries=dict(max=2, when=["connect", "broken", "timeout", "502", "503", "504"]))
NGINX_CAREFUL = """proxy_connect_timeout 300ms; proxy_read_timeout 300ms; proxy_next_upstream_tries 3;
            proxy_next_upstream error timeout http_502 http_503 http_504;"""
HAPROXY_CAREFUL = """    balance leastconn
    option redispatch 1
    retries 2
    retry-on conn-failure empty-response response-timeout 502 503 504
    default-server check inter 1s fall 2 rise 2 observe layer4 error-limit 5 on-error mark-down
"""


def start(s, name, servers):
    if name.startswith("vivace"):
        return s.gateway("vivace", services={
            "app": dict(CAREFUL if name.endswith("careful") else {}, servers=servers)})
    if name.startswith("nginx"):
        careful = name.endswith("careful")
        return s.gateway("nginx", upstream=("least_conn; " if careful else "") +
                         " ".join("server %s;" % x for x in servers), location=NGINX_CAREFUL * careful)
    careful = name.endswith("careful")
    return s.gateway("haproxy", timeouts="    timeout connect 300ms\n    timeout server 300ms" * careful,
                     backend=HAPROXY_CAREFUL * careful +
                     "\n".join("    server s%d %s" % pair for pair in enumerate(servers)))


SERVERS = ["vivace", "vivace careful", "nginx", "nginx careful", "haproxy", "haproxy careful"]


@contextlib.contextmanager
def failing(pool, case):
    """The pool's server fails in the way of the case until the block ends."""
    over = threading.Event()

    def flap(bad, good):
        while not over.is_set():
            pool.send(bad)
            time.sleep(0.5)
            pool.send(good)
            over.wait(1.5)

    thread = None
    if CASES[case]:
        thread = threading.Thread(target=flap, args=CASES[case])
        thread.start()
    elif case != "slow":
        pool.send(signal.SIGUSR1 if case == "dead" else signal.SIGSTOP)
    yield
    over.set()
    if thread:
        thread.join()
    pool.send(signal.SIGCONT)
    pool.send(signal.SIGUSR2)


def run(name, case, window, seconds, turn):
    with stand.Stand() as s:
        good = s.pool(3, *POOL)
        bad = s.pool(1, *POOL, *["--slow", "0:10"] * (case == "slow"))
        url = start(s, name, good.servers + bad.servers)
        s.load(url, RATE, 1).result()
        before = good.requests() + bad.requests()
        with failing(bad, case):
            first = s.load(url, RATE, window)
            time.sleep(window)
            got = s.load(url, RATE, seconds).result()
        first = first.result()
        time.sleep(0.2)
        sent = good.requests() + bad.requests() - before
    offered = first["offered"] + got["offered"]
    return dict(server=name, case=case, round=turn, first_error_share=first["error_share"],
                error_share=got["error_share"], errors=got["errors"], offered=got["offered"],
                p50=got["p50"], p99=got["p99"], p999=got["p999"], extra=sent / offered - 1)


def run_breaker(seconds):
    """The route beside a failing one, its times without and with the failing one's traffic."""
    with stand.Stand() as s:
        good = s.pool(1, *POOL)
        bad = s.pool(1, "--places", 1000, "--service-us", 1000, "--status", 500)
        url = s.gateway("vivace", services={"good": dict(servers=good.servers),
                                            "bad": dict(servers=bad.servers, breaker="bad")},
                        routes=[dict(path="/bad", to="bad"), dict(path="/", to="good")],
                        more=dict(breakers={"bad": dict(failures=5, recover="2s")}))
        s.load(url, RATE / 2, 1).result()
        alone = s.load(url, RATE / 2, seconds).result()
        s.load(url + "bad", RATE / 2, 1).result()
        before = bad.requests()
        beside = s.load(url + "bad", RATE / 2, seconds)
        both = s.load(url, RATE / 2, seconds).result()
        beside = beside.result()
        probes = bad.requests() - before
    return dict(case="breaker", seconds=seconds, refused=beside["refused"], offered=beside["offered"],
                probes=probes, alone_p99=alone["p99"], beside_p99=both["p99"],
                ratio=both["p99"] / alone["p99"], errors=both["errors"])


HEAD = ["server 4 is", "gateway", "errors at first", "errors then", "p50", "p99", "p99.9",
        "requests more"]


def table(rows):
    out = []
    for case in CASES:
        for name in SERVERS:
            group = [r for r in rows if (r["case"], r.get("server")) == (case, name)]
            if group:
                m = {key: stand.median([r[key] for r in group]) for key in
                     ("first_error_share", "error_share", "p50", "p99", "p999", "extra")}
                out.append([case, name, "%.2f %%" % (m["first_error_share"] * 100),
                            "%.2f %%" % (m["error_share"] * 100)]
                           + [report.fmt(m[key], "%.1f ms") for key in ("p50", "p99", "p999")]
                           + ["%.1f %%" % (m["extra"] * 100)])
    return out


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--rounds", type=int, default=1)
    ap.add_argument("--window", type=int, default=10)
    ap.add_argument("--seconds", type=int, default=10)
    ap.add_argument("--cases", default=",".join(list(CASES) + ["breaker"]))
    ap.add_argument("--servers", default=",".join(SERVERS))
    ap.add_argument("--markdown", action="store_true")
    ap.add_argument("--out", help="append JSON lines to this file")
    args = ap.parse_args()
    sink = open(args.out, "a") if args.out else None
    stand.note(sink, stand.head("./dev bench failing " + " ".join(sys.argv[1:])))
    rows = []
    for turn in range(args.rounds):
        for case in args.cases.split(","):
            names = [None] if case == "breaker" else args.servers.split(",")[::1 if turn % 2 == 0 else -1]
            for name in names:
                rows.append(run_breaker(args.seconds) if case == "breaker"
                            else run(name, case, args.window, args.seconds, turn))
                stand.note(sink, rows[-1])
                print(rows[-1], file=sys.stderr, flush=True)
    report.print_table(HEAD, table(rows), args.markdown, left=2)
    for r in rows:
        if r["case"] == "breaker":
            print("\nA service that only fails, behind a breaker: %d requests in %d s, %d reached it; p99 of the "
                  "route beside it %.2f ms without and %.2f ms with them, %.2f times."
                  % (r["offered"], r["seconds"], r["probes"], r["alone_p99"], r["beside_p99"], r["ratio"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
