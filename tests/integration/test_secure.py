# tests/integration/test_secure.py - headers for browsers, CORS, the way to HTTPS and reports, of the real
# binary: on answers of every kind, cached ones and errors too.
import http.client
import json
import ssl
import subprocess
import threading

import pytest

from harness import binary, ok

APP = "https://app.example.org"
SAFE = [("X-Forwarded-Proto", "https")]
TRUST = {"web": {"trust": ["127.0.0.0/8"]}}
STRICT = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Permitted-Cross-Domain-Policies": "none",
    "Strict-Transport-Security": "max-age=63072000; includeSubDomains",
}


def preflight(gw, origin=APP, method="PUT", headers=None, target="/", **kw):
    fields = [("Origin", origin), ("Access-Control-Request-Method", method)]
    if headers:
        fields.append(("Access-Control-Request-Headers", headers))
    return gw.ask(target, "OPTIONS", headers=fields, **kw)


def check_strict(answer):
    for name, value in STRICT.items():
        assert answer.all(name) == [value], (name, answer.all(name))
    assert "frame-ancestors 'none'" in answer.get("Content-Security-Policy")


def test_strict_is_on_answers_of_every_kind(gateway, origin, tmp_path):
    server = origin(answer=lambda req: ok(b"up", headers=[("Server", "Old/1"), ("X-Powered-By", "PHP"), ("X-Frame-Options", "ALLOWALL"),
                                              ("Cache-Control", "max-age=60"), ("ETag", '"1"')]))
    (tmp_path / "a.txt").write_text("file")
    gw = gateway(
        {
            "listen": TRUST,
            "defaults": {"secure": "strict"},
            "routes": [
                {"path": "/files/", "files": str(tmp_path)},
                {"path": "/moved", "redirect": "/new"},
                {"path": "/said", "respond": {"status": 200, "body": "said"}},
                {"path": "/down", "to": "http://127.0.0.1:1"},
                {"path": "/none", "require": {"X-Wanted": "1"}, "respond": {"status": 200, "body": ""}},
                {"path": "/cached", "to": server.url, "cache": "1m"},
                {"path": "/", "to": server.url},
            ],
        }
    )
    for target, status in [("/files/a.txt", 200), ("/files/no", 404), ("/moved", 308), ("/said", 200), ("/down", 502), ("/none", 400),
                           ("/cached", 200), ("/cached", 200), ("/x", 200)]:
        answer = gw.ask(target, headers=SAFE)
        assert answer.status == status, target
        check_strict(answer)
        assert not answer.has("Server") and not answer.has("X-Powered-By")
    again = gw.ask("/cached", headers=SAFE + [("If-None-Match", '"1"')])
    assert again.status == 304
    check_strict(again)
    assert len([r for r in server.requests if r.target == "/cached"]) == 1
    # Over HTTP a stored answer says nothing about HTTPS, whoever asked before.
    assert not gw.ask("/cached").has("Strict-Transport-Security")


def test_answers_without_a_route_are_careful_too(gateway):
    gw = gateway({"listen": TRUST, "defaults": {"secure": "strict"},
                  "routes": [{"path": "/a", "respond": {"status": 200, "body": "a"}}]})
    answer = gw.ask("/b", headers=SAFE)
    assert answer.status == 404
    check_strict(answer)


