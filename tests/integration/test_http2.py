# tests/integration/test_http2.py - HTTP/2 towards clients: many streams at once, flow control, failures, the other
# features behind it, and the end of connections.
import gzip
import os
import re
import shutil
import signal
import subprocess
import threading
import time

import pytest

import harness
from h2_origin import H2Origin
from harness import MIB, SCALE, Closed, chunks, memory_kib, ok, wait_for
from http2_client import H2

PIECE = b"0123456789abcdef" * 4096  # 64 KiB


def config(server, route=None, **more):
    whole = {"services": {"app": {"servers": [server.url]}},
             "routes": [dict({"path": "/", "to": "app"}, **(route or {}))], "workers": 1}
    whole.update(more)
    return whole


# ------------------------------------------------------------------------------------ many at once


def test_streams_are_worked_on_at_the_same_time_and_end_as_they_can(gateway, origin):
    """The later a stream began the sooner its server answers: 31 places of 20 ms, all within one of them more."""

    def answer(req):
        time.sleep(0.02 * SCALE * (32 - int(req.target[1:])))
        return ok(req.target.encode())

    gw = gateway(config(origin(answer=answer)))
    with H2(gw.port) as c:
        begin = time.monotonic()
        streams = [c.request(f"/{i}") for i in range(32)]
        order = []
        while len(order) < 32:
            c.wait("another answer", lambda: any(s.over and s not in order for s in streams))
            order += [s for s in streams if s.over and s not in order]
        took = time.monotonic() - begin
        assert [bytes(s.body) for s in streams] == [b"/%d" % i for i in range(32)]
    assert order[0].id > 40 and order[-1].id < 20, [s.id for s in order]
    assert took < 0.02 * SCALE * 32 * 4, f"one after the other would be {0.02 * SCALE * 32 * 33 / 2:.1f} s"


def test_one_stream_that_waits_holds_no_other(gateway, origin):
    gw = gateway(config(origin(answer=lambda r: ok(b"x" * 300000))))
    with H2(gw.port, first={"WINDOW": 1000}, hold=True) as c:
        stuck = [c.request(f"/{i}") for i in range(20)]
        c.wait("what fits", lambda: all(len(s.body) == 1000 for s in stuck))
        c.grant(0, 1 << 24)
        quick = c.request("/quick")
        c.grant(quick.id, 1 << 20)
        assert len(c.answer(quick).body) == 300000
        for s in stuck:
            c.grant(s.id, 1 << 20)
        for s in stuck:
            assert len(c.answer(s).body) == 300000
    gw.books_balance()


def test_streams_of_one_connection_share_what_can_be_sent(gateway, origin):
    """Two of the same urgency, both incremental: neither is finished long before the other has begun."""
    gw = gateway(config(origin(answer=lambda r: ok(b"x" * 2 * MIB))))
    with H2(gw.port, hold=True) as c:
        a = c.request("/a", headers={"priority": "u=3, i"})
        b = c.request("/b", headers={"priority": "u=3, i"})
        c.wait("both heads", lambda: a.head and b.head)
        for s in (a, b):
            c.grant(s.id, 4 * MIB)
        for _ in range(16):
            c.grant(0, 65536)
            c.ping()
            c.drain(0.01)
        assert min(len(a.body), len(b.body)) > 0.25 * max(len(a.body), len(b.body)), (len(a.body), len(b.body))


# ------------------------------------------------------------------------------ memory and back-pressure


class Flow:
    """A server that sends or takes as much as it can and counts it."""

    def __init__(self, total):
        self.total, self.sent, self.taken = total, 0, 0
        self.go = threading.Event()
        self.over = threading.Event()

    def serve(self, conn):
        req = conn.read_head()
        try:
            if req.method == "GET":
                conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % self.total)
                while self.sent < self.total:
                    conn.send(PIECE)
                    self.sent += len(PIECE)
            else:
                self.go.wait(60 * SCALE)
                self.taken = len(conn.buf)
                while self.taken < self.total:
                    data = conn.sock.recv(1 << 20)
                    if not data:
                        raise Closed()
                    self.taken += len(data)
                conn.send(ok(b"taken"))
        finally:
            self.over.set()


