"""Loads a server for a bounded time and turns what happened into one row."""
import contextlib
import http.client
import json
import os
import re
import resource
import subprocess
import time

from .machine import Failed, cpu_of, machine_busy, memory_of, pinner, tree
from .scenarios import SCENARIOS
from .server import HERE, Server

OPENLOAD_WARM_SECONDS = 1


def run_loader(command, cpus, timeout, ready=None, env=None):
    """Returns (output, CPU seconds). ready() is called when the loader says it is, before it goes."""
    p = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True, preexec_fn=pinner(cpus),
                         env=dict(os.environ, **(env or {})))
    try:
        if ready:
            line = p.stdout.readline()
            if line.strip() != "ready":
                raise Failed("the loader said: " + line + p.stdout.read())
            ready()
            p.stdin.write("go\n")
            p.stdin.flush()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        out, _ = p.communicate(timeout=timeout)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    except subprocess.TimeoutExpired:
        raise Failed("the loader did not end")
    finally:
        if p.poll() is None:
            p.kill()
            p.wait()
    if p.returncode:
        raise Failed("the loader failed: " + out[-300:])
    return out, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def load_wrk(server, seconds):
    args, sc = server.bench.args, server.sc
    cpus = server.bench.cpus(sc)[1]
    threads = len(cpus) or sc.get("workers", args.workers)
    command = ["wrk", "-t%d" % threads, "-c%d" % sc["conns"], "-d%ds" % seconds,
               "--timeout", "10s", "-s", os.path.join(HERE, "wrk.lua")]
    if sc.get("close"):
        command += ["-H", "Connection: close"]
    if sc.get("gzip"):
        command += ["-H", "Accept-Encoding: gzip"]
    command.append(server.url())
    if sc.get("pipeline"):
        command += ["--", str(sc["pipeline"])]
    out, cpu = run_loader(command, cpus, seconds + 20, env={"OPENSSL_CONF": server.bench.client})
    m = re.search(r"^JSON(\{.*\})$", out, re.M)
    if not m:
        raise Failed("wrk said: " + out[-300:])
    r = json.loads(m.group(1))
    r.update(seconds=r.pop("duration_us") / 1e6, loader_cpu=cpu)
    # Heads, and the frames of chunks, come on top of a body; an answer not compressed is far above.
    each = r["bytes"] / r["requests"] if r["requests"] else 0
    if r["requests"] and not 0.99 * server.body_bytes < each < 1.1 * server.body_bytes + 2048:
        raise Failed("answers of %.0f bytes each, with bodies of %d" % (each, server.body_bytes))
    r["wire_bytes"] = round(each)
    if sc.get("pipeline"):
        # wrk notes one time for a batch and then adds times it supposes were missed: no percentiles.
        r.update(p50_us=None, p99_us=None, p999_us=None)
    return r


