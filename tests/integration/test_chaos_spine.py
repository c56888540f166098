# tests/integration/test_chaos_spine.py - every way a request can take, while faults on purpose strike it.
"""Clients keep connections, pipeline, stream up and down, fill a cache together, take compressed
answers, composed ones and tunnels, while three requests in ten are struck. Whatever comes whole has to be right, what
a fault does not do must not happen, the books must balance, and nothing may stay behind.

$VIVACE_CHAOS_SECONDS and $VIVACE_CHAOS_SEED make it longer and different.
"""
import gzip
import hashlib
import json
import os
import random
import threading
import time

import pytest

from harness import SANITIZER, SCALE, Closed, chunks, memory_kib, ok, request, wait_for

SECONDS = float(os.environ.get("VIVACE_CHAOS_SECONDS", "3"))
SEED = os.environ.get("VIVACE_CHAOS_SEED", "20261121")
CLIENTS = 8
BIG = 200_000
KEEP = 16  # idle connections to the origin that may stay, per worker

FAULTS = {
    "delay": {"delay": "5ms", "jitter": "20ms"},
    "abort": {"status": 503},
    "reset": {},
    "drop": {},
    "truncate": {"bytes": 2 * BIG},
    "corrupt": {"bytes": 100},
    "slow": {"bytes": 1_000_000},
}
# What a client may see beside a right answer: statuses, and whether its answer may end early.
HARM = {
    "delay": (set(), False),
    "abort": ({503}, False),
    "reset": ({502}, False),
    "drop": ({502}, False),
    "truncate": ({502}, True),
    "corrupt": (set(), False),
    "slow": (set(), False),
    "all": ({502, 503}, True),
}


