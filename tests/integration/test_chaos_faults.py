# tests/integration/test_chaos_faults.py - faults on purpose: what clients, breakers and retries see of each.
import json
import subprocess
import threading
import time

import harness
import pytest
from harness import Client, Closed, chunks, ok, wait_for

BODY = bytes(range(256)) * 40  # 10 KiB
CHAOS = {"enabled": True, "max_share": "100%", "max_time": "10m", "stop": "100%"}
EAGER = {"max": 4, "budget": "100%", "floor": 1000, "backoff": "1ms", "when": ["connect", "broken", "503"]}


def order(gw, expect=201, **fault):
    fault.setdefault("share", "100%")
    fault.setdefault("for", "60s")
    return gw.api("/chaos", "POST", fault, expect)


def alone(proxy, answer=None, service=None, **config):
    """One origin, one route "app", behind a gateway that neither retries nor ejects, so that one attempt is one request."""
    entry = {"retries": 0, "max_fails": 0, "outlier": {"consecutive": 0, "success_rate": False}}
    entry.update(service or {})
    config.setdefault("chaos", CHAOS)
    config["route"] = dict({"name": "app"}, **config.get("route", {}))
    return proxy(answer=answer or (lambda req: ok(BODY)), service=entry, **config)


def finish(gw):
    wait_for("no request is in flight", lambda: gw.metric("vivace_http_requests_in_flight") == 0)
    received, ended, _ = gw.books_balance()
    assert received == ended


# -------------------------------------------------------------------------------------- permission


def test_without_permission_nothing_can_be_ordered(proxy):
    gw, _ = proxy()
    why = order(gw, 403, fault="abort")
    assert "chaos: {enabled: true}" in why["error"]
    assert gw.api("/chaos")["enabled"] is False
    assert gw.ask("/").status == 200
    assert gw.metric("vivace_faults_active") == 0


@pytest.mark.parametrize(
    "fault, status, word",
    [
        ({"fault": "meteor"}, 400, "meteor"),
        ({"fault": "delay"}, 400, "delay"),
        ({"fault": "abort", "status": 200}, 400, "status"),
        ({"fault": "slow"}, 400, "bytes"),
        ({"fault": "abort", "share": "0%"}, 400, "share"),
        ({"fault": "abort", "share": "much"}, 400, "much"),
        ({"fault": "abort", "share": "21%"}, 400, "chaos.max_share is 20%"),
        ({"fault": "abort", "for": "31s"}, 400, "chaos.max_time is 30s"),
        ({"fault": "abort", "for": "0"}, 400, "time"),
        ({"fault": "abort", "route": "nowhere"}, 404, "nowhere"),
        ({"fault": "abort", "service": "nobody"}, 404, "nobody"),
        ({"fault": "abort", "colour": "red"}, 400, "colour"),
    ],
)
def test_what_makes_no_sense_or_goes_too_far_is_refused(proxy, fault, status, word):
    gw, _ = proxy(chaos={"enabled": True, "max_share": "20%", "max_time": "30s"})
    whole = {"share": "10%", "for": "10s"}
    whole.update(fault)
    assert word in order(gw, status, **whole)["error"]
    assert gw.api("/chaos")["active"] == []


def test_shares_that_can_meet_are_bounded_together(proxy):
    gw, origin = proxy(chaos={"enabled": True, "max_share": "30%"}, route={"name": "app"})
    order(gw, fault="abort", share="20%", route="app")
    order(gw, 400, fault="reset", share="20%")
    order(gw, fault="reset", share="10%")
    assert [a["fault"] for a in gw.api("/chaos")["active"]] == ["abort", "reset"]


# ------------------------------------------------------------------------------- each kind, to the byte


def test_a_delay_makes_the_service_slow(proxy):
    gw, origin = alone(proxy)
    with gw.client() as c:
        assert c.ask("/").body == BODY
        order(gw, fault="delay", delay="300ms")
        began = time.monotonic()
        assert c.ask("/").body == BODY
        assert 0.3 <= time.monotonic() - began < 0.3 + harness.PATIENCE
    finish(gw)


def test_a_delay_beyond_the_limit_is_a_time_out(proxy):
    gw, origin = alone(proxy, route={"timeouts": {"first_byte": "200ms"}})
    order(gw, fault="delay", delay="30s")
    answer = gw.ask("/")
    assert answer.status == 504 and b"first_byte_timeout" in answer.body
    finish(gw)