def test_a_slow_reader_of_100_mb_costs_no_memory_and_slows_the_server(gateway, origin):
    flow = Flow(100 * MIB)
    gw = gateway(config(origin(flow.serve)))
    with H2(gw.port, hold=True, keep=False) as c:
        idle = memory_kib(gw.worker())
        stream = c.request("/")
        c.wait("the head", lambda: stream.head)
        for _ in range(5):
            c.grant(0, 10000)
            c.grant(stream.id, 10000)
            c.drain(0.05)

        def steady():
            held = flow.sent
            time.sleep(0.3)
            return flow.sent == held

        wait_for("the server is held back", steady)
        assert flow.sent < 16 * MIB, "sockets hold some"
        slow = memory_kib(gw.worker())
        c.hold = False
        c.grant(0, 1 << 20)
        c.grant(stream.id, 1 << 20)
        c.answer(stream, 60 * SCALE)
        assert stream.ended and flow.sent == 100 * MIB
        fast = memory_kib(gw.worker())
    if not harness.SANITIZER:
        assert slow - idle < 4096 and fast - idle < 4096, (idle, slow, fast)


def test_an_upload_of_100_mb_goes_as_fast_as_the_server_takes_it(gateway, origin):
    flow = Flow(100 * MIB)
    gw = gateway(config(origin(flow.serve)))
    with H2(gw.port) as c:
        c.wait("its windows", lambda: 4 in c.settings)
        idle = memory_kib(gw.worker())
        stream = c.request("/", "POST", {"content-length": str(100 * MIB)}, end=False)
        sent = 0

        def room():
            most = c.settings[4] + c.windows.get(stream.id, 0)
            return min(most, 65535 + c.windows.get(0, 0)) - sent

        def push():
            nonlocal sent
            while (n := min(room(), 16384, 100 * MIB - sent)) > 0:
                c.data(stream, PIECE[:n], sent + n == 100 * MIB)
                sent += n

        limit = time.monotonic() + 2 * SCALE
        while time.monotonic() < limit:
            push()
            if not c.pump(0.3):
                break
        assert sent < 20 * MIB, "the client is held back, too"
        slow = memory_kib(gw.worker())
        flow.go.set()
        while sent < 100 * MIB:
            push()
            assert c.pump(10 * SCALE) or sent == 100 * MIB, sent
        assert c.answer(stream, 60 * SCALE).status == 200 and stream.body == b"taken"
        fast = memory_kib(gw.worker())
    assert flow.taken == 100 * MIB
    if not harness.SANITIZER:
        assert slow - idle < 4096 and fast - idle < 4096, (idle, slow, fast)


def upload(c, stream, data, end=True):
    """Content as far as windows allow, until all has left or the stream is over."""
    at = 0
    while at < len(data) and not stream.over:
        room = min(c.settings[4] + c.windows.get(stream.id, 0) - at, 65535 + c.windows.get(0, 0) - c.used)
        n = min(room, 16384, len(data) - at)
        if n <= 0:
            c.wait("a window", lambda: c.pump(0.1) or True)
            continue
        c.data(stream, data[at:at + n], end and at + n == len(data))
        at += n
        c.used += n


