# tests/integration/test_upstream_h2.py - servers that are asked over HTTP/2: one connection for many.
import hashlib
import ssl
import threading
import time

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from h2_origin import H2Origin
from harness import MIB, PATIENCE, memory_kib, request, wait_for
from test_chaos_faults import CHAOS, order
from test_upstream_tls import Authority, TlsOrigin


@pytest.fixture
def shared(gateway, stack):
    """shared(handler, route={...}, service={...}, origins=1, settings={...}) -> gateway, origin(s)."""

    def make(handler=None, route=None, service=None, origins=1, settings=None, **config):
        servers = [H2Origin(handler, settings) for _ in range(origins)]
        stack.extend(servers)
        entry = dict({"servers": [s.url for s in servers], "http2": True}, **(service or {}))
        whole = {
            "workers": 1,
            "services": {"app": entry},
            "routes": [dict({"path": "/", "to": "app"}, **(route or {}))],
        }
        whole.update(config)
        gw = gateway(whole)
        return (gw, servers[0]) if origins == 1 else (gw, servers)

    return make


def at_once(gw, count, ask):
    """Runs ask(client, i) on `count` connections at the same time; returns what they returned."""
    results = [None] * count

    def run(i):
        with gw.client() as c:
            results[i] = ask(c, i)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(PATIENCE)
    return results


def simple(c, i):
    c.send(request(f"/{i}"))
    return c.answer()


# ------------------------------------------------------------------------------ requests and answers


def test_a_request_is_asked_over_http2_and_answered_over_http1(shared):
    gw, origin = shared(lambda s: s.answer(200, [("x-kind", "h2"), ("etag", '"1"')], b"hello"))
    answer = gw.ask("/a?b=c", headers=[("X-Own", "1"), ("Connection", "close, x-hop"), ("X-Hop", "2")])
    assert (answer.status, answer.body, answer.get("x-kind")) == (200, b"hello", "h2")
    assert answer.reason == "OK"
    (asked,) = origin.requests
    assert (asked.method, asked.path, asked.get(":scheme")) == ("GET", "/a?b=c", "http")
    assert asked.get(":authority") == "test" and asked.get("host") is None
    assert asked.get("x-own") == "1" and asked.get("x-hop") is None
    assert asked.get("x-forwarded-for") == "127.0.0.1"
    assert asked.get("connection") is None and asked.get("te") is None
    assert not origin.errors


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS"])
def test_answers_without_content(shared, method):
    gw, origin = shared(lambda s: s.answer(200 if s.path == "/" else int(s.path[1:])))
    for path, status in (("/", 200), ("/204", 204), ("/304", 304), ("/404", 404)):
        answer = gw.ask(path, method=method)
        assert (answer.status, answer.body) == (status, b"")
        if method != "HEAD" and status in (200, 404):
            assert answer.get("content-length") == "0"
    assert len(origin.connections) == 1


def test_a_head_answer_keeps_its_length(shared):
    gw, _ = shared(lambda s: s.answer(200, [("content-length", "1234")]))
    answer = gw.ask("/", method="HEAD")
    assert (answer.status, answer.get("content-length")) == (200, "1234")


@pytest.mark.parametrize("length", [True, False])
def test_large_answers_arrive_whole(shared, length):
    body = bytes(range(256)) * 12000  # 3 MB: many windows
    head = [("content-length", str(len(body)))] if length else []
    gw, _ = shared(lambda s: s.answer(200, head, body))
    answer = gw.ask("/")
    assert hashlib.sha256(answer.body).digest() == hashlib.sha256(body).digest()
    assert answer.has("content-length") == length


