# tests/integration/test_acme.py - certificates that look after themselves, against Pebble, a real authority.
import json
import os
import re
import shutil
import socket
import ssl
import stat
import subprocess
import time

import pytest

import harness
import pebble
from harness import wait_for

pytestmark = pytest.mark.skipif(not pebble.FOUND, reason="needs the Debian package pebble")

long = pytest.mark.skipif("VIVACE_LONG" not in os.environ, reason="takes its time: set VIVACE_LONG=1")


@pytest.fixture
def authority(stack, tmp_path):
    """authority(http=..., tls=..., life=...) starts one more Pebble."""
    made = []

    def make(**kw):
        folder = tmp_path / f"authority{len(made)}"
        folder.mkdir()
        made.append(pebble.Pebble(folder, **kw))
        stack.append(made[-1])
        return made[-1]

    return make


class Ports:
    """Ports known before the gateway starts: the authority must know them too."""

    def __init__(self):
        self.web, self.secure = harness.free_port(), harness.free_port()


def config(ports, authorities, names, plain=True, **acme):
    if not isinstance(authorities, list):
        authorities = [authorities]
    listen = {"secure": {"address": f"127.0.0.1:{ports.secure}", "tls": {"mode": "auto", "names": names}}}
    if plain:
        listen["web"] = {"address": f"127.0.0.1:{ports.web}"}
    return {"listen": listen, "routes": [{"path": "/", "respond": "hello"}],
            "acme": dict({"directory": [a.directory for a in authorities], "ca": authorities[-1].ca, "retry": "1s"},
                         **acme)}


def shown(port, name, root=None):
    """The certificate a client sees, as (serial, issuer, end); verified with `root`."""
    c = ssl.create_default_context(cafile=root) if root else ssl._create_unverified_context()
    with socket.create_connection(("127.0.0.1", port), timeout=harness.PATIENCE) as raw:
        with c.wrap_socket(raw, server_hostname=name) as tls:
            der = tls.getpeercert(binary_form=True)
            tls.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
            assert b"200 OK" in tls.recv(4096)
    text = subprocess.run(["openssl", "x509", "-inform", "DER", "-noout", "-serial", "-issuer"], input=der, check=True,
                          capture_output=True).stdout.decode()
    return int(re.search("serial=(.*)", text)[1], 16), re.search("issuer=(.*)", text)[1]


def from_pebble(port, name):
    serial, issuer = shown(port, name)
    return serial if "Pebble" in issuer else None


def certificate(gw, ports, name):
    return wait_for(f"a certificate for {name}\n{gw.log()}", lambda: from_pebble(ports.secure, name), 20)


def of(gw, name):
    """What the gateway says about the order of a name."""
    return next(n for n in gw.api("/certs")["acme"] if n["name"] == name)


# ------------------------------------------------------------------------------------------- orders


@pytest.mark.parametrize("challenge", ["http-01", "tls-alpn-01"])
def test_a_name_is_proved_and_its_certificate_served(gateway, authority, challenge):
    ports = Ports()
    ca = authority(http=ports.web, tls=ports.secure)
    gw = gateway(config(ports, ca, ["shop.test"], plain=challenge == "http-01", challenge=challenge,
                        email="me@shop.test"))
    serial = certificate(gw, ports, "shop.test")
    assert shown(ports.secure, "shop.test", ca.root())[0] == serial  # chain and name hold
    state = wait_for("the state is known", lambda: of(gw, "shop.test")["state"] == "valid" and of(gw, "shop.test"))
    assert state["failures"] == 0 and state["error"] is None and state["authority"] == ca.directory
    assert gw.metric("vivace_acme_orders_total", result="ok") == 1
    store = os.path.join(gw.folder, ".vivace", "acme")
    for folder, _, files in os.walk(store):
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
        for f in files:
            assert stat.S_IMODE(os.stat(os.path.join(folder, f)).st_mode) == 0o600
    assert os.listdir(os.path.join(store, "challenges")) == []


