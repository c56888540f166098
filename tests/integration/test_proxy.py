# tests/integration/test_proxy.py - what the proxy does to requests and answers, byte for byte.
import os
import threading
import time

import pytest

from harness import (
    MIB,
    PATIENCE,
    Closed,
    Origin,
    chunks,
    free_port,
    ok,
    request,
)

# ------------------------------------------------------------------------------------- pipelining


def test_pipelined_requests_are_answered_in_order(proxy):
    gw, origin = proxy(answer=lambda req: ok(req.target.encode()))
    with gw.client() as c:
        c.send(b"".join(request(f"/{i}") for i in range(20)))
        assert [c.answer().body for _ in range(20)] == [f"/{i}".encode() for i in range(20)]
        assert c.quiet()
    assert [r.target for r in origin.requests] == [f"/{i}" for i in range(20)]


def test_pipelined_requests_keep_their_bodies_apart(proxy):
    gw, origin = proxy(answer=lambda req: ok(req.body))
    with gw.client() as c:
        c.send(
            request("/a", "POST", body=b"first")
            + request("/b", "POST", {"Transfer-Encoding": "chunked"}, chunks(b"sec", b"ond"))
            + request("/c")
            + request("/d", "PUT", body=b"")
        )
        assert [c.answer().body for _ in range(4)] == [b"first", b"second", b"", b""]
    assert [r.method for r in origin.requests] == ["POST", "POST", "GET", "PUT"]


def test_nothing_is_answered_after_connection_close(proxy):
    gw, origin = proxy()
    with gw.client() as c:
        c.send(request("/1") + request("/2", headers={"Connection": "close"}) + request("/3"))
        assert c.answer().status == 200
        last = c.answer()
        assert last.status == 200 and last.get("Connection").lower() == "close"
        assert c.rest() == b""
    assert [r.target for r in origin.requests] == ["/1", "/2"]


def test_a_pipelined_bad_request_is_refused_after_the_good_ones(proxy):
    gw, origin = proxy()
    with gw.client() as c:
        c.send(request("/1") + b"GET /2 HTTP/1.1\r\nHost : x\r\n\r\n" + request("/3"))
        assert c.answer().status == 200
        bad = c.answer()
        assert bad.status == 400 and bad.get("Connection").lower() == "close"
        assert c.rest() == b""
    assert [r.target for r in origin.requests] == ["/1"]


def test_a_request_may_come_byte_by_byte(proxy):
    gw, origin = proxy(answer=lambda req: ok(req.body))
    data = request("/slow", "POST", {"Transfer-Encoding": "chunked"}, chunks(b"hello", b" world"))
    with gw.client() as c:
        for i in range(len(data)):
            c.send(data[i : i + 1])
        assert c.answer().body == b"hello world"


def test_a_client_that_half_closes_still_gets_its_answer(proxy):
    gw, _ = proxy(answer=lambda req: (time.sleep(0.1), ok(b"late"))[1])
    with gw.client() as c:
        c.send(request("/"))
        c.half_close()
        assert c.answer().body == b"late"


# ---------------------------------------------------------------------------------------- framing


def test_a_chunked_request_arrives_whole_without_extensions_and_trailers(proxy):
    gw, origin = proxy(answer=lambda req: ok(req.body))
    body = b"5;name=value\r\nhello\r\n6;x=\"q\"\r\n world\r\n0\r\nX-Trailer: t\r\nHost: evil\r\n\r\n"
    with gw.client() as c:
        c.send(request("/", "POST", {"Transfer-Encoding": "chunked", "Trailer": "X-Trailer"}) + body)
        assert c.answer().body == b"hello world"
        assert c.ask("/next").status == 200
    seen = origin.requests[0]
    assert seen.body == b"hello world"
    assert not seen.has("X-Trailer") and seen.all("Host") == ["test"]
    assert seen.has("Transfer-Encoding") != seen.has("Content-Length")


def test_a_chunked_answer_arrives_whole(proxy):
    parts = [bytes([65 + i % 26]) * (i * 37 + 1) for i in range(200)]

    def answer(req):
        return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(*parts, trailers=b"X-T: 1\r\n")

    gw, origin = proxy(answer=answer)
    with gw.client() as c:
        for _ in range(3):
            assert c.ask("/").body == b"".join(parts)
    assert origin.connections == 1


