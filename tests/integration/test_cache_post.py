# tests/integration/test_cache_post.py - answers to POST whose body belongs to the key, and HEAD from GET.
import os
import time

import pytest

from crowd import Crowd, settled
from harness import ok, request, wait_for

KIB = 1024


@pytest.fixture
def site(gateway, origin):
    """site(**cache settings): answers are numbered and carry the request body's length."""

    def make(answer=None, **cache):
        def numbered(req):
            body = f"{len(server.requests)} {len(req.body)}".encode()
            return ok(body, headers={"Cache-Control": "max-age=100"})

        server = origin(answer=answer or numbered)
        cache = {"levels": [{"memory": "16MB"}], "show": "X-Cache", "methods": ["GET", "HEAD", "POST"], **cache}
        gw = gateway(
            {
                "services": {"app": {"servers": [server.url], "max_fails": 0}},
                "caches": {"c": cache},
                "routes": [{"path": "/", "to": "app", "cache": "c", "compress": False}],
            }
        )
        return gw, server

    return make


def post(gw, body, target="/p", **kw):
    return gw.ask(target, "POST", body=body, **kw)


def test_the_same_body_shares_and_another_does_not(site):
    gw, server = site()
    first = post(gw, b"one")
    assert first.get("X-Cache") == "MISS"
    assert [post(gw, b"one").body, post(gw, b"one").get("X-Cache")] == [first.body, "HIT"]
    for body in (b"two", b"on", b"onee", b""):
        other = post(gw, body)
        assert other.body != first.body and other.get("X-Cache") == "MISS", body
        assert post(gw, body).body == other.body
    assert post(gw, b"one", "/q").body != first.body
    assert gw.ask("/p").body != first.body, "GET is not POST"
    assert [r.body for r in server.requests] == [b"one", b"two", b"on", b"onee", b"", b"one", b""]
    settled(gw)


@pytest.mark.parametrize("size", [1, 1000, 16 * KIB, 64 * KIB])
def test_the_body_reaches_the_server_whole(site, size):
    gw, server = site()
    body = os.urandom(size)
    assert post(gw, body).get("X-Cache") == "MISS"
    assert server.requests[0].body == body
    assert post(gw, body).get("X-Cache") == "HIT"
    other = body[:-1] + bytes([body[-1] ^ 1])  # differs in its last bit only
    assert post(gw, other).get("X-Cache") == "MISS"
    assert server.requests[1].body == other
    settled(gw)


def test_a_body_may_come_in_pieces(site):
    gw, server = site()
    body = os.urandom(40 * KIB)
    whole = request("/p", "POST", body=body)
    for expected in ("MISS", "HIT"):
        with gw.client() as c:
            at = 0
            for step in (1, 30, len(whole) - len(body), 3, 5000, 20000, len(whole)):
                c.send(whole[at : at + step])
                at += step
                time.sleep(0.03)
            answer = c.answer()
            assert answer.get("X-Cache") == expected
            assert c.ask("/p").status == 200, "the connection goes on behind the body"
    assert server.requests[0].body == body
    settled(gw)


def test_posts_are_pipelined(site):
    gw, server = site()
    bodies = [b"a", b"b", b"a", b"c" * 20000, b"a"]
    with gw.client() as c:
        c.send(b"".join(request("/p", "POST", body=b) for b in bodies))
        answers = [c.answer() for _ in bodies]
    assert [a.get("X-Cache") for a in answers] == ["MISS", "MISS", "HIT", "MISS", "HIT"]
    assert [r.body for r in server.requests] == [b"a", b"b", b"c" * 20000]
    settled(gw)


def test_the_same_body_at_once_is_one_request(site):
    def answer(req):
        time.sleep(0.5)
        return ok(req.body, headers={"Cache-Control": "max-age=100"})

    gw, server = site(answer=answer)
    asks = [request("/p", "POST", body=b"abc"[i % 3 : i % 3 + 1] * 3000) for i in range(30)]
    with Crowd(gw.port, asks) as crowd:
        crowd.send().read()
        assert [m.body for m in crowd.members] == [b"abc"[i % 3 : i % 3 + 1] * 3000 for i in range(30)]
    assert len(server.requests) == 3
    settled(gw)


