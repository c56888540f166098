# tests/integration/harness.py - a gateway, scripted origins and raw clients for the tests.
"""Everything a test needs to put a real gateway between a real client and a scripted server.

Model:     Gateway writes a configuration, starts the binary on free loopback ports and ends it;
           Origin is a TCP server whose every byte, pause and reset a test decides; Client is a raw
           HTTP/1.1 client that sees exact bytes. wait_for() polls with a deadline: nothing here
           depends on how fast the machine is.
Binary:    $VIVACE, else build/vivace of this checkout.
Scale:     $VIVACE_TEST_SCALE multiplies every deadline (default 1, 4 with a sanitizer).
"""

import collections
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import urllib.parse

import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PYTHON = "/usr/bin/python3"
MIB = 1 << 20


def binary():
    return os.path.abspath(os.environ.get("VIVACE", os.path.join(ROOT, "build", "vivace")))


def _sanitizer():
    """Names the sanitizer the binary was built with, or None."""
    try:
        with open(binary(), "rb") as f:
            data = f.read()
    except OSError:
        return None
    for mark, name in ((b"__tsan_init", "tsan"), (b"__asan_init", "asan")):
        if mark in data:
            return name
    return None


SANITIZER = _sanitizer()
SCALE = float(os.environ.get("VIVACE_TEST_SCALE", "4" if SANITIZER else "1"))
PATIENCE = 10.0 * SCALE  # how long a thing that must happen may take


def wait_for(what, condition, seconds=None):
    """Polls until condition() is true and returns its value; fails with `what` after the deadline."""
    limit = time.monotonic() + (seconds * SCALE if seconds is not None else PATIENCE)
    pause = 0.005
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > limit:
            raise AssertionError(f"did not happen in time: {what} (last value: {value!r})")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


# ------------------------------------------------------------------------------------------ ports

PORTS = range(12000, 32000)  # below the ephemeral range, so that no client socket takes them
BLOCK = 50

_claims = []  # (first port, the socket that holds the claim) of this process's blocks
_left = []  # ports of them that were not given yet


def _claim_block():
    """Takes a block of ports for this process; False when all are taken.

    Suites run side by side, and a port that is free now may be bound by the neighbour a moment
    later. An abstract socket's name can be bound once on the machine and goes with its process, so
    no two processes of the tests ever look into the same block.
    """
    firsts = list(PORTS[::BLOCK])
    random.Random(os.urandom(8)).shuffle(firsts)
    for first in firsts:
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0vivace-tests-ports-{first}")
        except OSError:
            claim.close()
            continue
        _claims.append((first, claim))
        _left.extend(range(first, first + BLOCK))
        return True
    return False


