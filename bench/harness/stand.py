"""A test stand: servers of known capacity (pool), a gateway before them, open-loop load on it.

For figures about overload and failing servers, where what counts is who gets an answer and when, not
what an answer costs. Everything runs at real-time priority where the system lets it, so that other
work on the machine does not look like a slow gateway; the loads take a part of one core.
"""
import contextlib
import http.client
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from . import machine
from .server import HERE

GIVE_UP = "1s"  # how long a client waits
POOL_PRIORITY, PRIORITY = 2, 1  # a server is never late because of a gateway


def urgent(level):
    """A preexec_fn: real-time priority if allowed, many descriptors."""
    def prepare():
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(level))
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (60000, 60000))
    return prepare


class Pool:
    """Servers in one process."""

    def __init__(self, stand, count, *options):
        self.ports = [machine.free_port() for _ in range(count)]
        command = [os.path.join(stand.build, "pool"), "--ports", ",".join(map(str, self.ports))]
        self.proc = stand.start(command + list(map(str, options)), self.ports[0], POOL_PRIORITY)
        self.servers = ["127.0.0.1:%d" % port for port in self.ports]

    def stats(self):
        """[{requests, answered, longest, queue}], one for each server."""
        c = http.client.HTTPConnection("127.0.0.1", self.ports[0], timeout=5)
        c.request("GET", "/-/stats")
        out = json.loads(c.getresponse().read())
        c.close()
        return out

    def requests(self):
        return sum(server["requests"] for server in self.stats())

    def send(self, number):
        os.kill(self.proc.pid, number)


class Load:
    """`vivace load` under way: so many requests a second, evenly or at random, for so long."""

    def __init__(self, stand, url, rate, seconds, poisson=False):
        self.out = tempfile.mktemp(prefix="load.", dir=stand.tmp)
        command = [stand.vivace, "load", url, "--rate", str(rate), "--for", "%gs" % seconds,
                   "--timeout", GIVE_UP, "--expect", "200", "--allow-late", "--quiet", "-o", self.out]
        self.proc = subprocess.Popen(command + ["--poisson"] * poisson, stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL, preexec_fn=urgent(PRIORITY))
        stand.procs.append(self.proc)
        self.seconds = seconds

    def result(self):
        """What came of it; times in milliseconds, of answers with 200 only."""
        self.proc.wait(self.seconds + 30)
        with open(self.out) as f:
            report = json.load(f)
        counters, ours = report["aggregate"]["counters"], report["vivace"]
        times = report["aggregate"]["summaries"].get("http.response_time.2xx", {})
        good = counters.get("http.codes.200", 0)
        return dict(offered=ours["offered"], good=good, goodput=good / self.seconds,
                    refused=counters.get("http.codes.503", 0) + counters.get("http.codes.502", 0),
                    errors=ours["offered"] - good, error_share=1 - good / max(1, ours["offered"]),
                    p50=times.get("median"), p99=times.get("p99"), p999=times.get("p999"),
                    max=times.get("max"), late=ours["late_starts"],
                    each=[{key: second[key] for key in ("offered", "responses", "failed", "p99")}
                          for second in ours["seconds"]])


class Stand:
    """Owns processes and a folder; a context manager."""

    def __init__(self):
        self.vivace = os.environ.get("VIVACE", "vivace")
        self.build = os.environ.get("BENCH_BUILD") or os.path.join(HERE, "build")
        self.procs = []

    def __enter__(self):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started ends too
        subprocess.run(["make", "-s", "-C", HERE, "OUT=" + self.build, self.build + "/pool"], check=True)
        self.tmp = tempfile.mkdtemp(prefix="stand.")
        os.chmod(self.tmp, 0o755)
        return self

    def __exit__(self, *_):
        for proc in reversed(self.procs):
            with contextlib.suppress(OSError):
                os.kill(proc.pid, signal.SIGCONT) if proc.poll() is None else None
            machine.stop(proc)
        shutil.rmtree(self.tmp, ignore_errors=True)

    def start(self, command, port, priority=PRIORITY):
        with open(os.path.join(self.tmp, "log"), "ab") as log:
            proc = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                    preexec_fn=urgent(priority))
        self.procs.append(proc)
        try:
            machine.wait_port(port, proc)
        except machine.Failed as e:
            with open(os.path.join(self.tmp, "log"), errors="replace") as log:
                raise machine.Failed("%s: %s" % (e, log.read()[-800:]))
        return proc

    def pool(self, count, *options):
        return Pool(self, count, *options)

    def load(self, url, rate, seconds, poisson=False):
        return Load(self, url, rate, seconds, poisson)

    def gateway(self, kind, **text):
        """Starts a gateway and returns its base URL; see the three functions below."""
        port = machine.free_port()
        path = os.path.join(self.tmp, "%s-%d" % (kind, port))
        with open(path, "w") as f:
            f.write({"vivace": vivace, "nginx": nginx, "haproxy": haproxy}[kind](self.tmp, port, **text))
        command = {"vivace": [self.vivace, "run", path], "nginx": ["nginx", "-p", self.tmp, "-c", path],
                   "haproxy": ["haproxy", "-q", "-db", "-f", path]}[kind]
        self.start(command, port)
        return "http://127.0.0.1:%d/" % port


def vivace(_, port, services, routes=None, more=None):
    conf = {"listen": "127.0.0.1:%d" % port, "workers": 1, "admin": "none", "access_log": "off",
            "services": services, "routes": routes or [{"path": "/", "to": next(iter(services))}]}
    conf.update(more or {})
    return json.dumps(conf, indent=1)


def nginx(tmp, port, upstream, location=""):
    return """user root; daemon off; worker_processes 1; pid %(tmp)s/nginx-%(port)d.pid;
error_log stderr crit; worker_rlimit_nofile 60000;
events { worker_connections 25000; }
http {
    access_log off;
    client_body_temp_path %(tmp)s/body; proxy_temp_path %(tmp)s/temp; fastcgi_temp_path %(tmp)s/fcgi;
    uwsgi_temp_path %(tmp)s/uwsgi; scgi_temp_path %(tmp)s/scgi;
    upstream app { %(upstream)s keepalive 128; }
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    server {
        listen 127.0.0.1:%(port)d backlog=4096;
        location / { proxy_pass http://app; %(location)s }
    }
}
""" % dict(tmp=tmp, port=port, upstream=upstream, location=location)


def haproxy(_, port, backend, timeouts=""):
    return """global
    nbthread 1
    maxconn 25000
    no strict-limits
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
%s
frontend f
    bind 127.0.0.1:%d backlog 4096
    default_backend app
backend app
%s
""" % (timeouts, port, backend)


def median(values):
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None


def note(sink, row):
    """One JSON line; the first of a file says what machine and command it was."""
    if sink:
        sink.write(json.dumps(row) + "\n")
        sink.flush()


def head(command):
    """The first line of a file of results."""
    commit = subprocess.run(["git", "-C", HERE, "describe", "--always", "--dirty"], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.strip()
    return dict(time=int(time.time()), machine=machine.describe(), commit=commit or "unknown",
                command=command)
