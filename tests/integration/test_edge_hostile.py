# tests/integration/test_edge_hostile.py - attacks on the border between HTTP/2, TLS and the servers behind: what is
# said over HTTP/2 must never become a second request, a field that no phase has seen, or a stream for ever.
import os
import socket
import ssl
import subprocess
import time

import pytest

from h2_origin import H2Origin
from harness import PATIENCE, SANITIZER, Closed, memory_kib, ok, wait_for
from http2_client import H2, frame, settings

LISTEN = {"web": {}, "secure": {"tls": "local"}}


def config(origin, **more):
    return dict({"workers": 1, "listen": LISTEN, "services": {"app": {"servers": [origin.url]}},
                 "routes": [{"path": "/", "to": "app"}]}, **more)


def connect_head(path="/", protocol="websocket", extra=()):
    return [(":method", "CONNECT"), (":protocol", protocol), (":scheme", "http"), (":authority", "test"),
            (":path", path), *extra]


def extended(c, *args, **kw):
    s = c.stream(c.next)
    c.send(c.head_frame(connect_head(*args, **kw), end=False))
    c.next += 2
    return s


# ---------------------------------------------------------------------------------------- smuggling


def test_a_tunnel_of_an_unknown_protocol_never_reaches_a_server(gateway, origin):
    server = origin(answer=lambda _: ok(b"fine"))
    gw = gateway(config(server))
    with H2(gw.port) as c:
        s = extended(c, "/open", "no-such-protocol")
        c.data(s, b"GET /admin HTTP/1.1\r\nHost: inside\r\n\r\n")
        c.answer(s)
        assert s.status == 501
        assert c.ask("/next").status == 200
    assert [r.target for r in server.requests] == ["/next"]


def test_the_length_of_an_opening_handshake_is_no_content(gateway, origin):
    """A server that refuses keeps the connection: five bytes that never come would be the next request's."""
    def serve(conn):
        while True:
            try:
                head = conn.until(b"\r\n\r\n")
            except Closed:
                return
            heads.append(head)
            conn.send(ok(b"no", "200 OK"))

    heads = []
    server = origin(serve)
    gw = gateway(config(server))
    with H2(gw.port) as c:
        s = extended(c, "/chat", extra=[("content-length", "5"), ("sec-websocket-version", "13"),
                                        ("expect", "100-continue")])
        c.answer(s)
        assert s.status == 200
        c.ask("/next")
    assert b"content-length" not in heads[0].lower()
    assert heads[1].startswith(b"GET /next ")


FORBIDDEN = [("content-length", "5"), ("host", "inside"), ("authorization", "Basic YTpi"), ("cookie", "a=b"),
             ("x-forwarded-for", "10.0.0.1"), ("x-real-ip", "10.0.0.1"), ("content-type", "text/html"),
             ("x-authenticated-user", "root"), ("x-user", "root")]


def test_trailers_say_nothing_that_a_head_is_for(gateway, stack):
    def handler(s):
        s.body()
        seen.append(s)
        s.answer(200, body=b"hello", end=False)
        s.end([("x-sum", "1"), ("set-cookie", "a=b"), ("content-length", "99"), ("location", "/x")])

    seen = []
    server = H2Origin(handler)
    stack.append(server)
    gw = gateway({"workers": 1, "services": {"app": {"servers": [server.url], "http2": True}},
                  "routes": [{"path": "/", "to": "app", "request_headers": {"X-User": "nobody"}}]})
    with H2(gw.port) as c:
        s = c.request("/", "POST", [("te", "trailers")], b"abc", end=False)
        c.send(c.head_frame([("x-mark", "1"), *FORBIDDEN], True, s.id))
        c.answer(s)
        assert (s.status, bytes(s.body)) == (200, b"hello")
        assert s.trailers == [("x-sum", "1")]
    assert [tuple(map(str, t)) for t in seen[0].trailers] == [("x-mark", "1")]
    with gw.client() as c:
        c.send(b"GET / HTTP/1.1\r\nHost: test\r\nTE: trailers\r\nConnection: TE, close\r\n\r\n")
        assert c.rest().endswith(b"\r\n0\r\nx-sum: 1\r\n\r\n")


BAD = {
    "cr in a value": [("x", "a\rb")], "lf in a value": [("x", "a\nX-Y: z")], "nul in a value": [("x", "a\0b")],
    "a line in a name": [("x: y\r\nz", "1")], "space in a name": [("x y", "1")], "upper case": [("X-A", "1")],
    "connection": [("connection", "close")], "transfer-encoding": [("transfer-encoding", "chunked")],
    "upgrade": [("upgrade", "websocket")], "another host": [("host", "other")],
    "te": [("te", "chunked")], "two lengths": [("content-length", "1"), ("content-length", "1")],
    "list of lengths": [("content-length", "1, 1")], "a length with a sign": [("content-length", "+1")],
}


