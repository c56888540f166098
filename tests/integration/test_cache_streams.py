# tests/integration/test_cache_streams.py - answers that never end: nobody collects them, nobody shares them.
import pytest

from crowd import many, settled
from harness import chunks, wait_for

CACHED = {"cache": "c"}
SHARED = {"coalesce": {"keep": "10s"}}


@pytest.fixture
def stream(gateway, origin):
    """stream(route): a server of events without end, one each 50 ms."""

    def make(route, kind="text/event-stream"):
        def handler(conn):
            conn.read_request()
            conn.send(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
            n = conn.index
            while not conn.origin.stopping.is_set():
                conn.send(chunks(b"data: %d\n\n" % n)[:-5])
                conn.sleep(0.05)

        server = origin(handler)
        gw = gateway(
            {
                "services": {"app": {"servers": [server.url], "max_fails": 0}},
                "caches": {"c": {"levels": [{"memory": "16MB"}], "ttl": {"default": "1h"}}},
                "routes": [{"path": "/", "to": "app", "compress": False, **route}],
            }
        )
        return gw, server

    return make


@pytest.mark.parametrize("route", [CACHED, SHARED], ids=["cached", "shared"])
def test_every_client_has_a_stream_of_events_of_its_own(stream, route):
    gw, server = stream(route)
    with many(gw, 5, "/events") as crowd:
        crowd.send().read(until=lambda m: m.data.count(b"data: ") >= 4)
        seen = {bytes(m.data).split(b"data: ")[1][:1] for m in crowd.members}
        assert len(seen) == 5, "each has its own"
        for m in crowd.members:
            m.client.reset()
    settled(gw)


@pytest.mark.parametrize("kind", ["text/event-stream", "Text/Event-Stream; charset=utf-8", "multipart/x-mixed-replace; boundary=a"])
def test_a_stream_ends_with_its_client(stream, kind):
    """Else every URL somebody asked for once would hold a connection to the server for good."""
    gw, server = stream(CACHED, kind)
    with many(gw, 4, "/events") as crowd:
        crowd.send().read(until=lambda m: m.so_far >= 50)
        assert len(server.live) >= 1
        for m in crowd.members:
            m.client.reset()
    wait_for("the server is let go", lambda: not server.live)
    settled(gw)