def test_an_abort_is_an_answer_the_service_did_not_give(proxy):
    gw, origin = alone(proxy)
    order(gw, fault="abort", status=502)
    with gw.client() as c:
        for _ in range(3):  # the client's connection is none of the fault's business
            assert c.ask("/").status == 502
        assert c.ask("/", "POST", body=b"x" * 1_000_000).status == 502
    assert origin.requests == []
    assert gw.metric("vivace_faults_injected_total", fault="abort") == 4
    finish(gw)


def test_a_drop_is_a_service_out_of_reach(proxy):
    gw, origin = alone(proxy)
    order(gw, fault="drop")
    answer = gw.ask("/")
    assert answer.status == 502 and b"connect_failed" in answer.body
    assert origin.requests == []
    finish(gw)


def test_a_reset_breaks_the_connection_to_the_service(proxy):
    gw, origin = alone(proxy)
    order(gw, fault="reset")
    answer = gw.ask("/", "POST", body=b"x")
    assert answer.status == 502 and b"server_reset" in answer.body
    assert origin.requests == []
    finish(gw)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_truncated_body_is_cut_within_so_many_bytes(proxy, framing):
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    whole = ok(BODY) if framing == "length" else head + chunks(*[BODY[i : i + 1000] for i in range(0, len(BODY), 1000)])
    gw, origin = alone(proxy, lambda req: whole)
    order(gw, fault="truncate", bytes=5000)
    for _ in range(10):
        with gw.client() as c:
            with pytest.raises(Closed):
                c.ask("/")
    gw.api("/chaos/1", "DELETE")
    order(gw, fault="truncate", bytes=0)
    with gw.client() as c:
        with pytest.raises(Closed) as end:
            c.ask("/")
    assert end.value.data.replace(b"0\r\n", b"") == b""
    gw.api("/chaos", "DELETE")
    assert gw.ask("/").body == BODY
    assert gw.metric("vivace_http_requests_aborted_total") == 11
    finish(gw)


def test_a_short_body_is_not_truncated(proxy):
    gw, _ = alone(proxy, lambda req: ok(b""))
    order(gw, fault="truncate", bytes=0)
    with gw.client() as c:
        assert [c.ask("/").status for _ in range(3)] == [200] * 3
    finish(gw)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_corruption_changes_one_byte(proxy, framing):
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    gw, origin = alone(proxy, lambda req: ok(BODY) if framing == "length" else head + chunks(BODY[:100], BODY[100:]))
    order(gw, fault="corrupt", bytes=200)
    with gw.client() as c:
        for _ in range(10):
            body = c.ask("/").body
            wrong = [i for i in range(len(BODY)) if body[i] != BODY[i]]
            assert len(body) == len(BODY) and len(wrong) == 1 and wrong[0] < 200
    finish(gw)


def test_what_a_cache_may_keep_is_not_corrupted(proxy):
    gw, origin = alone(proxy, lambda req: ok(BODY, headers={"Cache-Control": "max-age=60"}), route={"cache": True})
    order(gw, fault="corrupt", bytes=200)
    assert gw.ask("/").body == BODY
    assert gw.ask("/").body == BODY
    assert gw.metric("vivace_faults_injected_total", fault="corrupt") == 0


def test_a_slow_body_comes_at_its_pace(proxy):
    """2,000 bytes at 4,000 a second: half a second; the head is not what is slow."""
    gw, origin = alone(proxy, lambda req: ok(BODY[:2000]))
    order(gw, fault="slow", bytes=4000)
    with gw.client() as c:
        began = time.monotonic()
        c.send(harness.request("/"))
        c.head()
        first = time.monotonic() - began
        assert c.take(2000) == BODY[:2000]
        took = time.monotonic() - began
    assert 0.48 <= took < 0.5 + harness.PATIENCE
    assert first < 0.4 * harness.SCALE
    finish(gw)


# --------------------------------------------------------------------------------- who else sees it


