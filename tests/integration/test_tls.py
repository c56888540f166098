# tests/integration/test_tls.py - TLS towards clients: which certificate is shown, what swaps it, who may come
# in, what goes on over reload and upgrade.
import os
import shutil
import socket
import ssl
import stat
import subprocess
import threading
import time

import pytest

import harness
from harness import wait_for

# ------------------------------------------------------------------------------------- certificates


class Authority:
    """A certificate authority in a folder; cert() signs."""

    def __init__(self, folder, name="root"):
        self.folder = str(folder)
        self.pem, self.key = self.path(name + ".pem"), self.path(name + ".key")
        self.openssl("req", "-x509", *self.new("ec"), "-nodes", "-subj", f"/CN={name}", "-days", "30",
                     "-keyout", self.key, "-out", self.pem)

    def path(self, name):
        return os.path.join(self.folder, name)

    @staticmethod
    def new(kind):
        if kind == "rsa":
            return ["-newkey", "rsa:2048"]
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]

    def openssl(self, *args):
        subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=self.folder)

    def cert(self, file, names, kind="ec", client=False, days="30", cn=None):
        """names: "DNS:a.test,IP:127.0.0.1". Returns {cert, key} as a listener takes them."""
        pem, key, ask, ext = (self.path(file + end) for end in (".pem", ".key", ".csr", ".ext"))
        with open(ext, "w", encoding="ascii") as f:
            f.write(f"subjectAltName={names}\nextendedKeyUsage={'clientAuth' if client else 'serverAuth'}\n")
        self.openssl("req", "-new", *self.new(kind), "-nodes", "-subj", f"/CN={cn or file}", "-keyout", key,
                     "-out", ask)
        self.openssl("x509", "-req", "-in", ask, "-CA", self.pem, "-CAkey", self.key, "-CAcreateserial",
                     "-days", days, "-extfile", ext, "-out", pem)
        return {"cert": pem, "key": key}


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def one(ca):
    return ca.cert("one", "DNS:one.test,DNS:*.wild.test,IP:127.0.0.1")


@pytest.fixture(scope="module")
def two(ca):
    return ca.cert("two", "DNS:two.test")


@pytest.fixture(scope="module")
def rsa(ca):
    return ca.cert("one-rsa", "DNS:one.test", kind="rsa")


@pytest.fixture(scope="module")
def client(ca):
    return ca.cert("client", "DNS:partner.test,URI:spiffe://test/partner", client=True, cn="Partner 7")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger").cert("nobody", "DNS:n.test", client=True)


# ------------------------------------------------------------------------------------------ clients


def context(ca_file=None, version=None, cert=None, ciphers=None):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname = False
    c.verify_mode = ssl.CERT_REQUIRED if ca_file else ssl.CERT_NONE
    if ca_file:
        c.load_verify_locations(ca_file)
    if version:
        c.minimum_version = c.maximum_version = version
    if cert:
        c.load_cert_chain(cert["cert"], cert["key"])
    if ciphers:
        c.set_ciphers(ciphers)
    return c


def connect(port, name=None, session=None, **kw):
    c = kw.pop("context", None) or context(**kw)
    raw = socket.create_connection(("127.0.0.1", port), timeout=harness.PATIENCE)
    raw.settimeout(harness.PATIENCE)
    try:
        return c.wrap_socket(raw, server_hostname=name, session=session)
    except BaseException:
        raw.close()
        raise


def ask(tls, target="/", headers=""):
    """The body of an answer that ends with the connection."""
    tls.sendall(f"GET {target} HTTP/1.1\r\nHost: one.test\r\nConnection: close\r\n{headers}\r\n".encode())
    data = b""
    while True:
        try:
            piece = tls.recv(65536)
        except (ssl.SSLEOFError, ConnectionError):
            piece = b""
        if not piece:
            return data.partition(b"\r\n\r\n")[2].decode(), data.split(b" ", 2)[1].decode()
        data += piece