def test_windows_come_back_however_uploads_end(gateway, origin):
    """Three MB of content that nobody wanted, then an upload of one MB: the connection's window is 1 MiB."""
    held = threading.Event()

    def handler(conn):
        while True:
            req = conn.read_head()
            if req.target == "/hold":
                held.wait(20)
                return
            if req.target == "/refuse":
                conn.send(ok(b"no", "403 Forbidden", [("Connection", "close")]))
                return
            body = conn.chunked() if req.has("Transfer-Encoding") else conn.take(int(req.get("Content-Length")))
            conn.send(ok(b"%d" % len(body)))

    server = origin(handler)
    gw = gateway({"services": {"app": [server.url]}, "workers": 1, "routes": [
        {"path": "/own", "respond": {"body": "own"}}, {"path": "/", "to": "app"}]})
    with H2(gw.port) as c:
        c.wait("its windows", lambda: 4 in c.settings and 0 in c.windows)
        c.used = 0
        for i in range(14):
            for path, headers in (("/hold", {}), ("/refuse", {}), ("/own", {}), ("/own", {"te": "gzip"})):
                stream = c.request(path, "POST", headers, end=False)
                upload(c, stream, b"x" * 60000, end=False)
                if path == "/hold":
                    c.reset(stream)
                else:
                    c.answer(stream)
        held.set()
        assert c.used > 2_500_000 or c.used >= 14 * 60000, c.used
        stream = c.request("/whole", "POST", end=False)
        upload(c, stream, b"y" * MIB)
        assert c.answer(stream).body == b"%d" % MIB
        c.ping()
        assert 65535 + c.windows[0] - c.used >= 512 * 1024, "most of the window is open again"
    gw.wait_metric("vivace_http_requests_in_flight", 0)
    gw.books_balance()


def test_a_stream_that_nobody_reads_or_writes_ends_alone(gateway, origin):
    """Times of sending and receiving are those of a stream; its neighbours go on."""
    timeouts = {"send": "400ms", "body": "400ms"}
    gw = gateway(config(origin(answer=lambda r: ok(b"x" * 300000)), {"timeouts": timeouts}))
    with H2(gw.port, hold=True) as c:
        c.grant(0, 1 << 24)
        unread = c.request("/unread")
        unsent = c.request("/unsent", "POST", end=False)
        c.data(unsent, b"a little")
        c.answer(unread, 20 * SCALE)
        c.answer(unsent, 20 * SCALE)
        assert not unread.ended and unread.code is not None and len(unread.body) == 65535, unread
        assert unsent.status == 408, unsent
        live = c.request("/")
        c.grant(live.id, 1 << 20)
        assert len(c.answer(live).body) == 300000
    gw.books_balance()


def test_a_large_head_of_an_answer_comes_in_several_frames(gateway, origin):
    value = "v" * 6000
    gw = gateway(config(origin(answer=lambda r: ok(b"body", headers=[(f"x-{i}", value) for i in range(5)]))))
    with H2(gw.port) as c:
        for _ in range(3):
            stream = c.ask("/")
            assert stream.body == b"body" and [stream.get(f"x-{i}") for i in range(5)] == [value] * 5


def test_a_connection_that_may_ask_so_often_says_goodbye(gateway, origin):
    gw = gateway(config(origin(), listen={"web": {"keepalive_requests": 5}}))
    with H2(gw.port) as c:
        streams = [c.request("/") for _ in range(5)]
        assert all(c.answer(s).status == 200 for s in streams)
        assert c.gone(10 * SCALE) == "NO_ERROR"
        assert c.goaways[0][0] == 0x7FFFFFFF and c.goaways[-1][0] == 9


# ------------------------------------------------------------------------------------ ends before time


class Watcher:
    """A server that tells when the gateway left it in the middle."""

    def __init__(self, before=b"", rest=b""):
        self.before, self.rest = before, rest
        self.left = threading.Event()
        self.asked = threading.Event()

    def serve(self, conn):
        conn.read_head()
        self.asked.set()
        try:
            if self.before:
                conn.send(self.before)
            while self.rest:
                conn.send(self.rest)
            while True:
                conn.more()
        except (Closed, OSError):
            self.left.set()


ENDLESS = b"HTTP/1.1 200 OK\r\nContent-Length: 9000000000\r\n\r\n"


