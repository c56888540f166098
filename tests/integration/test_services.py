# tests/integration/test_services.py - which server gets a request, and when it gets none.
import collections
import os
import socket
import struct
import threading
import time

import pytest
import yaml

from harness import SCALE, Client, free_port, ok, wait_for


def named(origin, name, **kw):
    """An origin that answers with its name."""
    return origin(answer=lambda req: ok(name.encode()), **kw)


def shares(gw, n, path="/", **kw):
    got = collections.Counter()
    with gw.client() as c:
        for _ in range(n):
            answer = c.ask(path, **kw)
            got[answer.body.decode() if answer.status == 200 else answer.status] += 1
    return got


def service(servers, **conf):
    return {
        "services": {"app": dict({"servers": servers}, **conf)},
        "routes": [{"path": "/", "to": "app"}],
    }


def weighted(*pairs):
    return [{"url": o.url, "weight": w} for o, w in pairs]


@pytest.mark.parametrize("balance", ["least_conn", "round_robin"])
def test_sequential_requests_follow_the_weights(gateway, origin, balance):
    """Weights 3, 3, 2: 800 requests one after the other go 300, 300, 200."""
    a, b, c = (named(origin, n) for n in "abc")
    gw = gateway(dict(service(weighted((a, 3), (b, 3), (c, 2)), balance=balance), workers=1))
    got = shares(gw, 800)
    for name, want in (("a", 300), ("b", 300), ("c", 200)):
        assert abs(got[name] - want) <= 3, got
    m = gw.metrics()
    assert abs(m.sum("vivace_upstream_requests_total", service="app", server=c.name) - 200) <= 3


@pytest.mark.parametrize("balance", ["random_two", "peak_ewma", "hash"])
def test_every_balancer_carries_traffic(gateway, origin, balance):
    a, b, c = (named(origin, n) for n in "abc")
    conf = {"balance": balance}
    if balance == "hash":
        conf["hash_key"] = "$uri"
    gw = gateway(service([o.url for o in (a, b, c)], **conf))
    got = collections.Counter()
    with gw.client() as client:
        for i in range(300):
            got[client.ask(f"/{i}").body] += 1
    # by latency alone one server may be preferred, but none is forgotten
    least = 1 if balance == "peak_ewma" else 20
    assert set(got) == {b"a", b"b", b"c"} and min(got.values()) >= least, got


def test_hash_sends_the_same_key_to_the_same_server(gateway, origin):
    a, b, c = (named(origin, n) for n in "abc")
    gw = gateway(service([o.url for o in (a, b, c)], balance="hash", hash_key="$header.x-user"))
    with gw.client() as client:
        first = {u: client.ask("/", headers={"X-User": f"u{u}"}).body for u in range(50)}
        again = {u: client.ask("/", headers={"X-User": f"u{u}"}).body for u in range(50)}
    assert first == again and len(set(first.values())) == 3


def test_a_slower_server_gets_fewer_requests(gateway, origin, load):
    def slow(req):
        time.sleep(0.02)
        return ok(b"slow")

    fast, late = named(origin, "fast"), origin(answer=slow)
    gw = gateway(service([fast.url, late.url]))
    report = load(gw.port, connections=8, seconds=1.5).wait()
    assert report["lost"] == 0
    assert len(late.requests) < len(fast.requests) / 2


def test_sticky_clients_stay(gateway, origin):
    a, b, c = (named(origin, n) for n in "abc")
    gw = gateway(service([o.url for o in (a, b, c)], sticky="vv_server"))
    homes = set()
    for _ in range(12):
        with gw.client() as client:
            first = client.ask("/")
            cookie = [v for v in first.all("Set-Cookie") if v.startswith("vv_server=")]
            assert cookie, "a new client is told its server"
            value = cookie[0].split(";")[0]
            homes.add(first.body)
            for _ in range(5):
                again = client.ask("/", headers={"Cookie": f"x=1; {value}; y=2"})
                assert again.body == first.body
    assert len(homes) > 1


def test_a_sticky_client_moves_when_its_server_is_gone(gateway, origin):
    a, b = named(origin, "a"), named(origin, "b")
    gw = gateway(service([a.url, b.url], sticky="vv"))
    first = gw.ask("/")
    cookie = first.get("Set-Cookie").split(";")[0]
    home, other = (a, b) if first.body == b"a" else (b, a)
    home.stop_listening()
    home.drop_connections()
    for _ in range(4):
        answer = gw.ask("/", headers={"Cookie": cookie})
        assert answer.status == 200 and answer.body != first.body


# --------------------------------------------------------------------------- passive ejection