def test_a_preflight_needs_no_key_and_the_request_does(gateway, origin):
    server = origin(answer=lambda req: ok(b"data"))
    gw = gateway(
        {
            "routes": [
                {"path": "/", "methods": ["GET", "PUT"], "require": {"X-Api-Version": "1"}, "to": server.url,
                 "cors": {"origins": [APP], "credentials": True, "headers": ["X-Api-Version"], "max_age": "1h"}},
            ],
        }
    )
    answer = preflight(gw, headers="x-api-version")
    assert answer.status == 204 and answer.body == b""
    assert answer.all("Access-Control-Allow-Origin") == [APP]
    assert answer.get("Access-Control-Allow-Methods") == "GET, PUT"
    assert answer.get("Access-Control-Allow-Headers") == "X-Api-Version"
    assert answer.get("Access-Control-Allow-Credentials") == "true"
    assert answer.get("Access-Control-Max-Age") == "3600"
    assert "Origin" in answer.get("Vary")
    refused = preflight(gw, origin="https://evil.net")
    assert refused.status == 403 and not refused.has("Access-Control-Allow-Origin")
    assert json.loads(refused.body)["reason"] == "origin_refused"
    assert server.requests == []
    # Errors can be read by the page, too.
    error = gw.ask("/", headers=[("Origin", APP)])
    assert error.status == 400 and error.get("Access-Control-Allow-Origin") == APP
    fine = gw.ask("/", headers=[("Origin", APP), ("X-Api-Version", "1")])
    assert fine.status == 200 and fine.get("Access-Control-Allow-Origin") == APP
    assert "X-Request-Id" in fine.get("Access-Control-Expose-Headers")


def test_options_that_is_no_preflight_goes_on(gateway, origin):
    server = origin(answer=lambda req: ok(b"options of the application"))
    gw = gateway({"routes": [{"path": "/", "to": server.url, "cors": APP}]})
    for headers in ([], [("Origin", APP)], [("Access-Control-Request-Method", "PUT")]):
        answer = gw.ask("/", "OPTIONS", headers=headers)
        assert answer.body == b"options of the application"
    assert len(server.requests) == 3


def test_a_stored_answer_is_for_every_origin(gateway, origin):
    server = origin(answer=lambda req: ok(b"data", headers=[("Cache-Control", "max-age=60"), ("Vary", "Accept-Language"),
                                                ("Access-Control-Allow-Origin", "https://somebody.else")]))
    gw = gateway({"routes": [{"path": "/", "to": server.url, "cache": "1m", "cors": [APP, "https://*.example.net"]}]})
    for sent, said in [(APP, [APP]), ("https://a.example.net", ["https://a.example.net"]), ("https://evil.net", []), (None, []), (APP, [APP])]:
        answer = gw.ask("/", headers=[("Origin", sent)] if sent else [])
        assert answer.status == 200
        assert answer.all("Access-Control-Allow-Origin") == said
        assert "Origin" in answer.get("Vary") and "Accept-Language" in answer.get("Vary")
    assert len(server.requests) == 1


def test_all_origins_need_no_vary(gateway):
    gw = gateway({"routes": [{"path": "/", "respond": {"status": 200, "body": "hi"}, "cors": "*"}]})
    answer = gw.ask("/")
    assert answer.get("Access-Control-Allow-Origin") == "*" and not answer.has("Vary")


def test_a_route_can_leave_what_defaults_share(gateway):
    gw = gateway({"defaults": {"cors": "*", "secure": "strict"},
                  "routes": [{"path": "/own", "cors": False, "secure": False, "respond": {"status": 200, "body": "hi"}},
                             {"path": "/", "respond": {"status": 200, "body": "hi"}}]})
    assert gw.ask("/").has("Access-Control-Allow-Origin") and gw.ask("/").has("X-Frame-Options")
    assert not gw.ask("/own").has("Access-Control-Allow-Origin") and not gw.ask("/own").has("X-Frame-Options")
    assert preflight(gw, target="/own").status == 200  # the route's own answer


def test_plain_listeners_lead_to_https(gateway):
    gw = gateway({"listen": {"web": {"redirect": "https", "trust": ["127.0.0.0/8"]}},
                  "routes": [{"path": "/", "respond": {"status": 200, "body": "hi"}}]})
    for method, status in [("GET", 301), ("HEAD", 301), ("POST", 308), ("PUT", 308), ("OPTIONS", 308)]:
        answer = gw.ask("/a/b?c=d&e", method, host="Shop.example.org:8080", body=b"x" if method in ("POST", "PUT") else None)
        assert (answer.status, answer.get("Location")) == (status, "https://shop.example.org/a/b?c=d&e")
        assert not answer.has("Strict-Transport-Security")
    assert gw.ask("/.well-known/acme-challenge/x").status == 200
    assert gw.ask("/.well-known/acme-challenge/../../a").status == 301
    assert gw.ask("/", headers=SAFE).status == 200  # behind a balancer that speaks TLS
    gw.books_balance()


