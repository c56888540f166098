# tests/integration/test_faults.py - servers and clients that fail, at every moment, under load.
"""The fault matrix: what a server can do wrong times when it does it.

Each cell runs load against a route whose only server misbehaves, and beside it load on a route that is
fine. Every client gets a defined outcome, the good route does not suffer, and the counters add up.
"""

import signal
import socket
import time

import pytest

from harness import SCALE, Closed, free_port, ok, request, wait_for

# The timeouts under test: short against PATIENCE, long against what a loaded machine may delay.
WAIT = 1.5 * max(1.0, SCALE / 2)


def timeouts(seconds):
    return {name: f"{int(seconds * 1000)}ms" for name in ("connect", "first_byte", "idle")}


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n"
BODY = b"b" * 2000


def at_connect(conn):
    pass


def after_request(conn):
    conn.read_request()


def mid_head(conn):
    conn.read_request()
    conn.send(HEAD[:24])


def mid_body(conn):
    conn.read_request()
    conn.send(HEAD + b"\r\n" + BODY[:1000])


MOMENTS = {"connect": at_connect, "request": after_request, "head": mid_head, "body": mid_body}


def close(conn, moment):
    conn.close()


def hang(conn, moment):
    conn.sleep(60)


def reset(conn, moment):
    conn.reset()


def half_close(conn, moment):
    conn.half_close()
    conn.sleep(WAIT * 3)


def garble(conn, moment):
    if moment == "body":  # bytes of a body cannot be wrong: break the coding instead
        conn.send(b"")
    conn.send(b"\x00\xff\r\n\x01garbage\r\n\r\n" * 50)
    conn.sleep(WAIT * 3)


def slow(conn, moment):
    """Late, but in time: a pause is a small part of what is allowed."""
    pause = WAIT / 4
    conn.sleep(pause)
    if moment == "connect":
        conn.read_request()
    if moment in ("connect", "request"):
        conn.send(HEAD[:24])
        conn.sleep(pause)
    if moment != "body":
        conn.send(HEAD[24:] + b"\r\n" + BODY[:1000])
        conn.sleep(pause)
    conn.send(BODY[1000:])
    conn.sleep(0.02)


FAULTS = {"killed": close, "hanging": hang, "resetting": reset, "half-closing": half_close, "garbling": garble, "slow": slow}


def expected(fault, moment):
    """(status or None for a cut, reason)."""
    if fault == "slow":
        return 200, None
    if moment == "body":
        return None, "idle_timeout" if fault == "hanging" else "server"
    if fault == "hanging":
        return 504, "first_byte_timeout"
    return 502, "server"


def chunked_garble(conn):
    """Mid body, chunked: a size that is none."""
    conn.read_request()
    conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n" + BODY[:1024] + b"\r\nzz\r\n")
    conn.sleep(WAIT * 3)


CELLS = [(f, m) for f in FAULTS for m in MOMENTS]


@pytest.mark.parametrize("fault, moment", CELLS, ids=[f"{f}-{m}" for f, m in CELLS])
def test_fault_matrix(gateway, origin, app, load, fault, moment):
    def handler(conn):
        if fault == "garbling" and moment == "body":
            chunked_garble(conn)
            return
        MOMENTS[moment](conn)
        FAULTS[fault](conn, moment)

    bad, good = origin(handler), app()
    gw = gateway(
        {
            # only what hangs may meet a timeout, however slow the machine is; what is slow needs one
            # that each of its pauses keeps well within
            "defaults": {"timeouts": timeouts(WAIT if fault == "hanging" else WAIT * 6)},
            "services": {"bad": {"servers": [bad.url], "max_fails": 0}, "good": [good.url]},
            "routes": [{"path": "/bad", "to": "bad"}, {"path": "/", "to": "good"}],
        }
    )
    fine = load(gw.port, connections=4, rate=200)
    hurt = load(gw.port, connections=8, path="/bad", seconds=1.0)
    hurt = hurt.wait()
    fine = fine.finish()
    status, reason = expected(fault, moment)
    print("hurt", hurt, "\nfine", fine)

    if status is not None:
        assert set(hurt["statuses"]) == {str(status)}, hurt
        assert hurt["lost"] == 0, hurt
    else:
        # cut inside the answer, or before its first byte when head and fault came together
        assert hurt["answered"] == 0, hurt
        assert set(hurt["errors"]) <= {"cut_answer", "cut_fresh"}, hurt
    assert hurt["answered"] + hurt["lost"] >= 8, "the load must have moved on"

    assert set(fine["statuses"]) == {"200"} and fine["lost"] == 0 and fine["stale"] == 0, fine
    assert fine["max_ms"] < max(WAIT, 1.5 * SCALE) * 1000, "a worker stalled"

    gw.books_balance()
    m = gw.metrics()
    assert m.sum("http_requests_total", route="/bad") == hurt["answered"]
    assert m.sum("vivace_http_requests_aborted_total", route="/bad") == hurt["lost"]
    assert m.sum("http_requests_total", route="/") == fine["answered"]
    if reason and reason.endswith("timeout"):
        assert m.sum("vivace_timeouts_total") > 0
    if reason == "idle_timeout":
        assert m.sum("vivace_http_requests_aborted_total", reason="idle_timeout") > 0
    if status == 200:
        assert m.sum("vivace_timeouts_total") == 0


