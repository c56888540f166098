# tests/integration/test_connections.py - ten thousand clients, PROXY headers, sockets, limits.
import os
import socket
import stat
import struct
import time

import pytest

from harness import SANITIZER, Closed, memory_kib, ok, request, wait_for

CONNECTIONS = 10000 if not SANITIZER else 1000
RATE = 1000 if not SANITIZER else 200


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_ten_thousand_kept_alive_connections(gateway, app, load):
    """10,000 clients, 1,000 requests per second in all: no error, at most 4 KiB each while idle."""
    server = app()
    gw = gateway({"services": {"a": [server.url]}, "routes": [{"path": "/", "to": "a"}]})
    # the gateway's own working set (buffers, upstream connections) comes first
    load(gw.port, connections=64, seconds=1.0).wait()
    wait_for("the warm-up has gone", lambda: gw.metric("vivace_connections") == 0)
    before = memory_kib(gw.worker(), "RssAnon")

    half = CONNECTIONS // 2
    sources = [f"127.0.0.{i}" for i in range(2, 8)]
    runs = [
        load(gw.port, connections=half, rate=RATE / 2, hold=True, source=sources[i * 3 : i * 3 + 3], path="/size/1024")
        for i in range(2)
    ]
    assert gw.metric("vivace_connections") == CONNECTIONS
    time.sleep(1)
    idle = memory_kib(gw.worker(), "RssAnon")
    each = (idle - before) * 1024 / CONNECTIONS
    time.sleep(CONNECTIONS / RATE)
    reports = [r.finish() for r in runs]
    after = memory_kib(gw.worker(), "RssAnon")
    print(f"{CONNECTIONS} connections: {before} KiB before, {idle} KiB with them, {after} KiB at the end")
    print(f"user-space memory per idle connection: {each:.0f} bytes")
    for r in reports:
        print(r)
        assert r["lost"] == 0 and r["errors"].get("stale", 0) == 0 and r["errors"].get("idle_closed", 0) == 0, r
        assert set(r["statuses"]) == {"200"}
        assert r["connects"] == half
    assert sum(r["answered"] for r in reports) >= CONNECTIONS * 1.8
    if not SANITIZER:
        assert each <= 4096
        assert sum(r["errors"].get("late", 0) for r in reports) == 0
    gw.books_balance()


# ----------------------------------------------------------------------------------- PROXY header


@pytest.fixture
def behind(proxy):
    """A gateway that wants PROXY headers from 127.0.0.1, and an origin that tells the client."""
    return proxy(
        answer=lambda r: ok(r.get("X-Real-IP", "").encode()),
        listen={"proxy_protocol": True, "trust": ["127.0.0.1/32"]},
    )


V2 = b"\r\n\r\n\x00\r\nQUIT\n"


def v2(command, family, payload):
    return V2 + bytes([0x20 | command, family]) + struct.pack("!H", len(payload)) + payload


def tcp4(src, dst="127.0.0.1", sport=5555, dport=80):
    return socket.inet_aton(src) + socket.inet_aton(dst) + struct.pack("!HH", sport, dport)


def tcp6(src, dst="::1"):
    return socket.inet_pton(socket.AF_INET6, src) + socket.inet_pton(socket.AF_INET6, dst) + struct.pack("!HH", 1, 2)


TLV = bytes([0x04]) + struct.pack("!H", 300) + bytes(300)


@pytest.mark.parametrize(
    "header, client",
    [
        (b"PROXY TCP4 203.0.113.7 127.0.0.1 5555 80\r\n", "203.0.113.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 5555 80\r\n", "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", "127.0.0.1"),
        (v2(1, 0x11, tcp4("203.0.113.8")), "203.0.113.8"),
        (v2(1, 0x11, tcp4("203.0.113.9") + TLV), "203.0.113.9"),
        (v2(1, 0x21, tcp6("2001:db8::8")), "2001:db8::8"),
        (v2(0, 0x00, b""), "127.0.0.1"),
        (v2(0, 0x11, tcp4("203.0.113.8")), "127.0.0.1"),
    ],
    ids=["v1-4", "v1-6", "v1-unknown", "v1-unknown-long", "v2-4", "v2-tlv", "v2-6", "v2-local", "v2-local-4"],
)
def test_a_proxy_header_tells_the_client(behind, header, client):
    gw, _ = behind
    with gw.client() as c:
        c.send(header + request("/"))
        assert c.answer().body.decode() == client
        assert c.ask("/").body.decode() == client, "it holds for the whole connection"
    with gw.client() as c:
        data = header + request("/")
        for i in range(0, len(data), 7):
            c.send(data[i : i + 7])
        assert c.answer().body.decode() == client


@pytest.mark.parametrize(
    "header",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PROXY TCP4 999.0.113.7 127.0.0.1 5555 80\r\n",
        b"PROXY TCP4 203.0.113.7 127.0.0.1 5555\r\n",
        b"PROXY TCP4 203.0.113.7 127.0.0.1 5555 70000\r\n",
        b"PROXY TCP4 203.0.113.7 127.0.0.1 5555 80\n",
        b"PROXY TCP4 " + b"1" * 200,
        V2 + b"\x31\x11" + struct.pack("!H", 12) + tcp4("1.2.3.4"),
        V2 + b"\x21\x11" + struct.pack("!H", 4) + b"abcd",
        b"\r\n\r\n\x00\r\nQUIX\n\x21\x11\x00\x00",
    ],
    ids=["none", "v1-address", "v1-short", "v1-port", "v1-lf", "v1-long", "v2-version", "v2-short", "v2-magic"],
)
def test_a_broken_proxy_header_is_refused(behind, header):
    gw, origin = behind
    with gw.client() as c:
        try:
            c.send(header + request("/"))
        except OSError:
            pass
        got = c.rest()
        assert got == b"" or got.startswith(b"HTTP/1.1 400"), got[:60]
    assert origin.requests == []
    gw.books_balance()