def test_an_answer_until_close_becomes_chunked(proxy):
    def handler(conn):
        conn.read_request()
        conn.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\npart one,")
        conn.sleep(0.05)
        conn.send(b"part two")

    gw, _ = proxy(handler)
    with gw.client() as c:
        one = c.ask("/")
        assert one.body == b"part one,part two"
        assert one.get("Transfer-Encoding") == "chunked"
        assert c.ask("/").body == b"part one,part two", "the client's connection is kept"


def test_an_http10_origin_is_understood(proxy):
    def handler(conn):
        conn.read_request()
        conn.send(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nold but fine")

    gw, _ = proxy(handler)
    with gw.client() as c:
        for _ in range(2):
            answer = c.ask("/")
            assert answer.version == "HTTP/1.1" and answer.body == b"old but fine"


def test_an_http10_client_gets_plain_bytes_and_a_close(proxy):
    gw, _ = proxy(answer=lambda r: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(b"ab", b"cd"))
    with gw.client() as c:
        answer = c.ask("/", version="HTTP/1.0")
        assert not answer.has("Transfer-Encoding")
        assert answer.body == b"abcd"
        assert c.closes()


def test_an_http10_client_without_keep_alive_is_closed(proxy):
    gw, _ = proxy()
    with gw.client() as c:
        assert c.ask("/", version="HTTP/1.0", host=None).status == 200
        assert c.closes()


def test_an_http10_client_may_keep_its_connection(proxy):
    gw, _ = proxy()
    with gw.client() as c:
        for _ in range(3):
            answer = c.ask("/", version="HTTP/1.0", headers={"Connection": "keep-alive"})
            assert answer.body == b"ok" and "keep-alive" in answer.get("Connection", "").lower()


@pytest.mark.parametrize("framing", ["length", "chunked", "close", "none"])
def test_head_has_no_body_and_the_connection_stays_usable(proxy, framing):
    heads = {
        "length": b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n",
        "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "close": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        "none": b"HTTP/1.1 200 OK\r\n\r\n",
    }

    def handler(conn):
        while True:
            req = conn.read_request()
            if req.method == "HEAD":
                conn.send(heads[framing])
                if framing == "close":
                    return
            else:
                conn.send(ok(b"body"))

    gw, _ = proxy(handler)
    with gw.client() as c:
        answer = c.ask("/", "HEAD")
        assert answer.status == 200
        if framing == "length":
            assert answer.get("Content-Length") == "12345"
        else:
            assert not answer.has("Content-Length")
        assert c.ask("/").body == b"body"


@pytest.mark.parametrize("status", [204, 304])
def test_a_bodiless_status_is_passed_on_without_a_body(proxy, status):
    gw, origin = proxy(answer=lambda r: b"HTTP/1.1 %d X\r\nETag: \"1\"\r\n\r\n" % status)
    with gw.client() as c:
        for _ in range(3):
            answer = c.ask("/")
            assert answer.status == status and answer.get("ETag") == '"1"'
            assert not answer.has("Transfer-Encoding")
            assert answer.get("Content-Length") in (None, "0")
        assert c.quiet(0.1)
    assert origin.connections == 1


SMUGGLED = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nX-Smuggled: 1\r\n\r\nSMUGGLE"


@pytest.mark.parametrize(
    "method, head",
    [
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        ("GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    ],
    ids=["204", "304", "head-length", "head-chunked", "extra-after-length", "extra-after-chunked"],
)
@pytest.mark.parametrize("late", [False, True], ids=["at-once", "later"])
def test_a_second_answer_is_never_smuggled(proxy, method, head, late):
    """Bytes after the end of an answer must not become the answer to somebody else's request."""

    answered, dropped = threading.Semaphore(0), threading.Semaphore(0)

    def handler(conn):
        conn.read_request()
        if late:
            conn.send(head)
            answered.acquire(timeout=PATIENCE)
            conn.send(SMUGGLED)
            if conn.closes():
                dropped.release()
            return
        conn.send(head + SMUGGLED)
        while True:
            conn.read_request()
            conn.send(ok(b"honest"))

    gw, origin = proxy(handler, workers=1)
    with gw.client() as c:
        for _ in range(5):
            # each new origin connection begins with the bad answer again: none may leak
            answer = c.ask("/", method)
            if late:
                answered.release()
                assert dropped.acquire(timeout=PATIENCE), "extra bytes must end the connection"
            assert not answer.has("X-Smuggled") and b"SMUGGLE" not in answer.body
        assert c.quiet(0.1)
    assert origin.connections >= 2, "a connection with extra bytes must not be used again"


BROKEN_ANSWERS = {
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokk",
    "length and chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "signed length": b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok",
    "unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: zip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "bare line feed": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "space before colon": b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
    "folded line": b"HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\r\nContent-Length: 2\r\n\r\nok",
    "no version": b"200 OK\r\n\r\n",
    "version 2": b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "status letters": b"HTTP/1.1 2xx OK\r\nContent-Length: 2\r\n\r\nok",
    "status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
    "binary": bytes(range(256)) * 4,
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "nul in a value": b"HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 2\r\n\r\nok",
    "unasked 101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
}


@pytest.mark.parametrize("name", BROKEN_ANSWERS)
def test_a_broken_answer_is_a_502(proxy, name):
    def handler(conn):
        conn.read_request()
        conn.send(BROKEN_ANSWERS[name])
        conn.sleep(1)

    gw, _ = proxy(handler)
    with gw.client() as c:
        answer = c.ask("/")
        assert answer.status == 502
        assert c.ask("/").status == 502, "the client's connection is still good"
    gw.books_balance()


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly thisXX",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n0\r\n",
    ],
    ids=["length", "chunked", "bad-chunk-size", "bad-chunk-end", "no-last-line"],
)
def test_an_answer_cut_short_is_seen_as_cut(proxy, data):
    def handler(conn):
        conn.read_request()
        conn.send(data)

    gw, _ = proxy(handler)
    with gw.client() as c:
        with pytest.raises(Closed):
            c.send(request("/"))
            c.answer()
    gw.books_balance()
    assert gw.metric("vivace_http_requests_aborted_total") == 1


# ------------------------------------------------------------------------------- interim answers


def test_interim_answers_pass_through(proxy):
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"

    def handler(conn):
        while True:
            conn.read_request()
            conn.send(hint)
            conn.sleep(0.02)
            conn.send(hint + ok(b"done"))

    gw, _ = proxy(handler)
    with gw.client() as c:
        for _ in range(2):
            answer = c.ask("/")
            assert answer.body == b"done"
            assert [i.status for i in answer.interim] == [103, 103]
            assert answer.interim[0].get("Link") == "</a.css>; rel=preload"
    assert gw.ask("/", version="HTTP/1.0").interim == [], "HTTP/1.0 knows no interim answers"


def test_expect_continue_is_answered_before_the_body(proxy):
    gw, origin = proxy(answer=lambda r: ok(r.body))
    with gw.client() as c:
        c.send(request("/", "POST", {"Expect": "100-continue", "Content-Length": "4"}))
        assert c.head().startswith(b"HTTP/1.1 100 ")
        c.send(b"body")
        answer = c.answer()
        assert answer.body == b"body" and answer.interim == []
        assert c.ask("/again").status == 200
    assert origin.requests[0].body == b"body"


def test_expect_continue_with_the_body_already_there(proxy):
    gw, _ = proxy(answer=lambda r: ok(r.body))
    with gw.client() as c:
        answer = c.ask("/", "POST", {"Expect": "100-continue"}, b"eager")
        assert answer.body == b"eager"
        assert c.ask("/again").status == 200


def test_a_too_large_body_is_refused_instead_of_continued(proxy):
    gw, origin = proxy(listen={"max_body": "1KB"})
    with gw.client() as c:
        c.send(request("/", "POST", {"Expect": "100-continue", "Content-Length": "2000"}))
        answer = c.answer("POST")
        assert answer.status == 413 and answer.interim == []
    assert origin.requests == []


# ----------------------------------------------------------------------------------- target forms


def test_an_absolute_target_wins_over_host(proxy):
    gw, origin = proxy()
    with gw.client() as c:
        assert c.ask("http://shop.example/a?b=c", host="other.example").status == 200
    seen = origin.requests[0]
    assert seen.target == "/a?b=c" and seen.all("Host") == ["shop.example"]


def test_an_absolute_target_without_a_path_is_the_root(proxy):
    gw, origin = proxy()
    assert gw.ask("http://shop.example", host="shop.example").status == 200
    assert gw.ask("http://shop.example?q=1", host="shop.example").status == 200
    assert [r.target for r in origin.requests] == ["/", "/?q=1"]


def test_options_asterisk_is_answered(proxy):
    gw, origin = proxy(answer=lambda r: ok(b"", headers={"Allow": "GET"}))
    with gw.client() as c:
        assert c.ask("*", "OPTIONS").status in (200, 204)
        assert c.ask("/").status == 200
    assert all(r.target in ("*", "/") for r in origin.requests)


def test_connect_is_refused(proxy):
    gw, origin = proxy()
    with gw.client() as c:
        c.send(request("internal.example:22", "CONNECT", host="internal.example:22"))
        assert c.answer().status in (400, 403, 405, 501)
    assert origin.requests == []


@pytest.mark.parametrize(
    "target", ["/a%20b", "/%C3%A9", "/a;p=1/b", "/x?a=%26&b=[1]", "/~u/$&'()*+,;=:@", "/a//b", "/?", "/a?b?c"]
)
def test_a_target_arrives_as_it_was_sent(proxy, target):
    gw, origin = proxy()
    assert gw.ask(target).status == 200
    assert origin.requests[0].target == target


def test_methods_arrive_as_they_were_sent(proxy):
    methods = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "get", "X-!#$%&'*+.^_`|~"]
    gw, origin = proxy()
    with gw.client() as c:
        for m in methods:
            assert c.ask("/", m).status == 200
    assert [r.method for r in origin.requests] == methods


