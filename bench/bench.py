#!/usr/bin/env python3
"""bench/bench.py - compares HTTP gateways on one machine, scenario by scenario.

    bench.py list
    bench.py default
    bench.py run    --servers vivace,nginx --scenarios proxy1k --rounds 3 --out results/today.jsonl
    bench.py report results/*.jsonl --markdown > docs/performance.md
    bench.py overload | failing | antagonist [OPTIONS]     other questions: scripts of their own

Every run starts the server afresh, checks that its answers are right, warms it, loads it for a
bounded time, and ends it. Within a round the servers follow one another, so a ratio is always
between neighbours in time. Servers are described in peers.toml; README.md says more.
"""
import argparse
import contextlib
import io
import json
import os
import resource
import shlex
import subprocess
import sys
import time
import tomllib

from harness import machine, report
from harness.measure import measure
from harness.scenarios import SCENARIOS, TLS, USUAL
from harness.server import HERE, Bench, Server

ROOT = os.path.dirname(HERE)
APART = ("overload", "failing", "antagonist")
DEFAULT_SERVERS = ("floor-proxy,floor-epoll-defer,floor-epoll,floor-tls,vivace,nginx,haproxy,"
                   "varnish,trafficserver,h2o")


def cpu_set(text):
    return {int(x) for x in text.split(",") if x != ""}


