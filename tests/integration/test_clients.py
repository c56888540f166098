# tests/integration/test_clients.py - hostile clients: who may connect, who is too slow, who must make room.
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time

import pytest

import harness
from harness import SCALE, Client, Closed, ok, request, wait_for
from http2_client import H2, MAGIC

LONG = os.environ.get("VIVACE_LONG") == "1"
HELLO = [{"respond": {"body": "x"}}]


def web(clients, routes=None, workers=2, **listen):
    return {"workers": workers, "listen": {"web": dict(listen, clients=clients)}, "routes": routes or HELLO}


def fares(gw, source="127.0.0.1", address="127.0.0.1", ask="/"):
    """How a new connection fares: 200, or "closed" without a byte."""
    try:
        with Client(gw.port, source=source, address=address) as c:
            return c.ask(ask).status
    except Closed as end:
        assert end.data == b"", end.data[:80]
        return "closed"
    except OSError:
        return "closed"


# -------------------------------------------------------------------------------- addresses and rates


def test_denied_addresses_get_not_a_byte(gateway, tmp_path):
    listed = tmp_path / "deny.txt"
    listed.write_text("# known\n127.0.1.0/24\n\n127.0.2.7 # this one\n")
    gw = gateway(web({"deny": ["127.0.3.3", f"@{listed}"]}))
    assert fares(gw) == 200
    assert fares(gw, "127.0.3.4") == 200
    assert fares(gw, "127.0.2.8") == 200
    for source in ("127.0.3.3", "127.0.1.1", "127.0.1.255", "127.0.2.7"):
        assert fares(gw, source) == "closed", source
    assert gw.metric("vivace_connections_refused_total", reason="denied") == 4
    listed.write_text("127.0.9.9\n")
    assert gw.reload().status == 200
    wait_for("the new list counts", lambda: fares(gw, "127.0.9.9") == "closed")
    assert fares(gw, "127.0.1.1") == 200


def test_only_allowed_addresses_get_in_and_deny_wins(gateway):
    gw = gateway(web({"allow": ["127.0.0.0/24"], "deny": ["127.0.0.66"]}))
    assert fares(gw, "127.0.0.9") == 200
    assert fares(gw, "127.0.1.9") == "closed"
    assert fares(gw, "127.0.0.66") == "closed"


def test_an_address_has_so_many_connections_on_all_workers_together(gateway):
    gw = gateway(web({"connections": 3}))
    held = [gw.client() for _ in range(3)]
    assert all(c.ask("/").status == 200 for c in held)
    assert fares(gw) == "closed"
    assert fares(gw, "127.0.0.2") == 200, "others have their own"
    assert all(c.ask("/").status == 200 for c in held), "those inside are not hurt"
    held.pop().close()
    wait_for("its place is free", lambda: fares(gw) == 200)
    assert gw.metric("vivace_connections_refused_total", reason="address_connections") >= 1
    top = gw.api("/clients")["clients"]
    mine = [c for c in top if c["address"] == "127.0.0.1"]
    assert mine and mine[0]["listener"] == "web" and mine[0]["connections"] >= 2 and mine[0]["refused"] >= 1
    for c in held:
        c.close()
    wait_for("none is left", lambda: not any(c["connections"] for c in gw.api("/clients")["clients"]))


def test_places_of_an_address_come_back_however_connections_end(gateway, origin):
    def answer(req):
        return None if req.target == "/cut" else ok(b"x" * 100)

    server = origin(answer=answer)
    gw = gateway(
        dict(
            web({"connections": 4}, routes=[{"path": "/r/*", "respond": {"body": "x"}}, {"path": "/", "to": "app"}]),
            services={"app": {"servers": [server.url]}},
        )
    )
    for i in range(8):
        cs = [gw.client() for _ in range(4)]
        cs[0].reset()
        cs[1].send(b"GARBAGE\r\n\r\n")
        cs[1].rest()
        cs[2].send(request("/cut"))
        cs[2].half_close()
        cs[2].rest()
        assert cs[3].ask("/r/1", headers={"Connection": "close"}).status == 200
        for c in cs:
            c.close()
        wait_for("all places are free", lambda: not any(c["connections"] for c in gw.api("/clients")["clients"]))
    gw.books_balance()


