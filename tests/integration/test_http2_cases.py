# tests/integration/test_http2_cases.py - the tables of HTTP/2 frames against a running gateway.
"""Every case of tests/data/http2_live.txt (its format stands there), and of tests/data/http2_frames.txt, which
the codec's unit tests read too: here the same bytes meet the whole gateway, in the clear and over TLS."""

import ssl
import os
import re
import threading

import pytest

import http2_client
from harness import ROOT, Closed, Gateway, Origin, chunks, ok
from http2_client import H2, MAGIC, fields, frame, hpack_string

DATA = os.path.join(ROOT, "tests", "data")


def read_cases(name):
    cases = []
    with open(os.path.join(DATA, name), encoding="utf-8") as f:
        for line in f.read().split("\n"):
            if line.startswith("["):
                cases.append({"name": line[1:-1], "steps": []})
            elif line and not line.startswith("#"):
                key, _, value = line.partition(": ")
                cases[-1]["steps"].append((key, value))
                cases[-1][key] = value
    return cases


LIVE = read_cases("http2_live.txt")
# Not for a gateway: a codec that is the client, one with little memory, one that does not offer what it offers.
FRAMES = [c for c in read_cases("http2_frames.txt")
          if "role" not in c and "with" not in c and c["name"] != "extended_connect_not_offered"]

ESCAPE = re.compile(r"\\(?:(s)|x([0-9A-Fa-f]{2})|\{(\d+):(.)\})")


def unescape(text):
    def one(m):
        return " " if m[1] else chr(int(m[2], 16)) if m[2] else m[4] * int(m[3])

    return ESCAPE.sub(one, text).encode("latin-1")


def field(text):
    name, _, value = text.partition("=")
    return b"\0" + hpack_string(unescape(name)) + hpack_string(unescape(value))


def word(case, text):
    """The bytes of one word of a payload."""
    kind, _, rest = text.partition(":")
    if text in ("get", "post"):  # as in http2_frames.txt
        return (b"\x82" if text == "get" else b"\x83") + b"\x87\x84\x01\x04shop"
    if kind == "req":  # req:METHOD:/path, marked with the name of the case
        method, _, path = rest.partition(":")
        mark = ("&" if "?" in path else "?") + case["name"]
        return fields([(":method", method), (":scheme", case["scheme"]), (":authority", "shop"),
                       (":path", path + mark)])
    if kind == "f":
        return field(rest)
    if kind == "x":
        return bytes.fromhex(rest)
    if kind == "s":
        return rest.encode()
    if kind == "z":
        return bytes(int(rest))
    if kind in ("u8", "u16", "u32"):
        return int(rest, 0).to_bytes(int(kind[1:]) // 8, "big")
    if kind == "rep":
        times, _, what = rest.partition(":")
        return word(case, what) * int(times)
    raise AssertionError(f"unknown word {text}")


def build(case, client, line):
    parts = line.split(" ")
    kind, flags, stream = parts[:3]
    if stream == "+":
        stream, client.next = client.next, client.next + 2
    kind = kind if kind in http2_client.TYPE else int(kind, 0)
    flags = int(flags, 0) if flags[0].isdigit() else flags
    payload, length = b"", None
    for w in parts[3:]:
        if w.startswith("len:"):
            length = int(w[4:])
        else:
            payload += word(case, w)
    return frame(kind, flags, int(stream), payload, length)


# ------------------------------------------------------------------------------------------ the server


def tunnel(conn):
    conn.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
              b"Sec-WebSocket-Accept: whatever\r\nSec-WebSocket-Protocol: chat\r\n\r\n")
    while True:
        conn.more()
        conn.send(conn.buf[::-1])
        if conn.buf == b"bye":
            return
        conn.buf = b""


