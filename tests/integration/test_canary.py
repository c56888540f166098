# tests/integration/test_canary.py - splits, automatic abort and promotion, blue and green, mirrors.
"""The old version and the new one are real servers; what each was asked is counted there."""

import json
import re
import subprocess
import threading
import time

import harness
from harness import Client, ok, wait_for

CHI2_1E6 = 23.9  # one degree of freedom: exceeded by chance once in a million


def named(name):
    """A server that says who it is."""
    return lambda req: ok(name.encode(), headers={"X-Version": name})


def config(old, new, canary=None, mirror=None, **route):
    entry = {"name": "shop", "path": "/", "to": "old", **route}
    if canary is not None:
        entry["canary"] = {"to": "new", **canary}
    if mirror is not None:
        entry["mirror"] = {"to": "new", **mirror}
    return {
        "services": {"old": {"servers": [old.url]}, "new": {"servers": [new.url]}},
        "routes": [entry],
    }


def pair(origin):
    return origin(answer=named("old")), origin(answer=named("new"))


def order(gw, what, share=None, route="shop", status=200):
    return gw.api(f"/canary/{route}/{what}", "POST", {"share": share} if share else None, status)


def state(gw):
    return gw.api("/canary")["canaries"][0]


def settle(gw, share):
    """Workers read the share with every request: nothing to wait for but the order's own answer."""
    assert abs(state(gw)["share"] - share) < 1e-9


def versions(gw, users, rounds=1):
    """Who answers each user, asked on one connection."""
    got = {}
    with gw.client() as c:
        for _ in range(rounds):
            for user in users:
                body = c.ask("/", headers={"X-User": user}).body
                assert got.setdefault(user, body) == body, "a user changed sides"
    return got


def test_the_split_is_exact_by_a_chi_square_test(origin, gateway):
    old, new = pair(origin)
    gw = gateway(config(old, new, {"sticky": "none", "share": "20%"}))
    n = 4000
    with gw.client() as c:
        got = sum(c.ask("/").body == b"new" for _ in range(n))
    want = 0.2 * n
    chi2 = (got - want) ** 2 / want + (got - want) ** 2 / (n - want)
    assert chi2 < CHI2_1E6, f"{got} of {n}"
    assert len(new.requests) == got and len(old.requests) == n - got
    gw.wait_metric("vivace_canary_requests_total", got, route="shop", side="candidate", result="ok")
    gw.wait_metric("vivace_canary_requests_total", n - got, route="shop", side="base", result="ok")
    assert gw.metric("vivace_canary_share", route="shop") == 0.2


def test_users_stay_where_they_are_on_all_workers_and_nobody_goes_back(origin, gateway):
    old, new = pair(origin)
    gw = gateway(config(old, new, {"sticky": "$header.x-user", "share": "10%", "automatic": False}))
    users = [f"user-{i}" for i in range(400)]
    former = set()
    for share in ("10%", "30%", "70%", "100%"):
        order(gw, "start", share)
        got = versions(gw, users)
        for _ in range(3):  # other connections, other workers
            assert versions(gw, users) == got
        there = {u for u in users if got[u] == b"new"}
        assert former <= there
        want = float(share[:-1]) / 100 * len(users)
        assert abs(len(there) - want) <= 5 * (len(users) * 0.25) ** 0.5, f"{len(there)} at {share}"
        former = there
    assert len(former) == len(users)


def test_a_header_goes_before_the_share(origin, gateway):
    old, new = pair(origin)
    gw = gateway(config(old, new, {"share": "0%", "header": "X-Canary"}))
    assert gw.ask("/").body == b"old"
    assert gw.ask("/", headers={"X-Canary": "always"}).body == b"new"
    order(gw, "start", "100%")
    assert gw.ask("/").body == b"new"
    assert gw.ask("/", headers={"X-Canary": "never"}).body == b"old"
    assert state(gw)["candidate"]["requests"] == 1  # those with the header are not compared
    assert gw.metric("vivace_canary_requests_total", route="shop", side="candidate") == 2