# ------------------------------------------------------------------------------------ header rules


def test_hop_by_hop_fields_stay_on_their_hop(proxy):
    gw, origin = proxy(
        answer=lambda r: ok(
            headers=[
                ("Connection", "X-Once"),
                ("X-Once", "1"),
                ("Keep-Alive", "timeout=5"),
                ("Proxy-Authenticate", "Basic"),
                ("X-Stays", "yes"),
            ]
        )
    )
    answer = gw.ask(
        "/",
        headers=[
            ("Connection", "X-Mine, keep-alive"),
            ("X-Mine", "1"),
            ("Keep-Alive", "300"),
            ("Proxy-Connection", "keep-alive"),
            ("TE", "trailers, deflate"),
            ("Upgrade", "h2c"),
            ("X-Stays", "yes"),
        ],
    )
    seen = origin.requests[0]
    for name in ("X-Mine", "Keep-Alive", "Proxy-Connection", "Upgrade"):
        assert not seen.has(name), name
    assert "deflate" not in seen.get("TE", "")
    assert "x-mine" not in seen.get("Connection", "").lower()
    for name in ("X-Once", "Keep-Alive"):
        assert not answer.has(name), name
    assert seen.get("X-Stays") == "yes" and answer.get("X-Stays") == "yes"


@pytest.mark.parametrize("name", ["Host", "Content-Length", "Transfer-Encoding"])
def test_connection_cannot_remove_what_frames_the_message(proxy, name):
    gw, origin = proxy()
    answer = gw.ask("/", "POST", {"Connection": name}, b"x")
    if answer.status == 200:
        assert origin.requests[0].has("Host") and origin.requests[0].body == b"x"
    else:
        assert answer.status == 400 and origin.requests == []