def body_of(name, size):
    block = hashlib.sha256(name.encode()).hexdigest().encode() * 16 + b"\n"
    return (block * (size // len(block) + 1))[:size]


class Site:
    """The origin: /kind/size/name has the bytes that belong to it."""

    def __call__(self, conn):
        while True:
            req = conn.read_request()
            _, kind, size, name = req.target.split("/")
            body = body_of(name, int(size))
            if kind == "tunnel":
                conn.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
                while True:
                    conn.more()
                    conn.send(conn.buf)
                    conn.buf = b""
            elif kind == "up":
                conn.send(ok(hashlib.sha256(req.body).hexdigest().encode()))
            elif kind == "chunked":
                parts = [body[i : i + 30_000] for i in range(0, len(body), 30_000)] or [b""]
                conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(*[p for p in parts if p]))
            elif kind == "json":
                conn.send(ok(json.dumps({"name": name}).encode(), headers={"Content-Type": "application/json"}))
            else:
                life = {"Cache-Control": "max-age=1"} if kind == "cached" else {"Content-Type": "text/plain"}
                conn.send(ok(body, headers=life))


class Crew:
    """Clients that know what each answer must be."""

    def __init__(self, gw, fault, harm):
        self.gw, self.fault = gw, fault
        self.statuses, self.early = harm
        self.lock = threading.Lock()
        self.wrong, self.right, self.harmed, self.missing = [], 0, 0, 0

    def note(self, target, problem):
        with self.lock:
            self.wrong.append(f"{target}: {problem}")

    def judge(self, target, answer, want):
        with self.lock:
            if answer.status in self.statuses:
                self.harmed += 1
                return
            self.right += answer.status == 200
        got = answer.body
        if answer.status != 200:
            self.note(target, f"status {answer.status} {got[:200]!r}")
        elif answer.get("Content-Encoding") == "gzip":
            try:
                got = gzip.decompress(got)
            except Exception as e:  # noqa: BLE001 - a broken stream is what is looked for
                self.note(target, repr(e))
                return
        if answer.status == 200 and got != want:
            differ = sum(a != b for a, b in zip(got, want)) if len(got) == len(want) else -1
            if not (self.fault in ("corrupt", "all") and differ == 1):
                self.note(target, f"{len(got)} of {len(want)} bytes, {differ} differ")

    def one(self, rng, c):
        """Some requests on the connection c."""
        name = str(rng.randrange(40))
        size = rng.choice((0, 1, 900, 20_000, BIG))
        what = rng.choice(("plain", "plain", "chunked", "cached", "cached", "gzip", "up", "pipeline", "tunnel", "composed"))
        target = f"/{what}/{size}/{name}"
        if what == "up":
            body = body_of(name, size)
            headers = [("Transfer-Encoding", "chunked")] if rng.random() < 0.5 else []
            c.send(request(target, "POST", headers, chunks(body) if headers and body else body if not headers else b"0\r\n\r\n"))
            self.judge(target, c.answer("POST"), hashlib.sha256(body).hexdigest().encode())
        elif what == "pipeline":
            names = [f"/plain/{rng.choice((0, 500, 30_000))}/{rng.randrange(40)}" for _ in range(5)]
            c.send(b"".join(request(n) for n in names))
            for n in names:
                self.judge(n, c.answer(), body_of(n.split("/")[3], int(n.split("/")[2])))
        elif what == "tunnel":
            self.tunnel(target, c, body_of(name, min(size, 20_000)))
        elif what == "composed":
            self.parts(target, c.ask(target), name)
        else:
            headers = {"Accept-Encoding": "gzip"} if what == "gzip" else {}
            self.judge(target, c.ask(target, headers=headers), body_of(name, size))

    def parts(self, target, answer, name):
        """Two parts, each right or said to be missing."""
        if answer.status == 502 and b'"part_failed"' in answer.body and (self.early or self.statuses):
            with self.lock:
                self.harmed += 1  # the critical one is what was struck
            return
        if answer.status != 200:
            self.judge(target, answer, None)
            return
        try:
            whole = json.loads(answer.body)
        except ValueError as e:
            self.note(target, f"{e}: {answer.body[:200]!r}")
            return
        for part in ("one", "two"):
            if part in whole["degraded"]:
                with self.lock:
                    self.missing += 1
                if not self.early and not self.statuses:
                    self.note(target, f"{part} is missing: {answer.body!r}")
            elif whole[part] != {"name": name} and self.fault not in ("corrupt", "all"):
                self.note(target, f"{part} is {answer.body!r}")
        with self.lock:
            self.right += 1

    def tunnel(self, target, c, data):
        c.send(request(target, headers={"Connection": "upgrade", "Upgrade": "echo"}))
        answer = c.answer()
        if answer.status != 101:
            self.judge(target, answer, None)
            return
        got = b""
        try:
            c.send(data)
            got = c.take(len(data)) if data else b""
        except Closed as end:
            if not self.early:
                self.note(target, "the tunnel was cut")
            got = data if data.startswith(end.data) else end.data
        differ = sum(a != b for a, b in zip(got, data))
        if differ > (1 if self.fault in ("corrupt", "all") else 0):
            self.note(target, f"{differ} bytes differ")
        raise Closed()  # whatever follows needs a connection of its own

    def client(self, number, until):
        rng = random.Random(f"{SEED} {self.fault} {number}")
        while time.monotonic() < until:
            with self.gw.client() as c:
                try:
                    for _ in range(rng.randrange(1, 30)):
                        if time.monotonic() > until:
                            break
                        c.buf = b""
                        self.one(rng, c)
                except Closed as end:
                    # An upload that is refused may be met by a reset; nothing is ever half an answer.
                    if not self.early and (end.data or (end.reset and not self.statuses)):
                        self.note("?", f"cut: {end}")
                except (TimeoutError, OSError) as e:
                    if not isinstance(e, ConnectionError) or not (self.early or self.statuses):
                        self.note("?", repr(e))

    def run(self, seconds):
        until = time.monotonic() + seconds
        threads = [threading.Thread(target=self.client, args=(i, until)) for i in range(CLIENTS)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()


def fds(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def settle(gw):
    wait_for("no request is in flight", lambda: gw.metric("vivace_http_requests_in_flight") == 0)
    received, ended, _ = gw.books_balance()
    assert received == ended
    wait_for("all clients have gone", lambda: gw.metric("vivace_connections_open") == 0)


BARE = {"retries": 0}
GUARDED = {
    "retries": {"max": 2, "budget": "100%", "floor": 100, "backoff": "1ms"},
    "hedge": {"min": "2ms", "max": "10ms"},
    "concurrency": {"limit": 4, "queue": 50},
    "breaker": "b",
}


@pytest.fixture
def spine(gateway, origin, request):
    servers = [origin(Site()) for _ in range(3)]
    gw = gateway({
        "services": {"app": {
            "servers": [s.url for s in servers], "keepalive": KEEP, "max_fails": 0,
            "outlier": {"consecutive": 0, "success_rate": False}, **request.param,
        }},
        "breakers": {"b": {"failures": 50, "recover": "20ms"}},
        "caches": {"c": {"levels": [{"memory": "8MB"}]}},
        "routes": [
            {"path": "/cached/*", "to": "app", "cache": "c", "compress": False},
            {"path": "/composed/{size}/{name}", "compose": {"parts": {
                "one": {"to": "app", "path": "/json/0/{name}"},
                "two": {"to": "app", "path": "/json/1/{name}", "priority": "critical"},
            }}},
            {"path": "/gzip/*", "to": "app", "compress": True},
            {"path": "/", "to": "app", "compress": False},
        ],
        "chaos": {"enabled": True, "max_share": "100%", "stop": "100%"},
    })
    return gw, servers


def order(gw, kind, share):
    gw.api("/chaos", "POST", dict(FAULTS[kind], fault=kind, share=share), 201)


@pytest.mark.parametrize("spine", [BARE], indirect=True, ids=["bare"])
@pytest.mark.parametrize("fault", [*FAULTS, "all"])
def test_the_whole_spine_under(spine, fault):
    exercise(*spine, fault, set())


@pytest.mark.parametrize("spine", [GUARDED], indirect=True, ids=["guarded"])
@pytest.mark.parametrize("fault", ["delay", "drop", "all"])
def test_retries_hedges_breakers_and_queues_under(spine, fault):
    """They may refuse (503), and hide most of what is done to them."""
    exercise(*spine, fault, {503})


def exercise(gw, servers, fault, refusals):
    harm = (HARM[fault][0] | refusals, HARM[fault][1])
    worker = gw.worker()
    for kind in FAULTS if fault == "all" else [fault]:
        order(gw, kind, "8%" if fault == "all" else "30%")
    crew = Crew(gw, fault, harm)
    crew.run(SECONDS * 0.5)  # what is allocated once is allocated now
    settle(gw)
    before = fds(worker), memory_kib(worker)
    crew.run(SECONDS)
    settle(gw)
    after = fds(worker), memory_kib(worker)
    assert not crew.wrong, f"{len(crew.wrong)} problems:\n" + "\n".join(crew.wrong[:20])
    assert [s.errors for s in servers] == [[]] * len(servers)
    assert gw.worker() == worker, "the worker process has died"
    struck = gw.metric("vivace_faults_injected_total")
    assert struck > 20 and crew.right > 50
    assert crew.harmed > 10 or refusals or not harm[0] or fault == "truncate"
    assert after[0] <= before[0] + 2 * KEEP * len(servers), f"file descriptors: {before[0]}, then {after[0]}"
    if SANITIZER is None:
        assert after[1] < before[1] + 8192, f"KiB: {before[1]}, then {after[1]}"
    gw.api("/chaos", "DELETE")
    calm = Crew(gw, "delay", (refusals, False))  # nothing stays behind: from here on all is right
    calm.run(0.5 * SCALE)
    settle(gw)
    assert not calm.wrong, "\n".join(calm.wrong[:20])
    assert gw.metric("vivace_faults_injected_total") == struck