@pytest.mark.parametrize("how", ["reset", "close", "abort"])
@pytest.mark.parametrize("moment", ["before the head", "in the body", "in a full window", "in the upload"])
def test_who_leaves_ends_the_work_behind(gateway, origin, moment, how):
    before = {"before the head": b"", "in the upload": b""}.get(moment, ENDLESS)
    watcher = Watcher(before, b"x" * 65536 if moment == "in a full window" else b"")
    gw = gateway(config(origin(watcher.serve)))
    with H2(gw.port, hold=True) as c:
        upload = moment == "in the upload"
        stream = c.request("/", "POST" if upload else "GET", end=not upload)
        if upload:
            c.data(stream, b"x" * 1000)
        assert watcher.asked.wait(harness.PATIENCE)
        if before:
            c.wait("the head", lambda: stream.head)
        if moment == "in a full window":
            c.wait("a window of it", lambda: len(stream.body) == 65535)
        if how == "reset":
            c.reset(stream)
            assert watcher.left.wait(harness.PATIENCE), "the server is left, too"
            c.ping()
        elif how == "abort":
            c.sock.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER: RST
    if how != "reset":
        assert watcher.left.wait(harness.PATIENCE), "the server is left, too"
    gw.wait_metric("vivace_http_requests_in_flight", 0)
    gw.wait_metric("vivace_http2_memory_bytes", 0)
    gw.books_balance()
    assert gw.metric("vivace_http_requests_aborted_total", reason="client_closed") == 1


def test_an_answer_that_breaks_off_is_reset_and_not_ended(gateway, origin):
    def handler(conn):
        req = conn.read_head()
        if req.target == "/length":
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n" + b"x" * 60000)
        elif req.target == "/chunks":
            conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n5\r\nab")
        elif req.target == "/garbage":
            conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n")

    gw = gateway(config(origin(handler)))
    with H2(gw.port) as c:
        for path in ("/length", "/chunks", "/garbage"):
            stream = c.ask(path)
            assert stream.status in (200, None) and not stream.ended and stream.code == "INTERNAL_ERROR", stream
        assert c.ask("/nothing").status == 502
    gw.books_balance()


def test_content_over_the_limit_is_refused_in_the_middle(gateway, origin):
    gw = gateway(config(origin(answer=lambda r: ok(b"took it")), listen={"web": {"max_body": "100KB"}}))
    with H2(gw.port) as c:
        stream = c.request("/", "POST", end=False)
        for _ in range(12):
            c.data(stream, b"x" * 10000)
        c.wait("413", lambda: stream.over)
        assert stream.status == 413 and stream.ended
        told = c.ask("/", "POST", {"content-length": "200000"}, body=None, end=False)
        assert told.status == 413, "before any of it"
        assert c.ask("/", "POST", body=b"x" * 50000).status == 200
        c.ping()
    gw.books_balance()


def test_a_large_head_is_answered_and_the_connection_goes_on(gateway, origin):
    gw = gateway(config(origin(), listen={"web": {"head_size": "4KB", "fields": 20}}))
    with H2(gw.port) as c:
        assert c.ask("/", headers={"a": "x" * 5000}).status == 431
        assert c.ask("/", headers=[("a", "b")] * 25).status == 431
        assert c.ask("/").status == 200
        assert c.settings[6] == 4000 or c.settings[6] == 4096, c.settings


# ---------------------------------------------------------------------------------- features behind it


def test_a_cache_answers_hits_conditions_and_ranges(gateway, origin):
    server = origin(answer=lambda r: ok(b"0123456789" * 100, headers={"Cache-Control": "max-age=60", "ETag": '"v1"'}))
    gw = gateway(config(server, {"cache": True}))
    with H2(gw.port) as c:
        assert len(c.ask("/a").body) == 1000
        hit = c.ask("/a")
        assert hit.body == b"0123456789" * 100 and hit.get("age") is not None
        same = c.ask("/a", headers={"if-none-match": '"v1"'})
        assert same.status == 304 and same.body == b"" and same.get("etag") == '"v1"'
        part = c.ask("/a", headers={"range": "bytes=5-14"})
        assert part.status == 206 and part.body == b"5678901234"
        assert part.get("content-range") == "bytes 5-14/1000"
        two = c.ask("/a", headers={"range": "bytes=0-1,10-12"})
        assert two.status == 206 and two.get("content-type").startswith("multipart/byteranges")
        head = c.ask("/a", "HEAD")
        assert head.get("content-length") == "1000" and head.body == b""
        many = [c.request("/a") for _ in range(90)]
        assert all(c.answer(s).body == hit.body for s in many)
    assert len(server.requests) == 1
    gw.books_balance()