def test_end_to_end_fields_keep_order_case_and_repetition(proxy):
    sent = [("X-B", "1"), ("x-a", "2"), ("X-B", "3"), ("Cookie", "a=b; c=d"), ("X-Empty", ""), ("X-Utf8", "\u00e9")]
    got = [("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2"), ("x-Odd-CASE", "v"), ("Server", "origin")]
    gw, origin = proxy(answer=lambda r: ok(headers=got))
    answer = gw.ask("/", headers=sent)
    wanted = {n.lower() for n, _ in sent}
    assert [(n, v) for n, v in origin.requests[0].headers if n.lower() in wanted] == sent
    wanted = {n.lower() for n, _ in got}
    assert [(n, v) for n, v in answer.headers if n.lower() in wanted] == got


def test_via_is_added_to_what_is_there(proxy):
    gw, origin = proxy(answer=lambda r: ok(headers={"Via": "1.1 origin-cache"}))
    answer = gw.ask("/", headers={"Via": "1.0 fred"})
    via = origin.requests[0].get("Via")
    assert via.startswith("1.0 fred, 1.1 "), via
    via = answer.get("Via")
    assert via.startswith("1.1 origin-cache, 1.1 "), via


def test_an_untrusted_client_cannot_say_who_it_is(proxy):
    gw, origin = proxy(listen={"trust": ["10.0.0.0/8"]})
    gw.ask(
        "/",
        headers={
            "X-Forwarded-For": "1.2.3.4",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": "evil.example",
            "X-Real-IP": "1.2.3.4",
            "Forwarded": "for=1.2.3.4;proto=https",
        },
    )
    seen = origin.requests[0]
    assert seen.all("X-Forwarded-For") == ["127.0.0.1"]
    assert seen.get("X-Forwarded-Proto") == "http"
    assert seen.get("X-Forwarded-Host", "test") == "test"
    assert seen.all("X-Real-IP") == ["127.0.0.1"]
    assert "1.2.3.4" not in seen.raw_head.decode("latin-1")