def test_the_access_log_says_canary(origin, gateway, tmp_path):
    old, new = pair(origin)
    log = tmp_path / "access.log"
    gw = gateway({**config(old, new, {"header": "X-Canary"}), "access_log": {"path": str(log), "format": "json"}})
    gw.ask("/", headers={"X-Canary": "always"})
    gw.ask("/")
    lines = wait_for("two lines", lambda: (t := log.read_text().splitlines()) and len(t) == 2 and t)
    words = sorted(json.loads(line).get("guard", "") for line in lines)
    assert words == ["", "canary"]


def test_a_bad_version_is_aborted_under_load(origin, gateway, load):
    count = [0]

    def bad(req):
        count[0] += 1
        return ok(b"no", "500 Internal Server Error") if count[0] % 3 == 0 else ok(b"new")

    old, new = origin(answer=named("old")), origin(answer=bad)
    # times_worse: on a busy machine one of two processes is slower for a while
    gw = gateway(config(old, new, {"sticky": "none", "steps": ["10%", "50%", "100%"], "every": "1s",
                                   "times_worse": "50%"}))
    run = load(gw.port, connections=4, rate=400)
    order(gw, "start")
    settle(gw, 0.1)
    wait_for("the abort", lambda: state(gw)["state"] == "aborted", 30)
    seen = len(new.requests)
    time.sleep(0.5)
    report = run.finish()
    assert len(new.requests) <= seen + 4, "after the abort it is asked no more"
    now = state(gw)
    assert now["share"] == 0 and now["verdict"] == "worse"
    assert re.search(r"errors 3\d\.\d\d% against 0\.00%", now["history"][-1]["why"]), now["history"]
    assert gw.metric("vivace_canary_changes_total", route="shop", change="aborted") == 1
    assert gw.metric("vivace_canary_verdict", route="shop") == -1
    assert "aborted route=shop to=new share=0% was=10%" in gw.log()
    assert report["statuses"].get("500", 0) == count[0] // 3


def test_a_slower_version_is_aborted_for_its_times(origin, gateway, load):
    def slow(req):
        time.sleep(0.02)
        return ok(b"new")

    old, new = origin(answer=named("old")), origin(answer=slow)
    gw = gateway(config(old, new, {"sticky": "none", "share": "30%"}))
    run = load(gw.port, connections=4, rate=300)
    wait_for("the abort", lambda: state(gw)["state"] == "aborted", 30)
    run.finish()
    assert re.fullmatch(r"times: median [0-9.]+ ms against [0-9.]+ ms, 95 % in [0-9.]+ ms against [0-9.]+ ms",
                        state(gw)["history"][-1]["why"])


def test_a_good_version_is_promoted_step_by_step(origin, gateway, app, load):
    old, new = app(), app()
    # times_worse: the two processes share a busy machine, where one is honestly slower for a while
    canary = {"sticky": "none", "steps": ["20%", "50%", "100%"], "every": "1s", "times_worse": "50%"}
    gw = gateway(config(old, new, canary))
    order(gw, "start")
    run = load(gw.port, connections=8)
    wait_for("the promotion", lambda: state(gw)["state"] == "promoted", 60)
    report = run.finish()
    assert report["lost"] == 0 and set(report["statuses"]) == {"200"}
    changes = [(h["change"], h["to"]) for h in state(gw)["history"]]
    assert changes == [("configured", 0), ("started", 0.2), ("stepped", 0.5), ("promoted", 1)], changes


def test_a_reload_keeps_what_was_started_and_a_new_share_begins_anew(origin, gateway):
    old, new = pair(origin)
    whole = config(old, new, {"sticky": "$header.x-user", "share": "5%"})
    gw = gateway(whole)
    users = [f"user-{i}" for i in range(100)]
    order(gw, "start", "40%")
    before = versions(gw, users)
    counted = state(gw)["candidate"]["requests"]
    whole["routes"][0]["headers"] = {"X-New": "1"}
    gw.reload(whole)
    wait_for("the new settings", lambda: gw.ask("/").has("X-New"))
    settle(gw, 0.4)
    assert versions(gw, users) == before
    assert state(gw)["candidate"]["requests"] > counted
    whole["routes"][0]["canary"]["share"] = "0%"
    gw.reload(whole)
    settle(gw, 0)
    del whole["routes"][0]["canary"]
    gw.reload(whole)
    wait_for("no canary is left", lambda: gw.api("/canary")["canaries"] == [])
    order(gw, "start", "10%", status=404)