def test_a_server_that_refuses_is_502(gateway, load):
    gw = gateway(
        {
            "services": {"gone": {"servers": [f"127.0.0.1:{free_port()}"], "max_fails": 0}},
            "routes": [{"path": "/", "to": "gone"}],
        }
    )
    report = load(gw.port, connections=4, seconds=0.5).wait()
    assert set(report["statuses"]) == {"502"} and report["lost"] == 0
    gw.books_balance()


def test_a_server_that_never_accepts_is_504(gateway, load):
    """A full backlog: the connection is never made."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen(0)
        fill = [socket.socket() for _ in range(3)]
        for f in fill:
            f.setblocking(False)
            f.connect_ex(s.getsockname())
        gw = gateway(
            {
                "defaults": {"timeouts": timeouts(WAIT)},
                "services": {"full": {"servers": [f"127.0.0.1:{s.getsockname()[1]}"], "max_fails": 0, "retries": 0}},
                "routes": [{"path": "/", "to": "full"}],
            }
        )
        begin = time.monotonic()
        assert gw.ask("/").status == 504
        assert time.monotonic() - begin < WAIT * 3 + 1
        assert gw.metric("vivace_timeouts_total") == 1
        labels = [x["wait"] for x in gw.metrics().labels("vivace_timeouts_total")]
        assert any("connect" in x for x in labels), labels
        for f in fill:
            f.close()
    gw.books_balance()


@pytest.mark.parametrize(
    "wait, status", [("first_byte", 504), ("idle", None), ("whole", 504), ("whole-body", None)]
)
def test_each_wait_for_a_server_has_its_own_timeout(proxy, wait, status):
    def handler(conn):
        conn.read_request()
        if wait in ("idle", "whole-body"):
            conn.send(HEAD + b"\r\n" + BODY[:10])
        if wait == "whole-body":
            while True:  # never idle, never done
                conn.send(b"x")
                conn.sleep(WAIT / 10)
        conn.sleep(30)

    limit = f"{int(WAIT * 1000)}ms"
    if wait.startswith("whole"):
        extra = {"route": {"timeout": limit}}
    else:
        extra = {"defaults": {"timeouts": {wait: limit}}}
    gw, _ = proxy(handler, **extra)
    begin = time.monotonic()
    with gw.client() as c:
        if status:
            assert c.ask("/").status == status
        else:
            with pytest.raises(Closed):
                c.ask("/")
    took = time.monotonic() - begin
    assert WAIT * 0.9 <= took < WAIT * 4 + 1
    m = gw.metrics()
    named = {"first_byte": "first_byte", "idle": "idle", "whole": "whole", "whole-body": "whole"}[wait]
    hits = {x["wait"]: m.sum("vivace_timeouts_total", wait=x["wait"]) for x in m.labels("vivace_timeouts_total")}
    hits = {k: v for k, v in hits.items() if v}
    assert list(hits.values()) == [1] and (named in next(iter(hits)) or next(iter(hits)) == "timeout"), hits
    gw.books_balance()


def test_a_slow_head_is_408(proxy):
    gw, origin = proxy(defaults={"timeouts": {"header": f"{int(WAIT * 1000)}ms"}})
    with gw.client() as c:
        c.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
        begin = time.monotonic()
        answer = c.answer()
        assert answer.status == 408 and answer.get("Connection").lower() == "close"
        assert time.monotonic() - begin < WAIT * 4 + 1
        assert c.rest() == b""
    assert gw.metric("vivace_timeouts_total") == 1
    assert origin.requests == []


def test_a_dribbled_head_is_408_all_the_same(proxy):
    """Slowloris: a byte now and then must not extend the time for the head."""
    gw, _ = proxy(defaults={"timeouts": {"header": f"{int(WAIT * 1000)}ms"}})
    with gw.client() as c:
        c.sock.settimeout(WAIT / 8)
        begin = time.monotonic()
        c.send(b"GET / HTTP/1.1\r\n")
        while time.monotonic() - begin < WAIT * 4 + 1:
            try:
                c.send(b"X")
                c.more()
                break
            except (TimeoutError, socket.timeout):
                continue
            except OSError:
                break
        assert c.buf.startswith(b"HTTP/1.1 408")
        assert time.monotonic() - begin < WAIT * 4 + 1


def test_a_slow_body_is_408(proxy):
    gw, origin = proxy(defaults={"timeouts": {"body": f"{int(WAIT * 1000)}ms"}})
    with gw.client() as c:
        c.send(request("/", "POST", {"Content-Length": "100"}) + b"only some")
        answer = c.answer("POST")
        assert answer.status == 408 and answer.get("Connection", "").lower() == "close"
        assert c.rest() == b""
    assert gw.metric("vivace_timeouts_total") == 1
    gw.books_balance()


def test_a_client_that_does_not_read_is_cut(proxy):
    def handler(conn):
        conn.read_request()
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        while True:
            conn.send(b"x" * 65536)

    gw, _ = proxy(handler, defaults={"timeouts": {"send": f"{int(WAIT * 1000)}ms", "idle": "60s"}})
    with gw.client(recv_buffer=4096) as c:
        c.send(request("/"))
        wait_for(
            "the cut", lambda: gw.metric("vivace_http_requests_aborted_total", reason="send_timeout") == 1, 5 + WAIT * 4
        )
    gw.books_balance()


def test_clients_that_leave_at_any_moment_are_counted(gateway, app):
    """Aborts by clients in a hurry: the books still balance and nothing is left open."""
    server = app()
    gw = gateway({"services": {"a": [server.url]}, "routes": [{"path": "/", "to": "a"}]})
    data = request("/delay/20", "POST", body=b"x" * 2000)
    for cut in list(range(1, len(data), 97)) + [len(data)] * 10:
        with gw.client() as c:
            c.send(data[:cut])
            if cut % 2:
                c.reset()
    wait_for("nothing in flight", lambda: gw.metric("vivace_http_requests_in_flight") == 0)
    gw.books_balance()
    wait_for("no connection left", lambda: gw.metric("vivace_connections") == 0)
    assert gw.ask("/").status == 200


@pytest.mark.slow
def test_killing_and_starting_servers_under_load(gateway, app, load):
    """Two servers, one is killed with -9 and comes back, then the other: mostly nobody notices."""
    servers = [app(), app()]
    gw = gateway(
        {
            "services": {"a": {"servers": [s.url for s in servers], "fail_timeout": "1s"}},
            "routes": [{"path": "/", "to": "a"}],
        }
    )
    run = load(gw.port, connections=16, rate=400)
    for victim in (0, 1, 0, 1):
        port = servers[victim].port
        servers[victim].process.send_signal(signal.SIGKILL)
        servers[victim].process.wait()
        time.sleep(0.5)
        servers[victim] = app(port=port)
        # it is used again: its own counter moves
        wait_for("the server is back", lambda: servers[victim].stats()["requests"] > 0, 15)
    report = run.finish()
    print(report)
    assert set(report["statuses"]) <= {"200", "502"}, report
    # requests in flight on the killed one are GETs: sent again elsewhere
    assert report["statuses"].get("502", 0) == 0, report
    assert report["lost"] == 0
    gw.books_balance()


@pytest.mark.slow
def test_a_frozen_server_does_not_stop_the_others(gateway, app, load):
    frozen, fine = app(), app()
    gw = gateway(
        {
            "defaults": {"timeouts": timeouts(WAIT)},
            "services": {"a": {"servers": [frozen.url, fine.url], "fail_timeout": "30s", "max_fails": 3}},
            "routes": [{"path": "/", "to": "a"}],
        }
    )
    run = load(gw.port, connections=16, rate=300)
    time.sleep(0.5)
    frozen.pause()
    time.sleep(WAIT * 2 + 1)
    run = run.finish()
    frozen.resume()
    print(run)
    assert set(run["statuses"]) <= {"200", "504"} and run["lost"] == 0
    assert run["statuses"].get("504", 0) < run["answered"] / 5
    assert gw.metric("vivace_upstream_ejected_total") >= 1
    gw.books_balance()


def test_garbage_from_clients_never_hurts_others(proxy, load):
    gw, origin = proxy(answer=lambda r: ok())
    run = load(gw.port, connections=4, rate=200)
    rubbish = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
        b"GET / HTTP/1.1\r\n" * 50,
        b"\r\n" * 5000,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        b"PRI * HTTP/2.0\r\n\r\nS\r\n\r\n",
        bytes(range(256)) * 10,
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n",
        b" GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ]
    for data in rubbish * 3:
        with gw.client() as c:
            try:
                c.send(data)
                c.half_close()
                got = c.rest()
            except (OSError, Closed):
                continue
            assert got == b"" or got.startswith(b"HTTP/1.1 "), got[:40]
            assert b" 200 " not in got.split(b"\r\n")[0]
    report = run.finish()
    assert set(report["statuses"]) == {"200"} and report["lost"] == 0
    assert gw.metric("vivace_http_bad_requests_total") >= 12
    gw.books_balance()
