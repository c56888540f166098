# tests/integration/test_load_tls.py - `vivace load` against https: whom it trusts, what it says when it does
# not, what it measures.
import http.server
import json
import ssl
import subprocess
import threading

import pytest
import yaml

import harness
from harness import PATIENCE, SCALE, ok, wait_for
from test_tls import Authority

SHORT = ["--rate", "50", "--for", "200ms", "--quiet", "--allow-late"]  # 10 requests


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one piece

    def do_GET(self):
        body = f"{self.connection.version()} {self.connection.selected_alpn_protocol()}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.server.seen.append((self.path, body.decode(), self.connection.session_reused))

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    """An HTTPS server of Python's; the handshake runs on the connection's thread."""

    daemon_threads = True

    def __init__(self, cert):
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen = []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert["cert"], cert["key"])
        self.context.set_alpn_protocols(["h2", "http/1.1"])
        self.url = f"https://127.0.0.1:{self.server_address[1]}"
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def finish_request(self, request, address):
        try:
            super().finish_request(self.context.wrap_socket(request, server_side=True), address)
        except (ssl.SSLError, ConnectionError):
            pass

    def handle_error(self, request, address):
        pass

    def close(self):
        self.shutdown()
        self.server_close()
        self.thread.join(PATIENCE)


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def here(ca):
    return ca.cert("here", "IP:127.0.0.1,DNS:localhost")


@pytest.fixture
def server(stack, here):
    stack.append(Server(here))
    return stack[-1]


def load(*args, **kw):
    return subprocess.run([harness.binary(), "load", *args], capture_output=True, text=True, timeout=60 * SCALE, **kw)


def report(tmp_path, *args):
    """(the run, vivace's part of its JSON, the counters)."""
    file = tmp_path / "out.json"
    got = load(*args, *SHORT, "-o", str(file))
    out = json.loads(file.read_text())
    return got, out["vivace"], out["aggregate"]


def test_a_trusted_server_is_loaded_and_the_handshake_measured(server, ca, tmp_path):
    got, vivace, all_ = report(tmp_path, server.url + "/", "--ca", ca.pem)
    assert got.returncode == 0, got.stdout + got.stderr
    assert all_["counters"]["http.codes.200"] == 10 and vivace["tls_error"] is None
    assert {text for _, text, _ in server.seen} == {"TLSv1.3 http/1.1"}
    # Fewer connections than requests: they are kept; each was measured once.
    assert 1 <= vivace["tls_handshakes"] == vivace["connections"] < 10
    assert 0 < all_["summaries"]["vivace.tls_connect"]["min"] <= all_["summaries"]["vivace.latency"]["max"]
    assert all_["summaries"]["vivace.tls_connect"]["count"] == vivace["tls_handshakes"]
    assert "to connect, with TLS" in got.stdout and "handshakes, 0 of them resumed" in got.stdout


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_connections_opened_anew_resume_their_session(server, ca, tmp_path, version):
    server.context.maximum_version = version
    _, vivace, all_ = report(tmp_path, server.url + "/", "--ca", ca.pem, "-H", "connection: close")
    assert all_["counters"]["http.codes.200"] == 10 and vivace["tls_handshakes"] == 10
    # A slow machine has several connections at a time, each of which begins with a full handshake.
    resumed = sum(reused for _, _, reused in server.seen)
    assert vivace["tls_resumed"] == resumed > 0


def test_an_unknown_authority_fails_with_the_reason(server, tmp_path):
    got, vivace, all_ = report(tmp_path, server.url + "/", "--gate", "errors.tls == 10")
    assert got.returncode == 1 and server.seen == []
    assert "Error tls: 10" in got.stdout and "✅" in got.stdout  # the gate counts them
    assert "TLS failed first with: the certificate of the other side was not accepted" in got.stdout
    assert all_["counters"]["errors.tls"] == 10 and "certificate" in vivace["tls_error"]


def test_a_certificate_for_another_name_fails(stack, ca, tmp_path):
    stack.append(Server(ca.cert("other", "DNS:other.test")))
    got, vivace, _ = report(tmp_path, stack[-1].url + "/", "--ca", ca.pem)
    assert got.returncode == 1 and "mismatch" in vivace["tls_error"]
    assert load(stack[-1].url + "/", "--insecure", *SHORT).returncode == 0


def test_a_server_without_tls_fails_with_the_reason(origin):
    def refuse(conn):
        conn.more()
        conn.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    got = load(origin(refuse).url.replace("http:", "https:") + "/", *SHORT)
    assert got.returncode == 1 and "Error tls: 10" in got.stdout
    assert "TLS failed first with: the other side does not speak TLS" in got.stdout


