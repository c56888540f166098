# tests/integration/test_cache_stale.py - servers that die under load, renewal behind the answer, PURGE.
import time

import pytest

import harness
from crowd import Gate, many, results, settled
from harness import Origin, SCALE, ok, wait_for

CACHE = {"levels": [{"memory": "32MB"}], "show": "X-Cache"}
OLD = {"Cache-Control": "max-age=1", "Age": "5"}  # four seconds past its lifetime when it comes


@pytest.fixture
def site(gateway, origin):
    """site(handler or answer=..., **cache settings)."""

    def make(handler=None, answer=None, route=None, **cache):
        server = origin(handler, answer=answer)
        gw = gateway(
            {
                "services": {"app": {"servers": [server.url], "max_fails": 0, "retries": 0}},
                "caches": {"c": {**CACHE, **cache}},
                "routes": [{"path": "/", "to": "app", "cache": "c", "compress": False, **(route or {})}],
            }
        )
        return gw, server

    return make


def word(gw, target, **kw):
    return gw.ask(target, **kw).get("X-Cache")


# ------------------------------------------------------------------------------- a server that dies


@pytest.mark.slow
def test_a_server_that_dies_under_load_costs_no_error_on_what_is_held(gateway, stack, load):
    """Kept answers serve on while the server is gone, new ones fail properly, and it comes back."""
    server = Origin(answer=lambda req: ok(b"v" * 500, headers={"Cache-Control": "max-age=1"}))
    stack.append(server)
    gw = gateway(
        {
            "services": {"app": {"servers": [server.url], "fail_timeout": "1s"}},
            "caches": {"c": {**CACHE, "stale": {"if_error": "1h"}}},
            "routes": [{"path": "/", "to": "app", "cache": "c", "compress": False}],
        }
    )
    runs = [load(gw.port, connections=4, rate=150, path=f"/k/{i}") for i in range(3)]
    gw.wait_metric("vivace_cache_entries", 3)
    wait_for("some hits", lambda: results(gw).get("hit", 0) > 100)
    port = server.port
    server.close()
    wait_for("stale answers", lambda: results(gw).get("stale", 0) > 300)
    assert gw.ask("/never-asked").status in (502, 503)
    again = Origin(answer=server.answer, port=port)
    stack.append(again)
    asked = wait_for("the server is asked again", lambda: len(again.requests))
    assert asked > 0
    wait_for("fresh again", lambda: word(gw, "/k/1") == "HIT")
    wait_for("what failed works", lambda: gw.ask("/never-asked").status == 200)
    for run in runs:
        report = run.finish()
        assert set(report["statuses"]) == {"200"} and report["lost"] == 0, report
    settled(gw)


def test_stale_answers_end_with_their_limit(site):
    """2 s past the lifetime they stand in for a failing server; then the failure is told."""
    gw, server = site(answer=lambda req: ok(b"v", headers={"Cache-Control": "max-age=1"}), stale={"if_error": "2s"})
    began = time.monotonic()
    assert gw.ask("/a").status == 200
    server.stop_listening()
    server.drop_connections()
    seen = []
    while time.monotonic() - began < 5:
        asked = time.monotonic()
        answer = gw.ask("/a")
        seen.append((asked - began, time.monotonic() - began, answer.status, answer.get("X-Cache")))
        time.sleep(0.1)
    for before, after, status, cache in seen:
        if after < 0.9:
            assert (status, cache) == (200, "HIT"), seen
        if before > 1.1 and after < 2.9:
            assert (status, cache) == (200, "STALE"), seen
        if before > 4.1:  # lifetimes count whole seconds of Date, which may have been cut
            assert status == 502, seen
    settled(gw)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_failure_that_is_answered_counts_as_one(site, status):
    bad = []

    def answer(req):
        return ok(b"bad", f"{status} Bad") if bad else ok(b"good", headers=OLD)

    gw, _ = site(answer=answer, stale={"if_error": "1h"})
    assert gw.ask("/a").body == b"good"
    bad.append(1)
    kept = gw.ask("/a")
    assert (kept.status, kept.body, kept.get("X-Cache")) == (200, b"good", "STALE")
    assert gw.ask("/b").status == status
    bad.clear()
    assert word(gw, "/a") == "EXPIRED"
    settled(gw)


def test_a_server_that_hangs_costs_its_timeout_and_no_more(site):
    calls = []

    def handler(conn):
        while True:
            conn.read_request()
            calls.append(1)
            if len(calls) > 1:
                conn.sleep(60)
                return
            conn.send(ok(b"good", headers=OLD))

    gw, _ = site(handler, stale={"if_error": "1h"}, route={"timeouts": {"first_byte": f"{int(500 * SCALE)}ms"}})
    assert gw.ask("/a").body == b"good"
    began = time.monotonic()
    assert gw.ask("/a").body == b"good"
    assert time.monotonic() - began < 3 * SCALE
    assert gw.ask("/b").status == 504
    settled(gw)


# ------------------------------------------------------------------------------- renewal behind


def test_many_stale_hits_renew_once(site):
    """Every one of 100 gets the old answer at once while one request asks the server."""
    gate = Gate()

    def answer(req):
        if len(server.requests) == 1:
            return ok(b"old", headers=OLD)
        gate.wait()
        return ok(b"new", headers={"Cache-Control": "max-age=100"})

    gw, server = site(answer=answer, stale={"while_revalidate": "1h"})
    assert gw.ask("/a").body == b"old"
    with many(gw, 100, "/a") as crowd:
        crowd.send().read()  # the server has answered nothing yet
        assert crowd.bodies() == {b"old"}
        assert {m.answer.get("X-Cache") for m in crowd.members} <= {"UPDATING", "STALE"}
    gate.reached()
    assert len(server.requests) == 2
    gate.open()
    wait_for("the new one is there", lambda: gw.ask("/a").body == b"new")
    assert word(gw, "/a") == "HIT" and len(server.requests) == 2
    settled(gw)