def test_a_failing_server_is_ejected_and_returns(gateway, origin):
    broken = threading.Event()

    def flaky(conn):
        while True:
            conn.read_request()
            if broken.is_set():
                conn.reset()
                return
            conn.send(ok(b"flaky"))

    good, bad = named(origin, "good"), origin(flaky)
    gw = gateway(service([good.url, bad.url], balance="round_robin", max_fails=3, fail_timeout="4s"))
    assert set(shares(gw, 20)) == {"good", "flaky"}
    broken.set()
    got = shares(gw, 40)
    assert set(got) == {"good"}, "GETs move to the other server"
    wait_for("the ejection", lambda: gw.metric("vivace_upstream_up", server=bad.name) == 0)
    assert gw.metric("vivace_upstream_ejected_total", server=bad.name) == 1
    assert gw.metric("vivace_upstream_ejections_active") == 1
    before = len(bad.requests)
    assert shares(gw, 20) == {"good": 20} or len(bad.requests) <= before + 1
    broken.clear()
    wait_for("the return", lambda: shares(gw, 10)["flaky"] > 0, 20)
    wait_for("up again", lambda: gw.metric("vivace_upstream_up", server=bad.name) == 1)


def test_the_last_useful_server_is_never_ejected(gateway, origin):
    def always_500(req):
        return ok(b"no", "500 Internal Server Error")

    one = origin(answer=always_500)
    gw = gateway(service([one.url], max_fails=1, fail_timeout="30s", outlier={"consecutive": 2}))
    got = shares(gw, 30)
    assert got == {500: 30}, "the answer is the server's own to the end"
    assert len(one.requests) == 30


def test_when_every_server_fails_they_are_still_tried(gateway, origin):
    def handler(conn):
        conn.read_request()
        conn.reset()

    a, b = origin(handler), origin(handler)
    gw = gateway(service([a.url, b.url], max_fails=1, fail_timeout="30s"))
    got = shares(gw, 30)
    assert set(got) <= {502, 503} and got[502] >= 25, got
    assert len(a.requests) + len(b.requests) >= 25


def test_an_outlier_is_ejected(gateway, origin):
    good = [named(origin, f"g{i}") for i in range(3)]
    bad = origin(answer=lambda r: ok(b"no", "500 Oops"))
    gw = gateway(
        service(
            [o.url for o in good + [bad]],
            balance="round_robin",
            max_fails=0,
            fail_timeout="30s",
            outlier={"consecutive": 5},
        )
    )
    shares(gw, 60)
    before = len(bad.requests)
    got = shares(gw, 60)
    assert got[500] == 0 and len(bad.requests) == before <= 6, got


# ------------------------------------------------------------------------------ active checks


def test_active_checks_take_a_server_out_and_back(gateway, origin):
    state = {"healthy": True, "probes": 0}

    def answer(req):
        if req.target == "/health":
            state["probes"] += 1
            return ok(b"", "200 OK" if state["healthy"] else "503 Sick")
        return ok(b"checked")

    checked, other = origin(answer=answer), named(origin, "other")
    gw = gateway(
        service(
            [checked.url, other.url],
            balance="round_robin",
            check={"path": "/health", "every": "800ms", "timeout": "750ms", "fails": 2, "passes": 2, "grace": "0s"},
        )
    )
    wait_for("probes", lambda: state["probes"] >= 2)
    assert set(shares(gw, 10)) == {"checked", "other"}
    state["healthy"] = False
    wait_for("down", lambda: gw.metric("vivace_upstream_up", server=checked.name) == 0)
    assert shares(gw, 20) == {"other": 20}
    state["healthy"] = True
    wait_for("up", lambda: gw.metric("vivace_upstream_up", server=checked.name) == 1)
    wait_for("requests again", lambda: shares(gw, 10)["checked"] > 0)
    assert gw.metric("vivace_upstream_checks_total", server=checked.name) >= 4


def test_tcp_checks(gateway, origin):
    a, b = named(origin, "a"), named(origin, "b")
    gw = gateway(
        service(
            [a.url, b.url], check={"type": "tcp", "every": "800ms", "timeout": "750ms", "fails": 2, "grace": "0s"}
        )
    )
    wait_for("checks", lambda: gw.metric("vivace_upstream_checks_total", server=a.name) >= 2)
    a.stop_listening()
    wait_for("down", lambda: gw.metric("vivace_upstream_up", server=a.name) == 0)
    assert shares(gw, 10) == {"b": 10}


def test_all_down_is_503(gateway):
    gw = gateway(
        service(
            [f"127.0.0.1:{free_port()}"],
            check={"type": "tcp", "every": "800ms", "timeout": "750ms", "fails": 1, "grace": "0s"},
        )
    )
    wait_for("503", lambda: gw.ask("/").status == 503)
    gw.books_balance()


