#!/usr/bin/env python3
"""bench/antagonist.py - the tail of times when some servers are slow and one is slow now and then.

    antagonist.py [--rounds 3] [--seconds 20] [--load 0.7] [--servers ...] [--out FILE]

Ten servers of 4 places, exponential times of mean 10 ms; five of them take twice as long, and the last
one ten times as long on top, for 1 s in every 4. Poisson arrivals at `--load` of what the ten can do
without the antagonist (3,000/s), open loop. Who picks by requests in flight only is what to beat.
"""
import argparse
import sys

from harness import report, stand

CAPACITY = 5 * 4 * 100 + 5 * 4 * 50
BALANCE = {"vivace peak_ewma": dict(balance="peak_ewma"),
           "vivace peak_ewma, hedge": dict(balance="peak_ewma", hedge=True),
           "vivace least_conn": dict(balance="least_conn")}
NAMES = list(BALANCE) + ["nginx least_conn", "haproxy leastconn"]
BASE = "vivace least_conn"


def gateway(s, name, pool):
    if name in BALANCE:
        return s.gateway("vivace", services={"app": dict(BALANCE[name], servers=pool.servers)})
    if name.startswith("nginx"):
        servers = " ".join("server %s;" % x for x in pool.servers)
        return s.gateway("nginx", upstream="least_conn; " + servers)
    lines = ["    balance leastconn"]
    lines += ["    server s%d %s" % pair for pair in enumerate(pool.servers)]
    return s.gateway("haproxy", backend="\n".join(lines))


def run(name, args, turn):
    with stand.Stand() as s:
        pool = s.pool(10, "--places", 4, "--service-us", 10000, "--exp", "--slow", "5:2",
                      "--antagonist", "9:10:1000:3000", "--seed", turn + 1)
        url = gateway(s, name, pool)
        rate = args.load * CAPACITY
        s.load(url, rate, 4, poisson=True).result()
        before = pool.requests()
        got = s.load(url, rate, args.seconds, poisson=True).result()
        sent = pool.requests() - before
    return dict(server=name, round=turn, load=args.load, rate=rate, extra=sent / got["offered"] - 1,
                **{key: got[key] for key in ("offered", "errors", "p50", "p99", "p999", "max", "late")})


HEAD = ["gateway", "p50", "p99", "p99.9", "p99.9 to %s" % BASE, "requests more", "errors"]


def table(rows):
    base = {r["round"]: r["p999"] for r in rows if r["server"] == BASE}
    out = []
    for name in NAMES:
        group = [r for r in rows if r["server"] == name]
        if group:
            ratios = [r["p999"] / base[r["round"]] for r in group if r["round"] in base]
            out.append([name] + ["%.0f ms" % stand.median([r[key] for r in group])
                                 for key in ("p50", "p99", "p999")]
                       + [report.fmt(stand.median(ratios), "%.2f"),
                          "%.1f %%" % (stand.median([r["extra"] for r in group]) * 100),
                          str(sum(r["errors"] for r in group))])
    return out


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--seconds", type=int, default=20)
    ap.add_argument("--load", type=float, default=0.7)
    ap.add_argument("--servers", default=";".join(NAMES), help="names, with semicolons between")
    ap.add_argument("--markdown", action="store_true")
    ap.add_argument("--out", help="append JSON lines to this file")
    args = ap.parse_args()
    sink = open(args.out, "a") if args.out else None
    stand.note(sink, stand.head("./dev bench antagonist " + " ".join(sys.argv[1:])))
    rows = []
    for turn in range(args.rounds):
        for name in args.servers.split(";")[::1 if turn % 2 == 0 else -1]:
            rows.append(run(name, args, turn))
            stand.note(sink, rows[-1])
            print(rows[-1], file=sys.stderr, flush=True)
    report.print_table(HEAD, table(rows), args.markdown)
    return 0


if __name__ == "__main__":
    sys.exit(main())