@pytest.mark.parametrize("host", ["evil.net/", "a@b", "a b", "a,b", "[::1", "a:99999", "a:x", "%0d%0a"])
def test_odd_hosts_are_led_nowhere(gateway, host):
    gw = gateway({"listen": {"web": {"redirect": "https", "trust": ["127.0.0.0/8"]}},
                  "routes": [{"path": "/", "respond": {"status": 200, "body": "hi"}}]})
    answer = gw.ask("/", host=host)
    assert answer.status == 400 and not answer.has("Location")


def report_of(directive, kind="enforce"):
    return json.dumps({"csp-report": {"document-uri": "https://a/page?secret=1", "effective-directive": directive,
                                      "blocked-uri": "https://evil.net/x.js", "disposition": kind}}).encode()


def post(gw, body, kind="application/csp-report", **kw):
    return gw.ask("/csp-reports", "POST", headers=[("Content-Type", kind)], body=body, **kw)


def reporting(gateway):
    return gateway({"defaults": {"secure": {"preset": "strict", "csp_reports": "/csp-reports", "csp_report_only": "img-src 'self'"}},
                    "routes": [{"path": "/", "respond": {"status": 200, "body": "hi"}}]})


def test_reports_are_counted_by_directive_and_logged(gateway):
    gw = reporting(gateway)
    page = gw.ask("/")
    for name in ("Content-Security-Policy", "Content-Security-Policy-Report-Only"):
        assert page.get(name).endswith("; report-uri /csp-reports; report-to vivace-csp")
    assert page.get("Reporting-Endpoints") == 'vivace-csp="/csp-reports"'
    assert post(gw, report_of("script-src-elem")).status == 204
    assert post(gw, report_of("img-src", "report")).status == 204
    many = [{"type": "csp-violation", "body": {"effectiveDirective": f"made-up-{i}"}} for i in range(40)]
    assert post(gw, json.dumps(many).encode(), "application/reports+json; charset=utf-8").status == 204
    gw.wait_metric("vivace_csp_reports_total", 1, directive="script-src-elem", disposition="enforce")
    gw.wait_metric("vivace_csp_reports_total", 1, directive="img-src", disposition="report")
    gw.wait_metric("vivace_csp_reports_total", 32, directive="other", disposition="enforce")
    gw.wait_metric("vivace_csp_reports_total", 8, directive="other", disposition="dropped")
    assert "script-src-elem violated page=https://a/page blocked=https://evil.net/x.js" in gw.log()
    assert "secret" not in gw.log()
    assert gw.ask("/csp-reports").status == 200  # only POST is taken


@pytest.mark.parametrize(
    "body,kind,status",
    [
        (b"", "application/csp-report", 400),
        (b"{}", "application/csp-report", 400),
        (b'{"csp-report":', "application/csp-report", 400),
        (b"[" * 60000, "application/reports+json", 400),
        (b'{"csp-report":' * 4000, "application/csp-report", 400),
        (b" " * 65537, "application/csp-report", 413),
        (report_of("img-src"), "text/plain", 415),
    ],
    ids=["empty", "no-report", "cut", "deep-lists", "deep-objects", "large", "type"],
)
def test_what_is_no_report_is_refused(gateway, body, kind, status):
    gw = reporting(gateway)
    assert post(gw, body, kind).status == status
    assert gw.ask("/").status == 200
    gw.books_balance()


