# tests/integration/test_upstream_tls.py - TLS to the servers of a service: who is trusted, what is resumed,
# what a cut answer is, and that all the rest is as without TLS.
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse

import pytest

import harness
from harness import Client, MIB, Origin, chunks, free_port, ok, wait_for


# ------------------------------------------------------------------------------------- certificates


class Authority:
    """A certificate authority in a folder; cert() signs, path.pem and path.key."""

    def __init__(self, folder, name):
        self.folder = folder
        self.name = name
        self.pem = self.path(name + ".pem")
        self.key = self.path(name + ".key")
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                     "-subj", f"/CN={name}", "-days", "30", "-keyout", self.key, "-out", self.pem)

    def path(self, name):
        return os.path.join(self.folder, name)

    def openssl(self, *args):
        subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=self.folder)

    def cert(self, file, names, days=30, client=False):
        """names: "DNS:a.test,IP:127.0.0.1". Returns (certificate, key)."""
        pem, key, ask, ext = (self.path(file + end) for end in (".pem", ".key", ".csr", ".ext"))
        with open(ext, "w", encoding="ascii") as f:
            f.write(f"subjectAltName={names}\n")
            f.write(f"extendedKeyUsage={'clientAuth' if client else 'serverAuth'}\n")
        self.openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                     "-subj", f"/CN={file}", "-keyout", key, "-out", ask)
        self.openssl("x509", "-req", "-in", ask, "-CA", self.pem, "-CAkey", self.key, "-CAcreateserial",
                     "-days", str(days), "-extfile", ext, "-out", pem)
        return pem, key


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(str(tmp_path_factory.mktemp("ca")), "root")


@pytest.fixture(scope="module")
def local(ca):
    """The certificate of most servers here."""
    return ca.cert("local", "IP:127.0.0.1,DNS:shop.test")


# ------------------------------------------------------------------------------------------ servers


class TlsOrigin(Origin):
    """An Origin that speaks TLS; .seen: (SNI, resumed, version, client certificate) per connection."""

    def __init__(self, cert, handler=None, answer=None, client_ca=None, version=None, **kw):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*cert)
        self.context.sni_callback = self.on_name
        self.seen = []
        self.asked = None
        if client_ca:
            self.context.verify_mode = ssl.CERT_REQUIRED
            self.context.load_verify_locations(client_ca)
        if version:
            self.context.minimum_version = self.context.maximum_version = version
        super().__init__(handler, answer, **kw)

    def on_name(self, _socket, name, _context):
        self.asked = name

    def run(self, conn):
        try:
            conn.sock = self.context.wrap_socket(conn.sock, server_side=True, suppress_ragged_eofs=False)
        except (OSError, ValueError):
            conn.close()
            with self.lock:
                self.live.discard(conn)
            return
        s = conn.sock
        self.seen.append((self.asked, s.session_reused, s.version(), s.getpeercert()))
        super().run(conn)

    @property
    def url(self):
        return f"https://{self.name}"


@pytest.fixture
def tls_proxy(gateway, stack, ca, local):
    """tls_proxy(handler or answer=..., tls={...}, cert=...): one secure server behind one gateway."""

    def make(handler=None, answer=None, tls=None, cert=None, route=None, service=None, conf=None, **kw):
        server = TlsOrigin(cert or local, handler, answer, **kw)
        stack.append(server)
        entry = {"servers": [server.url], "tls": {"ca": ca.pem} if tls is None else tls}
        entry.update(service or {})
        gw = gateway({
            "services": {"app": entry},
            "routes": [dict({"path": "/", "to": "app"}, **(route or {}))],
            **(conf or {}),
        })
        return gw, server

    return make


def failures(gw, reason):
    return gw.metrics().sum("vivace_upstream_tls_failures_total", reason=reason)


def handshakes(gw, kind):
    return gw.metrics().sum("vivace_upstream_tls_handshakes_total", kind=kind)


# -------------------------------------------------------------------------------------------- trust