def test_many_renewals_of_one_validate_once(site):
    """The same with an ETag: the server says 304 and the body stays."""

    def answer(req):
        if req.has("If-None-Match"):
            time.sleep(0.2)
            return b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nCache-Control: max-age=100\r\n\r\n'
        return ok(b"body", headers={**OLD, "ETag": '"a"'})

    gw, server = site(answer=answer, stale={"while_revalidate": "1h"})
    assert gw.ask("/a").body == b"body"
    with many(gw, 100, "/a") as crowd:
        crowd.send().read()
        assert crowd.bodies() == {b"body"}
    wait_for("it is fresh", lambda: word(gw, "/a") == "HIT")
    assert [r.has("If-None-Match") for r in server.requests] == [False, True]
    settled(gw)


def test_without_stale_many_validate_with_one_request(site):
    """Nobody may have the old one: all wait for one 304."""

    def answer(req):
        if req.has("If-None-Match"):
            time.sleep(0.4)
            return b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nCache-Control: max-age=100\r\n\r\n'
        return ok(b"body", headers={**OLD, "ETag": '"a"'})

    gw, server = site(answer=answer)
    assert gw.ask("/a").body == b"body"
    with many(gw, 100, "/a") as crowd:
        crowd.send().read()
        assert crowd.bodies() == {b"body"} and crowd.statuses() == [200]
    assert len(server.requests) == 2
    settled(gw)


@pytest.mark.parametrize("how", ["500", "drop", "cut"])
def test_a_renewal_that_fails_keeps_what_is_there(site, how):
    def handler(conn):
        while True:
            conn.read_request()
            if len(server.requests) == 1:
                conn.send(ok(b"old", headers=OLD))
            elif how == "500":
                conn.send(ok(b"bad", "500 Bad"))
            else:
                if how == "cut":
                    conn.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=100\r\nContent-Length: 100\r\n\r\nhalf")
                return

    gw, server = site(handler, stale={"while_revalidate": "1h", "if_error": "1h"})
    for n in range(4):
        assert gw.ask("/a").body == b"old"
        server.wait_requests(n + 1)  # the first was the client's, each later one is a renewal
        gw.wait_metric("vivace_cache_background_fetches_total", n, reason="stale", result="failed")
    settled(gw)


# ------------------------------------------------------------------------------- PURGE


def plain(req):
    return ok(b"v", headers={"Cache-Control": "max-age=100", "ETag": '"a"'})


def test_purge_removes_one_url(site):
    gw, server = site(answer=plain, purge=["127.0.0.0/8"])
    assert [word(gw, "/a"), word(gw, "/b"), word(gw, "/a")] == ["MISS", "MISS", "HIT"]
    assert gw.ask("/a", "PURGE").status == 200
    assert gw.ask("/a", "PURGE").status == 404
    assert gw.ask("/none", "PURGE").status == 404
    assert [word(gw, "/a"), word(gw, "/b")] == ["MISS", "HIT"]
    assert all(r.method == "GET" for r in server.requests)
    gw.books_balance()


def test_purge_is_for_those_who_may(site):
    gw, server = site(answer=plain, purge=["127.0.0.9/32"])
    assert word(gw, "/a") == "MISS"
    assert gw.ask("/a", "PURGE").status == 403
    assert word(gw, "/a") == "HIT"
    with harness.Client(gw.port, source="127.0.0.9") as c:
        assert c.ask("/a", "PURGE").status == 200
    assert word(gw, "/a") == "MISS"
    gw.books_balance()


def test_purge_is_an_unknown_method_where_nobody_may(site):
    """It goes to the server as any other method does, and changes nothing here unless the server accepts it."""
    gw, server = site(answer=lambda req: plain(req) if req.method == "GET" else ok(b"", "405 No"))
    assert word(gw, "/a") == "MISS"
    assert gw.ask("/a", "PURGE").status == 405
    assert word(gw, "/a") == "HIT"
    assert [r.method for r in server.requests] == ["GET", "PURGE"]
    settled(gw)


def test_a_soft_purge_makes_stale(site):
    """Softly purged answers are validated at their next use, and stand in for a failure."""
    bad = []

    def answer(req):
        if bad:
            return ok(b"bad", "500 Bad")
        if req.has("If-None-Match"):
            return b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nCache-Control: max-age=100\r\n\r\n'
        return plain(req)

    gw, server = site(answer=answer, purge=["127.0.0.0/8"], stale={"if_error": "1h"})
    assert word(gw, "/a") == "MISS"
    assert gw.ask("/a", "PURGE", {"X-Purge-Soft": "1"}).status == 200
    assert [word(gw, "/a"), word(gw, "/a")] == ["REVALIDATED", "HIT"]
    assert gw.ask("/a", "PURGE", {"X-Purge-Soft": "1"}).status == 200
    bad.append(1)
    assert word(gw, "/a") == "STALE"
    assert gw.ask("/a", "PURGE", {"X-Purge-Soft": "0"}).status == 200
    assert gw.ask("/a").status == 500
    gw.books_balance()
