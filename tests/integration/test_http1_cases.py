# tests/integration/test_http1_cases.py - the tables of raw HTTP/1 messages through a running gateway.
"""Every case of tests/data/http1_requests.txt and http1_answers.txt (the format stands there).

The parser's unit tests read the same tables; here the same bytes meet the real gateway: what reaches the
server, what the client is told, and whether each connection may be used again.
"""

import os
import re
import threading
import urllib.parse

import pytest

import harness
from harness import ROOT, Closed, Origin, ok, request

DATA = os.path.join(ROOT, "tests", "data")
SIMPLE = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"\\": b"\\"}
ESCAPE = re.compile(rb"\\(?:([rnt\\])|x([0-9A-Fa-f]{2})|\{(\d+):([^}]*)\})")


def unescape(text):
    def one(m):
        if m[1]:
            return SIMPLE[m[1]]
        if m[2]:
            return bytes([int(m[2], 16)])
        return unescape(m[4]) * int(m[3])

    return ESCAPE.sub(one, text)


def read_cases(name):
    cases, case = [], None
    with open(os.path.join(DATA, name), "rb") as f:
        for line in f.read().split(b"\n"):
            if line.startswith(b"["):
                case = {"name": line[1:-1].decode(), "bytes": b""}
                cases.append(case)
            elif line and not line.startswith(b"#"):
                key, _, value = line.partition(b":")
                value = value[1:] if value.startswith(b" ") else value
                key = key.decode()
                if key == "bytes":
                    case["bytes"] += unescape(value)
                elif key in ("body", "path", "query", "authority", "reason"):
                    case[key] = None if value == b"-" else unescape(value)
                else:
                    case[key] = value.decode()
    return cases


REQUESTS = read_cases("http1_requests.txt")
ANSWERS = read_cases("http1_answers.txt")


def names(cases):
    return [c["name"] for c in cases]


def test_there_are_enough_cases():
    assert len(REQUESTS) + len(ANSWERS) >= 120
    for cases in (REQUESTS, ANSWERS):
        assert len(set(names(cases))) == len(cases)
        assert all(c["rfc"].startswith("RFC ") for c in cases)


class Recorder:
    """An origin that keeps complete requests apart from those whose body never came."""

    def __init__(self):
        self.lock = threading.Lock()
        self.complete = []
        self.script = ok(b"upstream")
        self.close_after = False
        self.origin = Origin(self.handle)

    def handle(self, conn):
        while True:
            req = conn.read_request()
            with self.lock:
                self.complete.append(req)
            if "probe" in req.target:
                conn.send(ok(b"probe"))
                continue
            conn.send(self.script)
            if self.close_after:
                return

    def reset(self, script=None, close_after=False):
        with self.lock:
            self.complete = []
        self.script = script if script is not None else ok(b"upstream")
        self.close_after = close_after


@pytest.fixture(scope="module")
def pair():
    """One gateway with one worker and one origin for all cases."""
    recorder = Recorder()
    gw = harness.Gateway(
        {
            "workers": 1,
            "listen": {"web": {"http2": False}},
            "services": {"app": {"servers": [recorder.origin.url], "max_fails": 0}},
            "routes": [{"path": "/", "to": "app"}],
            "defaults": {"timeouts": {"first_byte": "5s", "idle": "5s", "header": "5s", "body": "5s"}},
        },
        start=False,
    )
    try:
        gw.start()
        yield gw, recorder
        gw.books_balance()
        gw.stop()
    finally:
        gw.stop(check=False)
        recorder.origin.close()
        gw.remove()


def method_of(case):
    return case["bytes"].lstrip(b"\r\n").split(b" ")[0].decode("latin-1")


def same_path(a, b):
    return urllib.parse.unquote_to_bytes(a) == urllib.parse.unquote_to_bytes(b)


def check_forwarded(case, seen):
    """What reached the server is what was sent, without what belongs to the client's hop."""
    assert seen.method == method_of(case)
    if case.get("path") is not None:
        path, mark, query = seen.target.partition("?")
        assert same_path(path, case["path"]), seen.target
        if "query" in case:
            assert bool(mark) == (case["query"] is not None)
            if mark:
                assert query.encode("latin-1") == case["query"]
    if case.get("authority"):
        assert seen.all("Host") == [case["authority"].decode()]
    assert len(seen.all("Host")) == 1
    assert seen.body == case.get("body", seen.body)
    for name in case.get("hop", "").split():
        if name.lower() == "transfer-encoding":
            assert seen.all(name) in ([], ["chunked"])
        elif name.lower() != "connection":
            assert not seen.has(name), f"{name} must not be forwarded"
    assert seen.version == "HTTP/1.1"


def check_connection(c, answer, case):
    if case["connection"] == "kept":
        assert answer.get("Connection", "").lower() != "close"
        assert c.ask("/probe").body == b"probe"
    else:
        if not case["bytes"].startswith(b"GET / HTTP/1.0"):
            assert answer.get("Connection", "close").lower() == "close"
        assert c.rest() == b"", "nothing may follow the last answer"


# What the gateway does where the parser leaves it to policy: (statuses, reaches the server).
POLICY = {
    "options_asterisk": ({200, 204}, None),
    "options_absolute_without_path": ({200, 204}, None),
    "connect": ({400, 403, 405, 501}, False),
    "host_empty": ({200, 400}, None),
    "upgrade_request": ({200}, True),
    "expect_continue": ({200}, True),
}