def test_new_connections_of_an_address_come_at_a_rate(gateway):
    gw = gateway(web({"new": "5/min", "burst": 3}))
    assert [fares(gw) for _ in range(5)] == [200, 200, 200, "closed", "closed"]
    assert fares(gw, "127.0.0.5") == 200
    assert gw.metric("vivace_connections_refused_total", reason="address_new") == 2
    with Client(gw.port, source="127.0.0.5") as c:
        assert [c.ask("/").status for _ in range(20)] == [200] * 20, "requests on one connection do not count"


def test_ipv6_clients_count_by_their_block(gateway):
    """All of ::1/64 is one client, and so is an IPv4 client of the same socket."""
    address = f"[::]:{harness.free_port('::')}"
    gw = gateway({"listen": {"web": {"address": address, "clients": {"connections": 2}}}, "routes": HELLO})
    with Client(gw.port, address="::1") as a, Client(gw.port, address="::1") as b:
        assert a.ask("/").status == b.ask("/").status == 200
        assert fares(gw, None, "::1") == "closed"
        assert fares(gw) == 200
        top = gw.api("/clients")["clients"]
        assert top[0]["address"] == "::/64" and top[0]["connections"] == 2


def test_too_much_garbage_is_a_ban_until_it_ends_or_is_lifted(gateway):
    gw = gateway(web({"malformed": "3/h", "ban": "1h"}))
    for _ in range(3):
        with Client(gw.port, source="127.0.0.7") as c:
            c.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
            assert c.answer().status == 400
    assert fares(gw, "127.0.0.7") == 200, "as many as the rate says are borne"
    with Client(gw.port, source="127.0.0.7") as c:
        c.send(b"\x00\x01\x02\r\n\r\n")
        c.rest()
    assert fares(gw, "127.0.0.7") == "closed"
    assert fares(gw, "127.0.0.8") == 200
    assert gw.metric("vivace_client_bans_total") == 1
    assert gw.metric("vivace_connections_refused_total", reason="banned") >= 1
    assert gw.api("/status")["clients_banned"] == 1
    for garbage in (1, 2, 3, 4):  # behind the magic words of HTTP/2 as well, in the first packet already
        with Client(gw.port, source="127.0.0.9") as c:
            c.send(MAGIC + b"\x00\x00\x00\x03\x00\x00\x00\x00\x00")
            c.rest()
    assert fares(gw, "127.0.0.9") == "closed"
    assert gw.api("/clients?address=127.0.0.9", "DELETE")["pardoned"] == 1
    top = gw.api("/clients")["clients"][0]
    assert top["address"] == "127.0.0.7" and top["malformed"] == 4 and top["banned_seconds"] > 3000
    assert gw.api("/clients?address=127.0.0.8", "DELETE")["pardoned"] == 0
    assert gw.api("/clients?address=127.0.0.7", "DELETE")["pardoned"] == 1
    assert fares(gw, "127.0.0.7") == 200
    assert gw.admin("/api/v1/clients?address=nonsense", "DELETE").status == 400


def test_full_handshakes_of_an_address_come_at_a_rate_and_resumed_ones_do_not_count(gateway):
    gw = gateway(
        {"listen": {"web": {"tls": "local", "clients": {"handshakes": "3/h", "burst": 3}}}, "routes": HELLO}
    )

    def shakes(source="127.0.0.1", session=None):
        context = shakes.context
        sock = socket.create_connection(("127.0.0.1", gw.port), harness.PATIENCE, (source, 0))
        try:
            with context.wrap_socket(sock, server_hostname="localhost", session=session) as c:
                c.sendall(request("/", headers={"Connection": "close"}))
                while c.recv(4096):
                    pass
                return c.session
        except OSError:
            return "closed"

    shakes.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    shakes.context.check_hostname = False
    shakes.context.verify_mode = ssl.CERT_NONE
    shakes.context.maximum_version = ssl.TLSVersion.TLSv1_2  # its session is there at once
    first = shakes()
    assert first != "closed" and first.has_ticket
    for _ in range(5):
        assert shakes(session=first) != "closed", "resumed"
    assert shakes() != "closed" and shakes() != "closed", "the second and the third"
    assert shakes() == "closed"
    assert shakes("127.0.0.2") != "closed"
    assert gw.metric("vivace_connections_refused_total", reason="address_handshakes") == 1