# ------------------------------------------------------------------------------------- names


class Dns:
    """A UDP name server for A questions: names maps a name to addresses, asked again by TTL."""

    def __init__(self, names, ttl=1):
        self.names, self.ttl, self.asked = names, ttl, collections.Counter()
        self.sock = socket.socket(type=socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", free_port()))
        self.port = self.sock.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                data, peer = self.sock.recvfrom(2048)
            except OSError:
                return
            at, labels = 12, []
            while data[at]:
                labels.append(data[at + 1 : at + 1 + data[at]].decode().lower())
                at += 1 + data[at]
            kind = struct.unpack("!H", data[at + 1 : at + 3])[0]
            name = ".".join(labels)
            self.asked[name, kind] += 1
            known = name in self.names
            found = self.names.get(name, []) if kind == 1 else []
            out = data[:2] + struct.pack("!HHHHH", 0x8180 | (0 if known else 3), 1, len(found), 0, 0)
            out += data[12 : at + 5]
            for address in found:
                out += b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, self.ttl, 4) + socket.inet_aton(address)
            self.sock.sendto(out, peer)

    def close(self):
        self.sock.close()


def test_names_are_resolved_and_followed(gateway, origin, stack):
    port = free_port()
    a = named(origin, "a", address="127.0.0.2", port=port)
    b = named(origin, "b", address="127.0.0.3", port=port)
    dns = Dns({"app.test": ["127.0.0.2"]})
    stack.append(dns)
    gw = gateway(dict(service([f"http://app.test:{port}"]), dns=[f"127.0.0.1:{dns.port}"]))
    assert shares(gw, 10) == {"a": 10}
    dns.names["app.test"] = ["127.0.0.2", "127.0.0.3"]
    wait_for("both addresses are used", lambda: set(shares(gw, 10)) == {"a", "b"}, 15)
    dns.names["app.test"] = ["127.0.0.3"]
    wait_for("the old one is left", lambda: set(shares(gw, 10)) == {"b"}, 15)
    assert a.requests and b.requests


def test_an_answer_that_fails_keeps_the_last_addresses(gateway, origin, stack):
    port = free_port()
    named(origin, "a", address="127.0.0.2", port=port)
    dns = Dns({"app.test": ["127.0.0.2"]})
    stack.append(dns)
    gw = gateway(dict(service([f"http://app.test:{port}"]), dns=[f"127.0.0.1:{dns.port}"]))
    assert gw.ask("/").body == b"a"
    dns.names.clear()
    asked = sum(dns.asked.values())
    wait_for("it is asked again", lambda: sum(dns.asked.values()) > asked + 1, 15)
    assert gw.ask("/").body == b"a"


def test_an_unknown_name_is_a_defined_answer(gateway, stack):
    dns = Dns({})
    stack.append(dns)
    gw = gateway(dict(service(["http://nowhere.test:80"]), dns=[f"127.0.0.1:{dns.port}"]))
    assert gw.ask("/").status in (502, 503)
    gw.books_balance()


# -------------------------------------------------------------------------- changes at run time


def servers(gw):
    """name -> entry of the service, as the API shows it."""
    listing = gw.api("/services/app/servers")
    listing = listing.get("servers", listing) if isinstance(listing, dict) else listing
    return {s["name"]: s for s in listing}


def change(gw, method, path, body=None):
    answer = gw.admin("/api/v1/services/app/servers" + path, method, (), body)
    assert answer.status in (200, 201, 202, 204), (method, path, answer.status, answer.body)


def overlay(gw):
    with open(os.path.join(gw.folder, "vivace.overlay.yaml")) as f:
        return yaml.safe_load(f)


def test_a_server_is_added_weighted_drained_and_removed(gateway, origin):
    a, b = named(origin, "a"), named(origin, "b")
    gw = gateway(dict(service([a.url], balance="round_robin"), workers=1))
    assert shares(gw, 10) == {"a": 10}

    change(gw, "POST", "", {"url": b.url, "weight": 3})
    wait_for("the new server is used", lambda: shares(gw, 10)["b"] > 0)
    assert len(servers(gw)) == 2
    wait_for("shares by weight", lambda: 28 <= shares(gw, 40)["b"] <= 32)

    name = next(n for n in servers(gw) if str(b.port) in n)
    path = "/" + name.replace("/", "%2F")
    change(gw, "PATCH", path, {"weight": 1})
    wait_for("equal shares", lambda: 18 <= shares(gw, 40)["b"] <= 22)

    change(gw, "PATCH", path, {"drain": True})
    wait_for("drained", lambda: shares(gw, 10) == {"a": 10})
    change(gw, "PATCH", path, {"drain": False})
    wait_for("back", lambda: shares(gw, 10)["b"] > 0)

    change(gw, "DELETE", path)
    wait_for("removed", lambda: shares(gw, 10) == {"a": 10})
    assert len(servers(gw)) == 1