def bypassed(gw, server, ask):
    """Twice: each goes to the server, and says so."""
    before = len(server.requests)
    for _ in range(2):
        answer = ask()
        assert answer.status == 200 and answer.get("X-Cache") == "BYPASS", answer.headers
        assert "fwd=bypass" in answer.get("Cache-Status")
    assert len(server.requests) == before + 2


def test_a_large_body_passes(site):
    gw, server = site()
    body = os.urandom(64 * KIB + 1)
    bypassed(gw, server, lambda: post(gw, body))
    assert all(r.body == body for r in server.requests)
    settled(gw)


def test_a_body_of_unknown_length_passes(site):
    gw, server = site()
    with gw.client() as c:

        def ask():
            c.send(request("/p", "POST", {"Transfer-Encoding": "chunked"}) + b"3\r\nabc\r\n0\r\n\r\n")
            return c.answer()

        bypassed(gw, server, ask)
    assert [r.body for r in server.requests] == [b"abc", b"abc"]
    settled(gw)


def test_a_body_that_waits_for_100_passes(site):
    gw, server = site()

    def ask():
        with gw.client() as c:
            c.send(request("/p", "POST", {"Expect": "100-continue", "Content-Length": "4"}))
            assert c.head().startswith(b"HTTP/1.1 100")
            c.send(b"body")
            return c.answer()

    bypassed(gw, server, ask)
    assert [r.body for r in server.requests] == [b"body", b"body"]
    settled(gw)


def test_a_client_that_leaves_in_its_body_disturbs_nobody(site):
    gw, server = site()
    for _ in range(5):
        with gw.client() as c:
            c.send(request("/p", "POST", {"Content-Length": "1000"}) + b"x" * 500)
            c.reset()
    assert post(gw, b"x" * 1000).get("X-Cache") == "MISS"
    assert len(server.requests) == 1
    settled(gw)


def test_a_key_may_be_the_body_alone(site):
    gw, server = site(key="prediction:$body", methods=["POST"])
    assert post(gw, b"q", "/a?x=1").get("X-Cache") == "MISS"
    assert post(gw, b"q", "/b").get("X-Cache") == "HIT"
    assert post(gw, b"r", "/b").get("X-Cache") == "MISS"
    assert "BYPASS" == gw.ask("/a").get("X-Cache") == gw.ask("/a").get("X-Cache")
    settled(gw)


def test_a_stale_answer_to_post_is_renewed_with_its_body(site):
    """The request of our own carries the client's body."""

    def answer(req):
        age = "5" if len(server.requests) == 1 else "0"
        return ok(b"%d " % len(server.requests) + req.body, headers={"Cache-Control": "max-age=2", "Age": age})

    gw, server = site(answer=answer, stale={"while_revalidate": "1h"})
    body = os.urandom(3000)
    assert post(gw, body).body == b"1 " + body
    assert post(gw, body).body == b"1 " + body
    server.wait_requests(2)
    assert server.requests[1].body == body
    wait_for("it is renewed", lambda: post(gw, body).body != b"1 " + body)
    settled(gw)


def test_a_route_without_post_passes_every_post(site):
    gw, server = site(methods=["GET"])
    bodies = [post(gw, b"x").body for _ in range(3)]
    assert len(set(bodies)) == 3
    settled(gw)


def test_head_is_served_from_get(site):
    gw, server = site()
    got = gw.ask("/h")
    head = gw.ask("/h", "HEAD")
    assert (head.get("X-Cache"), head.get("Content-Length"), head.body) == ("HIT", str(len(got.body)), b"")
    assert len(server.requests) == 1
    settled(gw)