def test_trusted_proxies_are_excepted_and_speak_for_their_clients(gateway):
    gw = gateway(
        web(
            {"connections": 1, "deny": ["192.0.2.66"], "malformed": "1/h"},
            trust=["127.0.0.1"],
            proxy_protocol=True,
        )
    )

    def through(ip):
        c = gw.client()
        c.send(f"PROXY TCP4 {ip} 192.0.2.1 1000 80\r\n".encode() + request("/"))
        return c

    with through("192.0.2.10") as a, through("192.0.2.11") as b:
        assert a.answer().status == b.answer().status == 200, "one proxy, many connections"
        with through("192.0.2.10") as again:
            with pytest.raises(Closed):
                again.answer()
    with through("192.0.2.66") as denied:
        with pytest.raises(Closed):
            denied.answer()


def test_without_trust_the_address_of_the_header_counts_too(gateway):
    gw = gateway(web({"connections": 1}, proxy_protocol=True))
    with gw.client() as a, gw.client() as b, gw.client() as again:
        a.send(b"PROXY TCP4 192.0.2.10 192.0.2.1 1000 80\r\n" + request("/"))
        b.send(b"PROXY TCP4 192.0.2.11 192.0.2.1 1000 80\r\n" + request("/"))
        assert a.answer().status == b.answer().status == 200
        again.send(b"PROXY TCP4 192.0.2.10 192.0.2.1 1000 80\r\n" + request("/"))
        with pytest.raises(Closed):
            again.answer()


def test_nothing_is_counted_where_nothing_is_limited(gateway):
    gw = gateway(web({}))
    assert all(fares(gw) == 200 for _ in range(20))
    assert gw.api("/clients")["table"]["used"] == 0


# ---------------------------------------------------------------------------------------- slow ones

SLOW = {"min_rate": "1KB", "grace": "1s"}