def test_a_trusted_proxy_is_believed(proxy):
    gw, origin = proxy(listen={"trust": ["127.0.0.0/8"]})
    gw.ask("/", headers={"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"})
    seen = origin.requests[0]
    assert seen.all("X-Forwarded-For") == ["203.0.113.9, 127.0.0.1"]
    assert seen.get("X-Forwarded-Proto") == "https"
    assert seen.all("X-Real-IP") == ["203.0.113.9"]


def test_only_the_trusted_part_of_the_chain_is_believed(proxy):
    """The client is the last address that no trusted proxy vouches for."""
    gw, origin = proxy(listen={"trust": ["127.0.0.0/8", "10.0.0.0/8"]})
    gw.ask("/", headers={"X-Forwarded-For": "6.6.6.6, 203.0.113.9, 10.1.2.3"})
    assert origin.requests[0].all("X-Real-IP") == ["203.0.113.9"]


def test_every_request_has_an_id(proxy):
    gw, origin = proxy()
    one, two = gw.ask("/"), gw.ask("/")
    ids = [r.get("X-Request-Id") for r in origin.requests]
    assert all(ids) and ids[0] != ids[1]
    for answer, own in ((one, ids[0]), (two, ids[1])):
        assert answer.get("X-Request-Id") == own


def test_header_edits_reach_both_sides(proxy):
    gw, origin = proxy(
        answer=lambda r: ok(headers={"Server": "secret/1.2", "Cache-Control": "no-store"}),
        route={
            "headers": {"Cache-Control": "public", "Server": None, "X-New": "1"},
            "request_headers": {"X-Tenant": "blue", "User-Agent": None, "X-Old": "new"},
        },
    )
    answer = gw.ask("/", headers={"User-Agent": "curl", "X-Old": "old"})
    seen = origin.requests[0]
    assert seen.all("X-Tenant") == ["blue"] and not seen.has("User-Agent") and seen.all("X-Old") == ["new"]
    assert answer.all("Cache-Control") == ["public"] and answer.all("X-New") == ["1"]
    assert "secret/1.2" not in answer.raw_head.decode("latin-1")


def test_expires_goes_into_the_cache_control_of_the_route(proxy):
    gw, _ = proxy(
        answer=lambda r: ok(status=r.target[1:] + " Fine", headers={"Cache-Control": "private"}),
        route={"expires": "1m", "headers": {"Cache-Control": "public"}},
    )
    assert gw.ask("/200").all("Cache-Control") == ["public, max-age=60"]
    assert gw.ask("/404").all("Cache-Control") == ["private"], "an error is not made to live"


def test_the_host_of_a_service_can_be_set(proxy):
    gw, origin = proxy(service={"host": "inside.example"})
    gw.ask("/", host="outside.example")
    assert origin.requests[0].all("Host") == ["inside.example"]


# ----------------------------------------------------------------------------------------- limits