def serve(conn):
    """What the paths mean; each request is remembered with its body."""
    while True:
        req = conn.read_head()
        path = req.target.partition("?")[0]
        if path == "/refuse-body":
            conn.send(ok(b"too much", "413 Content Too Large", [("Connection", "close")]))
            return
        if path == "/ws":
            tunnel(conn)
            return
        if path == "/ws-no":
            conn.send(ok(b"no tunnels", "403 Forbidden"))
            continue
        if req.get("Expect") and path != "/no-continue":
            conn.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        req.trailers = b""
        if req.has("Transfer-Encoding"):
            while True:
                size = int(conn.until(b"\r\n").split(b";")[0], 16)
                if size == 0:
                    break
                req.body += conn.take(size)
                conn.take(2)
            while (line := conn.until(b"\r\n")) != b"\r\n":
                req.trailers += line
        elif req.has("Content-Length"):
            req.body = conn.take(int(req.get("Content-Length")))
        req.whole = True
        if path == "/echo":
            data = ok(req.body)
        elif path.startswith("/large/"):
            data = ok(b"x" * int(path[7:]))
        elif path == "/chunked":
            data = ok(chunks(b"one", b"two"), headers=[("Transfer-Encoding", "chunked")], length=False)
        elif path == "/trailers":
            data = ok(chunks(b"body", trailers=b"X-Sum: 7\r\n"), length=False,
                      headers=[("Transfer-Encoding", "chunked"), ("Trailer", "X-Sum")])
        elif path == "/hop":
            data = ok(headers=[("Connection", "X-Mine"), ("X-Mine", "1"), ("Keep-Alive", "timeout=5"),
                               ("X-Other", "2"), ("X-UPPER", "Case")])
        elif path == "/early":
            data = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n" + ok()
        elif path in ("/204", "/304"):
            data = f"HTTP/1.1 {path[1:]} X\r\nETag: \"a\"\r\n\r\n".encode()
        elif path == "/head":
            data = ok(b"" if req.method == "HEAD" else b"x" * 300)
            data = data.replace(b"Content-Length: 0", b"Content-Length: 300")
        elif path == "/cut":
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            return
        elif path == "/cut-chunk":
            conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
            return
        elif path == "/wait":
            conn.sleep(20)
            return
        else:
            data = ok(b"ok")
        conn.send(data)


class Stage:
    """A gateway in front of the scripted server, for all cases."""

    def __init__(self):
        self.origin = Origin(serve)
        self.gw = Gateway({
            "listen": {"web": {}, "secure": {"tls": "local"}},
            "services": {"app": {"servers": [self.origin.url]}},
            "routes": [{"path": "/", "to": "app"}],
        })

    def check(self):
        """Nothing is left of the clients that went: no request, no stream, no connection."""
        gw = self.gw
        gw.wait_metric("vivace_http_requests_in_flight", 0)
        gw.books_balance()
        gw.wait_metric("vivace_http2_memory_bytes", 0)
        gw.wait_metric("vivace_connections", 0)

    def close(self):
        try:
            self.check()
        finally:
            try:
                self.gw.stop()
            finally:
                self.gw.remove()
                self.origin.close()


@pytest.fixture(scope="module")
def stage():
    it = Stage()
    yield it
    it.close()


def begin(stage, case, secure):
    start = {"bare": "bare", "preface": "preface"}.get(case.get("start"), "settings")
    first = {}
    for text in case.get("settings", "").split():
        name, _, value = text.partition("=")
        first[name] = int(value, 0)
    case["scheme"] = "https" if secure else "http"
    return H2(stage.gw.ports["secure" if secure else "web"], tls=secure, start=start, first=first,
              acks=case.get("acks") != "no", hold=case.get("window") == "hold")


# ------------------------------------------------------------------------------------------- what is expected


