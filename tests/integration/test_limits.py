# tests/integration/test_limits.py - limits of the real binary: exact at once, exact over time, over workers
# and reloads; what answers say about them.
import json
import os
import re
import subprocess
import threading
import time

import pytest

from harness import binary, ok, wait_for

LONG = os.environ.get("VIVACE_LONG") == "1"
HI = {"status": 200, "body": "hi"}


def limited(at_listener, **route):
    return {
        "listen": {"web": {"limit": at_listener}},
        "routes": [dict({"path": "/", "respond": HI}, **route)],
    }


def crowd(gw, requests, connections=8, headers=(), target="/", pause=None, stop=None):
    """Requests shared by connections; answers' statuses as a list."""
    got, lock, left = [], threading.Lock(), [requests]

    def one():
        mine = []
        with gw.client() as c:
            while stop is None or time.monotonic() < stop:
                with lock:
                    if left[0] == 0:
                        break
                    left[0] -= 1
                mine.append(c.ask(target, headers=headers).status)
                if pause:
                    time.sleep(pause)
        with lock:
            got.extend(mine)

    threads = [threading.Thread(target=one) for _ in range(connections)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return got


def run(gw, *words):
    done = subprocess.run([binary(), *words, "--socket", gw.config["socket"]], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fields(answer):
    return answer.get("RateLimit-Policy"), answer.get("RateLimit")


def test_201_of_300_at_once_pass_over_8_connections_and_2_workers(gateway):
    """A rate so slow that nothing comes back while the test runs: 1 + burst."""
    gw = gateway(limited({"rate": "1/h", "burst": 200}))
    got = crowd(gw, 300)
    assert got.count(200) == 201 and got.count(429) == 99
    assert gw.metric("vivace_limit_decisions_total", limit="web", result="allowed") == 201
    assert gw.metric("vivace_limit_decisions_total", limit="web", result="refused") == 99
    assert gw.metric("vivace_limit_keys") == 1


def test_the_fields_say_what_is_left_and_when_all_is_back(gateway):
    gw = gateway(limited({"rate": "100/h", "burst": 2, "legacy": True}))
    with gw.client() as c:
        first = c.ask()
        # Three at once; one every 36 s: 108 s for all. One used: 36 s.
        assert fields(first) == ('"web";q=3;w=108', '"web";r=2;t=36')
        assert first.get("X-RateLimit-Limit") == "3"
        assert first.get("X-RateLimit-Remaining") == "2"
        assert first.get("X-RateLimit-Reset") == "36"
        assert not first.has("Retry-After")
        assert fields(c.ask())[1] == '"web";r=1;t=72'
        assert fields(c.ask())[1] == '"web";r=0;t=108'
        refused = c.ask()
        assert refused.status == 429 and refused.get("Retry-After") == "36"
        assert fields(refused)[1] == '"web";r=0;t=108'
        assert refused.get("Content-Type") == "application/problem+json"
        body = json.loads(refused.body)
        assert body["type"].endswith("#quota-exceeded") and body["reason"] == "limited"
        assert body["violated-policies"] == ["web"]
        assert c.ask().status == 429  # the connection lives


def test_retry_after_is_exact(gateway):
    """Whoever waits as long as it says passes; a second less is too little."""
    gw = gateway(limited({"rate": "1/2s", "burst": 0}))
    assert gw.ask().status == 200
    began = time.monotonic()
    refused = gw.ask()
    assert refused.status == 429 and refused.get("Retry-After") == "2"
    time.sleep(max(0.0, began + 1.0 - time.monotonic()))
    assert gw.ask().get("Retry-After") == "1"
    time.sleep(max(0.0, began + 2.05 - time.monotonic()))
    assert gw.ask().status == 200


def test_parts_of_one_limit_and_limits_of_listener_and_route_are_one_decision(gateway):
    conf = limited({"rate": "1/h", "burst": 9}, limit={"per": "all", "quota": "3/h", "name": "scarce"})
    gw = gateway(conf)
    got = [gw.ask() for _ in range(5)]
    assert [a.status for a in got] == [200, 200, 200, 429, 429]
    # The refused ones cost the listener's limit nothing.
    assert fields(got[4])[0] == '"web";q=10;w=36000, "scarce-quota";q=3;w=3600'
    assert fields(got[4])[1].startswith('"web";r=7;t=10800, "scarce-quota";r=0;t=')
    assert json.loads(got[4].body)["violated-policies"] == ["scarce-quota"]


def test_so_many_at_once_and_one_more_gets_429_until_one_ends(gateway, origin):
    release = threading.Event()

    def slow(req):
        release.wait(20)
        return ok(b"done")

    o = origin(answer=slow)
    gw = gateway(
        {
            "listen": {"web": {"limit": {"concurrent": 100, "per": "all"}}},
            "routes": [{"path": "/", "to": o.url, "coalesce": False}],
        }
    )
    clients = [gw.client() for _ in range(100)]
    for i, c in enumerate(clients):
        c.send(f"GET /{i} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
    o.wait_requests(100)
    refused = gw.ask("/more")
    assert refused.status == 429 and refused.get("Retry-After") == "1"
    assert fields(refused) == ('"web-concurrent";q=100;qu="concurrent-requests"', '"web-concurrent";r=0')
    clients[0].reset()  # gone without an answer: its place is free again
    wait_for("a place", lambda: gw.api("/limits?limit=web")["limits"][0]["parts"][0]["remaining"] == 1)
    release.set()
    for c in clients[1:]:
        assert c.answer().status == 200
        c.close()
    wait_for("all places", lambda: gw.api("/limits?limit=web")["limits"][0]["parts"][0]["remaining"] == 100)
    assert gw.ask("/again").status == 200
    gw.books_balance()


def test_hits_of_the_cache_are_limited_and_say_so(gateway, origin):
    o = origin(answer=lambda req: ok(b"kept", headers=[("Cache-Control", "max-age=60")]))
    gw = gateway(
        {
            "listen": {"web": {"limit": {"rate": "1/h", "burst": 4}}},
            "caches": {"main": {"show": "X-Cache"}},
            "routes": [{"path": "/", "to": o.url, "cache": "main"}],
        }
    )
    with gw.client() as c:
        answers = [c.ask("/a") for _ in range(6)]
    assert [a.get("X-Cache") for a in answers[:5]] == ["MISS"] + ["HIT"] * 4
    assert [fields(a)[1].split(";")[1] for a in answers] == ["r=4", "r=3", "r=2", "r=1", "r=0", "r=0"]
    assert answers[5].status == 429 and len(o.requests) == 1


def test_a_limit_that_only_watches(gateway):
    gw = gateway(dict(limited({"rate": "1/h", "burst": 0, "dry_run": True}), access_log="access.log"))
    answers = [gw.ask() for _ in range(5)]
    assert all(a.status == 200 and not a.has("RateLimit") for a in answers)
    assert gw.metric("vivace_limit_decisions_total", limit="web", result="dry_run") == 4
    log = os.path.join(gw.folder, "access.log")
    wait_for("the log", lambda: os.path.exists(log) and len(open(log).readlines()) == 5)
    words = [json.loads(line).get("guard") for line in open(log)]
    assert sorted(words, key=str) == [None] + ["would_limit"] * 4


def test_allowed_addresses_and_templates(gateway):
    gw = gateway(
        {
            "listen": {"web": {}},
            "routes": [
                {"path": "/open", "limit": {"rate": "1/h", "burst": 0, "allow": ["127.0.0.0/8"]}, "respond": HI},
                {"path": "/user", "limit": {"per": "$header.x-user", "rate": "1/h", "burst": 1}, "respond": HI},
            ],
        }
    )
    open_answers = [gw.ask("/open") for _ in range(5)]
    assert all(a.status == 200 and not a.has("RateLimit") for a in open_answers)
    for user in ("ann", "ben"):
        got = [gw.ask("/user", headers=[("X-User", user)]).status for _ in range(4)]
        assert got == [200, 200, 429, 429]
    # Leaving the field out is no way around: then the address counts.
    assert [gw.ask("/user").status for _ in range(3)] == [200, 200, 429]


def test_a_reload_changes_nothing_for_who_is_counted_already(gateway):
    conf = limited({"rate": "1/h", "burst": 9})
    gw = gateway(conf)
    with gw.client() as c:
        assert [c.ask().status for _ in range(5)] == [200] * 5
        conf["routes"][0]["respond"] = {"status": 200, "body": "new"}
        gw.reload(conf)
        wait_for("the new answer", lambda: c.ask().body in (b"new",) or None)
        left = gw.api("/limits?limit=web&key=127.0.0.1")["limits"][0]["parts"][0]["remaining"]
        assert [c.ask().status for _ in range(left + 2)] == [200] * left + [429, 429]
    assert gw.metric("vivace_limit_decisions_total", limit="web", result="allowed") == 10


def test_over_time_it_admits_the_rate_and_the_burst_and_no_more(gateway):
    """Five times the rate from 8 connections to 2 workers; a reload in the middle. VIVACE_LONG=1: a minute."""
    seconds, rate, burst = (60 if LONG else 8), 100, 200
    conf = limited({"rate": f"{rate}/s", "burst": burst})
    gw = gateway(conf)
    began = time.monotonic()
    middle = threading.Timer(seconds / 2, lambda: gw.reload(conf))
    middle.start()
    got = crowd(gw, 10**9, pause=8 / (5.0 * rate), stop=began + seconds)
    took = time.monotonic() - began
    middle.join()
    admitted = got.count(200)
    assert got.count(200) + got.count(429) == len(got) and len(got) > 2 * rate * seconds
    # From the first request to the last: 1 + burst at once and the rate after it. The clock here is
    # wider than the gateway's by what connecting and the last answers take.
    assert admitted <= 1 + burst + rate * took
    assert admitted >= burst + rate * (seconds - 0.25)
    print(f"{len(got)} asked in {took:.3f} s, {admitted} admitted, {1 + burst + rate * took:.1f} allowed")


def test_plans_by_numbers(gateway):
    """Standard: 500 at once, then one every 0.36 s. Nobody known: the plan of strangers."""
    gw = gateway(
        {
            "listen": {"web": {"limit": {"rate": "1/h", "burst": 0}}},
            "access": {
                "unknown": "standard",
                "anonymous": "standard",
                "plans": {"standard": {"rate": "10000/h", "burst": 500, "concurrent": 100}},
            },
            "routes": [{"path": "/", "access": {"by": ["key", "optional"]}, "respond": HI}],
        }
    )
    first = gw.ask(headers=[("X-API-Key", "random-1")])
    if first.get("RateLimit-Policy", "").startswith('"web"'):
        pytest.skip("this build does not know callers yet")
    assert fields(first)[0] == '"standard";q=500;w=180, "standard-concurrent";q=100;qu="concurrent-requests"'
    began = time.monotonic()
    got = crowd(gw, 700, headers=[("X-API-Key", "random-1")])
    back = (time.monotonic() - began) / 0.36
    assert 499 <= got.count(200) <= 499 + back + 1, got.count(200)
    assert gw.ask(headers=[("X-API-Key", "random-2")]).status == 200  # another key, another count


def test_explain_and_the_api_tell_about_guards(gateway):
    conf = limited({"rate": "10/s", "burst": 9}, limit={"per": "all", "rate": "1/h", "burst": 0})
    gw = gateway(conf)
    assert gw.ask().status == 200
    told = gw.api("/explain?method=GET&url=/")["guards"]["limits"]
    assert [(t["of"], t["per"]) for t in told] == [("listener:web", "client"), ("route:/", "all")]
    assert told[1]["would_pass"] is False and 3595 <= told[1]["parts"][0]["retry_s"] <= 3600
    assert gw.ask().status == 429  # explaining charged nothing, asking does not either
    guards = gw.api("/guards")
    assert [(t["name"], t["allowed"], t["refused"]) for t in guards["limits"]] == [("web", 1, 0), ("/", 1, 1)]
    assert guards["overload"]["shed"] == 0 and guards["keys"]["used"] == 2
    assert gw.api("/limits?limit=nobody", status=404)["error"] == 'there is no limit "nobody"'


def test_breakers_by_hand(gateway, origin):
    o = origin(answer=lambda req: ok(b"fine"))
    gw = gateway(
        {
            "breakers": {"careful": {"failures": 5}},
            "services": {"shop": {"servers": [o.url], "breaker": "careful"}},
            "routes": [{"path": "/", "to": "shop"}],
        }
    )
    assert gw.ask().status == 200
    assert gw.api("/breakers/careful:shop/open", "POST")["mode"] == "forced_open"
    assert gw.ask().status == 503
    assert gw.metric("vivace_breaker_state", breaker="careful:shop") == 1
    out = run(gw, "breaker", "list")
    assert re.search(r"careful:shop +open .* forced_open", out), out
    assert "1 breaker not closed" in run(gw, "status")  # and so says top
    assert "closed" in run(gw, "breaker", "reset", "careful:shop")
    assert gw.ask().status == 200
    assert gw.metric("vivace_breaker_state", breaker="careful:shop") == 0
    assert gw.api("/breakers/nobody/open", "POST", status=404)


def test_the_least_important_are_turned_away_when_memory_is_short(gateway):
    """A gateway that may have 1 MB has too much from the start: all classes close, one each 100 ms."""
    gw = gateway(
        {
            "overload": {"memory_size": "1MB"},
            "routes": [
                {"path": "/batch", "priority": "batch", "respond": HI},
                {"path": "/", "respond": HI},
            ],
        }
    )
    wait_for("shedding", lambda: gw.metric("vivace_shed_level") == 4)
    answer = gw.ask("/batch")
    assert answer.status == 503 and answer.get("Retry-After") == "1"
    # With all classes closed a new connection is turned away at the door, with the same status and no more.
    assert answer.body == b"" or json.loads(answer.body)["reason"] == "shed"
    conf = dict(gw.config)
    conf.pop("overload")
    gw.reload(conf)
    # It opens slowly, the important ones first: a class of sixteen shares in 3.2 s.
    wait_for("better times", lambda: gw.metric("vivace_shed_level") <= 2, 30)
    assert gw.ask("/").status == 200 and gw.ask("/batch").status == 503


def test_server_timing_where_a_route_asks_for_it(gateway, origin):
    def slow(req):
        time.sleep(0.05)
        return ok(b"x", headers=[("Cache-Control", "max-age=60")])

    o = origin(answer=slow)
    gw = gateway(
        {
            "caches": {"main": {}},
            "routes": [
                {"path": "/kept", "to": o.url, "cache": "main", "server_timing": True},
                {"path": "/timed", "to": o.url, "server_timing": True},
                {"path": "/", "to": o.url},
            ],
        }
    )
    timing = gw.ask("/timed").get("Server-Timing")
    upstream = re.fullmatch(r"upstream;dur=(\d+\.\d)", timing)
    assert upstream and float(upstream[1]) >= 50, timing
    assert re.fullmatch(r"upstream;dur=\d+\.\d, cache;desc=MISS", gw.ask("/kept").get("Server-Timing"))
    assert gw.ask("/kept").get("Server-Timing") == "cache;desc=HIT"
    assert not gw.ask("/").has("Server-Timing")


def test_a_fallback_is_called_degraded_and_counted(gateway):
    gw = gateway(
        {
            "services": {"gone": ["127.0.0.1:1"]},
            "routes": [{"path": "/", "name": "all", "to": "gone", "fallback": {"json": {"ideas": []}}}],
        }
    )
    answers = [gw.ask() for _ in range(3)]
    assert [(a.status, json.loads(a.body)) for a in answers] == [(200, {"ideas": []})] * 3
    assert all(a.get("Degraded") for a in answers)
    assert gw.metric("vivace_degraded_total", route="all") == 3


def test_a_refusal_with_503_stays_one_though_there_is_a_fallback(gateway):
    """A fallback stands for a service that fails, not for who asks too much."""
    gw = gateway(
        {
            "services": {"gone": ["127.0.0.1:1"]},
            "routes": [
                {
                    "path": "/",
                    "to": "gone",
                    "limit": {"rate": "1/h", "burst": 0, "status": 503},
                    "fallback": {"body": "sorry", "status": 200},
                }
            ],
        }
    )
    assert gw.ask().body == b"sorry"
    refused = gw.ask()
    assert refused.status == 503 and refused.get("Retry-After") == "3600"