def test_a_long_request_line_is_414(proxy):
    gw, origin = proxy(listen={"line_size": "2KB"})
    with gw.client() as c:
        assert c.ask("/" + "a" * 1900).status == 200
        assert c.ask("/" + "a" * 2100).status == 414
        assert c.rest() == b""
    with gw.client() as c:  # refused before the line ends
        c.send(b"GET /" + b"a" * 8000)
        assert c.answer().status == 414
    assert len(origin.requests) == 1


def test_a_large_head_is_431(proxy):
    gw, origin = proxy(listen={"head_size": "8KB"})
    with gw.client() as c:
        assert c.ask("/", headers={"X-Big": "b" * 7000}).status == 200
        assert c.ask("/", headers={"X-Big": "b" * 9000}).status == 431
        assert c.rest() == b""
    with gw.client() as c:  # refused before the head ends
        c.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"b" * 20000)
        assert c.answer().status == 431
    assert len(origin.requests) == 1


def test_too_many_fields_are_431(proxy):
    gw, origin = proxy(listen={"fields": 20})
    assert gw.ask("/", headers=[(f"X-{i}", "1") for i in range(19)]).status == 200
    assert gw.ask("/", headers=[(f"X-{i}", "1") for i in range(25)]).status == 431
    assert len(origin.requests) == 1


def test_a_large_body_is_413(proxy):
    gw, origin = proxy(listen={"max_body": "10KB"})
    with gw.client() as c:
        assert c.ask("/", "POST", body=b"x" * 10000).status == 200
    with gw.client() as c:
        c.send(request("/", "POST", {"Content-Length": "20000"}))
        assert c.answer("POST").status == 413
    assert len(origin.requests) == 1
    with gw.client() as c:  # a chunked body tells its size only by growing
        c.send(request("/", "POST", {"Transfer-Encoding": "chunked"}))
        try:
            for _ in range(20):
                c.send(b"400\r\n" + b"x" * 1024 + b"\r\n")
                time.sleep(0.002)
        except OSError:
            pass
        assert c.answer("POST").status == 413


def test_large_heads_within_limits_pass_both_ways(proxy):
    gw, origin = proxy(answer=lambda r: ok(headers={f"X-{i}": "v" * 500 for i in range(20)}))
    answer = gw.ask("/", headers={f"X-{i}": "w" * 500 for i in range(20)})
    assert all(origin.requests[0].get(f"X-{i}") == "w" * 500 for i in range(20))
    assert all(answer.get(f"X-{i}") == "v" * 500 for i in range(20))


def test_an_endless_answer_head_is_a_502(proxy):
    def handler(conn):
        conn.read_request()
        conn.send(b"HTTP/1.1 200 OK\r\n")
        for i in range(100000):
            conn.send(b"X-%d: %s\r\n" % (i, b"v" * 100))

    gw, _ = proxy(handler)
    assert gw.ask("/").status == 502


# ---------------------------------------------------------------------------------------- tunnels

UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "x", "Sec-WebSocket-Version": "13"}
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: y\r\n\r\n"


def test_an_upgrade_becomes_a_tunnel(proxy):
    def handler(conn):
        conn.read_head()
        conn.send(SWITCH + b"hello")  # the server may speak first, in the same packet
        while True:
            data = conn.sock.recv(65536)
            if not data:
                conn.send(b"bye")
                return
            conn.send(data.upper())

    gw, origin = proxy(handler)
    with gw.client() as c:
        c.send(request("/chat", headers=UPGRADE) + b"early")  # and so may the client
        answer = c.answer()
        assert answer.status == 101
        assert answer.get("Upgrade").lower() == "websocket" and "upgrade" in answer.get("Connection").lower()
        assert answer.get("Sec-WebSocket-Accept") == "y"
        assert c.take(10) == b"helloEARLY"
        blob = bytes(range(97, 123)) * 40000
        sender = threading.Thread(target=c.send, args=(blob,))
        sender.start()
        assert c.take(len(blob)) == blob.upper()
        sender.join()
        c.half_close()
        assert c.rest() == b"bye"
    seen = origin.requests[0]
    assert seen.get("Upgrade").lower() == "websocket" and "upgrade" in seen.get("Connection").lower()
    gw.books_balance()


def test_a_refused_upgrade_is_an_ordinary_answer(proxy):
    gw, origin = proxy(answer=lambda r: ok(b"no", "426 Upgrade Required"))
    with gw.client() as c:
        answer = c.ask("/chat", headers=UPGRADE)
        assert answer.status == 426 and answer.body == b"no"
        assert c.ask("/", headers={}).status == 426


