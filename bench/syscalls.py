#!/usr/bin/env python3
"""bench/syscalls.py - system calls per request of each server in a scenario, counted with strace.

    syscalls.py --servers vivace,nginx --scenarios proxy1k

Timings under strace mean nothing; only the counts do. The load is closed-loop with the scenario's
connections, so the number of waits per request is that of a busy server.
"""
import argparse
import os
import re
import signal
import subprocess
import sys
import time

from harness import measure
from harness.machine import Failed, tree
from harness.server import HERE, Bench, Server


def count(server, seconds):
    """({call: number}, requests) while the server is loaded."""
    out = os.path.join(server.run, "strace.txt")
    command = ["strace", "-f", "-c", "-U", "calls,name", "-o", out]
    for pid in tree(server.proc.pid):
        command += ["-p", str(pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    time.sleep(0.7)
    r = measure.CLOSED[server.sc["load"]](server, seconds)
    tracer.send_signal(signal.SIGINT)
    tracer.wait(10)
    with open(out) as f:
        calls = {m.group(2): int(m.group(1))
                 for m in re.finditer(r"^\s*(\d+)\s+(\w+)$", f.read(), re.M)}
    calls.pop("total", None)
    return calls, max(1, r["requests"])


def main():
    ap = argparse.ArgumentParser(description=__doc__,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--servers", required=True)
    ap.add_argument("--scenarios", default="proxy1k")
    ap.add_argument("--peers", default=os.path.join(HERE, "peers.toml"))
    ap.add_argument("--top", type=int, default=9)
    args = ap.parse_args()
    args.add, args.workers = None, 1
    args.server_cpus, args.loader_cpus, args.origin_cpus = {0}, {1}, {1}
    bench = Bench(args)
    try:
        bench.start_origin()
        for scenario in args.scenarios.split(","):
            for name in args.servers.split(","):
                if not bench.supports(name, scenario):
                    continue
                try:
                    with Server(bench, name, scenario) as server:
                        server.check()
                        measure.CLOSED[server.sc["load"]](server, 1)
                        calls, requests = count(server, 3)
                except (Failed, OSError, subprocess.SubprocessError) as e:
                    print("%-20s %-10s failed: %s" % (name, scenario, e))
                    continue
                top = sorted(calls.items(), key=lambda kv: -kv[1])[:args.top]
                print("%-20s %-10s %6.2f calls/request: %s" % (
                    name, scenario, sum(calls.values()) / requests,
                    ", ".join("%s %.2f" % (call, n / requests) for call, n in top
                              if n / requests >= 0.01)), flush=True)
    finally:
        bench.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
