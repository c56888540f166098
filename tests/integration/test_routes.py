# tests/integration/test_routes.py - which route a request takes and what its action answers.
import json

import pytest

from harness import Origin, free_port, ok


@pytest.fixture
def echo(origin):
    """An origin that tells what it saw, and the words to reach it."""

    def answer(req):
        seen = {"target": req.target, "method": req.method, "headers": req.headers, "host": req.get("Host")}
        return ok(json.dumps(seen).encode(), headers={"Content-Type": "application/json"})

    return origin(answer=answer)


def said(answer):
    assert answer.status == 200, answer.line
    return json.loads(answer.body)


def names(*rules):
    """Routes that answer with their own name: rules are (name, {conditions})."""
    return [dict({"respond": {"body": name}, "name": name}, **rule) for name, rule in rules]


def test_the_first_matching_route_answers(gateway):
    gw = gateway(
        {
            "routes": names(
                ("exact", {"path": "/a/exact"}),
                ("prefix", {"path": "/a/"}),
                ("param", {"path": "/u/{id}"}),
                ("deep", {"path": "/u/{id}/posts/{post}"}),
                ("rest", {"path": "/f/{file...}"}),
                ("glob", {"path": "*.{jpg,png}"}),
                ("root", {"path": "/"}),
            )
        }
    )
    wanted = {
        "/a/exact": "exact",
        "/a/exact/": "prefix",
        "/a/": "prefix",
        "/a/b/c": "prefix",
        "/a": "root",
        "/ab": "root",
        "/u/1": "param",
        "/u/1?x=/u/1/posts/2": "param",
        "/u/1/": "root",
        "/u/1/posts/2": "deep",
        "/u/1/posts": "root",
        "/f/x/y.jpg": "rest",
        "/x/y.jpg": "glob",
        "/x/y.PNG": "glob",
        "/x/y.gif": "root",
        "/": "root",
    }
    with gw.client() as c:
        got = {path: c.ask(path).body.decode() for path in wanted}
    assert got == wanted


def test_a_path_is_matched_after_normalisation(gateway):
    """What an upstream or a file system would read as /admin/ must not pass as something else."""
    gw = gateway({"routes": names(("admin", {"path": "/admin/"}), ("other", {"path": "/"}))})
    with gw.client() as c:
        for path in ("/admin/x", "/x/../admin/x", "/./admin/x", "/%61dmin/x", "/x/%2e%2e/admin/x"):
            answer = c.ask(path)
            assert answer.status == 400 or answer.body == b"admin", f"{path} took {answer.body!r}"
            if answer.get("Connection", "").lower() == "close":
                c = gw.client()
        assert c.ask("/x/../../etc").status in (200, 400)


def test_no_route_is_404(gateway):
    gw = gateway({"routes": names(("only", {"path": "/only"}))})
    with gw.client() as c:
        assert c.ask("/other").status == 404
        assert c.ask("/only").status == 200, "the connection is kept"
    gw.books_balance()


def test_no_fitting_method_is_405_with_allow(gateway):
    gw = gateway(
        {
            "routes": names(
                ("read", {"path": "/thing", "methods": ["GET"]}), ("write", {"path": "/thing", "methods": ["PUT", "DELETE"]})
            )
        }
    )
    with gw.client() as c:
        assert c.ask("/thing").body == b"read"
        assert c.ask("/thing", "PUT", body=b"").body == b"write"
        answer = c.ask("/thing", "POST", body=b"x")
        assert answer.status == 405
        allow = {m.strip() for m in answer.get("Allow").split(",")}
        assert {"GET", "PUT", "DELETE"} <= allow and "POST" not in allow
        assert c.ask("/else", "POST", body=b"x").status == 404


def test_head_goes_where_get_goes(gateway):
    gw = gateway({"routes": names(("read", {"path": "/thing", "methods": ["GET"]}))})
    with gw.client() as c:
        answer = c.ask("/thing", "HEAD")
        assert answer.status == 200 and answer.get("Content-Length") == "4"
        assert c.ask("/thing").body == b"read"


def test_hosts_choose_the_route(gateway):
    gw = gateway(
        {
            "routes": names(
                ("shop", {"path": "/", "host": "shop.example"}),
                ("any", {"path": "/", "host": ["*.example.org", "example.net"]}),
                ("rest", {"path": "/"}),
            )
        }
    )
    wanted = {
        "shop.example": "shop",
        "SHOP.Example": "shop",
        "shop.example:8080": "shop",
        "a.example.org": "any",
        "a.b.example.org": "any",
        "example.org": "rest",
        "notexample.org": "rest",
        "example.net": "any",
        "x.example.net": "rest",
        "127.0.0.1": "rest",
        "[::1]:80": "rest",
    }
    with gw.client() as c:
        got = {host: c.ask("/", host=host).body.decode() for host in wanted}
    assert got == wanted