def test_blue_and_green_change_places_under_load_without_a_failure(gateway, app, load):
    blue, green = app("--name", "blue"), app("--name", "green")
    gw = gateway(config(blue, green, {"sticky": "none"}, {"share": "50%"}))
    run = load(gw.port, connections=16)
    wait_for("green is warm", lambda: gw.metric("vivace_mirror_total", result="ok") > 50)
    for _ in range(3):
        order(gw, "start", "100%")
        assert all(gw.ask("/").get("X-Server") == "green" for _ in range(8))
        order(gw, "abort")
        assert all(gw.ask("/").get("X-Server") == "blue" for _ in range(8))
    report = run.finish()
    assert report["lost"] == 0 and set(report["statuses"]) == {"200"}, report
    gw.books_balance()


def test_base_and_candidate_share_no_stored_answer(origin, gateway):
    def cached(name):
        return lambda req: ok(name.encode(), headers={"Cache-Control": "max-age=600"})

    old, new = origin(answer=cached("old")), origin(answer=cached("new"))
    gw = gateway(config(old, new, {"header": "X-Canary"}, cache="5m"))
    theirs = {"X-Canary": "always"}
    for _ in range(3):
        assert gw.ask("/a").body == b"old"
        assert gw.ask("/a", headers=theirs).body == b"new"
    assert len(old.requests) == 1 and len(new.requests) == 1
    gw.ask("/a", "PUT", body=b"x")  # a write makes both forgotten
    assert gw.ask("/a").body == b"old" and gw.ask("/a", headers=theirs).body == b"new"
    assert len(old.requests) == 3 and len(new.requests) == 2
    assert gw.api("/cache/purge", "POST", {"url": "http://test/a"})["objects"] == 2
    assert gw.ask("/a", headers=theirs).body == b"new"
    assert len(new.requests) == 3


def test_a_mirror_gets_the_whole_request_and_nobody_its_answer(origin, gateway):
    old = origin(answer=named("old"))
    new = origin(answer=lambda req: ok(b"what the mirror says", "500 Internal Server Error"))
    gw = gateway(config(old, new, mirror={}, path="/v1/", rewrite="/$rest", request_headers={"X-Added": "yes"}))
    answer = gw.ask("/v1/a/b?q=1", "POST", {"X-Mine": "1", "Content-Type": "text/plain"}, b"body of the request")
    assert answer.status == 200 and answer.body == b"old"
    copy = new.wait_requests(1)[0]
    real = old.requests[0]
    assert copy.method == "POST" and copy.target == real.target == "/a/b?q=1"
    assert copy.body == real.body == b"body of the request"
    assert copy.get("X-Mirror") == "1" and not real.has("X-Mirror")
    for name in ("Host", "X-Mine", "X-Added", "Content-Type", "X-Forwarded-For", "X-Request-Id"):
        assert copy.get(name) == real.get(name), name
    gw.wait_metric("vivace_mirror_total", 1, route="shop", result="error")
    for _ in range(5):
        assert gw.ask("/v1/x").body == b"old"
    gw.wait_metric("vivace_mirror_total", 6, route="shop", result="error")
    gw.books_balance()


