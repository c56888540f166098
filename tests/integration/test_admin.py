# tests/integration/test_admin.py - the admin API: its answers, its guards, its limits.
import gzip
import json
import os
import threading
import time

import pytest

from harness import Client, Closed, request, wait_for

SIMPLE = {"routes": [{"path": "/", "respond": {"body": "ok"}}]}


@pytest.fixture
def gw(gateway):
    return gateway(SIMPLE)


def tcp(gw):
    return Client(gw.admin_port)


def own_host(gw):
    return f"127.0.0.1:{gw.admin_port}"


# ------------------------------------------------------------------------------------------ answers


def test_every_get_of_the_list_answers(gw):
    for row in gw.api(""):
        if row["method"] != "GET" or "{" in row["path"] or row["path"].endswith("/stream"):
            continue
        target = row["path"] + ("?url=/" if row["path"].endswith("/explain") else "")
        answer = gw.admin(target)
        assert answer.status == 200, (target, answer.body)
        assert answer.has("Content-Type") and answer.get("Cache-Control") == "no-store"
        if "json" in answer.get("Content-Type"):
            json.loads(answer.body)


def test_one_connection_carries_many_calls_also_pipelined(gw):
    with tcp(gw) as c:
        for _ in range(3):
            assert c.ask("/livez", host=own_host(gw)).body == b"ok\n"
        c.send(request("/livez", host="a") * 50)
        for _ in range(50):
            assert c.answer().body == b"ok\n"
        head = c.ask("/livez", method="HEAD")
        assert head.status == 200 and head.get("Content-Length") == "3"
        assert c.ask("/livez", headers={"Connection": "close"}).get("Connection") == "close"
        assert c.closes()


def test_metrics_come_in_the_format_and_coding_asked_for(gw):
    plain = gw.admin("/metrics")
    assert plain.get("Content-Type").startswith("text/plain; version=0.0.4")
    wanted = "application/openmetrics-text; version=1.0.0"
    om = gw.admin("/metrics", headers={"Accept": wanted})
    assert om.get("Content-Type").startswith("application/openmetrics-text")
    assert om.body.endswith(b"# EOF\n")
    packed = gw.admin("/metrics", headers={"Accept-Encoding": "gzip"})
    assert packed.get("Content-Encoding") == "gzip"
    assert b"vivace_build_info" in gzip.decompress(packed.body)
    assert "Accept-Encoding" in packed.get("Vary")


def test_status_counts_what_happened(proxy):
    gw, server = proxy()
    for _ in range(7):
        gw.ask("/")
    status = wait_for("the counters", lambda: (s := gw.api("/status"))["requests"] >= 7 and s)
    assert status["pid"] == gw.pid and status["worker_pid"] == gw.worker()
    assert status["config"] == gw.file and status["draining"] is False
    assert [s["name"] for s in status["services"]] == ["app"]
    assert [r["path"] for r in status["routes"]] == ["/"]
    top = wait_for("the second is over", lambda: (t := gw.api("/top"))["traffic"]["requests"] >= 7 and t)
    assert top["routes"]["/"]["requests"] == 7 and top["by_service"]["app"]["requests"] == 7
    history = gw.api("/history?seconds=5")
    assert history["every"] == 1


def test_the_page_needs_nothing_from_elsewhere(gw):
    page = gw.admin("/")
    text = page.body.decode()
    assert page.get("Content-Type").startswith("text/html") and "<h1>Vivace" in text
    assert "http://" not in text and "https://" not in text and "<script" not in text
    assert "default-src 'none'" in page.get("Content-Security-Policy")


def test_unknown_paths_and_methods_are_told_apart(gw):
    assert gw.admin("/nothing").status == 404
    assert gw.admin("/api/v1/reload").status == 405
    assert gw.admin("/livez", "DELETE").status == 405