def test_a_tunnel_ends_when_the_server_ends_it(proxy):
    def handler(conn):
        conn.read_head()
        conn.send(SWITCH + b"x")
        conn.sleep(0.05)

    gw, _ = proxy(handler)
    with gw.client() as c:
        assert c.ask("/chat", headers=UPGRADE).status == 101
        assert c.rest() == b"x"


# ----------------------------------------------------------------------------- order of the bodies


def test_an_answer_may_come_before_the_request_body_ends(proxy):
    def handler(conn):
        conn.read_head()
        conn.send(ok(b"too much", "413 Content Too Large", {"Connection": "close"}))
        conn.half_close()
        try:
            while conn.sock.recv(65536):
                pass
        except OSError:
            pass

    gw, _ = proxy(handler)
    with gw.client() as c:
        c.send(request("/", "POST", {"Content-Length": str(50 * MIB)}))
        sent = threading.Thread(target=lambda: _pour(c.sock, 50 * MIB), daemon=True)
        sent.start()
        answer = c.answer("POST")
        assert answer.status == 413 and answer.body == b"too much"
    sent.join(PATIENCE)
    gw.books_balance()


def _pour(sock, n):
    block = b"z" * 65536
    try:
        while n > 0:
            n -= sock.send(block[: min(n, len(block))])
    except OSError:
        pass


def test_both_bodies_stream_at_the_same_time(proxy):
    """An echo that answers each piece before the next is sent needs both directions open."""

    def handler(conn):
        conn.read_head()
        conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(20):
            conn.until(b"\r\n")
            piece = conn.take(5)
            conn.take(2)
            conn.send(b"5\r\n" + piece + b"\r\n")
        assert conn.until(b"\r\n") == b"0\r\n"
        conn.until(b"\r\n")
        conn.send(b"0\r\n\r\n")

    gw, _ = proxy(handler)
    with gw.client() as c:
        c.send(request("/", "POST", {"Transfer-Encoding": "chunked"}))
        for i in range(20):
            piece = b"%05d" % i
            c.send(b"5\r\n" + piece + b"\r\n")
            if i == 0:
                assert c.head().startswith(b"HTTP/1.1 200")
            size = int(c.until(b"\r\n"), 16)
            assert c.take(size) == piece
            c.take(2)
        c.send(b"0\r\n\r\n")
        assert c.until(b"0\r\n\r\n") == b"0\r\n\r\n"


def test_an_answer_is_passed_on_as_it_comes(proxy):
    step = threading.Event()

    def handler(conn):
        conn.read_request()
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        step.wait(PATIENCE)
        conn.send(b"later")

    gw, _ = proxy(handler)
    with gw.client() as c:
        c.send(request("/events"))
        c.head()
        assert c.take(5) == b"first", "the first half must not wait for the second"
        step.set()
        assert c.take(5) == b"later"


# ------------------------------------------------------------------------------------ unix origins


def test_an_origin_on_a_unix_socket(gateway, stack):
    path = f"/tmp/vvt-origin-{os.getpid()}.sock"
    origin = Origin(path=path)
    stack.append(origin)
    gw = gateway({"services": {"app": [f"unix:{path}"]}, "routes": [{"path": "/", "to": "app"}]})
    assert gw.ask("/").body == b"ok"


def test_a_client_that_leaves_does_not_hold_its_server(proxy):
    left = threading.Event()

    def handler(conn):
        conn.read_request()
        try:
            while conn.sock.recv(1024):
                pass
        except OSError:
            pass
        left.set()

    gw, origin = proxy(handler)
    with gw.client() as c:
        c.send(request("/"))
        origin.wait_requests(1)
        c.reset()
    assert left.wait(PATIENCE), "the gateway must give up the request when its client is gone"
    gw.books_balance()
    assert gw.metric("vivace_http_requests_aborted_total") == 1


# ------------------------------------------------------------------- what a client cannot take away