def test_headers_and_query_choose_the_route(gateway):
    gw = gateway(
        {
            "routes": names(
                ("v2", {"path": "/", "when_headers": {"X-API-Version": "2.0"}}),
                ("keyed", {"path": "/", "when_headers": {"X-Key": "*"}}),
                ("debug", {"path": "/", "when_query": {"debug": "1"}}),
                ("plain", {"path": "/"}),
            )
        }
    )
    with gw.client() as c:
        assert c.ask("/", headers={"x-api-version": "2.0"}).body == b"v2"
        assert c.ask("/", headers={"X-API-Version": "2.00"}).body == b"plain"
        assert c.ask("/", headers={"X-Key": "anything"}).body == b"keyed"
        assert c.ask("/?a=b&debug=1").body == b"debug"
        assert c.ask("/?debug=10").body == b"plain"
        assert c.ask("/?xdebug=1").body == b"plain"
        assert c.ask("/").body == b"plain"


def test_listeners_choose_the_route(gateway):
    gw = gateway(
        {
            "listen": {"web": {}, "tech": {}},
            "routes": names(("tech", {"path": "/", "listen": "tech"}), ("web", {"path": "/", "listen": ["web"]})),
        }
    )
    assert gw.ask("/", listener="web").body == b"web"
    assert gw.ask("/", listener="tech").body == b"tech"


@pytest.mark.parametrize(
    "pattern, rewrite, sent, seen",
    [
        ("/api/", "/v2/$rest", "/api/a/b?x=1&y=2", "/v2/a/b?x=1&y=2"),
        ("/users/{id}/ideas", "/ideas/{id}", "/users/42/ideas?q=1", "/ideas/42?q=1"),
        ("/f/{file...}", "/files/{file}", "/f/a/b.txt", "/files/a/b.txt"),
        ("/fixed", "/other", "/fixed", "/other"),
    ],
)
def test_rewrite_changes_the_path(gateway, echo, pattern, rewrite, sent, seen):
    gw = gateway({"services": {"e": [echo.url]}, "routes": [{"path": pattern, "to": "e", "rewrite": rewrite}]})
    assert said(gw.ask(sent))["target"] == seen


def test_a_route_may_name_a_url(gateway, echo):
    gw = gateway({"routes": [{"path": "/", "to": echo.url}]})
    assert said(gw.ask("/x"))["target"] == "/x"


def test_redirects(gateway):
    gw = gateway(
        {
            "routes": [
                {"path": "/old/{id}", "redirect": {"to": "https://$host/new/{id}", "status": 301}},
                {"path": "/tmp", "redirect": {"to": "/elsewhere", "status": 302}},
                {"path": "/", "redirect": "https://$host$uri"},
            ]
        }
    )
    with gw.client() as c:
        a = c.ask("/old/7", host="shop.example")
        assert (a.status, a.get("Location")) == (301, "https://shop.example/new/7")
        a = c.ask("/tmp")
        assert (a.status, a.get("Location")) == (302, "/elsewhere")
        a = c.ask("/x/y?a=1", host="shop.example")
        assert (a.status, a.get("Location")) == (308, "https://shop.example/x/y?a=1")
        a = c.ask("/y", "POST", body=b"unread")
        assert a.status == 308
        assert c.ask("/tmp").status == 302, "the body was taken off the connection"


def test_a_redirect_cannot_be_split(gateway):
    gw = gateway({"routes": [{"path": "/r/{x}", "redirect": {"to": "/t/{x}", "status": 302}}]})
    with gw.client() as c:
        a = c.ask("/r/a%0d%0aSet-Cookie:%20evil=1")
        assert not a.has("Set-Cookie")
        if a.status == 302:
            assert "\r" not in a.get("Location") and "evil" in a.get("Location").lower()