def test_an_untrusted_peer_cannot_use_a_proxy_header(proxy):
    gw, origin = proxy(
        answer=lambda r: ok(r.get("X-Real-IP", "").encode()), listen={"proxy_protocol": True, "trust": ["10.0.0.0/8"]}
    )
    with gw.client() as c:
        c.send(b"PROXY TCP4 203.0.113.7 127.0.0.1 5555 80\r\n" + request("/"))
        got = c.rest()
        assert b"203.0.113.7" not in got and b" 200 " not in got.split(b"\r\n")[0]


# ----------------------------------------------------------------------------------- unix sockets


def test_a_unix_listener(gateway, tmp_path):
    path = f"/tmp/vvt-listen-{os.getpid()}.sock"
    gw = gateway({"listen": {"sock": {"address": f"unix:{path}", "mode": "0600"}}, "routes": [{"respond": {"body": "hi"}}]})
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with gw.client() as c:
        for _ in range(3):
            assert c.ask("/").body == b"hi"
    for _ in range(20):
        assert gw.ask("/").body == b"hi"
    gw.stop()
    assert not os.path.exists(path), "the socket file goes with the gateway"


def test_a_stale_unix_socket_is_replaced(gateway):
    path = f"/tmp/vvt-stale-{os.getpid()}.sock"
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)  # closed without unlink: a file nobody listens on
    gw = gateway({"listen": {"sock": {"address": f"unix:{path}"}}, "routes": [{"respond": {"body": "hi"}}]})
    assert gw.ask("/").body == b"hi"


# -------------------------------------------------------------------------------- time and limits


def test_an_idle_connection_is_closed(gateway):
    gw = gateway({"listen": {"web": {"keepalive": "2s"}}, "routes": [{"respond": {"body": "x"}}]})
    with gw.client() as c:
        assert c.ask("/").status == 200
        time.sleep(0.5)
        begin = time.monotonic()
        assert c.ask("/").status == 200
        assert c.closes(), "an idle connection ends without a word"
        # anew with each request: what was left of the first one's time would be 1.5 s
        assert 1.8 <= time.monotonic() - begin
    wait_for("none is left", lambda: gw.metric("vivace_connections") == 0)


def test_a_connection_that_says_nothing_is_closed(gateway):
    gw = gateway(
        {
            "listen": {"web": {"keepalive": "400ms", "header_timeout": "400ms"}},
            "routes": [{"respond": {"body": "x"}}],
        }
    )
    with gw.client() as c:
        c.send(b"\r\n")  # enough to be accepted
        got = c.rest()
        assert got == b"" or got.startswith(b"HTTP/1.1 408")


def test_requests_per_connection_are_limited(gateway):
    gw = gateway({"listen": {"web": {"keepalive_requests": 3}}, "routes": [{"respond": {"body": "x"}}]})
    with gw.client() as c:
        kinds = [c.ask("/").get("Connection", "").lower() for _ in range(3)]
        assert "close" not in kinds[:2] and kinds[2] == "close"
        assert c.closes()


def test_connections_are_limited(gateway):
    gw = gateway({"workers": 1, "listen": {"web": {"connections": 5}}, "routes": [{"respond": {"body": "x"}}]})
    held = [gw.client() for _ in range(5)]
    for c in held:
        assert c.ask("/").status == 200
    with gw.client() as c:
        try:
            c.send(request("/"))
            got = c.rest()
        except OSError:
            got = b""
        assert got == b"" or got.startswith(b"HTTP/1.1 503"), got[:60]
    for c in held:
        assert c.ask("/").status == 200, "those inside are not hurt"
    assert gw.metric("vivace_connections_refused_total") >= 1
    for c in held:
        c.close()

    def room():
        try:
            return gw.ask("/").status == 200
        except (OSError, Closed):
            return False

    wait_for("room again", room)


def test_a_listener_serves_only_its_names(gateway):
    gw = gateway({"listen": {"web": {"names": ["shop.example", "*.shop.example"]}}, "routes": [{"respond": {"body": "x"}}]})
    with gw.client() as c:
        assert c.ask("/", host="shop.example").status == 200
        assert c.ask("/", host="www.shop.example:80").status == 200
        assert c.ask("/", host="other.example").status == 421
    gw.books_balance()


def test_connections_are_counted(gateway):
    gw = gateway({"routes": [{"respond": {"body": "x"}}]})
    held = [gw.client() for _ in range(7)]
    for c in held:
        c.ask("/")
    assert gw.metric("vivace_connections", listener="web") == 7
    for c in held[:3]:
        c.close()
    for c in held[3:]:
        c.reset()
    wait_for("all are gone", lambda: gw.metric("vivace_connections", listener="web") == 0)
    assert gw.metric("vivace_connections_accepted_total", listener="web") == 7