def test_connection_cannot_remove_what_the_gateway_adds(proxy):
    """RFC 9110 7.6.1: a client that names our fields in Connection must not make them vanish."""
    gw, origin = proxy()
    ours = ("X-Forwarded-For", "X-Real-IP", "X-Forwarded-Proto", "X-Request-Id", "Forwarded", "Via")
    gw.ask("/", headers={"Connection": ", ".join(ours)})
    for name in ours:
        assert origin.requests[0].has(name), name


def test_an_untrusted_request_id_is_replaced_and_a_trusted_one_kept(gateway, origin):
    server = origin()
    gw = gateway(
        {
            "listen": {"open": {}, "inner": {"trust": ["127.0.0.1/32"]}},
            "services": {"app": [server.url]},
            "routes": [{"path": "/", "to": "app"}],
        }
    )
    gw.ask("/", headers={"X-Request-Id": "chosen"}, listener="open")
    answer = gw.ask("/", headers={"X-Request-Id": "chosen"}, listener="inner")
    ids = [r.all("X-Request-Id") for r in server.requests]
    assert ids[0] != ["chosen"] and len(ids[0]) == 1
    assert ids[1] == ["chosen"] and answer.get("X-Request-Id") == "chosen"


def test_a_trusted_forwarded_field_is_believed(proxy):
    gw, origin = proxy(listen={"trust": ["127.0.0.0/8"]})
    gw.ask("/", headers={"Forwarded": 'for="[2001:db8::9]:4711";proto=https, for=127.0.0.9'})
    seen = origin.requests[0]
    assert seen.all("X-Real-IP") == ["2001:db8::9"]
    assert seen.get("Forwarded").startswith('for="[2001:db8::9]:4711";proto=https, for=127.0.0.9, for=')


def test_a_route_may_allow_larger_bodies_than_its_listener(gateway, origin):
    server = origin(answer=lambda r: ok(str(len(r.body)).encode()))
    gw = gateway(
        {
            "listen": {"web": {"max_body": "1KB"}},
            "services": {"app": [server.url]},
            "routes": [{"path": "/up/", "to": "app", "max_body": "1MB"}, {"path": "/", "to": "app"}],
        }
    )
    with gw.client() as c:
        assert c.ask("/up/x", "POST", body=b"z" * 500000).body == b"500000"
    assert gw.ask("/x", "POST", body=b"z" * 5000).status == 413


def test_a_gateway_that_talks_to_itself_ends_it(gateway):
    """A loop must not eat every connection: it ends with a defined status."""
    port = free_port()
    gw = gateway(
        {
            "listen": {"web": {"address": f"127.0.0.1:{port}"}},
            "services": {"self": {"servers": [f"127.0.0.1:{port}"], "max_fails": 0}},
            "routes": [{"path": "/", "to": "self"}],
            "defaults": {"timeouts": {"first_byte": "20s"}},
        }
    )
    answer = gw.ask("/")
    assert answer.status == 508, answer.line
    received = gw.metric("vivace_http_requests_received_total")
    print(f"one request became {received:.0f}")
    assert received < 1000, "each round adds to the head, so the head's limit is the last wall"
    gw.books_balance()


def test_an_unknown_expectation_is_417_or_passed_on(proxy):
    gw, origin = proxy()
    with gw.client() as c:
        answer = c.ask("/", headers={"Expect": "tea"})
        assert answer.status in (200, 417)
        assert (answer.status == 200) == bool(origin.requests)


def test_a_server_that_never_says_continue_is_504(proxy):
    """The client waits for us, we wait for the server: it is the server that is late."""

    def handler(conn):
        conn.until(b"\r\n\r\n")
        conn.sleep(30)

    gw, origin = proxy(handler, defaults={"timeouts": {"first_byte": "300ms", "body": "200ms"}})
    with gw.client() as c:
        c.send(request("/", "POST", {"Expect": "100-continue", "Content-Length": "5"}))
        assert c.answer("POST").status == 504
    gw.books_balance()


def test_a_switch_to_http2_is_not_passed_on(proxy):
    """h2c concerns one hop alone; a server that switches all the same is not believed."""

    def handler(conn):
        req = conn.read_request()
        assert not req.has("Upgrade")
        conn.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n")
        conn.sleep(1)

    gw, origin = proxy(handler)
    with gw.client() as c:
        c.send(request("/", headers={"Connection": "upgrade", "Upgrade": "h2c"}))
        assert c.answer().status == 502