def free_port(address="127.0.0.1"):
    """A port nobody listens on and no other process of the tests will be given."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    again = True
    while True:
        if not _left and not _claim_block():
            assert again and _claims, "no free port"
            again = False  # a long run on a crowded machine: what was given before is free by now
            _left.extend(first + i for first, _ in _claims for i in range(BLOCK))
        port = _left.pop(0)
        with socket.socket(family) as s, socket.socket(family, socket.SOCK_DGRAM) as u:
            try:
                s.bind((address, port))
                u.bind((address, port))
            except OSError:
                continue
        return port


# ---------------------------------------------------------------------------------------- messages

Field = tuple  # (name, value)


class Message:
    """A parsed head with its body: what came in, byte for byte in .raw_head."""

    def __init__(self, raw_head, body=b"", interim=()):
        self.raw_head = raw_head
        self.body = body
        self.interim = list(interim)
        lines = raw_head.decode("latin-1").split("\r\n")
        self.line = lines[0]
        self.headers = []
        for line in lines[1:]:
            if line:
                name, _, value = line.partition(":")
                self.headers.append((name, value.strip(" \t")))

    def all(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def get(self, name, default=None):
        values = self.all(name)
        return ", ".join(values) if values else default

    def has(self, name):
        return bool(self.all(name))


class Request(Message):
    def __init__(self, raw_head, body=b"", connection=0, number=0):
        super().__init__(raw_head, body)
        parts = self.line.split(" ")
        self.method, self.target = parts[0], parts[1] if len(parts) > 1 else ""
        self.version = parts[-1]
        self.connection = connection  # which connection of the origin it came on
        self.number = number  # how many requests that connection carried before


class Answer(Message):
    def __init__(self, raw_head, body=b"", interim=(), complete=True):
        super().__init__(raw_head, body, interim)
        parts = self.line.split(" ", 2)
        self.version = parts[0]
        self.status = int(parts[1])
        self.reason = parts[2] if len(parts) > 2 else ""
        self.complete = complete


class Closed(Exception):
    """The other side ended the connection; .data is what had come, .reset whether by RST."""

    def __init__(self, data=b"", reset=False):
        super().__init__(f"closed{' by reset' if reset else ''} after {data[:200]!r}")
        self.data = data
        self.reset = reset


class Wire:
    """A socket with a buffer: reads heads, lengths and chunks, remembers nothing else."""

    def __init__(self, sock):
        self.sock = sock
        self.buf = b""

    def send(self, data):
        self.sock.sendall(data)

    def more(self):
        """Reads once; raises Closed at the end of the stream."""
        try:
            data = self.sock.recv(262144)
        except ConnectionError:
            raise Closed(self.buf, True) from None
        if not data:
            raise Closed(self.buf)
        self.buf += data

    def take(self, n):
        while len(self.buf) < n:
            self.more()
        data, self.buf = self.buf[:n], self.buf[n:]
        return data

    def until(self, mark):
        start = 0
        while True:
            at = self.buf.find(mark, start)
            if at >= 0:
                return self.take(at + len(mark))
            start = max(0, len(self.buf) - len(mark) + 1)
            self.more()

    def chunked(self):
        body = b""
        while True:
            size = int(self.until(b"\r\n").split(b";")[0], 16)
            if size == 0:
                while self.until(b"\r\n") != b"\r\n":
                    pass
                return body
            body += self.take(size)
            assert self.take(2) == b"\r\n", "a chunk must end with CRLF"

    def rest(self):
        """Everything until the end of the stream."""
        try:
            while True:
                self.more()
        except Closed as end:
            self.buf = b""
            return end.data

    def quiet(self, seconds=0.2):
        """True when nothing arrives and nothing ends for a while."""
        if self.buf:
            return False
        old = self.sock.gettimeout()
        self.sock.settimeout(seconds)
        try:
            self.more()
            return False
        except (TimeoutError, socket.timeout):
            return True
        except Closed:
            return False
        finally:
            self.sock.settimeout(old)

    def closes(self):
        """True when the other side ends the connection without sending anything more."""
        try:
            self.more()
            return False
        except Closed:
            return True
        except (TimeoutError, socket.timeout):
            return False

    def reset(self):
        """Ends with RST: what is unsent is thrown away."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def close(self):
        try:
            self.sock.close()
        except OSError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# ----------------------------------------------------------------------------------------- client