@pytest.mark.parametrize("name", list(BAD))
def test_what_would_break_a_head_apart_stays_out(name, gateway, origin):
    server = origin(answer=lambda _: ok(b"fine"))
    gw = gateway(config(server))
    with H2(gw.port) as c:
        s = c.request("/bad", "POST", BAD[name], b"x")
        c.answer(s)
        assert s.code == "PROTOCOL_ERROR" and s.head is None
        assert c.ask("/next").status == 200
    assert [r.target for r in server.requests] == ["/next"]


@pytest.mark.parametrize("pairs", [
    {":path": "/a b"}, {":path": "/a\r\nX: y"}, {":path": "a"}, {":path": ""}, {":path": "http://other/"},
    {":path": "*"}, {":method": "GET /x HTTP/1.1\r\nX:"}, {":method": "G ET"}, {":method": ""},
    {":authority": "user@test"}, {":authority": "test\r\nX: y"}, {":authority": "test/.."}, {":scheme": "ftp"},
    {":authority": ""}, {":path": "/a#b"}, {":path": "/%zz"}])
def test_pseudo_fields_are_held_to_what_a_request_line_is_held_to(pairs, gateway, origin):
    server = origin(answer=lambda _: ok(b"fine"))
    gw = gateway(config(server))
    head = {":method": "GET", ":scheme": "http", ":authority": "test", ":path": "/"} | pairs
    with H2(gw.port) as c:
        s = c.stream(c.next)
        c.send(c.head_frame(list(head.items())))
        c.next += 2
        c.answer(s)
        assert s.code == "PROTOCOL_ERROR" or (s.status or 0) >= 400
        assert c.ask("/next").status == 200
    assert [r.target for r in server.requests] == ["/next"]


@pytest.mark.parametrize("said,sent", [("10", b"short"), ("2", b"longer"), ("0", b"x")])
def test_a_length_that_lies_costs_the_servers_connection(said, sent, gateway, origin):
    def serve(conn):
        try:
            heads.append(conn.until(b"\r\n\r\n"))
            if b"/next" in heads[-1]:
                conn.send(ok(b"fine"))
            conn.rest()
        except Closed:
            pass

    heads = []
    server = origin(serve)
    gw = gateway(config(server))
    with H2(gw.port) as c:
        s = c.request("/lie", "POST", [("content-length", said)], sent)
        c.answer(s)
        assert s.code == "PROTOCOL_ERROR"
        assert c.ask("/next").status == 200
    assert heads[-1].startswith(b"GET /next ")


# ------------------------------------------------------------------------------------- streams for ever


def test_a_tunnel_that_was_refused_or_has_ended_leaves_no_stream(gateway, origin):
    """100 such streams would be all a connection may have, and it would never be idle."""
    def serve(conn):
        head = conn.until(b"\r\n\r\n")
        if b"/refused" in head:
            conn.send(ok(b"no", "403 Forbidden"))
            return
        conn.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nbye")

    server = origin(serve)
    gw = gateway(config(server, listen={"web": {"keepalive": "500ms"}}))
    with H2(gw.port) as c:
        refused, ended = extended(c, "/refused"), extended(c, "/ended")
        unknown = extended(c, "/", "foo")
        for s in (refused, ended, unknown):
            c.wait("the end", lambda s=s: s.code is not None)
            assert s.code == "NO_ERROR" and s.ended
        assert (refused.status, ended.status, bytes(ended.body), unknown.status) == (403, 200, b"bye", 501)
        assert c.gone() == "NO_ERROR"


def test_a_large_answer_outlives_a_body_that_nobody_wants(gateway, origin):
    def serve(conn):
        head = conn.until(b"\r\n\r\n")
        assert b"/up" in head
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\nConnection: close\r\n\r\n" + b"a" * 300000)
        conn.rest()

    server = origin(serve)
    gw = gateway(config(server))
    with H2(gw.port, hold=True) as c:
        s = c.request("/up", "POST", body=b"", end=False)
        c.wait("the window is used up", lambda: len(s.body) == 65535)
        for _ in range(12):
            c.data(s, b"b" * 16384)
        c.ping()
        assert s.code is None
        c.grant(0, 1 << 20)
        c.grant(s.id, 1 << 20)
        c.wait("the end", lambda: s.ended)
        assert len(s.body) == 300000


def test_answers_with_many_fields_pass(gateway, origin):
    server = origin(answer=lambda _: ok(b"fine", headers=[(f"X-Field-{i}", "v") for i in range(99)]))
    gw = gateway(config(server, defaults={"secure": "strict"}))
    with gw.client() as c:
        plain = c.ask("/")
    with H2(gw.port) as c:
        s = c.ask("/")
        assert s.status == plain.status == 200
        assert len([n for n, _ in s.head if n.startswith("x-field")]) == 99