def test_a_route_and_a_service_are_struck_alone(gateway, origin):
    one, two = origin(answer=lambda req: ok(b"one")), origin(answer=lambda req: ok(b"two"))
    gw = gateway({
        "services": {"a": {"servers": [one.url], "retries": 0}, "b": {"servers": [two.url], "retries": 0}},
        "routes": [
            {"name": "first", "path": "/first", "to": "a"},
            {"name": "second", "path": "/second", "to": "b"},
            {"name": "third", "path": "/third", "to": "b"},
        ],
        "chaos": CHAOS,
    })
    order(gw, fault="abort", route="second")
    assert [gw.ask(p).status for p in ("/first", "/second", "/third")] == [200, 503, 200]
    gw.api("/chaos", "DELETE")
    order(gw, fault="abort", service="b")
    assert [gw.ask(p).status for p in ("/first", "/second", "/third")] == [200, 503, 503]
    finish(gw)


def test_retries_hide_three_drops_in_ten(gateway, origin):
    """A server is asked once: five attempts fail together in 0.3^5 = 0.24 % of the requests."""
    servers = [origin() for _ in range(5)]
    gw = gateway({
        "services": {"app": {"servers": [s.url for s in servers], "max_fails": 0, "outlier": {"consecutive": 0}, "retries": EAGER}},
        "routes": [{"path": "/", "to": "app"}],
        "chaos": CHAOS,
    })
    order(gw, fault="drop", share="30%")
    with gw.client() as c:
        bad = sum(c.ask("/").status != 200 for _ in range(1000))
    assert bad < 10
    # 1,000 first attempts and about 428 more: 0.3 + 0.09 + 0.027 + ... of them are struck.
    assert 350 < gw.metric("vivace_faults_injected_total", fault="drop") < 510
    assert gw.metric("vivace_upstream_retries_total") > 300
    finish(gw)


def test_a_breaker_opens_for_a_fault(proxy):
    gw, origin = alone(proxy, service={"breaker": "b"}, breakers={"b": {"failures": 5, "recover": "60s"}})
    order(gw, fault="abort", status=500)
    with gw.client() as c:
        assert [c.ask("/").status for _ in range(7)] == [500] * 5 + [503] * 2
    assert gw.metric("vivace_faults_injected_total") == 5
    gw.api("/chaos", "DELETE")
    assert b"breaker_open" in gw.ask("/").body
    finish(gw)


def test_the_share_is_kept(proxy):
    """1,000 draws at 20 %: the standard deviation is 12.6, five of them are 63."""
    gw, origin = alone(proxy, lambda req: ok())
    order(gw, fault="abort", share="20%")
    with gw.client() as c:
        bad = sum(c.ask("/").status == 503 for _ in range(1000))
    assert 137 <= bad <= 263
    assert gw.metric("vivace_faults_injected_total", fault="abort") == bad
    active = gw.api("/chaos")["active"][0]
    assert (active["asked"], active["struck"]) == (1000, bad)


# -------------------------------------------------------------------------------------------- ends


def test_a_fault_ends_with_its_time(proxy):
    gw, origin = alone(proxy)
    order(gw, fault="abort", **{"for": "1s"})
    assert gw.ask("/").status == 503
    wait_for("the end", lambda: gw.ask("/").status == 200, 5)
    wait_for("the order is gone", lambda: gw.api("/chaos")["active"] == [], 5)
    ended = gw.api("/chaos")["ended"]
    assert [(e["id"], e["why"]) for e in ended] == [(1, "over")]
    assert "fault ordered: id=1 fault=abort" in gw.log() and "fault ended: id=1" in gw.log()


def test_stopping_one_leaves_the_others(proxy):
    gw, origin = alone(proxy)
    one = order(gw, fault="abort", share="50%")["id"]
    two = order(gw, fault="drop", share="50%")["id"]
    assert gw.api(f"/chaos/{one}", "DELETE") == {"stopped": 1}
    assert [a["id"] for a in gw.api("/chaos")["active"]] == [two]
    assert "no active fault" in gw.api(f"/chaos/{one}", "DELETE", status=404)["error"]
    assert gw.api("/chaos", "DELETE") == {"stopped": 1}
    assert gw.metric("vivace_faults_active") == 0


