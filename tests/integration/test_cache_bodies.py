# tests/integration/test_cache_bodies.py - large bodies, slow readers and the one budget of a cache.
import hashlib
import os
import random
import socket
import threading
import time

import pytest

import harness
from crowd import Gate, in_flight, many, settled
from harness import MIB, SANITIZER, Closed, chunks, memory_kib, ok, request, wait_for

FRESH = {"Cache-Control": "max-age=1000", "ETag": '"a"', "Content-Type": "text/plain"}
LONG = os.environ.get("VIVACE_LONG") == "1"


@pytest.fixture
def site(gateway, origin):
    """site(level={...}, handler or answer=..., **cache settings)."""

    def make(level, handler=None, answer=None, **cache):
        server = origin(handler, answer=answer)
        gw = gateway(
            {
                "services": {"app": {"servers": [server.url], "max_fails": 0, "retries": 0}},
                "caches": {"c": {"levels": [level], "show": "X-Cache", **cache}},
                "routes": [{"path": "/", "to": "app", "cache": "c", "compress": False}],
            }
        )
        return gw, server

    return make


def random_bytes(n, seed=1):
    return random.Random(seed).randbytes(n)


def digest(data):
    return hashlib.blake2b(data).digest()


# ------------------------------------------------------------------------------- over the limit


def test_a_known_length_over_the_limit_passes_to_each(site):
    """It is known from the head: nobody waits for a body that will not be shared."""
    body = random_bytes(3 * MIB)
    gw, server = site({"memory": "16MB", "max_object": "1MB"}, answer=lambda req: ok(body, headers=FRESH))
    for _ in range(2):
        with many(gw, 5, "/big") as crowd:
            crowd.send().read()
            assert crowd.bodies() == {body}
    assert len(server.requests) == 10
    assert gw.metric("vivace_cache_entries") == 0
    settled(gw)


@pytest.mark.parametrize("reader", ["fast", "slow"])
def test_an_unknown_length_over_the_limit_reaches_its_client_whole(site, reader):
    """8 MiB of budget hold 4 of passing bodies: the leader's client gets all 12, nobody hangs."""
    body = random_bytes(12 * MIB)
    parts = [body[i : i + 65536] for i in range(0, len(body), 65536)]
    gate = Gate()

    def handler(conn):
        while True:
            conn.read_request()
            gate.wait()
            head = "".join(f"{n}: {v}\r\n" for n, v in FRESH.items())
            conn.send(f"HTTP/1.1 200 OK\r\n{head}Transfer-Encoding: chunked\r\n\r\n".encode())
            for part in parts:
                conn.send(chunks(part)[:-5])
            conn.send(b"0\r\n\r\n")

    gw, server = site({"memory": "8MB"}, handler)
    buffer = 4096 if reader == "slow" else None
    with gw.client(recv_buffer=buffer) as leader, many(gw, 5, "/big") as crowd:
        leader.send(request("/big"))
        gate.reached()
        crowd.send()
        in_flight(gw, 6)
        gate.open()
        if reader == "slow":
            time.sleep(0.5)
        assert digest(leader.answer().body) == digest(body)
        crowd.read()
        for m in crowd.members:  # whole, or visibly cut
            assert m.ended or m.body == body
    assert gw.ask("/big").body == body
    settled(gw)


def test_a_body_that_fits_half_the_budget_reaches_all_who_wait(site):
    """Over what an object may be, under what may pass: everybody reads behind one fetch, nothing is kept."""
    body = random_bytes(6 * MIB)
    gate = Gate()

    def answer(req):
        gate.wait()
        head = ok(b"", headers={**FRESH, "Transfer-Encoding": "chunked"}, length=False)
        return head + chunks(*(body[i : i + 65536] for i in range(0, len(body), 65536)))

    gw, server = site({"memory": "16MB"}, answer=answer)
    with many(gw, 20, "/big") as crowd:
        crowd.send()
        in_flight(gw, 20)
        gate.open()
        crowd.read()
        assert {digest(m.body) for m in crowd.members} == {digest(body)}
    assert len(server.requests) == 1
    assert gw.metric("vivace_cache_entries") == 0
    settled(gw)


# ------------------------------------------------------------------------------- a large object


@pytest.fixture
def large(site):
    """50 MiB in a cache of 256 MB, held already; the memory of the process before."""
    body = random_bytes(50 * MIB)
    gw, server = site({"memory": "256MB"}, answer=lambda req: ok(body, headers=FRESH))
    before = memory_kib(gw.worker())
    assert read_digest(gw, "/o") == digest(body)
    wait_for("it is kept", lambda: gw.ask("/o", "HEAD").get("X-Cache") == "HIT")
    return gw, server, body, before


def memory_within(gw, before_kib, mib):
    if not SANITIZER:
        now = memory_kib(gw.worker())
        assert now <= before_kib + mib * 1024, f"{now - before_kib} KiB more than before, {mib} MiB allowed"


