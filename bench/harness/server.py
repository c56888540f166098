"""One run's folder and origin (Bench), and one server started for one scenario (Server)."""
import contextlib
import gzip
import http.client
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
import tomllib
import zlib

from .machine import Failed, free_port, pinner, stop, wait_port
from .scenarios import BODIES, SCENARIOS

SUITE, GROUP = "TLS_AES_128_GCM_SHA256", "X25519"
HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Bench:
    """Everything the servers of one run share: programs, folder on tmpfs, origin."""

    def __init__(self, args):
        self.args = args
        with open(args.peers, "rb") as f:
            self.peers = tomllib.load(f)
        for extra in args.add or []:
            name, _, command = extra.partition("=")
            self.peers.setdefault(name, {})["command"] = command
        base = os.environ.get("BENCH_TMP") or ("/dev/shm" if os.path.isdir("/dev/shm") else None)
        self.tmp = tempfile.mkdtemp(prefix="bench.", dir=base)
        os.chmod(self.tmp, 0o755)
        self.build = os.environ.get("BENCH_BUILD") or os.path.join(HERE, "build")
        subprocess.run(["make", "-s", "-C", HERE, "OUT=" + self.build], check=True)
        self._make_certificate()
        self.docroot = os.path.join(self.tmp, "www")
        for path, data in BODIES.items():
            full = self.docroot + path
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "wb") as f:
                f.write(data)
        self.origin = None
        self.origin_port = free_port()
        self.versions = {}

    def _make_certificate(self):
        """One for all servers, P-256, thrown away at the end; and what loaders offer: one group and
        one suite, so that every server does the same work."""
        self.cert, self.key, self.pem, self.client = (
            os.path.join(self.tmp, name) for name in ("cert.pem", "key.pem", "both.pem", "client.cnf"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                        "-nodes", "-keyout", self.key, "-out", self.cert, "-days", "30",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
                       check=True, stderr=subprocess.DEVNULL)
        with open(self.pem, "w") as both:
            for path in (self.cert, self.key):
                with open(path) as f:
                    both.write(f.read())
        for path in (self.key, self.pem):
            os.chmod(path, 0o644)  # servers that give up root read it afterwards
        with open(self.client, "w") as f:
            f.write("openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = client\n[client]\n"
                    "Ciphersuites = %s\nGroups = %s\n" % (SUITE, GROUP))

    def start_origin(self):
        self.origin = subprocess.Popen(
            [os.path.join(self.build, "origin"), "-p", str(self.origin_port), "-d", self.docroot],
            preexec_fn=pinner(self.args.origin_cpus), stdin=subprocess.DEVNULL)
        wait_port(self.origin_port, self.origin)

    def origin_requests(self):
        c = http.client.HTTPConnection("127.0.0.1", self.origin_port, timeout=5)
        c.request("GET", "/stats")
        count = json.loads(c.getresponse().read())["requests"]
        c.close()
        return count

    def close(self):
        stop(self.origin)
        shutil.rmtree(self.tmp, ignore_errors=True)

    def version(self, name):
        if name not in self.versions:
            command, out = self.peers[name].get("version"), ""
            if command:
                with contextlib.suppress(OSError):
                    r = subprocess.run(shlex.split(self.fill(command, {})), stdout=subprocess.PIPE,
                                       stderr=subprocess.STDOUT, timeout=10, text=True)
                    m = re.search(r"\d+\.\d+(\.\d+)?[-\w.]*", r.stdout)
                    out = m.group(0) if m else ""
            self.versions[name] = out
        return self.versions[name]

    def fill(self, text, more):
        v = dict(build=self.build, bench=HERE, vivace=os.environ.get("VIVACE", "vivace"))
        v.update(more)
        return re.sub(r"\{(\w+)\}", lambda m: str(v.get(m.group(1), m.group(0))), text)

    def cpus(self, sc):
        """(cores of the server, cores of the loader); both share all where workers are counted."""
        server, loader = self.args.server_cpus, self.args.loader_cpus
        if "workers" not in sc:
            return server, loader
        both = server | loader if server and loader else set()
        return both, both

    def installed(self, name):
        return bool(shutil.which(shlex.split(self.fill(self.peers[name]["command"], {}))[0]))

    def supports(self, name, scenario):
        peer = self.peers[name]
        if not self.installed(name) or scenario in peer.get("without", []):
            return False
        return scenario in peer.get("scenarios", []) or \
            SCENARIOS[scenario]["kind"] in peer.get("kinds", [])


class Server:
    """One peer, started for one scenario; a context manager."""

    def __init__(self, bench, name, scenario):
        self.bench, self.name, self.scenario = bench, name, scenario
        self.sc = SCENARIOS[scenario]
        self.peer = bench.peers[name]
        self.port = free_port()
        self.run = tempfile.mkdtemp(prefix=name + ".", dir=bench.tmp)
        os.chmod(self.run, 0o755)
        self.proc = self.log = None
        self.body_bytes = 0

    def _choose(self, table):
        table = self.peer.get(table, {})
        return table.get(self.scenario, table.get(self.sc["kind"], table.get("default", "")))

    def _words(self):
        b, conf = self.bench, os.path.join(self.run, "conf")
        tsbin = os.path.dirname(shutil.which("traffic_server") or "")
        return dict(port=self.port, origin_port=b.origin_port, run=self.run, docroot=b.docroot,
                    cert=b.cert, key=b.key, pem=b.pem,
                    tsbin=tsbin, tslib=os.path.join(os.path.dirname(tsbin), "lib", "trafficserver"),
                    workers=self.sc.get("workers", b.args.workers), body1k=BODIES["/c/1k"].decode(),
                    size=len(BODIES[self.sc["path"]]), confdir=conf,
                    config=os.path.join(conf, self._choose("config")), args=self._choose("args"))

    def _write_config(self, words):
        source = os.path.join(HERE, "peers", self.peer.get("confdir", self.name))
        os.makedirs(words["confdir"])
        for name in os.listdir(source) if os.path.isdir(source) else []:
            with open(os.path.join(source, name)) as f:
                text = re.sub(r"@@(\w+)@@", lambda m: str(words[m.group(1).lower()]), f.read())
            with open(os.path.join(words["confdir"], name), "w") as f:
                f.write(text)

    def __enter__(self):
        words = self._words()
        self._write_config(words)
        for folder in self.peer.get("prepare", []):
            os.makedirs(os.path.join(self.run, folder))
        env = dict(os.environ)
        for key, value in self.peer.get("env", {}).items():
            env[key] = self.bench.fill(str(value), words)
        command = shlex.split(self.bench.fill(self.peer["command"], words))
        self.log = open(os.path.join(self.run, "log"), "wb")
        try:
            self.proc = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=env,
                cwd=self.run, preexec_fn=pinner(self.bench.cpus(self.sc)[0]))
            wait_port(self.port, self.proc)
        except (OSError, Failed) as e:
            tail = self.tail()
            self.__exit__()
            raise Failed("%s: %s" % (e, tail))
        return self

    def __exit__(self, *_):
        stop(self.proc)
        self.log.close()
        shutil.rmtree(self.run, ignore_errors=True)

    def tail(self):
        with contextlib.suppress(OSError):
            with open(os.path.join(self.run, "log"), errors="replace") as f:
                return " | ".join(f.read().strip().splitlines()[-4:])[-500:]
        return ""

    def url(self):
        scheme, host = ("https", "localhost") if self.sc.get("tls") else ("http", "127.0.0.1")
        return "%s://%s:%d%s" % (scheme, host, self.port, self.sc["path"])

    def _get_by_curl(self):
        """The same over TLS and HTTP/2, with what loaders offer and nothing else."""
        version = {"tls": "--http1.1", "h2": "--http2", "h2c": "--http2-prior-knowledge"}[self.sc["kind"]]
        command = ["curl", "-sS", version, "-m", "10", "-D", "-", self.url()]
        if self.sc.get("tls"):
            command += ["--tlsv1.3", "--tls13-ciphers", SUITE, "--curves", GROUP, "--cacert", self.bench.cert,
                        "--resolve", "localhost:%d:127.0.0.1" % self.port]
        r = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=15)
        head, _, body = r.stdout.partition(b"\r\n\r\n")
        line, _, fields = head.decode("latin-1").partition("\r\n")
        want = "HTTP/1.1 " if self.sc["kind"] == "tls" else "HTTP/2 "
        if not line.startswith(want):
            raise OSError("%r instead of %s%s" % (line[:60], want, r.stderr.decode(errors="replace")[:200]))
        return int(line.split()[1]), fields.replace("\r\n", "\n") + "\n", body

    def _get(self):
        """(status, head as text, body as it came) of one request."""
        if self.sc["kind"] in ("tls", "h2", "h2c"):
            return self._get_by_curl()
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        c.putrequest("GET", self.sc["path"], skip_accept_encoding=True)
        if self.sc.get("close"):
            c.putheader("Connection", "close")
        if self.sc.get("gzip"):
            c.putheader("Accept-Encoding", "gzip")
        c.endheaders()
        r = c.getresponse()
        body = r.read()
        c.close()
        return r.status, "".join("%s: %s\n" % pair for pair in r.getheaders()), body

    def check(self):
        """Raises Failed unless four answers in a row are right, the later ones from the cache where
        that is asked. Then body_bytes is the size of a body as it came."""
        end = time.time() + 10
        while True:  # some open their port before they can serve
            try:
                status, head, body = self._get()
            except (OSError, http.client.HTTPException) as e:
                status, head, body = 0, "", str(e).encode()
            if status == 200 or time.time() > end:
                break
            time.sleep(0.2)
        self._judge(status, head, body, first=True)
        for _ in range(3):
            time.sleep(0.05)  # some answer before what they answered is in their cache
            status, head, body = self._get()
            self._judge(status, head, body)
        if self.sc.get("pipeline"):
            self._check_pipeline()
        self.body_bytes = len(body)

    def _judge(self, status, head, body, first=False):
        if status != 200:
            raise Failed("status %d: %s; %s" % (status, body[:200], self.tail()))
        came = len(body)
        if self.sc.get("gzip"):
            if not re.search(r"^content-encoding: gzip$", head, re.I | re.M):
                raise Failed("not compressed: " + head.replace("\n", "; "))
            try:
                body = gzip.decompress(body)
            except (OSError, EOFError, zlib.error) as e:
                raise Failed("wrong gzip: %s" % e)
        if body != BODIES[self.sc["path"]]:
            raise Failed("wrong body: %d bytes" % came)
        hit = self.peer.get("hit")
        if hit and self.sc["kind"] in ("cache", "tls", "h2", "h2c") and not first and not re.search(hit, head, re.I):
            raise Failed("no cache hit (%s) in: %s" % (hit, head.replace("\n", "; ")))

    def _check_pipeline(self):
        """Raises Failed unless requests sent at once are all answered, in full."""
        count, body = self.sc["pipeline"], BODIES[self.sc["path"]]
        one = "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % (self.sc["path"], self.port)
        text = (one + "\r\n") * (count - 1) + one + "Connection: close\r\n\r\n"
        got = b""
        with socket.create_connection(("127.0.0.1", self.port), 10) as s:
            s.sendall(text.encode())
            # A floor does not read Connection: close, so the end may also be the last body.
            while got.count(body) < count:
                piece = s.recv(65536)
                if not piece:
                    break
                got += piece
        if got.count(body) != count or got.count(b"HTTP/1.1 200 ") != count:
            raise Failed("%d of %d pipelined answers" % (got.count(body), count))