def test_a_second_start_orders_nothing_and_tokens_of_others_go_to_the_routes(gateway, authority, tmp_path):
    ports = Ports()
    ca = authority(http=ports.web, tls=ports.secure)
    conf = config(ports, ca, ["shop.test"], store=str(tmp_path / "store"))
    gw = gateway(conf)
    serial = certificate(gw, ports, "shop.test")
    gw.stop()
    gw = gateway(conf)
    assert from_pebble(ports.secure, "shop.test") == serial  # from the first handshake on
    for token in ("ABCDEFGHIJKLMNOPQRSTUVWXYZ012345", "../locks/shop.test", "%2e%2e/certs/shop.test.pem", "x", ""):
        assert gw.ask("/.well-known/acme-challenge/" + token, listener="web").body == b"hello"
    time.sleep(0.5)
    assert ca.issued() == 1


def test_several_names_and_half_of_all_nonces_refused(gateway, authority):
    ports = Ports()
    ca = authority(http=ports.web, tls=ports.secure, nonces=50)
    names = ["a.test", "b.test", "c.test"]
    gw = gateway(config(ports, ca, names))
    for name in names:
        certificate(gw, ports, name)
    assert ca.issued() == 3
    assert gw.metric("vivace_acme_orders_total", result="failed") == 0, gw.log()


def test_a_name_that_cannot_be_proved_holds_up_no_other_and_says_why(gateway, authority):
    ports = Ports()
    ca = authority(http=ports.web, tls=ports.secure)
    gw = gateway(config(ports, ca, ["good.test", "nowhere.invalid"]))
    certificate(gw, ports, "good.test")
    wait_for("the failure is told", lambda: of(gw, "nowhere.invalid")["error"])
    state = of(gw, "nowhere.invalid")
    assert "nowhere.invalid" in state["error"] and state["failures"] >= 1 and state["state"] == "none"
    assert gw.metric("vivace_acme_failing") == 1
    assert "nowhere.invalid: no certificate from" in gw.log()


def test_a_challenge_nobody_answers_is_told_in_the_authoritys_words(gateway, authority):
    ports = Ports()
    ca = authority(http=harness.free_port(), tls=harness.free_port())  # it looks elsewhere
    gw = gateway(config(ports, ca, ["shop.test"], challenge="http-01"))
    error = wait_for("the failure is told", lambda: of(gw, "shop.test")["error"])
    assert "http-01" in error and "connection refused" in error
    assert "Pebble" not in shown(ports.secure, "shop.test")[1]  # something is served all the same


def test_an_external_account(gateway, authority):
    ports = Ports()
    mac = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
    ca = authority(http=ports.web, tls=ports.secure, eab={"kid-1": mac})
    gw = gateway(config(ports, ca, ["shop.test"]))
    error = wait_for("the failure is told", lambda: of(gw, "shop.test")["error"])
    assert "acme.eab" in error
    answer = gw.reload(config(ports, ca, ["shop.test"], eab={"key": "kid-1", "mac": mac}))
    assert answer.status == 200, answer.body
    certificate(gw, ports, "shop.test")  # at once: what was wrong was changed
    assert mac not in gw.log() and mac not in json.dumps(gw.api("/certs"))


# ------------------------------------------------------------------------------------------ renewal


def test_renewal_before_the_end_with_no_handshake_failing(gateway, authority):
    ports = Ports()
    ca = authority(http=ports.web, tls=ports.secure, life=9)  # renewed when 6.0 to 6.3 s are over
    gw = gateway(config(ports, ca, ["shop.test"]))
    seen = [certificate(gw, ports, "shop.test")]
    root, until = ca.root(), time.monotonic() + 40 * harness.SCALE
    renewals = 4 if os.environ.get("VIVACE_LONG") else 1
    while len(seen) <= renewals and time.monotonic() < until:
        serial = shown(ports.secure, "shop.test", root)[0]  # never an expired one
        if serial != seen[-1]:
            seen.append(serial)
        time.sleep(0.05)
    assert len(seen) == renewals + 1
    assert gw.metric("vivace_acme_orders_total", result="failed") == 0