def test_answers_are_compressed(gateway, origin):
    text = b"a line that says much the same as the next one\n" * 500
    gw = gateway(config(origin(answer=lambda r: ok(text, headers={"Content-Type": "text/plain"}))))
    with H2(gw.port) as c:
        answer = c.ask("/", headers={"accept-encoding": "gzip"})
        assert answer.get("content-encoding") == "gzip" and gzip.decompress(bytes(answer.body)) == text
        assert "accept-encoding" in answer.get("vary").lower()
        assert c.ask("/").body == text


def test_fifty_streams_that_ask_the_same_are_one_request(gateway, origin):
    go = threading.Event()

    def answer(req):
        go.wait(harness.PATIENCE)
        return ok(b"shared" * 5000, headers={"Cache-Control": "max-age=60"})

    server = origin(answer=answer)
    gw = gateway(config(server, {"cache": True}))
    with H2(gw.port) as c:
        streams = [c.request("/same") for _ in range(50)]
        c.ping()
        go.set()
        assert all(c.answer(s).body == b"shared" * 5000 for s in streams)
    assert len(server.requests) == 1


def test_an_answer_out_of_several(gateway, origin):
    a = origin(answer=lambda r: ok(b'{"a":1}', headers={"Content-Type": "application/json"}))
    gw = gateway({"services": {"a": [a.url]}, "routes": [{"path": "/", "compose": {
        "strategy": "best_effort", "parts": {"one": {"to": "a", "path": "/1"}, "two": {"to": "a", "path": "/2"}}}}]})
    with H2(gw.port) as c:
        streams = [c.request("/") for _ in range(5)]
        for s in streams:
            answer = c.answer(s)
            assert answer.status == 200 and b'"one"' in answer.body and b'"two"' in answer.body, answer


def test_limits_count_streams_as_requests(gateway, origin):
    gw = gateway(config(origin(), {"limit": {"per": "client", "rate": "1/h", "burst": 5}}))
    with H2(gw.port) as c:
        streams = [c.request("/") for _ in range(20)]
        got = [c.answer(s).status for s in streams]
        assert got.count(429) >= 14 and got.count(200) >= 5, got
        refused = next(s for s in streams if s.status == 429)
        assert refused.get("retry-after")
        c.ping()


def test_the_log_and_the_metrics_know_the_version(gateway, origin, tmp_path):
    path = str(tmp_path / "access.log")
    gw = gateway(config(origin(answer=lambda r: ok(b"y" * 77)), access_log={"path": path, "format": "combined"}))
    with H2(gw.port) as c:
        assert c.ask("/thing?x=1").status == 200
    line = wait_for("a line", lambda: os.path.exists(path) and open(path, encoding="utf-8").read())
    assert re.search(r'"GET /thing\?x=1 HTTP/2\.0" 200 77 ', line), line
    gw.wait_metric("vivace_http2_connections_total", 1)
    gw.wait_metric("vivace_http2_streams_total", 1)