def test_too_many_bad_answers_end_every_fault(proxy):
    gw, origin = alone(proxy, chaos=dict(CHAOS, stop="30%", stop_volume=20))
    order(gw, fault="abort")
    with gw.client() as c:
        statuses = [c.ask("/").status for _ in range(60)]
    # All are bad, so the watch trips with the 20th; nothing is struck after it.
    assert statuses == [503] * 20 + [200] * 40
    wait_for("the order is gone", lambda: gw.api("/chaos")["active"] == [], 5)
    assert gw.api("/chaos")["ended"][-1]["why"] == "tripped"
    order(gw, fault="abort")  # the next experiment begins from zero
    assert gw.ask("/").status == 503
    finish(gw)


def test_a_reload_without_permission_ends_it(proxy):
    gw, origin = alone(proxy)
    order(gw, fault="abort")
    assert gw.ask("/").status == 503
    assert gw.reload({k: v for k, v in gw.given.items() if k != "chaos"}).status == 200
    wait_for("the end", lambda: gw.ask("/").status == 200, 5)
    assert gw.api("/chaos")["ended"][-1]["why"] == "disabled"


def test_orders_survive_a_reload(proxy):
    gw, origin = alone(proxy)
    order(gw, fault="abort")
    assert gw.reload(dict(gw.given)).status == 200
    assert gw.ask("/").status == 503


# ------------------------------------------------------------------------------------ command line


def vivace(gw, *words):
    run = subprocess.run(
        [harness.binary(), *words, "--socket", gw.config["socket"]], capture_output=True, text=True, timeout=60 * harness.SCALE
    )
    return run


def test_a_run_looks_before_while_and_after(proxy):
    gw, origin = alone(proxy)
    done = threading.Event()

    def traffic():
        with gw.client() as c:
            while not done.is_set():
                c.ask("/")
                time.sleep(0.01)

    thread = threading.Thread(target=traffic)
    thread.start()
    try:
        run = vivace(gw, "chaos", "run", "abort", "--share", "40%", "--for", "2s", "--after", "2s", "--json")
    finally:
        done.set()
        thread.join()
    assert run.returncode == 0, run.stderr
    o = json.loads(run.stdout)
    assert o["why"] == "over" and 0 < o["struck"] < o["asked"]
    assert o["during"]["bad_percent"] > 10 and o["after"]["requests"] > 0
    assert o["after"]["bad_percent"] < o["during"]["bad_percent"]


def test_a_run_that_does_harm_stops_itself_and_fails(proxy):
    gw, origin = alone(proxy, chaos=dict(CHAOS, stop="30%"))
    done = threading.Event()

    def traffic():
        with gw.client() as c:
            while not done.is_set():
                c.ask("/")
                time.sleep(0.01)

    thread = threading.Thread(target=traffic)
    thread.start()
    try:
        run = vivace(gw, "chaos", "run", "drop", "--share", "100%", "--for", "60s", "--after", "1s")
    finally:
        done.set()
        thread.join()
    assert run.returncode == 1, run.stdout + run.stderr
    assert "ended by itself" in run.stdout and "before" in run.stdout and "after" in run.stdout
    assert gw.api("/chaos")["active"] == []


def test_list_stop_and_status(proxy):
    gw, origin = alone(proxy)
    assert "no fault is active" in vivace(gw, "chaos", "list").stdout
    run = vivace(gw, "chaos", "run", "delay", "--share", "10%", "--delay", "5ms", "--route", "app", "--detach")
    assert run.returncode == 0 and "fault 1 is active" in run.stdout, run.stderr
    listed = vivace(gw, "chaos", "list").stdout
    assert "delay" in listed and "10%" in listed and "5ms" in listed
    assert "CHAOS: 1 fault on purpose active" in vivace(gw, "status").stdout
    assert vivace(gw, "chaos", "stop", "1").returncode == 0
    assert "CHAOS" not in vivace(gw, "status").stdout
    assert vivace(gw, "chaos", "stop", "1").returncode == 1
    assert vivace(gw, "chaos", "stop").returncode == 0


def test_wrong_words_are_told(proxy):
    gw, origin = proxy()
    assert vivace(gw, "chaos").returncode == 2
    assert vivace(gw, "chaos", "run", "delay").returncode == 2
    refused = vivace(gw, "chaos", "run", "abort", "--share", "10%")
    assert refused.returncode == 1 and "chaos: {enabled: true}" in refused.stderr