def test_a_flood_of_reports_is_dropped_unread(gateway):
    gw = reporting(gateway)

    def flood():
        with gw.client() as c:
            for _ in range(300):
                assert c.ask("/csp-reports", "POST", headers=[("Content-Type", "application/csp-report")], body=report_of("img-src")).status == 204

    threads = [threading.Thread(target=flood) for _ in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    m = gw.metrics()
    read = m.sum("vivace_csp_reports_total", directive="img-src", disposition="enforce")
    assert read + m.sum("vivace_csp_reports_total", directive="other", disposition="dropped") == 600
    assert read % 100 == 0 or read < 600
    assert gw.log().count("violated page=") <= 5 * (read // 100 + 2)


def over_tls(gw, target):
    """Status and headers of a GET over HTTP/1.1 and TLS."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    c = http.client.HTTPSConnection("127.0.0.1", gw.ports["secure"], context=context, timeout=20)
    c.request("GET", target, headers={"Host": "shop.example.org"})
    answer = c.getresponse()
    answer.read()
    c.close()
    return answer


def tls_gateway(gateway, **secure):
    return gateway({"listen": {"web": {"redirect": "https"}, "secure": {"tls": "local", **secure}}, "defaults": {"secure": "strict"},
                    "routes": [{"path": "/a", "respond": {"status": 200, "body": "hi"}}]})


def test_https_is_where_the_redirect_says(gateway):
    gw = tls_gateway(gateway)
    moved = gw.ask("/a?b", host="shop.example.org")
    assert moved.status == 301
    assert moved.get("Location") == f"https://shop.example.org:{gw.ports['secure']}/a?b"
    assert moved.has("X-Frame-Options") and not moved.has("Strict-Transport-Security")
    for target, status in [("/a", 200), ("/none", 404)]:
        answer = over_tls(gw, target)
        assert answer.status == status
        assert answer.getheader("Strict-Transport-Security") == STRICT["Strict-Transport-Security"]


def test_hosts_that_nobody_serves_over_https_are_led_nowhere(gateway):
    gw = tls_gateway(gateway, names=["shop.example.org"])
    assert gw.ask("/a", host="shop.example.org").status == 301
    assert gw.ask("/a", host="evil.net").status == 421


def test_explain_tells_the_way_to_https(gateway):
    gw = gateway({"listen": {"web": {"redirect": "https:8443", "trust": ["127.0.0.0/8"]}},
                  "routes": [{"path": "/", "respond": {"status": 200, "body": "hi"}}]})
    assert gw.ask("/a", host="h").get("Location") == "https://h:8443/a"
    ran = subprocess.run([binary(), "explain", "POST", f"http://h:{gw.port}/a?b", "--json", "--socket", gw.config["socket"]],
                         capture_output=True, text=True, timeout=20)
    said = json.loads(ran.stdout)
    assert (said["result"], said["status"], said["location"]) == ("redirected", 308, "https://h:8443/a?b")


def test_streams_of_http2_carry_the_same(gateway):
    gw = gateway({"listen": {"secure": {"tls": "local"}}, "defaults": {"secure": "strict", "cors": APP},
                  "routes": [{"path": "/a", "respond": {"status": 200, "body": "hi"}}]})
    for target, status in [("/a", "200"), ("/none", "404")]:
        ran = subprocess.run(["curl", "-ski", "--http2", "-H", f"Origin: {APP}", f"https://127.0.0.1:{gw.port}{target}"],
                             capture_output=True, text=True, timeout=20)
        head = ran.stdout.partition("\n\n")[0].split("\n")
        assert head[0].startswith(f"HTTP/2 {status}"), ran.stderr
        assert "strict-transport-security: max-age=63072000; includeSubDomains" in head
        assert (f"access-control-allow-origin: {APP}" in head) == (target == "/a")
    ran = subprocess.run(["curl", "-ski", "--http2", "-X", "OPTIONS", "-H", f"Origin: {APP}", "-H", "Access-Control-Request-Method: PUT",
                          f"https://127.0.0.1:{gw.port}/a"], capture_output=True, text=True, timeout=20)
    assert ran.stdout.startswith("HTTP/2 204") and f"access-control-allow-origin: {APP}\n" in ran.stdout