def test_run_time_changes_survive_reload_and_restart(gateway, origin):
    a, b = named(origin, "a"), named(origin, "b")
    gw = gateway(service([a.url], balance="round_robin"))
    change(gw, "POST", "", {"url": b.url})
    wait_for("used", lambda: shares(gw, 10)["b"] > 0)
    assert "app" in overlay(gw)["services"]
    assert gw.reload().status == 200
    assert set(shares(gw, 20)) == {"a", "b"}
    gw.stop()
    gw.start()
    assert set(shares(gw, 20)) == {"a", "b"}


def test_wrong_changes_are_refused(gateway, origin):
    a = named(origin, "a")
    gw = gateway(service([a.url]))
    for method, path, body in (
        ("POST", "/services/nobody/servers", {"url": "http://127.0.0.1:1"}),
        ("POST", "/services/app/servers", {"url": "not a url at all"}),
        ("POST", "/services/app/servers", {"url": a.url}),
        ("POST", "/services/app/servers", {"weight": 1}),
        ("PATCH", "/services/app/servers/127.0.0.1:1", {"weight": 2}),
        ("PATCH", f"/services/app/servers/{a.name}", {"weight": -1}),
        ("PATCH", f"/services/app/servers/{a.name}", {"weight": 100000}),
    ):
        answer = gw.admin("/api/v1" + path, method, (), body)
        assert 400 <= answer.status < 500, (method, path, body, answer.status)
    assert shares(gw, 5) == {"a": 5}
    assert not os.path.exists(os.path.join(gw.folder, "vivace.overlay.yaml"))


def test_draining_lets_requests_finish(gateway, origin):
    gate = threading.Event()

    def answer(req):
        if req.target == "/long":
            gate.wait(10 * SCALE)
        return ok(b"a")

    a, b = origin(answer=answer), named(origin, "b")
    gw = gateway(service([a.url, b.url], balance="round_robin"))
    clients = []
    while not any(r.target == "/long" for r in a.requests):
        c = Client(gw.port)
        clients.append(c)
        c.send(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.1)
    name = next(n for n in servers(gw) if str(a.port) in n)
    change(gw, "PATCH", "/" + name.replace("/", "%2F"), {"drain": True})
    wait_for("new requests go elsewhere", lambda: shares(gw, 6) == {"b": 6})
    gate.set()
    assert all(c.answer().status == 200 for c in clients)
    for c in clients:
        c.close()


def test_slow_start_ramps_a_server_that_came_back(gateway, origin):
    """Right after its return a server gets about a tenth of its share."""
    state = {"ok": True}

    def answer(req):
        if req.target == "/":
            return ok(b"ramp")
        return ok(b"", "200 OK" if state["ok"] else "503 Down")

    ramp, base = origin(answer=answer), named(origin, "base")
    gw = gateway(
        dict(
            service(
                [ramp.url, base.url],
                balance="round_robin",
                slow_start="60s",
                check={"path": "/h", "every": "800ms", "timeout": "750ms", "fails": 1, "passes": 1, "grace": "0s"},
            ),
            workers=1,
        )
    )
    before = shares(gw, 100)
    assert 45 <= before["ramp"] <= 55, "no slow start at first"
    state["ok"] = False
    wait_for("down", lambda: gw.metric("vivace_upstream_up", server=ramp.name) == 0)
    state["ok"] = True
    wait_for("up", lambda: gw.metric("vivace_upstream_up", server=ramp.name) == 1)
    after = shares(gw, 100)
    assert 1 <= after["ramp"] <= 25, after


def test_connections_per_server_are_limited(gateway, origin, load):
    live, most, lock = [0], [0], threading.Lock()

    def answer(req):
        with lock:
            live[0] += 1
            most[0] = max(most[0], live[0])
        time.sleep(0.02)
        with lock:
            live[0] -= 1
        return ok()

    one = origin(answer=answer)
    gw = gateway(dict(service([one.url], connections=2, max_fails=0), workers=1))
    report = load(gw.port, connections=8, seconds=1).wait()
    assert most[0] <= 2
    assert set(report["statuses"]) <= {"200", "503"} and report["statuses"]["200"] > 10 and report["lost"] == 0
    gw.books_balance()