def swallow(client, n, heed=None):
    """Takes n bytes of body without keeping them; heed(bytes) sees each piece."""
    room = memoryview(bytearray(262144))
    ahead = client.buf[:n]
    client.buf = client.buf[n:]
    if heed:
        heed(ahead)
    left = n - len(ahead)
    while left:
        got = client.sock.recv_into(room, min(left, len(room)))
        if got == 0:
            raise Closed(b"in a body")
        if heed:
            heed(room[:got])
        left -= got


def read_digest(gw, target, slow_seconds=0):
    """Digest of a body; slow: in small steps for a while, then as fast as it comes."""
    with gw.client(recv_buffer=16384 if slow_seconds else None, timeout=60 * harness.SCALE) as c:
        c.send(request(target))
        left = int(harness.Answer(c.head()).get("Content-Length"))
        taken = hashlib.blake2b()
        end = time.monotonic() + slow_seconds
        while left and time.monotonic() < end:
            step = min(4096, left)
            swallow(c, step, taken.update)
            left -= step
            time.sleep(0.005)
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        swallow(c, left, taken.update)
        return taken.digest()


def run_slow(gw, target, count, seconds):
    results = {}

    def run(n):
        results[n] = read_digest(gw, target, seconds)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for t in threads:
        t.start()
    return threads, results


def test_slow_and_fast_readers_share_one_copy(large):
    """Readers of a stored object cost no copy of it: the process grows by the object, not by readers."""
    gw, server, body, before = large
    threads, results = run_slow(gw, "/o", 6, 1.0)
    for _ in range(4):
        assert read_digest(gw, "/o") == digest(body)
    memory_within(gw, before, 50 * 1.15 + 12)
    for t in threads:
        t.join()
    assert results == {n: digest(body) for n in range(6)}
    assert len(server.requests) == 1
    settled(gw)


def test_parts_of_a_large_object(large):
    gw, server, body, _ = large
    n = len(body)
    for text, first, last in (
        ("0-0", 0, 0),
        ("65530-65550", 65530, 65550),  # over a chunk's border
        (f"{n - 1}-", n - 1, n - 1),
        ("-100000", n - 100000, n - 1),
        ("1000000-30000000", 1000000, 30000000),
    ):
        answer = gw.ask("/o", headers={"Range": f"bytes={text}"})
        assert answer.status == 206 and answer.get("X-Cache") == "HIT"
        assert answer.get("Content-Range") == f"bytes {first}-{last}/{n}"
        assert answer.body == body[first : last + 1]
    spans = [(0, 99), (5 * MIB, 5 * MIB + 200000), (40 * MIB, 45 * MIB), (n - 7, n - 1)]
    answer = gw.ask("/o", headers={"Range": "bytes=" + ",".join(f"{a}-{b}" for a, b in spans)})
    mark = answer.get("Content-Type").partition("boundary=")[2].strip('"').encode()
    at = 0
    for a, b in spans:
        at = answer.body.index(b"--" + mark, at)
        at = answer.body.index(b"\r\n\r\n", at) + 4
        assert answer.body[at : at + b - a + 1] == body[a : b + 1]
        at += b - a + 1
    assert answer.body[at:] == b"\r\n--" + mark + b"--\r\n"
    assert gw.ask("/o", headers={"Range": f"bytes={n}-"}).status == 416
    assert len(server.requests) == 1
    settled(gw)


def test_clients_that_leave_in_a_hit_leave_nothing_behind(large):
    gw, server, body, before = large
    for i in range(40):
        with gw.client(recv_buffer=4096) as c:
            c.send(request("/o"))
            c.take(1000 + 5000 * i)
            c.reset() if i % 2 else c.close()
    wait_for("all have ended", lambda: gw.metric("vivace_http_requests_in_flight") == 0)
    memory_within(gw, before, 50 * 1.15 + 12)
    used = gw.metric("vivace_cache_bytes", kind="used")
    assert used > 50 * MIB
    gw.api("/cache/purge", "POST", {"all": True})  # it goes only if nobody holds it any more
    wait_for("its memory is back", lambda: gw.metric("vivace_cache_bytes", kind="used") < used - 50 * MIB)
    settled(gw)


def test_a_purge_does_not_cut_those_who_read(large):
    gw, server, body, _ = large
    threads, results = run_slow(gw, "/o", 3, 1.0)
    in_flight(gw, 3)
    gw.api("/cache/purge", "POST", {"all": True})
    gw.api("/cache/trim", "POST", {"to": "0%"})
    for t in threads:
        t.join()
    assert results == {n: digest(body) for n in range(3)}
    assert gw.metric("vivace_cache_entries") == 0
    settled(gw)


# ------------------------------------------------------------------------------- the budget