def arguments():
    ap = argparse.ArgumentParser(description=__doc__,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = ap.add_subparsers(dest="verb", required=True)
    sub.add_parser("list", help="servers and scenarios")
    rp = sub.add_parser("report", help="summarise result files")
    rp.add_argument("files", nargs="+")
    rp.add_argument("--markdown", action="store_true", help="the whole page docs/performance.md")
    rp.add_argument("--max-disturbance", type=float, default=99.0, metavar="CORES",
                    help="leave out runs during which others took more cores than this")
    for name, text in (("run", "measure"),
                       ("default", "measure the usual set, write results/ and a Markdown table")):
        run = sub.add_parser(name, help=text)
        run.add_argument("--servers", default=DEFAULT_SERVERS if name == "default" else None,
                         required=name == "run", help="names, comma-separated, or 'all'")
        run.add_argument("--scenarios", default="usual",
                         help="names, comma-separated, or 'usual', 'tls' or 'all'")
        run.add_argument("--rounds", type=int, default=3)
        run.add_argument("--seconds", type=int, default=5)
        run.add_argument("--warm", type=int, default=1)
        run.add_argument("--workers", type=int, default=1)
        run.add_argument("--server-cpus", type=cpu_set, default="0", help="cores; '' for any")
        run.add_argument("--loader-cpus", type=cpu_set, default="1", help="cores; '' for any")
        run.add_argument("--origin-cpus", type=cpu_set, default="1", help="cores; '' for any")
        run.add_argument("--quiet", type=float, default=0.2, metavar="CORES",
                         help="wait before a run while the machine uses more than this")
        run.add_argument("--quiet-wait", type=float, default=20, metavar="SECONDS")
        run.add_argument("--tries", type=int, default=1,
                         help="run again when disturbed; the least disturbed run counts")
        run.add_argument("--out", help="append a JSON line for each result to this file")
        run.add_argument("--add", action="append", metavar="NAME=COMMAND",
                         help="override or add a server's command")
        run.add_argument("--check-only", action="store_true",
                         help="start each server, check its answers, and stop")
        run.add_argument("--peers", default=os.path.join(HERE, "peers.toml"))
    return ap.parse_args()


def show_list():
    with open(os.path.join(HERE, "peers.toml"), "rb") as f:
        for name, peer in tomllib.load(f).items():
            print("%-20s %s" % (name, ", ".join(peer.get("kinds", []) + peer.get("scenarios", []))))
    print()
    for name, scenario in SCENARIOS.items():
        print("%-20s %s%s" % (name, scenario["what"], "" if name in USUAL else " (not usual)"))


def raise_descriptor_limit():
    for limit in (200000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            return


def session_of(args, bench, names):
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"],
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return dict(session=bench.session, time=int(time.time()), machine=machine.describe(),
                commit=commit.stdout.strip() or "unknown",
                command="./dev bench " + shlex.join(sys.argv[1:]), workers=args.workers,
                server_cpus=sorted(args.server_cpus), loader_cpus=sorted(args.loader_cpus),
                origin_cpus=sorted(args.origin_cpus),
                missing=[name for name in names if not bench.installed(name)])


def check_one(bench, name, scenario):
    try:
        with Server(bench, name, scenario) as server:
            server.check()
        print("%-20s %-10s right  %s" % (name, scenario, bench.version(name)), flush=True)
        return True
    except (machine.Failed, OSError, subprocess.SubprocessError) as e:
        print("%-20s %-10s WRONG  %s" % (name, scenario, e), flush=True)
        return False


def best_of(bench, args, name, scenario, turn):
    """The first undisturbed run of --tries, or the least disturbed one."""
    best = None
    for _ in range(args.tries):
        machine.wait_quiet(args.quiet, args.quiet_wait)
        row = measure(bench, name, scenario, turn)
        report.show(row)
        if best is None or not best["ok"] or \
                (row["ok"] and report.disturbance(row) < report.disturbance(best)):
            best = row
        if row["ok"] and report.disturbance(row) <= args.quiet:
            break
    return best


def chosen(text, known, sets):
    """The names that text gives: a set of its own, or names that are known."""
    names = list(sets[text]) if text in sets else text.split(",")
    for name in names:
        if name not in known:
            sys.exit("bench.py: there is no %s; see bench.py list" % name)
    return names


def run_all(bench, args, names, sink):
    """Returns (rows, number of failures)."""
    scenarios = chosen(args.scenarios, SCENARIOS, {"usual": USUAL, "tls": TLS, "all": SCENARIOS})
    rows, bad = [], 0
    for scenario in scenarios:
        group = [n for n in names if bench.supports(n, scenario)]
        for turn in range(1 if args.check_only else args.rounds):
            # Every second round goes backwards, so that no server always follows the same one.
            for name in group if turn % 2 == 0 else group[::-1]:
                if args.check_only:
                    bad += not check_one(bench, name, scenario)
                    continue
                row = best_of(bench, args, name, scenario, turn)
                bad += not row["ok"]
                rows.append(row)
                if sink:
                    sink.write(json.dumps(row) + "\n")
                    sink.flush()
    return rows, bad


def run(args):
    for key in ("server_cpus", "loader_cpus", "origin_cpus"):
        if isinstance(getattr(args, key), str):
            setattr(args, key, cpu_set(getattr(args, key)))
    raise_descriptor_limit()
    if args.verb == "default" and not args.out and not args.check_only:
        args.out = os.path.join(ROOT, "results", time.strftime("bench-%Y%m%d-%H%M%S.jsonl"))
    bench, sink = Bench(args), None
    bench.session = "%d-%d" % (int(time.time()), os.getpid())
    try:
        names = chosen(args.servers, bench.peers, {"all": bench.peers})
        session = session_of(args, bench, names)
        if session["missing"]:
            print("not installed, left out: " + ", ".join(session["missing"]), file=sys.stderr)
        if args.out:
            os.makedirs(os.path.dirname(os.path.abspath(args.out)), exist_ok=True)
            sink = open(args.out, "a")
            sink.write(json.dumps(session) + "\n")
        bench.start_origin()
        rows, bad = run_all(bench, args, names, sink)
    finally:
        bench.close()
        if sink:
            sink.close()
    if rows:
        report.report([session], rows)
    if rows and args.verb == "default":
        page = args.out.removesuffix(".jsonl") + ".md"
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            report.report([session], rows, markdown=True)
        with open(page, "w") as f:
            f.write(text.getvalue())
        print("\nwrote %s and %s" % (args.out, page))
    return 1 if bad else 0


def main():
    if len(sys.argv) > 1 and sys.argv[1] in APART:
        os.execv(sys.executable, [sys.executable, os.path.join(HERE, sys.argv[1] + ".py")] + sys.argv[2:])
    args = arguments()
    if args.verb == "list":
        show_list()
        return 0
    if args.verb == "report":
        sessions, rows = report.load(args.files)
        rows = [r for r in rows if not r["ok"] or report.disturbance(r) <= args.max_disturbance]
        report.report(sessions, rows, args.markdown)
        return 0
    return run(args)


if __name__ == "__main__":
    sys.exit(main())
