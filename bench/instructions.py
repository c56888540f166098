#!/usr/bin/env python3
"""bench/instructions.py - instructions per request of a server in a scenario, counted by callgrind.

    instructions.py --servers vivace --scenarios hit1k,tlskeep
    instructions.py --servers before=/tmp/old/vivace,after=/tmp/new/vivace --scenarios proxy1k

Exact and the same on a busy machine, unlike times; but an instruction of the kernel does not count,
nor does what the processor makes of one. One connection asks once at a time (over HTTP/2 so often at
a time as the scenario says), so every request pays for a wake of its own. With NAME=BINARY that
Vivace is measured. --top N names the functions that take most.
"""
import argparse
import collections
import os
import re
import shlex
import socket
import subprocess
import sys
import time

from harness.machine import Failed, tree
from harness.server import HERE, Bench, Server


def ask_anew(server, count):
    """So many requests, each on a connection of its own; the server closes it."""
    text = ("GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n"
            % (server.sc["path"], server.port)).encode()
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", server.port), 20) as s:
            s.sendall(text)
            got = b""
            while piece := s.recv(65536):
                got += piece
        if len(got) < server.body_bytes:
            raise Failed("an answer of %d bytes" % len(got))


def load(server, count):
    """So many requests, exactly."""
    sc, env = server.sc, dict(os.environ, OPENSSL_CONF=server.bench.client)
    if sc["load"] == "wrk" and sc.get("close"):
        return ask_anew(server, count)
    if sc["load"] == "tlsload":
        command = [os.path.join(server.bench.build, "tlsload"), "-p", str(server.port), "-u", sc["path"],
                   "-c", "1", "-t", "120", "-n", str(server.body_bytes), "-N", str(count)]
        command += ["-r"] if sc.get("resume") else []
        out = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=150).stdout
        good = re.search(r'"requests":%d,"errors":0,' % count, out)
    else:
        command = ["h2load", "-n%d" % count, "-c1", "-t1", "-m%d" % sc.get("streams", 1), server.url()]
        command += ["-H", "Accept-Encoding: gzip"] if sc.get("gzip") else []
        command += [] if sc["load"] == "h2load" else ["--h1"]
        out = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=150, env=env).stdout
        good = re.search(r" %d succeeded, 0 failed" % count, out)
    if not good:
        raise Failed("the loader said: " + out[-300:])


def control(pid, *options):
    subprocess.run(["callgrind_control", *options, str(pid)], check=True, timeout=60,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def functions(path):
    """({function: instructions of its own}, {function: with what it calls}) of one file of callgrind.
    What calls itself counts more than once in the second."""
    names, now, own, whole, called = {}, {}, collections.Counter(), collections.Counter(), False
    with open(path) as f:
        for line in f:
            named = re.match(r"(c?)(fn|ob)=\((\d+)\)(?: (.*))?$", line)
            if named:
                caller, kind, number, text = named.groups()
                if text:
                    names[kind, number] = os.path.basename(text) if kind == "ob" else text
                now[caller + kind] = names[kind, number]
                if caller + kind == "ob":
                    now.pop("cob", None)
            elif line.startswith("calls="):
                called = True  # the next line is what the callee took
            elif re.match(r"[-+*\d]\S* \d+$", line):
                if called:
                    whole[now["cfn"], now.pop("cob", now.get("ob"))] += int(line.split()[1])
                else:
                    own[now["fn"], now.get("ob")] += int(line.split()[1])
                called = False
    return own, whole


def count_once(server, count, number):
    """What functions() found in all processes while so many requests were answered."""
    pids = tree(server.proc.pid)
    for pid in pids:
        control(pid, "-z")
    load(server, count)
    for pid in pids:
        control(pid, "-d")
    time.sleep(0.3)
    own, whole = collections.Counter(), collections.Counter()
    for pid in pids:
        path = os.path.join(server.run, "out.%d.%d" % (pid, number))
        if os.path.exists(path):  # helpers may have ended
            for total, part in zip((own, whole), functions(path)):
                total.update(part)
    return own, whole


def measure(server, args):
    """(instructions per request, lines of the functions that take most) of the best of --repeat: what a
    second costs without a request is in it, so the quickest run is nearest to the truth."""
    count = args.requests
    load(server, max(64, count // 5))
    own, whole = min((count_once(server, count, i + 1) for i in range(args.repeat)),
                     key=lambda pair: sum(pair[0].values()))
    return (sum(own.values()) / count, ["%10.1f  %s (%s)" % (ir / count, *name) for name, ir
                                        in (whole if args.inclusive else own).most_common(args.top)])


def main():
    ap = argparse.ArgumentParser(description=__doc__,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--servers", required=True)
    ap.add_argument("--scenarios", default="hit1k")
    ap.add_argument("--requests", type=int, default=2000)
    ap.add_argument("--repeat", type=int, default=3)
    ap.add_argument("--top", type=int, default=0, metavar="N")
    ap.add_argument("--inclusive", action="store_true", help="with what they call")
    ap.add_argument("--peers", default=os.path.join(HERE, "peers.toml"))
    args = ap.parse_args()
    args.add, args.workers = None, 1
    args.server_cpus = args.loader_cpus = args.origin_cpus = set()
    bench, bad = Bench(args), 0
    tool = ("valgrind -q --tool=callgrind --callgrind-out-file={run}/out.%p --trace-children=yes --dump-instr=no "
            "--collect-systime=no ")
    names = []
    for text in args.servers.split(","):
        name, _, binary = text.partition("=")
        peer = dict(bench.peers["vivace" if binary else name])
        peer.setdefault("confdir", "vivace" if binary else name)
        peer["command"] = tool + peer["command"].replace("{vivace}", shlex.quote(binary or "{vivace}"))
        bench.peers[name] = peer
        names.append(name)
    try:
        bench.start_origin()
        for scenario in args.scenarios.split(","):
            for name in [n for n in names if bench.supports(n, scenario)]:
                try:
                    with Server(bench, name, scenario) as server:
                        server.check()
                        each, lines = measure(server, args)
                    print("%-18s %-10s %10.1f instructions/request" % (name, scenario, each), flush=True)
                    print("".join(line + "\n" for line in lines), end="", flush=True)
                except (Failed, OSError, subprocess.SubprocessError) as e:
                    bad += 1
                    print("%-18s %-10s failed: %s" % (name, scenario, e), flush=True)
    finally:
        bench.close()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
