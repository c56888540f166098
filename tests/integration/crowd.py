# tests/integration/crowd.py - many clients at one moment, each answer with the instant its bytes came.
"""Crowd(port, requests) connects one client for each request; send() lets them all ask at once.

Model:     one thread reads all of them, so that 500 clients cost little; read() goes on until every
           client has what it waits for. The instant is the kernel's (SO_TIMESTAMPNS): when the bytes
           arrived, not when this program came round to reading them.
"""

import selectors
import socket
import struct
import threading
import time

import harness
from harness import Answer, Client, wait_for

SO_TIMESTAMPNS = 35  # asm-generic/socket.h
NANO = 1_000_000_000


def unchunked(data):
    """The body in chunks that have come whole; in one pass, since it may be large."""
    parts, at = [], 0
    while True:
        end = data.index(b"\r\n", at)
        size = int(data[at:end], 16)
        at = end + 2
        if size == 0:
            assert data[at:] == b"\r\n", data[at:][:100]
            return b"".join(parts)
        parts.append(data[at : at + size])
        at += size
        assert data[at : at + 2] == b"\r\n", "a chunk must end with CRLF"
        at += 2


class Member:
    """One client of the crowd and what it got."""

    def __init__(self, port, asks, recv_buffer=None):
        self.asks = asks
        self.client = Client(port, recv_buffer=recv_buffer)
        self.sock = self.client.sock
        self.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.sock.setblocking(False)
        self.data = bytearray()
        self.head_n = 0
        self.answer = None  # its head; .body when the end has come
        self.first = None  # when the first byte of the body came, seconds
        self.last = None
        self.whole = self.ended = False

    @property
    def status(self):
        return self.answer.status if self.answer else None

    @property
    def body(self):
        return self.answer.body if self.whole else None

    @property
    def so_far(self):
        """How many bytes of the body have come, coding included."""
        return len(self.data) - self.head_n if self.answer else 0

    def read(self):
        """Takes what is there; True while more may come."""
        while True:
            try:
                data, notes, _, _ = self.sock.recvmsg(262144, 64)
            except BlockingIOError:
                return True
            except OSError:
                data, notes = b"", []
            if not data:
                self.ended = True
                self.look()
                return False
            stamp = [struct.unpack("qq", n[2]) for n in notes if n[1] == SO_TIMESTAMPNS]
            self.data += data
            self.last = stamp[0][0] + stamp[0][1] / NANO if stamp else time.time()
            self.look()
            if self.whole:
                return False

    def look(self):
        if self.answer is None:
            end = self.data.find(b"\r\n\r\n")
            if end < 0:
                return
            self.head_n = end + 4
            self.answer = Answer(bytes(self.data[: self.head_n]))
        n = len(self.data) - self.head_n
        if n > 0 and self.first is None:
            self.first = self.last
        length = self.answer.get("Content-Length")
        if self.answer.get("Transfer-Encoding"):
            self.whole = n >= 5 and self.data.endswith(b"0\r\n\r\n")
        else:
            self.whole = n >= int(length) if length else self.ended
        if self.whole:
            body = bytes(self.data[self.head_n :])
            self.answer.body = unchunked(body) if self.answer.get("Transfer-Encoding") else body


class Crowd:
    def __init__(self, port, requests):
        self.members = [Member(port, r) for r in requests]
        self.sent = None

    def send(self, members=None):
        self.sent = time.time()
        for m in members or self.members:
            m.sock.setblocking(True)
            m.sock.sendall(m.asks)
            m.sock.setblocking(False)
        return self

    def read(self, members=None, until=lambda m: m.whole, seconds=None):
        """Reads until it is so for each member, or its connection has ended."""
        members = self.members if members is None else members
        limit = time.monotonic() + (seconds or 2) * harness.PATIENCE
        with selectors.DefaultSelector() as s:
            for m in members:
                if m.read() and not until(m):
                    s.register(m.sock, selectors.EVENT_READ, m)
            while s.get_map():
                left = limit - time.monotonic()
                assert left > 0, f"{len(s.get_map())} of {len(members)} clients still wait"
                for key, _ in s.select(left):
                    if not key.data.read() or until(key.data):
                        s.unregister(key.fileobj)
        return self

    def statuses(self):
        return sorted({m.status for m in self.members}, key=str)

    def bodies(self):
        return {m.body for m in self.members}

    def close(self):
        for m in self.members:
            m.client.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def many(gw, n, target, headers=()):
    """n clients with the same request."""
    return Crowd(gw.port, [harness.request(target, headers=headers)] * n)


class Gate:
    """What a scripted server waits at until the test opens it."""

    def __init__(self):
        self.event = threading.Event()
        self.waiting = 0

    def open(self):
        self.event.set()

    def wait(self):
        self.waiting += 1
        assert self.event.wait(4 * harness.PATIENCE), "nobody opened the gate"

    def reached(self, n=1):
        wait_for("the server is at the gate", lambda: self.waiting >= n)


def in_flight(gw, n):
    wait_for(f"{n} requests wait", lambda: gw.metric("vivace_http_requests_in_flight") >= n)


def settled(gw):
    """Every request is answered, aborted or in flight, and was counted once by what the cache did.

    For gateways all of whose routes are cached or shared."""
    gw.books_balance()

    def counted():
        m = gw.metrics()
        ended = m.sum("http_requests_total") + m.sum("vivace_http_requests_aborted_total")
        results = m.sum("vivace_cache_requests_total")
        return (ended, results) if ended == results else None

    return wait_for("each request has one result of the cache", counted)


def results(gw):
    """vivace_cache_requests_total by result, without those that never came."""
    m = gw.metrics()
    names = {labels["result"] for labels in m.labels("vivace_cache_requests_total")}
    found = {n: int(m.sum("vivace_cache_requests_total", result=n)) for n in names}
    return {n: v for n, v in found.items() if v}