def test_files_that_nobody_takes_cost_little(gateway, origin, tmp_path):
    """5 connections ask for 100 files each and open no window. 64 KiB for each would be 32 MB."""
    (tmp_path / "f").write_bytes(os.urandom(1 << 20))
    gw = gateway(config(origin(), routes=[{"path": "/", "files": str(tmp_path)}]))
    connections = []
    for i in range(6):
        c = H2(gw.port, hold=True, first={"WINDOW": 0})
        connections.append(c)
        streams = [c.request("/f") for _ in range(100)]
        c.wait("the heads", lambda streams=streams: all(s.head for s in streams))
        c.ping()
        if i == 0:
            before = memory_kib(gw.worker())  # what everybody needs is there
    if not SANITIZER:
        assert memory_kib(gw.worker()) - before < 5 * 100 * 56
    c.send(frame("SETTINGS", 0, 0, settings({"WINDOW": 1 << 20})))
    c.grant(0, 100 << 20)
    c.wait("all of them", lambda: all(s.ended for s in streams), 30)
    assert {bytes(s.body) for s in streams} == {(tmp_path / "f").read_bytes()}
    for c in connections:
        c.close()


# ------------------------------------------------------------------------------------------------ TLS


def tls_context(alpn=None):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname = False
    c.verify_mode = ssl.CERT_NONE
    if alpn:
        c.set_alpn_protocols(alpn)
    return c


def https(port, target="/", headers=""):
    raw = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    with tls_context().wrap_socket(raw, server_hostname="localhost") as s:
        s.sendall(f"GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n".encode())
        data = b""
        while True:
            try:
                piece = s.recv(65536)
            except (ssl.SSLError, ConnectionError):
                piece = b""
            if not piece:
                return data
            data += piece


def hello():
    """The first bytes of a TLS client."""
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    o = tls_context(["h2"]).wrap_bio(into, out, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        o.do_handshake()
    return out.read()


def test_connections_that_end_while_a_thread_shakes_hands_are_forgotten(gateway, origin, tmp_path):
    """Their time is over while they wait for a signature; what they say then must not be heard."""
    server = origin(answer=lambda _: ok(b"fine"))
    cert = {"cert": str(tmp_path / "cert.pem"), "key": str(tmp_path / "key.pem")}
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:4096", "-nodes", "-subj", "/CN=test", "-days", "2",
                    "-addext", "subjectAltName=DNS:localhost", "-keyout", cert["key"], "-out", cert["cert"]],
                   check=True, capture_output=True)
    listen = {"secure": {"tls": cert, "header_timeout": "30ms"}, "calm": {"tls": cert}}
    gw = gateway(config(server, listen=listen))
    first = hello()
    for _ in range(3):
        many = []
        for _ in range(150):
            s = socket.create_connection(("127.0.0.1", gw.ports["secure"]), timeout=PATIENCE)
            s.sendall(first)
            many.append(s)
        for turn in range(6):
            for s in many[turn::6]:
                try:
                    s.sendall(b"\x17\x03\x03")
                    if turn % 2:
                        s.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
            time.sleep(0.01)
        for s in many:
            s.close()
    assert b" 200 " in wait_for("the gateway answers", lambda: https(gw.ports["calm"]), 20)
    wait_for("nobody is left", lambda: gw.metrics().sum("vivace_connections", listener="secure") == 0)


def test_what_is_refreshed_behind_a_client_of_https_is_its_own(gateway, origin):
    """The scheme stands in the key: a refresh for the other one would never end the staleness."""
    def serve(conn):
        while True:
            try:
                req = conn.read_request()
            except Closed:
                return
            protos.append(req.get("X-Forwarded-Proto"))
            conn.send(ok(b"%d" % len(protos),
                         headers=[("Cache-Control", "max-age=1, stale-while-revalidate=60")]))

    protos = []
    server = origin(serve)
    gw = gateway(config(server, routes=[{"path": "/", "to": "app", "cache": True}]))
    port = gw.ports["secure"]
    assert https(port).endswith(b"\r\n\r\n1")
    time.sleep(1.2)
    assert https(port).endswith(b"\r\n\r\n1")
    wait_for("it was refreshed", lambda: len(protos) == 2)
    wait_for("the fresh answer is there", lambda: https(port).endswith(b"\r\n\r\n2"))
    assert protos == ["https", "https"]


def test_pages_of_https_can_be_warmed(gateway, origin):
    server = origin(answer=lambda _: ok(b"fine", headers=[("Cache-Control", "max-age=60")]))
    listen = {"web": {"redirect": "https"}, "secure": {"tls": "local"}}
    gw = gateway(config(server, listen=listen, routes=[{"path": "/", "to": "app", "cache": True}]))
    gw.api("/cache/warm", "POST", {"urls": ["https://test/page"]})
    server.wait_requests(1)
    assert server.requests[0].get("X-Forwarded-Proto") == "https"

    def hit():
        return b"Cache-Status: vivace;hit" in https(gw.ports["secure"], "/page")

    wait_for("it is in the cache", hit)
    assert len(server.requests) == 1