def test_trailers_pass_both_ways_to_a_server_that_speaks_http2(gateway, stack):
    def handler(stream):
        body = stream.body()
        stream.answer(200, [("trailer", "x-sum")], end=False)
        stream.send(body)
        stream.end([("x-sum", str(len(body))), ("x-theirs", dict(stream.trailers).get("x-mine", "none"))])

    server = H2Origin(handler)
    stack.append(server)
    gw = gateway({"services": {"app": {"servers": [server.url], "http2": True}}, "routes": [{"path": "/", "to": "app"}]})
    with H2(gw.port) as c:
        stream = c.request("/", "POST", {"te": "trailers"}, end=False)
        c.data(stream, b"hello")
        c.send(c.head_frame([("x-mine", "yes")], True, stream.id))
        c.answer(stream)
        assert stream.body == b"hello" and stream.trailers == [("x-sum", "5"), ("x-theirs", "yes")], stream


def test_a_file_is_served_in_windows(gateway, tmp_path):
    data = os.urandom(700000)
    (tmp_path / "f.bin").write_bytes(data)
    gw = gateway({"routes": [{"path": "/", "files": str(tmp_path)}]})
    with H2(gw.port) as c:
        streams = [c.request("/f.bin") for _ in range(8)]
        assert all(c.answer(s).body == data for s in streams)
        part = c.ask("/f.bin", headers={"range": "bytes=100000-399999"})
        assert part.status == 206 and part.body == data[100000:400000]


def test_switched_off_it_is_not_spoken(gateway, origin):
    gw = gateway(config(origin(), listen={"web": {"http2": False}}))
    with H2(gw.port) as c:
        c.sock.settimeout(harness.PATIENCE)
        assert c.sock.recv(100).startswith(b"HTTP/1.1 ")


def test_a_real_client_agrees(gateway, origin):
    gw = gateway(config(origin(answer=lambda r: ok(r.target.encode() * 100)),
                        listen={"web": {}, "secure": {"tls": "local"}}))
    for url, flag in ((f"http://127.0.0.1:{gw.ports['web']}/x", "--http2-prior-knowledge"),
                      (f"https://localhost:{gw.ports['secure']}/x", "--http2")):
        done = subprocess.run(["curl", "-sk", flag, "-w", "%{http_version} %{http_code}", url, "-o", "/dev/null"],
                              capture_output=True, text=True, timeout=30, check=True)
        assert done.stdout == "2 200"
        done = subprocess.run(["h2load", "-n", "300", "-c", "3", "-m", "32", url], capture_output=True, text=True,
                              timeout=60 * SCALE, check=True)
        assert "300 succeeded, 0 failed, 0 errored" in done.stdout, done.stdout


# -------------------------------------------------------------------------------- the end of connections


def test_an_idle_connection_is_told_and_closed(gateway, origin):
    gw = gateway(config(origin(), listen={"web": {"keepalive": "300ms"}}))
    with H2(gw.port) as c:
        assert c.ask("/").status == 200
        assert c.gone() == "NO_ERROR" and c.goaways[-1][0] == 1


def test_a_client_that_never_asks_is_closed(gateway, origin):
    gw = gateway(config(origin(), listen={"web": {"header_timeout": "300ms"}}))
    with H2(gw.port) as c:
        c.gone()
    with H2(gw.port, start="preface") as c:
        c.gone()
    with H2(gw.port) as c:
        c.send(c.head_frame([(":method", "GET")])[:-2])
        c.gone()
    assert gw.metric("vivace_client_timeouts_total", phase="header") >= 3 or \
        "header" in gw.metrics().text


def drains(c, gw, server_go, stream):
    """Two GOAWAYs: the first names every stream there could be, the second the last there was."""
    c.wait("a farewell", lambda: c.goaways)
    assert c.goaways[0] == (0x7FFFFFFF, "NO_ERROR")
    late = c.request("/late")
    assert c.answer(late).status == 200, "on its way when the farewell came"
    c.wait("the second", lambda: len(c.goaways) == 2, 5 * SCALE)
    assert c.goaways[1] == (late.id, "NO_ERROR")
    server_go.set()
    assert c.answer(stream).body == b"slow" and stream.ended
    c.gone()
    assert not c.was_reset