def load_h2(server, seconds):
    sc = server.sc
    cpus = server.bench.cpus(sc)[1]
    log = os.path.join(server.bench.tmp, "h2load.log")  # h2load appends to it
    with contextlib.suppress(OSError):
        os.unlink(log)
    command = ["h2load", "-t%d" % (len(cpus) or 1), "-c%d" % sc["conns"], "-m%d" % sc["streams"],
               "-D%d" % seconds, "--log-file=" + log, server.url()]
    out, cpu = run_loader(command, cpus, seconds + 20, env={"OPENSSL_CONF": server.bench.client})
    took = re.search(r"finished in ([\d.]+)(m?s)", out)
    count = re.search(r"requests: .* (\d+) succeeded, (\d+) failed, \d+ errored, (\d+) timeout", out)
    status = re.search(r"status codes: (\d+) 2xx", out)
    traffic = re.search(r"\((\d+)\) data", out)
    if not (took and count and status and traffic):
        raise Failed("h2load said: " + out[-300:])
    done = int(count.group(1))
    # Answers under way at the end are in the bytes, but not in the count.
    each, slack = int(traffic.group(1)) / max(1, done), sc["conns"] * sc["streams"] / max(1, done)
    if done and not server.body_bytes <= each <= server.body_bytes * (1 + slack):
        raise Failed("bodies of %.1f bytes each instead of %d" % (each, server.body_bytes))
    if int(status.group(1)) < done:
        raise Failed("%s of %d answers were 2xx" % (status.group(1), done))
    with open(log) as f:
        us = sorted(int(line.rsplit("\t", 1)[1]) for line in f)
    return dict(requests=done, errors=int(count.group(2)) + int(count.group(3)),
                seconds=float(took.group(1)) / (1000 if took.group(2) == "ms" else 1), loader_cpu=cpu,
                **{key: us[int(len(us) * q)] if us else None
                   for key, q in (("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999))})


def load_tls(server, seconds):
    sc = server.sc
    command = [os.path.join(server.bench.build, "tlsload"), "-p", str(server.port), "-u", sc["path"],
               "-c", str(sc["conns"]), "-t", str(seconds), "-n", str(server.body_bytes)]
    if sc.get("resume"):
        command.append("-r")
    out, cpu = run_loader(command, server.bench.cpus(sc)[1], seconds + 20)
    r = json.loads(out.strip().splitlines()[-1])
    if r["wrong"]:
        raise Failed("%d wrong answers" % r["wrong"])
    # The first handshake of each of the connections cannot be resumed.
    resumed, handshakes = r.pop("resumed"), r.pop("handshakes")
    if not sc.get("resume") and resumed or sc.get("resume") and resumed < 0.99 * handshakes - sc["conns"]:
        raise Failed("%d of %d handshakes were resumed" % (resumed, handshakes))
    r["loader_cpu"] = cpu
    return r


def load_open(server, seconds, ready):
    args, sc = server.bench.args, server.sc
    command = [os.path.join(server.bench.build, "openload"), "-p", str(server.port),
               "-u", sc["path"], "-c", str(sc["conns"]), "-r", str(sc["rate"]),
               "-t", str(seconds), "-w", str(OPENLOAD_WARM_SECONDS), "-H"]
    if sc.get("prime"):
        command.append("-P")
    out, cpu = run_loader(command, args.loader_cpus, seconds + 60, ready)
    r = json.loads(out.strip().splitlines()[-1])
    if r["non2xx"]:
        raise Failed("%d answers were not 200" % r["non2xx"])
    r["seconds"] += OPENLOAD_WARM_SECONDS  # its warm-up counts in requests and in CPU
    r["loader_cpu"] = cpu
    return r


CLOSED = {"wrk": load_wrk, "h2load": load_h2, "tlsload": load_tls}


class Marks:
    """What the clocks and counters said when the load began."""

    def __init__(self, server):
        self.server = server
        self.memory0 = memory_of(tree(server.proc.pid))

    def begin(self):
        if self.server.sc["load"] == "openload":
            time.sleep(0.3)
        self.pids = tree(self.server.proc.pid)
        self.memory1 = memory_of(self.pids)
        self.origin_pids = tree(self.server.bench.origin.pid)
        self.requests = self.server.bench.origin_requests()
        self.origin = cpu_of(self.origin_pids)
        self.busy = machine_busy()
        self.time, self.cpu = time.monotonic(), cpu_of(self.pids)


def _row(server, marks, r):
    cpu1, busy1, wall = cpu_of(marks.pids), machine_busy(), time.monotonic() - marks.time
    origin = cpu_of(marks.origin_pids)[2] - marks.origin[2]
    reached = server.bench.origin_requests() - marks.requests
    peak, _ = memory_of(tree(server.proc.pid))
    user, system, total = (cpu1[i] - marks.cpu[i] for i in range(3))
    count = max(1, r["requests"])
    others = (busy1[0] - marks.busy[0]) - total - origin - r["loader_cpu"]
    row = dict(
        requests=r["requests"], seconds=round(r["seconds"], 3), errors=r.get("errors", 0),
        req_s=round(r["requests"] / r["seconds"], 1), p50_us=r.get("p50_us"),
        p99_us=r.get("p99_us"), p999_us=r.get("p999_us"),
        cpu_ms_per_1k=round(total * 1e6 / count, 3),
        user_share=round(user / (user + system), 3) if user + system else None,
        server_util=round(total / wall, 3), loader_util=round(r["loader_cpu"] / wall, 3),
        origin_util=round(origin / wall, 3), others_util=round(max(0.0, others) / wall, 3),
        steal_util=round((busy1[1] - marks.busy[1]) / wall, 3), rss_peak_kib=peak,
        origin_requests=reached)
    if server.sc.get("gzip"):
        row.update(body_bytes=server.body_bytes, wire_bytes=r["wire_bytes"])
    if server.sc.get("prime"):
        grown = (marks.memory1[1] - marks.memory0[1]) * 1024
        row.update(pss_empty_kib=marks.memory0[1], pss_idle_kib=marks.memory1[1],
                   conn_bytes=round(grown / server.sc["conns"]))
    if not server.name.startswith("floor"):
        if server.sc.get("origin") and reached < 0.98 * count:
            raise Failed("only %d of %d requests reached the origin" % (reached, count))
        if not server.sc.get("origin") and reached > 5:
            raise Failed("%d requests reached the origin" % reached)
    if row["errors"] > 0.001 * count:
        raise Failed("%d errors in %d requests" % (row["errors"], count))
    return row


def measure(bench, name, scenario, turn):
    """One result: a dict, with ok=False and the reason when the server failed."""
    args, sc = bench.args, SCENARIOS[scenario]
    seconds = max(args.seconds, sc.get("seconds_min", 0))
    row = dict(session=bench.session, time=int(time.time()), server=name, scenario=scenario,
               version=bench.version(name), round=turn, workers=sc.get("workers", args.workers),
               ok=False)
    try:
        with Server(bench, name, scenario) as server:
            server.check()
            closed = CLOSED.get(sc["load"])
            if closed:
                closed(server, args.warm)
                marks = Marks(server)
                marks.begin()
                r = closed(server, seconds)
            else:
                marks = Marks(server)
                r = load_open(server, seconds, marks.begin)
            row.update(_row(server, marks, r), ok=True)
    except (Failed, OSError, subprocess.SubprocessError, http.client.HTTPException,
            json.JSONDecodeError) as e:
        row["error"] = "%s: %s" % (type(e).__name__, e)
    return row