def test_when_the_authority_is_lost_the_certificate_stays_and_the_order_goes_on_later(gateway, authority):
    ports = Ports()
    ca = authority(http=ports.web, tls=ports.secure, life=6)
    gw = gateway(config(ports, ca, ["shop.test"]))
    serial = certificate(gw, ports, "shop.test")
    ca.stop()
    last = wait_for("a renewal failed", lambda: of(gw, "shop.test")["failures"] >= 1 and of(gw, "shop.test"), 20)
    assert str(ca.port) in last["error"]
    assert gw.metric("vivace_acme_failing") == 1
    assert shown(ports.secure, "shop.test")[0] != 0  # what was there is served
    kept = shown(ports.secure, "shop.test")[0]
    ca.start()  # another one in truth: with new keys, and it has forgotten the account
    wait_for("a new certificate", lambda: shown(ports.secure, "shop.test")[0] not in (serial, kept), 30)
    wait_for("nothing fails any more", lambda: gw.metric("vivace_acme_failing") == 0)
    assert shown(ports.secure, "shop.test", ca.root())


@long
def test_another_authority_is_asked_when_the_first_is_lost(gateway, authority):
    ports = Ports()
    lost = authority()
    lost.stop()
    ca = authority(http=ports.web, tls=ports.secure)
    gw = gateway(config(ports, [lost, ca], ["shop.test"]))
    certificate(gw, ports, "shop.test")
    assert of(gw, "shop.test")["authority"] == ca.directory


def test_two_gateways_with_one_store_order_once(gateway, authority, tmp_path):
    first, second = Ports(), Ports()
    ca = authority(http=first.web, tls=first.secure)
    store = str(tmp_path / "store")
    # both may order; the authority comes to the first one only, whoever has ordered
    one = gateway(config(first, ca, ["shop.test"], store=store, challenge="http-01"), start=False)
    two = gateway(config(second, ca, ["shop.test"], store=store, challenge="http-01"), start=False)
    one.start(wait=False)
    two.start(wait=False)
    one.wait_ready()
    two.wait_ready()
    serial = certificate(one, first, "shop.test")
    assert certificate(two, second, "shop.test") == serial
    time.sleep(1)
    assert ca.issued() == 1
    total = [g.metric("vivace_acme_orders_total", result="ok") for g in (one, two)]
    assert sorted(total) == [0, 1]


@long
def test_two_gateways_renew_once(gateway, authority, tmp_path):
    first, second = Ports(), Ports()
    ca = authority(http=first.web, tls=first.secure, life=9)
    store = str(tmp_path / "store")
    one = gateway(config(first, ca, ["shop.test"], store=store, challenge="tls-alpn-01"))
    two = gateway(config(second, ca, ["shop.test"], store=store, challenge="tls-alpn-01"))
    serial = certificate(one, first, "shop.test")
    renewed = wait_for("a renewal", lambda: next(iter({shown(first.secure, "shop.test")[0]} - {serial}), None), 20)
    wait_for("the other has it", lambda: shown(second.secure, "shop.test")[0] == renewed)
    assert ca.issued() == 2


# ------------------------------------------------------------------------------- asked for by people


def test_renewing_by_hand(gateway, authority):
    ports = Ports()
    ca = authority(http=ports.web, tls=ports.secure)
    gw = gateway(config(ports, ca, ["shop.test"]))
    serial = certificate(gw, ports, "shop.test")
    assert gw.admin("/api/v1/certs/shop.test/renew", "POST").status in (200, 202)
    wait_for("another certificate", lambda: from_pebble(ports.secure, "shop.test") not in (serial, None), 20)
    assert ca.issued() == 2


def test_revoking_makes_room_for_a_certificate_with_another_key(gateway, authority):
    ports = Ports()
    ca = authority(http=ports.web, tls=ports.secure)
    gw = gateway(config(ports, ca, ["shop.test"]))
    serial = certificate(gw, ports, "shop.test")
    assert ca.status(serial) == "Valid"
    out = subprocess.run([harness.binary(), "certs", "revoke", "shop.test", gw.file], capture_output=True, text=True,
                         check=False)
    assert out.returncode == 0, out.stderr
    wait_for("it is revoked", lambda: ca.status(serial) == "Revoked")
    wait_for("another certificate", lambda: from_pebble(ports.secure, "shop.test") not in (serial, None), 20)
    certs = os.path.join(gw.folder, ".vivace", "acme", "certs")
    keys = [open(os.path.join(certs, f), encoding="ascii").read().split("-----END PRIVATE KEY")[0]
            for f in ("shop.test.pem", "shop.test.revoked.pem")]
    assert keys[0] != keys[1]
    out = subprocess.run([harness.binary(), "certs", "revoke", "else.test", gw.file], capture_output=True, text=True,
                         check=False)
    assert out.returncode == 1


