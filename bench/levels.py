#!/usr/bin/env python3
"""bench/levels.py - what an answer out of Redis costs, and what levels cost a hit in memory.

    levels.py [--seconds 3] [--rounds 5] [--body 1024] [--paths 20000] [--out FILE]

Three servers of one thread answer from one redis-server, one after the other in each round:

    floor     src/floor_store.c: one GET for a request, pipelined, nothing else
    store     Vivace, its memory level too small to help: every answer is a hit in Redis
    direct    redis-benchmark: the same GETs without HTTP, so many at once

and for hits in memory Vivace without (`alone`) and with (`levels`) a level in Redis behind it. CPU is that of the
server alone, in seconds for 1,000 requests, and beside it that of redis-server. Ratios are of neighbours in time.
"""
import argparse
import json
import os
import re
import socket
import statistics
import subprocess

from harness import machine, stand
from harness.server import HERE

CLIENTS = 64

RANDOM = """
local n = tonumber(os.getenv("PATHS"))
function init(args) math.randomseed(os.time()) end
function request() return wrk.format("GET", "/o/" .. math.random(1, n)) end
"""


def cpu(proc):
    """User and system seconds of a process and its children."""
    total = 0
    for pid in machine.tree(proc.pid):
        try:
            with open("/proc/%d/stat" % pid) as f:
                fields = f.read().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def wrk(url, seconds, script):
    out = subprocess.run(["wrk", "-t1", "-c%d" % CLIENTS, "-d%ds" % max(1, round(seconds)), "--latency", "-s", script, url],
                         stdout=subprocess.PIPE, text=True, env=dict(os.environ), check=True).stdout
    return json.loads(re.search(r"JSON(\{.*\})", out).group(1))


def tail(s, url_port, paths, seconds, rate=2000):
    """p99 in ms at a rate that leaves the machine mostly idle: what a hit in Redis takes, not a queue."""
    out = subprocess.run([s.build + "/openload", "-p", str(url_port), "-u", "/o/", "-n", str(paths), "-c", "32", "-r",
                          str(rate), "-t", str(seconds)], stdout=subprocess.PIPE, text=True, check=True).stdout
    got = json.loads(out)
    assert got["errors"] == 0, got
    return {key: got[key] / 1000 for key in ("p50_us", "p99_us")}


class Case:
    def __init__(self, s, redis, script):
        self.s, self.redis, self.script = s, redis, script

    def measure(self, proc, url, seconds):
        wrk(url, 1, self.script)
        before, store = cpu(proc), cpu(self.redis)
        got = wrk(url, seconds, self.script)
        n = got["requests"]
        assert got["errors"] == 0, got
        return dict(rate=n / seconds, cpu=(cpu(proc) - before) / n * 1000, redis=(cpu(self.redis) - store) / n * 1000,
                    p50=got["p50_us"] / 1000, p99=got["p99_us"] / 1000)


def gateway(s, origin, levels, port):
    text = {"listen": "127.0.0.1:%d" % port, "workers": 1, "admin": "none", "access_log": "off",
            "stores": {"local": {"url": "redis://127.0.0.1:%d/0" % s.redis_port}},
            "services": {"app": {"servers": ["127.0.0.1:%d" % origin]}},
            "caches": {"objects": {"levels": levels, "ttl": "1h"}},
            "routes": [{"path": "/", "to": "app", "cache": "objects"}]}
    path = os.path.join(s.tmp, "vivace-%d.yaml" % port)
    with open(path, "w") as f:
        json.dump(text, f)
    return s.start([s.vivace, "run", path], port)


def fill(s, port, paths):
    """Asks for every path once, so that all are in Redis."""
    with socket.create_connection(("127.0.0.1", port)) as c:
        f = c.makefile("rb")
        for at in range(1, paths + 1, 50):
            batch = range(at, min(at + 50, paths + 1))
            c.sendall(b"".join(b"GET /o/%d HTTP/1.1\r\nHost: b\r\n\r\n" % i for i in batch))
            for _ in batch:
                length = 0
                while (line := f.readline()) != b"\r\n":
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                f.read(length)