def test_respond(gateway, tmp_path):
    (tmp_path / "hello.json").write_text('{"a":1}')
    gw = gateway(
        {
            "routes": [
                {"path": "/plain", "respond": {"body": "hi\n"}},
                {"path": "/hello/{name}", "respond": {"body": "hello {name} on $host", "status": 201}},
                {"path": "/file", "respond": {"body": f"@{tmp_path}/hello.json", "type": "application/json"}},
                {"path": "/gone", "respond": {"status": 410, "body": ""}},
                {"path": "/empty", "respond": {"status": 204}},
            ]
        }
    )
    with gw.client() as c:
        a = c.ask("/plain")
        assert (a.status, a.body, a.get("Content-Type")) == (200, b"hi\n", "text/plain; charset=utf-8")
        assert a.has("Date")
        a = c.ask("/hello/ann", host="h.example")
        assert (a.status, a.body) == (201, b"hello ann on h.example")
        a = c.ask("/file")
        assert (a.body, a.get("Content-Type")) == (b'{"a":1}', "application/json")
        a = c.ask("/gone")
        assert (a.status, a.body, a.get("Content-Length")) == (410, b"", "0")
        a = c.ask("/empty")
        assert a.status == 204 and not a.has("Content-Length")
        a = c.ask("/plain", "HEAD")
        assert (a.status, a.get("Content-Length")) == (200, "3")
        a = c.ask("/plain", "POST", body=b"ignored")
        assert a.body == b"hi\n"
        assert c.ask("/plain").body == b"hi\n"


def test_headers_of_defaults_and_routes(gateway):
    gw = gateway(
        {
            "defaults": {"headers": {"X-Frame-Options": "DENY", "X-Default": "d"}},
            "routes": [
                {"path": "/a", "respond": {"body": "a"}, "headers": {"X-Default": "mine", "X-Route": "r"}},
                {"path": "/b", "respond": {"body": "b"}, "expires": "1h"},
            ],
        }
    )
    with gw.client() as c:
        a = c.ask("/a")
        assert a.get("X-Route") == "r" and a.all("X-Default") == ["mine"]
        b = c.ask("/b")
        assert b.all("X-Default") == ["d"] and b.get("X-Frame-Options") == "DENY"
        assert "max-age=3600" in b.get("Cache-Control")


def test_an_answer_of_our_own_names_its_reason(gateway):
    """Errors made by the gateway are short, typed and carry the request id."""
    gw = gateway({"routes": names(("only", {"path": "/only"}))})
    a = gw.ask("/nothing")
    assert a.status == 404 and a.has("Content-Type") and a.has("X-Request-Id")


def test_ten_thousand_routes_are_found(gateway):
    """The last of many routes answers as the first does."""
    many = [(f"r{i}", {"path": f"/group{i % 100}/item{i}/{{id}}/"}) for i in range(10000)]
    gw = gateway({"routes": names(*many) + names(("last", {"path": "/"}))})
    with gw.client() as c:
        for i in (0, 1, 5000, 9999):
            assert c.ask(f"/group{i % 100}/item{i}/x/y").body == b"r%d" % i
        assert c.ask("/group1/item2/x/y").body == b"last"


def test_metrics_name_the_route_and_not_the_path(gateway):
    gw = gateway({"routes": names(("user", {"path": "/u/{id}"}), ("rest", {"path": "/"}))})
    with gw.client() as c:
        for i in range(10):
            c.ask(f"/u/{i}")
        c.ask("/x", "WEIRD")
    m = gw.metrics()
    assert m.sum("http_requests_total", route="user", method="GET", status="200") == 10
    assert m.sum("http_requests_total", route="rest", method="_OTHER") == 1
    assert not [x for x in m.labels("http_requests_total") if "/u/" in x["route"]]


def test_count_as_counts_under_its_own_name(gateway):
    gw = gateway({"routes": [{"path": "/", "respond": {"body": "x"}, "count_as": "api_technique"}]})
    for _ in range(3):
        gw.ask("/")
    assert gw.metric("vivace_counted_requests_total", name="api_technique", status="200") == 3


def test_request_header_templates(gateway, echo):
    gw = gateway(
        {
            "services": {"e": [echo.url]},
            "routes": [{"path": "/u/{id}", "to": "e", "request_headers": {"X-User": "{id}", "X-From": "$client_ip"}}],
        }
    )
    headers = {n.lower(): v for n, v in said(gw.ask("/u/42"))["headers"]}
    assert headers["x-user"] == "42" and headers["x-from"] == "127.0.0.1"


def test_an_ipv6_listener_and_origin(gateway, stack):
    server = Origin(answer=lambda req: ok(req.get("X-Real-IP").encode()), address="::1")
    stack.append(server)
    gw = gateway(
        {
            "listen": {"six": {"address": f"[::1]:{free_port('::1')}"}},
            "services": {"e": [server.url]},
            "routes": [{"path": "/", "to": "e"}],
        }
    )
    with gw.client(address="::1") as c:
        assert c.ask("/", host="[::1]").body == b"::1"