def send_all(c, data, piece=None):
    """The gateway may refuse before all is sent; then the rest does not matter."""
    try:
        if piece is None:
            c.send(data)
        else:
            for i in range(0, len(data), piece):
                c.send(data[i : i + piece])
    except OSError:
        pass


def answer_of(c, method):
    try:
        return c.answer(method)
    except Closed as e:
        raise AssertionError(f"no answer: {e}") from None


@pytest.mark.parametrize("case", REQUESTS, ids=names(REQUESTS))
def test_request(pair, case):
    gw, recorder = pair
    method = method_of(case)
    recorder.reset()
    with gw.client() as c:
        send_all(c, case["bytes"])
        if case["expect"] == "forwarded":
            answer = answer_of(c, method)
            assert answer.status == 200, f"{answer.line} {answer.body!r}"
            assert answer.body == (b"" if method == "HEAD" else b"upstream")
            check_forwarded(case, recorder.complete[0])
            check_connection(c, answer, case)
        elif case["expect"] == "parsed":
            statuses, reaches = POLICY[case["name"]]
            answer = answer_of(c, method)
            assert answer.status in statuses, answer.line
            if reaches is not None:
                assert bool(recorder.complete) == reaches
            if answer.get("Connection", "").lower() == "close":
                assert c.rest() == b""
            else:
                assert c.ask("/probe").body == b"probe"
        else:
            status = int(case["expect"].split()[1])
            answer = answer_of(c, "GET")
            assert answer.status == status, f"{answer.line} {answer.body!r}"
            if "error" in case:
                assert case["error"].encode() in answer.body, answer.body
            assert recorder.complete == []
            check_connection(c, answer, case)


REFUSED = [c for c in REQUESTS if c["expect"].startswith("status")]


@pytest.mark.parametrize("case", REFUSED, ids=names(REFUSED))
def test_nothing_after_a_refused_request_is_read(pair, case):
    """The bytes behind a message whose end is in doubt are never taken for a request."""
    gw, recorder = pair
    recorder.reset()
    with gw.client() as c:
        send_all(c, case["bytes"] + request("/smuggled") * 2)
        got = c.rest()
    assert got.count(b"HTTP/1.1 ") <= 1 and b" 200 " not in got.split(b"\r\n")[0]
    assert recorder.complete == []


SHORT = [c for c in REQUESTS if len(c["bytes"]) < 1000]


@pytest.mark.parametrize("case", SHORT, ids=names(SHORT))
def test_a_request_in_pieces_fares_the_same(pair, case):
    gw, recorder = pair
    recorder.reset()
    with gw.client() as c:
        send_all(c, case["bytes"], 9)
        answer = answer_of(c, method_of(case))
        if case["expect"] == "forwarded":
            assert answer.status == 200
            check_forwarded(case, recorder.complete[0])
        elif case["expect"] == "parsed":
            assert answer.status in POLICY[case["name"]][0]
        else:
            assert answer.status == int(case["expect"].split()[1])
            assert recorder.complete == []


THROUGH = [c for c in ANSWERS if c.get("request") != "CONNECT"]  # CONNECT never reaches a server


@pytest.mark.parametrize("case", THROUGH, ids=names(THROUGH))
def test_answer(pair, case):
    gw, recorder = pair
    data, method = case["bytes"], case.get("request", "GET")
    interim = case["expect"] == "parsed" and case["status"] != "101"
    recorder.reset(data + ok(b"final") if interim else data, case.get("framing") == "close")
    with gw.client() as c:
        c.send(request("/case", method))
        if case["expect"] == "forwarded":
            answer = answer_of(c, method)
            status = int(case.get("status", data.split(b" ")[1][:3]))
            assert answer.status == status
            if "reason" in case:
                assert answer.reason.encode("latin-1") == case["reason"]
            assert answer.body == case.get("body", b"")
            for name in case.get("hop", "").split():
                if name.lower() == "transfer-encoding":
                    assert answer.all(name) in ([], ["chunked"])
                elif name.lower() != "content-length" and name.lower() != "connection":
                    assert not answer.has(name), f"{name} must not be forwarded"
        elif interim:
            answer = answer_of(c, method)
            assert answer.body == b"final"
            assert [str(i.status) for i in answer.interim] in ([case["status"]], [])
        elif case["expect"] == "broken":
            try:
                answer = c.answer(method)
            except Closed:
                answer = None  # cut: the client cannot take it for whole
            assert answer is None or answer.status == 502, answer.line
            if answer is None:
                c.close()
                c = gw.client()
        else:
            # 101 without a request for it is the server's mistake as well
            status = 502 if case["expect"] == "parsed" else int(case["expect"].split()[1])
            answer = answer_of(c, method)
            assert answer.status == status, answer.line
        # the client's connection lives on whatever the server did
        assert c.ask("/probe").body == b"probe"
        c.close()
    first, last = recorder.complete[0], recorder.complete[-1]
    assert last.target == "/probe"
    kept = first.connection == last.connection
    assert kept == (case["connection"] == "kept"), "reuse of the server's connection"
