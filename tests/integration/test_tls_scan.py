# tests/integration/test_tls_scan.py - what scanners of TLS say about the default settings.
import json
import os
import re
import shutil
import subprocess

import pytest

import harness
from test_tls import Authority

GRAVE = {"MEDIUM", "HIGH", "CRITICAL", "FATAL"}


@pytest.fixture(scope="module")
def edge(tmp_path_factory):
    """A gateway with an ECDSA and an RSA certificate as a public authority would make them."""
    ca = Authority(tmp_path_factory.mktemp("scan"))
    sign = ca.openssl

    def openssl(*args):
        if args[0] == "x509":  # an authority says where to ask about its certificates
            with open(args[args.index("-extfile") + 1], "a", encoding="ascii") as f:
                f.write("crlDistributionPoints=URI:http://127.0.0.1:1/root.crl\n")
        sign(*args)

    ca.openssl = openssl
    certs = [ca.cert(k, "DNS:localhost,IP:127.0.0.1", kind=k, days="90", cn="localhost") for k in ("ec", "rsa")]
    gw = harness.Gateway(
        {
            "listen": {"web": {"tls": {"certs": certs}}},
            "defaults": {"secure": "strict"},
            "routes": [{"path": "/", "respond": "hello\n"}],
        }
    )
    try:
        yield gw, ca
        gw.stop()
    finally:
        gw.stop(check=False)
        gw.remove()


@pytest.mark.skipif(not shutil.which("sslscan"), reason="sslscan is not installed")
def test_sslscan_finds_forward_secrecy_everywhere(edge):
    gw, _ = edge
    out = subprocess.run(["sslscan", "--no-colour", f"127.0.0.1:{gw.ports['web']}"], capture_output=True, text=True,
                         timeout=120, check=True).stdout
    assert re.findall(r"^(SSLv2|SSLv3|TLSv1\.0|TLSv1\.1)\s+enabled", out, re.M) == []
    assert re.findall(r"^(TLSv1\.[23])\s+enabled", out, re.M) == ["TLSv1.2", "TLSv1.3"]
    suites = re.findall(r"^(?:Preferred|Accepted)\s+(\S+)\s+\d+ bits\s+(\S+)", out, re.M)
    assert len(suites) >= 6
    for version, suite in suites:
        assert version == "TLSv1.3" or suite.startswith("ECDHE-"), suite
        assert "GCM" in suite or "CHACHA20" in suite, suite
    assert "vulnerable to heartbleed" not in out.replace("not vulnerable to heartbleed", "")
    assert "Session renegotiation not supported" in out


@pytest.mark.skipif(not os.environ.get("VIVACE_LONG"), reason="takes minutes: VIVACE_LONG=1")
@pytest.mark.timeout(900)
def test_testssl_finds_nothing_grave(edge, tmp_path):
    gw, ca = edge
    report = tmp_path / "report.json"
    subprocess.run(["testssl", "--warnings", "off", "--color", "0", "--add-ca", ca.pem, "-oj", str(report),
                    f"https://localhost:{gw.ports['web']}"], capture_output=True, timeout=880, check=False)
    rows = json.loads(report.read_text(encoding="utf-8"))
    assert len(rows) > 100
    assert [(r["id"], r["severity"], r["finding"]) for r in rows if r["severity"] in GRAVE] == []
    by_id = {r["id"]: r for r in rows}
    assert by_id["PFS"]["severity"] == "OK" and by_id["HSTS_time"]["severity"] == "OK"
    assert by_id["HSTS_subdomains"]["severity"] == "OK"