def test_a_body_that_trickles_is_cut_off_and_one_that_flows_is_not(proxy):
    gw, server = proxy(listen={"clients": SLOW}, route={"timeouts": {"body": "20s"}})
    results = {}

    def upload(name, pieces, piece, pause, framing="length", kind="text/plain"):
        began = time.monotonic()
        with gw.client() as c:
            if framing == "length":
                c.send(request("/", "POST", {"Content-Length": str(pieces * len(piece))}))
            else:
                c.send(request("/", "POST", {"Transfer-Encoding": "chunked", "Content-Type": kind}))
            try:
                for _ in range(pieces):
                    c.send(piece if framing == "length" else b"%x\r\n%s\r\n" % (len(piece), piece))
                    time.sleep(pause)
                if framing != "length":
                    c.send(b"0\r\n\r\n")
                answer = c.answer()
                status = "cut" if answer.get("grpc-status") else answer.status  # an error in words of gRPC
            except (Closed, OSError):
                status = c.answer().status if b"HTTP/1.1 408" in c.buf else "cut"
            results[name] = (status, time.monotonic() - began)

    threads = [
        threading.Thread(target=upload, args=a)
        for a in (
            ("trickle", 60, b"x", 0.1),
            ("chunks", 60, b"x", 0.1, "chunked"),
            ("no gRPC over HTTP/1", 60, b"x", 0.1, "chunked", "application/grpc"),
            ("flow", 15, b"x" * 400, 0.2),
        )
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results["flow"][0] == 200, results
    for name in ("trickle", "chunks", "no gRPC over HTTP/1"):
        status, took = results[name]
        assert status in (408, "cut"), results
        assert 0.9 <= took < 7.0 * SCALE, results
    assert gw.metric("vivace_timeouts_total", wait="body_rate") == 3


def test_a_body_whose_server_is_slow_is_not_slow(proxy):
    """The client has sent all it may; what it still owes is not its fault."""
    size = 4 << 20

    def handler(conn):
        req = conn.read_head()
        conn.sleep(2.5)
        conn.take(size)
        conn.send(ok(b"got it"))

    gw, server = proxy(handler, listen={"clients": SLOW}, route={"timeouts": {"body": "20s"}})
    with gw.client(timeout=30) as c:
        c.send(request("/", "POST", body=b"x" * size))
        assert c.answer().status == 200
    assert gw.metric("vivace_timeouts_total", wait="body_rate") == 0


def test_conversations_may_pause(proxy):
    """gRPC calls, answers that have begun, tunnels and idle connections owe nothing."""

    def handler(conn):
        req = conn.read_head()
        if req.get("Upgrade"):
            conn.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
            conn.send(conn.take(4))
            return
        if req.target == "/early":
            conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
        body = conn.chunked()
        if req.target == "/early":
            conn.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        else:
            conn.send(ok(body))

    gw, server = proxy(handler, listen={"clients": SLOW}, route={"timeouts": {"body": "20s"}})
    grpc, early, tunnel, idle = H2(gw.port), gw.client(), gw.client(), gw.client()
    head = {"Transfer-Encoding": "chunked"}
    call = grpc.request("/", "POST", {"content-type": "application/grpc+proto"}, end=False)
    grpc.data(call, b"a")
    early.send(request("/early", "POST", head) + b"1\r\na\r\n")
    tunnel.send(request("/", headers={"Connection": "upgrade", "Upgrade": "echo"}))
    assert tunnel.answer().status == 101
    assert b"200 OK" in early.head()
    time.sleep(2.5)
    early.send(b"1\r\nb\r\n0\r\n\r\n")
    grpc.data(call, b"b", end=True)
    tunnel.send(b"ping")
    assert tunnel.take(4) == b"ping"
    grpc.answer(call)
    assert call.status == 200 and call.body == b"ab"
    assert early.chunked() == b"hiab"
    assert gw.metric("vivace_timeouts_total", wait="body_rate") == 0
    for c in (grpc, early, tunnel, idle):
        c.close()


def test_an_answer_that_is_hardly_taken_is_cut_off_and_a_slow_one_is_not(proxy):
    gw, server = proxy(answer=lambda r: ok(b"x" * (8 << 20)), listen={"clients": {"min_rate": "16KB", "grace": "1s"}},
                       route={"timeouts": {"send": "20s"}})
    with gw.client(recv_buffer=4096, timeout=30) as slow, gw.client(recv_buffer=4096, timeout=30) as steady:
        slow.send(request("/"))
        steady.send(request("/"))
        began = time.monotonic()
        cut = None
        while time.monotonic() < began + 6 * SCALE:
            steady.sock.recv(16384)
            time.sleep(0.05)
            if cut is None and gw.metric("vivace_timeouts_total", wait="send_rate") == 1:
                cut = time.monotonic() - began
                break
            if int((time.monotonic() - began) * 20) % 4 == 0:
                slow.sock.recv(64)  # some hundred bytes a second
        assert cut is not None and 0.9 <= cut
        steady.sock.recv(16384)
        for _ in range(20):
            steady.sock.recv(16384)
            time.sleep(0.05)
    assert gw.metric("vivace_timeouts_total", wait="send_rate") == 1


# --------------------------------------------------------------------------------------- full houses


def test_idle_connections_make_room_when_it_is_full(gateway):
    gw = gateway({"workers": 1, "listen": {"web": {"connections": 5}}, "routes": HELLO})
    held = [gw.client() for _ in range(5)]
    for c in held:
        assert c.ask("/").status == 200
    assert fares(gw) in (503, "closed"), "those inside were busy a moment ago"
    time.sleep(1.2)
    assert held[0].ask("/").status == 200
    with gw.client() as new:
        assert new.ask("/").status == 200, "somebody idle went"
        assert held[0].ask("/").status == 200, "not the one that was just busy"
    gone = [c for c in held[1:] if not c.quiet(0.05)]
    assert len(gone) == 1
    assert gw.metric("vivace_connections_closed_for_room_total", reason="connections") == 1


def test_slow_heads_make_room_when_it_is_full(gateway):
    """A slowloris that holds all places: a client gets in as soon as one of them has waited for a second."""
    gw = gateway({"workers": 1, "listen": {"web": {"connections": 20}}, "routes": HELLO})
    held = [gw.client() for _ in range(20)]
    for c in held:
        c.send(b"GET / HTTP/1.1\r\nHost: ")
    time.sleep(1.2)
    assert [fares(gw) for _ in range(10)] == [200] * 10
    for c in held:
        c.close()


def test_connections_that_wait_go_when_memory_is_short(gateway):
    config = {"workers": 1, "listen": {"web": {}}, "routes": HELLO}
    gw = gateway(config)
    waiting = [gw.client() for _ in range(20)]
    for c in waiting:
        assert c.ask("/").status == 200
    assert gw.reload(dict(config, overload={"memory_size": "1MB"})).status == 200
    wait_for("all are closed", lambda: gw.metric("vivace_connections_closed_for_room_total", reason="memory") == 20)
    assert all(c.closes() for c in waiting)
    wait_for("nobody gets in", lambda: fares(gw) in (503, "closed"))
    wait_for("at the door", lambda: fares(gw) and gw.metric("vivace_connections_refused_total", reason="memory") >= 1)
    assert gw.reload(config).status == 200
    wait_for("memory is fine again", lambda: fares(gw) == 200)


# ---------------------------------------------------------------------------------------- slowhttptest

TOOL = shutil.which("slowhttptest")
CROWD = 4000 if LONG else 50
SECONDS = 30 if LONG else 4
LABEL = {"slowloris": "header", "slow_body": "body_rate", "slow_read": "send_rate"}


def asks(port, seconds):
    """Times of a normal client's requests, each on a connection of its own."""
    times = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        with Client(port, source="127.0.0.99") as c:
            assert c.ask("/").status == 200
        times.append(time.monotonic() - began)
        time.sleep(0.01)
    return sorted(times)


def p99(times):
    return times[min(len(times) - 1, int(len(times) * 0.99))]


def attack(kind, port, log):
    url = f"http://127.0.0.1:{port}/"
    how = {
        "slowloris": ["-H", "-i", "1", "-x", "24", "-u", url],
        "slow_body": ["-B", "-i", "1", "-x", "4", "-s", "100000", "-u", url],
        "slow_read": ["-X", "-w", "256", "-y", "512", "-n", "1", "-z", "16", "-k", "1", "-u", url + "big"],
        "range": ["-R", "-a", "1", "-b", "3000", "-u", url],
    }[kind]
    common = ["-c", str(CROWD), "-r", str(CROWD // 2), "-l", str(SECONDS + 1), "-p", "3"]
    with open(log, "wb") as out:
        return subprocess.Popen([TOOL] + how + common, stdout=out, stderr=subprocess.STDOUT)


@pytest.mark.skipif(TOOL is None, reason="slowhttptest is not installed")
@pytest.mark.parametrize("kinds", [[k] for k in (*LABEL, "range")] if LONG else [[*LABEL, "range"]], ids="-".join)
def test_slow_attacks_hurt_nobody_and_end_in_time(proxy, kinds, tmp_path):
    """Fifty connections of each kind at once; VIVACE_LONG=1: 4,000 of each, one after the other."""
    gw, server = proxy(
        answer=lambda r: ok(b"x" * (256 << 10) if r.target == "/big" else b"x"),
        listen={"clients": {"min_rate": "1KB", "grace": "1s"}, "header_timeout": "2s"},
        route={"timeouts": {"body": "20s", "send": "20s"}},
    )
    calm = asks(gw.port, 5 if LONG else 1)
    tools = [attack(kind, gw.port, tmp_path / kind) for kind in kinds]
    try:
        time.sleep(0.2)
        under = asks(gw.port, SECONDS)
        for kind in set(kinds) & set(LABEL):
            wait_for(
                f"{kind} was cut off", lambda k=kind: gw.metric("vivace_timeouts_total", wait=LABEL[k]) >= CROWD * 0.5
            )
    finally:
        for tool in tools:
            tool.kill()
            tool.wait()
    print(f"{kinds}: p99 {p99(calm) * 1e3:.1f} ms when calm, {p99(under) * 1e3:.1f} ms under attack")
    assert p99(under) <= max(10 * p99(calm), 0.25 * SCALE)
    wait_for("the attackers are gone", lambda: gw.metric("vivace_connections", listener="web") == 0, 20)
    gw.books_balance()


# ------------------------------------------------------------------------------------------- HTTP/2


def h2_client(gw, window=None):
    """A connection with prior knowledge; window: of every stream."""
    h2 = pytest.importorskip("h2.connection")
    import h2.config
    import h2.settings

    sock = socket.create_connection(("127.0.0.1", gw.port))
    sock.settimeout(harness.PATIENCE)
    conn = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    if window is not None:
        conn.local_settings = h2.settings.Settings(
            client=True, initial_values={h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window}
        )
    conn.initiate_connection()
    sock.sendall(conn.data_to_send())
    return sock, conn


def h2_asks(sock, conn, method="GET", path="/", end=True, more=()):
    stream = conn.get_next_available_stream_id()
    head = [(":method", method), (":scheme", "http"), (":authority", "test"), (":path", path)]
    conn.send_headers(stream, head + list(more), end_stream=end)
    sock.sendall(conn.data_to_send())
    return stream


def h2_events(sock, conn, kind, seconds=10):
    """Reads until an event of this kind comes, and returns it."""
    end = time.monotonic() + seconds * SCALE
    while time.monotonic() < end:
        data = sock.recv(65536)
        if not data:
            raise Closed()
        for event in conn.receive_data(data):
            if isinstance(event, kind):
                return event
        sock.sendall(conn.data_to_send())
    raise AssertionError(f"no {kind.__name__}")


def test_a_trickling_body_of_a_stream_ends_that_stream_only(proxy):
    import h2.events

    gw, server = proxy(listen={"clients": SLOW}, route={"timeouts": {"body": "20s"}})
    sock, conn = h2_client(gw)
    slow = h2_asks(sock, conn, "POST", end=False)
    answered = None
    began = time.monotonic()
    while answered is None and time.monotonic() < began + 8 * SCALE:
        conn.send_data(slow, b"x")
        fast = h2_asks(sock, conn)
        event = h2_events(sock, conn, h2.events.ResponseReceived)
        if event.stream_id == slow:
            answered = dict(event.headers)
        time.sleep(0.1)
    assert answered is not None and answered[b":status" if b":status" in answered else ":status"] in (b"408", "408"), answered
    assert gw.metric("vivace_timeouts_total", wait="body_rate") == 1
    sock.close()


def test_windows_that_open_by_a_byte_do_not_hold_a_stream(proxy):
    """A client that takes a byte now and then (CVE-2019-9511) is cut off like any slow reader."""
    import h2.events

    gw, server = proxy(
        answer=lambda r: ok(b"x" * 100000), listen={"clients": SLOW}, route={"timeouts": {"send": "20s"}}
    )
    sock, conn = h2_client(gw, window=1)
    stream = h2_asks(sock, conn)
    sock.settimeout(0.01)
    reset = None
    began = time.monotonic()
    while reset is None and time.monotonic() < began + 8 * SCALE:
        try:
            for event in conn.receive_data(sock.recv(65536)):
                if isinstance(event, h2.events.StreamReset):
                    reset = event
        except TimeoutError:
            pass
        if reset is None:
            conn.increment_flow_control_window(1, stream)
        sock.sendall(conn.data_to_send())
        time.sleep(0.1)
    assert reset is not None and time.monotonic() - began >= 0.9
    assert gw.metric("vivace_timeouts_total", wait="send_rate") == 1
    sock.close()