@pytest.mark.parametrize("size", [0, 1, 3000, 20000, 3 * MIB])
@pytest.mark.parametrize("chunked", [False, True])
def test_request_bodies_arrive_whole(shared, size, chunked):
    body = (b"0123456789abcdef" * (size // 16 + 1))[:size]

    def handler(s):
        got = s.body()
        s.answer(200, body=hashlib.sha256(got).hexdigest().encode() + b" %d" % len(got))

    gw, origin = shared(handler, settings={SettingCodes.INITIAL_WINDOW_SIZE: 70000})
    with gw.client() as c:
        if chunked:
            c.send(request("/", "POST", [("Transfer-Encoding", "chunked")]))
            for at in range(0, size, 50000):
                part = body[at : at + 50000]
                c.send(b"%x\r\n%s\r\n" % (len(part), part))
            c.send(b"0\r\n\r\n")
        else:
            c.send(request("/", "POST", [("Content-Length", str(size))]) + body)
        answer = c.answer()
    assert answer.body == hashlib.sha256(body).hexdigest().encode() + b" %d" % size
    assert origin.requests[0].get("transfer-encoding") is None
    assert origin.requests[0].get("content-length") == (None if chunked else str(size))


def test_interim_answers_pass(shared):
    def handler(s):
        s.answer(103, [("link", "</a.css>; rel=preload")], end=False)
        s.answer(200, body=b"done")

    gw, _ = shared(handler)
    answer = gw.ask("/")
    assert answer.body == b"done"
    assert [(i.status, i.get("link")) for i in answer.interim] == [(103, "</a.css>; rel=preload")]


def test_expect_continue_is_the_servers_to_answer(shared):
    def handler(s):
        s.answer(100, end=False)
        s.answer(200, body=s.body())

    gw, _ = shared(handler)
    with gw.client() as c:
        c.send(request("/", "POST", [("Content-Length", "5"), ("Expect", "100-continue")]))
        assert c.head().startswith(b"HTTP/1.1 100")
        c.send(b"hello")
        assert c.answer().body == b"hello"


def test_a_head_may_come_before_the_request_is_complete(shared):
    """Both directions flow at once, each piece is echoed before the next is sent."""

    def handler(s):
        s.answer(200, end=False)
        while piece := s.read():
            s.send(piece)

    gw, _ = shared(handler)
    with gw.client() as c:
        c.send(request("/", "POST", [("Transfer-Encoding", "chunked")]))
        assert b" 200 " in c.head()
        for i in range(20):
            c.send(b"4\r\n%04d\r\n" % i)
            assert c.until(b"%04d\r\n" % i) == b"4\r\n%04d\r\n" % i
        c.send(b"0\r\n\r\n")
        assert c.until(b"0\r\n\r\n") == b"0\r\n\r\n"


def test_an_answer_may_end_before_the_request(shared):
    def handler(s):
        s.read()
        s.answer(403, body=b"enough")

    gw, origin = shared(handler)
    with gw.client() as c:
        c.send(request("/", "POST", [("Content-Length", str(64 * MIB))]) + b"x" * 1000)
        answer = c.answer()
    assert (answer.status, answer.body) == (403, b"enough")
    wait_for("the stream is reset", lambda: origin.requests[0].reset_code is not None)
    assert gw.ask("/").status in (200, 403)
    assert len(origin.connections) == 1


# ------------------------------------------------------------------------------------- one connection


def test_requests_at_the_same_time_share_a_connection(shared):
    together = threading.Barrier(20)

    def handler(s):
        together.wait(PATIENCE)
        s.answer(200, body=s.path.encode())

    gw, origin = shared(handler)
    answers = at_once(gw, 20, simple)
    assert [a.body for a in answers] == [b"/%d" % i for i in range(20)]
    assert len(origin.connections) == 1
    assert gw.metric("vivace_upstream_connects_total", service="app") == 1
    assert gw.metric("vivace_upstream_reuses_total", service="app") == 19


def test_more_streams_than_the_server_takes_go_to_another_connection(shared):
    together = threading.Barrier(12)

    def handler(s):
        if s.path != "/first":
            together.wait(PATIENCE)
        s.answer(200, body=s.path.encode())

    gw, origin = shared(handler, settings={SettingCodes.MAX_CONCURRENT_STREAMS: 4})
    gw.ask("/first")
    answers = at_once(gw, 12, simple)
    assert [a.status for a in answers] == [200] * 12
    assert 2 <= len(origin.connections) <= 3  # a new one takes some before it says how many


def test_a_burst_before_the_server_has_said_how_many_it_takes(shared):
    """It refuses what is too much; none of it fails, and the next connections begin with less."""
    open_now, lock = {}, threading.Lock()

    def handler(s):
        with lock:
            mine = open_now.setdefault(s.conn.number, set())
            mine.add(s.id)
            full = len(mine) > 10
        if full:
            s.reset(ErrorCodes.REFUSED_STREAM)
        else:
            time.sleep(0.2)
            s.answer(200, body=b"x")
        with lock:
            mine.discard(s.id)

    gw, _ = shared(handler, settings={SettingCodes.MAX_CONCURRENT_STREAMS: 10})
    assert [a.status for a in at_once(gw, 40, simple)] == [200] * 40
    assert len(open_now) <= 5


def test_streams_that_were_refused_are_asked_again(shared):
    """Before the server has said how many streams it takes, too many are asked for."""
    refused = set()

    def handler(s):
        if s.conn.number == 0 and len(refused) < 3:
            refused.add(s.id)
            s.reset(ErrorCodes.REFUSED_STREAM)
        else:
            s.answer(200, body=s.body())

    gw, origin = shared(handler)

    def ask(c, i):
        c.send(request("/", "POST", [("Content-Length", "2")]) + b"%02d" % i)
        return c.answer()

    answers = at_once(gw, 8, ask)
    assert [a.status for a in answers] == [200] * 8
    assert [a.body for a in answers] == [b"%02d" % i for i in range(8)]
    assert len(refused) == 3


def test_a_server_that_refuses_for_ever_is_not_asked_for_ever(shared):
    gw, origin = shared(lambda s: s.reset(ErrorCodes.REFUSED_STREAM))
    assert gw.ask("/").status == 502
    assert len(origin.requests) == 2


def test_a_connection_that_says_goaway_is_left(shared):
    def handler(s):
        if s.path == "/leave":
            s.conn.goaway(s.id)
        s.answer(200, body=b"%d" % s.conn.number)

    gw, origin = shared(handler)
    assert gw.ask("/").body == b"0"
    assert gw.ask("/leave").body == b"0"
    assert gw.ask("/").body == b"1"
    wait_for("the first one is closed", lambda: origin.connections[0].over)


def test_requests_behind_a_goaway_are_asked_elsewhere(shared):
    """POST, too: the server says that it has not looked at them."""

    def handler(s):
        body = s.body()
        if s.conn.number == 0 and s.id > 1:
            s.conn.goaway(1)
            time.sleep(PATIENCE)
        s.answer(200, body=body + b" on %d" % s.conn.number)

    gw, _ = shared(handler)
    for i in range(3):
        answer = gw.ask("/", method="POST", body=b"n%d" % i)
        assert (answer.status, answer.body) == (200, b"n%d on %d" % (i, min(i, 1)))


def test_a_connection_that_breaks_fails_its_streams(shared):
    def handler(s):
        if s.path == "/cut":
            s.answer(200, body=b"some", end=False)
            time.sleep(0.1)
            s.conn.close()
        time.sleep(PATIENCE)

    gw, _ = shared(handler)
    with gw.client() as one, gw.client() as two:
        two.send(request("/wait", "POST", [("Content-Length", "0")]))
        time.sleep(0.1)
        one.send(request("/cut"))
        rest = one.rest()
        assert b" 200 " in rest and not rest.endswith(b"0\r\n\r\n")
        assert two.answer().status == 502
    gw.books_balance()


def test_a_connection_that_died_while_idle_costs_nothing(shared):
    gw, origin = shared(lambda s: s.answer(200, body=b"%d" % s.conn.number))
    for i in range(5):
        assert gw.ask("/").body == b"%d" % i
        origin.connections[i].close()
        time.sleep(0.02)


def test_an_idle_connection_is_closed_after_its_time(shared):
    gw, origin = shared(service={"keepalive_time": "1s"})
    gw.ask("/")
    wait_for("it is closed", lambda: origin.connections[0].over, 5)
    assert gw.ask("/").status == 200


def test_a_server_that_speaks_nonsense_is_an_error(gateway, origin):
    server = origin(lambda conn: conn.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"))
    gw = gateway(
        {
            "services": {"app": {"servers": [server.url], "http2": True}},
            "routes": [{"path": "/", "to": "app"}],
        }
    )
    assert gw.ask("/").status == 502


# --------------------------------------------------------------------------------- times and pressure


def test_timeouts_hold_for_each_stream(shared):
    def handler(s):
        if s.path == "/slow":
            s.read()
            s.events.get(timeout=PATIENCE)
        elif s.path == "/stuck":
            s.answer(200, body=b"some", end=False)
            s.read()
            s.events.get(timeout=PATIENCE)
        else:
            s.answer(200, body=b"fine")

    gw, origin = shared(handler, route={"timeouts": {"first_byte": "300ms", "idle": "300ms"}}, service={"retries": 0})
    assert gw.ask("/slow").status == 504
    assert gw.ask("/").body == b"fine"
    with gw.client() as c:
        c.send(request("/stuck"))
        assert not c.rest().endswith(b"0\r\n\r\n")
    for asked in origin.requests[0], origin.requests[2]:
        wait_for("its stream was reset", lambda a=asked: a.reset_code is not None)
    assert len(origin.connections) == 1


def test_a_client_that_leaves_resets_its_stream(shared):
    def handler(s):
        s.answer(200, body=b"x" * 1000, end=False)
        s.read()
        s.events.get(timeout=PATIENCE)

    gw, origin = shared(handler)
    with gw.client() as c:
        c.send(request("/"))
        c.head()
        c.reset()
    wait_for("reset", lambda: origin.requests and origin.requests[0].reset_code is not None)
    assert origin.requests[0].reset_code == ErrorCodes.CANCEL
    assert len(origin.connections) == 1 and not origin.connections[0].over


def test_a_slow_client_holds_its_stream_and_no_other(shared):
    sent = [0]

    def handler(s):
        if s.path != "/big":
            s.answer(200, body=b"y" * 300000)
            return
        s.answer(200, end=False)
        for _ in range(64):
            s.send(b"x" * MIB)
            sent[0] += MIB

    gw, origin = shared(handler)
    before = memory_kib(gw.worker(), "RssAnon")
    with gw.client(recv_buffer=4096) as slow:
        slow.send(request("/big"))
        slow.head()
        time.sleep(0.5)
        for _ in range(3):
            assert len(gw.ask("/").body) == 300000
        stuck = sent[0]
        assert stuck <= 8 * MIB, "the server must be held back"
        assert memory_kib(gw.worker(), "RssAnon") - before < 6000
    assert len(origin.connections) == 1


def test_a_slow_server_holds_back_its_client(shared):
    gate = threading.Event()

    def handler(s):
        gate.wait(PATIENCE)
        s.answer(200, body=b"%d" % len(s.body()))

    gw, _ = shared(handler, settings={SettingCodes.INITIAL_WINDOW_SIZE: MIB})
    total = 16 * MIB
    sent = [0]
    with gw.client() as c:
        c.send(request("/", "POST", [("Content-Length", str(total))]))

        def push():
            while sent[0] < total:
                sent[0] += c.sock.send(b"z" * 65536)

        t = threading.Thread(target=push)
        t.start()
        time.sleep(0.5)
        assert sent[0] < 12 * MIB
        gate.set()
        t.join(PATIENCE)
        assert c.answer().body == b"%d" % total


# ------------------------------------------------------------------------------------ with the others


def test_what_may_be_cached_is_cached(shared):
    gw, origin = shared(
        lambda s: s.answer(200, [("cache-control", "max-age=60")], b"c" * 100000),
        route={"cache": True},
    )
    first, second = gw.ask("/"), gw.ask("/")
    assert first.body == second.body == b"c" * 100000
    assert len(origin.requests) == 1


def test_many_wait_for_one_fetch(shared):
    gate = threading.Event()

    def handler(s):
        gate.wait(PATIENCE)
        s.answer(200, [("cache-control", "max-age=60")], b"d" * 200000)

    gw, origin = shared(handler, route={"cache": True})

    def ask(c, i):
        c.send(request("/same"))
        if i == 9:
            time.sleep(0.2)
            gate.set()
        return c.answer()

    answers = at_once(gw, 10, ask)
    assert [len(a.body) for a in answers] == [200000] * 10
    assert len(origin.requests) == 1


def test_compressed_on_the_way(shared):
    gw, _ = shared(
        lambda s: s.answer(200, [("content-type", "text/plain")], b"word " * 20000),
        route={"compress": True},
    )
    answer = gw.ask("/", headers=[("Accept-Encoding", "gzip")])
    assert answer.get("content-encoding") == "gzip" and len(answer.body) < 5000


def test_a_failed_attempt_goes_to_another_server(shared):
    def handler(s):
        if s.path == "/bad" and s.conn.origin is bad[0]:
            s.reset(ErrorCodes.INTERNAL_ERROR)
        else:
            s.answer(200, body=b"ok")

    bad = [None]
    gw, origins = shared(handler, origins=2, service={"balance": "round_robin"})
    bad[0] = origins[0]
    assert [gw.ask("/bad").status for _ in range(4)] == [200] * 4
    assert any(s.path == "/bad" for s in origins[0].requests)


def test_the_log_and_the_numbers_are_those_of_any_server(shared):
    gw, _ = shared(lambda s: s.answer(503 if s.path == "/503" else 200, body=b"x"))
    gw.ask("/")
    gw.ask("/503")
    assert gw.metric("vivace_upstream_requests_total", service="app", status="200") == 1
    assert gw.metric("vivace_upstream_requests_total", service="app", status="503") == 1
    gw.books_balance()


def test_a_reload_and_a_stop_let_go_of_connections(shared):
    gw, origin = shared()
    gw.ask("/")
    gw.reload()
    assert gw.ask("/").status == 200
    gw.stop()
    wait_for("closed", lambda: all(c.over for c in origin.connections))
    assert not origin.errors


def test_a_hedge_wins_and_the_slow_stream_is_reset(shared):
    """The delay of a hedge is known a second after its first hundred answers."""
    slow = [None]

    def handler(s):
        if s.conn.origin is slow[0] and s.path == "/race":
            s.read()
            s.events.get(timeout=PATIENCE)
        s.answer(200, body=b"quick")

    gw, origins = shared(
        handler,
        origins=2,
        service={"hedge": {"min": "20ms", "max": "50ms"}, "retries": {"budget": "100%", "floor": 50}},
    )
    with gw.client() as c:
        for _ in range(120):
            c.ask("/")
        time.sleep(1.1)
        c.ask("/")
        slow[0] = origins[0]
        for _ in range(4):
            assert c.ask("/race").body == b"quick"
    lost = [s for s in origins[0].requests if s.path == "/race"]
    assert lost
    wait_for("the losers were reset", lambda: all(s.reset_code is not None for s in lost))
    assert len(origins[0].connections) == 1


def test_probes_are_http2_as_well(shared):
    well = [True]

    def handler(s):
        s.answer(200 if s.path != "/health" or well[0] else 500, body=b"x")

    gw, origin = shared(handler, service={"check": {"path": "/health", "every": "200ms", "timeout": "150ms", "fails": 1}})
    wait_for("it is asked", lambda: any(s.path == "/health" for s in origin.requests))
    probe = next(s for s in origin.requests if s.path == "/health")
    assert (probe.method, probe.get("user-agent")) == ("GET", "vivace-check")
    assert gw.ask("/").status == 200
    well[0] = False
    wait_for("it is out", lambda: gw.ask("/").status == 503)
    well[0] = True
    wait_for("it is back", lambda: gw.ask("/").status == 200)
    assert not origin.errors


# --------------------------------------------------------------------------------------------- faults


@pytest.fixture
def faulty(shared):
    def make(handler, **config):
        entry = {"retries": 0, "max_fails": 0, "outlier": {"consecutive": 0, "success_rate": False}}
        return shared(handler, route=dict({"name": "app"}, **config), service=entry, chaos=CHAOS)

    return make


def test_ordered_faults_strike_streams_one_by_one(faulty):
    gw, origin = faulty(lambda s: s.answer(200, body=b"b" * 50000))
    assert gw.ask("/").status == 200
    for fault, status in (("abort", 502), ("drop", 502), ("reset", 502)):
        more = {"status": 502} if fault == "abort" else {}
        order(gw, fault=fault, **{"for": "1s"}, **more)
        assert gw.ask("/").status == status, fault
        wait_for("the fault is over", lambda: gw.metric("vivace_faults_active") == 0)
    began = time.monotonic()
    order(gw, fault="delay", delay="300ms", **{"for": "1s"})
    assert len(gw.ask("/").body) == 50000
    assert time.monotonic() - began >= 0.3
    assert len(origin.connections) == 1
    gw.books_balance()


def test_a_truncated_stream_does_not_look_whole(faulty):
    gw, origin = faulty(lambda s: s.answer(200, body=b"b" * 50000))
    order(gw, fault="truncate")
    with gw.client() as c:
        c.send(request("/"))
        rest = c.rest()
    assert b" 200 " in rest and not rest.endswith(b"0\r\n\r\n")
    wait_for("its stream has ended", lambda: origin.requests)


# ------------------------------------------------------------------------------------------------ TLS


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(str(tmp_path_factory.mktemp("ca")), "root")


@pytest.fixture(scope="module")
def local(ca):
    return ca.cert("local", "IP:127.0.0.1")


def context(cert, *protocols):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    c.load_cert_chain(*cert)
    c.set_alpn_protocols(list(protocols))
    return c


def behind(gateway, server, ca):
    return gateway(
        {
            "workers": 1,
            "services": {"app": {"servers": [server.url], "http2": True, "tls": {"ca": ca.pem}}},
            "routes": [{"path": "/", "to": "app"}],
        }
    )


def test_over_tls_the_server_chooses_http2(gateway, stack, ca, local):
    origin = H2Origin(lambda s: s.answer(200, body=s.body()), tls=context(local, "h2", "http/1.1"))
    stack.append(origin)
    gw = behind(gateway, origin, ca)
    body = b"t" * 500000
    for _ in range(3):
        assert gw.ask("/", method="POST", body=body).body == body
    assert len(origin.connections) == 1
    assert origin.requests[0].get(":scheme") == "https"
    assert gw.metrics().sum("vivace_upstream_tls_handshakes_total") == 1


@pytest.mark.parametrize("says", [True, False])
def test_a_server_that_knows_no_http2_is_asked_over_http1(gateway, stack, ca, local, says):
    def handler(conn):
        while True:
            asked = conn.read_request()
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(asked.body), asked.body))

    origin = TlsOrigin(local, handler)
    if says:
        origin.context.set_alpn_protocols(["http/1.1"])
    stack.append(origin)
    gw = behind(gateway, origin, ca)
    for i in range(5):
        answer = gw.ask("/", method="POST", body=b"p%d" % i)
        assert (answer.status, answer.body) == (200, b"p%d" % i)
    assert len(origin.seen) <= 2, "the choice is remembered"


def test_a_switch_of_protocols_has_a_connection_of_its_own(gateway, stack, ca, local):
    def handler(conn):
        conn.read_request()
        conn.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        conn.send(conn.take(5))

    origin = TlsOrigin(local, handler)
    origin.context.set_alpn_protocols(["h2", "http/1.1"])
    stack.append(origin)
    gw = behind(gateway, origin, ca)
    with gw.client() as c:
        c.send(request("/", headers=[("Connection", "upgrade"), ("Upgrade", "echo")]))
        assert c.head().startswith(b"HTTP/1.1 101")
        c.send(b"hello")
        assert c.take(5) == b"hello"


def test_a_server_that_does_not_prove_itself_is_not_asked(gateway, stack, ca, tmp_path):
    other = Authority(str(tmp_path), "other")
    origin = H2Origin(tls=context(other.cert("local", "IP:127.0.0.1"), "h2"))
    stack.append(origin)
    answer = behind(gateway, origin, ca).ask("/")
    assert answer.status == 502 and b"connect_tls" in answer.body
    assert not origin.requests


def test_a_stream_that_wants_http1_is_asked_that_way(gateway, stack, ca, local):
    origin = H2Origin(lambda s: s.reset(ErrorCodes.HTTP_1_1_REQUIRED), tls=context(local, "h2", "http/1.1"))
    stack.append(origin)
    gw = behind(gateway, origin, ca)
    gw.ask("/", method="POST", body=b"x")
    wait_for("it was asked over HTTP/1.1", lambda: len(origin.connections) == 2)
    assert len(origin.requests) == 1