@pytest.mark.parametrize("how", ["reload", "term"])
def test_a_farewell_lets_streams_finish(gateway, origin, how):
    go = threading.Event()

    def answer(req):
        if req.target == "/slow":
            go.wait(harness.PATIENCE)
            return ok(b"slow")
        return ok(b"quick")

    server = origin(answer=answer)
    listen = {"web": {}, "other": {}}
    gw = gateway(config(server, listen=listen, drain="20s"))
    with H2(gw.ports["other"]) as c:
        stream = c.request("/slow")
        c.ping()
        server.wait_requests(1)
        if how == "reload":
            kept = {k: v for k, v in gw.config.items() if k != "listen"}
            assert gw.reload(dict(kept, listen={"web": gw.config["listen"]["web"]})).status == 200
        else:
            gw.process.send_signal(signal.SIGTERM)
        drains(c, gw, go, stream)
    if how == "term":
        assert gw.process.wait(20 * SCALE) == 0
    else:
        gw.books_balance()


def test_the_last_answer_before_a_farewell_arrives_whole(gateway, origin):
    """The client still reads, and gives windows back, when the gateway has written all there is."""
    go = threading.Event()

    def answer(req):
        go.wait(harness.PATIENCE)
        return ok(b"x" * MIB)

    server = origin(answer=answer)
    gw = gateway(config(server, drain="20s"))
    with H2(gw.port, first={"WINDOW": 4 * MIB}, recv_buffer=16384) as c:
        c.grant(0, 4 * MIB)
        stream = c.request("/")
        server.wait_requests(1)
        gw.process.send_signal(signal.SIGTERM)
        c.wait("both farewells", lambda: len(c.goaways) == 2, 5 * SCALE)
        go.set()
        while not stream.over and not c.closed:
            c.pump()
            time.sleep(0.002)
        assert len(stream.body) == MIB and stream.ended, stream.code
    assert gw.process.wait(20 * SCALE) == 0


def test_an_idle_connection_leaves_at_once_when_the_gateway_ends(gateway, origin):
    gw = gateway(config(origin(), drain="20s"))
    with H2(gw.port) as c:
        assert c.ask("/").status == 200
        begin = time.monotonic()
        gw.process.send_signal(signal.SIGTERM)
        assert c.gone() == "NO_ERROR" and not c.was_reset
        assert gw.process.wait(20 * SCALE) == 0
        assert time.monotonic() - begin < 6 * SCALE


@pytest.mark.slow
def test_an_upgrade_under_load_fails_no_request(gateway, app):
    server = app()
    gw = gateway({"services": {"a": [server.url]}, "routes": [{"path": "/", "to": "a"}], "drain": "20s"})
    seen = {"asked": 0, "refused": 0}
    stop = threading.Event()
    problems = []

    def client():
        try:
            while not stop.is_set():
                with H2(gw.port) as c:
                    while not stop.is_set() and not c.goaways and not c.closed:
                        streams = [c.request("/size/100") for _ in range(16)]
                        for s in streams:
                            c.answer(s)
                            seen["asked"] += 1
                            if s.code == "REFUSED_STREAM":
                                seen["refused"] += 1  # nothing was done: a client asks again
                            else:
                                assert s.status == 200 and s.ended and len(s.body) == 100, s
        except BaseException as e:  # noqa: BLE001 - shown below
            problems.append(repr(e))

    threads = [threading.Thread(target=client) for _ in range(4)]
    for t in threads:
        t.start()
    try:
        for _ in range(2):
            before = set(gw.workers())
            time.sleep(0.5)
            gw.process.send_signal(signal.SIGUSR2)
            wait_for("new ones", lambda: set(gw.workers()) - before, 20)
            wait_for("the old ones are gone", lambda: not set(gw.workers()) & before, 20)
    finally:
        stop.set()
        for t in threads:
            t.join(60)
    assert not problems, problems
    assert seen["asked"] > 200 and seen["refused"] * 20 < seen["asked"], seen