# ------------------------------------------------------------------------------------------- clocks


@long  # unit tests walk through the same jumps
@pytest.mark.skipif(not shutil.which("faketime"), reason="needs the Debian package faketime")
@pytest.mark.skipif(harness.SANITIZER is not None, reason="a sanitizer must be the first library")
def test_a_clock_that_jumps_costs_one_order_and_no_more(gateway, authority, tmp_path):
    library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
    if not os.path.exists(library):
        pytest.skip("libfaketime is elsewhere")
    ports = Ports()
    ca = authority(http=ports.web, tls=ports.secure)
    shift = tmp_path / "shift"
    shift.write_text("+0")
    conf = config(ports, ca, ["shop.test"], store=str(tmp_path / "store"))
    env = {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(shift), "FAKETIME_NO_CACHE": "1",
           "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_FORCE_MONOTONIC_FIX": "0"}
    gw = gateway(conf, env=env)
    first = certificate(gw, ports, "shop.test")
    shift.write_text("-300d")  # before the certificate began
    time.sleep(2.5)
    assert from_pebble(ports.secure, "shop.test") == first
    gw.stop()
    shift.write_text("+100d")  # beyond its end
    gw = gateway(conf, env=env)
    second = wait_for("another certificate",
                      lambda: next(iter({from_pebble(ports.secure, "shop.test")} - {first}), None), 20)
    time.sleep(2.5)  # for this clock the new one has expired too: it must not order again and again
    shift.write_text("+0")
    time.sleep(2.5)
    assert from_pebble(ports.secure, "shop.test") == second
    assert ca.issued() == 2


# -------------------------------------------------------------------------------------------- check


def check(tmp_path, text):
    path = tmp_path / "vivace.yaml"
    path.write_text(text)
    out = subprocess.run([harness.binary(), "check", str(path)], capture_output=True, text=True, check=False)
    return out.returncode, out.stdout + out.stderr


LISTEN = "listen: {web: 80, secure: {port: 443, tls: {mode: auto, names: [%s]}}}\nroutes: [{path: /, respond: x}]\n"


@pytest.mark.parametrize("names,more,word", [
    ("'*.shop.test'", "", "dns-01"),
    ("a_b.test", "", "letters, digits"),
    ("192.0.2.1", "acme: {challenge: tls-alpn-01}\n", "http-01"),
    ("shop.test", "acme: {directory: lets-encrypt}\n", "letsencrypt"),
    ("shop.test", "acme: {directory: 'http://ca.test/dir'}\n", "https"),
    ("shop.test", "acme: nobody\n", "admin@example.org"),
    ("shop.test", "acme: {ca: missing.pem}\n", "missing.pem"),
    ("shop.test", "acme: {eab: {key: k, mac: 'no base64!'}}\n", "base64url"),
    ("shop.test", "acme: {retry: 4}\n", "unit"),
    ("shop.test", "acme: {store: /etc}\n", "chmod 700"),
    ("shop.test", "acme: {store: /etc/passwd}\n", "no directory"),
])
def test_mistakes_are_found_before_a_start(tmp_path, names, more, word):
    code, text = check(tmp_path, LISTEN % names + more)
    assert code == 2 and word in text, text


def test_short_forms_and_words(tmp_path):
    code, text = check(tmp_path, LISTEN % "shop.test" + "acme: me@shop.test\n")
    assert code == 0, text
    code, text = check(tmp_path, LISTEN % "shop.test" + "acme: {directory: [letsencrypt-staging, letsencrypt]}\n")
    assert code == 0, text