class Client(Wire):
    """A raw HTTP/1.1 client on one connection."""

    def __init__(self, port, address="127.0.0.1", source=None, timeout=None, recv_buffer=None):
        if isinstance(port, str):
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(timeout or PATIENCE)
            sock.connect(port)
        else:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            sock = socket.socket(family)
            if recv_buffer:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, recv_buffer)
            if source:
                sock.bind((source, 0))
            sock.settimeout(timeout or PATIENCE)
            sock.connect((address, port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().__init__(sock)

    def head(self):
        return self.until(b"\r\n\r\n")

    def answer(self, method="GET"):
        """The next final answer with its body; interim answers are kept in .interim."""
        interim = []
        while True:
            answer = Answer(self.head())
            if answer.status == 101 or answer.status >= 200:
                break
            interim.append(answer)
        answer.interim = interim
        if method == "HEAD" or answer.status in (101, 204, 304):
            return answer
        if method == "CONNECT" and 200 <= answer.status < 300:
            return answer
        coding = answer.get("Transfer-Encoding")
        if coding is not None:
            assert coding.lower() == "chunked", coding
            assert not answer.has("Content-Length"), "both framings in one answer"
            answer.body = self.chunked()
        elif answer.has("Content-Length"):
            lengths = answer.all("Content-Length")
            assert len(lengths) == 1, lengths
            answer.body = self.take(int(lengths[0]))
        else:
            answer.body = self.rest()
        return answer

    def ask(self, target="/", method="GET", headers=(), body=None, version="HTTP/1.1", host="test"):
        """Sends one request and returns its answer."""
        self.send(request(target, method, headers, body, version, host))
        return self.answer(method)


def request(target="/", method="GET", headers=(), body=None, version="HTTP/1.1", host="test"):
    """The bytes of a request; headers is a dict or a list of pairs."""
    pairs = list(headers.items()) if isinstance(headers, dict) else list(headers)
    lines = [f"{method} {target} {version}"]
    if host is not None:
        lines.append(f"Host: {host}")
    lines += [f"{n}: {v}" for n, v in pairs]
    names = {n.lower() for n, _ in pairs}
    if body is not None and not names & {"content-length", "transfer-encoding"}:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b"")


def ok(body=b"ok", status="200 OK", headers=(), length=True):
    """The bytes of an answer."""
    pairs = list(headers.items()) if isinstance(headers, dict) else list(headers)
    lines = [f"HTTP/1.1 {status}"] + [f"{n}: {v}" for n, v in pairs]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def chunks(*parts, trailers=b""):
    """Chunked coding of the parts."""
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\n" + trailers + b"\r\n"


# ----------------------------------------------------------------------------------------- origin


class Conn(Wire):
    """One connection as the origin sees it."""

    def __init__(self, origin, sock, index):
        super().__init__(sock)
        self.origin = origin
        self.index = index
        self.count = 0

    def read_head(self):
        raw = self.until(b"\r\n\r\n")
        req = Request(raw, b"", self.index, self.count)
        self.count += 1
        self.origin.note(req)
        return req

    def read_request(self):
        """Head and body, Expect answered as a willing server would."""
        req = self.read_head()
        if req.get("Expect", "").lower() == "100-continue":
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if req.has("Transfer-Encoding"):
            req.body = self.chunked()
        elif req.has("Content-Length"):
            req.body = self.take(int(req.get("Content-Length")))
        return req

    def sleep(self, seconds):
        """Waits, but not beyond the end of the test."""
        self.origin.stopping.wait(seconds)


class Origin:
    """A scripted server: `handler(conn)` decides every byte on each connection.

    Origin(answer=f) serves keep-alive requests with f(request) -> bytes (None: close).
    Default: 200 with the body `ok`.
    """

    def __init__(self, handler=None, answer=None, address="127.0.0.1", port=0, path=None, backlog=512):
        self.answer = answer or (lambda req: ok())
        self.handler = handler or self.serve
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.requests = []
        self.connections = 0
        self.live = set()
        self.errors = []
        self.path = path
        self.address = address
        if path:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(path)
        else:
            self.listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listener.bind((address, port or free_port(address)))
            self.port = self.listener.getsockname()[1]
        self.listener.listen(backlog)
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"unix:{self.path}" if self.path else f"http://{self.name}"

    @property
    def name(self):
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    def note(self, req):
        with self.lock:
            self.requests.append(req)

    def accept(self):
        while not self.stopping.is_set():
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            if not self.path:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(60 * SCALE)
            with self.lock:
                conn = Conn(self, sock, self.connections)
                self.connections += 1
                self.live.add(conn)
            threading.Thread(target=self.run, args=(conn,), daemon=True).start()

    def run(self, conn):
        try:
            self.handler(conn)
        except (Closed, OSError, ValueError):
            pass  # the gateway left, or the test closed the socket
        except BaseException as e:  # noqa: BLE001 - shown by the test that made the handler
            self.errors.append(repr(e))
        finally:
            conn.close()
            with self.lock:
                self.live.discard(conn)

    def serve(self, conn):
        while True:
            req = conn.read_request()
            data = self.answer(req)
            if data is None:
                return
            conn.send(data)
            if req.get("Connection", "").lower() == "close" or req.version == "HTTP/1.0":
                return

    def wait_requests(self, n):
        wait_for(f"{n} requests at the origin", lambda: len(self.requests) >= n)
        return self.requests

    def drop_connections(self, reset=False):
        """Ends every open connection, as a restarting server does."""
        with self.lock:
            live = list(self.live)
        for conn in live:
            try:
                if reset:
                    conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                conn.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def stop_listening(self):
        """Refuses new connections from now on."""
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()

    def close(self):
        self.stopping.set()
        self.stop_listening()
        self.drop_connections()
        if self.path:
            try:
                os.unlink(self.path)
            except OSError:
                pass


# ---------------------------------------------------------------------------------------- metrics


class Metrics:
    """Samples of one scrape: sum(name, label=value...) adds what fits."""

    def __init__(self, text):
        self.text = text
        self.samples = collections.defaultdict(list)
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, labels, value = parse_sample(line)
                self.samples[name].append((labels, value))

    def sum(self, name, /, **labels):
        return sum(
            v
            for have, v in self.samples.get(name, ())
            if all(have.get(k) == str(w) for k, w in labels.items())
        )

    def labels(self, name):
        return [labels for labels, _ in self.samples.get(name, ())]


def parse_sample(line):
    """name, labels, value of one line of the text format, escapes undone."""
    brace = line.find("{")
    if brace < 0:
        name, value = line.split()[:2]
        return name, {}, float(value)
    name, at, labels = line[:brace], brace + 1, {}
    while line[at] != "}":
        eq = line.index("=", at)
        key, at, text = line[at:eq].strip(", "), eq + 2, ""
        while line[at] != '"':
            if line[at] == "\\":
                at += 1
                text += {"n": "\n"}.get(line[at], line[at])
            else:
                text += line[at]
            at += 1
        labels[key] = text
        at += 1
        if line[at] == ",":
            at += 1
    return name, labels, float(line[at + 1 :].split()[0])


# ---------------------------------------------------------------------------------------- gateway

REPORTS = (
    "ERROR: AddressSanitizer",
    "ERROR: LeakSanitizer",
    "WARNING: ThreadSanitizer",
    "runtime error:",
    "assertion failed",
    "VV_ASSERT",
)


class Gateway:
    """A running `vivace run`.

    config: dict of the YAML file; listen (default: one listener "web"), admin, socket, workers and
    drain are filled in when absent. A listener may be a dict without an address: a free port is
    found. `extra` text is appended to the file as it is.
    """

    def __init__(self, config, folder=None, args=(), env=None, start=True):
        self.owns_folder = folder is None
        self.folder = folder or tempfile.mkdtemp(prefix="vvt-", dir="/tmp")
        self.file = os.path.join(self.folder, "vivace.yaml")
        self.log_path = os.path.join(self.folder, "gateway.log")
        self.args = list(args)
        self.env = env or {}
        self.ports = {}
        self.admin_port = free_port()
        self.process = None
        self.expect_reports = False
        self.given = dict(config)
        self.config = self.fill(config)
        self.write()
        if start:
            self.start()

    def fill(self, config):
        config = dict(config)
        config.setdefault("admin", f"127.0.0.1:{self.admin_port}")
        config.setdefault("socket", os.path.join(self.folder, "admin.sock"))
        config.setdefault("workers", 2)
        config.setdefault("drain", "3s")
        listen = config.get("listen") or {"web": {}}
        filled = {}
        for name, value in listen.items():
            value = dict(value)
            address = value.get("address")
            if address is None and "port" not in value:
                port = self.ports.get(name) or free_port()
                address = value["address"] = f"127.0.0.1:{port}"
            if address is not None:
                self.ports[name] = address[5:] if address.startswith("unix:") else int(address.rsplit(":", 1)[1])
            else:
                self.ports[name] = value["port"]
            filled[name] = value
        config["listen"] = filled
        return config

    def write(self, config=None):
        if config is not None:
            self.config = self.fill(config)
        with open(self.file, "w") as f:
            yaml.safe_dump(self.config, f, sort_keys=False, width=1000)

    def start(self, wait=True):
        """Starts the process. A port that a stranger took since it was chosen is chosen again."""
        for attempt in range(5):
            self.launch()
            if not wait:
                return
            try:
                self.wait_ready()
                return
            except AssertionError:
                if attempt == 4 or "ddress already in use" not in self.log() or not self.move():
                    raise

    def move(self):
        """Chooses new ports for those that were chosen here; False when the test set them all."""
        moved = {self.admin_port: free_port()} if "admin" not in self.given else {}
        for name, value in (self.given.get("listen") or {"web": {}}).items():
            if "address" not in value and "port" not in value:
                moved[self.ports[name]] = free_port()
        with open(self.file) as f:
            text = f.read()
        for old, new in moved.items():
            text = text.replace(f"127.0.0.1:{old}", f"127.0.0.1:{new}")
        with open(self.file, "w") as f:
            f.write(text)
        self.config = yaml.safe_load(text)
        self.ports = {n: moved.get(p, p) for n, p in self.ports.items()}
        self.admin_port = moved.get(self.admin_port, self.admin_port)
        self.process = None
        os.truncate(self.log_path, 0)
        return bool(moved)

    def launch(self):
        env = dict(os.environ)
        env.setdefault("ASAN_OPTIONS", "abort_on_error=0:exitcode=99:detect_leaks=1")
        env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=0")
        env.setdefault("TSAN_OPTIONS", "exitcode=98:halt_on_error=0")
        env.update(self.env)
        log = open(self.log_path, "ab")
        with log:
            self.process = subprocess.Popen(
                [binary(), "run", self.file, *self.args],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=env,
                cwd=self.folder,
                start_new_session=True,
            )

    def wait_ready(self):
        def ready():
            if self.process.poll() is not None:
                raise AssertionError(f"the gateway ended with {self.process.returncode}:\n{self.log()}")
            try:
                return self.admin("/readyz").status == 200
            except (OSError, Closed):
                return False

        wait_for("the gateway is ready", ready, 20)

    @property
    def pid(self):
        return self.process.pid

    @property
    def port(self):
        return next(iter(self.ports.values()))

    def workers(self):
        """Pids of the worker processes: children of the supervisor that are not zombies."""
        try:
            with open(f"/proc/{self.pid}/task/{self.pid}/children") as f:
                pids = [int(p) for p in f.read().split()]
        except OSError:
            return []
        return [p for p in pids if proc_state(p) not in ("Z", None)]

    def worker(self):
        return wait_for("a worker process", self.workers)[-1]

    def client(self, name=None, **kw):
        return Client(self.ports[name] if name else self.port, **kw)

    def ask(self, target="/", method="GET", headers=(), body=None, listener=None, **kw):
        """One request on a connection of its own."""
        with self.client(listener) as c:
            return c.ask(target, method, headers, body, **kw)

    def admin(self, target, method="GET", headers=(), body=None):
        with Client(self.admin_port) as c:
            pairs = list(dict(headers).items())
            if method != "GET":
                pairs.append(("X-Vivace", "1"))
            if isinstance(body, (dict, list)):
                body = json.dumps(body).encode()
                pairs.append(("Content-Type", "application/json"))
            host = f"127.0.0.1:{self.admin_port}"
            if method != "GET" and body is None:
                body = b""
            return c.ask(target, method, pairs, body, host=host)

    def api(self, target, method="GET", body=None, status=200):
        answer = self.admin("/api/v1" + target, method, (), body)
        assert answer.status == status, f"{method} {target}: {answer.status} {answer.body[:500]!r}"
        return json.loads(answer.body) if answer.body else None

    def metrics(self):
        answer = self.admin("/metrics")
        assert answer.status == 200, answer.line
        return Metrics(answer.body.decode())

    def metric(self, name, /, **labels):
        return self.metrics().sum(name, **labels)

    def wait_metric(self, name, value, /, seconds=None, **labels):
        wait_for(f"{name}{labels} == {value}", lambda: self.metric(name, **labels) == value, seconds)

    def books_balance(self, seconds=None):
        """Requests received are answered, aborted or in flight: waits until it holds exactly."""

        def balance():
            m = self.metrics()
            received = m.sum("vivace_http_requests_received_total")
            ended = m.sum("http_requests_total") + m.sum("vivace_http_requests_aborted_total")
            flight = m.sum("vivace_http_requests_in_flight")
            return (received, ended, flight) if received == ended + flight else None

        return wait_for("received = answered + aborted + in flight", balance, seconds)

    def reload(self, config=None):
        """Writes the file when there is a new one, reloads, returns the API's answer."""
        if config is not None:
            self.write(config)
        return self.admin("/api/v1/reload", "POST")

    def log(self):
        try:
            with open(self.log_path, errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def stop(self, check=True):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15 * SCALE)
            except subprocess.TimeoutExpired:
                kill_group(self.process.pid)
                self.process.wait()
                if check:
                    raise AssertionError(f"SIGTERM did not end the gateway:\n{tail(self.log())}") from None
        code, log = self.process.returncode, self.log()
        self.process = None
        if check:
            assert not any(r in log for r in REPORTS) or self.expect_reports, f"report in the log:\n{log[-20000:]}"
            assert code == 0, f"the gateway ended with {code}:\n{tail(log)}"

    def remove(self):
        if self.owns_folder:
            shutil.rmtree(self.folder, ignore_errors=True)


def tail(text, n=4000):
    return text[-n:]


def kill_group(pid):
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def proc_state(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0]
    except OSError:
        return None


def memory_kib(pid, field="VmRSS"):
    """A line of /proc/PID/status in KiB: VmRSS, VmHWM, RssAnon."""
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith(field + ":"):
                return int(line.split()[1])
    raise AssertionError(f"no {field} of {pid}")


# ------------------------------------------------------------------------------------------- load


class Load:
    """tests/integration/loadclient.py in a process of its own; finish() returns its report."""

    def __init__(self, port, **options):
        args = [PYTHON, os.path.join(HERE, "loadclient.py"), "--port", str(port)]
        for key, value in options.items():
            flag = "--" + key.replace("_", "-")
            if isinstance(value, (list, tuple)):
                for v in value:
                    args += [flag, str(v)]
            elif value is True:
                args.append(flag)
            else:
                args += [flag, str(value)]
        self.process = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.report = None
        line = self.process.stdout.readline()
        if line.strip() != "ready":
            raise AssertionError(f"the load client did not start: {line}{self.process.stderr.read()}")

    def finish(self, seconds=60):
        """Ends the load (what is in flight may finish) and returns the report."""
        if self.report is None:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
            out, err = self.process.communicate(timeout=seconds * SCALE)
            assert self.process.returncode == 0, f"load client: {err}"
            self.report = json.loads(out.strip().splitlines()[-1])
        return self.report

    def wait(self, seconds=120):
        """Waits for the load to end by itself (seconds=... was given)."""
        out, err = self.process.communicate(timeout=seconds * SCALE)
        assert self.process.returncode == 0, f"load client: {err}"
        self.report = json.loads(out.strip().splitlines()[-1])
        return self.report

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


class AppOrigin:
    """tests/integration/origin_app.py in a process of its own: fast, for tests under load."""

    def __init__(self, *args, port=None):
        self.port = port or free_port()
        self.args = [PYTHON, os.path.join(HERE, "origin_app.py"), "--port", str(self.port), *args]
        self.process = None
        self.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def name(self):
        return f"127.0.0.1:{self.port}"

    def start(self):
        self.process = subprocess.Popen(self.args, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline().strip() == "ready", "the origin did not start"

    def stats(self):
        with Client(self.port) as c:
            return json.loads(c.ask("/-/stats").body)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    close = stop


def quote(text):
    return urllib.parse.quote(text)