def expect_answer(case, client, rest):
    """answer STREAM STATUS words: the whole answer, its end by END_STREAM."""
    stream = client.answer(client.stream(int(rest[0])))
    assert stream.ended, stream
    if "stop" in rest[2:]:  # we need not send the rest
        client.wait("RST_STREAM", lambda: stream.code)
    assert stream.code == ("NO_ERROR" if "stop" in rest[2:] else None), stream
    assert stream.status == int(rest[1]), stream
    for text in rest[2:]:
        kind, _, value = text.partition(":")
        name, _, wanted = value.partition("=")
        wanted = unescape(wanted).decode("latin-1")
        if kind == "body":
            assert bytes(stream.body) == unescape(value), stream
        elif kind == "len":
            assert len(stream.body) == int(value), stream
        elif kind == "f":
            assert stream.get(name) == wanted, stream
        elif kind == "no":
            assert not stream.all(value), stream
        elif kind == "trailer":
            assert (name, wanted) in (stream.trailers or ()), stream
        elif kind == "interim":
            assert [dict(i)[":status"] for i in stream.interim] == value.split(","), stream.interim
        else:
            assert text == "stop", f"unknown word {text}"


def expect(case, client, line):
    what, *rest = line.split(" ")
    if what == "answer":
        expect_answer(case, client, rest)
    elif what == "head":  # head STREAM STATUS: it has begun
        stream = client.stream(int(rest[0]))
        client.wait("a head", lambda: stream.head or stream.over)
        assert stream.status == int(rest[1]), stream
    elif what == "interim":
        stream = client.stream(int(rest[0]))
        client.wait("an interim head", lambda: stream.interim)
        assert dict(stream.interim[-1])[":status"] == rest[1], stream
    elif what == "reset":
        stream = client.answer(client.stream(int(rest[0])))
        assert stream.code == rest[1], stream
    elif what == "goaway":
        code = client.gone()
        unheard = client.was_reset or isinstance(client.sock, ssl.SSLSocket)  # a reset within TLS looks like an end
        if rest[0] == "ENHANCE_YOUR_CALM" and unheard and not client.goaways:
            return  # floods are not listened to: what was unread may take the last word along
        assert code == rest[0], client.goaways
        assert len(rest) < 2 or client.goaways[-1][0] == int(rest[1]), client.goaways
    elif what == "closed":
        client.gone()
    elif what == "alive":
        client.ping()
        assert not client.goaways and not client.closed
    elif what == "ping":
        client.wait("a PING's answer", lambda: bytes.fromhex(rest[0]) in client.pongs)
    elif what == "setting":
        client.wait("SETTINGS", lambda: client.settings)
        have = client.settings.get(http2_client.SETTING[rest[0]])
        assert have == (int(rest[1]) if rest[1] != "none" else None), client.settings
    elif what == "acks":
        client.wait("acknowledged SETTINGS", lambda: client.settings_acks >= int(rest[0]))
        client.ping()
        assert client.settings_acks == int(rest[0])
    elif what == "data":  # data STREAM BYTES: so many come, and no more
        stream = client.stream(int(rest[0]))
        client.wait("content", lambda: len(stream.body) >= int(rest[1]))
        client.ping()
        client.drain(0.02)
        assert len(stream.body) == int(rest[1]), stream
    elif what == "echo":  # echo STREAM text: what a tunnel says
        stream = client.stream(int(rest[0]))
        client.wait("content", lambda: bytes(stream.body).endswith(rest[1].encode()) or stream.over)
        assert bytes(stream.body).endswith(rest[1].encode()), stream
    elif what == "silent":  # silent STREAM: nothing comes on it
        client.ping()
        assert client.stream(int(rest[0])).frames == 0 and not client.stream(int(rest[0])).over
    elif what == "open":  # open STREAM: not over yet
        client.ping()
        assert not client.stream(int(rest[0])).over, client.stream(int(rest[0]))
    elif what == "granted":  # granted STREAM BYTES: windows given back, at least
        client.wait("windows", lambda: client.windows.get(int(rest[0]), 0) >= int(rest[1]))
    else:
        raise AssertionError(f"unknown expectation {line}")