def get(port, target="/", headers="", **kw):
    with connect(port, **kw) as tls:
        return ask(tls, target, headers)


def shown(port, name=None, **kw):
    """(common name, kind of key) of the certificate that a client with these wishes sees."""
    with connect(port, name, **kw) as tls:
        der = tls.getpeercert(binary_form=True)
    text = subprocess.run(["openssl", "x509", "-inform", "DER", "-noout", "-subject", "-text"], input=der,
                          capture_output=True, check=True).stdout.decode()
    return text.split("CN = ")[1].split("\n")[0], "rsa" if "rsaEncryption" in text else "ec"


TEXT = "$tls.version/$tls.name/$tls.resumed/$tls.client_name/$tls.client_san/$scheme"


@pytest.fixture
def secure(gateway):
    """secure(tls, ...): one listener with TLS, which says what it knows about the connection."""

    def make(tls, routes=None, **config):
        listen = {"web": {"tls": tls, "http2": False}}
        return gateway(dict({"listen": listen, "routes": routes or [{"path": "/", "respond": TEXT}]}, **config))

    return make


def metric(gw, name):
    text = gw.admin("/metrics").body.decode()
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


# ---------------------------------------------------------------------------------- which certificate


def test_the_name_chooses_the_certificate(secure, one, two):
    gw = secure({**one, "certs": [two]})
    assert shown(gw.port, "one.test")[0] == "one"
    assert shown(gw.port, "two.test")[0] == "two"
    assert shown(gw.port, "a.wild.test")[0] == "one"
    assert shown(gw.port)[0] == "one"  # asked for no name
    assert shown(gw.port, "else.test")[0] == "one"  # nobody has it
    assert get(gw.port, name="TWO.test")[0] == "TLSv1.3/two.test/no///https"


def test_strict_names_refuses_the_others(secure, one):
    gw = secure({**one, "strict_names": True})
    assert shown(gw.port, "one.test")[0] == "one"
    with pytest.raises(ssl.SSLError, match="unrecognized name"):
        connect(gw.port, "else.test")
    wait_for("it is counted",
             lambda: metric(gw, 'vivace_tls_handshake_failures_total{listener="web",reason="name"}') == 1)


def test_ecdsa_and_rsa_side_by_side(secure, one, rsa):
    gw = secure({"certs": [one, rsa]})
    v12 = ssl.TLSVersion.TLSv1_2
    assert shown(gw.port, "one.test")[1] == "ec"
    assert shown(gw.port, "one.test", version=v12, ciphers="ECDHE-RSA-AES128-GCM-SHA256") == ("one-rsa", "rsa")
    assert shown(gw.port, "one.test", version=v12, ciphers="ECDHE-ECDSA-AES128-GCM-SHA256") == ("one", "ec")


def test_versions(gateway, one):
    gw = gateway({"listen": {"both": {"tls": one, "http2": False},
                             "new": {"tls": {**one, "min": "1.3"}, "http2": False}},
                  "routes": [{"path": "/", "respond": TEXT}]})
    v12, v13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    assert get(gw.ports["both"], version=v12)[0].startswith("TLSv1.2/")
    assert get(gw.ports["both"], version=v13)[0].startswith("TLSv1.3/")
    assert get(gw.ports["new"], version=v13)[0].startswith("TLSv1.3/")
    with pytest.raises(ssl.SSLError, match="protocol version"):
        connect(gw.ports["new"], version=v12)
    wait_for("they are counted", lambda: (
        metric(gw, 'vivace_tls_handshakes_total{listener="both",version="1.2",resumed="no"}') == 1
        and metric(gw, 'vivace_tls_handshakes_total{listener="both",version="1.3",resumed="no"}') == 1
        and metric(gw, 'vivace_tls_handshake_failures_total{listener="new",reason="version"}') == 1))


