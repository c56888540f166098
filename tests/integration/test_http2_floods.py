# tests/integration/test_http2_floods.py - attacks that HTTP/2 makes cheap: their connections end, nobody else feels it.
"""Each attack runs in a process of its own, on connection after connection, while a client goes on asking.
VIVACE_LONG=1: ten minutes of four attacks together, and each of them for a minute."""

import multiprocessing
import os
import struct
import time

import pytest

import harness
from harness import SCALE, memory_kib, wait_for
from http2_client import H2, fields, frame

LONG = os.environ.get("VIVACE_LONG") == "1"
SECONDS = 60 if LONG else 1
PAUSE = 0.02  # between two connections of one attacker


def get(path):
    return fields([(":method", "GET"), (":scheme", "http"), (":authority", "test"), (":path", path)])


def rapid_reset(client, path="/size/1000"):
    """CVE-2023-44487: requests that are taken back at once."""
    block, out = get(path), b""
    for _ in range(100):
        out += frame("HEADERS", 5, client.next, block) + frame("RST_STREAM", 0, client.next, struct.pack(">I", 8))
        client.next += 2
    return out


def made_you_reset(client):
    """CVE-2025-8671: the server is made to reset the streams itself."""
    block, out = get("/size/1000"), b""
    for _ in range(100):
        out += frame("HEADERS", 5, client.next, block) + frame("WINDOW_UPDATE", 0, client.next, struct.pack(">I", 2**31 - 1))
        client.next += 2
    return out


def continuation(client):
    """CVE-2024-27316: a head that never ends."""
    if client.next == 1:
        client.next = 3
        return frame("HEADERS", 1, 1, get("/"))
    return frame("CONTINUATION", 0, 1, fields([("a", "b")])) * 100


def empty_continuation(client):
    if client.next == 1:
        client.next = 3
        return frame("HEADERS", 1, 1, get("/"))
    return frame("CONTINUATION", 0, 1) * 100


def ping(_):
    """CVE-2019-9512"""
    return frame("PING", 0, 0, bytes(8)) * 100


def settings(_):
    """CVE-2019-9515"""
    return frame("SETTINGS", 0, 0, struct.pack(">HI", 4, 65535)) * 100


def window_update(_):
    return frame("WINDOW_UPDATE", 0, 0, struct.pack(">I", 1)) * 100


def priority(_):
    """CVE-2019-9513"""
    return frame("PRIORITY", 0, 1, struct.pack(">IB", 0, 7)) * 100


def priority_update(_):
    return frame("PRIORITY_UPDATE", 0, 0, struct.pack(">I", 101) + b"u=1") * 100


def unknown(_):
    return frame(99, 0, 0, bytes(50)) * 100


def empty_data(client):
    """CVE-2019-9518"""
    if client.next == 1:
        client.next = 3
        block = fields([(":method", "POST"), (":scheme", "http"), (":authority", "test"), (":path", "/echo")])
        return frame("HEADERS", 4, 1, block)
    return frame("DATA", 0, 1) * 100


def padding(client):
    """CVE-2019-9518, dressed up"""
    return frame("DATA", 8, 1, b"\xff" + bytes(255)) * 100 if client.next > 1 else empty_data(client)


def hpack_bomb(client):
    """A field of 4,000 bytes in the table, then named sixteen thousand times."""
    block = get("/") + b"\x40" + b"\x01a" + b"\x7f" + b"\xa1\x1e" + b"x" * 4000 + b"\xbe" * 12000
    client.next += 2
    return frame("HEADERS", 5, client.next - 2, block)


def malformed(client):
    out, block = b"", get("/") + fields([("UPPER", "1")])
    for _ in range(100):
        out += frame("HEADERS", 5, client.next, block)
        client.next += 2
    return out


ATTACKS = {
    "flood_resets": [rapid_reset, made_you_reset, malformed],
    "flood_continuation": [continuation, empty_continuation],
    "flood_frames": [ping, settings, priority, priority_update, unknown, empty_data, padding],
    "flood_window": [window_update],
    "head_bomb": [hpack_bomb],
}
REASON = {attack.__name__: reason for reason, attacks in ATTACKS.items() for attack in attacks}
BY_NAME = {attack.__name__: attack for attacks in ATTACKS.values() for attack in attacks}


def attacker(port, name, seconds, result):
    """Connection after connection until the time is over; tells how they ended."""
    ends = {}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with H2(port, source="127.0.0.66", acks=False, hold=True, keep=False) as c:
                c.sock.settimeout(5)
                while not c.closed and time.monotonic() < end:
                    if not c.send(BY_NAME[name](c)):
                        c.pump(0.5)
                        break
                    while c.pump(0):
                        pass
                how = c.goaways[-1][1] if c.goaways else "reset" if c.was_reset or c.closed else "open"
        except (OSError, AssertionError) as e:
            how = repr(e)[:80]
        ends[how] = ends.get(how, 0) + 1
        time.sleep(PAUSE)
    result.put(ends)