def check_origin(stage, case, line):
    """origin: none, or METHOD target words of the request that came last."""
    mine = [r for r in stage.origin.requests if case["name"] in r.target]
    if line == "none":
        assert not mine, mine[-1].raw_head
        return
    method, target, *words = line.split(" ")
    mine = [r for r in mine if (r.method, r.target.partition("?")[0]) == (method, target)]
    assert mine, "the server has not seen it"
    req = mine[-1]
    assert req.version == "HTTP/1.1"
    for text in words:
        kind, _, value = text.partition(":")
        name, _, wanted = value.partition("=")
        if kind == "f":
            assert req.all(name) == [unescape(wanted).decode("latin-1")], req.raw_head
        elif kind == "no":
            assert not req.has(value), req.raw_head
        elif kind == "body":
            assert req.body == unescape(value), req.body
        elif kind == "len":
            assert len(req.body) == int(value), len(req.body)
        elif kind == "trailer":
            assert f"{name}: {wanted}\r\n".encode() in req.trailers, req.trailers
        else:
            raise AssertionError(f"unknown word {text}")


def run(stage, case, secure):
    with begin(stage, case, secure) as client:
        for key, value in case["steps"]:
            if key == "raw":
                client.send(b"".join(word(case, w) for w in value.split(" ")))
            elif key.startswith("send"):
                times = int(key[5:]) if key[4:5] == "*" else 1
                client.send(b"".join(build(case, client, value) for _ in range(times)))
            elif key == "expect":
                expect(case, client, value)
            elif key == "origin":
                check_origin(stage, case, value)
            elif key == "end":
                client.sock.shutdown(1)
        if not client.closed and not any(v.split()[0] in ("goaway", "closed") for k, v in case["steps"]
                                         if k == "expect") and case.get("end") is None:
            client.ping()  # whatever a stream did, the connection lives


def test_there_are_enough_cases():
    assert len(LIVE) >= 120
    assert len({c["name"] for c in LIVE}) == len(LIVE)
    for case in LIVE:
        assert case["rfc"].startswith("RFC "), case["name"]
        assert "expect" in case, case["name"]


@pytest.mark.parametrize("secure", [False, True], ids=["clear", "tls"])
@pytest.mark.parametrize("case", LIVE, ids=[c["name"] for c in LIVE])
def test_live(stage, case, secure):
    if case.get("over", "tls" if secure else "clear") != ("tls" if secure else "clear"):
        pytest.skip(f"only over {case['over']}")
    run(stage, dict(case), secure)


# ------------------------------------------------------------------------------- the codec's cases, live


def build_all(case, client):
    out = b""
    if case.get("start") is None:
        out = MAGIC + frame("SETTINGS", 0, 0)
    for key, value in case["steps"]:
        if key == "raw":
            out += b"".join(word(case, w) for w in value.split(" "))
        elif key.startswith("send"):
            times = int(key[5:]) if key[4:5] == "*" else 1
            out += b"".join(build(case, client, value) for _ in range(times))
    return out


# What a gateway does otherwise than a codec, whose requests may stay open, and why.
OTHERWISE = {
    "preface_is_http1": None,  # a gateway knows HTTP/1.1 too
    "preface_wrong_at_the_end": None,  # then it is HTTP/1.1, and refused as such
}


@pytest.mark.parametrize("case", FRAMES, ids=[c["name"] for c in FRAMES])
def test_frames(stage, case):
    case = dict(case, scheme="http")
    wanted = OTHERWISE.get(case["name"], case["expect"])
    with H2(stage.gw.ports["web"], start="bare") as client:
        client.send(build_all(case, client))
        if wanted is None:
            client.sock.shutdown(1)
            client.sock.settimeout(10)
            assert client.sock.recv(1000).startswith(b"HTTP/1.1 ")
            return
        verdict, *rest = wanted.split(" ")
        if verdict == "connection":
            code = client.gone()
            assert code == rest[0] or (rest[0] == "ENHANCE_YOUR_CALM" and client.was_reset), client.goaways
        elif verdict == "stream":
            stream = client.answer(client.stream(int(rest[0])))
            assert stream.code == rest[1], stream
            client.ping()
        elif any(k.startswith("send") and v.startswith("GOAWAY") for k, v in case["steps"]):
            client.gone()
        else:
            client.ping()
            assert not client.goaways
            for stream in client.streams.values():
                assert stream.code in (None, "NO_ERROR"), stream