class Flood(threading.Thread):
    """One client that asks for things of all sizes, reads most of them and leaves some."""

    def __init__(self, gw, seed, until, urls):
        super().__init__(daemon=True)
        self.gw, self.until, self.urls = gw, until, urls
        self.rng = random.Random(seed)
        self.asked = self.left = self.wrong = self.cut = 0
        self.error = None

    def one(self, c):
        i = min(int(self.rng.paretovariate(0.6)), self.urls)  # popular ones and a long tail
        size = int(100 * 10 ** (random.Random(i).random() * 4.9))  # 100 B to 8 MB, the same for a URL
        c.send(request(f"/size/{size}?{i}"))
        self.asked += 1
        answer = harness.Answer(c.head())
        self.wrong += answer.status != 200 or answer.get("Content-Length") != str(size)
        if self.rng.random() < 0.02:
            swallow(c, min(size, 2000))
            c.reset()
            self.left += 1
            return False
        try:
            swallow(c, size)
        except Closed:
            self.cut += 1
            return False
        return True

    def run(self):
        try:
            while time.monotonic() < self.until:
                with self.gw.client() as c:
                    for _ in range(50):
                        if time.monotonic() > self.until or not self.one(c):
                            break
        except (Closed, OSError, AssertionError) as e:
            self.error = e


@pytest.mark.slow
@pytest.mark.timeout(900 if LONG else 120)
@pytest.mark.skipif(SANITIZER is not None, reason="memory under a sanitizer says nothing")
def test_the_process_stays_within_the_budget_under_a_flood(gateway, app):
    """All sizes at once, far more than fits: resident memory stays below budget + 15 % + idle and does
    not creep. VIVACE_LONG=1: 256 MiB and ten minutes."""
    budget, seconds = (256, 600) if LONG else (64, 20)
    server = app()
    gw = gateway(
        {
            "services": {"app": {"servers": [server.url], "max_fails": 0}},
            "caches": {"c": {"levels": [{"memory": f"{budget}MB"}], "ttl": {"default": "1h"}}},
            "routes": [{"path": "/", "to": "app", "cache": "c", "compress": False}],
        }
    )
    pid = gw.worker()
    idle = memory_kib(pid)
    allowed = idle + budget * 1024 * 1.15
    floods = [Flood(gw, n, time.monotonic() + seconds, 100000) for n in range(8)]
    for f in floods:
        f.start()
    samples = []
    while any(f.is_alive() for f in floods):
        samples.append(memory_kib(pid))
        time.sleep(0.1)
    m = gw.metrics()
    assert [f.error for f in floods] == [None] * len(floods)
    # a fill that finds no room in its middle leaves the client that began it its bytes, not its followers
    assert sum(f.cut for f in floods) == m.sum("vivace_http_requests_aborted_total", reason="server_closed")
    assert sum(f.cut for f in floods) <= min(5, m.sum("vivace_cache_refused_total", reason="memory"))
    assert sum(f.wrong for f in floods) == 0
    half = len(samples) // 2
    first, second = max(samples[:half]), max(samples[half:])
    print(f"idle {idle / 1024:.1f} MiB, most {max(samples) / 1024:.1f} of {allowed / 1024:.1f} MiB, "
          f"halves {first / 1024:.1f} and {second / 1024:.1f}, {sum(f.asked for f in floods)} requests, "
          f"{sum(f.left for f in floods)} left, {sum(f.cut for f in floods)} cut, "
          f"evicted {m.sum('vivace_cache_evicted_total'):.0f}, refused {m.sum('vivace_cache_refused_total'):.0f}")
    assert m.sum("vivace_cache_evicted_total", reason="space") + m.sum("vivace_cache_refused_total") > 100
    assert gw.metric("vivace_cache_bytes", kind="used") <= budget * MIB
    assert max(samples) <= allowed
    assert second <= first * 1.05
    settled(gw)


def test_many_small_answers_stay_within_the_budget_too(gateway, app):
    """Index and heads count: tiny bodies, each with a URL of its own."""
    server = app()
    gw = gateway(
        {
            "services": {"app": {"servers": [server.url], "max_fails": 0}},
            "caches": {"c": {"levels": [{"memory": "4MB"}], "ttl": {"default": "1h"}}},
            "routes": [{"path": "/", "to": "app", "cache": "c", "compress": False}],
        }
    )
    pid = gw.worker()
    before = memory_kib(pid)
    with gw.client() as c:
        for start in range(0, 12000, 200):
            c.send(b"".join(request(f"/size/10?{n}") for n in range(start, start + 200)))
            for _ in range(200):
                assert c.answer().status == 200
    assert gw.metric("vivace_cache_evicted_total", reason="space") + gw.metric("vivace_cache_refused_total") > 1000
    assert gw.metric("vivace_cache_bytes", kind="used") <= 4 * MIB
    memory_within(gw, before, 4 * 1.15 + 6)  # the rest: blocks of connections, metrics
    settled(gw)