def direct(s, seconds_redis, body, n=400000):
    """CPU of redis-server for 1,000 pipelined GETs that nothing stands before, and their rate."""
    subprocess.run(["redis-cli", "-p", str(s.redis_port), "SET", "bench:one", "x" * body], stdout=subprocess.DEVNULL)
    before = cpu(seconds_redis)
    out = subprocess.run(["redis-benchmark", "-p", str(s.redis_port), "-c", "1", "-P", str(CLIENTS), "-n", str(n), "-q",
                          "GET", "bench:one"], stdout=subprocess.PIPE, text=True).stdout
    rate = float(re.findall(r"([\d.]+) requests per second", out)[-1])
    return dict(rate=rate, redis=(cpu(seconds_redis) - before) / n * 1000)


def run(args, turn):
    with stand.Stand() as s:
        for name in ("floor_store", "openload"):
            subprocess.run(["make", "-s", "-C", HERE, "OUT=" + s.build, s.build + "/" + name], check=True)
        s.redis_port = machine.free_port()
        redis = s.start(["redis-server", "--port", str(s.redis_port), "--bind", "127.0.0.1", "--save", "",
                         "--dir", s.tmp], s.redis_port)
        origin = machine.free_port()
        with open(os.path.join(s.tmp, "origin.yaml"), "w") as f:
            json.dump({"listen": "127.0.0.1:%d" % origin, "workers": 1, "admin": "none", "access_log": "off",
                       "routes": [{"path": "/", "respond": {"body": "x" * args.body}}]}, f)
        s.start([s.vivace, "run", os.path.join(s.tmp, "origin.yaml")], origin)
        script = os.path.join(s.tmp, "random.lua")
        with open(script, "w") as f, open(os.path.join(HERE, "wrk.lua")) as base:
            f.write(base.read().replace("function init", "local function unused") + RANDOM)
        os.environ["PATHS"] = str(args.paths)
        one = os.path.join(HERE, "wrk.lua")
        port = {name: machine.free_port() for name in ("floor", "store", "alone", "levels")}
        few = [{"memory": "1MB", "entries": 1}, {"store": "local"}]
        much = [{"memory": "256MB"}]
        out = {}
        store = gateway(s, origin, few, port["store"])
        fill(s, port["store"], args.paths)
        subprocess.run("redis-cli -p %d EVAL \"for i=1,%d do redis.call('SET','/o/'..i,string.rep('x',%d)) end\" 0"
                       % (s.redis_port, args.paths, args.body), shell=True, stdout=subprocess.DEVNULL, check=True)
        floor = s.start([s.build + "/floor_store", "-p", str(port["floor"]), "-r", str(s.redis_port)], port["floor"])
        servers = [("floor", floor), ("store", store)]
        for name, proc in servers if turn % 2 == 0 else servers[::-1]:
            out[name] = Case(s, redis, script).measure(proc, "http://127.0.0.1:%d/o/1" % port[name], args.seconds)
        out["store"]["tail"] = tail(s, port["store"], args.paths, args.seconds)
        out["direct"] = direct(s, redis, args.body)
        alone = gateway(s, origin, much, port["alone"])
        levels = gateway(s, origin, much + [{"store": "local"}], port["levels"])
        servers = [("alone", alone), ("levels", levels)]
        for name, proc in servers if turn % 2 == 0 else servers[::-1]:
            out[name] = Case(s, redis, one).measure(proc, "http://127.0.0.1:%d/o/1" % port[name], args.seconds)
        return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--body", type=int, default=1024)
    parser.add_argument("--paths", type=int, default=20000)
    parser.add_argument("--out")
    args = parser.parse_args()
    rows = []
    for turn in range(args.rounds):
        rows.append(run(args, turn))
        print(json.dumps(rows[-1]), flush=True)
        if args.out:
            with open(args.out, "a") as f:
                f.write(json.dumps(rows[-1]) + "\n")
    med = statistics.median
    print("L2 hit: CPU %.2f of the floor's (%.2f with redis-server's on both sides), rate %.2f; at 2,000/s p50 %.2f p99 %.2f ms" % (
        med(r["store"]["cpu"] / r["floor"]["cpu"] for r in rows),
        med((r["store"]["cpu"] + r["store"]["redis"]) / (r["floor"]["cpu"] + r["floor"]["redis"]) for r in rows),
        med(r["store"]["rate"] / r["floor"]["rate"] for r in rows), med(r["store"]["tail"]["p50_us"] for r in rows), med(r["store"]["tail"]["p99_us"] for r in rows)))
    print("L1 hit with levels: CPU %.3f, rate %.3f of without" % (
        med(r["levels"]["cpu"] / r["alone"]["cpu"] for r in rows),
        med(r["levels"]["rate"] / r["alone"]["rate"] for r in rows)))


if __name__ == "__main__":
    main()