@pytest.mark.parametrize("tls,code", [({}, 1), ({"rejectUnauthorized": False}, 0), ({"ca": "root.pem"}, 0)])
def test_files_say_whom_to_trust(server, ca, tmp_path, tls, code):
    (tmp_path / "root.pem").write_bytes(open(ca.pem, "rb").read())
    file = tmp_path / "load.yml"  # `ca` is looked for beside it
    file.write_text(yaml.safe_dump({
        "config": {"target": server.url, "tls": tls, "phases": [{"duration": "200ms", "arrivalCount": 3}]},
        "scenarios": [{"flow": [{"get": {"url": "/a"}}, {"get": {"url": server.url + "/b"}}]}]}))
    got = load(str(file), "--quiet", "--allow-late")
    assert got.returncode == code, got.stdout + got.stderr
    assert sorted(path for path, _, _ in server.seen) == (["/a"] * 3 + ["/b"] * 3 if code == 0 else [])


def test_the_command_line_says_it_for_files_of_both_forms(server, ca, tmp_path):
    for i, text in enumerate([{"target": server.url, "scenarios": {"a": {"get": "/a"}}},
                              {"load": {"target": server.url, "scenarios": {"a": {"get": "/a"}}}},
                              {"config": {"target": server.url, "tls": {"rejectUnauthorized": True}, "phases": []},
                               "scenarios": [{"flow": [{"get": {"url": "/a"}}]}]}]):
        file = tmp_path / f"{i}.yml"
        file.write_text(yaml.safe_dump(text))
        for how in (["--insecure"], ["--ca", ca.pem]):
            server.seen.clear()
            got = load(str(file), *how, *SHORT)
            assert got.returncode == 0 and len(server.seen) == 10, got.stdout + got.stderr


def test_a_redirect_to_https_is_followed(server, origin, tmp_path):
    plain = origin(answer=lambda req: ok(b"", "302 Found", headers=[("Location", server.url + "/there")]))
    file = tmp_path / "load.yml"
    file.write_text(yaml.safe_dump({
        "config": {"target": plain.url, "tls": {"rejectUnauthorized": False},
                   "phases": [{"duration": "100ms", "arrivalCount": 2}]},
        "scenarios": [{"flow": [{"get": {"url": "/"}}]}]}))
    got = load(str(file), "--quiet", "--allow-late")
    assert got.returncode == 0, got.stdout + got.stderr
    assert [path for path, _, _ in server.seen] == ["/there"] * 2 and len(plain.requests) == 2


def test_certificates_that_cannot_be_read_stop_the_run(server, tmp_path):
    got = load(server.url, "--ca", str(tmp_path / "nothere.pem"), *SHORT)
    assert got.returncode == 2 and "nothere.pem: no such file" in got.stderr
    (tmp_path / "bad.pem").write_text("no certificate\n")
    got = load(server.url, "--ca", str(tmp_path / "bad.pem"), *SHORT)
    assert got.returncode == 1 and "bad.pem: the trusted certificates cannot be read" in got.stderr
    assert server.seen == []


def test_agents_trust_the_same(server, ca):
    agent = subprocess.Popen([harness.binary(), "load", "agent", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, text=True)
    try:
        address = agent.stdout.readline().split()[-1]
        got = load(server.url + "/", "--ca", ca.pem, "--agents", address, *SHORT)
        assert got.returncode == 0 and len(server.seen) == 10, got.stdout + got.stderr
        got = load(server.url + "/", "--agents", address, *SHORT)
        assert got.returncode == 1 and "TLS failed first with: the certificate" in got.stdout
    finally:
        agent.kill()
        agent.wait(PATIENCE)


def handshakes(gw):
    found = {"yes": 0, "no": 0}
    for line in gw.admin("/metrics").body.decode().splitlines():
        if line.startswith("vivace_tls_handshakes_total{"):
            found["yes" if 'resumed="yes"' in line else "no"] += float(line.rsplit(" ", 1)[1])
    return found


def test_a_gateway_with_tls(gateway, here, ca, tmp_path):
    gw = gateway({"listen": {"web": {"tls": here}},  # it offers HTTP/2, too
                  "routes": [{"path": "/", "respond": "$tls.version $tls.name $tls.resumed $scheme"}]})
    url = f"https://localhost:{gw.ports['web']}/"
    got, vivace, all_ = report(tmp_path, url, "--ca", ca.pem, "-H", "connection: close", "--threads", "2",
                               "--expect", "200")
    assert got.returncode == 0, got.stdout + got.stderr
    assert all_["counters"]["http.codes.200"] == 10 and vivace["tls_handshakes"] == 10
    assert 0 < vivace["tls_resumed"] <= 8  # the first of each thread cannot
    wait_for("the gateway counted the same", lambda: handshakes(gw) == {
        "yes": vivace["tls_resumed"], "no": 10 - vivace["tls_resumed"]})