def test_a_server_that_proves_who_it_is_is_asked_over_tls(tls_proxy):
    gw, server = tls_proxy(answer=lambda r: ok(f"{r.get('Host')} {r.get('X-Forwarded-Proto')}".encode()))
    with gw.client() as c:
        assert c.ask("/", host="public.test").body == b"public.test http"
    assert server.seen[0][2] == "TLSv1.3"
    assert server.seen[0][0] is None  # an address is no name to ask for (RFC 6066 section 3)


@pytest.mark.parametrize("names,days,tls,text", [
    ("IP:127.0.0.1", 30, {}, "unable to get local issuer"),
    ("DNS:other.test", 30, {"ca": "CA"}, "mismatch"),
    ("IP:127.0.0.2", 30, {"ca": "CA"}, "mismatch"),
    ("IP:127.0.0.1", 30, {"ca": "CA", "name": "shop.test"}, "mismatch"),
    ("IP:127.0.0.1", -1, {"ca": "CA"}, "expired"),
], ids=["unknown_authority", "name", "address", "name_of_tls", "expired"])
def test_a_server_that_does_not_prove_who_it_is_gets_no_request(tls_proxy, ca, names, days, tls, text):
    conf = {k: ca.pem if v == "CA" else v for k, v in tls.items()} or {"verify": True}
    gw, server = tls_proxy(tls=conf, cert=ca.cert("bad", names, days))
    with gw.client() as c:
        assert c.ask("/").status == 502
    assert not server.requests
    assert failures(gw, "cert_refused") >= 1
    assert text in gw.log(), gw.log()


def test_a_server_that_speaks_no_tls_is_a_failed_connect(gateway, origin, ca):
    plain = origin()
    gw = gateway({"services": {"app": {"servers": [f"https://{plain.name}"], "tls": {"ca": ca.pem},
                                       "connect_timeout": "700ms"}},
                  "routes": [{"path": "/", "to": "app"}]})
    status = gw.ask("/").status
    assert status in (502, 504)
    assert gw.ask("/").status == status


def test_a_handshake_belongs_to_the_time_for_connecting(gateway, origin, ca):
    silent = origin(handler=lambda conn: conn.sleep(30))
    gw = gateway({"services": {"app": {"servers": [f"https://{silent.name}"], "tls": {"ca": ca.pem},
                                       "connect_timeout": "300ms"}},
                  "routes": [{"path": "/", "to": "app"}]})
    assert gw.ask("/").status == 504
    assert gw.metric("vivace_timeouts_total", wait="connect") == 1


def test_verify_false_asks_anybody(tls_proxy, ca):
    gw, _ = tls_proxy(tls={"verify": False}, cert=ca.cert("anybody", "DNS:other.test", -1))
    assert gw.ask("/").status == 200


def test_the_name_of_tls_is_asked_for_and_verified(tls_proxy, ca):
    gw, server = tls_proxy(tls={"ca": ca.pem, "name": "shop.test"})
    assert gw.ask("/").status == 200
    assert server.seen[0][0] == "shop.test"