def test_the_configuration_is_shown_without_secrets(gateway, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    gw = gateway(
        {"routes": [{"path": "/", "respond": {"body": "x"}, "headers": {"X-Key": f"${{file:{secret}}}"}}]}
    )
    assert gw.ask("/").get("X-Key") == "hunter2"
    for target in ("/api/v1/config", "/api/v1/config?form=long&origin=true", "/api/v1/config?json=true"):
        answer = gw.admin(target)
        assert answer.status == 200 and b"X-Key" in answer.body and b"hunter2" not in answer.body
    json.loads(gw.admin("/api/v1/config?json=true").body)


def test_explain_says_route_service_and_server(proxy):
    gw, server = proxy()
    found = gw.api("/explain?method=GET&url=/a%3Fb=c&header=X-A:%20b")
    assert server.name in json.dumps(found)
    assert gw.admin("/api/v1/explain").status == 400


# ------------------------------------------------------------------------------------------- guards


def test_a_web_page_cannot_change_anything(gw):
    """What a browser can send across sites: forms and plain text, with its Origin."""
    own = own_host(gw)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    with tcp(gw) as c:
        assert c.ask("/api/v1/reload", "POST", form, b"a=b", host=own).status == 403
        assert c.ask("/api/v1/reload", "POST", {"Content-Type": "text/plain"}, b"{}", host=own).status == 403
        assert c.ask("/api/v1/stop", "POST", (), b"", host=own).status == 403
        evil = {"X-Vivace": "1", "Origin": "http://evil.example"}
        assert c.ask("/api/v1/reload", "POST", evil, b"", host=own).status == 403
        same = {"X-Vivace": "1", "Origin": f"http://{own}"}
        assert c.ask("/api/v1/reload", "POST", same, b"", host=own).status == 200
        json_type = {"Content-Type": "application/json; charset=utf-8"}
        assert c.ask("/api/v1/reload", "POST", json_type, b"{}", host=own).status == 200
    assert gw.ask("/").status == 200, "nothing stopped it"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_a_rebound_name_cannot_change_or_read_the_configuration(gw, host):
    with tcp(gw) as c:
        assert c.ask("/api/v1/reload", "POST", {"X-Vivace": "1"}, b"", host=host).status in (400, 403)
    with tcp(gw) as c:
        assert c.ask("/api/v1/config", host=host).status in (400, 403)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1", "[::1]:9180"])
def test_this_machine_by_address_may(gw, host):
    with tcp(gw) as c:
        assert c.ask("/api/v1/config", host=host).status == 200


def test_the_unix_socket_needs_no_more_than_its_permission(gw):
    with Client(gw.config["socket"]) as c:
        assert c.ask("/api/v1/reload", "POST", (), b"", host="any.name").status == 200


# ------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize(
    "raw, status",
    [
        (b"GET /livez HTTP/1.1\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST /api/v1/reload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        (b"POST /api/v1/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 40000 + b"\r\n\r\n", 431),
        (b"nonsense\r\n\r\n", 400),
    ],
)
def test_broken_or_oversized_requests_are_refused_and_the_connection_ends(gw, raw, status):
    with tcp(gw) as c:
        c.send(raw)
        assert c.answer().status == status
        try:
            assert c.rest() == b""
        except ConnectionError:
            pass  # unread bytes make the kernel reset it
    assert gw.admin("/livez").status == 200


def test_a_client_that_never_reads_does_not_grow_the_process(gw):
    with tcp(gw) as c:
        c.sock.settimeout(2)
        try:
            for _ in range(200):
                c.send(request("/metrics", host="a") * 20)
        except OSError:
            pass  # the gateway stopped reading: that is the point
        time.sleep(0.2)
        assert gw.admin("/livez").status == 200
        with open(f"/proc/{gw.worker()}/status") as f:
            rss = [int(line.split()[1]) for line in f if line.startswith("RssAnon")][0]
        assert rss < 200 * 1024


def test_more_connections_than_allowed_are_closed_others_go_on(gw):
    with tcp(gw) as first:
        assert first.ask("/livez").status == 200
        many = [tcp(gw) for _ in range(140)]
        assert first.ask("/livez").status == 200

        for c in many:
            c.sock.setblocking(False)

        def closed(c):
            try:
                return c.sock.recv(1) == b""
            except BlockingIOError:
                return False
            except OSError:
                return True

        wait_for("those beyond the limit are closed", lambda: sum(closed(c) for c in many) >= 13)
        for c in many:
            c.close()
    wait_for("new ones are welcome", lambda: _fine(gw))


def _fine(gw):
    try:
        return gw.admin("/livez").status == 200
    except (OSError, Closed):
        return False


def test_a_head_in_pieces_and_a_body_after_100_continue_work(gw):
    with tcp(gw) as c:
        for byte in request("/livez", host="a"):
            c.send(bytes([byte]))
        assert c.answer().body == b"ok\n"
        c.send(
            f"POST /api/v1/reload HTTP/1.1\r\nHost: {own_host(gw)}\r\nX-Vivace: 1\r\n"
            "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n".encode()
        )
        assert c.head().startswith(b"HTTP/1.1 100 ")
        c.send(b"{}")
        assert c.answer().status == 200


# ------------------------------------------------------------------------------------------ servers