# ------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize("tls, says", [
    ({"cert": "missing.pem"}, "missing.pem: not found"),
    ({"cert": "one.pem", "key": "two.key"}, "does not belong to the certificate"),
    ({"cert": "one.pem"}, "no private key in this file"),
    ({"cert": "two.key", "key": "two.key"}, "two.key"),
    ({"key": "one.key"}, "a key without its certificate"),
    ({"min": "1.3"}, "has TLS and no certificate"),
    ("auto", "no name to order a certificate for"),
    ({"mode": "local", "cert": "one.pem", "key": "one.key"}, "files are given, and mode: local"),
    ({"cert": "one.pem", "key": "one.key", "mutual": "one.key"}, "one.key: the certificates of who may sign"),
    ({"cert": "one.pem", "key": "one.key", "mutual": {"required": True}}, "\"ca\""),
])
def test_check_names_what_is_wrong(gateway, ca, one, two, tls, says):
    def whole(value):
        if isinstance(value, dict):
            return {k: whole(v) for k, v in value.items()}
        return ca.path(value) if isinstance(value, str) and "." in value and value != "1.3" else value

    gw = gateway({"listen": {"web": {"tls": whole(tls)}}, "routes": [{"path": "/", "respond": "x"}]}, start=False)
    done = subprocess.run([harness.binary(), "check", gw.file], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert says in done.stderr, done.stderr
    assert f"{gw.file}:" in done.stderr  # it has a place


def test_check_warns_of_names_nobody_has(gateway, one):
    gw = gateway({"listen": {"web": {"names": ["one.test", "new.test"], "tls": one}},
                  "routes": [{"path": "/", "respond": "x"}]}, start=False)
    done = subprocess.run([harness.binary(), "check", gw.file], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert 'no certificate of listener "web" has the name "new.test"' in done.stderr
    assert '"one.test"' not in done.stderr.replace("names:", "").split("warning:")[1].split("\n")[0]


def test_a_redirect_to_itself_and_a_unix_socket_are_refused(gateway, one):
    gw = gateway({"listen": {"web": {"tls": one, "redirect": "https"}},
                  "routes": [{"path": "/", "respond": "x"}]}, start=False)
    done = subprocess.run([harness.binary(), "check", gw.file], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "round in circles" in done.stderr
    gw = gateway({"listen": {"web": {"address": "unix:/tmp/vvt-x.sock", "tls": one}},
                  "routes": [{"path": "/", "respond": "x"}]}, start=False)
    done = subprocess.run([harness.binary(), "check", gw.file], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "unix socket" in done.stderr


# -------------------------------------------------------------------------------------------- swaps


def put(pair, where):
    """As a renewal does it: key and certificate one after the other, each by rename."""
    for kind, end in (("key", "site.key"), ("cert", "site.pem")):
        temporary = where / ("." + end)
        shutil.copy(pair[kind], temporary)
        temporary.rename(where / end)


@pytest.fixture
def site(tmp_path, one):
    put(one, tmp_path)
    return tmp_path


def site_tls(site, **more):
    return {"cert": str(site / "site.pem"), "key": str(site / "site.key"), **more}


def test_a_new_certificate_is_in_force_without_a_restart(secure, site, two):
    gw = secure(site_tls(site))
    pid = gw.worker()
    with connect(gw.port) as kept:
        put(two, site)
        wait_for("the new one is shown", lambda: shown(gw.port)[0] == "two")
        assert ask(kept)[1] == "200"  # a connection goes on as it began
    assert gw.worker() == pid
    assert metric(gw, "vivace_tls_certificate_swaps_total") == 1


def test_a_broken_file_keeps_what_was_read_last(secure, site, two):
    gw = secure(site_tls(site))
    (site / "site.key").write_text("no key")
    wait_for("it is said", lambda: "what was read last stays in force" in gw.log())
    assert shown(gw.port)[0] == "one"
    certs = gw.api("/certs")["listeners"][0]["certificates"]
    assert "no private key" in certs[0]["problems"][0]
    time.sleep(1.5)
    assert gw.log().count("what was read last stays in force") == 1  # once
    put(two, site)
    wait_for("the good one is shown", lambda: shown(gw.port)[0] == "two")
    assert gw.api("/certs")["listeners"][0]["certificates"][0]["problems"] == []


def test_no_handshake_fails_while_certificates_are_swapped(secure, site, one, two):
    gw = secure(site_tls(site))
    over = threading.Event()
    failures, seen = [], set()
    count = [0]

    def shake():
        c = context()
        while not over.is_set():
            try:
                with connect(gw.port, "one.test", context=c) as tls:
                    seen.add(len(tls.getpeercert(binary_form=True)))
                    if ask(tls)[1] != "200":
                        failures.append("answer")
                count[0] += 1
            except OSError as e:
                failures.append(repr(e))

    threads = [threading.Thread(target=shake) for _ in range(3)]
    for t in threads:
        t.start()
    for i in range(8):
        put(two if i % 2 == 0 else one, site)
        time.sleep(0.6)
    over.set()
    for t in threads:
        t.join()
    assert failures == []
    assert count[0] > 50
    assert metric(gw, "vivace_tls_certificate_swaps_total") >= 3
    assert len(seen) == 2


def test_a_status_answer_is_stapled_as_soon_as_it_is_there(secure, ca, one, tmp_path):
    def status():
        done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{gw.port}", "-status", "-servername",
                               "one.test"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        return "OCSP Response Status: successful" in done.stdout

    answer, chain = tmp_path / "one.der", tmp_path / "chain.pem"
    answer.write_bytes(b"")
    chain.write_bytes(b"".join(open(f, "rb").read() for f in (one["cert"], ca.pem)))  # its issuer has signed the answer
    gw = secure({"cert": str(chain), "key": one["key"], "ocsp": str(answer)})
    assert not status()
    serial = subprocess.run(["openssl", "x509", "-in", one["cert"], "-noout", "-serial"], capture_output=True,
                            text=True, check=True).stdout.strip().split("=")[1]
    index = tmp_path / "index.txt"
    index.write_text(f"V\t491231235959Z\t\t{serial}\tunknown\t/CN=one\n")
    new = str(tmp_path / "new.der")
    ca.openssl("ocsp", "-index", str(index), "-CA", ca.pem, "-rsigner", ca.pem, "-rkey", ca.key, "-issuer", ca.pem,
               "-cert", one["cert"], "-no_nonce", "-ndays", "3", "-respout", new)
    os.rename(new, answer)
    wait_for("it is stapled", status)
    assert gw.api("/certs")["listeners"][0]["certificates"][0]["staple_until"] is not None


# --------------------------------------------------------------------------------------- resumption


def session_of(port, c):
    """A ticket comes with the first answer under TLS 1.3."""
    with connect(port, "one.test", context=c) as tls:
        ask(tls)
        return tls.session


def resumed(port, c, session):
    with connect(port, "one.test", context=c, session=session) as tls:
        answer = ask(tls)[0]
        assert tls.session_reused == ("/yes/" in answer)
        return tls.session_reused


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_are_taken_up_again_also_after_a_reload(secure, one, version):
    gw = secure(dict(one))
    c = context(version=version)
    session = session_of(gw.port, c)
    assert resumed(gw.port, c, session)
    gw.config["routes"].append({"path": "/new", "respond": "new"})
    gw.write(gw.config)
    done = subprocess.run([harness.binary(), "reload", gw.file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert resumed(gw.port, c, session)


def test_without_tickets_nothing_is_resumed(secure, one):
    gw = secure({**one, "tickets": False})
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        c = context(version=version)
        session = session_of(gw.port, c)
        assert session is None or not session.has_ticket
        assert not resumed(gw.port, c, session)


@pytest.mark.slow
def test_a_session_made_before_an_upgrade_or_a_crash_goes_on_after_it(secure, one, monkeypatch, tmp_path):
    path = tmp_path / "vivace"
    shutil.copy(harness.binary(), path)
    monkeypatch.setenv("VIVACE", str(path))
    gw = secure(dict(one))
    c = context(version=ssl.TLSVersion.TLSv1_3)
    session = session_of(gw.port, c)
    old = gw.worker()
    done = subprocess.run([str(path), "upgrade", gw.file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    wait_for("the old worker is gone", lambda: old not in gw.workers())
    assert resumed(gw.port, c, session)
    crashed = gw.worker()
    os.kill(crashed, 9)
    wait_for("another worker", lambda: [w for w in gw.workers() if w != crashed])

    def again():
        try:
            return resumed(gw.port, c, session)
        except OSError:
            return False

    wait_for("the session goes on", again)
    # the keys were in no file and in no environment
    with open(f"/proc/{gw.pid}/environ", "rb") as f:
        assert b"3600:" not in f.read()


# -------------------------------------------------------------------------------- client certificates


def test_a_required_client_certificate(secure, ca, one, client, stranger):
    gw = secure({**one, "mutual": ca.pem})
    assert get(gw.port, cert=client)[0] == "TLSv1.3//no/Partner 7/DNS:partner.test,URI:spiffe://test/partner/https"
    for cert in (None, stranger):
        with pytest.raises((ssl.SSLError, ConnectionError, IndexError)):
            get(gw.port, cert=cert)  # under TLS 1.3 the refusal comes after the client's last word
    wait_for("it is counted", lambda: metric(
        gw, 'vivace_tls_handshake_failures_total{listener="web",reason="cert_missing"}') == 1)
    assert metric(gw, 'vivace_tls_handshake_failures_total{listener="web",reason="cert_refused"}') == 1


def test_an_optional_client_certificate_tells_the_service_who_it_is(secure, origin, ca, one, client, stranger):
    seen = []

    def handler(conn):
        seen.append(conn.read_request())
        conn.send(harness.ok(b"ok", headers=[("Connection", "close")]))

    server = origin(handler)
    gw = secure({**one, "mutual": {"ca": ca.pem, "required": False}},
                services={"app": {"servers": [server.url]}},
                routes=[{"path": "/", "to": "app", "request_headers": {
                    "X-Client-Name": "$tls.client_name", "X-Client-Hash": "$tls.client_fingerprint"}}])
    forged = "X-Client-Name: admin\r\nX-Client-Hash: 00\r\n"
    assert get(gw.port, cert=client)[1] == "200"
    assert get(gw.port, headers=forged)[1] == "200"
    assert seen[0].all("X-Client-Name") == ["Partner 7"] and len(seen[0].get("X-Client-Hash")) == 64
    assert seen[1].get("X-Client-Name", "") == "" and seen[1].get("X-Client-Hash", "") == ""
    with pytest.raises((ssl.SSLError, ConnectionError, IndexError)):
        get(gw.port, cert=stranger)  # shown is shown: it must hold


def test_a_stream_of_http2_knows_the_client_of_its_connection(gateway, ca, one, client):
    gw = gateway({"listen": {"web": {"tls": {**one, "mutual": ca.pem}}}, "access": {"certificates": {"Partner 7": {}}},
                  "routes": [{"path": "/", "access": "certificate", "respond": "$user " + TEXT}]})
    done = subprocess.run(["curl", "-sk", "--http2", "-w", " %{http_version}", "--cert", client["cert"], "--key",
                           client["key"], f"https://127.0.0.1:{gw.port}/"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Partner 7 TLSv1.3//no/Partner 7/DNS:partner.test")
    assert done.stdout.endswith("https 2")


def test_a_resumed_session_still_knows_its_client(secure, ca, one, client):
    gw = secure({**one, "mutual": ca.pem})
    c = context(cert=client)
    session = session_of(gw.port, c)
    with connect(gw.port, "one.test", context=c, session=session) as tls:
        assert ask(tls)[0].startswith("TLSv1.3/one.test/yes/Partner 7/")


def test_callers_known_by_their_certificate_have_plans(secure, ca, one, client):
    other = ca.cert("other", "DNS:other.test", client=True)
    gw = secure({**one, "mutual": {"ca": ca.pem, "required": False}},
                access={"plans": {"gold": {"rate": "100/s"}}, "certificates": {"partner.test": "gold"}},
                routes=[{"path": "/free", "access": ["certificate", "optional"], "respond": "$user/$plan"},
                        {"path": "/gold", "access": {"by": "certificate", "plans": ["gold"]},
                         "respond": "$user/$plan"}])
    assert get(gw.port, "/gold", cert=client) == ("partner.test/gold", "200")
    assert get(gw.port, "/gold", cert=other)[1] == "401"  # it holds, but nobody named it
    assert get(gw.port, "/gold")[1] == "401"
    assert get(gw.port, "/free") == ("/", "200")


def test_a_route_that_shares_answers_cannot_know_callers_by_certificate(gateway, ca, one):
    gw = gateway({"listen": {"web": {"tls": {**one, "mutual": ca.pem}}},
                  "routes": [{"path": "/", "to": "http://127.0.0.1:1", "cache": "5m", "access": "certificate"}]},
                 start=False)
    done = subprocess.run([harness.binary(), "check", gw.file], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "shares answers" in done.stderr


# ------------------------------------------------------------------------------------ local authority


def test_a_local_authority_that_a_client_may_trust(secure):
    gw = secure({"mode": "local", "names": ["shop.test"]})
    folder = os.path.join(gw.folder, ".vivace", "tls")
    pem = os.path.join(folder, "ca.pem")
    assert pem in gw.log()  # the start says where it lies
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(os.path.join(folder, "ca.key")).st_mode) == 0o600
    c = context(ca_file=pem)
    c.check_hostname = True
    for name in ("shop.test", "localhost", "127.0.0.1"):
        with connect(gw.port, name, context=c) as tls:
            assert ask(tls)[1] == "200"
    first = open(pem, encoding="ascii").read()
    gw.stop()
    gw.start()
    assert open(pem, encoding="ascii").read() == first  # who trusts it need not do so again


def test_auto_in_the_profile_development_is_local(gateway):
    gw = gateway({"listen": {"web": {"tls": "auto", "http2": False}}, "profiles": {"development": {}},
                  "routes": [{"path": "/", "host": "dev.test", "respond": "ok"},
                             {"path": "/", "respond": "ok"}]}, args=["--profile", "development"])
    assert gw.api("/certs")["listeners"][0]["source"] == "local"
    assert "dev.test" in gw.api("/certs")["listeners"][0]["certificates"][0]["names"]


def test_auto_shows_a_placeholder_until_the_authority_has_answered(secure):
    gw = secure({"mode": "auto", "names": ["shop.test"]},
                acme={"directory": f"https://127.0.0.1:{harness.free_port()}/dir"})
    assert get(gw.port, name="shop.test")[1] == "200"
    listener = gw.api("/certs")["listeners"][0]
    assert listener["waiting"] == ["shop.test"]
    assert listener["certificates"][0]["source"] == "placeholder"


# ---------------------------------------------------------------------------------------------- view


def test_certs_says_what_is_shown_and_until_when(secure, one, rsa):
    gw = secure({"certs": [one, rsa], "tickets": "8h"})
    done = subprocess.run([harness.binary(), "certs", gw.file], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [(r[0], r[1]) for r in rows[1:]] == [("web", "one.test"), ("web", "one.test")]
    assert [r[3] if r[1] == "one.test" and r[2].startswith("+") else r[2] for r in rows[1:]] == ["ecdsa", "rsa"]
    listener = gw.api("/certs")["listeners"][0]
    assert listener["tickets"] == 8 * 3600
    assert [c["key"] for c in listener["certificates"]] == ["ecdsa", "rsa"]
    left = listener["certificates"][0]["seconds_left"]
    assert 29 * 86400 < left <= 30 * 86400
    assert metric(gw, "vivace_tls_certificate_expires_timestamp_seconds") > 2 * time.time()