def test_the_host_of_the_url_is_asked_for(gateway, stack, ca):
    server = TlsOrigin(ca.cert("named", "DNS:localhost"))
    stack.append(server)
    gw = gateway({"services": {"app": {"servers": [f"https://localhost:{server.port}"],
                                       "tls": {"ca": ca.pem}}},
                  "routes": [{"path": "/", "to": "app"}]})
    wait_for("the name is resolved", lambda: gw.ask("/").status == 200)
    assert server.seen[-1][0] == "localhost"
    shown = gw.api("/services")
    text = json.dumps(shown)
    assert f"https://localhost/127.0.0.1:{server.port}" in text and '"tls": true' in text


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_certificate_is_shown_to_those_who_ask(tls_proxy, ca, version):
    mine = ca.cert("gateway", "DNS:gateway.test", client=True)
    gw, server = tls_proxy(tls={"ca": ca.pem, "cert": mine[0], "key": mine[1]}, client_ca=ca.pem,
                           version=version)
    assert gw.ask("/").status == 200
    assert ("DNS", "gateway.test") in server.seen[0][3]["subjectAltName"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_server_that_wants_a_certificate_and_gets_none_refuses(tls_proxy, ca, version):
    gw, server = tls_proxy(client_ca=ca.pem, version=version)
    assert gw.ask("/").status == 502
    assert not server.requests
    wait_for("the failure is counted", lambda: failures(gw, "alert") >= 1)


def test_the_oldest_version_can_be_chosen(tls_proxy, ca):
    gw, _ = tls_proxy(tls={"ca": ca.pem, "min": "1.3"}, version=ssl.TLSVersion.TLSv1_2)
    assert gw.ask("/").status == 502


# -------------------------------------------------------------------------------------- connections


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_connections_are_kept_and_used_again(tls_proxy, version):
    gw, server = tls_proxy(version=version)
    with gw.client() as c:
        for _ in range(10):
            assert c.ask("/").body == b"ok"
        time.sleep(1.3)  # idle ones have given their buffers back by now
        assert c.ask("/").body == b"ok"
    assert server.connections == 1
    assert handshakes(gw, "full") == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_resumed(tls_proxy, version):
    gw, server = tls_proxy(answer=lambda r: ok(b"bye", headers={"Connection": "close"}),
                           version=version)
    with gw.client() as c:
        for _ in range(4):
            assert c.ask("/").body == b"bye"
    assert [s[1] for s in server.seen] == [False, True, True, True]
    assert handshakes(gw, "resumed") == 3


def test_a_request_on_a_connection_that_was_just_closed_is_sent_again(tls_proxy):
    gw, server = tls_proxy()
    with gw.client() as c:
        for _ in range(5):
            assert c.ask("/").status == 200
            server.drop_connections()
    assert not server.errors


def test_a_reload_keeps_connections_unless_tls_changed(tls_proxy, ca):
    gw, server = tls_proxy()
    with gw.client() as c:
        assert c.ask("/").status == 200
        assert gw.reload(dict(gw.config, drain="2s")).status == 200
        assert c.ask("/").status == 200
        assert server.connections == 1
        shutil.copy(ca.pem, ca.path("other.pem"))
        config = json.loads(json.dumps(gw.config))
        config["services"]["app"]["tls"]["ca"] = ca.path("other.pem")
        assert gw.reload(config).status == 200
        wait_for("a new connection", lambda: c.ask("/").status == 200 and server.connections == 2)


def test_a_reload_with_files_that_cannot_be_read_changes_nothing(tls_proxy):
    gw, _ = tls_proxy()
    config = json.loads(json.dumps(gw.config))
    config["services"]["app"]["tls"]["ca"] = "/nowhere/ca.pem"
    answer = gw.reload(config)
    assert answer.status != 200 and b"/nowhere/ca.pem" in answer.body
    assert gw.ask("/").status == 200


def test_servers_with_and_without_tls_in_one_service(gateway, stack, origin, ca, local):
    secure = TlsOrigin(local, answer=lambda r: ok(b"secure"))
    stack.append(secure)
    plain = origin(answer=lambda r: ok(b"plain"))
    gw = gateway({"services": {"app": {"servers": [secure.url, plain.url], "tls": {"ca": ca.pem}}},
                  "routes": [{"path": "/", "to": "app"}], "workers": 1})
    with gw.client() as c:
        assert {c.ask("/").body for _ in range(4)} == {b"secure", b"plain"}


def test_a_server_that_fails_its_handshake_is_replaced_by_the_next(gateway, stack, ca, local):
    bad = TlsOrigin(ca.cert("mistaken", "DNS:other.test"))
    good = TlsOrigin(local)
    stack += [bad, good]
    gw = gateway({"services": {"app": {"servers": [bad.url, good.url], "tls": {"ca": ca.pem}}},
                  "routes": [{"path": "/", "to": "app"}], "workers": 1})
    with gw.client() as c:
        assert [c.ask("/").status for _ in range(6)] == [200] * 6
    assert gw.metric("vivace_upstream_retries_total", reason="tls") >= 1


# ------------------------------------------------------------------------------------------- bodies


def test_large_bodies_both_ways(tls_proxy):
    body = os.urandom(1 << 16) * 32  # 2 MiB
    gw, server = tls_proxy(answer=lambda r: ok(r.body))
    with gw.client() as c:
        assert c.ask("/", "POST", body=body).body == body
        pieces = [body[i:i + 700_000] for i in range(0, len(body), 700_000)]
        c.send(harness.request("/", "POST", {"Transfer-Encoding": "chunked"}) + chunks(*pieces))
        assert c.answer().body == body
        assert c.ask("/").body == b""
    assert server.connections == 1


def test_a_slow_client_slows_the_server(tls_proxy):
    sent, size = [0], 32 * MIB
    piece = b"x" * 65536

    def pour(conn):
        conn.read_request()
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // len(piece)):
            conn.send(piece)
            sent[0] += len(piece)

    gw, _ = tls_proxy(handler=pour)
    with gw.client(recv_buffer=65536) as c:
        c.send(harness.request("/"))
        c.head()
        last = -1
        while last != sent[0]:  # until nothing moves any more
            last = sent[0]
            time.sleep(0.3)
        assert last < size // 2  # socket buffers and one block a side, not the answer
        n = len(c.buf)
        while n < size:
            c.buf = b""
            c.more()
            n += len(c.buf)
        assert n == size


def test_a_slow_server_slows_the_client(tls_proxy):
    gate = threading.Event()

    def swallow(conn):
        req = conn.read_head()
        gate.wait(20)
        left = int(req.get("Content-Length"))
        while left > len(conn.buf):
            left -= len(conn.buf)
            conn.buf = b""
            conn.more()
        conn.send(ok(b"all"))

    gw, _ = tls_proxy(handler=swallow)
    size = 24 * MIB
    with gw.client() as c:
        c.send(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % size)
        c.sock.settimeout(0.5)
        n = 0
        with pytest.raises(TimeoutError):
            while n < size:
                n += c.sock.send(b"y" * min(65536, size - n))
        assert n < size
        gate.set()
        c.sock.settimeout(harness.PATIENCE)
        while n < size:
            n += c.sock.send(b"y" * min(65536, size - n))
        assert c.answer().body == b"all"


def farewell(conn):
    """close_notify, as TLS wants it."""
    try:
        conn.sock.unwrap()
    except OSError:
        pass


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_an_answer_that_ends_with_the_connection_is_whole_only_with_a_farewell(tls_proxy, version):
    def answer(conn):
        req = conn.read_request()
        conn.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n\r\nall of it")
        if req.target == "/whole":
            farewell(conn)

    gw, server = tls_proxy(handler=answer, route={"cache": "1m"}, version=version)
    with gw.client() as c:
        assert c.ask("/whole").body == b"all of it"
        assert c.ask("/whole").body == b"all of it"
    assert len(server.requests) == 1  # it was kept
    for n in (2, 3):
        with gw.client() as c:
            with pytest.raises(harness.Closed):
                c.ask("/cut")
        assert len(server.requests) >= n  # it was not


def test_an_answer_that_is_cut_is_not_completed(tls_proxy):
    def answer(conn):
        conn.read_request()
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    gw, _ = tls_proxy(handler=answer)
    with gw.client() as c, pytest.raises(harness.Closed):
        c.ask("/")


def test_an_answer_in_small_pieces_arrives_as_it_comes(tls_proxy):
    def drip(conn):
        conn.read_request()
        conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(20):
            conn.send(b"4\r\ntick\r\n")
            time.sleep(0.005)
        conn.send(b"0\r\n\r\n")

    gw, _ = tls_proxy(handler=drip)
    with gw.client() as c:
        assert c.ask("/").body == b"tick" * 20


# ------------------------------------------------------------------------------------------ tunnels


def test_a_websocket_passes_over_tls(tls_proxy):
    def echo(conn):
        conn.read_head()
        conn.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n"
                  b"Upgrade: websocket\r\n\r\nhello")
        while True:
            conn.more()
            data, conn.buf = conn.buf, b""
            conn.send(data.upper())

    gw, _ = tls_proxy(handler=echo)
    with gw.client() as c:
        c.send(b"GET /ws HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert b" 101 " in c.head()
        assert c.take(5) == b"hello"
        for word in (b"one", b"two", b"x" * 100_000):
            c.send(word)
            assert c.take(len(word)) == word.upper()
        c.half_close()
        assert c.rest() == b""


# ------------------------------------------------------------------------------------------- checks


@pytest.mark.parametrize("kind", ["http", "tcp"])
def test_checks_speak_tls_and_verify(gateway, stack, ca, local, kind):
    good = TlsOrigin(local)
    bad = TlsOrigin(ca.cert("wrong", "DNS:other.test"))
    stack += [good, bad]
    gw = gateway({"services": {"app": {"servers": [good.url, bad.url], "tls": {"ca": ca.pem},
                                       "check": {"type": kind, "path": "/health", "every": "200ms",
                                                 "timeout": "150ms", "fails": 1}}},
                  "routes": [{"path": "/", "to": "app"}]})
    wait_for("the bad one is down",
             lambda: gw.metric("vivace_upstream_up", server=bad.url) == 0
             and gw.metric("vivace_upstream_checks_total", server=bad.url, result="fail") >= 2)
    assert gw.metric("vivace_upstream_up", server=good.url) == 1
    assert gw.metric("vivace_upstream_checks_total", server=good.url, result="fail") == 0
    if kind == "http":
        assert any(r.target == "/health" and r.get("Host") == good.name for r in good.requests)
    assert not bad.requests
    assert "no TLS: " in gw.log()


# ------------------------------------------------------------------------------------- configuration


def check(folder, service, *args):
    path = os.path.join(folder, "check.yaml")
    with open(path, "w", encoding="ascii") as f:
        f.write("listen: 127.0.0.1:1\nservices:\n  app:\n" + service
                + "routes:\n  - {path: /, to: app}\n")
    done = subprocess.run([harness.binary(), "check", *args, path], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("service,where,text", [
    ("    servers: [\"https://a b\"]\n", ":4:", "https://host"),
    ("    servers: [\"https://a:99999\"]\n", ":4:", "65535"),
    ("    servers: [\"https://a\"]\n    tls: {ca: /nowhere/ca.pem}\n", ":5:", "/nowhere/ca.pem"),
    ("    servers: [\"https://a\"]\n    tls: {cert: /nowhere/me.pem}\n", ":5:", "/nowhere/me.pem"),
    ("    servers: [\"https://a\"]\n    tls: {key: me.key}\n", ":5:", "certificate"),
    ("    servers: [\"https://a\"]\n    tls: {name: \"a:443\"}\n", ":5:", "cannot be the name"),
], ids=["host", "port", "ca", "cert", "key", "name"])
def test_check_says_what_is_wrong_and_where(tmp_path, service, where, text):
    code, said = check(str(tmp_path), service)
    assert code != 0
    assert "check.yaml" + where in said and text in said


@pytest.mark.parametrize("service,text", [
    ("    servers: [\"https://a\"]\n    tls: {verify: false}\n", "pretend"),
    ("    servers: [\"http://a\"]\n    tls: {verify: true}\n", "does nothing"),
])
def test_check_warns(tmp_path, service, text):
    code, said = check(str(tmp_path), service)
    assert code == 0 and "warning" in said and text in said


def test_a_route_may_name_the_secure_server_itself(gateway, stack, ca, local):
    server = TlsOrigin(local)
    stack.append(server)
    gw = gateway({"routes": [{"path": "/", "to": server.url}]})
    assert gw.ask("/").status == 502  # the system does not know our authority
    assert failures(gw, "cert_refused") >= 1


def test_a_secure_server_can_be_added_where_tls_is_spoken(tls_proxy, gateway, origin, stack, ca, local):
    more = TlsOrigin(local, answer=lambda r: ok(b"more"))
    stack.append(more)
    gw, _ = tls_proxy()
    gw.api("/services/app/servers", "POST", {"url": more.url})
    with gw.client() as c:
        wait_for("it answers", lambda: c.ask("/").body == b"more")
        one = "/services/app/servers/" + urllib.parse.quote(more.url, safe="")
        gw.api(one, "PATCH", {"drain": True})
        assert {c.ask("/").body for _ in range(4)} == {b"ok"}
        gw.api(one, "DELETE")
        assert more.name not in json.dumps(gw.api("/services"))
    plain = gateway({"services": {"app": {"servers": [origin().url]}},
                     "routes": [{"path": "/", "to": "app"}]})
    said = plain.admin("/api/v1/services/app/servers", "POST", body={"url": more.url})
    assert said.status == 409 and b"tls" in said.body


# -------------------------------------------------------------------------------------------- nginx


@pytest.fixture
def nginx(tmp_path, local):
    """nginx with TLS; its port."""
    if shutil.which("nginx") is None and not os.path.exists("/usr/sbin/nginx"):
        pytest.skip("no nginx here")
    port = free_port()
    root = tmp_path / "root"
    root.mkdir()
    (root / "big").write_bytes(os.urandom(1 << 16) * 64)
    (root / "small").write_bytes(b"small")
    os.chmod(tmp_path, 0o755)
    conf = tmp_path / "nginx.conf"
    conf.write_text(f"""
daemon off; master_process off; pid {tmp_path}/pid; error_log {tmp_path}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {tmp_path}/body; proxy_temp_path {tmp_path}/p; fastcgi_temp_path {tmp_path}/f;
  uwsgi_temp_path {tmp_path}/u; scgi_temp_path {tmp_path}/s; client_max_body_size 1m;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {local[0]}; ssl_certificate_key {local[1]};
    ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:s:1m;
    root {root};
    location /seen {{ return 200 "$ssl_protocol $ssl_server_name $ssl_session_reused $connection"; }}
  }}
}}
""")
    with open(tmp_path / "out", "wb") as out:
        process = subprocess.Popen(["/usr/sbin/nginx", "-p", str(tmp_path), "-c", str(conf)], stdout=out,
                                   stderr=out)

    def up():
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_for("nginx listens", up)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def test_nginx_over_tls(gateway, nginx, ca, tmp_path):
    gw = gateway({"services": {"app": {"servers": [f"https://127.0.0.1:{nginx}"],
                                       "tls": {"ca": ca.pem, "name": "shop.test"}}},
                  "routes": [{"path": "/", "to": "app"}], "workers": 1})
    big = (tmp_path / "root" / "big").read_bytes()
    with gw.client() as c:
        first = c.ask("/seen").body.split()
        assert first[:2] == [b"TLSv1.3", b"shop.test"]
        for _ in range(3):
            assert c.ask("/big").body == big
            assert c.ask("/small").body == b"small"
        assert c.ask("/seen").body.split()[3] == first[3]  # one connection for all
        assert c.ask("/nothing").status == 404
        assert c.ask("/small", "POST", body=b"z" * (3 * MIB)).status == 413  # before it has read all


def test_an_answer_given_before_the_connection_broke_is_passed_on(tls_proxy):
    def refuse(conn):
        conn.read_head()
        conn.send(ok(b"too much", "413 Content Too Large", {"Connection": "close"}))
        conn.close()  # with bytes unread: the other side is reset

    gw, _ = tls_proxy(handler=refuse)
    for _ in range(10):
        with gw.client() as c:
            c.send(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % (4 * MIB))
            try:
                c.send(b"z" * 4 * MIB)
            except OSError:
                pass
            assert c.answer().status == 413


def test_ordered_faults_strike_secure_servers_too(tls_proxy):
    body = b"0123456789" * 1000
    gw, server = tls_proxy(answer=lambda r: ok(body), service={"retries": 0, "max_fails": 0},
                           conf={"chaos": {"enabled": True, "max_share": "100%", "max_time": "1m",
                                           "stop": "100%"}})

    def order(**fault):
        gw.api("/chaos", "POST", dict({"share": "100%", "for": "30s"}, **fault), 201)

    order(fault="truncate", bytes=5000)
    with gw.client() as c, pytest.raises(harness.Closed):
        c.ask("/")
    gw.api("/chaos", "DELETE")
    order(fault="abort", status=503)
    asked = len(server.requests)
    assert gw.ask("/").status == 503
    assert len(server.requests) == asked  # a false server stood in, without TLS
    gw.api("/chaos", "DELETE")
    order(fault="slow", bytes=20000)
    began = time.monotonic()
    assert gw.ask("/").body == body
    assert time.monotonic() - began > 0.2  # all but the first 4 KiB at 20,000 bytes a second
    gw.api("/chaos", "DELETE")
    assert gw.ask("/").body == body