def test_what_is_too_large_or_has_no_length_is_left_out(origin, gateway):
    old, new = pair(origin)
    gw = gateway(config(old, new, mirror={"max_body": "1KB"}))
    assert gw.ask("/", "POST", body=b"x" * 2000).status == 200
    with gw.client() as c:
        c.send(b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        assert c.answer("POST").status == 200
    gw.wait_metric("vivace_mirror_total", 2, route="shop", result="left_out")
    assert gw.ask("/", "POST", body=b"x" * 1000).status == 200
    assert new.wait_requests(1)[0].body == b"x" * 1000
    assert [len(r.body) for r in old.requests] == [2000, 3, 1000]


def test_a_body_that_comes_in_pieces_is_sent_and_mirrored_whole(origin, gateway):
    old, new = pair(origin)
    gw = gateway(config(old, new, mirror={}))
    with gw.client() as c:
        c.send(b"POST /p HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n12345")
        time.sleep(0.1)
        c.send(b"67890")
        assert c.answer("POST").body == b"old"
        assert c.ask("/next").body == b"old"
    assert old.requests[0].body == b"1234567890"
    assert wait_for("the copies", lambda: len(new.requests) == 2 and new.requests)[0].body == b"1234567890"


def test_a_mirror_that_hangs_costs_nothing(origin, gateway, app, load):
    stop = threading.Event()

    def hang(conn):
        conn.read_request()
        stop.wait(60)

    old, new = app(), origin(hang)
    plain = gateway(config(old, new))
    gw = gateway(config(old, new, mirror={"in_flight": 20}))

    def p99(port):
        report = load(port, connections=4, rate=300, seconds=3).wait()
        assert report["lost"] == 0 and set(report["statuses"]) == {"200"}
        return report["p99_ms"]

    times = [(p99(plain.port), p99(gw.port)) for _ in range(3)]  # in turns: the machine is busy
    asked = gw.metric("http_requests_total", route="shop")
    without, with_it = min(t[0] for t in times), min(t[1] for t in times)
    assert with_it <= 2 * without + 5, f"p99 {without} ms without, {with_it} ms with a hanging mirror"
    left = gw.metric("vivace_mirror_total", route="shop", result="left_out")
    assert left >= asked - 40, "all but 20 copies of each worker were left out"
    assert new.connections <= 40
    stop.set()


def test_a_mirror_that_cannot_be_reached_is_an_error_of_the_mirror_alone(origin, gateway):
    old, new = pair(origin)
    gw = gateway(config(old, new, mirror={}))
    new.close()
    for _ in range(10):
        assert gw.ask("/").body == b"old"
    gw.wait_metric("vivace_mirror_total", 10, route="shop", result="error")


def test_the_command_line_starts_shows_promotes_and_aborts(origin, gateway):
    old, new = pair(origin)
    gw = gateway(config(old, new, {"steps": ["5%", "50%"]}))

    def cli(*args):
        return subprocess.run([harness.binary(), "canary", *args, "--socket", gw.config["socket"]],
                              capture_output=True, text=True)

    assert "idle" in cli("status").stdout
    assert "5.0" in cli("start", "shop").stdout
    assert json.loads(cli("promote", "shop", "--json").stdout)["canaries"][0]["share"] == 0.5
    assert cli("start", "shop", "--share", "12.5%").returncode == 0
    settle(gw, 0.125)
    assert "promoted" in cli("promote", "shop", "--share", "100%").stdout
    shown = cli("abort", "shop").stdout
    assert "aborted" in shown and "100.0% -> 0.0%" in shown
    assert cli("start", "other").returncode == 1
    assert cli("start").returncode == 2
    assert cli("start", "shop", "--share", "120%").returncode == 1
    order(gw, "explode", status=404)
    assert gw.admin("/api/v1/canary/shop/start", "POST", body=b"[]").status == 400


def test_a_canary_without_its_service_is_an_error_of_the_file(origin, gateway, tmp_path):
    old, new = pair(origin)
    whole = config(old, new, {"share": "10%"})
    gw = gateway(whole)
    whole["routes"][0]["canary"]["to"] = "nobody"
    assert gw.reload(whole).status >= 400
    settle(gw, 0.1)
    whole["routes"][0]["canary"] = {"to": "new", "steps": ["50%", "10%"]}
    assert gw.reload(whole).status >= 400
    assert gw.ask("/").status == 200