def zero_window(port, seconds, result):
    """Slow reading: a hundred streams that take a byte now and then."""
    with H2(port, source="127.0.0.66", first={"WINDOW": 0}, hold=True, keep=False) as c:
        streams = [c.request("/size/200000") for _ in range(100)]
        end = time.monotonic() + seconds
        while time.monotonic() < end and not c.closed:
            for s in streams[:20]:
                c.grant(s.id, 1)
            c.drain(0.3)
        result.put({c.goaways[-1][1] if c.goaways else "closed" if c.closed else "open": 1})


def asks(port, seconds):
    """Times of a client's requests, on one connection."""
    times = []
    end = time.monotonic() + seconds
    with H2(port) as c:
        while time.monotonic() < end:
            began = time.monotonic()
            stream = c.ask("/hello")
            times.append(time.monotonic() - began)
            assert stream.status == 200 and stream.body == b"hello"
            time.sleep(0.01)
    return sorted(times)


def p99(times):
    return times[min(len(times) - 1, int(len(times) * 0.99))]


class Attackers:
    def __init__(self):
        self.context = multiprocessing.get_context("fork")
        self.result = self.context.SimpleQueue()
        self.processes = []

    def start(self, target, *args):
        p = self.context.Process(target=target, args=(*args, self.result), daemon=True)
        p.start()
        self.processes.append(p)

    def ends(self):
        whole = {}
        for _ in self.processes:
            for how, n in self.result.get().items():
                whole[how] = whole.get(how, 0) + n
        for p in self.processes:
            p.join()
        return whole

    def close(self):
        for p in self.processes:
            p.kill()


@pytest.fixture
def target(gateway, app, stack):
    """A gateway with a fast server, and attackers to be let loose."""
    server = app()
    gw = gateway({"services": {"a": [server.url]}, "workers": 1,
                  "routes": [{"path": "/hello", "respond": {"body": "hello"}}, {"path": "/", "to": "a"}]})
    attackers = Attackers()
    stack.append(attackers)
    return gw, attackers


def unharmed(calm, under, what):
    print(f"{what}: p99 {p99(calm) * 1e3:.2f} ms when calm, {p99(under) * 1e3:.2f} ms under attack")
    assert p99(under) <= max(2 * p99(calm), 0.1 * SCALE), what


def settled(gw, before):
    """All that the attackers had is given back."""
    gw.wait_metric("vivace_http_requests_in_flight", 0)
    gw.wait_metric("vivace_http2_memory_bytes", 0)
    gw.books_balance()
    after = memory_kib(gw.worker())
    if not harness.SANITIZER:
        assert after - before < 16 * 1024, f"{before} KiB before, {after} KiB after"


@pytest.mark.timeout(90 if not LONG else 900)
@pytest.mark.parametrize("name", list(REASON))
def test_a_flood_ends_its_connection_and_hurts_nobody(target, name):
    gw, attackers = target
    calm = asks(gw.port, 0.5)
    before = memory_kib(gw.worker())
    attackers.start(attacker, gw.port, name, SECONDS)
    under = asks(gw.port, SECONDS)
    high = memory_kib(gw.worker())
    ends = attackers.ends()
    closed = ends.get("ENHANCE_YOUR_CALM", 0)
    assert closed >= 1 and closed + ends.get("reset", 0) + ends.get("open", 0) == sum(ends.values()), ends
    wait_for(f"{closed} ends are counted",
             lambda: gw.metric("vivace_http2_early_ends_total", reason=REASON[name]) >= closed)
    unharmed(calm, under, f"{name} {ends}")
    if not harness.SANITIZER:
        assert high - before < 16 * 1024, (before, high)
    settled(gw, before)


def test_a_hundred_streams_that_take_nothing_hurt_nobody(target):
    gw, attackers = target
    calm = asks(gw.port, 0.5)
    before = memory_kib(gw.worker())
    for _ in range(4):
        attackers.start(zero_window, gw.port, SECONDS)
    under = asks(gw.port, SECONDS)
    high = memory_kib(gw.worker())
    attackers.ends()
    unharmed(calm, under, "400 streams without a window")
    if not harness.SANITIZER:
        assert high - before < 400 * 80 + 16 * 1024, "at most what a stream holds each"
    gw.wait_metric("vivace_http_requests_in_flight", 0)
    gw.books_balance()


@pytest.mark.skipif(not LONG, reason="ten minutes: VIVACE_LONG=1")
@pytest.mark.timeout(1200)
def test_ten_minutes_of_every_flood_at_once(target):
    gw, attackers = target
    calm = asks(gw.port, 60)
    before = memory_kib(gw.worker())
    for name in ("rapid_reset", "continuation", "ping", "window_update"):
        attackers.start(attacker, gw.port, name, 600)
    under = asks(gw.port, 600)
    high = memory_kib(gw.worker())
    ends = attackers.ends()
    print(ends, before, high)
    unharmed(calm, under, str(ends))
    assert high - before < 32 * 1024
    settled(gw, before)
