# tests/integration/test_streaming.py - large bodies, slow clients: back-pressure and bounded memory.
import socket
import threading
import time

import pytest

from harness import (
    MIB,
    PATIENCE,
    SANITIZER,
    SCALE,
    memory_kib,
    ok,
    request,
)

# ------------------------------------------------------------------------ back-pressure and memory


@pytest.mark.slow
def test_a_slow_client_holds_back_its_server(proxy):
    """64 MiB for a client that reads 10 KiB/s: the server is stopped, memory stays bounded."""
    total = 64 * MIB
    sent = [0]

    def handler(conn):
        conn.read_request()
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        block = b"s" * 65536
        while sent[0] < total:
            sent[0] += conn.sock.send(block)

    gw, _ = proxy(handler, workers=1)
    before = memory_kib(gw.worker(), "RssAnon")
    with gw.client(recv_buffer=4096) as c:
        c.send(request("/"))
        got, begin = 0, time.monotonic()
        while time.monotonic() - begin < 3:
            got += len(c.sock.recv(1024))
            time.sleep(0.1)
        held = memory_kib(gw.worker(), "RssAnon") - before
        stuck = sent[0]
    print(f"client read {got} bytes, server sent {stuck}, gateway grew {held} KiB")
    assert stuck < 16 * MIB, "the server must be held back (what is left sits in kernel buffers)"
    if not SANITIZER:
        assert held < 1024


def test_a_slow_server_holds_back_its_client(proxy):
    gate = threading.Event()

    def handler(conn):
        head = conn.read_head()
        gate.wait(PATIENCE)
        left = int(head.get("Content-Length")) - len(conn.buf)
        while left > 0:
            left -= len(conn.sock.recv(MIB))
        conn.send(ok(b"all"))

    gw, _ = proxy(handler, workers=1)
    before = memory_kib(gw.worker(), "RssAnon")
    total, sent = 64 * MIB, 0
    with gw.client() as c:
        c.send(request("/", "PUT", {"Content-Length": str(total)}))
        c.sock.settimeout(0.5 * SCALE)
        block = b"u" * 65536
        try:
            while sent < total:
                sent += c.sock.send(block[: total - sent])
        except (TimeoutError, socket.timeout):
            pass
        assert sent < 32 * MIB, "the client must be held back"
        held = memory_kib(gw.worker(), "RssAnon") - before
        if not SANITIZER:
            assert held < 1024
        gate.set()
        c.sock.settimeout(PATIENCE)
        while sent < total:
            sent += c.sock.send(block[: total - sent])
        assert c.answer("PUT").body == b"all"


class Watch(threading.Thread):
    """The highest resident memory of a process while it works."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.high, self.done = pid, 0, threading.Event()
        self.start()

    def run(self):
        while not self.done.wait(0.01):
            self.high = max(self.high, memory_kib(self.pid, "VmRSS"))

    def stop(self):
        self.done.set()
        self.join()
        return self.high


BIG = (1024 if not SANITIZER else 128) * MIB


@pytest.fixture
def sparse(tmp_path):
    path = tmp_path / "sparse"
    with open(path, "wb") as f:
        f.truncate(BIG)
    return path


def _swallow(wire, total, chunked):
    """Reads a body of `total` bytes through one buffer; returns how many came."""
    space = memoryview(bytearray(MIB))

    def eat(left):
        n = min(left, len(wire.buf))
        wire.buf = wire.buf[n:]
        left -= n
        while left > 0:
            n = wire.sock.recv_into(space[: min(left, MIB)])
            assert n > 0, f"ended {left} bytes too early"
            left -= n

    if not chunked:
        eat(total)
        return total
    got = 0
    while True:
        size = int(wire.until(b"\r\n").split(b";")[0], 16)
        if size == 0:
            wire.until(b"\r\n")
            assert got == total
            return got
        eat(size)
        assert wire.take(2) == b"\r\n"
        got += size


@pytest.mark.slow
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_gigabyte_download_needs_no_memory(proxy, sparse, framing):
    chunk = 4 * MIB

    def handler(conn):
        while True:
            req = conn.read_request()
            if req.target == "/warm":
                conn.send(ok(b"w" * 100000))
                continue
            with open(sparse, "rb") as f:
                if framing == "length":
                    conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG)
                    conn.sock.sendfile(f)
                else:
                    conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    for at in range(0, BIG, chunk):
                        conn.send(b"%x\r\n" % chunk)
                        conn.sock.sendfile(f, at, chunk)
                        conn.send(b"\r\n")
                    conn.send(b"0\r\n\r\n")

    gw, _ = proxy(handler, workers=1)
    gw.ask("/warm")
    idle = memory_kib(gw.worker(), "VmRSS")
    watch = Watch(gw.worker())
    begin = time.monotonic()
    with gw.client(timeout=60 * SCALE) as c:
        c.send(request("/big"))
        c.head()
        _swallow(c, BIG, framing == "chunked")
    took = time.monotonic() - begin
    high = watch.stop()
    print(f"download ({framing}): {BIG // MIB} MiB in {took:.1f} s, {idle} KiB idle, {high} KiB at most")
    if not SANITIZER:
        assert high - idle <= 8 * 1024


@pytest.mark.slow
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_gigabyte_upload_needs_no_memory(proxy, sparse, framing):
    chunk = 4 * MIB
    received = [0]

    def handler(conn):
        while True:
            req = conn.read_head()
            if req.target == "/warm":
                conn.take(int(req.get("Content-Length")))
                conn.send(ok())
                continue
            received[0] = _swallow(conn, BIG, not req.has("Content-Length"))
            conn.send(ok(b"thanks"))

    gw, _ = proxy(handler, workers=1)
    gw.ask("/warm", "POST", body=b"w" * 100000)
    idle = memory_kib(gw.worker(), "VmRSS")
    watch = Watch(gw.worker())
    begin = time.monotonic()
    with gw.client(timeout=60 * SCALE) as c, open(sparse, "rb") as f:
        if framing == "length":
            c.send(request("/big", "PUT", {"Content-Length": str(BIG)}))
            c.sock.sendfile(f)
        else:
            c.send(request("/big", "PUT", {"Transfer-Encoding": "chunked"}))
            for at in range(0, BIG, chunk):
                c.send(b"%x\r\n" % chunk)
                c.sock.sendfile(f, at, chunk)
                c.send(b"\r\n")
            c.send(b"0\r\n\r\n")
        assert c.answer("PUT").body == b"thanks"
    took = time.monotonic() - begin
    high = watch.stop()
    print(f"upload ({framing}): {BIG // MIB} MiB in {took:.1f} s, {idle} KiB idle, {high} KiB at most")
    assert received[0] == BIG
    if not SANITIZER:
        assert high - idle <= 8 * 1024
