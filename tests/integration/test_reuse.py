# tests/integration/test_reuse.py - kept-alive connections to servers and their risks.
import time

import pytest

from harness import ok, wait_for


def test_one_server_connection_serves_many_requests(proxy):
    gw, origin = proxy()
    with gw.client() as c:
        for _ in range(50):
            assert c.ask("/").body == b"ok"
    assert origin.connections == 1
    assert gw.metric("vivace_upstream_connects_total") == 1
    assert gw.metric("vivace_upstream_reuses_total") == 49


def test_many_clients_share_server_connections(proxy):
    gw, origin = proxy(workers=1)
    for _ in range(30):
        assert gw.ask("/").status == 200
    assert origin.connections == 1


def test_a_server_that_closes_is_connected_again(proxy):
    def handler(conn):
        conn.read_request()
        conn.send(ok(headers={"Connection": "close"}))

    gw, origin = proxy(handler)
    with gw.client() as c:
        for _ in range(5):
            assert c.ask("/").status == 200
    assert origin.connections == 5
    assert gw.metric("vivace_upstream_retries_total") == 0


def _dies_on_second(count):
    """Serves one request per connection and drops it when the second comes in (keep-alive race)."""

    def handler(conn):
        conn.read_request()
        conn.send(ok())
        if conn.index < count:
            conn.read_head()
            conn.reset()
        else:
            conn.origin.serve(conn)

    return handler


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_an_idempotent_request_survives_a_dead_kept_alive_connection(proxy, method):
    gw, origin = proxy(_dies_on_second(1))
    with gw.client() as c:
        assert c.ask("/").status == 200
        assert c.ask("/", method, body=b"x" if method == "PUT" else None).status == 200
    assert origin.connections == 2
    assert gw.metric("vivace_upstream_retries_total") == 1
    gw.books_balance()


def test_a_post_is_not_sent_twice(proxy):
    gw, origin = proxy(_dies_on_second(1))
    with gw.client() as c:
        assert c.ask("/").status == 200
        assert c.ask("/", "POST", body=b"pay once").status == 502
    assert sum(1 for r in origin.requests if r.method == "POST") == 1
    assert gw.metric("vivace_upstream_retries_total") == 0
    gw.books_balance()


def test_a_post_may_move_on_when_nothing_was_sent(proxy):
    """The server closed its idle connection long before: the gateway must not try it."""
    gw, origin = proxy()
    with gw.client() as c:
        assert c.ask("/").status == 200
        origin.drop_connections()
        wait_for("the pool notices", lambda: gw.metric("vivace_upstream_connections", state="idle") == 0)
        assert c.ask("/", "POST", body=b"x").status == 200
    assert sum(1 for r in origin.requests if r.method == "POST") == 1


def test_a_post_moves_on_when_the_server_refuses_the_connection(gateway, origin):
    good, bad = origin(), origin()
    bad.stop_listening()
    gw = gateway(
        {
            "services": {"app": {"servers": [bad.url, good.url], "balance": "round_robin"}},
            "routes": [{"path": "/", "to": "app"}],
        }
    )
    for _ in range(6):
        assert gw.ask("/", "POST", body=b"x").status == 200
    assert len(good.requests) == 6


def test_a_request_is_not_retried_for_ever(proxy):
    def handler(conn):
        conn.read_request()
        conn.reset()

    gw, origin = proxy(handler)
    assert gw.ask("/").status == 502
    time.sleep(0.1)
    assert len(origin.requests) <= 3, "the default is one safe retry"