def test_servers_are_added_weighted_drained_and_removed(proxy, origin):
    gw, first = proxy()
    second = origin()
    added = gw.api("/services/app/servers", "POST", {"url": second.name, "weight": 3})
    assert added["kept"] is True and os.path.exists(added["overlay"])
    servers = gw.api("/services/app/servers")["servers"]
    assert {s["name"]: s["weight"] for s in servers} == {first.name: 1, second.name: 3}
    gw.api(f"/services/app/servers/{first.name}", "PATCH", {"drain": True, "weight": 2})
    before = len(first.requests)
    for _ in range(6):
        assert gw.ask("/").status == 200
    assert len(first.requests) == before, "a draining server gets nothing new"
    gw.api(f"/services/app/servers/{first.name}", "PATCH", {"drain": False})
    gw.api(f"/services/app/servers/{second.name}", "DELETE")
    names = [s["name"] for s in gw.api("/services/app/servers")["servers"]]
    assert names == [first.name]
    with open(added["overlay"]) as f:
        text = f.read()
    assert text.startswith("#") and second.name not in text and '"weight": 2' in text


def test_changes_survive_a_restart(proxy, origin):
    gw, first = proxy()
    second = origin()
    gw.api("/services/app/servers", "POST", {"url": second.name})
    gw.api(f"/services/app/servers/{first.name}", "PATCH", {"drain": True})
    gw.stop()
    gw.start()
    states = {s["name"]: s["state"] for s in gw.api("/services/app/servers")["servers"]}
    assert states == {first.name: "draining", second.name: "up"}


@pytest.mark.parametrize(
    "target, method, body, status",
    [
        ("/services/nobody/servers", "GET", None, 404),
        ("/services/nobody/servers", "POST", {"url": "127.0.0.1:1"}, 404),
        ("/services/app/servers", "POST", {"weight": 1}, 400),
        ("/services/app/servers", "POST", {"url": "127.0.0.1:1", "weight": 0}, 400),
        ("/services/app/servers", "POST", {"url": "127.0.0.1:1", "weight": "2"}, 400),
        ("/services/app/servers", "POST", {"url": "127.0.0.1:1", "wait": 2}, 400),
        ("/services/app/servers", "POST", {"url": "no address at all"}, 400),
        ("/services/app/servers", "POST", [1], 400),
        ("/services/app/servers/127.0.0.1:1", "PATCH", {"weight": 2}, 404),
        ("/services/app/servers/127.0.0.1:1", "DELETE", None, 404),
    ],
)
def test_a_wrong_change_is_explained_and_changes_nothing(proxy, target, method, body, status):
    gw, server = proxy()
    answer = gw.api(target, method, body, status)
    assert answer["error"]
    assert [s["name"] for s in gw.api("/services/app/servers")["servers"]] == [server.name]
    assert not os.path.exists(os.path.join(gw.folder, "vivace.overlay.yaml"))


def test_an_overlay_edited_by_hand_is_not_overwritten(proxy):
    gw, server = proxy()
    path = os.path.join(gw.folder, "vivace.overlay.yaml")
    with open(path, "w") as f:
        f.write("drain: 4s\n")
    done = gw.api(f"/services/app/servers/{server.name}", "PATCH", {"weight": 5})
    assert done["kept"] is False and "by hand" in done["warning"]
    with open(path) as f:
        assert f.read() == "drain: 4s\n"
    assert gw.api("/services/app/servers")["servers"][0]["weight"] == 5


# --------------------------------------------------------------------------------------------- logs


def test_the_log_stream_tells_each_request_to_every_reader(gateway):
    gw = gateway(dict(SIMPLE, access_log="access.log"))
    readers = [tcp(gw) for _ in range(2)]
    for c in readers:
        c.send(request("/api/v1/logs/stream", host=own_host(gw)))
        assert b"text/event-stream" in c.head()
    seen = [set(), set()]

    def read(i):
        try:
            while len(seen[i]) < 3:
                line = readers[i].until(b"\n")
                if line.startswith(b"data: "):
                    seen[i].add(json.loads(line[6:])["path"])
        except (Closed, OSError, ValueError):
            pass

    threads = [threading.Thread(target=read, args=(i,)) for i in range(2)]
    for t in threads:
        t.start()

    def all_told():
        for n in range(3):
            gw.ask(f"/n{n}")
        return all(len(s) >= 3 for s in seen)

    wait_for("all lines at all readers", all_told)
    for c in readers:
        c.close()
    for t in threads:
        t.join()
    assert seen[0] == seen[1] == {"/n0", "/n1", "/n2"}
    assert gw.ask("/").status == 200
