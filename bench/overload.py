#!/usr/bin/env python3
"""bench/overload.py - what clients get when more is asked than a service can do.

    overload.py --report FILE
    overload.py [--rounds 3] [--seconds 5] [--servers vivace,nginx] [--service even] [--out FILE]

A service does 1,000 requests/s: 8 places, 8 ms each. `even`: always 8 ms and arrivals evenly spaced;
`random`: exponential times and Poisson arrivals. Load, open loop: 0.8 of that, then 2 or 4 times as much
as it can do, then 0.5. Clients give up after 1 s, and the service does what it began for them anyway.
The onset, the first second of too much, is counted apart. Recovery is the end of the first second after
the fall from which every request is answered with 200, p99 within twice that at 0.8. Ratios are to the
least p99 at 0.8 of all rounds, which is the strictest; other figures are medians.
"""
import argparse
import json
import sys
import time

from harness import report, stand

CAPACITY, PLACES, SERVICE_US = 1000, 8, 8000
ONSET, REST = 1, 3


def one_haproxy(server, queue=""):
    return dict(backend="    server app %%s %s" % server, timeouts=queue)


# What a name stands for: kind of gateway, and its configuration with %s for the server. The tuned ones
# are told the capacity; the others, Vivace's `auto` among them, are not.
GATEWAYS = {
    "vivace": ("vivace", dict(concurrency="auto")),
    "vivace-told": ("vivace", dict(concurrency=PLACES)),
    "nginx": ("nginx", dict(upstream="server %s;")),
    "nginx-told": ("nginx", dict(upstream="zone z 64k; server %%s max_conns=%d;" % PLACES)),
    "haproxy": ("haproxy", one_haproxy("")),
    "haproxy-told": ("haproxy", one_haproxy("maxconn %d" % PLACES, "    timeout queue 5ms")),
}


def begin(s, name, service):
    random = service == "random"
    pool = s.pool(1, "--places", PLACES, "--service-us", SERVICE_US, *["--exp"] * random)
    kind, text = GATEWAYS[name]
    if kind == "vivace":
        return s.gateway(kind, services={"app": dict(text, servers=pool.servers)})
    return s.gateway(kind, **{key: value.replace("%s", pool.servers[0]) for key, value in text.items()})


def recovered_after(rest, bound_ms):
    """Seconds after the fall; None: not within what was watched."""
    whole = [second for second in rest["each"] if second["offered"] > 0]
    for at in range(len(whole)):
        if all(second["failed"] == 0 and second["p99"] <= bound_ms for second in whole[at:]):
            return at
    return None


def run(name, factor, service, seconds, turn):
    random = service == "random"
    with stand.Stand() as s:
        url = begin(s, name, service)
        s.load(url, 0.5 * CAPACITY, 1, random).result()
        calm = s.load(url, 0.8 * CAPACITY, max(2, seconds - 1), random).result()
        onset = s.load(url, factor * CAPACITY, ONSET, random)
        time.sleep(ONSET)  # the next begins when the last has sent, not when it has its answers
        steady = s.load(url, factor * CAPACITY, seconds, random)
        time.sleep(seconds)
        rest = s.load(url, 0.5 * CAPACITY, REST, random).result()
        onset, steady = onset.result(), steady.result()
    good = (onset["good"] + steady["good"]) / (ONSET + seconds)
    return dict(server=name, factor=factor, service=service, round=turn, calm_p99_ms=calm["p99"],
                calm_errors=calm["errors"], goodput=good, steady_goodput=steady["goodput"],
                onset_p99_ms=onset["p99"], p50_ms=steady["p50"], p99_ms=steady["p99"],
                refused=onset["refused"] + steady["refused"],
                recovered_s=recovered_after(rest, 2 * calm["p99"]))


HEAD = ["gateway", "load", "goodput/s", "of capacity", "p99 at 0.8", "p99 of admitted", "ratio",
        "p99 in the first second", "errors at 0.8", "recovered after"]


def table(rows):
    out = []
    for name in GATEWAYS:
        for factor in (2, 4):
            group = [r for r in rows if (r["server"], r["factor"]) == (name, factor)]
            if not group:
                continue
            m = {key: stand.median([r[key] for r in group]) for key in group[0]
                 if key not in ("server", "service")}
            calm = min(r["calm_p99_ms"] for r in rows if r["server"] == name)
            known = [r["recovered_s"] for r in group if r["recovered_s"] is not None]
            out.append([name, "%dx" % factor, "%.0f" % m["goodput"], "%.0f %%" % (m["goodput"] / CAPACITY * 100),
                        "%.1f ms" % calm, report.fmt(m["p99_ms"], "%.1f ms"),
                        report.fmt(m["p99_ms"] and m["p99_ms"] / calm, "%.2f"), report.fmt(m["onset_p99_ms"], "%.1f ms"),
                        "%d" % sum(r["calm_errors"] for r in group),
                        "%d s" % max(known) if len(known) == len(group) else "> %d s" % REST])
    return out


def show(service, rows, markdown):
    print("\nservice times and arrivals: %s" % service)
    report.print_table(HEAD, table(rows), markdown, left=2)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--seconds", type=int, default=5, help="of overload after its first second")
    ap.add_argument("--servers", default=",".join(GATEWAYS))
    ap.add_argument("--service", default="even,random", help="even, random, or both")
    ap.add_argument("--factors", default="2,4")
    ap.add_argument("--markdown", action="store_true")
    ap.add_argument("--out", help="append JSON lines to this file")
    ap.add_argument("--report", metavar="FILE", help="only print the tables of such a file")
    args = ap.parse_args()
    if args.report:
        with open(args.report) as f:
            rows = [row for row in map(json.loads, f) if "machine" not in row]
        for service in dict.fromkeys(row["service"] for row in rows):
            show(service, [row for row in rows if row["service"] == service], args.markdown)
        return 0
    sink = open(args.out, "a") if args.out else None
    stand.note(sink, stand.head("./dev bench overload " + " ".join(sys.argv[1:])))
    for service in args.service.split(","):
        rows = []
        for turn in range(args.rounds):
            for name in args.servers.split(",")[::1 if turn % 2 == 0 else -1]:
                for factor in map(int, args.factors.split(",")):
                    rows.append(run(name, factor, service, args.seconds, turn))
                    stand.note(sink, rows[-1])
                    print(rows[-1], file=sys.stderr, flush=True)
        show(service, rows, args.markdown)
    return 0


if __name__ == "__main__":
    sys.exit(main())
