# tests/integration/test_load_limit_exact.py - `vivace load limit` finds a capacity that is known exactly.
import os
import asyncio
import heapq
import json
import subprocess
import threading

import pytest

import harness
from harness import PATIENCE

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


long = pytest.mark.skipif("VIVACE_LONG" not in os.environ, reason="takes its time: set VIVACE_LONG=1")


class ExactPool:
    """A fixed pool with a fixed service time, whose capacity is exactly slots / seconds: when a slot is
    free again is arithmetic. A timer that fires late delays one answer, not the ones behind it."""

    def __init__(self, slots, seconds):
        self.free, self.seconds = [0.0] * slots, seconds
        self.loop = asyncio.new_event_loop()
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        assert self.ready.wait(PATIENCE)

    def run(self):
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(
            self.loop.create_server(lambda: Connection(self), "127.0.0.1", 0, backlog=4096))
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        self.loop.run_forever()

    def end_of_next(self):
        end = max(self.loop.time(), self.free[0]) + self.seconds
        heapq.heapreplace(self.free, end)
        return end

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()


class Connection(asyncio.Protocol):
    def __init__(self, pool):
        self.pool, self.got = pool, b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.got += data
        while b"\r\n\r\n" in self.got:
            self.got = self.got.split(b"\r\n\r\n", 1)[1]
            self.pool.loop.call_at(self.pool.end_of_next(), self.transport.write, ANSWER)


@long
@pytest.mark.skipif(harness.SANITIZER is not None, reason="compares rates")
@pytest.mark.timeout(300)  # a dozen steps of 4 s, some of 8 s
def test_limit_finds_the_capacity_of_a_fixed_pool_within_5_percent():
    capacity = 8 / 0.020  # 400 a second
    pool = ExactPool(8, 0.020)
    try:
        got = subprocess.run([harness.binary(), "load", "limit", f"http://127.0.0.1:{pool.port}/",
                              "--start", "100", "--step", "4s", "--json", "--quiet"],
                             capture_output=True, text=True, timeout=300 * harness.SCALE)
    finally:
        pool.stop()
    assert got.returncode == 0, got.stdout + got.stderr
    found = json.loads(got.stdout)
    steps = [(s["rate"], s["held"], s["why"]) for s in found["steps"]]
    assert 0.95 * capacity <= found["limit"] <= 1.05 * capacity, steps
